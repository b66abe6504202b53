//! Telling people of trouble: failures in a row, dead letters, rules that break when they are asked, changes that wait for a yes,
//! runs that are stuck or wait too long, limits and budgets that are nearly used up, schedules that are never due again, rules that make no sense any more or are of users who left. Each goes to the
//! log and, signed, to the addresses of the configuration.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinSet,
};
use triggerbox_automation::{
    EngineError,
    clock::{millis, timestamp},
    engine::{Attempt, stops},
    rule::{OnError, Trigger},
    runs::{RunId, RunState},
    seen::{self, Noted},
    threads,
};
use triggerbox_llm::budget::{self, Amount};
use triggerbox_model::{
    limits::{Limit, Scope},
    value::Id,
};
use triggerbox_store::db::DbError;

use crate::{
    app::{App, StartError},
    config::ConfigError,
    idempotency,
    metrics::usage,
    outage,
    problem::Problem,
    signature::{SIGNATURE, TIMESTAMP, sign},
};

/// What goes by itself is looked at this often.
const EVERY: Duration = Duration::from_secs(30);

/// What is older than the settings keep is let go this often.
const RETAIN: Duration = Duration::from_secs(3_600);

/// How often an address is tried.
const TRIES: u32 = 4;

/// Notes of what was told have scopes that begin so; behind it is the kind of trouble.
const TOLD: &str = "alert:";

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Stable: `failures-in-a-row`, `dead-letter`, `outcome-unknown`, `before-rule-broken`, `form-rule-broken`,
    /// `time-rule-broken`, `approval-waits`, `stuck-run`, `queue-waits`, `limit-nearly-reached`, `budget-nearly-spent`, `session-nearly-over`, `schedule-over`, `rule-broken`, `owner-inactive`, `odoo-unreachable`,
    /// `odoo-answers-again`,
    /// `odoo-rule-changed`, `odoo-rules-not-kept`, `odoo-events-set-aside`, `odoo-events-wait`, `odoo-key-ends`.
    pub kind: &'static str,
    /// The rule.
    pub rule: String,
    /// The run.
    pub run: Option<RunId>,
    /// What happened, on what, what to do.
    pub message: String,
    /// When it happened; what was told later than this is no news. What lasts happens now.
    #[serde(skip)]
    pub since: Timestamp,
}

/// Limits that a try nearly reached.
#[must_use]
pub fn of_attempt(app: &App, attempt: &Attempt) -> Vec<Trouble> {
    let percent = f64::from(app.config().alerts.limit_percent);
    let (rule, run) = (&attempt.rule, attempt.run);
    let close = usage(attempt).into_iter().filter(|(_, part)| percent > 0.0 && part * 100.0 >= percent);
    let trouble = |(limit, part): (Limit, f64)| {
        let name = limit.spec().name;
        let message = format!("run {run} of rule `{rule}` used {:.0} % of the limit {name}", part * 100.0);
        let since = app.engine().clock().now();
        Trouble { kind: "limit-nearly-reached", rule: rule.clone(), run: Some(run), message, since }
    };
    close.map(trouble).collect()
}

/// Runs that were given up or wait for somebody to look, rules whose runs fail one after the other, and rules that broke before
/// a write, while a form was edited, or when they were to be due.
///
/// # Errors
/// What the database says.
pub fn of_failures(app: &App, conn: &Connection) -> Result<Vec<Trouble>, EngineError> {
    // SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT rule, id, code, max(finished), count(*), state FROM engine_run \
               WHERE state IN ('dead', 'outcome-unknown') GROUP BY state, rule";
    let mut statement = conn.prepare_cached(sql)?;
    let left = statement.query_map([], |row| {
        let (rule, run, code): (String, RunId, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let more = match row.get::<_, u32>(4)? {
            1 => String::new(),
            all => format!(", one of {all} that wait for somebody"),
        };
        let code = code.unwrap_or_default();
        let (kind, what) = match row.get::<_, String>(5)?.as_str() {
            "dead" => ("dead-letter", format!("was given up ({code}){more}; retry it once the cause is gone")),
            _ => (
                "outcome-unknown",
                format!(
                    "ended while it is not known whether a request arrived{more}; look there, then retry it or not"
                ),
            ),
        };
        let message = format!("run {run} of rule `{rule}` {what}");
        Ok(Trouble { kind, rule, run: Some(run), message, since: timestamp(row.get(3)?) })
    })?;
    let mut found: Vec<Trouble> = left.collect::<Result<_, _>>()?;

    let most = app.config().alerts.failures;
    let sql = "SELECT name, failures, paused IS NOT NULL FROM engine_rule \
               WHERE failures > 0 AND (failures >= ?1 OR paused IS NOT NULL) AND ?1 > 0";
    let mut statement = conn.prepare_cached(sql)?;
    let failing = statement.query_map([most], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let failing: Vec<(String, u32, bool)> = failing.collect::<Result<_, _>>()?;
    let sql = "SELECT id, code, finished FROM engine_run WHERE rule = ?1 AND state IN ('failed', 'dead') \
               ORDER BY id DESC LIMIT 1";
    let mut last = conn.prepare_cached(sql)?;
    for (rule, failures, paused) in failing {
        let row = last.query_row([&rule], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?)));
        let Some((run, code, finished)) = row.optional()? else { continue };
        let and = if paused { " and it is paused" } else { "" };
        let message =
            format!("{failures} runs of rule `{rule}` failed in a row{and}; the last: {}", code.unwrap_or_default());
        found.push(Trouble { kind: "failures-in-a-row", rule, run: Some(run), message, since: timestamp(finished) });
    }
    let rules = app.engine().rules()?;
    for Noted { key: rule, at, .. } in seen::all_noted(conn, seen::BROKEN_BEFORE)? {
        let Ok(armed) = rules.rule(&rule) else { continue };
        let (kind, when, then) = match (&armed.rule.trigger, armed.rule.on_error) {
            (Trigger::OnChange { .. }, _) => ("form-rule-broken", "while a form was edited", "forms go on without it"),
            (_, OnError::Refuse) => {
                ("before-rule-broken", "before a write", "writes that it stands before are refused")
            }
            (_, OnError::Pass) => ("before-rule-broken", "before a write", "writes go on without it"),
        };
        let run = last.query_row([&rule], |row| row.get(0)).optional()?;
        let message = format!("rule `{rule}` broke {when}; {then} until it is mended");
        found.push(Trouble { kind, rule, run, message, since: timestamp(at) });
    }
    for Noted { key: rule, at, answer } in seen::all_noted(conn, seen::BROKEN_TIMES)? {
        // Whoever has it go on has looked; that somebody pauses it later for another reason is no trouble.
        let paused = rules.rule(&rule).ok().and_then(|armed| armed.paused.as_ref());
        let Some(why) = paused.filter(|why| answer.as_ref() == Some(*why)) else { continue };
        let message = format!("rule `{rule}` is paused: {why}");
        found.push(Trouble { kind: "time-rule-broken", rule, run: None, message, since: timestamp(at) });
    }
    Ok(found)
}

/// Changes that wait for a yes. What they are about is told to nobody here: whoever decides looks.
///
/// # Errors
/// What the database says.
pub fn of_approvals(app: &App, conn: &Connection) -> Result<Vec<Trouble>, EngineError> {
    // SQLite takes the other columns from the row that has the maximum.
    let sql = "SELECT r.rule, p.run, p.expires, \
               max((SELECT max(a.finished) FROM engine_attempt a WHERE a.run = p.run)), count(*) \
               FROM engine_proposal p CROSS JOIN engine_run r ON r.id = p.run WHERE p.state = 'waiting' GROUP BY r.rule";
    let mut statement = conn.prepare_cached(sql)?;
    let url = app.config().web.url.clone().unwrap_or_default();
    let waiting = statement.query_map([], |row| {
        let (rule, run, expires): (String, RunId, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let since: Option<i64> = row.get(3)?;
        let more = match row.get::<_, u32>(4)? {
            1 => String::new(),
            all => format!(", and so do {} more of it", all - 1),
        };
        let until = expires.map_or_else(String::new, |at| format!(" until {}", timestamp(at)));
        let message = format!(
            "run {run} of rule `{rule}` waits{until} for somebody to approve or reject its changes{more}; look at \
             {}/approvals/{run}",
            url.trim_end_matches('/')
        );
        Ok(Trouble {
            kind: "approval-waits",
            rule,
            run: Some(run),
            message,
            since: timestamp(since.unwrap_or_default()),
        })
    })?;
    Ok(waiting.collect::<Result<_, _>>()?)
}

/// Since when each try that runs was seen to run.
pub type Running = HashMap<(RunId, u32), Timestamp>;

/// Trouble that shows in the database, whoever was there when it began. `running` is what was seen the last time.
///
/// # Errors
/// What the database says.
pub fn standing(
    app: &App,
    conn: &Connection,
    running: &mut Running,
    now: Timestamp,
) -> Result<Vec<Trouble>, EngineError> {
    let mut found = of_failures(app, conn)?;
    found.extend(of_approvals(app, conn)?);
    found.extend(of_queue(app, conn, now)?);
    found.extend(of_budgets(app, conn, now)?);
    found.extend(app.outbox().trouble());
    let minutes = i64::from(app.config().alerts.stuck_minutes);
    if app.engine().odoo().is_some() {
        found.extend(outage::trouble(conn, now, (minutes > 0).then_some(minutes * 60_000))?);
    }
    let sql = "SELECT id, attempt, rule FROM engine_run WHERE state = 'running'";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    let runs: Vec<((RunId, u32), String)> = rows.collect::<Result<_, _>>()?;
    running.retain(|known, _| runs.iter().any(|(run, _)| run == known));
    for (run, rule) in runs {
        let since = *running.entry(run).or_insert(now);
        if minutes > 0 && millis(now) - millis(since) >= minutes * 60_000 {
            let message = format!("run {} of rule `{rule}` has been running for {minutes} minutes or more", run.0);
            found.push(Trouble { kind: "stuck-run", rule, run: Some(run.0), message, since: now });
        }
    }
    let rules = app.engine().rules()?;
    let meant = rules.all().iter().filter(|armed| armed.rule.active && armed.paused.is_none());
    for (armed, why) in meant.filter_map(|armed| Some((armed, armed.broken.as_ref()?))) {
        let rule = &armed.rule.name;
        let then = match (&armed.rule.trigger, armed.rule.on_error) {
            (Trigger::Before { .. }, OnError::Refuse) => "; writes that it stands before are refused until then",
            (Trigger::Before { .. }, OnError::Pass) => "; writes go on without it until then",
            _ => "",
        };
        let message = format!("rule `{rule}` is active and cannot fire: {why}; change it, or what it names{then}");
        found.push(Trouble { kind: "rule-broken", rule: rule.clone(), run: None, message, since: now });
    }
    for armed in rules.all().iter().filter(|armed| armed.is_live()) {
        let rule = &armed.rule.name;
        // One that makes no sense any more is paused when it is looked at, and told then.
        let is_over = |slots: Vec<Timestamp>| slots.is_empty();
        if matches!(armed.rule.trigger, Trigger::Schedule(_)) && app.engine().next_slots(rule, 1).is_ok_and(is_over) {
            let message = format!("the schedule of rule `{rule}` is never due again; change it or switch it off");
            found.push(Trouble { kind: "schedule-over", rule: rule.clone(), run: None, message, since: now });
        }
        if let Some((login, since)) = armed.left.map(|user| archived(conn, user)).transpose()?.flatten() {
            let message = format!(
                "rule `{rule}` had the rights of `{login}`, who is archived: the administrator stands in, within the rule's \
                 grants; somebody else takes it over, or switches it off"
            );
            found.push(Trouble { kind: "owner-inactive", rule: rule.clone(), run: None, message, since });
        }
    }
    Ok(found)
}

/// Rules whose oldest run that could start has waited too long for a worker. What a pause or a stop holds up waits for people,
/// who said so.
///
/// # Errors
/// What the database says.
pub fn of_queue(app: &App, conn: &Connection, now: Timestamp) -> Result<Vec<Trouble>, EngineError> {
    let minutes = i64::from(app.config().alerts.wait_minutes);
    if minutes == 0 {
        return Ok(Vec::new());
    }
    let stopped: HashSet<String> = stops(conn)?.into_iter().map(|stop| stop.model.unwrap_or_default()).collect();
    if stopped.contains("") {
        return Ok(Vec::new());
    }
    let rules = app.engine().rules()?;
    // Each step jumps to the next rule in the index: the number of runs does not matter.
    let sql = "SELECT min(rule) FROM engine_run WHERE state = 'queued' AND blockers = 0 AND rule > ?1";
    let mut next = conn.prepare_cached(sql)?;
    // What waits for an Odoo server is told as that.
    let sql = "SELECT id, due FROM engine_run WHERE state = 'queued' AND blockers = 0 AND rule = ?1 AND due <= ?2 \
               AND away_since IS NULL ORDER BY due, id LIMIT 1";
    let mut oldest = conn.prepare_cached(sql)?;
    let (mut found, mut last) = (Vec::new(), String::new());
    while let Some(rule) = next.query_row([&last], |row| row.get::<_, Option<String>>(0))? {
        last.clone_from(&rule);
        let Some(armed) = rules.rule(&rule).ok().filter(|armed| armed.is_live()) else { continue };
        if armed.rule.model.as_ref().is_some_and(|model| stopped.contains(model)) {
            continue;
        }
        let row =
            oldest.query_row((&rule, millis(now) - minutes * 60_000), |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
        let Some((run, due)) = row.optional()? else { continue };
        let waited = (millis(now) - due) / 60_000;
        let message = format!(
            "run {run} of rule `{rule}` has waited for {waited} minutes to be started: more is due than is worked off; look at \
             what takes so long, at the rule's `concurrency` and at `runs.workers`"
        );
        found.push(Trouble { kind: "queue-waits", rule, run: Some(run), message, since: now });
    }
    Ok(found)
}

/// Budgets of language models that are nearly spent: today's of all rules and of each, and those of open sessions. What they are
/// about is told to nobody here.
///
/// # Errors
/// What the database says.
pub fn of_budgets(app: &App, conn: &Connection, now: Timestamp) -> Result<Vec<Trouble>, EngineError> {
    let percent = app.config().alerts.limit_percent;
    let Some(services) = app.engine().services().filter(|_| percent > 0) else { return Ok(Vec::new()) };
    let day = services.clock.now().strftime("%Y-%m-%d").to_string();
    // Once a day, and once for each run of a session.
    let began = format!("{day}T00:00:00Z").parse().unwrap_or(now);
    let mut found = Vec::new();
    let mut add = |kind, rule: &str, (used, max), since, whose: &str| {
        if let Some((limit, part)) = most_used(used, max).filter(|(_, part)| part * 100.0 >= f64::from(percent)) {
            let name = limit.spec().name;
            let message =
                format!("{whose} used {:.0} % of the budget {name}; at its end no model is asked", part * 100.0);
            found.push(Trouble { kind, rule: rule.to_owned(), run: None, message, since });
        }
    };
    let today = |scope, key: &str| budget::used(conn, scope, key);
    let server = (today(Scope::ServerDay, &day)?, services.budgets.server_day.amount());
    add("budget-nearly-spent", "", server, began, "all rules together have today");
    let rules = app.engine().rules()?;
    for armed in rules.all().iter().filter(|armed| armed.asks_model) {
        let rule = &armed.rule.name;
        let own = (today(Scope::RuleDay, &format!("{rule}@{day}"))?, services.budgets.rule_day.amount());
        add("budget-nearly-spent", rule, own, began, &format!("rule `{rule}` has today"));
        if let Some(near) = threads::nearly_over(conn, &armed.rule, app.config().sessions, percent)? {
            let whose = format!("{} open session(s) of rule `{rule}` are nearly over: one", near.sessions);
            add("session-nearly-over", rule, (near.used, near.max), timestamp(near.since), &whose);
        }
    }
    Ok(found)
}

/// The budget that the greatest part is used of.
fn most_used(used: Amount, max: Amount) -> Option<(Limit, f64)> {
    let all = [
        (Limit::LlmCalls, used.calls, max.calls),
        (Limit::LlmTokens, used.tokens, max.tokens),
        (Limit::LlmCost, used.micro_euro, max.micro_euro),
    ];
    #[allow(clippy::cast_precision_loss, reason = "a part, for people")]
    let parts =
        all.into_iter().filter(|(.., max)| *max > 0).map(|(limit, used, max)| (limit, used as f64 / max as f64));
    parts.max_by(|one, other| one.1.total_cmp(&other.1))
}

/// A user who is archived: what they signed in with, and when that was written last.
fn archived(conn: &Connection, user: Id) -> rusqlite::Result<Option<(String, Timestamp)>> {
    let sql = "SELECT login, coalesce(unixepoch(write_date), 0) * 1000 FROM res_users WHERE id = ?1 AND NOT active";
    let mut statement = conn.prepare_cached(sql)?;
    statement.query_row([user], |row| Ok((row.get(0)?, timestamp(row.get(1)?)))).optional()
}

/// Whether something is to be told: it happened after the last time that such a thing was told of the rule, and that is a
/// while ago.
///
/// # Errors
/// What the database says.
pub fn is_news(app: &App, conn: &Connection, trouble: &Trouble, now: Timestamp) -> Result<bool, EngineError> {
    let pause = i64::from(app.config().alerts.repeat_minutes) * 60_000;
    let told = told(conn, trouble.kind, &trouble.rule)?;
    Ok(told.is_none_or(|told| told < millis(trouble.since) && millis(now) - told >= pause))
}

/// When such a thing was told of a rule last.
pub(crate) fn told(conn: &Connection, kind: &str, rule: &str) -> rusqlite::Result<Option<i64>> {
    seen::noted(conn, &format!("{TOLD}{kind}"), rule)
}

/// Tells people, until the server is being stopped.
///
/// Failures, dead letters, stuck runs and schedules are read from the database, and so is what was told of them: a restart
/// neither forgets them nor tells them twice. Only that a limit was nearly reached is told from the try itself.
pub(crate) async fn watch(app: App, mut attempts: UnboundedReceiver<Attempt>) {
    // Of what is being told and not noted yet.
    let (noted, mut notes) = mpsc::unbounded_channel();
    let mut telling = HashSet::new();
    let mut running = Running::new();
    let mut turn = tokio::time::interval(EVERY);
    let mut retain = tokio::time::interval(RETAIN);
    loop {
        let found = tokio::select! {
            attempt = attempts.recv() => match attempt {
                Some(attempt) => tried(&app, &attempt).await,
                None => return,
            },
            _ = turn.tick() => look(&app, &mut running).await,
            () = app.outbox().news.notified() => look(&app, &mut running).await,
            _ = retain.tick() => {
                match app.engine().retain().await {
                    Ok(gone) => tracing::info!(runs = gone.runs, journals = gone.journals, bytes = gone.bytes, "retained"),
                    Err(error) => tracing::error!(%error, "the past could not be let go"),
                }
                continue;
            }
            told = notes.recv() => {
                telling.retain(|one| Some(one) != told.as_ref());
                continue;
            }
            () = app.drained() => return,
        };
        // What failed here is the database, and that is in the log.
        for trouble in found.unwrap_or_default() {
            let key = (trouble.kind, trouble.rule.clone());
            if telling.insert(key.clone()) {
                tracing::warn!(kind = trouble.kind, rule = trouble.rule, run = trouble.run, "{}", trouble.message);
                let (app, noted) = (app.clone(), noted.clone());
                tokio::spawn(async move {
                    tell_all(&app, &trouble).await;
                    // Nobody wants to know any more when the server is being stopped.
                    let _ = noted.send(key);
                });
            }
        }
    }
}

/// What a try shows that is to be told.
async fn tried(app: &App, attempt: &Attempt) -> Result<Vec<Trouble>, Problem> {
    let close = of_attempt(app, attempt);
    let failed = matches!(attempt.state, RunState::Failed | RunState::Dead | RunState::OutcomeUnknown);
    let waits = attempt.state == RunState::WaitingApproval;
    if close.is_empty() && !failed && !waits {
        return Ok(Vec::new());
    }
    let (inner, now) = (app.clone(), app.engine().clock().now());
    app.read(move |conn| {
        let mut found = close;
        if failed {
            found.extend(of_failures(&inner, conn)?);
        }
        if waits {
            found.extend(of_approvals(&inner, conn)?);
        }
        news(&inner, conn, found, now)
    })
    .await
}

fn news(app: &App, conn: &Connection, found: Vec<Trouble>, now: Timestamp) -> Result<Vec<Trouble>, EngineError> {
    let mut new = Vec::new();
    for trouble in found {
        if is_news(app, conn, &trouble, now)? {
            new.push(trouble);
        }
    }
    Ok(new)
}

/// Looks for standing trouble, and forgets what need not be known any more.
async fn look(app: &App, running: &mut Running) -> Result<Vec<Trouble>, Problem> {
    let now = app.engine().clock().now();
    let age = SignedDuration::from_hours(i64::from(app.config().http.idempotency_hours));
    let oldest = millis(now.saturating_sub(age).unwrap_or(now));
    app.write(move |conn| seen::forget(conn, idempotency::SCOPES, oldest)).await?;
    let (inner, mut known) = (app.clone(), std::mem::take(running));
    let (found, known) = app
        .read(move |conn| {
            let found = standing(&inner, conn, &mut known, now)?;
            let found = news(&inner, conn, found, now)?;
            Ok::<_, EngineError>((found, known))
        })
        .await?;
    *running = known;
    Ok(found)
}

/// Sends one alert to all addresses, and notes that it was told.
async fn tell_all(app: &App, trouble: &Trouble) {
    let mut telling = JoinSet::new();
    for to in app.config().alerts.to.clone() {
        telling.spawn(tell(app.clone(), to, trouble.clone()));
    }
    while telling.join_next().await.is_some() {}
    let (scope, rule) = (format!("{TOLD}{}", trouble.kind), trouble.rule.clone());
    let now = millis(app.engine().clock().now());
    let note = move |conn: &Connection| Ok::<_, DbError>(seen::note(conn, &scope, &rule, now)?);
    if let Err(error) = app.engine().committer().commit(note).await {
        tracing::error!(%error, "that an alert was told could not be noted");
    }
}

/// Sends one alert to one address; after some tries only the log knows.
async fn tell(app: App, to: String, trouble: Trouble) {
    let (Ok(body), Some(client)) = (serde_json::to_vec(&trouble), app.client()) else { return };
    let mut wait = Duration::from_secs(1);
    for tried in 1..=TRIES {
        let mut request = client.post(&to).header("content-type", "application/json").body(body.clone());
        if let Some(secret) = app.config().alerts.secret.as_ref().and_then(|name| app.secret(name)) {
            let timestamp = app.engine().clock().now().as_second().to_string();
            request = request.header(SIGNATURE, sign(&secret, &timestamp, &body)).header(TIMESTAMP, timestamp);
        }
        match request.send().await.and_then(reqwest::Response::error_for_status) {
            Ok(answer) if answer.status().is_redirection() => {
                // It would say so again, and where it points is nobody that the configuration names.
                let status = answer.status().as_u16();
                tracing::error!(
                    kind = trouble.kind,
                    status,
                    "an alert could not be told: its address is elsewhere now"
                );
                return;
            }
            Ok(_) => return,
            Err(error) if tried == TRIES => {
                tracing::error!(kind = trouble.kind, %error, "an alert could not be told");
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait *= 4;
    }
}

/// The client that alerts are sent with, where there is somebody to tell: it follows nobody elsewhere.
pub(crate) fn client(to: &[String]) -> Result<Option<reqwest::Client>, StartError> {
    if to.is_empty() {
        return Ok(None);
    }
    // Somebody may have chosen one before; it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(10));
    client.build().map(Some).map_err(|error| {
        let why = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        let problem = format!("cannot use TLS: {why}; are the system's CA certificates installed?");
        StartError::Config(ConfigError::Invalid { place: "alerts".to_owned(), problem })
    })
}
