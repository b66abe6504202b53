//! Telling people of trouble: failures in a row, dead letters, stuck runs, limits that are nearly reached, schedules that
//! are never due again. Each goes to the log and, signed, to the addresses of the configuration.

use std::{collections::HashMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedReceiver;
use triggerbox_automation::{
    EngineError,
    clock::millis,
    engine::Attempt,
    rule::Trigger,
    runs::{RunId, RunState},
    seen,
};

use crate::{
    app::{App, StartError},
    config::ConfigError,
    metrics::usage,
    signature::{SIGNATURE, TIMESTAMP, sign},
};

/// What goes by itself is looked at this often.
const EVERY: Duration = Duration::from_secs(30);

/// What is older than the settings keep is let go this often.
const RETAIN: Duration = Duration::from_secs(3_600);

/// How often an address is tried.
const TRIES: u32 = 4;

/// Something that somebody should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Stable: `failures-in-a-row`, `dead-letter`, `stuck-run`, `limit-nearly-reached`, `schedule-over`.
    pub kind: &'static str,
    /// The rule.
    pub rule: String,
    /// The run.
    pub run: Option<RunId>,
    /// What happened, on what, what to do.
    pub message: String,
}

/// Trouble that a try shows.
///
/// # Errors
/// What the database says.
pub fn of_attempt(app: &App, conn: &Connection, attempt: &Attempt) -> Result<Vec<Trouble>, EngineError> {
    let alerts = &app.config().alerts;
    let mut found = Vec::new();
    let mut add = |kind, message| {
        found.push(Trouble { kind, rule: attempt.rule.clone(), run: Some(attempt.run), message });
    };
    let (rule, run, code) = (&attempt.rule, attempt.run, &attempt.code);
    if attempt.state == RunState::Dead {
        add(
            "dead-letter",
            format!("run {run} of rule `{rule}` was given up ({code}); retry it once the cause is gone"),
        );
    }
    if matches!(attempt.state, RunState::Failed | RunState::Dead) && alerts.failures > 0 {
        let sql = "SELECT failures, paused IS NOT NULL FROM engine_rule WHERE name = ?1";
        let (failures, paused): (u32, bool) = match conn.query_row(sql, [rule], |row| Ok((row.get(0)?, row.get(1)?))) {
            Err(rusqlite::Error::QueryReturnedNoRows) => (0, false),
            other => other?,
        };
        if failures >= alerts.failures || paused {
            let and = if paused { " and it is paused" } else { "" };
            add(
                "failures-in-a-row",
                format!("{failures} runs of rule `{rule}` failed in a row{and}; the last: {code}"),
            );
        }
    }
    let percent = f64::from(alerts.limit_percent);
    for (limit, part) in usage(attempt).into_iter().filter(|(_, part)| percent > 0.0 && part * 100.0 >= percent) {
        let name = limit.spec().name;
        add(
            "limit-nearly-reached",
            format!("run {run} of rule `{rule}` used {:.0} % of the limit {name}", part * 100.0),
        );
    }
    Ok(found)
}

/// Since when each try that runs was seen to run.
pub type Running = HashMap<(RunId, u32), Timestamp>;

/// Trouble that shows without any try. `running` is what was seen the last time.
///
/// # Errors
/// What the database says.
pub fn standing(
    app: &App,
    conn: &Connection,
    running: &mut Running,
    now: Timestamp,
) -> Result<Vec<Trouble>, EngineError> {
    let mut found = Vec::new();
    let minutes = i64::from(app.config().alerts.stuck_minutes);
    let sql = "SELECT id, attempt, rule FROM engine_run WHERE state = 'running'";
    let mut statement = conn.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    let runs: Vec<((RunId, u32), String)> = rows.collect::<Result<_, _>>()?;
    running.retain(|known, _| runs.iter().any(|(run, _)| run == known));
    for (run, rule) in runs {
        let since = *running.entry(run).or_insert(now);
        if minutes > 0 && millis(now) - millis(since) >= minutes * 60_000 {
            let message = format!("run {} of rule `{rule}` has been running for {minutes} minutes or more", run.0);
            found.push(Trouble { kind: "stuck-run", rule, run: Some(run.0), message });
        }
    }
    let rules = app.engine().rules()?;
    for armed in rules.all().iter().filter(|armed| armed.is_live()) {
        let rule = &armed.rule.name;
        if matches!(armed.rule.trigger, Trigger::Schedule(_)) && app.engine().next_slots(rule, 1)?.is_empty() {
            let message = format!("the schedule of rule `{rule}` is never due again; change it or switch it off");
            found.push(Trouble { kind: "schedule-over", rule: rule.clone(), run: None, message });
        }
    }
    Ok(found)
}

/// Tells people, until there are no more tries to come.
pub(crate) async fn watch(app: App, mut attempts: UnboundedReceiver<Attempt>) {
    let mut told = HashMap::new();
    let mut running = Running::new();
    let mut turn = tokio::time::interval(EVERY);
    let mut retain = tokio::time::interval(RETAIN);
    loop {
        let found = tokio::select! {
            attempt = attempts.recv() => match attempt {
                Some(attempt) => {
                    let inner = app.clone();
                    app.read(move |conn| of_attempt(&inner, conn, &attempt)).await
                }
                None => return,
            },
            _ = turn.tick() => look(&app, &mut running).await,
            _ = retain.tick() => {
                match app.engine().retain().await {
                    Ok(gone) => tracing::info!(runs = gone.runs, journals = gone.journals, bytes = gone.bytes, "retained"),
                    Err(error) => tracing::error!(%error, "the past could not be let go"),
                }
                continue;
            }
            () = app.drained() => return,
        };
        let now = app.engine().clock().now();
        let pause = SignedDuration::from_mins(i64::from(app.config().alerts.repeat_minutes));
        // What failed here is the database, and that is in the log.
        for trouble in found.unwrap_or_default() {
            let key = (trouble.kind, trouble.rule.clone());
            if told.get(&key).is_some_and(|last: &Timestamp| now.duration_since(*last) < pause) {
                continue;
            }
            told.insert(key, now);
            tracing::warn!(kind = trouble.kind, rule = trouble.rule, run = trouble.run, "{}", trouble.message);
            for to in app.config().alerts.to.clone() {
                tokio::spawn(tell(app.clone(), to, trouble.clone()));
            }
        }
    }
}

/// Looks for standing trouble, and forgets what need not be known any more.
async fn look(app: &App, running: &mut Running) -> Result<Vec<Trouble>, crate::problem::Problem> {
    let now = app.engine().clock().now();
    let age = SignedDuration::from_hours(i64::from(app.config().http.idempotency_hours));
    let oldest = millis(now.saturating_sub(age).unwrap_or(now));
    app.write(move |conn| seen::forget(conn, "api:", oldest)).await?;
    let (inner, mut known) = (app.clone(), std::mem::take(running));
    let (found, known) = app
        .read(move |conn| {
            let found = standing(&inner, conn, &mut known, now)?;
            Ok::<_, EngineError>((found, known))
        })
        .await?;
    *running = known;
    Ok(found)
}

/// Sends one alert to one address; after some tries only the log knows.
async fn tell(app: App, to: String, trouble: Trouble) {
    let Ok(body) = serde_json::to_vec(&trouble) else { return };
    let mut wait = Duration::from_secs(1);
    for tried in 1..=TRIES {
        let mut request = app.client().post(&to).header("content-type", "application/json").body(body.clone());
        if let Some(secret) = app.config().alerts.secret.as_ref().and_then(|name| app.secrets().get(name)) {
            let timestamp = app.engine().clock().now().as_second().to_string();
            request = request.header(SIGNATURE, sign(secret, &timestamp, &body)).header(TIMESTAMP, timestamp);
        }
        match request.send().await.and_then(reqwest::Response::error_for_status) {
            Ok(_) => return,
            Err(error) if tried == TRIES => {
                tracing::error!(kind = trouble.kind, %error, "an alert could not be told");
            }
            Err(_) => tokio::time::sleep(wait).await,
        }
        wait *= 4;
    }
}

/// The client that alerts are sent with: it follows nobody elsewhere.
pub(crate) fn client() -> Result<reqwest::Client, StartError> {
    // Somebody may have chosen one before; it is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(Duration::from_secs(10));
    client.build().map_err(|error| {
        StartError::Config(ConfigError::Invalid { place: "alerts".to_owned(), problem: error.to_string() })
    })
}
