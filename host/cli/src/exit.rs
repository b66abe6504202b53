//! Exit codes: stable, and documented in `--help`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// The script failed or broke.
    ScriptFailed = 1,
    /// The command line, or a file it names, is wrong.
    Usage = 2,
    /// A limit stopped the script.
    Limit = 3,
    /// A right was missing.
    Policy = 4,
    /// The backend failed.
    Backend = 5,
    /// Not a component, or not one that this host can run.
    InvalidComponent = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with the exit code that it ends the command with.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) exit: Exit,
    /// What to print.
    pub(crate) error: anyhow::Error,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }
}

/// Gives an error another exit code than [`Exit::Usage`].
pub(crate) trait OrExit<T> {
    /// The code to end with.
    ///
    /// # Errors
    /// The same error, with the code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure { exit, error: error.into() })
    }
}
