//! A database as a data set.

use indexmap::IndexMap;
use rusqlite::{Connection, OptionalExtension};
use serde_json::Value as Json;
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Model},
    value::Id,
};

use super::{DataSet, NumberSequence, Record, Records, Translation, from_sql};
use crate::db::fault;
use crate::ddl::{self, quote, table, translations_column};

/// Reads everything. The caller holds a snapshot if others write meanwhile.
///
/// # Errors
/// What the database says; `bad-data` for a column that does not hold what its field says.
pub fn export(conn: &Connection) -> Result<DataSet, Error> {
    let (schema, rights) = ddl::describe(conn).map_err(fault)?;
    let mut records = Records {
        now: ddl::meta(conn, "exported_at").map_err(fault)?,
        lang_default: ddl::meta(conn, "language").map_err(fault)?.unwrap_or_else(super::english),
        langs: ddl::meta(conn, "languages").map_err(fault)?.unwrap_or_default(),
        ..Records::default()
    };
    for model in schema.models.values() {
        let rows = model_records(conn, model, &mut records)?;
        if let Some(next) = next_id(conn, model).map_err(fault)? {
            records.next_ids.insert(model.name.clone(), next);
        }
        records.records.insert(model.name.clone(), rows);
    }
    own_tables(conn, &mut records).map_err(fault)?;
    Ok(DataSet { schema, records, rights, models_version: None })
}

/// The next id of a model, unless it is the one after the last record.
fn next_id(conn: &Connection, model: &Model) -> rusqlite::Result<Option<Id>> {
    let sql = format!(
        "SELECT next FROM tb_sequence WHERE name = ?1 AND next > (SELECT coalesce(max(id), 0) + 1 FROM {})",
        quote(&table(&model.name))
    );
    conn.query_row(&sql, [&model.name], |row| row.get(0)).optional()
}

fn own_tables(conn: &Connection, records: &mut Records) -> rusqlite::Result<()> {
    let mut statement = conn.prepare("SELECT model, prefix, padding, next FROM tb_numbering ORDER BY model")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let sequence = NumberSequence { prefix: row.get(1)?, padding: row.get(2)?, next: row.get(3)? };
        records.number_sequences.insert(row.get(0)?, sequence);
    }
    let mut statement = conn.prepare("SELECT model, xmlid, id FROM tb_xmlid ORDER BY model, xmlid")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        records.xmlids.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
    }
    let mut statement = conn.prepare("SELECT id, model, name FROM tb_field ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let id: Id = row.get(0)?;
        records.field_ids.insert(id.to_string(), (row.get(1)?, row.get(2)?));
    }
    Ok(())
}

fn model_records(conn: &Connection, model: &Model, all: &mut Records) -> Result<Vec<Record>, Error> {
    let fields: Vec<(&String, &Field)> = model.fields.iter().filter(|(_, field)| field.has_column()).collect();
    let mut columns = vec![quote("id")];
    for (name, field) in &fields {
        columns.push(quote(name));
        if field.translate {
            columns.push(quote(&translations_column(name)));
        }
    }
    let sql = format!("SELECT {} FROM {} ORDER BY \"id\"", columns.join(", "), quote(&table(&model.name)));
    let mut statement = conn.prepare(&sql).map_err(fault)?;
    let mut rows = statement.query([]).map_err(fault)?;
    let mut relations = Relations::of(model);
    let mut records = Vec::new();
    let languages = all.langs.len();
    while let Some(row) = rows.next().map_err(fault)? {
        let id: Id = row.get(0).map_err(fault)?;
        let bad = |field: &str, why: String| {
            Error::rejected("bad-data", format!("{} {id}: field `{field}`: {why}", model.name)).with_field(field)
        };
        let mut values = IndexMap::new();
        let mut column = 1;
        for (name, field) in &fields {
            let value = row.get_ref(column).map_err(fault)?;
            values.insert(name.as_str(), from_sql(field, value).map_err(|why| bad(name, why))?);
            column += 1;
            if field.translate {
                if let Some(text) = row.get::<_, Option<String>>(column).map_err(fault)? {
                    let texts: IndexMap<String, String> =
                        serde_json::from_str(&text).map_err(|error| bad(name, error.to_string()))?;
                    let by_id = all.translations.entry(model.name.clone()).or_default();
                    by_id.entry(id.to_string()).or_default().insert((*name).clone(), as_written(texts, languages));
                }
                column += 1;
            }
        }
        let mut record = Record::new();
        record.insert("id".to_owned(), Json::from(id));
        for name in model.fields.keys() {
            if let Some(value) = values.swap_remove(name.as_str()) {
                record.insert(name.clone(), value);
            } else if let Some(ids) = relations.ids(conn, name, id)? {
                record.insert(name.clone(), Json::from(ids));
            }
        }
        records.push(record);
    }
    Ok(records)
}

/// With two languages in all, a translation is a plain text, as it came.
fn as_written(mut texts: IndexMap<String, String>, languages: usize) -> Translation {
    match (texts.len(), languages) {
        (1, 2) => texts.pop().map_or(Translation::Many(texts), |(_, text)| Translation::One(text)),
        _ => Translation::Many(texts),
    }
}

/// The queries for the many2many fields of a model. (A one2many is the other side of what is exported anyway.)
struct Relations(IndexMap<String, String>);

impl Relations {
    fn of(model: &Model) -> Self {
        let stored = model.fields.iter().filter(|(_, field)| field.kind == FieldKind::Many2many && field.store);
        let query = |(name, field): (&String, &Field)| {
            let pairs = field.m2m.as_ref()?;
            let (own, other) = (quote(&pairs.column1), quote(&pairs.column2));
            Some((
                name.clone(),
                format!("SELECT {other} FROM {} WHERE {own} = ?1 ORDER BY {other}", quote(&pairs.table)),
            ))
        };
        Self(stored.filter_map(query).collect())
    }

    fn ids(&mut self, conn: &Connection, field: &str, id: Id) -> Result<Option<Vec<Id>>, Error> {
        let Some(sql) = self.0.get(field) else { return Ok(None) };
        let mut statement = conn.prepare_cached(sql).map_err(fault)?;
        let ids =
            statement.query_map([id], |row| row.get(0)).map_err(fault)?.collect::<Result<_, _>>().map_err(fault)?;
        Ok(Some(ids))
    }
}
