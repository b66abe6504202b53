//! A data set into an empty database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, params, params_from_iter, types::Value as Sql};
use triggerbox_model::{
    error::Error,
    schema::{FieldKind, Model},
    value::Id,
};

use super::{DataSet, RECORDS_FILE, Record, Records, Translation, to_sql};
use crate::db::fault;
use crate::ddl::{self, PARENT_PATH, quote, set_meta, table, translations_column};

/// Makes the tables of a data set and fills them. All or nothing.
///
/// # Errors
/// `bad-data` with file, model, id and field of the first value that does not fit; what the database says.
pub fn import(conn: &Connection, data: &DataSet) -> Result<(), Error> {
    conn.execute_batch("SAVEPOINT import").map_err(fault)?;
    let done = fill(conn, data);
    let end = if done.is_ok() { "RELEASE import" } else { "ROLLBACK TO import; RELEASE import" };
    conn.execute_batch(end).map_err(fault)?;
    done
}

fn fill(conn: &Connection, data: &DataSet) -> Result<(), Error> {
    ddl::create(conn, &data.schema, &data.rights).map_err(fault)?;
    if let Some(version) = data.models_version {
        set_meta(conn, ddl::VERSION, &version).map_err(fault)?;
    }
    let records = &data.records;
    set_meta(conn, "languages", &records.langs).map_err(fault)?;
    set_meta(conn, "language", &records.lang_default).map_err(fault)?;
    if let Some(now) = &records.now {
        set_meta(conn, "exported_at", now).map_err(fault)?;
    }
    for name in records.records.keys() {
        if !data.schema.models.contains_key(name) {
            return Err(bad(format!("has records of `{name}`, which is not in the schema")));
        }
    }
    for model in data.schema.models.values() {
        let rows = records.records.get(&model.name).map_or(&[][..], Vec::as_slice);
        let ids = model_records(conn, model, rows, records)?;
        pairs(conn, model, rows)?;
        if model.parent_store {
            keep_paths(conn, model)?;
        }
        let next = ids.last().map_or(1, |last| i64::from(*last) + 1);
        let next = next.max(records.next_ids.get(&model.name).copied().unwrap_or(0).into());
        conn.execute("INSERT INTO tb_sequence (name, next) VALUES (?1, ?2)", params![model.name, next])
            .map_err(fault)?;
    }
    for (model, sequence) in &records.number_sequences {
        let values = params![model, sequence.prefix, sequence.padding, sequence.next];
        conn.execute("INSERT INTO tb_numbering VALUES (?1, ?2, ?3, ?4)", values).map_err(fault)?;
    }
    for (model, ids) in &records.xmlids {
        for (xmlid, id) in ids {
            conn.execute("INSERT INTO tb_xmlid VALUES (?1, ?2, ?3)", params![xmlid, model, id]).map_err(fault)?;
        }
    }
    for (id, (model, name)) in &records.field_ids {
        let id: Id = id.parse().map_err(|_| bad(format!("field_ids: `{id}` is no id")))?;
        conn.execute("INSERT INTO tb_field VALUES (?1, ?2, ?3)", params![id, model, name]).map_err(fault)?;
    }
    Ok(())
}

/// Inserts the rows of one model; gives back their ids.
fn model_records(conn: &Connection, model: &Model, rows: &[Record], all: &Records) -> Result<BTreeSet<Id>, Error> {
    let fields: Vec<_> = model.fields.iter().filter(|(_, field)| field.has_column()).collect();
    let mut columns = vec!["id".to_owned()];
    for (name, field) in &fields {
        columns.push((*name).clone());
        if field.translate {
            columns.push(translations_column(name));
        }
    }
    let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
    let marks = vec!["?"; columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quote(&table(&model.name)), names.join(", "));
    let mut statement = conn.prepare(&sql).map_err(fault)?;
    let translations = all.translations.get(&model.name);
    let mut ids = BTreeSet::new();
    for row in rows {
        let id = record_id(model, row)?;
        if !ids.insert(id) {
            return Err(bad(format!("{} {id}: is there twice", model.name)));
        }
        let unknown = row
            .keys()
            .find(|name| !matches!(name.as_str(), "id" | "display_name") && !model.fields.contains_key(*name));
        if let Some(name) = unknown {
            return Err(bad(format!("{} {id}: has a value for `{name}`, which is not in the schema", model.name))
                .with_field(name));
        }
        let texts = translations.and_then(|by_id| by_id.get(&id.to_string()));
        let mut values = vec![Sql::Integer(i64::from(id))];
        for (name, field) in &fields {
            let value = row.get(*name).unwrap_or(&serde_json::Value::Null);
            values.push(to_sql(field, value).map_err(|why| misfit(model, id, name, &why))?);
            if field.translate {
                let text = texts.and_then(|by_field| by_field.get(*name));
                values.push(text.map_or(Ok(Sql::Null), |text| other_languages(text, all))?);
            }
        }
        statement.execute(params_from_iter(values)).map_err(|error| match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::ConstraintViolation) => bad(format!("{} {id}: {error}", model.name)),
            _ => fault(error),
        })?;
    }
    Ok(ids)
}

/// The JSON object of the column beside a translated field.
fn other_languages(text: &Translation, all: &Records) -> Result<Sql, Error> {
    let texts: BTreeMap<&str, &str> = match text {
        Translation::Many(texts) => texts.iter().map(|(lang, text)| (lang.as_str(), text.as_str())).collect(),
        Translation::One(text) => {
            let mut others = all.langs.iter().filter(|lang| lang.code != all.lang_default);
            let (Some(only), None) = (others.next(), others.next()) else {
                return Err(bad(
                    "translations do not say their language, and there is not exactly one besides the main one"
                        .to_owned(),
                ));
            };
            BTreeMap::from([(only.code.as_str(), text.as_str())])
        }
    };
    let json = serde_json::to_string(&texts).map_err(|error| bad(error.to_string()))?;
    Ok(Sql::Text(json))
}

/// Inserts the pairs of the many2many fields of one model. The other side may name the same pairs again.
fn pairs(conn: &Connection, model: &Model, rows: &[Record]) -> Result<(), Error> {
    for (name, field) in &model.fields {
        let (FieldKind::Many2many, true, Some(pairs)) = (field.kind, field.store, &field.m2m) else { continue };
        let (one, two) = (quote(&pairs.column1), quote(&pairs.column2));
        let sql = format!("INSERT OR IGNORE INTO {} ({one}, {two}) VALUES (?1, ?2)", quote(&pairs.table));
        let mut statement = conn.prepare(&sql).map_err(fault)?;
        for row in rows {
            let id = record_id(model, row)?;
            let ids: Vec<Id> = match row.get(name) {
                None | Some(serde_json::Value::Null | serde_json::Value::Bool(false)) => continue,
                Some(value) => serde_json::from_value(value.clone())
                    .map_err(|_| misfit(model, id, name, &format!("expected a list of ids, found {value}")))?,
            };
            for other in ids {
                statement.execute([id, other]).map_err(fault)?;
            }
        }
    }
    Ok(())
}

/// Computes the hierarchy's paths from the parents: `1/5/`.
pub(crate) fn keep_paths(conn: &Connection, model: &Model) -> Result<(), Error> {
    let own = quote(&table(&model.name));
    let parent = if model.parent().is_some() { quote(&model.parent_name) } else { "NULL".to_owned() };
    let mut statement = conn.prepare(&format!("SELECT \"id\", {parent} FROM {own}")).map_err(fault)?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(fault)?;
    let parents: HashMap<Id, Option<Id>> = rows.collect::<Result<_, _>>().map_err(fault)?;
    let sql = format!("UPDATE {own} SET {} = ?2 WHERE \"id\" = ?1", quote(PARENT_PATH));
    let mut update = conn.prepare(&sql).map_err(fault)?;
    for &id in parents.keys() {
        let mut path = vec![id];
        let mut at = id;
        while let Some(Some(up)) = parents.get(&at) {
            if path.contains(up) {
                let why = "the record is above itself in the hierarchy";
                return Err(misfit(model, id, &model.parent_name, why));
            }
            path.push(*up);
            at = *up;
        }
        let path: String = path.iter().rev().map(|id| format!("{id}/")).collect();
        update.execute(params![id, path]).map_err(fault)?;
    }
    Ok(())
}

fn record_id(model: &Model, row: &Record) -> Result<Id, Error> {
    let id = row.get("id").and_then(serde_json::Value::as_u64).filter(|id| (1..=i32::MAX as u64).contains(id));
    id.and_then(|id| Id::try_from(id).ok()).ok_or_else(|| {
        let found = row.get("id").map_or_else(|| "none".to_owned(), ToString::to_string);
        bad(format!("{}: a record has no id from 1 to 2147483647, but {found}", model.name))
    })
}

fn misfit(model: &Model, id: Id, field: &str, why: &str) -> Error {
    bad(format!("{} {id}: field `{field}`: {why}", model.name)).with_field(field)
}

fn bad(message: String) -> Error {
    Error::rejected("bad-data", format!("{RECORDS_FILE}: {message}"))
}
