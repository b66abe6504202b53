//! Tells a Slack channel about the triggering records, one message for each.
//!
//! The script never sees the token: it writes a placeholder, and the host fills it in. Slack answers 200 even when it refuses,
//! and says so in the body.

use serde::Deserialize;
use triggerbox::{http::Request, json, prelude::*};

#[derive(Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: String,
}

fn run(event: &Event) -> Result<String> {
    let (url, channel, before): (String, String, String) =
        (event.param("url")?, event.param("channel")?, event.param("text")?);
    let rows = event.read(&["display_name"])?;
    for row in &rows {
        let text = format!("{before} {}", plain(row.text("display_name")?));
        let answer: Answer = Request::post(url.as_str())
            .header("authorization", "Bearer ${secret:slack}")
            // A run that is tried again after a crash sends it again only because Slack can tell that it is the same.
            .header("idempotency-key", format!("{}-{}", event.run_id, row.id))
            .json(&json!({ "channel": channel, "text": text }))?
            .send()?
            .ok()?
            .json()?;
        if !answer.ok {
            fail!("Slack refused the message to {channel}: {}", answer.error);
        }
    }
    Ok(format!("told {channel} of {} records", rows.len()))
}

/// In Slack's markup, `<!channel>` calls everybody and `<https://…|text>` is a link: a record's name must be neither.
fn plain(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

triggerbox::script!(run);
