//! Recorded conversations: what was asked and what was answered, in a file, so that a run can be repeated without a
//! provider and without paying.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use triggerbox_model::call::{Completion, Finish, LlmMessage, LlmRequest, LlmUsage, ToolCall};

use crate::error::AskError;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;

/// A recording. JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recording {
    /// The format's number.
    pub triggerbox_recording: u32,
    /// Whether a model said this, or a person wrote it.
    pub origin: Origin,
    /// What it is for, and where from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// In the order in which they were made.
    pub exchanges: Vec<Exchange>,
}

/// Where a recording comes from. Said wherever one is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A model gave these answers.
    Recorded,
    /// A person wrote these answers; no model was asked.
    HandWritten,
}

impl Origin {
    /// In words, for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Recorded => "a recorded conversation: no model is asked",
            Self::HandWritten => "a conversation written by hand: no model is asked, and none ever gave these answers",
        }
    }
}

/// One request with its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What was asked; none in a conversation written by hand: whatever is asked next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<LlmRequest>,
    /// What was answered. People may leave out all but the text, or the calls with their `arguments` as JSON.
    #[serde(deserialize_with = "answer")]
    pub answer: Completion,
}

/// An answer as people write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    text: String,
    #[serde(default)]
    calls: Vec<WrittenCall>,
    finish: Option<Finish>,
    usage: Option<LlmUsage>,
    model: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCall {
    id: Option<String>,
    name: String,
    arguments: Option<Value>,
    arguments_json: Option<String>,
}

fn answer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Completion, D::Error> {
    let Written { text, calls, finish, usage, model } = Written::deserialize(deserializer)?;
    let call = |(index, call): (usize, WrittenCall)| ToolCall {
        id: call.id.unwrap_or_else(|| format!("call-{index}")),
        name: call.name,
        arguments_json: call
            .arguments_json
            .or_else(|| call.arguments.map(|arguments| arguments.to_string()))
            .unwrap_or_else(|| "{}".to_owned()),
    };
    let calls: Vec<_> = calls.into_iter().enumerate().map(call).collect();
    let finish = finish.unwrap_or(if calls.is_empty() { Finish::Stop } else { Finish::ToolCalls });
    let usage = usage.unwrap_or(LlmUsage { input_tokens: 0, output_tokens: 0, cost: 0.0, currency: "EUR".to_owned() });
    Ok(Completion { text, calls, finish, usage, model: model.unwrap_or_else(|| "hand-written".to_owned()) })
}

/// How alike a request must be to a recorded one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Matching {
    /// The same request, in the same order.
    #[default]
    Strict,
    /// The same course of turns and tool calls, in any order; texts may differ. Of several, the one whose texts do not.
    Tolerant,
}

/// A recording that cannot be used. Whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recording {path}: {problem}")]
pub struct RecordingError {
    /// The file.
    pub path: String,
    /// What, and what to do.
    pub problem: String,
}

impl Recording {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(origin: Origin, note: impl Into<String>) -> Self {
        Self { triggerbox_recording: FORMAT, origin, note: note.into(), exchanges: Vec::new() }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`RecordingError`]
    pub fn load(path: &Path) -> Result<Self, RecordingError> {
        let fail = |problem: String| RecordingError { path: path.display().to_string(), problem };
        let text = std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let recording: Self = serde_json::from_str(&text).map_err(|error| fail(format!("does not parse: {error}")))?;
        if recording.triggerbox_recording != FORMAT {
            let found = recording.triggerbox_recording;
            return Err(fail(format!("has format {found}; this version reads {FORMAT}: record it again")));
        }
        let unasked = recording.exchanges.iter().any(|exchange| exchange.request.is_none());
        if recording.origin == Origin::Recorded && unasked {
            return Err(fail("says that it is recorded, but lacks a question: only hand-written ones may".to_owned()));
        }
        Ok(recording)
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`RecordingError`]
    pub fn save(&self, path: &Path) -> Result<(), RecordingError> {
        let fail = |problem: String| RecordingError { path: path.display().to_string(), problem };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| fail(error.to_string()))?;
        text.push('\n');
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .map_err(|error| fail(format!("cannot be written: {error}")))
    }
}

/// Answers from a recording. Each exchange answers once.
#[derive(Debug, Clone)]
pub struct Replay {
    exchanges: Vec<Option<Exchange>>,
    matching: Matching,
}

impl Replay {
    /// Answers from the start of a recording.
    #[must_use]
    pub fn new(recording: &Recording, matching: Matching) -> Self {
        Self { exchanges: recording.exchanges.iter().cloned().map(Some).collect(), matching }
    }

    /// The recorded answer.
    ///
    /// # Errors
    /// [`AskError::NotRecorded`]: what differs, and from what.
    pub fn answer(&mut self, request: &LlmRequest) -> Result<Completion, AskError> {
        let not = |why: &str| AskError::NotRecorded(why.to_owned());
        let found = match self.matching {
            Matching::Strict => {
                let next = self.exchanges.iter_mut().find(|exchange| exchange.is_some());
                let recorded = next.as_ref().and_then(|next| next.as_ref()).map(|exchange| exchange.request.as_ref());
                match recorded {
                    None => return Err(not("the recording ends before this question")),
                    Some(None) => return Err(not("the recording has no questions to compare; match it tolerantly")),
                    Some(Some(recorded)) if recorded == request => next,
                    Some(Some(recorded)) => {
                        let difference = difference(recorded, request);
                        return Err(not(&format!("the recording has another question here: {difference}")));
                    }
                }
            }
            Matching::Tolerant => {
                let asked = course(request);
                let fits =
                    |exchange: &Exchange| exchange.request.as_ref().is_none_or(|recorded| course(recorded) == asked);
                // Runs on different records may take the same course: where each is in the recording, each has its own answers.
                let fitting = self.exchanges.iter_mut().filter(|exchange| exchange.as_ref().is_some_and(fits));
                fitting.min_by_key(|exchange| exchange.as_ref().map(|exchange| unlike(exchange, request)))
            }
        };
        match found.and_then(Option::take) {
            Some(exchange) => Ok(exchange.answer),
            None => Err(not("the recording holds no question of this course any more")),
        }
    }

    /// How many exchanges were not asked for.
    #[must_use]
    pub fn left(&self) -> usize {
        self.exchanges.iter().flatten().count()
    }
}

/// What a tolerant match compares: everything but texts that people and records provide.
fn course(request: &LlmRequest) -> (Vec<Turn<'_>>, bool) {
    let turns = request.messages.iter().map(|message| match message {
        LlmMessage::System(_) => Turn::System,
        LlmMessage::User(_) => Turn::User,
        LlmMessage::Assistant(text) => Turn::Said(text),
        LlmMessage::AssistantCalls(_, calls) => {
            Turn::Called(calls.iter().map(|call| (call.name.as_str(), call.arguments_json.as_str())).collect())
        }
        LlmMessage::ToolResults(results) => Turn::Results(results.iter().map(|result| result.is_error).collect()),
    });
    (turns.collect(), request.output_schema.is_some())
}

/// How far an exchange of the same course is from a question: 0 for the same one, 1 for one that says the same of its subject.
fn unlike(exchange: &Exchange, asked: &LlmRequest) -> u8 {
    match &exchange.request {
        Some(recorded) if recorded == asked => 0,
        Some(recorded) if subject(recorded) == subject(asked) => 1,
        _ => 2,
    }
}

/// What is asked, as against how.
fn subject(request: &LlmRequest) -> Vec<&LlmMessage> {
    request.messages.iter().filter(|message| matches!(message, LlmMessage::User(_))).collect()
}

#[derive(PartialEq)]
enum Turn<'a> {
    System,
    User,
    Said(&'a str),
    Called(Vec<(&'a str, &'a str)>),
    Results(Vec<bool>),
}

/// Where two requests differ first, in words.
fn difference(recorded: &LlmRequest, asked: &LlmRequest) -> String {
    let pairs = recorded.messages.iter().zip(&asked.messages).enumerate();
    for (index, (before, now)) in pairs {
        if before != now {
            let (before, now) = (format!("{before:?}"), format!("{now:?}"));
            let same = before.chars().zip(now.chars()).take_while(|(a, b)| a == b).count();
            let part = |text: &str| text.chars().skip(same.saturating_sub(20)).take(80).collect::<String>();
            return format!("message {} was `{}` and is `{}`", index + 1, part(&before), part(&now));
        }
    }
    if recorded.messages.len() != asked.messages.len() {
        return format!("it had {} messages and has {}", recorded.messages.len(), asked.messages.len());
    }
    if recorded.tools != asked.tools {
        return "its tools differ".to_owned();
    }
    "its model, schema or settings differ".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(text: &str) -> LlmRequest {
        LlmRequest {
            model: None,
            messages: vec![LlmMessage::System("Rate leads.".to_owned()), LlmMessage::User(text.to_owned())],
            tools: Vec::new(),
            output_schema: None,
            temperature: None,
            max_tokens: None,
        }
    }

    fn said(text: &str) -> Completion {
        let usage = LlmUsage { input_tokens: 1, output_tokens: 1, cost: 0.0, currency: "EUR".to_owned() };
        Completion { text: text.to_owned(), calls: Vec::new(), finish: Finish::Stop, usage, model: "m".to_owned() }
    }

    #[test]
    fn a_tolerant_match_gives_each_record_its_own_answer_where_there_is_one() {
        let recording = Recording {
            exchanges: ["lead 1", "lead 2", "lead 3"]
                .map(|lead| Exchange { request: Some(question(lead)), answer: said(&format!("of {lead}")) })
                .into(),
            ..Recording::new(Origin::Recorded, "")
        };
        let mut replay = Replay::new(&recording, Matching::Tolerant);
        let mut ask = |request: &LlmRequest| replay.answer(request).map(|answer| answer.text);
        assert_eq!(ask(&question("lead 2")).unwrap(), "of lead 2");
        // Another hint to the model, about the same.
        let hinted = LlmRequest { max_tokens: Some(9), ..question("lead 3") };
        assert_eq!(ask(&hinted).unwrap(), "of lead 3");
        // One that was not recorded has what is left.
        assert_eq!(ask(&question("lead 4")).unwrap(), "of lead 1");
        assert!(ask(&question("lead 1")).is_err());
    }
}
