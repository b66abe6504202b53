//! What one run asks of the outside: intent stored and charged, call made, answer stored, and only then the script
//! sees it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use triggerbox_model::{
    call::{Answer, Completion, Finish, HttpRequest, HttpResponse, LlmMessage, LlmRequest, LlmUsage, Reply},
    error::{Error, ErrorKind},
    grants::Authority,
    limits::{Breach, Limit, Limits, Scope},
};

use crate::{
    budget::{Account, Amount},
    clock::Clock,
    config::Budgets,
    error::AskError,
    http::{Bound, SendError, Web},
    ledger::{Begun, End, Intent, Kind, Ledger, LedgerError},
    models::Models,
    provider::{Asked, Written},
    read,
    said::Said,
    shape::Shape,
};

/// What all runs of a host share.
pub struct Services {
    /// Language models.
    pub models: Models,
    /// Other services; none: no request leaves this host.
    pub web: Option<Web>,
    /// What runs may use together.
    pub budgets: Budgets,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Services {
    /// The same with other models, and with more secrets in requests to other services.
    #[must_use]
    pub fn with(&self, models: Models, secrets: &[Bound]) -> Self {
        let web = self.web.as_ref().map(|web| web.with(secrets));
        Self { models, web, budgets: self.budgets.clone(), clock: Arc::clone(&self.clock) }
    }
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").field("budgets", &self.budgets).finish_non_exhaustive()
    }
}

/// Who spends, and what they spent.
#[derive(Debug, Clone, Default)]
pub struct Spender {
    /// The rule.
    pub rule: String,
    /// The root event; none: the run is its own.
    pub root: Option<String>,
    /// The session that the run belongs to.
    pub session: Option<Session>,
    /// The model of a question that names none; none: the host's default.
    pub model: Option<String>,
    /// What language models cost so far. One for each attempt.
    pub spent: Spent,
}

/// What one attempt spent on language models so far: a call that is under way, or was ended in the middle, at its worst case;
/// nothing for an answer that an earlier attempt paid for. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Spent(Arc<Mutex<Amount>>);

impl Spent {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Amount {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins.
    fn begin(&self, worst: Amount) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = spent.plus(worst);
    }

    /// It used so much.
    fn settle(&self, worst: Amount, used: Amount) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *spent = spent.minus(worst).plus(used);
    }
}

/// What a rule's runs for one record may use together; of a rule that is not chained, one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which one.
    pub key: String,
    /// What it may use in all.
    pub max: Amount,
    /// When its first run began, in milliseconds.
    pub since: i64,
    /// When it is over: no call is made from then on.
    pub until: i64,
}

/// A run's place among those that work at once: it is free for others while the run waits for the outside.
#[async_trait::async_trait]
pub trait Seat: Send + Sync {
    /// The run waits from now on.
    fn leave(&self);

    /// Waits for a seat, if the run has none. To be called before it goes on.
    async fn take(&self);
}

/// The outside as a run is given it.
#[derive(Clone)]
pub struct Outside {
    /// Models and other services.
    pub services: Arc<Services>,
    /// Where intents, answers and budgets are kept.
    pub ledger: Arc<dyn Ledger>,
    /// Who spends.
    pub spender: Spender,
    /// Requests that change something elsewhere are not sent: dry runs, recommendations, proposals, replays.
    pub only_reads: bool,
    /// Left while the run waits; none: nobody else wants it.
    pub seat: Option<Arc<dyn Seat>>,
}

/// Why a run ends in the middle of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Halt {
    /// A budget is spent. Whoever sets it.
    #[error("{0}")]
    Over(Breach),
    /// A request that changes something elsewhere may have arrived in an earlier attempt. A person must look.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// Intents and answers cannot be kept. The operator.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Somebody whom a run asked was not available, and may be again without anybody doing anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What the script was told, or would have been.
    pub error: Error,
    /// When to ask again, where it said so.
    pub wait: Option<Duration>,
}

impl Outside {
    /// Starts an attempt of one script of a run; its scripts are numbered, for they may ask the same.
    #[must_use]
    pub fn start(&self, run: &str, script: u32, limits: &Limits) -> Calls {
        Calls::new(self.clone(), run.to_owned(), script.to_string(), *limits)
    }
}

/// The outside calls of one attempt.
pub struct Calls {
    outside: Outside,
    run: String,
    /// Which script of the run: its number, and within it the version of the script that runs as a tool.
    script: String,
    limits: Limits,
    /// How often each request was made; a script that runs within this one goes on with it.
    made: HashMap<[u8; 32], u32>,
    /// The last conversation, so that only what is new is kept.
    said: Said,
    /// The same as the provider was sent it.
    written: Written,
    /// The last call came to nothing because somebody was not available.
    unavailable: Option<Unavailable>,
    /// A request that changes something elsewhere was sent, or may have been.
    wrote: bool,
}

impl Calls {
    fn new(outside: Outside, run: String, script: String, limits: Limits) -> Self {
        Self {
            outside,
            run,
            script,
            limits,
            made: HashMap::new(),
            said: Said::default(),
            written: Written::default(),
            unavailable: None,
            wrote: false,
        }
    }

    /// The calls of a script of this version that runs within this one, until [`Calls::after`]: they have a conversation of
    /// their own, and are charged to the same accounts. They are known again in another attempt, whatever ran there before.
    #[must_use]
    pub fn within(&mut self, version: &str) -> Self {
        let script = format!("{}/{version}", self.script);
        let made = std::mem::take(&mut self.made);
        Self { made, ..Self::new(self.outside.clone(), self.run.clone(), script, self.limits) }
    }

    /// A script that ran within this one is over: who was not available for it, was not for this one.
    pub fn after(&mut self, within: Self) {
        self.made = within.made;
        self.unavailable = within.unavailable;
        self.wrote |= within.wrote;
    }

    /// Who was not available when the run asked last. A script that fails then may succeed another time.
    #[must_use]
    pub fn unavailable(&self) -> Option<&Unavailable> {
        self.unavailable.as_ref()
    }

    /// Whether a request that changes something elsewhere was sent, or may have been.
    #[must_use]
    pub fn wrote(&self) -> bool {
        self.wrote
    }

    /// To be called when a call is answered, before the script goes on: waits for a seat.
    pub async fn go_on(&self) {
        if let Some(seat) = &self.outside.seat {
            seat.take().await;
        }
    }

    /// Keeps a plan that the run made, with what was judged of it.
    ///
    /// # Errors
    /// [`Halt::Ledger`]
    pub async fn planned<T: Serialize + Sync>(&self, judged: &T) -> Result<(), Halt> {
        let plan = serde_json::to_string(judged).unwrap_or_default();
        Ok(self.outside.ledger.plan(&self.run, self.now(), plan).await?)
    }

    fn leave_seat(&self) {
        if let Some(seat) = &self.outside.seat {
            seat.leave();
        }
    }

    /// Asks a model. An answer of the wrong shape is sent back once.
    ///
    /// # Errors
    /// [`Halt`]: the run ends. What the script may handle is in the reply.
    pub async fn complete(&mut self, mut request: LlmRequest) -> Result<Reply, Halt> {
        let shape = match request.output_schema.as_deref().map(Shape::new).transpose() {
            Ok(shape) => shape,
            Err(error) => return Ok(Err(error.into())),
        };
        request.model = request.model.or_else(|| self.outside.spender.model.clone());
        let offers = !request.tools.is_empty();
        let first = match self.ask(&request).await? {
            Ok(completion) => completion,
            Err(error) => return Ok(Err(error)),
        };
        let problem = match checked(shape.as_ref(), offers, first) {
            Checked::Good(completion) => return Ok(Ok(Answer::Completion(completion))),
            Checked::Bad(problem) => problem,
        };
        let Wrong { completion: first, why } = problem;
        let repair =
            format!("That does not satisfy the schema: {why}\nAnswer again, with nothing but the corrected JSON.");
        request.messages.push(LlmMessage::Assistant(first.text));
        request.messages.push(LlmMessage::User(repair));
        let second = match self.ask(&request).await? {
            Ok(completion) => completion,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match checked(shape.as_ref(), offers, second) {
            Checked::Good(mut completion) => {
                completion.usage = both(&first.usage, &completion.usage);
                Ok(Answer::Completion(completion))
            }
            Checked::Bad(Wrong { why, .. }) => Err(AskError::WrongShape(why).into()),
        })
    }

    /// One question and its answer, through the ledger.
    async fn ask(&mut self, request: &LlmRequest) -> Result<Result<Completion, Error>, Halt> {
        self.unavailable = None;
        let worst = self.outside.services.models.worst_case(request);
        let new = self.what_is_new(request);
        let hash = self.said.hash(&self.script, request);
        let charged = worst.as_ref().copied().unwrap_or_default();
        let mut intent = self.intent(Kind::Model, hash, new, self.accounts(), charged);
        let worst = match worst {
            Ok(worst) => worst,
            // Nobody can be asked any more; an answer that is paid for counts all the same.
            Err(error) => {
                if let Some(reply) = self.outside.ledger.known(intent).await? {
                    return Ok(reply.and_then(completion));
                }
                // It is kept nowhere: whatever is asked next is kept whole.
                (self.said, self.written) = (Said::default(), Written::default());
                return Ok(Err(error.into()));
            }
        };
        let mut tries = 0;
        let (call, answered) = loop {
            self.in_time()?;
            let call = match self.outside.ledger.begin(intent.clone()).await? {
                Begun::Go(call) => call,
                Begun::Known(reply) => return Ok(reply.and_then(completion)),
                Begun::Over(breach) => return Err(Halt::Over(breach)),
                Begun::Unknown => return Err(Halt::OutcomeUnknown("a model's answer was never known".to_owned())),
            };
            self.leave_seat();
            self.outside.spender.spent.begin(worst);
            // Dropped here, the call stays an intent, charged at its worst case.
            match self.outside.services.models.go_on(request, &mut self.written, &mut tries).await {
                Ok(Asked::Answered(answered)) => break (call, Ok(answered)),
                Err(error) => break (call, Err(error)),
                // It stays charged, too: the next try is a call of its own, and is made if a budget has it.
                Ok(Asked::Lost(error)) => {
                    let reply = Err(Error::from(error));
                    let end = End { at: self.now(), used: None, known: false, reply, passing: false };
                    self.outside.ledger.end(call, end).await?;
                    // What was asked is kept with the first try.
                    let by = self.outside.services.models.who(request);
                    intent.request = kept(request, by.as_deref(), request.messages.len());
                    intent.at = self.now();
                }
            }
        };
        let (used, known) = match &answered {
            Ok(answered) => {
                let micro_euro = triggerbox_model::limits::micro_euro(answered.completion.usage.cost);
                (Some(Amount { calls: 1, tokens: answered.tokens, micro_euro }), true)
            }
            Err(error) if error.may_have_cost() => (None, false),
            Err(_) => (Some(Amount::default()), true),
        };
        self.outside.spender.spent.settle(worst, used.unwrap_or(worst));
        let wait = answered.as_ref().err().and_then(AskError::passes);
        let reply = answered.map(|answered| answered.completion).map_err(Error::from);
        self.unavailable =
            reply.as_ref().err().zip(wait).map(|(error, wait)| Unavailable { error: error.clone(), wait });
        let end = End { at: self.now(), used, known, reply: reply.clone().map(Answer::Completion), passing: false };
        self.outside.ledger.end(call, end).await?;
        Ok(reply)
    }

    /// Sends a request to another service.
    ///
    /// # Errors
    /// [`Halt`]: the run ends. What the script may handle is in the reply.
    pub async fn send(&mut self, authority: &Authority, request: HttpRequest) -> Result<Reply, Halt> {
        self.unavailable = None;
        let Some(web) = &self.outside.services.web else {
            return Ok(Err(Error::unavailable("http-not-configured", "this host sends no requests to other services")));
        };
        let prepared = match web.prepare(authority, &request) {
            Ok(prepared) => prepared,
            Err(error) => return Ok(Err(error)),
        };
        let writes = !is_reading(&request.method);
        if self.outside.only_reads && writes {
            let text = format!("a run whose changes are not applied sends no {}", request.method);
            return Ok(Err(Error::unavailable("http-not-sent", text)));
        }
        let kind = if prepared.repeatable { Kind::HttpRepeatable } else { Kind::Http };
        // As the script wrote it: secrets are still placeholders.
        let kept = serde_json::to_string(&request).unwrap_or_default();
        let hash = Sha256::digest(format!("{} {kept}", self.script)).into();
        let intent = self.intent(kind, hash, kept, Vec::new(), Amount::default());
        let call = match self.outside.ledger.begin(intent).await? {
            Begun::Go(call) => call,
            Begun::Known(reply) => {
                self.wrote |= writes;
                return Ok(reply);
            }
            Begun::Over(breach) => return Err(Halt::Over(breach)),
            Begun::Unknown => {
                let place = request.url.split(['?', '#']).next().unwrap_or_default();
                return Err(Halt::OutcomeUnknown(format!(
                    "`{} {place}` was sent in an earlier attempt, and whether it arrived is not known; look there, then \
                     run it again or not",
                    request.method
                )));
            }
        };
        let Some(web) = &self.outside.services.web else { return Ok(Err(missing_web())) };
        let repeatable = prepared.repeatable;
        let HttpRequest { method, url, body, .. } = request;
        self.leave_seat();
        let sent = web.send(prepared, body).await;
        self.unavailable = passing(&method, &url, repeatable, &sent, self.outside.services.clock.now());
        let known = sent.as_ref().err().is_none_or(|failed| !failed.may_have_arrived);
        self.wrote |= writes && (sent.is_ok() || !known);
        let reply = sent.map(Answer::Response).map_err(|failed| failed.error);
        let passing = self.unavailable.is_some();
        let end = End { at: self.now(), used: Some(Amount::default()), known, reply: reply.clone(), passing };
        self.outside.ledger.end(call, end).await?;
        Ok(reply)
    }

    fn intent(&mut self, kind: Kind, hash: [u8; 32], kept: String, accounts: Vec<Account>, worst: Amount) -> Intent {
        let made = self.made.entry(hash).or_default();
        let nth = *made;
        *made += 1;
        let spender = &self.outside.spender;
        Intent {
            run: self.run.clone(),
            rule: spender.rule.clone(),
            root: spender.root.clone().unwrap_or_else(|| self.run.clone()),
            class: self.limits.class,
            kind,
            hash,
            nth,
            request: kept,
            accounts,
            worst,
            at: self.now(),
        }
    }

    /// The request as it is kept: of its messages only those that the last one did not have. A conversation that starts anew
    /// is kept whole.
    fn what_is_new(&mut self, request: &LlmRequest) -> String {
        let same = self.said.take(request);
        if same == 0 {
            self.written.clear();
        }
        kept(request, self.outside.services.models.who(request).as_deref(), same)
    }

    /// A session that is over makes no further call.
    fn in_time(&self) -> Result<(), Halt> {
        let now = self.now();
        match self.outside.spender.session.as_ref().filter(|session| now >= session.until) {
            None => Ok(()),
            Some(Session { since, until, .. }) => {
                let lived = |at: i64| u64::try_from(at.saturating_sub(*since)).unwrap_or_default();
                let (limit, scope, class) = (Limit::WallTime, Scope::Session, self.limits.class);
                Err(Halt::Over(Breach { limit, used: lived(now), max: lived(*until), class, scope }))
            }
        }
    }

    /// Everything that this run's calls are charged to, the smallest first.
    fn accounts(&self) -> Vec<Account> {
        let Outside { services, spender, .. } = &self.outside;
        let Services { budgets, clock, .. } = &**services;
        let day = clock.now().strftime("%Y-%m-%d").to_string();
        let limit = |limit| self.limits.get(limit);
        let run = Amount {
            calls: limit(Limit::LlmCalls),
            tokens: limit(Limit::LlmTokens),
            micro_euro: limit(Limit::LlmCost),
        };
        let root = spender.root.clone().unwrap_or_else(|| self.run.clone());
        let mut accounts = vec![Account { scope: Scope::Run, key: self.run.clone(), max: run }];
        if let Some(session) = &spender.session {
            accounts.push(Account { scope: Scope::Session, key: session.key.clone(), max: session.max });
        }
        accounts.extend([
            Account { scope: Scope::Root, key: root, max: budgets.root.amount() },
            Account { scope: Scope::RuleDay, key: format!("{}@{day}", spender.rule), max: budgets.rule_day.amount() },
            Account { scope: Scope::ServerDay, key: day, max: budgets.server_day.amount() },
        ]);
        accounts
    }

    fn now(&self) -> i64 {
        self.outside.services.clock.now().as_millisecond()
    }
}

/// A request as it is kept: without its first messages, which are kept already. `by`: who is asked.
fn kept(request: &LlmRequest, by: Option<&str>, after: usize) -> String {
    let new = request.messages.get(after..).unwrap_or_default();
    let tools: Vec<_> = request.tools.iter().map(|tool| &tool.name).collect();
    json!({ "model": request.model, "by": by, "after": after, "messages": new, "tools": tools }).to_string()
}

/// Whether a request by this method only reads.
#[must_use]
pub fn is_reading(method: &str) -> bool {
    matches!(method, "GET" | "HEAD")
}

/// Whether a request may go better after a while, and may be made again.
fn passing(
    method: &str,
    url: &str,
    repeatable: bool,
    sent: &Result<HttpResponse, SendError>,
    now: jiff::Timestamp,
) -> Option<Unavailable> {
    match sent {
        Ok(response) if repeatable && matches!(response.status, 408 | 429 | 500..=599) => {
            let place = url.split(['?', '#']).next().unwrap_or_default();
            let text = format!("`{method} {place}` was answered with {}", response.status);
            let header = response.headers.iter().find(|(name, _)| name == "retry-after");
            let wait = header.and_then(|(_, text)| read::retry_after(text, now));
            Some(Unavailable { error: Error::unavailable("http-status", text), wait })
        }
        Err(failed) if failed.passes && (repeatable || !failed.may_have_arrived) => {
            Some(Unavailable { error: failed.error.clone(), wait: None })
        }
        _ => None,
    }
}

enum Checked {
    Good(Completion),
    Bad(Wrong),
}

/// An answer of the wrong shape.
struct Wrong {
    completion: Completion,
    why: String,
}

/// Holds an answer to its shape. A model that asks for tools or refuses has not answered yet; one that asks for tools where the
/// question offers none has answered what it says besides.
fn checked(shape: Option<&Shape>, offers: bool, mut completion: Completion) -> Checked {
    let Some(shape) = shape else { return Checked::Good(completion) };
    if completion.finish == Finish::ToolCalls && !offers {
        completion.calls.clear();
        completion.finish = Finish::Stop;
    }
    if matches!(completion.finish, Finish::ToolCalls | Finish::Refused) {
        return Checked::Good(completion);
    }
    match shape.check(&completion.text) {
        Ok(text) => Checked::Good(Completion { text, ..completion }),
        Err(why) if completion.finish == Finish::Length => {
            Checked::Bad(Wrong { why: format!("it was cut at the longest answer allowed: {why}"), completion })
        }
        Err(why) => Checked::Bad(Wrong { why, completion }),
    }
}

fn both(first: &LlmUsage, second: &LlmUsage) -> LlmUsage {
    LlmUsage {
        input_tokens: first.input_tokens.saturating_add(second.input_tokens),
        output_tokens: first.output_tokens.saturating_add(second.output_tokens),
        cost: first.cost + second.cost,
        currency: second.currency.clone(),
    }
}

fn completion(answer: Answer) -> Result<Completion, Error> {
    match answer {
        Answer::Completion(completion) => Ok(completion),
        _ => Err(Error::new(ErrorKind::Other, "wrong-answer", "the stored answer is of another kind of call")),
    }
}

fn missing_web() -> Error {
    Error::unavailable("http-not-configured", "this host sends no requests to other services")
}
