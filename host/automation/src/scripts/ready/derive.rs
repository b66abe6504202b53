//! From parameters to rights, and to what is wrong with them. Each script's part mirrors what the script does.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    grants::{Grant, GrantOperation, Grants},
    schema::{Field, FieldKind, Model, Schema},
};
use triggerbox_placeholders::{Assignment, Text, assignments};

/// Rights and faults, as they are found.
pub(super) struct Derived<'s> {
    schema: &'s Schema,
    /// The rule's model.
    model: Option<&'s Model>,
    rights: BTreeMap<(String, GrantOperation), BTreeSet<String>>,
    /// Parameter and problem.
    pub(super) wrong: Vec<(String, String)>,
}

impl<'s> Derived<'s> {
    pub(super) fn new(schema: &'s Schema, model: Option<&'s str>) -> Self {
        let model = model.and_then(|name| schema.models.get(name));
        Self { schema, model, rights: BTreeMap::new(), wrong: Vec::new() }
    }

    /// One grant for each model and set of fields.
    pub(super) fn grants(self) -> Grants {
        let mut grants: Vec<Grant> = Vec::new();
        for ((model, operation), fields) in self.rights {
            let same = grants.iter_mut().find(|grant| grant.model == model && grant.fields == fields);
            match same {
                Some(grant) => _ = grant.operations.insert(operation),
                None => grants.push(Grant {
                    model,
                    operations: [operation].into(),
                    fields,
                    keys: BTreeSet::new(),
                    methods: BTreeSet::new(),
                    read_only_methods: BTreeSet::new(),
                    domain: None,
                }),
            }
        }
        Grants(grants)
    }

    pub(super) fn update(&mut self, target: &str, values: &str) {
        let Some(model) = self.bound() else { return };
        let model = match target {
            "" => Some(model),
            path => match self.path("target", path) {
                Some((field, related)) if field.kind == FieldKind::Many2one => related,
                Some(_) => return self.fault("target", format!("`{path}` is no link to one record")),
                None => return,
            },
        };
        if let Some(model) = model {
            self.assign(model, GrantOperation::Write, values);
        }
    }

    pub(super) fn create(&mut self, target: &str, values: &str, once: &str, link: &str) {
        let Some(model) = self.bound() else { return };
        let made = match self.schema.model(target) {
            Ok(made) => made,
            Err(_) if target.is_empty() => return,
            Err(error) => return self.fault("model", error.message),
        };
        self.assign(made, GrantOperation::Create, values);
        for key in names(once) {
            match made.field(key) {
                Ok(_) => self.need(made, GrantOperation::Read, Some(key)),
                Err(error) => self.fault("once", error.message),
            }
        }
        if link.is_empty() {
            return;
        }
        match model.field(link) {
            Ok(field) if field.relation.as_deref() == Some(made.name.as_str()) => {
                self.need(model, GrantOperation::Read, None);
                self.need(model, GrantOperation::Write, Some(link));
                // Linking through a one2many writes the other side.
                if field.kind == FieldKind::One2many {
                    self.need(made, GrantOperation::Write, field.relation_field.as_deref());
                }
            }
            Ok(_) => self.fault("link", format!("`{link}` does not lead to `{target}`")),
            Err(error) => self.fault("link", error.message),
        }
    }

    pub(super) fn notify(&mut self, how: &str, texts: &[(&str, &str)]) {
        let Some(model) = self.bound() else { return };
        let operation = match how {
            "message" => GrantOperation::Message,
            "activity" => GrantOperation::Activity,
            "follow" | "unfollow" => GrantOperation::Follow,
            _ => GrantOperation::Note,
        };
        self.need(model, operation, None);
        for (parameter, text) in texts {
            self.text(parameter, text);
        }
        let said = texts.iter().any(|(name, text)| *name == "text" && !text.trim().is_empty());
        if !said && matches!(operation, GrantOperation::Note | GrantOperation::Message) {
            self.fault("text", "is empty: there is nothing to say".to_owned());
        }
    }

    pub(super) fn send(&mut self, fields: &str) {
        if self.bound().is_some() {
            for path in names(fields) {
                self.path("fields", path);
            }
        }
    }

    /// The rule's model; a script that works on records needs one.
    fn bound(&mut self) -> Option<&'s Model> {
        self.model
    }

    fn assign(&mut self, model: &'s Model, operation: GrantOperation, values: &str) {
        let found = match assignments(values) {
            Ok(found) => found,
            Err(wrong) => return self.fault("values", wrong.0),
        };
        // The script asks which type each field has.
        self.need(model, GrantOperation::Read, None);
        for Assignment { field: name, text } in &found {
            match model.field(name) {
                Ok(field) => {
                    self.need(model, operation, Some(name));
                    if let Some(problem) = misfit(name, field, text) {
                        self.fault("values", problem);
                    }
                }
                Err(error) => self.fault("values", error.message),
            }
            self.paths("values", text);
        }
    }

    fn text(&mut self, parameter: &str, text: &str) {
        match Text::parse(text) {
            Ok(text) => self.paths(parameter, &text),
            Err(wrong) => self.fault(parameter, wrong.0),
        }
    }

    fn paths(&mut self, parameter: &str, text: &Text) {
        for path in text.paths() {
            if let Some((field, Some(related))) = self.path(parameter, path)
                && field.kind.is_x2many()
            {
                self.need(related, GrantOperation::Read, None);
            }
        }
    }

    /// Every hop of a path is a read. Returns the field at its end, and where that leads.
    fn path(&mut self, parameter: &str, path: &str) -> Option<(&'s Field, Option<&'s Model>)> {
        let mut model = self.model?;
        let mut hops = path.split('.').peekable();
        while let Some(name) = hops.next() {
            let field = match model.field(name) {
                Ok(field) => field,
                Err(error) => {
                    self.fault(parameter, error.message);
                    return None;
                }
            };
            self.need(model, GrantOperation::Read, Some(name));
            let related = field.relation.as_deref().and_then(|relation| self.schema.models.get(relation));
            match (hops.peek().is_some(), field.kind, related) {
                (false, _, related) => return Some((field, related)),
                (true, FieldKind::Many2one, Some(related)) => model = related,
                (true, ..) => {
                    self.fault(
                        parameter,
                        format!("`{name}` in `{path}` is no link to one record; only those are followed"),
                    );
                    return None;
                }
            }
        }
        None
    }

    fn need(&mut self, model: &Model, operation: GrantOperation, field: Option<&str>) {
        let fields = self.rights.entry((model.name.clone(), operation)).or_default();
        fields.extend(field.map(str::to_owned));
    }

    fn fault(&mut self, parameter: &str, problem: String) {
        self.wrong.push((parameter.to_owned(), problem));
    }
}

/// Why a text without placeholders can never be a value of a field.
fn misfit(name: &str, field: &Field, text: &Text) -> Option<String> {
    let wants = |what: &str, text: &str| Some(format!("`{name}` wants {what}, not `{text}`"));
    if let FieldKind::Binary | FieldKind::One2many | FieldKind::Reference | FieldKind::Json = field.kind {
        return Some(format!("`{name}` is a {} field, which this script does not set", field.kind.name()));
    }
    let text = text.plain()?.trim();
    if text.is_empty() {
        return field.required.then(|| format!("`{name}` is required and cannot be cleared"));
    }
    match field.kind {
        FieldKind::Integer if text.parse::<i32>().is_err() => wants("a whole number", text),
        FieldKind::Float | FieldKind::Monetary if text.parse::<f64>().is_err() => wants("a number", text),
        FieldKind::Boolean if !matches!(text, "true" | "yes" | "1" | "false" | "no" | "0") => {
            wants("`true` or `false`", text)
        }
        FieldKind::Selection if !field.selection.iter().any(|(key, label)| key == text || label == text) => {
            let keys: Vec<_> = field.selection.iter().map(|(key, _)| key.as_str()).collect();
            wants(&format!("one of {}", keys.join(", ")), text)
        }
        _ => None,
    }
}

fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).filter(|name| !name.is_empty())
}
