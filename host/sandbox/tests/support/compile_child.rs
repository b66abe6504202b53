//! The child process of the compile tests: what `triggerbox __compile` is for the product. Its arguments make it
//! misbehave as a compiler might.

use std::process::ExitCode;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("hang") => loop {
            std::thread::park();
        },
        Some("crash") => std::process::abort(),
        Some("chatter") => {
            use std::io::Write;
            while std::io::stdout().write_all(&[0; 65_536]).is_ok() {}
            ExitCode::SUCCESS
        }
        _ => triggerbox_sandbox::compile::compile_child_main(),
    }
}
