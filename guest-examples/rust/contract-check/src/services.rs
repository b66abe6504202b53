//! A language model and another service: every kind of turn, every end of an answer, headers and bytes.

use triggerbox::{http, llm, prelude::*};

use crate::{Report, show};

/// Asks for tools, tells what came of them, and asks for answers that end in other ways.
pub fn language_model(report: &mut Report) {
    let schema = json!({ "type": "object", "properties": {} });
    let question = llm::Request::new()
        .system("Answer briefly.")
        .user("What is a contract?")
        .message(llm::Message::Assistant("An agreement.".into()))
        .tool("look_up", "Looks a word up", &schema)
        .answer_schema(&schema)
        .temperature(0.0)
        .max_tokens(10);
    let Some(answer) = completion("llm.complete", &question, report) else { return };

    let came_of = |(nth, call): (usize, &llm::ToolCall)| match nth {
        0 => call.result("An agreement."),
        _ => call.failure("no such word"),
    };
    let results = answer.calls.iter().enumerate().map(came_of).collect();
    let told = llm::Request::new()
        .user("What is a contract?")
        .message(llm::Message::AssistantCalls((answer.text, answer.calls)))
        .message(llm::Message::ToolResults(results));
    completion("llm.tool-results", &told, report);
    for end in ["length", "refused", "other"] {
        completion(&format!("llm.{end}"), &llm::Request::new().model("test/small").user(end), report);
    }
}

fn completion(name: &str, request: &llm::Request, report: &mut Report) -> Option<llm::Completion> {
    let answer = report.note(name, request.complete())?;
    let finish = match answer.finish {
        llm::Finish::Stop => "stop",
        llm::Finish::Length => "length",
        llm::Finish::ToolCalls => "tool-calls",
        llm::Finish::Refused => "refused",
        llm::Finish::Other => "other",
    };
    let llm::Usage { input_tokens, output_tokens, cost, currency } = &answer.usage;
    let used = format!("{input_tokens} + {output_tokens} tokens, {:.0} millionths of {currency}", cost * 1e6);
    let mut parts = vec![finish.to_owned(), used, answer.model.clone(), answer.text.clone()];
    parts.extend(answer.calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments_json)));
    show(name, &parts);
    Some(answer)
}

/// A request without a body, and one with bytes that are no text.
pub fn other_service(event: &Event, report: &mut Report) {
    let Ok(url) = event.param::<String>("service") else { return };
    response("http.send", &http::Request::get(&url).header("accept", "text/plain"), report);
    let bytes = http::Request::post(&url).header("content-type", "application/octet-stream").body([0_u8, 255, 10, 0]);
    response("http.post", &bytes, report);
}

fn response(name: &str, request: &http::Request, report: &mut Report) {
    let Some(response) = report.note(name, request.send()) else { return };
    let kind = response.header("Content-Type").unwrap_or_default().to_owned();
    show(name, &[response.status.to_string(), kind, response.text()]);
}
