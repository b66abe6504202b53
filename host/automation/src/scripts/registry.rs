//! Versions of scripts: kept by content, never changed, one of each name active.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;
use triggerbox_model::{manifest::Manifest, text::nearest, value::Id};
use triggerbox_sandbox::ContentHash;
use triggerbox_store::db::DbError;

use super::upload::Upload;
use crate::rule::{ScriptRef, Version};

/// One version of a script.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScriptVersion {
    /// Its identity.
    pub hash: ContentHash,
    /// The name in its manifest.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// Who uploaded it (`res.users`).
    pub uploaded_by: Id,
    /// When.
    pub at: Timestamp,
    /// Bytes of the component.
    pub size: u64,
    /// Whether `latest` means this one.
    pub active: bool,
    /// What it says about itself.
    #[serde(skip)]
    pub manifest: Manifest,
    /// Interfaces of the contract that it imports, `llm`, `http`.
    #[serde(skip)]
    pub imports: Vec<String>,
}

/// One entry of a script's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// The version; none: the script was switched off.
    pub hash: Option<ContentHash>,
    /// When.
    pub at: Timestamp,
    /// Who did it (`res.users`).
    pub by: Id,
}

/// Why a script cannot be had. [`RegistryError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// Nobody uploaded a script of that name. Whoever wrote the name.
    #[error("there is no script `{name}`{}; `triggerbox scripts upload` adds one", hint(.near.as_deref()))]
    Unknown {
        /// The name asked for.
        name: String,
        /// A name that was probably meant.
        near: Option<String>,
    },
    /// The script is there, but not this version. Whoever wrote the hash.
    #[error("script `{name}` has no version {hash}; `triggerbox scripts list {name}` shows those there are")]
    Gone {
        /// The script.
        name: String,
        /// The beginning of the hash asked for.
        hash: String,
    },
    /// Several versions begin so. Whoever wrote the hash.
    #[error("several versions of script `{name}` begin with {hash}; write more of its digits")]
    Ambiguous {
        /// The script.
        name: String,
        /// The beginning of the hash asked for.
        hash: String,
    },
    /// None of its versions is active. An administrator.
    #[error("script `{name}` is switched off; activate one of its versions")]
    Inactive {
        /// The script.
        name: String,
    },
    /// There is nothing to go back to. Nobody.
    #[error("script `{name}` has no earlier active version to go back to")]
    NoEarlier {
        /// The script.
        name: String,
    },
    /// The name is one of the program's own scripts. The author.
    #[error("`{name}` is a script that comes with the program; give yours another name")]
    Reserved {
        /// The name.
        name: String,
    },
    /// What is stored cannot be read. The operator.
    #[error("what is stored of script `{name}` cannot be read: {problem}")]
    Damaged {
        /// The script.
        name: String,
        /// Why.
        problem: String,
    },
    /// The database failed. The operator.
    #[error(transparent)]
    Database(#[from] DbError),
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

impl From<rusqlite::Error> for RegistryError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl RegistryError {
    /// Stable name of the case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown-script",
            Self::Gone { .. } => "script-gone",
            Self::Ambiguous { .. } => "ambiguous-script",
            Self::Inactive { .. } => "script-inactive",
            Self::NoEarlier { .. } => "no-earlier-version",
            Self::Reserved { .. } => "reserved-script",
            Self::Damaged { .. } => "damaged-script",
            Self::Database(error) => error.code(),
        }
    }
}

const COLUMNS: &str = "SELECT s.hash, s.name, s.version, s.uploaded_by, s.at, length(s.component), s.manifest, s.imports, \
                       a.hash IS s.hash FROM engine_script s LEFT JOIN engine_active_script a ON a.name = s.name";

/// Keeps an upload. The first version of a name becomes the active one. Again the same bytes: nothing changes.
///
/// # Errors
/// [`RegistryError::Reserved`]; what the database says.
pub fn store(conn: &Connection, upload: &Upload, by: Id, now: Timestamp) -> Result<ScriptVersion, RegistryError> {
    if super::ready::is_ready_made(&upload.manifest.script.name) {
        return Err(RegistryError::Reserved { name: upload.manifest.script.name.clone() });
    }
    insert(conn, upload, by, now)
}

/// [`store`], for the program's own scripts too.
pub(super) fn insert(
    conn: &Connection,
    upload: &Upload,
    by: Id,
    now: Timestamp,
) -> Result<ScriptVersion, RegistryError> {
    let info = &upload.manifest.script;
    let json = |value: serde_json::Result<String>| {
        value.map_err(|error| RegistryError::Damaged { name: info.name.clone(), problem: error.to_string() })
    };
    let (manifest, imports) =
        (json(serde_json::to_string(&upload.manifest))?, json(serde_json::to_string(&upload.imports))?);
    let known =
        conn.query_row("SELECT count(*) FROM engine_script WHERE name = ?", [&info.name], |row| row.get::<_, i64>(0))?;
    conn.execute(
        "INSERT INTO engine_script (hash, name, version, uploaded_by, at, manifest, imports, component) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO NOTHING",
        (
            upload.hash.0,
            &info.name,
            &info.version,
            by,
            now.as_millisecond(),
            manifest,
            imports,
            upload.component.as_slice(),
        ),
    )?;
    if known == 0 {
        set_active(conn, &info.name, Some(upload.hash), by, now)?;
    }
    version(conn, upload.hash, &info.name)
}

/// Whether these bytes are kept already, whatever the name.
///
/// # Errors
/// What the database says.
pub fn is_kept(conn: &Connection, hash: ContentHash) -> Result<bool, RegistryError> {
    Ok(conn.prepare_cached("SELECT 1 FROM engine_script WHERE hash = ?")?.exists([hash.0])?)
}

/// What `latest` means from now on; none: the script is switched off.
pub(super) fn set_active(
    conn: &Connection,
    name: &str,
    hash: Option<ContentHash>,
    by: Id,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let at = now.as_millisecond();
    match hash {
        Some(hash) => conn.execute(
            "INSERT INTO engine_active_script (name, hash, at, by) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (name) DO UPDATE SET hash = ?2, at = ?3, by = ?4",
            (name, hash.0, at, by),
        )?,
        None => conn.execute("DELETE FROM engine_active_script WHERE name = ?", [name])?,
    };
    conn.execute(
        "INSERT INTO engine_activation (name, hash, at, by) VALUES (?, ?, ?, ?)",
        (name, hash.map(|hash| hash.0), at, by),
    )?;
    Ok(())
}

/// One version, by its whole hash. `name` is for the message.
///
/// # Errors
/// [`RegistryError::Gone`]
pub fn version(conn: &Connection, hash: ContentHash, name: &str) -> Result<ScriptVersion, RegistryError> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE s.hash = ?"))?;
    let found = statement.query_row([hash.0], read).optional()?;
    found.ok_or_else(|| RegistryError::Gone { name: name.to_owned(), hash: hash.to_string() })?
}

/// The version that a reference means now.
///
/// # Errors
/// [`RegistryError`]
pub fn resolve(conn: &Connection, wanted: &ScriptRef) -> Result<ScriptVersion, RegistryError> {
    let versions = versions(conn, &wanted.name)?;
    let name = || wanted.name.clone();
    match &wanted.version {
        Version::Latest => {
            versions.into_iter().find(|version| version.active).ok_or_else(|| RegistryError::Inactive { name: name() })
        }
        Version::Hash(prefix) => {
            let mut matching = versions.into_iter().filter(|version| version.hash.to_string().starts_with(prefix));
            match (matching.next(), matching.next()) {
                (Some(version), None) => Ok(version),
                (None, _) => Err(RegistryError::Gone { name: name(), hash: prefix.clone() }),
                (Some(_), Some(_)) => Err(RegistryError::Ambiguous { name: name(), hash: prefix.clone() }),
            }
        }
    }
}

/// All versions of a script, the newest first.
///
/// # Errors
/// [`RegistryError::Unknown`] when there is none.
pub fn versions(conn: &Connection, name: &str) -> Result<Vec<ScriptVersion>, RegistryError> {
    let versions = select(conn, "WHERE s.name = ? ORDER BY s.at DESC, s.rowid DESC", [name])?;
    if versions.is_empty() {
        let mut statement = conn.prepare_cached("SELECT DISTINCT name FROM engine_script")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let near = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
        return Err(RegistryError::Unknown { name: name.to_owned(), near });
    }
    Ok(versions)
}

/// A version of a script, for people to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its identity.
    pub hash: ContentHash,
    /// The script.
    pub name: String,
    /// The author's version.
    pub version: String,
    /// Whether `latest` means this one.
    pub active: bool,
}

/// Versions of the script that this is a version of, the newest first: so many at most. None, if it is gone.
///
/// # Errors
/// What the database says.
pub fn choices(conn: &Connection, hash: ContentHash, most: usize) -> Result<Vec<Choice>, RegistryError> {
    let sql = "SELECT s.hash, s.name, s.version, a.hash IS s.hash FROM engine_script s \
               LEFT JOIN engine_active_script a ON a.name = s.name \
               WHERE s.name = (SELECT name FROM engine_script WHERE hash = ?1) ORDER BY s.at DESC, s.rowid DESC LIMIT ?2";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((hash.0, i64::try_from(most).unwrap_or(i64::MAX)), |row| {
        Ok(Choice { hash: ContentHash(row.get(0)?), name: row.get(1)?, version: row.get(2)?, active: row.get(3)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// All versions of all scripts, by name, the newest first.
///
/// # Errors
/// What the database says.
pub fn all(conn: &Connection) -> Result<Vec<ScriptVersion>, RegistryError> {
    select(conn, "ORDER BY s.name, s.at DESC, s.rowid DESC", [])
}

/// What was active when, the newest first.
///
/// # Errors
/// What the database says.
pub fn history(conn: &Connection, name: &str) -> Result<Vec<Activation>, RegistryError> {
    let mut statement =
        conn.prepare_cached("SELECT hash, at, by FROM engine_activation WHERE name = ? ORDER BY id DESC")?;
    let entries = statement.query_map([name], |row| {
        Ok(Activation {
            hash: row.get::<_, Option<[u8; 32]>>(0)?.map(ContentHash),
            at: time(row.get(1)?),
            by: row.get(2)?,
        })
    })?;
    Ok(entries.collect::<Result<_, _>>()?)
}

/// The component's bytes.
///
/// # Errors
/// [`RegistryError::Gone`]
pub fn component(conn: &Connection, hash: ContentHash) -> Result<Vec<u8>, RegistryError> {
    let found =
        conn.query_row("SELECT component FROM engine_script WHERE hash = ?", [hash.0], |row| row.get(0)).optional()?;
    found.ok_or_else(|| RegistryError::Gone { name: "?".to_owned(), hash: hash.to_string() })
}

fn select(
    conn: &Connection,
    condition: &str,
    parameters: impl rusqlite::Params,
) -> Result<Vec<ScriptVersion>, RegistryError> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} {condition}"))?;
    let rows = statement.query_map(parameters, read)?;
    rows.map(|row| row?).collect()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Result<ScriptVersion, RegistryError>> {
    let name: String = row.get(1)?;
    let (manifest, imports): (String, String) = (row.get(6)?, row.get(7)?);
    let parsed = serde_json::from_str(&manifest).and_then(|manifest| Ok((manifest, serde_json::from_str(&imports)?)));
    let (manifest, imports) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Err(RegistryError::Damaged { name, problem: error.to_string() })),
    };
    Ok(Ok(ScriptVersion {
        hash: ContentHash(row.get(0)?),
        name,
        version: row.get(2)?,
        uploaded_by: row.get(3)?,
        at: time(row.get(4)?),
        size: u64::try_from(row.get::<_, i64>(5)?).unwrap_or_default(),
        active: row.get(8)?,
        manifest,
        imports,
    }))
}

/// What is stored was a time once.
fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or_default()
}
