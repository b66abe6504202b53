//! Looking for a text in threads.

use rusqlite::Connection;

use super::{
    list::ThreadSummary,
    read::{Said, read},
};
use crate::error::EngineError;

/// Whether a thread says a text, whatever its case: in its names, in how it ended, or in what was said and done in it.
///
/// # Errors
/// What the database says.
pub fn says(conn: &Connection, thread: &ThreadSummary, text: &str) -> Result<bool, EngineError> {
    let wanted = text.to_lowercase();
    let has = |text: &str| text.to_lowercase().contains(&wanted);
    let names = [Some(&thread.name), Some(&thread.rule), thread.agent.as_ref(), thread.model.as_ref()];
    let ends = [thread.code.as_ref(), thread.message.as_ref()];
    if names.into_iter().chain(ends).flatten().any(|text| has(text)) {
        return Ok(true);
    }
    // Most threads are told apart by the bytes that are kept; only what JSON writes otherwise needs to be read.
    let plain = !wanted.contains(['"', '\\']) && !wanted.chars().any(char::is_control);
    if plain && !kept(conn, thread, &has)? {
        return Ok(false);
    }
    Ok(read(conn, thread.id)?.entries.iter().any(|entry| texts(&entry.said).into_iter().any(has)))
}

/// Whether the calls of a thread hold a text, as they are kept.
fn kept(conn: &Connection, thread: &ThreadSummary, has: &dyn Fn(&str) -> bool) -> Result<bool, EngineError> {
    let sql = "SELECT c.request, c.reply FROM engine_run r JOIN llm_call c ON c.run = r.key WHERE r.id = ?";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([thread.id])?;
    while let Some(row) = rows.next()? {
        let (request, reply): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        if has(&request) || reply.is_some_and(|reply| has(&reply)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What people read of it.
fn texts(said: &Said) -> [&str; 2] {
    let (one, other) = match said {
        Said::System { text } | Said::User { text } => (text.as_str(), ""),
        Said::Assistant { text, model, .. } => (text.as_str(), model.as_str()),
        Said::ToolCall { name, arguments, .. } => (name.as_str(), arguments.as_str()),
        Said::ToolResult { name, output, .. } => (name.as_str(), output.as_str()),
        Said::Request { request, .. } => (request.as_str(), ""),
        Said::Refusal { code, message } => (code.as_str(), message.as_str()),
        Said::Event { event, message } => (event.as_str(), message.as_str()),
        Said::Open { .. } => ("", ""),
    };
    [one, other]
}
