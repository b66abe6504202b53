//! `triggerbox threads`: what was said in runs that ask a language model.

use serde_json::{Value as Json, json};
use triggerbox_automation::{
    EngineError,
    threads::{self, Entry, Said, Thread, ThreadFilter, ThreadSummary},
};
use triggerbox_llm::budget::Amount;
use triggerbox_store::db::Mode;

use super::runs::record_named;
use crate::{
    args::{Common, ThreadsCommand},
    commands::workshop::{FromError, Workshop},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, printable, styled},
};

pub(crate) fn run(command: &ThreadsCommand) -> Result<Exit, Failure> {
    match command {
        ThreadsCommand::List { rule, agent, record, before, limit, common } => {
            let filter = ThreadFilter {
                rule: rule.clone(),
                agent: agent.clone(),
                record: record.as_deref().map(record_named).transpose()?,
                session: None,
                before: *before,
                after: None,
                limit: *limit,
            };
            list(&filter, common)
        }
        ThreadsCommand::Show { thread, common } => show(*thread, common),
        ThreadsCommand::Renew { thread, common } => renew(*thread, common),
    }
}

fn list(filter: &ThreadFilter, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let found = threads::list(&conn, filter).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&found)?;
        return Ok(Exit::Ok);
    }
    if found.is_empty() {
        outln!("no threads");
    }
    for thread in &found {
        outln!("{}", head(thread));
    }
    Ok(Exit::Ok)
}

fn show(thread: i64, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Read)?;
    let conn = workshop.database.snapshot().or_exit(Exit::Backend)?;
    let found = threads::read(&conn, thread).map_err(Failure::from_error)?;
    if common.format.json {
        output::json(&found)?;
    } else {
        out!("{}", text(&found));
    }
    Ok(Exit::Ok)
}

fn renew(thread: i64, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let now = workshop.now.as_millisecond();
    let renewed = workshop.write("session-renewed", &thread.to_string(), |conn, line| {
        let renewed = threads::renew(conn, thread, now)?;
        line.say(if renewed { "its session is renewed" } else { "it belongs to no session" });
        Ok::<_, EngineError>(renewed)
    })?;
    if common.format.json {
        output::json(&json!({ "thread": thread, "renewed": renewed }))?;
    } else if renewed {
        outln!("the next run on the record of thread {} begins a new session", styled(BOLD, thread));
    } else {
        outln!("thread {} belongs to no session that could be renewed", styled(BOLD, thread));
    }
    Ok(Exit::Ok)
}

fn head(thread: &ThreadSummary) -> String {
    let record = match (&thread.model, thread.record) {
        (Some(model), Some(id)) => format!(" {model}/{id}"),
        (Some(model), None) => format!(" {} of {model}", thread.records.len()),
        (None, _) => String::new(),
    };
    let when = thread.begun.strftime("%Y-%m-%d %H:%M:%S");
    let words = format!("{}{record} {} {when}, {}", thread.name, thread.state.name(), spent(thread.used));
    format!("{} {}", styled(BOLD, thread.id), printable(&words))
}

fn spent(used: Amount) -> String {
    #[allow(clippy::cast_precision_loss, reason = "shown with four digits")]
    let euro = used.micro_euro as f64 / 1e6;
    format!("{} calls, {} tokens, {euro:.4} EUR", used.calls, used.tokens)
}

fn text(thread: &Thread) -> String {
    let mut lines = vec![head(&thread.summary)];
    lines.extend(thread.plan.iter().flat_map(plan));
    lines.extend(thread.entries.iter().map(entry));
    lines.join("\n") + "\n"
}

/// The plan that the run had to make first: its steps, each with what the host says of it.
fn plan(plan: &Json) -> Vec<String> {
    let part = |of: &Json, name: &str| of.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
    let list = |of: &Json, name: &str| of.get(name).and_then(Json::as_array).cloned().unwrap_or_default();
    let is_allowed = |of: &Json| of.get("allowed").and_then(Json::as_bool);
    let word = |allowed: Option<bool>| match allowed {
        Some(true) => styled(GREEN, "allowed"),
        Some(false) => styled(RED, "refused"),
        None => styled(DIM, "not asked"),
    };
    let mut lines =
        vec![format!("{} {}: {}", styled(BOLD, "plan"), printable(&part(plan, "goal")), word(is_allowed(plan)))];
    for step in list(plan, "steps") {
        let fields: Vec<String> = list(&step, "fields").iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let what = format!("{} {} ({})", part(&step, "tool"), part(&step, "model"), fields.join(", "));
        lines.push(format!("  {} {}: {}", styled(BOLD, "step"), printable(&what), word(is_allowed(&step))));
        for verdict in list(&step, "verdicts") {
            let (layer, why) = (part(&verdict, "layer"), part(&verdict, "why"));
            lines.push(format!("    {layer}: {}: {}", word(is_allowed(&verdict)), printable(&why)));
        }
    }
    lines
}

fn entry(entry: &Entry) -> String {
    let line = |style, word: &str, text: &str| format!("{} {}", styled(style, word), printable(text));
    match &entry.said {
        Said::System { text } => line(DIM, "system", text),
        Said::User { text } => line(BOLD, "task", text),
        Said::Assistant { text, used, .. } => {
            let cost = used.map(|used| format!(" ({})", spent(used))).unwrap_or_default();
            line(BOLD, "model", &format!("{text}{cost}"))
        }
        Said::ToolCall { name, arguments, .. } => line(BOLD, "tool", &format!("{name} {arguments}")),
        Said::ToolResult { name, output, failed, .. } => {
            line(if *failed { RED } else { DIM }, "answer", &format!("{name}: {output}"))
        }
        Said::Request { request, status } => {
            let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            line(BOLD, "request", &format!("{request}: {status}"))
        }
        Said::Open { worst, state } => line(YELLOW, state, &format!("charged at its worst case, {}", spent(*worst))),
        Said::Refusal { code, message } => line(RED, "refused", &format!("{code}: {message}")),
        Said::Event { event, message } => line(YELLOW, event, message),
    }
}
