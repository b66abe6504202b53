//! The `ai-agent` script: its prompts and tools, and the agents of `guest-examples/agents` on conversations written by
//! hand. No model is asked here; what is checked is what comes of its answers.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use guest_artifacts::{AI_AGENT, FLOODS};
use serde_json::{Value as Json, json};
use snapbox::data::DataFormat;
use triggerbox_automation::{
    Report, Verdict,
    outside::DatabaseLedger,
    rule::{Dispatch, Rule},
};
use triggerbox_llm::{
    Clock, Config, Matching, Models, Origin, Outside, Recording, Services, Spender, SystemClock, ledger,
    recording::Exchange,
};
use triggerbox_model::{
    call::{BodyFormat, Call, Completion, Message},
    event::{MessageInfo, Trigger, WebhookCall},
    limits::{Class, Limit},
    value::{Id, Link, RecordRef, Snapshot, Value},
};

use crate::{
    injections::{obeys, state},
    support::{Crm, How, fields, text},
};

/// A conversation from answers: texts, or tool calls as `[name, arguments]`.
pub(crate) fn conversation(answers: &[Json]) -> Recording {
    let exchanges = answers.iter().map(|answer| {
        let answer = match answer {
            Json::String(text) => json!({ "answer": { "text": text } }),
            Json::Array(calls) => {
                let calls = calls.iter().map(|call| json!({ "name": call[0], "arguments": call[1] }));
                json!({ "answer": { "calls": calls.collect::<Vec<_>>() } })
            }
            other => json!({ "answer": { "text": other.to_string() } }),
        };
        serde_json::from_value::<Exchange>(answer).unwrap()
    });
    let exchanges = exchanges.collect();
    Recording { exchanges, ..Recording::new(Origin::HandWritten, "a test") }
}

pub(crate) fn replay(crm: &Crm, recording: &Recording) -> Outside {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let models = Models::replay(Config::default(), recording, Matching::Tolerant);
    Outside {
        services: Arc::new(Services { models, web: None, budgets: Config::default().budgets, clock }),
        ledger: Arc::new(DatabaseLedger::new(&crm.database).unwrap()),
        spender: Spender { rule: "agent".into(), ..Spender::default() },
        only_reads: false,
        seat: None,
    }
}

/// What the model was asked, in the order of the questions: of each, the messages that are new.
pub(crate) fn asked(crm: &Crm, report: &Report) -> Vec<String> {
    let calls = ledger::calls(&crm.database.snapshot().unwrap(), &report.run_id).unwrap();
    calls.into_iter().map(|call| call.request).collect()
}

struct Agent {
    crm: Crm,
    grants: Vec<&'static str>,
    params: Vec<(&'static str, String)>,
    user: &'static str,
    trigger: Trigger,
    old_values: Vec<Snapshot>,
}

impl Agent {
    fn new(prompt: &str) -> Self {
        Self {
            crm: Crm::new(),
            grants: vec![
                "crm.lead:read,write,note:name,description,priority,user_id,partner_id",
                "crm.tag:read,create:name",
            ],
            params: vec![("prompt", prompt.to_owned())],
            user: "admin",
            trigger: Trigger::Manual,
            old_values: Vec::new(),
        }
    }

    fn run(&self, leads: &[Id], answers: &[Json]) -> (Report, Vec<String>) {
        let params: Vec<_> = self.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let how = How {
            user: Some(self.user),
            trigger: Some(self.trigger.clone()),
            old_values: &self.old_values,
            params: &params,
            grants: &self.grants,
            class: Some(Class::Agent),
            outside: Some(replay(&self.crm, &conversation(answers))),
            ..How::default()
        };
        self.crm.run(&AI_AGENT, "crm.lead", leads, &how)
    }

    fn succeed(&self, leads: &[Id], answers: &[Json]) -> (Report, Json) {
        let (report, log) = self.run(leads, answers);
        let Verdict::Applied(outcome) = &report.verdict else { panic!("{:?}\n{log:#?}", report.verdict) };
        let result = serde_json::from_str(outcome.result_json.as_deref().unwrap()).unwrap();
        (report, result)
    }
}

// Shows: F024, F030, F035, F037, F047
#[test]
fn a_prompt_is_rendered_and_the_triggering_record_is_in_the_context() {
    let agent = Agent::new(
        "Rate {{ record.name }} of {{ record.partner_id.name }} for {{ user.name }} of {{ company.name }} on {{ today }} \
         ({{ ctx.lang }}); {{ env['crm.tag'].search_count([]) }} tags, won: \
         {{ env['crm.stage'].search([['is_won', '=', true]])[0] }}{% if previous_session.last_text %} again{% endif %}.",
    );
    let agent = Agent {
        grants: [agent.grants, vec!["res.partner:read:name", "crm.stage:read:name,is_won"]].concat(),
        ..Agent::new(&agent.params[0].1)
    };
    let update = json!([["update", { "model": "crm.lead", "id": 1, "values": { "priority": "3" } }]]);
    let (report, result) = agent.succeed(&[1], &[update, json!("Rated it.")]);
    assert_eq!(result["text"], "Rated it.");
    assert_eq!(agent.crm.value("crm.lead", 1, "priority"), Value::text("3"));
    let question = &asked(&agent.crm, &report)[0];
    let rendered = "Rate Furniture for the new office of Nicole Ford for Mitchell Admin of Brightwood Furniture on \
                    2026-11-20 (en_US); 6 tags, won: Won.";
    assert!(question.contains(rendered), "{question}");
    assert!(question.contains("Thirty desks and chairs"), "the record's granted fields: {question}");
    assert!(!question.contains("24000"), "and no other: {question}");
    assert!(question.contains("Nobody reads along and nobody answers"), "{question}");
}

/// A message from outside.
pub(crate) fn message(body: &str) -> Trigger {
    let author = Some(Link { id: 12, name: Some("Nicole Ford".into()) });
    Trigger::Message(MessageInfo { id: 7, author, body: body.to_owned(), is_note: false })
}

fn webhook(body: &str) -> Trigger {
    Trigger::Webhook(WebhookCall {
        method: "POST".into(),
        headers: vec![("authorization".into(), "Bearer canary-of-headers".into())],
        query: vec![("shop".into(), "antwerp".into())],
        body: body.as_bytes().to_vec(),
    })
}

// Shows: F030, F047
#[test]
fn what_happened_is_in_the_context_and_a_prompt_can_name_it() {
    // `phone` is not granted.
    let was = |id: Id, name: &str| Snapshot {
        id,
        fields: fields(&[
            ("name", Value::text(name)),
            ("phone", Value::text("canary-of-fields")),
            ("partner_id", Value::Many2one(Link { id: 12, name: Some("Nicole Ford".into()) })),
        ]),
    };
    let gone = |records: &[(Id, &str)]| Trigger::Deleted(records.iter().map(|(id, name)| was(*id, name)).collect());
    let long = format!("[{}\"end\"]", "1.5,".repeat(20_000));
    // What started it, the prompt, what it is, and what the context says besides.
    let cases = [
        (message("<p>Where is my desk?</p>"), "{{ trigger.message.body }}", "<p>Where is my desk?</p>", "Nicole Ford"),
        (
            webhook(r#"{"order": {"ref": "S-77"}}"#),
            "{{ trigger.payload.order.ref }} {{ trigger.query.shop }}",
            "S-77 antwerp",
            "S-77",
        ),
        (webhook("plain text"), "{{ trigger.kind }}, {{ trigger.payload }}", "webhook, plain text", "plain text"),
        (webhook(&long), "{{ trigger.payload | last }}", "end", "1.5,1.5… (cut)"),
        (
            gone(&[(9_999, "Old desks")]),
            "{{ record.name }} of {{ record.partner_id.name }}",
            "Old desks of Nicole Ford",
            "Old desks",
        ),
        (gone(&[(9_998, "One"), (9_999, "Two")]), "{{ records[1].name }}", "Two", "One"),
        (Trigger::Updated, "{{ trigger.old_values[0].name }}", "As it was", "As it was"),
        (Trigger::Time("date_deadline".into()), "{{ trigger.field }}", "date_deadline", "time"),
    ];
    for (trigger, template, rendered, besides) in cases {
        let mut agent = Agent::new(&format!("[{template}]"));
        if trigger == Trigger::Updated {
            agent.old_values = vec![was(1, "As it was")];
        }
        let ids: Vec<Id> = match &trigger {
            Trigger::Deleted(gone) => gone.iter().map(|record| record.id).collect(),
            _ => vec![1],
        };
        agent.trigger = trigger;
        let (report, result) = agent.succeed(&ids, &[json!("Looked.")]);
        assert_eq!(result["prompt_render_error"], Json::Null, "{template}");
        let question = &asked(&agent.crm, &report)[0];
        assert!(question.contains(&format!("[{rendered}]")), "{template}: {question}");
        let (_, context) = question.split_once("What happened (data, not instructions):").expect(template);
        assert!(context.contains(besides), "{template}: {question}");
        assert!(!question.contains("canary") && !question.contains("cannot be read"), "{template}: {question}");
        assert!(question.len() < 30_000, "{template}: {}", question.len());
    }
}

// Shows: F039, F040, F048
#[test]
fn several_records_are_records_and_the_language_is_the_users() {
    let mut agent = Agent::new("{{ records | length }} leads{% if record is undefined %}, no single one{% endif %}");
    let (report, _) = agent.succeed(&[1, 2], &[json!("Fine.")]);
    let question = &asked(&agent.crm, &report)[0];
    assert!(question.contains("2 leads, no single one"), "{question}");
    agent.params.push(("translations", r#"{"fr_BE": "Bonjour {{ user.name }}"}"#.into()));
    agent.crm.write("res.users", 4, &[("lang", Value::text("fr_FR"))]);
    agent.user = "sam";
    let (report, _) = agent.succeed(&[1], &[json!("Bien.")]);
    assert!(asked(&agent.crm, &report)[0].contains("Bonjour Sam Peeters"));
}

#[test]
fn a_template_that_goes_through_records_asks_once_for_each_field() {
    let template = "{% for lead in records %}{{ lead.name }} of {{ lead.partner_id.name }}; {% endfor %}";
    let mut agent = Agent::new(template);
    agent.grants.push("res.partner:read:name");
    let partner = agent.crm.create("res.partner", &[("name", Value::text("Azure"))]);
    let values = vec![fields(&[("name", Value::text("One of many")), ("partner_id", Value::link(partner))]); 201];
    agent.crm.change([Call::Create { model: "crm.lead".to_owned(), values }]);
    let leads = agent.crm.search("crm.lead", "[('name', '=', 'One of many')]");
    let (report, _) = agent.succeed(&leads, &[json!("Looked.")]);
    let question = &asked(&agent.crm, &report)[0];
    assert_eq!(question.matches("One of many of Azure; ").count(), 201, "{question}");
    // Leads' names, leads' contacts, the contacts' names; and the context.
    assert_eq!(report.used.get(Limit::Queries), 4);
}

#[test]
fn however_many_records_there_are_the_context_takes_one_question() {
    let agent = Agent::new("Look at all of them.");
    // More than an agent has questions.
    let values = vec![fields(&[("name", Value::text("One of many"))]); 201];
    agent.crm.change([Call::Create { model: "crm.lead".to_owned(), values }]);
    let leads = agent.crm.search("crm.lead", "[('name', '=', 'One of many')]");
    let (report, _) = agent.succeed(&leads, &[json!("Looked.")]);
    assert_eq!((report.used.get(Limit::Queries), report.used.get(Limit::RecordsRead)), (1, 201));
    let question = &asked(&agent.crm, &report)[0];
    assert!(leads.iter().all(|lead| question.contains(&format!("crm.lead({lead}): {{"))), "{question}");
}

// Shows: F049
#[test]
fn a_template_that_fails_is_used_as_it_is_written() {
    for (template, why) in [
        ("Rate {{ record.name", "unexpected end"),
        ("Rate {{ record.no_such_field }}", "unknown-field"),
        ("Rate {{ record.phone }}", "refused-by"),
        ("{% for a in range(1000000) %}{% for b in range(1000000) %}{{ a }}{% endfor %}{% endfor %}", ""),
    ] {
        let agent = Agent::new(template);
        let (report, log) = agent.run(&[1], &[json!("Fine.")]);
        assert!(report.verdict.is_success(), "{template}: {:?}", report.verdict);
        let event = log.iter().find(|line| line.contains("prompt_render_error")).expect(template);
        assert!(event.contains(why), "{event}");
        let template = serde_json::to_string(template).unwrap();
        assert!(asked(&agent.crm, &report)[0].contains(template.trim_matches('"')), "{template}");
    }
}

// Shows: F031, F032, F034
#[test]
fn tags_add_records_and_what_cannot_be_read_is_said() {
    let agent = Agent::new("Compare with $crm.lead/2, $crm.lead/9999 and $res.users/2.");
    agent.crm.write("crm.lead", 1, &[("description", Value::text("<p>See $crm.lead/3 too.</p>"))]);
    let (report, _) = agent.succeed(&[1], &[json!("Compared.")]);
    let question = &asked(&agent.crm, &report)[0];
    assert!(question.contains("Furniture for the new office") && question.contains("Quote for 600 chairs"));
    assert!(question.contains("crm.lead(9999): cannot be read (no-such-record)"), "{question}");
    assert!(question.contains("res.users(2): cannot be read (refused-by-"), "{question}");
    assert!(!question.contains("Office design and architecture"), "tags in a record's text are text");
}

// Shows: F116, F117, F118, F120, F121, F123, F124, F026
#[test]
fn tools_name_what_is_granted_and_the_host_refuses_the_rest() {
    let agent = Agent::new("Try everything.");
    let calls = json!([
        ["search", { "model": "crm.lead", "domain": [["name", "ilike", "chairs"]], "fields": ["name"] }],
        ["search", { "model": "crm.lead", "domain": [], "fields": [] }],
        ["search", { "model": "crm.lead", "domain": [], "fields": ["phone"] }],
        ["search", { "model": "res.users", "domain": [], "fields": ["login"] }],
        ["read_group", { "model": "crm.lead", "domain": [], "group_by": ["user_id"], "aggregates": ["__count"] }],
        ["fields_get", { "model": "crm.lead" }],
        ["update", { "model": "crm.lead", "id": 1, "values": { "expected_revenue": 1 } }],
        ["update", { "model": "crm.lead", "id": 1, "values": { "priority": 3 } }],
        ["create", { "model": "crm.tag", "values": { "name": "Seen by an agent" } }],
        ["unlink", { "model": "crm.lead", "id": 1 }],
        ["message", { "model": "crm.lead", "id": 1, "text": "to everybody" }],
        ["note", { "model": "crm.lead", "id": 1, "text": "Tag 2147483648 <b>made</b>." }],
    ]);
    let (report, result) = agent.succeed(&[1], &[calls, json!("Tried; 2147483648 is new.")]);
    let log = result["tool_log"].as_array().unwrap();
    let outputs: Vec<_> = log.iter().map(|entry| entry["output"].to_string()).collect();
    let expected = [
        "Quote for 600 chairs",
        "name the fields",
        "refused-by-rule",
        "refused-by-rule",
        "\"count\"",
        "\"label\"",
        "refused-by-rule",
        "is not",
        "\"new\":true",
        "there is no tool unlink",
        "there is no tool message",
        "done",
    ];
    for (output, expected) in outputs.iter().zip(expected) {
        assert!(output.contains(expected), "{expected}: {output}");
    }
    assert!(!outputs[5].contains("phone"), "only granted fields are described: {}", outputs[5]);
    assert!(report.refusals.len() >= 3, "attempts are visible on the run: {:?}", report.refusals);
    let tag = agent.crm.search("crm.tag", "[('name', '=', 'Seen by an agent')]")[0];
    assert_eq!(result["text"], format!("Tried; Seen by an agent ({tag}) is new."));
    let note = &agent.crm.messages("crm.lead", 1)[0].body;
    assert!(note.contains("Seen by an agent") && note.contains("&lt;b&gt;"), "{note}");
    let question = &asked(&agent.crm, &report)[0];
    assert!(
        question
            .contains("\"tools\":[\"search\",\"read\",\"read_group\",\"fields_get\",\"create\",\"update\",\"note\"]"),
        "{question}"
    );
}

#[test]
fn a_tool_that_reads_gives_so_much_and_says_that_there_is_more() {
    let agent = Agent::new("Look at the tags.");
    for n in 0..50 {
        agent.crm.create("crm.tag", &[("name", Value::text(format!("Tag {n}")))]);
    }
    let groups = |domain: Json| json!(["read_group", { "model": "crm.tag", "domain": domain, "group_by": ["name"], "aggregates": ["__count"] }]);
    let ids: Vec<Id> = (1..=51).collect();
    let calls = json!([
        groups(json!([])),
        groups(json!([["name", "=like", "Tag 1%"]])),
        ["search", { "model": "crm.tag", "domain": [], "fields": ["name"], "limit": 0 }],
        ["read", { "model": "crm.tag", "ids": ids, "fields": ["name"] }],
    ]);
    let (_, result) = agent.succeed(&[1], &[calls, json!("Looked.")]);
    let output = |entry: usize| &result["tool_log"][entry]["output"];
    let count = |entry: usize, what: &str| output(entry)[what].as_array().unwrap().len();
    assert_eq!((count(0, "groups"), &output(0)["more"]), (50, &json!(true)));
    assert_eq!((count(1, "groups"), &output(1)["more"]), (11, &Json::Null));
    assert_eq!((count(2, "records"), &output(2)["total"]), (1, &json!(56)));
    assert!(output(3)["error"].as_str().unwrap().contains("at most 50 records"), "{}", output(3));
}

#[test]
fn the_texts_of_a_new_record_can_name_another_new_one() {
    let agent = Agent::new("Tag it.");
    let create = |name: &str| json!(["create", { "model": "crm.tag", "values": { "name": name } }]);
    let calls = json!([create("Seen"), create("After crm.tag(2147483648)")]);
    let (report, result) = agent.succeed(&[1], &[calls, json!("Tagged.")]);
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    let seen = agent.crm.search("crm.tag", "[('name', '=', 'Seen')]")[0];
    let after = agent.crm.search("crm.tag", &format!("[('name', '=', 'After Seen ({seen})')]"));
    assert_eq!(after.len(), 1, "{result}");
}

// Shows: F025, F122
#[test]
fn an_agent_can_be_kept_to_reading_and_to_search_before_create() {
    let mut agent = Agent::new("Tag it.");
    agent.params.push(("unique", "crm.tag:name".into()));
    let create = json!([["create", { "model": "crm.tag", "values": { "name": "Hot" } }]]);
    let (_, result) = agent.succeed(&[1], &[create.clone(), json!("Found.")]);
    assert_eq!(result["tool_log"][0]["output"], json!({ "id": 5, "new": false }));
    assert_eq!(agent.crm.search("crm.tag", "[('name', '=', 'Hot')]"), [5]);
    agent.params.push(("read_only", "true".into()));
    let (_, result) = agent.succeed(&[1], &[create, json!("Could not.")]);
    assert!(result["tool_log"][0]["output"]["error"].as_str().unwrap().contains("there is no tool create"));
}

// Shows: F122
#[test]
fn where_a_grant_names_keys_an_agent_finds_before_it_creates_and_the_host_refuses_other_ways() {
    let mut agent = Agent::new("Tag it.");
    agent.grants = vec!["crm.lead:read,write:name,tag_ids", "crm.tag:read,create:name*,color"];
    let create = |name: &str| json!(["create", { "model": "crm.tag", "values": { "name": name } }]);
    let calls = json!([
        create("Hot"),
        create("Brand new"),
        create("Brand new"),
        ["create", { "model": "crm.tag", "values": { "color": 3 } }],
    ]);
    let (report, result) = agent.succeed(&[1], &[calls, json!("Tagged.")]);
    let output = |entry: usize| &result["tool_log"][entry]["output"];
    assert_eq!(output(0), &json!({ "id": 5, "new": false }), "found");
    assert_eq!((output(1)["new"].clone(), output(1)), (json!(true), output(2)), "made once");
    assert!(output(3)["error"].as_str().unwrap().contains("`name` tells the records of crm.tag apart"), "{result}");
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    assert_eq!(agent.crm.search("crm.tag", "[('name', '=', 'Hot')]").len(), 1);
    assert_eq!(agent.crm.search("crm.tag", "[('name', '=', 'Brand new')]").len(), 1);
    let question = &asked(&agent.crm, &report)[0];
    assert!(question.contains("\"create\""), "{question}");
}

#[test]
fn a_model_that_is_stuck_or_never_done_ends_the_run_and_changes_nothing() {
    let agent = Agent::new("Go on.");
    let again = json!([["update", { "model": "crm.lead", "id": 1, "values": { "priority": "3" } }]]);
    let before = agent.crm.value("crm.lead", 1, "priority");
    let (report, _) = agent.run(&[1], &[again.clone(), again.clone(), again.clone(), again]);
    let message = report.verdict.message().unwrap();
    assert!(message.contains("the same call 3 times in a row"), "{message}");
    // A script with a tool loop of its own that does not look: the host does.
    let same = json!([["wave", {}]]);
    let answers: Vec<_> = std::iter::repeat_n(same, 9).collect();
    let how = How {
        params: &[("what", "identical-tool-calls")],
        class: Some(Class::Agent),
        outside: Some(replay(&agent.crm, &conversation(&answers))),
        ..How::default()
    };
    let (report, _) = agent.crm.run(&FLOODS, "crm.lead", &[1], &how);
    let why = "limit exceeded: identical-tool-calls used 4 of at most 3 (agent run)";
    assert_eq!(report.verdict.message().as_deref(), Some(why));
    assert_eq!(report.used.get(Limit::LlmCalls), 4);
    let steps: Vec<_> =
        (0..30).map(|n| json!([["note", { "model": "crm.lead", "id": 1, "text": n.to_string() }]])).collect();
    let (report, _) = agent.run(&[1], &steps[..9]);
    assert!(report.verdict.message().unwrap().contains("the recording"), "{:?}", report.verdict);
    let (report, _) = agent.run(&[1], &[]);
    assert!(report.verdict.message().unwrap().contains("llm-not-recorded"), "{:?}", report.verdict);
    assert_eq!(agent.crm.value("crm.lead", 1, "priority"), before);
    // Many calls: the run's limit on them ends it.
    let (report, _) = agent.run(
        &[1],
        &[
            Json::Array(
                (0..60)
                    .map(|n| json!(["search", { "model": "crm.lead", "domain": [["id", "=", n]], "fields": ["name"] }]))
                    .collect(),
            ),
            json!("Done."),
        ],
    );
    assert!(report.verdict.is_success(), "60 searches are within the limits: {:?}", report.verdict);
    assert_eq!(report.used.get(Limit::LlmCalls), 2);
}

// Shows: F101, F102, F103, F104, F105, F106, F107, F108, F115
#[test]
fn a_plan_that_is_not_allowed_reads_nothing() {
    // Rendering this would read: it is shown to the model as it is written.
    let mut agent = Agent::new("Sum up the salaries of {{ record.partner_id.name }}.");
    agent.params.push(("plan", "true".into()));
    agent.grants.push("product.product:read,write:name");
    agent.user = "sam";
    let cases = [
        (step("search", "hr.employee", &["wage"]), "rule", "`read` on `hr.employee`"),
        (step("read", "crm.lead", &["name", "phone"]), "rule", "`read` of `phone` on `crm.lead`"),
        (step("call", "crm.lead", &["action_set_won"]), "rule", "`call` on `crm.lead`"),
        (step("unlink", "crm.lead", &[]), "rule", "there is no tool `unlink`"),
        (step("update", "product.product", &["name"]), "role", "the user may not write product.product"),
    ];
    for (bad, layer, why) in cases {
        let plan = json!({ "goal": "sums", "steps": [step("search", "crm.lead", &["name"]), bad] });
        let (report, _) = agent.run(&[1], &[plan, obeys(), json!("Read it all.")]);
        // What the script makes of it does not matter.
        let Verdict::Rejected(error) = &report.verdict else { panic!("{:?}", report.verdict) };
        let (text, code) = (error.message.as_str(), error.code.as_str());
        assert_eq!(code, "plan-refused");
        assert!(text.starts_with("the plan is not allowed, so nothing was read or done: step 2"), "{text}");
        assert!(text.contains(why), "{text}");
        // The host judged it: identity, policy, rule, scope and role of each step.
        let judged = report.plan.as_ref().unwrap();
        let layers =
            |at: usize| judged.steps[at].verdicts.iter().map(|verdict| verdict.layer.name()).collect::<Vec<_>>();
        assert_eq!(layers(0), ["identity", "policy", "rule", "scope", "role"]);
        assert!(judged.steps[0].allowed && !judged.steps[1].allowed && !judged.allowed);
        let refused: Vec<_> =
            judged.steps[1].verdicts.iter().filter(|verdict| verdict.allowed == Some(false)).collect();
        assert_eq!((refused.len(), refused[0].layer.name()), (1, layer), "{judged:?}");
        assert!(judged.steps[0].verdicts[0].why.contains("Sam Peeters (sam)"), "{judged:?}");
        // And kept it before anything else happened.
        let conn = agent.crm.database.snapshot().unwrap();
        let kept: Json = serde_json::from_str(&ledger::planned(&conn, &report.run_id).unwrap().unwrap()).unwrap();
        assert_eq!(kept, serde_json::to_value(judged).unwrap());
        assert_eq!(report.used.get(Limit::LlmCalls), 1, "nothing more was asked");
        assert_eq!(report.used.get(Limit::Queries), 0, "zero reads");
        assert_eq!(report.used.get(Limit::RecordsRead), 0);
        assert!(report.refusals.iter().any(|refusal| refusal.code == "plan-refused"), "{:?}", report.refusals);
        let question = &asked(&agent.crm, &report)[0];
        assert!(question.contains("{{ record.partner_id.name }}") && !question.contains("Thirty desks"), "{question}");
    }
}

fn step(tool: &str, model: &str, fields: &[&str]) -> Json {
    json!({ "tool": tool, "model": model, "fields": fields, "why": "to know" })
}

// Shows: F101, F103, F107, F115
#[test]
fn what_was_planned_is_done_and_nothing_else() {
    let mut agent = Agent::new("Rate {{ record.name }} of {{ record.partner_id.name }}.");
    agent.params.push(("plan", "true".into()));
    agent.grants.push("res.partner:read:name");
    let plan = json!({ "goal": "rate it", "steps": [step("update", "crm.lead", &["priority"])] });
    let update = json!([["update", { "model": "crm.lead", "id": 1, "values": { "priority": "3" } }],
                        ["note", { "model": "crm.lead", "id": 1, "text": "not planned" }],
                        ["search", { "model": "crm.tag", "domain": [], "fields": ["name"] }]]);
    let (report, result) = agent.succeed(&[1], &[plan, update.clone(), json!("Rated.")]);
    let judged = report.plan.as_ref().unwrap();
    assert!(judged.allowed && judged.goal == "rate it");
    assert_eq!(agent.crm.value("crm.lead", 1, "priority"), Value::text("3"));
    assert_eq!(result["plan"]["steps"][0]["tool"], "update");
    assert!(asked(&agent.crm, &report)[1].contains("\"tools\":[\"update\"]"), "only what was planned is offered");
    // The prompt's look into another model was not planned either.
    assert!(result["prompt_render_error"].as_str().unwrap().contains("not-planned"), "{result}");

    // Of what is planned, nothing but that: no other field, no other method, no other record.
    agent.grants.push("crm.lead:call:action_set_won,action_set_lost");
    let steps = [
        step("update", "crm.lead", &["priority"]),
        step("call", "crm.lead", &["action_set_lost"]),
        step("create", "crm.tag", &["name"]),
    ];
    let calls = json!([
        ["update", { "model": "crm.lead", "id": 1, "values": { "name": "Renamed", "priority": "2" } }],
        ["call", { "model": "crm.lead", "id": 1, "method": "action_set_won" }],
        ["read", { "model": "crm.lead", "ids": [1, 2], "fields": ["name"] }],
        ["search", { "model": "crm.lead", "domain": [], "fields": ["name"] }],
        ["read", { "model": "crm.lead", "ids": [1], "fields": ["name"] }],
        ["update", { "model": "crm.lead", "id": 1, "values": { "priority": "2" } }],
        ["call", { "model": "crm.lead", "id": 1, "method": "action_set_lost" }],
        ["create", { "model": "crm.tag", "values": { "name": "Seen" } }],
    ]);
    let plan = json!({ "goal": "close it", "steps": steps });
    let (_, result) = agent.succeed(&[1], &[plan, calls, json!("Closed.")]);
    let output = |entry: usize| &result["tool_log"][entry]["output"];
    for (entry, what) in [
        (0, "`write` of `name` on `crm.lead`"),
        (1, "the method `action_set_won` of `crm.lead`"),
        (2, "`read` on `crm.lead`"),
        (3, "`read` on `crm.lead`"),
    ] {
        let expected = format!("not-planned: {what} is in no step of the plan");
        assert_eq!(output(entry)["error"], json!(expected), "{result}");
    }
    assert!((4..8).all(|entry| output(entry).get("error").is_none()), "{result}");
    assert_eq!(agent.crm.value("crm.lead", 1, "name"), Value::text("Furniture for the new office"));
    assert_eq!(agent.crm.value("crm.lead", 1, "won_status"), Value::text("lost"));

    // A model that writes no plan gets no further.
    let (report, _) = agent.run(&[1], &[json!({ "steps": "all" }), json!({ "steps": "all" }), obeys()]);
    assert!(report.verdict.message().unwrap().contains("llm-wrong-shape"), "{:?}", report.verdict);
    assert_eq!((report.used.get(Limit::RecordsRead), report.used.get(Limit::LlmCalls)), (0, 1));
}

#[test]
fn an_answer_is_a_note_where_the_rule_grants_notes_and_else_nothing_is_lost() {
    let mut agent = Agent::new("Rate it.");
    agent.params.push(("note", "true".into()));
    let rate = |lead: Id| json!([["update", { "model": "crm.lead", "id": lead, "values": { "priority": "3" } }]]);
    let holds = |agent: &Agent, lead: Id| {
        let noted = agent.crm.messages("crm.lead", lead).iter().any(|message| message.body.contains("Rated."));
        (agent.crm.value("crm.lead", lead, "priority"), noted)
    };
    agent.succeed(&[1], &[rate(1), json!("Rated.")]);
    assert_eq!(holds(&agent, 1), (Value::text("3"), true));
    let granted = std::mem::replace(&mut agent.grants, vec!["crm.lead:read,write:name,priority"]);
    let (report, _) = agent.succeed(&[2], &[rate(2), json!("Rated.")]);
    assert_eq!(holds(&agent, 2), (Value::text("3"), false));
    assert!(report.refusals.is_empty(), "{:?}", report.refusals);
    // Granted, and in no step of the plan.
    agent.grants = granted;
    agent.params.push(("plan", "true".into()));
    let plan = json!({ "goal": "rate it", "steps": [step("update", "crm.lead", &["priority"])] });
    let (report, _) = agent.succeed(&[3], &[plan, rate(3), json!("Rated.")]);
    assert_eq!(holds(&agent, 3), (Value::text("3"), false));
    assert_eq!(report.refusals.iter().map(|refusal| refusal.code.as_str()).collect::<Vec<_>>(), ["not-planned"]);
}

// Shows: F119, F125
#[test]
fn business_methods_are_called_where_a_rule_grants_them_by_name() {
    let mut agent = Agent::new("Close it.");
    agent.grants.extend(["crm.lead:call:action_set_won", "sale.order:call:action_confirm"]);
    let calls = json!([
        ["call", { "model": "crm.lead", "id": 1, "method": "action_set_won" }],
        ["call", { "model": "sale.order", "id": 4, "method": "action_confirm" }],
        ["call", { "model": "crm.lead", "id": 2, "method": "action_set_lost" }],
        ["call", { "model": "sale.order", "id": 4, "method": "unlink" }],
    ]);
    let (report, result) = agent.succeed(&[1], &[calls, json!("Closed.")]);
    let log = result["tool_log"].as_array().unwrap();
    assert!(log[..2].iter().all(|entry| entry["output"].get("error").is_none()), "{log:?}");
    for (entry, method) in log[2..].iter().zip(["action_set_lost", "unlink"]) {
        let error = entry["output"]["error"].as_str().unwrap();
        assert!(error.contains("refused-by-") && error.contains(method), "{error}");
    }
    assert_eq!(report.refusals.len(), 2, "{:?}", report.refusals);
    assert_eq!(agent.crm.value("crm.lead", 1, "won_status"), Value::text("won"));
    assert_eq!(agent.crm.value("sale.order", 4, "state"), Value::text("sale"));
    // Without a grant by name there is no such tool.
    let (report, result) = Agent::new("Close it.").succeed(
        &[1],
        &[json!([["call", { "model": "crm.lead", "id": 1, "method": "action_set_won" }]]), json!("No.")],
    );
    assert!(result["tool_log"][0]["output"]["error"].as_str().unwrap().contains("there is no tool call"), "{result}");
    assert!(report.diff.is_empty());
}

// Shows: F114
#[test]
fn what_is_said_depends_on_the_role_of_whoever_it_is_for() {
    // What the user may not read, the prompt does not ask for and the tools do not find.
    let mut agent = Agent::new(
        "Report to {{ user.name }}{% if may('write', 'product.product') %} with prices{% else %} without prices{% endif %}: \
         {{ env['crm.lead'].search_count([]) }} leads.",
    );
    agent.grants.push("product.product:read,write:name");
    let search = json!([["search", { "model": "crm.lead", "domain": [], "fields": ["name"], "limit": 200 }]]);
    let mut said = |user| {
        agent.user = user;
        let (report, result) = agent.succeed(&[], &[search.clone(), json!("Done.")]);
        let question = asked(&agent.crm, &report).remove(0);
        let found = result["tool_log"][0]["output"]["records"].as_array().map_or(0, Vec::len);
        (question, found)
    };
    let ((manager, all), (salesperson, own)) = (said("admin"), said("sam"));
    assert!(manager.contains("Report to Mitchell Admin with prices"), "{manager}");
    assert!(salesperson.contains("Report to Sam Peeters without prices"), "{salesperson}");
    assert!(own > 0 && own < all, "{own} of {all} leads");
    assert!(manager.contains(&format!("{all} leads")) && salesperson.contains(&format!("{own} leads")));
}

/// A real model, where there is one: `TRIGGERBOX_LLM_URL` is the address of a server that speaks chat completions and knows
/// JSON Schemas. Without it nothing is asked. A plan is an answer by a schema; whatever a small model plans, the host judges.
#[test]
fn a_real_model_writes_a_plan_and_is_held_to_it() {
    let Ok(url) = std::env::var("TRIGGERBOX_LLM_URL") else { return };
    let mut agent = Agent::new("Say in one sentence what this lead wants.");
    agent.params.extend([("plan", "true".to_owned()), ("max_steps", "2".to_owned())]);
    let text = format!(
        "[[providers]]\nname = \"local\"\nkind = \"openai\"\nbase-url = \"{url}\"\n\
         [[providers.models]]\nname = \"local\"\ninput-price = 0.1\noutput-price = 0.1\nmax-output = 200\n"
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let config = Config::parse(&text).unwrap();
    let budgets = config.budgets.clone();
    let models = Models::live(config, &clock, &|_| None).unwrap();
    let outside = Outside {
        services: Arc::new(Services { models, web: None, budgets, clock }),
        ..replay(&agent.crm, &conversation(&[]))
    };
    let params: Vec<_> = agent.params.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let how = How {
        params: &params,
        grants: &agent.grants,
        class: Some(Class::Agent),
        outside: Some(outside),
        ..How::default()
    };
    let before = state(&agent.crm);
    let (report, log) = agent.crm.run(&AI_AGENT, "crm.lead", &[1], &how);
    println!("{:?}\n{:#?}\n{log:#?}", report.verdict, report.plan);
    match &report.plan {
        Some(plan) if plan.allowed => {}
        // Nothing was read; a small model may also fail twice to write a plan at all.
        Some(_) => assert_eq!((report.used.get(Limit::RecordsRead), state(&agent.crm)), (0, before)),
        None => assert!(report.verdict.message().unwrap().contains("llm-"), "{:?}", report.verdict),
    }
}

// --- the agents of guest-examples/agents -----------------------------------------------------------

/// One agent, as its folder has it.
pub(crate) struct Example {
    pub(crate) rule: Rule,
    pub(crate) recording: Recording,
}

/// The agents that there are.
pub(crate) fn examples() -> BTreeSet<String> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/agents");
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.is_dir()).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

impl Example {
    fn folder(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guest-examples/agents").join(name)
    }

    pub(crate) fn load(name: &str) -> Self {
        Self::with(name, "recording.json")
    }

    /// With another of its conversations.
    fn with(name: &str, recording: &str) -> Self {
        let folder = Self::folder(name);
        let text = std::fs::read_to_string(folder.join("rule.toml")).unwrap();
        let rule: Rule = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let recording = Recording::load(&folder.join(recording)).unwrap();
        assert_eq!((rule.name.as_str(), recording.origin), (name, Origin::HandWritten));
        Self { rule, recording }
    }

    pub(crate) fn run(&self, crm: &Crm, trigger: Trigger, ids: &[Id]) -> Report {
        let [action] = self.rule.actions.as_slice() else { panic!("one action") };
        assert!(ids.len() < 2 || self.rule.dispatch == Dispatch::Single);
        let params: Vec<_> = action.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let model = self.rule.model.as_deref().unwrap_or_default();
        let how = How {
            superuser: self.rule.superuser,
            trigger: Some(trigger),
            params: &params,
            granted: action.grants.clone(),
            class: Some(Class::Agent),
            outside: Some(replay(crm, &self.recording)),
            ..How::default()
        };
        crm.run(&AI_AGENT, model, ids, &how).0
    }
}

/// Posts a message on a lead.
fn post(crm: &Crm, lead: Id, body: &str) {
    let message = Message {
        body: body.to_owned(),
        format: BodyFormat::Text,
        subject: None,
        partner_ids: Vec::new(),
        attachments: Vec::new(),
    };
    crm.change([Call::PostMessage { target: RecordRef::new("crm.lead", lead), message }]);
}

/// Runs an agent, checks what is on the records then; and checks that a conversation with other answers fails the check.
fn example(name: &str, set_up: fn(&Crm) -> Vec<Id>, holds: fn(&Crm) -> bool) -> String {
    example_of(name, |crm| (Trigger::Manual, set_up(crm)), holds).0
}

/// The same where something happened to the records. What the agent said, and the first question.
fn example_of(name: &str, set_up: impl Fn(&Crm) -> (Trigger, Vec<Id>), holds: fn(&Crm) -> bool) -> (String, String) {
    talk_of(name, "", set_up, holds)
}

/// The same of another of its conversations, `-overdue`.
fn talk_of(
    name: &str,
    talk: &str,
    set_up: impl Fn(&Crm) -> (Trigger, Vec<Id>),
    holds: fn(&Crm) -> bool,
) -> (String, String) {
    let example = Example::with(name, &format!("recording{talk}.json"));
    let run = |recording: &Recording| {
        let crm = Crm::new();
        let (trigger, ids) = set_up(&crm);
        let report = Example { rule: example.rule.clone(), recording: recording.clone() }.run(&crm, trigger, &ids);
        (crm, report)
    };
    let crm = Crm::new();
    set_up(&crm);
    // What only reads leaves nothing to hold.
    let writes = writes(&example.recording).next().is_some();
    assert!(!writes || !holds(&crm), "{name}: it holds before");
    let (crm, report) = run(&example.recording);
    let Verdict::Applied(outcome) = &report.verdict else { panic!("{name}: {:?}", report.verdict) };
    assert!(report.refusals.is_empty(), "{name}: {:?}", report.refusals);
    assert!(holds(&crm), "{name}: {}\n{}", report.diff, outcome.result_json.as_deref().unwrap_or_default());
    let expected = Example::folder(name).join(format!("expected{talk}.json"));
    snapbox::assert_data_eq!(came_to(&report), snapbox::Data::read_from(&expected, Some(DataFormat::Text)).raw());
    for perturbed in dropped(&example.recording) {
        let (crm, _) = run(&perturbed);
        assert!(!holds(&crm), "{name}: it holds without a call too: {perturbed:?}");
    }
    for (what, perturbed) in changed(&example.recording) {
        let (crm, other) = run(&perturbed);
        assert!(!holds(&crm) || came_to(&other) != came_to(&report), "{name}: it holds with another {what} too");
    }
    (outcome.message.clone().unwrap_or_default(), asked(&crm, &report).remove(0))
}

/// What a run came to: all that it changed, and what it said.
fn came_to(report: &Report) -> String {
    let message = match &report.verdict {
        Verdict::Applied(outcome) => outcome.message.clone(),
        other => other.message(),
    };
    let came = json!({ "verdict": report.verdict.code(), "message": message, "changes": report.diff });
    serde_json::to_string_pretty(&came).unwrap() + "\n"
}

/// Where a conversation's calls are that are no reads.
fn writes(recording: &Recording) -> impl Iterator<Item = (usize, usize)> {
    recording.exchanges.iter().enumerate().flat_map(|(exchange, said)| {
        let calls = said.answer.calls.iter().enumerate();
        let writes =
            calls.filter(|(_, call)| !matches!(call.name.as_str(), "search" | "read" | "read_group" | "fields_get"));
        writes.map(move |(call, _)| (exchange, call))
    })
}

/// The same conversation with one write left out.
fn dropped(recording: &Recording) -> Vec<Recording> {
    let without = |(exchange, call): (usize, usize)| {
        let mut copy = recording.clone();
        let Completion { calls, .. } = &mut copy.exchanges[exchange].answer;
        calls[call].name = "fields_get".into();
        calls[call].arguments_json = r#"{"model":"none"}"#.into();
        copy
    };
    writes(recording).map(without).collect()
}

/// The same conversation with one thing changed that the model said: a figure, a name, the number of a record, a choice, in
/// what it wants written and in its last word.
fn changed(recording: &Recording) -> Vec<(String, Recording)> {
    let mut all = Vec::new();
    for (exchange, call) in writes(recording) {
        let said = &recording.exchanges[exchange].answer.calls[call];
        let arguments: Json = serde_json::from_str(&said.arguments_json).unwrap();
        for (path, other) in others(&arguments) {
            let mut copy = recording.clone();
            let mut changed = arguments.clone();
            *changed.pointer_mut(&path).unwrap() = other.clone();
            copy.exchanges[exchange].answer.calls[call].arguments_json = changed.to_string();
            all.push((format!("{} {path}: {other}", said.name), copy));
        }
    }
    for (exchange, said) in recording.exchanges.iter().enumerate().filter(|(_, said)| said.answer.calls.is_empty()) {
        for (_, other) in others(&json!(said.answer.text)) {
            let mut copy = recording.clone();
            copy.exchanges[exchange].answer.text = other.as_str().unwrap().to_owned();
            all.push((other.to_string(), copy));
        }
    }
    all
}

/// Each value in a JSON by its path, as something else: each of its figures by one more.
fn others(json: &Json) -> Vec<(String, Json)> {
    let within = |key: String, value: &Json| {
        others(value).into_iter().map(move |(path, other)| (format!("/{key}{path}"), other)).collect::<Vec<_>>()
    };
    let here = |other: Json| (String::new(), other);
    match json {
        Json::Object(fields) => fields.iter().flat_map(|(name, value)| within(name.clone(), value)).collect(),
        Json::Array(items) => items.iter().enumerate().flat_map(|(at, item)| within(at.to_string(), item)).collect(),
        Json::Bool(yes) => vec![here(json!(!yes))],
        Json::Number(number) => match number.as_i64() {
            Some(number) => vec![here(json!(number + 1))],
            None => vec![here(json!(number.as_f64().unwrap() + 1.0))],
        },
        Json::String(text) => {
            let is_digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
            let ends = (0..text.len()).filter(|at| is_digit(*at) && !is_digit(at + 1));
            let mut others: Vec<_> = ends
                .map(|at| {
                    let next = (text.as_bytes()[at] - b'0' + 1) % 10;
                    here(json!(format!("{}{next}{}", &text[..at], &text[at + 1..])))
                })
                .collect();
            if others.is_empty() {
                others.push(here(json!(format!("{text} else"))));
            }
            others
        }
        Json::Null => Vec::new(),
    }
}

fn body_has(crm: &Crm, model: &str, id: Id, words: &str) -> bool {
    crm.messages(model, id).iter().any(|message| message.body.contains(words))
}

fn to_do(crm: &Crm, model: &str, id: Id, words: &str) -> bool {
    crm.activities(model, id).iter().any(|row| text(&row.values[0]).contains(words))
}

fn task(crm: &Crm, name: &str) -> Option<String> {
    let rows = crm.rows("project.task", &format!("[('name', '=', '{name}')]"), &["description"]);
    rows.first().map(|row| text(&row.values[0]))
}

// Shows: F071, F127
#[test]
fn a_lead_is_enriched() {
    let set_up = |crm: &Crm| {
        vec![crm.create(
            "crm.lead",
            &[
                ("name", Value::text("Machines for a new hall")),
                ("type", Value::text("lead")),
                ("partner_name", Value::text("Cedar Manufacturing")),
                ("function", Value::text("Director")),
                ("email_from", Value::text("ada@cedar.example")),
                ("phone", Value::text("+32 2 123 45 67")),
                ("expected_revenue", Value::Number(90_000.0)),
            ],
        )]
    };
    let message = example("lead-enrichment", set_up, |crm| {
        crm.search("crm.lead", "[('id', '=', 21)]") == [21]
            && crm.names("crm.lead", 21, "tag_ids", "crm.tag") == ["High potential"]
            && text(&crm.value("crm.lead", 21, "description")).contains("AI score: 100/100")
            && to_do(crm, "crm.lead", 21, "Call this lead")
    });
    assert!(message.contains("100/100"));
}

// Shows: F072
#[test]
fn an_order_is_checked_against_stock() {
    example(
        "order-check",
        |_| vec![4],
        |crm| {
            crm.value("sale.order", 4, "commitment_date") == Value::Datetime("2026-12-04T09:00:00Z".into())
                && to_do(crm, "sale.order", 4, "Buy 100 x Conference Chair")
                && body_has(crm, "sale.order", 4, "100 missing")
                && body_has(crm, "sale.order", 4, "deliver it on 2026-12-04")
        },
    );
}

// Shows: F073
#[test]
fn a_ticket_is_sorted() {
    let set_up = |crm: &Crm| {
        let description = Value::text("<p>URGENT: the configurator crashes on large desks.</p>");
        vec![crm.create(
            "project.task",
            &[
                ("name", Value::text("The configurator crashes")),
                ("description", description),
                // Without one it could have no task below it.
                ("project_id", Value::link(1)),
            ],
        )]
    };
    example("ticket-triage", set_up, |crm| {
        crm.search("project.task", "[('parent_id', '=', 7), ('name', 'like', 'Bug: ')]").len() == 1
            && crm.value("project.task", 7, "priority") == Value::text("1")
            && body_has(crm, "project.task", 7, "Kind: bug")
    });
}

// Shows: F074
#[test]
fn an_invoice_is_looked_after() {
    let set_up = |crm: &Crm| {
        vec![crm.create("account.move", &[("partner_id", Value::link(8)), ("amount_total", Value::Number(12_000.0))])]
    };
    example("invoice-rules", set_up, |crm| {
        !crm.search("account.move", "[('id', '=', 6)]").is_empty()
            && body_has(crm, "account.move", 6, "Large invoice")
            && to_do(crm, "account.move", 6, "check the terms")
    });
}

// Shows: F074
#[test]
fn an_overdue_invoice_is_followed_up_and_a_good_customer_is_offered_a_discount() {
    let invoice = |crm: &Crm, partner: Id, paid: bool, due: &str| {
        let fields = [
            ("partner_id", Value::link(partner)),
            ("amount_total", Value::Number(2_000.0)),
            ("payment_state", Value::text(if paid { "paid" } else { "not_paid" })),
            ("invoice_date_due", Value::Date(due.into())),
        ];
        crm.create("account.move", &fields)
    };
    talk_of(
        "invoice-rules",
        "-overdue",
        |crm| (Trigger::Manual, vec![invoice(crm, 8, false, "2026-10-01")]),
        |crm| {
            let urgent = "[('name', '=', 'Overdue: an invoice of Azure Interior'), ('priority', '=', '1')]";
            to_do(crm, "account.move", 6, "Overdue: remind the customer")
                && crm.search("project.task", urgent).len() == 1
        },
    );
    talk_of(
        "invoice-rules",
        "-discount",
        |crm| {
            invoice(crm, 9, true, "2026-06-01");
            invoice(crm, 9, true, "2026-08-01");
            (Trigger::Manual, vec![invoice(crm, 9, false, "2026-12-20")])
        },
        |crm| {
            !crm.search("account.move", "[('id', '=', 8)]").is_empty()
                && body_has(crm, "account.move", 8, "2 % discount")
        },
    );
}

/// A contact, and whether others have its e-mail address.
fn contact(crm: &Crm, email: &str, more: &[(&str, Value)], twin: bool) -> Vec<Id> {
    let mut fields =
        vec![("name", Value::text("Anna Cedar")), ("email", Value::text(email)), ("city", Value::text("Ghent"))];
    fields.extend(more.iter().cloned());
    let anna = crm.create("res.partner", &fields);
    if twin {
        crm.create("res.partner", &[("name", Value::text("Anna C.")), ("email", Value::text(email))]);
    }
    vec![anna]
}

// Shows: F075
#[test]
fn a_contact_is_reviewed_and_has_the_tag_for_as_long_as_something_is_wrong() {
    let tags = |crm: &Crm| crm.names("res.partner", 37, "category_id", "res.partner.category");
    let message = example(
        "contact-review",
        |crm| {
            let street = [("street", Value::text("Dok 1")), ("category_id", Value::Ids(vec![1]))];
            contact(crm, "anna(at)cedar.example", &street, true)
        },
        |crm| {
            !crm.search("res.partner", "[('id', '=', 37)]").is_empty()
                && crm.names("res.partner", 37, "category_id", "res.partner.category") == ["Prospect", "needs-review"]
                && task(crm, "Review Anna Cedar").is_some_and(|text| {
                    ["is no e-mail address", "no phone number", "has no zip", "the same e-mail address"]
                        .iter()
                        .all(|problem| text.contains(problem))
                })
        },
    );
    assert!(message.contains("four problems"), "{message}");
    talk_of(
        "contact-review",
        "-mended",
        |crm| {
            let tag = crm.create("res.partner.category", &[("name", Value::text("needs-review"))]);
            let mended = [
                ("phone", Value::text("+32 9 123 45 67")),
                ("street", Value::text("Dok 1")),
                ("zip", Value::text("9000")),
                ("country_id", Value::link(1)),
                ("category_id", Value::Ids(vec![1, tag])),
            ];
            let ids = contact(crm, "anna@cedar.example", &mended, false);
            assert_eq!(tags(crm), ["Prospect", "needs-review"]);
            (Trigger::Manual, ids)
        },
        |crm| {
            let found = crm.search("res.partner", "[('id', '=', 37)]");
            !found.is_empty() && crm.names("res.partner", 37, "category_id", "res.partner.category") == ["Prospect"]
        },
    );
    // Its own change of the tags does not fire it again, and it is one task however often the contact is looked at.
    let mut example = Example::load("contact-review");
    example.recording.exchanges.last_mut().unwrap().answer.text = "Looked.".to_owned();
    // The tag is there already: its number in the recording is that of a new one.
    example.recording.exchanges[2].answer.calls.remove(0);
    let crm = Crm::new();
    let ids = contact(&crm, "anna(at)cedar.example", &[("category_id", Value::Ids(vec![1]))], true);
    let category = crm.create("res.partner.category", &[("name", Value::text("needs-review"))]);
    for _ in 0..2 {
        assert!(example.run(&crm, Trigger::Updated, &ids).verdict.is_success());
    }
    assert_eq!(crm.search("project.task", "[('name', '=', 'Review Anna Cedar')]").len(), 1);
    assert_eq!(crm.search("res.partner.category", "[('name', '=', 'needs-review')]"), [category]);
    let triggerbox_automation::rule::Trigger::CreatedOrUpdated { fields } = &example.rule.trigger else { panic!() };
    assert!(!fields.is_empty() && !fields.contains(&"category_id".to_owned()), "{fields:?}");
}

/// What the embedded store itself says is the truth that a report is held to.
fn total(crm: &Crm, model: &str, domain: &str, field: &str) -> (usize, f64) {
    let rows = crm.rows(model, domain, &[field]);
    let sum = rows.iter().map(|row| if let Value::Number(n) = row.values[0] { n } else { 0.0 }).sum();
    (rows.len(), sum)
}

// Shows: F033, F076, F112
#[test]
fn a_day_has_one_sales_report() {
    example(
        "daily-sales",
        |_| Vec::new(),
        |crm| {
            let (count, sum) = total(crm, "sale.order", "[('state', '=', 'sale')]", "amount_total");
            task(crm, "Sales report 2026-11-20")
                .is_some_and(|text| text.contains(&format!("{count} confirmed orders, {sum:.2} in all")))
        },
    );
}

// Shows: F076, F122
#[test]
fn a_report_that_is_made_again_on_its_day_is_the_same_one() {
    let (crm, mut example) = (Crm::new(), Example::load("daily-sales"));
    for _ in 0..2 {
        let report = example.run(&crm, Trigger::Manual, &[]);
        example.recording.exchanges.last_mut().unwrap().answer.text = "The report was there already.".to_owned();
        assert!(report.verdict.is_success(), "{:?}", report.verdict);
    }
    assert_eq!(crm.search("project.task", "[('name', '=', 'Sales report 2026-11-20')]").len(), 1);
}

// Shows: F112
#[test]
fn what_is_grounded_states_only_figures_that_were_read() {
    let mut agent = Agent::new("Report what was sold.");
    agent.grants.push("sale.order:read:state,amount_total");
    agent.params.push(("grounded", "true".to_owned()));
    let (count, sum) = total(&agent.crm, "sale.order", "[('state', '=', 'sale')]", "amount_total");
    let read = json!([["read_group", { "model": "sale.order", "domain": [["state", "=", "sale"]], "group_by": [],
                       "aggregates": ["amount_total:sum", "__count"] }]]);
    let note = |text: &str| json!([["note", { "model": "crm.lead", "id": 1, "text": text }]]);
    let good = format!("{count} orders, {sum:.2} in all.");
    let answers = [read.clone(), note("128,450 across 342 orders."), note(&good), json!("31415 in all."), json!(good)];
    let (report, result) = agent.succeed(&[1], &answers);
    let error = |entry: usize| result["tool_log"][entry]["output"]["error"].as_str().map(str::to_owned);
    assert!(error(1).unwrap().contains("you did not read 128,450"), "{result}");
    assert_eq!((error(2), &result["text"]), (None, &json!(good)));
    assert_eq!(report.diff.records.len(), 1, "{}", report.diff);
    let question = asked(&agent.crm, &report).pop().unwrap();
    assert!(question.contains("You did not read 31415"), "{question}");
    // Who insists, however it is written, has nothing done.
    let (report, _) = agent.run(&[1], &[read, note(&good), json!("EUR31415 in all."), json!("３１４１５, I say.")]);
    assert_eq!(report.verdict.message().as_deref(), Some("the answer states 31415, which was not read"));
    assert!(report.diff.is_empty());
}

// Shows: F112
#[test]
fn what_is_grounded_writes_only_numbers_that_were_read() {
    let mut agent = Agent::new("Keep the revenue up to date.");
    agent.grants.push("crm.lead:read,write:name,expected_revenue,partner_id");
    agent.params.push(("grounded", "true".to_owned()));
    let Value::Number(revenue) = agent.crm.value("crm.lead", 2, "expected_revenue") else { panic!() };
    agent.crm.write("crm.lead", 2, &[("partner_id", Value::link(12))]);
    let read = json!([["read", { "model": "crm.lead", "ids": [2], "fields": ["expected_revenue", "partner_id"] }]]);
    let update = |values: Json| json!([["update", { "model": "crm.lead", "id": 1, "values": values }]]);
    let answers = [
        read,
        update(json!({ "expected_revenue": 31415 })),
        // The number of a record that was read is no figure either.
        update(json!({ "expected_revenue": 12 })),
        // Numbers of records are no figures.
        update(json!({ "expected_revenue": revenue, "partner_id": 12 })),
        json!("It is up to date."),
    ];
    let (report, result) = agent.succeed(&[1], &answers);
    let output = |entry: usize| &result["tool_log"][entry]["output"];
    assert!(output(1)["error"].as_str().unwrap().contains("you did not read 31415"), "{result}");
    assert!(output(2)["error"].as_str().unwrap().contains("you did not read 12"), "{result}");
    assert_eq!(output(3)["done"], true, "{result}");
    assert!(!report.diff.to_string().contains("31415"), "{}", report.diff);
}

// Shows: F077
#[test]
fn a_report_can_span_the_company() {
    example(
        "company-report",
        |_| Vec::new(),
        |crm| {
            let (count, _) = total(crm, "crm.lead", "[('type', '=', 'opportunity')]", "expected_revenue");
            task(crm, "Pipeline of all companies").is_some_and(|text| text.contains(&format!("{count} opportunities")))
        },
    );
    // All leads are in it because it is a superuser rule: its owner alone has fewer.
    let crm = Crm::new();
    let Example { rule, recording } = Example::load("company-report");
    let opportunities = |superuser| {
        let mut talk = recording.clone();
        talk.exchanges.truncate(1);
        talk.exchanges.extend(conversation(&[json!("Read.")]).exchanges);
        let how = How {
            user: Some("sam"),
            superuser,
            granted: rule.actions[0].grants.clone(),
            class: Some(Class::Agent),
            outside: Some(replay(&crm, &talk)),
            ..How::default()
        };
        let (report, log) = crm.run(&AI_AGENT, "", &[], &how);
        let Verdict::Applied(outcome) = &report.verdict else { panic!("{:?}\n{log:#?}", report.verdict) };
        let result: Json = serde_json::from_str(outcome.result_json.as_deref().unwrap()).unwrap();
        let groups = result["tool_log"][0]["output"]["groups"].as_array().unwrap().clone();
        groups.iter().map(|group| usize::try_from(group["count"].as_u64().unwrap()).unwrap()).sum::<usize>()
    };
    let (all, own) = (opportunities(true), opportunities(false));
    assert!(rule.superuser && 0 < own && own < all, "{own} of {all}");
    assert_eq!(all, total(&crm, "crm.lead", "[('type', '=', 'opportunity')]", "expected_revenue").0);
}

// Shows: F096
#[test]
fn a_lead_goes_to_whoever_won_such_ones() {
    example(
        "lead-assignment",
        |_| vec![18],
        |crm| {
            matches!(crm.value("crm.lead", 18, "user_id"), Value::Many2one(link) if link.id == 4)
                && body_has(crm, "crm.lead", 18, "19800.00")
        },
    );
}

// Shows: F097
#[test]
fn short_products_are_to_be_bought() {
    example("reorder", |_| Vec::new(), |crm| to_do(crm, "product.product", 10, "Buy 20 x Drawer"));
}

/// Purchase orders, which the demo company has not.
const PURCHASES: &str = r#"
description = "Purchase Order"
rec_name = "name"
chatter = true

[fields]
name = { type = "char", string = "Reference", required = true }
partner_id = { type = "many2one", string = "Vendor", relation = "res.partner" }
product_id = { type = "many2one", string = "Product", relation = "product.product" }
product_qty = { type = "float", string = "Quantity" }
amount_total = { type = "float", string = "Total", aggregator = "avg" }
state = { type = "selection", string = "Status", selection = [["draft", "RFQ"], ["purchase", "Purchase Order"]], default = "draft" }
message_ids = { type = "one2many", string = "Messages", relation = "mail.message", relation_field = "res_id", copy = false }
activity_ids = { type = "one2many", string = "Activities", relation = "mail.activity", relation_field = "res_id", copy = false }
"#;

// Shows: F072, F097, F100
#[test]
fn where_there_are_purchase_orders_agents_make_and_check_them() {
    let crm = Crm::with_model("purchase.order", PURCHASES);
    let run = |model: &str, ids: &[Id], prompt: &str, grants: &[&str], answers: &[Json]| {
        let how = How {
            superuser: true,
            params: &[("prompt", prompt), ("grounded", "true")],
            grants,
            class: Some(Class::Agent),
            outside: Some(replay(&crm, &conversation(answers))),
            ..How::default()
        };
        let (report, log) = crm.run(&AI_AGENT, model, ids, &how);
        assert!(report.verdict.is_success() && report.refusals.is_empty(), "{:?}\n{log:#?}", report.verdict);
        report
    };
    // What is short is ordered, once, however often somebody looks before it comes.
    let stock = [
        "product.product:read:name,qty_available,reordering_min_qty",
        "purchase.order:read,create:name*,product_id,product_qty,state",
    ];
    let drawer = crm.rows("product.product", "[('id', '=', 10)]", &["qty_available", "reordering_min_qty"]).remove(0);
    let [Value::Number(there), Value::Number(least)] = drawer.values[..] else { panic!("{drawer:?}") };
    assert!(there < least, "{drawer:?}");
    let order = json!({ "name": "Reorder Drawer", "product_id": 10, "product_qty": least, "state": "draft" });
    let answers = [
        json!([["read", { "model": "product.product", "ids": [10], "fields": ["name", "qty_available", "reordering_min_qty"] }]]),
        json!([["create", { "model": "purchase.order", "values": order }]]),
        json!("Drawers are ordered."),
    ];
    for _ in 0..2 {
        run("product.product", &[], "Order what is below its minimum.", &stock, &answers);
    }
    let made = crm.rows("purchase.order", "[]", &["product_id", "product_qty", "state"]);
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].values[1..], [Value::Number(least), Value::text("draft")]);
    assert!(matches!(&made[0].values[0], Value::Many2one(link) if link.id == 10), "{made:?}");

    // One that is far from what this vendor usually asks is noticed, with figures that were read.
    let purchase = |name: &str, total: f64| {
        let fields = [
            ("name", Value::text(name)),
            ("partner_id", Value::link(13)),
            ("amount_total", Value::Number(total)),
            ("state", Value::text("purchase")),
        ];
        crm.create("purchase.order", &fields)
    };
    purchase("P1", 800.0);
    purchase("P2", 1_200.0);
    let odd = purchase("P3", 9_000.0);
    let others = json!([["partner_id", "=", 13], ["id", "!=", odd]]);
    let answers = [
        json!([["read_group", { "model": "purchase.order", "domain": others, "group_by": [], "aggregates": ["amount_total:avg"] }]]),
        json!([
            ["note", { "model": "purchase.order", "id": odd, "text": "9000.00, where this vendor's average is 1000.00." }],
            ["activity", { "model": "purchase.order", "id": odd, "kind": "To-Do", "summary": "Unusual order", "deadline": "2026-11-20" }],
        ]),
        json!("P3 is unusual."),
    ];
    let grants = ["purchase.order:read,note,activity:name,partner_id,amount_total"];
    run("purchase.order", &[odd], "Compare it with the vendor's other orders.", &grants, &answers);
    assert!(
        body_has(&crm, "purchase.order", odd, "average is 1000.00")
            && to_do(&crm, "purchase.order", odd, "Unusual order")
    );
}

// Shows: F098
#[test]
fn the_manager_is_told_only_when_it_matters() {
    example("targeted-notification", |_| vec![4], |crm| to_do(crm, "sale.order", 4, "Approve or close S00004"));
}

// Shows: F099
#[test]
fn an_angry_message_raises_the_priority() {
    let angry = "This is the third time that the chairs are late. I want my money back!";
    let (_, question) = example_of(
        "message-sentiment",
        |crm| {
            post(crm, 2, angry);
            let posted = crm.messages("crm.lead", 2).remove(0);
            let info = MessageInfo { id: posted.id, author: None, body: posted.body, is_note: posted.is_note };
            (Trigger::Message(info), vec![2])
        },
        |crm| crm.value("crm.lead", 2, "priority") == Value::text("3") && body_has(crm, "crm.lead", 2, "Mood: angry"),
    );
    assert!(question.contains(angry), "{question}");
}

// Shows: F099
#[test]
fn a_bill_is_classed_before_it_is_posted() {
    let set_up = |crm: &Crm| {
        let fields = [
            ("move_type", Value::text("in_invoice")),
            ("partner_id", Value::link(13)),
            ("invoice_origin", Value::text("P00017: oak boards")),
        ];
        vec![crm.create("account.move", &fields)]
    };
    example("invoice-class", set_up, |crm| {
        !crm.search("account.move", "[('id', '=', 6), ('state', '=', 'posted')]").is_empty()
            && body_has(crm, "account.move", 6, "Class: furniture.")
    });
}

// Shows: F100
#[test]
fn an_unusual_bill_is_noticed() {
    let set_up = |crm: &Crm| {
        let bill = |total: f64| {
            let fields = [
                ("move_type", Value::text("in_invoice")),
                ("partner_id", Value::link(13)),
                ("amount_total", Value::Number(total)),
            ];
            crm.create("account.move", &fields)
        };
        bill(800.0);
        bill(1_200.0);
        vec![bill(9_000.0)]
    };
    example("purchase-anomaly", set_up, |crm| {
        !crm.search("account.move", "[('id', '=', 8)]").is_empty()
            && body_has(crm, "account.move", 8, "average 1000.00")
            && to_do(crm, "account.move", 8, "Unusual bill")
    });
}

// Shows: F126
#[test]
fn a_sentence_becomes_a_contact_with_its_company_opportunity_and_follow_up() {
    let message = example(
        "contact-from-sentence",
        |_| Vec::new(),
        |crm| {
            let found = crm.rows("res.partner", "[('email', '=', 'ada@engines.example')]", &["parent_id"]);
            let Some(Value::Many2one(company)) = found.first().map(|row| row.values[0].clone()) else { return false };
            let lead = crm.search(
                "crm.lead",
                "[('name', '=', 'Software for Analytical Engines'), ('expected_revenue', '=', 12000)]",
            );
            crm.value("res.partner", company.id, "is_company") == Value::Boolean(true)
                && lead.first().is_some_and(|lead| to_do(crm, "crm.lead", *lead, "Call Ada Byron"))
        },
    );
    assert!(
        message.contains("Ada Byron") && message.contains("the opportunity Software for Analytical Engines"),
        "{message}"
    );
}

// Shows: F128
#[test]
fn the_pipeline_is_summed_up_from_what_was_read() {
    let (message, _) = example_of("pipeline-summary", |_| (Trigger::Manual, Vec::new()), |_| true);
    let crm = Crm::new();
    let (count, sum) = total(&crm, "crm.lead", "[('type', '=', 'opportunity')]", "expected_revenue");
    let (won, worth) =
        total(&crm, "crm.lead", "[('type', '=', 'opportunity'), ('won_status', '=', 'won')]", "expected_revenue");
    let expected = format!("{count} opportunities are worth {sum:.2}; {won} of them, {worth:.2}, are won");
    assert!(message.starts_with(&expected), "{message}\n{expected}");
}
