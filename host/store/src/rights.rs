//! Who may do what: access per model and operation, and record rules.
//!
//! Both serialise as Odoo's own records do (`ir.model.access`, `ir.rule`); groups and users are records
//! (`res.groups`, `res.users`), and the groups that alone see a field are in the schema.

mod check;
mod documents;
mod expression;
mod prepared;
mod records;

pub(crate) use self::{
    check::{allowed, read_filter},
    prepared::Reader,
};
pub use self::{
    check::{
        check_access, check_field, check_fields, check_model, has_access, is_own_preference, may, rule_domain,
        sees_field,
    },
    documents::{read_documents, to_post_on},
    expression::Expression,
};
use serde::{Deserialize, Serialize};
use triggerbox_model::value::Id;

/// All rights of a backend.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rights {
    /// What members of groups may do with models.
    #[serde(default)]
    pub access: Vec<Access>,
    /// Which records they may do it with.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// The same, made ready to be asked.
    #[serde(skip)]
    prepared: prepared::Prepared,
}

impl Rights {
    /// All rights of a backend. They are not to be changed once they have been asked.
    #[must_use]
    pub fn new(access: Vec<Access>, rules: Vec<Rule>) -> Self {
        Self { access, rules, prepared: prepared::Prepared::default() }
    }
}

/// What members of a group may do with the records of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Access {
    /// Its id.
    #[serde(default)]
    pub id: Id,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// The model.
    pub model: String,
    /// The group (`res.groups`); none: everybody.
    #[serde(default, deserialize_with = "id_or_false")]
    pub group_id: Option<Id>,
    /// Whether it counts.
    #[serde(default = "yes")]
    pub active: bool,
    /// Read and search.
    #[serde(default)]
    pub perm_read: bool,
    /// Change.
    #[serde(default)]
    pub perm_write: bool,
    /// Create and copy.
    #[serde(default)]
    pub perm_create: bool,
    /// Delete.
    #[serde(default)]
    pub perm_unlink: bool,
}

/// Which records of a model operations are allowed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Its id.
    #[serde(default)]
    pub id: Id,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// The model.
    pub model: String,
    /// The records, as Odoo writes it: a domain whose values may name `user`, `company_id`, `company_ids`, `time`.
    /// Empty: all of them.
    #[serde(default, rename = "domain_force", deserialize_with = "text_or_false")]
    pub domain: String,
    /// The groups (`res.groups`) that it is for; empty: a global rule, which nobody escapes.
    #[serde(default)]
    pub groups: Vec<Id>,
    /// Whether it counts.
    #[serde(default = "yes")]
    pub active: bool,
    /// It counts for reads and searches.
    #[serde(default = "yes")]
    pub perm_read: bool,
    /// It counts for changes.
    #[serde(default = "yes")]
    pub perm_write: bool,
    /// It counts for new records.
    #[serde(default = "yes")]
    pub perm_create: bool,
    /// It counts for deletions.
    #[serde(default = "yes")]
    pub perm_unlink: bool,
}

fn yes() -> bool {
    true
}

/// Odoo writes an empty value as `false`.
#[derive(Deserialize)]
#[serde(untagged)]
enum OrFalse<T> {
    Some(T),
    None(#[allow(dead_code, reason = "only its presence counts")] Option<bool>),
}

fn id_or_false<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Ok(match OrFalse::deserialize(deserializer)? {
        OrFalse::Some(id) => Some(id),
        OrFalse::None(_) => None,
    })
}

fn text_or_false<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match OrFalse::deserialize(deserializer)? {
        OrFalse::Some(text) => text,
        OrFalse::None(_) => String::new(),
    })
}
