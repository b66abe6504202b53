//! Reads of records, with what is staged over them.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Operation, Page, Posted},
    error::Error,
    schema::FieldKind,
    value::{Id, Link, RecordRef, Row, Value, is_provisional},
};

use super::{Fail, Session, odd, pending};
use crate::{overlay::Source, value};

impl Session {
    /// The rows of records, in the order asked. Records that are gone, or that the user does not see, are left out, as
    /// Odoo does.
    pub(super) async fn rows(&mut self, model: &str, ids: &[Id], fields: &[String]) -> Result<Vec<Row>, Fail> {
        for field in fields {
            self.kind(model, field)?;
        }
        self.fetch(model, ids, fields).await?;
        let mut rows = Vec::new();
        for id in ids {
            if self.overlay.is_deleted(model, *id) {
                continue;
            }
            let record = RecordRef::new(model, *id);
            let created = self.overlay.is_created(model, *id);
            if !created && !self.read.contains_key(&record) {
                continue;
            }
            let mut values = Vec::new();
            for field in fields {
                values.push(self.value(&record, field).await?);
            }
            rows.push(Row { id: *id, values });
        }
        Ok(rows)
    }

    /// One value of a record that was fetched or created.
    pub(super) async fn value(&mut self, record: &RecordRef, field: &str) -> Result<Value, Fail> {
        if field == "id" {
            return Ok(i32::try_from(record.id).map_or_else(|_| Value::Number(f64::from(record.id)), Value::Integer));
        }
        match self.source(record, field).await? {
            Source::Staged(value) => Ok(value),
            Source::Pending | Source::Unknown(_) => Ok(Value::Pending),
            Source::Committed => {
                let kind = self.kind(&record.model, field)?;
                let json = self.read.get(record).and_then(|values| values.get(field)).unwrap_or(&Json::Null);
                Ok(value::from_json(&record.model, field, kind, json)?)
            }
        }
    }

    /// Asks Odoo for what of this the run has not read yet, in one request.
    pub(crate) async fn fetch(&mut self, model: &str, ids: &[Id], fields: &[String]) -> Result<(), Fail> {
        let lacks = |id: &Id| {
            let known = self.read.get(&RecordRef::new(model, *id));
            !is_provisional(*id)
                && !known.is_some_and(|known| fields.iter().all(|field| known.contains_key(field) || field == "id"))
        };
        let wanted: Vec<Id> = ids.iter().copied().filter(lacks).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let body = json!({ "ids": wanted, "fields": fields, "context": self.context(false) });
        let rows = self.ask(model, "read", body).await?;
        self.keep(model, fields, &rows)?;
        Ok(())
    }

    /// Keeps rows that were read; what was read before stays as it was.
    pub(super) fn keep(&mut self, model: &str, fields: &[String], rows: &Json) -> Result<Vec<Id>, Error> {
        let rows = rows.as_array().ok_or_else(|| odd("a read"))?;
        let mut ids = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.get("id").and_then(value::id).ok_or_else(|| odd("a read"))?;
            let known = self.read.entry(RecordRef::new(model, id)).or_default();
            for field in fields.iter().filter(|field| *field != "id") {
                let value = row.get(field).ok_or_else(|| odd("a read"))?;
                known.entry(field.clone()).or_insert_with(|| value.clone());
            }
            ids.push(id);
        }
        Ok(ids)
    }

    pub(super) fn kind(&self, model: &str, field: &str) -> Result<FieldKind, Error> {
        match field {
            "id" => Ok(FieldKind::Integer),
            field => Ok(self.schema.model(model)?.field(field)?.kind),
        }
    }

    pub(super) fn fields_get(&self, model: &str, names: &[String]) -> Result<Answer, Fail> {
        Ok(Answer::Fields(self.schema.model(model)?.fields_get(names)?))
    }

    pub(super) fn describe_fields(&self, model: &str, names: &[String]) -> Result<Answer, Fail> {
        self.schema.model(model)?;
        // A model that the user may not see described has no fields for them.
        let Some(described) = self.described.get(model) else { return Ok(Answer::Details(Vec::new())) };
        Ok(Answer::Details(described.describe_fields(names)?))
    }

    pub(super) async fn name_search(&mut self, model: &str, text: &str, limit: u32) -> Result<Answer, Fail> {
        if self.overlay.knows(model) {
            let message = format!("names of `{model}` records that this run changes are known only when it is applied");
            return Err(pending(message).into());
        }
        let body =
            json!({ "name": text, "domain": [], "operator": "ilike", "limit": limit, "context": self.context(false) });
        let pairs = self.ask(model, "name_search", body).await?;
        let links = pairs.as_array().into_iter().flatten().map(value::link).collect::<Option<Vec<Link>>>();
        Ok(Answer::Links(links.ok_or_else(|| odd("a name search"))?))
    }

    pub(super) async fn has_access(&mut self, model: &str, ids: Vec<Id>, operation: Operation) -> Result<Answer, Fail> {
        let ids: Vec<Id> = ids.into_iter().filter(|id| !is_provisional(*id)).collect();
        let body = json!({ "ids": ids, "operation": operation.name(), "context": self.context(false) });
        let flag = self.ask(model, "has_access", body).await?;
        Ok(Answer::Flag(flag.as_bool().ok_or_else(|| odd("a question for access"))?))
    }

    pub(super) async fn resolve_xmlid(&mut self, xmlid: &str) -> Result<Answer, Fail> {
        Ok(Answer::Record(self.xmlid(xmlid).await?))
    }

    async fn xmlid(&mut self, xmlid: &str) -> Result<RecordRef, Fail> {
        let unknown = || {
            Error::not_found(
                "unknown-xmlid",
                format!("no record has the external id `{xmlid}`, or the user may not see it"),
            )
        };
        let (module, name) = xmlid.split_once('.').ok_or_else(unknown)?;
        let body = json!({ "module": module, "xml_id": name });
        let pair = match self.ask("ir.model.data", "check_object_reference", body).await {
            Ok(pair) => pair,
            // Odoo's word for an unknown one is a ValueError.
            Err(Fail::Script(_)) => return Err(unknown().into()),
            Err(fault) => return Err(fault),
        };
        match (pair.get(0).and_then(Json::as_str), pair.get(1).and_then(value::id)) {
            (Some(model), Some(id)) => Ok(RecordRef::new(model, id)),
            _ => Err(unknown().into()),
        }
    }

    pub(super) async fn read_messages(&mut self, target: &RecordRef, limit: u32) -> Result<Answer, Fail> {
        if is_provisional(target.id) || self.reaches_record(target, "message_ids").await? {
            return Err(pending(format!("the messages of {target} are known only when the run is applied")).into());
        }
        if limit == 0 {
            // For Odoo that is all of them.
            return Ok(Answer::Messages(Vec::new()));
        }
        if self.note_subtype.is_none() {
            self.note_subtype = Some(self.xmlid("mail.mt_note").await?.id);
        }
        let domain = json!([
            ["model", "=", target.model],
            ["res_id", "=", target.id],
            ["message_type", "!=", "user_notification"],
        ]);
        let body = json!({
            "domain": domain, "fields": ["author_id", "email_from", "date", "body", "subtype_id"], "limit": limit,
            "order": "id desc", "context": self.context(false),
        });
        let rows = self.ask("mail.message", "search_read", body).await?;
        let posted = rows.as_array().into_iter().flatten().map(|row| {
            let text = |name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
            let link = |name: &str| row.get(name).and_then(value::link);
            let date = triggerbox_model::time::datetime_to_contract(&text("date"))?;
            Ok(Posted {
                id: row.get("id").and_then(value::id).ok_or_else(|| odd("a read of messages"))?,
                author: link("author_id").and_then(|author| author.name).unwrap_or_else(|| text("email_from")),
                date,
                body: text("body"),
                is_note: link("subtype_id").is_none_or(|subtype| Some(subtype.id) == self.note_subtype),
            })
        });
        Ok(Answer::Messages(posted.collect::<Result<_, Error>>()?))
    }

    pub(super) async fn reaches_record(&mut self, record: &RecordRef, field: &str) -> Result<bool, Fail> {
        Ok(self.source(record, field).await? != Source::Committed)
    }

    pub(super) async fn state_get(&mut self, key: &str) -> Result<Answer, Fail> {
        if let Some(known) = self.state.get(key) {
            return Ok(Answer::OptionalText(known.clone()));
        }
        let context = json!({ "triggerbox_state": format!("{} {key}", self.rule) });
        let answer = self.noted(self.backend.apply(&self.account, context).await)?;
        let json = answer.get("state").and_then(Json::as_str).map(str::to_owned);
        self.state.insert(key.to_owned(), json.clone());
        Ok(Answer::OptionalText(json))
    }

    pub(super) async fn mention(&mut self, target: RecordRef) -> Result<Answer, Fail> {
        let name = ["display_name".to_owned()];
        if self.rows(&target.model, &[target.id], &name).await?.is_empty() {
            return Err(Error::not_found(
                "missing-record",
                format!("there is no {target}, or the user may not see it"),
            )
            .into());
        }
        self.changes.mentions.push(target);
        Ok(Answer::Text(crate::mention::token(self.changes.mentions.len() - 1)))
    }

    /// The open activities of a kind on a record.
    pub(super) async fn open_activities(&mut self, target: &RecordRef, kind: &str) -> Result<u32, Fail> {
        if self.reaches_record(target, "activity_ids").await? {
            return Err(pending(format!("the activities of {target} are known only when the run is applied")).into());
        }
        let kind = match kind.contains('.') && !kind.contains(' ') {
            true => json!(["activity_type_id", "=", self.xmlid(kind).await?.id]),
            false => json!(["activity_type_id.name", "=", kind]),
        };
        let domain = json!([["res_model", "=", target.model], ["res_id", "=", target.id], kind]);
        let count =
            self.ask("mail.activity", "search_count", json!({ "domain": domain, "context": self.context(false) }));
        let count = count.await?.as_u64().ok_or_else(|| odd("a count"))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Whether the records are there, whether or not they are archived.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub async fn missing(&mut self, model: &str, ids: &[Id]) -> Result<Result<Option<Id>, Error>, crate::OdooError> {
        let domain = format!("[('id', 'in', {ids:?})]");
        let page = Page { archived: true, ..Page::default() };
        let call = Call::Search { model: model.to_owned(), domain: DomainSource::Literal(domain), page };
        Ok(self.call(call).await?.map(|answer| match answer {
            Answer::Ids(found) => ids.iter().copied().find(|id| !found.contains(id)),
            _ => ids.first().copied(),
        }))
    }

    /// What names the values of records have that the run read or staged, by record.
    pub(crate) fn committed(&self, record: &RecordRef, field: &str) -> Option<Value> {
        let kind = self.kind(&record.model, field).ok()?;
        let json = self.read.get(record)?.get(field)?;
        value::from_json(&record.model, field, kind, json).ok()
    }

    /// Names that the run came across: of records, by id.
    pub(crate) fn names(&self) -> BTreeMap<RecordRef, String> {
        let mut names = BTreeMap::new();
        for (record, values) in &self.read {
            let Ok(model) = self.schema.model(&record.model) else { continue };
            for (name, json) in values {
                let Some(field) = model.fields.get(name) else { continue };
                if let (FieldKind::Many2one, Some(relation), Some(Link { id, name: Some(text) })) =
                    (field.kind, &field.relation, value::link(json))
                {
                    names.insert(RecordRef::new(relation, id), text);
                }
            }
            let own = values.get("display_name").or_else(|| values.get(model.rec_name.as_deref()?));
            if let Some(Json::String(text)) = own {
                names.insert(record.clone(), text.clone());
            }
        }
        names
    }
}
