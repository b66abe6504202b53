//! A plan before anything is read: what the model wants to read and do, judged step by step.

use serde::{Deserialize, Serialize};
use triggerbox::{json, llm, prelude::*, serde_json::Value as Json};

use crate::tools::Tools;

/// What the model intends.
#[derive(Debug, Deserialize, Serialize)]
pub struct Plan {
    pub goal: String,
    pub steps: Vec<Step>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Step {
    pub tool: String,
    pub model: String,
    #[serde(default)]
    pub fields: Vec<String>,
    pub why: String,
}

/// A plan with what was judged of each of its steps.
#[derive(Debug, Serialize)]
pub struct Judged {
    pub plan: Plan,
    pub verdicts: Vec<Verdict>,
}

/// One step's verdict.
#[derive(Debug, PartialEq, Serialize)]
pub struct Verdict {
    pub allowed: bool,
    pub why: String,
}

impl Judged {
    /// Asks for a plan and judges it. The model sees the task and the tools, and no record.
    pub fn ask(model: Option<&str>, rules: &str, task: &str, tools: &Tools<'_>) -> Result<Self> {
        let question = format!(
            "{task}\n\nFirst write a plan: which tool you will use on which model, with which fields, and why. You have not \
             seen any record yet. Tools:\n{}",
            tools.describe()
        );
        let mut request = llm::Request::new().system(rules).user(question).answer_schema(&schema());
        request.model = model.map(str::to_owned);
        let plan: Plan = request.complete()?.answer()?;
        info!("plan: {}", json!(plan));
        let verdicts: Vec<_> = plan.steps.iter().map(|step| judge(step, tools)).collect();
        for (step, verdict) in plan.steps.iter().zip(&verdicts) {
            let word = if verdict.allowed { "allowed" } else { "refused" };
            info!("plan step {} on {}: {word}: {}", step.tool, step.model, verdict.why);
        }
        Ok(Self { plan, verdicts })
    }

    pub fn is_allowed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.allowed)
    }

    /// The tools that the plan uses: no other is offered afterwards.
    pub fn tools(&self) -> Vec<String> {
        self.plan.steps.iter().map(|step| step.tool.clone()).collect()
    }
}

/// Judges by what the rule grants. The host judges each call again, by policy and the user's own rights.
fn judge(step: &Step, tools: &Tools<'_>) -> Verdict {
    let refused = |why: String| Verdict { allowed: false, why };
    let Some(offer) = tools.find(&step.tool) else {
        return refused(format!("the rule grants no tool `{}`", step.tool));
    };
    let Some(names) = tools.grants.names(offer.operation, &step.model) else {
        return refused(format!("the rule does not grant `{}` on {}", offer.operation, step.model));
    };
    let missing: Vec<_> = step
        .fields
        .iter()
        .filter(|field| {
            !matches!(field.as_str(), "id" | "display_name") && !names.is_empty() && !names.contains(*field)
        })
        .map(String::as_str)
        .collect();
    match missing.as_slice() {
        [] => Verdict { allowed: true, why: format!("the rule grants `{}` on {}", offer.operation, step.model) },
        fields => {
            refused(format!("the rule does not grant `{}` of {} on {}", offer.operation, fields.join(", "), step.model))
        }
    }
}

fn schema() -> Json {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "goal": text,
            "steps": { "type": "array", "items": {
                "type": "object",
                "properties": { "tool": text, "model": text, "fields": { "type": "array", "items": text }, "why": text },
                "required": ["tool", "model", "fields", "why"],
                "additionalProperties": false,
            } },
        },
        "required": ["goal", "steps"],
        "additionalProperties": false,
    })
}
