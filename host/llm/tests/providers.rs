//! Both protocols against a real server that answers well, badly, late, too much, or not at all.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::Semaphore;
use triggerbox_llm::{Clock, Config, Models, config::Provider};
use triggerbox_model::call::{Finish, LlmMessage, LlmRequest, Tool, ToolCall, ToolResult};

use crate::support::{KEY, Server, Step, TestClock, answer, config, env, live, question};

const KINDS: [&str; 2] = ["openai", "anthropic"];

// Shows: F023, F081
#[tokio::test]
async fn a_question_is_answered_with_what_it_cost() {
    for kind in KINDS {
        let server = Server::start(vec![Step::json(&answer(kind, "Hello."))]).await;
        let models = live(kind, &server, &TestClock::new());
        let answered = models.ask(&question("Who are you?")).await.unwrap();
        let completion = answered.completion;
        assert_eq!((completion.text.as_str(), completion.finish), ("Hello.", Finish::Stop), "{kind}");
        assert_eq!(completion.model, "small-2026");
        assert_eq!(
            (completion.usage.input_tokens, completion.usage.output_tokens),
            (100, 20),
            "{kind}: with the cache"
        );
        // (100 × 2 + 20 × 8) / 1,000,000 dollars, at half a euro each.
        assert!((completion.usage.cost - 0.000_18).abs() < 1e-12, "{kind}: {}", completion.usage.cost);
        assert_eq!(completion.usage.currency, "EUR");
        assert_eq!(answered.tokens, 120);

        let seen = &server.seen()[0];
        let head = seen.head.to_ascii_lowercase();
        match kind {
            "openai" => {
                assert!(head.starts_with("post /v1/chat/completions "), "{head}");
                assert!(head.contains(&format!("authorization: bearer {KEY}")));
                assert_eq!(seen.json()["messages"][0], json!({ "role": "system", "content": "Be brief." }));
            }
            _ => {
                assert!(head.starts_with("post /v1/messages "), "{head}");
                assert!(head.contains(&format!("x-api-key: {KEY}")) && head.contains("anthropic-version: 2023-06-01"));
                assert_eq!(seen.json()["system"], "Be brief.");
            }
        }
        assert_eq!(seen.json()["max_tokens"], 1_000, "the answer is always bounded");
    }
}

fn tool_question() -> LlmRequest {
    let call = ToolCall { id: "c1".into(), name: "search".into(), arguments_json: r#"{"model":"crm.lead"}"#.into() };
    let result = |id: &str, is_error| ToolResult { call_id: id.into(), content: "7 found".into(), is_error };
    let mut request = question("Find it.");
    request.messages.push(LlmMessage::AssistantCalls(String::new(), vec![call]));
    request.messages.push(LlmMessage::ToolResults(vec![result("c1", false), result("c2", true)]));
    request.tools.push(Tool {
        name: "search".into(),
        description: "Finds records.".into(),
        parameters_schema: r#"{"type":"object"}"#.into(),
    });
    request.temperature = Some(0.0);
    request
}

// Shows: F036
#[tokio::test]
async fn tools_go_out_and_tool_calls_come_back() {
    let openai = json!({
        "model": "small", "usage": { "prompt_tokens": 1, "completion_tokens": 1 },
        "choices": [{ "finish_reason": "tool_calls", "message": { "content": null, "tool_calls": [
            { "id": "t1", "type": "function", "function": { "name": "search", "arguments": "{\"a\":1}" } },
            { "type": "function", "function": { "name": "search", "arguments": { "a": 2 } } },
        ] } }],
    });
    let server = Server::start(vec![Step::json(&openai)]).await;
    let completion = live("openai", &server, &TestClock::new()).ask(&tool_question()).await.unwrap().completion;
    assert_eq!(completion.finish, Finish::ToolCalls);
    let calls: Vec<_> = completion.calls.iter().map(|c| (c.id.as_str(), c.arguments_json.as_str())).collect();
    assert_eq!(calls, [("t1", "{\"a\":1}"), ("call-1", "{\"a\":2}")]);
    let sent = server.seen()[0].json();
    assert_eq!(sent["messages"][2]["tool_calls"][0]["function"]["arguments"], r#"{"model":"crm.lead"}"#);
    assert_eq!(sent["messages"][3], json!({ "role": "tool", "tool_call_id": "c1", "content": "7 found" }));
    assert_eq!(sent["messages"][4]["content"], "error: 7 found");
    assert_eq!(sent["tools"][0]["function"]["parameters"], json!({ "type": "object" }));
    assert_eq!(sent["temperature"], 0.0);

    let anthropic = json!({
        "model": "small", "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 1 },
        "content": [{ "type": "thinking", "thinking": "…" }, { "type": "text", "text": "Looking." },
                    { "type": "tool_use", "id": "t1", "name": "search", "input": { "a": 1 } }],
    });
    let server = Server::start(vec![Step::json(&anthropic)]).await;
    let completion = live("anthropic", &server, &TestClock::new()).ask(&tool_question()).await.unwrap().completion;
    assert_eq!((completion.text.as_str(), completion.finish), ("Looking.", Finish::ToolCalls));
    assert_eq!(completion.calls[0].arguments_json, r#"{"a":1}"#);
    let sent = server.seen()[0].json();
    assert_eq!(sent["messages"][1]["content"][0]["input"], json!({ "model": "crm.lead" }));
    assert_eq!(sent["messages"][2]["content"][1]["is_error"], true);
    assert_eq!(sent["tools"][0]["input_schema"], json!({ "type": "object" }));
}

// Shows: F036
#[tokio::test]
async fn calls_of_an_answer_that_was_cut_are_none() {
    let call = |arguments: &str| json!({ "id": "t1", "function": { "name": "update", "arguments": arguments } });
    let openai = json!({
        "model": "small", "usage": { "prompt_tokens": 1, "completion_tokens": 1 },
        "choices": [{ "finish_reason": "length", "message": {
            "content": "Both.", "tool_calls": [call("{\"ids\":[7]}"), call("{\"ids\":[7"), { "id": "t3" }],
        } }],
    });
    let block = |input| json!({ "type": "tool_use", "id": "t1", "name": "update", "input": input });
    let anthropic = |stop: &str| {
        json!({
            "model": "small", "stop_reason": stop, "usage": { "input_tokens": 1, "output_tokens": 1 },
            "content": [{ "type": "text", "text": "Both." }, block(json!({ "ids": [7] })), block(json!({}))],
        })
    };
    let cut = [
        ("openai", openai),
        ("anthropic", anthropic("max_tokens")),
        ("anthropic", anthropic("model_context_window_exceeded")),
    ];
    for (kind, answer) in cut {
        let server = Server::start(vec![Step::json(&answer)]).await;
        let completion = live(kind, &server, &TestClock::new()).ask(&tool_question()).await.unwrap().completion;
        assert_eq!((completion.text.as_str(), completion.finish), ("Both.", Finish::Length), "{kind}");
        assert_eq!(completion.calls, [], "{kind}");
    }
    // An answer by a schema, too, says that it was cut.
    let structured = json!({
        "model": "small", "stop_reason": "max_tokens", "usage": { "input_tokens": 1, "output_tokens": 1 },
        "content": [{ "type": "tool_use", "id": "t1", "name": "answer", "input": { "score": 7 } }],
    });
    let server = Server::start(vec![Step::json(&structured)]).await;
    let request = LlmRequest { output_schema: Some(r#"{"type":"object"}"#.into()), ..question("?") };
    let completion = live("anthropic", &server, &TestClock::new()).ask(&request).await.unwrap().completion;
    assert_eq!((completion.text.as_str(), completion.finish), (r#"{"score":7}"#, Finish::Length));
}

// Shows: F087
#[tokio::test]
async fn a_busy_provider_is_asked_again_when_it_says() {
    for kind in KINDS {
        let busy = |after: &str| Step::Say(429, vec![("retry-after", after.to_owned())], "{}".into());
        let steps = vec![
            busy("7"),
            busy("Fri, 20 Nov 2026 09:30:37 GMT"),
            Step::status(503, "down"),
            Step::json(&answer(kind, "Hello.")),
        ];
        let server = Server::start(steps).await;
        let clock = TestClock::new();
        assert_eq!(live(kind, &server, &clock).ask(&question("?")).await.unwrap().completion.text, "Hello.");
        let waits = clock.waits();
        assert_eq!(waits[..2], [Duration::from_secs(7), Duration::from_secs(30)], "{kind}");
        let back_off = waits[2].as_millis();
        assert!((1_000..=2_000).contains(&back_off), "{kind}: {back_off}");
    }
}

#[tokio::test]
async fn a_provider_that_stays_busy_or_broken_is_given_up() {
    for (step, code, text, tries, may_have_cost) in [
        (
            Step::Say(429, vec![("retry-after", "3".into())], "{}".into()),
            "llm-rate-limited",
            "takes requests again in 3 s",
            4,
            false,
        ),
        // Longer than anybody should wait.
        (Step::Say(429, vec![("retry-after", "3600".into())], "{}".into()), "llm-rate-limited", "in 3600 s", 1, false),
        (Step::status(500, "oops"), "llm-provider-failed", "test failed (500) 4 times in a row", 4, true),
        (Step::status(408, "late"), "llm-provider-failed", "(408)", 4, true),
        (Step::status(504, "late"), "llm-provider-failed", "(504)", 4, true),
        // Too busy to begin.
        (Step::status(503, "busy"), "llm-provider-failed", "(503)", 4, false),
        (Step::status(529, "overloaded"), "llm-provider-failed", "(529)", 4, false),
    ] {
        let server = Server::start(vec![step]).await;
        let error = live("anthropic", &server, &TestClock::new()).ask(&question("?")).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(server.seen().len(), tries);
        assert_eq!(error.may_have_cost(), may_have_cost, "{error}");
    }
}

// Shows: F079, F083
#[tokio::test]
async fn each_bad_answer_is_a_clear_error_at_once() {
    let large = serde_json::json!({ "error": { "message": format!("no {KEY} \u{1b}[31m{}", "x".repeat(10_000)) } });
    let cases: Vec<(&str, Step, &str, &str)> = vec![
        (
            "wrong key",
            Step::status(401, &format!("{{\"error\":\"bad key {KEY}\"}}")),
            "llm-key-refused",
            "check the key",
        ),
        ("not allowed", Step::status(403, "{}"), "llm-key-refused", "(403)"),
        ("refused", Step::status(400, &large.to_string()), "llm-refused", "no [secret] [31mxxx"),
        (
            "unknown model",
            Step::status(404, r#"{"error":{"message":"no such model"}}"#),
            "llm-refused",
            "no such model",
        ),
        (
            "redirect",
            Step::Say(302, vec![("location", "http://127.0.0.1:1/".into())], String::new()),
            "llm-refused",
            "base-url",
        ),
        ("not JSON", Step::status(200, "<html>"), "llm-malformed-answer", "no JSON"),
        ("other JSON", Step::status(200, "[1]"), "llm-malformed-answer", "it has no `"),
        ("deep JSON", Step::status(200, &"[".repeat(100_000)), "llm-malformed-answer", "no JSON"),
        ("empty", Step::status(200, ""), "llm-malformed-answer", "no JSON"),
        ("cut off", Step::CutOff, "llm-cut-off", "broke off"),
        ("hangs up", Step::Hang, "llm-cut-off", "broke off"),
        ("not HTTP", Step::Noise, "llm-cut-off", "broke off"),
        ("stalls", Step::Stall, "llm-timeout", "no whole answer in 1 s"),
        ("a byte a second", Step::Trickle, "llm-timeout", "no whole answer in 1 s"),
        ("50 MB", Step::Large(50 << 20), "llm-answer-too-large", "more than 8388608 bytes"),
        ("endless", Step::Endless, "llm-answer-too-large", "more than 8388608 bytes"),
    ];
    for (what, step, code, text) in cases {
        for kind in KINDS {
            let server = Server::start(vec![step.clone()]).await;
            let mut config = config(kind, &server.url);
            if matches!(step, Step::Stall | Step::Trickle) {
                config.providers[0].timeout = 1;
            }
            let clock: Arc<dyn Clock> = TestClock::new();
            let models = Models::live(config, &clock, &env).unwrap();
            let error = models.ask(&question("?")).await.unwrap_err();
            assert_eq!(error.code(), code, "{what}: {error}");
            assert!(error.to_string().contains(text), "{what}: {error}");
            assert!(error.to_string().len() < 500, "{what}: {error}");
            assert!(!format!("{error:?}{error}").contains(KEY), "{what}");
            assert_eq!(server.seen().len(), 1, "{what}: asked once");
            // What was read, and what the system's buffers hold.
            assert!(server.sent() < 32 << 20, "{what}: took {} bytes", server.sent());
        }
    }
    // Nobody listens.
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let clock = TestClock::new();
    let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let models = Models::live(config("openai", &format!("http://{gone}")), &dynamic, &env).unwrap();
    let error = models.ask(&question("?")).await.unwrap_err();
    assert_eq!(error.code(), "llm-unreachable", "{error}");
    assert_eq!(clock.waits().len(), 3, "a connection that was not made is tried again");
}

#[tokio::test]
async fn slow_answers_are_read_to_their_end() {
    let server = Server::start(vec![Step::Drip(answer("openai", &"long ".repeat(2_000)).to_string())]).await;
    let answered = live("openai", &server, &TestClock::new()).ask(&question("?")).await.unwrap();
    assert_eq!(answered.completion.text.len(), 10_000);
}

// Shows: F087
#[tokio::test]
async fn our_own_rate_limit_is_waited_for_and_reported() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let clock = TestClock::new();
    let mut config = config("openai", &server.url);
    config.providers[0].requests_per_minute = Some(2);
    let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let models = Models::live(config, &dynamic, &env).unwrap();
    for _ in 0..3 {
        models.ask(&question("?")).await.unwrap();
    }
    assert_eq!(clock.waits(), [Duration::from_secs(30)]);
}

// Shows: F087
#[tokio::test]
async fn tokens_a_minute_are_waited_for_at_their_worst_case() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let clock = TestClock::new();
    let worst = live("openai", &server, &clock).worst_case(&question("?")).unwrap().tokens;
    assert!(worst > 120, "an answer uses 120");
    let models = with(&server, &clock, |provider| provider.tokens_per_minute = Some(2 * u32::try_from(worst).unwrap()));
    for _ in 0..3 {
        models.ask(&question("?")).await.unwrap();
    }
    assert_eq!(clock.waits(), [Duration::from_secs(30)], "two in a minute, and the third when there is room for it");
    // Longer than anybody should wait: told so, and nothing is sent.
    let models = with(&server, &clock, |provider| provider.tokens_per_minute = Some(u32::try_from(worst / 2).unwrap()));
    models.ask(&question("?")).await.unwrap();
    let (before, error) = (server.seen().len(), models.ask(&question("?")).await.unwrap_err());
    assert_eq!((error.code(), server.seen().len()), ("llm-rate-limited", before), "{error}");
    assert!(matches!(error.passes(), Some(Some(wait)) if wait > Duration::from_secs(60)), "{error}");
}

/// A provider of the file with other settings.
fn with(server: &Server, clock: &Arc<TestClock>, set: impl FnOnce(&mut Provider)) -> Models {
    let mut config = config("openai", &server.url);
    set(&mut config.providers[0]);
    let clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    Models::live(config, &clock, &env).unwrap()
}

// Shows: F087
#[tokio::test]
async fn no_more_questions_than_allowed_are_at_a_provider_at_once() {
    let permits = Arc::new(Semaphore::new(0));
    let held = Step::Held(Arc::clone(&permits), answer("openai", "Hello.").to_string());
    let server = Server::start(vec![held]).await;
    let models = Arc::new(with(&server, &TestClock::new(), |provider| provider.concurrent = 2));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let models = Arc::clone(&models);
        asked.spawn(async move { models.ask(&question("?")).await });
    }
    while server.seen().len() < 2 {
        tokio::task::yield_now().await;
    }
    permits.add_permits(5);
    while let Some(answered) = asked.join_next().await {
        assert_eq!(answered.unwrap().unwrap().completion.text, "Hello.");
    }
    assert_eq!((server.seen().len(), server.most_at_once()), (5, 2));
}

#[tokio::test]
async fn the_key_goes_into_the_header_and_the_bound_into_the_field_that_the_provider_wants() {
    for kind in KINDS {
        let server = Server::start(vec![Step::json(&answer(kind, "Hello."))]).await;
        let mut config = config(kind, &server.url);
        config.providers[0].key_header = Some("api-key".into());
        config.providers[0].models[0].max_output_field = "max_completion_tokens".into();
        let clock: Arc<dyn Clock> = TestClock::new();
        let models = Models::live(config, &clock, &env).unwrap();
        models.ask(&LlmRequest { max_tokens: Some(7), ..question("?") }).await.unwrap();
        let seen = &server.seen()[0];
        let head = seen.head.to_ascii_lowercase();
        assert!(head.contains(&format!("\r\napi-key: {KEY}\r\n")), "as it is: {head}");
        assert_eq!(head.matches(KEY).count(), 1, "{head}");
        assert!(!head.contains("authorization:") && !head.contains("x-api-key:"), "{head}");
        let sent = seen.json();
        // Anthropic's protocol has one name for it.
        let (field, other) = match kind {
            "openai" => ("max_completion_tokens", "max_tokens"),
            _ => ("max_tokens", "max_completion_tokens"),
        };
        assert_eq!((&sent[field], sent.get(other)), (&json!(7), None), "{sent}");
    }
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let clock: Arc<dyn Clock> = TestClock::new();
    let mut config = config("openai", &server.url);
    config.providers[0].key_header = Some("no header".into());
    let error = Models::live(config, &clock, &env).err().unwrap().to_string();
    assert!(error.contains("`key-header` is not the name of a header") && !error.contains(KEY), "{error}");
}

// Shows: F087
#[tokio::test]
async fn a_broken_provider_says_when_it_may_be_asked_again() {
    for kind in KINDS {
        let down = |status, after: &str| Step::Say(status, vec![("retry-after", after.to_owned())], "down".into());
        let steps = vec![
            down(503, "9"),
            down(502, "Fri, 20 Nov 2026 09:30:29 GMT"),
            down(500, "0.5"),
            Step::json(&answer(kind, "Hello.")),
        ];
        let server = Server::start(steps).await;
        let clock = TestClock::new();
        assert_eq!(live(kind, &server, &clock).ask(&question("?")).await.unwrap().completion.text, "Hello.");
        assert_eq!(clock.waits(), [9_000, 20_000, 500].map(Duration::from_millis), "{kind}");
        // Longer than anybody should wait: the run is told when to come back.
        let server = Server::start(vec![down(503, "3600")]).await;
        let clock = TestClock::new();
        let error = live(kind, &server, &clock).ask(&question("?")).await.unwrap_err();
        assert_eq!((error.code(), server.seen().len(), clock.waits().len()), ("llm-provider-failed", 1, 0), "{error}");
        assert_eq!(error.passes(), Some(Some(Duration::from_secs(3600))));
    }
}

#[tokio::test]
async fn what_is_not_counted_is_taken_at_its_worst() {
    let mut uncounted = answer("openai", "Hello.");
    uncounted.as_object_mut().unwrap().remove("usage");
    let server = Server::start(vec![Step::json(&uncounted)]).await;
    let models = live("openai", &server, &TestClock::new());
    let request = question("?");
    let worst = models.worst_case(&request).unwrap();
    assert_eq!(models.ask(&request).await.unwrap().tokens, worst.tokens);
    assert!(worst.tokens > 1_000 && worst.micro_euro > 4_000, "{worst:?}");
    // What is counted beyond all bounds is added up all the same.
    for kind in KINDS {
        let mut beyond = answer(kind, "Hello.");
        for (_, count) in beyond["usage"].as_object_mut().unwrap() {
            *count = json!(u64::MAX);
        }
        let server = Server::start(vec![Step::json(&beyond)]).await;
        let models = live(kind, &server, &TestClock::new());
        assert_eq!(models.ask(&request).await.unwrap().tokens, u64::MAX, "{kind}");
    }
}

#[test]
fn the_providers_file_says_what_is_wrong_with_it() {
    let good = toml::to_string(&config("openai", "http://127.0.0.1:1")).unwrap();
    Config::parse(&good).unwrap();
    for (from, to, says) in [
        ("USD = 0.5", "GBP = 0.5", "add the euros for one USD to [rates]"),
        ("USD = 0.5", "USD = -1.0", "a rate is a positive number"),
        ("input-price = 2.0", "input-price = nan", "prices of 0 or more"),
        ("http://127.0.0.1:1/v1", "http://me:secret-key@127.0.0.1:1/v1", "keys go into `key`"),
        ("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1?key=secret-key", "keys go into `key`"),
        ("http://127.0.0.1:1/v1", "http://:secret-key@127.0.0.1:1/v1", "keys go into `key`"),
        ("name = \"test\"", "nmae = \"test\"", "unknown field `nmae`"),
        ("kind = \"openai\"", "kind = \"secret-key\"", "unknown variant, expected"),
        ("timeout = 60", "timeout = 0", "at least 1"),
        ("timeout = 60", "timeout = 60\ntokens-per-minute = 0", "at least 1"),
        ("env = \"TEST_KEY\"", "env = \"TEST_KEY\"\nplain = \"secret-key\"", "line"),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        let error = Config::parse(&text).unwrap_err().to_string();
        assert!(error.contains(says), "{to}: {error}");
        assert!(!error.contains("secret-key"), "{error}");
    }
    let twice = format!("{good}\n[[providers.models]]\nname = \"small\"\ninput-price = 9.0\noutput-price = 9.0\n");
    let error = Config::parse(&twice).unwrap_err().to_string();
    assert!(error.contains("model `test/small`: it is there twice"), "{error}");
    let secret = |host: &str| {
        let text = "[[secrets]]\nname = \"slack\"\nvalue = { env = \"SLACK\" }\nheader = \"authorization\"\nhost = ";
        Config::parse(&format!("{text}'{host}'\n")).map_err(|error| error.to_string())
    };
    for host in ["slack.com", "Slack.com", "slack.com:8443", "127.0.0.1:8080", "[::1]:8080"] {
        assert!(secret(host).is_ok(), "{host}");
    }
    for host in ["", "https://slack.com", "slack.com/api", "slack.com:443", "me@slack.com", "a b", "münchen.example"] {
        let error = secret(host).unwrap_err();
        assert!(error.contains("secret `slack`: `host` is a host"), "{host}: {error}");
    }
    let clock: Arc<dyn Clock> = TestClock::new();
    let missing = Models::live(Config::parse(&good).unwrap(), &clock, &|_| None).err().unwrap().to_string();
    assert_eq!(missing, "provider `test`: no key: the environment variable TEST_KEY is not set");
    let short =
        Models::live(Config::parse(&good).unwrap(), &clock, &|_| Some("short".into())).err().unwrap().to_string();
    assert!(short.contains("at least 8 characters") && !short.contains("short"), "{short}");
}
