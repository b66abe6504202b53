//! What a run has staged, as far as its own reads must show it: known values, and where only Odoo can know.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    schema::{Field, FieldKind, Schema},
    value::{FIRST_PROVISIONAL_ID, Id, Value},
};

/// A record: its model and id.
pub(crate) type Key = (String, Id);

/// Which fields follow from which others, by model and field.
pub(crate) type Depends = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// So many fields follow from each other in a row, at most: a server that tells of more is not followed further.
const DEEPEST: usize = 100;

/// What was gone through already to see what a field follows from.
#[derive(Default)]
struct Seen {
    fields: BTreeSet<(String, String)>,
    depth: usize,
}

/// What is staged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Overlay {
    given: Id,
    created: BTreeSet<Key>,
    deleted: BTreeSet<Key>,
    written: BTreeMap<Key, BTreeMap<String, Value>>,
    /// Records that a method was called on: any of their fields may change.
    called: BTreeSet<Key>,
    /// Fields of which some record's value changes.
    touched: BTreeSet<(String, String)>,
}

/// Where a value of a record is to be taken from.
#[derive(Debug, PartialEq)]
pub(crate) enum Source {
    /// From here.
    Staged(Value),
    /// From Odoo: nothing staged reaches it.
    Committed,
    /// From nobody before the commit.
    Pending,
    /// It cannot be said without this model's description.
    Unknown(String),
}

impl Overlay {
    /// A new record's id: good in this run only.
    pub(crate) fn new_id(&mut self) -> Id {
        self.given += 1;
        FIRST_PROVISIONAL_ID + self.given - 1
    }

    /// Goes back to what was staged earlier. What was given out since is given to no other record.
    pub(crate) fn undo(&mut self, earlier: Self) {
        *self = Self { given: self.given, ..earlier };
    }

    /// Whether this run gave out a number as an id.
    pub(crate) fn gave_out(&self, id: Id) -> bool {
        id >= FIRST_PROVISIONAL_ID && id - FIRST_PROVISIONAL_ID < self.given
    }

    pub(crate) fn create(&mut self, schema: &Schema, model: &str, id: Id, values: BTreeMap<String, Value>) {
        self.created.insert((model.to_owned(), id));
        if let Some(described) = schema.models.get(model) {
            // A list that it is not given leads to nobody, so nobody's list leads to it.
            let fields = described.fields.iter().filter(|(_, field)| field.kind != FieldKind::Many2many);
            self.touched.extend(fields.map(|(name, _)| (model.to_owned(), name.clone())));
        }
        self.write(schema, model, id, values);
    }

    pub(crate) fn write(&mut self, schema: &Schema, model: &str, id: Id, values: BTreeMap<String, Value>) {
        for field in values.keys() {
            self.touch(schema, model, field);
        }
        self.written.entry((model.to_owned(), id)).or_default().extend(values);
    }

    pub(crate) fn delete(&mut self, schema: &Schema, model: &str, id: Id) {
        self.deleted.insert((model.to_owned(), id));
        if let Some(described) = schema.models.get(model) {
            self.touched.extend(described.fields.keys().map(|field| (model.to_owned(), field.clone())));
        }
    }

    pub(crate) fn call(&mut self, schema: &Schema, model: &str, id: Id) {
        self.called.insert((model.to_owned(), id));
        if let Some(described) = schema.models.get(model) {
            self.touched.extend(described.fields.keys().map(|field| (model.to_owned(), field.clone())));
        }
    }

    /// A field changes, and with a one2many the other side of it.
    pub(crate) fn touch(&mut self, schema: &Schema, model: &str, field: &str) {
        self.touched.insert((model.to_owned(), field.to_owned()));
        let Some(field) = schema.models.get(model).and_then(|model| model.fields.get(field)) else { return };
        if let (FieldKind::One2many, Some(relation), Some(inverse)) =
            (field.kind, &field.relation, &field.relation_field)
        {
            self.touched.insert((relation.clone(), inverse.clone()));
        }
    }

    pub(crate) fn is_created(&self, model: &str, id: Id) -> bool {
        self.created.contains(&(model.to_owned(), id))
    }

    pub(crate) fn is_deleted(&self, model: &str, id: Id) -> bool {
        self.deleted.contains(&(model.to_owned(), id))
    }

    /// The records of a model that something is staged for, by id.
    pub(crate) fn records(&self, model: &str) -> BTreeSet<Id> {
        let keys = self.created.iter().chain(&self.deleted).chain(&self.called).chain(self.written.keys());
        keys.filter(|(name, _)| name == model).map(|(_, id)| *id).collect()
    }

    /// Whether anything is staged for records of a model.
    pub(crate) fn knows(&self, model: &str) -> bool {
        !self.records(model).is_empty()
    }

    /// Where a value comes from.
    pub(crate) fn source(&self, schema: &Schema, depends: &Depends, model: &str, id: Id, field: &str) -> Source {
        let key = (model.to_owned(), id);
        if let Some(value) = self.written.get(&key).and_then(|values| values.get(field)) {
            return match value {
                Value::Pending => Source::Pending,
                value => Source::Staged(value.clone()),
            };
        }
        if self.created.contains(&key) || self.called.contains(&key) {
            return Source::Pending;
        }
        if self.touched.is_empty() {
            return Source::Committed;
        }
        let mut seen = Seen::default();
        self.follows(schema, depends, model, Some(id), field, &mut seen)
    }

    /// Whether something staged reaches a path from any record of a model.
    pub(crate) fn reaches(&self, schema: &Schema, depends: &Depends, model: &str, path: &str) -> Source {
        if self.touched.is_empty() {
            return Source::Committed;
        }
        let mut seen = Seen::default();
        self.path(schema, depends, model, None, path, &mut seen)
    }

    /// Whether a field that was not written follows from one that was.
    fn follows(
        &self,
        schema: &Schema,
        depends: &Depends,
        model: &str,
        id: Option<Id>,
        field: &str,
        seen: &mut Seen,
    ) -> Source {
        let known = schema.models.get(model).filter(|model| !model.fields.is_empty());
        let Some(described) = known else { return Source::Unknown(model.to_owned()) };
        // Odoo keeps these by itself.
        if matches!(field, "write_date" | "write_uid") && self.any_written(model, id) {
            return Source::Pending;
        }
        match described.fields.get(field) {
            // The lists that a changed many2one is the other side of.
            Some(Field { relation: Some(relation), relation_field: Some(inverse), .. })
                if self.touched.contains(&(relation.clone(), inverse.clone())) =>
            {
                return Source::Pending;
            }
            Some(Field { kind: FieldKind::Many2many, relation: Some(relation), .. })
                if self.changes_other_side(schema, (model, field), relation) =>
            {
                return Source::Pending;
            }
            _ => {}
        }
        if !seen.fields.insert((model.to_owned(), field.to_owned())) {
            return Source::Committed;
        }
        if seen.depth == DEEPEST {
            return Source::Pending;
        }
        seen.depth += 1;
        for path in depends.get(model).and_then(|fields| fields.get(field)).into_iter().flatten() {
            match self.path(schema, depends, model, id, path, seen) {
                Source::Committed => {}
                other => return other,
            }
        }
        seen.depth -= 1;
        Source::Committed
    }

    /// Whether a list changes that a many2many field may be the other side of: which one that is, Odoo does not say.
    fn changes_other_side(&self, schema: &Schema, (model, field): (&str, &str), relation: &str) -> bool {
        let Some(other) = schema.models.get(relation) else { return false };
        other.fields.iter().any(|(name, one)| {
            one.kind == FieldKind::Many2many
                && one.relation.as_deref() == Some(model)
                && (relation, name.as_str()) != (model, field)
                && self.touched.contains(&(relation.to_owned(), name.clone()))
        })
    }

    fn any_written(&self, model: &str, id: Option<Id>) -> bool {
        match id {
            Some(id) => self.written.contains_key(&(model.to_owned(), id)),
            None => self.knows(model),
        }
    }

    /// Whether something staged reaches a path. With an id, the first step is this record's own.
    fn path(
        &self,
        schema: &Schema,
        depends: &Depends,
        model: &str,
        mut id: Option<Id>,
        path: &str,
        seen: &mut Seen,
    ) -> Source {
        let mut model = model.to_owned();
        for step in path.split('.') {
            let direct = match id {
                Some(id) => self.written.get(&(model.clone(), id)).is_some_and(|values| values.contains_key(step)),
                None => self.touched.contains(&(model.clone(), step.to_owned())),
            };
            if direct {
                return Source::Pending;
            }
            if step == "id" {
                return Source::Committed;
            }
            match self.follows(schema, depends, &model, id, step, seen) {
                Source::Committed => {}
                other => return other,
            }
            id = None;
            let field = schema.models.get(&model).and_then(|model| model.fields.get(step));
            match field.and_then(|field| field.relation.clone()) {
                Some(relation) => model = relation,
                None => return Source::Committed,
            }
        }
        Source::Committed
    }
}
