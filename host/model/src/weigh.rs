//! How many bytes things take on their way into a script or out of it: what the limits on payload, result and calls
//! count.

use crate::{
    call::{
        Activity, Answer, Call, Command, DomainSource, GroupPage, LlmMessage, LlmRequest, Message, Operand, Page, Term,
    },
    event::{ToolEntry, User},
    value::{FieldValue, Id, Link, RecordRef, Snapshot, Value},
};

/// Bytes that texts and values take on their way in or out: what the limits on payload and result count.
pub(crate) trait Weigh {
    fn bytes(&self) -> u64;
}

impl Weigh for String {
    fn bytes(&self) -> u64 {
        self.len() as u64 + 8
    }
}

impl Weigh for Id {
    fn bytes(&self) -> u64 {
        4
    }
}

impl Weigh for FieldValue {
    fn bytes(&self) -> u64 {
        self.name.bytes() + self.value.byte_size()
    }
}

impl Weigh for Snapshot {
    fn bytes(&self) -> u64 {
        self.id.bytes() + self.fields.bytes()
    }
}

impl Weigh for Link {
    fn bytes(&self) -> u64 {
        self.id.bytes() + self.name.bytes()
    }
}

impl Weigh for ToolEntry {
    fn bytes(&self) -> u64 {
        self.name.bytes() + self.arguments_json.bytes() + self.output_json.bytes()
    }
}

impl Weigh for (String, String) {
    fn bytes(&self) -> u64 {
        self.0.bytes() + self.1.bytes()
    }
}

impl Weigh for User {
    fn bytes(&self) -> u64 {
        self.id.bytes() + self.name.bytes() + self.login.bytes() + self.lang.bytes() + self.tz.bytes()
    }
}

impl<T: Weigh> Weigh for Vec<T> {
    fn bytes(&self) -> u64 {
        8 + self.iter().map(Weigh::bytes).sum::<u64>()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn bytes(&self) -> u64 {
        self.as_ref().map_or(0, Weigh::bytes)
    }
}

impl Weigh for Value {
    fn bytes(&self) -> u64 {
        self.byte_size()
    }
}

impl Weigh for RecordRef {
    fn bytes(&self) -> u64 {
        self.model.bytes() + self.id.bytes()
    }
}

impl Weigh for Term {
    fn bytes(&self) -> u64 {
        let condition = match self {
            Self::Condition(field, operator, operand) => field.bytes() + operator.bytes() + operand.bytes(),
            Self::And | Self::Or | Self::Not | Self::Always | Self::Never => 0,
        };
        condition + 8
    }
}

impl Weigh for Operand {
    fn bytes(&self) -> u64 {
        match self {
            Self::One(value) => value.bytes(),
            Self::Many(values) => values.bytes(),
            Self::Domain(text) => text.bytes(),
        }
    }
}

impl Weigh for DomainSource {
    fn bytes(&self) -> u64 {
        match self {
            Self::Terms(terms) => terms.bytes(),
            Self::Literal(text) => text.bytes(),
        }
    }
}

impl Weigh for Page {
    fn bytes(&self) -> u64 {
        self.order.bytes() + 12
    }
}

impl Weigh for GroupPage {
    fn bytes(&self) -> u64 {
        self.order.bytes() + self.having.bytes() + 12
    }
}

impl Weigh for Command {
    fn bytes(&self) -> u64 {
        match self {
            Self::Link(id) | Self::Unlink(id) | Self::Delete(id) => id.bytes(),
            Self::Clear => 4,
            Self::Replace(ids) => ids.bytes(),
            Self::Create(values) => values.bytes(),
            Self::Update(id, values) => id.bytes() + values.bytes(),
        }
    }
}

impl Weigh for Message {
    fn bytes(&self) -> u64 {
        let files = self.attachments.iter();
        let files: u64 =
            files.map(|file| file.name.bytes() + file.mime_type.bytes() + file.content.len() as u64 + 8).sum();
        self.body.bytes() + self.subject.bytes() + self.partner_ids.bytes() + files
    }
}

impl Weigh for Activity {
    fn bytes(&self) -> u64 {
        let texts = self.kind.bytes() + self.summary.bytes() + self.note.bytes() + self.deadline.bytes();
        texts + self.user_id.bytes()
    }
}

impl Weigh for LlmMessage {
    fn bytes(&self) -> u64 {
        match self {
            Self::System(text) | Self::User(text) | Self::Assistant(text) => text.bytes(),
            Self::AssistantCalls(text, calls) => {
                let calls = calls.iter();
                text.bytes()
                    + calls.map(|call| call.id.bytes() + call.name.bytes() + call.arguments_json.bytes()).sum::<u64>()
            }
            Self::ToolResults(results) => {
                results.iter().map(|result| result.call_id.bytes() + result.content.bytes()).sum()
            }
        }
    }
}

impl Weigh for LlmRequest {
    fn bytes(&self) -> u64 {
        let tools = self.tools.iter();
        let tools: u64 =
            tools.map(|tool| tool.name.bytes() + tool.description.bytes() + tool.parameters_schema.bytes()).sum();
        self.model.bytes() + self.messages.bytes() + tools + self.output_schema.bytes() + 12
    }
}

impl Call {
    /// Bytes that the call carries from the script to the host.
    #[must_use]
    pub fn byte_size(&self) -> u64 {
        match self {
            Self::Search { model, domain, page } => model.bytes() + domain.bytes() + page.bytes(),
            Self::SearchRead { model, domain, fields, page } => {
                model.bytes() + domain.bytes() + fields.bytes() + page.bytes()
            }
            Self::SearchCount { model, domain } => model.bytes() + domain.bytes(),
            Self::Read { model, ids, fields } => model.bytes() + ids.bytes() + fields.bytes(),
            Self::ReadGroup { model, domain, group_by, aggregates, page } => {
                model.bytes() + domain.bytes() + group_by.bytes() + aggregates.bytes() + page.bytes()
            }
            Self::NameSearch { model, text, .. } => model.bytes() + text.bytes() + 4,
            Self::FieldsGet { model, fields } | Self::DescribeFields { model, fields } => {
                model.bytes() + fields.bytes()
            }
            Self::HasAccess { model, ids, .. } | Self::Unlink { model, ids } => model.bytes() + ids.bytes(),
            Self::ResolveXmlid { xmlid } => xmlid.bytes(),
            Self::Create { model, values } => model.bytes() + values.bytes(),
            Self::Ensure { model, keys, values } => model.bytes() + keys.bytes() + values.bytes(),
            Self::Write { model, ids, values } => model.bytes() + ids.bytes() + values.bytes(),
            Self::Relate { target, field, commands } => target.bytes() + field.bytes() + commands.bytes(),
            Self::Copy { target, values } => target.bytes() + values.bytes(),
            Self::CallMethod { model, ids, method, arguments_json } => {
                model.bytes() + ids.bytes() + method.bytes() + arguments_json.bytes()
            }
            Self::Mention { target } => target.bytes(),
            Self::PostMessage { target, message } | Self::PostNote { target, message } => {
                target.bytes() + message.bytes()
            }
            Self::ScheduleActivity { target, activity } => target.bytes() + activity.bytes(),
            Self::CompleteActivities { target, kind, feedback } => target.bytes() + kind.bytes() + feedback.bytes(),
            Self::AddFollowers { target, partner_ids } | Self::RemoveFollowers { target, partner_ids } => {
                target.bytes() + partner_ids.bytes()
            }
            Self::ReadMessages { target, .. } => target.bytes() + 4,
            Self::StateGet { key } => key.bytes(),
            Self::StateSet { key, json } => key.bytes() + json.bytes(),
            Self::Complete { request } => request.bytes(),
            Self::Send { request } => {
                request.method.bytes() + request.url.bytes() + request.headers.bytes() + request.body.len() as u64
            }
        }
    }
}

impl Answer {
    /// Records, groups and messages that it brings.
    #[must_use]
    pub fn records(&self) -> usize {
        match self {
            Self::Rows(rows) => rows.len(),
            Self::Ids(ids) => ids.len(),
            Self::Links(links) => links.len(),
            Self::Groups(groups) => groups.len(),
            Self::Messages(messages) => messages.len(),
            Self::Extra(answer, _) => answer.records(),
            _ => 0,
        }
    }

    /// Bytes of what it brings of records. What models and other services answer is not of records.
    #[must_use]
    pub fn byte_size(&self) -> u64 {
        match self {
            Self::Rows(rows) => rows.iter().flat_map(|row| &row.values).map(Value::byte_size).sum(),
            Self::Ids(ids) => 4 * ids.len() as u64,
            Self::Links(links) => links.iter().map(|link| link.name.as_ref().map_or(0, String::len) as u64 + 4).sum(),
            Self::Groups(groups) => groups
                .iter()
                .map(|group| {
                    let values = group.keys.iter().chain(&group.aggregates);
                    values.map(|field| field.value.byte_size()).sum::<u64>() + group.domain.len() as u64
                })
                .sum(),
            Self::Messages(messages) => messages.iter().map(|message| message.body.len() as u64).sum(),
            Self::Text(text) => text.len() as u64,
            Self::OptionalText(text) => text.as_ref().map_or(0, String::len) as u64,
            Self::Extra(answer, _) => answer.byte_size(),
            Self::Ran(ran) => ran.result.as_ref().ok().and_then(Option::as_ref).map_or(0, String::len) as u64,
            _ => 0,
        }
    }
}
