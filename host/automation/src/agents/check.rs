//! What is wrong with an agent: all findings at once, before anything changes.

use std::collections::BTreeMap;

use triggerbox_llm::is_reading;
use triggerbox_model::{grants::GrantOperation, manifest::Manifest, value::Id};

use super::{Agent, TOOLS};
use crate::{
    rule::{
        Action,
        check::{Finding, Ground, Severity, grants, is_plain_name},
    },
    scripts::{ready::is_ready_made, registry},
};

/// Everything that there is to say about an agent.
#[must_use]
pub fn check(ground: Ground<'_>, agent: &Agent) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut findings_of_scripts = Vec::new();
    let mut error = |code, place: String, message: String| {
        findings.push(Finding { severity: Severity::Error, code, place, message });
    };
    if !is_plain_name(&agent.name) {
        let message = format!("`{}` is no agent's name; use 1 to 64 lower-case letters, digits and dashes", agent.name);
        error("bad-name", "name".to_owned(), message);
    }
    if let Some(model) = agent
        .model
        .as_ref()
        .filter(|model| !model.split_once('/').is_some_and(|(provider, name)| !provider.is_empty() && !name.is_empty()))
    {
        let message = format!("`{model}` is no PROVIDER/MODEL of the providers file, such as `openai/gpt-5-mini`");
        error("bad-llm-model", "model".to_owned(), message);
    }
    for (index, tool) in agent.tools.iter().enumerate() {
        if !TOOLS.contains(&tool.as_str()) {
            let message = format!("there is no tool `{tool}`; there are {}", TOOLS.join(", "));
            error("unknown-tool", format!("tools[{index}]"), message);
        }
    }
    for (index, script) in agent.scripts.iter().enumerate() {
        let place = format!("scripts[{index}]");
        let name = script.name.as_str();
        let twice = agent.scripts.iter().take(index).any(|before| before.name == name);
        if twice || TOOLS.contains(&name) {
            error("tool-twice", place, format!("there is a tool `{name}` already: a tool is called by its name"));
        } else if is_ready_made(name) {
            let message = format!("`{name}` does what a rule's parameters say, and a tool has no rule of its own");
            error("not-a-tool", place, message);
        } else {
            match registry::resolve(ground.conn, script) {
                Ok(version) if agent.read_only && writes(&version.manifest) => {
                    let message = format!("the agent only reads, so that `{name}` cannot do all that it asks for");
                    findings_of_scripts.push((place, message));
                }
                Ok(_) => {}
                Err(problem) => error(problem.code(), place, problem.to_string()),
            }
        }
    }
    if !agent.caps.is_sound() {
        error("bad-caps", "caps.cost".to_owned(), "a cap is an amount of euros; 0 for the server's".to_owned());
    }
    for grant in agent.grants.iter().flat_map(|grants| &grants.0) {
        let writes = grant.operations.iter().any(|operation| *operation != GrantOperation::Read);
        if agent.read_only && writes {
            let message = format!("the agent only reads, so that more than reading `{}` is never used", grant.model);
            findings.push(Finding {
                severity: Severity::Warning,
                code: "read-only",
                place: "grants".to_owned(),
                message,
            });
        }
    }
    for (place, message) in findings_of_scripts {
        findings.push(Finding { severity: Severity::Warning, code: "read-only", place, message });
    }
    if let Some(granted) = &agent.grants {
        findings.extend(grants::findings(ground, "grants", granted));
    }
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// What is wrong with the parameters of an action with an agent, each with the parameter's name. Its script reads more from them
/// than their types say, and each run would fail at it.
pub(crate) fn misfits(action: &Action) -> Vec<(&'static str, String)> {
    let set = |name: &str| action.parameters.get(name);
    let mut wrong = Vec::new();
    let translations = set("translations").map(|text| serde_json::from_str::<BTreeMap<String, String>>(text));
    if let Some(Err(error)) = translations {
        let shape = r#"{"fr_FR": "…"}"#;
        wrong.push(("translations", format!("is no JSON object of prompts by language, such as {shape}: {error}")));
    }
    let unique = set("unique").into_iter().flat_map(|text| text.split([';', '\n'])).map(str::trim);
    if let Some(part) = unique.filter(|part| !part.is_empty()).find(|part| !names_fields(part)) {
        wrong.push(("unique", format!("`{part}` is not MODEL:FIELD,FIELD, such as `res.partner:email`")));
    }
    if set("max_steps").and_then(|text| text.parse::<i32>().ok()).is_some_and(|steps| steps < 1) {
        wrong.push(("max_steps", "is at least 1: the model is asked so often".to_owned()));
    }
    wrong
}

/// Whether a text is a model with fields of it.
fn names_fields(text: &str) -> bool {
    text.split_once(':').is_some_and(|(model, fields)| {
        !model.trim().is_empty() && fields.split(',').any(|field| !field.trim().is_empty())
    })
}

/// Whether a script asks for more than reading.
fn writes(manifest: &Manifest) -> bool {
    let reads = |operation: &GrantOperation| *operation == GrantOperation::Read;
    let asks = manifest.http.iter().any(|grant| grant.methods.iter().any(|method| !is_reading(method)));
    asks || manifest.grants.0.iter().any(|grant| !grant.operations.iter().all(reads))
}

/// Only administrators say what agents are and may do: rules of other people run with them.
pub(super) fn by_whom(administrator: bool, by: Id) -> Option<Finding> {
    (!administrator).then(|| Finding {
        severity: Severity::Error,
        code: "not-an-administrator",
        place: "name".to_owned(),
        message: format!("only an administrator may change agents, and user {by} is none"),
    })
}
