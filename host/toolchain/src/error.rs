use std::{io, path::PathBuf};

use crate::Language;

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No file says what language the script is written in. For the script's author.
    #[error("{} holds no script: it needs one of {}", folder.display(), Language::entries())]
    NoScript {
        /// The script's folder.
        folder: PathBuf,
    },
    /// More than one file does. For the script's author.
    #[error("{} holds scripts in several languages ({found}); keep one of them", folder.display())]
    SeveralScripts {
        /// The script's folder.
        folder: PathBuf,
        /// The files.
        found: String,
    },
    /// The guest library is not where it belongs. For the script's author.
    #[error("{} has no library: `triggerbox new --lang {language} NAME` makes a folder with one; copy its `triggerbox-sdk`", folder.display())]
    NoLibrary {
        /// The script's folder.
        folder: PathBuf,
        /// Its language.
        language: Language,
    },
    /// A program that this machine must bring is missing. For whoever set the machine up.
    #[error("cannot start `{program}`: {source}; {hint}")]
    Missing {
        /// The program.
        program: String,
        /// Where to get it.
        hint: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A compiler cannot be installed. For whoever set the machine up.
    #[error("cannot install {package}: see above; by hand, it is `{command}`")]
    Install {
        /// Name and version.
        package: String,
        /// The command that does it.
        command: String,
    },
    /// The compiler refuses the script. For the script's author.
    #[error("the script does not compile: see above{hint}")]
    Compile {
        /// What else may be wrong.
        hint: &'static str,
    },
    /// The contract of the script's folder is broken, or the compiler's output is. For the script's author.
    #[error("{what}: {why}")]
    Contract {
        /// What was done.
        what: &'static str,
        /// What went wrong.
        why: String,
    },
    /// The file system. For whoever set the machine up.
    #[error("cannot {doing} {}: {source}", path.display())]
    Files {
        /// The verb.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Adds what was being done to an error of the file system.
pub(crate) trait Doing<T> {
    fn doing(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::Files { doing, path: path.into(), source })
    }
}
