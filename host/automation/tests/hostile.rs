//! Scripts that mean harm, in the whole engine on a database file: whatever one does, nothing of it is kept, the process takes
//! no more memory than the run's limit and 64 MiB, and the next run works. One after the other, for memory is measured for
//! the whole process.
//! Shows: F017

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

#[path = "engine/world.rs"]
#[allow(dead_code, reason = "not every test needs all of it")]
mod world;

use std::{
    cell::Cell,
    fs,
    sync::{Mutex, PoisonError},
};

use guest_artifacts::{self as guests, Guest, HIGH_VALUE_ORDER};
use triggerbox_automation::{
    Config,
    runs::{RunDetail, RunState},
};
use triggerbox_model::{event::Trigger, value::Value};
use triggerbox_store::{
    db::{Database, DbError},
    load::DataSet,
};
use world::{ADMIN, NOW, World, block_on};

/// As the program itself has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

static ALONE: Mutex<()> = Mutex::new(());

/// What a script without a manifest is let do.
const MANIFEST: &str = r#"
[script]
name = "NAME"
version = "0.1.0"
description = "Means harm."

[[grants]]
model = "crm.lead"
operations = ["read", "write", "create", "note"]
fields = ["name", "description"]
"#;

/// Little fuel and time, so that what is stopped by them is stopped soon.
const LIMITS: &str = "{ fuel = 100_000_000, cpu-time = 2_000, wall-time = 20_000 }";

struct Office {
    world: World,
    order: u32,
    attacks: Cell<u32>,
    _folder: tempfile::TempDir,
}

impl Office {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::create_demo(&folder.path().join("crm.db"), NOW.parse().unwrap()).unwrap();
        let world = World::on(database, Config::default());
        world.script(&HIGH_VALUE_ORDER);
        world.rule(
            "name = \"good\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n\
             actions = [{ script = \"high-value-order\" }]",
        );
        let partner = world.search("res.partner", "[('is_company', '=', True)]")[0];
        let order = world.create("sale.order", &[("partner_id", Value::link(partner))]);
        world.settle();
        Self { world, order, attacks: Cell::new(0), _folder: folder }
    }

    fn records(&self) -> DataSet {
        self.world.engine.database().export().unwrap()
    }

    /// Runs a guest, with these parameters and limits, and checks what must hold whatever it did.
    fn attack(&self, guest: &Guest, action: &str, limits: &str) -> RunDetail {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest: &'static str = match guest.manifest {
            Some(text) => text,
            None => MANIFEST.replace("NAME", guest.name).leak(),
        };
        self.world.script(&Guest { name: guest.name, component: guest.component, manifest: Some(manifest) });
        let attacks = self.attacks.get();
        self.attacks.set(attacks + 1);
        let rule = |limits: &str| {
            self.world.rule(&format!(
                "name = \"bad-{attacks}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n\
                 actions = [{{ script = \"{}\", limits = {limits}{action} }}]",
                guest.name
            ));
        };
        let before = self.records();
        // Compiled, which takes memory of its own.
        rule("{ fuel = 1 }");
        self.fire(&format!("bad-{attacks}"), 7);
        rule(limits);

        let run = bounded(guest.name, || self.fire(&format!("bad-{attacks}"), 7));

        if run.summary.state != RunState::Succeeded {
            assert!(self.records() == before, "{}: something of it was kept: {run:#?}", guest.name);
        }
        let next = self.fire("good", self.order);
        assert_eq!(next.summary.state, RunState::Succeeded, "after {}: {next:#?}", guest.name);
        run
    }

    fn fire(&self, rule: &str, record: u32) -> RunDetail {
        let runs = block_on(self.world.engine.fire(rule, ADMIN, Trigger::Manual, vec![record])).unwrap();
        self.world.settle();
        self.world.run(runs[0])
    }
}

/// The memory of a run, and what the process may take besides.
const ALLOWED: u64 = (64 << 20) + (64 << 20);

/// What this makes of the process's memory is bounded.
fn bounded<T>(name: &str, attack: impl FnOnce() -> T) -> T {
    // The kernel forgets the highest mark so far; where it does not, the mark is only higher than it should be.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let resident = memory_of_process("VmRSS:");
    let done = attack();
    let grown = memory_of_process("VmHWM:").saturating_sub(resident);
    assert!(grown <= ALLOWED, "{name}: the host grew by {} MiB", grown >> 20);
    done
}

fn memory_of_process(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// What does no harm, and ends well.
const HARMLESS: [&str; 7] = ["clocks", "fan-out", "leaves-behind", "log-flood", "loud", "outside", "waiting-call"];

#[test]
fn nothing_of_a_script_that_means_harm_is_kept() {
    let office = Office::new();
    let mut succeeded = Vec::new();
    for guest in guests::MISBEHAVING {
        // What asks for what policy guards is granted it by name.
        let grants = if guest.name == guests::FLOODS.name { format!(", {GRANTS}") } else { String::new() };
        let run = office.attack(guest, &grants, LIMITS);
        if run.summary.state == RunState::Succeeded {
            succeeded.push(guest.name);
        }
    }
    assert_eq!(succeeded, HARMLESS);
}

/// Each flood, with the limit that ends it made small enough to be the first; where its default is, none is given.
const FLOODS: [(&str, &str, Option<u64>); 16] = [
    ("call-bytes", "call-bytes", None),
    ("bytes-sent", "bytes-sent", None),
    ("bytes-staged", "bytes-sent", None),
    ("bytes-logged", "bytes-sent", None),
    ("host-calls", "host-calls", None),
    ("queries", "queries", None),
    ("records-read", "records-read", Some(1_000)),
    ("bytes-read", "bytes-read", Some(20_000)),
    ("write-calls", "write-calls", None),
    ("records-written", "records-written", Some(1_000)),
    ("writes-per-record", "writes-per-record", None),
    ("records-deleted", "records-deleted", Some(5)),
    ("posts", "posts", None),
    ("activities", "activities", None),
    ("llm-calls", "llm-calls", None),
    ("http-calls", "http-calls", None),
];

/// What the rule grants by name: policy guards deletion.
const GRANTS: &str = "grants = [{ model = \"crm.lead\", fields = [\"name\", \"description\", \"tag_ids\"], \
                      operations = [\"read\", \"write\", \"create\", \"unlink\", \"note\", \"activity\"] }]";

#[test]
fn every_flood_of_calls_ends_at_its_limit() {
    let office = Office::new();
    for (flood, limit_name, bound) in FLOODS {
        let bound = bound.map(|bound| format!("{{ {limit_name} = {bound} }}")).unwrap_or_else(|| "{}".to_owned());
        let run = office.attack(&guests::FLOODS, &format!(", parameters = {{ what = \"{flood}\" }}, {GRANTS}"), &bound);
        assert_eq!(run.summary.code.as_deref(), Some("limit-exceeded"), "{flood}: {:?}", run.summary);
        let why = run.summary.message.as_deref().unwrap_or_default();
        assert!(why.starts_with(&format!("limit exceeded: {limit_name} used ")), "{flood}: {why}");
    }
}

/// Hard questions about many leads with long descriptions, with the limits of the run, and the one that ends it.
const QUESTIONS: [(&str, &str, &str); 15] = [
    ("pattern", "{ wall-time = 1_000 }", "wall-time"),
    ("conditions", "{ wall-time = 2_000 }", "wall-time"),
    ("long-pattern", "{}", "bytes-sent"),
    ("path", "{ queries = 3 }", "queries"),
    ("having", "{ queries = 3 }", "queries"),
    ("keys", "{}", "queries"),
    ("key-path", "{}", "queries"),
    ("aggregates", "{}", "queries"),
    ("lists", "{ queries = 3 }", "queries"),
    ("groups", "{}", "bytes-read"),
    ("table", "{}", "bytes-read"),
    ("full", "{}", "bytes-read"),
    ("wide", "{}", "records-read"),
    ("very-wide", "{ queries = 3 }", "queries"),
    ("names", "{}", "records-read"),
];

/// So many leads are made for them: fewer than a run may read.
const LEADS: u32 = 49_000;

#[test]
fn hard_questions_end_at_a_limit_in_bounded_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let office = Office::new();
    let leads = format!(
        "WITH RECURSIVE generate(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM generate WHERE value < {LEADS}) \
         INSERT INTO crm_lead (name, description, type, active, probability, user_id, team_id, company_id, stage_id) \
         SELECT 'Lead ' || n.value, replace(hex(zeroblob(350)), '0', 'a'), l.type, 1, l.probability, l.user_id, l.team_id, \
                l.company_id, l.stage_id \
         FROM crm_lead AS l, generate AS n WHERE l.id = (SELECT min(id) FROM crm_lead)"
    );
    office.world.commit(move |conn| conn.execute_batch(&leads).map_err(DbError::from));
    let count = || office.world.count("SELECT count(*) FROM crm_lead");
    let before = count();
    office.world.script(&guests::HARD_QUESTIONS);
    for (what, limits, limit_name) in QUESTIONS {
        let rule = |limits: &str| {
            office.world.rule(&format!(
                "name = \"{what}\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"manual\" }}\n\
                 actions = [{{ script = \"hard-questions\", limits = {limits}, parameters = {{ what = \"{what}\" }} }}]"
            ));
        };
        // Compiled, which takes memory of its own.
        rule("{ fuel = 1 }");
        office.fire(what, 7);
        rule(limits);
        let run = bounded(what, || office.fire(what, 7));
        assert_eq!(run.summary.code.as_deref(), Some("limit-exceeded"), "{what}: {:?}", run.summary);
        let why = run.summary.message.as_deref().unwrap_or_default();
        assert!(why.starts_with(&format!("limit exceeded: {limit_name} used ")), "{what}: {why}");
        let next = office.fire("good", office.order);
        assert_eq!(next.summary.state, RunState::Succeeded, "after {what}: {next:#?}");
    }
    assert_eq!(count(), before);
}

#[test]
fn events_that_fan_out_end_at_a_thousand_runs_in_bounded_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let office = Office::new();
    let manifest: &'static str = MANIFEST.replace("NAME", guests::FAN_OUT.name).leak();
    office.world.script(&Guest { manifest: Some(manifest), ..guests::FAN_OUT });
    office.world.rule(
        "name = \"fan\"\nmodel = \"crm.lead\"\ndispatch = \"per-record\"\ntrigger = { on = \"created\" }\n\
         actions = [{ script = \"fan-out\" }]",
    );
    bounded("fan-out", || {
        office.world.lead("Chairs");
        office.world.settle();
    });
    let count = |sql: &str| office.world.count(sql);
    assert_eq!(count("SELECT count(*) FROM engine_run WHERE rule = 'fan'"), 1_000, "of one root event");
    assert_eq!(count("SELECT count(*) FROM engine_run WHERE state <> 'succeeded'"), 0);
    assert_eq!(count("SELECT count(*) FROM crm_lead WHERE name LIKE 'Fanned out%'"), 5_000);
    assert!(count("SELECT count(*) FROM engine_suppressed WHERE reason LIKE 'too-many-runs:%'") > 0);
    let next = office.fire("good", office.order);
    assert_eq!(next.summary.state, RunState::Succeeded, "{next:#?}");
}
