//! A script's folder: its language, its library, its contract.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{CONTRACT, Error, Language, error::Doing};

/// What is to be built.
#[derive(Debug, Clone)]
pub struct Project {
    /// Where the script is.
    pub folder: PathBuf,
    /// What it is written in.
    pub language: Language,
    /// The guest library. Cargo finds Rust's by itself.
    library: Option<PathBuf>,
}

impl Project {
    /// Looks at a folder.
    ///
    /// # Errors
    /// [`Error`], if it does not tell its language, or does not exist.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let folder = folder.canonicalize().doing("open", folder)?;
        let language = Language::of(&folder)?;
        // Where `triggerbox new` puts the library, and where the examples of this repository share theirs.
        let shared = match language {
            Language::Cpp => "../../c/sdk",
            _ => "../../typescript/sdk",
        };
        let places = ["triggerbox-sdk", "../sdk", shared].map(|name| folder.join(name));
        let library = places.into_iter().find(|library| library.is_dir());
        let library = library.map(|library| library.canonicalize().doing("open", library.clone())).transpose()?;
        Ok(Self { folder, language, library })
    }

    /// The same folder with another library, for scripts that share one from elsewhere.
    #[must_use]
    pub fn with_library(mut self, library: PathBuf) -> Self {
        self.library = Some(library);
        self
    }

    /// The guest library.
    ///
    /// # Errors
    /// [`Error::NoLibrary`].
    pub fn library(&self) -> Result<&Path, Error> {
        let missing = || Error::NoLibrary { folder: self.folder.clone(), language: self.language };
        self.library.as_deref().ok_or_else(missing)
    }

    /// The text of the contract that the library was written for.
    ///
    /// # Errors
    /// [`Error::Files`].
    pub fn contract(&self) -> Result<String, Error> {
        let own = self.library.as_ref().map(|library| library.join("wit/automation.wit")).filter(|file| file.exists());
        own.map_or_else(|| Ok(CONTRACT.to_owned()), |file| fs::read_to_string(&file).doing("read", file))
    }

    /// The entry file.
    #[must_use]
    pub fn entry(&self) -> PathBuf {
        self.folder.join(self.language.entry())
    }
}
