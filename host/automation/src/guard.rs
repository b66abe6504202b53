//! Stands between a script and its backend: judges every call by the script's request, the rule's grants
//! and the policy before the backend judges it by the user's rights.

use std::sync::Arc;

use triggerbox_llm::{Calls, Halt, Unavailable};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, HttpRequest, LlmRequest, Page, Reply},
    domain::{Domain, Literal, Operator},
    error::{Error, ErrorKind},
    grants::{Allowed, Authority, Need},
    value::{Id, is_provisional},
};
use triggerbox_sandbox::{Host, HostFault, LogLevel};
use triggerbox_store::session::Session;

use crate::{
    needs::needs,
    plan::{Judged, Planning, Stage},
    records::Records,
};

/// Takes log lines as they come.
pub trait LogSink: Send {
    /// One line.
    fn line(&mut self, level: LogLevel, message: &str);
}

/// One run's host: its session behind its rights.
pub struct Guard<R = Session> {
    session: R,
    authority: Arc<Authority>,
    log: Box<dyn LogSink>,
    refusals: Vec<Error>,
    outside: Option<Calls>,
    planning: Option<Planning>,
    judged: Option<Judged>,
}

impl<R: Records> Guard<R> {
    /// Puts a session behind the rights of one run.
    pub fn new(session: R, authority: Arc<Authority>, log: Box<dyn LogSink>) -> Self {
        Self { session, authority, log, refusals: Vec::new(), outside: None, planning: None, judged: None }
    }

    /// Lets the run ask language models and other services.
    #[must_use]
    pub fn with_outside(self, outside: Option<Calls>) -> Self {
        Self { outside, ..self }
    }

    /// Has the run plan before it reads or does anything.
    #[must_use]
    pub(crate) fn with_planning(self, planning: Option<Planning>) -> Self {
        Self { planning, ..self }
    }

    /// The plan that the run made, with its verdicts.
    #[must_use]
    pub fn judged(&self) -> Option<&Judged> {
        self.judged.as_ref()
    }

    /// Who was not available when the script asked last.
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        self.outside.as_ref()?.unavailable()
    }

    /// What the run staged, the log's sink, and every refusal that the script met.
    pub fn into_parts(self) -> (R, Box<dyn LogSink>, Vec<Error>) {
        (self.session, self.log, self.refusals)
    }

    async fn complete(&mut self, request: LlmRequest) -> Result<Reply, HostFault> {
        if let Some(Err(error)) = self.planning.as_ref().map(Planning::may_ask) {
            return Ok(Err(error));
        }
        self.rest()?;
        let reply = match &mut self.outside {
            Some(outside) => outside.complete(request).await.map_err(fault)?,
            None => Err(Error::unavailable(
                "llm-not-configured",
                "no language model provider is configured on this host; an administrator can add one",
            )),
        };
        self.planned(reply).await
    }

    /// Takes the first answer of a run that has to plan as its plan: judged, and kept, before the script sees it.
    async fn planned(&mut self, reply: Reply) -> Result<Reply, HostFault> {
        let (Some(planning), Ok(Answer::Completion(completion))) = (&mut self.planning, &reply) else {
            return Ok(reply);
        };
        if !matches!(planning.stage, Stage::Awaited) {
            return Ok(reply);
        }
        let judged = planning.take(&completion.text, &self.authority, &mut self.session).await?;
        if let Some(outside) = &self.outside {
            outside.planned(&judged).await.map_err(fault)?;
        }
        self.judged = Some(judged);
        Ok(planning.may_ask().and(reply))
    }

    /// Others may take minutes to answer: no snapshot is held meanwhile.
    fn rest(&mut self) -> Result<(), HostFault> {
        self.session.rest()
    }

    async fn send(&mut self, request: HttpRequest) -> Result<Reply, HostFault> {
        if let Some(Err(error)) = self.planning.as_ref().map(Planning::may_send) {
            return Ok(Err(error));
        }
        self.rest()?;
        match &mut self.outside {
            Some(outside) => outside.send(&self.authority, request).await.map_err(fault),
            None => Ok(Err(Error::unavailable(
                "http-not-configured",
                "no host is granted for HTTP requests; an administrator can grant one by name",
            ))),
        }
    }

    async fn answer(&mut self, mut call: Call) -> Result<Reply, HostFault> {
        if let Err(error) = self.judge(&mut call).await? {
            return Ok(Err(error));
        }
        match &call {
            Call::CallMethod { model, method, .. } if self.authority.is_read_only(model, method) => {
                self.session.ask_method(call).await
            }
            _ => self.session.answer(call).await,
        }
    }

    /// Whether the three sides allow a call; narrows it to the records that they allow.
    async fn judge(&mut self, call: &mut Call) -> Result<Result<(), Error>, HostFault> {
        // Before anything is asked of the backend.
        if let Some(Err(error)) = self.planning.as_ref().map(|planning| planning.may(&[])) {
            return Ok(Err(error));
        }
        if let Err(error) = self.session.learn(call).await? {
            return Ok(Err(error));
        }
        let needs = match needs(self.session.schema(), call) {
            Ok(needs) => needs,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(Err(error)) = self.planning.as_ref().map(|planning| planning.may(&needs)) {
            return Ok(Err(error));
        }
        for (index, need) in needs.iter().enumerate() {
            let allowed = match self.authority.allow(need) {
                Ok(allowed) => allowed,
                Err(refusal) => return Ok(Err(refusal.into())),
            };
            if allowed.domains.is_empty() {
                continue;
            }
            if index > 0 && needs.first().is_some_and(|first| first.model != need.model) {
                return Ok(Err(reached_through_a_path(need)));
            }
            if let Err(error) = self.narrow(call, need, &allowed).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    /// Searches get the grants' domains added; calls that name records are refused when one is outside of them.
    async fn narrow(
        &mut self,
        call: &mut Call,
        need: &Need,
        allowed: &Allowed,
    ) -> Result<Result<(), Error>, HostFault> {
        let bound = match bound(allowed) {
            Ok(bound) => bound,
            Err(error) => return Ok(Err(error)),
        };
        let ids: Vec<Id> = match call {
            Call::Search { domain, .. }
            | Call::SearchRead { domain, .. }
            | Call::SearchCount { domain, .. }
            | Call::ReadGroup { domain, .. } => {
                return Ok(Domain::from_source(domain).map(|asked| {
                    *domain = DomainSource::Literal(Domain::and([asked, bound]).to_string());
                }));
            }
            Call::Read { ids, .. } | Call::Write { ids, .. } | Call::Unlink { ids, .. } => ids.clone(),
            Call::CallMethod { ids, .. } | Call::HasAccess { ids, .. } => ids.clone(),
            Call::Relate { target, .. }
            | Call::Mention { target }
            | Call::ReadMessages { target, .. }
            | Call::PostMessage { target, .. }
            | Call::PostNote { target, .. }
            | Call::ScheduleActivity { target, .. }
            | Call::CompleteActivities { target, .. }
            | Call::AddFollowers { target, .. }
            | Call::RemoveFollowers { target, .. } => vec![target.id],
            // New records are not there yet to be matched, and a name search cannot be narrowed.
            _ => return Ok(Err(unbounded(need))),
        };
        // Records of this very run are the script's own.
        let ids: Vec<Id> = ids.into_iter().filter(|id| !is_provisional(*id)).collect();
        let named = Domain::and([Domain::condition("id", Operator::In, literal_ids(&ids)), bound.clone()]);
        let search = Call::Search {
            model: need.model.clone(),
            domain: DomainSource::Literal(named.to_string()),
            page: Page { archived: true, ..Page::default() },
        };
        let found = match self.session.answer(search).await? {
            Ok(Answer::Ids(found)) => found,
            Ok(_) => Vec::new(),
            Err(error) => return Ok(Err(error)),
        };
        Ok(match ids.iter().find(|id| !found.contains(id)) {
            None => Ok(()),
            Some(outside) => Err(Error::denied(
                "refused-by-domain",
                format!("`{}` on {}({outside}) is outside of the granted records {bound}", need.operation, need.model),
            )),
        })
    }
}

#[async_trait::async_trait]
impl<R: Records> Host for Guard<R> {
    async fn call(&mut self, call: Call) -> Result<Reply, HostFault> {
        // Asking whether one may is no attempt.
        let asks = matches!(call, Call::HasAccess { .. });
        let reply = match call {
            Call::Complete { request } => self.complete(request).await?,
            Call::Send { request } => self.send(request).await?,
            call => self.answer(call).await?,
        };
        if let Err(error) = &reply
            && error.kind == ErrorKind::AccessDenied
            && !asks
        {
            self.refusals.push(error.clone());
        }
        Ok(reply)
    }

    async fn go_on(&mut self) {
        if let Some(outside) = &self.outside {
            outside.go_on().await;
        }
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.log.line(level, message);
    }
}

fn fault(halt: Halt) -> HostFault {
    match halt {
        Halt::Over(breach) => HostFault::Limit(breach),
        Halt::OutcomeUnknown(what) => HostFault::OutcomeUnknown(what),
        Halt::Ledger(error) => HostFault::new(error.to_string()),
    }
}

/// One domain of each side's alternatives must match.
fn bound(allowed: &Allowed) -> Result<Domain, Error> {
    let sides = allowed.domains.iter().map(|alternatives| {
        let domains: Result<Vec<_>, _> = alternatives.iter().map(|text| Domain::parse(text)).collect();
        domains.map(Domain::or)
    });
    Ok(Domain::and(sides.collect::<Result<Vec<_>, _>>()?))
}

fn literal_ids(ids: &[Id]) -> Literal {
    Literal::List(ids.iter().map(|id| Literal::Integer(i64::from(*id))).collect())
}

fn reached_through_a_path(need: &Need) -> Error {
    Error::denied(
        "refused-by-domain",
        format!(
            "the grant of `{}` on `{}` is bounded by a domain, so no path or command may reach it from another model; \
             read it with a call of its own",
            need.operation, need.model
        ),
    )
}

fn unbounded(need: &Need) -> Error {
    Error::denied(
        "refused-by-domain",
        format!(
            "the grant of `{}` on `{}` is bounded by a domain, which this call cannot honour; search first, or grant it \
             without a domain",
            need.operation, need.model
        ),
    )
}
