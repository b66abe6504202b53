//! How long the past is kept: by age, by number and by bytes for each rule. What is let go frees its place in the file.

use std::sync::Arc;

use rusqlite::{Connection, params_from_iter, types::Value};
use serde::Serialize;

use super::Engine;
use crate::{config::Retention, error::EngineError, pace, retention};

/// Runs, or rows of what belongs to them, that are let go in one transaction: others wait for no more than these.
const BATCH: usize = 500;

/// Rows of one table that are looked up at once.
const FOUND: usize = 50_000;

/// Runs that are over and wait for nobody. Failed ones count as well: whoever must see them has seen an alert.
const OVER: &str = "state IN ('succeeded', 'failed', 'skipped', 'cancelled')";

/// Runs that somebody may still have to see to: given up, or with a request of which nobody knows whether it arrived. Neither
/// their number nor their bytes let them go.
const UNSETTLED: &str = "state IN ('dead', 'outcome-unknown')";

/// So long they are kept at least, in days.
const LEAST_UNSETTLED: u32 = 365;

/// What was let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Retained {
    /// Runs with everything that was kept of them.
    pub runs: usize,
    /// Runs of which only the journal went.
    pub journals: usize,
    /// By how many bytes the file shrank.
    pub bytes: u64,
}

/// What would be let go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Going {
    /// Runs with everything that is kept of them.
    pub runs: usize,
    /// Runs of which only the journal would go.
    pub journals: usize,
}

impl Engine {
    /// What [`Engine::retain`] would let go now, if the past were kept so long. It looks at each run once.
    ///
    /// # Errors
    /// What the database says.
    pub fn going(&self, keep: &Retention) -> Result<Going, EngineError> {
        let (snapshot, now) = (self.database().snapshot()?, self.inner.shared.now());
        let mut all = Going::default();
        for rule in rules(&snapshot)? {
            let going = going(&snapshot, &rule, keep, now)?;
            all.runs += going.runs;
            all.journals += going.journals;
        }
        Ok(all)
    }

    /// Lets go what is older or more than the settings keep, and gives the place back to the system.
    ///
    /// # Errors
    /// What the database says.
    pub async fn retain(&self) -> Result<Retained, EngineError> {
        let keep = retention::kept(&*self.database().snapshot()?)?.unwrap_or(self.config().retention);
        let now = self.inner.shared.now();
        // What goes is counted first.
        let counted = pace::count(&*self.database().snapshot()?, now)?;
        if let Some(counted) = counted {
            self.committer().commit(move |conn| pace::keep(conn, &counted)).await?;
        }
        let mut done = Retained::default();
        for rule in rules(&*self.database().snapshot()?)? {
            for (journals, pick) in [
                (true, keep.journal_days.map(|days| Pick::OlderThan(before(now, days)))),
                (false, keep.days.map(|days| Pick::OlderThan(before(now, days)))),
                (false, keep.days.map(|days| Pick::Unsettled(before(now, unsettled(days))))),
                (false, keep.runs_per_rule.map(Pick::AllBut)),
                (false, keep.bytes_per_rule.map(Pick::Beyond)),
            ] {
                let Some(pick) = pick else { continue };
                let rule = rule.clone();
                let picked = self
                    .off_the_way(move |engine| Ok(picked(&*engine.database().snapshot()?, &rule, pick, journals)?))
                    .await?;
                for runs in picked.chunks(BATCH) {
                    let runs = runs.to_vec();
                    let count = self.committer().commit_beside(move |conn| let_go(conn, &runs, pick, journals)).await?;
                    *(if journals { &mut done.journals } else { &mut done.runs }) += count;
                }
            }
        }
        for unneeded in unneeded(keep, now) {
            self.let_go_of(unneeded).await?;
        }
        done.bytes = self.database().reclaim()?;
        Ok(done)
    }

    /// Lets go all rows of a table that are not needed.
    async fn let_go_of(&self, unneeded: Unneeded) -> Result<(), EngineError> {
        let unneeded = Arc::new(unneeded);
        loop {
            let which = unneeded.clone();
            let found = self.off_the_way(move |engine| Ok(which.find(&*engine.database().snapshot()?)?)).await?;
            for rows in found.chunks(BATCH) {
                let (which, rows) = (unneeded.clone(), rows.to_vec());
                self.committer().commit_beside(move |conn| Ok::<_, EngineError>(which.delete(conn, rows)?)).await?;
            }
            if found.len() < FOUND {
                return Ok(());
            }
        }
    }
}

/// Which runs of a rule are let go.
#[derive(Debug, Clone, Copy)]
enum Pick {
    /// Over, and ended before this time.
    OlderThan(i64),
    /// Not seen to, and ended before this time.
    Unsettled(i64),
    /// All but the newest so many.
    AllBut(u32),
    /// The oldest, until what is kept of the rest has at most so many bytes.
    Beyond(u64),
}

impl Pick {
    /// SQL: the runs of which it can be.
    fn of(self) -> String {
        match self {
            Self::OlderThan(time) => format!("{OVER} AND finished < {time}"),
            Self::Unsettled(time) => format!("{UNSETTLED} AND finished < {time}"),
            Self::AllBut(_) | Self::Beyond(_) => OVER.to_owned(),
        }
    }
}

/// How long runs are kept that nobody has seen to, in days, where the others are kept for so many.
fn unsettled(days: u32) -> u32 {
    days.max(LEAST_UNSETTLED)
}

fn before(now: i64, days: u32) -> i64 {
    now - i64::from(days) * 24 * 3_600_000
}

fn rules(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT DISTINCT rule FROM engine_run ORDER BY rule")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The runs of a rule that go, or whose journals go; the oldest first.
fn picked(conn: &Connection, rule: &str, pick: Pick, journals: bool) -> rusqlite::Result<Vec<i64>> {
    match pick {
        Pick::OlderThan(_) | Pick::Unsettled(_) => of_age(conn, rule, pick, journals),
        Pick::AllBut(count) => all_but(conn, rule, count),
        Pick::Beyond(bytes) => beyond(conn, rule, bytes),
    }
}

/// Lets go runs, or only their journals; returns how many. One that was taken up again since it was picked stays.
fn let_go(conn: &Connection, picked: &[i64], pick: Pick, journals: bool) -> Result<usize, EngineError> {
    let which = pick.of();
    let sql =
        format!("SELECT id FROM engine_run WHERE id IN (SELECT value FROM json_each(?1)) AND {which} ORDER BY id");
    let mut still = conn.prepare_cached(&sql)?;
    let runs: Vec<i64> =
        still.query_map([serde_json::to_string(picked)?], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let statements: &[&str] = if journals {
        &["UPDATE engine_attempt SET journal = NULL WHERE run = ?1"]
    } else {
        &[
            "DELETE FROM engine_attempt WHERE run = ?1",
            "DELETE FROM engine_log WHERE run = ?1",
            "DELETE FROM engine_proposal WHERE run = ?1",
            "DELETE FROM engine_thread WHERE run = ?1",
            "DELETE FROM llm_call WHERE run = (SELECT key FROM engine_run WHERE id = ?1)",
            "DELETE FROM llm_plan WHERE run = (SELECT key FROM engine_run WHERE id = ?1)",
            "DELETE FROM llm_account WHERE scope = 'run' AND key = (SELECT key FROM engine_run WHERE id = ?1)",
            "DELETE FROM engine_run WHERE id = ?1",
        ]
    };
    if !journals {
        pace::count_gone(conn, &runs)?;
    }
    for sql in statements {
        let mut statement = conn.prepare_cached(sql)?;
        for run in &runs {
            statement.execute([run])?;
        }
    }
    Ok(runs.len())
}

fn of_age(conn: &Connection, rule: &str, pick: Pick, journals: bool) -> rusqlite::Result<Vec<i64>> {
    let kept = if journals {
        "AND EXISTS (SELECT 1 FROM engine_attempt a WHERE a.run = engine_run.id AND a.journal IS NOT NULL)"
    } else {
        ""
    };
    let sql = format!("SELECT id FROM engine_run WHERE rule = ?1 AND {} {kept} ORDER BY id", pick.of());
    conn.prepare_cached(&sql)?.query_map([rule], |row| row.get(0))?.collect()
}

fn all_but(conn: &Connection, rule: &str, count: u32) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT id FROM engine_run WHERE rule = ?1 AND {OVER} AND id <= \
         (SELECT id FROM engine_run WHERE rule = ?1 AND {OVER} ORDER BY id DESC LIMIT 1 OFFSET ?2) ORDER BY id"
    );
    conn.prepare_cached(&sql)?.query_map((rule, count), |row| row.get(0))?.collect()
}

/// Bytes of a run, but for those of its journals. `octet_length` reads no text to tell how long it is.
const SIZE: &str = "octet_length(r.request) + coalesce((SELECT sum(octet_length(report) + coalesce(octet_length(log), 0)) \
                    FROM engine_attempt WHERE run = r.id), 0) + \
                    coalesce((SELECT sum(octet_length(message)) FROM engine_log WHERE run = r.id), 0) + \
                    coalesce((SELECT sum(octet_length(request) + coalesce(octet_length(reply), 0)) FROM llm_call WHERE run = r.key), 0) + \
                    coalesce((SELECT sum(octet_length(plan)) FROM llm_plan WHERE run = r.key), 0)";

/// Bytes of a run's journals; NULL: there are none.
const JOURNALS: &str = "(SELECT sum(octet_length(journal)) FROM engine_attempt WHERE run = r.id)";

/// What would be let go of one rule's runs, in the order in which it would be: journals, then runs by age, by number, by bytes.
fn going(conn: &Connection, rule: &str, keep: &Retention, now: i64) -> rusqlite::Result<Going> {
    let sql = format!(
        "SELECT {SIZE}, {JOURNALS}, {OVER}, finished, {UNSETTLED} FROM engine_run r WHERE r.rule = ?1 ORDER BY r.id DESC"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([rule])?;
    let most_bytes = keep.bytes_per_rule.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let (mut count, mut total, mut going) = (0u32, 0i64, Going::default());
    while let Some(row) = rows.next()? {
        let (size, journals): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let (is_over, finished, is_unsettled): (bool, Option<i64>, bool) = (row.get(2)?, row.get(3)?, row.get(4)?);
        let ended_before = |days: Option<u32>| {
            let time = days.map(|days| before(now, days));
            time.zip(finished).is_some_and(|(time, finished)| finished < time)
        };
        let loses_journals = journals.is_some() && is_over && ended_before(keep.journal_days);
        let is_old = match is_unsettled {
            true => ended_before(keep.days.map(unsettled)),
            false => is_over && ended_before(keep.days),
        };
        if is_old || (is_over && keep.runs_per_rule.is_some_and(|most| count >= most)) {
            going.runs += 1;
            continue;
        }
        count += u32::from(is_over);
        total = total.saturating_add(size + journals.filter(|_| !loses_journals).unwrap_or(0));
        if is_over && most_bytes.is_some_and(|most| total > most) {
            going.runs += 1;
        } else {
            going.journals += usize::from(loses_journals);
        }
    }
    Ok(going)
}

fn beyond(conn: &Connection, rule: &str, bytes: u64) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT r.id, {SIZE} + coalesce({JOURNALS}, 0), {OVER} FROM engine_run r WHERE r.rule = ?1 ORDER BY r.id DESC"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([rule])?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let (mut total, mut picked) = (0i64, Vec::new());
    while let Some(row) = rows.next()? {
        total = total.saturating_add(row.get::<_, i64>(1)?);
        if total > bytes && row.get(2)? {
            picked.push(row.get(0)?);
        }
    }
    picked.reverse();
    Ok(picked)
}

/// Rows that no run goes back to any more.
struct Unneeded {
    table: &'static str,
    /// The columns of its primary key.
    key: &'static [&'static str],
    /// SQL: which rows.
    which: String,
}

impl Unneeded {
    /// The keys of up to [`FOUND`] such rows.
    fn find(&self, conn: &Connection) -> rusqlite::Result<Vec<Vec<Value>>> {
        let Self { table, key, which } = self;
        let sql = format!("SELECT {} FROM {table} WHERE {which} LIMIT {FOUND}", key.join(", "));
        let mut statement = conn.prepare_cached(&sql)?;
        statement.query_map([], |row| (0..key.len()).map(|at| row.get(at)).collect())?.collect()
    }

    /// Lets go those of these rows that are still not needed.
    fn delete(&self, conn: &Connection, rows: Vec<Vec<Value>>) -> rusqlite::Result<()> {
        let Self { table, key, which } = self;
        let row = key.iter().map(|column| format!("{column} = ? AND ")).collect::<String>();
        let mut statement = conn.prepare_cached(&format!("DELETE FROM {table} WHERE {row} ({which})"))?;
        rows.into_iter().try_for_each(|row| statement.execute(params_from_iter(row)).map(drop))
    }
}

/// Events, chain marks, times, deliveries, sessions, calls of language models and what was spent, that no run goes back to any
/// more; in the order in which they let go of each other.
fn unneeded(keep: Retention, now: i64) -> Vec<Unneeded> {
    let of = |table, key, which: &str| Unneeded { table, key, which: which.to_owned() };
    let oldest = keep.days.map(|days| before(now, days));
    let seen = before(now, keep.seen_days);
    let mut all = Vec::new();
    if let Some(oldest) = oldest {
        all.push(of(
            "engine_suppressed",
            &["id"],
            &format!(
                "at < {oldest} AND EXISTS (SELECT 1 FROM engine_event e WHERE e.id = engine_suppressed.event \
                 AND NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.root = e.root))"
            ),
        ));
    }
    all.extend([
        of(
            "engine_event",
            &["id"],
            "NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.root = engine_event.root) \
             AND NOT EXISTS (SELECT 1 FROM engine_suppressed s WHERE s.event = engine_event.id)",
        ),
        of(
            "engine_fired",
            &["root", "rule", "model", "record", "fields"],
            "NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.root = engine_fired.root)",
        ),
        // Times that are done, and that no clock that is put back within reason meets again.
        of(
            "engine_slot",
            &["rule", "due", "record"],
            &format!(
                "due < {seen} AND due <= coalesce((SELECT min(c.done_until, coalesce(c.past_from, c.done_until)) \
                 FROM engine_clock c WHERE c.rule = engine_slot.rule), due)"
            ),
        ),
        of("engine_seen", &["scope", "key"], &format!("at < {seen} AND substr(scope, 1, 6) <> 'alert:'")),
        // An open session bounds what may be spent. It goes with its rule: another of that name is new.
        of(
            "engine_session",
            &["id"],
            "NOT EXISTS (SELECT 1 FROM engine_thread t WHERE t.session = engine_session.id) \
             AND (ended IS NOT NULL OR NOT EXISTS (SELECT 1 FROM engine_rule u WHERE u.name = engine_session.rule))",
        ),
    ]);
    if let Some(oldest) = oldest {
        all.push(of("engine_refusal", &["rule", "nth"], &format!("at < {oldest}")));
        all.push(of("engine_pause", &["id"], &format!("until < {oldest}")));
        // What was only tried out is no run.
        all.extend(["llm_call", "llm_plan"].map(|table| {
            let without_run = format!("NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.key = {table}.run)");
            of(table, &["id"], &format!("at < {oldest} AND {without_run}"))
        }));
        all.push(of(
            "llm_account",
            &["scope", "key"],
            &format!("scope IN ('rule-day', 'server-day') AND substr(key, -10) < date({oldest} / 1000, 'unixepoch')"),
        ));
    }
    // An account that something may still be charged to stays. A session and a chain are known by their numbers, what stands
    // alone by its run.
    all.push(of(
        "llm_account",
        &["scope", "key"],
        "scope IN ('run', 'session', 'root') \
         AND NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.key = llm_account.key) \
         AND NOT EXISTS (SELECT 1 FROM llm_call c WHERE c.run = llm_account.key) \
         AND NOT (scope = 'session' AND EXISTS (SELECT 1 FROM engine_session s WHERE s.id = CAST(llm_account.key AS INTEGER))) \
         AND NOT (scope = 'root' AND EXISTS (SELECT 1 FROM engine_event e WHERE e.id = CAST(llm_account.key AS INTEGER)))",
    ));
    all
}
