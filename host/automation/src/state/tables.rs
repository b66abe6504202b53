//! The engine's tables: in the same file as the records, so that a change, its run and what follows from it are one
//! transaction. They have a version of their own, kept in `tb_meta`.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_store::db::DbError;

/// The steps from nothing to the newest format. One that was released never changes: a new one is added.
const STEPS: &[&str] = &[
    FIRST, LOG, AGENTS, SUPPRESSED, YES, SETTINGS, WHO_SET, AWAY, PACE, MIRROR, ABOUT, OWNERS, JOINED, REFUSALS,
    PAUSES, PAST, STRETCHES,
];

/// Key in `tb_meta`.
const FORMAT_KEY: &str = "engine-format";

/// Times are milliseconds since 1970 UTC. JSON columns hold the serde form of the type that is named.
const FIRST: &str = "
-- Rules as they are now, and every version that there was.
CREATE TABLE engine_rule (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    version INTEGER NOT NULL,
    owner INTEGER NOT NULL,              -- res.users: whose rights it has when it names nobody
    body TEXT NOT NULL,                  -- JSON Rule
    paused TEXT,                         -- why it does not fire though it is active; an alert or a person says
    failures INTEGER NOT NULL DEFAULT 0  -- in a row
) STRICT;
-- Another number after each change of a rule: in-memory copies of the rules are of one such state.
CREATE TABLE engine_revision (number INTEGER NOT NULL) STRICT;
INSERT INTO engine_revision VALUES (0);
CREATE TRIGGER engine_rule_added AFTER INSERT ON engine_rule BEGIN UPDATE engine_revision SET number = random(); END;
CREATE TRIGGER engine_rule_gone AFTER DELETE ON engine_rule BEGIN UPDATE engine_revision SET number = random(); END;
CREATE TRIGGER engine_rule_changed AFTER UPDATE OF name, version, owner, body, paused ON engine_rule
BEGIN UPDATE engine_revision SET number = random(); END;
-- By name: the history of a rule outlives its deletion.
CREATE TABLE engine_rule_version (
    rule TEXT NOT NULL, version INTEGER NOT NULL,
    author INTEGER NOT NULL, at INTEGER NOT NULL, note TEXT NOT NULL,
    state TEXT NOT NULL,                 -- accepted, proposed (waits for the owner), rejected, deleted
    body TEXT NOT NULL,                  -- JSON Rule; empty for a deletion
    PRIMARY KEY (rule, version)
) STRICT, WITHOUT ROWID;
-- The version of a script that each part of a rule runs. Grants are bound to it: it moves with `latest` only while
-- that asks for nothing more.
CREATE TABLE engine_binding (
    rule TEXT NOT NULL, part INTEGER NOT NULL,   -- the action's index; -1: the record source
    hash BLOB NOT NULL,
    PRIMARY KEY (rule, part)
) STRICT, WITHOUT ROWID;

-- Components by content, and which version of a name is active.
CREATE TABLE engine_script (
    hash BLOB PRIMARY KEY,
    name TEXT NOT NULL, version TEXT NOT NULL,
    uploaded_by INTEGER NOT NULL, at INTEGER NOT NULL,
    manifest TEXT NOT NULL,              -- JSON Manifest
    imports TEXT NOT NULL,               -- JSON list of the interfaces that it imports
    component BLOB NOT NULL
) STRICT;
CREATE INDEX engine_script_name ON engine_script (name, at);
CREATE TABLE engine_active_script (
    name TEXT PRIMARY KEY, hash BLOB NOT NULL, at INTEGER NOT NULL, by INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE engine_activation (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, hash BLOB, at INTEGER NOT NULL, by INTEGER NOT NULL  -- no hash: switched off
) STRICT;

-- What happened, where a rule wanted to know.
CREATE TABLE engine_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    root INTEGER NOT NULL,               -- the event from outside that this one goes back to; itself, when it is one
    parent_run INTEGER,                  -- the run that caused it
    depth INTEGER NOT NULL,
    at INTEGER NOT NULL,
    actor INTEGER NOT NULL,
    model TEXT NOT NULL, record INTEGER NOT NULL, kind TEXT NOT NULL,
    change TEXT NOT NULL                 -- JSON Change
) STRICT;
CREATE INDEX engine_event_record ON engine_event (model, record, id);

-- One firing of one rule. Waiting ones are the queue; finished ones are the history.
CREATE TABLE engine_run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,            -- the run id that scripts and other systems see
    rule TEXT NOT NULL, rule_version INTEGER NOT NULL,
    root INTEGER NOT NULL,               -- event; 0 without one
    parent_run INTEGER, depth INTEGER NOT NULL,
    model TEXT, record INTEGER,          -- the first record, for searching
    request TEXT NOT NULL,               -- JSON: trigger, records, old values
    class TEXT NOT NULL,
    actor INTEGER NOT NULL, run_as INTEGER NOT NULL, superuser INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    at INTEGER NOT NULL,                 -- when the event happened: the time that the script sees
    state TEXT NOT NULL,
    due INTEGER NOT NULL,                -- not before
    blockers INTEGER NOT NULL,           -- earlier runs in its lanes
    attempt INTEGER NOT NULL,            -- how often it was started
    retries INTEGER NOT NULL DEFAULT 0,  -- how often it failed in a way that may pass by itself
    crashes INTEGER NOT NULL DEFAULT 0,  -- how often its worker was lost
    fence INTEGER NOT NULL,              -- only the holder of the newest lease may finish it
    lease_until INTEGER,
    finished INTEGER,
    code TEXT, message TEXT,             -- how it ended, in one stable word and one sentence
    outcome TEXT                         -- JSON Outcome of all actions, if it has anything to say
) STRICT;
CREATE INDEX engine_run_ready ON engine_run (rule, due, id) WHERE state = 'queued' AND blockers = 0;
CREATE INDEX engine_run_due ON engine_run (due) WHERE state = 'queued' AND blockers = 0;
CREATE INDEX engine_run_running ON engine_run (rule) WHERE state = 'running';
CREATE INDEX engine_run_rule ON engine_run (rule, id);
CREATE INDEX engine_run_record ON engine_run (model, record, id);
CREATE INDEX engine_run_root ON engine_run (root, id);
CREATE INDEX engine_run_state ON engine_run (state, id);
CREATE INDEX engine_run_code ON engine_run (code, id) WHERE code IS NOT NULL;

-- Order: a run stands in one lane for each of its records, and starts when it is first in all of them.
CREATE TABLE engine_lane (
    rule TEXT NOT NULL, record INTEGER NOT NULL, place INTEGER NOT NULL, run INTEGER NOT NULL,
    PRIMARY KEY (rule, record, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX engine_lane_run ON engine_lane (run);

-- Every try of a run.
CREATE TABLE engine_attempt (
    run INTEGER NOT NULL, attempt INTEGER NOT NULL, action INTEGER NOT NULL,
    script BLOB NOT NULL,                -- the component's hash
    started INTEGER NOT NULL, finished INTEGER NOT NULL,
    code TEXT NOT NULL,
    report BLOB NOT NULL,                -- zstd JSON Report
    log BLOB,                            -- zstd JSON lines
    journal BLOB,                        -- zstd JSON Recording
    PRIMARY KEY (run, attempt, action)
) STRICT, WITHOUT ROWID;

-- What already fired in a chain: the guard against loops.
CREATE TABLE engine_fired (
    root INTEGER NOT NULL, rule TEXT NOT NULL, model TEXT NOT NULL, record INTEGER NOT NULL, fields TEXT NOT NULL,
    PRIMARY KEY (root, rule, model, record, fields)
) STRICT, WITHOUT ROWID;
CREATE TABLE engine_suppressed (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, event INTEGER NOT NULL, rule TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX engine_suppressed_rule ON engine_suppressed (rule, id);

-- Changes that wait for a yes, or are kept as a recommendation.
CREATE TABLE engine_proposal (
    run INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,                  -- SHA-256 of `changes`: what is approved is exactly this
    changes BLOB NOT NULL,               -- zstd JSON ChangeSet
    diff BLOB NOT NULL,                  -- zstd JSON Diff
    why TEXT NOT NULL,
    state TEXT NOT NULL,                 -- waiting, approved, rejected, expired, recommended
    expires INTEGER,
    decided_by INTEGER, decided_at INTEGER, note TEXT
) STRICT;
CREATE INDEX engine_proposal_waiting ON engine_proposal (expires) WHERE state = 'waiting';

-- Due times: how far each time rule and schedule has come.
CREATE TABLE engine_clock (
    rule TEXT PRIMARY KEY, done_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Slots and due times that are taken: each runs once, whoever claims it.
CREATE TABLE engine_slot (
    rule TEXT NOT NULL, due INTEGER NOT NULL, record INTEGER NOT NULL, run INTEGER NOT NULL,
    PRIMARY KEY (rule, due, record)
) STRICT, WITHOUT ROWID;

-- Deliveries and requests that were taken once.
CREATE TABLE engine_seen (
    scope TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, answer TEXT,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX engine_seen_at ON engine_seen (at);

-- Stops: '' for all rules, else a model.
CREATE TABLE engine_stop (model TEXT PRIMARY KEY, by INTEGER NOT NULL, at INTEGER NOT NULL, reason TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// The log, line by line; before, it was a part of each try.
const LOG: &str = "
CREATE TABLE engine_log (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,                 -- when the try ended
    rule TEXT NOT NULL, run INTEGER NOT NULL, attempt INTEGER NOT NULL,
    level INTEGER NOT NULL,              -- 0 debug, 1 info, 2 warning, 3 error
    message TEXT NOT NULL
) STRICT;
CREATE INDEX engine_log_run ON engine_log (run, id);
CREATE INDEX engine_log_rule ON engine_log (rule, id);
";

/// Agents, and what was said in runs that ask a language model.
const AGENTS: &str = "
CREATE TABLE engine_agent (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body TEXT NOT NULL) STRICT, WITHOUT ROWID;  -- JSON Agent
CREATE TABLE engine_agent_version (
    agent TEXT NOT NULL, version INTEGER NOT NULL,
    author INTEGER NOT NULL, at INTEGER NOT NULL, note TEXT NOT NULL,
    body TEXT NOT NULL,                  -- JSON Agent; empty for a deletion
    PRIMARY KEY (agent, version)
) STRICT, WITHOUT ROWID;
-- Rules are known with their agents' modes.
CREATE TRIGGER engine_agent_added AFTER INSERT ON engine_agent BEGIN UPDATE engine_revision SET number = random(); END;
CREATE TRIGGER engine_agent_gone AFTER DELETE ON engine_agent BEGIN UPDATE engine_revision SET number = random(); END;
CREATE TRIGGER engine_agent_changed AFTER UPDATE ON engine_agent BEGIN UPDATE engine_revision SET number = random(); END;

-- The runs of a chained rule on one record.
CREATE TABLE engine_session (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    rule TEXT NOT NULL, model TEXT NOT NULL, record INTEGER NOT NULL,
    started INTEGER NOT NULL,
    resumes INTEGER NOT NULL DEFAULT 0,  -- runs after the first
    ended INTEGER                        -- the next run begins a new one
) STRICT;
CREATE UNIQUE INDEX engine_session_open ON engine_session (rule, model, record) WHERE ended IS NULL;
-- One for each run that asks a language model. What was said is in `llm_call`.
CREATE TABLE engine_thread (
    run INTEGER PRIMARY KEY,
    name TEXT NOT NULL,                  -- the rule's title
    agent TEXT,
    session INTEGER, resume INTEGER NOT NULL,
    model TEXT, record INTEGER,          -- the one record that it is about
    begun INTEGER NOT NULL,
    mirrored INTEGER NOT NULL DEFAULT 0  -- the record has its note
) STRICT;
CREATE INDEX engine_thread_record ON engine_thread (model, record, run);
CREATE INDEX engine_thread_session ON engine_thread (session, run) WHERE session IS NOT NULL;
";

/// Fires that did not become runs are found by their chain, and by their event.
const SUPPRESSED: &str = "
ALTER TABLE engine_suppressed ADD COLUMN root INTEGER NOT NULL DEFAULT 0;  -- of the event
UPDATE engine_suppressed SET root = coalesce((SELECT e.root FROM engine_event e WHERE e.id = event), 0);
CREATE INDEX engine_suppressed_root ON engine_suppressed (root, id);
CREATE INDEX engine_suppressed_event ON engine_suppressed (event);
";

/// A yes is kept apart from what became of the proposal, for it may be on its way to Odoo for a while.
const YES: &str = "
ALTER TABLE engine_proposal ADD COLUMN yes_by INTEGER;    -- who said yes last, whether or not it arrives
ALTER TABLE engine_proposal ADD COLUMN yes_note TEXT;
ALTER TABLE engine_proposal ADD COLUMN yes_open INTEGER NOT NULL DEFAULT 0;  -- so many were sent that have no answer
ALTER TABLE engine_proposal ADD COLUMN yes_until INTEGER;                    -- from then on none of them is on its way
UPDATE engine_proposal SET yes_by = decided_by, yes_note = note, decided_by = NULL, note = NULL WHERE state = 'waiting';
-- Those of runs that were cancelled went on waiting.
UPDATE engine_proposal SET state = 'rejected'
WHERE state = 'waiting' AND run IN (SELECT id FROM engine_run WHERE state <> 'waiting-approval');
";

/// What administrators set while the server runs, in place of what its configuration says.
const SETTINGS: &str = "
CREATE TABLE engine_setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;  -- JSON
";

/// Who set it (res.users), and when.
const WHO_SET: &str = "
ALTER TABLE engine_setting ADD COLUMN set_by INTEGER;
ALTER TABLE engine_setting ADD COLUMN set_at INTEGER;
";

/// Runs wait for an Odoo server that is away.
const AWAY: &str = "
ALTER TABLE engine_run ADD COLUMN away_since INTEGER;     -- when it was away for the first time, of a run that waits for it
CREATE INDEX engine_run_away ON engine_run (away_since) WHERE away_since IS NOT NULL;
";

/// How the runs of each hour ended. What is in it outlives the runs.
const PACE: &str = "
CREATE TABLE engine_pace (
    hour INTEGER NOT NULL,               -- since 1970 UTC
    rule TEXT NOT NULL,
    runs INTEGER NOT NULL, failed INTEGER NOT NULL,
    PRIMARY KEY (hour, rule)
) STRICT, WITHOUT ROWID;
CREATE TABLE engine_paced (
    until INTEGER NOT NULL,              -- the first hour that is not counted
    run INTEGER NOT NULL                 -- the first run that may end in it
) STRICT;
INSERT INTO engine_paced VALUES (0, 0);
";

/// Notes are to be posted on records of an Odoo server.
const MIRROR: &str = "
CREATE INDEX engine_thread_wanted ON engine_thread (run) WHERE mirrored = 2;
";

/// Runs are found by each of their records; before, by the first one.
const ABOUT: &str = "
CREATE TABLE engine_about (
    model TEXT NOT NULL, record INTEGER NOT NULL, run INTEGER NOT NULL,
    PRIMARY KEY (model, record, run)
) STRICT, WITHOUT ROWID;
INSERT OR IGNORE INTO engine_about
SELECT r.model, e.value, r.id FROM engine_run r, json_each(r.request, '$.records') e WHERE r.model IS NOT NULL;
DROP INDEX engine_run_record;
CREATE TRIGGER engine_run_made AFTER INSERT ON engine_run WHEN NEW.model IS NOT NULL BEGIN
    INSERT OR IGNORE INTO engine_about SELECT NEW.model, value, NEW.id FROM json_each(NEW.request, '$.records');
END;
CREATE TRIGGER engine_run_joined AFTER UPDATE OF request ON engine_run WHEN NEW.model IS NOT NULL BEGIN
    INSERT OR IGNORE INTO engine_about SELECT NEW.model, value, NEW.id FROM json_each(NEW.request, '$.records');
END;
CREATE TRIGGER engine_run_gone AFTER DELETE ON engine_run WHEN OLD.model IS NOT NULL BEGIN
    DELETE FROM engine_about WHERE model = OLD.model AND run = OLD.id
    AND record IN (SELECT value FROM json_each(OLD.request, '$.records'));
END;
";

/// Who owned a rule with each of its versions, of earlier ones as far as it can be told; and on which one each was made.
const OWNERS: &str = "
ALTER TABLE engine_rule_version ADD COLUMN owner INTEGER NOT NULL DEFAULT 0;  -- res.users
ALTER TABLE engine_rule_version ADD COLUMN base INTEGER;  -- the version that counted when it was made; of earlier ones unknown
UPDATE engine_rule_version SET owner = coalesce(
    (SELECT r.owner FROM engine_rule r WHERE r.name = rule AND r.version = engine_rule_version.version), author);
";

/// Whoever adds records to a run that waits says which: before, all of them were looked up at each.
const JOINED: &str = "DROP TRIGGER engine_run_joined;";

/// What rules before writes refused last.
const REFUSALS: &str = "
CREATE TABLE engine_refusal (
    rule TEXT NOT NULL, nth INTEGER NOT NULL,   -- from 1; the newest few are kept
    at INTEGER NOT NULL, actor INTEGER NOT NULL,
    kind TEXT NOT NULL,                  -- create, update, delete
    record INTEGER,                      -- the first; none: a new one
    message TEXT NOT NULL,
    PRIMARY KEY (rule, nth)
) STRICT, WITHOUT ROWID;
";

/// When rules were paused; of pauses that were over by then nothing is known.
const PAUSES: &str = "
CREATE TABLE engine_pause (
    id INTEGER PRIMARY KEY,
    rule TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER,   -- not over yet: none
    reason TEXT NOT NULL
) STRICT;
CREATE INDEX engine_pause_rule ON engine_pause (rule, id);
INSERT INTO engine_pause (rule, since, reason) SELECT name, unixepoch() * 1000, paused FROM engine_rule WHERE paused IS NOT NULL;
";

/// How far a rule has come with what was due before its first look, apart from what comes due since.
const PAST: &str = "
ALTER TABLE engine_clock ADD COLUMN past_from INTEGER;   -- none: it has come to all of it, or does not look back
ALTER TABLE engine_clock ADD COLUMN past_until INTEGER;
";

/// What came due between two pauses of a rule that had not come to all of the past yet.
const STRETCHES: &str = "
CREATE TABLE engine_stretch (
    rule TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER NOT NULL,   -- after one time and up to another
    PRIMARY KEY (rule, since)
) STRICT, WITHOUT ROWID;
";

/// Whether the file has the engine's tables, as this program knows them.
///
/// # Errors
/// What SQLite says.
pub fn exist(conn: &Connection) -> rusqlite::Result<bool> {
    Ok(format(conn)? >= STEPS.len())
}

/// Refuses tables of a newer program: what this one writes, that one would not have written.
///
/// # Errors
/// [`DbError::Newer`]; what SQLite says.
pub fn refuse_newer(conn: &Connection) -> Result<(), DbError> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    match format(conn)? {
        found if found > STEPS.len() => Err(DbError::Newer { found: number(found), known: number(STEPS.len()) }),
        _ => Ok(()),
    }
}

/// The format of the tables; 0: there are none.
fn format(conn: &Connection) -> rusqlite::Result<usize> {
    let sql = "SELECT value FROM tb_meta WHERE key = ?";
    let found: Option<String> = conn.query_row(sql, [FORMAT_KEY], |row| row.get(0)).optional()?;
    Ok(found.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Brings the tables up to date, in one transaction of the caller.
///
/// # Errors
/// What SQLite says.
pub fn upgrade(conn: &Connection) -> rusqlite::Result<()> {
    let found = format(conn)?;
    for step in STEPS.iter().skip(found) {
        conn.execute_batch(step)?;
    }
    triggerbox_llm::ledger::create_tables(conn)?;
    if found < STEPS.len() {
        conn.execute(
            "INSERT INTO tb_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
            (FORMAT_KEY, STEPS.len().to_string()),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_newer_program_are_refused() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE tb_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)").unwrap();
        refuse_newer(&conn).unwrap();
        upgrade(&conn).unwrap();
        refuse_newer(&conn).unwrap();
        conn.execute("UPDATE tb_meta SET value = value + 1 WHERE key = ?1", [FORMAT_KEY]).unwrap();
        assert_eq!(refuse_newer(&conn).unwrap_err().code(), "newer-database");
    }
}
