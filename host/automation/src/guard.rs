//! Stands between a script and its backend: judges every call by the script's request, the rule's grants
//! and the policy before the backend judges it by the user's rights.

use std::{collections::HashSet, sync::Arc, time::Instant};

use triggerbox_llm::{Calls, Halt, Unavailable, is_reading};
use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, DomainSource, HttpRequest, LlmRequest, Page, RUN_SCRIPT, Reply, WITH_CONTEXT},
    domain::{Domain, Literal, Operator},
    error::{Error, ErrorKind},
    event::Outcome,
    grants::{Allowed, Authority, Bound, GrantOperation, Need, Side},
    limits::Meter,
    value::{Id, is_provisional},
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel, Run};
use triggerbox_store::session::Session;

use crate::{
    journal::Entry,
    needs::needs,
    parking::Parking,
    plan::{Judged, Planning, Stage},
    records::Records,
    tools::{self, Asked, Toolbox, Within},
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
    tools: Option<Toolbox>,
    /// How far the run is, where policy may want a yes for a part of it.
    parking: Option<Arc<Parking>>,
    /// The call that set the context that its calls are made in now, of a run that has tools.
    context: Option<Call>,
    /// A script of the tools runs, and this is what it has asked so far.
    within: Option<Vec<Entry>>,
    /// What the last one asked.
    last_within: Vec<Entry>,
    /// What the call may use that is being answered.
    may: Allowance,
}

impl<R: Records> Guard<R> {
    /// Puts a session behind the rights of one run.
    pub fn new(session: R, authority: Arc<Authority>, log: Box<dyn LogSink>) -> Self {
        Self {
            session,
            authority,
            log,
            refusals: Vec::new(),
            outside: None,
            planning: None,
            judged: None,
            tools: None,
            parking: None,
            context: None,
            within: None,
            last_within: Vec::new(),
            may: Allowance::UNLIMITED,
        }
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

    /// Lets the run run scripts as tools.
    #[must_use]
    pub(crate) fn with_tools(self, tools: Option<Toolbox>) -> Self {
        Self { tools, ..self }
    }

    /// Has what waits for a yes and what is sent keep apart.
    #[must_use]
    pub(crate) fn with_parking(self, parking: Option<Arc<Parking>>) -> Self {
        Self { parking, ..self }
    }

    /// What the script asked that was run by the last call.
    pub(crate) fn take_within(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.last_within)
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
        let parking = self.parking.clone().filter(|_| !is_reading(&request.method));
        if let Some(Err(error)) = parking.as_ref().map(|parking| parking.may_send(&request.method)) {
            return Ok(Err(error));
        }
        self.rest()?;
        match &mut self.outside {
            Some(outside) => {
                let reply = outside.send(&self.authority, request).await.map_err(fault);
                if let Some(parking) = parking.filter(|_| outside.wrote()) {
                    parking.set_sent();
                }
                reply
            }
            None => Ok(Err(Error::unavailable(
                "http-not-configured",
                "no host is granted for HTTP requests; an administrator can grant one by name",
            ))),
        }
    }

    /// Runs a script of the run's tools within the run. If it does not succeed, it has done nothing.
    async fn run_script(&mut self, call: Call) -> Result<Reply, HostFault> {
        let Call::CallMethod { model, ids, arguments_json, .. } = call else { return self.answer(call).await };
        if let Some(Err(error)) = self.planning.as_ref().map(Planning::planned) {
            return Ok(Err(error));
        }
        if self.within.is_some() {
            let text = "a script that runs as a tool has no scripts as tools itself";
            return Ok(Err(Error::denied("no-tools-within", text)));
        }
        let prepared = match &mut self.tools {
            Some(tools) => tools.prepare(model, ids, &arguments_json),
            None => Err(Error::denied("no-scripts", "this run has no scripts as tools; an agent names its own")),
        };
        let within = match prepared {
            Ok(within) => within,
            Err(error) => return Ok(Err(error)),
        };
        let mark = self.session.mark();
        let waited = self.parking.as_ref().is_some_and(|parking| parking.waits());
        let undone = |guard: &Self| {
            if let Some(parking) = &guard.parking {
                parking.set_waits(waited);
            }
        };
        // It begins in the run's own context, whatever the script that wants it has set.
        if let Some(context) = self.context.clone()
            && let Err(error) = self.session.answer(left(context), self.may).await?
        {
            return Ok(Err(error));
        }
        let context = self.context.take();
        let authority = Arc::new(within.tool.authority(&self.authority));
        let outer = std::mem::replace(&mut self.authority, authority);
        let calls = self.outside.as_mut().map(|calls| calls.within(&within.tool.version()));
        let outer_calls = std::mem::replace(&mut self.outside, calls);
        self.within = Some(Vec::new());
        let may = self.may;
        let ran = self.serve(&within, may.until).await;
        self.may = may;
        self.last_within = self.within.take().unwrap_or_default();
        self.authority = outer;
        let set = std::mem::replace(&mut self.context, context);
        let calls = std::mem::replace(&mut self.outside, outer_calls);
        if let (Some(outer), Some(calls)) = (&mut self.outside, calls) {
            outer.after(calls);
        }
        let name = within.tool.name();
        let Some(run) = ran? else {
            self.session.undo(mark, self.may)?;
            undone(self);
            let text =
                format!("all places for scripts that run as tools are taken, so that `{name}` did not run; try again");
            return Ok(Err(Error::unavailable("no-place", text)));
        };
        if let Some(tools) = &mut self.tools {
            tools.began(name);
        }
        if let Ending::Trapped(trap) = &run.ending {
            self.log.line(LogLevel::Warning, &format!("{name}: {trap}"));
        }
        let mut result = tools::result(name, &run.ending)?;
        if let Ending::Done(outcome) = &run.ending
            && let Err(error) = self.session.check_outcome(outcome)
        {
            result = Err(error);
        }
        // Nor does what it set hold for the calls after it.
        if result.is_ok()
            && let Some(call) = self.context.clone().or_else(|| set.map(left))
            && let Err(error) = self.session.answer(call, self.may).await?
        {
            result = Err(error);
        }
        if let Err(error) = &mut result {
            // Once they are undone there are no such records: whoever reads their ids would look for them.
            for id in self.provisional_ids(&error.message) {
                error.message = error.message.replace(id.as_str(), "(a new record)");
            }
            self.session.undo(mark, self.may)?;
            undone(self);
        }
        Ok(Ok(Answer::Ran(Box::new(tools::ran(result, &run)))))
    }

    /// Answers what a script asks that runs within the run, until it is over. A call is given up when the run's own time is over:
    /// a script that is over its own is ended by its own clock, and the run goes on.
    async fn serve(&mut self, within: &Within, until: Option<Instant>) -> Result<Option<Run>, HostFault> {
        let (run, mut asked) = within.begin();
        let mut run = std::pin::pin!(run);
        let name = within.tool.name();
        loop {
            tokio::select! {
                biased;
                Some(asked) = asked.recv() => match asked {
                    Asked::Call(call, may, reply) => {
                        let kept = call.clone();
                        let answer = Host::call(self, call, Allowance { until, ..may }).await;
                        match (&answer, &mut self.within) {
                            // Whatever ends the script here ends the run that it is within.
                            (Err(fault), _) => return Err(fault.clone()),
                            (Ok(reply), Some(within)) => {
                                within.push(Entry { call: kept, reply: reply.clone(), within: Vec::new(), time: None });
                            }
                            (Ok(_), None) => {}
                        }
                        // One that was ended meanwhile does not want to know.
                        let _ = reply.send(answer);
                    }
                    Asked::GoOn(done) => {
                        self.go_on().await;
                        let _ = done.send(());
                    }
                    Asked::Log(level, message) => self.log.line(level, &format!("{name}: {message}")),
                },
                ran = &mut run => {
                    while let Ok(Asked::Log(level, message)) = asked.try_recv() {
                        self.log.line(level, &format!("{name}: {message}"));
                    }
                    return Ok(ran);
                }
            }
        }
    }

    /// The numbers in a text that are ids of records of this very run.
    fn provisional_ids(&self, text: &str) -> Vec<String> {
        let is_new = |number: &String| {
            let told = Outcome { message: Some(number.clone()), ..Outcome::default() };
            number.parse::<Id>().is_ok_and(is_provisional) && self.session.check_outcome(&told).is_err()
        };
        text.split(|c: char| !c.is_ascii_digit()).map(str::to_owned).filter(is_new).collect()
    }

    /// Sets a context, and keeps which.
    async fn set_context(&mut self, call: Call) -> Result<Reply, HostFault> {
        let reply = self.answer(call.clone()).await?;
        if reply.is_ok() {
            self.context = Some(call);
        }
        Ok(reply)
    }

    async fn answer(&mut self, mut call: Call) -> Result<Reply, HostFault> {
        let needs = match self.judge(&mut call).await? {
            Ok(needs) => needs,
            Err(error) => return Ok(Err(error)),
        };
        if let Call::CallMethod { model, method, .. } = &call
            && self.authority.is_read_only(model, method)
        {
            return self.session.ask_method(call, self.may).await;
        }
        let Some(parking) = self.parking.clone() else { return self.session.answer(call, self.may).await };
        let wanted = parking.wanted(&self.authority.policy, &call, &needs);
        if let Some(Err(error)) = wanted.map(|operation| parking.may_stage(operation)) {
            return Ok(Err(error));
        }
        let reply = self.session.answer(call, self.may).await?;
        if wanted.is_some() && reply.is_ok() {
            parking.set_waits(true);
        }
        Ok(reply)
    }

    /// Whether the three sides allow a call, and what it needs; narrows it to the records that they allow.
    async fn judge(&mut self, call: &mut Call) -> Result<Result<Vec<Need>, Error>, HostFault> {
        // Before anything is asked of the backend.
        if let Some(Err(error)) = self.planning.as_ref().map(Planning::planned) {
            return Ok(Err(error));
        }
        if let Err(error) = self.session.learn(call).await? {
            return Ok(Err(error));
        }
        let needs = match needs(self.session.schema(), call) {
            Ok(needs) => needs,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(Err(error)) = self.planning.as_ref().map(|planning| planning.may(call, &needs)) {
            return Ok(Err(error));
        }
        for need in &needs {
            let allowed = match self.authority.allow(need) {
                Ok(allowed) => allowed,
                Err(refusal) => return Ok(Err(refusal.into())),
            };
            let Some(first) = allowed.bounds.first() else { continue };
            if need.reached {
                return Ok(Err(reached_through_a_path(need, first.side)));
            }
            if let Err(error) = self.narrow(call, need, &allowed).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(needs))
    }

    /// Searches get the grants' domains added; calls that name records are refused when one is outside of them.
    async fn narrow(
        &mut self,
        call: &mut Call,
        need: &Need,
        allowed: &Allowed,
    ) -> Result<Result<(), Error>, HostFault> {
        let bounds = allowed.bounds.iter().map(|bound| domain_of(bound).map(|domain| (bound.side, domain)));
        let bounds: Vec<(Side, Domain)> = match bounds.collect() {
            Ok(bounds) => bounds,
            Err(error) => return Ok(Err(error)),
        };
        let ids: Vec<Id> = match call {
            Call::Search { domain, .. }
            | Call::SearchRead { domain, .. }
            | Call::SearchCount { domain, .. }
            | Call::ReadGroup { domain, .. } => {
                return Ok(Domain::from_source(domain).map(|asked| {
                    let all = std::iter::once(asked).chain(bounds.into_iter().map(|(_, bound)| bound));
                    *domain = DomainSource::Literal(Domain::and(all).to_string());
                }));
            }
            // Which fields there are says nothing of any record.
            Call::FieldsGet { .. } | Call::DescribeFields { .. } => return Ok(Ok(())),
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
            // A copy is read of the record that it names.
            Call::Copy { target, .. } if need.operation != GrantOperation::Create => vec![target.id],
            // New records are not there yet to be matched, and a name search cannot be narrowed.
            _ => return Ok(Err(unbounded(need, bounds.first().map_or(Side::Rule, |(side, _)| *side)))),
        };
        // Records of this very run are the script's own.
        let ids: Vec<Id> = ids.into_iter().filter(|id| !is_provisional(*id)).collect();
        for (side, bound) in bounds {
            let search = among(need, &ids, &bound);
            let judged = match self.session.answer(search, self.may.time_alone()).await? {
                Ok(found) => all_within(need, &ids, (side, &bound), found),
                Err(error) => Err(error),
            };
            if judged.is_err() {
                return Ok(judged);
            }
        }
        Ok(Ok(()))
    }
}

#[async_trait::async_trait]
impl<R: Records> Host for Guard<R> {
    async fn call(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        self.may = may;
        // Asking whether one may is no attempt.
        let asks = matches!(call, Call::HasAccess { .. });
        let reply = match call {
            Call::Complete { request } => self.complete(request).await?,
            Call::Send { request } => self.send(request).await?,
            call if self.tools.is_some() && runs_script(&call) => self.run_script(call).await?,
            call if self.tools.is_some() && sets_context(&call) => self.set_context(call).await?,
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

    fn lend(&mut self, meter: Meter) {
        if let Some(tools) = &mut self.tools {
            tools.lend(meter);
        }
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        self.log.line(level, message);
    }
}

fn runs_script(call: &Call) -> bool {
    matches!(call, Call::CallMethod { method, .. } if method == RUN_SCRIPT)
}

fn sets_context(call: &Call) -> bool {
    matches!(call, Call::CallMethod { method, .. } if method == WITH_CONTEXT)
}

/// The call after which the context that a call set does not hold any more.
fn left(mut context: Call) -> Call {
    if let Call::CallMethod { ids, arguments_json, .. } = &mut context {
        ids.clear();
        r#"{"context":{}}"#.clone_into(arguments_json);
    }
    context
}

fn fault(halt: Halt) -> HostFault {
    match halt {
        Halt::Over(breach) => HostFault::Limit(breach),
        Halt::OutcomeUnknown(what) => HostFault::OutcomeUnknown(what),
        Halt::Ledger(error) => HostFault::new(error.to_string()),
    }
}

/// One of a side's domains must match.
pub(crate) fn domain_of(bound: &Bound) -> Result<Domain, Error> {
    let domains: Result<Vec<_>, _> = bound.domains.iter().map(|text| Domain::parse(text)).collect();
    domains.map(Domain::or)
}

/// Asks which of the records that a call names are within a bound.
pub(crate) fn among(need: &Need, ids: &[Id], bound: &Domain) -> Call {
    let named = Domain::condition("id", Operator::In, literal_ids(ids));
    Call::Search {
        model: need.model.clone(),
        domain: DomainSource::Literal(Domain::and([named, bound.clone()]).to_string()),
        page: Page { archived: true, ..Page::default() },
    }
}

/// Refuses a call that names a record which is not among those that were found within a side's bound.
pub(crate) fn all_within(need: &Need, ids: &[Id], (side, bound): (Side, &Domain), found: Answer) -> Result<(), Error> {
    let found: HashSet<Id> = match found {
        Answer::Ids(found) => found.into_iter().collect(),
        _ => HashSet::new(),
    };
    let Some(outside) = ids.iter().find(|id| !found.contains(id)) else { return Ok(()) };
    let (Need { model, operation, .. }, granted) = (need, granted(side));
    let text = format!("`{operation}` on {model}({outside}) is outside of the records that {granted}: {bound}");
    Err(Error::denied("refused-by-domain", text))
}

fn literal_ids(ids: &[Id]) -> Literal {
    Literal::List(ids.iter().map(|id| Literal::Integer(i64::from(*id))).collect())
}

/// Whose grants bound a call, as the beginning of what they grant.
fn granted(side: Side) -> &'static str {
    match side {
        Side::Script => "the script's manifest asks for",
        Side::Agent => "the agent's data sources include",
        Side::Rule | Side::Policy | Side::User => "the rule grants",
    }
}

pub(crate) fn reached_through_a_path(need: &Need, side: Side) -> Error {
    Error::denied(
        "refused-by-domain",
        format!(
            "{} `{}` on `{}` within a domain only, so no path or command may reach its records from another one; name them in \
             a call of its own",
            granted(side),
            need.operation,
            need.model
        ),
    )
}

pub(crate) fn unbounded(need: &Need, side: Side) -> Error {
    Error::denied(
        "refused-by-domain",
        format!(
            "{} `{}` on `{}` within a domain only, which this call cannot honour; search first, or have it without a domain",
            granted(side),
            need.operation,
            need.model
        ),
    )
}
