//! What came out: counts per file and in all, and the failures asked for.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value as Json;

use crate::{Verdict, files::Kind, known::Known};

/// Everything that was run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// One for each case file.
    pub files: Vec<FileReport>,
}

/// What one file came to.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The file.
    pub name: String,
    /// What its cases ask.
    pub kind: &'static str,
    /// Answers that agree.
    pub passed: usize,
    /// Answers that do not, and should.
    pub failed: usize,
    /// Answers that differ on purpose.
    pub known: usize,
    /// Of those, the ones for a cause that the runner tells by itself, by cause.
    pub causes: BTreeMap<&'static str, Vec<String>>,
    /// Cases that were not tried, by reason.
    pub not_run: BTreeMap<String, usize>,
    /// Cases listed as failing that pass.
    pub unexpected: Vec<String>,
    /// Ids of the failures.
    pub failures: Vec<String>,
    /// The first failures.
    pub shown: Vec<Failure>,
}

/// One failure.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The case.
    pub id: String,
    /// What was asked.
    pub asked: Json,
    /// The server's answer.
    pub expected: String,
    /// Ours.
    pub got: String,
}

impl FileReport {
    /// Nothing run yet.
    #[must_use]
    pub fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.name(),
            passed: 0,
            failed: 0,
            known: 0,
            causes: BTreeMap::new(),
            not_run: BTreeMap::new(),
            unexpected: Vec::new(),
            failures: Vec::new(),
            shown: Vec::new(),
        }
    }

    /// Counts one verdict, and keeps the failure if fewer than `show` are kept.
    pub fn count(&mut self, id: &str, case: &Json, verdict: Verdict, known: &Known, show: usize) {
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                if known.reason(id).is_some() {
                    self.unexpected.push(id.to_owned());
                }
            }
            Verdict::NotRun { reason } => *self.not_run.entry(reason).or_default() += 1,
            Verdict::Otherwise { causes, .. } if causes.iter().all(|cause| known.cause(cause).is_some()) => {
                self.known += 1;
                for cause in causes {
                    self.causes.entry(cause).or_default().push(id.to_owned());
                }
            }
            Verdict::Failed { .. } | Verdict::Otherwise { .. } if known.reason(id).is_some() => self.known += 1,
            Verdict::Failed { expected, got } | Verdict::Otherwise { expected, got, .. } => {
                self.failed += 1;
                self.failures.push(id.to_owned());
                if self.shown.len() < show {
                    let mut asked = case.clone();
                    if let Some(asked) = asked.as_object_mut() {
                        for answer in ["expected", "filtered_ids", "filtered_error", "tags"] {
                            asked.remove(answer);
                        }
                    }
                    self.shown.push(Failure { id: id.to_owned(), asked, expected, got });
                }
            }
        }
    }
}

impl Report {
    /// Answers that do not agree and should, over all files.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.files.iter().map(|file| file.failed).sum()
    }

    /// Answers that agree, over all files.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.files.iter().map(|file| file.passed).sum()
    }
}

/// Longest expected or got text that is printed.
const SHOWN: usize = 1500;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.files.iter().map(|file| file.name.len()).max().unwrap_or(0);
        for file in &self.files {
            write!(f, "{:width$}  {} passed, {} failed", file.name, file.passed, file.failed)?;
            if file.known > 0 {
                write!(f, ", {} differ on purpose", file.known)?;
            }
            for (reason, count) in &file.not_run {
                write!(f, ", {count} not run ({reason})")?;
            }
            writeln!(f)?;
            for (cause, ids) in &file.causes {
                writeln!(f, "  {cause}: {}", ids.len())?;
            }
            for id in &file.unexpected {
                writeln!(f, "  {id} passes, although it is listed in known.toml")?;
            }
            for failure in &file.shown {
                writeln!(f, "  {} {}", failure.id, cut(&failure.asked.to_string()))?;
                writeln!(f, "    expected {}", cut(&failure.expected))?;
                writeln!(f, "    got      {}", cut(&failure.got))?;
            }
        }
        let known: usize = self.files.iter().map(|file| file.known).sum();
        let not_run: usize = self.files.iter().flat_map(|file| file.not_run.values()).sum();
        write!(f, "{:width$}  {} passed, {} failed", "in all", self.passed(), self.failed())?;
        if known > 0 {
            write!(f, ", {known} differ on purpose")?;
        }
        if not_run > 0 {
            write!(f, ", {not_run} not run")?;
        }
        writeln!(f)
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
