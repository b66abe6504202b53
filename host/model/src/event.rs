//! What a script is given, and what it gives back: the data of the contract's `events` interface.

use serde::{Deserialize, Serialize};

use crate::{
    value::{FieldValue, Id, Link, Snapshot},
    weigh::Weigh,
};

/// A user, as far as a script may know one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The user's id.
    pub id: Id,
    /// Full name.
    pub name: String,
    /// Sign-in name.
    pub login: String,
    /// Language code, `en_US`.
    pub lang: String,
    /// IANA time zone.
    pub tz: String,
}

/// One due time of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// When it was due, UTC.
    pub due: String,
    /// Earlier slots that this one covers.
    pub missed: u32,
}

/// An HTTP request that reached a webhook rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookCall {
    /// Upper case.
    pub method: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Query arguments.
    pub query: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// A message posted on a record's chatter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageInfo {
    /// The message.
    pub id: Id,
    /// The author's partner.
    pub author: Option<Link>,
    /// HTML.
    pub body: String,
    /// Internal note.
    pub is_note: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant is documented in wit/automation.wit under the same name")]
pub enum Trigger {
    Created,
    Updated,
    Deleted(Vec<Snapshot>),
    Time(String),
    Scheduled(Slot),
    Manual,
    Webhook(WebhookCall),
    Message(MessageInfo),
    OnChange(Snapshot),
    BeforeCreate(Vec<FieldValue>),
    BeforeUpdate(Vec<Snapshot>),
    BeforeDelete,
    SelectRecords,
    Other(String),
}

/// One tool call of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolEntry {
    /// The tool.
    pub name: String,
    /// What it was asked.
    pub arguments_json: String,
    /// What it answered.
    pub output_json: String,
}

/// What a chained run may know of the run before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousRun {
    /// That run's id.
    pub id: String,
    /// The last text.
    pub last_text: String,
    /// The tools it used.
    pub tool_log: Vec<ToolEntry>,
}

/// One firing of one rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The run.
    pub run_id: String,
    /// The rule's name.
    pub rule: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// Runs between the root event and this one.
    pub depth: u32,
    /// Random; the same again in a replay.
    pub seed: u32,
    /// What happened.
    pub trigger: Trigger,
    /// The model that the rule is bound to.
    pub model: Option<String>,
    /// The triggering records.
    pub records: Vec<Id>,
    /// For updates: the changed fields as they were.
    pub old_values: Vec<Snapshot>,
    /// Who caused it.
    pub actor: User,
    /// Whose rights the script has.
    pub run_as: User,
    /// Not bound by the user's rights.
    pub superuser: bool,
    /// The company that the run acts for.
    pub company: Link,
    /// When it happened, `2026-11-21T10:15:00Z`. The sandbox's clock stands at this time.
    pub now: String,
    /// The rule's parameters.
    pub parameters: Vec<FieldValue>,
    /// The run before this one, when the rule chains.
    pub previous: Option<PreviousRun>,
    /// Additions of later versions of the contract, one JSON object.
    pub extra_json: Option<String>,
}

/// What a script answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// One line for the run history.
    pub message: Option<String>,
    /// Before and on-change rules: values to set.
    pub values: Vec<FieldValue>,
    /// On-change rules: shown beside the form.
    pub warning: Option<String>,
    /// For `select-records`.
    pub records: Vec<Id>,
    /// What the caller gets, as JSON.
    pub result_json: Option<String>,
}

/// A script says that it did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "failure", content = "message", rename_all = "kebab-case")]
pub enum Failure {
    /// A text for the user who caused the event.
    UserError(String),
    /// A text for the run history.
    Failed(String),
}

impl Event {
    /// Bytes that the event takes on its way into the script.
    #[must_use]
    pub fn byte_size(&self) -> u64 {
        let trigger = match &self.trigger {
            Trigger::Deleted(snapshots) | Trigger::BeforeUpdate(snapshots) => snapshots.bytes(),
            Trigger::Time(text) | Trigger::Other(text) => text.bytes(),
            Trigger::Scheduled(slot) => slot.due.bytes(),
            Trigger::Webhook(call) => {
                let lists = call.headers.bytes() + call.query.bytes();
                call.method.bytes() + lists + call.body.len() as u64
            }
            Trigger::Message(message) => message.author.bytes() + message.body.bytes(),
            Trigger::OnChange(snapshot) => snapshot.bytes(),
            Trigger::BeforeCreate(fields) => fields.bytes(),
            Trigger::Created | Trigger::Updated | Trigger::Manual | Trigger::BeforeDelete | Trigger::SelectRecords => 0,
        };
        let previous = self
            .previous
            .as_ref()
            .map_or(0, |previous| previous.id.bytes() + previous.last_text.bytes() + previous.tool_log.bytes());
        trigger
            + previous
            + self.run_id.bytes()
            + self.rule.bytes()
            + self.model.bytes()
            + self.records.bytes()
            + self.old_values.bytes()
            + self.actor.bytes()
            + self.run_as.bytes()
            + self.company.bytes()
            + self.now.bytes()
            + self.parameters.bytes()
            + self.extra_json.bytes()
    }
}

impl Outcome {
    /// Bytes that the outcome takes on its way out of the script.
    #[must_use]
    pub fn byte_size(&self) -> u64 {
        self.message.bytes()
            + self.values.bytes()
            + self.warning.bytes()
            + self.records.bytes()
            + self.result_json.bytes()
    }
}

impl Failure {
    /// The text, whoever it is for.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::UserError(text) | Self::Failed(text) => text,
        }
    }
}
