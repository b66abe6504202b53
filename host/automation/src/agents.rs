//! Agents: what an administrator sets up once about a language model, for rules to pick by name. A rule that picks one has
//! its model, its system prompt, its tools, its data sources, its mode and its caps, and can only narrow them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`check`] | what is wrong with one |
//! | [`stored`] | agents as they are kept: versions |

pub mod check;
pub mod stored;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use triggerbox_model::{
    error::Error,
    grants::{GrantOperation, Grants},
};

use crate::{
    error::EngineError,
    rule::{Action, Caps, Mode, Rule, ScriptRef},
};

/// The script that an agent is given to.
pub const SCRIPT: &str = "ai-agent";

/// The tools that the script knows.
pub const TOOLS: [&str; 10] =
    ["search", "read", "read_group", "fields_get", "create", "update", "call", "note", "message", "activity"];

/// The parameter that has an agent only read.
const READ_ONLY: &str = "read_only";

/// What is left of tools that agent and rule do not agree on: no tool at all, at which the script fails.
pub(crate) const NO_TOOLS: &str = "none";

/// One agent, as it is configured. Everything but the name has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Agent {
    /// The agent's key: lower-case letters, digits and dashes, at most 64.
    pub name: String,
    /// What people call it; the name when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Why it is there, for the people who come after.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// Rules with an inactive agent fail and say so.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub active: bool,
    /// `PROVIDER/MODEL` of the providers file; the host's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Standing instructions, besides the built-in rules.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub system: String,
    /// The tools that it may use; none named: all that the grants allow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// Scripts that it may run as tools, by name and version: `lead-scoring`, `lead-scoring@3f2a…`. What one may do is what its
    /// manifest asks for, as far as agent and rule grant it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<ScriptRef>,
    /// Only tools that read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// What at most becomes of its changes: a rule's mode can be stricter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// What each session may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub caps: Caps,
    /// Its data sources: what it may do at most, whatever a rule grants. A rule without grants of its own has these.
    /// Absent: what the rule grants is all that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grants: Option<Grants>,
}

impl Agent {
    /// The tools that it names, scripts included.
    pub(crate) fn tool_names(&self) -> impl Iterator<Item = &str> {
        self.tools.iter().map(String::as_str).chain(self.scripts.iter().map(|script| script.name.as_str()))
    }

    /// The scripts that an action with this agent may run as tools: those that its `tools` name, or all.
    pub(crate) fn scripts_for(&self, action: &Action) -> impl Iterator<Item = &ScriptRef> {
        let wanted = tools(action.parameters.get("tools"));
        self.scripts.iter().filter(move |script| wanted.is_empty() || wanted.contains(&script.name.as_str()))
    }

    /// An action with what its agent says about it.
    #[must_use]
    pub fn dress(&self, action: &Action) -> Action {
        let mut action = action.clone();
        action.grants = action.grants.or_else(|| self.grants.clone());
        let mut set = |name: &str, value: String| action.parameters.insert(name.to_owned(), value);
        if let Some(model) = &self.model {
            set("model", model.clone());
        }
        if self.read_only {
            set(READ_ONLY, "true".to_owned());
        }
        if !self.system.is_empty() {
            let more = action.parameters.get("system").map(|text| format!("\n\n{text}")).unwrap_or_default();
            action.parameters.insert("system".to_owned(), format!("{}{more}", self.system));
        }
        if !self.tools.is_empty() {
            let wanted = tools(action.parameters.get("tools"));
            let both = self.tool_names().filter(|tool| wanted.is_empty() || wanted.contains(tool));
            let both: Vec<_> = both.collect();
            // An empty list would mean all of them.
            let both = if both.is_empty() { NO_TOOLS.to_owned() } else { both.join(",") };
            action.parameters.insert("tools".to_owned(), both);
        }
        action
    }
}

/// The tools that a parameter names.
pub(crate) fn tools(parameter: Option<&String>) -> Vec<&str> {
    let names = parameter.into_iter().flat_map(|list| list.split(','));
    names.map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// Whether an action, dressed by its agent, only reads.
pub(crate) fn only_reads(action: &Action) -> bool {
    action.parameters.get(READ_ONLY).is_some_and(|only| only == "true")
}

/// What the agent of an action may do at most, of what its script asks for; none: it says nothing of that. One that only reads
/// is held to it here, whatever its script makes of the parameter.
pub(crate) fn sources(agent: Agent, action: &Action, asked: &Grants) -> Option<Grants> {
    if !only_reads(action) {
        return agent.grants;
    }
    Some(agent.grants.as_ref().unwrap_or(asked).only(&[GrantOperation::Read].into()))
}

/// Whether a rule is one with an agent: what is listed apart from rules that run ordinary scripts.
#[must_use]
pub fn is_agent_rule(rule: &Rule) -> bool {
    rule.actions.iter().any(is_agent_action)
}

pub(crate) fn is_agent_action(action: &Action) -> bool {
    action.agent.is_some() || action.script.name == SCRIPT
}

/// The agent that an action picks, if it picks one.
///
/// # Errors
/// `unknown-agent`, `agent-inactive`; what the database says.
pub fn picked(conn: &Connection, rule: &str, action: &Action) -> Result<Option<Agent>, EngineError> {
    let Some(name) = &action.agent else { return Ok(None) };
    let refuse = |code: &str, why: String| {
        Err(EngineError::Refused(Error::rejected(code, format!("the agent `{name}` of rule `{rule}` {why}"))))
    };
    match stored::find(conn, name)? {
        None => refuse("unknown-agent", "is not there any more; pick another".to_owned()),
        Some(known) if !known.agent.active => {
            refuse("agent-inactive", "is not active; an administrator can activate it".to_owned())
        }
        Some(known) => Ok(Some(known.agent)),
    }
}

/// The strictest of a rule's mode and its agents'.
pub(crate) fn mode(conn: &Connection, rule: &Rule) -> Result<Mode, EngineError> {
    let mut mode = rule.mode;
    for name in rule.actions.iter().filter_map(|action| action.agent.as_deref()) {
        if let Some(known) = stored::find(conn, name)? {
            mode = mode.min(known.agent.mode);
        }
    }
    Ok(mode)
}

/// What all agents of a rule together let a session use: of each cap the smallest.
pub(crate) fn caps(conn: &Connection, rule: &Rule) -> Result<Caps, EngineError> {
    let mut caps = Caps::default();
    for name in rule.actions.iter().filter_map(|action| action.agent.as_deref()) {
        if let Some(known) = stored::find(conn, name)? {
            caps = caps.within(known.agent.caps);
        }
    }
    Ok(caps)
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Shows: F025
    #[test]
    fn an_action_has_what_its_agent_says_and_can_only_narrow_it() {
        let agent: Agent = toml::from_str(
            "name = \"sales\"\nmodel = \"openai/small\"\nsystem = \"Be brief.\"\ntools = [\"search\", \"note\"]\n\
             grants = [{ model = \"crm.lead\", operations = [\"read\"], fields = [\"name\"] }]",
        )
        .unwrap();
        let action = |more: &str| -> Action {
            let text = format!("script = \"ai-agent\"\nagent = \"sales\"\n{more}");
            agent.dress(&toml::from_str(&text).unwrap())
        };
        let plain = action("");
        assert_eq!(plain.parameters["model"], "openai/small");
        assert_eq!(plain.parameters["tools"], "search,note");
        assert_eq!(plain.grants, agent.grants);
        let narrowed = action(
            "parameters = { system = \"In French.\", tools = \"note, update\", read_only = \"true\" }\ngrants = []",
        );
        assert_eq!(narrowed.parameters["system"], "Be brief.\n\nIn French.");
        assert_eq!(narrowed.parameters["tools"], "note");
        assert_eq!(narrowed.parameters["read_only"], "true");
        assert_eq!(narrowed.grants, Some(Grants::default()));

        let with_scripts = Agent { scripts: vec!["lead-scoring".parse().unwrap(), "other".parse().unwrap()], ..agent };
        let action = |more: &str| -> Action {
            with_scripts.dress(&toml::from_str(&format!("script = \"ai-agent\"\nagent = \"sales\"\n{more}")).unwrap())
        };
        assert_eq!(action("").parameters["tools"], "search,note,lead-scoring,other");
        let narrowed = action("parameters = { tools = \"note,other\" }");
        assert_eq!(narrowed.parameters["tools"], "note,other");
        let left: Vec<_> = with_scripts.scripts_for(&narrowed).map(ToString::to_string).collect();
        assert_eq!(left, ["other"]);
    }
}
