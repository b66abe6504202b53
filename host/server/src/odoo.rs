//! The records are on an Odoo server: its outbox is looked into when a ping says so and every few seconds anyway, and its
//! automation rules are kept in step with the rules here.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{Router, extract::DefaultBodyLimit, extract::State, http::StatusCode, routing::post};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use tokio::sync::{Notify, watch};
use triggerbox_automation::{
    Clock, EngineError,
    clock::{millis, reach},
    engine::Drained,
};

use triggerbox_odoo::setup;

use crate::{alerts::Trouble, app::App, outage, problem::Problem};

/// From a ping to the look into the outbox, however many pings there are: Odoo pings before it answers the user who wrote, and
/// is not asked for anything until it has.
const PAUSE: SignedDuration = SignedDuration::from_millis(50);

/// So many looks into the outbox are made one after the other.
const LOOKS: u32 = 100;

/// From as many looks that did not empty the outbox to the next one, whoever pings: what never ends leaves room for everything
/// else.
const REST: SignedDuration = SignedDuration::from_secs(1);

/// Odoo's automation rules are compared with the rules here this often.
const COMPARE: SignedDuration = SignedDuration::from_secs(60);

/// Whether keys end soon is looked up this often.
const KEYS: SignedDuration = SignedDuration::from_secs(60);

/// Records of time rules are asked for this often.
const DUE: SignedDuration = SignedDuration::from_secs(60);

/// A ping carries nothing: what is sent with it is not even read.
const LARGEST_PING: usize = 16 << 10;

/// What the pump and those who look at it share.
#[derive(Default)]
pub(crate) struct Outbox {
    /// When the first ping came since the last look.
    pinged: watch::Sender<Option<Timestamp>>,
    /// Told when there is trouble that was not there before.
    pub(crate) news: Notify,
    trouble: Mutex<HashMap<&'static str, Trouble>>,
}

impl Outbox {
    /// Notes a ping.
    fn ping(&self, now: Timestamp) {
        self.pinged.send_if_modified(|pinged| {
            let is_first = pinged.is_none();
            pinged.get_or_insert(now);
            is_first
        });
    }

    /// Comes back when a ping wants a look.
    async fn wanted(&self, clock: &dyn Clock) {
        let first = self.pinged.subscribe().wait_for(Option::is_some).await.ok().and_then(|pinged| *pinged);
        // Without one, nobody is left who could ping.
        if let Some(first) = first {
            reach(clock, first.saturating_add(PAUSE).unwrap_or(first)).await;
        }
    }

    /// What is wrong with the Odoo server now.
    pub(crate) fn trouble(&self) -> Vec<Trouble> {
        self.known().values().cloned().collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<&'static str, Trouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes trouble, or that it is over. Whether that is new.
    fn note(&self, kind: &'static str, found: Option<(String, Timestamp)>) -> bool {
        let mut known = self.known();
        match found {
            None => known.remove(kind).is_some(),
            Some((message, now)) => {
                let same = known.get(kind).is_some_and(|known| known.message == message);
                let since = known.get(kind).filter(|_| same).map_or(now, |known| known.since);
                known.insert(kind, Trouble { kind, rule: String::new(), run: None, message, since });
                if !same {
                    self.news.notify_one();
                }
                !same
            }
        }
    }
}

/// Where Odoo says that its outbox is no longer empty.
pub(crate) fn router() -> Router<App> {
    Router::new().route("/odoo/ping", post(ping)).layer(DefaultBodyLimit::max(LARGEST_PING))
}

/// Whoever sends it: all that it does is that the outbox is looked into, and that not more often than it may be.
async fn ping(State(app): State<App>) -> Result<StatusCode, Problem> {
    if app.engine().odoo().is_none() {
        return Err(Problem::not_found("no-odoo", "this server has no odoo server"));
    }
    app.outbox().ping(app.engine().clock().now());
    Ok(StatusCode::NO_CONTENT)
}

/// Looks and keeps in step until the server is being stopped. Without an Odoo server, nothing.
pub(crate) async fn pump(app: App) {
    let Some(odoo) = app.engine().odoo().cloned() else { return };
    let poll = SignedDuration::from_secs(i64::try_from(odoo.config().poll).unwrap_or(i64::MAX));
    let (mut kept, mut compared, mut due, mut keys) = (None, Timestamp::MIN, Timestamp::MIN, Timestamp::MIN);
    while !app.is_draining() {
        let now = app.engine().clock().now();
        if now.duration_since(keys).abs() >= KEYS {
            keys = now;
            let ending = ends(&odoo.ending_keys(now), now).map(|message| (message, now));
            app.outbox().note("odoo-key-ends", ending);
        }
        let revision = app.engine().rules_revision().ok();
        if revision != kept || kept.is_none() {
            if keep(&app, true).await {
                kept = revision;
                compared = now;
            }
        } else if now.duration_since(compared).abs() >= COMPARE {
            keep(&app, false).await;
            compared = now;
        }
        let is_left = empty(&app).await;
        if now.duration_since(due).abs() >= DUE {
            due = now;
            if let Err(error) = app.engine().tick_remote().await {
                tracing::warn!(%error, "records that come due cannot be asked for");
            }
        }
        let (clock, outbox) = (app.engine().clock().as_ref(), app.outbox());
        let wait = if is_left { REST } else { poll };
        let next = clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
        tokio::select! {
            () = outbox.wanted(clock), if !is_left => {}
            () = reach(clock, next) => {}
            () = app.drained() => return,
        }
        // A ping from here on is for another look.
        outbox.pinged.send_replace(None);
    }
}

/// Looks into the outbox until nothing more can be taken. Whether there is something left after as many looks as are made.
async fn empty(app: &App) -> bool {
    for _ in 0..LOOKS {
        match drain(app).await {
            Some(drained) if drained.more && !drained.full && !app.is_draining() => {}
            _ => return false,
        }
    }
    let message =
        format!("odoo's outbox is not empty after {LOOKS} looks one after the other: what is left waits its turn");
    app.outbox().note("odoo-events-wait", Some((message, app.engine().clock().now())));
    true
}

/// Whose keys end soon, or have ended; nothing, if nobody's do. It says the same until there is something else to say: whoever
/// was told is told then.
fn ends(keys: &[(String, Date)], now: Timestamp) -> Option<String> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let told = keys.iter().map(|(login, day)| {
        let verb = if *day < today { "ended" } else { "ends" };
        format!("the key of `{login}` {verb} on {day}")
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| {
        format!(
            "{}: make new ones in odoo, put them in place of these, and give the file their `expires`; `triggerbox odoo doctor` \
             tells whether they are good. This server reads a file with a key anew when odoo refuses the old one; a variable, \
             and `expires`, when it is started anew",
            told.join(", ")
        )
    })
}

/// One look into the outbox; nothing, when Odoo cannot be used.
async fn drain(app: &App) -> Option<Drained> {
    let now = app.engine().clock().now();
    match app.engine().drain().await {
        Ok(drained) => {
            // With a full queue nobody has asked.
            if !drained.full {
                answers(app, now).await;
            }
            for odd in &drained.aside {
                tracing::warn!(row = odd.row, why = odd.why, "an event of odoo was set aside");
            }
            if let Some(first) = drained.aside.first() {
                let message = format!(
                    "{} events of odoo made no sense and were set aside, such as row {}: {}",
                    drained.aside.len(),
                    first.row,
                    first.why
                );
                app.outbox().note("odoo-events-set-aside", Some((message, now)));
            }
            // That some wait is over when none is left.
            if drained.full || !drained.more {
                let full =
                    drained.full.then(|| ("so many runs wait that events stay in odoo's outbox".to_owned(), now));
                app.outbox().note("odoo-events-wait", full);
            }
            if drained.events > 0 {
                tracing::info!(
                    events = drained.events,
                    repeated = drained.repeated,
                    runs = drained.runs,
                    "events of odoo"
                );
            }
            Some(drained)
        }
        Err(error @ (EngineError::Backend(_) | EngineError::Refused(_))) => {
            is_away(app, &error.to_string(), now).await;
            None
        }
        // What failed is here, and told as what else fails of the engine's own work.
        Err(_) => None,
    }
}

/// Notes that Odoo is away, and why; once for each outage, people are told.
async fn is_away(app: &App, why: &str, now: Timestamp) {
    let known = app.read(outage::why).await;
    if !known.is_ok_and(|known| known.as_deref() == Some(why)) {
        let (text, now) = (why.to_owned(), millis(now));
        // What failed here is the database, and that is in the log.
        if app.write(move |conn| outage::begin(conn, &text, now)).await.unwrap_or_default() {
            tracing::warn!(why, "odoo's events cannot be had; they stay in its outbox");
            app.outbox().news.notify_one();
        }
    }
}

/// Notes that Odoo answers.
async fn answers(app: &App, now: Timestamp) {
    if app.read(outage::why).await.is_ok_and(|known| known.is_some())
        && app.write(move |conn| outage::end(conn, millis(now))).await.unwrap_or_default()
    {
        tracing::info!("odoo answers again");
        app.outbox().news.notify_one();
    }
}

/// Compares Odoo's automation rules with the rules here, and mends them when rules here have changed. Whether it could.
async fn keep(app: &App, mend: bool) -> bool {
    let now = app.engine().clock().now();
    match app.engine().keep_rules(mend).await {
        Ok(found) => {
            let (broken, found): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|finding| finding.state == setup::State::Impossible);
            for finding in &found {
                match mend {
                    true => tracing::info!(what = finding.what, detail = finding.detail, "made or mended in odoo"),
                    false => tracing::warn!(what = finding.what, detail = finding.detail, "changed by hand in odoo"),
                }
            }
            let first = found.first().filter(|_| !mend).map(|finding| {
                let message = format!(
                    "{} of odoo's automation rules were changed or removed by hand, such as the {} ({}); `triggerbox rules \
                     apply` mends them",
                    found.len(),
                    finding.what,
                    if finding.detail.is_empty() { "it is gone" } else { &finding.detail }
                );
                (message, now)
            });
            app.outbox().note("odoo-rule-changed", first);
            let first = broken.first().map(|first| {
                let (count, what, why) = (broken.len(), &first.what, &first.detail);
                let message = format!(
                    "odoo cannot be told of {count} broken rules, such as {what} ({why}); mend them, or switch them off"
                );
                (message, now)
            });
            app.outbox().note("odoo-rules-not-kept", first);
            true
        }
        Err(error) => {
            let message = format!("odoo's automation rules cannot be kept in step: {error}");
            if app.outbox().note("odoo-rules-not-kept", Some((message, now))) {
                tracing::warn!(%error, "odoo's automation rules cannot be kept in step");
            }
            false
        }
    }
}
