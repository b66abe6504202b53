//! The active rules, ready to be matched: an in-memory copy of `engine_rule`, by model.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    domain::{Domain, filter::Filter},
    error::Error,
    limits::{Class, Limit, LimitRequest},
    value::Id,
};
use triggerbox_store::{
    db::{Database, DbError, fault},
    env::Env,
    query,
};

use crate::{
    Config, agents,
    config::Unserved,
    error::EngineError,
    people, remote,
    rule::{Environment, Rule, Trigger},
};

/// All rules, as of one state of the table.
#[derive(Debug, Default)]
pub struct Index {
    /// What rules are judged in; none: nothing was read yet.
    env: Option<Env>,
    /// The state of `engine_rule` that this is a copy of.
    pub(crate) revision: i64,
    /// By id.
    rules: Vec<Arc<Armed>>,
    by_name: HashMap<String, usize>,
    /// Rules that changes of a model's records may fire.
    changes: HashMap<String, Vec<usize>>,
    /// Rules that messages on a model's records may fire.
    messages: HashMap<String, Vec<usize>>,
    /// Rules that stand before writes of a model.
    before: HashMap<String, Vec<usize>>,
    /// Rules that answer to edits in a form.
    drafts: HashMap<String, Vec<usize>>,
    /// Rules that fire by the clock.
    timed: Vec<usize>,
}

/// A rule with everything that matching it needs.
#[derive(Debug)]
pub struct Armed {
    /// As it is configured; its mode is the strictest of its own and its agents', and its records of one fire are the fewest
    /// that it, its scripts or the host want.
    pub rule: Rule,
    /// Its row.
    pub id: i64,
    /// Which version of it.
    pub version: i64,
    /// Whose rights it has when it names nobody.
    pub owner: Id,
    /// Whose rights it has.
    pub run_as: Id,
    /// Whose rights it had, who is not active any more: the administrator stands in.
    pub left: Option<Id>,
    /// A script of it asks for questions to a language model, or an agent works in it.
    pub asks_model: bool,
    /// Whom it asks that this host does not know how to ask: its runs stay in the queue.
    pub unserved: Unserved,
    /// Why it does not fire though it is active.
    pub paused: Option<String>,
    /// Why it cannot fire: a domain or a user that does not exist any more.
    pub broken: Option<Error>,
    /// Judged on the values before the change.
    pub(crate) before: Condition,
    /// Judged on the values after it.
    pub(crate) after: Condition,
}

/// A domain, as far as it can be prepared.
#[derive(Debug, Default)]
pub(crate) enum Condition {
    /// Holds for all records.
    #[default]
    Always,
    /// Means the same at all times.
    Fixed(Filter),
    /// Says `today`, or something like it.
    Relative(Domain),
}

impl Armed {
    /// Whether it fires at all.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.rule.active && self.paused.is_none() && self.broken.is_none()
    }

    /// Whether it stands before writes though it cannot be asked: what becomes of them then, the rule says.
    fn bars(&self) -> bool {
        let is_before = matches!(self.rule.trigger, Trigger::Before { .. });
        is_before && self.rule.active && self.paused.is_none() && self.broken.is_some()
    }

    /// The class of its runs that would be of this one: whatever fires it, a run that asks a language model is an agent's.
    pub(crate) fn class(&self, class: Class) -> Class {
        if self.asks_model && class != Class::Sync { Class::Agent } else { class }
    }

    /// The model that it is bound to.
    ///
    /// # Errors
    /// `no-model`
    pub fn model(&self) -> Result<&str, Error> {
        self.rule.model.as_deref().ok_or_else(|| {
            Error::invalid("no-model", format!("rule `{}` is bound to no model: it has no records", self.rule.name))
        })
    }
}

impl Index {
    /// Reads all rules, as a host with this configuration has them: its limits narrow them, and its administrator stands in for
    /// users who left.
    ///
    /// # Errors
    /// What the database says. A rule that makes no sense is no error: it is kept as broken.
    pub fn load(conn: &Connection, env: Env, host: Option<&Config>) -> Result<Self, EngineError> {
        let mut index = Self { revision: revision(conn)?, ..Self::default() };
        let asked = asked(conn)?;
        let sql = "SELECT id, version, owner, body, paused FROM engine_rule ORDER BY id";
        let mut statement = conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: String = row.get(3)?;
            let mut rule: Rule = serde_json::from_str(&body)?;
            rule.mode = agents::mode(conn, &rule)?;
            let asked = asked.get(&rule.name).copied().unwrap_or_default();
            let asks_model = agents::is_agent_rule(&rule) || asked.model;
            rule.max_records = fewest(&rule, asked.records, host);
            let armed = Armed {
                unserved: unserved(&rule, asks_model, host),
                rule,
                asks_model,
                id: row.get(0)?,
                version: row.get(1)?,
                owner: row.get(2)?,
                run_as: row.get(2)?,
                left: None,
                paused: row.get(4)?,
                broken: None,
                before: Condition::Always,
                after: Condition::Always,
            };
            index.add(armed.prepared(conn, &env, host.map(|host| host.administrator))?);
        }
        index.env = Some(env);
        Ok(index)
    }

    fn add(&mut self, armed: Armed) {
        let at = self.rules.len();
        if let (true, Some(model)) = (armed.is_live() || armed.bars(), &armed.rule.model) {
            let list = match &armed.rule.trigger {
                Trigger::MessageReceived {} | Trigger::MessageSent {} => Some(&mut self.messages),
                // Their answers count at once: one that is only tried has no say.
                Trigger::Before { .. } | Trigger::OnChange { .. } if armed.rule.environment == Environment::Test => {
                    None
                }
                Trigger::Before { .. } => Some(&mut self.before),
                Trigger::OnChange { .. } => Some(&mut self.drafts),
                trigger if trigger.is_on_record_change() => Some(&mut self.changes),
                _ => None,
            };
            if let Some(list) = list {
                list.entry(model.clone()).or_default().push(at);
            }
        }
        if armed.is_live() && armed.rule.trigger.is_timed() {
            self.timed.push(at);
        }
        self.by_name.insert(armed.rule.name.clone(), at);
        self.rules.push(Arc::new(armed));
    }

    pub(crate) fn has_before_rules(&self) -> bool {
        !self.before.is_empty()
    }

    /// Whether this is a copy of something, as against the nothing that an engine starts with.
    pub(crate) fn is_loaded(&self) -> bool {
        self.env.is_some()
    }

    /// What rules are judged in at a time.
    pub(crate) fn env(&self, now: Timestamp) -> Option<Env> {
        self.env.clone().map(|env| Env { now, ..env })
    }

    /// All rules, inactive ones included, by id.
    #[must_use]
    pub fn all(&self) -> &[Arc<Armed>] {
        &self.rules
    }

    /// Finds a rule.
    ///
    /// # Errors
    /// `unknown-rule`
    pub fn rule(&self, name: &str) -> Result<&Arc<Armed>, Error> {
        self.by_name.get(name).and_then(|at| self.rules.get(*at)).ok_or_else(|| {
            Error::not_found("unknown-rule", format!("there is no rule `{name}`; `triggerbox rules` lists them"))
        })
    }

    /// Finds a rule that somebody may fire.
    ///
    /// # Errors
    /// `unknown-rule`, `rule-inactive`, `rule-paused`, `rule-broken`
    pub fn live(&self, name: &str) -> Result<&Arc<Armed>, Error> {
        let armed = self.rule(name)?;
        let refuse = |code: &str, why: String| Err(Error::rejected(code, format!("rule `{name}` {why}")));
        if !armed.rule.active {
            return refuse("rule-inactive", "is not active; activate it first".to_owned());
        }
        if let Some(why) = &armed.paused {
            return refuse("rule-paused", format!("is paused: {why}"));
        }
        if let Some(error) = &armed.broken {
            return refuse("rule-broken", format!("cannot run: {error}"));
        }
        Ok(armed)
    }

    pub(crate) fn on_changes(&self, model: &str) -> impl Iterator<Item = &Arc<Armed>> {
        self.listed(self.changes.get(model))
    }

    pub(crate) fn on_messages(&self, model: &str) -> impl Iterator<Item = &Arc<Armed>> {
        self.listed(self.messages.get(model))
    }

    /// Whether a rule stands before writes of a model.
    pub(crate) fn stands_before(&self, model: &str) -> bool {
        self.before.contains_key(model)
    }

    /// Rules that stand before writes of a model, also those that are broken.
    pub fn before_writes(&self, model: &str) -> impl Iterator<Item = &Arc<Armed>> {
        self.listed(self.before.get(model))
    }

    /// Rules that answer to edits in a form of a model.
    pub fn on_drafts(&self, model: &str) -> impl Iterator<Item = &Arc<Armed>> {
        self.listed(self.drafts.get(model))
    }

    /// Rules that fire by the clock.
    pub fn timed(&self) -> impl Iterator<Item = &Arc<Armed>> {
        self.listed(Some(&self.timed))
    }

    fn listed<'a>(&'a self, list: Option<&'a Vec<usize>>) -> impl Iterator<Item = &'a Arc<Armed>> {
        list.into_iter().flatten().filter_map(|at| self.rules.get(*at))
    }
}

impl Armed {
    fn prepared(mut self, conn: &Connection, env: &Env, administrator: Option<Id>) -> Result<Self, EngineError> {
        let done = (|| {
            if let Some(login) = &self.rule.run_as {
                self.run_as = user(conn, login)?;
            }
            if let Some(administrator) = administrator.filter(|other| *other != self.run_as)
                && !is_active(conn, self.run_as)?
            {
                self.left = Some(std::mem::replace(&mut self.run_as, administrator));
            }
            let Some(model) = &self.rule.model else { return Ok(()) };
            // The other server judges, in the transaction of the change; what it does not have any more it cannot judge.
            if env.schema.remote {
                return remote::watchable(&self.rule, env.schema.model(model)?);
            }
            self.before = Condition::new(conn, env, model, self.rule.before_domain.as_deref())?;
            self.after = Condition::new(conn, env, model, self.rule.domain.as_deref())?;
            Ok(())
        })();
        match done {
            Err(error) if DbError::behind(&error).is_some() => Err(error.into()),
            Err(error) => Ok(Self { broken: Some(error), ..self }),
            Ok(()) => Ok(self),
        }
    }
}

impl Condition {
    /// A domain that means the same at two times that differ in everything is one that says nothing about time.
    fn new(conn: &Connection, env: &Env, model: &str, domain: Option<&str>) -> Result<Self, Error> {
        let Some(text) = domain else { return Ok(Self::Always) };
        let domain = Domain::parse(text)?;
        let at = |now: &str| {
            let now: Timestamp = now.parse().unwrap_or_default();
            query::condition(conn, &Env { now, ..env.clone() }, model, &domain)
        };
        let (one, other) = (at("2001-03-05T04:17:31Z")?, at("2038-11-28T21:52:08Z")?);
        Ok(match one {
            Filter::Always => Self::Always,
            filter if filter == other => Self::Fixed(filter),
            _ => Self::Relative(domain),
        })
    }
}

/// What the scripts of a rule ask for that counts before any of them runs.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    /// Questions to a language model.
    model: bool,
    /// The fewest records of one fire; 0: no cap.
    records: u32,
}

fn asked(conn: &Connection) -> rusqlite::Result<HashMap<String, Asked>> {
    let sql = "SELECT b.rule, max(ifnull(s.manifest ->> '$.limits.llm-calls', 0)) > 0, \
                      ifnull(min(nullif(s.manifest ->> '$.limits.records-per-fire', 0)), 0) \
               FROM engine_binding b JOIN engine_script s ON s.hash = b.hash WHERE b.part >= 0 GROUP BY b.rule";
    let asked = |row: &rusqlite::Row<'_>| {
        let records = row.get::<_, i64>(2)?;
        Ok((row.get(0)?, Asked { model: row.get(1)?, records: u32::try_from(records).unwrap_or(u32::MAX) }))
    };
    conn.prepare_cached(sql)?.query_map([], asked)?.collect()
}

/// Whom a rule asks that the host does not know how to ask.
fn unserved(rule: &Rule, asks_model: bool, host: Option<&Config>) -> Unserved {
    let host = host.map(|host| host.unserved).unwrap_or_default();
    let asks_services = rule.actions.iter().any(|action| !action.http.is_empty());
    Unserved { models: host.models && asks_model, services: host.services && asks_services }
}

/// The records of one fire that a rule may have runs for: the fewest that anybody wants; 0: no cap.
fn fewest(rule: &Rule, scripts: u32, host: Option<&Config>) -> u32 {
    let of = |limits: &LimitRequest| limits.0.get(&Limit::RecordsPerFire).copied();
    let asked = rule.actions.iter().map(|action| &action.limits).chain(host.map(|host| &host.limits)).filter_map(of);
    let asked = asked.map(|most| u32::try_from(most).unwrap_or(u32::MAX)).chain([rule.max_records, scripts]);
    asked.filter(|most| *most != 0).min().unwrap_or(0)
}

/// Has copies of the rules be made anew: something changed that they are made from, besides `engine_rule` itself.
pub(crate) fn revise(conn: &Connection) -> rusqlite::Result<()> {
    conn.prepare_cached("UPDATE engine_revision SET number = random()")?.execute([]).map(drop)
}

/// The state of `engine_rule`: another number after each change of it.
pub(crate) fn revision(conn: &Connection) -> rusqlite::Result<i64> {
    conn.prepare_cached("SELECT number FROM engine_revision")?.query_row([], |row| row.get(0))
}

/// The environment that rules are judged in, whoever made the change: the system's, so that the same change fires the same
/// rules.
pub(crate) fn environment(database: &Database, now: Timestamp) -> Result<Env, EngineError> {
    Ok(people::environment(database, people::SYSTEM, true, now)?)
}

/// Has copies of the rules be made anew, too, when users come and go, or are called otherwise.
pub(crate) fn watch_users(conn: &Connection) -> rusqlite::Result<()> {
    let revise = "BEGIN UPDATE engine_revision SET number = random(); END";
    conn.execute_batch(&format!(
        "CREATE TRIGGER IF NOT EXISTS engine_user_changed AFTER UPDATE OF active ON res_users {revise}; \
         CREATE TRIGGER IF NOT EXISTS engine_user_renamed AFTER UPDATE OF login ON res_users {revise}; \
         CREATE TRIGGER IF NOT EXISTS engine_user_came AFTER INSERT ON res_users {revise}; \
         CREATE TRIGGER IF NOT EXISTS engine_user_gone AFTER DELETE ON res_users {revise};"
    ))
}

fn is_active(conn: &Connection, user: Id) -> Result<bool, Error> {
    let found = conn
        .prepare_cached("SELECT 1 FROM res_users WHERE id = ?1 AND active")
        .and_then(|mut statement| statement.exists([user]));
    found.map_err(fault)
}

fn user(conn: &Connection, login: &str) -> Result<Id, Error> {
    let sql = "SELECT id FROM res_users WHERE login = ?1";
    let found: Option<Id> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([login], |row| row.get(0)).optional())
        .map_err(fault)?;
    found.ok_or_else(|| Error::not_found("unknown-user", format!("there is no user `{login}` for the rule to run as")))
}
