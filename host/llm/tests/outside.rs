//! Intent, answer, then the script: budgets that hold, answers of a shape, attempts that die in the middle, and requests
//! to other services.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use triggerbox_llm::{
    Calls, Halt, Models, Outside,
    budget::{Account, Amount},
    config::{Budget, Config, HeaderSecret},
    http::{Lookup, Web},
    ledger,
    recording::{Matching, Origin, Recording},
    secret::Source,
};
use triggerbox_model::{
    call::{Answer, Completion, Finish, HttpRequest, HttpResponse, LlmRequest, Reply},
    error::ErrorKind,
    grants::Authority,
    limits::{Breach, Class, Limit, LimitRequest, Limits, Scope},
};

use crate::support::{
    Book, Deadly, Death, KEY, Server, Step, TestClock, agent_limits, answer, env, live, outside, question,
};

fn completion(reply: Reply) -> Completion {
    match reply.unwrap() {
        Answer::Completion(completion) => completion,
        other => panic!("{other:?}"),
    }
}

fn breach(halt: Halt) -> Breach {
    match halt {
        Halt::Over(breach) => breach,
        other => panic!("{other:?}"),
    }
}

fn shaped(text: &str) -> LlmRequest {
    let schema = r#"{"type":"object","required":["score"],"properties":{"score":{"type":"integer"}}}"#;
    LlmRequest { output_schema: Some(schema.into()), ..question(text) }
}

// --- answers of a shape --------------------------------------------------------------------------

#[tokio::test]
async fn an_answer_of_the_wrong_shape_is_sent_back_once() {
    for kind in ["openai", "anthropic"] {
        let steps = ["about seven", r#"{"score": 7}"#].map(|text| Step::json(&answer(kind, text)));
        let server = Server::start(steps.to_vec()).await;
        let (clock, book) = (TestClock::new(), Book::new());
        let mut calls = outside(live(kind, &server, &clock), None, &book, &clock).start("run-1", 0, &agent_limits());
        let completion = completion(calls.complete(shaped("Score it.")).await.unwrap());
        assert_eq!(completion.text, r#"{"score": 7}"#);
        assert_eq!(completion.usage.input_tokens, 200, "both answers are paid for");
        assert_eq!(book.used(Scope::Run, "run-1"), Amount { calls: 2, tokens: 240, micro_euro: 360 });
        let second = server.seen()[1].json().to_string();
        assert!(second.contains("about seven") && second.contains("no JSON"), "{second}");
        // The provider is told the shape in its own way.
        let first = server.seen()[0].json();
        match kind {
            "openai" => assert_eq!(first["response_format"]["json_schema"]["schema"]["required"][0], "score"),
            _ => assert_eq!(first["tool_choice"]["name"], "answer"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_stays_wrong_is_an_error_and_a_bad_schema_costs_nothing() {
    let server = Server::start(vec![Step::json(&answer("openai", r#"{"score": "seven"}"#))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    let error = outside.start("run-1", 0, &agent_limits()).complete(shaped("Score it.")).await.unwrap().unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Other, "llm-wrong-shape"));
    assert!(error.message.contains("at /score"), "{error}");
    assert_eq!(server.seen().len(), 2);

    for schema in ["no JSON", r#"{"type": 7}"#, r#"{"$ref": "http://127.0.0.1/x"}"#] {
        let request = LlmRequest { output_schema: Some(schema.into()), ..question("?") };
        let error = outside.start("run-2", 0, &agent_limits()).complete(request).await.unwrap().unwrap_err();
        assert_eq!(error.code, "bad-llm-request", "{error}");
    }
    assert_eq!(server.seen().len(), 2);
    assert_eq!(book.used(Scope::Run, "run-2"), Amount::default());
}

#[tokio::test]
async fn a_call_of_a_tool_that_nobody_offered_is_no_answer() {
    let called = |text: &str| {
        let mut called = answer("openai", text);
        let call = json!({ "id": "t1", "type": "function", "function": { "name": "search", "arguments": "{}" } });
        called["choices"][0]["message"]["tool_calls"] = json!([call]);
        called["choices"][0]["finish_reason"] = json!("tool_calls");
        Step::json(&called)
    };
    let good = r#"{"score": 7}"#;
    for (steps, asked) in [(vec![called(""), Step::json(&answer("openai", good))], 2), (vec![called(good)], 1)] {
        let server = Server::start(steps).await;
        let (clock, book) = (TestClock::new(), Book::new());
        let mut calls =
            outside(live("openai", &server, &clock), None, &book, &clock).start("run-1", 0, &agent_limits());
        let completion = completion(calls.complete(shaped("Score it.")).await.unwrap());
        assert_eq!((completion.text.as_str(), completion.finish), (good, Finish::Stop));
        assert_eq!((completion.calls, server.seen().len()), (Vec::new(), asked));
    }
}

// --- budgets -------------------------------------------------------------------------------------

fn limits(limit: &str, max: u64) -> Limits {
    let request = LimitRequest([(Limit::from_name(limit).unwrap(), max)].into());
    Limits::resolve(Class::Agent, [&request])
}

// Shows: F055, F056, F058
#[tokio::test]
async fn a_call_that_could_go_over_a_limit_is_not_made() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    // Each call can use 2,000 and uses 120; 8,000 millionths of a euro at worst.
    for (limit, max, fits) in [("llm-tokens", 2_500, 4), ("llm-cost", 6_000, 3), ("llm-calls", 2, 2)] {
        let limits = limits(limit, max);
        let mut calls = outside.start(limit, 0, &limits);
        let before = server.seen().len();
        let mut breached = None;
        for n in 0..100 {
            match calls.complete(question(&format!("Question {n}"))).await {
                Ok(reply) => drop(completion(reply)),
                Err(halt) => {
                    breached = Some(breach(halt));
                    break;
                }
            }
        }
        let breach = breached.unwrap();
        assert_eq!((breach.limit.spec().name, breach.scope), (limit, Scope::Run), "{breach}");
        assert!(breach.used > max && breach.max == max, "{breach}");
        let made = server.seen().len() - before;
        assert!(made >= fits.min(1) && made < 40, "{limit}: {made} calls");
        let used = book.used(Scope::Run, limit);
        assert!(used.tokens <= 2_500 || limit != "llm-tokens", "{used:?}");
        assert_eq!(used.calls, made as u64);
    }
}

// Shows: F059
#[tokio::test]
async fn retries_chains_and_days_share_their_budgets() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let mut shared = outside(live("openai", &server, &clock), None, &book, &clock);
    let budgets = &mut Arc::get_mut(&mut shared.services).unwrap().budgets;
    budgets.root.calls = 3;
    budgets.rule_day.calls = 5;
    budgets.server_day.calls = 7;
    // Runs of one root event, whatever their number.
    for run in ["a", "b", "c"] {
        completion(shared.start(run, 0, &agent_limits()).complete(question(run)).await.unwrap());
    }
    let halt = shared.start("d", 0, &agent_limits()).complete(question("d")).await.unwrap_err();
    let over = breach(halt);
    assert_eq!((over.limit, over.scope, over.used, over.max), (Limit::LlmCalls, Scope::Root, 4, 3));
    assert!(over.to_string().contains("root event, with all that follows from it"), "{over}");
    // Other root events of the same rule, on the same day.
    let with = |root: &str, rule: &str| {
        let mut outside = shared.clone();
        outside.spender.root = Some(root.into());
        outside.spender.rule = rule.into();
        outside
    };
    for run in ["e", "f"] {
        completion(with(run, "scoring").start(run, 0, &agent_limits()).complete(question(run)).await.unwrap());
    }
    let over = breach(with("g", "scoring").start("g", 0, &agent_limits()).complete(question("g")).await.unwrap_err());
    assert_eq!((over.scope, over.max), (Scope::RuleDay, 5));
    // Other rules of the same server.
    for run in ["h", "i"] {
        completion(with(run, "other").start(run, 0, &agent_limits()).complete(question(run)).await.unwrap());
    }
    let over = breach(with("j", "third").start("j", 0, &agent_limits()).complete(question("j")).await.unwrap_err());
    assert_eq!((over.scope, over.max), (Scope::ServerDay, 7));
    // The next day.
    clock.turn(Duration::from_secs(24 * 3600));
    completion(with("k", "scoring").start("k", 0, &agent_limits()).complete(question("k")).await.unwrap());
}

// Shows: F059
#[tokio::test]
async fn runs_at_once_cannot_overspend_together() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let mut shared = outside(live("openai", &server, &clock), None, &book, &clock);
    // Room for ten at their worst case.
    let worst = shared.services.models.worst_case(&question("00")).unwrap();
    let cost = (worst.micro_euro * 10) as f64 / 1e6;
    Arc::get_mut(&mut shared.services).unwrap().budgets.root = Budget { calls: 1_000, tokens: 10_000_000, cost };
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..60 {
        let shared = shared.clone();
        tasks.spawn(async move {
            shared.start(&format!("run-{n}"), 0, &agent_limits()).complete(question(&format!("{n:02}"))).await
        });
    }
    let results = tasks.join_all().await;
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(made, server.seen().len());
    assert!(made >= 10, "{made}");
    let spent = book.used(Scope::Root, "event-1");
    assert!(spent.micro_euro <= worst.micro_euro * 10, "{spent:?}");
    assert_eq!(spent.micro_euro, made as u64 * 180, "settled with what was really used");
    for halt in results.into_iter().filter_map(Result::err) {
        assert_eq!(breach(halt).limit, Limit::LlmCost);
    }
}

proptest::proptest! {
    /// Whatever is charged and settled, in whatever order: no account ever holds more than its budget at worst case,
    /// and at the end each holds what was used.
    #[test]
    fn accounts_add_up(calls in proptest::collection::vec((0u64..50, 0u64..50, 0u8..2, proptest::bool::ANY), 1..40)) {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        triggerbox_llm::ledger::create_tables(&conn).unwrap();
        let account = |key: u8, max: u64| Account {
            scope: Scope::Root,
            key: key.to_string(),
            max: Amount { calls: u64::MAX, tokens: max, micro_euro: u64::MAX },
        };
        let (mut charged, mut open) = ([0u64; 3], Vec::new());
        for (worst, used, key, settle_first) in calls {
            if settle_first && let Some((key, worst, used)) = open.pop() {
                let amount = |tokens| Amount { calls: 1, tokens, micro_euro: 0 };
                let accounts = [account(key, 100), account(2, 150)];
                triggerbox_llm::budget::settle(&conn, &accounts, amount(worst), amount(used)).unwrap();
                for key in [key, 2] {
                    charged[key as usize] = charged[key as usize] + used - worst;
                }
            }
            let amount = Amount { calls: 1, tokens: worst, micro_euro: 0 };
            let accounts = [account(key, 100), account(2, 150)];
            let fits = charged[key as usize] + worst <= 100 && charged[2] + worst <= 150;
            let result = triggerbox_llm::budget::charge(&conn, &accounts, amount, Class::Agent).unwrap();
            proptest::prop_assert_eq!(result.is_ok(), fits);
            if fits {
                charged[key as usize] += worst;
                charged[2] += worst;
                open.push((key, worst, used.min(worst)));
            }
            for key in 0..3u8 {
                let held = triggerbox_llm::budget::used(&conn, Scope::Root, &key.to_string()).unwrap().tokens;
                proptest::prop_assert_eq!(held, charged[key as usize]);
            }
        }
    }
}

// --- attempts that die ---------------------------------------------------------------------------

/// A run whose host dies while the provider answers: the future is dropped where it waits.
async fn die_while_waiting<T>(server: &Server, call: impl Future<Output = T>) {
    let asked = server.seen().len();
    let mut call = Box::pin(call);
    while server.seen().len() == asked {
        tokio::select! {
            biased;
            _ = &mut call => panic!("it was answered"),
            () = tokio::task::yield_now() => {}
        }
    }
}

// Shows: F059
#[tokio::test]
async fn a_question_whose_answer_was_lost_is_charged_at_its_worst_and_asked_again() {
    let server = Server::start(vec![Step::Stall, Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    let worst = outside.services.models.worst_case(&question("?")).unwrap();
    // Killed before anything was stored: nothing happened.
    assert_eq!(book.calls("run-1"), []);
    // Killed between intent and answer.
    die_while_waiting(&server, outside.start("run-1", 0, &agent_limits()).complete(question("?"))).await;
    assert_eq!(book.calls("run-1")[0].state, "intent");
    assert_eq!(book.used(Scope::Run, "run-1"), worst);
    let spent = || outside.spender.spent.total();
    assert_eq!(spent(), worst, "what was ended in the middle is among what is told");
    // The next attempt asks again, visibly, and pays for both.
    let mut second = outside.start("run-1", 0, &agent_limits());
    assert_eq!(completion(second.complete(question("?")).await.unwrap()).text, "Hello.");
    let states: Vec<_> = book.calls("run-1").into_iter().map(|call| call.state).collect();
    assert_eq!(states, ["unknown", "answered"]);
    assert_eq!(book.used(Scope::Run, "run-1").tokens, worst.tokens + 120);
    assert_eq!((spent().tokens, spent().calls), (worst.tokens + 120, 2), "each once");
    assert_eq!(book.used(Scope::Root, "event-1").calls, 2);
    // Killed after the answer was stored, before the script saw it: the next attempt gets the stored one.
    let mut third = outside.start("run-1", 0, &agent_limits());
    assert_eq!(completion(third.complete(question("?")).await.unwrap()).text, "Hello.");
    assert_eq!(server.seen().len(), 2);
    assert_eq!(book.used(Scope::Run, "run-1").tokens, worst.tokens + 120, "nothing more is charged");
    assert_eq!(spent().calls, 2);
    // The same question for the second time in one attempt is another call, and so is a different one.
    completion(third.complete(question("?")).await.unwrap());
    completion(third.complete(question("Other?")).await.unwrap());
    assert_eq!(server.seen().len(), 4);
}

// Shows: F059
#[tokio::test]
async fn a_stored_answer_counts_also_when_its_model_is_configured_no_more() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let named = |text: &str| LlmRequest { model: Some("test/small".into()), ..question(text) };
    let before = outside(live("openai", &server, &clock), None, &book, &clock);
    completion(before.start("run-1", 0, &agent_limits()).complete(named("?")).await.unwrap());
    let spent = book.used(Scope::Run, "run-1");
    // The host is started anew, with other models; then with none.
    let mut other = crate::support::config("openai", &server.url);
    other.providers[0].models[0].name = "large".into();
    let any: Arc<dyn triggerbox_llm::Clock> = Arc::clone(&clock) as _;
    for (models, code) in
        [(Models::live(other, &any, &env).unwrap(), "unknown-llm-model"), (Models::none(), "llm-not-configured")]
    {
        let mut calls = outside(models, None, &book, &clock).start("run-1", 0, &agent_limits());
        assert_eq!(completion(calls.complete(named("?")).await.unwrap()).text, "Hello.");
        let error = calls.complete(named("Another?")).await.unwrap().unwrap_err();
        assert_eq!(error.code, code, "{error}");
    }
    assert_eq!((server.seen().len(), book.calls("run-1").len()), (1, 1));
    assert_eq!(book.used(Scope::Run, "run-1"), spent, "paid for once");
}

#[tokio::test]
async fn a_question_that_nobody_was_asked_is_kept_with_the_next_one() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let mut calls = outside(live("openai", &server, &clock), None, &book, &clock).start("run-1", 0, &agent_limits());
    let mut request = LlmRequest { model: Some("test/gone".into()), ..question("Who are you?") };
    assert_eq!(calls.complete(request.clone()).await.unwrap().unwrap_err().code, "unknown-llm-model");
    request.model = None;
    completion(calls.complete(request).await.unwrap());
    let asked = &book.calls("run-1")[0].request;
    assert!(asked.contains("Who are you?") && asked.contains("\"by\":\"test/small\""), "{asked}");
    assert!(server.seen()[0].json().to_string().contains("Who are you?"));
}

// Shows: F059
#[tokio::test]
async fn at_whatever_step_a_host_dies_the_next_attempt_does_what_the_rule_says() {
    let deaths = [Death::BeforeIntent, Death::IntentStored, Death::Answered, Death::AnswerStored];
    // Requests that went out in all, by step; where it is known that none did, none more than that.
    for (what, sent) in
        [("model", [1, 1, 2, 1]), ("GET", [1, 1, 2, 1]), ("POST with a key", [1, 1, 2, 1]), ("POST", [1, 0, 1, 1])]
    {
        for (at, sent) in deaths.into_iter().zip(sent) {
            let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
            let (clock, book, web) = (TestClock::new(), Book::new(), Web::new(&[], &env, None).unwrap());
            let alive = outside(live("openai", &server, &clock), Some(web), &book, &clock);
            let deadly = Deadly::new(&book, at);
            let dying = Outside { ledger: Arc::clone(&deadly) as _, ..alive.clone() };
            let grants = authority(&[&format!("GET,POST {}/api private", server.url)]);
            let mut asked = request(what.split(' ').next().unwrap(), &format!("{}/api", server.url));
            if what == "POST with a key" {
                asked.headers.push(("Idempotency-Key".into(), "order-7".into()));
            }
            let attempt = async |outside: &Outside| {
                let mut calls = outside.start("run-1", 0, &agent_limits());
                match what {
                    "model" => calls.complete(question("?")).await,
                    _ => calls.send(&grants, asked.clone()).await,
                }
            };
            tokio::select! {
                came = attempt(&dying) => panic!("{what}, {at:?}: {came:?}"),
                () = deadly.dead.notified() => {}
            }
            let came = attempt(&alive).await;
            let lost = matches!(at, Death::IntentStored | Death::Answered);
            let case = format!("{what}, {at:?}: {came:?}");
            match came {
                Err(Halt::OutcomeUnknown(_)) => assert!(what == "POST" && lost, "{case}"),
                came => assert!(came.unwrap().is_ok() && !(what == "POST" && lost), "{case}"),
            }
            assert_eq!(server.seen().len(), sent, "{case}");
            let worst = alive.services.models.worst_case(&question("?")).unwrap();
            let charged = match what {
                "model" => 120 + if lost { worst.tokens } else { 0 },
                _ => 0,
            };
            assert_eq!(book.used(Scope::Run, "run-1").tokens, charged, "{case}");
            let states: Vec<_> = book.calls("run-1").into_iter().map(|call| call.state).collect();
            let expected: &[&str] = match (what, lost) {
                ("POST", true) => &["unknown"],
                (_, true) => &["unknown", "answered"],
                (_, false) => &["answered"],
            };
            assert_eq!(states, expected, "{case}");
        }
    }
}

#[tokio::test]
async fn answers_that_break_off_stay_charged_and_clear_refusals_do_not() {
    let steps = vec![Step::CutOff, Step::status(400, "{}")];
    let server = Server::start(steps).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    let mut calls = outside.start("run-1", 0, &agent_limits());
    let error = calls.complete(question("1")).await.unwrap().unwrap_err();
    assert_eq!(error.code, "llm-cut-off");
    let worst = outside.services.models.worst_case(&question("1")).unwrap();
    assert_eq!(book.used(Scope::Run, "run-1"), worst);
    let error = calls.complete(question("2")).await.unwrap().unwrap_err();
    assert_eq!(error.code, "llm-refused");
    assert_eq!(book.used(Scope::Run, "run-1"), worst);
}

// Shows: F055, F059
#[tokio::test]
async fn each_try_that_a_model_may_have_answered_is_charged_and_one_that_a_budget_has_not_is_not_made() {
    // What a proxy says while the model behind it works on; who is too busy has not begun.
    let steps = vec![
        Step::status(504, "late"),
        Step::status(503, "busy"),
        Step::status(408, "late"),
        Step::json(&answer("openai", "Hello.")),
        Step::status(500, "oops"),
    ];
    let server = Server::start(steps).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    let worst = outside.services.models.worst_case(&question("?")).unwrap();
    let mut calls = outside.start("run-1", 0, &agent_limits());
    assert_eq!(completion(calls.complete(question("?")).await.unwrap()).text, "Hello.");
    let answered = Amount { calls: 1, tokens: 120, micro_euro: 180 };
    let charged = worst.plus(worst).plus(answered);
    assert_eq!(book.used(Scope::Run, "run-1"), charged, "two that may have cost, and the answer");
    assert_eq!(outside.spender.spent.total(), charged);
    let states: Vec<_> = book.calls("run-1").into_iter().map(|call| call.state).collect();
    assert_eq!(states, ["unknown", "unknown", "answered"]);
    let asked: Vec<_> = book.calls("run-1").into_iter().map(|call| call.request.contains("Be brief.")).collect();
    assert_eq!(asked, [true, false, false], "it is kept once");
    // Another attempt has the answer for nothing.
    let mut again = outside.start("run-1", 0, &agent_limits());
    assert_eq!(completion(again.complete(question("?")).await.unwrap()).text, "Hello.");
    assert_eq!((book.used(Scope::Run, "run-1"), server.seen().len()), (charged, 4));
    // It fails to the end: each of the four tries is charged.
    let error = calls.complete(question("!")).await.unwrap().unwrap_err();
    assert_eq!((error.code.as_str(), server.seen().len()), ("llm-provider-failed", 8), "{error}");
    assert_eq!(book.used(Scope::Run, "run-1").tokens, charged.tokens + 4 * worst.tokens);
    // Where the budget has only two, there is no third.
    let mut narrow = outside.start("run-2", 0, &limits("llm-calls", 2));
    let over = breach(narrow.complete(question("?")).await.unwrap_err());
    assert_eq!((over.limit, over.scope, over.max), (Limit::LlmCalls, Scope::Run, 2), "{over}");
    assert_eq!(server.seen().len(), 10);
    assert_eq!(book.used(Scope::Run, "run-2").calls, 2);
}

#[tokio::test]
async fn what_a_script_within_the_run_spent_is_the_attempts_also_when_it_is_cut_off() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello.")), Step::Stall]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let outside = outside(live("openai", &server, &clock), None, &book, &clock);
    let mut calls = outside.start("run-1", 0, &agent_limits());
    completion(calls.complete(question("1")).await.unwrap());
    let mut within = calls.within("a");
    die_while_waiting(&server, within.complete(question("2"))).await;
    // The script's calls are gone with it.
    drop(within);
    let worst = outside.services.models.worst_case(&question("2")).unwrap();
    assert_eq!(outside.spender.spent.total().tokens, 120 + worst.tokens);
    assert_eq!(outside.spender.spent.total(), book.used(Scope::Run, "run-1"));
}

#[tokio::test]
async fn of_a_conversation_only_what_is_new_is_kept() {
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let mut calls = outside(live("openai", &server, &clock), None, &book, &clock).start("run-1", 0, &agent_limits());
    let mut request = question(&"long ".repeat(10_000));
    for n in 0..5 {
        let said = completion(calls.complete(request.clone()).await.unwrap()).text;
        request.messages.push(triggerbox_model::call::LlmMessage::Assistant(said));
        request.messages.push(triggerbox_model::call::LlmMessage::User(format!("And {n}?")));
    }
    let kept = book.calls("run-1");
    assert_eq!(kept.len(), 5);
    let sizes: Vec<_> = kept.iter().map(|call| call.request.len()).collect();
    assert!(sizes[0] > 50_000 && sizes[1..].iter().all(|size| *size < 300), "{sizes:?}");
    assert!(kept[2].request.contains("And 1?"));
}

// --- recordings ----------------------------------------------------------------------------------

#[tokio::test]
async fn what_was_recorded_is_answered_again_without_a_provider() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hello.json");
    let server =
        Server::start(vec![Step::json(&answer("openai", "Hello.")), Step::json(&answer("openai", "Bye."))]).await;
    let clock: Arc<dyn triggerbox_llm::Clock> = TestClock::new();
    let recorder = Models::record(
        crate::support::config("openai", &server.url),
        &clock,
        &env,
        Recording::new(Origin::Recorded, "a greeting"),
        path.clone(),
    )
    .unwrap();
    for text in ["Hello?", "Bye?"] {
        recorder.ask(&question(text)).await.unwrap();
    }
    assert!(!std::fs::read_to_string(&path).unwrap().contains(KEY));
    let recording = Recording::load(&path).unwrap();
    assert_eq!((recording.origin, recording.exchanges.len()), (Origin::Recorded, 2));

    let strict = Models::replay(Config::default(), &recording, Matching::Strict);
    assert_eq!(strict.ask(&question("Hello?")).await.unwrap().completion.text, "Hello.");
    let error = strict.ask(&question("Bye!")).await.unwrap_err();
    assert_eq!(error.code(), "llm-not-recorded");
    assert!(error.to_string().contains("message 2 was `User(\"Bye?\")` and is `User(\"Bye!\")`"), "{error}");
    assert_eq!(strict.ask(&question("Bye?")).await.unwrap().completion.text, "Bye.");
    assert!(strict.ask(&question("Bye?")).await.unwrap_err().to_string().contains("ends before this question"));
    assert_eq!(server.seen().len(), 2);

    let tolerant = Models::replay(Config::default(), &recording, Matching::Tolerant);
    assert_eq!(tolerant.ask(&question("Good morning?")).await.unwrap().completion.text, "Hello.");
    assert!(tolerant.ask(&shaped("Good morning?")).await.is_err(), "another course");
    assert_eq!(tolerant.unasked(), 1);
}

#[tokio::test]
async fn an_answer_that_cannot_be_recorded_is_an_answer_and_is_paid_for() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("talks");
    // No folder: nothing can be written there, whoever one is.
    std::fs::write(&inner, "").unwrap();
    let path = inner.join("hello.json");
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let (clock, book) = (TestClock::new(), Book::new());
    let any: Arc<dyn triggerbox_llm::Clock> = Arc::clone(&clock) as _;
    let config = crate::support::config("openai", &server.url);
    let new = Recording::new(Origin::Recorded, "a greeting");
    let recorder = Models::record(config, &any, &env, new, path.clone()).unwrap();
    let outside = outside(recorder, None, &book, &clock);
    let said = |nth: usize| {
        let outside = &outside;
        async move {
            let mut calls = outside.start("run-1", 0, &agent_limits());
            completion(calls.complete(question(&nth.to_string())).await.unwrap()).text
        }
    };
    assert_eq!(said(1).await, "Hello.");
    let paid = book.used(Scope::Run, "run-1");
    assert_eq!((paid.calls, paid.tokens), (1, 120));
    assert!(paid.micro_euro > 0);
    assert_eq!(said(1).await, "Hello.");
    assert_eq!((book.used(Scope::Run, "run-1"), server.seen().len()), (paid, 1), "another attempt has it for nothing");
    let error = outside.services.models.unsaved().unwrap().to_string();
    assert!(error.contains("hello.json: cannot be written"), "{error}");

    // What is written later is all of it.
    std::fs::remove_file(&inner).unwrap();
    std::fs::create_dir(&inner).unwrap();
    assert_eq!(said(2).await, "Hello.");
    assert_eq!(outside.services.models.unsaved(), None);
    assert_eq!(Recording::load(&path).unwrap().exchanges.len(), 2);
}

#[test]
fn recordings_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.json");
    let error = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Recording::load(&path).unwrap_err().to_string()
    };
    assert!(error("{").contains("r.json: does not parse"));
    assert!(error(r#"{"triggerbox-recording": 1, "exchanges": []}"#).contains("missing field `origin`"));
    let newer = r#"{"triggerbox-recording": 2, "origin": "recorded", "exchanges": []}"#;
    assert!(error(newer).contains("has format 2; this version reads 1"));
}

// --- other services ------------------------------------------------------------------------------

fn secrets(host: &str) -> Vec<HeaderSecret> {
    vec![HeaderSecret {
        name: "shop".into(),
        value: Source::Env("TEST_KEY".into()),
        host: host.into(),
        header: "Authorization".into(),
    }]
}

fn authority(grants: &[&str]) -> Authority {
    let http: Vec<_> = grants.iter().map(|text| text.parse().unwrap()).collect();
    Authority { script_http: http.clone(), rule_http: http, ..Authority::default() }
}

fn request(method: &str, url: &str) -> HttpRequest {
    HttpRequest { method: method.into(), url: url.into(), headers: Vec::new(), body: Vec::new() }
}

fn response(reply: Reply) -> HttpResponse {
    match reply.unwrap() {
        Answer::Response(response) => response,
        other => panic!("{other:?}"),
    }
}

struct Shop {
    server: Server,
    outside: Outside,
    book: Book,
    grants: Vec<String>,
}

impl Shop {
    /// A shop that may be asked anything, with a secret for it.
    async fn start(steps: Vec<Step>) -> Self {
        let server = Server::start(steps).await;
        let place = server.url.strip_prefix("http://").unwrap().to_owned();
        let web = Web::new(&secrets(&place), &env, None).unwrap();
        let (clock, book) = (TestClock::new(), Book::new());
        let outside = outside(Models::off(), Some(web), &book, &clock);
        let grants = vec![format!("GET,POST,PUT {}/api/* private", server.url)];
        Self { server, outside, book, grants }
    }

    fn calls(&self, run: &str) -> Calls {
        self.outside.start(run, 0, &agent_limits())
    }

    async fn send(&self, request: HttpRequest) -> Reply {
        let grants: Vec<_> = self.grants.iter().map(String::as_str).collect();
        self.calls("run-1").send(&authority(&grants), request).await.unwrap()
    }

    fn request(&self, method: &str, path: &str) -> HttpRequest {
        request(method, &format!("{}{path}", self.server.url))
    }
}

#[tokio::test]
async fn a_secret_is_filled_in_by_the_host_and_taken_out_of_answers() {
    let echo = format!("{{\"you sent\":\"Bearer {KEY}\",\"again\":\"{KEY}\"}}");
    let shop = Shop::start(vec![Step::Say(201, vec![("x-echo", format!("Bearer {KEY}"))], echo)]).await;
    let mut asked = shop.request("POST", "/api/orders");
    asked.headers = vec![("Authorization".into(), "Bearer ${secret:shop}".into()), ("X-Shop".into(), "7".into())];
    asked.body = b"{}".to_vec();
    let answer = response(shop.send(asked).await);
    assert_eq!(answer.status, 201);
    assert!(shop.server.seen()[0].head.contains(&format!("authorization: Bearer {KEY}")));
    assert_eq!(shop.server.seen()[0].body, b"{}");
    assert_eq!(String::from_utf8(answer.body.clone()).unwrap(), r#"{"you sent":"Bearer [secret]","again":"[secret]"}"#);
    assert!(answer.headers.contains(&("x-echo".into(), "Bearer [secret]".into())), "{:?}", answer.headers);
    // Nothing that is kept, shown or said holds it.
    let all = format!("{answer:?}{:?}{:?}", shop.book.calls("run-1"), secrets("x"));
    assert!(!all.contains(KEY));
}

#[tokio::test]
async fn an_answer_in_which_a_secret_cannot_be_looked_for_is_refused() {
    for (encoding, refused) in [("gzip", true), ("br", true), ("Identity", false)] {
        let packed = Step::Say(200, vec![("content-encoding", encoding.to_owned())], "packed".into());
        let shop = Shop::start(vec![packed]).await;
        // Without a secret, what is packed is the script's to unpack.
        assert_eq!(response(shop.send(shop.request("GET", "/api/plain")).await).body, b"packed", "{encoding}");
        let mut asked = shop.request("GET", "/api/orders");
        asked.headers = vec![("Authorization".into(), "Bearer ${secret:shop}".into())];
        let reply = shop.send(asked).await;
        assert_eq!(reply.as_ref().err().map(|error| error.code.as_str()), refused.then_some("http-answer-packed"));
        for seen in shop.server.seen() {
            assert!(seen.head.to_ascii_lowercase().contains("accept-encoding: identity"), "{}", seen.head);
        }
    }
}

#[tokio::test]
async fn a_request_has_no_more_headers_than_anybody_needs() {
    let shop = Shop::start(vec![Step::status(200, "ok")]).await;
    let mut asked = shop.request("GET", "/api/orders");
    asked.headers = (0..40_000).map(|nth| (format!("x-{nth}"), "1".to_owned())).collect();
    let error = shop.send(asked.clone()).await.unwrap_err();
    assert_eq!((error.code.as_str(), shop.server.seen().len()), ("bad-header", 0), "{error}");
    asked.headers.truncate(256);
    assert_eq!(response(shop.send(asked).await).status, 200);
}

#[tokio::test]
async fn a_secret_goes_to_its_host_and_header_only() {
    let shop = Shop::start(vec![Step::status(200, "ok")]).await;
    let error = |header: &str, value: &str| {
        let mut asked = shop.request("GET", "/api/x");
        asked.headers = vec![(header.into(), value.into())];
        let shop = &shop;
        async move { shop.send(asked).await.unwrap_err() }
    };
    let refused = error("x-other", "${secret:shop}").await;
    assert_eq!((refused.kind, refused.code.as_str()), (ErrorKind::AccessDenied, "secret-refused"));
    assert!(refused.message.contains("another header than `x-other`"));
    assert!(error("authorization", "${secret:none}").await.message.contains("is not configured"));
    assert!(error("authorization", "${secret:shop").await.message.contains("has no end"));
    for header in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "proxy-authorization",
        "Accept-Encoding",
        "range",
        "If-Range",
        "bad name",
        "",
    ] {
        assert_eq!(error(header, "x").await.code, "bad-header", "{header}");
    }
    assert_eq!(error("x-split", "a\r\nx-injected: b").await.code, "bad-header");
    assert_eq!(error("x-${secret:shop}", "x").await.code, "bad-header");
    // Where it would leave its header: in the address, whichever part of it, and in the body.
    for path in ["/api/${secret:shop}", "/api/x?key=${secret:shop}", "/api/x#${secret:shop}"] {
        let refused = shop.send(shop.request("GET", path)).await.unwrap_err();
        assert_eq!((refused.kind, refused.code.as_str()), (ErrorKind::AccessDenied, "secret-refused"), "{path}");
        assert!(refused.message.contains("the address names a secret"), "{refused}");
    }
    let user = shop.server.url.replace("http://", "http://${secret:shop}@");
    let refused = shop.send(request("GET", &format!("{user}/api/x"))).await.unwrap_err();
    assert_eq!(refused.code, "secret-refused", "{refused}");
    let mut asked = shop.request("POST", "/api/x");
    asked.body = br#"{"token": "${secret:shop}"}"#.to_vec();
    let refused = shop.send(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code, "secret-refused", "{refused}");
    assert!(refused.message.contains("the body names a secret"), "{refused}");
    assert_eq!(shop.server.seen().len(), 0);
    // What only looks like one is text, such as somebody's message.
    asked.body = br#"{"text": "${secret:none} ${secret:"}"#.to_vec();
    assert_eq!(response(shop.send(asked.clone()).await).status, 200);
    assert_eq!(shop.server.seen()[0].body, asked.body);

    let other = Server::start(vec![Step::status(200, "ok")]).await;
    let mut asked = request("GET", &format!("{}/api/x", other.url));
    asked.headers = vec![("authorization".into(), "${secret:shop}".into())];
    let grant = format!("GET {}/api/x private", other.url);
    let error = shop.calls("run-2").send(&authority(&[&grant]), asked).await.unwrap().unwrap_err();
    assert!(error.message.contains("bound to another host"), "{error}");
    assert_eq!(other.seen().len(), 0);
}

#[tokio::test]
async fn only_what_is_granted_is_sent() {
    let shop = Shop::start(vec![Step::status(200, "ok")]).await;
    for (method, path, code) in [
        ("DELETE", "/api/orders/7", "refused-by-script"),
        ("GET", "/admin", "refused-by-script"),
        ("GET", "/api/../admin", "refused-by-script"),
        ("GET", "/api/%2e%2e/admin", "refused-by-script"),
        ("GET", "/api/..%2fadmin", "refused-by-script"),
        ("get", "/api/x", "bad-method"),
    ] {
        let error = shop.send(shop.request(method, path)).await.unwrap_err();
        assert_eq!(error.code, code, "{method} {path}: {error}");
    }
    for url in ["/api/x", "ftp://shop.example/x", "http://", "not a url"] {
        let error = shop.send(request("GET", url)).await.unwrap_err();
        assert!(["bad-url", "refused-by-script"].contains(&error.code.as_str()), "{url}: {error}");
    }
    // Without a rule's grant policy guards it; without `private` a loopback address is out of reach.
    let script_only = Authority { rule_http: Vec::new(), ..authority(&[shop.grants[0].as_str()]) };
    let ask = |authority: Authority| {
        let (shop, asked) = (&shop, shop.request("GET", "/api/x?token=hidden"));
        async move { shop.calls("run-1").send(&authority, asked).await.unwrap().unwrap_err() }
    };
    let error = ask(script_only).await;
    assert_eq!(error.code, "refused-by-policy");
    assert!(!error.message.contains("hidden"), "{error}");
    let public = shop.grants[0].replace(" private", "");
    assert_eq!(ask(authority(&[&public])).await.code, "address-refused");
    assert_eq!(shop.server.seen().len(), 0);
    assert_eq!(response(shop.send(shop.request("GET", "/api/x")).await).status, 200);
}

/// A name server that says what it is told, and whom it was asked for.
fn names(answers: &'static [&'static str]) -> (Lookup, Arc<Mutex<Vec<String>>>) {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let log = Arc::clone(&asked);
    let lookup: Lookup = Arc::new(move |host| {
        log.lock().unwrap().push(host);
        Ok(answers.iter().map(|address| address.parse::<IpAddr>().unwrap()).collect())
    });
    (lookup, asked)
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_at_the_connection() {
    let server = Server::start(vec![Step::status(200, "inside")]).await;
    let port = server.url.rsplit(':').next().unwrap();
    let url = format!("http://partner.example:{port}/api");
    let cases: [&'static [&'static str]; 6] = [
        &["127.0.0.1"],
        &["::ffff:127.0.0.1"],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["93.184.216.34", "127.0.0.1"],
        &["64:ff9b::7f00:1"],
    ];
    for addresses in cases {
        let (lookup, asked) = names(addresses);
        let web = Web::new(&[], &env, Some(lookup)).unwrap();
        let outside = outside(Models::off(), Some(web), &Book::new(), &TestClock::new());
        let mut calls = outside.start("run-1", 0, &agent_limits());
        let error = calls.send(&authority(&[&format!("GET {url}")]), request("GET", &url)).await.unwrap().unwrap_err();
        assert_eq!(error.code, "address-refused", "{addresses:?}: {error}");
        assert_eq!(asked.lock().unwrap().as_slice(), ["partner.example"], "one look-up: no second opinion");
    }
    // Where the rule grants it, what was checked is what is connected to.
    let (lookup, asked) = names(&["127.0.0.1"]);
    let web = Web::new(&[], &env, Some(lookup)).unwrap();
    let outside = outside(Models::off(), Some(web), &Book::new(), &TestClock::new());
    let grant = format!("GET {url} private");
    let answer =
        outside.start("run-1", 0, &agent_limits()).send(&authority(&[&grant]), request("GET", &url)).await.unwrap();
    assert_eq!(response(answer).body, b"inside");
    assert_eq!(asked.lock().unwrap().len(), 1);
    // By number, in every spelling that an address has.
    for host in
        ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1]", "[::ffff:7f00:1]", "169.254.169.254"]
    {
        let url = format!("http://{host}:{port}/api");
        let mut calls = outside.start("run-2", 0, &agent_limits());
        let error = calls.send(&authority(&[&format!("GET {url}")]), request("GET", &url)).await.unwrap().unwrap_err();
        assert_eq!(error.code, "address-refused", "{host}: {error}");
    }
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn redirects_are_answers_and_bad_services_are_errors() {
    let elsewhere = vec![("location", "http://169.254.169.254/latest/meta-data".to_owned())];
    let shop = Shop::start(vec![Step::Say(307, elsewhere, String::new())]).await;
    let answer = response(shop.send(shop.request("GET", "/api/x")).await);
    assert_eq!(answer.status, 307);
    assert_eq!(shop.server.seen().len(), 1);
    for (step, code) in [
        (Step::CutOff, "http-cut-off"),
        (Step::Hang, "http-cut-off"),
        (Step::Noise, "http-cut-off"),
        (Step::Large(50 << 20), "http-answer-too-large"),
        (Step::Endless, "http-answer-too-large"),
    ] {
        let shop = Shop::start(vec![step]).await;
        let error = shop.send(shop.request("GET", "/api/x")).await.unwrap_err();
        assert_eq!(error.code, code, "{error}");
        assert!(shop.server.sent() < 24 << 20, "took {} bytes", shop.server.sent());
    }
}

#[tokio::test]
async fn a_service_has_ten_seconds_for_its_whole_answer() {
    // Silent in the middle of it, and slow without ever being silent for long.
    for step in [Step::Stall, Step::Trickle] {
        let shop = Shop::start(vec![step]).await;
        let mut sent = std::pin::pin!(shop.send(shop.request("GET", "/api/x")));
        let begun = tokio::time::Instant::now();
        while shop.server.seen().is_empty() {
            tokio::select! {
                biased;
                reply = &mut sent => panic!("{reply:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        // From here on the clock goes on by itself whenever everybody waits.
        tokio::time::pause();
        let error = sent.await.unwrap_err();
        let took = begun.elapsed();
        tokio::time::resume();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Unavailable, "http-timeout"), "{error}");
        assert!(error.message.contains("no whole answer in 10 s"), "{error}");
        assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(12), "{took:?}");
    }
}

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    const ADDRESS: &str = "TRIGGERBOX_TEST_ADDRESS";
    if let Ok(url) = std::env::var(ADDRESS) {
        return ask_directly(&url).await;
    }
    let server = Server::start(vec![Step::json(&answer("openai", "Hello."))]).await;
    let proxy = Server::start(vec![Step::status(502, "a proxy")]).await;
    // This test again, in an environment that names a proxy for everything.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["outside::proxies_of_the_environment_are_not_used", "--exact"]).env(ADDRESS, &server.url);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, &proxy.url).env(name.to_ascii_lowercase(), &proxy.url);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    let output = tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((server.seen().len(), proxy.seen().len()), (2, 1), "two of ours, and one that takes what it finds");
}

/// Asks a service and a provider as a run does; and once as a client that takes proxies from its environment.
async fn ask_directly(url: &str) {
    let (clock, book, web) = (TestClock::new(), Book::new(), Web::new(&[], &env, None).unwrap());
    let any: Arc<dyn triggerbox_llm::Clock> = Arc::clone(&clock) as _;
    let models = Models::live(crate::support::config("openai", url), &any, &env).unwrap();
    let mut calls = outside(models, Some(web), &book, &clock).start("run-1", 0, &agent_limits());
    let grants = authority(&[&format!("GET {url}/api private")]);
    let answer = calls.send(&grants, request("GET", &format!("{url}/api"))).await.unwrap();
    assert_eq!(response(answer).status, 200);
    assert_eq!(completion(calls.complete(question("?")).await.unwrap()).text, "Hello.");
    assert_eq!(reqwest::get(format!("{url}/api")).await.unwrap().status().as_u16(), 502);
}

#[tokio::test]
async fn a_write_that_may_have_arrived_is_never_made_twice() {
    let shop = Shop::start(vec![Step::Stall]).await;
    let grants = authority(&[shop.grants[0].as_str()]);
    for (n, (method, key, again)) in
        [("POST", false, false), ("PUT", false, false), ("GET", false, true), ("POST", true, true)]
            .into_iter()
            .enumerate()
    {
        let run = format!("run-{n}");
        let mut asked = shop.request(method, "/api/orders");
        if key {
            asked.headers.push(("Idempotency-Key".into(), "order-7".into()));
        }
        let server = &shop.server;
        die_while_waiting(server, shop.calls(&run).send(&grants, asked.clone())).await;
        let before = server.seen().len();
        if again {
            die_while_waiting(server, shop.calls(&run).send(&grants, asked)).await;
            assert_eq!(server.seen().len(), before + 1);
            continue;
        }
        for _ in 0..2 {
            let halt = shop.calls(&run).send(&grants, asked.clone()).await.unwrap_err();
            let Halt::OutcomeUnknown(text) = halt else { panic!("{halt:?}") };
            assert!(text.contains(&format!("`{method} {}/api/orders`", server.url)), "{text}");
        }
        assert_eq!(server.seen().len(), before, "not sent again");
        // Until somebody who has looked wants it.
        ledger::make_again(&shop.book.0.lock().unwrap(), &run).unwrap();
        die_while_waiting(server, shop.calls(&run).send(&grants, asked)).await;
        assert_eq!(server.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn a_busy_service_says_when_to_come_back() {
    for (after, seconds) in [("7", Some(7)), ("Fri, 20 Nov 2026 09:30:37 GMT", Some(37)), ("soon", None)] {
        for (method, key, again) in [("GET", false, true), ("POST", true, true), ("POST", false, false)] {
            let shop = Shop::start(vec![Step::Say(503, vec![("retry-after", after.into())], String::new())]).await;
            let mut asked = shop.request(method, "/api/orders");
            if key {
                asked.headers.push(("Idempotency-Key".into(), "order-7".into()));
            }
            let mut calls = shop.calls("run-1");
            let reply = calls.send(&authority(&[shop.grants[0].as_str()]), asked).await.unwrap();
            assert_eq!(response(reply).status, 503);
            let wait = calls.unavailable().map(|unavailable| unavailable.wait);
            assert_eq!(wait, again.then(|| seconds.map(Duration::from_secs)), "{method}, {after}");
            let wrote = ledger::wrote(&shop.book.0.lock().unwrap(), "run-1").unwrap();
            assert_eq!((wrote, calls.wrote()), (method == "POST", method == "POST"), "{method}, {after}");
        }
    }
}

#[tokio::test]
async fn what_was_answered_is_not_sent_again_and_a_dry_run_sends_no_writes() {
    let mut shop = Shop::start(vec![Step::status(200, "done")]).await;
    for _ in 0..3 {
        let answer = response(shop.send(shop.request("POST", "/api/orders")).await);
        assert_eq!(answer.body, b"done");
    }
    assert_eq!(shop.server.seen().len(), 1, "three attempts, one request");
    shop.outside.only_reads = true;
    assert_eq!(shop.send(shop.request("POST", "/api/other")).await.unwrap_err().code, "http-not-sent");
    assert_eq!(response(shop.send(shop.request("GET", "/api/other")).await).status, 200);
    assert_eq!(shop.server.seen().len(), 2);
}

#[tokio::test]
async fn what_a_script_within_the_run_sent_is_not_sent_again_whatever_ran_before_it() {
    let shop = Shop::start(vec![Step::status(200, "done")]).await;
    let grants = authority(&[shop.grants[0].as_str()]);
    // In each try the scripts run in another order, after one that asks nothing.
    for order in [["a", "b", "a"], ["b", "a", "a"], ["a", "a", "b"]] {
        let mut calls = shop.calls("run-1");
        let idle = calls.within("c");
        calls.after(idle);
        for version in order {
            let mut within = calls.within(version);
            let reply = within.send(&grants, shop.request("POST", "/api/orders")).await.unwrap();
            assert_eq!(response(reply).body, b"done");
            calls.after(within);
        }
        assert_eq!(shop.server.seen().len(), 3, "one of b and two of a");
    }
    // The script that they run within is another one, and so is another run of them.
    let mut calls = shop.calls("run-1");
    response(calls.send(&grants, shop.request("POST", "/api/orders")).await.unwrap());
    let mut third = shop.calls("run-2");
    response(third.within("a").send(&grants, shop.request("POST", "/api/orders")).await.unwrap());
    assert_eq!(shop.server.seen().len(), 5);
}

// --- keys ----------------------------------------------------------------------------------------

#[tokio::test]
async fn no_key_shows_anywhere() {
    let leak = json!({ "error": { "message": format!("Incorrect API key provided: {KEY}") } });
    for step in [Step::status(400, &leak.to_string()), Step::status(401, &leak.to_string()), Step::CutOff] {
        let server = Server::start(vec![step]).await;
        let (clock, book) = (TestClock::new(), Book::new());
        let outside = outside(live("openai", &server, &clock), None, &book, &clock);
        let error = outside.start("run-1", 0, &agent_limits()).complete(question("?")).await.unwrap().unwrap_err();
        let database = book.0.lock().unwrap();
        let mut dump = format!("{error:?} {error}");
        let sql = "SELECT request || coalesce(reply, '') || accounts FROM llm_call";
        dump += &database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert!(!dump.contains(KEY), "{dump}");
        assert!(server.seen()[0].head.contains(KEY), "it is sent, though");
    }
    // Nor where a provider says it in an answer that is none the worse for it.
    for kind in ["openai", "anthropic"] {
        let server = Server::start(vec![Step::json(&answer(kind, &format!("You sent {KEY}.")))]).await;
        let (clock, book, folder) = (TestClock::new(), Book::new(), tempfile::tempdir().unwrap());
        let any: Arc<dyn triggerbox_llm::Clock> = Arc::clone(&clock) as _;
        let (new, path) = (Recording::new(Origin::Recorded, ""), folder.path().join("r.json"));
        let models = Models::record(crate::support::config(kind, &server.url), &any, &env, new, path.clone()).unwrap();
        let outside = outside(models, None, &book, &clock);
        let said = completion(outside.start("run-1", 0, &agent_limits()).complete(question("?")).await.unwrap());
        assert_eq!(said.text, "You sent [secret].");
        let kept = format!("{said:?} {:?} {}", book.calls("run-1"), std::fs::read_to_string(path).unwrap());
        assert!(!kept.contains(KEY) && kept.matches("[secret]").count() >= 3, "{kept}");
    }
    let secret = triggerbox_llm::secret::Secret::new(KEY.into());
    assert_eq!(format!("{secret:?}"), "[secret]");
}
