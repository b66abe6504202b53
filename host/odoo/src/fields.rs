//! Models as Odoo's `fields_get` describes them to one user: fields that the user may not see are not among them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;
use triggerbox_model::{
    call::FieldDetails,
    error::Error,
    schema::{ByName, Field, FieldKind, Model},
};

use crate::config::is_name;

/// What is asked of each field.
pub(crate) const ATTRIBUTES: [&str; 17] = [
    "type",
    "string",
    "help",
    "required",
    "readonly",
    "store",
    "relation",
    "relation_field",
    "selection",
    "depends",
    "related",
    "searchable",
    "sortable",
    "groupable",
    "trim",
    "currency_field",
    "digits",
];

/// A model, and which of its fields follow from others.
#[derive(Debug, Clone)]
pub struct Described {
    /// The model.
    pub model: Model,
    /// For computed and related fields: the paths that they are made of.
    pub depends: BTreeMap<String, Vec<String>>,
    /// What else is told of fields, where it is: nothing here goes by it.
    pub(crate) facts: BTreeMap<String, Facts>,
}

/// What Odoo tells of a field for whoever wants to know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    digits: Option<(u32, u32)>,
    currency_field: Option<String>,
    related: Option<String>,
}

impl Described {
    /// All that Odoo tells of fields: the named ones, or all.
    ///
    /// # Errors
    /// As [`Model::field`].
    pub(crate) fn describe_fields(&self, names: &[String]) -> Result<Vec<FieldDetails>, Error> {
        let told = self.model.describe_fields(names)?;
        Ok(told.into_iter().map(|details| self.as_told(details)).collect())
    }

    /// Of what a [`Field`] says, only what Odoo said.
    fn as_told(&self, details: FieldDetails) -> FieldDetails {
        let FieldDetails { info, relation_field, .. } = details;
        let Facts { digits, currency_field, related } = self.facts.get(&info.name).cloned().unwrap_or_default();
        let field = self.model.fields.get(&info.name);
        let flag = |of: fn(&Field) -> bool| field.map(of);
        let depends = self.depends.get(&info.name).cloned().unwrap_or_default();
        FieldDetails {
            digits,
            size: None,
            currency_field,
            relation_field,
            relation_table: None,
            ondelete: None,
            default: None,
            related,
            computed: !info.stored || !depends.is_empty(),
            depends,
            formula: None,
            groups: None,
            aggregator: None,
            copied: None,
            translated: None,
            tracked: None,
            indexed: None,
            searchable: flag(|field| field.searchable),
            sortable: flag(|field| field.sortable),
            groupable: flag(|field| field.groupable),
            info,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Told {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    string: Json,
    #[serde(default)]
    help: Json,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    readonly: bool,
    #[serde(default)]
    store: Json,
    #[serde(default)]
    relation: Option<String>,
    #[serde(default)]
    relation_field: Json,
    #[serde(default)]
    selection: Json,
    #[serde(default)]
    depends: Vec<String>,
    #[serde(default)]
    related: Json,
    #[serde(default)]
    searchable: bool,
    #[serde(default)]
    sortable: bool,
    #[serde(default)]
    groupable: bool,
    #[serde(default)]
    trim: Json,
    #[serde(default)]
    currency_field: Json,
    #[serde(default)]
    digits: Json,
}

impl Told {
    fn facts(&self) -> Facts {
        let number = |json: &Json| u32::try_from(json.as_u64()?).ok();
        let digits = match self.digits.as_array().map(Vec::as_slice) {
            Some([precision, scale]) => number(precision).zip(number(scale)),
            _ => None,
        };
        let text = |json: &Json| json.as_str().map(str::to_owned);
        let currency_field = text(&self.currency_field).filter(|name| is_name(name));
        Facts { digits, currency_field, related: text(&self.related) }
    }
}

/// Reads the answer of `fields_get`.
///
/// # Errors
/// `bad-answer`
pub fn described(name: &str, answer: &Json) -> Result<Described, Error> {
    let odd = |why: String| Error::unavailable("bad-answer", format!("odoo describes `{name}` oddly: {why}"));
    let Json::Object(told) = answer else { return Err(odd("no object".to_owned())) };
    let mut fields = ByName::default();
    let (mut depends, mut facts) = (BTreeMap::new(), BTreeMap::new());
    for (field_name, told) in told {
        if field_name == "id" || !is_name(field_name) {
            continue;
        }
        let told = Told::deserialize(told).map_err(|error| odd(format!("`{field_name}`: {error}")))?;
        let mut paths = told.depends.clone();
        if let Json::String(path) = &told.related {
            paths.push(path.clone());
        }
        if !paths.is_empty() {
            depends.insert(field_name.clone(), paths);
        }
        let more = told.facts();
        if more != Facts::default() {
            facts.insert(field_name.clone(), more);
        }
        fields.insert(field_name.clone(), field(told));
    }
    let has = |field: &str| fields.contains_key(field);
    let active = ["active", "x_active"].into_iter().find(|name| has(name)).map(str::to_owned);
    let rec_name = ["name", "x_name"].into_iter().find(|name| has(name)).map(str::to_owned);
    Ok(Described {
        model: Model {
            chatter: has("message_ids") && has("message_follower_ids"),
            rec_name,
            active_name: active,
            fields,
            ..empty(name)
        },
        depends,
        facts,
    })
}

/// A model of which only the name is known: enough to be the other side of a relation.
pub(crate) fn empty(name: &str) -> Model {
    Model {
        name: name.to_owned(),
        description: name.to_owned(),
        rec_name: None,
        rec_names_search: None,
        order: "id".to_owned(),
        parent_name: "parent_id".to_owned(),
        parent_store: false,
        active_name: None,
        log_access: true,
        inherits: BTreeMap::new(),
        chatter: false,
        fields: ByName::default(),
        constraints: Vec::new(),
    }
}

fn field(told: Told) -> Field {
    let text = |json: &Json| json.as_str().map(str::to_owned);
    let kind = kind(&told.kind);
    // Odoo does not tell what it copies; what was said of a record it never does.
    let chatter = kind == FieldKind::One2many && told.relation.as_ref().is_some_and(|model| model.starts_with("mail."));
    Field {
        copy: !chatter,
        string: text(&told.string).unwrap_or_default(),
        help: text(&told.help),
        required: told.required,
        readonly: told.readonly,
        store: told.store == Json::Bool(true),
        relation: told.relation.filter(|relation| kind.is_relational() && is_name(relation)),
        relation_field: text(&told.relation_field),
        selection: selection(&told.selection),
        searchable: told.searchable,
        sortable: told.sortable,
        groupable: told.groupable,
        trim: told.trim == Json::Bool(true),
        ..Field::new(kind)
    }
}

/// Odoo's type names; what the contract has no word for is JSON.
fn kind(name: &str) -> FieldKind {
    match name {
        "many2one_reference" => FieldKind::Integer,
        _ => FieldKind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(FieldKind::Json),
    }
}

fn selection(json: &Json) -> Vec<(String, String)> {
    let pairs = json.as_array().into_iter().flatten();
    pairs
        .filter_map(|pair| match pair.as_array()?.as_slice() {
            [Json::String(key), Json::String(label)] => Some((key.clone(), label.clone())),
            [Json::String(key), _] => Some((key.clone(), key.clone())),
            _ => None,
        })
        .collect()
}
