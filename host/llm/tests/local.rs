//! A real model, where there is one: `TRIGGERBOX_LLM_URL` is the base address of a server that speaks chat completions.
//! Without it nothing is asked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod support;

use std::sync::Arc;

use support::{Book, agent_limits, outside, question};
use triggerbox_llm::{Clock, Config, Models, SystemClock};
use triggerbox_model::call::{Answer, LlmRequest};

fn models() -> Option<Models> {
    let url = std::env::var("TRIGGERBOX_LLM_URL").ok()?;
    let model = std::env::var("TRIGGERBOX_LLM_MODEL").unwrap_or_else(|_| "local".into());
    let text = format!(
        "[[providers]]\nname = \"local\"\nkind = \"openai\"\nbase-url = \"{url}\"\nstructured = \"prompt\"\n\
         [[providers.models]]\nname = \"{model}\"\ninput-price = 0.1\noutput-price = 0.1\nmax-output = 200\n"
    );
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    Some(Models::live(Config::parse(&text).unwrap(), &clock, &|_| None).unwrap())
}

#[tokio::test]
async fn a_real_model_answers_and_is_held_to_a_schema() {
    let Some(models) = models() else { return };
    let (book, clock) = (Book::new(), support::TestClock::new());
    let mut calls = outside(models, None, &book, &clock).start("run-1", 0, &agent_limits());
    let answer = calls.complete(question("What is the capital of Belgium?")).await.unwrap().unwrap();
    let Answer::Completion(completion) = answer else { panic!("{answer:?}") };
    println!("{completion:?}");
    assert!(!completion.text.is_empty() && completion.usage.output_tokens > 0);
    assert!(completion.usage.cost > 0.0);

    let schema = r#"{"type":"object","required":["mood"],"properties":{"mood":{"enum":["content","angry"]}}}"#;
    let request = LlmRequest {
        output_schema: Some(schema.into()),
        ..question(
            "Is this customer content or angry: \"Great chairs, thank you!\"? Answer as {\"mood\": \"content\"} or {\"mood\": \"angry\"}.",
        )
    };
    match calls.complete(request).await.unwrap() {
        Ok(Answer::Completion(completion)) => println!("{}", completion.text),
        // A small model may fail twice; then it says so.
        Err(error) => assert_eq!(error.code, "llm-wrong-shape", "{error}"),
        other => panic!("{other:?}"),
    }
}
