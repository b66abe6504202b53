//! The records that a scenario begins with: a database of its own, in memory.

use std::fs;

use jiff::Timestamp;
use serde_json::Value as Json;
use toml::Value;
use triggerbox_model::schema::{ByName, Model, Schema};
use triggerbox_store::{db::Database, load::Record, models, rights::Access};

use super::{BadScenario, ScenarioFile};

/// When scenarios take place that do not say when.
const NOW: &str = "2026-01-15T09:00:00Z";

/// The time of a scenario.
///
/// # Errors
/// It is no time.
pub fn now(file: &ScenarioFile) -> Result<Timestamp, BadScenario> {
    let text = file.scenario.time.as_ref().map_or_else(|| NOW.to_owned(), |time| text(time.get_ref()));
    text.parse().map_err(|_| {
        let span = file.scenario.time.as_ref().map_or(0..0, toml::Spanned::span);
        file.wrong(&span, format!("`{text}` is not a time such as 2026-11-21T10:15:00Z"))
    })
}

/// Makes the database.
///
/// # Errors
/// What is wrong with a model or a record, and where.
pub fn database(file: &ScenarioFile, now: Timestamp) -> Result<Database, BadScenario> {
    let scenario = &file.scenario;
    let made = match scenario.demo {
        true => Database::demo_in_memory(now),
        false => models::base().map_err(|error| file.broken(error)).map(|data| Database::in_memory(&data))?,
    };
    let mut database = made.map_err(|error| file.broken(error))?;
    for path in &scenario.models {
        let wrong = |problem: String| file.wrong(&path.span(), problem);
        let text = fs::read_to_string(file.beside(path.get_ref()))
            .map_err(|error| wrong(format!("`{}` cannot be read: {error}", path.get_ref())))?;
        let more: ByName<Model> = toml::from_str(&text)
            .map_err(|error| wrong(format!("`{}`: {}", path.get_ref(), error.to_string().trim_end())))?;
        database = with_models(&database, more).map_err(wrong)?;
    }
    for (kind, records) in &scenario.given {
        for record in records {
            let wrong = |problem: &dyn std::fmt::Display| file.wrong(&record.span(), problem);
            database.add_written(kind, object(record.get_ref()), now).map_err(|error| wrong(&error))?;
        }
    }
    Ok(database)
}

/// The same records, with models that every internal user may use.
fn with_models(database: &Database, more: ByName<Model>) -> Result<Database, String> {
    let mut data = database.export().map_err(|error| error.to_string())?;
    let group = data.records.xmlids.get("res.groups").and_then(|groups| groups.get("base.group_user")).copied();
    for (name, model) in more {
        let next = data.rights.access.iter().map(|access| access.id).max().unwrap_or_default().saturating_add(1);
        data.rights.access.push(Access {
            id: next,
            name: format!("{name} for every internal user"),
            model: name.clone(),
            group_id: group,
            active: true,
            perm_read: true,
            perm_write: true,
            perm_create: true,
            perm_unlink: true,
        });
        data.schema.models.insert(name, model);
    }
    data.schema = Schema::new(data.schema.models);
    Database::in_memory(&data).map_err(|error| error.to_string())
}

/// A table as a record: dates and times become texts.
#[must_use]
pub fn object(table: &toml::Table) -> Record {
    table.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

/// A value as JSON: dates and times become texts.
#[must_use]
pub fn json(value: &Value) -> Json {
    match value {
        Value::String(text) => Json::from(text.as_str()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Datetime(time) => Json::from(time.to_string()),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => Json::Object(object(table)),
    }
}

/// A single value as a command line gives it.
#[must_use]
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
