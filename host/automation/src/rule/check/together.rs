//! What does not go together.

use super::{Check, Severity};
use crate::{
    remote,
    rule::{Dispatch, Environment, Mode, OnError, Source, Trigger},
};

impl Check<'_> {
    pub(super) fn together(&mut self) {
        let rule = self.rule;
        let before = matches!(rule.trigger, Trigger::Before { .. });
        let form = matches!(rule.trigger, Trigger::OnChange { .. });
        if self.schema().remote {
            self.remote();
        }
        if before || form {
            self.inside_a_caller(if before { "inside the caller's write" } else { "while somebody edits a form" });
        }
        if !before && rule.on_error != OnError::Refuse {
            self.error("not-before", "on-error", "only rules that run before a write can let it pass; take this out");
        }
        if rule.model.is_none() {
            for (set, place) in [
                (rule.dispatch == Dispatch::PerRecord, "dispatch"),
                (rule.chain, "chain"),
                (rule.source.is_some(), "source"),
            ] {
                if set {
                    self.error("no-model", place, "this is about records; name their model in `model`");
                }
            }
        }
        if rule.concurrency == Some(0) {
            self.error(
                "no-concurrency",
                "concurrency",
                "0 runs at once means that it never runs; pause the rule instead",
            );
        }
        let waits = rule.trigger.is_on_record_change()
            || matches!(rule.trigger, Trigger::MessageReceived {} | Trigger::MessageSent {});
        if rule.debounce > 0 && !waits {
            self.error("nothing-to-debounce", "debounce", "only changes and messages can wait for more of their kind");
        }
        self.source(waits || before || form);
        if rule.mode != Mode::Auto && rule.environment == Environment::Test {
            self.warning(
                "test-only",
                "environment",
                "in the test environment nothing is committed, so that there is nothing to approve",
            );
        }
        if rule.chain && rule.dispatch == Dispatch::Single {
            self.warning(
                "chain-per-record",
                "chain",
                "a run is chained to the one before on its record; use `dispatch = \"per-record\"`",
            );
        }
    }

    /// What cannot be done for records on an Odoo server.
    fn remote(&mut self) {
        let rule = self.rule;
        for (code, place, message) in remote::refusals(rule) {
            self.error(code, place, message);
        }
        let is_sound = self.findings.iter().all(|finding| finding.severity != Severity::Error);
        if let (Some(model), true) = (self.model, is_sound)
            && let Err(error) = remote::watch(rule, model)
        {
            self.error("odoo-cannot", "trigger", error.message);
        }
    }

    /// Before and on-change rules answer while somebody waits.
    fn inside_a_caller(&mut self, when: &str) {
        let rule = self.rule;
        if rule.mode != Mode::Auto {
            let message = format!(
                "this rule runs {when} and cannot wait for a yes; use `mode = \"auto\"` or a rule that runs after it"
            );
            self.error("cannot-wait", "mode", message);
        }
        if rule.environment == Environment::Test {
            let message = format!(
                "this rule runs {when}, where its answer counts at once: there is nothing that could be held back; take this \
                 out, and try the script with `triggerbox test`"
            );
            self.error("cannot-test", "environment", message);
        }
        if rule.chain {
            self.error(
                "cannot-chain",
                "chain",
                format!("this rule runs {when}; only rules that run after it are chained"),
            );
        }
        if rule.dispatch == Dispatch::PerRecord {
            let message = format!("this rule runs {when}, for all its records at once; take this out");
            self.error("cannot-dispatch", "dispatch", message);
        }
        for (index, action) in (0_i64..).zip(&rule.actions) {
            let Ok(version) = self.version(index, &action.script) else { continue };
            let place = format!("actions[{index}].script");
            if action.script.name == "call-webhook" {
                self.error("no-http-here", place, format!("this rule runs {when}, where no other service is called"));
                continue;
            }
            for (import, code, what) in
                [("llm", "no-llm-here", "language model"), ("http", "no-http-here", "other service")]
            {
                if version.imports.iter().any(|known| known == import) {
                    let message =
                        format!("this rule runs {when}, where no {what} is called; a script that tries is stopped");
                    self.warning(code, place.clone(), message);
                }
            }
            if self.calls_methods(action, &version) {
                let message =
                    format!("this rule runs {when}, where no business method is called; the script asks for some");
                self.error("no-calls-here", place, message);
            }
        }
    }

    fn source(&mut self, brings_records: bool) {
        let rule = self.rule;
        match (&rule.source, &rule.trigger) {
            (Some(_), _) if brings_records => {
                self.warning("unused-source", "source", "the event brings its records; this is never asked");
            }
            (None, Trigger::Schedule(_)) if rule.model.is_some() => {
                self.warning(
                    "no-records",
                    "source",
                    "a schedule brings no records; say which ones, or the scripts get none",
                );
            }
            (None, Trigger::Schedule(_)) if rule.dispatch == Dispatch::PerRecord => {}
            (Some(Source::Domain(_) | Source::Script(_)) | None, _) => {}
        }
    }
}
