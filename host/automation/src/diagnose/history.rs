//! Fires that were suppressed, and what became of the last run.

use rusqlite::OptionalExtension;
use triggerbox_model::value::Id;

use super::{Case, NOTHING};
use crate::{clock::timestamp, error::EngineError, refusals, runs};

/// So many refusals are told.
const SHOWN: usize = 3;

/// What is kept of a run, as far as it says why.
struct Last {
    id: i64,
    state: String,
    due: i64,
    blockers: i64,
    away_since: Option<i64>,
    at: i64,
    code: Option<String>,
    message: Option<String>,
}

impl Case<'_> {
    /// The newest fire of the rule that did not become a run: on this record, or on any.
    pub(super) fn suppressed(&mut self, record: Option<Id>, after: i64) -> Result<bool, EngineError> {
        let sql = "SELECT s.reason, s.at FROM engine_suppressed s LEFT JOIN engine_event e ON e.id = s.event \
                   WHERE s.rule = ?1 AND (?2 IS NULL OR e.record = ?2) AND s.at >= ?3 ORDER BY s.id DESC LIMIT 1";
        let found: Option<(String, i64)> = self
            .conn
            .prepare_cached(sql)?
            .query_row((&self.stored.rule.name, record, after), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((reason, at)) = found else { return Ok(false) };
        let (code, why) = reason.split_once(": ").unwrap_or(("suppressed", reason.as_str()));
        let when = self.time(timestamp(at));
        let (code, remedy) = match code {
            "already-fired" => (
                "loop-suppressed",
                "in one chain a rule fires once for the same record and the same changed fields; let its domain exclude \
                 what it has done",
            ),
            "too-deep" => {
                ("too-deep", "look at the chain: rules that cause each other; let their domains exclude that")
            }
            "too-many-runs" => ("too-many-runs", "look at the chain: a rule that changes many records that fire rules"),
            "max-records" => ("max-records", "raise `max-records`, or use one run for all records"),
            "overlap" => ("overlap", "an earlier run takes too long; shorten it, or set `overlap = \"queue\"`"),
            "own-update" => ("own-update", "a rule by the time of the last change does not fire on its own changes"),
            "missed" => (
                "slots-missed",
                "have the server run when the schedule is due, or raise `catch-up`; run the rule by hand for what was missed",
            ),
            "paused" => {
                ("suppressed", "run it by hand on the record, or on all that it missed: `triggerbox rules backfill`")
            }
            "broken" => {
                ("domain-broken", "mend the rule's domains or the record that they name; then change the record again")
            }
            _ => ("suppressed", "look at the chain"),
        };
        self.found(code, format!("it would have fired at {when}, but did not: {why}"), remedy);
        Ok(true)
    }

    /// What became of the newest run: on this record, or on any.
    pub(super) fn last_run(&mut self, record: Option<Id>) -> Result<(), EngineError> {
        let last = self.newest(record)?;
        if self.suppressed(record, last.as_ref().map_or(0, |last| last.at))? {
            return Ok(());
        }
        let Some(last) = last else { return Ok(()) };
        let before = self.causes.len();
        self.became(&last)?;
        self.causes.iter_mut().skip(before).for_each(|cause| cause.run = Some(last.id));
        Ok(())
    }

    fn became(&mut self, last: &Last) -> Result<(), EngineError> {
        let run = format!("its last run, {},", last.id);
        let message = last.message.clone().unwrap_or_default();
        let code = last.code.as_deref().unwrap_or_default();
        match last.state.as_str() {
            "queued" if last.blockers > 0 => self.found(
                "waits-for-its-turn",
                format!("{run} waits for {} earlier ones on the same record", last.blockers),
                "the earlier ones go first; cancel one that will not end",
            ),
            "queued" if let Some(since) = last.away_since => self.found(
                "waits-for-odoo",
                format!(
                    "{run} waits for odoo since {}, and is tried again at {}: {message}",
                    self.time(timestamp(since)),
                    self.time(timestamp(last.due))
                ),
                "nothing, if odoo comes back within a day: `triggerbox odoo doctor` tells whether it answers",
            ),
            "queued" if !code.is_empty() => self.found(
                "retrying",
                format!("{run} is tried again at {}: {message}", self.time(timestamp(last.due))),
                "nothing: it passes, or ends as dead",
            ),
            "queued" => self.found(
                "queued",
                format!("{run} waits until {}", self.time(timestamp(last.due))),
                "start the server if it is not running: `triggerbox serve`",
            ),
            "running" => self.found("running", format!("{run} is running"), "wait for it, or cancel it"),
            "waiting-approval" => {
                self.found("waits-for-approval", format!("{run} waits for somebody's yes"), "approve or reject it");
            }
            "failed" | "dead" => {
                let refused = self.refused(last.id)?;
                let unanswered = self.unanswered(last.id)?;
                self.failed(&run, last.state == "dead", code, &message, refused, unanswered.as_deref());
            }
            "skipped" => self.found("skipped", format!("{run} had nothing to do: {message}"), NOTHING),
            "cancelled" => {
                self.found("cancelled", format!("{run} was stopped: {message}"), "retry it, if it should run")
            }
            "outcome-unknown" => self.found(
                "outcome-unknown",
                format!("{run} ended while a call to another service was out: {message}"),
                "find out whether the call was done, then retry or leave it",
            ),
            _ => {}
        }
        Ok(())
    }

    /// Whether the last try met a refusal of some right, by whatever side.
    fn refused(&self, run: i64) -> Result<bool, EngineError> {
        let detail = runs::detail(self.conn, run)?;
        let refusals = detail.attempts.last().and_then(|attempt| attempt.report.get("refusals")?.as_array().cloned());
        Ok(refusals.is_some_and(|refusals| !refusals.is_empty()))
    }

    /// Why the last question to a language model had no answer, if it had none.
    fn unanswered(&self, run: i64) -> Result<Option<String>, EngineError> {
        let sql = "SELECT c.reply ->> '$.Err.code' FROM llm_call c JOIN engine_run r ON r.key = c.run \
                   WHERE r.id = ? AND c.kind = 'model' ORDER BY c.id DESC LIMIT 1";
        let found =
            self.conn.prepare_cached(sql)?.query_row([run], |row| row.get::<_, Option<String>>(0)).optional()?;
        Ok(found.flatten())
    }

    fn failed(&mut self, run: &str, dead: bool, code: &str, message: &str, refused: bool, unanswered: Option<&str>) {
        let (cause, remedy) = match unanswered {
            Some("llm-key-refused") => ("llm-key-refused", "an administrator puts a good key into the providers file"),
            Some("llm-rate-limited") => ("llm-rate-limited", "wait, or have the provider raise the limit"),
            Some("llm-unreachable" | "llm-timeout" | "llm-cut-off" | "llm-provider-failed") => {
                ("llm-not-answering", "look at the provider's address in the providers file, and at its status page")
            }
            _ => ("", ""),
        };
        if !cause.is_empty() {
            self.found(cause, format!("{run} failed, for the language model did not answer: {message}"), remedy);
            return;
        }
        let (cause, remedy) = match code {
            "cap-exceeded" => ("cap-exceeded", "`triggerbox threads renew` has the next run begin a new session"),
            "limit-exceeded" => ("limit-exceeded", "mend the script, or raise the limit that stopped it"),
            "trapped" => ("script-broke", "the script's author mends it; the run has the place"),
            "rejected" if refused => ("no-right", "grant what is missing, or run the rule as somebody who may"),
            "rejected" => ("rejected", "the data is refused: mend it, or the script"),
            "odoo-away" => ("odoo-was-away", "once odoo answers (`triggerbox odoo doctor` tells), requeue it"),
            "odoo-unusable" => ("odoo-unusable", "an operator does what the text says; then requeue it"),
            _ if refused => ("no-right", "grant what is missing, or run the rule as somebody who may"),
            _ if dead => ("dead", "it was tried as often as may be; mend the cause and requeue it"),
            _ => ("failed", "the text says who must act; then retry the run"),
        };
        self.found(cause, format!("{run} failed ({code}): {message}"), remedy);
    }

    fn newest(&self, record: Option<Id>) -> Result<Option<Last>, EngineError> {
        const COLUMNS: &str = "r.id, r.state, r.due, r.blockers, r.at, r.code, r.message, r.away_since";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Last {
                id: row.get(0)?,
                state: row.get(1)?,
                due: row.get(2)?,
                blockers: row.get(3)?,
                at: row.get(4)?,
                code: row.get(5)?,
                message: row.get(6)?,
                away_since: row.get(7)?,
            })
        };
        let rule = &self.stored.rule;
        let newest = match record {
            // Few runs are about one record, and a rule may have many.
            Some(record) => {
                let sql = format!(
                    "SELECT {COLUMNS} FROM engine_about a CROSS JOIN engine_run r ON r.id = a.run \
                     WHERE a.model = ?1 AND a.record = ?2 AND r.rule = ?3 ORDER BY a.run DESC LIMIT 1"
                );
                self.conn.prepare_cached(&sql)?.query_row((&rule.model, record, &rule.name), read)
            }
            None => {
                let sql = format!("SELECT {COLUMNS} FROM engine_run r WHERE r.rule = ?1 ORDER BY r.id DESC LIMIT 1");
                self.conn.prepare_cached(&sql)?.query_row([&rule.name], read)
            }
        };
        Ok(newest.optional()?)
    }

    /// What a rule that stands before writes refused last: of this record, or of any.
    pub(super) fn refusals(&mut self, record: Option<Id>) -> Result<(), EngineError> {
        let (count, last) = refusals::last(self.conn, &self.stored.rule.name, record)?;
        if last.is_empty() {
            return Ok(());
        }
        let model = self.stored.rule.model.as_deref().unwrap_or_default();
        let told = last.iter().take(SHOWN).map(|one| {
            let what = one.record.map_or_else(|| format!("a new {model}"), |id| format!("{model}({id})"));
            let when = self.time(one.at);
            format!("at {when}, of user {}, to {} {what}: {}", one.actor, one.kind, one.message)
        });
        let told: Vec<_> = told.collect();
        let what = format!("it has refused {count} writes so far");
        self.found(
            "refused-writes",
            format!("{what}; the last {}", told.join("; ")),
            "nothing, if it guards what it should; else change the rule, or its script",
        );
        if let Some(cause) = self.causes.last_mut() {
            cause.for_others = Some(format!("{what}; administrators see which, and what it said"));
        }
        Ok(())
    }

    /// Nothing keeps the rule from firing: says when it last ran.
    pub(super) fn nothing(&mut self, record: Option<Id>) -> Result<(), EngineError> {
        let on = record.map(|id| format!(" on record {id}")).unwrap_or_default();
        let sentence = match self.newest(record)? {
            Some(last) => {
                let when = self.time(timestamp(last.at));
                format!("nothing keeps it from firing; its last run{on}, {}, of {when}, {}", last.id, last.state)
            }
            None => format!("nothing keeps it from firing{on}; it has not fired yet"),
        };
        self.found("nothing-in-the-way", sentence, NOTHING);
        Ok(())
    }
}
