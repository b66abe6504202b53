//! How long the past is kept: by age, by number and by bytes for each rule. What is let go frees its place in the file.

use rusqlite::Connection;
use serde::Serialize;

use super::Engine;
use crate::{config::Retention, error::EngineError, pace, retention};

/// Runs that are let go in one transaction: others wait for no more than these.
const BATCH: usize = 500;

/// Runs that are over and wait for nobody. Failed ones count as well: whoever must see them has seen an alert.
const OVER: &str = "state IN ('succeeded', 'failed', 'skipped', 'cancelled')";

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
                (false, keep.runs_per_rule.map(Pick::AllBut)),
                (false, keep.bytes_per_rule.map(Pick::Beyond)),
            ] {
                let Some(pick) = pick else { continue };
                loop {
                    let rule = rule.clone();
                    let count = self.committer().commit(move |conn| let_go(conn, &rule, pick, journals)).await?;
                    if journals {
                        done.journals += count
                    } else {
                        done.runs += count
                    }
                    if count < BATCH {
                        break;
                    }
                }
            }
        }
        self.committer().commit(move |conn| orphans(conn, keep, now)).await?;
        done.bytes = self.database().reclaim()?;
        Ok(done)
    }
}

/// Which runs of a rule are let go.
#[derive(Debug, Clone, Copy)]
enum Pick {
    /// Ended before this time.
    OlderThan(i64),
    /// All but the newest so many.
    AllBut(u32),
    /// The oldest, until what is kept of the rest has at most so many bytes.
    Beyond(u64),
}

fn before(now: i64, days: u32) -> i64 {
    now - i64::from(days) * 24 * 3_600_000
}

fn rules(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT DISTINCT rule FROM engine_run ORDER BY rule")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Lets go up to [`BATCH`] runs, or only their journals; returns how many.
fn let_go(conn: &Connection, rule: &str, pick: Pick, journals: bool) -> Result<usize, EngineError> {
    let picked = match pick {
        Pick::OlderThan(time) => older_than(conn, rule, time, journals)?,
        Pick::AllBut(count) => all_but(conn, rule, count)?,
        Pick::Beyond(bytes) => beyond(conn, rule, bytes)?,
    };
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
        pace::count_gone(conn, &picked)?;
    }
    for sql in statements {
        let mut statement = conn.prepare_cached(sql)?;
        for run in &picked {
            statement.execute([run])?;
        }
    }
    Ok(picked.len())
}

fn older_than(conn: &Connection, rule: &str, time: i64, journals: bool) -> rusqlite::Result<Vec<i64>> {
    let kept = if journals {
        "AND EXISTS (SELECT 1 FROM engine_attempt a WHERE a.run = engine_run.id AND a.journal IS NOT NULL)"
    } else {
        ""
    };
    let sql = format!(
        "SELECT id FROM engine_run WHERE rule = ?1 AND {OVER} AND finished < ?2 {kept} ORDER BY id LIMIT {BATCH}"
    );
    conn.prepare_cached(&sql)?.query_map((rule, time), |row| row.get(0))?.collect()
}

fn all_but(conn: &Connection, rule: &str, count: u32) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT id FROM engine_run WHERE rule = ?1 AND {OVER} AND id <= \
         (SELECT id FROM engine_run WHERE rule = ?1 AND {OVER} ORDER BY id DESC LIMIT 1 OFFSET ?2) ORDER BY id LIMIT {BATCH}"
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
    let sql =
        format!("SELECT {SIZE}, {JOURNALS}, {OVER}, finished FROM engine_run r WHERE r.rule = ?1 ORDER BY r.id DESC");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([rule])?;
    let most_bytes = keep.bytes_per_rule.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let (mut count, mut total, mut going) = (0u32, 0i64, Going::default());
    while let Some(row) = rows.next()? {
        let (size, journals): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let (is_over, finished): (bool, Option<i64>) = (row.get(2)?, row.get(3)?);
        let ended_before = |days: Option<u32>| {
            let time = days.map(|days| before(now, days));
            is_over && time.zip(finished).is_some_and(|(time, finished)| finished < time)
        };
        let loses_journals = journals.is_some() && ended_before(keep.journal_days);
        if ended_before(keep.days) || (is_over && keep.runs_per_rule.is_some_and(|most| count >= most)) {
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
    // The oldest first.
    picked.reverse();
    picked.truncate(BATCH);
    Ok(picked)
}

/// Lets go events, chain marks, times and deliveries that no run goes back to any more.
fn orphans(conn: &Connection, keep: Retention, now: i64) -> Result<(), EngineError> {
    conn.execute(
        "DELETE FROM engine_suppressed WHERE event IN (SELECT e.id FROM engine_event e WHERE NOT EXISTS \
         (SELECT 1 FROM engine_run r WHERE r.root = e.root)) AND at < ?1",
        [before(now, keep.days.unwrap_or(u32::MAX))],
    )?;
    conn.execute(
        "DELETE FROM engine_event WHERE NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.root = engine_event.root) \
         AND NOT EXISTS (SELECT 1 FROM engine_suppressed s WHERE s.event = engine_event.id)",
        [],
    )?;
    conn.execute(
        "DELETE FROM engine_fired WHERE NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.root = engine_fired.root)",
        [],
    )?;
    // Times that are done, and that no clock that is put back within reason meets again.
    conn.execute(
        "DELETE FROM engine_slot WHERE due < ?1 \
         AND due <= coalesce((SELECT c.done_until FROM engine_clock c WHERE c.rule = engine_slot.rule), due)",
        [before(now, keep.seen_days)],
    )?;
    conn.execute(
        "DELETE FROM engine_seen WHERE at < ?1 AND substr(scope, 1, 6) <> 'alert:'",
        [before(now, keep.seen_days)],
    )?;
    talk(conn, keep.days.map(|days| before(now, days)))?;
    Ok(())
}

/// Lets go sessions, calls of language models, and what was spent, that no run goes back to any more. An open session and an
/// account that something may still be charged to stay: they bound what may be spent.
fn talk(conn: &Connection, oldest: Option<i64>) -> rusqlite::Result<()> {
    // One that is open goes with its rule: another of that name is new.
    conn.execute(
        "DELETE FROM engine_session WHERE NOT EXISTS (SELECT 1 FROM engine_thread t WHERE t.session = engine_session.id) \
         AND (ended IS NOT NULL OR NOT EXISTS (SELECT 1 FROM engine_rule u WHERE u.name = engine_session.rule))",
        [],
    )?;
    if let Some(oldest) = oldest {
        // What was only tried out is no run.
        for table in ["llm_call", "llm_plan"] {
            let sql = format!(
                "DELETE FROM {table} WHERE at < ?1 AND NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.key = {table}.run)"
            );
            conn.execute(&sql, [oldest])?;
        }
        conn.execute(
            "DELETE FROM llm_account WHERE scope IN ('rule-day', 'server-day') \
             AND substr(key, -10) < date(?1 / 1000, 'unixepoch')",
            [oldest],
        )?;
    }
    // A session and a chain are known by their numbers, what stands alone by its run.
    conn.execute(
        "DELETE FROM llm_account WHERE scope IN ('run', 'session', 'root') \
         AND NOT EXISTS (SELECT 1 FROM engine_run r WHERE r.key = llm_account.key) \
         AND NOT EXISTS (SELECT 1 FROM llm_call c WHERE c.run = llm_account.key) \
         AND NOT (scope = 'session' AND EXISTS (SELECT 1 FROM engine_session s WHERE s.id = CAST(llm_account.key AS INTEGER))) \
         AND NOT (scope = 'root' AND EXISTS (SELECT 1 FROM engine_event e WHERE e.id = CAST(llm_account.key AS INTEGER)))",
        [],
    )?;
    Ok(())
}
