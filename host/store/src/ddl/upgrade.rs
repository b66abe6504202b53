//! Bringing the tables of a database to a newer schema.
//!
//! Versions of a schema are numbers that only grow. What is new is added; what is gone stays in the database, unseen, but for
//! what kept values unique; a field that changes what its column holds is refused, for that needs somebody who knows how to convert it.

use rusqlite::Connection;
use sha2::{Digest, Sha256};
use triggerbox_model::{
    error::Error,
    schema::{DefaultValue, Field, Model, Schema},
};

use super::{
    PARENT_PATH, UNIQUE, column_type, describe, index_name, indexes, meta, model_table, quote, relation_tables,
    set_meta, table, translations_column, unique,
};
use crate::{
    db::fault,
    load::{keep_paths, to_sql},
    rights::Rights,
};

/// Entry of `tb_meta` with the version of the schema.
pub const VERSION: &str = "schema_version";

/// What an upgrade did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upgrade {
    /// Models that were added.
    pub models: Vec<String>,
    /// Fields that were added to models, as `model.field`.
    pub fields: Vec<String>,
    /// Models and fields that the new schema does not have; their data are kept.
    pub left: Vec<String>,
}

/// A schema's content as a short text: the same for the same schema, on every machine.
///
/// # Errors
/// Never for a schema that was read from JSON or TOML.
pub fn fingerprint(schema: &Schema) -> Result<String, Error> {
    let text = serde_json::to_vec(schema).map_err(|error| Error::rejected("bad-schema", error.to_string()))?;
    Ok(Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Brings a database to a version of a schema. All or nothing.
///
/// # Errors
/// `newer-schema`: the database has a later version, and is left alone. `changed-schema`: the schema differs, but its
/// version does not. `incompatible-schema`, naming the fields whose columns would hold something else; what the database
/// says, for instance when records break a unique constraint that is new.
pub fn upgrade(conn: &Connection, schema: &Schema, rights: &Rights, version: u32) -> Result<Upgrade, Error> {
    let found: u32 = meta(conn, VERSION).map_err(fault)?.unwrap_or(0);
    if found > version {
        let message = format!(
            "the database has version {found} of its models, this program knows version {version}; use the newer program"
        );
        return Err(Error::rejected("newer-schema", message));
    }
    let (old, old_rights) = describe(conn).map_err(fault)?;
    if old == *schema && old_rights == *rights && found == version {
        return Ok(Upgrade::default());
    }
    if found == version && old != *schema {
        let message = format!("the models differ from those in the database, but both are version {version}; raise it");
        return Err(Error::rejected("changed-schema", message));
    }
    check_compatible(&old, schema)?;
    conn.execute_batch("SAVEPOINT schema_upgrade").map_err(fault)?;
    let done = apply(conn, &old, schema, rights, version);
    let end =
        if done.is_ok() { "RELEASE schema_upgrade" } else { "ROLLBACK TO schema_upgrade; RELEASE schema_upgrade" };
    conn.execute_batch(end).map_err(fault)?;
    done
}

/// Columns keep what they hold: numbers stay numbers of their kind, texts texts, many2one fields point to the same model.
fn check_compatible(old: &Schema, new: &Schema) -> Result<(), Error> {
    let mut problems = Vec::new();
    for model in new.models.values() {
        let Some(before) = old.models.get(&model.name) else { continue };
        for (name, field) in &model.fields {
            let Some(was) = before.fields.get(name) else { continue };
            let moved = field.kind.is_relational() && was.store && field.store && field.relation != was.relation;
            let both = column_type(was).zip(column_type(field));
            if moved || (was.m2m != field.m2m && was.store) || both.is_some_and(|(was, is)| was != is) {
                problems.push(format!("{}.{name} ({} before, {} now)", model.name, was.kind.name(), field.kind.name()));
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let message =
        format!("these fields would hold something else: {}; give the new ones new names", problems.join(", "));
    Err(Error::rejected("incompatible-schema", message))
}

fn apply(conn: &Connection, old: &Schema, new: &Schema, rights: &Rights, version: u32) -> Result<Upgrade, Error> {
    let run = |sql: &str| conn.execute(sql, []).map(drop).map_err(fault);
    let mut done = Upgrade::default();
    for model in new.models.values() {
        match old.models.get(&model.name) {
            None => {
                run(&model_table(model).replacen("CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1))?;
                conn.execute("INSERT OR IGNORE INTO tb_sequence (name, next) VALUES (?1, 1)", [&model.name])
                    .map_err(fault)?;
                done.models.push(model.name.clone());
            }
            Some(before) => {
                add_columns(conn, before, model, &mut done)?;
                drop_unique(conn, model).map_err(fault)?;
            }
        }
        for sql in indexes(new, model) {
            run(&if_not_exists(&sql))?;
        }
    }
    for sql in relation_tables(new) {
        run(&if_not_exists(&sql))?;
    }
    for model in old.models.values() {
        match new.models.get(&model.name) {
            None => done.left.push(model.name.clone()),
            Some(now) => {
                let gone = model.fields.keys().filter(|name| !now.fields.contains_key(*name));
                done.left.extend(gone.map(|name| format!("{}.{name}", model.name)));
            }
        }
    }
    set_meta(conn, "schema", new).map_err(fault)?;
    set_meta(conn, "rights", rights).map_err(fault)?;
    set_meta(conn, VERSION, &version).map_err(fault)?;
    Ok(done)
}

/// Makes the indexes of a schema that its database does not have.
///
/// # Errors
/// What the database says.
pub fn add_indexes(conn: &Connection, schema: &Schema) -> rusqlite::Result<()> {
    for model in schema.models.values() {
        for sql in indexes(schema, model) {
            conn.execute(&if_not_exists(&sql), [])?;
        }
    }
    Ok(())
}

fn if_not_exists(sql: &str) -> String {
    sql.replacen("INDEX ", "INDEX IF NOT EXISTS ", 1).replacen("CREATE TABLE ", "CREATE TABLE IF NOT EXISTS ", 1)
}

fn add_columns(conn: &Connection, before: &Model, model: &Model, done: &mut Upgrade) -> Result<(), Error> {
    let own = quote(&table(&model.name));
    let add = |column: &str, sql_type: &str| -> Result<bool, Error> {
        let there = conn.column_exists(None, table(&model.name).as_str(), column).map_err(fault)?;
        if !there {
            conn.execute(&format!("ALTER TABLE {own} ADD COLUMN {} {sql_type}", quote(column)), []).map_err(fault)?;
        }
        Ok(!there)
    };
    for (name, field) in &model.fields {
        let Some(sql_type) = column_type(field) else { continue };
        if add(name, sql_type)? {
            fill(conn, &own, name, field)?;
            done.fields.push(format!("{}.{name}", model.name));
        }
        if field.translate {
            add(&translations_column(name), "TEXT")?;
        }
    }
    if model.parent_store && !before.parent_store {
        add(PARENT_PATH, "TEXT")?;
        keep_paths(conn, model)?;
    }
    Ok(())
}

/// What need not be unique any more is kept from being so by no index.
fn drop_unique(conn: &Connection, model: &Model) -> rusqlite::Result<()> {
    let own = table(&model.name);
    let wanted: Vec<String> = unique(model).map(|columns| index_name(&own, &columns, true)).collect();
    let mut statement = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1")?;
    let there: Vec<String> = statement.query_map([&own], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let gone = there.iter().filter(|name| name.ends_with(UNIQUE) && !wanted.contains(name));
    gone.into_iter().try_for_each(|name| conn.execute(&format!("DROP INDEX {}", quote(name)), []).map(drop))
}

/// Records that are there already get the literal default of a new field.
fn fill(conn: &Connection, own: &str, name: &str, field: &Field) -> Result<(), Error> {
    let Some(DefaultValue::Literal(literal)) = field.default.as_ref().map(DefaultValue::value) else { return Ok(()) };
    let value = to_sql(field, literal).map_err(|why| Error::rejected("bad-schema", format!("`{name}`: {why}")))?;
    conn.execute(&format!("UPDATE {own} SET {} = ?1", quote(name)), [value]).map(drop).map_err(fault)
}
