//! What a chained run may know of the run before it: its last text and its tool calls, and nothing more.

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::Value as Json;
use triggerbox_model::{
    event::{Outcome, PreviousRun, ToolEntry},
    value::Id,
};

use crate::{error::EngineError, queue::Claim};

/// A script's result, as far as it speaks of a conversation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    text: Option<String>,
    tool_log: Vec<Call>,
}

#[derive(Debug, Deserialize)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Json,
    #[serde(default)]
    output: Json,
}

/// The newest run before this one of the same rule on the same record that had something to say; not of one that was deleted.
pub(crate) fn previous(conn: &Connection, claim: &Claim, record: Id) -> Result<Option<PreviousRun>, EngineError> {
    let sql = "SELECT r.key, r.outcome FROM engine_about a CROSS JOIN engine_run r ON r.id = a.run \
               WHERE a.model = ?1 AND a.record = ?2 AND a.run < ?4 AND r.record = ?2 AND r.rule = ?3 \
               AND r.state IN ('succeeded', 'waiting-approval') AND r.code <> 'spread' AND r.rule_version > \
               (SELECT coalesce(max(version), 0) FROM engine_rule_version WHERE rule = ?3 AND state = 'deleted') \
               ORDER BY a.run DESC LIMIT 1";
    let params = (&claim.model, record, &claim.rule.rule.name, claim.id);
    let found = conn
        .prepare_cached(sql)?
        .query_row(params, |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
    let Some((id, outcome)) = found.optional()? else { return Ok(None) };
    let outcome = outcome.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or_default();
    Ok(Some(remembered(id, outcome)))
}

/// What the next run may know of a run, from what it answered.
#[must_use]
pub fn remembered(id: String, outcome: Outcome) -> PreviousRun {
    // A result of any other shape says nothing of a conversation.
    let told: Told = outcome.result_json.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_default();
    let entry = |call: Call| ToolEntry {
        name: call.name,
        arguments_json: call.arguments.to_string(),
        output_json: call.output.to_string(),
    };
    PreviousRun {
        id,
        last_text: told.text.or(outcome.message).unwrap_or_default(),
        tool_log: told.tool_log.into_iter().map(entry).collect(),
    }
}
