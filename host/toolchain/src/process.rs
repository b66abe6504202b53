//! Starting compilers.

use std::{
    io,
    process::{Command, ExitStatus, Stdio},
};

use crate::Error;

/// Runs a command to its end. What it prints goes to stderr: stdout is the caller's.
pub(crate) fn status(command: &mut Command, hint: &'static str) -> Result<ExitStatus, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr())).status().map_err(|source| Error::Missing {
        program,
        hint,
        source,
    })
}

/// Runs a compiler on the script.
pub(crate) fn compile(command: &mut Command, hint: &'static str) -> Result<(), Error> {
    if status(command, hint)?.success() { Ok(()) } else { Err(Error::Compile { hint: "" }) }
}
