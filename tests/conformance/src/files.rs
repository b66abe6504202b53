//! Finds case files and their data, and reads them.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value as Json;
use triggerbox_store::load::SCHEMA_FILE;

/// A file of cases.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name in reports: the path below the argument it was found by.
    pub shown: String,
    /// The folder of its data.
    pub data: PathBuf,
}

/// What the cases of a file ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Which records match a domain.
    Domains,
    /// Groups with aggregates.
    Groups,
    /// What a user may do.
    Rights,
    /// What writes do.
    Write,
    /// What server actions do.
    ServerActions,
    /// When automation rules fire.
    Automation,
}

impl Kind {
    /// Recognises cases by what they ask; where that leaves a doubt, by the file's name.
    #[must_use]
    pub fn of(path: &Path, cases: &[Json]) -> Option<Self> {
        let name = path.to_string_lossy();
        let first = cases.first()?;
        let has = |key: &str| first.get(key).is_some();
        Some(if has("rules") && has("ops") {
            Self::Automation
        } else if has("code") {
            Self::ServerActions
        } else if has("ops") {
            Self::Write
        } else if has("groupby") || has("aggregates") {
            Self::Groups
        } else if has("op") || (has("user") && name.contains("rights")) {
            Self::Rights
        } else if has("domain") {
            Self::Domains
        } else {
            return None;
        })
    }

    /// For reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Domains => "domains",
            Self::Groups => "groups",
            Self::Rights => "rights",
            Self::Write => "write",
            Self::ServerActions => "server actions",
            Self::Automation => "automation",
        }
    }
}

/// All case files at the paths, in order. Files of data are not case files.
///
/// # Errors
/// When a path does not exist, or a file has no data beside or above it.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<CaseFile>> {
    let mut files = Vec::new();
    for path in paths {
        let mut found = Vec::new();
        collect(path, &mut found)?;
        found.sort();
        for file in found {
            let base = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("")) };
            let shown = file.strip_prefix(base).unwrap_or(&file).display().to_string();
            files.push(CaseFile { data: data_folder(&file)?, shown, path: file });
        }
    }
    Ok(files)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("{} cannot be listed", path.display()))? {
            collect(&entry?.path(), found)?;
        }
    } else if !path.exists() {
        bail!("{} does not exist", path.display());
    } else if is_cases(path) {
        found.push(path.to_owned());
    }
    Ok(())
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let stem = name.trim_end_matches(".zst");
    stem.ends_with(".json") && !["schema.json", "records.json", "rights_data.json"].contains(&stem)
}

/// The nearest folder beside or above a file that has a schema.
fn data_folder(file: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(file)?;
    let has_schema =
        |folder: &&Path| folder.join(SCHEMA_FILE).exists() || folder.join(format!("{SCHEMA_FILE}.zst")).exists();
    let folder = absolute.ancestors().skip(1).find(has_schema);
    folder.map(Path::to_owned).with_context(|| format!("no {SCHEMA_FILE} beside or above {}", file.display()))
}

/// Reads a JSON file, compressed or not.
///
/// # Errors
/// When it cannot be read or is no JSON.
pub fn read_json(path: &Path) -> anyhow::Result<Json> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let bytes = if path.extension() == Some(OsStr::new("zst")) { zstd::decode_all(bytes.as_slice())? } else { bytes };
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

/// The cases of a file: a list, or an object with one list `cases`.
///
/// # Errors
/// As [`read_json`].
pub fn read_cases(path: &Path) -> anyhow::Result<Vec<Json>> {
    match read_json(path)? {
        Json::Array(cases) => Ok(cases),
        Json::Object(mut object) => match object.remove("cases") {
            Some(Json::Array(cases)) => Ok(cases),
            _ => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    }
}
