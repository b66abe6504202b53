//! The models, rights and first records that come with the program, from the TOML files in `models/`.

use indexmap::IndexMap;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value as Json;
use triggerbox_model::{
    error::Error,
    schema::{ByName, Constraint, DefaultValue, Field, FieldKind, Model, Schema},
    value::Id,
};

use crate::{
    load::{DataSet, Records, RightsData},
    rights::{Access, Rule},
};

/// The version of the models below. To be raised with every change of them: a database with an older version is brought
/// to this one when it is opened for writing.
pub const VERSION: u32 = 4;

/// One file for each application.
const MODELS: [(&str, &str); 5] = [
    ("base.toml", include_str!("../models/base.toml")),
    ("mail.toml", include_str!("../models/mail.toml")),
    ("crm.toml", include_str!("../models/crm.toml")),
    ("sale.toml", include_str!("../models/sale.toml")),
    ("project.toml", include_str!("../models/project.toml")),
];

/// Fields that every model with log-access has: who made and changed a record, and when.
const LOG_FIELDS: &str = r#"
create_uid = { type = "many2one", string = "Created by", relation = "res.users", ondelete = "set null", copy = false, readonly = true }
create_date = { type = "datetime", string = "Created on", copy = false, readonly = true }
write_uid = { type = "many2one", string = "Last Updated by", relation = "res.users", ondelete = "set null", copy = false, readonly = true }
write_date = { type = "datetime", string = "Last Updated on", copy = false, readonly = true }
"#;

/// The models that come with the program.
///
/// # Errors
/// `bad-file`, naming the file and the place in it: the files are compiled in, and a test reads them.
pub fn schema() -> Result<Schema, Error> {
    let log_fields: ByName<Field> = parse("log fields", LOG_FIELDS)?;
    let mut models: ByName<Model> = ByName::default();
    for (file, text) in MODELS {
        let of_file: ByName<Model> = parse(file, text)?;
        models.extend(of_file);
    }
    for model in models.values_mut().filter(|model| model.log_access) {
        for (name, field) in &log_fields {
            model.fields.insert(name.clone(), field.clone());
        }
    }
    Ok(Schema::new(models))
}

/// Models, rights and the records that every database begins with: a company, its users, and what the chatter needs.
///
/// # Errors
/// As [`schema`].
pub fn base() -> Result<DataSet, Error> {
    let mut records: Records = parse("base_data.toml", include_str!("../models/base_data.toml"))?;
    let schema = schema()?;
    // Tracking values refer to fields by number.
    let tracked = schema.models.values().flat_map(|model| {
        model
            .fields
            .iter()
            .filter(|(_, field)| field.tracking.is_some())
            .map(|(name, _)| (model.name.clone(), name.clone()))
    });
    records.field_ids = tracked.enumerate().map(|(index, field)| ((index + 1).to_string(), field)).collect();
    let rights = rights(&records)?;
    Ok(DataSet { models_version: Some(VERSION), ..DataSet::new(schema, records, rights)? })
}

/// What `odoo.toml` tells of one model.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Known {
    chatter: bool,
    defaults: IndexMap<String, DefaultValue>,
    constraints: Vec<Constraint>,
    /// Fields whose records must be of the same company.
    same_company: Vec<String>,
    /// Digits after the point of floats whose precision Odoo keeps apart from the field.
    decimals: IndexMap<String, u8>,
}

/// Adds to a schema that was exported from Odoo what such an export does not tell: which standard models have a chatter,
/// and their defaults and constraints. What the schema says itself stays.
///
/// # Errors
/// As [`schema`].
pub fn complete(schema: &mut Schema) -> Result<(), Error> {
    let known: IndexMap<String, Known> = parse("odoo.toml", include_str!("../models/odoo.toml"))?;
    for model in schema.models.values_mut() {
        model.chatter |= model.fields.contains_key("message_ids");
    }
    for (name, known) in known {
        let Some(model) = schema.models.get_mut(&name) else { continue };
        model.chatter |= known.chatter;
        for (field, default) in known.defaults {
            if let Some(field) = model.fields.get_mut(&field).filter(|field| field.default.is_none()) {
                field.default = Some(default);
            }
        }
        for (name, decimals) in known.decimals {
            if let Some(field) = model.fields.get_mut(&name).filter(|field| field.kind == FieldKind::Float) {
                field.digits.get_or_insert((16, decimals));
            }
        }
        for name in &known.same_company {
            if let Some(field) = model.fields.get_mut(name) {
                field.check_company = true;
            }
        }
        if model.constraints.is_empty() {
            let has = |fields: &[String]| fields.iter().all(|field| model.fields.contains_key(field));
            model.constraints = known
                .constraints
                .into_iter()
                .filter(|constraint| !matches!(constraint, Constraint::Unique { fields, .. } if !has(fields)))
                .collect();
        }
    }
    Ok(())
}

/// The rights file: shorter than Odoo's own records.
#[derive(Deserialize)]
struct RightsFile {
    access: Vec<ShortAccess>,
    rules: Vec<ShortRule>,
}

#[derive(Deserialize)]
struct ShortAccess {
    model: String,
    group: Id,
    may: String,
}

#[derive(Deserialize)]
struct ShortRule {
    name: String,
    model: String,
    groups: Vec<Id>,
    domain: String,
}

fn rights(records: &Records) -> Result<RightsData, Error> {
    let file: RightsFile = parse("rights.toml", include_str!("../models/rights.toml"))?;
    // Refusals name the access right that would have sufficed, so its name says whose it is.
    let group_name = |id: Id| {
        let mut groups = records.records.get("res.groups").into_iter().flatten();
        groups.find(|group| group.get("id").and_then(Json::as_u64) == Some(u64::from(id)))?.get("name")?.as_str()
    };
    let access = file.access.into_iter().zip(1..).map(|(short, id)| {
        let may = |letter| short.may.contains(letter);
        Access {
            id,
            name: format!("{} for {}", short.model, group_name(short.group).unwrap_or("nobody")),
            group_id: Some(short.group),
            active: true,
            perm_read: may('r'),
            perm_write: may('w'),
            perm_create: may('c'),
            perm_unlink: may('d'),
            model: short.model,
        }
    });
    let rules = file.rules.into_iter().zip(1..).map(|(short, id)| Rule {
        id,
        name: short.name,
        model: short.model,
        domain: short.domain,
        groups: short.groups,
        active: true,
        perm_read: true,
        perm_write: true,
        perm_create: true,
        perm_unlink: true,
    });
    Ok(RightsData { access: access.collect(), rules: rules.collect(), ..RightsData::default() })
}

/// Reads one of the TOML files that are compiled in.
pub(crate) fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Error> {
    toml::from_str(text).map_err(|error| Error::rejected("bad-file", format!("{file}: {error}")))
}
