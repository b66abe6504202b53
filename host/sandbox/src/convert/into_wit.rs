//! What the model has, as scripts understand it.

use triggerbox_model::{call, error, event, schema::OnDelete, value};

use super::IntoWit;
use crate::bindings::triggerbox::automation::{chatter, events, http, llm, records, types};

impl IntoWit for error::Error {
    type Wit = types::Error;

    fn into_wit(self) -> types::Error {
        use error::ErrorKind;
        let kind = match self.kind {
            ErrorKind::AccessDenied => types::ErrorKind::AccessDenied,
            ErrorKind::NotFound => types::ErrorKind::NotFound,
            ErrorKind::Invalid => types::ErrorKind::Invalid,
            ErrorKind::Rejected => types::ErrorKind::Rejected,
            ErrorKind::Conflict => types::ErrorKind::Conflict,
            ErrorKind::Unavailable => types::ErrorKind::Unavailable,
            ErrorKind::Pending => types::ErrorKind::Pending,
            ErrorKind::Other => types::ErrorKind::Other,
        };
        types::Error { kind, code: self.code, message: self.message, field: self.field }
    }
}

impl IntoWit for value::Value {
    type Wit = types::Value;

    fn into_wit(self) -> types::Value {
        match self {
            Self::Unset => types::Value::Unset,
            Self::Pending => types::Value::Pending,
            Self::Boolean(flag) => types::Value::Boolean(flag),
            Self::Integer(number) => types::Value::Integer(number),
            Self::Number(number) => types::Value::Number(number),
            Self::Text(text) => types::Value::Text(text),
            Self::Date(text) => types::Value::Date(text),
            Self::Datetime(text) => types::Value::Datetime(text),
            Self::Many2one(link) => types::Value::Many2one(link.into_wit()),
            Self::Ids(ids) => types::Value::Ids(ids),
            Self::Reference(record) => types::Value::Reference((*record).into_wit()),
            Self::Binary(bytes) => types::Value::Binary(bytes),
            Self::Json(text) => types::Value::Json(text),
        }
    }
}

impl IntoWit for value::Link {
    type Wit = types::Link;

    fn into_wit(self) -> types::Link {
        types::Link { id: self.id, display_name: self.name }
    }
}

impl IntoWit for value::RecordRef {
    type Wit = types::RecordRef;

    fn into_wit(self) -> types::RecordRef {
        types::RecordRef { model: self.model, id: self.id }
    }
}

impl IntoWit for value::FieldValue {
    type Wit = types::Field;

    fn into_wit(self) -> types::Field {
        types::Field { name: self.name, value: self.value.into_wit() }
    }
}

impl IntoWit for value::Row {
    type Wit = types::Row;

    fn into_wit(self) -> types::Row {
        types::Row { id: self.id, values: self.values.into_wit() }
    }
}

impl IntoWit for value::Snapshot {
    type Wit = types::Snapshot;

    fn into_wit(self) -> types::Snapshot {
        types::Snapshot { id: self.id, fields: self.fields.into_wit() }
    }
}

impl IntoWit for call::Group {
    type Wit = records::Group;

    fn into_wit(self) -> records::Group {
        records::Group {
            keys: self.keys.into_wit(),
            aggregates: self.aggregates.into_wit(),
            count: self.count,
            domain: self.domain,
        }
    }
}

impl IntoWit for call::FieldInfo {
    type Wit = records::FieldInfo;

    fn into_wit(self) -> records::FieldInfo {
        let Self { name, label, kind, relation, required, readonly, stored, selection, help } = self;
        records::FieldInfo { name, label, kind, relation, required, readonly, stored, selection, help }
    }
}

impl IntoWit for call::FieldDetails {
    type Wit = records::FieldDetails;

    fn into_wit(self) -> records::FieldDetails {
        records::FieldDetails {
            info: self.info.into_wit(),
            digits: self.digits,
            size: self.size,
            currency_field: self.currency_field,
            relation_field: self.relation_field,
            relation_table: self.relation_table,
            on_delete: self.ondelete.map(|rule| match rule {
                OnDelete::SetNull => records::OnDelete::SetNull,
                OnDelete::Restrict => records::OnDelete::Restrict,
                OnDelete::Cascade => records::OnDelete::Cascade,
            }),
            default: self.default.map(|default| match default {
                call::FieldDefault::Literal(json) => records::FieldDefault::Literal(json),
                call::FieldDefault::Function(name) => records::FieldDefault::Function(name),
            }),
            related: self.related,
            computed: self.computed,
            depends: self.depends,
            formula: self.formula,
            groups: self.groups,
            aggregator: self.aggregator,
            copied: self.copied,
            translated: self.translated,
            tracked: self.tracked,
            indexed: self.indexed,
            searchable: self.searchable,
            sortable: self.sortable,
            groupable: self.groupable,
            extra_json: None,
        }
    }
}

impl IntoWit for call::Posted {
    type Wit = chatter::Posted;

    fn into_wit(self) -> chatter::Posted {
        let Self { id, author, date, body, is_note } = self;
        chatter::Posted { id, author, date, body, is_note }
    }
}

impl IntoWit for call::ToolCall {
    type Wit = llm::ToolCall;

    fn into_wit(self) -> llm::ToolCall {
        llm::ToolCall { id: self.id, name: self.name, arguments_json: self.arguments_json }
    }
}

impl IntoWit for call::Completion {
    type Wit = llm::Completion;

    fn into_wit(self) -> llm::Completion {
        let call::LlmUsage { input_tokens, output_tokens, cost, currency } = self.usage;
        llm::Completion {
            text: self.text,
            calls: self.calls.into_wit(),
            finish: match self.finish {
                call::Finish::Stop => llm::Finish::Stop,
                call::Finish::Length => llm::Finish::Length,
                call::Finish::ToolCalls => llm::Finish::ToolCalls,
                call::Finish::Refused => llm::Finish::Refused,
                call::Finish::Other => llm::Finish::Other,
            },
            usage: llm::Usage { input_tokens, output_tokens, cost, currency },
            model: self.model,
        }
    }
}

impl IntoWit for call::HttpResponse {
    type Wit = http::Response;

    fn into_wit(self) -> http::Response {
        http::Response { status: self.status, headers: self.headers, body: self.body }
    }
}

impl IntoWit for event::User {
    type Wit = events::User;

    fn into_wit(self) -> events::User {
        let Self { id, name, login, lang, tz } = self;
        events::User { id, name, login, lang, tz }
    }
}

impl IntoWit for event::ToolEntry {
    type Wit = events::ToolEntry;

    fn into_wit(self) -> events::ToolEntry {
        let Self { name, arguments_json, output_json } = self;
        events::ToolEntry { name, arguments_json, output_json }
    }
}

impl IntoWit for event::PreviousRun {
    type Wit = events::PreviousRun;

    fn into_wit(self) -> events::PreviousRun {
        events::PreviousRun { id: self.id, last_text: self.last_text, tool_log: self.tool_log.into_wit() }
    }
}

impl IntoWit for event::Trigger {
    type Wit = events::Trigger;

    fn into_wit(self) -> events::Trigger {
        match self {
            Self::Created => events::Trigger::Created,
            Self::Updated => events::Trigger::Updated,
            Self::Deleted(snapshots) => events::Trigger::Deleted(snapshots.into_wit()),
            Self::Time(field) => events::Trigger::Time(field),
            Self::Scheduled(event::Slot { due, missed }) => events::Trigger::Scheduled(events::Slot { due, missed }),
            Self::Manual => events::Trigger::Manual,
            Self::Webhook(event::WebhookCall { method, headers, query, body }) => {
                events::Trigger::Webhook(events::WebhookCall { method, headers, query, body })
            }
            Self::Message(event::MessageInfo { id, author, body, is_note }) => {
                events::Trigger::Message(events::MessageInfo { id, author: author.into_wit(), body, is_note })
            }
            Self::OnChange(snapshot) => events::Trigger::OnChange(snapshot.into_wit()),
            Self::BeforeCreate(fields) => events::Trigger::BeforeCreate(fields.into_wit()),
            Self::BeforeUpdate(snapshots) => events::Trigger::BeforeUpdate(snapshots.into_wit()),
            Self::BeforeDelete => events::Trigger::BeforeDelete,
            Self::SelectRecords => events::Trigger::SelectRecords,
            Self::Other(name) => events::Trigger::Other(name),
        }
    }
}

impl IntoWit for event::Event {
    type Wit = events::Event;

    fn into_wit(self) -> events::Event {
        events::Event {
            run_id: self.run_id,
            rule: self.rule,
            attempt: self.attempt,
            depth: self.depth,
            seed: self.seed,
            trigger: self.trigger.into_wit(),
            model: self.model,
            records: self.records,
            old_values: self.old_values.into_wit(),
            actor: self.actor.into_wit(),
            run_as: self.run_as.into_wit(),
            superuser: self.superuser,
            company: self.company.into_wit(),
            now: self.now,
            parameters: self.parameters.into_wit(),
            previous: self.previous.into_wit(),
            extra_json: self.extra_json,
        }
    }
}
