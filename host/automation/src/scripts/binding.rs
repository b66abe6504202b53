//! The version of a script that each part of a rule runs. Grants are bound to it: it moves with `latest` only while the
//! newer version asks for nothing more and takes the rule's parameters; else the rule stays with what it has until its
//! owner says yes to what the newer one asks for. Saving something else is no yes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;
use triggerbox_model::{schema::Schema, value::Id};
use triggerbox_sandbox::ContentHash;

use super::{
    asks::{Asked, More},
    registry::{self, Activation, RegistryError, ScriptVersion},
};
use crate::{
    index,
    rule::{Action, Rule, ScriptRef, Source, Version, check::parameters},
};

/// The record source's place among the parts of a rule; an action's is its index.
pub const SOURCE: i64 = -1;

/// What one part of a rule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bound {
    /// The version.
    pub hash: ContentHash,
    /// Whether it can run.
    pub state: State,
}

/// Whether a bound version can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It can.
    Ready,
    /// The rule wants `latest`, and the script is switched off.
    Inactive,
    /// It is not stored.
    Gone,
}

/// A rule that stays with an older version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The rule.
    pub rule: String,
    /// Its action's index, or [`SOURCE`].
    pub part: i64,
    /// In words.
    pub why: String,
}

/// A version that a part of a rule would run if its owner said yes to it.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// The action's index, or [`SOURCE`].
    pub part: i64,
    /// The version that it runs.
    pub runs: ScriptVersion,
    /// The active one.
    pub newest: ScriptVersion,
    /// What that one asks for besides what was agreed to.
    pub more: More,
}

impl HeldBack {
    /// Where it is, in the words of the rule's file.
    #[must_use]
    pub fn place(&self) -> String {
        if self.part == SOURCE { "source.script".to_owned() } else { format!("actions[{}].script", self.part) }
    }
}

/// What switching a script to another version did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Switched {
    /// Rules that run the new version from now on.
    pub moved: Vec<String>,
    /// Rules that do not.
    pub held: Vec<Held>,
}

/// The scripts of a rule, each with its place.
pub fn parts(rule: &Rule) -> impl Iterator<Item = (i64, &ScriptRef)> {
    let source = match &rule.source {
        Some(Source::Script(script)) => Some((SOURCE, script)),
        _ => None,
    };
    (0_i64..).zip(rule.actions.iter().map(|action| &action.script)).chain(source)
}

/// Sets what the parts of a rule run, in place of what they ran.
///
/// # Errors
/// What the database says.
pub fn bind(conn: &Connection, rule: &str, parts: &[(i64, ContentHash)]) -> Result<(), RegistryError> {
    conn.execute("DELETE FROM engine_binding WHERE rule = ?", [rule])?;
    let mut insert = conn.prepare_cached("INSERT INTO engine_binding (rule, part, hash) VALUES (?, ?, ?)")?;
    for (part, hash) in parts {
        insert.execute((rule, part, hash.0))?;
    }
    Ok(())
}

/// What the parts of a rule run.
///
/// # Errors
/// What the database says.
pub fn bound(conn: &Connection, rule: &Rule) -> Result<BTreeMap<i64, Bound>, RegistryError> {
    let mut statement = conn.prepare_cached(
        "SELECT b.part, b.hash, s.hash IS NOT NULL, a.hash IS NOT NULL FROM engine_binding b \
         LEFT JOIN engine_script s ON s.hash = b.hash LEFT JOIN engine_active_script a ON a.name = s.name \
         WHERE b.rule = ?",
    )?;
    let rows = statement.query_map([&rule.name], |row| {
        Ok((row.get::<_, i64>(0)?, ContentHash(row.get(1)?), row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
    })?;
    let mut found = BTreeMap::new();
    let wanted: BTreeMap<i64, &ScriptRef> = parts(rule).collect();
    for row in rows {
        let (part, hash, stored, active) = row?;
        let Some(wanted) = wanted.get(&part) else { continue };
        let state = match (stored, wanted.version == Version::Latest && !active) {
            (false, _) => State::Gone,
            (true, true) => State::Inactive,
            (true, false) => State::Ready,
        };
        found.insert(part, Bound { hash, state });
    }
    Ok(found)
}

/// The version that a part of a rule runs now.
///
/// # Errors
/// [`RegistryError::Gone`], [`RegistryError::Inactive`]: it cannot run.
pub fn effective(conn: &Connection, rule: &Rule, part: i64) -> Result<ContentHash, RegistryError> {
    let wanted = parts(rule).find(|(known, _)| *known == part).map(|(_, script)| script);
    let name = || wanted.map(|script| script.name.clone()).unwrap_or_default();
    match (bound(conn, rule)?.get(&part), wanted) {
        (Some(Bound { hash, state: State::Ready }), _) => Ok(*hash),
        (Some(Bound { state: State::Inactive, .. }), _) => Err(RegistryError::Inactive { name: name() }),
        (Some(Bound { hash, state: State::Gone }), _) => {
            Err(RegistryError::Gone { name: name(), hash: hash.to_string() })
        }
        (None, Some(script)) => Ok(registry::resolve(conn, script)?.hash),
        (None, None) => Err(RegistryError::Unknown { name: format!("{}[{part}]", rule.name), near: None }),
    }
}

/// Makes a version the active one. Rules that want `latest` move with it, if it asks for nothing more.
///
/// # Errors
/// [`RegistryError`]
pub fn activate(
    conn: &Connection,
    schema: &Schema,
    version: &ScriptVersion,
    by: Id,
    now: Timestamp,
) -> Result<Switched, RegistryError> {
    registry::set_active(conn, &version.name, Some(version.hash), by, now)?;
    let mut switched = Switched::default();
    for rule in rules_with(conn, &version.name)? {
        let bound = bound(conn, &rule)?;
        for (part, _) in parts(&rule).filter(|(_, script)| is_latest(script, &version.name)) {
            let old = bound.get(&part).map(|bound| bound.hash);
            if old == Some(version.hash) {
                continue;
            }
            match old.map(|old| objection(conn, schema, &rule, part, old, version)).transpose()?.flatten() {
                Some(why) => switched.held.push(Held { rule: rule.name.clone(), part, why }),
                None => {
                    conn.execute(
                        "INSERT INTO engine_binding (rule, part, hash) VALUES (?1, ?2, ?3) \
                         ON CONFLICT (rule, part) DO UPDATE SET hash = ?3",
                        (&rule.name, part, version.hash.0),
                    )?;
                    if switched.moved.last() != Some(&rule.name) {
                        switched.moved.push(rule.name.clone());
                    }
                }
            }
        }
    }
    if !switched.moved.is_empty() {
        index::revise(conn)?;
    }
    Ok(switched)
}

/// Switches a script off: rules that want its `latest` do not run until a version is active again.
///
/// # Errors
/// [`RegistryError`]
pub fn deactivate(conn: &Connection, name: &str, by: Id, now: Timestamp) -> Result<(), RegistryError> {
    registry::versions(conn, name)?;
    registry::set_active(conn, name, None, by, now)
}

/// Makes the version active that was so before the present one.
///
/// # Errors
/// [`RegistryError::NoEarlier`]
pub fn roll_back(
    conn: &Connection,
    schema: &Schema,
    name: &str,
    by: Id,
    now: Timestamp,
) -> Result<(ScriptVersion, Switched), RegistryError> {
    let present =
        registry::versions(conn, name)?.into_iter().find(|version| version.active).map(|version| version.hash);
    let earlier = earlier(&registry::history(conn, name)?, present);
    let earlier = earlier.ok_or_else(|| RegistryError::NoEarlier { name: name.to_owned() })?;
    let version = registry::version(conn, earlier, name)?;
    let switched = activate(conn, schema, &version, by, now)?;
    Ok((version, switched))
}

/// The version that a script goes back to, by what was active when, the newest first, and what is now; none: there is no earlier
/// one.
#[must_use]
pub fn earlier(history: &[Activation], present: Option<ContentHash>) -> Option<ContentHash> {
    // Going back twice goes back twice: the versions before the first time that the present one became active.
    let first = history.iter().rposition(|entry| entry.hash == present).map_or(0, |index| index + 1);
    history.iter().skip(first).find_map(|entry| entry.hash)
}

/// Why a rule may not move from one version to another by itself.
fn objection(
    conn: &Connection,
    schema: &Schema,
    rule: &Rule,
    part: i64,
    old: ContentHash,
    new: &ScriptVersion,
) -> Result<Option<String>, RegistryError> {
    let old = registry::version(conn, old, &new.name)?;
    let more = more(schema, rule, part, &old, new);
    if !more.is_empty() {
        return Ok(Some(format!("version {} asks for more than its owner agreed to: {more}", new.version)));
    }
    let action = action(rule, part);
    let misfit = action.and_then(|action| parameters::misfits(&new.manifest, &action.parameters).into_iter().next());
    Ok(misfit.map(|(name, problem)| format!("version {}: parameter `{name}` {problem}", new.version)))
}

/// The action at a place; the record source is none.
pub(crate) fn action(rule: &Rule, part: i64) -> Option<&Action> {
    usize::try_from(part).ok().and_then(|index| rule.actions.get(index))
}

/// What a version asks for beyond another one, as a part of a rule.
fn more(schema: &Schema, rule: &Rule, part: i64, old: &ScriptVersion, new: &ScriptVersion) -> More {
    let asked = |version: &ScriptVersion| match action(rule, part) {
        Some(action) => Asked::by(schema, rule, action, &version.manifest),
        None => Asked::of(&version.manifest),
    };
    asked(new).beyond(&asked(old))
}

/// Whether a part of a rule, which runs an older version of its script, stays with it: the active one asks for more.
///
/// # Errors
/// [`RegistryError`]
pub fn held_back(
    conn: &Connection,
    schema: &Schema,
    rule: &Rule,
    (part, script): (i64, &ScriptRef),
    runs: ContentHash,
) -> Result<Option<HeldBack>, RegistryError> {
    if script.version != Version::Latest {
        return Ok(None);
    }
    let newest = registry::resolve(conn, script)?;
    if newest.hash == runs {
        return Ok(None);
    }
    // A version that is gone has nothing to stay with.
    let Ok(runs) = registry::version(conn, runs, &script.name) else { return Ok(None) };
    let more = more(schema, rule, part, &runs, &newest);
    Ok((!more.is_empty()).then_some(HeldBack { part, runs, newest, more }))
}

/// The versions that the parts of a rule, as it is kept, would run if its owner said yes.
///
/// # Errors
/// What the database says.
pub fn all_held_back(conn: &Connection, schema: &Schema, rule: &Rule) -> Result<Vec<HeldBack>, RegistryError> {
    let bound = bound(conn, rule)?;
    let mut held = Vec::new();
    for (part, script) in parts(rule) {
        let Some(Bound { hash, state: State::Ready }) = bound.get(&part) else { continue };
        held.extend(held_back(conn, schema, rule, (part, script), *hash)?);
    }
    Ok(held)
}

fn is_latest(script: &ScriptRef, name: &str) -> bool {
    script.name == name && script.version == Version::Latest
}

/// Rules that want the latest version of a script.
fn rules_with(conn: &Connection, name: &str) -> Result<Vec<Rule>, RegistryError> {
    let mut statement = conn.prepare_cached("SELECT name, body FROM engine_rule ORDER BY name")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut rules = Vec::new();
    for row in rows {
        let (rule, body) = row?;
        let parsed: Rule = serde_json::from_str(&body).map_err(|error| RegistryError::Damaged {
            name: name.to_owned(),
            problem: format!("rule {rule}: {error}"),
        })?;
        if parts(&parsed).any(|(_, script)| is_latest(script, name)) {
            rules.push(parsed);
        }
    }
    Ok(rules)
}
