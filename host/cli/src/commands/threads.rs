//! `triggerbox threads`: what was said in runs that ask a language model.

use serde_json::json;
use triggerbox_automation::threads::{self, Entry, Said, Thread, ThreadFilter, ThreadSummary};
use triggerbox_llm::budget::Amount;
use triggerbox_store::db::Mode;

use super::runs::record_named;
use crate::{
    args::{Common, ThreadsCommand},
    commands::workshop::{FromError, Workshop},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, RED, YELLOW, printable, styled},
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
        anstream::println!("no threads");
    }
    for thread in &found {
        anstream::println!("{}", head(thread));
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
        anstream::print!("{}", text(&found));
    }
    Ok(Exit::Ok)
}

fn renew(thread: i64, common: &Common) -> Result<Exit, Failure> {
    let workshop = Workshop::open(common, Mode::Write)?;
    let now = workshop.now.as_millisecond();
    let renewed = workshop.write(|conn| threads::renew(conn, thread, now))?;
    if common.format.json {
        output::json(&json!({ "thread": thread, "renewed": renewed }))?;
    } else if renewed {
        anstream::println!("the next run on the record of thread {} begins a new session", styled(BOLD, thread));
    } else {
        anstream::println!("thread {} belongs to no session that could be renewed", styled(BOLD, thread));
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
    lines.extend(thread.entries.iter().map(entry));
    lines.join("\n") + "\n"
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
