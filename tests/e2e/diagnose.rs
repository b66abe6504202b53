//! Why did it not fire, why did it fail: one code and one sentence for each cause, found on a real engine.

use std::sync::{Arc, LazyLock};

use guest_artifacts::{DEMO_LOOP_FOREVER, DEMO_WRITE_THEN_TRAP, Guest, HIGH_VALUE_ORDER};
use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_automation::{
    Config, Engine, Origin, TestClock,
    diagnose::diagnose,
    people,
    rule::{
        Ground, file,
        stored::{self, Edit, Ownership},
    },
    scripts::{ScriptVersion, binding, registry, upload},
};
use triggerbox_model::{
    call::{Answer, Call},
    grants::Policy,
    value::{FieldValue, Id, Value},
};
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::{
    db::{Database, DbError},
    env::Env,
};

const ADMIN: Id = 2;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(&Pool::default()).unwrap());

struct World {
    engine: Engine,
    clock: Arc<TestClock>,
    env: Env,
    runtime: tokio::runtime::Runtime,
}

/// On leads, when their revenue changes and is large: sets the priority.
const RULE: &str = r#"
name = "hot-leads"
model = "crm.lead"
domain = "[('expected_revenue', '>', 1000)]"
trigger = { on = "updated", fields = ["expected_revenue"] }
[[actions]]
script = "update-record"
parameters = { values = "priority = 2" }
"#;

impl World {
    fn new() -> Self {
        let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        let database = Database::demo_in_memory(now).unwrap();
        let clock = Arc::new(TestClock::at(now));
        let env = people::environment(&database, people::SYSTEM, true, now).unwrap();
        let config = Config { seed: Some(1), ..Config::default() };
        let engine = Engine::open(database, SANDBOX.clone(), config, clock.clone()).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let world = Self { engine, clock, env, runtime };
        world.save(RULE);
        world.later();
        world
    }

    /// A minute passes: the rule is older than what happens then.
    fn later(&self) {
        self.clock.advance(std::time::Duration::from_secs(60));
    }

    fn write<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        self.engine.database().transaction::<_, DbError>(|conn| Ok(work(conn))).unwrap()
    }

    fn edit(&self, by: Id) -> Edit<'static> {
        Edit {
            by,
            at: self.engine.clock().now(),
            note: "",
            ownership: Ownership::Take,
            administrator: true,
            agrees: false,
        }
    }

    fn save(&self, text: &str) {
        let rule = file::parse(text).unwrap();
        let policy = Policy::default();
        self.write(|conn| {
            let ground = Ground { conn, env: &self.env, policy: &policy };
            stored::save(ground, &rule, &self.edit(ADMIN)).unwrap()
        });
    }

    fn upload(&self, guest: &Guest) {
        self.upload_as(guest, guest.manifest.unwrap());
    }

    fn upload_as(&self, guest: &Guest, manifest: &str) -> ScriptVersion {
        let upload = upload::inspect(embed_manifest(guest.component, manifest).unwrap()).unwrap();
        let now = self.engine.clock().now();
        self.write(|conn| registry::store(conn, &upload, ADMIN, now).unwrap())
    }

    fn lead(&self) -> Id {
        let values = vec![FieldValue::new("name", Value::text("Looms"))];
        self.change(Call::Create { model: "crm.lead".to_owned(), values: vec![values] })
    }

    fn set(&self, lead: Id, field: &str, value: Value) {
        let values = vec![FieldValue::new(field, value)];
        self.change(Call::Write { model: "crm.lead".to_owned(), ids: vec![lead], values });
    }

    fn change(&self, call: Call) -> Id {
        let changed = self.runtime.block_on(self.engine.change(Origin { user: ADMIN, superuser: true }, vec![call]));
        match changed.unwrap().answers.first() {
            Some(Answer::Ids(ids)) => ids.first().copied().unwrap_or_default(),
            _ => 0,
        }
    }

    fn settle(&self) {
        self.runtime.block_on(self.engine.settle()).unwrap();
    }

    /// The codes of all causes.
    fn codes(&self, record: Option<Id>) -> Vec<&'static str> {
        self.causes(record).into_iter().map(|cause| cause.code).collect()
    }

    fn causes(&self, record: Option<Id>) -> Vec<triggerbox_automation::diagnose::Cause> {
        let now = self.engine.clock().now();
        let causes = diagnose(self.engine.database(), &Policy::default(), "hot-leads", record, now).unwrap();
        for cause in &causes {
            assert!(!cause.sentence.is_empty() && !cause.remedy.is_empty(), "{cause:?}");
        }
        causes
    }

    fn sql(&self, sql: &str) {
        self.write(|conn| conn.execute_batch(sql).unwrap());
    }
}

#[test]
fn a_rule_that_nothing_keeps_from_firing_says_when_it_last_ran() {
    let world = World::new();
    assert_eq!(world.causes(None)[0].sentence, "nothing keeps it from firing; it has not fired yet");
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    let causes = world.causes(Some(lead));
    assert_eq!(causes[0].code, "nothing-in-the-way", "{causes:?}");
    assert!(causes[0].sentence.ends_with("succeeded"), "{causes:?}");
}

#[test]
fn an_unknown_rule_is_an_error_with_the_nearest_name() {
    let world = World::new();
    let now = world.engine.clock().now();
    let error = diagnose(world.engine.database(), &Policy::default(), "hot-lead", None, now).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        ("unknown-rule", "there is no rule `hot-lead`; did you mean `hot-leads`?")
    );
}

// Shows: F082, F083
#[test]
fn inactive() {
    let world = World::new();
    world.save(&format!("active = false\n{RULE}"));
    assert_eq!(world.codes(None), ["rule-inactive"]);
}

// Shows: F083
#[test]
fn paused() {
    let world = World::new();
    world.runtime.block_on(world.engine.pause("hot-leads", "after 5 failures")).unwrap();
    assert_eq!(world.codes(None), ["rule-paused"]);
    assert!(world.causes(None)[0].sentence.contains("after 5 failures"));
}

// Shows: F083
#[test]
fn stopped_with_all_rules_or_with_its_model() {
    let world = World::new();
    world.runtime.block_on(world.engine.stop(None, ADMIN, "an import is running")).unwrap();
    world.runtime.block_on(world.engine.stop(Some("crm.lead"), ADMIN, "leads are being merged")).unwrap();
    world.runtime.block_on(world.engine.stop(Some("sale.order"), ADMIN, "no matter here")).unwrap();
    assert_eq!(world.codes(None), ["all-stopped", "model-stopped"]);
    assert!(world.causes(None).iter().all(|cause| cause.remedy.contains("an operator ends the stop")));
}

// Shows: F022, F083
#[test]
fn owner_archived() {
    let world = World::new();
    world.sql("UPDATE res_users SET active = 0 WHERE id = 2");
    assert_eq!(world.codes(None), ["owner-inactive"]);
}

// Shows: F083
#[test]
fn run_as_archived() {
    let world = World::new();
    world.save(&format!("run-as = \"sam\"\n{RULE}"));
    assert_eq!(world.codes(None), ["nothing-in-the-way"]);
    world.sql("UPDATE res_users SET active = 0 WHERE login = 'sam'");
    assert_eq!(world.codes(None), ["run-as-inactive"]);
}

// Shows: F083
#[test]
fn script_switched_off_or_gone() {
    let world = World::new();
    let now = world.engine.clock().now();
    world.write(|conn| binding::deactivate(conn, "update-record", ADMIN, now).unwrap());
    assert_eq!(world.codes(None), ["script-inactive"]);
    world.sql("DELETE FROM engine_script WHERE name = 'update-record'");
    assert_eq!(world.codes(None), ["script-gone"]);
}

// Shows: F083
#[test]
fn version_held_back() {
    let world = World::new();
    world.upload(&HIGH_VALUE_ORDER);
    world.save(
        "name = \"hot-leads\"\nmodel = \"sale.order\"\ntrigger = { on = \"manual\" }\n[[actions]]\nscript = \"high-value-order\"",
    );
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap().replace("0.1.0", "0.2.0");
    let wider = manifest.replace("[\"amount_total\"]", "[\"amount_total\", \"note\"]");
    let wider = format!("{wider}\n[[parameters]]\nname = \"reviewer\"\ntype = \"text\"\nrequired = true\n");
    let wider = world.upload_as(&HIGH_VALUE_ORDER, &wider);
    let now = world.engine.clock().now();
    world.write(|conn| binding::activate(conn, &world.env.schema, &wider, ADMIN, now).unwrap());
    let causes = world.causes(None);
    assert_eq!(causes[0].code, "version-held-back");
    assert_eq!(
        causes[0].sentence,
        "script `high-value-order` stays at version 0.1.0: version 0.2.0 is active and asks for more than was agreed to: \
         sale.order:read:note"
    );
    assert!(causes[0].remedy.contains("--agree"));
    // What it lacks for the version that does not run is nothing that is wrong with it.
    assert!(causes.iter().all(|cause| cause.code != "rule-broken"), "{causes:?}");
}

// Shows: F084
#[test]
fn grants_missing() {
    let world = World::new();
    world.save(
        r#"
        name = "hot-leads"
        model = "crm.lead"
        trigger = { on = "updated" }
        [[actions]]
        script = "notify"
        parameters = { text = "{name}" }
        [[actions.grants]]
        model = "crm.lead"
        operations = ["note"]
        "#,
    );
    assert_eq!(world.codes(None), ["grants-missing"]);
    assert!(world.causes(None)[0].sentence.ends_with("crm.lead:read:name"));
}

// Shows: F083
#[test]
fn a_rule_that_made_sense_once() {
    let world = World::new();
    world.sql("UPDATE engine_rule SET body = replace(body, '''expected_revenue''', '''no_such_field''')");
    assert_eq!(world.codes(None), ["rule-broken"]);
}

// Shows: F083
#[test]
fn a_schedule_without_a_next_slot() {
    let world = World::new();
    world.save(
        "name = \"hot-leads\"\ntrigger = { on = \"schedule\", cron = \"0 9 * * *\" }\n[[actions]]\n\
         script = \"notify\"\nparameters = { text = \"x\" }\n",
    );
    world.sql("UPDATE engine_rule SET body = replace(body, '0 9 * * *', '0 9 30 2 *')");
    assert_eq!(world.codes(None), ["no-next-slot"]);
}

// Shows: F083, F092
#[test]
fn nothing_is_committed_on_purpose() {
    let world = World::new();
    world.save(&format!("environment = \"test\"\n{RULE}"));
    assert_eq!(world.codes(None), ["test-environment"]);
    world.save(&format!("mode = \"recommend\"\n{RULE}"));
    assert_eq!(world.codes(None), ["recommend-only"]);
}

// Shows: F084
#[test]
fn domain_false_after_the_change() {
    let world = World::new();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(10.0));
    let causes = world.causes(Some(lead));
    assert_eq!(causes[0].code, "domain-false", "{causes:?}");
}

// Shows: F084
#[test]
fn domain_false_before_the_change() {
    let world = World::new();
    world.save(&RULE.replace("domain =", "before-domain = \"[('priority', '=', '3')]\"\ndomain ="));
    world.later();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    assert_eq!(world.codes(Some(lead)), ["before-domain-false"]);
    // Also when another rule noted the change, and it is known to the field.
    world.save(&RULE.replace("hot-leads", "other"));
    world.later();
    world.set(lead, "expected_revenue", Value::Number(6_000.0));
    let causes = world.causes(Some(lead));
    assert_eq!(causes[0].code, "before-domain-false");
    assert!(causes[0].sentence.starts_with("before the change of 2026-11-20 09:33"), "{causes:?}");
}

// Shows: F084, F086
#[test]
fn unwatched_field() {
    let world = World::new();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    let other = world.lead();
    world.sql(&format!("UPDATE crm_lead SET expected_revenue = 5000 WHERE id = {other}"));
    world.set(other, "phone", Value::text("+32 2 555"));
    let causes = world.causes(Some(other));
    assert_eq!(causes[0].code, "unwatched-field");
    assert!(causes[0].sentence.starts_with("the rule waits for real changes of expected_revenue"), "{causes:?}");
}

#[test]
fn the_change_was_before_the_rule() {
    let world = World::new();
    let lead = world.lead();
    world.sql(&format!("UPDATE crm_lead SET expected_revenue = 5000 WHERE id = {lead}"));
    world.later();
    world.save(&RULE.replace("1000", "900"));
    assert_eq!(world.codes(Some(lead)), ["rule-newer"]);
}

#[test]
fn the_change_was_while_the_rule_was_paused_or_switched_off() {
    let world = World::new();
    let hot = || {
        let lead = world.lead();
        world.set(lead, "expected_revenue", Value::Number(5_000.0));
        world.later();
        lead
    };
    world.runtime.block_on(world.engine.pause("hot-leads", "too many calls")).unwrap();
    let met = hot();
    assert_eq!(world.codes(Some(met)), ["rule-paused", "rule-was-paused"]);
    world.runtime.block_on(world.engine.resume("hot-leads")).unwrap();
    let causes = world.causes(Some(met));
    assert_eq!(causes[0].code, "rule-was-paused");
    assert_eq!(
        causes[0].sentence,
        "the last change, of 2026-11-20 09:31:00, was while the rule was paused: too many calls"
    );
    world.save(&format!("active = false\n{RULE}"));
    let met = hot();
    assert_eq!(world.codes(Some(met)), ["rule-inactive", "rule-was-inactive"]);
    world.save(RULE);
    assert_eq!(world.codes(Some(met)), ["rule-was-inactive"]);
    // The same where another rule wanted to know of the change.
    world.save(&RULE.replace("hot-leads", "other"));
    world.later();
    world.runtime.block_on(world.engine.pause("hot-leads", "a look at its script")).unwrap();
    let met = hot();
    world.runtime.block_on(world.engine.resume("hot-leads")).unwrap();
    assert_eq!(world.codes(Some(met)), ["rule-was-paused"]);
    // What it sees again, it fires on.
    let met = world.lead();
    world.set(met, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    assert_eq!(world.codes(Some(met)), ["nothing-in-the-way"]);
}

#[test]
fn the_record_is_gone() {
    assert_eq!(World::new().codes(Some(999_999)), ["record-gone"]);
}

// Shows: F091
#[test]
fn a_suppressed_loop() {
    let world = World::new();
    world.save(
        r#"
        name = "hot-leads"
        model = "crm.lead"
        trigger = { on = "updated", fields = ["priority"] }
        [[actions]]
        script = "update-record"
        parameters = { values = "priority = 2" }
        "#,
    );
    world.save(
        r#"
        name = "cold-leads"
        model = "crm.lead"
        trigger = { on = "updated", fields = ["priority"] }
        [[actions]]
        script = "update-record"
        parameters = { values = "priority = 0" }
        "#,
    );
    world.later();
    let lead = world.lead();
    world.set(lead, "priority", Value::text("1"));
    world.settle();
    assert_eq!(world.codes(Some(lead)), ["loop-suppressed"]);
}

// Shows: F083
#[test]
fn a_run_that_waits() {
    let world = World::new();
    world.save(&format!("debounce = 30\n{RULE}"));
    world.later();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    assert_eq!(world.codes(Some(lead)), ["queued"]);
}

// Shows: F088, F129
#[test]
fn the_last_run_broke_or_hit_a_limit() {
    let world = World::new();
    world.upload(&DEMO_WRITE_THEN_TRAP);
    world.upload(&DEMO_LOOP_FOREVER);
    for (script, code) in [("demo-write-then-trap", "script-broke"), ("demo-loop-forever", "limit-exceeded")] {
        world.save(&format!(
            "name = \"hot-leads\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"updated\" }}\n[[actions]]\nscript = \"{script}\"\n\
             limits = {{ fuel = 1000000 }}\n"
        ));
        world.later();
        let values = vec![FieldValue::new("client_order_ref", Value::text(script))];
        world.change(Call::Write { model: "sale.order".to_owned(), ids: vec![1], values });
        world.settle();
        let causes = world.causes(Some(1));
        assert_eq!(causes[0].code, code, "{causes:?}");
    }
}

// Shows: F018, F084
#[test]
fn the_last_run_lacked_a_right() {
    let world = World::new();
    // Nobody in particular: a user without any group.
    world.sql("DELETE FROM res_groups_users_rel WHERE uid = (SELECT id FROM res_users WHERE login = 'sam')");
    world.save(&format!("run-as = \"sam\"\n{RULE}"));
    world.later();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    let causes = world.causes(Some(lead));
    assert_eq!(causes[0].code, "no-right", "{causes:?}");
}

// Shows: F084
#[test]
fn a_run_waits_for_approval() {
    let world = World::new();
    world.save(&format!("mode = \"approve\"\n{RULE}"));
    world.later();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    assert_eq!(world.codes(Some(lead)), ["waits-for-approval"]);
}

/// A lead whose change fired the rule, and whose run succeeded.
fn fired(world: &World) -> Id {
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(5_000.0));
    world.settle();
    lead
}

// Shows: F083, F091
#[test]
fn a_fire_that_did_not_become_a_run() {
    for (reason, code) in [
        ("already-fired", "loop-suppressed"),
        ("too-deep", "too-deep"),
        ("too-many-runs", "too-many-runs"),
        ("max-records", "max-records"),
        ("overlap", "overlap"),
        ("own-update", "own-update"),
        ("missed", "slots-missed"),
        ("broken", "domain-broken"),
        ("for another reason", "suppressed"),
    ] {
        let world = World::new();
        let lead = fired(&world);
        // As the engine notes it; that it does is shown where these are tested.
        world.sql(&format!(
            "INSERT INTO engine_suppressed (at, event, rule, reason) \
             SELECT at, id, 'hot-leads', '{reason}: so it is' FROM engine_event ORDER BY id DESC LIMIT 1"
        ));
        let causes = world.causes(Some(lead));
        assert_eq!((causes[0].code, causes.len()), (code, 1), "{causes:?}");
        assert!(causes[0].sentence.contains("so it is") || code == "suppressed", "{causes:?}");
    }
}

#[test]
fn a_domain_that_cannot_be_judged() {
    let world = World::new();
    // A pattern that ends in an escape.
    world.save(&RULE.replace("[('expected_revenue', '>', 1000)]", r"[('name', '=like', '%\\\\')]"));
    world.later();
    let lead = world.lead();
    world.set(lead, "expected_revenue", Value::Number(2000.0));
    assert_eq!(world.codes(Some(lead)), ["domain-broken"]);
    world.sql("DELETE FROM engine_suppressed");
    assert_eq!(world.codes(Some(lead)), ["domain-broken"], "also where nobody noted it");
}

// Shows: F080, F083
#[test]
fn where_the_last_run_stands_and_how_it_ended() {
    for (state, code, diagnosed) in [
        ("state = 'queued', blockers = 2, finished = NULL", "NULL", "waits-for-its-turn"),
        ("state = 'queued', finished = NULL", "'unavailable'", "retrying"),
        ("state = 'queued', finished = NULL, away_since = at", "'odoo-away'", "waits-for-odoo"),
        ("state = 'queued', finished = NULL", "NULL", "queued"),
        ("state = 'running', finished = NULL", "NULL", "running"),
        ("state = 'skipped'", "'records-gone'", "skipped"),
        ("state = 'cancelled'", "'cancelled'", "cancelled"),
        ("state = 'outcome-unknown'", "'outcome-unknown'", "outcome-unknown"),
        ("state = 'failed'", "'failed'", "failed"),
        ("state = 'failed'", "'rejected'", "rejected"),
        ("state = 'failed'", "'cap-exceeded'", "cap-exceeded"),
        ("state = 'dead'", "'unavailable'", "dead"),
        ("state = 'dead'", "'odoo-away'", "odoo-was-away"),
        ("state = 'dead'", "'odoo-unusable'", "odoo-unusable"),
    ] {
        let world = World::new();
        let lead = fired(&world);
        world.sql(&format!("UPDATE engine_run SET {state}, code = {code}, message = 'so it is'"));
        let causes = world.causes(Some(lead));
        assert_eq!(causes[0].code, diagnosed, "{causes:?}");
    }
}

#[test]
fn a_rule_without_a_model_has_no_record() {
    let world = World::new();
    world.save(
        "name = \"hot-leads\"\ntrigger = { on = \"schedule\", cron = \"0 9 * * *\" }\n[[actions]]\n\
         script = \"notify\"\nparameters = { text = \"x\" }\n",
    );
    assert_eq!(world.codes(Some(1)), ["no-model"]);
}

#[test]
fn nothing_ever_happened_to_the_record() {
    let world = World::new();
    let lead = world.lead();
    world.sql(&format!(
        "UPDATE crm_lead SET expected_revenue = 5000, create_date = NULL, write_date = NULL WHERE id = {lead}; \
         DELETE FROM engine_event"
    ));
    assert_eq!(world.codes(Some(lead)), ["never-changed"]);
}

// Shows: F083
#[test]
fn a_language_model_that_did_not_answer() {
    for (reply, diagnosed) in [
        ("llm-key-refused", "llm-key-refused"),
        ("llm-rate-limited", "llm-rate-limited"),
        ("llm-unreachable", "llm-not-answering"),
        ("llm-refused", "failed"),
    ] {
        let world = World::new();
        let lead = fired(&world);
        // As the ledger keeps it.
        world.sql(&format!(
            "INSERT INTO llm_call (run, rule, root, kind, hash, nth, state, at, request, reply, accounts, worst) \
             SELECT key, rule, '1', 'model', x'', 0, 'failed', at, '{{}}', '{{\"Err\":{{\"code\":\"{reply}\"}}}}', '[]', '{{}}' FROM engine_run"
        ));
        world.sql("UPDATE engine_run SET state = 'failed', code = 'failed', message = 'so it is'");
        let causes = world.causes(Some(lead));
        assert_eq!(causes[0].code, diagnosed, "{causes:?}");
    }
}

// Shows: F083
#[test]
fn an_agent_that_is_switched_off_or_gone() {
    let world = World::new();
    world.sql("INSERT INTO engine_agent VALUES ('sales', 1, '{\"name\":\"sales\",\"active\":false}')");
    world.save(
        &RULE
            .replace("update-record\"", "ai-agent\"\nagent = \"sales\"")
            .replace("values = \"priority = 2\"", "prompt = \"Go.\""),
    );
    assert_eq!(world.codes(None)[0], "agent-inactive");
    world.sql("DELETE FROM engine_agent");
    assert_eq!(world.codes(None)[0], "agent-gone");
}

/// A cause that no test expects is one that nobody has seen.
#[test]
fn every_cause_has_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    // Some come with what brings them about.
    let tests =
        ["tests/e2e/diagnose.rs", "host/automation/tests/engine/before.rs", "host/automation/tests/engine/time.rs"]
            .map(|file| std::fs::read_to_string(root.join(file)).unwrap())
            .concat();
    let mut codes = std::collections::BTreeSet::new();
    for file in ["history.rs", "record.rs", "standing.rs"] {
        let source = std::fs::read_to_string(root.join("host/automation/src/diagnose").join(file)).unwrap();
        for place in ["self.found(", "=> (", "=> {\n                ("] {
            for rest in source.split(place).skip(1) {
                let Some(literal) = rest.trim_start().strip_prefix('"') else { continue };
                codes.insert(literal.split('"').next().unwrap().to_owned());
            }
        }
    }
    assert!(codes.len() > 30, "{codes:?}");
    let missing: Vec<_> = codes.iter().filter(|code| !tests.contains(&format!("\"{code}\""))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
