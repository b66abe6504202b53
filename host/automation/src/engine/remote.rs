//! One try of a run whose records are on an Odoo server: scripts here, changes there in one request, the record of it here.
//! The run's key goes into Odoo's ledger with the changes, and a later try asks for it first: one that died after its commit
//! changes nothing a second time.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use triggerbox_llm::{Seat as _, Spent};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    event::{Outcome, Trigger},
    value::Id,
};
use triggerbox_odoo::{Backend, Committed, Session};

use super::{
    Engine,
    attempt::{Lines, plan_refused},
    finish::Ended,
    lock,
    odoo::{refused, unavailable},
    source::found_or_why,
};
use crate::{
    clock::timestamp,
    error::EngineError,
    needs,
    people::Person,
    play::{Done, Played, Task, play_over},
    proposals::{self, Proposed},
    queue::Claim,
    remote::{self, Concluded},
    report::Verdict,
    rule::{Dispatch, Environment, Mode, Source},
    seats::Taken,
};

/// Tries after which a run whose outcome nobody knows is a person's to look at. Each asks Odoo's ledger.
const MOST_UNCLEAR: u32 = 6;

impl Engine {
    pub(super) async fn try_remote(
        &self,
        backend: &Arc<Backend>,
        claim: &Claim,
        log: &Lines,
        seat: Option<&Arc<Taken>>,
        done: &mut Vec<Done>,
        spent: &Spent,
    ) -> Result<Ended, EngineError> {
        if let Some(at) = applied_before(backend, claim).await? {
            return Ok(Ended::Applied(at));
        }
        let (rule, now) = (&claim.rule.rule, timestamp(claim.at));
        let mut session = self.session_there(backend, claim.rule.run_as, now).await?.for_rule(&rule.name);
        let run_as = Person { user: session.account().user.clone(), company: session.account().company.clone() };
        let actor = match claim.firing.actor {
            None => run_as.clone(),
            Some(user) => {
                let known = backend.person(user).await.map_err(unavailable)?;
                Person {
                    user: known.user.clone(),
                    company: known.company.clone().unwrap_or_else(|| run_as.company.clone()),
                }
            }
        };
        let mut records = remaining(&mut session, claim).await?;
        if records.is_empty() && !claim.firing.records.is_empty() {
            let why = format!("none of its records is there any more for `{}`, or matches the rule", run_as.user.login);
            return Ok(Ended::Nothing("records-gone", why));
        }
        if let Some(source) = rule.source.as_ref().filter(|_| records.is_empty()) {
            let found = match source {
                Source::Domain(domain) => by_domain(&mut session, claim, domain).await,
                Source::Script(script) => {
                    let its_session = self.session_there(backend, claim.rule.run_as, now).await?.for_rule(&rule.name);
                    self.by_script(claim, script, its_session, (&actor, &run_as), now, log).await
                }
            };
            records = match found_or_why(found)? {
                Ok(records) => records,
                Err(problem) => return Ok(Ended::Nothing("no-records", problem)),
            };
            if rule.dispatch == Dispatch::PerRecord {
                return Ok(Ended::Spread(records));
            }
            self.keep_found(claim, &records).await?;
        }
        // The run keeps it to its end, whatever is set meanwhile.
        let policy = self.policy()?;
        let steps = self.steps(rule, claim.class, &policy).await;
        let thread = self.begin_session(claim, &records, &steps).await?;
        let steps = steps?;
        let outside = self.outside(claim, &records, thread, seat, spent);
        // Whatever the rule says: nobody is superuser on an Odoo server.
        let parking = self.parking(claim, &policy)?;
        let task = Task { superuser: false, parking, ..self.task(claim, records, (actor, run_as), now)? };
        let played = play_over(session, &task, &steps, self.keep(), outside.as_ref(), Box::new(log.clone())).await?;
        if let Some(seat) = seat {
            seat.take().await;
        }
        let Played { mut session, steps: played, outcome, .. } = played;
        done.extend(played);
        let Some(outcome) = outcome else { return Ok(Ended::Unsuccessful) };
        if let Some(refused) = plan_refused(done) {
            return Ok(Ended::NotRun(refused));
        }
        let only_shown = rule.environment == Environment::Test;
        let deletes = needs::may_delete(session.schema(), session.changes());
        let wants_yes = proposals::wants_yes(&policy, rule, session.changes(), deletes);
        let waits = rule.mode != Mode::Auto && !proposals::is_nothing(rule, session.changes());
        let ended = match !only_shown && (waits || wants_yes) {
            true => self.propose_there(&mut session, claim, outcome).await,
            false => Ok(self.conclude(&mut session, claim, only_shown, outcome).await),
        };
        if let Some(last) = done.last_mut() {
            last.tracebacks = session.tracebacks();
        }
        ended
    }

    /// Somebody must decide about what was staged, if it would change anything: what is kept for them is what Odoo would be sent,
    /// word for word. What was read of the records that change, to show it, is compared then.
    async fn propose_there(
        &self,
        session: &mut Session,
        claim: &Claim,
        outcome: Outcome,
    ) -> Result<Ended, EngineError> {
        session.check_outcome(&outcome)?;
        let diff = session.preview().await.map_err(unavailable)?.map_err(refused)?;
        if session.writes_nothing_new() {
            // No record would change: there is nothing to say yes to.
            session.leave_records(claim.rule.rule.mode != Mode::Recommend);
            return Ok(self.conclude(session, claim, false, outcome).await);
        }
        self.has_sent_nothing(claim)?;
        let outcome = session.with_names(outcome, &Committed::default());
        Ok(Ended::Propose(Proposed::There(session.request()?), diff, outcome))
    }

    /// Nobody has to decide about what was staged: it is applied, or only shown.
    async fn conclude(&self, session: &mut Session, claim: &Claim, only_shown: bool, outcome: Outcome) -> Ended {
        if !only_shown && !self.begins_to_send(claim) {
            let why = "it was being stopped when it was to send its changes".to_owned();
            return Ended::Elsewhere(Concluded::without_effect(Verdict::Backend(why)));
        }
        let mut concluded = remote::conclude(session, &claim.key, only_shown, outcome).await;
        concluded.verdict = match concluded.verdict {
            Verdict::OutcomeUnknown(why) if claim.retries < MOST_UNCLEAR => Verdict::Backend(why),
            verdict => verdict,
        };
        Ended::Elsewhere(concluded)
    }

    /// Whether the try of a run sends its changes: from here on nobody stops it. Not, if somebody has.
    fn begins_to_send(&self, claim: &Claim) -> bool {
        let mut running = lock(&self.inner.running);
        match running.get_mut(&(claim.id, claim.fence)) {
            Some(going) if !going.is_stopped => {
                going.sends = true;
                true
            }
            _ => false,
        }
    }
}

/// When an earlier try of this run was applied whose answer was lost: its script would take its own changes for somebody else's.
async fn applied_before(backend: &Backend, claim: &Claim) -> Result<Option<Timestamp>, EngineError> {
    if claim.attempt < 2 {
        return Ok(None);
    }
    let mut applied = backend.applied(std::slice::from_ref(&claim.key)).await.map_err(unavailable)?;
    Ok(applied.remove(&claim.key))
}

async fn by_domain(session: &mut Session, claim: &Claim, domain: &str) -> Result<Vec<Id>, EngineError> {
    let model = claim.model.clone().unwrap_or_default();
    search(session, &model, Domain::parse(domain)?, false).await
}

/// The records of a run that are still there for the user whose rights it has and, if the rule wants it, still match.
/// Deleted ones are not expected to be.
async fn remaining(session: &mut Session, claim: &Claim) -> Result<Vec<Id>, EngineError> {
    let records = &claim.firing.records;
    let Some(model) = &claim.model else { return Ok(records.clone()) };
    if records.is_empty() || matches!(claim.firing.trigger, Trigger::Deleted(_)) {
        return Ok(records.clone());
    }
    let ids = records.iter().map(|id| Literal::Integer(i64::from(*id))).collect();
    let mut domain = Domain::condition("id", Operator::In, Literal::List(ids));
    if let Some(wanted) = claim.rule.rule.domain.as_ref().filter(|_| claim.rule.rule.judge_again) {
        domain = Domain::and([domain, Domain::parse(wanted)?]);
    }
    let left: HashSet<Id> = search(session, model, domain, true).await?.into_iter().collect();
    Ok(records.iter().copied().filter(|id| left.contains(id)).collect())
}

async fn search(session: &mut Session, model: &str, domain: Domain, archived: bool) -> Result<Vec<Id>, EngineError> {
    let call = Call::Search {
        model: model.to_owned(),
        domain: DomainSource::Literal(domain.to_string()),
        page: Page { archived, ..Page::default() },
    };
    match session.call(call).await.map_err(unavailable)?.map_err(refused)? {
        Answer::Ids(ids) => Ok(ids),
        _ => Ok(Vec::new()),
    }
}
