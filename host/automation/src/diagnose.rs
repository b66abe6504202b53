//! Why a rule did not fire, and why it failed: one stable code and one sentence for each cause, the one that weighs most
//! first.
//!
//! | module | what it looks at |
//! |---|---|
//! | [`standing`] | the rule by itself: switched off, paused, stopped, its people, scripts, grants, schedule |
//! | [`record`] | one record: what happened to it last, and whether the rule's conditions hold |
//! | [`history`] | fires that were suppressed, and what became of the last run |

mod history;
mod record;
mod standing;

use jiff::{Timestamp, Zoned, tz::TimeZone};
use rusqlite::Connection;
use serde::Serialize;
use triggerbox_model::{
    call::{Call, DomainSource, Page},
    domain::{Domain, Literal, Operator},
    error::Error,
    grants::Policy,
    value::Id,
};
use triggerbox_store::{db::Database, env::Env};

use crate::{
    error::EngineError,
    index::{self, Armed, Index},
    rule::{
        Rule,
        stored::{self, Stored},
    },
    runs::RunId,
};

/// The remedy of what needs none.
pub const NOTHING: &str = "nothing";

/// One cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Stable: `rule-inactive`, `domain-false`…
    pub code: &'static str,
    /// What keeps the rule from firing or succeeding, in one sentence.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
    /// The run that the sentence repeats the words of: for who may see that run.
    #[serde(skip)]
    pub run: Option<RunId>,
    /// What is said in place of the sentence to whoever is no administrator, where that says what others wrote.
    #[serde(skip)]
    pub for_others: Option<String>,
}

/// What a diagnosis goes by.
struct Case<'a> {
    conn: &'a Connection,
    env: &'a Env,
    policy: &'a Policy,
    /// In which times are told.
    zone: &'a TimeZone,
    stored: Stored,
    armed: &'a Armed,
    /// Whether the record matches the rule's domain where it is; none: that is looked up here, if records are here.
    holds: Option<bool>,
    causes: Vec<Cause>,
}

/// Every cause that keeps a rule from firing, or made its last run fail; with a record, those that concern that record.
/// Never empty: a rule that nothing keeps from firing has the cause `nothing-in-the-way`. Times are told in UTC.
///
/// # Errors
/// `unknown-rule`; what the database says.
pub fn diagnose(
    database: &Database,
    policy: &Policy,
    rule: &str,
    record: Option<Id>,
    now: Timestamp,
) -> Result<Vec<Cause>, EngineError> {
    diagnose_known(database, policy, rule, (record, None), &now.to_zoned(TimeZone::UTC))
}

/// The same of a record of which it is known elsewhere whether it matches the rule's domain. Times are told in the zone of `now`.
///
/// # Errors
/// As [`diagnose`].
pub fn diagnose_known(
    database: &Database,
    policy: &Policy,
    rule: &str,
    (record, holds): (Option<Id>, Option<bool>),
    now: &Zoned,
) -> Result<Vec<Cause>, EngineError> {
    let conn = database.snapshot()?;
    let env = index::environment(database, now.timestamp())?;
    let stored = stored::get(&conn, rule)?;
    let index = Index::load(&conn, env.clone(), None)?;
    let armed = index.rule(rule)?;
    let zone = now.time_zone();
    let mut case = Case { conn: &conn, env: &env, policy, zone, stored, armed, holds, causes: Vec::new() };
    case.standing()?;
    match record {
        Some(record) => case.record(record)?,
        None => case.last_run(None)?,
    }
    case.refusals(record)?;
    if case.causes.is_empty() {
        case.nothing(record)?;
    }
    Ok(case.causes)
}

/// What tells whether a record that is elsewhere matches a rule's domain: whether it is found. None: there is nothing to match.
///
/// # Errors
/// The domain makes no sense.
pub fn question(rule: &Rule, record: Id) -> Result<Option<Call>, Error> {
    let (Some(model), Some(domain)) = (&rule.model, &rule.domain) else { return Ok(None) };
    let this = Domain::condition("id", Operator::In, Literal::List(vec![Literal::Integer(i64::from(record))]));
    let domain = DomainSource::Literal(Domain::and([this, Domain::parse(domain)?]).to_string());
    let page = Page { archived: true, ..Page::default() };
    Ok(Some(Call::Search { model: model.clone(), domain, page }))
}

impl Case<'_> {
    fn found(&mut self, code: &'static str, sentence: impl Into<String>, remedy: impl Into<String>) {
        self.causes.push(Cause { code, sentence: sentence.into(), remedy: remedy.into(), run: None, for_others: None });
    }

    fn time(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}
