//! Rules as they are kept: every change is a version that can be compared and restored. Each function works inside the
//! caller's transaction; after an error the caller rolls back.
//!
//! Whoever edits what a rule does, when, on what or as whom becomes its owner, because its scripts run with the owner's
//! rights; or the change is only proposed, and the owner says yes or no.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use triggerbox_model::{text::nearest, value::Id};
use triggerbox_store::db::DbError;

use super::{
    Rule, ScriptRef,
    check::{Finding, Ground, Severity, check_running},
};
use crate::{
    engine, pauses, proposals, queue, refusals,
    scripts::{
        RegistryError,
        binding::{self, Bound, HeldBack},
        registry,
    },
    seen,
};

/// A rule as it is kept.
#[derive(Debug, Clone, Serialize)]
pub struct Stored {
    /// The version that counts.
    pub version: u32,
    /// Whose rights it has when it names nobody (`res.users`).
    pub owner: Id,
    /// Why it does not fire though it is active.
    pub paused: Option<String>,
    /// What it says.
    pub rule: Rule,
    /// What its parts run: actions by index, the record source by [`binding::SOURCE`].
    #[serde(skip)]
    pub bound: BTreeMap<i64, Bound>,
}

/// Who changes a rule, and how.
#[derive(Debug, Clone)]
pub struct Edit<'a> {
    /// Who (`res.users`).
    pub by: Id,
    /// When.
    pub at: Timestamp,
    /// Why, for the history.
    pub note: &'a str,
    /// What happens when somebody edits another's rule.
    pub ownership: Ownership,
    /// Whether they may name another user, or none, to run as: only administrators lend rights that are not theirs.
    pub administrator: bool,
    /// Whether they say yes to what active versions of the rule's scripts ask for besides what was agreed to.
    pub agrees: bool,
}

/// What happens when somebody edits another's rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// They become its owner: it has their rights from now on.
    #[default]
    Take,
    /// It stays as it is until its owner agrees.
    Ask,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// The rule.
    pub rule: String,
    /// Its version; of a proposal, the proposed one.
    pub version: u32,
    /// What happened.
    pub outcome: Outcome,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
    /// Versions of scripts that it runs from now on though they ask for more, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<String>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The rule is new.
    Created,
    /// The rule is as it was said.
    Updated,
    /// It was so already.
    Unchanged,
    /// It waits for the owner.
    Proposed,
}

/// One version of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleVersion {
    /// Its number.
    pub version: u32,
    /// Who made it (`res.users`).
    pub author: Id,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub note: String,
    /// What it is now.
    pub state: VersionState,
    /// What it says; nothing for a deletion.
    pub rule: Option<Rule>,
}

/// What a version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// It counts, or counted once.
    Accepted,
    /// It waits for the owner.
    Proposed,
    /// The owner said no.
    Rejected,
    /// The rule was deleted.
    Deleted,
}

/// Why a rule was not changed. [`RuleError::code`] is stable.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The rule makes no sense. Whoever wrote it; all reasons at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Finding>),
    /// There is no such rule. Whoever named it.
    #[error("there is no rule `{name}`{}", .near.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    Unknown {
        /// The name asked for.
        name: String,
        /// A name that was probably meant.
        near: Option<String>,
    },
    /// There is no such version. Whoever named it.
    #[error("rule `{name}` has no {what}; `triggerbox rules history {name}` shows its versions")]
    NoVersion {
        /// The rule.
        name: String,
        /// Which one.
        what: String,
    },
    /// The rule was changed since a version was proposed, and a yes would take that back. The owner.
    #[error(
        "rule `{name}` was changed since version {version} was proposed, and is version {now} by now: say no to it, and have \
             it proposed again on what the rule is now (`triggerbox rules diff {name} {now} {version}` compares them)"
    )]
    Overtaken {
        /// The rule.
        name: String,
        /// The proposed version.
        version: u32,
        /// The version that counts.
        now: u32,
    },
    /// Only the owner may do this.
    #[error("rule `{name}` belongs to user {owner}; only its owner says yes or no to a proposal")]
    NotTheOwner {
        /// The rule.
        name: String,
        /// Its owner.
        owner: Id,
    },
    /// A script is not there.
    #[error(transparent)]
    Script(#[from] RegistryError),
    /// What is stored cannot be read. The operator.
    #[error("what is stored of rule `{name}` cannot be read: {problem}")]
    Damaged {
        /// The rule.
        name: String,
        /// Why.
        problem: String,
    },
    /// The database failed. The operator.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<rusqlite::Error> for RuleError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

impl RuleError {
    /// Stable name of the case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "rule-refused",
            Self::Unknown { .. } => "unknown-rule",
            Self::NoVersion { .. } => "unknown-version",
            Self::Overtaken { .. } => "proposal-overtaken",
            Self::NotTheOwner { .. } => "not-the-owner",
            Self::Script(error) => error.code(),
            Self::Damaged { .. } => "damaged-rule",
            Self::Database(error) => error.code(),
        }
    }
}

/// All rules, by name.
///
/// # Errors
/// What the database says.
pub fn all(conn: &Connection) -> Result<Vec<Stored>, RuleError> {
    let mut statement =
        conn.prepare_cached("SELECT name, version, owner, paused, body FROM engine_rule ORDER BY name")?;
    let rows = statement.query_map([], columns)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|row| read(conn, row)).collect()
}

/// Rules by name, from this one on: so many at most.
///
/// # Errors
/// What the database says.
pub fn from(conn: &Connection, name: &str, limit: usize) -> Result<Vec<Stored>, RuleError> {
    let sql = "SELECT name, version, owner, paused, body FROM engine_rule WHERE name >= ? ORDER BY name LIMIT ?";
    let mut statement = conn.prepare_cached(sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((name, limit), columns)?.collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().map(|row| read(conn, row)).collect()
}

/// One rule.
///
/// # Errors
/// [`RuleError::Unknown`]
pub fn get(conn: &Connection, name: &str) -> Result<Stored, RuleError> {
    find(conn, name)?.map_or_else(|| Err(unknown(conn, name)), Ok)
}

/// One rule, if it is there.
///
/// # Errors
/// What the database says.
pub fn find(conn: &Connection, name: &str) -> Result<Option<Stored>, RuleError> {
    let mut statement =
        conn.prepare_cached("SELECT name, version, owner, paused, body FROM engine_rule WHERE name = ?")?;
    let row = statement.query_row([name], columns).optional()?;
    row.map(|row| read(conn, row)).transpose()
}

/// Creates a rule, or changes the one of that name.
///
/// # Errors
/// [`RuleError::Refused`]
pub fn save(ground: Ground<'_>, rule: &Rule, edit: &Edit<'_>) -> Result<Saved, RuleError> {
    let known = find(ground.conn, &rule.name)?;
    let (mut findings, wanted) = checked(ground, rule, known.as_ref(), edit)?;
    findings.extend(lending(rule, known.as_ref(), edit));
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(RuleError::Refused(findings));
    }
    let Wanted { parts, held, agreed } = wanted?;
    findings.extend(held);
    let saved = |version, outcome| {
        let agreed = if outcome == Outcome::Updated { agreed.clone() } else { Vec::new() };
        Saved { rule: rule.name.clone(), version, outcome, warnings: findings.clone(), agreed }
    };
    let Some(known) = known else {
        let version = write_version(ground.conn, rule, edit, VersionState::Accepted, (edit.by, None))?;
        ground.conn.execute(
            "INSERT INTO engine_rule (name, version, owner, body) VALUES (?, ?, ?, ?)",
            (&rule.name, version, edit.by, body(rule)?),
        )?;
        binding::bind(ground.conn, &rule.name, &parts)?;
        return Ok(saved(version, Outcome::Created));
    };
    let bound: Vec<_> = known.bound.iter().map(|(part, bound)| (*part, bound.hash)).collect();
    if known.rule == *rule && (bound == parts || known.owner != edit.by && agreed.is_empty()) {
        return Ok(saved(known.version, Outcome::Unchanged));
    }
    // Whoever says yes to more rights answers for them.
    let harmless = is_harmless(&known.rule, rule) && agreed.is_empty();
    if !harmless && known.owner != edit.by && edit.ownership == Ownership::Ask {
        let version =
            write_version(ground.conn, rule, edit, VersionState::Proposed, (known.owner, Some(known.version)))?;
        return Ok(saved(version, Outcome::Proposed));
    }
    let owner = if harmless { known.owner } else { edit.by };
    let version = write_version(ground.conn, rule, edit, VersionState::Accepted, (owner, Some(known.version)))?;
    put(ground.conn, &known.rule, rule, (version, owner), &parts, edit.at)?;
    Ok(saved(version, Outcome::Updated))
}

/// What [`save`] would do. Nothing of it stays.
///
/// # Errors
/// As [`save`].
pub fn plan(ground: Ground<'_>, rule: &Rule, edit: &Edit<'_>) -> Result<Saved, RuleError> {
    ground.conn.execute_batch("SAVEPOINT plan")?;
    let saved = save(ground, rule, edit);
    ground.conn.execute_batch("ROLLBACK TO plan; RELEASE plan")?;
    saved
}

/// The owner says yes to a proposed version, or no. What the rule is then, and the versions of scripts that it runs from now on
/// though they ask for more, in words.
///
/// # Errors
/// [`RuleError::NotTheOwner`], [`RuleError::NoVersion`]; for a yes, [`RuleError::Overtaken`], and [`RuleError::Refused`] when the
/// proposal no longer makes sense.
pub fn decide(
    ground: Ground<'_>,
    name: &str,
    version: u32,
    yes: bool,
    edit: &Edit<'_>,
) -> Result<(Stored, Vec<String>), RuleError> {
    let known = get(ground.conn, name)?;
    if known.owner != edit.by {
        return Err(RuleError::NotTheOwner { name: name.to_owned(), owner: known.owner });
    }
    let proposals = history(ground.conn, name)?;
    let proposal = proposals.into_iter().find(|one| one.version == version && one.state == VersionState::Proposed);
    let Some(rule) = proposal.and_then(|proposal| proposal.rule) else {
        return Err(RuleError::NoVersion { name: name.to_owned(), what: format!("proposed version {version}") });
    };
    let state = if yes { VersionState::Accepted } else { VersionState::Rejected };
    let mut agreed = Vec::new();
    if yes {
        let base = base(ground.conn, name, version)?;
        if base.map_or(known.version > version, |base| base != known.version) {
            return Err(RuleError::Overtaken { name: name.to_owned(), version, now: known.version });
        }
        let (findings, wanted) = checked(ground, &rule, Some(&known), edit)?;
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            return Err(RuleError::Refused(findings));
        }
        let wanted = wanted?;
        agreed = wanted.agreed;
        let parts = wanted.parts;
        put(ground.conn, &known.rule, &rule, (version, known.owner), &parts, edit.at)?;
    }
    ground.conn.execute(
        "UPDATE engine_rule_version SET state = ?, owner = ? WHERE rule = ? AND version = ?",
        (state.name(), known.owner, name, version),
    )?;
    Ok((get(ground.conn, name)?, agreed))
}

/// Deletes a rule. Its history stays, and can be restored; what else is known of it is forgotten, so that one of the same name is
/// new. Its runs that wait end, and what they propose is withdrawn.
///
/// # Errors
/// [`RuleError::Unknown`]
pub fn delete(conn: &Connection, name: &str, edit: &Edit<'_>) -> Result<(), RuleError> {
    let known = get(conn, name)?;
    write_version(conn, &known.rule, edit, VersionState::Deleted, (known.owner, Some(known.version)))?;
    conn.execute("DELETE FROM engine_rule WHERE name = ?", [name])?;
    let at = edit.at.as_millisecond();
    proposals::withdraw_all(conn, name, edit.by, at)?;
    queue::skip_orphans(conn, name, at)?;
    forget(conn, name, at)?;
    binding::bind(conn, name, &[])?;
    Ok(())
}

/// Forgets a rule's times, how far it was backfilled, what its scripts keep, what was delivered to it, what it refused, when it was paused,
/// and that it broke; its sessions are over.
fn forget(conn: &Connection, name: &str, at: i64) -> rusqlite::Result<()> {
    let fills = format!("{}{name} ", engine::BACKFILL);
    conn.execute("DELETE FROM engine_clock WHERE rule = ?1 OR substr(rule, 1, length(?2)) = ?2", (name, fills))?;
    conn.execute("DELETE FROM engine_slot WHERE rule = ?", [name])?;
    conn.execute("DELETE FROM tb_state WHERE rule = ?", [name])?;
    conn.execute("DELETE FROM engine_seen WHERE scope = ?", [engine::deliveries(name)])?;
    conn.execute("UPDATE engine_session SET ended = ?2 WHERE rule = ?1 AND ended IS NULL", (name, at))?;
    refusals::forget(conn, name)?;
    pauses::forget(conn, name)?;
    [seen::BROKEN_BEFORE, seen::BROKEN_TIMES].iter().try_for_each(|scope| seen::remove(conn, scope, name))
}

/// Makes an earlier version the newest one: of a rule that is there, or of one that was deleted.
///
/// # Errors
/// [`RuleError::NoVersion`]; as [`save`].
pub fn restore(ground: Ground<'_>, name: &str, version: u32, edit: &Edit<'_>) -> Result<Saved, RuleError> {
    let found = history(ground.conn, name)?.into_iter().find(|one| one.version == version);
    match found.and_then(|found| found.rule) {
        Some(rule) => save(ground, &rule, edit),
        None if find(ground.conn, name)?.is_none() && history(ground.conn, name)?.is_empty() => {
            Err(unknown(ground.conn, name))
        }
        None => Err(RuleError::NoVersion { name: name.to_owned(), what: format!("version {version}") }),
    }
}

/// Switches a rule on or off.
///
/// # Errors
/// As [`save`].
pub fn set_active(ground: Ground<'_>, name: &str, active: bool, edit: &Edit<'_>) -> Result<Saved, RuleError> {
    let known = get(ground.conn, name)?;
    save(ground, &Rule { active, ..known.rule }, edit)
}

/// Pauses a rule, with a reason, or lets it go on; its failures are counted anew. What is queued waits.
///
/// # Errors
/// [`RuleError::Unknown`]
pub fn pause(conn: &Connection, name: &str, reason: Option<&str>, at: Timestamp) -> Result<(), RuleError> {
    let sql = "SELECT paused IS NOT NULL FROM engine_rule WHERE name = ?";
    let was_paused: Option<bool> = conn.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()?;
    let Some(was_paused) = was_paused else { return Err(unknown(conn, name)) };
    match reason {
        Some(why) => pauses::begin(conn, name, why, at.as_millisecond())?,
        None => pauses::end(conn, name, at.as_millisecond())?,
    }
    if was_paused && reason.is_none() {
        begin_times(conn, name, at)?;
    }
    conn.execute("UPDATE engine_rule SET paused = ?, failures = 0 WHERE name = ?", (reason, name))?;
    Ok(())
}

/// A rule that did not fire goes on: what came due meanwhile is nothing that it makes up for.
fn begin_times(conn: &Connection, name: &str, at: Timestamp) -> Result<(), RuleError> {
    let sql = "UPDATE engine_clock SET done_until = max(done_until, ?2) WHERE rule = ?1";
    conn.execute(sql, (name, at.as_millisecond()))?;
    Ok(())
}

/// All versions of a rule, the newest first; also of a deleted one.
///
/// # Errors
/// What the database says.
pub fn history(conn: &Connection, name: &str) -> Result<Vec<RuleVersion>, RuleError> {
    let mut statement = conn.prepare_cached(
        "SELECT version, author, at, note, state, body FROM engine_rule_version WHERE rule = ? ORDER BY version DESC",
    )?;
    let rows = statement.query_map([name], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get::<_, i64>(2)?,
            row.get(3)?,
            row.get::<_, String>(4)?,
            row.get::<_, String>(5)?,
        ))
    })?;
    let mut versions = Vec::new();
    for row in rows {
        let (version, author, at, note, state, body) = row?;
        versions.push(RuleVersion {
            version,
            author,
            at: Timestamp::from_millisecond(at).unwrap_or_default(),
            note,
            state: VersionState::from_name(&state),
            rule: if body.is_empty() { None } else { Some(parse(name, &body)?) },
        });
    }
    Ok(versions)
}

impl VersionState {
    const ALL: [Self; 4] = [Self::Accepted, Self::Proposed, Self::Rejected, Self::Deleted];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Proposed => "proposed",
            Self::Rejected => "rejected",
            Self::Deleted => "deleted",
        }
    }

    fn from_name(name: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Accepted)
    }
}

/// What the parts of a rule are to run.
struct Wanted {
    parts: Vec<(i64, triggerbox_sandbox::ContentHash)>,
    /// Parts that stay with an older version.
    held: Vec<Finding>,
    /// Versions that ask for more than was agreed to, and run now.
    agreed: Vec<String>,
}

/// What is wrong with a rule as it will run, and what its parts are to run. A version that is held back keeps nobody from
/// changing, or switching off, what runs without it.
fn checked(
    ground: Ground<'_>,
    rule: &Rule,
    known: Option<&Stored>,
    edit: &Edit<'_>,
) -> Result<(Vec<Finding>, Result<Wanted, RuleError>), RuleError> {
    let wanted = wanted(ground, rule, known, edit);
    let runs: BTreeMap<_, _> = wanted.as_ref().map(|wanted| wanted.parts.iter().copied().collect()).unwrap_or_default();
    Ok((check_running(ground, rule, &runs)?, wanted))
}

/// What each part is to run: `latest` as it is now for whoever answers for it, unless that asks for more than was agreed to and
/// this edit is no yes to it; for others what it is bound to already.
fn wanted(ground: Ground<'_>, rule: &Rule, known: Option<&Stored>, edit: &Edit<'_>) -> Result<Wanted, RuleError> {
    // A proposal is no yes: its owner says that, for themselves.
    let agrees = edit.agrees && (edit.ownership == Ownership::Take || known.is_none_or(|known| known.owner == edit.by));
    let is_anothers = known.is_some_and(|known| known.owner != edit.by && is_harmless(&known.rule, rule));
    let mut wanted = Wanted { parts: Vec::new(), held: Vec::new(), agreed: Vec::new() };
    for (part, script) in binding::parts(rule) {
        let was = known.and_then(|known| Some((known, was(known, part, script)?)));
        let hash = match was.and_then(|(known, was)| Some((known, was, known.bound.get(&was)?.hash))) {
            None => registry::resolve(ground.conn, script)?.hash,
            Some((_, _, hash)) if is_anothers && !agrees => hash,
            Some((known, was, runs)) => {
                let held = binding::held_back(ground.conn, &ground.env.schema, rule, (part, script), runs)?;
                match held {
                    None if is_anothers => runs,
                    None => registry::resolve(ground.conn, script)?.hash,
                    Some(held) if agrees || names(&known.rule, was, rule, &held) => {
                        wanted.agreed.push(agreed(&held));
                        held.newest.hash
                    }
                    Some(held) => {
                        wanted.held.push(stays(&held));
                        runs
                    }
                }
            }
        };
        wanted.parts.push((part, hash));
    }
    wanted.parts.sort_unstable_by_key(|(part, _)| *part);
    Ok(wanted)
}

/// Where a part of a rule was before: in its place, or elsewhere among its actions.
fn was(known: &Stored, part: i64, script: &ScriptRef) -> Option<i64> {
    let same = || binding::parts(&known.rule).filter(|(_, one)| *one == script).map(|(at, _)| at);
    same().find(|at| *at == part).or_else(|| same().find(|at| (*at == binding::SOURCE) == (part == binding::SOURCE)))
}

/// Whether a changed rule grants by name all that a version asks for besides what was agreed to.
fn names(old: &Rule, was: i64, new: &Rule, held: &HeldBack) -> bool {
    let (Some(old), Some(new)) = (binding::action(old, was), binding::action(new, held.part)) else { return false };
    let granted = new.grants.as_ref().is_some_and(|grants| held.more.grants.beyond(grants).0.is_empty());
    let sent = held.more.http.iter().all(|one| one.beyond(&new.http).is_none());
    (held.more.grants.0.is_empty() || granted && new.grants != old.grants)
        && (held.more.http.is_empty() || sent && new.http != old.http)
        && held.more.limits.is_empty()
}

/// That a part stays with an older version, and until when.
fn stays(held: &HeldBack) -> Finding {
    let HeldBack { runs, newest, more, .. } = held;
    Finding {
        severity: Severity::Warning,
        code: "version-held-back",
        place: held.place(),
        message: format!(
            "`{}` stays at version {}: version {} asks for more than was agreed to: {more}; agree to that to have it run",
            newest.name, runs.version, newest.version
        ),
    }
}

/// That a version runs from now on though it asks for more.
fn agreed(held: &HeldBack) -> String {
    let HeldBack { runs, newest, more, .. } = held;
    format!(
        "agreed to version {} of {} ({}) in place of {}, which also asks for {more}",
        newest.version, newest.name, newest.hash, runs.version
    )
}

/// Whether a change leaves alone what the rule does, when, on what and as whom.
fn is_harmless(old: &Rule, new: &Rule) -> bool {
    let same = Rule {
        title: old.title.clone(),
        notes: old.notes.clone(),
        active: old.active,
        max_records: old.max_records,
        debounce: old.debounce,
        concurrency: old.concurrency,
        ..new.clone()
    };
    same == *old
}

/// Rights that are not the editor's own are lent by administrators only.
fn lending(rule: &Rule, known: Option<&Stored>, edit: &Edit<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut refuse = |place: &str, message: &str| {
        findings.push(Finding {
            severity: Severity::Error,
            code: "not-an-administrator",
            place: place.to_owned(),
            message: message.to_owned(),
        });
    };
    let harmless = known.is_some_and(|known| is_harmless(&known.rule, rule));
    if edit.administrator || harmless && !edit.agrees {
        return findings;
    }
    if rule.superuser {
        refuse("superuser", "only an administrator may lift the bounds of users' rights");
    }
    if rule.run_as.is_some() {
        refuse("run-as", "only an administrator may lend another user's rights; without this, the rule has yours");
    }
    for (at, action) in rule.actions.iter().enumerate() {
        for nth in action.http.iter().enumerate().filter(|(_, grant)| grant.private).map(|(nth, _)| nth) {
            let place = format!("actions[{at}].http[{nth}]");
            refuse(&place, "only an administrator may open this host's own network to a script");
        }
    }
    findings
}

/// Keeps a rule in place of what it was.
fn put(
    conn: &Connection,
    was: &Rule,
    rule: &Rule,
    (version, owner): (u32, Id),
    parts: &[(i64, triggerbox_sandbox::ContentHash)],
    at: Timestamp,
) -> Result<(), RuleError> {
    let fires = |rule: &Rule| rule.active && rule.trigger.is_timed();
    match (fires(was), fires(rule)) {
        (false, true) => begin_times(conn, &rule.name, at)?,
        (true, false) => pauses::keep_past(conn, &rule.name, at.as_millisecond())?,
        _ => {}
    }
    conn.execute(
        "UPDATE engine_rule SET version = ?, owner = ?, body = ? WHERE name = ?",
        (version, owner, body(rule)?, &rule.name),
    )?;
    binding::bind(conn, &rule.name, parts)?;
    Ok(())
}

/// Whether a rule was deleted after a version of it: one of its name is another.
pub(crate) fn is_deleted_since(conn: &Connection, name: &str, version: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM engine_rule_version WHERE rule = ?1 AND version > ?2 AND state = 'deleted'";
    conn.prepare_cached(sql)?.exists((name, version))
}

/// The version of a rule that counted when this one was made.
fn base(conn: &Connection, name: &str, version: u32) -> rusqlite::Result<Option<u32>> {
    let sql = "SELECT base FROM engine_rule_version WHERE rule = ? AND version = ?";
    conn.query_row(sql, (name, version), |row| row.get(0))
}

fn write_version(
    conn: &Connection,
    rule: &Rule,
    edit: &Edit<'_>,
    state: VersionState,
    (owner, base): (Id, Option<u32>),
) -> Result<u32, RuleError> {
    let sql = "SELECT coalesce(max(version), 0) + 1 FROM engine_rule_version WHERE rule = ?";
    let version = conn.query_row(sql, [&rule.name], |row| row.get(0))?;
    let body = if state == VersionState::Deleted { String::new() } else { body(rule)? };
    conn.execute(
        "INSERT INTO engine_rule_version (rule, version, author, at, note, state, body, owner, base) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (&rule.name, version, edit.by, edit.at.as_millisecond(), edit.note, state.name(), body, owner, base),
    )?;
    Ok(version)
}

fn body(rule: &Rule) -> Result<String, RuleError> {
    serde_json::to_string(rule)
        .map_err(|error| RuleError::Damaged { name: rule.name.clone(), problem: error.to_string() })
}

fn parse(name: &str, body: &str) -> Result<Rule, RuleError> {
    serde_json::from_str(body).map_err(|error| RuleError::Damaged { name: name.to_owned(), problem: error.to_string() })
}

type Columns = (String, u32, Id, Option<String>, String);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn read(conn: &Connection, (name, version, owner, paused, body): Columns) -> Result<Stored, RuleError> {
    let rule = parse(&name, &body)?;
    let bound = binding::bound(conn, &rule)?;
    Ok(Stored { version, owner, paused, rule, bound })
}

fn unknown(conn: &Connection, name: &str) -> RuleError {
    let names = conn.prepare_cached("SELECT name FROM engine_rule").and_then(|mut statement| {
        statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()
    });
    let near = names.ok().and_then(|names| nearest(name, names.iter().map(String::as_str)).map(str::to_owned));
    RuleError::Unknown { name: name.to_owned(), near }
}
