//! A script's tests: what is given, what happens, what is expected of it.
//!
//! A scenario is a TOML file in the folder `scenarios` beside the script. It runs on records of its own, in memory or on an
//! Odoo server.

pub mod bless;
pub mod compare;
mod embedded;
pub mod expect;
pub mod file;
pub mod given;
pub mod observe;
pub mod odoo;
pub mod outside;
pub mod place;
pub mod play;
pub mod refs;
pub mod when;

use std::path::{Path, PathBuf};

pub use self::{
    compare::Failure,
    file::{Scenario, ScenarioFile},
    observe::Observed,
    place::BadScenario,
    play::{Bench, Played},
};

/// The folder of scenarios, beside the script's manifest.
pub const FOLDER: &str = "scenarios";

/// The scenario files of a folder, by name. A folder that is not there has none.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    Ok(files)
}
