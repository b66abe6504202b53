//! Why the fires of a step may differ from the server's. Each cause has its reason in `known.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use triggerbox_automation::rule::{Rule, Trigger, check::Finding};
use triggerbox_model::{
    changes::{Change, ChangeKind},
    schema::{FieldKind, Schema},
    value::Value,
};

use super::{Fired, fires, text};

/// Why fires differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The server fires again on a record, for another field.
    Again,
    /// The server computes fields of a record that was made in the step, which is an update there.
    New,
    /// The server fires on a record that nobody changed.
    Unchanged,
    /// The server's database, or its own code, changes records behind its rules' back.
    Behind,
    /// The server judges the domain before a change once more in the midst of it.
    Midway,
    /// A rule watches a list of linked records.
    OtherSide,
    /// A rule watches a field that is not stored, or that the model does not have.
    NotStored,
    /// A rule that can never fire.
    Dead,
    /// A rule's code refuses what fired it.
    Refuses,
    /// A rule fires again in its own chain, for another field.
    Chain,
    /// The server fires a second later.
    Second,
    /// The server counts months back.
    Months,
}

impl Cause {
    /// As `known.toml` calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Again => "again",
            Self::New => "new",
            Self::Unchanged => "unchanged",
            Self::Behind => "behind",
            Self::Midway => "midway",
            Self::OtherSide => "other-side",
            Self::NotStored => "not-stored",
            Self::Dead => "dead",
            Self::Refuses => "refuses",
            Self::Chain => "chain",
            Self::Second => "second",
            Self::Months => "months",
        }
    }
}

/// Why a rule is refused that the server saves.
pub(super) fn refusal(schema: &Schema, steps: &[Json], tag: &str, rule: &Rule, finding: &Finding) -> Option<Cause> {
    let fires_there = steps.iter().flat_map(fires).any(|(of, _)| of == tag);
    if !fires_there {
        return Some(Cause::Dead);
    }
    let (Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields }) = &rule.trigger else {
        return (finding.code == "impossible-trigger").then_some(Cause::NotStored);
    };
    let model = schema.models.get(rule.model.as_deref().unwrap_or_default())?;
    let is_list = |name: &String| model.fields.get(name).is_some_and(|field| field.kind == FieldKind::One2many);
    let is_not_stored = |name: &String| model.fields.get(name).is_none_or(|field| !field.store);
    match fields {
        fields if finding.code == "impossible-trigger" && fields.iter().any(is_list) => Some(Cause::OtherSide),
        fields if fields.iter().any(is_not_stored) => Some(Cause::NotStored),
        _ => None,
    }
}

/// What a step did, as far as judging its fires goes.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What really changed.
    pub(super) changes: Vec<Change>,
    /// Rules that wait for updates.
    updates: BTreeSet<String>,
    /// Those of them that wait for updates of any field.
    anything: BTreeSet<String>,
    /// Those of them that judge a domain on the values before.
    before: BTreeSet<String>,
    /// The fields that a rule watches.
    watched: BTreeMap<String, Vec<String>>,
    /// Those that wait for a time after the last update.
    after_update: BTreeSet<String>,
    /// Rules whose code does something.
    busy: BTreeSet<String>,
}

impl Seen {
    /// Nothing yet. Rules with the server's name of each.
    pub(super) fn new<'r>(rules: impl Iterator<Item = (String, &'r Rule, bool)>) -> Self {
        let mut seen = Self::default();
        for (tag, rule, is_busy) in rules {
            if let Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields } = &rule.trigger {
                seen.watched.insert(tag.clone(), fields.clone());
            }
            if rule.before_domain.is_some() {
                seen.before.insert(tag.clone());
            }
            if matches!(rule.trigger, Trigger::AfterUpdate { .. }) {
                seen.after_update.insert(tag.clone());
            }
            if is_busy {
                seen.busy.insert(tag.clone());
            }
            if let Trigger::Updated { fields } | Trigger::CreatedOrUpdated { fields } = &rule.trigger
                && fields.is_empty()
            {
                seen.anything.insert(tag.clone());
            }
            if rule.trigger.is_on_record_change() && !matches!(rule.trigger, Trigger::Created {} | Trigger::Deleted {})
            {
                seen.updates.insert(tag);
            }
        }
        seen
    }

    /// Why fires differ from the server's: no cause, if they do not; nothing, if nobody knows.
    pub(super) fn judge(&self, op: &Json, expected: &[Fired], got: &[Fired]) -> Option<BTreeSet<Cause>> {
        let (theirs, ours) = (count(expected), count(got));
        let mut causes = BTreeSet::new();
        // What code does again that fires again there is done only there.
        let repeats = |(fire, times): (&&Fired, &usize)| {
            self.busy.contains(&fire.0) && *times > ours.get(*fire).copied().unwrap_or_default()
        };
        if theirs.iter().any(repeats) {
            causes.insert(Cause::Again);
        }
        for (fire, times) in &theirs {
            match ours.get(fire).copied().unwrap_or_default() {
                0 if causes.contains(&Cause::Again) => {}
                0 => causes.extend([self.needless(fire)?]),
                fewer if fewer < *times => causes.extend([Cause::Again]),
                _ => {}
            }
        }
        for (fire, times) in &ours {
            match theirs.get(fire).copied().unwrap_or_default() {
                0 if self.is_behind(op, fire) => causes.extend([Cause::Behind]),
                0 => return None,
                fewer if fewer < *times => causes.extend([Cause::Chain]),
                _ => {}
            }
        }
        Some(causes)
    }

    /// Why the server fires on a record on which nothing fires here.
    fn needless(&self, (tag, record): &Fired) -> Option<Cause> {
        let mut of_record = self.changes.iter().filter(|change| change.record == *record).peekable();
        if of_record.peek().is_none() {
            if self.after_update.contains(tag) {
                return Some(Cause::Unchanged);
            }
            // A watched field that the server says has changed, and has not here, is one that is missing here.
            return self.anything.contains(tag).then_some(Cause::Unchanged);
        }
        if of_record.any(|change| change.kind == ChangeKind::Created) {
            return self.updates.contains(tag).then_some(Cause::New);
        }
        (self.anything.contains(tag) && self.before.contains(tag)).then_some(Cause::Midway)
    }

    /// Whether code did something again there: from then on, the records are others.
    pub(super) fn parts(&self, causes: &BTreeSet<Cause>) -> bool {
        !self.busy.is_empty()
            && [Cause::Again, Cause::New, Cause::Unchanged, Cause::Chain].iter().any(|cause| causes.contains(cause))
    }

    /// Whether a record only lost what was deleted, or went with it, or follows the address of the company that it is of.
    fn is_behind(&self, op: &Json, (tag, record): &Fired) -> bool {
        const ADDRESS: [&str; 4] = ["street", "zip", "city", "country_id"];
        /// What the server's lead adds to what is written.
        const CHANCE: [&str; 3] = ["probability", "automated_probability", "date_closed"];
        let written = |name: &str| op.pointer(&format!("/vals/{name}")).is_some();
        let only = |some: &[&str]| {
            self.watched.get(tag).is_some_and(|fields| {
                !fields.is_empty() && fields.iter().all(|field| some.contains(&field.as_str()) && !written(field))
            })
        };
        if record.model == "crm.lead" && only(&CHANCE) || record.model == "res.partner" && only(&ADDRESS) {
            return true;
        }
        let is_asked_for = matches!(text(op, "op").as_str(), "unlink" | "write")
            && text(op, "model") == record.model
            && match op.get("ids") {
                Some(Json::Array(ids)) => ids.iter().any(|id| id.as_u64() == Some(u64::from(record.id))),
                Some(id) => id.as_u64() == Some(u64::from(record.id)),
                None => false,
            };
        let follows = |change: &Change| {
            change.record.model == "res.partner"
                && change.fields.iter().all(|field| ADDRESS.contains(&field.field.as_str()))
        };
        let deletes = self.changes.iter().any(|change| change.kind == ChangeKind::Deleted);
        let lost = |change: &Change| {
            change.kind == ChangeKind::Deleted
                || change.fields.iter().all(|field| match (&field.old, &field.new) {
                    (_, Value::Unset) => true,
                    (Value::Ids(old), Value::Ids(new)) => new.iter().all(|id| old.contains(id)),
                    _ => false,
                })
        };
        let mut of_record = self.changes.iter().filter(|change| change.record == *record);
        !is_asked_for
            && of_record.clone().next().is_some()
            && (of_record.clone().all(follows) || deletes && of_record.all(lost))
    }
}

fn count(fires: &[Fired]) -> BTreeMap<&Fired, usize> {
    let mut times = BTreeMap::new();
    for fire in fires {
        *times.entry(fire).or_default() += 1;
    }
    times
}
