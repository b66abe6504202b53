//! Where in a file something is, and what is wrong there.

use std::{fmt, ops::Range, path::PathBuf};

/// A scenario that cannot be run: its file is wrong. Whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct BadScenario {
    /// The file.
    pub path: PathBuf,
    /// From 1; none: the file as a whole.
    pub at: Option<(usize, usize)>,
    /// What, and what to do.
    pub problem: String,
}

impl fmt::Display for BadScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Line and column of a byte, from 1.
#[must_use]
pub fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The line of the beginning of a span, from 1.
#[must_use]
pub fn line(text: &str, span: &Range<usize>) -> usize {
    line_and_column(text, span.start).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_from_one_and_in_characters() {
        assert_eq!(line_and_column("a\nüb", 0), (1, 1));
        assert_eq!(line_and_column("a\nüb", 4), (2, 2));
        assert_eq!(line_and_column("a", 99), (1, 2));
    }
}
