//! Rules as data: what is refused before anything changes, versions, owners, files; and the scripts that they run.

use guest_artifacts::{Guest, HIGH_VALUE_ORDER, LEAD_SCORING, ORDER_STOCK_CHECK};
use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_automation::{
    people,
    rule::{
        Ground, Rule, Severity, check, diff, file,
        model_change::with_model,
        stored::{self, Edit, Outcome, Ownership, RuleError, VersionState},
    },
    scripts::{ScriptVersion, binding, ready, registry, upload},
    state::tables,
};
use triggerbox_model::{grants::Policy, value::Id};
use triggerbox_sandbox::inspect::embed_manifest;
use triggerbox_store::{
    db::{Database, DbError},
    env::Env,
};

const ADMIN: Id = 2;
const MAYA: Id = 3;

/// The demo CRM with scripts.
struct World {
    database: Database,
    env: Env,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let now: Timestamp = "2026-11-20T09:30:00Z".parse().unwrap();
        let database = Database::demo_in_memory(now).unwrap();
        let env = people::environment(&database, people::SYSTEM, true, now).unwrap();
        let world = Self { database, env, now };
        world.write(|conn| {
            tables::upgrade(conn).unwrap();
            ready::install(conn, &world.env.schema, now).unwrap();
        });
        for guest in [&HIGH_VALUE_ORDER, &LEAD_SCORING, &ORDER_STOCK_CHECK] {
            world.upload(guest, |manifest| manifest);
        }
        world
    }

    fn write<T>(&self, work: impl FnOnce(&Connection) -> T) -> T {
        self.database.transaction::<_, DbError>(|conn| Ok(work(conn))).unwrap()
    }

    /// Uploads a guest, with its manifest as `change` makes it.
    fn upload(&self, guest: &Guest, change: impl FnOnce(String) -> String) -> ScriptVersion {
        let manifest = change(guest.manifest.unwrap().to_owned());
        let upload = upload::inspect(embed_manifest(guest.component, &manifest).unwrap()).unwrap();
        self.write(|conn| registry::store(conn, &upload, ADMIN, self.now).unwrap())
    }

    fn policy() -> &'static Policy {
        static POLICY: std::sync::LazyLock<Policy> = std::sync::LazyLock::new(Policy::default);
        &POLICY
    }

    fn ground<'a>(&'a self, conn: &'a Connection) -> Ground<'a> {
        Ground { conn, env: &self.env, policy: Self::policy() }
    }

    /// What is found, one line each.
    fn found(&self, rule: &str) -> Vec<String> {
        let rule = file::parse(rule).unwrap();
        self.write(|conn| check(self.ground(conn), &rule).unwrap().iter().map(ToString::to_string).collect())
    }

    fn save(&self, rule: &str, edit: &Edit<'_>) -> Result<stored::Saved, RuleError> {
        let rule = file::parse(rule).unwrap();
        self.write(|conn| stored::save(self.ground(conn), &rule, edit))
    }

    fn edit(&self, by: Id) -> Edit<'static> {
        Edit { by, at: self.now, note: "", ownership: Ownership::Take, administrator: by == ADMIN, agrees: false }
    }

    fn get(&self, name: &str) -> stored::Stored {
        self.write(|conn| stored::get(conn, name).unwrap())
    }
}

const NOTED: &str = r#"
name = "note-large-orders"
model = "sale.order"
domain = "[('amount_total', '>', 10000)]"

[trigger]
on = "created-or-updated"
fields = ["amount_total"]

[[actions]]
script = "high-value-order"
"#;

// Shows: F010, F011
#[test]
fn a_good_rule_has_no_findings() {
    assert_eq!(World::new().found(NOTED), Vec::<String>::new());
}

// Shows: F010, F020, F084
#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let found = World::new().found(
        r#"
        name = "Wrong Rule"
        model = "crm.lead"
        before-domain = "[('name', '=', 1"
        domain = "[('nmae', '=', 'x')]"
        run-as = "nobody"
        debounce = 5
        concurrency = 0
        on-error = "pass"
        [trigger]
        on = "created"
        [[actions]]
        script = "lead-scorin"
        [[actions]]
        script = "high-value-order@00000000"
        [[actions]]
        script = "high-value-order"
        parameters = { treshold = "1", manager = "99999" }
        "#,
    );
    assert_eq!(
        found,
        [
            "name: `Wrong Rule` is no rule's name; use 1 to 64 lower-case letters, digits and dashes",
            "before-domain: this trigger knows no values before the change; put the condition into `domain`",
            "before-domain: the list opened at character 2 is not closed; add `)`",
            "domain: at character 4: unknown field `nmae` on `crm.lead`; did you mean `name`?",
            "run-as: there is no user `nobody`; give a sign-in name",
            "actions[0].script: there is no script `lead-scorin`; did you mean `lead-scoring`?; `triggerbox scripts upload` adds one",
            "actions[1].script: script `high-value-order` has no version 00000000; `triggerbox scripts list high-value-order` shows those there are",
            "actions[2].parameters.treshold: is not in the manifest; did you mean `threshold`?",
            "actions[2].parameters.manager: there is no res.partner(99999)",
            "on-error: only rules that run before a write can let it pass; take this out",
            "concurrency: 0 runs at once means that it never runs; pause the rule instead",
            "warning: actions[2].script: the script asks for nothing on `crm.lead`, only on sale.order; is it for this model?",
        ]
    );
}

/// A rule on a model with a trigger, and what is found about the trigger.
fn trigger(world: &World, model: &str, trigger: &str) -> Vec<String> {
    let rule = format!(
        "name = \"r\"\nmodel = \"{model}\"\ntrigger = {{ {trigger} }}\n[[actions]]\nscript = \"notify\"\nparameters = {{ text = \"x\" }}\n"
    );
    let found = world.found(&rule);
    found.into_iter().filter(|line| line.starts_with("trigger")).collect()
}

// Shows: F001, F004, F006
#[test]
fn triggers_that_can_never_happen_to_the_model_are_refused() {
    let world = World::new();
    let stage =
        world.write(|conn| conn.query_row("SELECT min(id) FROM crm_stage", [], |row| row.get::<_, u32>(0)).unwrap());
    let good = [
        ("crm.lead", "on = \"stage-set\"".to_owned()),
        ("crm.lead", format!("on = \"stage-set\", value = {stage}")),
        ("sale.order", "on = \"state-set\", value = \"sale\"".to_owned()),
        ("crm.lead", "on = \"state-set\", field = \"type\", value = \"lead\"".to_owned()),
        ("crm.lead", "on = \"user-set\"".to_owned()),
        ("crm.lead", "on = \"archived\"".to_owned()),
        ("crm.lead", "on = \"message-received\"".to_owned()),
        ("crm.lead", "on = \"time\", field = \"date_deadline\", delay = -3, unit = \"days\"".to_owned()),
        ("crm.lead", "on = \"schedule\", every = 1, unit = \"days\", first = \"2026-01-01T09:00:00\"".to_owned()),
        ("crm.lead", "on = \"schedule\", cron = \"0 9 * * mon\", zone = \"Europe/Brussels\"".to_owned()),
    ];
    for (model, text) in &good {
        assert_eq!(trigger(&world, model, text), Vec::<String>::new(), "{model} {text}");
    }
    let bad = [
        ("res.partner", "on = \"stage-set\"", "trigger: `res.partner` has no many2one field `stage_id`"),
        ("crm.lead", "on = \"stage-set\", value = 999999", "trigger.value: there is no crm.stage(999999)"),
        ("crm.lead", "on = \"state-set\", value = \"done\"", "trigger: `crm.lead` has no selection field `state`"),
        ("sale.order", "on = \"state-set\", value = \"done\"", "trigger.value: `done` is no value of `state`"),
        ("crm.lead", "on = \"priority-set\", value = \"9\"", "trigger.value: `9` is no value of `priority`"),
        ("sale.order.line", "on = \"message-sent\"", "trigger: `sale.order.line` has no chatter"),
        ("crm.stage", "on = \"archived\"", "trigger: `crm.stage` has nothing to archive"),
        ("crm.stage", "on = \"user-set\"", "trigger: `crm.stage` has no field `user_id`"),
        (
            "crm.lead",
            "on = \"time\", field = \"name\", delay = 1, unit = \"days\"",
            "trigger.field: `name` is a char field",
        ),
        ("crm.lead", "on = \"updated\", fields = [\"name\", \"nmae\"]", "trigger.fields[1]: unknown field `nmae`"),
        ("crm.lead", "on = \"on-change\", fields = []", "trigger.fields: name the fields"),
        ("crm.lead", "on = \"before\", writes = []", "trigger.writes: name the writes"),
        ("crm.lead", "on = \"before\", writes = [\"create\"], fields = [\"name\"]", "trigger.fields: only updates"),
        ("crm.lead", "on = \"webhook\", secret = \"\"", "trigger.secret: name the configured secret"),
        ("crm.lead", "on = \"webhook\", secret = \"s\", dedup = \"id\"", "trigger.dedup: `id` is no JSON pointer"),
        ("crm.lead", "on = \"schedule\"", "trigger: say when"),
        ("crm.lead", "on = \"schedule\", every = 1, unit = \"days\"", "trigger.first: say when the first slot is"),
        (
            "crm.lead",
            "on = \"schedule\", every = 0, unit = \"days\", first = \"soon\"",
            "trigger.first: `soon` is no date",
        ),
        ("crm.lead", "on = \"schedule\", cron = \"61 * * * *\"", "trigger.cron: `61 * * * *` is no cron expression"),
        (
            "crm.lead",
            "on = \"schedule\", cron = \"0 9 * * *\", zone = \"Mars\"",
            "trigger.zone: unknown time zone `Mars`",
        ),
    ];
    for (model, text, expected) in bad {
        let found = trigger(&world, model, text);
        assert!(found.first().is_some_and(|line| line.starts_with(expected)), "{model} {text}: {found:?}");
    }
}

#[test]
fn what_runs_inside_a_callers_write_cannot_wait_call_or_chain() {
    let world = World::new();
    let rule = |extra: &str, script: &str| {
        format!(
            "name = \"r\"\nmodel = \"crm.lead\"\n{extra}\ntrigger = {{ on = \"before\", writes = [\"update\"] }}\n\
             [[actions]]\nscript = \"{script}\"\nparameters = {{ {} }}\n",
            if script == "call-webhook" { "url = \"https://erp.example/\"" } else { "values = \"priority = 1\"" }
        )
    };
    assert_eq!(world.found(&rule("", "update-record")), Vec::<String>::new());
    for (extra, place) in [
        ("mode = \"approve\"", "mode: "),
        ("mode = \"recommend\"", "mode: "),
        ("chain = true", "chain: "),
        ("dispatch = \"per-record\"", "dispatch: "),
        ("debounce = 3", "debounce: "),
        ("environment = \"test\"", "environment: "),
    ] {
        let found = world.found(&rule(extra, "update-record"));
        assert!(found.iter().any(|line| line.starts_with(place)), "{extra}: {found:?}");
    }
    let found = world.found(&rule("", "call-webhook"));
    assert!(found.iter().any(|line| line.starts_with("actions[0].script: ")), "{found:?}");
}

// Shows: F013, F084
#[test]
fn where_a_rule_sends_to_it_grants_by_name() {
    let world = World::new();
    let rule = |url: &str, http: &str| {
        format!(
            "name = \"tell\"\nmodel = \"crm.lead\"\ntrigger = {{ on = \"created\" }}\n[[actions]]\n\
             script = \"call-webhook\"\nparameters = {{ url = \"{url}\" }}\n{http}"
        )
    };
    let grant = "http = [{ methods = [\"POST\"], url = \"https://erp.example/hook/*\" }]\n";
    assert_eq!(world.found(&rule("https://erp.example/hook/leads?v=2", grant)), Vec::<String>::new());
    for (url, http, found) in [
        (
            "https://erp.example/hook/leads",
            "",
            "actions[0].http: the script sends `POST https://erp.example/hook/leads`",
        ),
        ("https://other.example/hook/leads", grant, "actions[0].http: the script sends"),
        ("erp.example", grant, "actions[0].parameters.url: `erp.example` is no address"),
    ] {
        let all = world.found(&rule(url, http));
        assert!(all.len() == 1 && all[0].starts_with(found), "{all:?}");
    }
    // What is refused at each run is not saved.
    for (url, private, refused) in [
        ("http://127.0.0.1:8080/hook", "", Some("is not a public address")),
        ("http://localhost/hook", "", Some("is not a public address")),
        ("https://[fd00::1]/hook", "", Some("is not a public address")),
        ("http://10.0.0.7/hook", ", private = true", None),
        ("http://169.254.169.254/hook", ", private = true", Some("is never connected to")),
        ("https://93.184.216.34/hook", "", None),
    ] {
        let all = world.found(&rule(url, &format!("http = [{{ methods = [\"POST\"], url = \"{url}\"{private} }}]\n")));
        let told = all.first().and_then(|line| line.strip_prefix("actions[0].http[0].url: "));
        assert_eq!(all.len(), usize::from(refused.is_some()), "{url}: {all:?}");
        assert_eq!(
            told.is_some_and(|told| refused.is_some_and(|why| told.contains(why))),
            refused.is_some(),
            "{all:?}"
        );
    }
}

// Shows: F084
#[test]
fn a_script_that_asks_for_more_than_it_is_given_is_named_with_what_is_missing() {
    let world = World::new();
    let rule = |grants: &str| {
        format!(
            "name = \"stock\"\nmodel = \"sale.order\"\ntrigger = {{ on = \"created\" }}\n[[actions]]\nscript = \"order-stock-check\"\n{grants}"
        )
    };
    let found = world.found(&rule(""));
    assert_eq!(
        found,
        [
            "actions[0].grants: the script asks for what policy guards, which a rule must grant by name: `sale.order:message`"
        ]
    );
    let found = world.found(&rule(
        "[[actions.grants]]\nmodel = \"sale.order\"\noperations = [\"read\", \"message\"]\nfields = [\"name\", \"stat\"]\n",
    ));
    assert!(found[0].starts_with("actions[0].grants[0].fields: unknown field `stat`"), "{found:?}");
    assert!(found[1].starts_with("warning: actions[0].grants: the script asks for more than it is given"), "{found:?}");
}

// Shows: F013, F084
#[test]
fn ready_made_scripts_say_what_is_wrong_with_their_texts_and_need_no_grants() {
    let world = World::new();
    let rule = |model: &str, script: &str, parameters: &str| {
        format!(
            "name = \"r\"\nmodel = \"{model}\"\ntrigger = {{ on = \"created\" }}\n[[actions]]\nscript = \"{script}\"\n[actions.parameters]\n{parameters}\n"
        )
    };
    for good in [
        rule("crm.lead", "update-record", "values = \"priority = 2\\nname = {name} for {partner_id.name}\""),
        rule("crm.lead", "update-record", "target = \"partner_id\"\nvalues = \"comment = {name}\""),
        rule("crm.lead", "create-record", "model = \"project.task\"\nvalues = \"name = Call {name}\"\nonce = \"name\""),
        rule("sale.order", "notify", "how = \"message\"\ntext = \"{name} is confirmed\"\npartners = \"{partner_id}\""),
    ] {
        assert_eq!(world.found(&good), Vec::<String>::new(), "{good}");
    }
    for (bad, expected) in [
        (
            rule("crm.lead", "update-record", "values = \"nmae = x\""),
            "actions[0].parameters.values: unknown field `nmae`",
        ),
        (
            rule("crm.lead", "update-record", "values = \"priority = 7\""),
            "actions[0].parameters.values: `priority` wants one of",
        ),
        (
            rule("crm.lead", "update-record", "values = \"name\""),
            "actions[0].parameters.values: line 1: `name` sets nothing",
        ),
        (rule("crm.lead", "update-record", ""), "actions[0].parameters.values: is required"),
        (
            rule("crm.lead", "create-record", "model = \"no.such\"\nvalues = \"name = x\""),
            "actions[0].parameters.model: unknown model",
        ),
        (rule("crm.lead", "notify", "text = \"{x.y}\""), "actions[0].parameters.text: unknown field `x`"),
        (rule("crm.lead", "notify", "text = \"{name\""), "actions[0].parameters.text: the placeholder at character 1"),
        (rule("crm.lead", "notify", "how = \"fax\"\ntext = \"x\""), "actions[0].parameters.how: `fax` is not one of"),
        (
            rule("sale.order", "notify", "text = \"x\"\npartners = \"{user_id.partner_id}\""),
            "actions[0].grants: the script asks for what",
        ),
        (rule("res.users", "update-record", "values = \"name = x\""), "actions[0].grants: the script asks for what"),
    ] {
        let found = world.found(&bad);
        assert!(found.iter().any(|line| line.starts_with(expected)), "{expected}: {found:?}");
    }
}

// Shows: F009
#[test]
fn another_model_drops_the_actions_of_the_old_one_and_names_them() {
    let world = World::new();
    let rule = file::parse(
        r#"
        name = "r"
        model = "sale.order"
        domain = "[('amount_total', '>', 1)]"
        before-domain = "[('name', '!=', False)]"
        [trigger]
        on = "updated"
        fields = ["name", "amount_total"]
        [[actions]]
        script = "high-value-order"
        [[actions]]
        script = "notify"
        parameters = { text = "{name}" }
        [[actions]]
        script = "notify"
        parameters = { text = "{amount_total}" }
        "#,
    )
    .unwrap();
    let (changed, dropped) = world.write(|conn| with_model(conn, &world.env, &rule, "crm.lead").unwrap());
    let places: Vec<_> = dropped.iter().map(|one| (one.place.as_str(), one.what.as_str())).collect();
    assert_eq!(
        places,
        [
            ("actions[0]", "high-value-order"),
            ("actions[2]", "notify"),
            ("domain", "[('amount_total', '>', 1)]"),
            ("trigger.fields[1]", "amount_total"),
        ]
    );
    assert_eq!(changed.actions.len(), 1);
    let findings = world.write(|conn| check(world.ground(conn), &changed).unwrap());
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:?}");
}

// Shows: F093
#[test]
fn every_change_is_a_version_that_can_be_compared_and_restored() {
    let world = World::new();
    let admin = world.edit(ADMIN);
    assert_eq!(world.save(NOTED, &admin).unwrap().outcome, Outcome::Created);
    assert_eq!(world.save(NOTED, &admin).unwrap().outcome, Outcome::Unchanged);
    let lower = NOTED.replace("10000", "5000") + "parameters = { threshold = \"5000\" }\n";
    assert_eq!(world.save(&lower, &admin).unwrap().version, 2);

    let history = world.write(|conn| stored::history(conn, "note-large-orders").unwrap());
    let (new, old) = (history[0].rule.as_ref().unwrap(), history[1].rule.as_ref().unwrap());
    let words: Vec<_> = diff::differences(old, new).iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "domain: [('amount_total', '>', 10000)] → [('amount_total', '>', 5000)]",
            "actions[0].parameters.threshold: 5000 (new)",
        ]
    );
    world.write(|conn| stored::restore(world.ground(conn), "note-large-orders", 1, &admin).unwrap());
    assert_eq!((world.get("note-large-orders").rule, world.get("note-large-orders").version), (old.clone(), 3));

    world.write(|conn| stored::delete(conn, "note-large-orders", &admin).unwrap());
    let gone = world.write(|conn| stored::get(conn, "note-large-orders").unwrap_err());
    assert_eq!(gone.code(), "unknown-rule");
    world.write(|conn| stored::restore(world.ground(conn), "note-large-orders", 2, &admin).unwrap());
    assert_eq!(world.get("note-large-orders").version, 5, "the history goes on");
    let refused = world.write(|conn| stored::restore(world.ground(conn), "note-large-orders", 4, &admin).unwrap_err());
    assert_eq!(
        refused.to_string(),
        "rule `note-large-orders` has no version 4; `triggerbox rules history note-large-orders` shows its versions"
    );
}

fn another_user(world: &World) -> Id {
    world.write(|conn| {
        conn.query_row("SELECT id FROM res_users WHERE active AND id NOT IN (1, 2) ORDER BY id LIMIT 1", [], |row| {
            row.get(0)
        })
        .unwrap()
    })
}

// Shows: F019, F020, F104
#[test]
fn who_edits_what_a_rule_does_becomes_its_owner_or_needs_the_owners_yes() {
    let world = World::new();
    let other = another_user(&world);
    world.save(NOTED, &world.edit(ADMIN)).unwrap();

    let renamed = format!("title = \"Large orders\"\n{NOTED}");
    world.save(&renamed, &world.edit(other)).unwrap();
    assert_eq!(world.get("note-large-orders").owner, ADMIN, "a title is nobody's right");

    let lower = renamed.replace("10000", "1");
    let asking = Edit { ownership: Ownership::Ask, ..world.edit(other) };
    let proposed = world.save(&lower, &asking).unwrap();
    assert_eq!(proposed.outcome, Outcome::Proposed);
    assert_eq!(world.get("note-large-orders").rule.domain.unwrap(), "[('amount_total', '>', 10000)]");
    let not_theirs = world.write(|conn| {
        stored::decide(world.ground(conn), "note-large-orders", proposed.version, true, &world.edit(other)).unwrap_err()
    });
    assert_eq!(not_theirs.code(), "not-the-owner");
    let (decided, agreed) = world.write(|conn| {
        stored::decide(world.ground(conn), "note-large-orders", proposed.version, true, &world.edit(ADMIN)).unwrap()
    });
    assert_eq!((decided.owner, decided.rule.domain.as_deref()), (ADMIN, Some("[('amount_total', '>', 1)]")));
    assert!(agreed.is_empty(), "{agreed:?}");

    let again = world.save(&lower.replace("'>', 1", "'>', 2"), &asking).unwrap();
    world.write(|conn| {
        stored::decide(world.ground(conn), "note-large-orders", again.version, false, &world.edit(ADMIN)).unwrap()
    });
    let history = world.write(|conn| stored::history(conn, "note-large-orders").unwrap());
    assert_eq!(history[0].state, VersionState::Rejected);

    world.save(&lower.replace("'>', 1", "'>', 3"), &world.edit(other)).unwrap();
    assert_eq!(world.get("note-large-orders").owner, other, "who edits it takes it over");

    let super_rule = format!("superuser = true\n{lower}");
    let Err(RuleError::Refused(findings)) = world.save(&super_rule, &world.edit(other)) else { panic!("lent") };
    assert_eq!(findings.iter().filter(|finding| finding.severity == Severity::Error).count(), 1);
    assert!(world.save(&super_rule, &world.edit(ADMIN)).is_ok());
}

// Shows: F104
#[test]
fn a_yes_to_a_proposed_version_takes_no_later_change_back() {
    let world = World::new();
    let (other, name) = (another_user(&world), "note-large-orders");
    world.save(NOTED, &world.edit(ADMIN)).unwrap();
    let propose = |amount: &str| {
        let asking = Edit { ownership: Ownership::Ask, ..world.edit(other) };
        world.save(&NOTED.replace("10000", amount), &asking).unwrap().version
    };
    let decide = |version: u32, yes: bool| {
        let decided = world.write(|conn| stored::decide(world.ground(conn), name, version, yes, &world.edit(ADMIN)));
        decided.map(|(decided, _)| decided)
    };
    let is_overtaken = |version: u32| {
        let before = world.get(name);
        let refused = decide(version, true).unwrap_err();
        assert_eq!(refused.code(), "proposal-overtaken");
        assert!(refused.to_string().contains(&format!("is version {} by now", before.version)), "{refused}");
        assert_eq!(decide(version, false).unwrap().version, before.version, "a no may be said");
        assert_eq!(world.get(name).rule, before.rule);
    };
    let (first, second) = (propose("1"), propose("2"));
    assert_eq!(decide(first, true).unwrap().version, first);
    is_overtaken(second);
    let third = propose("3");
    world.save(&NOTED.replace("10000", "4"), &world.edit(ADMIN)).unwrap();
    is_overtaken(third);
    let last = propose("5");
    assert_eq!(decide(last, true).unwrap().version, last);
}

// Shows: F093, F105
#[test]
fn latest_moves_by_itself_only_while_it_asks_for_nothing_more() {
    let world = World::new();
    world.save(NOTED, &world.edit(ADMIN)).unwrap();
    let bound = || world.get("note-large-orders").bound[&0].hash;
    let first = bound();

    let second = world.upload(&HIGH_VALUE_ORDER, |manifest| manifest.replace("0.1.0", "0.2.0"));
    assert!(!second.active, "an upload alone changes nothing");
    let activate = |version: &ScriptVersion| {
        world.write(|conn| binding::activate(conn, &world.env.schema, version, ADMIN, world.now).unwrap())
    };
    assert_eq!(activate(&second).moved, ["note-large-orders"]);
    assert_eq!(bound(), second.hash);

    let third = world.upload(&HIGH_VALUE_ORDER, |manifest| {
        manifest.replace("0.1.0", "0.3.0").replace("[\"amount_total\"]", "[\"amount_total\", \"note\"]")
    });
    let switched = activate(&third);
    assert_eq!(switched.held.len(), 1);
    assert_eq!(switched.held[0].why, "version 0.3.0 asks for more than its owner agreed to: sale.order:read:note");
    assert_eq!(bound(), second.hash);
    // Saving something else is no yes, by whomever; nor is saving it as it is.
    let other = NOTED.replace("10000", "9000");
    for (text, by) in [(&other, ADMIN), (&other, ADMIN), (&NOTED.replace("10000", "8000"), MAYA), (&other, ADMIN)] {
        let saved = world.save(text, &world.edit(by)).unwrap();
        let held: Vec<_> = saved.warnings.iter().filter(|one| one.code == "version-held-back").collect();
        assert!(
            matches!(held[..], [one] if one.place == "actions[0].script" && one.message.contains("sale.order:read:note"))
        );
        assert_eq!((bound(), saved.agreed.len()), (second.hash, 0));
    }
    // Nor is it one to the owner who is only asked, by somebody else.
    let asking = Edit { ownership: Ownership::Ask, agrees: true, ..world.edit(MAYA) };
    assert_eq!(world.save(&other, &asking).unwrap().outcome, Outcome::Unchanged);
    assert_eq!(bound(), second.hash);
    let saved = world.save(&other, &Edit { agrees: true, ..world.edit(ADMIN) }).unwrap();
    assert_eq!((saved.outcome, bound()), (Outcome::Updated, third.hash));
    let agreed = format!(
        "agreed to version 0.3.0 of high-value-order ({}) in place of 0.2.0, which also asks for sale.order:read:note",
        third.hash
    );
    assert_eq!(saved.agreed, [agreed]);

    let (back, _) =
        world.write(|conn| binding::roll_back(conn, &world.env.schema, "high-value-order", ADMIN, world.now).unwrap());
    assert_eq!((back.hash, bound()), (second.hash, second.hash));
    let (back, _) =
        world.write(|conn| binding::roll_back(conn, &world.env.schema, "high-value-order", ADMIN, world.now).unwrap());
    assert_eq!(back.hash, first);
    let none = world
        .write(|conn| binding::roll_back(conn, &world.env.schema, "high-value-order", ADMIN, world.now).unwrap_err());
    assert_eq!(none.code(), "no-earlier-version");

    world.write(|conn| binding::deactivate(conn, "high-value-order", ADMIN, world.now).unwrap());
    assert_eq!(world.get("note-large-orders").bound[&0].state, binding::State::Inactive);
    let history = world.write(|conn| registry::history(conn, "high-value-order").unwrap());
    assert_eq!(history.len(), 6);
    assert_eq!(history[0].hash, None);
}

#[test]
fn an_owner_who_accepts_what_is_granted_by_name_agrees_to_the_version_that_asks_for_it() {
    let world = World::new();
    let (other, name) = (another_user(&world), "note-large-orders");
    world.save(NOTED, &world.edit(ADMIN)).unwrap();
    let wider = world.upload(&HIGH_VALUE_ORDER, |manifest| {
        manifest.replace("0.1.0", "0.2.0").replace("[\"amount_total\"]", "[\"amount_total\", \"note\"]")
    });
    world.write(|conn| binding::activate(conn, &world.env.schema, &wider, ADMIN, world.now).unwrap());
    let granting = format!(
        "{NOTED}[[actions.grants]]\nmodel = \"sale.order\"\noperations = [\"read\", \"note\"]\n\
         fields = [\"amount_total\", \"note\"]\n"
    );
    let asking = Edit { ownership: Ownership::Ask, ..world.edit(other) };
    let proposed = world.save(&granting, &asking).unwrap();
    assert_eq!((proposed.outcome, proposed.agreed.len()), (Outcome::Proposed, 0));
    assert_ne!(world.get(name).bound[&0].hash, wider.hash);
    let (decided, agreed) = world
        .write(|conn| stored::decide(world.ground(conn), name, proposed.version, true, &world.edit(ADMIN)).unwrap());
    assert_eq!(decided.bound[&0].hash, wider.hash);
    assert!(
        matches!(&agreed[..], [one] if one.starts_with("agreed to version 0.2.0 of high-value-order")),
        "{agreed:?}"
    );
}

#[test]
fn a_version_that_is_held_back_keeps_nobody_from_changing_what_runs_without_it() {
    let world = World::new();
    let name = "note-large-orders";
    world.save(NOTED, &world.edit(ADMIN)).unwrap();
    let first = world.get(name).bound[&0].hash;
    // It asks for what policy guards, and for a parameter that nobody has set.
    let second = world.upload(&HIGH_VALUE_ORDER, |manifest| {
        let wider = manifest.replace("0.1.0", "0.2.0").replace("\"note\"]", "\"note\", \"message\"]");
        format!("{wider}\n[[parameters]]\nname = \"reviewer\"\ntype = \"text\"\nrequired = true\n")
    });
    let switched = world.write(|conn| binding::activate(conn, &world.env.schema, &second, ADMIN, world.now).unwrap());
    assert_eq!(switched.held.len(), 1);

    let off = NOTED.replace("model =", "active = false\nmodel =");
    for (text, by) in [(&off, MAYA), (&NOTED.replace("10000", "9000"), ADMIN), (&off, ADMIN)] {
        assert_eq!(world.save(text, &world.edit(by)).unwrap().outcome, Outcome::Updated);
        let kept = world.get(name);
        assert_eq!((kept.owner, kept.bound[&0].hash), (ADMIN, first));
    }
    // A yes is judged by what would run then.
    let agreeing = Edit { agrees: true, ..world.edit(ADMIN) };
    let Err(RuleError::Refused(findings)) = world.save(&off, &agreeing) else { panic!("it lacks a parameter") };
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    assert_eq!(errors.map(|finding| finding.code).collect::<Vec<_>>(), ["bad-parameter", "grants-missing"]);
    assert_eq!(world.get(name).bound[&0].hash, first);
}

// Shows: F093, F105
#[test]
fn a_version_that_sends_more_or_may_use_more_does_not_run_by_itself() {
    let world = World::new();
    let activate = |version: &ScriptVersion| {
        world.write(|conn| binding::activate(conn, &world.env.schema, version, ADMIN, world.now).unwrap())
    };
    let with = |number: &str, more: &str| {
        world.upload(&HIGH_VALUE_ORDER, |manifest| format!("{}\n{more}", manifest.replace("0.1.0", number)))
    };
    // The rule grants more than the first version asks for: the second one would have it at once.
    let granting = format!("{NOTED}http = [{{ methods = [\"GET\", \"POST\"], url = \"https://shop.example/*\" }}]\n");
    world.save(&granting, &world.edit(ADMIN)).unwrap();
    let reads = "[[http]]\nmethods = [\"GET\"]\nurl = \"https://shop.example/*\"\n";
    let sends = reads.replace("[\"GET\"]", "[\"GET\", \"POST\"]");
    let held = |switched: binding::Switched| {
        assert!(switched.moved.is_empty(), "{switched:?}");
        switched.held[0].why.clone()
    };
    let why = held(activate(&with("0.2.0", reads)));
    assert_eq!(why, "version 0.2.0 asks for more than its owner agreed to: GET https://shop.example/*");
    world.save(&granting.replace("10000", "9000"), &Edit { agrees: true, ..world.edit(ADMIN) }).unwrap();
    let why = held(activate(&with("0.3.0", &sends)));
    assert_eq!(why, "version 0.3.0 asks for more than its owner agreed to: POST https://shop.example/*");
    let narrower = reads.replace("/*", "/stock");
    assert_eq!(activate(&with("0.4.0", &narrower)).moved, ["note-large-orders"]);

    let fuel = |number: &str, fuel: &str| {
        world.upload(&HIGH_VALUE_ORDER, |manifest| {
            manifest.replace("0.1.0", number).replace("fuel = 5_000_000", &format!("fuel = {fuel}"))
        })
    };
    let why = held(activate(&fuel("0.5.0", "6_000_000")));
    assert_eq!(why, "version 0.5.0 asks for more than its owner agreed to: fuel=6000000 (was 5000000)");
    // A rule that narrows the limit itself gives no version more of it.
    world.save(&format!("{granting}limits = {{ fuel = 4_000_000 }}\n"), &world.edit(ADMIN)).unwrap();
    assert_eq!(activate(&fuel("0.6.0", "7_000_000")).moved, ["note-large-orders"]);
}

#[test]
fn nobody_uploads_a_script_of_the_programs_own_name() {
    let world = World::new();
    let manifest = HIGH_VALUE_ORDER.manifest.unwrap().replace("\"high-value-order\"", "\"notify\"");
    let upload = upload::inspect(embed_manifest(HIGH_VALUE_ORDER.component, &manifest).unwrap()).unwrap();
    let refused = world.write(|conn| registry::store(conn, &upload, ADMIN, world.now).unwrap_err());
    assert_eq!(refused.code(), "reserved-script");
    assert_eq!(upload::inspect(b"\0asm".to_vec()).unwrap_err().code(), "not-a-component");
}

// Shows: F093
#[test]
fn a_rules_file_is_the_same_byte_for_byte() {
    let text = r#"name = "follow-up"
notes = """
Asks for a call
three days after an offer.
"""
model = "sale.order"
before-domain = "[('state', '=', 'draft')]"
domain = "[('state', '=', 'sent')]"
mode = "approve"
dispatch = "per-record"

[trigger]
on = "updated"
fields = ["state"]

[[actions]]
script = "notify"

[actions.parameters]
how = "activity"
text = "Call {partner_id.name}"
due = "today + 3 days"

[[actions]]
script = "high-value-order"

[[actions.grants]]
model = "sale.order"
operations = [
    "read",
    "note",
]
fields = ["amount_total"]

[actions.limits]
fuel = 1000000
"#;
    let rule: Rule = file::parse(text).unwrap();
    assert_eq!(file::write(&rule).unwrap(), text);
    let wrong = file::parse("name = \"x\"\ntriger = 1").unwrap_err().to_string();
    assert!(wrong.contains("line 2"), "{wrong}");
    // Which keys no rule has is said of all of them, with what else is wrong.
    let odd = "name = \"x\"\nmodell = \"crm.lead\"\nsource = { domian = \"[]\", domain = \"[]\" }\n\
               [trigger]\non = \"schedule\"\ncrom = \"0 9 * * *\"\nfields = [\"name\"]\n\
               [[actions]]\nscript = \"notify\"\nparameters = { any = \"name\" }\nlimits = { fuel = 1 }\n\
               grants = [{ model = \"crm.lead\", operations = [], feilds = [] }]\nhttps = []\n";
    let read = file::parse_all(odd).unwrap();
    let told: Vec<_> = read.unknown.iter().map(ToString::to_string).collect();
    for (told, begins) in told.iter().zip([
        "modell: unknown key at line 2, column 1; did you mean `model`?",
        "source.domian: unknown key at line 3, column 12; did you mean `domain`?",
        "trigger.crom: unknown key at line 6, column 1; did you mean `cron`?",
        "trigger.fields: unknown key at line 7, column 1; there are every, unit, cron, zone, first, overlap, catch-up, on",
        "actions[0].grants[0].feilds: unknown key at line 12, column 50; did you mean `fields`?",
        "actions[0].https: unknown key at line 13, column 1; did you mean `http`?",
    ]) {
        assert_eq!(told, begins);
    }
    assert_eq!((told.len(), read.rule.actions.len()), (6, 1), "{told:?}");
    let broken = file::parse_all(&odd.replace("name = \"x\"", "name = 1")).unwrap_err().to_string();
    assert!(broken.contains("modell: unknown key at line 2") && broken.contains("invalid type: integer"), "{broken}");
    let odd = r#"{ "name": "x", "modell": "crm.lead", "trigger": { "on": "manual" }, "actions": [] }"#;
    let told = file::parse_json_all(odd).unwrap().unknown;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].to_string(), "modell: unknown key; did you mean `model`?");
}
