//! What happened in Odoo: rows of the outbox, read, understood and, once they are kept here, removed one by one.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use triggerbox_model::{
    changes::{Change, ChangeKind, FieldChange},
    error::Error,
    event::MessageInfo,
    schema::{FieldKind, Model},
    value::{Id, RecordRef, Value},
};

use crate::{
    backend::{Backend, refusal},
    config::is_name,
    error::OdooError,
    session::odd,
    value,
};

const OUTBOX: &str = "x_triggerbox_event";

/// Fields of a row.
const FIELDS: [&str; 8] = ["x_name", "x_model", "x_record", "x_kind", "x_values", "x_user", "x_transaction", "x_chain"];

/// Characters of a text that the outbox keeps; longer ones are cut there (`outbox.py`).
const LONGEST_TEXT: usize = 100_000;

/// Characters that are kept of a row that makes no sense.
const LONGEST_ODD: usize = 16 << 10;

/// Fields of one change, at most.
const MOST_FIELDS: usize = 2_000;

/// One row of the outbox that makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its number.
    pub row: Id,
    /// What it is told apart by for good: numbers begin anew when the outbox does, transactions do not.
    pub key: String,
    /// The rule that it is for.
    pub rule: String,
    /// What happened.
    pub change: Change,
    /// Who is behind it (`res.users` of Odoo).
    pub user: Id,
    /// The transaction that it happened in.
    pub transaction: String,
    /// The run whose changes caused it, as Odoo's ledger knows it.
    pub chain: Option<String>,
    /// The message that was posted on the record, where that is what happened: then nothing of the record changed.
    pub message: Option<MessageInfo>,
}

/// A row that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Odd {
    /// Its number.
    pub row: Id,
    /// What is wrong with it.
    pub why: String,
    /// What it tells, as JSON that may be cut.
    pub told: String,
}

impl Odd {
    /// A row with what it tells, as far as that is kept.
    #[must_use]
    pub fn new(row: Id, why: String, told: &str) -> Self {
        Self { row, why, told: told.chars().take(LONGEST_ODD).collect() }
    }
}

/// What the outbox held, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Taken {
    /// Rows that make sense.
    pub events: Vec<Event>,
    /// Rows that do not.
    pub odd: Vec<Odd>,
    /// There may be more.
    pub more: bool,
}

impl Backend {
    /// Reads the oldest rows of the outbox. They stay there until they are [acknowledged](Backend::acknowledge).
    ///
    /// # Errors
    /// Odoo cannot be used.
    pub async fn events(&self) -> Result<Taken, OdooError> {
        self.events_about(&|_| true).await
    }

    /// The same, for whom only some models are of interest: what rows tell of others makes no sense, and Odoo is not asked what
    /// these models are.
    ///
    /// # Errors
    /// As [`Backend::events`]
    pub async fn events_about(&self, is_wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Taken, OdooError> {
        let mut limit = self.config.most_events;
        let rows = loop {
            match self.rows(limit).await {
                // A few large rows must not keep the others from being read.
                Err(OdooError::TooLarge { .. }) if limit > 1 => limit = (limit / 8).max(1),
                Err(OdooError::TooLarge { .. }) => return self.unreadable().await,
                other => break other?,
            }
        };
        let Json::Array(rows) = rows else { return Err(refusal(odd("a search"))) };
        let mut taken = Taken { more: rows.len() >= limit as usize, ..Taken::default() };
        let mut models = BTreeMap::new();
        // Whatever was asked for: a server may answer with more.
        for row in rows.iter().take(limit as usize) {
            // A row without a number cannot be acknowledged, and so not be taken.
            let Some(id) = row.get("id").and_then(value::id) else { continue };
            match self.understood(id, row, &mut models, is_wanted).await? {
                Ok(event) => taken.events.push(event),
                Err(why) => taken.odd.push(Odd::new(id, why, &row.to_string())),
            }
        }
        Ok(taken)
    }

    async fn rows(&self, limit: u32) -> Result<Json, OdooError> {
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let body = json!({ "domain": [], "fields": FIELDS, "order": "id", "limit": limit });
        self.client.call(caller, OUTBOX, "search_read", &body).await
    }

    /// The oldest row is larger than anything that is read.
    async fn unreadable(&self) -> Result<Taken, OdooError> {
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let body = json!({ "domain": [], "order": "id", "limit": 1 });
        let ids = self.client.call(caller, OUTBOX, "search", &body).await?;
        let odd = ids.as_array().into_iter().flatten().filter_map(value::id);
        let why = format!("it is larger than {} bytes", self.config.largest_answer);
        let odd = odd.map(|row| Odd::new(row, why.clone(), ""));
        Ok(Taken { odd: odd.collect(), more: true, ..Taken::default() })
    }

    /// Removes rows that are kept here. Those that are gone already are no error.
    ///
    /// # Errors
    /// Odoo cannot be used; the rows are read again, and are then known.
    pub async fn acknowledge(&self, rows: &[Id]) -> Result<(), OdooError> {
        if rows.is_empty() {
            return Ok(());
        }
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        match self.client.call(caller, OUTBOX, "unlink", &json!({ "ids": rows })).await {
            Ok(_) => Ok(()),
            Err(OdooError::Refused(_)) => {
                let body = json!({ "domain": [["id", "in", rows]] });
                let left = self.client.call(caller, OUTBOX, "search", &body).await?;
                match left.as_array().is_some_and(Vec::is_empty) {
                    true => Ok(()),
                    false => self.client.call(caller, OUTBOX, "unlink", &json!({ "ids": left })).await.map(drop),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// One row; the inner error says why it makes no sense.
    async fn understood(
        &self,
        row: Id,
        json: &Json,
        models: &mut BTreeMap<String, Option<Model>>,
        is_wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Result<Event, String>, OdooError> {
        let size = json.to_string().len();
        if size > self.config.largest_event {
            return Ok(Err(format!("it has {size} bytes, more than {}", self.config.largest_event)));
        }
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let (Some(rule), Some(name), Some(kind), Some(transaction)) =
            (text("x_name"), text("x_model"), text("x_kind"), text("x_transaction"))
        else {
            return Ok(Err("rule, model, kind or transaction are missing".to_owned()));
        };
        let number = |name: &str| json.get(name).and_then(value::id).filter(|id| *id > 0);
        let (Some(record), Some(user)) = (number("x_record"), number("x_user")) else {
            return Ok(Err("record or user are no numbers of records".to_owned()));
        };
        let is_message = kind == "message";
        let kind = match kind.as_str() {
            "created" => ChangeKind::Created,
            "updated" | "message" => ChangeKind::Updated,
            "deleted" => ChangeKind::Deleted,
            other => return Ok(Err(format!("`{}` is nothing that happens to records", short(other)))),
        };
        if !is_name(&name) || transaction.len() > 32 || rule.len() > 64 {
            return Ok(Err(format!("`{}` is no name of a model, or another name is too long", short(&name))));
        }
        if !models.contains_key(&name) {
            if !is_wanted(&name) {
                return Ok(Err(format!("nobody here waits for anything of `{}`", short(&name))));
            }
            let account = self.account(&self.config.administrator).await?;
            let known = match self.model(&account, &name).await {
                Ok(known) => Some(known.model.clone()),
                // Nothing else says so for good: the row waits for another answer.
                Err(OdooError::Refused(refusal)) if refusal.error.code == "unknown-model" => None,
                Err(error) => return Err(error),
            };
            models.insert(name.clone(), known);
        }
        let Some(Some(model)) = models.get(&name) else {
            return Ok(Err(format!("odoo has no model `{}`", short(&name))));
        };
        let values = match json.get("x_values") {
            None | Some(Json::Null | Json::Bool(false)) => Json::Object(serde_json::Map::new()),
            Some(Json::String(text)) => match serde_json::from_str(text) {
                Ok(values) => values,
                Err(error) => return Ok(Err(format!("its values are no JSON: {error}"))),
            },
            Some(_) => return Ok(Err("its values are no text".to_owned())),
        };
        let (fields, message) = match is_message {
            true => match message(&values) {
                Some(message) => (Vec::new(), Some(message)),
                None => return Ok(Err("it does not say which message was posted".to_owned())),
            },
            false => match fields(model, &values) {
                Ok(fields) => (fields, None),
                Err(error) => return Ok(Err(error.message)),
            },
        };
        let change = Change { record: RecordRef::new(&name, record), kind, fields };
        let (key, chain) = (format!("{row}:{transaction}"), text("x_chain"));
        Ok(Ok(Event { row, key, rule, change, user, transaction, chain, message }))
    }
}

/// `{id, author: [id, name] or false, body}`
fn message(values: &Json) -> Option<MessageInfo> {
    Some(MessageInfo {
        id: values.get("id").and_then(value::id)?,
        author: values.get("author").and_then(value::link),
        body: values.get("body")?.as_str()?.to_owned(),
        is_note: false,
    })
}

/// `{field: [before, after]}`; fields that the model does not have are left out.
fn fields(model: &Model, values: &Json) -> Result<Vec<FieldChange>, Error> {
    let odd = |why: &str| Error::invalid("bad-event", format!("its values are not before and after of fields: {why}"));
    let values = values.as_object().ok_or_else(|| odd("no object"))?;
    if values.len() > MOST_FIELDS {
        return Err(odd("too many fields"));
    }
    let mut changed = Vec::new();
    for (name, pair) in values {
        let Some([old, new]) = pair.as_array().map(Vec::as_slice) else { return Err(odd("not two values")) };
        let Some(field) = model.fields.get(name) else { continue };
        let side = |json: &Json| match json {
            Json::Null => Ok(Value::Unset),
            // What such fields hold is not told, only that it changed.
            _ if matches!(field.kind, FieldKind::Binary | FieldKind::Json) => Ok(Value::Unset),
            // That it changed is told, and not what is missing: a part of it would be taken for all.
            Json::String(text) if field.kind.is_x2many() && is_cut(text) => Ok(Value::Pending),
            Json::String(text) if field.relation.is_some() || field.kind == FieldKind::Reference => {
                let read = records(field.kind, text).unwrap_or_else(|| json.clone());
                value::from_json(&model.name, name, field.kind, &read)
            }
            Json::String(text) if field.kind == FieldKind::Datetime => {
                let seconds = Json::String(text.get(..19).unwrap_or(text).to_owned());
                value::from_json(&model.name, name, field.kind, &seconds)
            }
            json => value::from_json(&model.name, name, field.kind, json),
        };
        changed.push(FieldChange { field: name.as_str().into(), old: side(old)?, new: side(new)? });
    }
    Ok(changed)
}

/// Whether records as Odoo writes them were cut.
fn is_cut(text: &str) -> bool {
    !text.ends_with(')') && text.chars().count() >= LONGEST_TEXT
}

/// `crm.tag(1, 2)`, as Odoo writes records, as a field of this kind is read.
fn records(kind: FieldKind, text: &str) -> Option<Json> {
    let (model, ids) = text.strip_suffix(')')?.split_once('(')?;
    let ids = ids.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<Id> = ids.map(|id| id.parse().ok()).collect::<Option<_>>()?;
    Some(match (kind, ids.first()) {
        (FieldKind::Many2one | FieldKind::Reference, None) => json!(false),
        (FieldKind::Many2one, Some(id)) => json!(id),
        (FieldKind::Reference, Some(id)) => json!(format!("{model},{id}")),
        _ => json!(ids),
    })
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_as_odoo_writes_them() {
        for (kind, text, read) in [
            (FieldKind::Many2one, "res.users(2,)", Some(json!(2))),
            (FieldKind::Many2one, "res.users()", Some(json!(false))),
            (FieldKind::Many2many, "crm.tag(1, 2)", Some(json!([1, 2]))),
            (FieldKind::One2many, "crm.tag()", Some(json!([]))),
            (FieldKind::Reference, "res.partner(5,)", Some(json!("res.partner,5"))),
            (FieldKind::Reference, "res.partner,5", None),
            (FieldKind::Many2many, "crm.tag(<NewId 0x7f>,)", None),
            (FieldKind::Many2one, "2", None),
        ] {
            assert_eq!(records(kind, text), read, "{text}");
        }
    }

    #[test]
    fn a_list_that_was_cut_is_told_as_changed_and_not_known() {
        let field = |kind: &str| json!({ "type": kind, "string": "Tags", "relation": "crm.tag" });
        let model = json!({ "description": "Lead", "fields": { "tag_ids": field("many2many"), "stage_id": field("many2one") } });
        let mut model: Model = serde_json::from_value(model).unwrap();
        model.name = "crm.lead".to_owned();
        let whole = format!("crm.tag({})", (1..30_000).map(|id| id.to_string()).collect::<Vec<_>>().join(", "));
        let cut = |field: &str, length: usize| {
            let pair = json!([whole.get(..length).unwrap(), "crm.tag(7,)"]);
            fields(&model, &json!({ field: pair }))
        };
        let changed = cut("tag_ids", LONGEST_TEXT).unwrap();
        let told = FieldChange { field: "tag_ids".into(), old: Value::Pending, new: Value::Ids(vec![7]) };
        assert_eq!(changed, [told]);
        let known = cut("tag_ids", whole.len()).unwrap();
        assert!(matches!(&known[0].old, Value::Ids(ids) if ids.len() == 29_999));
        // Nothing else is cut: what makes no sense stays odd.
        assert!(cut("tag_ids", LONGEST_TEXT - 1).is_err());
        assert!(cut("stage_id", LONGEST_TEXT).is_err());
    }
}
