//! Runs the questions that a real Odoo server was asked against the embedded backend.
//!
//! | module | what it does |
//! |---|---|
//! | [`files`] | finds case files and their data, reads them |
//! | [`data`] | the data set in a database; each case starts from it as it was loaded |
//! | [`known`] | failures that are deliberate, with their reasons |
//! | [`report`] | what came out |
//! | [`domains`], [`groups`], [`rights`], [`writes`], [`automation`] | one kind of case each |
//!
//! A kind of case is a function from the data and one case to a [`Verdict`].

#[cfg(feature = "actions")]
pub mod actions;
pub mod answers;
pub mod automation;
pub mod data;
pub mod domains;
pub mod files;
pub mod groups;
pub mod known;
pub mod report;
pub mod rights;
pub mod writes;

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value as Json;

use self::files::Kind;
pub use self::{
    data::Data,
    report::{FileReport, Report},
};

/// What one case came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The answer agrees.
    Passed,
    /// It does not.
    Failed {
        /// The server's answer.
        expected: String,
        /// Ours.
        got: String,
    },
    /// It does not, for causes that may each be deliberate.
    Otherwise {
        /// The causes, as `known.toml` calls them.
        causes: Vec<&'static str>,
        /// The server's answer.
        expected: String,
        /// Ours.
        got: String,
    },
    /// It was not tried.
    NotRun {
        /// Why not.
        reason: String,
    },
}

impl Verdict {
    /// Passed, if both are the same JSON.
    #[must_use]
    pub fn compare(expected: &Json, got: &Json) -> Self {
        if expected == got {
            return Self::Passed;
        }
        Self::Failed { expected: expected.to_string(), got: got.to_string() }
    }

    /// Failed, with texts.
    pub fn failed(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Failed { expected: expected.into(), got: got.into() }
    }

    /// Differs for causes that may each be deliberate; passed, if there are none.
    #[must_use]
    pub fn otherwise(causes: &BTreeSet<automation::Cause>, expected: String, got: String) -> Self {
        match causes.is_empty() {
            true => Self::Passed,
            false => Self::Otherwise { causes: causes.iter().map(|cause| cause.name()).collect(), expected, got },
        }
    }

    /// Not tried.
    pub fn not_run(reason: impl Into<String>) -> Self {
        Self::NotRun { reason: reason.into() }
    }
}

/// How to run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Failures to keep per file.
    pub show: usize,
    /// Only cases whose id contains this.
    pub only: Option<String>,
}

/// Runs all case files at the paths.
///
/// # Errors
/// When there is no case file, or a file or its data cannot be read.
pub fn run(paths: &[PathBuf], options: &Options) -> anyhow::Result<Report> {
    let files = files::find(paths)?;
    anyhow::ensure!(!files.is_empty(), "no case files (.json or .json.zst) at the given paths");
    let known = known::Known::load();
    let mut loaded: Option<(PathBuf, Data)> = None;
    let mut report = Report::default();
    for file in files {
        let cases = files::read_cases(&file.path)?;
        let Some(kind) = Kind::of(&file.path, &cases) else { continue };
        if loaded.as_ref().is_none_or(|(folder, _)| *folder != file.data) {
            loaded = Some((file.data.clone(), Data::load(&file.data)?));
        }
        let Some((_, data)) = &loaded else { continue };
        let mut done = FileReport::new(&file.shown, kind);
        for case in &cases {
            let id = case.get("id").and_then(Json::as_str).unwrap_or("?");
            if options.only.as_ref().is_some_and(|only| !id.contains(only)) {
                continue;
            }
            let verdict = match kind {
                _ if file.shown.contains("unaccent") => Verdict::not_run("the unaccent extension is out of scope"),
                Kind::Domains => domains::run(data, case),
                Kind::Groups => groups::run(data, case),
                Kind::Rights => rights::run(data, case),
                Kind::Write => writes::run(data, case),
                Kind::ServerActions => server_action(&file.data, data, case),
                Kind::Automation => automation::run(data, case),
            };
            done.count(id, case, verdict, &known, options.show);
        }
        report.files.push(done);
    }
    Ok(report)
}

#[cfg(not(feature = "actions"))]
fn server_action(_: &std::path::Path, _: &Data, _: &Json) -> Verdict {
    Verdict::not_run("server actions are Python: they run with the feature `actions`")
}

/// Loads the data and the component once; without Python there is no component, and all else can still be asked.
#[cfg(feature = "actions")]
fn server_action(folder: &std::path::Path, data: &Data, case: &Json) -> Verdict {
    use std::cell::OnceCell;

    thread_local! {
        static READY: OnceCell<Result<actions::Actions, String>> = const { OnceCell::new() };
    }
    READY.with(|ready| {
        let load = || actions::Actions::load(folder, data.now).map_err(|error| format!("no component: {error:#}"));
        match ready.get_or_init(load) {
            Ok(actions) => actions.run(case),
            Err(reason) => Verdict::not_run(reason.as_str()),
        }
    })
}
