//! A run's session: host calls in, answers out; what changes is staged and seen by later reads.
//!
//! Record writes are done at once, on the run's own view, so that a script is told at the call what Odoo would refuse.
//! Messages, activities and followers are only checked, and done when something is read or written after them; and new
//! records of which their values alone say that they are allowed are shown only then. A run that reads, decides, and posts
//! or creates, needs no view of its own.
//!
//! A session reads from a snapshot, and a snapshot keeps SQLite from cutting its log. So a session holds one for a few
//! seconds at most ([`MAX_SNAPSHOT_AGE`]) and not at all while its run waits for somebody else ([`Session::rest`]).
//! When it takes a new one, everything that it has read is compared: if it is all as it was, the run goes on with the
//! newer state, and if not, it starts again. What a run has seen is therefore never two states that do not go together.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use serde_json::Value as Json;
use triggerbox_model::{
    allowance::{Allowance, Room},
    call::{ASKING, Answer, Call, Command, DomainSource, Extra, Message, Operation, Reply, WITH_CONTEXT},
    changes::{Change, ChangeKind, ChangeSet, Diff, Effect, Seen, Skipped, merge},
    domain::{Domain, Operand, Operator},
    error::{Error, ErrorKind},
    event::Outcome,
    schema::{FieldKind, Schema},
    value::{FieldValue, Id, RecordRef, Row, Value, is_provisional},
};

use crate::{
    chatter, commit, context,
    db::{Database, DbError, Snapshot},
    diff, effect,
    env::Env,
    group::{self, Grouping},
    mention::{self, Mentions},
    methods,
    overlay::Overlay,
    query, rights,
    seen::Read,
    write::{self, Options, Place, Unwritten, Writer, values::has_pending},
    xmlid,
};

/// What a run would change if it were committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Preview {
    /// In words.
    pub diff: Diff,
    /// One for each record.
    pub events: Vec<Change>,
    /// What the run's mentions would read.
    pub mentions: Mentions,
}

/// What happens behind calls that do not say themselves what they write: methods, messages, activities, followers, copies, and
/// what comes into lists or leaves them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Behind {
    /// One for each record, with the number of the last effect behind which it is.
    pub changes: Vec<(usize, Change)>,
    /// What they found where they changed something that was there.
    pub found: Vec<Seen>,
    /// The records among them that are deleted because they leave a list that they cannot be without. No call names them.
    pub left: Vec<RecordRef>,
}

/// What a session had staged at a moment, to go back to ([`Session::undo`]).
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    effects: Vec<Effect>,
    mentions: usize,
}

/// How long a session reads from one snapshot.
pub const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(5);

/// One run's view of a database, and what it has staged. Dropping it forgets everything.
#[derive(Debug)]
pub struct Session {
    snapshot: Snapshot,
    /// When the snapshot was taken; none: it was let go of.
    since: Option<Instant>,
    max_age: Duration,
    outdated: Option<Error>,
    /// The run's own environment.
    env: Env,
    /// The environment of the calls to come: the run's own, unless it has set a context.
    here: Env,
    /// What that context switches off.
    options: Options,
    rule: String,
    place: Place,
    changes: ChangeSet,
    /// How many effects the view shows already.
    shown: usize,
    /// The next provisional ids after those effects, as the commit will count them.
    numbered: BTreeMap<String, Id>,
    /// Records that the effect of this number made, which the view does not show yet.
    unwritten: Option<(usize, Unwritten)>,
    /// What is put off that follows from the records that the effect of this number made.
    greeting: Option<(usize, chatter::Greeting)>,
    /// What really changed on the view, in order, each with the number of its effect.
    events: Vec<(usize, Change)>,
    /// Records that left a list that they cannot be without, and were deleted by that.
    left: Vec<RecordRef>,
    /// Values read before this run changed them.
    seen: Read,
    /// Fields of committed records that this run has changed: what is read of them from then on is its own doing.
    changed: HashSet<(RecordRef, String)>,
    /// Whether it has changed any field of any record.
    has_changed: bool,
    /// Fields of which some staged record holds what only the commit can know.
    pending: BTreeSet<(String, String)>,
    /// What the last call did besides what it says.
    extra: Extra,
}

impl Session {
    /// Starts a session on a snapshot of the database.
    ///
    /// # Errors
    /// What the database says.
    pub fn new(database: &Database, env: Env) -> Result<Self, DbError> {
        Ok(Self {
            snapshot: database.snapshot()?,
            since: Some(Instant::now()),
            max_age: MAX_SNAPSHOT_AGE,
            outdated: None,
            here: env.clone(),
            env,
            options: Options::default(),
            rule: String::new(),
            place: Place::Staged(Overlay::default()),
            changes: ChangeSet::default(),
            shown: 0,
            numbered: BTreeMap::new(),
            unwritten: None,
            greeting: None,
            events: Vec::new(),
            left: Vec::new(),
            seen: Read::default(),
            changed: HashSet::new(),
            has_changed: false,
            pending: BTreeSet::new(),
            extra: Extra::default(),
        })
    }

    /// Names the rule whose state `state-get` and `state-set` are about.
    #[must_use]
    pub fn for_rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = rule.into();
        self
    }

    /// Reads from one snapshot for this long in place of [`MAX_SNAPSHOT_AGE`].
    #[must_use]
    pub fn with_snapshot_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Lets go of the snapshot: to be called before the run waits for something that may take long. The next call
    /// takes a new one.
    ///
    /// # Errors
    /// When the database itself fails.
    pub fn rest(&mut self) -> Result<(), DbError> {
        match &self.place {
            // Whoever waits with nothing staged has no use for a connection.
            Place::Staged(overlay) if overlay.is_empty() => self.snapshot.give_back()?,
            Place::Staged(_) | Place::Committed(_) => self.snapshot.let_go()?,
        }
        self.since = None;
        Ok(())
    }

    /// Why the run must start again, if it must: what it has read has changed since. A call has failed with
    /// [`DbError::Outdated`] then.
    #[must_use]
    pub fn outdated(&self) -> Option<&Error> {
        self.outdated.as_ref()
    }

    /// Takes a new snapshot if there is none or if it is old, and compares what the run has read with it.
    fn renew(&mut self) -> Result<(), DbError> {
        if self.since.is_some_and(|since| since.elapsed() <= self.max_age) {
            return Ok(());
        }
        let changed = self.snapshot.renew()?;
        self.since = Some(Instant::now());
        if !changed {
            return Ok(());
        }
        // On a connection of its own: on the run's, staged records hide the committed ones. It is never older.
        let mut committed = self.snapshot.database().snapshot()?;
        committed.give_up_at(self.snapshot.until());
        match commit::compare(&committed, &self.env, &self.seen.all()) {
            Ok(()) => Ok(()),
            Err(commit::CommitError::Database(error)) => Err(error),
            Err(differs) => {
                let why = differs.to_string();
                self.outdated = Some(Error::new(ErrorKind::Conflict, "conflict", why.clone()));
                Err(DbError::Outdated { why })
            }
        }
    }

    /// The environment of the run.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The connection with the run's view, for reads that are no host calls. It shows what [`Session::settle`] has done.
    #[must_use]
    pub fn connection(&self) -> &rusqlite::Connection {
        &self.snapshot
    }

    /// Answers a call of somebody who is no run, and may use what there is. The inner result is for the caller.
    ///
    /// # Errors
    /// When the database itself fails.
    pub fn call(&mut self, call: Call) -> Result<Reply, DbError> {
        self.call_within(call, Allowance::UNLIMITED)
    }

    /// Answers a host call. The inner result is for the script; the outer one ends the run. Of an answer that holds more than
    /// the call may bring, only so much is there that this can be seen.
    ///
    /// # Errors
    /// When the database itself fails; [`DbError::OutOfTime`].
    pub fn call_within(&mut self, mut call: Call, may: Allowance) -> Result<Reply, DbError> {
        self.extra = Extra::default();
        may.bound(&mut call);
        let answer = self.in_time(may.until, |session| {
            session.renew()?;
            Ok::<_, DbError>(session.answer(call, may))
        })?;
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(error) => match DbError::behind(&error) {
                Some(fault) => Err(fault),
                None => Ok(Err(error)),
            },
        }
    }

    /// Does something that is given up when it is later than `until`: it fails with [`DbError::OutOfTime`] then, and the
    /// session is good for nothing more. Within something that has a time of its own, the earlier of the two counts.
    pub fn in_time<T>(&mut self, until: Option<Instant>, work: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.snapshot.until();
        self.snapshot.give_up_at(before.into_iter().chain(until).min());
        let done = work(self);
        self.snapshot.give_up_at(before);
        done
    }

    /// What the last call did besides what it says.
    #[must_use]
    pub fn extra(&self) -> Extra {
        self.extra
    }

    /// Whether a record would be gone that is there: because the run deleted it, because it went with another, or because it left
    /// a list that it cannot be without. Messages, activities and followers do not count: they go with what is done to them.
    #[must_use]
    pub fn deletes(&self) -> bool {
        let mut gone = self.events.iter().filter(|(_, change)| change.kind == ChangeKind::Deleted);
        gone.any(|(_, Change { record, .. })| !is_provisional(record.id) && !is_chatter(record))
    }

    /// Answers at once a method that grants say changes nothing. Besides those that only ask, every method here changes
    /// something.
    ///
    /// # Errors
    /// As [`Session::call_within`].
    pub fn ask_method(&mut self, call: Call, may: Allowance) -> Result<Reply, DbError> {
        match &call {
            Call::CallMethod { model, method, .. } if !ASKING.contains(&method.as_str()) => {
                let known = self.here.schema.model(model).and_then(|model| methods::known(model, method));
                let why =
                    format!("`{method}` of `{model}` changes records: grant it among `methods`, not as read-only");
                Ok(Err(known.err().unwrap_or_else(|| Error::denied("not-read-only", why))))
            }
            _ => self.call_within(call, may),
        }
    }

    /// How many records left a list that they cannot be without, and were deleted by that.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.len()
    }

    /// What the run wants to change: to be committed, or kept until somebody approves.
    #[must_use]
    pub fn finish(self) -> ChangeSet {
        ChangeSet { reads: self.reads(), ..self.changes }
    }

    /// What the run wants to change so far.
    #[must_use]
    pub fn changes(&self) -> ChangeSet {
        ChangeSet { reads: self.reads(), ..self.changes.clone() }
    }

    /// What is staged so far.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { effects: self.changes.effects.clone(), mentions: self.changes.mentions.len() }
    }

    /// Forgets what was staged since a mark. What was read since then counts as read.
    ///
    /// # Errors
    /// What the database says. [`DbError::Outdated`]: what was staged before cannot be staged the same way any more, so that
    /// the run must start again.
    pub fn undo(&mut self, mark: Mark) -> Result<(), DbError> {
        self.renew()?;
        self.changes.mentions.truncate(mark.mentions);
        if self.changes.effects == mark.effects {
            return Ok(());
        }
        self.stage_anew(mark.effects).map_err(|error| match DbError::behind(&error) {
            Some(fault) => fault,
            None => {
                let why = error.to_string();
                self.outdated = Some(Error::new(ErrorKind::Conflict, "conflict", why.clone()));
                DbError::Outdated { why }
            }
        })
    }

    /// Makes the view show these effects and no others.
    fn stage_anew(&mut self, effects: Vec<Effect>) -> Result<(), Error> {
        let given = self.numbering();
        self.place.clear(&self.snapshot)?;
        let skipped = std::mem::take(&mut self.changes.skipped);
        self.numbered.clear();
        self.events.clear();
        self.left.clear();
        self.changed.clear();
        self.pending.clear();
        (self.unwritten, self.greeting, self.has_changed) = (None, None, false);
        (self.here, self.options) = (self.env.clone(), Options::default());
        for (index, effect) in effects.iter().enumerate() {
            self.greet()?;
            self.place.skip(&skipped, index);
            let ids = self.show(index, effect)?;
            if with_ids(effect.clone(), &ids) != *effect {
                let text = "what the run had staged would be other records now: others changed them meanwhile";
                return Err(Error::new(ErrorKind::Conflict, "conflict", text));
            }
        }
        self.greet()?;
        if let Place::Staged(overlay) = &mut self.place {
            // What was undone has had its ids: no other record has them in this run.
            given.iter().for_each(|(model, next)| overlay.number_from(model, *next));
        }
        self.shown = effects.len();
        self.changes.effects = effects;
        Ok(())
    }

    /// The next provisional id of each model that has given out any.
    fn numbering(&self) -> BTreeMap<String, Id> {
        match &self.place {
            Place::Staged(overlay) => overlay.numbering().clone(),
            Place::Committed(_) => BTreeMap::new(),
        }
    }

    /// Everything that the run read before it changed it. For those who answer within somebody else's change: the change
    /// is right only as long as all of it holds.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.all()
    }

    /// What would change, in words and as events. For dry runs and approvals: a commit tells it too.
    ///
    /// # Errors
    /// What the database says; a staged effect that turns out to be refused.
    pub fn preview(&mut self) -> Result<Preview, Error> {
        self.renew()?;
        self.settle()?;
        let events = merge(self.events.iter().map(|(_, change)| change.clone()));
        let diff = diff::describe(&self.snapshot, &self.env, &events)?;
        let mentions = self.changes.mentions.iter().map(|record| {
            let name = crate::names::display_name(&self.snapshot, &self.env, &record.model, record.id)?;
            Ok(Some((record.clone(), name)))
        });
        Ok(Preview { diff, mentions: Mentions(mentions.collect::<Result<_, Error>>()?), events })
    }

    /// What was there where the run writes over it, as [`Session::preview`] has settled it: whoever agrees to that agrees to
    /// nothing else.
    #[must_use]
    pub fn overwritten(&self) -> Vec<Seen> {
        let (mut found, mut first) = (Vec::new(), HashSet::new());
        for (index, Change { record, kind, fields }) in &self.events {
            let Some(Effect::Write { model, ids, values }) = self.changes.effects.get(*index) else { continue };
            let is_said = *model == record.model && ids.contains(&record.id);
            if !is_said || *kind != ChangeKind::Updated || is_provisional(record.id) {
                continue;
            }
            for changed in fields {
                // Lists of ids have no order of their own, and files are not compared.
                let is_compared = !matches!(changed.old, Value::Ids(_) | Value::Binary(_));
                let is_written = values.iter().any(|value| value.name == changed.field.as_str());
                if is_compared && is_written && first.insert((record, &changed.field)) {
                    let field = String::from(&changed.field);
                    found.push(Seen { record: record.clone(), field, value: bare(&changed.old) });
                }
            }
        }
        found
    }

    /// What would change besides what the calls say.
    ///
    /// # Errors
    /// As [`Session::preview`].
    pub fn behind(&mut self) -> Result<Behind, Error> {
        self.renew()?;
        self.settle()?;
        let mut behind = Behind { left: self.left.clone(), ..Behind::default() };
        let (mut changes, mut last) = (Vec::new(), HashMap::new());
        let mut written = HashSet::new();
        for (index, change) in &self.events {
            let said = self.changes.effects.get(*index).is_none_or(|effect| says(&self.env.schema, effect, change))
                && !(change.kind == ChangeKind::Deleted && self.left.contains(&change.record));
            let model = self.env.schema.models.get(&change.record.model);
            for field in &change.fields {
                let is_first = written.insert((&change.record, &field.field));
                let was_there = change.kind != ChangeKind::Created && !is_provisional(change.record.id);
                // Who wrote last, and when, is the session itself after a write of its own.
                let by_itself = model.is_some_and(|model| write::is_magic(model, field.field.as_str()));
                // Lists of ids have no order of their own.
                if !said && is_first && was_there && !by_itself && !matches!(field.old, Value::Ids(_)) {
                    let (record, field, value) = (change.record.clone(), String::from(&field.field), field.old.clone());
                    behind.found.push(Seen { record, field, value });
                }
            }
            if !said {
                last.insert(&change.record, *index);
                changes.push(change.clone());
            }
        }
        let numbered = |change: Change| (last.get(&change.record).copied().unwrap_or_default(), change);
        behind.changes = merge(changes).into_iter().map(numbered).collect();
        Ok(behind)
    }

    /// Fails when a run's outcome holds the number of a record that exists only in this run.
    ///
    /// # Errors
    /// `provisional-id`
    pub fn check_outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        let texts = [&outcome.message, &outcome.warning, &outcome.result_json];
        texts.into_iter().flatten().try_for_each(|text| self.check_text(text))
    }

    /// Brings everything staged into the run's view.
    ///
    /// # Errors
    /// When a staged effect is refused: something it relied on was deleted by a later call.
    pub fn settle(&mut self) -> Result<(), Error> {
        loop {
            self.greet()?;
            let Some(effect) = self.changes.effects.get(self.shown).cloned() else { break };
            self.show(self.shown, &effect)?;
            self.shown += 1;
        }
        self.place.searched(&self.snapshot, None)
    }

    /// Has the view show new records, if that was put off.
    fn write_down(&mut self) -> Result<(), Error> {
        let Some((index, unwritten)) = self.unwritten.take() else { return Ok(()) };
        let mut writer = self.writer();
        writer.write_down(unwritten)?;
        let changes = writer.finish_effect()?;
        drop(writer);
        self.note(index, changes);
        Ok(())
    }

    /// Does on the view what follows from new records, if that was put off.
    fn greet(&mut self) -> Result<(), Error> {
        self.write_down()?;
        let Some((index, greeting)) = self.greeting.take() else { return Ok(()) };
        let mut writer = self.writer();
        writer.greet_now(&greeting)?;
        let changes = writer.finish_effect()?;
        drop(writer);
        self.note(index, changes);
        self.numbered = self.numbering();
        Ok(())
    }

    fn answer(&mut self, call: Call, may: Allowance) -> Result<Answer, Error> {
        if let Some(model) = call.model() {
            // A misspelt model is the script's mistake, not a matter of rights.
            self.here.schema.model(model)?;
        }
        match call {
            Call::Search { model, domain, page } => {
                let domain = self.ask(&model, &domain, page.order.as_deref())?;
                Ok(Answer::Ids(query::search(&self.snapshot, &self.here, &model, &domain, &page)?))
            }
            Call::SearchRead { model, domain, fields, page } => {
                require_fields(&fields)?;
                let domain = self.ask(&model, &domain, page.order.as_deref())?;
                let (conn, env, mut room) = (&self.snapshot, &self.here, may.room());
                let rows = query::search_read(conn, env, &model, &domain, &fields, &page, &mut room)?;
                Ok(Answer::Rows(self.read_rows(&model, &fields, rows, room)))
            }
            Call::SearchCount { model, domain } => {
                let domain = self.ask(&model, &domain, None)?;
                Ok(Answer::Count(query::search_count(&self.snapshot, &self.here, &model, &domain)?))
            }
            Call::Read { model, ids, fields } => {
                require_fields(&fields)?;
                self.settle()?;
                let (conn, env, mut room) = (&self.snapshot, &self.here, may.room());
                let rows = query::read::read_within(conn, env, &model, &ids, &fields, &mut room)?;
                Ok(Answer::Rows(self.read_rows(&model, &fields, rows, room)))
            }
            Call::NameSearch { model, text, limit } => {
                self.settle()?;
                let described = self.here.schema.model(&model)?;
                if let Some(name) = &described.rec_name {
                    self.refuse_pending(&model, name)?;
                }
                let (conn, env, operator) = (&self.snapshot, &self.here, Operator::Ilike);
                let ids = query::names::search(conn, env, &model, &text, operator, &Domain::Always, limit)?;
                Ok(Answer::Links(query::links(conn, env, &model, ids, &mut may.room())?))
            }
            Call::ReadGroup { model, domain, group_by, aggregates, page } => {
                let domain = self.ask(&model, &domain, None)?;
                for item in group_by.iter().chain(&aggregates) {
                    self.refuse_pending_path(&model, item.split(':').next().unwrap_or_default())?;
                }
                let (model, domain, group_by, aggregates, page) = (&model, &domain, &group_by, &aggregates, &page);
                let grouping = Grouping { model, domain, group_by, aggregates, page };
                Ok(Answer::Groups(group::groups(&self.snapshot, &self.here, &grouping, &mut may.room())?))
            }
            Call::FieldsGet { model, fields } => {
                let mut told = self.here.schema.model(&model)?.fields_get(&fields)?;
                told.retain(|info| self.may_see(&model, &info.name));
                Ok(Answer::Fields(told))
            }
            Call::DescribeFields { model, fields } => {
                let mut told = self.here.schema.model(&model)?.describe_fields(&fields)?;
                told.retain(|details| self.may_see(&model, &details.info.name));
                Ok(Answer::Details(told))
            }
            Call::HasAccess { model, ids, operation } => {
                self.settle()?;
                Ok(Answer::Flag(rights::has_access(&self.snapshot, &self.here, &model, &ids, operation)?))
            }
            Call::ResolveXmlid { xmlid } => Ok(Answer::Record(xmlid::resolve(&self.snapshot, &xmlid)?)),
            Call::Create { model, values } => {
                self.check_texts(values.iter().flatten())?;
                let ids = self.stage(|ids| Effect::Create { model, values, ids })?;
                Ok(Answer::Ids(ids))
            }
            Call::Ensure { model, keys, values } => self.ensure(model, keys, values),
            Call::Write { model, ids, values } => {
                self.check_texts(&values)?;
                self.stage(|_| Effect::Write { model, ids, values })?;
                Ok(Answer::Done)
            }
            Call::Relate { target, field, commands } => {
                self.check_texts(commands.iter().flat_map(Command::values))?;
                self.stage(|_| Effect::Relate { target, field, commands })?;
                Ok(Answer::Done)
            }
            Call::Unlink { model, ids } => {
                self.stage(|_| Effect::Unlink { model, ids })?;
                Ok(Answer::Done)
            }
            Call::Copy { target, values } => {
                self.check_texts(&values)?;
                let ids =
                    self.stage(|ids| Effect::Copy { target, values, id: ids.first().copied().unwrap_or_default() })?;
                let id =
                    ids.first().copied().ok_or_else(|| Error::not_found("missing-record", "nothing was copied"))?;
                Ok(Answer::Id(id))
            }
            Call::CallMethod { model, ids, method, arguments_json } => {
                self.check_arguments(&model, &arguments_json)?;
                if ASKING.contains(&method.as_str()) {
                    self.settle()?;
                    let mut writer = self.writer();
                    let answer = methods::ask(&mut writer, &model, &ids, &method, &arguments_json, &mut may.room())?;
                    return Ok(Answer::OptionalText(Some(answer)));
                }
                if method != WITH_CONTEXT {
                    methods::check(self.here.schema.model(&model)?, &method, &arguments_json)?;
                }
                self.stage(|_| Effect::CallMethod { model, ids, method, arguments_json })?;
                Ok(Answer::OptionalText(None))
            }
            Call::Mention { target } => {
                self.settle()?;
                let rows = query::read::read(
                    &self.snapshot,
                    &self.here,
                    &target.model,
                    &[target.id],
                    &["display_name".to_owned()],
                )?;
                if rows.is_empty() {
                    return Err(write::missing(&target.model, target.id));
                }
                self.changes.mentions.push(target);
                Ok(Answer::Text(mention::token(self.changes.mentions.len() - 1)))
            }
            Call::PostMessage { target, message } => self.post(target, message, false),
            Call::PostNote { target, message } => self.post(target, message, true),
            Call::ScheduleActivity { target, activity } => {
                self.check_text(&activity.summary)?;
                self.check_text(activity.note.as_deref().unwrap_or_default())?;
                let needed = rights::to_post_on(&target.model);
                self.check_chatter(&target, needed, |writer| {
                    writer.check_activity(&effect::new_activity(writer, &activity)?)
                })?;
                self.changes.effects.push(Effect::ScheduleActivity { target, activity });
                Ok(Answer::Done)
            }
            Call::CompleteActivities { target, kind, feedback } => {
                self.check_text(feedback.as_deref().unwrap_or_default())?;
                let open = self.stage(|_| Effect::CompleteActivities { target, kind, feedback })?;
                Ok(Answer::Count(u32::try_from(open.len()).unwrap_or(u32::MAX)))
            }
            Call::AddFollowers { target, partner_ids } => {
                let check = |writer: &Writer<'_>| writer.require_records("res.partner", &partner_ids);
                self.check_chatter(&target, Operation::Write, check)?;
                self.changes.effects.push(Effect::AddFollowers { target, partner_ids });
                Ok(Answer::Done)
            }
            Call::RemoveFollowers { target, partner_ids } => {
                self.check_chatter(&target, Operation::Write, |_| Ok(()))?;
                self.changes.effects.push(Effect::RemoveFollowers { target, partner_ids });
                Ok(Answer::Done)
            }
            Call::ReadMessages { target, limit } => {
                self.settle()?;
                let writer = Writer::new(&self.snapshot, &self.here, &mut self.place);
                writer.require_chatter(&target.model, target.id)?;
                rights::check_access(&self.snapshot, &self.here, &target.model, &[target.id], Operation::Read)?;
                let room = &mut may.room();
                Ok(Answer::Messages(chatter::read_messages(&self.snapshot, &self.here, &target, limit, room)?))
            }
            Call::StateGet { key } => {
                self.settle()?;
                Ok(Answer::OptionalText(effect::get_state(&self.snapshot, &self.rule, &key)?))
            }
            Call::StateSet { key, json } => {
                if let Some(text) = &json {
                    self.check_text(text)?;
                    serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|error| {
                        Error::invalid("bad-json", format!("the state of `{key}` is no JSON: {error}"))
                    })?;
                }
                let rule = self.rule.clone();
                self.stage(|_| Effect::SetState { rule, key, json })?;
                Ok(Answer::Done)
            }
            Call::Complete { .. } => {
                Err(Error::unavailable("llm-not-configured", "the store answers no language model calls"))
            }
            Call::Send { .. } => Err(Error::unavailable("http-not-configured", "the store sends no requests")),
        }
    }

    /// Parses a domain and makes the view ready for it.
    fn ask(&mut self, model: &str, source: &DomainSource, order: Option<&str>) -> Result<Domain, Error> {
        self.settle()?;
        let domain = Domain::from_source(source)?;
        if !self.pending.is_empty() {
            self.refuse_pending_domain(model, &domain)?;
            let described = self.here.schema.model(model)?;
            for term in order.unwrap_or(&described.order).split(',') {
                self.refuse_pending_path(model, term.split_whitespace().next().unwrap_or_default())?;
            }
        }
        Ok(domain)
    }

    fn refuse_pending_domain(&self, model: &str, domain: &Domain) -> Result<(), Error> {
        let mut refused = Ok(());
        domain.for_each_condition(&mut |condition| {
            if refused.is_ok() {
                refused = self.refuse_pending_path(model, &condition.field);
            }
            if let (true, Operand::Domain(inner)) = (refused.is_ok(), &condition.value)
                && let Some(related) = self.relation(model, &condition.field)
            {
                refused = self.refuse_pending_domain(&related, inner);
            }
        });
        refused
    }

    /// The model at the end of a path of relations.
    fn relation(&self, model: &str, path: &str) -> Option<String> {
        let mut model = model.to_owned();
        for step in path.split('.') {
            model = self.here.schema.models.get(&model)?.fields.get(step)?.relation.clone()?;
        }
        Some(model)
    }

    /// Fails when a path leads through a field of which some staged record does not know the value yet.
    fn refuse_pending_path(&self, model: &str, path: &str) -> Result<(), Error> {
        let mut model = model.to_owned();
        for step in path.split('.') {
            let Some(described) = self.here.schema.models.get(&model) else { return Ok(()) };
            let step = if step == "display_name" { described.rec_name.as_deref().unwrap_or(step) } else { step };
            self.refuse_pending(&model, step)?;
            let Some(relation) = described.fields.get(step).and_then(|field| field.relation.clone()) else {
                return Ok(());
            };
            model = relation;
        }
        Ok(())
    }

    /// Of fields that the user may not see there is no word, as in Odoo.
    fn may_see(&self, model: &str, name: &str) -> bool {
        let field = self.here.schema.models.get(model).and_then(|model| model.fields.get(name));
        field.is_none_or(|field| rights::check_field(&self.here, model, name, field, Operation::Read).is_ok())
    }

    fn refuse_pending(&self, model: &str, field: &str) -> Result<(), Error> {
        if self.pending.contains(&(model.to_owned(), field.to_owned())) {
            let message =
                format!("`{field}` of a `{model}` that this run created is known only when the run is applied");
            return Err(Error::new(ErrorKind::Pending, "pending", message).with_field(field));
        }
        Ok(())
    }

    /// Notes what was read, and says so where a value is not known yet.
    fn read_rows(&mut self, model: &str, fields: &[String], mut rows: Vec<Row>, room: Room) -> Vec<Row> {
        // The run ends by it: nothing is decided on it.
        if room.is_over() {
            return rows;
        }
        for row in &mut rows {
            // What is not stored follows from other records, which this run may have changed.
            let follows = |field: &String| {
                let known = self.here.schema.models.get(model);
                let stored = known.is_some_and(|known| {
                    known.has_column(field)
                        || known.fields.get(field).is_some_and(|field| field.kind == FieldKind::Many2many)
                });
                !stored && self.has_changed
            };
            // The commit compares what is read in the run's own language and companies, archived records left out of lists.
            let foreign = |field: &String| {
                let known = self.here.schema.models.get(model).and_then(|model| model.fields.get(field));
                known.is_some_and(|field| match field.kind.is_x2many() {
                    true => self.here.active_test != self.env.active_test || self.here.companies != self.env.companies,
                    false => field.translate && self.here.lang != self.env.lang,
                })
            };
            for (field, value) in fields.iter().zip(&mut row.values) {
                match value {
                    Value::Text(text) if has_pending(text) => *value = Value::Pending,
                    Value::Many2one(link) if link.name.as_deref().is_some_and(has_pending) => link.name = None,
                    _ => {}
                }
                let changed = || self.changed.contains(&(RecordRef::new(model, row.id), field.clone()));
                let own = !self.changed.is_empty() && changed();
                if !is_provisional(row.id) && !own && !follows(field) && !foreign(field) {
                    self.seen.note(model, row.id, field, value);
                }
            }
        }
        rows
    }

    /// Does an effect on the view now and keeps it; returns the ids that it gave.
    fn stage(&mut self, effect: impl FnOnce(Vec<Id>) -> Effect) -> Result<Vec<Id>, Error> {
        self.settle()?;
        let effect = effect(Vec::new());
        let ids = self.show(self.changes.effects.len(), &effect)?;
        // Of contexts without anything in them the last one counts.
        if context::sets(&effect) && self.changes.effects.last().is_some_and(context::sets) {
            self.changes.effects.pop();
        }
        self.changes.effects.push(with_ids(effect, &ids));
        self.shown = self.changes.effects.len();
        Ok(ids)
    }

    /// Writes on the view, in the context that was set.
    fn writer(&mut self) -> Writer<'_> {
        let mut writer = Writer::new(&self.snapshot, &self.here, &mut self.place);
        writer.options = self.options.clone();
        writer
    }

    /// Does the effect of this number on the view.
    fn show(&mut self, index: usize, effect: &Effect) -> Result<Vec<Id>, Error> {
        if let Some(entered) = context::set_by(&self.env, effect)? {
            (self.here, self.options) = entered;
            return Ok(Vec::new());
        }
        self.note_skipped(index);
        let mut writer = self.writer();
        writer.puts_off_greeting = matches!(effect, Effect::Create { .. });
        let done = effect::apply(&mut writer, effect.clone())?;
        let (unwritten, greeting) = (writer.unwritten.take(), writer.greeting.take());
        drop(writer);
        self.unwritten = unwritten.map(|unwritten| (index, unwritten));
        self.greeting = greeting.map(|greeting| (index, greeting));
        self.extra = Extra { written: made_with(effect, &done.changes), deleted: went_with(effect, &done.changes) };
        self.left.extend(done.left);
        self.note(index, done.changes);
        self.numbered = self.numbering();
        Ok(done.ids)
    }

    /// Keeps which ids were given out for nothing before the effect of this number: to calls that were refused, or undone.
    fn note_skipped(&mut self, effect: usize) {
        let Place::Staged(overlay) = &self.place else { return };
        let skipped = overlay.numbering().iter().filter(|(model, next)| self.numbered.get(*model) != Some(*next));
        let skipped = skipped.map(|(model, next)| Skipped { effect, model: model.clone(), next: *next });
        // Of several refusals before an effect, the last one knows all.
        self.changes.skipped.retain(|skipped| skipped.effect < effect);
        self.changes.skipped.extend(skipped);
    }

    /// Keeps what an effect really changed.
    fn note(&mut self, index: usize, changes: Vec<Change>) {
        for change in &changes {
            self.has_changed |= !change.fields.is_empty();
            if !is_provisional(change.record.id) {
                self.changed
                    .extend(change.fields.iter().map(|field| (change.record.clone(), String::from(&field.field))));
            }
            for field in &change.fields {
                if matches!(&field.new, Value::Pending) {
                    self.pending.insert((change.record.model.clone(), String::from(&field.field)));
                }
            }
        }
        self.events.extend(changes.into_iter().map(|change| (index, change)));
    }

    fn ensure(&mut self, model: String, keys: Vec<String>, values: Vec<FieldValue>) -> Result<Answer, Error> {
        self.check_texts(&values)?;
        self.settle()?;
        for key in &keys {
            self.refuse_pending(&model, key)?;
        }
        let writer = Writer::new(&self.snapshot, &self.here, &mut self.place);
        if let Some(found) = writer.find_by_keys(&model, &keys, &write::from_fields(&values))? {
            return Ok(Answer::Id(found));
        }
        drop(writer);
        let ids = self.stage(|_| Effect::Ensure { model, keys, values, id: 0 })?;
        ids.first().copied().map(Answer::Id).ok_or_else(|| Error::invalid("no-values", "nothing to create"))
    }

    fn post(&mut self, target: RecordRef, message: Message, note: bool) -> Result<Answer, Error> {
        self.check_text(&message.body)?;
        self.check_text(message.subject.as_deref().unwrap_or_default())?;
        self.check_chatter(&target, rights::to_post_on(&target.model), |writer| {
            writer.require_records("res.partner", &message.partner_ids)?;
            if !message.attachments.is_empty() && !writer.env.schema.models.contains_key("ir.attachment") {
                return Err(Error::invalid(
                    "no-attachments",
                    "this backend's models have no `ir.attachment`: files cannot be stored",
                ));
            }
            Ok(())
        })?;
        self.changes.effects.push(Effect::PostMessage { target, message, note });
        Ok(Answer::Done)
    }

    /// Checks what can be checked of a post without doing it. `needed`: what one must be allowed with the record.
    fn check_chatter(
        &mut self,
        target: &RecordRef,
        needed: Operation,
        check: impl FnOnce(&Writer<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.write_down()?;
        // Such rules see what is staged of it, too.
        let none = chatter::Counts::new();
        let counts = self.greeting.as_ref().map_or(&none, |(_, greeting)| greeting.counts());
        if chatter::rules_ask_chatter(&self.snapshot, &self.here, &target.model, needed, counts)? {
            self.settle()?;
        }
        self.place.searched(&self.snapshot, None)?;
        let writer = Writer::new(&self.snapshot, &self.here, &mut self.place);
        writer.require_chatter(&target.model, target.id)?;
        rights::check_access(&self.snapshot, &self.here, &target.model, &[target.id], needed)?;
        check(&writer)
    }

    fn check_texts<'v>(&self, values: impl IntoIterator<Item = &'v FieldValue>) -> Result<(), Error> {
        for field in values {
            if let Value::Text(text) | Value::Json(text) = &field.value {
                self.check_text(text).map_err(|error| error.with_field(&field.name))?;
            }
        }
        Ok(())
    }

    /// A method may be given records of this run by number, and may hold their numbers nowhere else.
    fn check_arguments(&self, model: &str, json: &str) -> Result<(), Error> {
        let Ok(Json::Object(mut arguments)) = serde_json::from_str(json) else { return self.check_text(json) };
        for (_, id) in methods::records_in(self.here.schema.model(model)?, &mut arguments) {
            if id.is_number() {
                *id = Json::Null;
            }
        }
        self.check_text(&Json::Object(arguments).to_string())
    }

    fn check_text(&self, text: &str) -> Result<(), Error> {
        match &self.place {
            Place::Staged(overlay) => mention::refuse_provisional_ids(overlay, text),
            Place::Committed(_) => Ok(()),
        }
    }

    /// Of everything that was read, what belongs to records that this run changes. Saying something about a record
    /// (a message, an activity, a follower) counts: it was decided on what was read, and a note must not contradict the
    /// record that it stands on.
    fn reads(&self) -> Vec<Seen> {
        if self.seen.is_empty() {
            return Vec::new();
        }
        let changed = self.events.iter().map(|(_, Change { record, .. })| (record.model.as_str(), record.id));
        let mut written: HashSet<(&str, Id)> = changed.collect();
        for ((model, _), ids) in self.greeting.iter().flat_map(|(_, greeting)| greeting.counts()) {
            written.extend(ids.iter().map(|id| (model.as_str(), *id)));
        }
        for effect in &self.changes.effects {
            match effect {
                Effect::Write { model, ids, .. }
                | Effect::Unlink { model, ids }
                | Effect::CallMethod { model, ids, .. } => {
                    written.extend(ids.iter().map(|id| (model.as_str(), *id)));
                }
                Effect::Relate { target, .. }
                | Effect::PostMessage { target, .. }
                | Effect::ScheduleActivity { target, .. }
                | Effect::CompleteActivities { target, .. }
                | Effect::AddFollowers { target, .. }
                | Effect::RemoveFollowers { target, .. } => drop(written.insert((target.model.as_str(), target.id))),
                Effect::Create { .. } | Effect::Ensure { .. } | Effect::Copy { .. } | Effect::SetState { .. } => {}
            }
        }
        self.seen.of_records(&written)
    }
}

/// Whether an effect itself says what it writes on a record. What follows from it by computation counts as said.
fn says(schema: &Schema, effect: &Effect, change: &Change) -> bool {
    let record = &change.record;
    let move_it =
        |model: &str, values: &[FieldValue]| values.iter().any(|value| is_moved(schema, model, &value.name, change));
    match effect {
        Effect::CallMethod { .. }
        | Effect::PostMessage { .. }
        | Effect::ScheduleActivity { .. }
        | Effect::CompleteActivities { .. }
        | Effect::AddFollowers { .. }
        | Effect::RemoveFollowers { .. } => false,
        // Of a copy, its own values; its lines are copied, too.
        Effect::Copy { target, id, .. } => target.model == record.model && *id == record.id,
        // What becomes of the records of a list, its commands say; of the list itself, they do not.
        Effect::Relate { target, field, .. } if target == record => !is_own_list(schema, target, field),
        Effect::Relate { target, field, .. } => !is_moved(schema, &target.model, field, change),
        Effect::Write { model, ids, values } => {
            (*model == record.model && ids.contains(&record.id)) || !move_it(model, values)
        }
        Effect::Create { model, values, .. } => !values.iter().any(|values| move_it(model, values)),
        Effect::Ensure { model, values, .. } => !move_it(model, values),
        Effect::Unlink { .. } | Effect::SetState { .. } => true,
    }
}

/// Whether a list is kept with the record itself, and not with those that are in it.
fn is_own_list(schema: &Schema, target: &RecordRef, field: &str) -> bool {
    let field = schema.models.get(&target.model).and_then(|model| model.fields.get(field));
    field.is_some_and(|field| field.kind == FieldKind::Many2many)
}

/// Whether a record comes into a list that others have of it, or leaves it.
fn is_moved(schema: &Schema, model: &str, list: &str, change: &Change) -> bool {
    let list = schema.models.get(model).and_then(|model| model.fields.get(list));
    let Some(list) = list.filter(|list| list.kind == FieldKind::One2many) else { return false };
    change.kind == ChangeKind::Updated
        && list.relation.as_deref() == Some(change.record.model.as_str())
        && change.fields.iter().any(|changed| list.relation_field.as_deref() == Some(changed.field.as_str()))
}

/// How many records a copy made besides itself and what is said of it.
fn made_with(effect: &Effect, changes: &[Change]) -> u64 {
    let Effect::Copy { .. } = effect else { return 0 };
    let made = changes.iter().filter(|change| change.kind == ChangeKind::Created && !is_chatter(&change.record));
    made.count().saturating_sub(1) as u64
}

/// Records that an effect deleted besides those that it names: lines that left their list, and what cannot be without what
/// is gone.
fn went_with(effect: &Effect, changes: &[Change]) -> u64 {
    let named = match effect {
        Effect::Unlink { ids, .. } => ids.len(),
        Effect::Relate { commands, .. } => {
            commands.iter().filter(|command| matches!(command, Command::Delete(_))).count()
        }
        _ => 0,
    };
    let gone = changes.iter().filter(|change| change.kind == ChangeKind::Deleted && !is_chatter(&change.record));
    gone.count().saturating_sub(named) as u64
}

fn is_chatter(record: &RecordRef) -> bool {
    chatter::MODELS.contains(&record.model.as_str())
}

/// The effect with the ids that staging it gave.
fn with_ids(mut effect: Effect, given: &[Id]) -> Effect {
    match &mut effect {
        Effect::Create { ids, .. } => *ids = given.to_vec(),
        Effect::Ensure { id, .. } | Effect::Copy { id, .. } => *id = given.first().copied().unwrap_or_default(),
        _ => {}
    }
    effect
}

/// A value without the names of records: those may change without the record changing.
pub(crate) fn bare(value: &Value) -> Value {
    match value {
        Value::Many2one(link) => Value::link(link.id),
        other => other.clone(),
    }
}

fn require_fields(fields: &[String]) -> Result<(), Error> {
    if fields.is_empty() {
        return Err(Error::invalid("no-fields", "the list of fields is empty; name the fields to read"));
    }
    Ok(())
}
