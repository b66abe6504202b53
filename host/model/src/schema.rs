//! Models and their fields, as Odoo declares them.
//!
//! A [`Schema`] is what the embedded store builds its tables from, what domains and values are checked
//! against, and what `fields-get` and `describe-fields` tell. Its JSON form is also the exchange format of `db import/export`.

mod check;
mod describe;

use std::{collections::BTreeMap, fmt};

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

pub use self::check::{DEFAULT_FUNCTIONS, Finding, Severity};
use crate::{error::Error, text::nearest};

/// The model of followers.
const FOLLOWERS: &str = "mail.followers";
/// External id of the group of those who work here.
const INTERNAL: &str = "base.group_user";

/// Models, or fields, by name, in order of declaration.
pub type ByName<T> = IndexMap<String, T, foldhash::fast::RandomState>;

/// All models of a backend, by technical name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Schema {
    /// In order of declaration.
    pub models: ByName<Model>,
    /// The records are on another server: here is nothing to look them up in.
    #[serde(skip)]
    pub remote: bool,
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(ByName::deserialize(deserializer)?))
    }
}

impl Schema {
    /// Makes a schema of models as they were declared: names them, and names the tables of many2many fields
    /// that were declared without one.
    #[must_use]
    pub fn new(mut models: ByName<Model>) -> Self {
        for (name, model) in &mut models {
            model.name.clone_from(name);
            for (field_name, field) in &mut model.fields {
                if let (FieldKind::Many2many, None, Some(relation)) = (field.kind, &field.m2m, &field.relation) {
                    field.m2m = Some(RelationTable::default_for(name, field_name, relation));
                }
            }
        }
        let mut schema = Self { models, remote: false };
        schema.add_followers();
        schema
    }

    /// Gives models with a chatter the fields by which followers are found: `message_follower_ids`, and the partners
    /// behind them, `message_partner_ids`. Neither is stored with the model.
    pub fn add_followers(&mut self) {
        let Some(followers) = self.models.get(FOLLOWERS) else { return };
        if !(followers.fields.contains_key("res_id") && followers.fields.contains_key("partner_id")) {
            return;
        }
        for model in self.models.values_mut().filter(|model| model.chatter) {
            model.fields.entry("message_follower_ids".to_owned()).or_insert_with(|| Field {
                string: "Followers".to_owned(),
                relation: Some(FOLLOWERS.to_owned()),
                relation_field: Some("res_id".to_owned()),
                groups: vec![INTERNAL.to_owned()],
                copy: false,
                sortable: false,
                groupable: false,
                ..Field::new(FieldKind::One2many)
            });
            model.fields.entry("message_partner_ids".to_owned()).or_insert_with(|| Field {
                string: "Followers (Partners)".to_owned(),
                relation: Some("res.partner".to_owned()),
                related: Some("message_follower_ids.partner_id".to_owned()),
                groups: vec![INTERNAL.to_owned()],
                store: false,
                copy: false,
                sortable: false,
                groupable: false,
                ..Field::new(FieldKind::Many2many)
            });
        }
    }

    /// Takes fields that are not there out of the models' orders: an excerpt of a larger system may lack them.
    pub fn leave_out_unknown_orders(&mut self) {
        let known = |model: &Model, name: &str| name == "id" || self.shown_field(model, name).is_some();
        let kept = |model: &Model| -> String {
            let terms = model.order.split(',').map(str::trim);
            let name = |term: &str| term.split([' ', '.']).next().unwrap_or_default().to_owned();
            let kept: Vec<&str> = terms.filter(|term| known(model, &name(term))).collect();
            if kept.is_empty() { by_id() } else { kept.join(", ") }
        };
        let orders: Vec<String> = self.models.values().map(kept).collect();
        for (model, order) in self.models.values_mut().zip(orders) {
            model.order = order;
        }
    }

    /// Finds a model.
    ///
    /// # Errors
    /// `unknown-model`, with the nearest name there is.
    pub fn model(&self, name: &str) -> Result<&Model, Error> {
        self.models.get(name).ok_or_else(|| {
            let hint = match nearest(name, self.models.keys().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            Error::not_found("unknown-model", format!("unknown model `{name}`{hint}"))
        })
    }
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Technical name; repeated here so that a model can speak for itself. Filled by [`Schema`] loaders.
    #[serde(skip)]
    pub name: String,
    /// What people call one record: `Lead`.
    pub description: String,
    /// The field that names a record; none: `model,id`.
    #[serde(default)]
    pub rec_name: Option<String>,
    /// Fields that a name search looks at; none: the name field.
    #[serde(default)]
    pub rec_names_search: Option<Vec<String>>,
    /// Default order, `priority desc, id desc`.
    #[serde(default = "by_id")]
    pub order: String,
    /// The many2one that makes a hierarchy.
    #[serde(default = "parent_id")]
    pub parent_name: String,
    /// Whether the hierarchy's path is kept (`parent_path`).
    #[serde(default)]
    pub parent_store: bool,
    /// The boolean that archives a record.
    #[serde(default)]
    pub active_name: Option<String>,
    /// Whether creation and last write are kept.
    #[serde(default = "yes")]
    pub log_access: bool,
    /// Models whose fields this one shows as its own, with the many2one that links to them.
    #[serde(default)]
    pub inherits: BTreeMap<String, String>,
    /// Whether records have messages, activities and followers.
    #[serde(default)]
    pub chatter: bool,
    /// Fields in order of declaration. `id` is not among them: every model has one.
    pub fields: ByName<Field>,
    /// Rules over single records and sets of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
}

impl Model {
    /// Whether a field has a column of its own in the model's table.
    #[must_use]
    pub fn has_column(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(Field::has_column)
    }

    /// The many2one of the hierarchy, if the model has one.
    #[must_use]
    pub fn parent(&self) -> Option<&Field> {
        self.fields
            .get(&self.parent_name)
            .filter(|field| field.kind == FieldKind::Many2one && field.relation.as_deref() == Some(self.name.as_str()))
    }

    /// Finds a field, `id` excluded.
    ///
    /// # Errors
    /// `unknown-field`, with the nearest name there is.
    pub fn field(&self, name: &str) -> Result<&Field, Error> {
        self.named_field(name).map(|(_, field)| field)
    }

    /// A field, and its name as the model keeps it.
    ///
    /// # Errors
    /// As [`Model::field`].
    pub fn named_field(&self, name: &str) -> Result<(&str, &Field), Error> {
        let found = self.fields.get_key_value(name).map(|(name, field)| (name.as_str(), field));
        found.ok_or_else(|| {
            let hint = match nearest(name, self.fields.keys().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            Error::invalid("unknown-field", format!("unknown field `{name}` on `{}`{hint}", self.name)).with_field(name)
        })
    }
}

/// One field of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Field {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Label.
    #[serde(default)]
    pub string: String,
    /// Help text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Must have a value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// Forms do not edit it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub readonly: bool,
    /// Kept in the database.
    #[serde(default = "yes")]
    pub store: bool,
    /// Its value comes from the backend's own computation: loaded and kept as data here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub computed: bool,
    /// Copied by `copy`.
    #[serde(default = "yes")]
    pub copy: bool,
    /// One value for each language.
    #[serde(default, skip_serializing_if = "is_false")]
    pub translate: bool,
    /// Spaces around the text are cut.
    #[serde(default, skip_serializing_if = "is_false")]
    pub trim: bool,
    /// HTML is sanitised.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sanitize: bool,
    /// Longest text, in characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Digits in all and after the point, of a float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digits: Option<(u8, u8)>,
    /// The many2one that holds a monetary field's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency_field: Option<String>,
    /// Keys and labels of a selection or reference field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub selection: Vec<(String, String)>,
    /// The related model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The many2one (or `res_id`) on the related model that a one2many is the other side of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation_field: Option<String>,
    /// The table behind a many2many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m2m: Option<RelationTable>,
    /// What happens to a many2one when its record is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ondelete: Option<OnDelete>,
    /// A path whose value this field shows, `partner_id.email`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub related: Option<String>,
    /// Which related records a one2many or many2many shows, as a domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<serde_json::Value>,
    /// Context of a relation: `{"active_test": false}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<serde_json::Value>,
    /// Changes are posted to the chatter. Odoo allows a number (the order) or true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<serde_json::Value>,
    /// How groups sum it up by default: `sum`, `avg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<String>,
    /// Domains may use it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub searchable: bool,
    /// Orders may use it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sortable: bool,
    /// Groupings may use it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub groupable: bool,
    /// Has an index of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub index: bool,
    /// Related records must belong to the record's company, or to none.
    #[serde(default, skip_serializing_if = "is_false")]
    pub check_company: bool,
    /// Groups (external ids) that alone see the field; empty: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The value of a new record: a literal, or a named function such as `{"function": "user"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultValue>,
    /// How a stored value is computed from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formula: Option<Formula>,
}

impl Field {
    /// A stored, copied field of a type, with nothing else said of it.
    #[must_use]
    pub fn new(kind: FieldKind) -> Self {
        Self {
            kind,
            string: String::new(),
            help: None,
            required: false,
            readonly: false,
            store: true,
            computed: false,
            copy: true,
            translate: false,
            trim: false,
            sanitize: false,
            size: None,
            digits: None,
            currency_field: None,
            selection: Vec::new(),
            relation: None,
            relation_field: None,
            m2m: None,
            ondelete: None,
            related: None,
            domain: None,
            context: None,
            tracking: None,
            aggregator: None,
            searchable: true,
            sortable: true,
            groupable: true,
            index: false,
            check_company: false,
            groups: Vec::new(),
            default: None,
            formula: None,
        }
    }

    /// Whether records cannot be without the one that this many2one of theirs points to: such a record is deleted when it
    /// leaves the one2many that is the other side.
    #[must_use]
    pub fn belongs(&self) -> bool {
        self.required || self.ondelete == Some(OnDelete::Cascade)
    }

    /// What happens to a many2one when the record that it points to is deleted, declared or not; none for other fields.
    #[must_use]
    pub fn on_delete(&self) -> Option<OnDelete> {
        let unsaid = if self.required { OnDelete::Restrict } else { OnDelete::SetNull };
        let links = self.kind == FieldKind::Many2one && self.has_column() && self.related.is_none();
        links.then(|| self.ondelete.unwrap_or(unsaid))
    }

    /// Whether the store keeps an index for it.
    #[must_use]
    pub fn is_indexed(&self) -> bool {
        self.has_column() && (self.index || self.kind == FieldKind::Many2one)
    }

    /// Where it stands among the tracked fields of its model; none: its changes are not posted to the chatter.
    #[must_use]
    pub fn tracking_sequence(&self) -> Option<i64> {
        match self.tracking.as_ref()? {
            serde_json::Value::Bool(true) => Some(100),
            serde_json::Value::Number(number) => number.as_i64().filter(|n| *n != 0),
            _ => None,
        }
    }

    /// Whether the field has a column of its own: stored, and not a one2many or many2many.
    #[must_use]
    pub fn has_column(&self) -> bool {
        self.store && !self.kind.is_x2many()
    }
}

/// Odoo's field types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are Odoo's and say it")]
pub enum FieldKind {
    Char,
    Text,
    Html,
    /// Also what Odoo calls `many2one_reference`: an id whose model is in another field.
    #[serde(alias = "many2one_reference")]
    Integer,
    Float,
    Monetary,
    Boolean,
    Date,
    Datetime,
    Selection,
    Binary,
    Many2one,
    One2many,
    Many2many,
    Reference,
    Json,
}

impl FieldKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Char,
        Self::Text,
        Self::Html,
        Self::Integer,
        Self::Float,
        Self::Monetary,
        Self::Boolean,
        Self::Date,
        Self::Datetime,
        Self::Selection,
        Self::Binary,
        Self::Many2one,
        Self::One2many,
        Self::Many2many,
        Self::Reference,
        Self::Json,
    ];

    /// Odoo's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Char => "char",
            Self::Text => "text",
            Self::Html => "html",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Monetary => "monetary",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Datetime => "datetime",
            Self::Selection => "selection",
            Self::Binary => "binary",
            Self::Many2one => "many2one",
            Self::One2many => "one2many",
            Self::Many2many => "many2many",
            Self::Reference => "reference",
            Self::Json => "json",
        }
    }

    /// one2many or many2many
    #[must_use]
    pub fn is_x2many(self) -> bool {
        matches!(self, Self::One2many | Self::Many2many)
    }

    /// many2one, one2many or many2many
    #[must_use]
    pub fn is_relational(self) -> bool {
        self == Self::Many2one || self.is_x2many()
    }
}

/// The table behind a many2many field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelationTable {
    /// Table name.
    pub table: String,
    /// The column of this model's id.
    pub column1: String,
    /// The column of the related model's id.
    pub column2: String,
}

impl RelationTable {
    /// The table of a many2many that was declared without one: `<model>_<field>_rel`.
    #[must_use]
    pub fn default_for(model: &str, field: &str, relation: &str) -> Self {
        let (own, other) = (model.replace('.', "_"), relation.replace('.', "_"));
        let (column1, column2) = if own == other {
            ("source_id".to_owned(), "target_id".to_owned())
        } else {
            (format!("{own}_id"), format!("{other}_id"))
        };
        Self { table: format!("{own}_{field}_rel"), column1, column2 }
    }
}

/// What happens to a many2one when the record it points to is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnDelete {
    /// It becomes empty.
    #[serde(rename = "set null")]
    SetNull,
    /// The deletion is refused.
    #[serde(rename = "restrict")]
    Restrict,
    /// Its record is deleted too.
    #[serde(rename = "cascade")]
    Cascade,
}

/// The value of a new record's field.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DefaultValue {
    /// Known to the store: `now`, `today`, `user`, `company`, `currency` (the company's), `first` (first record of the relation), `sequence`.
    Function {
        /// Which one.
        function: String,
    },
    /// What Odoo computes for a new record that nothing else gives a value: `{"computed": {"function": "first"}}`. It is no
    /// default that `default_get` tells.
    Computed {
        /// What it comes to.
        computed: Box<DefaultValue>,
    },
    /// A literal in Odoo's JSON form.
    Literal(serde_json::Value),
}

impl DefaultValue {
    /// What it comes to, computed or not.
    #[must_use]
    pub fn value(&self) -> &Self {
        match self {
            Self::Computed { computed } => computed.value(),
            plain => plain,
        }
    }
}

/// How a stored field is computed from others of the same record or its lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "formula")]
pub enum Formula {
    /// Sum of a field of a one2many: `order_line.price_subtotal`.
    Sum {
        /// `one2many.field`
        path: String,
    },
    /// How many records a one2many or many2many has.
    Count {
        /// The relation.
        field: String,
    },
    /// Texts of fields, joined.
    Concat {
        /// Field names.
        fields: Vec<String>,
        /// Between them.
        separator: String,
    },
    /// Product of numeric fields of the record.
    Product {
        /// Field names.
        fields: Vec<String>,
    },
}

impl Formula {
    /// The paths that it is computed from.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        match self {
            Self::Sum { path } => std::slice::from_ref(path),
            Self::Count { field } => std::slice::from_ref(field),
            Self::Concat { fields, .. } | Self::Product { fields } => fields,
        }
    }
}

/// `sum(order_line.price_subtotal)`
impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths = self.paths().join(", ");
        match self {
            Self::Sum { .. } => write!(f, "sum({paths})"),
            Self::Count { .. } => write!(f, "count({paths})"),
            Self::Product { .. } => write!(f, "product({paths})"),
            Self::Concat { separator, .. } => write!(f, "concat({paths}, separator={separator:?})"),
        }
    }
}

/// A rule that stored records must satisfy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Constraint {
    /// No two records have the same values in these fields.
    Unique {
        /// Field names.
        fields: Vec<String>,
        /// What the user is told.
        message: String,
    },
    /// Every record matches a domain.
    Check {
        /// A literal domain over the record.
        domain: String,
        /// What the user is told.
        message: String,
    },
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn by_id() -> String {
    "id".to_owned()
}

fn parent_id() -> String {
    "parent_id".to_owned()
}
