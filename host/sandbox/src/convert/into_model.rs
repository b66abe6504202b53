//! What scripts say, as the model has it.

use triggerbox_model::{call, error::Error, event, value};

use super::IntoModel;
use crate::bindings::triggerbox::automation::{
    chatter, events, http, llm,
    records::{Command, GroupPage, Operation, Page},
    types::{Condition, Domain, Field, Link, Operand, Operator, RecordRef, Term, Value},
};

impl IntoModel for RecordRef {
    type Model = value::RecordRef;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(value::RecordRef { model: self.model, id: self.id })
    }
}

impl IntoModel for Link {
    type Model = value::Link;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(value::Link { id: self.id, name: self.display_name })
    }
}

impl IntoModel for Value {
    type Model = value::Value;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::Unset => value::Value::Unset,
            Self::Pending => value::Value::Pending,
            Self::Boolean(flag) => value::Value::Boolean(flag),
            Self::Integer(number) => value::Value::Integer(number),
            Self::Number(number) => value::Value::Number(finite(number, "a number")?),
            Self::Text(text) => value::Value::Text(text),
            Self::Date(text) => value::Value::Date(text),
            Self::Datetime(text) => value::Value::Datetime(text),
            Self::Many2one(link) => value::Value::Many2one(link.into_model()?),
            Self::Ids(ids) => value::Value::Ids(ids),
            Self::Reference(record) => value::Value::Reference(Box::new(record.into_model()?)),
            Self::Binary(bytes) => value::Value::Binary(bytes),
            Self::Json(text) => value::Value::Json(text),
        })
    }
}

/// Neither Odoo nor JSON have infinities or NaN.
fn finite(number: f64, what: &str) -> Result<f64, Error> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(Error::invalid("not-finite", format!("{what} is {number}; only finite numbers can be stored")))
    }
}

impl IntoModel for Field {
    type Model = value::FieldValue;

    fn into_model(self) -> Result<Self::Model, Error> {
        match self.value.into_model() {
            Ok(value) => Ok(value::FieldValue { name: self.name, value }),
            Err(error) => Err(error.with_field(self.name)),
        }
    }
}

impl IntoModel for Domain {
    type Model = call::DomainSource;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::Terms(terms) => call::DomainSource::Terms(terms.into_model()?),
            Self::Literal(text) => call::DomainSource::Literal(text),
        })
    }
}

impl IntoModel for Term {
    type Model = call::Term;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::And => call::Term::And,
            Self::Or => call::Term::Or,
            Self::Not => call::Term::Not,
            Self::Always => call::Term::Always,
            Self::Never => call::Term::Never,
            Self::Condition(Condition { field, operator, value }) => match value.into_model() {
                Ok(operand) => call::Term::Condition(field, spelling(operator).to_owned(), operand),
                Err(error) => return Err(error.with_field(field)),
            },
        })
    }
}

impl IntoModel for Operand {
    type Model = call::Operand;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::One(value) => call::Operand::One(value.into_model()?),
            Self::Many(values) => call::Operand::Many(values.into_model()?),
            Self::Domain(text) => call::Operand::Domain(text),
        })
    }
}

/// Odoo's spelling of an operator.
fn spelling(operator: Operator) -> &'static str {
    match operator {
        Operator::Eq => "=",
        Operator::Ne => "!=",
        Operator::Lt => "<",
        Operator::Le => "<=",
        Operator::Gt => ">",
        Operator::Ge => ">=",
        Operator::IsIn => "in",
        Operator::NotIn => "not in",
        Operator::Like => "like",
        Operator::NotLike => "not like",
        Operator::Ilike => "ilike",
        Operator::NotIlike => "not ilike",
        Operator::LikePattern => "=like",
        Operator::NotLikePattern => "not =like",
        Operator::IlikePattern => "=ilike",
        Operator::NotIlikePattern => "not =ilike",
        Operator::ChildOf => "child_of",
        Operator::ParentOf => "parent_of",
        Operator::EqOrUnset => "=?",
        Operator::Any => "any",
        Operator::NotAny => "not any",
    }
}

impl IntoModel for Page {
    type Model = call::Page;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::Page { offset: self.offset, limit: self.limit, order: self.order, archived: self.archived })
    }
}

impl IntoModel for GroupPage {
    type Model = call::GroupPage;

    fn into_model(self) -> Result<Self::Model, Error> {
        let Self { offset, limit, order, having, archived } = self;
        Ok(call::GroupPage { offset, limit, order, having, archived })
    }
}

impl IntoModel for Command {
    type Model = call::Command;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::Link(id) => call::Command::Link(id),
            Self::Unlink(id) => call::Command::Unlink(id),
            Self::Delete(id) => call::Command::Delete(id),
            Self::Clear => call::Command::Clear,
            Self::Replace(ids) => call::Command::Replace(ids),
            Self::Create(values) => call::Command::Create(values.into_model()?),
            Self::Update((id, values)) => call::Command::Update(id, values.into_model()?),
        })
    }
}

impl IntoModel for Operation {
    type Model = call::Operation;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::Read => call::Operation::Read,
            Self::Write => call::Operation::Write,
            Self::Create => call::Operation::Create,
            Self::Unlink => call::Operation::Unlink,
        })
    }
}

impl IntoModel for chatter::Message {
    type Model = call::Message;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::Message {
            body: self.body,
            format: match self.format {
                chatter::BodyFormat::Text => call::BodyFormat::Text,
                chatter::BodyFormat::Html => call::BodyFormat::Html,
            },
            subject: self.subject,
            partner_ids: self.partner_ids,
            attachments: self.attachments.into_model()?,
        })
    }
}

impl IntoModel for chatter::Attachment {
    type Model = call::Attachment;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::Attachment { name: self.name, mime_type: self.mime_type, content: self.content })
    }
}

impl IntoModel for chatter::Activity {
    type Model = call::Activity;

    fn into_model(self) -> Result<Self::Model, Error> {
        let Self { kind, summary, note, deadline, user_id } = self;
        Ok(call::Activity { kind, summary, note, deadline, user_id })
    }
}

impl IntoModel for llm::Request {
    type Model = call::LlmRequest;

    fn into_model(self) -> Result<Self::Model, Error> {
        if let Some(temperature) = self.temperature {
            finite(f64::from(temperature), "the temperature")?;
        }
        Ok(call::LlmRequest {
            model: self.model,
            messages: self.messages.into_model()?,
            tools: self.tools.into_model()?,
            output_schema: self.output_schema,
            temperature: self.temperature,
            max_tokens: self.max_tokens,
        })
    }
}

impl IntoModel for llm::Message {
    type Model = call::LlmMessage;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::System(text) => call::LlmMessage::System(text),
            Self::User(text) => call::LlmMessage::User(text),
            Self::Assistant(text) => call::LlmMessage::Assistant(text),
            Self::AssistantCalls((text, calls)) => call::LlmMessage::AssistantCalls(text, calls.into_model()?),
            Self::ToolResults(results) => call::LlmMessage::ToolResults(results.into_model()?),
        })
    }
}

impl IntoModel for llm::Tool {
    type Model = call::Tool;

    fn into_model(self) -> Result<Self::Model, Error> {
        let Self { name, description, parameters_schema } = self;
        Ok(call::Tool { name, description, parameters_schema })
    }
}

impl IntoModel for llm::ToolCall {
    type Model = call::ToolCall;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::ToolCall { id: self.id, name: self.name, arguments_json: self.arguments_json })
    }
}

impl IntoModel for llm::ToolResult {
    type Model = call::ToolResult;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::ToolResult { call_id: self.call_id, content: self.content, is_error: self.is_error })
    }
}

impl IntoModel for http::Request {
    type Model = call::HttpRequest;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(call::HttpRequest { method: self.method, url: self.url, headers: self.headers, body: self.body })
    }
}

impl IntoModel for events::Outcome {
    type Model = event::Outcome;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(event::Outcome {
            message: self.message,
            values: self.values.into_model()?,
            warning: self.warning,
            records: self.records,
            result_json: self.result_json,
        })
    }
}

impl IntoModel for events::Failure {
    type Model = event::Failure;

    fn into_model(self) -> Result<Self::Model, Error> {
        Ok(match self {
            Self::UserError(text) => event::Failure::UserError(text),
            Self::Failed(text) => event::Failure::Failed(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_backend_stores_are_refused_with_their_field() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let field = Field { name: "expected_revenue".into(), value: Value::Number(number) };
            let error = vec![field].into_model().unwrap_err();
            assert_eq!((error.code.as_str(), error.field.as_deref()), ("not-finite", Some("expected_revenue")));
        }
    }
}
