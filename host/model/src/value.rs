//! Field values, links, records and rows, as the contract has them.

use serde::{Deserialize, Serialize};

/// A record's id. Odoo's ids are 32-bit.
pub type Id = u32;

/// Ids from here on are provisional: records that a run created and that have no real id yet.
pub const FIRST_PROVISIONAL_ID: Id = 1 << 31;

/// Whether an id stands for a record that is staged but not committed.
#[must_use]
pub fn is_provisional(id: Id) -> bool {
    id >= FIRST_PROVISIONAL_ID
}

/// One record of a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordRef {
    /// Technical name of the model, `crm.lead`.
    pub model: String,
    /// The record.
    pub id: Id,
}

impl RecordRef {
    /// `RecordRef { model, id }`, from borrowed parts.
    pub fn new(model: impl Into<String>, id: Id) -> Self {
        Self { model: model.into(), id }
    }
}

impl std::fmt::Display for RecordRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.model, self.id)
    }
}

/// The value of a many2one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The related record.
    pub id: Id,
    /// What Odoo shows for it; filled on reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The value of a field.
///
/// The same type is used for what scripts read, what they write and what is stored. Dates and times
/// are kept as the contract writes them; [`crate::time`] checks and converts them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
pub enum Value {
    /// An empty field; Odoo's `False`. Numbers and booleans are never empty.
    Unset,
    /// Only the commit can know it.
    Pending,
    /// boolean
    Boolean(bool),
    /// integer; also accepted where a number is wanted
    Integer(i32),
    /// float, monetary, sums
    Number(f64),
    /// char, text, html, selection
    Text(String),
    /// `2026-11-21`
    Date(String),
    /// `2026-11-21T10:15:00Z`
    Datetime(String),
    /// many2one
    Many2one(Link),
    /// one2many, many2many
    Ids(Vec<Id>),
    /// reference; the rarest, and the only one that is larger than the others
    Reference(Box<RecordRef>),
    /// The bytes themselves
    Binary(#[serde(with = "base64_bytes")] Vec<u8>),
    /// JSON text
    Json(String),
}

impl Value {
    /// The contract's name of the case, for messages: `text`, `many2one`.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Pending => "pending",
            Self::Boolean(_) => "boolean",
            Self::Integer(_) => "integer",
            Self::Number(_) => "number",
            Self::Text(_) => "text",
            Self::Date(_) => "date",
            Self::Datetime(_) => "datetime",
            Self::Many2one(_) => "many2one",
            Self::Ids(_) => "ids",
            Self::Reference(_) => "reference",
            Self::Binary(_) => "binary",
            Self::Json(_) => "json",
        }
    }

    /// A many2one without a name.
    #[must_use]
    pub fn link(id: Id) -> Self {
        Self::Many2one(Link { id, name: None })
    }

    /// A reference.
    pub fn reference(model: impl Into<String>, id: Id) -> Self {
        Self::Reference(Box::new(RecordRef::new(model, id)))
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Bytes that the value takes on its way to a script: what the limit on bytes read counts.
    #[must_use]
    pub fn byte_size(&self) -> u64 {
        let payload = match self {
            Self::Unset | Self::Pending | Self::Boolean(_) | Self::Integer(_) | Self::Number(_) => 0,
            Self::Text(text) | Self::Date(text) | Self::Datetime(text) | Self::Json(text) => text.len(),
            Self::Many2one(link) => link.name.as_ref().map_or(0, String::len),
            Self::Ids(ids) => ids.len() * size_of::<Id>(),
            Self::Reference(reference) => reference.model.len(),
            Self::Binary(bytes) => bytes.len(),
        };
        payload as u64 + 8
    }
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldValue {
    /// The field's technical name.
    pub name: String,
    /// Its value.
    pub value: Value,
}

impl FieldValue {
    /// `FieldValue { name, value }`, from borrowed parts.
    pub fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }
}

/// One record, with values in the order of the requested fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The record.
    pub id: Id,
    /// In the order asked.
    pub values: Vec<Value>,
}

/// A record with some of its fields, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The record.
    pub id: Id,
    /// Some of its fields.
    pub fields: Vec<FieldValue>,
}

/// Serde for bytes as base64 text, so that journals stay text.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
