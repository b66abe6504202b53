//! Records as they were before a step of a transaction: what rules on deletions, and domains on the values before, judge.

use std::{
    cell::{OnceCell, RefCell},
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use triggerbox_model::{
    changes::{Change, ChangeKind},
    domain::{
        eval::Records,
        filter::{Cell, Link, LinkStorage},
    },
    error::Error,
    value::{Id, RecordRef, Value},
};

/// Stored records, and what a transaction did to them, step by step.
pub(crate) struct Past<'a> {
    base: &'a dyn Records,
    merged: &'a [Change],
    steps: &'a [Vec<Change>],
    told: OnceCell<Told<'a>>,
    /// By model and field: which changed records ever pointed to a record. Put together when it is first asked for.
    pointing: RefCell<HashMap<(String, String), Rc<Pointing>>>,
}

/// What the changes tell, put together when the past is first looked at: most transactions have no rule that does.
#[derive(Default)]
struct Told<'a> {
    /// What happened to each record, in order, with the step.
    changes: HashMap<&'a RecordRef, Vec<(usize, &'a Change)>>,
    /// The changed records of each model.
    models: HashMap<&'a str, BTreeSet<Id>>,
}

impl<'a> Told<'a> {
    fn step(&mut self, at: usize, changes: &'a [Change]) {
        for change in changes {
            self.changes.entry(&change.record).or_default().push((at, change));
            self.models.entry(&change.record.model).or_default().insert(change.record.id);
        }
    }

    fn of(&self, record: &RecordRef) -> &[(usize, &'a Change)] {
        self.changes.get(record).map_or(&[], Vec::as_slice)
    }
}

type Pointing = HashMap<Id, BTreeSet<Id>>;

impl<'a> Past<'a> {
    /// `steps`: what each step changed; empty: all of `changes` was one step.
    pub(crate) fn new(base: &'a dyn Records, changes: &'a [Change], steps: &'a [Vec<Change>]) -> Self {
        Self { base, merged: changes, steps, told: OnceCell::new(), pointing: RefCell::default() }
    }

    /// All records just before what a change tells: before the step that deleted the record, or that first changed it.
    pub(crate) fn before(&self, change: &'a Change) -> Then<'_, 'a> {
        Then { past: self, change, step: OnceCell::new() }
    }

    fn told(&self) -> &Told<'a> {
        self.told.get_or_init(|| {
            let mut told = Told::default();
            if self.steps.is_empty() {
                told.step(0, self.merged);
            }
            for (at, step) in self.steps.iter().enumerate() {
                told.step(at, step);
            }
            told
        })
    }

    fn pointing(&self, model: &str, field: &str) -> Rc<Pointing> {
        let key = (model.to_owned(), field.to_owned());
        if let Some(known) = self.pointing.borrow().get(&key) {
            return Rc::clone(known);
        }
        let mut pointing = Pointing::new();
        let changed = self.told().changes.iter().filter(|(record, _)| record.model == model);
        for (record, all) in changed {
            let told = all.iter().flat_map(|(_, change)| &change.fields).filter(|told| told.field == field);
            for to in told.filter_map(|told| target(&told.old)) {
                pointing.entry(to).or_default().insert(record.id);
            }
        }
        let pointing = Rc::new(pointing);
        self.pointing.borrow_mut().insert(key, Rc::clone(&pointing));
        pointing
    }
}

/// Records as they were before a step.
pub(crate) struct Then<'p, 'a> {
    past: &'p Past<'a>,
    change: &'a Change,
    step: OnceCell<usize>,
}

impl<'a> Then<'_, 'a> {
    fn step(&self) -> usize {
        *self.step.get_or_init(|| {
            let all = self.past.told().of(&self.change.record);
            let step = match self.change.kind {
                ChangeKind::Deleted => all.iter().rfind(|(_, change)| change.kind == ChangeKind::Deleted),
                ChangeKind::Created | ChangeKind::Updated => all.first(),
            };
            step.map_or(0, |(step, _)| *step)
        })
    }

    /// What happened to a record in this step and later.
    fn later(&self, model: &str, id: Id) -> impl Iterator<Item = &'a Change> {
        let step = self.step();
        let all = self.past.told().of(&RecordRef::new(model, id)).iter();
        all.filter(move |(at, _)| *at >= step).map(|(_, change)| *change)
    }

    /// What a field was; none: it is as it is stored. What a deleted record does not tell was not set.
    fn was(&self, model: &str, id: Id, field: &str) -> Option<&'a Value> {
        self.later(model, id).find_map(|change| {
            let told = change.fields.iter().find(|told| told.field == field).map(|told| &told.old);
            told.or((change.kind != ChangeKind::Updated).then_some(&Value::Unset))
        })
    }

    /// Whether a record was there; none: as it is stored.
    fn was_there(&self, model: &str, id: Id) -> Option<bool> {
        Some(self.later(model, id).next()?.kind != ChangeKind::Created)
    }
}

/// The record that a link, or the number of a record, points to.
fn target(value: &Value) -> Option<Id> {
    match value {
        Value::Many2one(to) => Some(to.id),
        Value::Integer(to) => Id::try_from(*to).ok(),
        _ => None,
    }
}

impl Records for Then<'_, '_> {
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error> {
        match (column, self.was_there(model, id)) {
            ("id", Some(true)) => Ok(Cell::Integer(i64::from(id))),
            (_, Some(false)) => Ok(Cell::Null),
            _ => self.was(model, id, column).map_or_else(|| self.past.base.cell(model, id, column), Cell::of),
        }
    }

    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error> {
        self.past.base.translation(model, id, column, lang)
    }

    fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        self.was_there(model, id).map_or_else(|| self.past.base.exists(model, id), Ok)
    }

    fn all(&self, model: &str) -> Result<Vec<Id>, Error> {
        let mut all: BTreeSet<Id> = self.past.base.all(model)?.into_iter().collect();
        for id in self.past.told().models.get(model).into_iter().flatten() {
            match self.was_there(model, *id) {
                Some(true) => drop(all.insert(*id)),
                Some(false) => drop(all.remove(id)),
                None => {}
            }
        }
        Ok(all.into_iter().collect())
    }

    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
        match (&link.storage, self.was(model, id, &link.field)) {
            (LinkStorage::One2many(inverse), _) => {
                let mut linked = self.past.base.linked(model, id, link)?;
                linked.retain(|other| self.was(&link.model, *other, inverse).is_none());
                // Which model a message or an activity means, the filter asks.
                let pointed = |other: &&Id| self.was(&link.model, **other, inverse).and_then(target) == Some(id);
                linked.extend(self.past.pointing(&link.model, inverse).get(&id).into_iter().flatten().filter(pointed));
                Ok(linked)
            }
            (_, Some(Value::Ids(ids))) => Ok(ids.clone()),
            (_, Some(Value::Many2one(to))) => Ok(vec![to.id]),
            (_, Some(_)) => Ok(Vec::new()),
            (_, None) => self.past.base.linked(model, id, link),
        }
    }
}
