//! One record: what happened to it last, and whether the rule's conditions hold.

use rusqlite::OptionalExtension;
use triggerbox_model::{
    changes::{Change, ChangeKind},
    error::Error,
    schema::Model,
    value::Id,
};
use triggerbox_store::ddl;

use super::{Case, NOTHING};
use crate::{clock::timestamp, error::EngineError, matcher, pauses, rule::Trigger, timed};

impl Case<'_> {
    pub(super) fn record(&mut self, record: Id) -> Result<(), EngineError> {
        let Some(name) = self.stored.rule.model.clone() else {
            self.found("no-model", "the rule is bound to no model, and so to no record", "ask without a record");
            return Ok(());
        };
        let env = self.env;
        let model = env.schema.model(&name)?;
        let there = self.is_there(model, record)?;
        if !there && !matches!(self.stored.rule.trigger, Trigger::Deleted {}) {
            self.found("record-gone", format!("there is no {name}({record}), or not any more"), NOTHING);
            return self.last_run(Some(record));
        }
        let before = self.causes.len();
        self.last_run(Some(record))?;
        if self.stored.rule.trigger.is_timed() && !env.schema.remote {
            self.archived(model, record)?;
        }
        if self.causes.len() > before || !self.stored.rule.trigger.is_on_record_change() {
            return self.domain_now(&name, record, there);
        }
        if env.schema.remote {
            // What Odoo told of the record's changes, it told of those that matched.
            self.domain_now(&name, record, there)?;
            if self.causes.len() > before {
                return Ok(());
            }
        }
        self.last_change(model, record, there)
    }

    /// Whether there is such a record. Where it is on another server, whoever asks has looked there.
    fn is_there(&self, model: &Model, record: Id) -> Result<bool, EngineError> {
        if self.env.schema.remote {
            return Ok(true);
        }
        let table = ddl::quote(&ddl::table(&model.name));
        Ok(self.conn.prepare(&format!("SELECT 1 FROM {table} WHERE id = ?"))?.exists([record])?)
    }

    /// Whether the clock fires the rule on the record though it is archived.
    fn archived(&mut self, model: &Model, record: Id) -> Result<(), EngineError> {
        let Some(active) = timed::hides_archived(&self.stored.rule, model)? else { return Ok(()) };
        let sql =
            format!("SELECT 1 FROM {} WHERE id = ? AND {}", ddl::quote(&ddl::table(&model.name)), ddl::quote(active));
        if !self.conn.prepare(&sql)?.exists([record])? {
            self.found(
                "record-archived",
                format!("{}({record}) is archived, and the clock fires the rule on records that are not", model.name),
                format!("unarchive it, or have the rule's domain speak of `{active}`"),
            );
        }
        Ok(())
    }

    /// Whether the domain holds now. For a rule that waits for changes the last change counts, if it is known.
    fn domain_now(&mut self, model: &str, record: Id, there: bool) -> Result<(), EngineError> {
        let holds = match self.holds {
            Some(holds) => Ok(holds),
            None if !there => Ok(true),
            None => matcher::record_holds(self.conn, self.env, self.armed, model, record),
        };
        if !self.judged(holds)? {
            let domain = self.stored.rule.domain.clone().unwrap_or_default();
            self.found(
                "domain-false",
                format!("{model}({record}) does not match the rule's domain {domain}"),
                "the rule fires on records that match; change the record or the domain",
            );
        }
        Ok(())
    }

    /// Whether one of the rule's conditions holds. Where that cannot be said, that keeps it from firing, and not the condition.
    fn judged(&mut self, holds: Result<bool, Error>) -> Result<bool, EngineError> {
        let Some(broken) = matcher::judged(holds)? else { return Ok(false) };
        if let Some(error) = broken
            // The fire that came to nothing may have said so.
            && self.causes.iter().all(|cause| cause.code != "domain-broken")
        {
            self.found(
                "domain-broken",
                format!("its conditions cannot be judged: {}", error.message),
                "mend the rule's domains or the record that they name; then change the record again",
            );
        }
        Ok(true)
    }

    /// The last thing that happened to the record, judged as the rule judges it. Of a run's own update that a time rule does not
    /// wait for, nothing is kept but that it was.
    fn last_change(&mut self, model: &Model, record: Id, there: bool) -> Result<(), EngineError> {
        let sql = "SELECT change, at, depth FROM engine_event WHERE model = ?1 AND record = ?2 \
                   AND kind IN ('created', 'updated', 'deleted') AND change <> '{}' ORDER BY id DESC LIMIT 1";
        let found: Option<(String, i64)> = self
            .conn
            .prepare_cached(sql)?
            .query_row((&model.name, record), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let changed = self.changed_at(model, record)?;
        let noted = found.filter(|(_, at)| changed.is_none_or(|changed| at / 1_000 >= changed / 1_000));
        let Some((change, at)) = noted else { return self.unnoted(model, record, there, changed) };
        let change: Change = serde_json::from_str(&change)?;
        let active = matcher::active_name(&self.env.schema, &model.name);
        let when = self.time(timestamp(at));
        if matcher::watched(&self.stored.rule.trigger, &change, active).is_none() {
            let names: Vec<_> = change.fields.iter().map(|field| field.field.as_str()).collect();
            return self.unwatched(&format!("the last change, of {when}, was {}", what(change.kind, &names)));
        }
        let before = matcher::held_before(self.conn, self.env, self.armed, &change);
        let after = matcher::held_after(self.conn, self.env, self.armed, &change);
        if !self.judged(before)? {
            let domain = self.stored.rule.before_domain.clone().unwrap_or_default();
            self.found(
                "before-domain-false",
                format!("before the change of {when} the record did not match the rule's before-domain {domain}"),
                "the rule fires on records that matched before; change the before-domain, if that is not meant",
            );
        } else if !self.judged(after)? {
            let domain = self.stored.rule.domain.clone().unwrap_or_default();
            self.found(
                "domain-false",
                format!("after the change of {when} the record did not match the rule's domain {domain}"),
                "the rule fires on records that match after the change; change the record or the domain",
            );
        } else {
            self.was_away((at, at))?;
        }
        Ok(())
    }

    /// No rule wanted to know of the last change: then this one did not either, and what remains is why.
    fn unnoted(&mut self, model: &Model, record: Id, there: bool, changed: Option<i64>) -> Result<(), EngineError> {
        let before = self.causes.len();
        self.domain_now(&model.name, record, there)?;
        if self.causes.len() > before {
            return Ok(());
        }
        let Some(changed) = changed else {
            self.found(
                "never-changed",
                format!("nothing is known to have happened to {}({record})", model.name),
                "change it",
            );
            return Ok(());
        };
        // It is kept to the second.
        if self.was_away((changed, changed + 999))? {
            return Ok(());
        }
        let when = self.time(timestamp(changed));
        if let Some(domain) = self.stored.rule.before_domain.clone() {
            self.found(
                "before-domain-false",
                format!(
                    "at the last change, of {when}, the record did not match the before-domain {domain}, or no watched \
                     field really changed"
                ),
                "change the before-domain or the watched fields, if that is not meant",
            );
            return Ok(());
        }
        self.unwatched(&format!("the last change, of {when}, was another one"))
    }

    fn unwatched(&mut self, what: &str) -> Result<(), EngineError> {
        let waits = match &self.stored.rule.trigger {
            Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields } if !fields.is_empty() => {
                format!("for real changes of {}", fields.join(", "))
            }
            trigger => {
                let name = serde_json::to_value(trigger)?;
                let name = name.get("on").and_then(|on| on.as_str()).unwrap_or_default().to_owned();
                format!("for `{name}`")
            }
        };
        self.found(
            "unwatched-field",
            format!("the rule waits {waits}; {what}"),
            "watch the fields that should fire it; writing the value that is there already changes nothing",
        );
        Ok(())
    }

    /// When the record was last changed, if that is kept here.
    fn changed_at(&self, model: &Model, record: Id) -> Result<Option<i64>, EngineError> {
        if self.env.schema.remote || !model.log_access || !model.has_column("write_date") {
            return Ok(None);
        }
        let table = ddl::quote(&ddl::table(&model.name));
        let sql = format!("SELECT write_date FROM {table} WHERE id = ?");
        let text: Option<Option<String>> = self.conn.query_row(&sql, [record], |row| row.get(0)).optional()?;
        let time = text.flatten().and_then(|text| triggerbox_model::time::parse_datetime(&text).ok());
        let time = time.and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC).ok());
        Ok(time.map(|time| time.timestamp().as_millisecond()))
    }

    /// Whether the rule could not see the last change, which was at some moment from one to another: it was not there, not as it
    /// is, switched off, or paused.
    fn was_away(&mut self, (from, to): (i64, i64)) -> Result<bool, EngineError> {
        let paused = pauses::within(self.conn, &self.stored.rule.name, (from, to))?;
        let (code, what) = match (self.version_at(from)?, paused) {
            (None, _) => ("rule-newer", "before the rule was made".to_owned()),
            (Some((_, false)), _) => ("rule-was-inactive", "while the rule was not active".to_owned()),
            (Some(_), Some(why)) => ("rule-was-paused", format!("while the rule was paused: {why}")),
            (Some((version, _)), None) if version != self.stored.version => {
                ("rule-newer", "before the rule was made as it is".to_owned())
            }
            (Some(_), None) => return Ok(false),
        };
        let when = self.time(timestamp(from));
        self.found(
            code,
            format!("the last change, of {when}, was {what}"),
            "change the record again, or run the rule on it by hand",
        );
        Ok(true)
    }

    /// Which version of the rule counted at a time, and whether it was active; none: there was no such rule.
    fn version_at(&self, at: i64) -> Result<Option<(u32, bool)>, EngineError> {
        let sql = "SELECT version, state = 'deleted', CASE body WHEN '' THEN 0 ELSE coalesce(body ->> '$.active', 1) END \
                   FROM engine_rule_version WHERE rule = ?1 AND state IN ('accepted', 'deleted') AND at <= ?2 \
                   ORDER BY version DESC LIMIT 1";
        let found: Option<(u32, bool, bool)> = self
            .conn
            .prepare_cached(sql)?
            .query_row((&self.stored.rule.name, at), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        Ok(found.filter(|(_, is_deleted, _)| !is_deleted).map(|(version, _, active)| (version, active)))
    }
}

fn what(kind: ChangeKind, fields: &[&str]) -> String {
    match kind {
        ChangeKind::Created => "its creation".to_owned(),
        ChangeKind::Deleted => "its deletion".to_owned(),
        ChangeKind::Updated => format!("of {}", fields.join(", ")),
    }
}
