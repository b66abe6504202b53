//! Languages, and how a folder tells which one it is written in.

use std::{fmt, path::Path};

use crate::Error;

/// A language that scripts can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Cargo, for wasm32-wasip2.
    Rust,
    /// CPython inside the component, by componentize-py.
    Python,
    /// QuickJS inside the component, by componentize-qjs, after esbuild.
    TypeScript,
    /// The same without types.
    JavaScript,
    /// Clang, as Zig brings it.
    C,
    /// The same, over the C bindings.
    Cpp,
    /// Zig, over the C bindings.
    Zig,
    /// Go, compiled by its own compiler.
    Go,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Rust, Self::Python, Self::TypeScript, Self::JavaScript, Self::C, Self::Cpp, Self::Zig, Self::Go];

    /// The file that says that a folder's script is written in this language.
    #[must_use]
    pub fn entry(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Python => "script.py",
            Self::TypeScript => "script.ts",
            Self::JavaScript => "script.js",
            Self::C => "script.c",
            Self::Cpp => "script.cpp",
            Self::Zig => "script.zig",
            Self::Go => "script.go",
        }
    }

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::JavaScript => "javascript",
            Self::C => "c",
            Self::Cpp => "cpp",
            Self::Zig => "zig",
            Self::Go => "go",
        }
    }

    /// The language of a folder.
    ///
    /// # Errors
    /// [`Error::NoScript`], [`Error::SeveralScripts`].
    pub fn of(folder: &Path) -> Result<Self, Error> {
        let found: Vec<Self> =
            Self::ALL.into_iter().filter(|language| folder.join(language.entry()).exists()).collect();
        match found.as_slice() {
            [] => Err(Error::NoScript { folder: folder.to_owned() }),
            [language] => Ok(*language),
            several => {
                let found: Vec<_> = several.iter().map(|language| language.entry()).collect();
                Err(Error::SeveralScripts { folder: folder.to_owned(), found: found.join(", ") })
            }
        }
    }

    /// `Cargo.toml (rust), script.py (python)…`
    pub(crate) fn entries() -> String {
        let entries: Vec<_> = Self::ALL.iter().map(|language| format!("{} ({language})", language.entry())).collect();
        entries.join(", ")
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_entry_file_tells_the_language() {
        let folder = tempfile::tempdir().unwrap();
        let error = Language::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("script.py (python)"), "{error}");

        fs::write(folder.path().join("script.py"), "").unwrap();
        assert_eq!(Language::of(folder.path()).unwrap(), Language::Python);

        fs::write(folder.path().join("script.c"), "").unwrap();
        let error = Language::of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("script.py, script.c"), "{error}");
    }
}
