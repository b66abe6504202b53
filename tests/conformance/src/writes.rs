//! What writes do: one server call after another, each step's answer, and what differs in the end.
//!
//! Compared are the answers and the difference of all stored fields but three kinds: what the server computes itself
//! (`computed` in the schema: order totals, scores), log-access fields, and the words of rendered mail templates.

use std::{collections::BTreeMap, sync::Arc};

use indexmap::IndexMap;
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    call::Page,
    changes::Change,
    domain::Domain,
    error::Error,
    schema::{Field, FieldKind, Model, Schema},
    value::Id,
};
use triggerbox_store::{
    env::{Context, Env},
    load::{self, Record},
    methods, query,
    write::{Options, Place, Values, Writer, json as odoo},
};

use crate::{Data, Verdict};

/// Runs one case.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    data.judge(case, |conn| attempt(data, conn, case))
}

fn attempt(data: &Data, conn: &Connection, case: &Json) -> Result<Verdict, Error> {
    let before = match data.loaded.get() {
        Some(before) => before,
        None => {
            let before = state(conn)?;
            data.loaded.get_or_init(|| before)
        }
    };
    let env = data.env(case)?;
    let ops = case.get("ops").and_then(Json::as_array).cloned().unwrap_or_default();
    let expected = case.pointer("/expected/steps").and_then(Json::as_array).cloned().unwrap_or_default();
    let mut names: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    for (op, wanted) in ops.iter().zip(&expected) {
        if wanted.get("skipped").is_some() {
            continue;
        }
        let got = Step::new(&env, case, conn, &mut names, op).run();
        match (wanted.get("result"), got) {
            (None, Err(error)) => use_up_ids(conn, op, &error)?,
            (None, Ok(got)) => return Ok(Verdict::failed(format!("{op} => {wanted}"), got.to_string())),
            (Some(wanted), Err(error)) => {
                return Ok(Verdict::failed(format!("{op} => {wanted}"), format!("{}: {error}", error.code)));
            }
            (Some(wanted), Ok(got)) => {
                let (wanted, got) =
                    (&data_fields(&data.schema, op, wanted.clone()), data_fields(&data.schema, op, got));
                if !same(wanted, &got) {
                    return Ok(Verdict::failed(format!("{op} => {wanted}"), got.to_string()));
                }
            }
        }
    }
    let mut wanted = case.pointer("/expected/diff").cloned().unwrap_or_else(|| json!({}));
    let mut got = difference(&data.schema, before, &state(conn)?);
    Ok(compare(&data.schema, &mut wanted, &mut got))
}

/// Compares two differences, after taking out of them what is not compared.
pub(crate) fn compare(schema: &Schema, wanted: &mut Json, got: &mut Json) -> Verdict {
    for diff in [&mut *wanted, &mut *got] {
        forget(schema, diff);
    }
    let templates = rendered(wanted);
    blank(got, &templates);
    if same(wanted, got) {
        return Verdict::Passed;
    }
    let (wanted, got) = without_common(wanted, got);
    Verdict::failed(format!("diff {wanted}"), format!("diff {got}"))
}

/// On the server, an id is used up by a record that the database then refused.
pub(crate) fn use_up_ids(conn: &Connection, op: &Json, error: &Error) -> Result<(), Error> {
    if op.get("op").and_then(Json::as_str) == Some("create")
        && matches!(error.code.as_str(), "not-unique" | "required" | "check")
    {
        let model = op.get("model").and_then(Json::as_str).unwrap_or_default();
        conn.execute("UPDATE tb_sequence SET next = next + 1 WHERE name = ?1", [model]).map_err(database)?;
    }
    Ok(())
}

/// The answer of a read without the fields that the server computes itself.
fn data_fields(schema: &Schema, op: &Json, mut answer: Json) -> Json {
    let model = op.get("model").and_then(Json::as_str).and_then(|name| schema.models.get(name));
    if let (Some("read"), Some(model), Json::Array(records)) = (op.get("op").and_then(Json::as_str), model, &mut answer)
    {
        for record in records.iter_mut().filter_map(Json::as_object_mut) {
            record.retain(|name, _| !model.fields.get(name).is_some_and(|field| field.computed));
        }
    }
    answer
}

/// One server call.
pub(crate) struct Step<'a> {
    env: &'a Env,
    case: &'a Json,
    conn: &'a Connection,
    names: &'a mut BTreeMap<String, Vec<Id>>,
    op: &'a Json,
    /// What really changed.
    pub(crate) changes: Vec<Change>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(
        env: &'a Env,
        case: &'a Json,
        conn: &'a Connection,
        names: &'a mut BTreeMap<String, Vec<Id>>,
        op: &'a Json,
    ) -> Self {
        Self { env, case, conn, names, op, changes: Vec::new() }
    }
}

impl Step<'_> {
    pub(crate) fn run(&mut self) -> Result<Json, Error> {
        let context = self.context();
        let known: Context = serde_json::from_value(Json::Object(context.clone())).unwrap_or_default();
        let env = self.env.clone().with_context(known);
        let model = self.text("model");
        let described = env.schema.model(&model)?.clone();
        let mut place = Place::committed();
        let mut writer = Writer::new(self.conn, &env, &mut place);
        writer.options = options(&env.schema, &described, &context)?;
        let result = match self.text("op").as_str() {
            "create" => {
                let list = match self.value("vals") {
                    Json::Array(items) => items,
                    one => vec![one],
                };
                let list: Result<Vec<Values>, Error> =
                    list.iter().map(|vals| values(&env.schema, &described, vals)).collect();
                let ids = writer.create(&model, list?)?;
                self.changes = writer.finish()?;
                self.name(&ids);
                json!({ "ids": ids })
            }
            "write" => {
                writer.write(&model, &self.ids(), values(&env.schema, &described, &self.value("vals"))?)?;
                self.changes = writer.finish()?;
                Json::Bool(true)
            }
            "unlink" => {
                writer.unlink(&model, &self.ids())?;
                self.changes = writer.finish()?;
                Json::Bool(true)
            }
            "copy" => {
                let default = match self.value("default") {
                    Json::Null => Values::default(),
                    default => values(&env.schema, &described, &default)?,
                };
                let copies = writer.copy(&model, &self.ids(), &default)?;
                self.changes = writer.finish()?;
                self.name(&copies);
                json!({ "ids": copies })
            }
            "name_create" => {
                let id = writer.name_create(&model, &self.text("name"))?;
                self.changes = writer.finish()?;
                let names = query::names::display_names(self.conn, &env, &model, &[id])?;
                json!([id, names.get(&id)])
            }
            "default_get" => {
                let fields: Vec<String> = serde_json::from_value(self.value("fields")).unwrap_or_default();
                let defaults = writer.default_get(&model, &fields)?;
                odoo::object(&env.schema, &described, &defaults)
            }
            "read" => self.read(&env, &described)?,
            "search" => {
                let domain = Domain::from_json(&self.resolve(&self.value("domain")))?;
                json!(query::search(self.conn, &env, &model, &domain, &Page::default())?)
            }
            "call" => {
                let result = self.call(&mut writer, &described)?;
                self.changes = writer.finish()?;
                result
            }
            other => return Err(Error::invalid("unknown-op", format!("this runner knows no `{other}`"))),
        };
        Ok(result)
    }

    fn context(&self) -> Map<String, Json> {
        let mut context = self.case.get("context").and_then(Json::as_object).cloned().unwrap_or_default();
        context.extend(self.op.get("context").and_then(Json::as_object).cloned().unwrap_or_default());
        context
    }

    fn text(&self, key: &str) -> String {
        self.op.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
    }

    fn value(&self, key: &str) -> Json {
        self.op.get(key).map_or(Json::Null, |value| self.resolve(value))
    }

    fn ids(&self) -> Vec<Id> {
        match self.value("ids") {
            Json::Array(ids) => ids.iter().filter_map(Json::as_u64).filter_map(|id| Id::try_from(id).ok()).collect(),
            one => one.as_u64().and_then(|id| Id::try_from(id).ok()).into_iter().collect(),
        }
    }

    fn name(&mut self, ids: &[Id]) {
        let name = self.text("as");
        if !name.is_empty() {
            self.names.insert(name, ids.to_vec());
        }
    }

    /// `$a` is the record (or the list of records) of an earlier step.
    fn resolve(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => {
                let Some(name) = text.strip_prefix('$') else { return value.clone() };
                let (name, index) =
                    name.split_once('.').map_or((name, None), |(name, index)| (name, index.parse().ok()));
                match (self.names.get(name), index) {
                    (Some(ids), Some(index)) => ids.get::<usize>(index).map_or(Json::Null, |id| json!(id)),
                    (Some(ids), None) => match ids.as_slice() {
                        [id] => json!(id),
                        ids => json!(ids),
                    },
                    (None, _) => value.clone(),
                }
            }
            Json::Array(items) => items.iter().map(|item| self.resolve(item)).collect(),
            Json::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), self.resolve(value))).collect(),
            other => other.clone(),
        }
    }

    fn read(&self, env: &Env, model: &Model) -> Result<Json, Error> {
        let fields: Vec<String> = serde_json::from_value(self.value("fields")).unwrap_or_default();
        let named = self.value("with_names") == Json::Bool(true);
        let rows = query::read::read(self.conn, env, &model.name, &self.ids(), &fields)?;
        let records = rows.into_iter().map(|row| {
            let mut record = Record::from_iter([("id".to_owned(), json!(row.id))]);
            for (name, value) in fields.iter().zip(row.values) {
                let kind = model.fields.get(name).map(|field| field.kind);
                record.insert(name.clone(), odoo::plain(kind, value, named));
            }
            Json::Object(record)
        });
        Ok(records.collect())
    }

    fn call(&mut self, writer: &mut Writer<'_>, model: &Model) -> Result<Json, Error> {
        let mut arguments = self.value("kwargs").as_object().cloned().unwrap_or_default();
        let positional = self.value("args");
        let method = self.text("method");
        let names: &[&str] = match method.as_str() {
            "activity_schedule" => &["act_type_xmlid", "date_deadline", "summary", "note"],
            "message_subscribe" | "message_unsubscribe" => &["partner_ids"],
            "activity_feedback" | "activity_unlink" | "activity_reschedule" => &["act_type_xmlids"],
            "action_feedback" => &["feedback"],
            _ => &[],
        };
        for (name, value) in names.iter().zip(positional.as_array().into_iter().flatten()) {
            arguments.insert((*name).to_owned(), value.clone());
        }
        if self.op.get("html_body") == Some(&Json::Bool(true)) {
            arguments.insert("body_is_html".to_owned(), Json::Bool(true));
        }
        let ids = self.ids();
        let result = methods::call(writer, &model.name, &ids, &method, &Json::Object(arguments).to_string())?;
        let (of, ids) = match (method.as_str(), &result) {
            ("message_post", Json::Number(_)) => ("mail.message", vec![result.clone()]),
            ("_message_log", Json::Array(ids)) => ("mail.message", ids.clone()),
            ("activity_schedule" | "activity_reschedule", Json::Array(ids)) => ("mail.activity", ids.clone()),
            _ => return Ok(result),
        };
        let created: Vec<Id> = ids.iter().filter_map(Json::as_u64).filter_map(|id| Id::try_from(id).ok()).collect();
        self.name(&created);
        Ok(json!({ "__records__": of, "ids": created }))
    }
}

/// What the context says about messages, and its defaults.
fn options(schema: &Schema, model: &Model, context: &Map<String, Json>) -> Result<Options, Error> {
    let mut defaults = Values::default();
    for (key, value) in context {
        if let Some(name) = key.strip_prefix("default_")
            && let Some(field) = model.fields.get(name)
        {
            defaults.insert(name.to_owned(), odoo::input(schema, model, name, field, value)?);
        }
    }
    Ok(Options { defaults, ..Options::from_context(&Json::Object(context.clone())) })
}

fn values(schema: &Schema, model: &Model, json: &Json) -> Result<Values, Error> {
    match json {
        Json::Object(map) => odoo::values(schema, model, map),
        _ => Err(Error::invalid("wrong-type", "values are no object")),
    }
}

/// All stored values, by model and id.
pub(crate) type State = IndexMap<String, IndexMap<Id, Record>>;

/// All stored values.
pub(crate) fn state(conn: &Connection) -> Result<State, Error> {
    let mut set = load::export(conn)?;
    put_in_order(conn, &mut set)?;
    let records = std::mem::take(&mut set.records.records);
    let fields: BTreeMap<Id, String> = {
        let mut statement = conn.prepare("SELECT id, model || '.' || name FROM tb_field").map_err(database)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(database)?;
        rows.collect::<Result<_, _>>().map_err(database)?
    };
    let mut state = State::new();
    for (model, rows) in records {
        let numbers = set.schema.models.get(&model).map(|model| &model.fields);
        let by_id = rows.into_iter().filter_map(|mut record| {
            // The server's answers say 0 for a number that is not set.
            for (name, value) in record.iter_mut().filter(|(_, value)| value.is_null()) {
                *value = match numbers.and_then(|fields| fields.get(name)).map(|field| field.kind) {
                    Some(FieldKind::Integer) => json!(0),
                    Some(FieldKind::Float | FieldKind::Monetary) => json!(0.0),
                    _ => Json::Bool(false),
                };
            }
            let id = record.get("id").and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok())?;
            if model == "mail.tracking.value" {
                let field = record.get("field_id").and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok());
                let name = field.and_then(|id| fields.get(&id)).cloned();
                record.insert("field_id".to_owned(), name.map_or(Json::Bool(false), Json::String));
            }
            Some((id, record))
        });
        state.insert(model.clone(), by_id.collect());
    }
    Ok(state)
}

/// Puts the lists of many2many fields in the order of their model, which the server reads them in.
fn put_in_order(conn: &Connection, set: &mut load::DataSet) -> Result<(), Error> {
    let (schema, rights) = (Arc::new(set.schema.clone()), Arc::new(set.rights.clone()));
    let env = Env::for_user(conn, Arc::clone(&schema), rights, 1, Timestamp::UNIX_EPOCH)?.sudo();
    let all = Page { archived: true, ..Page::default() };
    let mut places: BTreeMap<&str, BTreeMap<u64, usize>> = BTreeMap::new();
    for (name, model) in &schema.models {
        for (field, described) in &model.fields {
            let listed = described.kind == FieldKind::Many2many;
            let known = described.relation.as_deref().filter(|relation| schema.models.contains_key(*relation));
            let Some(relation) = known.filter(|_| listed) else {
                continue;
            };
            if !places.contains_key(relation) {
                let ids = query::search(conn, &env, relation, &Domain::Always, &all)?;
                places.insert(relation, ids.into_iter().map(u64::from).zip(0..).collect());
            }
            let place = |id: &Json| places.get(relation)?.get(&id.as_u64()?).copied();
            for record in set.records.records.get_mut(name).into_iter().flatten() {
                if let Some(Json::Array(ids)) = record.get_mut(field) {
                    ids.sort_by_key(place);
                }
            }
        }
    }
    Ok(())
}

fn database(error: rusqlite::Error) -> Error {
    Error::invalid("database", error.to_string())
}

/// What is created, deleted and changed, in the oracle's form.
pub(crate) fn difference(schema: &Schema, before: &State, after: &State) -> Json {
    let mut diff = Map::new();
    let none = IndexMap::new();
    for model in schema.models.values() {
        let (old, new) = (before.get(&model.name).unwrap_or(&none), after.get(&model.name).unwrap_or(&none));
        let (mut created, mut changed, mut deleted) = (Map::new(), Map::new(), Vec::new());
        for (id, record) in new {
            match old.get(id) {
                None => {
                    let filled = record.iter().filter(|(name, value)| *name != "id" && !is_empty(value));
                    created.insert(id.to_string(), filled.map(|(name, value)| (name.clone(), value.clone())).collect());
                }
                Some(was) if was != record => {
                    let fields =
                        record.iter().filter(|(name, value)| !same(was.get(*name).unwrap_or(&Json::Null), value));
                    let fields: Map<String, Json> =
                        fields.map(|(name, value)| (name.clone(), json!([was.get(name), value]))).collect();
                    if !fields.is_empty() {
                        changed.insert(id.to_string(), Json::Object(fields));
                    }
                }
                Some(_) => {}
            }
        }
        deleted.extend(old.keys().filter(|id| !new.contains_key(*id)).map(|id| json!(id)));
        let mut of_model = Map::new();
        if !created.is_empty() {
            of_model.insert("created".to_owned(), Json::Object(created));
        }
        if !deleted.is_empty() {
            of_model.insert("deleted".to_owned(), Json::Array(deleted));
        }
        if !changed.is_empty() {
            of_model.insert("changed".to_owned(), Json::Object(changed));
        }
        if !of_model.is_empty() {
            diff.insert(model.name.clone(), Json::Object(of_model));
        }
    }
    Json::Object(diff)
}

/// As the oracle's `created` leaves out: no value, zero, an empty list; but not an empty text.
fn is_empty(value: &Json) -> bool {
    match value {
        Json::Bool(flag) => !flag,
        Json::Number(number) => number.as_f64() == Some(0.0),
        Json::Array(items) => items.is_empty(),
        Json::Null => true,
        _ => false,
    }
}

/// Takes out of a diff what is not compared.
fn forget(schema: &Schema, diff: &mut Json) {
    const LOG: [&str; 4] = ["create_uid", "create_date", "write_uid", "write_date"];
    let Json::Object(models) = diff else { return };
    for (name, parts) in models.iter_mut() {
        let Some(model) = schema.models.get(name) else { continue };
        let compared = |field: &str| {
            let random_colour =
                field == "color" && matches!(name.as_str(), "crm.tag" | "res.partner.category" | "project.tags");
            !LOG.contains(&field) && !random_colour && model.fields.get(field).is_some_and(is_data)
        };
        for part in ["created", "changed"] {
            let Some(Json::Object(records)) = parts.get_mut(part) else { continue };
            for record in records.values_mut() {
                if let Json::Object(fields) = record {
                    fields.retain(|field, _| compared(field));
                }
            }
            if part == "changed" {
                records.retain(|_, record| record.as_object().is_some_and(|fields| !fields.is_empty()));
            }
        }
        if let Json::Object(parts) = parts {
            parts.retain(|_, part| part.as_object().is_none_or(|records| !records.is_empty()));
        }
    }
    models.retain(|_, parts| parts.as_object().is_some_and(|parts| !parts.is_empty()));
}

/// A stored field that is nobody's mirror: neither computed by the server, nor the other side of a relation.
fn is_data(field: &Field) -> bool {
    let mirror = field.kind == FieldKind::One2many || (field.kind == FieldKind::Many2many && !field.copy);
    field.store && !field.computed && !mirror
}

/// Messages whose text comes from a mail template; their words are taken out.
fn rendered(diff: &mut Json) -> Vec<String> {
    let mut templates = Vec::new();
    if let Some(Json::Object(messages)) = diff.pointer_mut("/mail.message/created") {
        for (id, message) in messages {
            let Json::Object(fields) = message else { continue };
            let body = fields.get("body").and_then(Json::as_str).unwrap_or_default();
            if body.contains("rendered mail template") {
                templates.push(id.clone());
                fields.shift_remove("body");
                if fields.get("message_type").and_then(Json::as_str) == Some("user_notification") {
                    fields.shift_remove("subject");
                }
            }
        }
    }
    templates
}

fn blank(diff: &mut Json, templates: &[String]) {
    for id in templates {
        if let Some(Json::Object(fields)) = diff.pointer_mut(&format!("/mail.message/created/{id}")) {
            fields.shift_remove("body");
            if fields.get("message_type").and_then(Json::as_str) == Some("user_notification") {
                fields.shift_remove("subject");
            }
        }
    }
}

/// Same JSON, numbers by value.
fn same(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(a), Json::Number(b)) => a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        _ => one == other,
    }
}

/// Two objects without what they have in common, for showing.
fn without_common(one: &Json, other: &Json) -> (Json, Json) {
    match (one, other) {
        (Json::Object(a), Json::Object(b)) => {
            let (mut left, mut right) = (Map::new(), Map::new());
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) if same(a, b) => {}
                    (Some(a), Some(b)) => {
                        let (a, b) = without_common(a, b);
                        left.insert(key.clone(), a);
                        right.insert(key.clone(), b);
                    }
                    (a, b) => {
                        left.extend(a.map(|value| (key.clone(), value.clone())));
                        right.extend(b.map(|value| (key.clone(), value.clone())));
                    }
                }
            }
            (Json::Object(left), Json::Object(right))
        }
        _ => (one.clone(), other.clone()),
    }
}
