//! What is wrong with an agent: all findings at once, before anything changes.

use triggerbox_llm::is_reading;
use triggerbox_model::{grants::GrantOperation, manifest::Manifest, value::Id};

use super::{Agent, TOOLS};
use crate::{
    rule::check::{Finding, Ground, Severity, grants, is_plain_name},
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
