//! What somebody may read of records that something is about, where the records are: their rights are asked once for each
//! model, however many records there are, and once more where not all is for them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Operand, Operation, Page, Term},
    error::ErrorKind,
    value::{Id, RecordRef, Value, is_provisional},
};
use triggerbox_store::{commit::Overtaken, db::DbError, session::Session};

use super::{Engine, approve::elsewhere, lock, odoo::unavailable};
use crate::{
    clock::millis,
    error::EngineError,
    people,
    proposals::{Proposal, ProposalState},
    runs::RunId,
};

/// Proposals that are looked at for one page: the next one looks farther back.
const SEARCHED: usize = 1_000;

/// Proposals that are read at once.
const BATCH: u32 = 100;

/// For so long, in milliseconds, a page that renews itself is not asked about again.
const REMEMBERED: i64 = 10_000;

/// Answers that are remembered at most.
const MOST: usize = 20_000;

tokio::task_local! {
    static RENEWS: ();
}

/// Shows again what was shown a moment ago: of an Odoo server is asked only what it did not answer of late. For what changes
/// nothing.
pub async fn renewing<T>(work: impl Future<Output = T>) -> T {
    RENEWS.scope((), work).await
}

/// Whether what was shown a moment ago is shown again: only what changes by itself is looked at then.
#[must_use]
pub fn is_renewing() -> bool {
    RENEWS.try_with(|()| ()).is_ok()
}

/// Proposals that are remembered at most.
const MOST_PROPOSALS: usize = 1_000;

/// A run, and the hash of what it proposes: when it runs again, it proposes anew.
type Proposing = (RunId, [u8; 32]);

/// What an Odoo server said of late of who may read what, and of what proposals were made on.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// What the backend had forgotten by then.
    forgotten: u64,
    /// By user and model: of each record, and of number 0, which is the model itself, whether they may read it, and when that
    /// was said.
    answers: HashMap<(Id, String), HashMap<Id, (bool, i64)>>,
    count: usize,
    /// What was not any more as the run of a proposal saw it, and when that was said.
    overtaken: HashMap<Proposing, (Vec<Overtaken>, i64)>,
}

impl Told {
    /// Forgets all of it, if the backend has forgotten something meanwhile.
    fn as_of(&mut self, forgotten: u64) -> &mut Self {
        if self.forgotten != forgotten {
            *self = Self { forgotten, ..Self::default() };
        }
        self
    }

    /// What is known of these records; none: not of all of them.
    fn of(&self, user: Id, model: &str, ids: &BTreeSet<Id>, now: i64) -> Option<Option<BTreeSet<Id>>> {
        let known = self.answers.get(&(user, model.to_owned()))?;
        let of = |id: Id| known.get(&id).filter(|(_, at)| (0..REMEMBERED).contains(&(now - at))).map(|(may, _)| *may);
        let is_open = of(0)?;
        let each = ids.iter().map(|id| Some((*id, of(*id)?))).collect::<Option<Vec<_>>>()?;
        Some(is_open.then(|| each.into_iter().filter(|(_, may)| *may).map(|(id, _)| id).collect()))
    }

    fn keep(&mut self, user: Id, model: &str, ids: &BTreeSet<Id>, readable: Option<&BTreeSet<Id>>, now: i64) {
        if self.count + ids.len() >= MOST {
            *self = Self { forgotten: self.forgotten, ..Self::default() };
        }
        let known = self.answers.entry((user, model.to_owned())).or_default();
        let each = ids.iter().map(|id| (*id, readable.is_some_and(|readable| readable.contains(id))));
        for (id, may) in each.chain([(0, readable.is_some())]) {
            self.count += usize::from(known.insert(id, (may, now)).is_none());
        }
    }

    fn overtaken(&self, proposing: &Proposing, now: i64) -> Option<Vec<Overtaken>> {
        let (found, at) = self.overtaken.get(proposing)?;
        (0..REMEMBERED).contains(&(now - at)).then(|| found.clone())
    }

    fn keep_overtaken(&mut self, proposing: Proposing, found: Vec<Overtaken>, now: i64) {
        if self.overtaken.len() >= MOST_PROPOSALS {
            self.overtaken.clear();
        }
        self.overtaken.insert(proposing, (found, now));
    }
}

/// What somebody may read of the records that were asked about.
#[derive(Debug, Clone)]
pub enum Readable {
    /// All of it.
    All,
    /// Of each model these records; none: nothing of it.
    These(BTreeMap<String, Option<BTreeSet<Id>>>),
}

impl Readable {
    /// Whether a record is among it. One that is new, or has no number, is where its model is.
    #[must_use]
    pub fn has(&self, record: &RecordRef) -> bool {
        let Self::These(these) = self else { return true };
        let known = these.get(&record.model).and_then(Option::as_ref);
        known.is_some_and(|ids| !is_kept(record.id) || ids.contains(&record.id))
    }

    /// Whether all records that a proposal changes are among it.
    #[must_use]
    pub fn all_of(&self, proposal: &Proposal) -> bool {
        if proposal.is_damaged {
            return matches!(self, Self::All);
        }
        proposal.diff.records.iter().all(|one| self.has(&one.record))
    }
}

/// Whether asking again would be answered in the same way. A model that cannot be asked about hides the others from nobody.
pub(super) fn is_no(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AccessDenied | ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Rejected)
}

/// Whether a number is that of a record that is kept: not of a new one, nor of none.
fn is_kept(id: Id) -> bool {
    id > 0 && !is_provisional(id)
}

impl Engine {
    /// What a user may read of the records that these proposals change.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn readable_of(&self, user: Id, proposals: &[Proposal]) -> Result<Readable, EngineError> {
        let records = proposals.iter().flat_map(|one| &one.diff.records).map(|one| one.record.clone());
        self.readable_among(user, records.collect()).await
    }

    /// What a user may read of these records, of whichever models.
    ///
    /// # Errors
    /// What the backend says. Whoever has no key for the records may read none of them.
    pub async fn readable_among(&self, user: Id, records: Vec<RecordRef>) -> Result<Readable, EngineError> {
        let mut wanted: BTreeMap<String, BTreeSet<Id>> = BTreeMap::new();
        for RecordRef { model, id } in records {
            // What is about no model is no record.
            if !model.is_empty() {
                wanted.entry(model).or_default().extend(Some(id).filter(|id| is_kept(*id)));
            }
        }
        let mut these = BTreeMap::new();
        for (model, ids) in wanted {
            let readable = self.readable(user, &model, &ids).await?;
            these.insert(model, readable);
        }
        Ok(Readable::These(these))
    }

    /// A page of proposals, newest first, that a user may see, and `before` of the next one. Rights come first: what is for
    /// others takes no room. Who sees `all` is asked nothing.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn proposals_for(
        &self,
        (user, all): (Id, bool),
        state: Option<ProposalState>,
        mut before: Option<RunId>,
        size: usize,
    ) -> Result<(Vec<Proposal>, Option<RunId>), EngineError> {
        let (mut shown, mut looked): (Vec<Proposal>, usize) = (Vec::new(), 0);
        loop {
            let from = before;
            let batch = self.off_the_way(move |engine| engine.proposals(state, from, BATCH)).await?;
            let is_last = u32::try_from(batch.len()).is_ok_and(|count| count < BATCH);
            let readable = if all { Readable::All } else { self.readable_of(user, &batch).await? };
            for proposal in batch {
                looked += 1;
                before = Some(proposal.run);
                if !readable.all_of(&proposal) {
                    continue;
                }
                if shown.len() >= size {
                    let last = shown.last().map(|last| last.run);
                    return Ok((shown, last));
                }
                shown.push(proposal);
            }
            if is_last || looked >= SEARCHED {
                return Ok((shown, before.filter(|_| !is_last)));
            }
        }
    }

    /// Those of these records of a model that a user may read; none: nothing of the model is for them. Who may read all of them
    /// is told in one answer, others in two. A record that is gone is for nobody where the records' rules would have to look
    /// at it.
    ///
    /// # Errors
    /// What the backend says, but that something is not there or not for them.
    pub async fn readable(
        &self,
        user: Id,
        model: &str,
        ids: &BTreeSet<Id>,
    ) -> Result<Option<BTreeSet<Id>>, EngineError> {
        let Some(backend) = self.odoo() else { return self.asked(user, model, ids).await };
        let (now, forgotten) = (millis(self.clock().now()), backend.forgotten());
        let known = || lock(&self.inner.told).as_of(forgotten).of(user, model, ids, now);
        if let Some(known) = is_renewing().then(known).flatten() {
            return Ok(known);
        }
        let readable = self.asked(user, model, ids).await?;
        lock(&self.inner.told).as_of(forgotten).keep(user, model, ids, readable.as_ref(), now);
        Ok(readable)
    }

    async fn asked(&self, user: Id, model: &str, ids: &BTreeSet<Id>) -> Result<Option<BTreeSet<Id>>, EngineError> {
        let all: Vec<Id> = ids.iter().copied().collect();
        let call = Call::HasAccess { model: model.to_owned(), ids: all.clone(), operation: Operation::Read };
        if let Some(Answer::Flag(true)) = self.told(user, call).await? {
            return Ok(Some(ids.clone()));
        }
        if ids.is_empty() {
            return Ok(None);
        }
        let number = |id: Id| i32::try_from(id).ok().map(Value::Integer);
        let among = Operand::Many(all.into_iter().filter_map(number).collect());
        let call = Call::Search {
            model: model.to_owned(),
            domain: DomainSource::Terms(vec![Term::Condition("id".to_owned(), "in".to_owned(), among)]),
            page: Page { order: Some("id".to_owned()), archived: true, ..Page::default() },
        };
        Ok(match self.told(user, call).await? {
            Some(Answer::Ids(found)) => Some(found.into_iter().filter(|id| ids.contains(id)).collect()),
            _ => None,
        })
    }

    /// What is not any more as the run of a proposal saw it that is applied on the Odoo server.
    pub(super) async fn overtaken_there(
        &self,
        run: RunId,
        run_as: Id,
        request: &Json,
    ) -> Result<Vec<Overtaken>, EngineError> {
        let backend = self.odoo().ok_or_else(|| elsewhere(run))?;
        let (now, forgotten) = (self.clock().now(), backend.forgotten());
        let proposing: Proposing = (run, Sha256::digest(request.to_string()).into());
        let known = || lock(&self.inner.told).as_of(forgotten).overtaken(&proposing, millis(now));
        if let Some(known) = is_renewing().then(known).flatten() {
            return Ok(known);
        }
        let session = self.session_there(backend, run_as, now).await?;
        let found = session.overtaken(request).await.map_err(unavailable)?;
        let found: Vec<_> = found.into_iter().map(|(record, field)| Overtaken { record, field }).collect();
        lock(&self.inner.told).as_of(forgotten).keep_overtaken(proposing, found.clone(), millis(now));
        Ok(found)
    }

    /// What a user is answered; none: there is no such thing, it is not for them, or the question makes no sense there.
    async fn told(&self, user: Id, call: Call) -> Result<Option<Answer>, EngineError> {
        let answer = match self.odoo() {
            None => self.off_the_way(move |engine| engine.ask_here(user, call)).await,
            Some(_) => self.ask_there(user, call).await,
        };
        match answer {
            Err(EngineError::Refused(error)) if is_no(error.kind) => Ok(None),
            answer => answer.map(Some),
        }
    }

    /// Answers a call that changes nothing from this database, as a user.
    fn ask_here(&self, user: Id, call: Call) -> Result<Answer, EngineError> {
        let env = people::environment(self.database(), user, false, self.clock().now())?;
        Ok(Session::new(self.database(), env)?.call(call)??)
    }

    /// Does something that takes a while where it keeps nobody waiting.
    pub(super) async fn off_the_way<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let engine = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&engine)).await;
        done.unwrap_or_else(|gone| Err(DbError::Failed { why: gone.to_string() }.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Overtaken, RecordRef, Told};

    #[test]
    fn what_was_said_of_a_proposal_is_not_said_of_the_next_one_of_its_run() {
        let mut told = Told::default();
        let found = vec![Overtaken { record: RecordRef::new("crm.lead", 7), field: "priority".to_owned() }];
        told.keep_overtaken((1, [1; 32]), found.clone(), 0);
        assert_eq!(told.overtaken(&(1, [1; 32]), 9_999), Some(found));
        assert_eq!(told.overtaken(&(1, [1; 32]), 10_000), None);
        assert_eq!(told.overtaken(&(1, [2; 32]), 1), None);
    }
}
