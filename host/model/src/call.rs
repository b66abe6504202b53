//! What a script can ask of its host, and what it is answered.
//!
//! One data type for all calls, so that limits, policy, journals and replays are functions over it.

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    limits::{PerLimit, Writes},
    schema::OnDelete,
    value::{FieldValue, Id, Link, RecordRef, Row, Value},
};

/// A domain as it came from the script: not yet parsed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainSource {
    /// Prefix notation, as data.
    Terms(Vec<Term>),
    /// Prefix notation, as text.
    Literal(String),
}

/// One item of a domain in prefix notation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Term {
    /// `&`
    And,
    /// `|`
    Or,
    /// `!`
    Not,
    /// `(1, '=', 1)`
    Always,
    /// `(0, '=', 1)`
    Never,
    /// `(field, operator, operand)`; the operator in Odoo's spelling, `not ilike`.
    Condition(String, String, Operand),
}

/// The right-hand side of a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operand {
    /// One value.
    One(Value),
    /// A list.
    Many(Vec<Value>),
    /// The sub-domain of `any` and `not any`, as a literal.
    Domain(String),
}

/// Which part of the matching records, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// How many to skip.
    pub offset: u32,
    /// How many at most.
    pub limit: Option<u32>,
    /// `name desc, id`; none: the model's own.
    pub order: Option<String>,
    /// Also archived records.
    pub archived: bool,
}

/// Which groups, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPage {
    /// How many to skip.
    pub offset: u32,
    /// How many at most.
    pub limit: Option<u32>,
    /// `expected_revenue:sum desc`
    pub order: Option<String>,
    /// A literal domain over aggregates.
    pub having: Option<String>,
    /// Also archived records.
    pub archived: bool,
}

/// What a field is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldInfo {
    /// Technical name.
    pub name: String,
    /// Label.
    pub label: String,
    /// Odoo's type name.
    pub kind: String,
    /// Related model.
    pub relation: Option<String>,
    /// Must have a value.
    pub required: bool,
    /// Forms do not edit it.
    pub readonly: bool,
    /// Kept in the database.
    pub stored: bool,
    /// Keys and labels.
    pub selection: Vec<(String, String)>,
    /// Help text.
    pub help: Option<String>,
}

/// All that is known of a field. None: it has no such thing, or the backend does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDetails {
    /// What [`FieldInfo`] says of it.
    #[serde(flatten)]
    pub info: FieldInfo,
    /// Digits of a float, in all and after the point.
    pub digits: Option<(u32, u32)>,
    /// Longest text, in characters.
    pub size: Option<u32>,
    /// The many2one that holds a monetary field's currency.
    pub currency_field: Option<String>,
    /// The field of the related model that a one2many is the other side of.
    pub relation_field: Option<String>,
    /// The table behind a many2many.
    pub relation_table: Option<String>,
    /// What becomes of a many2one when its record is deleted.
    pub ondelete: Option<OnDelete>,
    /// What a new record has in it.
    pub default: Option<FieldDefault>,
    /// The path whose value it shows.
    pub related: Option<String>,
    /// Its value follows from others.
    pub computed: bool,
    /// The paths that its value follows from.
    pub depends: Vec<String>,
    /// How it is computed: `sum(order_line.price_subtotal)`.
    pub formula: Option<String>,
    /// Groups that alone see it; an empty list: everybody.
    pub groups: Option<Vec<String>>,
    /// How groups sum it up by default.
    pub aggregator: Option<String>,
    /// Copied by `copy`.
    pub copied: Option<bool>,
    /// One value for each language.
    pub translated: Option<bool>,
    /// Changes are posted to the chatter.
    pub tracked: Option<bool>,
    /// Has an index.
    pub indexed: Option<bool>,
    /// Domains may use it.
    pub searchable: Option<bool>,
    /// Orders may use it.
    pub sortable: Option<bool>,
    /// Groupings may use it.
    pub groupable: Option<bool>,
}

/// What a new record has in a field that it is given no value for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldDefault {
    /// A value in Odoo's JSON form.
    Literal(String),
    /// The name of what makes it: `now`, `user`…
    Function(String),
}

/// One group of a grouping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// In the order of `group_by`.
    pub keys: Vec<FieldValue>,
    /// In the order of `aggregates`.
    pub aggregates: Vec<FieldValue>,
    /// Records in the group.
    pub count: u32,
    /// Selects the group's records.
    pub domain: String,
}

/// A change of a one2many or many2many field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Command {
    /// Add an existing record.
    Link(Id),
    /// Take a record out, and keep it.
    Unlink(Id),
    /// Delete the related record.
    Delete(Id),
    /// Take all out.
    Clear,
    /// Make it exactly these.
    Replace(Vec<Id>),
    /// Create a related record.
    Create(Vec<FieldValue>),
    /// Write a related record.
    Update(Id, Vec<FieldValue>),
}

impl Command {
    /// What it writes on the related record.
    #[must_use]
    pub fn values(&self) -> &[FieldValue] {
        match self {
            Self::Create(values) | Self::Update(_, values) => values,
            Self::Link(_) | Self::Unlink(_) | Self::Delete(_) | Self::Clear | Self::Replace(_) => &[],
        }
    }
}

/// An operation that rights are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Read and search.
    Read,
    /// Change fields, post, follow, schedule.
    Write,
    /// Create and copy.
    Create,
    /// Delete.
    Unlink,
}

impl Operation {
    /// Lower-case name, `unlink`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Unlink => "unlink",
        }
    }
}

/// How a message body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyFormat {
    /// Shown as it is.
    Text,
    /// Sanitised before it is stored.
    Html,
}

/// A file of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// File name without a path.
    pub name: String,
    /// MIME type.
    pub mime_type: String,
    /// The bytes.
    pub content: Vec<u8>,
}

/// A message or note to post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The text.
    pub body: String,
    /// How to read it.
    pub format: BodyFormat,
    /// Subject line.
    pub subject: Option<String>,
    /// Partners to notify besides the followers.
    pub partner_ids: Vec<Id>,
    /// Files.
    pub attachments: Vec<Attachment>,
}

/// An activity to schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Activity type: name or external id.
    pub kind: String,
    /// One line.
    pub summary: String,
    /// HTML.
    pub note: Option<String>,
    /// A date; none: today plus the type's delay.
    pub deadline: Option<String>,
    /// None: the run-as user.
    pub user_id: Option<Id>,
}

/// A message that is already there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The message.
    pub id: Id,
    /// Author's name.
    pub author: String,
    /// UTC.
    pub date: String,
    /// HTML.
    pub body: String,
    /// Internal note.
    pub is_note: bool,
}

/// A tool that a model may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of the arguments.
    pub parameters_schema: String,
}

/// A tool call that a model asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's id of the call.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Arguments as JSON.
    pub arguments_json: String,
}

/// The answer to a tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    /// The call that it answers.
    pub call_id: String,
    /// The answer.
    pub content: String,
    /// Whether the call failed.
    pub is_error: bool,
}

/// One turn of a conversation with a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LlmMessage {
    /// Standing instructions.
    System(String),
    /// What is asked.
    User(String),
    /// What the model said.
    Assistant(String),
    /// What the model said, with the tools it asked for.
    AssistantCalls(String, Vec<ToolCall>),
    /// Answers to its tool calls.
    ToolResults(Vec<ToolResult>),
}

/// A request for one completion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlmRequest {
    /// None: the rule's model.
    pub model: Option<String>,
    /// The conversation so far.
    pub messages: Vec<LlmMessage>,
    /// What the model may ask for.
    pub tools: Vec<Tool>,
    /// JSON Schema of the answer.
    pub output_schema: Option<String>,
    /// Sampling temperature.
    pub temperature: Option<f32>,
    /// Longest answer.
    pub max_tokens: Option<u32>,
}

/// What a completion used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LlmUsage {
    /// Tokens sent.
    pub input_tokens: u32,
    /// Tokens received.
    pub output_tokens: u32,
    /// In `currency`.
    pub cost: f64,
    /// ISO 4217.
    pub currency: String,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// It was done.
    Stop,
    /// It reached `max_tokens`.
    Length,
    /// It asks for tools.
    ToolCalls,
    /// It refused.
    Refused,
    /// Something else.
    Other,
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// Tools that it asks for.
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// What it used.
    pub usage: LlmUsage,
    /// The model that answered.
    pub model: String,
}

/// A request to another service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// The answer of another service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Status code.
    pub status: u16,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Vec<u8>,
}

/// The method of every model that sets the context of the calls after it: its argument `context`, an object.
pub const WITH_CONTEXT: &str = "with_context";

/// Runs a script of the run's agent on the records of the call, within the run: what it changes is staged like the run's own,
/// and its result is the answer. Its arguments are `script`, a name, and `parameters`, an object. No model has a method of
/// that name: it holds a dot.
pub const RUN_SCRIPT: &str = "script.run";

/// Methods of every model that answer at once and change nothing.
pub const ASKING: [&str; 2] = ["default_get", "copy_data"];

/// A host call, as data. One variant for each fallible function that the contract imports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant and field is documented in wit/automation.wit under the same name")]
pub enum Call {
    Search { model: String, domain: DomainSource, page: Page },
    SearchRead { model: String, domain: DomainSource, fields: Vec<String>, page: Page },
    SearchCount { model: String, domain: DomainSource },
    Read { model: String, ids: Vec<Id>, fields: Vec<String> },
    ReadGroup { model: String, domain: DomainSource, group_by: Vec<String>, aggregates: Vec<String>, page: GroupPage },
    NameSearch { model: String, text: String, limit: u32 },
    FieldsGet { model: String, fields: Vec<String> },
    DescribeFields { model: String, fields: Vec<String> },
    HasAccess { model: String, ids: Vec<Id>, operation: Operation },
    ResolveXmlid { xmlid: String },
    Create { model: String, values: Vec<Vec<FieldValue>> },
    Ensure { model: String, keys: Vec<String>, values: Vec<FieldValue> },
    Write { model: String, ids: Vec<Id>, values: Vec<FieldValue> },
    Relate { target: RecordRef, field: String, commands: Vec<Command> },
    Unlink { model: String, ids: Vec<Id> },
    Copy { target: RecordRef, values: Vec<FieldValue> },
    CallMethod { model: String, ids: Vec<Id>, method: String, arguments_json: String },
    Mention { target: RecordRef },
    PostMessage { target: RecordRef, message: Message },
    PostNote { target: RecordRef, message: Message },
    ScheduleActivity { target: RecordRef, activity: Activity },
    CompleteActivities { target: RecordRef, kind: String, feedback: Option<String> },
    AddFollowers { target: RecordRef, partner_ids: Vec<Id> },
    RemoveFollowers { target: RecordRef, partner_ids: Vec<Id> },
    ReadMessages { target: RecordRef, limit: u32 },
    StateGet { key: String },
    StateSet { key: String, json: Option<String> },
    Complete { request: LlmRequest },
    Send { request: HttpRequest },
}

impl Call {
    /// The contract's name of the function, with what it is about where that says too little.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Search { .. } => "search",
            Self::SearchRead { .. } => "search-read",
            Self::SearchCount { .. } => "search-count",
            Self::Read { .. } => "read",
            Self::ReadGroup { .. } => "read-group",
            Self::NameSearch { .. } => "name-search",
            Self::FieldsGet { .. } => "fields-get",
            Self::DescribeFields { .. } => "describe-fields",
            Self::HasAccess { .. } => "has-access",
            Self::ResolveXmlid { .. } => "resolve-xmlid",
            Self::Create { .. } => "create",
            Self::Ensure { .. } => "ensure",
            Self::Write { .. } => "write",
            Self::Relate { .. } => "relate",
            Self::Unlink { .. } => "unlink",
            Self::Copy { .. } => "copy",
            Self::CallMethod { .. } => "call",
            Self::Mention { .. } => "mention",
            Self::PostMessage { .. } => "post-message",
            Self::PostNote { .. } => "post-note",
            Self::ScheduleActivity { .. } => "schedule-activity",
            Self::CompleteActivities { .. } => "complete-activities",
            Self::AddFollowers { .. } => "add-followers",
            Self::RemoveFollowers { .. } => "remove-followers",
            Self::ReadMessages { .. } => "read-messages",
            Self::StateGet { .. } => "state-get",
            Self::StateSet { .. } => "state-set",
            Self::Complete { .. } => "complete",
            Self::Send { .. } => "send",
        }
    }

    /// The model that it is about.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Search { model, .. }
            | Self::SearchRead { model, .. }
            | Self::SearchCount { model, .. }
            | Self::Read { model, .. }
            | Self::ReadGroup { model, .. }
            | Self::NameSearch { model, .. }
            | Self::FieldsGet { model, .. }
            | Self::DescribeFields { model, .. }
            | Self::HasAccess { model, .. }
            | Self::Create { model, .. }
            | Self::Ensure { model, .. }
            | Self::Write { model, .. }
            | Self::Unlink { model, .. }
            | Self::CallMethod { model, .. } => Some(model),
            Self::Relate { target, .. }
            | Self::Copy { target, .. }
            | Self::Mention { target }
            | Self::PostMessage { target, .. }
            | Self::PostNote { target, .. }
            | Self::ScheduleActivity { target, .. }
            | Self::CompleteActivities { target, .. }
            | Self::AddFollowers { target, .. }
            | Self::RemoveFollowers { target, .. }
            | Self::ReadMessages { target, .. } => Some(&target.model),
            Self::ResolveXmlid { .. }
            | Self::StateGet { .. }
            | Self::StateSet { .. }
            | Self::Complete { .. }
            | Self::Send { .. } => None,
        }
    }
}

/// The answer to a [`Call`] that succeeded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "each variant is the result type of functions documented in wit/automation.wit")]
pub enum Answer {
    Done,
    Ids(Vec<Id>),
    Id(Id),
    Count(u32),
    Rows(Vec<Row>),
    Groups(Vec<Group>),
    Links(Vec<Link>),
    Fields(Vec<FieldInfo>),
    Details(Vec<FieldDetails>),
    Flag(bool),
    Record(RecordRef),
    Text(String),
    OptionalText(Option<String>),
    Messages(Vec<Posted>),
    Completion(Completion),
    Response(HttpResponse),
    Ran(Box<Ran>),
    /// An answer to a call that did more than the call itself says.
    Extra(Box<Answer>, Extra),
}

impl Answer {
    /// The same with what the call did besides.
    #[must_use]
    pub fn with(self, extra: Extra) -> Self {
        if extra == Extra::default() { self } else { Self::Extra(Box::new(self), extra) }
    }

    /// As the script gets it.
    #[must_use]
    pub fn plain(self) -> Self {
        match self {
            Self::Extra(answer, _) => answer.plain(),
            answer => answer,
        }
    }
}

/// Records that a call wrote or deleted besides those that it names: only the backend knows them, and the limits count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Extra {
    /// Lines that were copied with their record.
    pub written: u64,
    /// Records that were deleted with others, because they cannot be without them or without the list that they left.
    pub deleted: u64,
}

/// What came of a script that was run within another's run. Whatever it used is the run's own use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ran {
    /// Its result as JSON, or why it did not succeed: then nothing of what it did is staged.
    pub result: Result<Option<String>, Error>,
    /// What it used of each limit.
    pub used: PerLimit,
    /// How often it wrote which records.
    pub writes: Writes,
}

/// What a call comes to.
pub type Reply = Result<Answer, Error>;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // Journals keep calls and answers by their names: what was kept once is read for as long as it is kept.
    #[test]
    fn what_came_later_leaves_kept_calls_and_answers_as_they_were() {
        let info = json!({ "name": "stage_id", "label": "Stage", "kind": "many2one", "relation": "crm.stage",
            "required": false, "readonly": false, "stored": true, "selection": [], "help": null });
        let call = json!({ "call": "fields-get", "model": "crm.lead", "fields": ["stage_id"] });
        let answer = json!({ "answer": "fields", "value": [info] });
        assert!(matches!(serde_json::from_value(call).expect("a call"), Call::FieldsGet { .. }));
        let Answer::Fields(fields) = serde_json::from_value(answer).expect("an answer") else { panic!("fields") };

        let details = FieldDetails {
            info: fields.into_iter().next().expect("one field"),
            digits: Some((16, 2)),
            size: None,
            currency_field: None,
            relation_field: None,
            relation_table: None,
            ondelete: Some(OnDelete::SetNull),
            default: Some(FieldDefault::Function("first".to_owned())),
            related: None,
            computed: false,
            depends: Vec::new(),
            formula: None,
            groups: Some(Vec::new()),
            aggregator: None,
            copied: Some(false),
            translated: None,
            tracked: None,
            indexed: None,
            searchable: None,
            sortable: None,
            groupable: None,
        };
        let call = Call::DescribeFields { model: "crm.lead".to_owned(), fields: vec!["stage_id".to_owned()] };
        let kept = serde_json::to_value(&call).expect("JSON");
        assert_eq!((&kept["call"], call.name()), (&json!("describe-fields"), "describe-fields"));
        assert_eq!(serde_json::from_value::<Call>(kept).expect("a call"), call);
        let answer = Answer::Details(vec![details]);
        let kept = serde_json::to_value(&answer).expect("JSON");
        assert_eq!((&kept["answer"], &kept["value"][0]["ondelete"]), (&json!("details"), &json!("set null")));
        assert_eq!(serde_json::from_value::<Answer>(kept).expect("an answer"), answer);
    }
}
