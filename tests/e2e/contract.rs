//! The script that calls everything in the contract, in whatever language it is written: on a server that offers neither
//! language model nor other services, and on one that offers both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};

use guest_artifacts::{CONTRACT_CHECK, Guest};
use serde_json::{Value as Json, json};
use triggerbox_automation::{Verdict, outside::DatabaseLedger};
use triggerbox_llm::{Clock, Config, Models, Outside, Services, Spender, SystemClock, http::Web};
use triggerbox_model::{event::Outcome, value::Value};

use crate::{
    model::{Asked, Service},
    support::{Crm, How},
};

/// The service that the script asks, as its manifest has it.
const SERVICE: &str = "https://example.com/echo";

/// What the contract refuses on purpose.
const REFUSED: &[(&str, &str)] = &[
    ("records.unknown-model", "unknown-model"),
    ("records.unknown-field", "unknown-field"),
    ("records.no-fields", "no-fields"),
    ("records.bad-domain", "bad-domain"),
    // The embedded backend knows no method that only reads.
    ("records.call.read-only", "unknown-method"),
    ("records.wrong-type", "wrong-type"),
    ("records.provisional-id-as-text", "provisional-id"),
    ("calendar.unknown-zone", "unknown-time-zone"),
];

/// What a bare server does not offer.
const NOT_OFFERED: &[(&str, &str)] = &[
    ("llm.complete", "llm-not-configured"),
    ("http.send", "http-not-configured"),
    ("http.post", "http-not-configured"),
    ("http.json", "http-not-configured"),
];

/// What a script must make of the answers that [`services`] give.
const ANSWERS: &[&str] = &[
    "llm.complete: tool-calls | 100 + 20 tokens, 360 millionths of EUR | small-2026 | Let me see. \
     | call-0 look_up {\"word\":\"naïve ☃\"} | call-1 look_up {\"word\":\"\\\"\"}",
    "llm.tool-results: stop | 100 + 20 tokens, 360 millionths of EUR | small-2026 | An agreement: naïve ☃ \u{1f980} \"'\\<b>",
    "llm.length: length | 100 + 20 tokens, 360 millionths of EUR | small-2026 | An agr",
    "llm.refused: refused | 100 + 20 tokens, 360 millionths of EUR | small-2026 | No.",
    "llm.other: other | 100 + 20 tokens, 360 millionths of EUR | small-2026 | Later.",
    "http.send: 404 | application/json | {\"nothing\":\"naïve ☃\"}",
    "http.post: 201 | application/json | [0,255,10,0]",
];

/// What a script must make of what there is to say of fields.
const DETAILS: &str = "records.describe-fields: x_amount float 10/3 literal 1.5 copied 0 groups \
    | x_owner_id many2one function user cascade 0 groups | x_login char shows x_owner_id.login 2 groups";

/// One run of such a script.
struct Run {
    outcome: Outcome,
    /// What each call came to: `ok`, or the error's code.
    codes: BTreeMap<String, String>,
    log: Vec<String>,
}

impl Run {
    /// What the script made of the answers that have parts.
    fn answers(&self) -> BTreeSet<&str> {
        self.log.iter().filter_map(|line| line.strip_prefix("info answer of ")).collect()
    }
}

/// Runs a script on a server that offers neither language model nor other services.
fn bare(guest: &Guest) -> Run {
    run(&crm(), guest, &How::default())
}

/// Runs a script on a server that offers both; what they were asked, too.
fn served(guest: &Guest) -> (Run, Vec<Asked>) {
    let (crm, services) = (crm(), services());
    let service = format!("{}/echo", services.url);
    let manifest = guest.manifest.unwrap().replace(SERVICE, &service);
    let http = ["GET", "POST"].map(|method| format!("{method} {service} private"));
    let how = How {
        manifest: Some(&manifest),
        http: &http.each_ref().map(String::as_str),
        outside: Some(outside(&crm, &services.url)),
        ..How::default()
    };
    let run = run(&crm, guest, &how);
    (run, services.asked())
}

fn crm() -> Crm {
    let crm = Crm::with_model("x_contract", include_str!("../../guest-examples/rust/contract-check/x_contract.toml"));
    for tag in ["one", "two"] {
        crm.create("crm.tag", &[("name", Value::text(tag))]);
    }
    crm
}

/// With every right that policy guards.
fn run(crm: &Crm, guest: &Guest, how: &How<'_>) -> Run {
    let lead = crm.create("crm.lead", &[("name", Value::text("To be checked")), ("type", Value::text("lead"))]);
    let how = How { grant_all: true, superuser: true, ..how.clone() };
    let (report, log) = crm.run(guest, "crm.lead", &[lead], &how);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}\n{log:#?}", report.verdict) };
    let codes = serde_json::from_str(outcome.result_json.as_deref().expect("a result")).unwrap();
    Run { outcome, codes, log }
}

/// A language model that speaks chat completions, and a service that tells what it was sent: real HTTP on loopback.
fn services() -> Service {
    Service::start(|_, asked| match asked.head.lines().next().unwrap_or_default() {
        "POST /v1/chat/completions HTTP/1.1" => (200, completion(&json_of(asked)).to_string()),
        "POST /echo HTTP/1.1" => (201, json!(asked.body).to_string()),
        _ => (404, json!({ "nothing": "naïve ☃" }).to_string()),
    })
}

/// The answer to the last turn of a conversation.
fn completion(question: &Json) -> Json {
    let turn = question["messages"].as_array().unwrap().last().unwrap();
    let (text, finish) = match (turn["role"].as_str(), turn["content"].as_str()) {
        (Some("assistant"), _) => ("Let me see.", "tool_calls"),
        (Some("tool"), _) => ("An agreement: naïve ☃ \u{1f980} \"'\\<b>", "stop"),
        (_, Some("length")) => ("An agr", "length"),
        (_, Some("refused")) => ("No.", "content_filter"),
        _ => ("Later.", "busy"),
    };
    let calls = if finish == "tool_calls" { called().to_vec() } else { Vec::new() };
    let message = json!({ "role": "assistant", "content": text, "tool_calls": calls });
    json!({
        "model": "small-2026",
        "choices": [{ "index": 0, "message": message, "finish_reason": finish }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120 },
    })
}

/// The tools that the model asks for.
fn called() -> [Json; 2] {
    [("call-0", "naïve ☃"), ("call-1", "\"")].map(|(id, word)| {
        let function = json!({ "name": "look_up", "arguments": json!({ "word": word }).to_string() });
        json!({ "id": id, "type": "function", "function": function })
    })
}

fn outside(crm: &Crm, url: &str) -> Outside {
    let providers = format!(
        "[[providers]]\nname = \"test\"\nkind = \"openai\"\nbase-url = \"{url}/v1\"\nretries = 0\n\
         [[providers.models]]\nname = \"small\"\ninput-price = 2.0\noutput-price = 8.0\n"
    );
    let config = Config::parse(&providers).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let budgets = config.budgets.clone();
    let models = Models::live(config, &clock, &|_| None).unwrap();
    let web = Some(Web::new(&[], &|_| None, None).unwrap());
    Outside {
        services: Arc::new(Services { models, web, budgets, clock }),
        ledger: Arc::new(DatabaseLedger::new(&crm.database).unwrap()),
        spender: Spender { rule: "contract-check".into(), ..Spender::default() },
        only_reads: false,
        seat: None,
    }
}

fn json_of(asked: &Asked) -> Json {
    serde_json::from_slice(&asked.body).unwrap()
}

/// What every language's script calls, every value that it writes and reads, and what it makes of answers: what Rust's
/// does, but for what is the library's own (`event.`) and the language's runtime's (`wasi.`).
static RUST: LazyLock<[Run; 2]> = LazyLock::new(|| [bare(&CONTRACT_CHECK), served(&CONTRACT_CHECK).0]);

/// Everything is called, every value goes to a record and comes back, only what should be is refused, and every answer of
/// a language model and another service is understood.
pub(crate) fn assert_contract(language: &str, guest: &Guest) {
    let [bare_in_rust, served_in_rust] = &*RUST;
    assert_same(language, &bare(guest), bare_in_rust, &[REFUSED, NOT_OFFERED].concat());
    let (served, asked) = served(guest);
    assert_same(language, &served, served_in_rust, REFUSED);
    for answer in ANSWERS {
        assert!(served.answers().contains(answer), "{language}: {answer}\n{:#?}", served.log);
    }
    assert_asked(language, &asked);
}

fn assert_same(language: &str, run: &Run, in_rust: &Run, refused: &[(&str, &str)]) {
    let Run { outcome, codes, log } = run;
    for (name, code) in codes {
        let expected = refused.iter().find(|(other, _)| other == name).map_or("ok", |(_, code)| *code);
        assert_eq!(code, expected, "{language}: {name}\n{log:#?}");
    }
    let own = |name: &str| name.starts_with("event.") || name.starts_with("wasi.");
    let calls: Vec<_> = in_rust.codes.keys().filter(|name| !own(name)).collect();
    assert!(calls.len() >= 90, "only {} calls", calls.len());
    let missing: Vec<_> = calls.into_iter().filter(|name| !codes.contains_key(*name)).collect();
    assert!(missing.is_empty(), "{language} does not call {missing:?}");
    assert_eq!(run.answers(), in_rust.answers(), "{language}");
    assert_eq!(outcome.values.len(), 1, "{language}");
    assert_eq!(outcome.warning.as_deref(), Some("a warning"), "{language}");
    assert_eq!(outcome.records.len(), 1, "{language}");
}

/// Every kind of turn arrived, and headers and bytes as they were sent.
fn assert_asked(language: &str, asked: &[Asked]) {
    let [first, told, length, refused, other, get, post, typed @ ..] = asked else { panic!("{language}: {asked:#?}") };
    let question = json!({ "role": "user", "content": "What is a contract?" });
    let schema = json!({ "type": "object", "properties": {} });
    let first = json_of(first);
    let turns = json!([
        { "role": "system", "content": "Answer briefly." },
        question,
        { "role": "assistant", "content": "An agreement." },
    ]);
    assert_eq!(first["messages"], turns, "{language}");
    let tool = json!({ "name": "look_up", "description": "Looks a word up", "parameters": schema });
    assert_eq!(first["tools"], json!([{ "type": "function", "function": tool }]), "{language}");
    assert_eq!(first["response_format"]["json_schema"]["schema"], schema, "{language}");
    assert_eq!((&first["temperature"], &first["max_tokens"]), (&json!(0.0), &json!(10)), "{language}");

    let turns = json!([
        question,
        { "role": "assistant", "content": "Let me see.", "tool_calls": called() },
        { "role": "tool", "tool_call_id": "call-0", "content": "An agreement." },
        { "role": "tool", "tool_call_id": "call-1", "content": "error: no such word" },
    ]);
    assert_eq!(json_of(told)["messages"], turns, "{language}");
    for (asked, word) in [(length, "length"), (refused, "refused"), (other, "other")] {
        let asked = json_of(asked);
        assert_eq!(asked["messages"], json!([{ "role": "user", "content": word }]), "{language}");
        assert_eq!(asked["model"], "small", "{language}");
    }
    assert!(get.head.contains("accept: text/plain") && get.body.is_empty(), "{language}: {get:?}");
    assert!(post.head.contains("content-type: application/octet-stream"), "{language}: {post:?}");
    assert_eq!(post.body, [0, 255, 10, 0], "{language}");
    // Libraries that say of a body that it is JSON leave that to a script that says it itself.
    assert_eq!(typed.len(), usize::from(["python", "typescript"].contains(&language)), "{language}");
    for typed in typed {
        let head = typed.head.to_ascii_lowercase();
        let types: Vec<_> = head.lines().filter(|line| line.starts_with("content-type:")).collect();
        assert_eq!(types, ["content-type: application/vnd.api+json"], "{language}");
        assert_eq!(typed.body, b"[1]", "{language}");
    }
}

// Shows: F014, F123, F124, F127
#[test]
fn every_call_is_answered_and_every_value_comes_back_as_it_went() {
    assert_contract("rust", &CONTRACT_CHECK);
    let [bare, _] = &*RUST;
    assert!(bare.answers().contains(DETAILS), "{:#?}", bare.log);
    // The script compares what it reads with what it wrote, and says so.
    let compared: Vec<_> = bare.log.iter().filter(|line| line.contains("values.x_")).collect();
    assert_eq!(compared.len(), 22, "11 kinds, full and empty: {compared:#?}");
    assert!(compared.iter().all(|line| line.ends_with("same\"")), "{compared:#?}");
}
