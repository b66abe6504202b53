//! Whether a schema holds together.

use std::{
    collections::{HashMap, HashSet},
    fmt, iter,
};

use crate::domain::Domain;

use super::{Constraint, DefaultValue, Field, FieldKind, Formula, Model, Schema};

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It points outside the schema. Fine in an excerpt of a larger system, a mistake in a schema of one's own.
    Warning,
    /// It contradicts itself; nothing can be stored by it.
    Error,
}

/// One thing that is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// The model.
    pub model: String,
    /// The field, if it is about one.
    pub field: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}.{field}: {}", self.model, self.message),
            None => write!(f, "{}: {}", self.model, self.message),
        }
    }
}

/// Default functions that the store knows.
pub const DEFAULT_FUNCTIONS: [&str; 7] = ["now", "today", "user", "company", "currency", "first", "sequence"];

impl Schema {
    /// Everything that is wrong with the schema, errors and warnings, in order of declaration.
    #[must_use]
    pub fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut tables = HashMap::new();
        for model in self.models.values() {
            let mut check = Check { schema: self, model, findings: Vec::new() };
            check.names(&mut tables);
            check.settings();
            for (name, field) in &model.fields {
                check.field(name, field);
            }
            check.constraints();
            findings.append(&mut check.findings);
        }
        findings
    }
}

struct Check<'a> {
    schema: &'a Schema,
    model: &'a Model,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn report(&mut self, severity: Severity, field: Option<&str>, message: String) {
        let model = self.model.name.clone();
        self.findings.push(Finding { severity, model, field: field.map(str::to_owned), message });
    }

    fn error(&mut self, field: &str, message: String) {
        self.report(Severity::Error, Some(field), message);
    }

    fn warning(&mut self, field: &str, message: String) {
        self.report(Severity::Warning, Some(field), message);
    }

    /// Names are identifiers, and no two models share a table.
    fn names(&mut self, tables: &mut HashMap<String, &'a str>) {
        let model = self.model;
        if !is_identifier(&model.name, true) {
            self.report(Severity::Error, None, "a model name has only small letters, digits, `_` and `.`".to_owned());
        }
        let table = model.name.replace('.', "_");
        if table.starts_with("tb_") || table.starts_with("sqlite_") {
            self.report(Severity::Error, None, "model names starting with `tb.` or `sqlite.` are reserved".to_owned());
        }
        if let Some(other) = tables.insert(table, &model.name) {
            self.report(Severity::Error, None, format!("has the same table as `{other}`; rename one"));
        }
        for name in model.fields.keys() {
            if !is_identifier(name, false) {
                self.error(name, "a field name has only small letters, digits and `_`".to_owned());
            }
            if name == "id" || name == "display_name" {
                self.error(name, "every model has this field; do not declare it".to_owned());
            }
        }
    }

    /// What the model says of itself names fields that it has.
    fn settings(&mut self) {
        let model = self.model;
        if let Some(name) = &model.rec_name
            && !model.fields.contains_key(name)
        {
            self.warning(name, "is the record name, but the model has no such field".to_owned());
        }
        for path in model.rec_names_search.iter().flatten() {
            if let Err(message) = self.walk(path) {
                self.warning(path, format!("name searches look at it, but {message}"));
            }
        }
        for term in model.order.split(',') {
            let name = term.split_whitespace().next().unwrap_or_default();
            if name != "id" && self.walk(name).is_err() {
                self.warning(name, format!("is in the order `{}`, but the model has no such field", model.order));
            }
        }
        if let Some(name) = &model.active_name
            && model.fields.get(name).is_none_or(|field| field.kind != FieldKind::Boolean)
        {
            self.error(name, "archives records, but is not a boolean field of the model".to_owned());
        }
        if model.parent_store && model.parent().is_none() {
            let message = "keeps the hierarchy's path, but is not a many2one to the model itself".to_owned();
            self.warning(&model.parent_name, message);
        }
        for (parent, link) in &model.inherits {
            match model.fields.get(link) {
                Some(field) if field.relation.as_ref() == Some(parent) => {}
                Some(_) => self.error(link, format!("inherits from `{parent}`, but does not point to it")),
                None => self.warning(link, format!("inherits from `{parent}`, but the model has no such field")),
            }
        }
    }

    fn field(&mut self, name: &str, field: &'a Field) {
        self.relation(name, field);
        if let Some(path) = &field.related {
            match self.walk(path) {
                Err(message) => self.warning(name, format!("shows `{path}`, but {message}")),
                Ok(Some(kind)) if !related_fits(field.kind, kind) => {
                    self.error(name, format!("is {}, but shows `{path}`, which is {}", field.kind.name(), kind.name()));
                }
                Ok(_) if self.shows_itself(name) => {
                    self.error(name, format!("shows `{path}`, which in the end shows this field"));
                }
                Ok(_) => {}
            }
        }
        match field.kind {
            FieldKind::Selection if field.selection.is_empty() && field.related.is_none() => {
                self.warning(name, "is a selection without choices; any text is accepted".to_owned());
            }
            FieldKind::Monetary => {
                let currency = field.currency_field.as_deref().unwrap_or("currency_id");
                if self.model.fields.get(currency).is_none_or(|field| field.kind != FieldKind::Many2one) {
                    self.warning(name, format!("has no currency: `{currency}` is not a many2one of the model"));
                }
            }
            _ => {}
        }
        match field.default.as_ref().map(DefaultValue::value) {
            Some(DefaultValue::Function { function }) if !DEFAULT_FUNCTIONS.contains(&function.as_str()) => {
                let known = DEFAULT_FUNCTIONS.join(", ");
                self.error(name, format!("has the unknown default function `{function}`; there are {known}"));
            }
            Some(DefaultValue::Literal(value)) if !literal_fits(field.kind, value) => {
                self.error(
                    name,
                    format!("has the default {value}, which is not a value of type {}", field.kind.name()),
                );
            }
            _ => {}
        }
        if let Some(formula) = &field.formula {
            self.formula(name, field, formula);
        }
    }

    fn relation(&mut self, name: &str, field: &Field) {
        if !field.kind.is_relational() {
            return;
        }
        let Some(relation) = &field.relation else {
            self.error(name, format!("is a {} without a relation", field.kind.name()));
            return;
        };
        let Some(other) = self.schema.models.get(relation) else {
            self.warning(name, format!("points to `{relation}`, which is not in the schema"));
            return;
        };
        if field.kind == FieldKind::One2many {
            let Some(inverse) = &field.relation_field else {
                self.error(name, "is a one2many without a relation_field".to_owned());
                return;
            };
            match other.fields.get(inverse) {
                None => self.error(name, format!("is the other side of `{relation}.{inverse}`, which does not exist")),
                Some(back) => match back.kind {
                    FieldKind::Many2one if back.relation.as_deref() == Some(self.model.name.as_str()) => {}
                    FieldKind::Integer if other.model_column().is_some() => {}
                    _ => self
                        .error(name, format!("is the other side of `{relation}.{inverse}`, which does not point back")),
                },
            }
        }
        if let Some(table) = &field.m2m
            && table.column1 == table.column2
        {
            self.error(name, format!("has the same column `{}` for both sides", table.column1));
        }
    }

    fn formula(&mut self, name: &str, field: &Field, formula: &Formula) {
        if !field.has_column() {
            self.error(name, "has a formula, but is not stored".to_owned());
        }
        let wants_number = |check: &mut Self, path: &str| match check.walk(path) {
            Err(message) => check.error(name, format!("is computed from `{path}`, but {message}")),
            Ok(Some(FieldKind::Integer | FieldKind::Float | FieldKind::Monetary)) => {}
            Ok(_) => check.error(name, format!("is computed from `{path}`, which is not a number")),
        };
        match formula {
            Formula::Sum { path } => wants_number(self, path),
            Formula::Product { fields } => fields.iter().for_each(|path| wants_number(self, path)),
            Formula::Count { field: relation } => {
                if self.model.fields.get(relation).is_none_or(|field| !field.kind.is_x2many()) {
                    self.error(name, format!("counts `{relation}`, which is not a one2many or many2many of the model"));
                }
            }
            Formula::Concat { fields, .. } => {
                for path in fields {
                    if let Err(message) = self.walk(path) {
                        self.error(name, format!("is computed from `{path}`, but {message}"));
                    }
                }
            }
        }
    }

    fn constraints(&mut self) {
        let model = self.model;
        for constraint in &model.constraints {
            match constraint {
                Constraint::Unique { fields, .. } => {
                    for name in fields.iter().filter(|name| !model.has_column(name)) {
                        self.error(
                            name,
                            "is in a unique constraint, but is not a stored column of the model".to_owned(),
                        );
                    }
                }
                Constraint::Check { domain, .. } => match Domain::parse(domain) {
                    Err(error) => self.report(Severity::Error, None, format!("check `{domain}`: {}", error.message)),
                    Ok(parsed) => {
                        let mut names = Vec::new();
                        parsed.for_each_condition(&mut |condition| names.push(condition.field.clone()));
                        for name in names {
                            if let Err(message) = self.walk(&name) {
                                self.error(&name, format!("is in the check `{domain}`, but {message}"));
                            }
                        }
                    }
                },
            }
        }
    }

    /// Whether what a field shows is, in the end, shown from itself.
    fn shows_itself(&self, name: &str) -> bool {
        let start = (self.model.name.as_str(), name);
        let (mut seen, mut open) = (HashSet::new(), vec![start]);
        while let Some((model, name)) = open.pop() {
            let model = self.schema.models.get(model);
            let path = model.and_then(|model| model.fields.get(name)).and_then(|field| field.related.as_deref());
            let mut current = model;
            for name in path.unwrap_or_default().split('.') {
                let Some((holder, field)) = current.and_then(|model| self.schema.holder(model, name)) else { break };
                let step = (holder.name.as_str(), name);
                if step == start {
                    return true;
                }
                if field.related.is_some() && seen.insert(step) {
                    open.push(step);
                }
                current = field.relation.as_ref().and_then(|relation| self.schema.models.get(relation));
            }
        }
        false
    }

    /// Follows a dotted path. The kind is none where the path leaves the schema's models.
    fn walk(&self, path: &str) -> Result<Option<FieldKind>, String> {
        let mut model = Some(self.model);
        let mut kind = None;
        for name in path.split('.') {
            let Some(current) = model else {
                return Err(format!("`{name}` is on a model that is not in the schema"));
            };
            if name == "id" {
                (kind, model) = (Some(FieldKind::Integer), None);
                continue;
            }
            let field = self
                .schema
                .shown_field(current, name)
                .ok_or_else(|| format!("`{}` has no field `{name}`", current.name))?;
            kind = Some(field.kind);
            model = field.relation.as_ref().and_then(|relation| self.schema.models.get(relation));
        }
        Ok(kind)
    }
}

impl Schema {
    /// A field of a model, or of a model that it inherits from by delegation.
    #[must_use]
    pub fn shown_field<'a>(&'a self, model: &'a Model, name: &str) -> Option<&'a Field> {
        self.holder(model, name).map(|(_, field)| field)
    }

    /// The same with the model that has it.
    fn holder<'a>(&'a self, model: &'a Model, name: &str) -> Option<(&'a Model, &'a Field)> {
        let mut models = iter::once(model).chain(model.inherits.keys().filter_map(|parent| self.models.get(parent)));
        models.find_map(|model| Some((model, model.fields.get(name)?)))
    }
}

impl Model {
    /// The text column that says to which model a `res_id` belongs, for models such as messages and activities.
    #[must_use]
    pub fn model_column(&self) -> Option<&str> {
        ["res_model", "model"].into_iter().find(|name| {
            self.fields.contains_key("res_id")
                && self.fields.get(*name).is_some_and(|field| field.kind == FieldKind::Char)
        })
    }
}

fn is_identifier(name: &str, dots: bool) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || (dots && c == '.'))
}

fn related_fits(own: FieldKind, shown: FieldKind) -> bool {
    own == shown
        || matches!(
            (own, shown),
            (FieldKind::Char, FieldKind::Text | FieldKind::Selection) | (FieldKind::Many2many, FieldKind::Many2one)
        )
}

fn literal_fits(kind: FieldKind, value: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (kind, value) {
        (FieldKind::Json, _) | (_, Json::Null | Json::Bool(false)) => true,
        (FieldKind::Boolean, value) => value.is_boolean(),
        (FieldKind::Integer, value) => value.is_i64(),
        (FieldKind::Many2one, value) => value.is_u64() || value.is_string(),
        (FieldKind::Float | FieldKind::Monetary, value) => value.is_number(),
        (FieldKind::One2many | FieldKind::Many2many, value) => value.is_array(),
        (_, value) => value.is_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(text: &str) -> Schema {
        serde_json::from_str(text).unwrap()
    }

    fn findings(text: &str) -> Vec<String> {
        schema(text).check().iter().map(|finding| format!("{:?} {finding}", finding.severity)).collect()
    }

    #[test]
    fn a_schema_names_its_models_and_relation_tables() {
        let schema = schema(
            r#"{"a.b": {"description": "A", "fields": {"tag_ids": {"type": "many2many", "relation": "a.tag"},
                "peer_ids": {"type": "many2many", "relation": "a.b"}}},
                "a.tag": {"description": "Tag", "fields": {}}}"#,
        );
        let model = schema.model("a.b").unwrap();
        assert_eq!(model.name, "a.b");
        let table = |field: &str| model.fields[field].m2m.clone().unwrap();
        assert_eq!(table("tag_ids").table, "a_b_tag_ids_rel");
        assert_eq!((table("tag_ids").column1, table("tag_ids").column2), ("a_b_id".into(), "a_tag_id".into()));
        assert_ne!(table("peer_ids").column1, table("peer_ids").column2);
        assert_eq!(schema.check(), []);
    }

    #[test]
    fn what_points_outside_is_a_warning_and_what_contradicts_itself_an_error() {
        let text = r#"{"a": {"description": "A", "rec_name": "title", "order": "rank desc, id", "active_name": "name",
            "fields": {
                "name": {"type": "char", "default": 3},
                "lost_id": {"type": "many2one", "relation": "b"},
                "loose_id": {"type": "many2one"},
                "line_ids": {"type": "one2many", "relation": "a", "relation_field": "a_id"},
                "total": {"type": "float", "formula": {"formula": "sum", "path": "line_ids.name"}},
                "since": {"type": "date", "default": {"function": "yesterday"}}},
            "constraints": [{"kind": "unique", "fields": ["line_ids"], "message": "once"},
                {"kind": "check", "domain": "[('nose', '>', 0)]", "message": "noses only"}]}}"#;
        assert_eq!(
            findings(text),
            [
                "Warning a.title: is the record name, but the model has no such field",
                "Warning a.rank: is in the order `rank desc, id`, but the model has no such field",
                "Error a.name: archives records, but is not a boolean field of the model",
                "Error a.name: has the default 3, which is not a value of type char",
                "Warning a.lost_id: points to `b`, which is not in the schema",
                "Error a.loose_id: is a many2one without a relation",
                "Error a.line_ids: is the other side of `a.a_id`, which does not exist",
                "Error a.total: is computed from `line_ids.name`, which is not a number",
                "Error a.since: has the unknown default function `yesterday`; there are now, today, user, company, currency, \
                 first, sequence",
                "Error a.line_ids: is in a unique constraint, but is not a stored column of the model",
                "Error a.nose: is in the check `[('nose', '>', 0)]`, but `a` has no field `nose`",
            ]
        );
    }
}
