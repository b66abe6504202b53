//! One thread in full: what was asked, what the model said, which tools it called and what they answered, what was refused,
//! what each call cost, and what happened besides.
//!
//! Nothing of it is kept twice. It is put together from the calls that the ledger keeps and from the reports of the run's
//! tries.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use triggerbox_llm::{
    budget::Amount,
    ledger::{self, Kept},
};
use triggerbox_model::{
    call::{Answer, LlmMessage},
    error::Error,
};
use triggerbox_sandbox::LogLevel;

use super::list::{ThreadSummary, of_run};
use crate::{
    clock::timestamp,
    error::EngineError,
    runs::{self, AttemptDetail, RunId},
};

/// One thread in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Thread {
    /// As lists show it.
    #[serde(flatten)]
    pub summary: ThreadSummary,
    /// In the order in which it happened.
    pub entries: Vec<Entry>,
    /// The plan with the verdict of each of its steps, where the model had to write one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Json>,
}

/// One thing that was said or done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub said: Said,
}

/// What was said or done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Said {
    /// Standing instructions.
    System {
        /// The text.
        text: String,
    },
    /// What was asked, with the records in the context.
    User {
        /// The text.
        text: String,
    },
    /// What the model said.
    Assistant {
        /// The text; empty when it only called tools.
        text: String,
        /// Which one.
        model: String,
        /// What the call used.
        used: Option<Amount>,
    },
    /// The model asked for a tool.
    ToolCall {
        /// The provider's id of the call.
        id: String,
        /// The tool.
        name: String,
        /// Its arguments, as the model wrote them.
        arguments: String,
    },
    /// What the tool answered.
    ToolResult {
        /// The call that it answers.
        id: String,
        /// The tool.
        name: String,
        /// The answer.
        output: String,
        /// Whether it was refused or failed.
        failed: bool,
    },
    /// Another service was asked.
    Request {
        /// Method and address, without what follows a question mark.
        request: String,
        /// The status of the answer.
        status: Option<u16>,
    },
    /// A call is under way, or nobody knows what became of it.
    Open {
        /// What it stays charged at.
        worst: Amount,
        /// `intent` or `unknown`.
        state: String,
    },
    /// A call failed, or a right was refused.
    Refusal {
        /// Stable.
        code: String,
        /// Who refused what, and what to do.
        message: String,
    },
    /// Something else happened.
    Event {
        /// `prompt_render_error`, `cap_exceeded`, `warning`, `error`.
        event: String,
        /// In one sentence.
        message: String,
    },
}

/// One thread.
///
/// # Errors
/// `unknown-thread`; what the database says.
pub fn read(conn: &Connection, thread: RunId) -> Result<Thread, EngineError> {
    let Some(summary) = of_run(conn, thread)? else { return Err(unknown(thread).into()) };
    let run = runs::detail(conn, thread)?;
    let mut entries = Vec::new();
    let mut tools = Vec::new();
    for call in ledger::calls(conn, &run.summary.key)? {
        said(&call, &mut tools, &mut entries)?;
    }
    for call in tools.iter().filter(|call| !call.answered) {
        entries.extend(logged(call, &run.attempts));
    }
    for attempt in &run.attempts {
        happened(attempt, &mut entries);
    }
    if run.summary.code.as_deref() == Some("cap-exceeded") {
        let at = run.summary.finished.unwrap_or(summary.begun);
        entries.push(event(at, "cap_exceeded", run.summary.message.clone().unwrap_or_default()));
    }
    entries.sort_by_key(|entry| entry.at);
    let plan = ledger::planned(conn, &run.summary.key)?.map(|json| serde_json::from_str(&json)).transpose()?;
    Ok(Thread { summary, entries, plan })
}

pub(crate) fn unknown(thread: RunId) -> Error {
    Error::not_found("unknown-thread", format!("there is no thread {thread}; `triggerbox threads list` lists them"))
}

/// A question as the ledger keeps it: of its messages only those that the one before it did not have.
#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    after: usize,
    messages: Vec<LlmMessage>,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    url: String,
}

/// A tool that the model asked for.
struct Tool {
    at: Timestamp,
    id: String,
    name: String,
    arguments: String,
    /// A later question says what it answered.
    answered: bool,
}

/// What one call adds. `tools` are those that the model asked for so far.
fn said(call: &Kept, tools: &mut Vec<Tool>, entries: &mut Vec<Entry>) -> Result<(), EngineError> {
    let (begun, ended) = (timestamp(call.at), timestamp(call.ended.unwrap_or(call.at)));
    let mut add = |at, said| entries.push(Entry { at, said });
    if call.kind != "model" {
        let Request { method, url } = serde_json::from_str(&call.request)?;
        let place = url.split(['?', '#']).next().unwrap_or_default();
        let status = match &call.reply {
            Some(Ok(Answer::Response(response))) => Some(response.status),
            _ => None,
        };
        add(begun, Said::Request { request: format!("{method} {place}"), status });
    } else {
        let question: Question = serde_json::from_str(&call.request)?;
        for message in question.messages {
            match message {
                LlmMessage::System(text) => add(begun, Said::System { text }),
                LlmMessage::User(text) => add(begun, Said::User { text }),
                // What the model said itself is known from its answers.
                LlmMessage::Assistant(_) | LlmMessage::AssistantCalls(..) if question.after > 0 => {}
                LlmMessage::Assistant(text) | LlmMessage::AssistantCalls(text, _) => {
                    add(begun, Said::Assistant { text, model: String::new(), used: None });
                }
                LlmMessage::ToolResults(results) => {
                    for result in results {
                        let asked = tools.iter_mut().rfind(|tool| tool.id == result.call_id);
                        let name = asked.map(|tool| {
                            tool.answered = true;
                            tool.name.clone()
                        });
                        add(
                            begun,
                            Said::ToolResult {
                                id: result.call_id,
                                name: name.unwrap_or_default(),
                                output: result.content,
                                failed: result.is_error,
                            },
                        );
                    }
                }
            }
        }
    }
    match &call.reply {
        Some(Ok(Answer::Completion(completion))) => {
            let (text, model) = (completion.text.clone(), completion.model.clone());
            add(ended, Said::Assistant { text, model, used: call.used });
            for one in &completion.calls {
                let (id, name, arguments) = (one.id.clone(), one.name.clone(), one.arguments_json.clone());
                tools.push(Tool { at: ended, id, name, arguments, answered: false });
                let (id, name, arguments) = (one.id.clone(), one.name.clone(), one.arguments_json.clone());
                add(ended, Said::ToolCall { id, name, arguments });
            }
        }
        Some(Ok(_)) => {}
        Some(Err(Error { code, message, .. })) => {
            add(ended, Said::Refusal { code: code.clone(), message: message.clone() });
        }
        None => {}
    }
    if call.state == "intent" || call.state == "unknown" {
        add(ended, Said::Open { worst: call.worst, state: call.state.clone() });
    }
    Ok(())
}

/// What a tool answered of which no later question tells: the run was over before it. Agents log each call with its answer.
fn logged(call: &Tool, attempts: &[AttemptDetail]) -> Option<Entry> {
    let begins = format!("{} {}: ", call.name, call.arguments);
    let mut lines = attempts.iter().rev().flat_map(|attempt| attempt.log.iter().rev().map(move |line| (attempt, line)));
    let (attempt, said) = lines.find_map(|(attempt, line)| Some((attempt, line.message.strip_prefix(&begins)?)))?;
    let refused = said.strip_prefix(REFUSED);
    let output = refused.unwrap_or(said).to_owned();
    let said = Said::ToolResult { id: call.id.clone(), name: call.name.clone(), output, failed: refused.is_some() };
    Some(Entry { at: attempt.finished.max(call.at), said })
}

/// How the log of an agent begins what a tool refused.
const REFUSED: &str = "refused: ";

/// What one try tells besides its calls.
fn happened(attempt: &AttemptDetail, entries: &mut Vec<Entry>) {
    for line in &attempt.log {
        match (line.level, line.message.split_once(": ")) {
            // It was found before anything was asked.
            (LogLevel::Warning, Some(("prompt_render_error", why))) => {
                entries.push(event(attempt.started, "prompt_render_error", why.to_owned()));
            }
            (LogLevel::Warning | LogLevel::Error, _) => {
                entries.push(event(attempt.finished, line.level.name(), line.message.clone()));
            }
            _ => {}
        }
    }
    let refusals = attempt.report.get("refusals").and_then(Json::as_array);
    for refusal in refusals.into_iter().flatten() {
        let part = |name: &str| refusal.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let said = Said::Refusal { code: part("code"), message: part("message") };
        entries.push(Entry { at: attempt.finished, said });
    }
    let part = |name: &str| attempt.report.pointer(name).and_then(Json::as_str).unwrap_or_default();
    let limit = part("/detail/limit");
    if part("/verdict") == "limit-exceeded" && (limit.starts_with("llm-") || part("/detail/scope") == "session") {
        let used = |name: &str| attempt.report.pointer(name).and_then(Json::as_u64).unwrap_or_default();
        let scope = Some(part("/detail/scope")).filter(|scope| !scope.is_empty()).unwrap_or("run");
        let message = format!("{limit}: {} of at most {} ({scope})", used("/detail/used"), used("/detail/max"));
        entries.push(event(attempt.finished, "cap_exceeded", message));
    }
}

fn event(at: Timestamp, event: &str, message: String) -> Entry {
    Entry { at, said: Said::Event { event: event.to_owned(), message } }
}
