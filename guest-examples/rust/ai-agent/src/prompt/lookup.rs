//! What a template may look up: `record.partner_id.name`, `env["crm.stage"].search([("is_won", "=", true)])`. Reads
//! only, and only what the rule grants.

use std::{fmt, sync::Arc};

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, Serde, from_args},
};
use triggerbox::{prelude::Search, serde_json::Value as Json};

use crate::values;

/// `env`
#[derive(Debug)]
pub struct Env;

impl Object for Env {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(Value::from_object(Model(key.as_str()?.to_owned())))
    }
}

/// `env["crm.stage"]`
#[derive(Debug)]
struct Model(String);

impl Object for Model {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let model = triggerbox::model(self.0.as_str());
        let domain = |domain: &Value| -> Result<Search, Error> {
            let json: Json = triggerbox::serde_json::to_value(domain).map_err(failed)?;
            Ok(values::domain(&json).map_err(refused)?.as_str().into())
        };
        match method {
            "browse" => {
                let (id,): (u32,) = from_args(args)?;
                Ok(Record::new(&self.0, id).into_value())
            }
            "search" => {
                let (wanted, limit): (Value, Option<u32>) = from_args(args)?;
                let ids = model.search(domain(&wanted)?.limit(limit.unwrap_or(80))).map_err(refused)?;
                Ok(ids.into_iter().map(|id| Record::new(&self.0, id).into_value()).collect())
            }
            "search_count" => {
                let (wanted,): (Value,) = from_args(args)?;
                Ok(Value::from(model.count(domain(&wanted)?).map_err(refused)?))
            }
            _ => Err(Error::new(
                ErrorKind::UnknownMethod,
                format!("there are browse, search and search_count, no {method}"),
            )),
        }
    }
}

/// A record; its fields are read when a template names them.
#[derive(Debug, PartialEq)]
pub struct Record {
    model: String,
    id: u32,
}

impl Record {
    pub fn new(model: &str, id: u32) -> Self {
        Self { model: model.to_owned(), id }
    }

    pub fn into_value(self) -> Value {
        Value::from_object(self)
    }

    fn field(&self, name: &str) -> Result<Value, Error> {
        let model = triggerbox::model(self.model.as_str());
        let rows = model.read(&[self.id], &[name]).map_err(refused)?;
        let Some(row) = rows.first() else {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("{}({}) is gone", self.model, self.id)));
        };
        let related = || -> Result<String, Error> {
            let fields = model.fields_get(&[name]).map_err(refused)?;
            Ok(fields.into_iter().next().and_then(|field| field.relation).unwrap_or_default())
        };
        Ok(match row.value(name).map_err(refused)? {
            triggerbox::Value::Many2one(link) => Self { model: related()?, id: link.id }.into_value(),
            triggerbox::Value::Ids(ids) => {
                let model = related()?;
                ids.iter().map(|id| Self::new(&model, *id).into_value()).collect()
            }
            triggerbox::Value::Unset => Value::from(""),
            other => data(values::to_json(other)),
        })
    }
}

impl Object for Record {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "id" => Some(Value::from(self.id)),
            name => Some(self.field(name).unwrap_or_else(Value::from)),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    /// A record in a text is its name.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field("display_name") {
            Ok(name) => write!(f, "{name}"),
            Err(_) => write!(f, "{}({})", self.model, self.id),
        }
    }
}

/// JSON, for a template.
pub fn data(json: Json) -> Value {
    Value::from(Serde(json))
}

fn refused(error: triggerbox::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.text())
}

fn failed(error: triggerbox::serde_json::Error) -> Error {
    Error::new(ErrorKind::InvalidOperation, error.to_string())
}
