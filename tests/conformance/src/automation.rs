//! Which rules fire on what, and how often. A real server fires more often than records change (each recomputed field is a
//! write of its own there, and a write of the same value is a write); here a rule fires once for each record that really
//! changed. Compared are the fires of each step; what its scripts then do is another matter.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_automation::{
    EngineError,
    index::Index,
    matcher,
    rule::{Ground, Rule, Severity, check},
    state::tables,
    timed,
};
use triggerbox_model::{
    changes::{Change, ChangeKind, merge},
    domain::Domain,
    error::Error,
    grants::Policy,
    time,
    value::{Id, RecordRef},
};
use triggerbox_store::env::Env;

use crate::{Data, Verdict, writes::Step};

/// A fire: the rule, and the record.
type Fire = (String, RecordRef);

/// Runs one case.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    data.judge(case, |conn| attempt(data, conn, case))
}

fn attempt(data: &Data, conn: &Connection, case: &Json) -> Result<Verdict, Error> {
    let system = data.env(&json!({ "uid": 1, "su": true }))?;
    tables::upgrade(conn).map_err(database)?;
    let mut names = BTreeMap::new();
    let mut refused = Vec::new();
    for (number, described) in (1..).zip(list(case, "/rules")) {
        let name = format!("rule-{number}");
        let rule = match rule(&name, &described) {
            Ok(rule) => rule,
            Err(reason) => return Ok(Verdict::not_run(reason)),
        };
        refused.extend(problems(conn, &system, &rule)?);
        let body = serde_json::to_string(&rule).map_err(|error| Error::invalid("bad-rule", error.to_string()))?;
        conn.execute("INSERT INTO engine_rule (name, version, owner, body) VALUES (?, 1, 1, ?)", (&name, body))
            .map_err(database)?;
        names.insert(name, text(&described, "tag"));
    }
    // What the server refuses to save, or chokes on at every write, is refused when it is saved here.
    let steps = list(case, "/expected/steps");
    let chokes = steps.iter().all(|step| step.get("error").is_some());
    match (chokes, refused.is_empty()) {
        (true, false) => return Ok(Verdict::Passed),
        (false, false) => return Ok(Verdict::failed("a rule", refused.join("; "))),
        (_, true) => {}
    }

    let index = Index::load(conn, system.clone(), None).map_err(|error| Error::invalid("rules", error.to_string()))?;
    let env = data.env(case)?;
    let (mut records, mut needless, mut clock) = (BTreeMap::new(), None, env.now);
    for (op, wanted) in list(case, "/ops").iter().zip(&steps) {
        if text(op, "op") == "tick" {
            let until = moment(&text(op, "to"))?;
            let got = due(conn, &system, &index, &names, clock, until)?;
            clock = until;
            if got != fires(wanted) {
                return Ok(Verdict::failed(format!("{op} => {:?}", fires(wanted)), format!("{got:?}")));
            }
            continue;
        }
        let mut step = Step::new(&env, case, conn, &mut records, op);
        let done = step.run();
        let changes = merge(std::mem::take(&mut step.changes));
        let expected = fires(wanted);
        let shown = format!("{op} => {expected:?}");
        match (done, wanted.get("error")) {
            (Ok(_), None) => {}
            (Err(_), Some(_)) => continue,
            (Err(error), None) => return Ok(Verdict::failed(shown, format!("{}: {error}", error.code))),
            (Ok(_), Some(error)) => return Ok(Verdict::failed(format!("{op} => {error}"), "it is done")),
        }
        let got = matcher::fires(conn, &system, &index, &changes)?.into_iter().map(|fire| {
            let tag = names.get(&fire.rule.rule.name).cloned().unwrap_or_default();
            (tag, RecordRef::new(fire.rule.rule.model.clone().unwrap_or_default(), fire.record))
        });
        let got: Vec<Fire> = got.collect();
        match compare(&expected, &got, &changes) {
            Agreement::Same => {}
            Agreement::Needless => needless = Some((shown, format!("{got:?}"))),
            Agreement::None => return Ok(Verdict::failed(shown, format!("{got:?}"))),
        }
    }
    Ok(match needless {
        None => Verdict::Passed,
        Some((expected, got)) => Verdict::Needless { expected, got },
    })
}

/// What the clock fires from one time to another.
fn due(
    conn: &Connection,
    env: &Env,
    index: &Index,
    names: &BTreeMap<String, String>,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<Fire>, Error> {
    let mut fires = Vec::new();
    for armed in index.timed() {
        let Some(model) = &armed.rule.model else { continue };
        let env = Env { now: until, ..env.clone() };
        for (id, _) in timed::due(conn, &env, &armed.rule, after, until).map_err(EngineError::into_error)? {
            if matcher::record_holds(conn, &env, armed, model, id)? {
                let tag = names.get(&armed.rule.name).cloned().unwrap_or_default();
                fires.push((tag, RecordRef::new(model, id)));
            }
        }
    }
    Ok(fires)
}

fn moment(text: &str) -> Result<Timestamp, Error> {
    let zoned = time::parse_datetime(text)?.to_zoned(jiff::tz::TimeZone::UTC);
    Ok(zoned.map_err(|error| Error::invalid("bad-date", error.to_string()))?.timestamp())
}

/// How the fires of one step agree.
enum Agreement {
    /// The same fires, as often.
    Same,
    /// The server fires again, or on records that did not change.
    Needless,
    /// They do not.
    None,
}

fn compare(expected: &[Fire], got: &[Fire], changes: &[Change]) -> Agreement {
    let sorted = |fires: &[Fire]| {
        let mut fires = fires.to_vec();
        fires.sort();
        fires
    };
    if sorted(expected) == sorted(got) {
        return Agreement::Same;
    }
    let ours: BTreeSet<&Fire> = got.iter().collect();
    let theirs: BTreeSet<&Fire> = expected.iter().collect();
    let updated = |record: &RecordRef| {
        changes.iter().any(|change| change.record == *record && change.kind != ChangeKind::Created)
    };
    // What the server fires on beyond ours did not change, or was created just now and then computed.
    let excused = theirs.difference(&ours).all(|(_, record)| !updated(record));
    match ours.is_subset(&theirs) && ours.len() == got.len() && excused {
        true => Agreement::Needless,
        false => Agreement::None,
    }
}

fn fires(step: &Json) -> Vec<Fire> {
    let fires = step.get("fires").and_then(Json::as_array).into_iter().flatten();
    let fire = |fire: &Json| {
        let id = fire.get("id").and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok()).unwrap_or_default();
        (text(fire, "rule"), RecordRef::new(text(fire, "model"), id))
    };
    fires.map(fire).collect()
}

/// What keeps a rule from being saved; that its script is a stand-in does not.
fn problems(conn: &Connection, env: &Env, rule: &Rule) -> Result<Vec<String>, Error> {
    let policy = Policy::default();
    let findings = check(Ground { conn, env, policy: &policy }, rule).map_err(database)?;
    let refused = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let refused = refused.filter(|finding| !finding.place.starts_with("actions"));
    Ok(refused.map(ToString::to_string).collect())
}

/// The server's rule as one of ours, or why there is none.
fn rule(name: &str, described: &Json) -> Result<Rule, String> {
    let domain = |key: &str| -> Result<Option<String>, String> {
        match described.get(key).and_then(Json::as_str) {
            None => Ok(None),
            Some(text) => match Domain::parse(text) {
                Ok(_) => Ok(Some(text.to_owned())),
                Err(_) => Err("the domain is Python code: here domains are literals, with relative dates".to_owned()),
            },
        }
    };
    let fields = described.get("trigger_fields").cloned().unwrap_or_else(|| json!([]));
    let reference = described.pointer("/trg_ref/id").cloned().unwrap_or(Json::Null);
    let key = described.pointer("/trg_selection/value").cloned().unwrap_or(Json::Null);
    let trigger = match text(described, "trigger").as_str() {
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
            let delay = described.get("trg_range").and_then(Json::as_i64).unwrap_or_default();
            let delay = if text(described, "trg_mode") == "before" { -delay } else { delay };
            let unit = format!("{}s", text(described, "trg_type"));
            json!({ "on": "time", "field": text(described, "trg_date"), "delay": delay, "unit": unit })
        }
        other => return Err(format!("there is no trigger `{other}` here")),
    };
    // The server judges only the one that it calls "before" on messages, and on the record as it is.
    let (before, after) = match text(described, "trigger").starts_with("on_message") {
        true => (None, domain("filter_pre_domain")?),
        false => (domain("filter_pre_domain")?, domain("filter_domain")?),
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
    serde_json::from_value(rule).map_err(|error| error.to_string())
}

fn list(case: &Json, pointer: &str) -> Vec<Json> {
    case.pointer(pointer).and_then(Json::as_array).cloned().unwrap_or_default()
}

fn text(value: &Json, key: &str) -> String {
    value.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn database(error: rusqlite::Error) -> Error {
    Error::invalid("database", error.to_string())
}
