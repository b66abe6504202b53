//! The server's rules as ours.

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_automation::rule::{
    Rule,
    check::{Finding, Ground, Severity, check},
};
use triggerbox_model::{domain::Domain, error::Error, grants::Policy};
use triggerbox_store::env::Env;

use super::{database, text};

/// Why a rule is none of ours.
pub(super) enum Unfit {
    /// A domain of it is Python code.
    Python(String),
    /// There is nothing like it here.
    Unknown(String),
}

/// Reads a rule as it was asked for, and as the server saved it.
pub(super) fn read(name: &str, described: &Json, saved: &Json) -> Result<Rule, Unfit> {
    let domain = |of: &Json, key: &str| -> Result<Option<String>, Unfit> {
        match of.get(key).and_then(Json::as_str) {
            None => Ok(None),
            Some(text) => match Domain::parse(text) {
                Ok(_) => Ok(Some(text.to_owned())),
                Err(_) => Err(Unfit::Python(
                    "the domain is Python code: here domains are literals, with relative dates".to_owned(),
                )),
            },
        }
    };
    let is_given = |key: &str| described.get(key).is_some_and(|value| !value.is_null());
    let fields = described.get("trigger_fields").cloned().unwrap_or_else(|| json!([]));
    let reference = described.pointer("/trg_ref/id").cloned().unwrap_or(Json::Null);
    let key = described.pointer("/trg_selection/value").cloned().unwrap_or(Json::Null);
    let on = text(described, "trigger");
    // Such a trigger only sets what it watches and its domains. Given with others, or without the value that it is about, it is
    // what these say.
    let is_about_a_value = matches!(on.as_str(), "on_stage_set" | "on_tag_set" | "on_state_set" | "on_priority_set");
    let sets = is_about_a_value || matches!(on.as_str(), "on_user_set" | "on_archive" | "on_unarchive");
    let by_hand = is_given("filter_domain")
        || is_given("trigger_fields")
        || on == "on_tag_set" && is_given("filter_pre_domain")
        || is_about_a_value && reference.is_null() && key.is_null();
    let is_watching = saved.get("trigger_fields").and_then(Json::as_array).is_some_and(|fields| !fields.is_empty());
    let (of, by_hand) = if sets && by_hand && is_watching { (saved, true) } else { (described, false) };
    let unit = || {
        let unit = Some(text(saved, "trg_type")).filter(|unit| !unit.is_empty());
        let unit = unit.or(Some(text(described, "trg_type"))).filter(|unit| !unit.is_empty());
        let unit = unit.unwrap_or_else(|| "hour".to_owned());
        format!("{}s", unit.trim_end_matches('s'))
    };
    let delay = described.get("trg_range").and_then(Json::as_i64).unwrap_or_default();
    if delay < 0 {
        return Err(Unfit::Python("a delay is a number of units, before or after".to_owned()));
    }
    let trigger = match on.as_str() {
        _ if by_hand => {
            let on = if on.ends_with("archive") { "updated" } else { "created-or-updated" };
            json!({ "on": on, "fields": saved.get("trigger_fields") })
        }
        "on_create" => json!({ "on": "created" }),
        "on_create_or_write" => json!({ "on": "created-or-updated", "fields": fields }),
        "on_write" => json!({ "on": "updated", "fields": fields }),
        "on_unlink" => json!({ "on": "deleted" }),
        "on_stage_set" => json!({ "on": "stage-set", "value": reference }),
        "on_tag_set" => json!({ "on": "tag-set", "value": reference }),
        "on_state_set" => json!({ "on": "state-set", "value": key }),
        "on_priority_set" => json!({ "on": "priority-set", "value": key }),
        "on_user_set" => json!({ "on": "user-set" }),
        "on_archive" => json!({ "on": "archived" }),
        "on_unarchive" => json!({ "on": "unarchived" }),
        "on_message_received" => json!({ "on": "message-received" }),
        "on_message_sent" => json!({ "on": "message-sent" }),
        "on_time" => {
            let delay = if text(described, "trg_mode") == "before" { -delay } else { delay };
            json!({ "on": "time", "field": text(described, "trg_date"), "delay": delay, "unit": unit(), "past": true })
        }
        "on_time_created" => json!({ "on": "after-creation", "delay": delay, "unit": unit(), "past": true }),
        "on_time_updated" => json!({ "on": "after-update", "delay": delay, "unit": unit(), "past": true }),
        other => return Err(Unfit::Unknown(format!("there is no trigger `{other}` here"))),
    };
    let (before, after) = match on.as_str() {
        // The server judges only the one that it calls "before" on messages, and on the record as it is.
        "on_message_received" | "on_message_sent" => (None, domain(of, "filter_pre_domain")?),
        // It never judges that one where nothing comes before.
        "on_create" | "on_unlink" => (None, domain(of, "filter_domain")?),
        on if on.starts_with("on_time") => (None, domain(of, "filter_domain")?),
        _ => (domain(of, "filter_pre_domain")?, domain(of, "filter_domain")?),
    };
    let rule = json!({
        "name": name,
        "model": text(described, "model"),
        "active": described.get("active").and_then(Json::as_bool).unwrap_or(true),
        "trigger": trigger,
        "before-domain": before,
        "domain": after,
        "actions": [{ "script": "stand-in" }],
    });
    // A delay that is negative, for one: no such rule can be written here.
    serde_json::from_value(rule).map_err(|error| Unfit::Python(error.to_string()))
}

/// What keeps a rule from being saved; that its script is a stand-in does not.
pub(super) fn problems(conn: &Connection, env: &Env, rule: &Rule) -> Result<Vec<Finding>, Error> {
    let policy = Policy::default();
    let findings = check(Ground { conn, env, policy: &policy }, rule).map_err(database)?;
    let refused = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    Ok(refused.filter(|finding| !finding.place.starts_with("actions")).collect())
}
