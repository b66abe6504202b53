//! Tables and indexes of a schema: how models lie in SQLite.
//!
//! | field | column |
//! |---|---|
//! | boolean, integer, many2one | INTEGER |
//! | float, monetary | REAL |
//! | char, text, html, selection, date, datetime, json | TEXT |
//! | reference | TEXT, `model,id` |
//! | binary | BLOB |
//! | one2many | none |
//! | many2many | none; a table of pairs |
//!
//! NULL is an unset value (false for a boolean). A translated field's column holds the main language; a second
//! column `<field>$i18n` holds the others as a JSON object. No foreign keys: writers enforce `ondelete`.

mod upgrade;

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, types::Type};
use serde::{Serialize, de::DeserializeOwned};
use triggerbox_model::schema::{Constraint, Field, FieldKind, Model, Schema};

pub use self::upgrade::{Upgrade, VERSION, add_indexes, fingerprint, upgrade};
use crate::rights::Rights;

/// Column of a hierarchy's path, `1/5/`.
pub const PARENT_PATH: &str = "parent_path";

/// The table of a model, not quoted.
#[must_use]
pub fn table(model: &str) -> String {
    model.replace('.', "_")
}

/// A name as SQL takes it literally.
#[must_use]
pub fn quote(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    push_quoted(&mut quoted, name);
    quoted
}

/// Adds a name as SQL takes it literally.
pub(crate) fn push_quoted(sql: &mut String, name: &str) {
    sql.push('"');
    for part in name.split_inclusive('"') {
        sql.push_str(part);
        if part.ends_with('"') {
            sql.push('"');
        }
    }
    sql.push('"');
}

/// Adds the table of a model, as SQL takes it.
pub(crate) fn push_table(sql: &mut String, model: &str) {
    push_quoted(sql, &table(model));
}

/// The column beside a translated field that holds the other languages' texts, not quoted.
#[must_use]
pub fn translations_column(field: &str) -> String {
    format!("{field}{TRANSLATIONS}")
}

/// What the name of such a column ends with.
const TRANSLATIONS: &str = "$i18n";

/// The field whose texts in other languages a column holds; none: it holds something else.
pub(crate) fn translated_field(column: &str) -> Option<&str> {
    column.strip_suffix(TRANSLATIONS)
}

/// The SQLite type of a field's column; none: it has no column.
#[must_use]
pub fn column_type(field: &Field) -> Option<&'static str> {
    if !field.has_column() {
        return None;
    }
    Some(match field.kind {
        FieldKind::Boolean | FieldKind::Integer | FieldKind::Many2one => "INTEGER",
        FieldKind::Float | FieldKind::Monetary => "REAL",
        FieldKind::Binary => "BLOB",
        _ => "TEXT",
    })
}

/// The statements that make a schema's tables and indexes, in order.
#[must_use]
pub fn statements(schema: &Schema) -> Vec<String> {
    let mut statements: Vec<String> = OWN_TABLES.iter().map(|&sql| sql.to_owned()).collect();
    for model in schema.models.values() {
        statements.push(model_table(model));
        statements.extend(indexes(schema, model));
    }
    statements.extend(relation_tables(schema));
    statements
}

/// Makes a schema's tables and indexes in an empty database, and keeps its description there.
///
/// # Errors
/// When the database refuses, for instance because tables of that name are there already.
pub fn create(conn: &Connection, schema: &Schema, rights: &Rights) -> rusqlite::Result<()> {
    for sql in statements(schema) {
        conn.execute(&sql, [])?;
    }
    set_meta(conn, "schema", schema)?;
    set_meta(conn, "rights", rights)
}

/// What [`create`] was given.
///
/// # Errors
/// When the database holds no description, or one that cannot be understood.
pub fn describe(conn: &Connection) -> rusqlite::Result<(Schema, Rights)> {
    let missing = || rusqlite::Error::QueryReturnedNoRows;
    let schema = meta(conn, "schema")?.ok_or_else(missing)?;
    let rights = meta(conn, "rights")?.ok_or_else(missing)?;
    Ok((schema, rights))
}

/// Reads one entry of `tb_meta`, kept as JSON.
///
/// # Errors
/// What the database says, or when the entry is not what is expected.
pub fn meta<T: DeserializeOwned>(conn: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let mut statement = conn.prepare_cached("SELECT value FROM tb_meta WHERE key = ?1")?;
    let text: Option<String> = statement.query_row([key], |row| row.get(0)).optional()?;
    let parse = |text: String| {
        serde_json::from_str(&text)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error)))
    };
    text.map(parse).transpose()
}

/// Keeps one entry of `tb_meta`, as JSON.
///
/// # Errors
/// What the database says.
pub fn set_meta<T: Serialize + ?Sized>(conn: &Connection, key: &str, value: &T) -> rusqlite::Result<()> {
    let text =
        serde_json::to_string(value).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    conn.prepare_cached("INSERT OR REPLACE INTO tb_meta (key, value) VALUES (?1, ?2)")?.execute([key, &text])?;
    Ok(())
}

/// Tables of our own.
const OWN_TABLES: [&str; 6] = [
    "CREATE TABLE tb_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    // The next id of each model: an id is never given twice, even after its record is gone.
    "CREATE TABLE tb_sequence (name TEXT PRIMARY KEY, next INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    // Numbers that people read, such as S00045.
    "CREATE TABLE tb_numbering (model TEXT PRIMARY KEY, prefix TEXT NOT NULL, padding INTEGER NOT NULL, next INTEGER NOT NULL) \
     STRICT, WITHOUT ROWID",
    "CREATE TABLE tb_xmlid (xmlid TEXT PRIMARY KEY, model TEXT NOT NULL, id INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    // What rules keep from run to run.
    "CREATE TABLE tb_state (rule TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL, PRIMARY KEY (rule, key)) STRICT, WITHOUT ROWID",
    // Ids of fields, for records that point to fields (tracking values).
    "CREATE TABLE tb_field (id INTEGER PRIMARY KEY, model TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (model, name)) STRICT",
];

fn model_table(model: &Model) -> String {
    let mut columns = vec!["\"id\" INTEGER PRIMARY KEY".to_owned()];
    for (name, field) in &model.fields {
        let Some(sql_type) = column_type(field) else { continue };
        columns.push(format!("{} {sql_type}", quote(name)));
        if field.translate {
            columns.push(format!("{} TEXT", quote(&translations_column(name))));
        }
    }
    if model.parent_store && !model.fields.contains_key(PARENT_PATH) {
        columns.push(format!("{} TEXT", quote(PARENT_PATH)));
    }
    format!("CREATE TABLE {} ({}) STRICT", quote(&table(&model.name)), columns.join(", "))
}

/// Indexes of one model: many2one, declared ones, the other sides of one2many, `(model, res_id)` pairs with their date,
/// the hierarchy's path, and unique constraints as a backstop.
fn indexes(schema: &Schema, model: &Model) -> Vec<String> {
    let mut keys: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (name, field) in &model.fields {
        if field.is_indexed() {
            keys.insert(vec![name]);
        }
    }
    if let Some(column) = model.model_column() {
        // Messages of a record are read from the latest on.
        let date = model.has_column("date").then_some("date");
        keys.insert([column, "res_id"].into_iter().chain(date).collect());
    }
    let points_here = |field: &&Field| field.relation.as_deref() == Some(model.name.as_str());
    for field in schema.models.values().flat_map(|other| other.fields.values()).filter(points_here) {
        if let (FieldKind::One2many, Some(inverse)) = (field.kind, field.relation_field.as_deref())
            && model.has_column(inverse)
            && !(inverse == "res_id" && model.model_column().is_some())
        {
            keys.insert(vec![inverse]);
        }
    }
    if model.parent_store {
        keys.insert(vec![PARENT_PATH]);
    }
    let name = &model.name;
    let plain = keys.into_iter().map(|columns| index(&table(name), &columns, false));
    plain.chain(unique(model).map(|columns| index(&table(name), &columns, true))).collect()
}

/// The fields of each unique constraint of a model.
fn unique(model: &Model) -> impl Iterator<Item = Vec<&str>> {
    model.constraints.iter().filter_map(|constraint| match constraint {
        Constraint::Unique { fields, .. } => Some(fields.iter().map(String::as_str).collect()),
        Constraint::Check { .. } => None,
    })
}

/// How the name of an index ends that keeps values unique.
const UNIQUE: &str = "__unique";

fn index_name(table: &str, columns: &[&str], unique: bool) -> String {
    format!("{table}__{}{}", columns.join("__"), if unique { UNIQUE } else { "__index" })
}

fn index(table: &str, columns: &[&str], unique: bool) -> String {
    let kind = if unique { "UNIQUE INDEX" } else { "INDEX" };
    let name = index_name(table, columns, unique);
    let columns: Vec<String> = columns.iter().map(|&column| quote(column)).collect();
    format!("CREATE {kind} {} ON {} ({})", quote(&name), quote(table), columns.join(", "))
}

/// Tables of pairs. Two many2many fields may share one, each seeing it from its own side.
fn relation_tables(schema: &Schema) -> Vec<String> {
    let mut made = BTreeSet::new();
    let mut statements = Vec::new();
    let stored = schema.models.values().flat_map(|model| model.fields.values()).filter(|field| field.store);
    for pairs in stored.filter_map(|field| field.m2m.as_ref()) {
        if !made.insert(pairs.table.as_str()) {
            continue;
        }
        let (table, one, two) = (quote(&pairs.table), quote(&pairs.column1), quote(&pairs.column2));
        statements.push(format!(
            "CREATE TABLE {table} ({one} INTEGER NOT NULL, {two} INTEGER NOT NULL, PRIMARY KEY ({one}, {two})) \
             STRICT, WITHOUT ROWID"
        ));
        statements.push(index(&pairs.table, &[&pairs.column2, &pairs.column1], false));
    }
    statements
}
