//! Rules that stand before a write: they may add values to it or refuse it. They run on a snapshot, while no lock is held;
//! what they read is compared when the write is committed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use triggerbox_model::{
    call::{Call, Command, WITH_CONTEXT},
    changes::{Change, ChangeKind, ChangeSet, Diff, Effect, Seen, SeenBy},
    domain::memory::Changed,
    error::Error,
    event::{Failure, Outcome, Trigger as Happened},
    grants::{Authority, GrantOperation, Need},
    limits::Class,
    schema::Schema,
    value::{FieldValue, Id, RecordRef, Snapshot, Value, is_provisional},
};
use triggerbox_sandbox::Ending;
use triggerbox_store::{
    env::Env,
    query::{self, records::Stored},
    session::{Behind, Session},
};

use super::{Engine, attempt::Lines, finish};
use crate::{
    beside,
    dispatch::{Cause, Dispatcher},
    error::EngineError,
    firing::Firing,
    guard::{all_within, among, domain_of, reached_through_a_path, unbounded},
    index::{Armed, Index},
    journal::Keep,
    logs,
    matcher::judged,
    needs::needs,
    people,
    play::{Done, Task, play},
    queue,
    refusals::{self, Refusal},
    report::{Report, Verdict},
    rule::{OnError, Trigger, trigger::Write},
    runner,
    runs::RunState,
    seen,
};

/// The rules that stand before the writes of one change.
pub(super) struct Gate<'e> {
    engine: &'e Engine,
    index: Arc<Index>,
    env: Env,
    actor: Id,
    /// How deep the run that changes something is in its chain; none: it is somebody's own change.
    depth: Option<u32>,
    now: Timestamp,
    /// What records that this very change makes will hold.
    made: HashMap<(String, Id), Vec<FieldValue>>,
    /// What this very change wrote on records by now, in order.
    written: HashMap<(String, Id), Vec<Arc<Vec<FieldValue>>>>,
    /// What was read for them.
    pub(super) found: Found,
}

/// What was read while rules looked at a change, which is right only as long as all of it holds.
#[derive(Default)]
pub(super) struct Found {
    /// By the change itself.
    own: Vec<Seen>,
    /// By the rules, each with the rights of its own user.
    rules: Vec<SeenBy>,
    /// What is deleted because it leaves a list that it cannot be without; none: nobody was asked.
    left: Option<Vec<RecordRef>>,
}

impl Found {
    /// Has the commit of a change compare it.
    pub(super) fn note_in(self, changes: &mut ChangeSet) {
        changes.reads.extend(self.own);
        changes.others.extend(self.rules);
        changes.left = self.left;
    }

    fn add(&mut self, user: Id, superuser: bool, reads: Vec<Seen>) {
        match self.rules.iter_mut().find(|by| by.user == user && by.superuser == superuser) {
            Some(by) => by.reads.extend(reads),
            None if reads.is_empty() => {}
            None => self.rules.push(SeenBy { user, superuser, reads }),
        }
    }
}

/// One write, as a rule before it sees it.
struct Asked<'w> {
    kind: Write,
    model: &'w str,
    ids: &'w [Id],
    values: &'w mut Vec<FieldValue>,
}

/// Records that a rule is about, with what they held before.
type About = (Vec<Id>, Vec<Snapshot>);

/// A record that is not there yet: no other has this number.
const NEW: Id = Id::MAX;

/// Records of one write on which the same is written.
#[derive(Default)]
struct Part {
    ids: Vec<Id>,
    values: Vec<FieldValue>,
    /// Those of the values that rules added.
    added: Vec<FieldValue>,
}

impl Part {
    /// Adds values to these of its records; the others are a part of their own then.
    fn add(&mut self, ids: Vec<Id>, new: Vec<FieldValue>) -> Option<Self> {
        if new.is_empty() {
            return None;
        }
        let these: HashSet<Id> = ids.iter().copied().collect();
        let others: Vec<Id> = self.ids.iter().copied().filter(|id| !these.contains(id)).collect();
        let rest = Self { ids: others, values: self.values.clone(), added: self.added.clone() };
        self.ids = ids;
        for value in new {
            for list in [&mut self.values, &mut self.added] {
                list.retain(|known| known.name != value.name);
                list.push(value.clone());
            }
        }
        (!rest.ids.is_empty()).then_some(rest)
    }
}

/// A write that a rule adds to a change.
pub(super) struct Added {
    /// The number of the effect that it belongs to.
    effect: usize,
    write: Call,
}

impl<'e> Gate<'e> {
    /// The gate of a change; none, when no rule stands before any write.
    pub(super) fn new(engine: &'e Engine, actor: Id, depth: Option<u32>) -> Result<Option<Self>, EngineError> {
        let (index, now) = (engine.rules()?, engine.clock().now());
        if !index.has_before_rules() {
            return Ok(None);
        }
        let Some(env) = index.env(now) else { return Ok(None) };
        let (made, written, found) = (HashMap::new(), HashMap::new(), Found::default());
        Ok(Some(Self { engine, index, env, actor, depth, now, made, written, found }))
    }

    /// Has the rules look at a call before it is made. The writes that follow it: what rules add to some of its records only.
    pub(super) async fn pass(&mut self, call: &mut Call) -> Result<Vec<Call>, EngineError> {
        match call {
            Call::Create { model, values } => {
                for values in values {
                    self.ask(Asked { kind: Write::Create, model, ids: &[], values }).await?;
                }
            }
            Call::Write { model, ids, values } => {
                let whole = Part { ids: std::mem::take(ids), values: std::mem::take(values), added: Vec::new() };
                let parts = self.ask_each(Write::Update, model, whole).await?;
                parts.iter().for_each(|part| self.wrote(model, &part.ids, part.values.clone()));
                let mut parts = parts.into_iter();
                if let Some(first) = parts.next() {
                    (*ids, *values) = (first.ids, first.values);
                }
                let write = |Part { ids, values, .. }| Call::Write { model: model.clone(), ids, values };
                return Ok(parts.map(write).collect());
            }
            Call::Unlink { model, ids } => {
                self.ask(Asked { kind: Write::Delete, model, ids, values: &mut Vec::new() }).await?;
            }
            // Whether a record is made is known at the commit; if it is, the rules have seen it.
            Call::Ensure { model, values, .. } => {
                self.ask(Asked { kind: Write::Create, model, ids: &[], values }).await?;
            }
            // What is copied is what was let in before.
            Call::Copy { target, values } => {
                self.ask(Asked { kind: Write::Create, model: &target.model, ids: &[], values }).await?;
            }
            Call::Relate { target, field, commands } => {
                self.commands(&target.model, field, commands).await?;
            }
            // What a method does to them is not what was written before it.
            Call::CallMethod { model, ids, .. } => self.forget(model, ids),
            // What methods and messages write is known once they are staged.
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Keeps what was written on records: the next write on them is judged by it.
    fn wrote(&mut self, model: &str, ids: &[Id], values: Vec<FieldValue>) {
        if !self.index.stands_before(model) {
            return;
        }
        let values = Arc::new(values);
        for id in ids {
            self.written.entry((model.to_owned(), *id)).or_default().push(Arc::clone(&values));
        }
    }

    /// Lets go of what was written on records: they may be otherwise by now.
    fn forget(&mut self, model: &str, ids: &[Id]) {
        for id in ids {
            self.written.remove(&(model.to_owned(), *id));
        }
    }

    /// Has the rules look at what is done to related records; whether they add something. A list of the record's own is written
    /// with the record: what it comes to is known once it is staged.
    async fn commands(&mut self, model: &str, field: &str, commands: &mut [Command]) -> Result<bool, EngineError> {
        let schema = Arc::clone(self.engine.database().schema());
        let related = schema.model(model)?.field(field)?.relation.as_deref().unwrap_or_default();
        let mut added = false;
        for command in commands {
            let (kind, ids, values) = match command {
                Command::Create(values) => (Write::Create, Vec::new(), values),
                Command::Update(id, values) => (Write::Update, vec![*id], values),
                Command::Delete(id) => (Write::Delete, vec![*id], &mut Vec::new()),
                // What is deleted because it leaves the list is known once they are staged.
                Command::Link(_) | Command::Unlink(_) | Command::Clear | Command::Replace(_) => continue,
            };
            added |= !self.ask(Asked { kind, model: related, ids: &ids, values }).await?.is_empty();
            self.forget(related, &ids);
        }
        Ok(added)
    }

    /// Has the rules look at what a run wants to change; the writes that they add to it.
    pub(super) async fn pass_all(&mut self, changes: &ChangeSet) -> Result<Vec<Added>, EngineError> {
        let mut more = Vec::new();
        let gone = |model: &str, id: Id| {
            let deletes = |effect: &Effect| matches!(effect, Effect::Unlink { model: other, ids } if other == model && ids.contains(&id));
            changes.effects.iter().any(deletes)
        };
        for (number, effect) in changes.effects.iter().enumerate() {
            let mut add = |model: &str, ids: &[Id], values: Vec<FieldValue>| {
                let ids: Vec<Id> = ids.iter().copied().filter(|id| !gone(model, *id)).collect();
                if !(ids.is_empty() || values.is_empty()) {
                    more.push(Added { effect: number, write: Call::Write { model: model.to_owned(), ids, values } });
                }
            };
            match effect {
                Effect::Create { model, values, ids } => {
                    for (values, id) in values.iter().zip(ids) {
                        let mut values = values.clone();
                        let asked = Asked { kind: Write::Create, model, ids: &[], values: &mut values };
                        add(model, &[*id], self.ask(asked).await?);
                        self.made.insert((model.clone(), *id), values);
                    }
                }
                Effect::Write { model, ids, values } => {
                    let whole = Part { ids: ids.clone(), values: values.clone(), added: Vec::new() };
                    for part in self.ask_each(Write::Update, model, whole).await? {
                        self.wrote(model, &part.ids, part.values);
                        add(model, &part.ids, part.added);
                    }
                }
                Effect::Unlink { model, ids } => {
                    self.ask(Asked { kind: Write::Delete, model, ids, values: &mut Vec::new() }).await?;
                }
                Effect::Ensure { model, values, id, .. } => {
                    let asked = Asked { kind: Write::Create, model, ids: &[], values: &mut values.clone() };
                    add(model, &[*id], self.ask(asked).await?);
                }
                Effect::Copy { target, values, id } => {
                    let model = &target.model;
                    let asked = Asked { kind: Write::Create, model, ids: &[], values: &mut values.clone() };
                    add(model, &[*id], self.ask(asked).await?);
                }
                Effect::Relate { target, field, commands }
                    if self.commands(&target.model, field, &mut commands.clone()).await? =>
                {
                    let text = format!(
                        "a rule that stands before the write wants to add values to a record that is written through \
                         `{field}` of `{}`; write it by itself",
                        target.model
                    );
                    return Err(Error::rejected("write-it-by-itself", text).into());
                }
                Effect::CallMethod { model, ids, .. } => self.forget(model, ids),
                _ => {}
            }
        }
        Ok(more)
    }

    /// Has the rules look at what methods, messages, activities and copies write, on whichever model, and at what is deleted
    /// because it leaves a list that it cannot be without; the writes that they add to it. What these found is compared at the commit: they do then what the rules have seen.
    pub(super) async fn pass_behind(&mut self, behind: Behind) -> Result<Vec<Added>, EngineError> {
        let mut more = Vec::new();
        // What methods find is not what was written after them.
        self.written.clear();
        let deleted = behind.changes.iter().filter(|(_, change)| change.kind == ChangeKind::Deleted);
        let gone: Vec<RecordRef> = deleted.map(|(_, change)| change.record.clone()).collect();
        self.found.left = Some(behind.left);
        self.found.own.extend(behind.found.into_iter().filter(|seen| self.index.stands_before(&seen.record.model)));
        for (effect, Change { record, kind, fields }) in behind.changes {
            if !self.index.stands_before(&record.model) {
                continue;
            }
            let is_gone = gone.contains(&record);
            let RecordRef { model, id } = record;
            let known = fields.into_iter().filter(|field| field.new != Value::Pending);
            let mut values: Vec<_> = known.map(|field| FieldValue::new(&field.field, field.new)).collect();
            let kind = match kind {
                ChangeKind::Created => Write::Create,
                ChangeKind::Updated => Write::Update,
                ChangeKind::Deleted => Write::Delete,
            };
            let ids = if kind == Write::Create { Vec::new() } else { vec![id] };
            if kind == Write::Delete {
                values.clear();
            }
            let seen = values.clone();
            let mut added = self.ask(Asked { kind, model: &model, ids: &ids, values: &mut values }).await?;
            added.retain(|value| !seen.contains(value));
            if kind == Write::Create && !added.is_empty() {
                // It has no number that a call could name.
                let text = format!(
                    "a rule that stands before the write wants to add values to a `{model}` that a method, a message or a \
                     copy makes; write it by itself"
                );
                return Err(Error::rejected("write-it-by-itself", text).into());
            }
            if kind == Write::Update && !added.is_empty() && !is_gone {
                more.push(Added { effect, write: Call::Write { model, ids, values: added } });
            }
        }
        Ok(more)
    }

    /// Asks each rule in turn; what one adds, the next one sees. All that was added: no record of it is left out.
    async fn ask(&mut self, asked: Asked<'_>) -> Result<Vec<FieldValue>, EngineError> {
        let Asked { kind, model, ids, values } = asked;
        let whole = Part { ids: ids.to_vec(), values: std::mem::take(values), added: Vec::new() };
        let first = self.ask_each(kind, model, whole).await?.into_iter().next().unwrap_or_default();
        *values = first.values;
        Ok(first.added)
    }

    /// The same of a write of several records. A rule adds nothing to those that it is not about: they are a part of their own
    /// from then on.
    async fn ask_each(&mut self, kind: Write, model: &str, whole: Part) -> Result<Vec<Part>, EngineError> {
        let rules: Vec<Arc<Armed>> = self.index.before_writes(model).cloned().collect();
        let mut parts = vec![whole];
        for rule in rules {
            let mut others = Vec::new();
            for part in &mut parts {
                others.extend(self.ask_one(&rule, kind, model, part).await?);
            }
            parts.append(&mut others);
        }
        Ok(parts)
    }

    /// Asks one rule about a part of a write; the records that are left out of what it adds.
    async fn ask_one(
        &mut self,
        rule: &Arc<Armed>,
        kind: Write,
        model: &str,
        part: &mut Part,
    ) -> Result<Option<Part>, EngineError> {
        let asked = Asked { kind, model, ids: &part.ids, values: &mut part.values };
        if !waits_for(&rule.rule.trigger, &asked) {
            return Ok(None);
        }
        let (ids, old_values) = match self.concerned(rule, &asked)? {
            Ok(Some(about)) => about,
            Ok(None) => return Ok(None),
            // It cannot be said whether the rule is about them.
            Err(error) => {
                self.broke(rule, &error.into(), Heard::default()).await?;
                return Ok(None);
            }
        };
        let added = self.run(rule, &asked, &ids, old_values).await?;
        Ok(part.add(ids, added))
    }

    /// The records of a write that match the rule, with what the written fields hold now; none: it is about none of them. What is
    /// wrong with the rule, if that cannot be said.
    fn concerned(&self, rule: &Armed, asked: &Asked<'_>) -> Result<Result<Option<About>, Error>, EngineError> {
        if let Some(broken) = &rule.broken {
            return Ok(Err(broken.clone()));
        }
        let conn = self.engine.database().snapshot()?;
        let stored = Stored(&conn);
        if asked.kind == Write::Create {
            let mut record = Changed::new(&stored, asked.model);
            record.columns.entry(NEW).or_default();
            for value in asked.values.iter() {
                record.set(NEW, &value.name, &value.value)?;
            }
            return Ok(match judged(rule.after.holds(&conn, &self.env, &record, asked.model, NEW))? {
                Some(None) => Ok(Some(About::default())),
                None => Ok(None),
                Some(Some(error)) => Err(error),
            });
        }
        let mut ids = Vec::new();
        for id in asked.ids {
            let mut before = Changed::new(&stored, asked.model);
            let record = (asked.model.to_owned(), *id);
            let made = self.made.get(&record).into_iter().flatten();
            let written = self.written.get(&record).into_iter().flatten().flat_map(|values| values.iter());
            for value in made.chain(written) {
                before.set(*id, &value.name, &value.value)?;
            }
            let mut after = Changed { base: &before, model: asked.model, ..Changed::new(&stored, asked.model) };
            for value in asked.values.iter() {
                after.set(*id, &value.name, &value.value)?;
            }
            let held = rule.before.holds(&conn, &self.env, &before, asked.model, *id);
            let holds = held.and_then(|held| Ok(held && rule.after.holds(&conn, &self.env, &after, asked.model, *id)?));
            match judged(holds)? {
                Some(None) => ids.push(*id),
                None => {}
                Some(Some(error)) => return Ok(Err(error)),
            }
        }
        if ids.is_empty() {
            return Ok(Ok(None));
        }
        let fields: Vec<String> = asked.values.iter().map(|value| value.name.clone()).collect();
        let there: Vec<Id> = ids.iter().copied().filter(|id| !is_provisional(*id)).collect();
        let rows = match fields.is_empty() {
            true => Vec::new(),
            false => query::read::read(&conn, &self.env, asked.model, &there, &fields)?,
        };
        let old = rows.into_iter().map(|row| {
            let values = fields.iter().zip(row.values).map(|(name, value)| FieldValue::new(name, value));
            Snapshot { id: row.id, fields: values.collect() }
        });
        Ok(Ok(Some((ids, old.collect()))))
    }

    /// Runs one rule; the values that it adds.
    async fn run(
        &mut self,
        rule: &Arc<Armed>,
        asked: &Asked<'_>,
        ids: &[Id],
        old_values: Vec<Snapshot>,
    ) -> Result<Vec<FieldValue>, EngineError> {
        let trigger = match asked.kind {
            Write::Create => Happened::BeforeCreate(asked.values.clone()),
            Write::Update => {
                let about = ids.iter().map(|id| Snapshot { id: *id, fields: asked.values.clone() });
                Happened::BeforeUpdate(about.collect())
            }
            Write::Delete => Happened::BeforeDelete,
        };
        let (actor, depth, now, first) = (self.actor, self.depth.unwrap_or(0), self.now, ids.first().copied());
        let question = Question { actor, depth, now, trigger, records: ids.to_vec(), old_values };
        let mut heard = Heard::default();
        match self.engine.ask_scripts(rule, question, &mut heard).await {
            Ok(Answered::Values(values, mut session)) => match check_grants(asked, ids, &heard, &mut session) {
                Ok(()) => {
                    self.found.add(rule.run_as, rule.rule.superuser, session.seen());
                    Ok(values)
                }
                // What it may not add it does not add, and whoever can mend it hears of that.
                Err(error @ EngineError::Refused(_)) => {
                    self.engine.note_broken(rule, self.actor, &error, heard).await?;
                    if rule.rule.on_error == OnError::Pass { Ok(Vec::new()) } else { Err(error) }
                }
                Err(error) => Err(error),
            },
            Ok(Answered::Refused(text)) => {
                // A run that is refused says so itself.
                if self.depth.is_none() {
                    self.note_refusal(rule, (asked.kind, first), &text).await?;
                }
                Err(Error::rejected("refused-before-write", text).into())
            }
            Err(EngineError::Database(error)) => Err(error.into()),
            Err(error) => {
                self.broke(rule, &error, heard).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Keeps that a rule broke; whether the write goes on without it is as the rule says.
    async fn broke(&self, rule: &Arc<Armed>, error: &EngineError, heard: Heard) -> Result<(), EngineError> {
        self.engine.note_broken(rule, self.actor, error, heard).await?;
        if rule.rule.on_error == OnError::Pass {
            return Ok(());
        }
        let text = format!("rule `{}` stands before this change and is broken: {error}", rule.rule.name);
        Err(Error::rejected("broken-before-rule", text).into())
    }

    /// Keeps that a rule refused a write, whatever becomes of that. It is no failure of the rule's.
    async fn note_refusal(
        &self,
        rule: &Armed,
        (kind, record): (Write, Option<Id>),
        text: &str,
    ) -> Result<(), EngineError> {
        let kind = match kind {
            Write::Create => "create",
            Write::Update => "update",
            Write::Delete => "delete",
        };
        let refusal =
            Refusal { at: self.now, actor: self.actor, kind: kind.to_owned(), record, message: text.to_owned() };
        let name = rule.rule.name.clone();
        let note = move |conn: &rusqlite::Connection| {
            refusals::note(conn, &name, &refusal)?;
            Ok::<_, EngineError>(())
        };
        beside::apart(self.engine.committer().commit_beside(note)).await
    }
}

/// Each script of a rule adds only what it asked for, and what rule and policy let it, on the records that they let it.
fn check_grants(asked: &Asked<'_>, ids: &[Id], heard: &Heard, session: &mut Session) -> Result<(), EngineError> {
    // Whoever may write a field may also say what a record that somebody else makes has in it.
    let operations: &[GrantOperation] = match asked.kind {
        Write::Create => &[GrantOperation::Create, GrantOperation::Write],
        Write::Update | Write::Delete => &[GrantOperation::Write],
    };
    let schema = Arc::clone(&session.env().schema);
    for (authority, step) in heard.authorities.iter().zip(&heard.steps) {
        let Ending::Done(Outcome { values, .. }) = &step.ending else { continue };
        if values.is_empty() {
            continue;
        }
        let mut judged = Ok(());
        for operation in operations {
            let need = Need::new(asked.model, *operation).with_fields(values.iter().map(|value| &value.name));
            judged = may_add(authority, &need, ids, session)?;
            if judged.is_ok() {
                break;
            }
        }
        judged?;
        for need in reached(&schema, asked, values)? {
            let allowed = authority.allow(&need).map_err(Error::from)?;
            if let Some(bound) = allowed.bounds.first() {
                return Err(reached_through_a_path(&need, bound.side).into());
            }
        }
    }
    Ok(())
}

/// What values need on other records than those that they are added to: what leaves a list may be deleted by that.
fn reached(schema: &Schema, asked: &Asked<'_>, values: &[FieldValue]) -> Result<Vec<Need>, Error> {
    let (model, values) = (asked.model.to_owned(), values.to_vec());
    let call = match asked.kind {
        Write::Create => Call::Create { model, values: vec![values] },
        Write::Update | Write::Delete => Call::Write { model, ids: Vec::new(), values },
    };
    Ok(needs(schema, &call)?.into_iter().filter(|need| need.reached).collect())
}

/// Whether the sides let a script add values to all of these records; to one that is not there yet, if there are none.
fn may_add(
    authority: &Authority,
    need: &Need,
    ids: &[Id],
    session: &mut Session,
) -> Result<Result<(), Error>, EngineError> {
    let allowed = match authority.allow(need) {
        Ok(allowed) => allowed,
        Err(refusal) => return Ok(Err(refusal.into())),
    };
    for bound in &allowed.bounds {
        // A record that this very change makes is somebody else's, and is not there yet to be matched.
        if ids.is_empty() || ids.iter().any(|id| is_provisional(*id)) {
            return Ok(Err(unbounded(need, bound.side)));
        }
        let domain = match domain_of(bound) {
            Ok(domain) => domain,
            Err(error) => return Ok(Err(error)),
        };
        let judged = session.call(among(need, ids, &domain))?;
        let judged = judged.and_then(|found| all_within(need, ids, (bound.side, &domain), found));
        if judged.is_err() {
            return Ok(judged);
        }
    }
    Ok(Ok(()))
}

/// The arguments that set the run's own context again.
const OWN_CONTEXT: &str = "{\"context\": {}}";

/// Stages the writes that rules add, each in the context of the change that it belongs to.
pub(super) fn stage(session: &mut Session, mut added: Vec<Added>) -> Result<(), EngineError> {
    if added.is_empty() {
        return Ok(());
    }
    added.sort_by_key(|added| added.effect);
    let changes = session.changes();
    let set = changes.effects.iter().enumerate().filter_map(|(at, effect)| match effect {
        Effect::CallMethod { model, method, arguments_json, .. } if method == WITH_CONTEXT => {
            Some((at, model.as_str(), arguments_json.as_str()))
        }
        _ => None,
    });
    let contexts: Vec<(usize, &str, &str)> = set.collect();
    let left = session.left();
    // How many contexts were set before what is staged next; before the first one it was the run's own.
    let mut here = contexts.len();
    for Added { effect, write } in added {
        let wanted = contexts.partition_point(|(at, ..)| *at < effect);
        if wanted != here {
            let own = contexts.first().map(|(_, model, _)| (*model, OWN_CONTEXT));
            let earlier = |at: usize| contexts.get(at).map(|(_, model, arguments)| (*model, *arguments));
            if let Some((model, arguments)) = wanted.checked_sub(1).map_or(own, earlier) {
                session.call(Call::CallMethod {
                    model: model.to_owned(),
                    ids: Vec::new(),
                    method: WITH_CONTEXT.to_owned(),
                    arguments_json: arguments.to_owned(),
                })??;
            }
            here = wanted;
        }
        session.call(write)??;
    }
    if session.left() > left {
        let text = "a rule that stands before the write wants to take records out of a list that they cannot be without; \
                    delete them by themselves";
        return Err(Error::rejected("write-it-by-itself", text).into());
    }
    Ok(())
}

/// What scripts are asked about something that has not happened yet.
pub(super) struct Question {
    /// Who would do it.
    pub(super) actor: Id,
    pub(super) depth: u32,
    pub(super) now: Timestamp,
    pub(super) trigger: Happened,
    pub(super) records: Vec<Id>,
    pub(super) old_values: Vec<Snapshot>,
}

/// What scripts say to something that has not happened yet.
pub(super) enum Answered {
    /// These values are to be added. The view of the records that they were found with.
    Values(Vec<FieldValue>, Box<Session>),
    /// No, with a text for the user.
    Refused(String),
}

/// What scripts that were asked did besides answering.
#[derive(Default)]
pub(super) struct Heard {
    log: Lines,
    /// What each may do.
    authorities: Vec<Arc<Authority>>,
    /// What became of each, as far as they ran.
    steps: Vec<Done>,
}

impl Heard {
    /// How the last one ended.
    pub(super) fn ending(&self) -> Option<Ending> {
        self.steps.last().map(|step| step.ending.clone())
    }
}

/// Why a rule gave no answer whose scripts ended so.
pub(super) fn no_answer(ending: Option<Ending>) -> EngineError {
    let error = match ending.map(runner::unsuccessful) {
        Some(verdict) => Error::rejected(verdict.code(), verdict.message().unwrap_or_default()),
        None => Error::invalid("no-actions", "the rule has no actions"),
    };
    error.into()
}

impl Engine {
    /// Keeps in the history that a rule broke when it was asked, before a write or while a form was edited, whatever becomes of
    /// that; with the script that broke, and what was logged.
    pub(super) async fn note_broken(
        &self,
        rule: &Arc<Armed>,
        actor: Id,
        error: &EngineError,
        heard: Heard,
    ) -> Result<(), EngineError> {
        let (shared, rule) = (Arc::clone(&self.inner.shared), Arc::clone(rule));
        let (code, message) = (error.code().to_owned(), error.to_string());
        let (lines, step) = (heard.log.take(), heard.steps.into_iter().last());
        let asked = if matches!(rule.rule.trigger, Trigger::OnChange { .. }) { "on-change" } else { "before" };
        let note = move |conn: &rusqlite::Connection| {
            let now = shared.now();
            let cause = Cause { actor, at: now, parent: None };
            let dispatcher = Dispatcher { conn, random: &shared.random, cause };
            let model = rule.rule.model.as_deref().unwrap_or_default();
            let (_, root) = dispatcher.event(&RecordRef::new(model, 0), asked, "{}")?;
            let firing = Firing::new(Happened::Other(asked.to_owned()), Vec::new());
            let run = dispatcher.insert(&rule, root, &firing, Class::Sync, now)?;
            if let Some(step) = step {
                conn.prepare_cached("UPDATE engine_run SET attempt = 1 WHERE id = ?1")?.execute([run])?;
                let told = step.recording.as_ref().map(|kept| kept.event.run_id.clone()).unwrap_or_default();
                let verdict = match &step.ending {
                    // It answered, and what it did besides was refused.
                    Ending::Done(_) => Verdict::Rejected(Error::rejected(&code, message.clone())),
                    _ => runner::unsuccessful_step(&step),
                };
                let script = step.script;
                let report = Report::of(&told, 1, step, verdict, Diff::default());
                finish::keep_attempt(conn, (run, 1, 0), script, (now, now), &report, None)?;
            }
            logs::keep(conn, &rule.rule.name, run, 1, now, &lines)?;
            seen::note(conn, seen::BROKEN_BEFORE, &rule.rule.name, now)?;
            Ok::<_, EngineError>(queue::end(conn, run, now, RunState::Failed, &code, Some(&message))?)
        };
        beside::apart(self.committer().commit(note)).await
    }

    /// Runs a rule's scripts on something that has not happened yet: they may read and answer, and change nothing.
    async fn ask_scripts(&self, rule: &Armed, question: Question, heard: &mut Heard) -> Result<Answered, EngineError> {
        let (outcome, session) = self.try_answer(rule, question, heard).await?;
        let Some(outcome) = outcome else {
            return match heard.ending() {
                Some(Ending::Failed(Failure::UserError(text))) => Ok(Answered::Refused(text)),
                ending => Err(no_answer(ending)),
            };
        };
        Ok(Answered::Values(outcome.values, Box::new(session)))
    }

    /// What they answer together, if all of them do, and their view of the records, in which nothing is changed.
    pub(super) async fn try_answer(
        &self,
        rule: &Armed,
        question: Question,
        heard: &mut Heard,
    ) -> Result<(Option<Outcome>, Session), EngineError> {
        let Question { actor, depth, now, trigger, records, old_values } = question;
        let env = people::environment(self.database(), rule.run_as, rule.rule.superuser, now)?;
        let steps = self.steps(&rule.rule, Class::Sync, &self.policy()?).await?;
        heard.authorities = steps.iter().map(|step| Arc::clone(&step.authority)).collect();
        let (actor, run_as) = {
            let snapshot = self.database().snapshot()?;
            (people::by_id(&snapshot, &env, actor)?, people::by_id(&snapshot, &env, rule.run_as)?)
        };
        let task = Task {
            run_id: self.inner.shared.random.key(),
            rule: rule.rule.name.clone(),
            attempt: 1,
            depth,
            seed: self.inner.shared.random.seed(),
            trigger,
            model: rule.rule.model.clone(),
            records,
            old_values,
            actor,
            run_as,
            superuser: rule.rule.superuser,
            now,
            previous: None,
            dispatch: Some(rule.rule.dispatch),
            parking: None,
        };
        // No language model and no other service while somebody's save waits.
        let log = Box::new(heard.log.clone());
        let played = play(self.database(), env, &task, &steps, Keep::Outside, None, log).await?;
        heard.steps = played.steps;
        // What it wants to change would be dropped, and nobody would know.
        if played.outcome.is_some() && !played.session.changes().is_empty() {
            let text = "a rule that is asked before something happens changes nothing itself; it answers with values";
            return Err(Error::rejected("not-in-before", text).into());
        }
        Ok((played.outcome, played.session))
    }
}

/// Whether a rule stands before such a write.
fn waits_for(trigger: &Trigger, asked: &Asked<'_>) -> bool {
    let Trigger::Before { writes, fields } = trigger else { return false };
    let written = || asked.values.iter().any(|value| fields.contains(&value.name));
    writes.contains(&asked.kind) && (asked.kind != Write::Update || fields.is_empty() || written())
}

#[cfg(test)]
pub(super) mod tests {
    use guest_artifacts::PHONE_FORMAT;
    use triggerbox_model::{grants::Grants, limits::Limits};
    use triggerbox_sandbox::{ContentHash, Pool, Sandbox, inspect::embed_manifest};
    use triggerbox_store::{commit, db::Database};

    use super::*;
    use crate::{
        clock::TestClock,
        config::Config,
        rule::{
            Ground, Rule,
            stored::{self, Edit, Ownership},
        },
        scripts::{registry, upload},
    };

    const ADMIN: Id = 2;

    pub(in super::super) async fn engine(rule: &str) -> Engine {
        let now = "2026-11-21T10:15:00Z".parse().unwrap();
        let (database, sandbox) = (Database::demo_in_memory(now).unwrap(), Sandbox::new(&Pool::default()).unwrap());
        let engine = Engine::open(database, sandbox, Config::default(), Arc::new(TestClock::at(now))).unwrap();
        let manifest = PHONE_FORMAT.manifest.unwrap();
        let upload = upload::inspect(embed_manifest(PHONE_FORMAT.component, manifest).unwrap()).unwrap();
        let store = move |conn: &rusqlite::Connection| registry::store(conn, &upload, ADMIN, now);
        engine.committer().commit(store).await.unwrap();
        let rule: Rule = toml::from_str(rule).unwrap();
        let env = people::environment(engine.database(), ADMIN, true, now).unwrap();
        let save = move |conn: &rusqlite::Connection| {
            let ground = Ground { conn, env: &env, policy: &Default::default() };
            let edit = Edit {
                by: ADMIN,
                at: env.now,
                note: "",
                ownership: Ownership::Take,
                administrator: true,
                agrees: false,
            };
            stored::save(ground, &rule, &edit)
        };
        engine.committer().commit(save).await.unwrap();
        engine
    }

    #[tokio::test]
    async fn a_list_that_a_script_adds_needs_the_rights_to_what_leaves_it() {
        let engine = engine(
            "name = 'idle'\nmodel = 'crm.lead'\ntrigger = { on = 'manual' }\n\
             [[actions]]\nscript = 'phone-format'",
        )
        .await;
        let env = people::environment(engine.database(), ADMIN, false, engine.clock().now()).unwrap();
        let mut session = Session::new(engine.database(), env).unwrap();
        let mut judged = |grants: &str| {
            let grants: Grants = serde_json::from_str(grants).unwrap();
            let authority = Authority { script: grants.clone(), rule: Some(grants), ..Authority::default() };
            let values = vec![FieldValue::new("order_line", Value::Unset)];
            let ending = Ending::Done(Outcome { values, ..Outcome::default() });
            let limits = Limits::resolve(Class::Sync, []);
            let step = Done { ending, ..Done::not_run(ContentHash([0; 32]), limits, String::new()) };
            let heard = Heard { authorities: vec![Arc::new(authority)], steps: vec![step], ..Heard::default() };
            let mut values = Vec::new();
            let asked = Asked { kind: Write::Update, model: "sale.order", ids: &[1], values: &mut values };
            check_grants(&asked, &[1], &heard, &mut session).map_err(|error| error.code().to_owned())
        };
        let orders = r#"{ "model": "sale.order", "operations": ["write"], "fields": ["order_line"] }"#;
        assert_eq!(judged(&format!("[{orders}]")), Err("refused-by-script".to_owned()));
        let lines = r#"{ "model": "sale.order.line", "operations": ["write", "unlink"], "fields": ["order_id"] }"#;
        assert_eq!(judged(&format!("[{orders}, {lines}]")), Ok(()));
    }

    #[tokio::test]
    async fn what_a_run_takes_out_of_a_list_is_deleted_before_the_eyes_of_rules() {
        // The script knows nothing of deletions, and breaks.
        let engine = engine(
            "name = 'keep'\nmodel = 'sale.order.line'\ntrigger = { on = 'before', writes = ['delete'] }\n\
             [[actions]]\nscript = 'phone-format'",
        )
        .await;
        let env = people::environment(engine.database(), ADMIN, false, engine.clock().now()).unwrap();
        let sql = "SELECT o.id FROM sale_order o JOIN sale_order_line l ON l.order_id = o.id WHERE o.state = 'draft'";
        let order: Id = engine.database().snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
        let empty = |lines: Value| Call::Write {
            model: "sale.order".into(),
            ids: vec![order],
            values: vec![FieldValue::new("order_line", lines)],
        };
        let mut run = Session::new(engine.database(), env.clone()).unwrap();
        run.call(empty(Value::Ids(Vec::new()))).unwrap().unwrap();
        let behind = run.behind().unwrap();
        assert!(!behind.left.is_empty());
        let mut gate = Gate::new(&engine, ADMIN, None).unwrap().unwrap();
        assert!(gate.pass_all(&run.changes()).await.unwrap().is_empty());
        assert_eq!(gate.pass_behind(behind).await.err().unwrap().code(), "broken-before-rule");

        // A rule that adds such a write is to delete them itself, so that the rules see it.
        let mut run = Session::new(engine.database(), env.clone()).unwrap();
        let added = || vec![Added { effect: 0, write: empty(Value::Unset) }];
        assert_eq!(stage(&mut run, added()).unwrap_err().code(), "write-it-by-itself");

        // What somebody puts into the list meanwhile is not what the rules were asked about.
        let mut run = Session::new(engine.database(), env.clone()).unwrap();
        run.call(empty(Value::Unset)).unwrap().unwrap();
        let changes = ChangeSet { left: Some(run.behind().unwrap().left), ..run.finish() };
        let partial = ChangeSet { left: changes.left.clone().map(|left| left[1..].to_vec()), ..changes.clone() };
        let met = commit::commit(engine.database(), &env, &partial).unwrap_err();
        assert!(matches!(met, commit::CommitError::Conflict { .. }), "{met:?}");
        commit::commit(engine.database(), &env, &changes).unwrap();
    }

    #[tokio::test]
    async fn what_is_added_is_written_in_the_context_of_the_change_that_it_belongs_to() {
        let engine = engine(
            "name = 'known'\nmodel = 'crm.lead'\n\
             trigger = { on = 'before', writes = ['update'], fields = ['phone', 'active'] }\n\
             [[actions]]\nscript = 'update-record'\nparameters = { values = 'contact_name = Somebody' }",
        )
        .await;
        let env = people::environment(engine.database(), ADMIN, false, engine.clock().now()).unwrap();
        let mut run = Session::new(engine.database(), env.clone()).unwrap();
        let sql = "SELECT id FROM crm_lead WHERE active AND contact_name IS NOT 'Somebody' ORDER BY id LIMIT 5";
        let leads = engine.database().snapshot().unwrap();
        let leads: Vec<Id> =
            leads.prepare(sql).unwrap().query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let method = |method: &str, ids: &[Id], arguments: &str| Call::CallMethod {
            model: "crm.lead".into(),
            ids: ids.to_vec(),
            method: method.into(),
            arguments_json: arguments.into(),
        };
        let context = |context: &str| method(WITH_CONTEXT, &[], &format!("{{\"context\": {context}}}"));
        let write = |lead: Id| Call::Write {
            model: "crm.lead".into(),
            ids: vec![lead],
            values: vec![FieldValue::new("phone", Value::text("02 555 01 02"))],
        };
        for call in [
            write(leads[0]),
            context("{\"mail_notrack\": true}"),
            write(leads[1]),
            method("action_archive", &[leads[2]], "{}"),
            context("{}"),
            write(leads[3]),
            method("action_archive", &[leads[4]], "{}"),
            context("{\"tracking_disable\": true}"),
        ] {
            run.call(call).unwrap().unwrap();
        }
        let mut gate = Gate::new(&engine, ADMIN, None).unwrap().unwrap();
        let mut added = gate.pass_all(&run.changes()).await.unwrap();
        added.extend(gate.pass_behind(run.behind().unwrap()).await.unwrap());
        assert_eq!(added.len(), 5);
        stage(&mut run, added).unwrap();
        commit::commit(engine.database(), &env, &run.finish()).unwrap();
        let conn = engine.database().snapshot().unwrap();
        let sql = "SELECT count(*) FROM mail_tracking_value v JOIN mail_message m ON m.id = v.mail_message_id \
                   WHERE m.model = 'crm.lead' AND m.res_id = ?1 AND v.new_value_char = 'Somebody'";
        let tracked = leads.iter().map(|lead| conn.query_row(sql, [lead], |row| row.get::<_, u32>(0)).unwrap());
        assert_eq!(tracked.collect::<Vec<_>>(), [1, 0, 0, 1, 1]);
    }
}
