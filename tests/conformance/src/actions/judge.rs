//! Whether a run came to what the server came to. An error agrees with the server's error of its class alone: a trap, a
//! limit or a failure of the backend agrees with none.

use serde_json::{Map, Value as Json, json};
use triggerbox_automation::{Report, Verdict as Ending};
use triggerbox_model::{error::ErrorKind, event::Failure, limits::Limit, schema::Schema};
use triggerbox_sandbox::LogLevel;

use crate::{Verdict, writes};

/// A log, as it came.
pub(super) type Lines = [(LogLevel, String)];

/// Errors of Python that the component tells by a code of the contract: whose fault it is, is the same.
const CODES: [(&str, &[&str]); 5] = [
    ("KeyError", &["unknown-model", "unknown-selection"]),
    ("ValueError", &["unknown-field", "unknown-selection", "bad-domain", "unknown-xmlid"]),
    ("AttributeError", &["unknown-method", "unknown-field"]),
    ("TypeError", &["bad-domain"]),
    ("NumericValueOutOfRange", &["bad-number", "ValueError"]),
];

/// Codes of what the run's user may not do. What the rule is not granted has others, and is no answer to the same question.
const USER_MAY_NOT: [&str; 4] = ["no-access", "record-rule", "restricted-field", "foreign-company"];

/// Records that are not there: the host's word, and the library's for one that a read does not find.
const GONE: [&str; 2] = ["missing-record", "no-such-record"];

/// Judges the run of an action.
pub(super) fn action(schema: &Schema, case: &Json, report: &Report, mut changes: Json, lines: &Lines) -> Verdict {
    let expected = case.get("expected").cloned().unwrap_or_default();
    if !says_something(&expected) {
        return Verdict::failed("a difference, an error, a log or an answer", format!("no case: {expected}"));
    }
    if let Some(error) = error_of(&expected) {
        return failure(case, &error, report, &changes, lines);
    }
    let Ending::Applied(outcome) = &report.verdict else {
        return Verdict::failed(expected.to_string(), shown(report, lines));
    };
    if let Some(differs) = other_log(&expected, lines) {
        return differs;
    }
    let result: Json = outcome
        .result_json
        .as_deref()
        .map_or(Json::Bool(false), |text| serde_json::from_str(text).unwrap_or(Json::Null));
    let wanted = expected.get("result").cloned().unwrap_or(Json::Bool(false));
    if result != wanted {
        return Verdict::failed(format!("result {wanted}"), format!("result {result}"));
    }
    // An action that a server with other data was asked makes its own records, and says in its log what became of them.
    match expected.get("diff").cloned() {
        Some(mut wanted) => writes::compare(schema, &mut wanted, &mut changes),
        None => Verdict::Passed,
    }
}

/// Judges the run of an attack: what the server refuses is refused, what it cannot survive is stopped, what asks for other
/// people's rights does not get them, and whatever it comes to, nothing is different.
pub(super) fn attack(case: &Json, report: &Report, changes: &Json, lines: &Lines) -> Verdict {
    let expected = case.get("expected").cloned().unwrap_or_default();
    if let Some(error) = error_of(&expected) {
        return failure(case, &error, report, changes, lines);
    }
    if let Some(differs) = nothing_changed(changes) {
        return differs;
    }
    let asks_for_rights = ["sudo(", "with_user(", "env(user"].iter().any(|call| text(case, "code").contains(call));
    let agrees = match &report.verdict {
        Ending::Failed(_) => true,
        // Only what the server itself was spared may use up what it has.
        Ending::LimitExceeded(_) => expected.get("not_run").is_some(),
        Ending::Applied(_) => !asks_for_rights && expected.get("not_run").is_none(),
        _ => false,
    };
    match agrees {
        true => Verdict::Passed,
        false => Verdict::failed("a refusal, a limit for what asks for too much", shown(report, lines)),
    }
}

/// What the server said no with.
struct Refused<'a> {
    /// Before anything ran.
    at_once: bool,
    /// The exception's class, without its module: of what `safe_eval` wraps, the inner one.
    class: &'a str,
    message: &'a str,
}

fn error_of(expected: &Json) -> Option<Refused<'_>> {
    let said = |name: &str| expected.get(name).filter(|error| error.is_object());
    let (at_once, error) =
        said("save_error").map(|error| (true, error)).or(said("error").map(|error| (false, error)))?;
    let part = |name: &str| error.get(name).and_then(Json::as_str).unwrap_or_default();
    let (class, message) = (part("class"), part("message"));
    let class = class.rsplit('.').next().unwrap_or(class);
    // `ValueError` is what `safe_eval` makes of all that is no error for people, with the exception's `repr` as its text.
    let inner = message.split_once('(').map(|(name, _)| name).filter(|name| name.chars().all(char::is_alphanumeric));
    let class = inner.filter(|name| class == "ValueError" && !name.is_empty()).unwrap_or(class);
    Some(Refused { at_once, class, message })
}

fn failure(case: &Json, wanted: &Refused<'_>, report: &Report, changes: &Json, lines: &Lines) -> Verdict {
    if let Some(differs) =
        nothing_changed(changes).or_else(|| other_log(case.get("expected").unwrap_or(&Json::Null), lines))
    {
        return differs;
    }
    match agrees(wanted, text(case, "code"), &report.verdict, report.used.get(Limit::HostCalls)) {
        true => Verdict::Passed,
        false => {
            let when = if wanted.at_once { "before anything runs, " } else { "" };
            Verdict::failed(format!("{when}{}: {}", wanted.class, wanted.message), shown(report, lines))
        }
    }
}

/// Whether a run failed as the server did.
fn agrees(wanted: &Refused<'_>, code: &str, ending: &Ending, host_calls: u64) -> bool {
    // What the text begins with: a code of the contract, an exception's class, or `line 3`.
    let (told, kind) = match ending {
        Ending::Failed(Failure::Failed(text)) => (text.split_once(": ").map_or("", |(what, _)| what), None),
        Ending::Failed(Failure::UserError(_)) => ("", Some(ErrorKind::Rejected)),
        Ending::Rejected(error) => (error.code.as_str(), Some(error.kind)),
        _ => return false,
    };
    if wanted.at_once {
        return host_calls == 0 && told.starts_with("line ");
    }
    match wanted.class {
        "UserError" if code.contains("raise UserError(") => {
            matches!(ending, Ending::Failed(Failure::UserError(text)) if text == wanted.message)
        }
        // What Odoo's models, or the database under them, say of the data.
        "UserError" | "ValidationError" | "RedirectWarning" | "NotNullViolation" => kind == Some(ErrorKind::Rejected),
        "AccessError" => USER_MAY_NOT.contains(&told),
        "MissingError" => GONE.contains(&told),
        class => {
            let codes = CODES.iter().find(|(name, _)| *name == class).map_or(&[][..], |(_, codes)| codes);
            told == class || codes.contains(&told)
        }
    }
}

fn nothing_changed(changes: &Json) -> Option<Verdict> {
    let same = changes.as_object().is_some_and(Map::is_empty);
    (!same).then(|| Verdict::failed("nothing changes", changes.to_string()))
}

/// Says what differs between the log and the server's. What is refused before it runs logs nothing.
fn other_log(expected: &Json, lines: &Lines) -> Option<Verdict> {
    let logs: Json = lines.iter().map(|(level, text)| json!({ "level": level.name(), "message": text })).collect();
    let wanted = expected.get("logs").cloned().unwrap_or_else(|| json!([]));
    (logs != wanted).then(|| Verdict::failed(format!("logs {wanted}"), format!("logs {logs}")))
}

fn shown(report: &Report, lines: &Lines) -> String {
    format!("{:?}; logs {lines:?}", report.verdict)
}

fn text<'a>(case: &'a Json, name: &str) -> &'a str {
    case.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// Whether there is something to compare. A code that does nothing would come to all else.
fn says_something(expected: &Json) -> bool {
    let said = |name: &str| expected.get(name).filter(|said| **said != json!([]) && **said != json!(false));
    ["diff", "error", "save_error", "logs", "result"].iter().any(|name| said(name).is_some())
}

#[cfg(test)]
mod tests {
    use triggerbox_model::error::Error;
    use triggerbox_sandbox::Trap;

    use super::*;

    #[test]
    fn a_case_that_expects_nothing_is_none() {
        for nothing in [json!(null), json!({}), json!({ "logs": [], "result": false }), json!({ "diffs": {} })] {
            assert!(!says_something(&nothing), "{nothing}");
        }
        for something in [
            json!({ "diff": {}, "logs": [], "result": false }),
            json!({ "error": { "class": "odoo.exceptions.UserError" }, "logs": [] }),
            json!({ "logs": [{ "level": "info", "message": "1" }], "result": false }),
            json!({ "logs": [], "result": { "type": "ir.actions.act_window" } }),
        ] {
            assert!(says_something(&something), "{something}");
        }
    }

    /// Whether an ending is that of an error of the server's.
    fn is(name: &str, class: &str, message: &str, code: &str, ending: &Ending, host_calls: u64) -> bool {
        let expected = json!({ name: { "class": class, "message": message } });
        agrees(&error_of(&expected).expect("an error"), code, ending, host_calls)
    }

    #[test]
    fn an_error_is_the_server_s_only_if_it_is_of_its_class() {
        let failed = |text: &str| Ending::Failed(Failure::Failed(text.to_owned()));
        let user = |text: &str| Ending::Failed(Failure::UserError(text.to_owned()));
        let rejected = Ending::Rejected(Error::rejected("check", "no"));
        let trap = Ending::Trapped(Trap { cause: "unreachable".to_owned(), stderr: None, frames: Vec::new() });
        let down = Ending::Backend("no disk".to_owned());
        let no_rights = failed("no-access: x may not");
        let no_grant = failed("refused-by-rule: the rule does not");

        // By the server's class: what it is, and what it is not.
        let key = ("builtins.ValueError", "KeyError('missing')");
        let cases: [(_, &[&Ending]); 7] = [
            (
                key,
                &[&failed("KeyError: 'missing' (line 2: d['missing'])"), &failed("unknown-model: unknown model `x`")],
            ),
            (("builtins.ZeroDivisionError", "by zero"), &[&failed("ZeroDivisionError: by zero")]),
            (
                ("odoo.exceptions.AccessError", "You may not"),
                &[&no_rights, &Ending::Rejected(Error::denied("record-rule", "no"))],
            ),
            (("odoo.exceptions.MissingError", "Record"), &[&failed("missing-record: res.partner(9) does not exist")]),
            (("odoo.exceptions.UserError", "of the data"), &[&user("other words"), &rejected]),
            (("odoo.exceptions.ValidationError", "recursion"), &[&user("a cycle"), &rejected]),
            (("builtins.ValueError", "NotNullViolation('null value')"), &[&user("a name is needed"), &rejected]),
        ];
        let all: Vec<&Ending> =
            cases.iter().flat_map(|(_, good)| good.iter().copied()).chain([&trap, &down, &no_grant]).collect();
        for ((class, message), good) in &cases {
            for ending in &all {
                let data =
                    |ending: &Ending| matches!(ending, Ending::Rejected(error) if error.kind == ErrorKind::Rejected);
                let of_data = data(ending) || matches!(ending, Ending::Failed(Failure::UserError(_)));
                let same = good.contains(ending) || of_data && good.iter().any(|good| data(good));
                assert_eq!(is("error", class, message, "", ending, 3), same, "{class} {message}: {ending:?}");
            }
        }
    }

    #[test]
    fn what_code_raises_for_people_has_its_words() {
        let code = "raise UserError('stop')";
        let user = |text: &str| Ending::Failed(Failure::UserError(text.to_owned()));
        assert!(is("error", "odoo.exceptions.UserError", "stop", code, &user("stop"), 0));
        assert!(!is("error", "odoo.exceptions.UserError", "stop", code, &user("go"), 0));
    }

    #[test]
    fn what_may_not_be_said_is_refused_before_the_first_host_call() {
        let refused = Ending::Failed(Failure::Failed("line 1: there is no import: import os".to_owned()));
        assert!(is("save_error", "odoo.exceptions.ValidationError", "forbidden opcode(s)", "import os", &refused, 0));
        assert!(!is("save_error", "odoo.exceptions.ValidationError", "forbidden opcode(s)", "import os", &refused, 1));
        let late = Ending::Failed(Failure::Failed("NameError: name 'x' is not defined".to_owned()));
        assert!(!is("save_error", "builtins.NameError", "Access to forbidden name", "x", &late, 0));
    }
}
