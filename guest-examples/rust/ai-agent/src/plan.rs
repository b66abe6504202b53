//! A plan before anything is read: what the model wants to read and do. The host takes the answer to a run's first question
//! as its plan, judges each step, and allows nothing else.

use serde::{Deserialize, Serialize};
use triggerbox::{Error, json, llm, prelude::*, serde_json::Value as Json};

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

/// What came of asking for a plan.
pub enum Asked {
    /// The host allows every step.
    Allowed(Plan),
    /// It does not, and says why.
    Refused(Error),
}

impl Plan {
    /// Asks for a plan. The model sees the task as it is written and the tools, and no record.
    pub fn ask(model: Option<&str>, rules: &str, task: &str, tools: &Tools<'_>) -> Result<Asked> {
        let question = format!(
            "{task}\n\nFirst write a plan: which tool you will use on which model, with which fields (for `call`: which \
             methods), and why. You have not seen any record yet, and you will be able to do nothing that is not in the \
             plan. Tools:\n{}",
            tools.describe()
        );
        let mut request = llm::Request::new().system(rules).user(question).answer_schema(&schema());
        request.model = model.map(str::to_owned);
        let plan: Self = match request.complete() {
            Ok(completion) => completion.answer()?,
            Err(error) if error.code == "plan-refused" => return Ok(Asked::Refused(error)),
            Err(error) => return Err(error.into()),
        };
        info!("plan: {}", json!(plan));
        Ok(Asked::Allowed(plan))
    }

    /// The tools that the plan uses: no other is offered afterwards.
    pub fn tools(&self) -> Vec<String> {
        self.steps.iter().map(|step| step.tool.clone()).collect()
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
