//! Accounts: who may sign in, with which roles, and as which user of the records.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use triggerbox_model::{error::Error, value::Id};

use super::{Role, roles::scopes};
use crate::tokens::Scope;

pub(super) const TABLE: &str = "CREATE TABLE IF NOT EXISTS server_account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    login TEXT NOT NULL UNIQUE COLLATE NOCASE,
    user INTEGER NOT NULL,               -- res.users: whose rights it has
    roles TEXT NOT NULL,                 -- separated by spaces
    password TEXT,                       -- Argon2; none until the first one is set
    created INTEGER NOT NULL,
    disabled INTEGER                     -- since when it is
) STRICT;
CREATE INDEX IF NOT EXISTS server_account_user ON server_account (user)";

/// Somebody who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub id: i64,
    /// What they sign in with.
    pub login: String,
    /// Whose rights they have (`res.users`).
    pub user: Id,
    /// What they do here.
    pub roles: BTreeSet<Role>,
    /// The hash of the password; none until one is set.
    pub password: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Since when nobody can sign in with it.
    pub disabled: Option<Timestamp>,
}

const COLUMNS: &str = "SELECT id, login, user, roles, password, created, disabled FROM server_account";

/// Makes an account, without a password.
///
/// # Errors
/// `bad-login`, `login-taken`; what SQLite says.
pub fn create(
    conn: &Connection,
    login: &str,
    user: Id,
    roles: &BTreeSet<Role>,
    now: Timestamp,
) -> rusqlite::Result<Result<i64, Error>> {
    let login = login.trim();
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    if login.is_empty() || login.chars().count() > 100 || !login.chars().all(plain) {
        let error = Error::invalid("bad-login", "a sign-in name has 1 to 100 characters and no spaces");
        return Ok(Err(error.with_field("login")));
    }
    if by_login(conn, login)?.is_some() {
        let error = Error::rejected("login-taken", format!("there is an account `{login}` already"));
        return Ok(Err(error.with_field("login")));
    }
    let sql = "INSERT INTO server_account (login, user, roles, created) VALUES (?, ?, ?, ?)";
    conn.execute(sql, (login, user, text(roles), now.as_millisecond()))?;
    Ok(Ok(conn.last_insert_rowid()))
}

/// The account of a sign-in name.
///
/// # Errors
/// What SQLite says.
pub fn by_login(conn: &Connection, login: &str) -> rusqlite::Result<Option<Account>> {
    conn.prepare_cached(&format!("{COLUMNS} WHERE login = ?"))?.query_row([login.trim()], read).optional()
}

/// One account.
///
/// # Errors
/// `unknown-account`; what SQLite says.
pub fn get(conn: &Connection, id: i64) -> rusqlite::Result<Result<Account, Error>> {
    let found = conn.prepare_cached(&format!("{COLUMNS} WHERE id = ?"))?.query_row([id], read).optional()?;
    Ok(found.ok_or_else(|| Error::not_found("unknown-account", format!("there is no account {id}"))))
}

/// All accounts, by sign-in name.
///
/// # Errors
/// What SQLite says.
pub fn list(conn: &Connection) -> rusqlite::Result<Vec<Account>> {
    conn.prepare_cached(&format!("{COLUMNS} ORDER BY login"))?.query_map([], read)?.collect()
}

/// Accounts by sign-in name, from this one on: so many at most.
///
/// # Errors
/// What SQLite says.
pub fn from(conn: &Connection, login: &str, limit: u32) -> rusqlite::Result<Vec<Account>> {
    let sql = format!("{COLUMNS} WHERE login >= ? ORDER BY login LIMIT ?");
    conn.prepare_cached(&sql)?.query_map((login.trim(), limit), read)?.collect()
}

/// What the accounts of a user open together: nothing, where all of them are switched off. None: the user has no account.
///
/// # Errors
/// What SQLite says.
pub fn opened_for(conn: &Connection, user: Id) -> rusqlite::Result<Option<BTreeSet<Scope>>> {
    let mut statement = conn.prepare_cached(&format!("{COLUMNS} WHERE user = ?"))?;
    let all: Vec<Account> = statement.query_map([user], read)?.collect::<Result<_, _>>()?;
    let on = all.iter().filter(|one| one.disabled.is_none());
    let roles = on.flat_map(|one| &one.roles).copied().collect();
    Ok((!all.is_empty()).then(|| scopes(&roles)))
}

/// Sets a password's hash.
///
/// # Errors
/// What SQLite says.
pub fn set_password(conn: &Connection, id: i64, hash: &str) -> rusqlite::Result<()> {
    conn.execute("UPDATE server_account SET password = ?2 WHERE id = ?1", (id, hash)).map(drop)
}

/// Changes what an account may do, or switches it off. The last administrator stays one.
///
/// # Errors
/// `unknown-account`, `last-administrator`; what SQLite says.
pub fn change(
    conn: &Connection,
    id: i64,
    user: Id,
    roles: &BTreeSet<Role>,
    disabled: Option<Timestamp>,
) -> rusqlite::Result<Result<(), Error>> {
    if let Err(error) = get(conn, id)? {
        return Ok(Err(error));
    }
    let stays = roles.contains(&Role::Administrator) && disabled.is_none();
    let rules = |one: &Account| one.disabled.is_none() && one.roles.contains(&Role::Administrator);
    if !stays && !list(conn)?.iter().any(|one| one.id != id && rules(one)) {
        let text = "this is the last administrator; make another one first";
        return Ok(Err(Error::rejected("last-administrator", text)));
    }
    let sql = "UPDATE server_account SET user = ?2, roles = ?3, disabled = ?4 WHERE id = ?1";
    conn.execute(sql, (id, user, text(roles), disabled.map(Timestamp::as_millisecond)))?;
    Ok(Ok(()))
}

fn text(roles: &BTreeSet<Role>) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(" ")
}

fn read(row: &Row<'_>) -> rusqlite::Result<Account> {
    let roles: String = row.get(3)?;
    let time = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
    Ok(Account {
        id: row.get(0)?,
        login: row.get(1)?,
        user: row.get(2)?,
        // A role that this program does not know opens nothing.
        roles: roles.split(' ').filter_map(|name| name.parse().ok()).collect(),
        password: row.get(4)?,
        created: time(row.get(5)?),
        disabled: row.get::<_, Option<i64>>(6)?.map(time),
    })
}
