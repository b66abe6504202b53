//! Prints for ever.

use triggerbox::prelude::*;

fn run(_event: &Event) -> Result<()> {
    loop {
        println!("{}", "x".repeat(1000));
        eprintln!("{}", "y".repeat(1000));
    }
}

triggerbox::script!(run);
