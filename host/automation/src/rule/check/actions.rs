//! Scripts: whether they are there, whether they get what they ask for, and whether it makes sense.

use triggerbox_llm::http::{Closed, closed};
use triggerbox_model::{grants::GrantOperation, limits::Limit, outbound::HttpGrant};
use url::Url;

use super::{Check, grants, parameters};
use crate::{
    agents,
    rule::{Action, ScriptRef, Source},
    scripts::{RegistryError, ScriptVersion, asks, binding, ready},
};

impl Check<'_> {
    pub(super) fn actions(&mut self) -> rusqlite::Result<()> {
        let rule = self.rule;
        if rule.actions.is_empty() {
            self.error("no-actions", "actions", "a rule does something: name at least one script");
        }
        for (index, action) in (0_i64..).zip(&rule.actions) {
            let place = format!("actions[{index}]");
            let dressed = self.agent(&place, action)?;
            if let Some(version) = self.script(&format!("{place}.script"), index, &action.script)? {
                self.action(&place, dressed.as_ref().unwrap_or(action), &version)?;
            }
        }
        if !rule.caps.is_sound() {
            self.error("bad-caps", "caps.cost", "a cap is an amount of euros; 0 for the server's");
        }
        if let Some(Source::Script(script)) = &rule.source {
            self.script("source.script", binding::SOURCE, script)?;
        }
        Ok(())
    }

    /// The action as its agent has it; none: it picks no agent, or one that is not there.
    fn agent(&mut self, place: &str, action: &Action) -> rusqlite::Result<Option<Action>> {
        let is_agent = action.script.name == agents::SCRIPT;
        if is_agent && action.parameters.get("prompt").is_none_or(|prompt| prompt.trim().is_empty()) {
            let message = "an agent is told what to do: write it into the parameter `prompt`";
            self.error("prompt-required", format!("{place}.parameters.prompt"), message);
        }
        if is_agent {
            for (name, problem) in agents::check::misfits(action) {
                self.error("bad-parameter", format!("{place}.parameters.{name}"), problem);
            }
        }
        let Some(name) = &action.agent else {
            if is_agent {
                let message = "pick the agent that is to do it: `triggerbox agents list`";
                self.error("agent-required", format!("{place}.agent"), message);
            }
            return Ok(None);
        };
        let (place, parameters) = (format!("{place}.agent"), format!("{place}.parameters"));
        if !is_agent {
            let message = format!("`{}` is no agent: only the script `{}` works as one", action.script, agents::SCRIPT);
            self.error("not-an-agent", place, message);
            return Ok(None);
        }
        let known = match agents::stored::find(self.ground.conn, name) {
            Ok(known) => known,
            Err(error) => return Err(rusqlite::Error::ToSqlConversionFailure(Box::new(error))),
        };
        let Some(known) = known else {
            let message = format!("there is no agent `{name}`; `triggerbox agents list` names them");
            self.error("unknown-agent", place, message);
            return Ok(None);
        };
        if !known.agent.active {
            self.warning("agent-inactive", place, format!("the agent `{name}` is not active: every run fails"));
        }
        let dressed = known.agent.dress(action);
        let model = |action: &Action| action.parameters.get("model").filter(|model| !model.is_empty()).cloned();
        if model(action).is_some_and(|wanted| model(&dressed) != Some(wanted)) {
            let message = format!("the agent `{name}` says which model it asks; take this out");
            self.error("agent-decides", format!("{parameters}.model"), message);
        }
        let is_known =
            |tool: &str| agents::TOOLS.contains(&tool) || known.agent.scripts.iter().any(|script| script.name == tool);
        for tool in agents::tools(action.parameters.get("tools")).into_iter().filter(|tool| !is_known(tool)) {
            let scripts = known.agent.scripts.iter().map(|script| script.name.as_str());
            let all: Vec<_> = agents::TOOLS.into_iter().chain(scripts).collect();
            let message = format!("there is no tool `{tool}`; there are {}", all.join(", "));
            self.error("unknown-tool", format!("{parameters}.tools"), message);
        }
        if dressed.parameters.get("tools").is_some_and(|tools| tools == agents::NO_TOOLS) {
            let message = format!(
                "none of these is a tool of the agent `{name}`: {}",
                known.agent.tool_names().collect::<Vec<_>>().join(", ")
            );
            self.error("no-tools", format!("{parameters}.tools"), message);
        }
        Ok(Some(dressed))
    }

    fn script(&mut self, place: &str, part: i64, script: &ScriptRef) -> rusqlite::Result<Option<ScriptVersion>> {
        match self.version(part, script) {
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
        let has_no_records = self.rule.model.is_none() && self.findings.iter().all(|one| one.place != "model");
        if has_no_records && ready::is_ready_made(&action.script.name) && action.script.name != agents::SCRIPT {
            let message =
                format!("`{}` works on records, and the rule has none; name their model in `model`", action.script);
            self.warning("no-records", format!("{place}.script"), message);
        }
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
        if let Some(granted) = &action.grants {
            self.findings.extend(grants::findings(self.ground, &format!("{place}.grants"), granted));
        }
        self.given(place, action, version);
        self.sends(place, action);
        self.within_reach(place, action);
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

    /// What is granted at an address that is closed all the same is refused at each run; better to hear of it now.
    fn within_reach(&mut self, place: &str, action: &Action) {
        let private: Vec<HttpGrant> = action.http.iter().filter(|grant| grant.private).cloned().collect();
        for (nth, grant) in action.http.iter().enumerate() {
            let url = &grant.url;
            let message = match closed(url.address()) {
                Some(Closed::Always) => format!("`{url}` is an address that is never connected to; take it out"),
                Some(Closed::UnlessPrivate) if grant.beyond(&private).is_some() => {
                    format!(
                        "`{url}` is not a public address, and is refused unless an administrator grants it as `private`"
                    )
                }
                _ => continue,
            };
            self.error("address-refused", format!("{place}.http[{nth}].url"), message);
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
