//! The rule by itself: whether it can fire and run at all.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use triggerbox_model::value::Id;

use super::Case;
use crate::{
    agents,
    clock::timestamp,
    error::EngineError,
    rule::{
        Environment, Mode, Trigger,
        check::{Ground, Severity, check_running},
    },
    schedule::Slots,
    scripts::{RegistryError, asks, binding, registry},
};

impl Case<'_> {
    pub(super) fn standing(&mut self) -> Result<(), EngineError> {
        let name = self.stored.rule.name.clone();
        if !self.stored.rule.active {
            self.found(
                "rule-inactive",
                format!("rule `{name}` is not active, so that it never fires"),
                "set `active = true` in its file and apply it",
            );
        }
        if let Some(why) = self.stored.paused.clone() {
            self.found(
                "rule-paused",
                format!("rule `{name}` is paused: {why}"),
                format!("`triggerbox rules resume {name}`, when the reason is gone"),
            );
        }
        self.stops()?;
        self.people()?;
        self.agents()?;
        self.scripts()?;
        self.sense()?;
        self.schedule();
        self.commits_nothing();
        Ok(())
    }

    fn stops(&mut self) -> Result<(), EngineError> {
        let model = self.stored.rule.model.clone().unwrap_or_default();
        let sql = "SELECT model, by, at, reason FROM engine_stop WHERE model IN ('', ?) ORDER BY model";
        let mut statement = self.conn.prepare_cached(sql)?;
        let stops = statement.query_map([&model], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Id>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?))
        })?;
        for stop in stops.collect::<Result<Vec<_>, _>>()? {
            let (stopped, by, at, reason) = stop;
            let when = timestamp(at).to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M");
            match stopped.is_empty() {
                true => self.found(
                    "all-stopped",
                    format!("all rules are stopped since {when} by user {by}: {reason}"),
                    "its runs wait until an operator ends the stop",
                ),
                false => self.found(
                    "model-stopped",
                    format!("the rules on `{stopped}` are stopped since {when} by user {by}: {reason}"),
                    "its runs wait until an operator ends the stop",
                ),
            }
        }
        Ok(())
    }

    fn people(&mut self) -> Result<(), EngineError> {
        let owner = self.stored.owner;
        let sql = "SELECT login, active FROM res_users WHERE id = ?";
        let found: Option<(String, bool)> =
            self.conn.query_row(sql, [owner], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let runs_as_owner = self.stored.rule.run_as.is_none();
        match found {
            Some((_, true)) => {}
            Some((login, false)) if runs_as_owner => self.found(
                "owner-inactive",
                format!("the owner `{login}` is archived: the configured administrator stands in"),
                "somebody else saves the rule and becomes its owner",
            ),
            None if runs_as_owner => self.found(
                "owner-inactive",
                format!("the owner, user {owner}, does not exist any more"),
                "somebody else saves the rule and becomes its owner",
            ),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn agents(&mut self) -> Result<(), EngineError> {
        let rule = self.stored.rule.clone();
        for name in rule.actions.iter().filter_map(|action| action.agent.as_deref()) {
            match agents::stored::find(self.conn, name)? {
                None => self.found(
                    "agent-gone",
                    format!("the agent `{name}` is not there any more: every run fails"),
                    "pick another agent, or restore it: `triggerbox agents apply`",
                ),
                Some(known) if !known.agent.active => self.found(
                    "agent-inactive",
                    format!("the agent `{name}` is not active: every run fails"),
                    "an administrator sets `active = true` in the agent's file and applies it",
                ),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn scripts(&mut self) -> Result<(), EngineError> {
        let rule = self.stored.rule.clone();
        for (part, script) in binding::parts(&rule) {
            let hash = match binding::effective(self.conn, &rule, part) {
                Ok(hash) => hash,
                Err(RegistryError::Database(error)) => return Err(error.into()),
                Err(RegistryError::Inactive { name }) => {
                    self.found(
                        "script-inactive",
                        format!("script `{name}` is switched off, and the rule wants its latest version"),
                        format!("activate one of its versions: `triggerbox scripts list {name}`"),
                    );
                    continue;
                }
                Err(error) => {
                    self.found(
                        "script-gone",
                        format!("script `{script}` is not there: {error}"),
                        "upload it again, or have the rule use another",
                    );
                    continue;
                }
            };
            if let Some(held) = binding::held_back(self.conn, &self.env.schema, &rule, (part, script), hash)? {
                self.found(
                    "version-held-back",
                    format!(
                        "script `{}` stays at version {}: version {} is active and asks for more than was agreed to: {}",
                        script.name, held.runs.version, held.newest.version, held.more
                    ),
                    "its owner agrees: `triggerbox rules apply --agree`, or the box on the automation's page",
                );
            }
            let Some(action) = usize::try_from(part).ok().and_then(|index| rule.actions.get(index)) else { continue };
            let version = registry::version(self.conn, hash, &script.name)?;
            let missing = asks::missing(&self.env.schema, &rule, action, &version.manifest, self.policy);
            if !missing.0.is_empty() {
                self.found(
                    "grants-missing",
                    format!("script `{script}` asks for more than it is given: {missing}"),
                    "grant it by name in the action's `grants`",
                );
            }
        }
        Ok(())
    }

    /// A rule made sense when it was saved; its model, its users or its records may have changed since.
    fn sense(&mut self) -> Result<(), EngineError> {
        let ground = Ground { conn: self.conn, env: self.env, policy: self.policy };
        // What is said above in better words is not said again.
        let said = [
            "unknown-agent",
            "no-next-slot",
            "script-gone",
            "script-inactive",
            "unknown-script",
            "grants-missing",
            "cannot-test",
        ];
        let runs: BTreeMap<_, _> = self.stored.bound.iter().map(|(part, bound)| (*part, bound.hash)).collect();
        for finding in check_running(ground, &self.stored.rule, &runs)? {
            if finding.severity == Severity::Error && !said.contains(&finding.code) {
                let code = match finding.code {
                    "inactive-user" | "unknown-user" => "run-as-inactive",
                    _ => "rule-broken",
                };
                self.found(
                    code,
                    format!("the rule no longer makes sense: {}: {}", finding.place, finding.message),
                    "change the rule",
                );
            }
        }
        Ok(())
    }

    fn schedule(&mut self) {
        let Trigger::Schedule(schedule) = &self.stored.rule.trigger else { return };
        let next = Slots::new(schedule).ok().and_then(|slots| slots.next_after(self.env.now));
        if next.is_none() {
            self.found(
                "no-next-slot",
                "the schedule has no next slot: it never fires again",
                "change its `first` or `cron`",
            );
        }
    }

    fn commits_nothing(&mut self) {
        let inside = matches!(self.stored.rule.trigger, Trigger::Before { .. } | Trigger::OnChange { .. });
        if self.stored.rule.environment == Environment::Test && inside {
            self.found(
                "test-environment",
                "the rule is not asked: its environment is `test`, and whatever it answered would count at once",
                "set `environment = \"live\"`, or try its script with `triggerbox test`",
            );
        } else if self.stored.rule.environment == Environment::Test {
            self.found(
                "test-environment",
                "the rule runs and commits nothing: its environment is `test`",
                "set `environment = \"live\"` when it does what it should",
            );
        } else if self.stored.rule.mode == Mode::Recommend && !inside {
            self.found(
                "recommend-only",
                "the rule's changes are kept as recommendations and never applied: its mode is `recommend`",
                "set `mode = \"approve\"` or `\"auto\"`",
            );
        }
    }
}
