//! A real model, where there is one: `TRIGGERBOX_LLM_URL` is the base address of a server that speaks chat completions.
//! Without it nothing is asked.

use std::sync::Arc;

use triggerbox_llm::{Clock, Config, Models, SystemClock};
use triggerbox_model::{
    call::{Answer, Completion, Finish, LlmMessage, LlmRequest, Reply},
    limits::Scope,
};

use crate::support::{Book, agent_limits, outside, question};

fn models(structured: &str, max_output: u32) -> Option<Models> {
    let url = std::env::var("TRIGGERBOX_LLM_URL").ok()?;
    let model = std::env::var("TRIGGERBOX_LLM_MODEL").unwrap_or_else(|_| "local".into());
    let text = format!(
        "[[providers]]\nname = \"local\"\nkind = \"openai\"\nbase-url = \"{url}\"\nstructured = \"{structured}\"\n\
         [[providers.models]]\nname = \"{model}\"\ninput-price = 0.1\noutput-price = 0.1\nmax-output = {max_output}\n"
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Some(Models::live(Config::parse(&text).unwrap(), &clock, &|_| None).unwrap())
}

/// Asks, through intents, budgets and answers as a run does.
async fn ask(models: Models, request: LlmRequest) -> (Reply, Book) {
    let (book, clock) = (Book::new(), crate::support::TestClock::new());
    let mut calls = outside(models, None, &book, &clock).start("run-1", 0, &agent_limits());
    let reply = calls.complete(request).await.unwrap();
    println!("{reply:?}");
    (reply, book)
}

fn completion(reply: Reply) -> Completion {
    match reply {
        Ok(Answer::Completion(completion)) => completion,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_real_model_answers_and_says_what_it_used() {
    let Some(models) = models("native", 60) else { return };
    let (reply, book) = ask(models, question("What is the capital of Belgium?")).await;
    let completion = completion(reply);
    assert!(!completion.text.is_empty() && completion.usage.output_tokens > 0 && completion.usage.input_tokens > 0);
    assert!(completion.usage.cost > 0.0);
    let used = book.used(Scope::Run, "run-1");
    assert_eq!(used.tokens, u64::from(completion.usage.input_tokens + completion.usage.output_tokens));
    assert_eq!(book.calls("run-1")[0].state, "answered");
}

#[tokio::test]
async fn a_real_model_is_told_who_it_is_and_what_was_said() {
    let Some(models) = models("native", 40) else { return };
    let messages = vec![
        LlmMessage::System("You are a clerk. Answer in one short sentence.".into()),
        LlmMessage::User("My name is Ada.".into()),
        LlmMessage::Assistant("Hello Ada.".into()),
        LlmMessage::User("What is my name?".into()),
    ];
    let (reply, _) = ask(models, LlmRequest { messages, ..question("") }).await;
    assert!(!completion(reply).text.is_empty());
}

#[tokio::test]
async fn an_answer_of_a_real_model_is_cut_at_its_longest() {
    let Some(models) = models("native", 8) else { return };
    let (reply, _) = ask(models, question("Tell a long story about a chair.")).await;
    let completion = completion(reply);
    assert_eq!(completion.finish, Finish::Length, "{completion:?}");
    assert!(completion.usage.output_tokens <= 8);
}

#[tokio::test]
async fn a_real_model_is_held_to_a_schema() {
    let schema = r#"{"type":"object","required":["mood"],"properties":{"mood":{"enum":["content","angry"]}}}"#;
    let words = "Is this customer content or angry: \"Great chairs, thank you!\"? Answer as {\"mood\": \"content\"} or \
                 {\"mood\": \"angry\"}.";
    for structured in ["native", "prompt"] {
        let Some(models) = models(structured, 60) else { return };
        let request = LlmRequest { output_schema: Some(schema.into()), ..question(words) };
        match ask(models, request).await.0 {
            Ok(Answer::Completion(completion)) => {
                let json: serde_json::Value = serde_json::from_str(&completion.text).unwrap();
                assert!(matches!(json["mood"].as_str(), Some("content" | "angry")), "{json}");
            }
            // A small model may fail twice; then it says so.
            Err(error) => assert_eq!((error.code.as_str(), structured), ("llm-wrong-shape", "prompt"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn several_questions_to_a_real_model_wait_for_each_other() {
    let Some(models) = models("native", 10) else { return };
    let models = Arc::new(models);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let models = Arc::clone(&models);
        asked.spawn(async move { models.ask(&question("Say hello.")).await });
    }
    while let Some(answer) = asked.join_next().await {
        assert!(!answer.unwrap().unwrap().completion.text.is_empty());
    }
}
