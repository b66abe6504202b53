//! Bearer tokens: drawn here, shown once, kept as hashes. Each acts as a user of the backend.

use std::{collections::BTreeSet, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use triggerbox_model::{error::Error, value::Id};
use utoipa::ToSchema;

/// What a token may be used for. Reading is one scope; each kind of change is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Look at everything that the user may see.
    Read,
    /// Change records, as far as the user's rights go.
    Records,
    /// Change rules.
    Rules,
    /// Upload and activate scripts.
    Scripts,
    /// Run, retry, cancel, pause, stop.
    Operate,
    /// Say yes or no to changes.
    Approve,
    /// Make and revoke tokens.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Records, Self::Rules, Self::Scripts, Self::Operate, Self::Approve, Self::Admin];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Records => "records",
            Self::Rules => "rules",
            Self::Scripts => "scripts",
            Self::Operate => "operate",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == text)
            .ok_or_else(|| format!("`{text}` is no scope; there are {names}"))
    }
}

/// A token, without what is secret about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// The user that it acts as (`res.users`).
    pub user: Id,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it is good; none: until it is revoked.
    pub expires: Option<Timestamp>,
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_token (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash BLOB NOT NULL UNIQUE,           -- SHA-256: what is hashed has 256 random bits, so one round is enough
    name TEXT NOT NULL, user INTEGER NOT NULL,
    scopes TEXT NOT NULL,                -- separated by spaces
    created INTEGER NOT NULL, expires INTEGER, revoked INTEGER
) STRICT";

/// Whether there is the table. Without it there are no tokens.
///
/// # Errors
/// What SQLite says.
pub fn has_table(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT count(*) > 0 FROM sqlite_schema WHERE type = 'table' AND name = 'server_token'";
    conn.query_row(sql, [], |row| row.get(0))
}

/// Makes the table, in a transaction of the caller.
///
/// # Errors
/// What SQLite says.
pub fn create_table(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(TABLE)
}

/// What a new token is to be.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What people call it.
    pub name: String,
    /// The user that it acts as.
    pub user: Id,
    /// What it may be used for.
    pub scopes: BTreeSet<Scope>,
    /// Until when it is good.
    pub expires: Option<Timestamp>,
}

/// Draws a token and keeps its hash. The text is never to be had again.
///
/// # Errors
/// What SQLite says.
pub fn create(conn: &Connection, new: &NewToken, now: Timestamp) -> rusqlite::Result<(Token, String)> {
    let text = format!("tb_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
    let scopes = new.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ");
    let sql = "INSERT INTO server_token (hash, name, user, scopes, created, expires) VALUES (?, ?, ?, ?, ?, ?)";
    let expires = new.expires.map(Timestamp::as_millisecond);
    conn.execute(sql, (hash(&text), &new.name, new.user, scopes, now.as_millisecond(), expires))?;
    let token = Token {
        id: conn.last_insert_rowid(),
        name: new.name.clone(),
        user: new.user,
        scopes: new.scopes.clone(),
        created: now,
        expires: new.expires,
    };
    Ok((token, text))
}

const COLUMNS: &str = "SELECT id, name, user, scopes, created, expires FROM server_token WHERE revoked IS NULL";

/// The token with this text, if it is good now.
///
/// # Errors
/// What SQLite says.
pub fn find(conn: &Connection, text: &str, now: Timestamp) -> rusqlite::Result<Option<Token>> {
    let sql = format!("{COLUMNS} AND hash = ?1 AND (expires IS NULL OR expires > ?2)");
    conn.prepare_cached(&sql)?.query_row((hash(text), now.as_millisecond()), read).optional()
}

/// All tokens that are not revoked, the newest first.
///
/// # Errors
/// What SQLite says.
pub fn list(conn: &Connection) -> rusqlite::Result<Vec<Token>> {
    conn.prepare_cached(&format!("{COLUMNS} ORDER BY id DESC"))?.query_map([], read)?.collect()
}

/// Tokens that are not revoked, the newest first, from this one back: so many at most.
///
/// # Errors
/// What SQLite says.
pub fn back_from(conn: &Connection, id: i64, limit: u32) -> rusqlite::Result<Vec<Token>> {
    let sql = format!("{COLUMNS} AND id <= ? ORDER BY id DESC LIMIT ?");
    conn.prepare_cached(&sql)?.query_map((id, limit), read)?.collect()
}

/// Ends a token, now. Which one it was.
///
/// # Errors
/// `unknown-token`; what SQLite says.
pub fn revoke(conn: &Connection, id: i64, now: Timestamp) -> rusqlite::Result<Result<Token, Error>> {
    let known = conn.prepare_cached(&format!("{COLUMNS} AND id = ?1"))?.query_row([id], read).optional()?;
    conn.execute("UPDATE server_token SET revoked = ?2 WHERE id = ?1 AND revoked IS NULL", (id, now.as_millisecond()))?;
    let gone = || Error::not_found("unknown-token", format!("there is no token {id}, or it is revoked already"));
    Ok(known.ok_or_else(gone))
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scopes: String = row.get(3)?;
    let time = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
    Ok(Token {
        id: row.get(0)?,
        name: row.get(1)?,
        user: row.get(2)?,
        // A scope that this program does not know allows nothing.
        scopes: scopes.split(' ').filter_map(|name| name.parse().ok()).collect(),
        created: time(row.get(4)?),
        expires: row.get::<_, Option<i64>>(5)?.map(time),
    })
}
