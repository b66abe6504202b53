//! Agents as they are kept: every change is a version. Each function works inside the caller's transaction; after an error
//! the caller rolls back.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use triggerbox_model::{error::Error, text::nearest, value::Id};

use super::{
    Agent,
    check::{by_whom, check},
};
use crate::{
    clock::timestamp,
    error::EngineError,
    rule::{
        check::{Finding, Ground, Severity},
        stored::{Edit, Outcome, RuleError},
    },
};

/// An agent as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredAgent {
    /// The version that counts.
    pub version: u32,
    /// What it says.
    pub agent: Agent,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SavedAgent {
    /// The agent.
    pub agent: String,
    /// Its version.
    pub version: u32,
    /// What happened.
    pub outcome: Outcome,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
}

/// One version of an agent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AgentVersion {
    /// Its number.
    pub version: u32,
    /// Who made it (`res.users`).
    pub author: Id,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub note: String,
    /// What it says; nothing for a deletion.
    pub agent: Option<Agent>,
}

/// All agents, by name.
///
/// # Errors
/// What the database says.
pub fn all(conn: &Connection) -> Result<Vec<StoredAgent>, EngineError> {
    let mut statement = conn.prepare_cached("SELECT version, body FROM engine_agent ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    let mut agents = Vec::new();
    for row in rows {
        let (version, body) = row?;
        agents.push(StoredAgent { version, agent: serde_json::from_str(&body)? });
    }
    Ok(agents)
}

/// One agent.
///
/// # Errors
/// `unknown-agent`
pub fn get(conn: &Connection, name: &str) -> Result<StoredAgent, EngineError> {
    find(conn, name)?.map_or_else(|| Err(unknown(conn, name)), Ok)
}

/// One agent, if it is there.
///
/// # Errors
/// What the database says.
pub fn find(conn: &Connection, name: &str) -> Result<Option<StoredAgent>, EngineError> {
    let mut statement = conn.prepare_cached("SELECT version, body FROM engine_agent WHERE name = ?")?;
    let row = statement.query_row([name], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).optional()?;
    let read = |(version, body): (u32, String)| Ok(StoredAgent { version, agent: serde_json::from_str(&body)? });
    row.map(read).transpose()
}

/// Creates an agent, or changes the one of that name.
///
/// # Errors
/// [`RuleError::Refused`] with all findings.
pub fn save(ground: Ground<'_>, agent: &Agent, edit: &Edit<'_>) -> Result<SavedAgent, RuleError> {
    let mut findings = check(ground, agent);
    findings.extend(by_whom(edit.administrator, edit.by));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(RuleError::Refused(findings));
    }
    let known = find(ground.conn, &agent.name).map_err(failed)?;
    let saved = |version, outcome| SavedAgent { agent: agent.name.clone(), version, outcome, warnings: findings };
    let body = serde_json::to_string(agent)
        .map_err(|error| RuleError::Damaged { name: agent.name.clone(), problem: error.to_string() })?;
    if let Some(known) = known.as_ref().filter(|known| known.agent == *agent) {
        return Ok(saved(known.version, Outcome::Unchanged));
    }
    let version = write_version(ground.conn, &agent.name, &body, edit)?;
    ground.conn.execute(
        "INSERT INTO engine_agent (name, version, body) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET version = ?2, body = ?3",
        (&agent.name, version, &body),
    )?;
    Ok(saved(version, if known.is_some() { Outcome::Updated } else { Outcome::Created }))
}

/// Deletes an agent that no rule picks. Its history stays.
///
/// # Errors
/// `unknown-agent`, `agent-in-use`, [`RuleError::Refused`]
pub fn delete(conn: &Connection, name: &str, edit: &Edit<'_>) -> Result<(), EngineError> {
    get(conn, name)?;
    if let Some(finding) = by_whom(edit.administrator, edit.by) {
        return Err(RuleError::Refused(vec![finding]).into());
    }
    let sql = "SELECT name FROM engine_rule r WHERE EXISTS \
               (SELECT 1 FROM json_each(r.body, '$.actions') a WHERE a.value ->> 'agent' = ?) ORDER BY name";
    let rules: Vec<String> = conn.prepare(sql)?.query_map([name], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if !rules.is_empty() {
        let message = format!("the agent `{name}` is picked by {}; have them pick another first", rules.join(", "));
        return Err(Error::rejected("agent-in-use", message).into());
    }
    write_version(conn, name, "", edit)?;
    conn.execute("DELETE FROM engine_agent WHERE name = ?", [name])?;
    Ok(())
}

/// All versions of an agent, the newest first; also of a deleted one.
///
/// # Errors
/// `unknown-agent`
pub fn history(conn: &Connection, name: &str) -> Result<Vec<AgentVersion>, EngineError> {
    let sql = "SELECT version, author, at, note, body FROM engine_agent_version WHERE agent = ? ORDER BY version DESC";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([name])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let body: String = row.get(4)?;
        versions.push(AgentVersion {
            version: row.get(0)?,
            author: row.get(1)?,
            at: timestamp(row.get(2)?),
            note: row.get(3)?,
            agent: if body.is_empty() { None } else { Some(serde_json::from_str(&body)?) },
        });
    }
    if versions.is_empty() { Err(unknown(conn, name)) } else { Ok(versions) }
}

fn write_version(conn: &Connection, name: &str, body: &str, edit: &Edit<'_>) -> rusqlite::Result<u32> {
    let sql = "SELECT coalesce(max(version), 0) + 1 FROM engine_agent_version WHERE agent = ?";
    let version = conn.query_row(sql, [name], |row| row.get(0))?;
    conn.execute(
        "INSERT INTO engine_agent_version (agent, version, author, at, note, body) VALUES (?, ?, ?, ?, ?, ?)",
        (name, version, edit.by, edit.at.as_millisecond(), edit.note, body),
    )?;
    Ok(version)
}

fn unknown(conn: &Connection, name: &str) -> EngineError {
    let names: Vec<String> = all(conn).unwrap_or_default().into_iter().map(|known| known.agent.name).collect();
    let near = nearest(name, names.iter().map(String::as_str));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Error::not_found("unknown-agent", format!("there is no agent `{name}`{near}")).into()
}

fn failed(error: EngineError) -> RuleError {
    match error {
        EngineError::Database(error) => RuleError::Database(error),
        error => RuleError::Damaged { name: String::new(), problem: error.to_string() },
    }
}
