//! What came of scenarios: for CI systems as JUnit XML, for programs as JSON.

use std::{path::PathBuf, time::Duration};

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use crate::scenario::{BadScenario, Failure};

/// What came of one scenario.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tested {
    /// The scenario.
    pub name: String,
    /// Its file.
    pub path: PathBuf,
    /// How long it took.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub time: Duration,
    /// The fuel that the script used; none: it was not run.
    pub fuel: Option<u64>,
    /// What came of it.
    #[serde(flatten)]
    pub result: Tried,
}

/// Passed or not.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Tried {
    /// All as expected.
    Passed,
    /// What came was accepted.
    Blessed,
    /// Something is not as expected.
    Failed {
        /// What.
        failures: Vec<Failure>,
        /// The script's log.
        log: Vec<String>,
    },
    /// It makes no sense on this backend.
    Skipped {
        /// Why.
        why: String,
    },
    /// The scenario itself is wrong.
    Broken {
        /// Where, and what to do.
        problem: String,
    },
}

impl Tested {
    /// Whether all was as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self.result, Tried::Passed | Tried::Blessed)
    }

    /// Whether something is wrong.
    #[must_use]
    pub fn failed(&self) -> bool {
        matches!(self.result, Tried::Failed { .. } | Tried::Broken { .. })
    }

    /// A scenario that cannot be run.
    #[must_use]
    pub fn broken(error: &BadScenario) -> Self {
        Self {
            name: error.path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            path: error.path.clone(),
            time: Duration::ZERO,
            fuel: None,
            result: Tried::Broken { problem: error.to_string() },
        }
    }

    /// The failures in words, each with its place.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.result {
            Tried::Passed | Tried::Blessed | Tried::Skipped { .. } => String::new(),
            Tried::Broken { problem } => format!("{problem}\n"),
            Tried::Failed { failures, log } => {
                let failures = failures.iter().map(|failure| {
                    let lines = failure.diff.lines().map(|line| format!("    {line}\n")).collect::<String>();
                    format!("{}:{}: {}\n{lines}", self.path.display(), failure.line, failure.what)
                });
                let mut text: String = failures.collect();
                if !log.is_empty() {
                    text += "  log\n";
                    text.extend(log.iter().map(|line| format!("    {line}\n")));
                }
                text
            }
        }
    }
}

/// A JUnit report.
///
/// # Errors
/// It cannot be written as XML.
pub fn junit(script: &str, tested: &[Tested]) -> Result<String, quick_junit::SerializeError> {
    let mut suite = TestSuite::new(script);
    for test in tested {
        let status = match &test.result {
            Tried::Passed | Tried::Blessed => TestCaseStatus::success(),
            Tried::Failed { failures, .. } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                let what: Vec<_> = failures.iter().map(|failure| failure.what.as_str()).collect();
                status.set_message(format!("not as expected: {}", what.join(", ")));
                status.set_description(test.told());
                status
            }
            Tried::Skipped { why } => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(why.as_str());
                status
            }
            Tried::Broken { problem } => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message(problem.as_str());
                status
            }
        };
        let mut case = TestCase::new(test.name.as_str(), status);
        case.set_classname(script).set_time(test.time);
        if let Some(fuel) = test.fuel {
            case.add_property(("fuel", fuel.to_string().as_str()));
        }
        suite.add_test_case(case);
    }
    let mut report = quick_junit::Report::new("triggerbox");
    report.add_test_suite(suite);
    report.to_string()
}

fn milliseconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
