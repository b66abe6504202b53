//! The queue: claims with fences and leases, retries, and what people do to runs.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use rusqlite::{Connection, OptionalExtension};
use triggerbox_llm::ledger;
use triggerbox_model::{error::Error, limits::Class, value::Id};

use crate::{
    config,
    error::EngineError,
    firing::Firing,
    index::{Armed, Index},
    lanes,
    runs::{self, RunId, RunState},
};

/// A run whose host died this often while it ran is not tried again: it may be why.
const MOST_CRASHES: u32 = 5;

/// A run is given to another worker when its own has not been heard of for so long, in milliseconds. Whoever is at work says
/// so long before ([`renew`]).
const LEASE: i64 = 300_000;

/// A run that a worker holds.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) id: RunId,
    /// Only who holds the newest one may finish the run.
    pub(crate) fence: i64,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) retries: u32,
    /// Since when the Odoo server that it waits for is away; none: it was there the last time.
    pub(crate) away_since: Option<i64>,
    pub(crate) rule: Arc<Armed>,
    pub(crate) root: i64,
    pub(crate) depth: u32,
    pub(crate) model: Option<String>,
    pub(crate) firing: Firing,
    pub(crate) class: Class,
    pub(crate) actor: Id,
    pub(crate) seed: u32,
    pub(crate) at: i64,
}

/// Takes runs that are due, of rules that may run more at once and are not held back, in turns; `after` is the rule that
/// had its turn last.
pub(crate) fn claim(
    conn: &Connection,
    index: &Index,
    now: i64,
    most: usize,
    held_back: &HashSet<String>,
    after: &mut String,
) -> Result<Vec<Claim>, EngineError> {
    let stopped = stops(conn)?;
    let mut claims = Vec::new();
    if stopped.contains("") {
        return Ok(claims);
    }
    // What a damaged run left, its lane and its place, is another's at once.
    while claims.len() < most && !claim_more(conn, (index, held_back, &stopped), now, most, (&mut claims, after))? {}
    Ok(claims)
}

/// Takes more runs that are due, up to so many in all. Whether that is all there is; not, if one was over instead.
fn claim_more(
    conn: &Connection,
    (index, held_back, stopped): (&Index, &HashSet<String>, &BTreeSet<String>),
    now: i64,
    most: usize,
    (claims, after): (&mut Vec<Claim>, &mut String),
) -> Result<bool, EngineError> {
    let mut queues = Vec::new();
    for rule in ready_rules(conn, after)? {
        let Ok(armed) = index.rule(&rule) else {
            skip_orphans(conn, &rule, now)?;
            continue;
        };
        let held = armed.rule.model.as_ref().is_some_and(|model| stopped.contains(model));
        if held || !armed.is_live() || armed.unserved.any() || held_back.contains(&rule) {
            continue;
        }
        let due = due(conn, armed, now, most - claims.len())?;
        if !due.is_empty() {
            queues.push((Arc::clone(armed), due.into_iter()));
        }
    }
    let mut is_all = true;
    while claims.len() < most {
        let mut met = false;
        for (rule, queue) in &mut queues {
            if claims.len() < most
                && let Some(run) = queue.next()
            {
                match take(conn, rule, run, now)? {
                    Some(claim) => claims.push(claim),
                    None => is_all = false,
                }
                after.clone_from(&rule.rule.name);
                met = true;
            }
        }
        if !met {
            break;
        }
    }
    Ok(is_all)
}

/// Runs of a rule that are due.
pub(crate) fn count_due(conn: &Connection, rule: &str, now: i64) -> rusqlite::Result<u32> {
    let sql = "SELECT count(*) FROM engine_run WHERE state = 'queued' AND rule = ?1 AND due <= ?2";
    conn.prepare_cached(sql)?.query_row((rule, now), |row| row.get(0))
}

/// Rules with runs that nothing blocks, those behind `after` first.
fn ready_rules(conn: &Connection, after: &str) -> rusqlite::Result<Vec<String>> {
    // Each step jumps to the next rule in the index: the number of runs does not matter.
    let sql = "SELECT min(rule) FROM engine_run WHERE state = 'queued' AND blockers = 0 AND rule > ?1";
    let mut next = conn.prepare_cached(sql)?;
    let mut rules = Vec::new();
    let mut last = String::new();
    while let Some(rule) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        last.clone_from(&rule);
        rules.push(rule);
    }
    let turn = rules.partition_point(|rule| rule.as_str() <= after);
    rules.rotate_left(turn);
    Ok(rules)
}

/// The runs of a rule that are due, as many as may start.
fn due(conn: &Connection, rule: &Armed, now: i64, most: usize) -> Result<Vec<RunId>, EngineError> {
    let running: u32 = conn
        .prepare_cached("SELECT count(*) FROM engine_run WHERE rule = ?1 AND state = 'running'")?
        .query_row([&rule.rule.name], |row| row.get(0))?;
    let sql = "SELECT id, class FROM engine_run WHERE state = 'queued' AND blockers = 0 AND rule = ?1 AND due <= ?2 \
               ORDER BY due, id LIMIT ?3";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map((&rule.rule.name, now, i64::try_from(most).unwrap_or(i64::MAX)), |row| {
        Ok((row.get::<_, RunId>(0)?, row.get::<_, String>(1)?))
    })?;
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    let class = rule.class(rows.first().map_or(Class::Async, |(_, class)| class_of(class)));
    let cap = rule.rule.concurrency.unwrap_or_else(|| config::concurrency(class)).max(1);
    let room = usize::try_from(cap.saturating_sub(running)).unwrap_or(usize::MAX);
    Ok(rows.into_iter().take(room).map(|(run, _)| run).collect())
}

/// Claims a run. One whose request cannot be read, or is about another model than the rule is by now, is over instead: it must
/// not keep the others from their turn.
fn take(conn: &Connection, rule: &Arc<Armed>, run: RunId, now: i64) -> Result<Option<Claim>, EngineError> {
    let sql = "UPDATE engine_run SET state = 'running', fence = fence + 1, attempt = attempt + 1, rule_version = ?2, \
               lease_until = ?3, run_as = ?4, superuser = ?5 WHERE id = ?1 \
               RETURNING fence, key, attempt, retries, root, depth, model, request, class, actor, seed, at, away_since";
    let as_now = (run, rule.version, now + LEASE, rule.run_as, rule.rule.superuser);
    let (claim, request) = conn.prepare_cached(sql)?.query_row(as_now, |row| {
        let class: String = row.get(8)?;
        let claim = Claim {
            id: run,
            fence: row.get(0)?,
            key: row.get(1)?,
            attempt: row.get(2)?,
            retries: row.get(3)?,
            away_since: row.get(12)?,
            rule: Arc::clone(rule),
            root: row.get(4)?,
            depth: row.get(5)?,
            model: row.get(6)?,
            firing: Firing::new(triggerbox_model::event::Trigger::Manual, Vec::new()),
            // As the rule is now.
            class: rule.class(class_of(&class)),
            actor: row.get(9)?,
            seed: row.get(10)?,
            at: row.get(11)?,
        };
        Ok((claim, row.get::<_, String>(7)?))
    })?;
    match serde_json::from_str(&request) {
        Ok(_) if claim.model != rule.rule.model => {
            let message = moved(claim.model.as_deref(), rule.rule.model.as_deref());
            end(conn, run, now, RunState::Skipped, "model-changed", Some(&message))?;
            Ok(None)
        }
        Ok(firing) => Ok(Some(Claim { firing, ..claim })),
        Err(error) => {
            let (code, message) = damaged(&error);
            end(conn, run, now, RunState::Failed, code, Some(&message))?;
            Ok(None)
        }
    }
}

/// What is said of a run whose rule was bound to another model meanwhile: its records are none of the rule's.
fn moved(from: Option<&str>, to: Option<&str>) -> String {
    let of = |model: Option<&str>| model.map_or("no model".to_owned(), |model| format!("`{model}`"));
    format!("it was fired when the rule was on {}, and the rule is on {} now", of(from), of(to))
}

/// What is said of a run whose request cannot be read.
fn damaged(error: &serde_json::Error) -> (&'static str, String) {
    let message = format!(
        "what it was fired with cannot be read any more, so that it cannot run: {error}; whoever changed the database file \
         knows why"
    );
    ("damaged-run", message)
}

fn class_of(name: &str) -> Class {
    Class::ALL.into_iter().find(|class| class.name() == name).unwrap_or(Class::Async)
}

/// Whether some run could start, as far as time and lanes go.
pub(crate) fn is_something_due(conn: &Connection, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM engine_run WHERE state = 'queued' AND blockers = 0 AND due <= ?1 LIMIT 1";
    conn.prepare_cached(sql)?.exists([now])
}

/// Whether some run waits for nothing but its time, and a worker.
pub(crate) fn is_something_ready(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM engine_run WHERE state = 'queued' AND blockers = 0 LIMIT 1")?.exists([])
}

/// When the first of the runs is due that were not at a time; nothing, when there is none.
pub(crate) fn next_due(conn: &Connection, then: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT min(due) FROM engine_run WHERE state = 'queued' AND blockers = 0 AND due > ?1";
    conn.prepare_cached(sql)?.query_row([then], |row| row.get(0))
}

/// Runs of a rule that was deleted have nothing to run.
pub(crate) fn skip_orphans(conn: &Connection, rule: &str, now: i64) -> rusqlite::Result<()> {
    let mut statement = conn.prepare_cached("SELECT id FROM engine_run WHERE state = 'queued' AND rule = ?1")?;
    let runs: Vec<RunId> = statement.query_map([rule], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for run in runs {
        end(conn, run, now, RunState::Skipped, "rule-gone", Some("the rule was deleted before the run started"))?;
    }
    Ok(())
}

/// Ends a run and lets the next ones into its lanes.
pub(crate) fn end(
    conn: &Connection,
    run: RunId,
    now: i64,
    state: RunState,
    code: &str,
    message: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_run SET state = ?2, code = ?3, message = ?4, finished = ?5, lease_until = NULL, away_since = NULL \
         WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((run, state.name(), code, message, now))?;
    lanes::leave(conn, run)
}

/// Puts a run back, to be tried when it is due; it keeps its lanes.
pub(crate) fn again(
    conn: &Connection,
    run: RunId,
    due: i64,
    code: &str,
    message: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_run SET state = 'queued', due = ?2, retries = retries + 1, code = ?3, message = ?4, \
               lease_until = NULL, away_since = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((run, due, code, message)).map(drop)
}

/// Puts a run back that waits for an Odoo server which is away since then. That is no failure of the run: it keeps its lanes
/// and its retries.
pub(crate) fn wait(
    conn: &Connection,
    run: RunId,
    due: i64,
    away_since: i64,
    code: &str,
    message: Option<&str>,
) -> rusqlite::Result<()> {
    let sql = "UPDATE engine_run SET state = 'queued', due = ?2, away_since = ?3, code = ?4, message = ?5, \
               lease_until = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((run, due, away_since, code, message)).map(drop)
}

/// Whether this claim is still the newest: nobody cancelled the run or gave it to another.
pub(crate) fn is_held(conn: &Connection, run: RunId, fence: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM engine_run WHERE id = ?1 AND fence = ?2 AND state = 'running'";
    conn.prepare_cached(sql)?.exists((run, fence))
}

/// Prolongs the claims of workers that are still at work, whatever they wait for, once half of the time is over.
pub(crate) fn renew(conn: &Connection, now: i64, at_work: &HashSet<(RunId, i64)>) -> rusqlite::Result<()> {
    let sql = "SELECT id, fence FROM engine_run WHERE state = 'running' AND lease_until < ?1";
    let mut old = conn.prepare_cached(sql)?;
    let rows = old.query_map([now + LEASE / 2], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let old: Vec<(RunId, i64)> = rows.collect::<Result<_, _>>()?;
    let mut prolong = conn.prepare_cached("UPDATE engine_run SET lease_until = ?2 WHERE id = ?1")?;
    for (run, _) in old.iter().filter(|claim| at_work.contains(claim)) {
        prolong.execute((run, now + LEASE))?;
    }
    Ok(())
}

/// Gives up the claims of workers that are gone: those of an earlier process (`None`), or whose lease is over.
pub(crate) fn recover(conn: &Connection, now: i64, lease_over: Option<i64>) -> Result<usize, EngineError> {
    let sql = "UPDATE engine_run SET state = 'queued', fence = fence + 1, crashes = crashes + 1, lease_until = NULL \
               WHERE state = 'running' AND (?1 IS NULL OR lease_until < ?1) RETURNING id, crashes";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([lease_over], |row| Ok((row.get::<_, RunId>(0)?, row.get::<_, u32>(1)?)))?;
    let lost: Vec<_> = rows.collect::<Result<_, _>>()?;
    for (run, crashes) in &lost {
        if *crashes >= MOST_CRASHES {
            let message = "the host died while it ran, again and again; requeue it once the cause is found";
            end(conn, *run, now, RunState::Dead, "crashed", Some(message))?;
        }
    }
    Ok(lost.len())
}

/// Stops a run that is not over. One that runs loses its claim.
pub(crate) fn cancel(conn: &Connection, run: RunId, now: i64, why: &str) -> Result<(), EngineError> {
    let state = state(conn, run)?;
    if state.is_over() && state != RunState::WaitingApproval {
        let text = format!("run {run} is {} already; there is nothing to cancel", state.name());
        return Err(Error::invalid("run-is-over", text).into());
    }
    conn.prepare_cached("UPDATE engine_run SET fence = fence + 1 WHERE id = ?1")?.execute([run])?;
    end(conn, run, now, RunState::Cancelled, "cancelled", Some(why))?;
    Ok(())
}

/// Queues a run again that did not succeed: as a new try of the same run, behind those that entered its lanes since. Whoever
/// has one tried again that ended because nobody knows whether a request arrived, has that request made again.
pub(crate) fn requeue(conn: &Connection, run: RunId, now: i64) -> Result<(), EngineError> {
    let state = state(conn, run)?;
    if !matches!(
        state,
        RunState::Failed | RunState::Dead | RunState::Cancelled | RunState::OutcomeUnknown | RunState::Skipped
    ) {
        let text = format!("run {run} is {}; only runs that ended without effect are tried again", state.name());
        return Err(Error::invalid("run-not-retriable", text).into());
    }
    let (rule, request, key): (String, String, String) = conn
        .prepare_cached("SELECT rule, request, key FROM engine_run WHERE id = ?1")?
        .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let firing: Firing = serde_json::from_str(&request).map_err(|error| {
        let (code, message) = damaged(&error);
        Error::rejected(code, format!("run {run}: {message}"))
    })?;
    if state == RunState::OutcomeUnknown {
        ledger::make_again(conn, &key)?;
    }
    let blockers = lanes::enter(conn, &rule, run, &firing.lanes())?;
    let sql = "UPDATE engine_run SET state = 'queued', due = ?2, retries = 0, crashes = 0, blockers = ?3, finished = NULL, \
               code = NULL, message = NULL, outcome = NULL WHERE id = ?1";
    conn.prepare_cached(sql)?.execute((run, now, blockers))?;
    Ok(())
}

fn state(conn: &Connection, run: RunId) -> Result<RunState, EngineError> {
    let sql = "SELECT state FROM engine_run WHERE id = ?1";
    let name: Option<String> = conn.prepare_cached(sql)?.query_row([run], |row| row.get(0)).optional()?;
    name.as_deref().and_then(RunState::from_name).ok_or_else(|| runs::unknown(run).into())
}

/// What is stopped: the empty text for everything, else models.
pub(crate) fn stops(conn: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    let mut statement = conn.prepare_cached("SELECT model FROM engine_stop")?;
    statement.query_map([], |row| row.get(0))?.collect()
}
