//! Scripts: whether they are there, whether they get what they ask for, and whether it makes sense.

use triggerbox_model::{
    grants::{GrantOperation, Grants},
    limits::Limit,
};
use url::Url;

use super::{Check, parameters};
use crate::{
    rule::{Action, ScriptRef, Source},
    scripts::{RegistryError, ScriptVersion, asks, ready, registry},
};

impl Check<'_> {
    pub(super) fn actions(&mut self) -> rusqlite::Result<()> {
        let rule = self.rule;
        if rule.actions.is_empty() {
            self.error("no-actions", "actions", "a rule does something: name at least one script");
        }
        for (index, action) in rule.actions.iter().enumerate() {
            let place = format!("actions[{index}]");
            if let Some(version) = self.script(&format!("{place}.script"), &action.script)? {
                self.action(&place, action, &version)?;
            }
        }
        if let Some(Source::Script(script)) = &rule.source {
            self.script("source.script", script)?;
        }
        Ok(())
    }

    fn script(&mut self, place: &str, script: &ScriptRef) -> rusqlite::Result<Option<ScriptVersion>> {
        match registry::resolve(self.ground.conn, script) {
            Ok(version) => Ok(Some(version)),
            Err(RegistryError::Database(error)) => Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
            Err(error) => {
                self.error(error.code(), place, error.to_string());
                Ok(None)
            }
        }
    }

    fn action(&mut self, place: &str, action: &Action, version: &ScriptVersion) -> rusqlite::Result<()> {
        let manifest = &version.manifest;
        let mut wrong = parameters::misfits(manifest, &action.parameters);
        wrong.extend(ready::misfits(self.schema(), self.rule.model.as_deref(), action));
        for (name, problem) in wrong {
            self.error("bad-parameter", format!("{place}.parameters.{name}"), problem);
        }
        for (name, relation, id) in parameters::links(manifest, &action.parameters) {
            let Some(model) = self.schema().models.get(relation) else { continue };
            if !self.exists(model, id)? {
                let message = format!("there is no {relation}({id})");
                self.error("no-such-record", format!("{place}.parameters.{name}"), message);
            }
        }
        if let Some(grants) = &action.grants {
            self.grants(place, grants);
        }
        self.given(place, action, version);
        self.sends(place, action);
        for (limit, max) in &action.limits.0 {
            if limit.is_fixed() {
                let message = format!("`{limit}` is the same for every run; take it out");
                self.warning("fixed-limit", format!("{place}.limits.{limit}"), message);
            } else if *max == 0 && *limit == Limit::Fuel {
                self.error("no-fuel", format!("{place}.limits.fuel"), "without fuel no script runs");
            }
        }
        self.on_the_models_records(place, action, version);
        Ok(())
    }

    /// Every model, field and domain that a rule grants is there.
    fn grants(&mut self, place: &str, grants: &Grants) {
        for (index, grant) in grants.0.iter().enumerate() {
            let place = format!("{place}.grants[{index}]");
            let model = match self.schema().model(&grant.model) {
                Ok(model) => model,
                Err(error) => {
                    self.error("unknown-model", place, error.message);
                    continue;
                }
            };
            for field in &grant.fields {
                if let Err(error) = model.field(field)
                    && !matches!(field.as_str(), "id" | "display_name")
                {
                    self.error("unknown-field", format!("{place}.fields"), error.message);
                }
            }
            if let Some(domain) = &grant.domain {
                let env = self.ground.env;
                let checked = triggerbox_model::domain::Domain::parse(domain)
                    .and_then(|domain| triggerbox_store::query::condition(self.ground.conn, env, &model.name, &domain));
                if let Err(error) = checked {
                    self.error("bad-domain", format!("{place}.domain"), error.message);
                }
            }
            if self.ground.policy.forbids(&grant.model) {
                let message = format!("policy forbids scripts to touch `{}`; no grant opens it", grant.model);
                self.error("forbidden", place, message);
            }
        }
    }

    /// A script that asks for more than it is given fails when it gets there; better to hear of it now.
    fn given(&mut self, place: &str, action: &Action, version: &ScriptVersion) {
        let asked = asks::asks(self.schema(), self.rule, action, &version.manifest);
        for grant in
            asked.0.iter().filter(|grant| self.ground.policy.forbids(&grant.model)).cloned().collect::<Vec<_>>()
        {
            let message = format!("the script asks for `{grant}`, which policy forbids");
            self.error("forbidden", format!("{place}.script"), message);
        }
        let missing = asks::missing(self.schema(), self.rule, action, &version.manifest, self.ground.policy);
        if missing.0.is_empty() {
            return;
        }
        let list: Vec<_> = missing.0.iter().map(|grant| format!("`{grant}`")).collect();
        let list = list.join(", ");
        match &action.grants {
            // Who lists grants may well mean to leave some out.
            Some(_) => self.warning(
                "grants-missing",
                format!("{place}.grants"),
                format!("the script asks for more than it is given; it fails where it needs {list}"),
            ),
            None => self.error(
                "grants-missing",
                format!("{place}.grants"),
                format!("the script asks for what policy guards, which a rule must grant by name: {list}"),
            ),
        }
    }

    /// The program's own script that sends does so where the rule says, and only there.
    fn sends(&mut self, place: &str, action: &Action) {
        let Some(address) = ready::address(action) else { return };
        match Url::parse(address) {
            Ok(url) if action.http.iter().any(|grant| grant.covers("POST", &url)) => {}
            Ok(_) => {
                let message =
                    format!("the script sends `POST {address}`, which the action's `http` must grant by name");
                self.error("grants-missing", format!("{place}.http"), message);
            }
            Err(error) => self.error(
                "bad-parameter",
                format!("{place}.parameters.url"),
                format!("`{address}` is no address: {error}; write it in full"),
            ),
        }
    }

    /// A script that asks for nothing on the rule's model was probably written for another one.
    fn on_the_models_records(&mut self, place: &str, action: &Action, version: &ScriptVersion) {
        let Some(model) = self.model else { return };
        let asked = asks::asks(self.schema(), self.rule, action, &version.manifest);
        if asked.0.is_empty() || asked.0.iter().any(|grant| grant.model == model.name) {
            return;
        }
        let models: std::collections::BTreeSet<_> = asked.0.iter().map(|grant| grant.model.as_str()).collect();
        let models: Vec<_> = models.into_iter().collect();
        let message = format!(
            "the script asks for nothing on `{}`, only on {}; is it for this model?",
            model.name,
            models.join(", ")
        );
        self.warning("other-model", format!("{place}.script"), message);
    }

    /// Whether some action asks to call methods.
    pub(super) fn calls_methods(&self, action: &Action, version: &ScriptVersion) -> bool {
        let asked = asks::asks(self.schema(), self.rule, action, &version.manifest);
        asked.0.iter().any(|grant| grant.operations.contains(&GrantOperation::Call))
    }
}
