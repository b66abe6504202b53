//! An Odoo server that is away for hours: its runs wait and go on by themselves, what it did is not done again, and what needs a
//! person is told at once. The Odoo here is a fake, for no real one fails on demand; `tests/e2e/odoo_rules.rs` has a real one
//! that is away.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use guest_artifacts::DUE_LEADS;
use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use triggerbox_automation::{
    Config,
    diagnose::diagnose,
    runs::{RunId, RunState, RunSummary},
};
use triggerbox_model::{event::Trigger, grants::Policy, value::Id};
use triggerbox_odoo::Backend;

use crate::{
    http::{self, Reply},
    world::{ADMIN, World, block_on},
};

pub(crate) const LEAD: Id = 7;

/// How it fails.
#[derive(Clone, Copy)]
enum How {
    /// It closes the connection without a word.
    Cut,
    /// It does what it is asked, and closes the connection then.
    Lost,
    /// It says nothing for longer than it is waited for.
    Silent,
    /// It says no, in HTML.
    Status(u16, &'static str),
    /// It says no in Odoo's words: class and message.
    Error(u16, &'static str, &'static str),
}

/// An Odoo with one lead, an outbox and a ledger.
#[derive(Default)]
pub(crate) struct Fake {
    /// What fails, by the beginning of model and method, and how.
    trouble: Mutex<Option<(&'static str, How)>>,
    /// The keys of the runs that it has applied.
    ledger: Mutex<Vec<String>>,
    /// How often it was asked to apply something.
    applies: Mutex<u32>,
    /// Rows of its outbox.
    pub(crate) outbox: Mutex<Vec<Json>>,
    /// How many there were.
    rows: Mutex<u32>,
    /// Whom the administrator may see besides themselves: number and sign-in name.
    pub(crate) people: Mutex<Vec<(Id, &'static str)>>,
}

/// Sam's number there.
pub(crate) const SAM_THERE: Id = 44;

impl Fake {
    /// Notes that somebody there gave the lead another name, for a rule that waits for that.
    pub(crate) fn tells(&self, rule: &str, user: Id) {
        let mut rows = self.rows.lock().unwrap();
        *rows += 1;
        let id = *rows;
        self.outbox.lock().unwrap().push(json!({
            "id": id, "x_name": rule, "x_model": "crm.lead", "x_record": LEAD, "x_kind": "updated", "x_user": user,
            "x_transaction": id.to_string(), "x_chain": false, "x_values": r#"{"name": ["Loom", "Looms"]}"#,
        }));
    }

    fn fails(&self, what: &'static str, how: How) {
        *self.trouble.lock().unwrap() = Some((what, how));
    }

    fn is_well(&self) {
        *self.trouble.lock().unwrap() = None;
    }

    pub(crate) fn ledger(&self) -> Vec<String> {
        self.ledger.lock().unwrap().clone()
    }

    fn applies(&self) -> u32 {
        *self.applies.lock().unwrap()
    }

    fn answer(&self, request: &http::Request) -> Reply {
        let method = request.path.trim_start_matches("/json/2/").trim_start_matches("/json/");
        let body: Json = serde_json::from_slice(&request.body).unwrap_or_default();
        let applies = method == "ir.actions.server/run";
        if applies {
            *self.applies.lock().unwrap() += 1;
        }
        let trouble = *self.trouble.lock().unwrap();
        let trouble = trouble.filter(|(what, _)| method.starts_with(what)).map(|(_, how)| how);
        match trouble {
            None | Some(How::Lost) => {}
            Some(How::Cut) => return Reply::Nothing,
            Some(How::Silent) => return Reply::Silence,
            Some(How::Status(status, text)) => return Reply::new(status, "text/html", text.as_bytes().to_vec()),
            Some(How::Error(status, name, message)) => {
                let error = json!({ "name": name, "message": message, "debug": "" });
                return Reply::new(status, "application/json", error.to_string().into_bytes());
            }
        }
        let answer = match method {
            "version" => json!({ "version": "19.0" }),
            "res.users/context_get" => {
                let is_sam = request.header("authorization").is_some_and(|key| key.ends_with("of-SAM"));
                json!({ "uid": if is_sam { SAM_THERE } else { ADMIN } })
            }
            "res.users/read" => {
                let people = self.people.lock().unwrap().clone();
                let one = [(ADMIN, "admin")].into_iter().chain(people).find(|(id, _)| body["ids"] == json!([id]));
                let Some((id, login)) = one else {
                    let name = "odoo.exceptions.AccessError";
                    let error = json!({ "name": name, "message": "not in your companies", "debug": "" });
                    return Reply::new(403, "application/json", error.to_string().into_bytes());
                };
                json!([{ "id": id, "name": "A", "login": login, "company_id": [1, "C"] }])
            }
            "crm.lead/fields_get" => json!({
                "name": { "type": "char", "store": true, "searchable": true, "sortable": true },
                "city": { "type": "char", "store": true, "searchable": true, "sortable": true },
                "date_deadline": { "type": "date", "store": true, "searchable": true, "sortable": true },
            }),
            "crm.lead/search" => json!([LEAD]),
            "crm.lead/read" => json!([{ "id": LEAD, "name": "Looms", "city": "Ghent", "display_name": "Looms" }]),
            "x_triggerbox_event/search_read" => json!(*self.outbox.lock().unwrap()),
            "x_triggerbox_event/unlink" => {
                self.outbox.lock().unwrap().retain(|row| !body["ids"].as_array().unwrap().contains(&row["id"]));
                json!(true)
            }
            "ir.model.data/search_read" => json!([{ "id": 1, "res_id": 9 }]),
            "ir.actions.server/run" => {
                let run = body["context"]["triggerbox_run"].as_str().unwrap().to_owned();
                let mut ledger = self.ledger.lock().unwrap();
                let again = ledger.contains(&run);
                if !again {
                    ledger.push(run);
                }
                json!({ "triggerbox": 1, "again": again, "done": { "new": {}, "names": {}, "at": "2026-11-20 09:30:00" } })
            }
            "x_triggerbox_run/search_read" => {
                let asked = body["domain"][0][2].to_string();
                let row =
                    |run: &String| json!({ "x_name": format!("run {run}"), "create_date": "2026-11-20 09:30:00" });
                self.ledger().iter().filter(|run| asked.contains(run.as_str())).map(row).collect()
            }
            other => panic!("{other} {body}"),
        };
        match trouble {
            Some(_) => Reply::Nothing,
            None => Reply::new(200, "application/json", answer.to_string().into_bytes()),
        }
    }
}

pub(crate) struct Office {
    pub(crate) world: World,
    pub(crate) fake: Arc<Fake>,
    /// The fake's.
    _runtime: tokio::runtime::Runtime,
}

impl Office {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let config = format!(
            "url = 'http://{}'\ndatabase = 'x'\nretries = 0\n{more}\n[[user]]\nlogin = 'admin'\nkey = {{ env = 'K' }}\n\
             [[user]]\nlogin = 'sam'\nkey = {{ env = 'SAM' }}\n",
            listener.local_addr().unwrap()
        );
        let fake = Arc::new(Fake::default());
        let shared = Arc::clone(&fake);
        runtime.spawn(http::serve(listener, move |request| {
            let reply = shared.answer(&request);
            async { reply }
        }));
        let config = triggerbox_odoo::Config::parse(&config).unwrap();
        let backend = Backend::new(config, &|name| Some(format!("some-long-key-of-{name}"))).unwrap();
        let world = World::with(Config { odoo: Some(Arc::new(backend)), ..Config::default() });
        // It reads the lead, and writes it.
        world.rule(&rule("copy", "{ on = \"manual\" }", ""));
        Self { world, fake, _runtime: runtime }
    }

    fn fire(&self) -> RunId {
        let run = block_on(self.world.engine.fire("copy", ADMIN, Trigger::Manual, vec![LEAD])).unwrap()[0];
        self.world.settle();
        run
    }

    /// Has a run succeed: from then on it is known who asks, and what leads are.
    fn known(&self) {
        let run = self.fire();
        assert_eq!(self.run(run).state, RunState::Succeeded);
        self.fake.ledger.lock().unwrap().clear();
        *self.fake.applies.lock().unwrap() = 0;
    }

    fn now(&self) -> Timestamp {
        self.world.engine.clock().now()
    }

    fn run(&self, run: RunId) -> RunSummary {
        self.world.run(run).summary
    }

    fn stand(&self, run: RunId) -> (RunState, Option<String>) {
        let run = self.run(run);
        (run.state, run.code)
    }

    fn retries(&self, run: RunId) -> u32 {
        self.world.count(&format!("SELECT retries FROM engine_run WHERE id = {run}"))
    }

    /// Lets the time pass until the run is due, and has it tried.
    fn next(&self, run: RunId) {
        self.world.clock.set(self.run(run).due);
        self.world.settle();
    }

    /// Lets so many hours pass in which the run is tried and waits again.
    fn waits(&self, run: RunId, hours: u64) {
        let since = self.run(run).away_since.unwrap();
        let until = self.now() + Duration::from_secs(hours * 3_600);
        while self.now() < until {
            let summary = self.run(run);
            assert_eq!((summary.state, summary.code.as_deref()), (RunState::Queued, Some("odoo-away")), "{summary:?}");
            assert_eq!(summary.away_since, Some(since));
            let wait = summary.due.as_millisecond() - self.now().as_millisecond();
            assert!((500..=300_000).contains(&wait), "{wait} ms");
            self.next(run);
        }
    }
}

pub(crate) fn rule(name: &str, trigger: &str, more: &str) -> String {
    format!(
        "name = \"{name}\"\nmodel = \"crm.lead\"\ntrigger = {trigger}\n{more}\n[[actions]]\nscript = \"update-record\"\n\
         parameters = {{ values = \"city = {{name}}\" }}\n"
    )
}

const WAITS: (RunState, &str) = (RunState::Queued, "odoo-away");

fn is(stand: (RunState, Option<String>), expected: (RunState, &str)) {
    assert_eq!((stand.0, stand.1.as_deref()), (expected.0, Some(expected.1)));
}

// Shows: F083, F088
#[test]
fn a_run_waits_for_hours_and_goes_on_by_itself_once() {
    let office = Office::new();
    office.known();
    let ways = [
        How::Cut,
        How::Status(502, "<h1>Bad Gateway</h1>"),
        How::Status(503, ""),
        How::Status(504, ""),
        How::Status(500, "<h1>Internal Server Error</h1>"),
        // While it is upgraded.
        How::Error(500, "psycopg2.errors.UndefinedColumn", "column res_users.new_one does not exist"),
        How::Error(500, "psycopg2.OperationalError", "connection to server failed"),
    ];
    office.fake.fails("", How::Cut);
    let (run, began) = (office.fire(), office.now());
    for how in ways {
        office.fake.fails("", how);
        office.waits(run, 3);
    }
    assert_eq!(office.run(run).away_since, Some(began));
    assert_eq!(office.retries(run), 0, "it has not failed");
    assert_eq!(office.world.run(run).attempts, [], "and nothing was tried");
    let causes = diagnose(office.world.engine.database(), &Policy::default(), "copy", None, office.now()).unwrap();
    assert_eq!(causes[0].code, "waits-for-odoo", "{causes:?}");
    assert!(causes[0].sentence.contains("waits for odoo since 2026-11-20 09:30:00"), "{causes:?}");

    office.fake.is_well();
    office.next(run);
    let detail = office.world.run(run);
    assert_eq!((detail.summary.state, detail.summary.away_since), (RunState::Succeeded, None), "{detail:?}");
    assert_eq!(office.fake.ledger(), [detail.summary.key]);
    assert_eq!((office.fake.applies(), detail.attempts.len()), (1, 1));
}

#[test]
fn a_server_that_says_nothing_is_away_unless_a_script_has_asked_for_too_much() {
    let office = Office::with("timeout = 1");
    office.known();
    office.fake.fails("", How::Silent);
    let run = office.fire();
    is(office.stand(run), WAITS);
    // What takes too long may be what the script asks: that is tried again as often as other failures.
    office.fake.fails("crm.lead/read", How::Silent);
    office.next(run);
    is(office.stand(run), (RunState::Queued, "backend"));
    assert_eq!((office.retries(run), office.run(run).away_since), (1, None));
    // One that is gone in the middle of a script is away, and that try is kept.
    office.fake.fails("crm.lead/read", How::Cut);
    office.next(run);
    is(office.stand(run), WAITS);
    let detail = office.world.run(run);
    let codes: Vec<_> = detail.attempts.iter().map(|attempt| attempt.code.as_str()).collect();
    assert_eq!((codes, office.retries(run)), (vec!["backend", "odoo-away"], 1));
    office.fake.is_well();
    office.next(run);
    is(office.stand(run), (RunState::Succeeded, "applied"));
}

#[test]
fn after_an_outage_conflicts_have_all_their_tries() {
    let office = Office::new();
    office.known();
    office.fake.fails("", How::Cut);
    let run = office.fire();
    office.waits(run, 10);
    let conflict = How::Error(422, "odoo.exceptions.UserError", "TRIGGERBOX conflict somebody else changed it");
    office.fake.fails("ir.actions.server/run", conflict);
    office.next(run);
    is(office.stand(run), (RunState::Queued, "conflict"));
    // Another outage in between counts for nothing either.
    let before = office.retries(run);
    office.fake.fails("", How::Cut);
    office.next(run);
    office.waits(run, 10);
    assert_eq!(office.retries(run), before);
    office.fake.fails("ir.actions.server/run", conflict);
    while !office.run(run).state.is_over() {
        office.next(run);
    }
    is(office.stand(run), (RunState::Dead, "conflict"));
    assert_eq!(office.fake.applies(), 9, "one, and eight more");
}

#[test]
fn after_an_outage_lost_answers_have_all_their_tries() {
    let office = Office::new();
    office.known();
    office.fake.fails("", How::Cut);
    let run = office.fire();
    office.waits(run, 10);
    office.fake.fails("ir.actions.server/run", How::Cut);
    office.next(run);
    is(office.stand(run), (RunState::Queued, "backend"));
    assert_eq!(office.run(run).away_since, None);
    while !office.run(run).state.is_over() {
        office.next(run);
    }
    is(office.stand(run), (RunState::OutcomeUnknown, "outcome-unknown"));
    assert_eq!((office.fake.applies(), office.fake.ledger().len()), (7, 0));
}

#[test]
fn what_was_applied_before_an_outage_has_succeeded_after_it_and_is_not_done_again() {
    let office = Office::new();
    office.known();
    office.fake.fails("ir.actions.server/run", How::Lost);
    let run = office.fire();
    is(office.stand(run), (RunState::Queued, "backend"));
    office.fake.fails("", How::Cut);
    office.next(run);
    is(office.stand(run), WAITS);
    office.waits(run, 12);
    office.fake.is_well();
    office.next(run);
    let detail = office.world.run(run);
    is(office.stand(run), (RunState::Succeeded, "applied"));
    assert_eq!((office.fake.ledger(), office.fake.applies()), (vec![detail.summary.key], 1));
    assert_eq!(detail.attempts.len(), 1, "its script did not run again");
}

#[test]
fn whoever_has_a_run_tried_again_gives_it_another_day() {
    let office = Office::new();
    office.known();
    office.fake.fails("", How::Cut);
    let run = office.fire();
    office.waits(run, 20);
    block_on(office.world.engine.cancel(run, ADMIN)).unwrap();
    assert_eq!(office.run(run).away_since, None);
    block_on(office.world.engine.retry(run)).unwrap();
    office.world.settle();
    is(office.stand(run), WAITS);
    assert_eq!(office.run(run).away_since, Some(office.now()));
    office.waits(run, 20);
    office.fake.is_well();
    office.next(run);
    is(office.stand(run), (RunState::Succeeded, "applied"));
}

#[test]
fn a_run_waits_for_a_day_and_is_dead_then_and_says_what_to_do() {
    let office = Office::new();
    office.known();
    office.fake.fails("", How::Status(502, ""));
    let (run, began) = (office.fire(), office.now());
    office.waits(run, 23);
    while !office.run(run).state.is_over() {
        office.next(run);
    }
    is(office.stand(run), (RunState::Dead, "odoo-away"));
    let dead = office.run(run);
    let waited = dead.finished.unwrap().duration_since(began).as_secs();
    assert!((86_400..86_700).contains(&waited), "{waited} s");
    let message = dead.message.unwrap();
    for part in [
        "odoo has been away since 2026-11-20 09:30:00 UTC",
        "24 hours",
        "odoo failed with 502",
        "retry the run once odoo answers",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let causes = diagnose(office.world.engine.database(), &Policy::default(), "copy", None, office.now()).unwrap();
    assert_eq!(causes[0].code, "odoo-was-away", "{causes:?}");
    // And then another day.
    assert_eq!(block_on(office.world.engine.requeue("copy", RunState::Dead)).unwrap(), [run]);
    office.world.settle();
    office.waits(run, 20);
    office.fake.is_well();
    office.next(run);
    is(office.stand(run), (RunState::Succeeded, "applied"));
}

#[test]
fn what_needs_a_person_is_told_at_once() {
    let office = Office::new();
    office.known();
    for (what, how, said) in [
        ("", How::Status(401, ""), "odoo does not take the key of `admin`"),
        (
            "ir.actions.server/run",
            How::Error(403, "odoo.exceptions.AccessError", "You don't have enough access rights to run this action."),
            "the user is not in the group that may apply changes; run `triggerbox odoo setup`",
        ),
    ] {
        // Whether or not it was waited for.
        for away in [false, true] {
            if away {
                office.fake.fails("", How::Cut);
            } else {
                office.fake.fails(what, how);
            }
            // A first try asks nothing before it looks for the record.
            let run = office.fire();
            if away {
                office.waits(run, 2);
                office.fake.fails(what, how);
                office.next(run);
            }
            is(office.stand(run), (RunState::Dead, "odoo-unusable"));
            let message = office.run(run).message.unwrap();
            assert!(message.contains(said), "{message}");
            office.fake.is_well();
            block_on(office.world.engine.retry(run)).unwrap();
            office.world.settle();
            is(office.stand(run), (RunState::Succeeded, "applied"));
        }
    }
}

#[test]
fn an_odoo_that_answers_with_an_error_of_its_own_is_not_away() {
    let office = Office::new();
    office.known();
    for how in [
        How::Status(404, "<p>No database is selected</p>"),
        How::Error(500, "builtins.ZeroDivisionError", "division by zero"),
        // While it loads its modules anew.
        How::Error(500, "builtins.KeyError", "'crm.lead'"),
        How::Error(409, "werkzeug.exceptions.Conflict", "could not serialize access due to concurrent update"),
        How::Status(429, ""),
    ] {
        office.fake.fails("crm.lead/", how);
        let run = office.fire();
        while !office.run(run).state.is_over() {
            is(office.stand(run), (RunState::Queued, "backend"));
            assert_eq!(office.run(run).away_since, None);
            office.next(run);
        }
        is(office.stand(run), (RunState::Dead, "backend"));
        assert_eq!(office.run(run).attempt, 9);
    }
}

#[test]
fn a_source_that_cannot_be_asked_is_not_one_without_records() {
    let office = Office::new();
    office.world.script(&DUE_LEADS);
    office.world.rule(&rule("due", "{ on = \"manual\" }", "source = { script = \"due-leads\" }"));
    office.world.rule(&rule("all", "{ on = \"manual\" }", "source = { domain = \"[('name', '!=', False)]\" }"));
    office.known();
    for name in ["due", "all"] {
        office.fake.fails("", How::Cut);
        let run = block_on(office.world.engine.fire(name, ADMIN, Trigger::Manual, Vec::new())).unwrap()[0];
        office.world.settle();
        is(office.stand(run), WAITS);
        office.fake.is_well();
        office.next(run);
        is(office.stand(run), (RunState::Succeeded, "applied"));
    }
}
