//! What a template may look up: `record.partner_id.name`, `env["crm.stage"].search([("is_won", "=", true)])`. Reads
//! only, and only what the rule grants.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
                Ok(Value::from(Record::all(&self.0, &ids)))
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

/// Records that came together: a field of one is read for all of them at once.
#[derive(Debug)]
struct Together {
    model: String,
    ids: Vec<u32>,
    /// By field and record, as far as they were read.
    known: Mutex<HashMap<String, HashMap<u32, Value>>>,
}

impl Together {
    fn new(model: &str, ids: Vec<u32>) -> Arc<Self> {
        Arc::new(Self { model: model.to_owned(), ids, known: Mutex::default() })
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, HashMap<u32, Value>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a field; of some of them, if it was tried for all.
    fn read(&self, ids: &[u32], name: &str) -> Result<HashMap<u32, Value>, Error> {
        let model = triggerbox::model(self.model.as_str());
        let rows = model.read(ids, &[name]).map_err(refused)?;
        let mut values = Vec::with_capacity(rows.len());
        for row in &rows {
            values.push((row.record().id, row.value(name).map_err(refused)?));
        }
        let linked = values.iter().flat_map(|(_, value)| match value {
            triggerbox::Value::Many2one(link) => vec![link.id],
            triggerbox::Value::Ids(ids) => ids.clone(),
            _ => Vec::new(),
        });
        let linked: BTreeSet<u32> = linked.collect();
        let related = match linked.is_empty() {
            true => None,
            false => model.fields_get(&[name]).map_err(refused)?.into_iter().next().and_then(|field| field.relation),
        };
        let among = Self::new(&related.unwrap_or_default(), linked.into_iter().collect());
        let record = |id: u32| Record { id, among: Arc::clone(&among) }.into_value();
        let shown = values.into_iter().map(|(id, value)| {
            let value = match value {
                triggerbox::Value::Many2one(link) => record(link.id),
                triggerbox::Value::Ids(ids) => ids.iter().map(|id| record(*id)).collect(),
                triggerbox::Value::Unset => Value::from(""),
                other => data(values::to_json(other)),
            };
            (id, value)
        });
        Ok(shown.collect())
    }
}

/// A record; its fields are read when a template names them.
#[derive(Debug)]
pub struct Record {
    id: u32,
    among: Arc<Together>,
}

impl Record {
    pub fn new(model: &str, id: u32) -> Self {
        Self { id, among: Together::new(model, vec![id]) }
    }

    /// Several that belong together.
    pub fn all(model: &str, ids: &[u32]) -> Vec<Value> {
        let among = Together::new(model, ids.to_vec());
        ids.iter().map(|id| Self { id: *id, among: Arc::clone(&among) }.into_value()).collect()
    }

    pub fn into_value(self) -> Value {
        Value::from_object(self)
    }

    fn field(&self, name: &str) -> Result<Value, Error> {
        let all = &self.among;
        let tried = match all.known().get(name) {
            Some(known) => match known.get(&self.id) {
                Some(value) => return Ok(value.clone()),
                None => true,
            },
            None => all.ids.len() == 1,
        };
        // One that is gone, or not for this user, keeps no other from being read.
        let together = if tried { None } else { all.read(&all.ids, name).ok() };
        let mut values = together.unwrap_or_default();
        if !values.contains_key(&self.id) {
            values.extend(all.read(&[self.id], name)?);
        }
        let value = values.get(&self.id).cloned();
        all.known().entry(name.to_owned()).or_default().extend(values);
        let gone = || Error::new(ErrorKind::InvalidOperation, format!("{}({}) is gone", all.model, self.id));
        value.ok_or_else(gone)
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
            Err(_) => write!(f, "{}({})", self.among.model, self.id),
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
