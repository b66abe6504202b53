//! `triggerbox __compile`: the bounded process that compiles one component, from stdin to stdout.

use std::process::ExitCode;

pub(crate) fn run() -> ExitCode {
    triggerbox_sandbox::compile::compile_child_main()
}
