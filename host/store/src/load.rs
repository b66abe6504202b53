//! A whole data set in and out: schema, records with their translations and external ids, and rights, as
//! three JSON files in the form in which they can be had from an Odoo server.
//!
//! | file | what it holds |
//! |---|---|
//! | `schema.json` | models and fields ([`Schema`]) |
//! | `records.json` | records of each model, translations, external ids, languages, number sequences ([`Records`]) |
//! | `rights_data.json` | access rights, record rules, groups that alone see a field ([`RightsData`]) |
//!
//! Values are as Odoo's RPC gives them: `false` for an empty value, a many2one as an id, a date as
//! `2026-06-17`, a datetime as `2026-06-17 13:05:00`, bytes as base64.

mod export;
mod import;
mod value;

use std::{collections::BTreeSet, path::Path};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use triggerbox_model::{
    error::Error,
    schema::{Schema, Severity},
    value::Id,
};

pub(crate) use self::import::keep_paths;
pub use self::{
    export::export,
    import::import,
    value::{from_sql, to_sql},
};
use crate::rights::{Access, Rights, Rule};

/// File of the schema.
pub const SCHEMA_FILE: &str = "schema.json";
/// File of the records.
pub const RECORDS_FILE: &str = "records.json";
/// File of the rights.
pub const RIGHTS_FILE: &str = "rights_data.json";

/// A whole data set.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// The models.
    pub schema: Schema,
    /// Their records.
    pub records: Records,
    /// Who may do what with them.
    pub rights: Rights,
    /// The version of the program's own models, if these are they: only such a database follows when they change.
    pub models_version: Option<u32>,
}

/// Records, and what belongs to them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Records {
    /// When the data was taken, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
    /// Numbers that people read, by model.
    #[serde(default)]
    pub number_sequences: IndexMap<String, NumberSequence>,
    /// The language of the values in `records`.
    #[serde(default = "english")]
    pub lang_default: String,
    /// All languages.
    #[serde(default)]
    pub langs: Vec<Language>,
    /// Texts in other languages, by model, id and field.
    #[serde(default)]
    pub translations: IndexMap<String, IndexMap<String, IndexMap<String, Translation>>>,
    /// External ids, by model.
    #[serde(default)]
    pub xmlids: IndexMap<String, IndexMap<String, Id>>,
    /// Model and name of fields that records point to by id.
    #[serde(default)]
    pub field_ids: IndexMap<String, (String, String)>,
    /// The next id of a model, where ids after its last record were given out already: none is used twice.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub next_ids: IndexMap<String, Id>,
    /// Records by model, in any order.
    #[serde(default)]
    pub records: IndexMap<String, Vec<Record>>,
}

/// One record: its id and values by field.
pub type Record = serde_json::Map<String, serde_json::Value>;

/// Texts in other languages than the main one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Translation {
    /// In the only other language that there is.
    One(String),
    /// By language.
    Many(IndexMap<String, String>),
}

/// Numbers such as S00045.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberSequence {
    /// Before the number.
    #[serde(default)]
    pub prefix: String,
    /// Digits at least.
    #[serde(default)]
    pub padding: u8,
    /// The next number.
    pub next: i64,
}

/// A language that texts are kept in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Language {
    /// `en_US`
    pub code: String,
    /// First day of the week: 1 Monday … 7 Sunday.
    pub week_start: i8,
}

/// The rights file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RightsData {
    /// Access per model and group.
    #[serde(default)]
    pub access: Vec<Access>,
    /// Record rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Groups (external ids, comma-separated) that alone see a field, by model and field.
    #[serde(default)]
    pub field_groups: IndexMap<String, IndexMap<String, String>>,
}

impl DataSet {
    /// Puts the parts together: the groups of fields go to the schema.
    ///
    /// # Errors
    /// `bad-schema` with everything that makes no sense in the schema. What merely points outside of it is
    /// fine: the data may be an excerpt.
    pub fn new(mut schema: Schema, records: Records, rights: RightsData) -> Result<Self, Error> {
        mark_chatter(&mut schema, &records);
        schema.leave_out_unknown_orders();
        let errors: Vec<String> =
            schema.check().iter().filter(|f| f.severity == Severity::Error).map(ToString::to_string).collect();
        if !errors.is_empty() {
            return Err(Error::rejected("bad-schema", format!("{SCHEMA_FILE}: {}", errors.join("; "))));
        }
        for (model, fields) in rights.field_groups {
            for (field, groups) in fields {
                // Fields that the excerpt leaves out may be restricted all the same.
                if let Some(field) = schema.models.get_mut(&model).and_then(|model| model.fields.get_mut(&field)) {
                    field.groups = groups.split(',').map(|group| group.trim().to_owned()).collect();
                }
            }
        }
        Ok(Self { schema, records, rights: Rights::new(rights.access, rights.rules), models_version: None })
    }

    /// Reads the three files of a folder. Without records or rights files, there are none.
    ///
    /// # Errors
    /// `bad-file`, naming the file and the place in it; `bad-schema`.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let schema = read_json(&folder.join(SCHEMA_FILE))?;
        let or_empty = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        let records = or_empty(RECORDS_FILE).map(|path| read_json(&path)).transpose()?.unwrap_or_default();
        let rights = or_empty(RIGHTS_FILE).map(|path| read_json(&path)).transpose()?.unwrap_or_default();
        Self::new(schema, records, rights)
    }

    /// Writes the three files into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// `bad-file`, when a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder)
            .map_err(|error| bad_file(format!("{} cannot be made: {error}", folder.display())))?;
        write_json(&folder.join(SCHEMA_FILE), &self.schema)?;
        write_json(&folder.join(RECORDS_FILE), &self.records)?;
        write_json(&folder.join(RIGHTS_FILE), &self.rights_data())
    }

    /// The rights file's content.
    #[must_use]
    pub fn rights_data(&self) -> RightsData {
        let mut field_groups: IndexMap<String, IndexMap<String, String>> = IndexMap::new();
        for model in self.schema.models.values() {
            for (name, field) in model.fields.iter().filter(|(_, field)| !field.groups.is_empty()) {
                field_groups.entry(model.name.clone()).or_default().insert(name.clone(), field.groups.join(","));
            }
        }
        RightsData { access: self.rights.access.clone(), rules: self.rights.rules.clone(), field_groups }
    }
}

/// Models that have messages or activities, or records with followers, have a chatter.
fn mark_chatter(schema: &mut Schema, records: &Records) {
    let followed: BTreeSet<&str> = records
        .records
        .get("mail.followers")
        .into_iter()
        .flatten()
        .filter_map(|follower| follower.get("res_model")?.as_str())
        .collect();
    for model in schema.models.values_mut() {
        let has_messages = ["message_ids", "activity_ids"].iter().any(|name| model.fields.contains_key(*name));
        model.chatter |= has_messages || followed.contains(model.name.as_str());
    }
    schema.add_followers();
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let name = path.display();
    let text = std::fs::read(path).map_err(|error| bad_file(format!("{name} cannot be read: {error}")))?;
    serde_json::from_slice(&text).map_err(|error| bad_file(format!("{name} is not what is expected: {error}")))
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        serde_json::to_writer(&mut file, value)?;
        std::io::Write::flush(&mut file)
    };
    write().map_err(|error| bad_file(format!("{} cannot be written: {error}", path.display())))
}

fn bad_file(message: String) -> Error {
    Error::rejected("bad-file", message)
}

fn english() -> String {
    "en_US".to_owned()
}
