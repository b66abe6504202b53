//! Writes into a scenario's file what came of it, in place of what was expected. Everything else in it stays; budgets too:
//! they are decisions.

use std::fmt::Write as _;

use serde_json::Value as Json;
use toml::Value;

use super::{
    BadScenario, Observed, ScenarioFile,
    compare::block,
    expect::{Expect, Lines, plain},
};

/// The file's text with what came of it.
///
/// # Errors
/// The file has `[expect]` in a form that is not understood.
pub fn blessed(file: &ScenarioFile, observed: &Observed) -> Result<String, BadScenario> {
    let expect = file.scenario.expect.as_ref().map(|expect| expect.get_ref());
    let text = replaced(&file.text, &expected(expect, observed));
    let whole: Result<toml::Table, _> = text.parse();
    let without = |text: &str| {
        let mut table: toml::Table = text.parse().ok()?;
        table.remove("expect");
        Some(table)
    };
    match whole {
        Ok(_) if without(&text) == without(&file.text) => Ok(text),
        _ => Err(file.broken("cannot be rewritten: write `[expect]` and `[[expect.…]]` as tables of their own")),
    }
}

/// What came, as tables of a file. The log and the outcome's extras are written where they were.
fn expected(before: Option<&Expect>, observed: &Observed) -> String {
    let mut top: Vec<(String, Value)> = Vec::new();
    let outcome = observed.outcome.clone().unwrap_or_default();
    let text = |text: String| Value::String(text);
    top.extend(outcome.message.map(|message| ("message".to_owned(), text(message))));
    top.extend(outcome.warning.map(|warning| ("warning".to_owned(), text(warning))));
    let strings = |lines: &[String]| Value::Array(lines.iter().cloned().map(Value::String).collect());
    if !outcome.records.is_empty() {
        let records = outcome.records.iter().map(|id| Value::Integer(i64::from(*id)));
        top.push(("records".to_owned(), Value::Array(records.collect())));
    }
    let as_text = before.is_some_and(|before| before.result_json.is_some());
    top.extend(outcome.result_json.and_then(|json| result(&json, as_text)));
    if !observed.refusals.is_empty() {
        top.push(("refusals".to_owned(), strings(&observed.refusals)));
    }
    if before.is_some_and(|before| before.log.is_some()) {
        top.push(("log".to_owned(), strings(&observed.log)));
    }
    let mut values: Vec<_> = observed.values.iter().collect();
    values.sort_by_key(|(name, _)| name.as_str());
    top.extend(values.into_iter().map(|(name, value)| (format!("values.{name}"), plain(value))));

    let mut out = format!("[expect]\n{}", block(&top));
    if let Some(error) = &observed.error {
        let _ = write!(out, "\n[expect.error]\n{}", block(&error.lines()));
    }
    let before = before.map(|expect| expect.changes.as_slice()).unwrap_or_default();
    let changes: Vec<_> = observed
        .changes
        .iter()
        .map(|item| match before.iter().find(|before| before.get_ref().record == item.record) {
            Some(before) => item.clone().seen_by(before.get_ref()),
            None => item.clone(),
        })
        .filter(|item| item.deleted || !item.values.is_empty())
        .collect();
    list(&mut out, "changes", &changes);
    list(&mut out, "messages", &observed.messages);
    list(&mut out, "activities", &observed.activities);
    if observed.follows {
        list(&mut out, "followers", &observed.followers);
    }
    list(&mut out, "requests", &observed.requests);
    out
}

/// The outcome's result as a line of a file: as data, if TOML has all of it and it was not written as text before.
fn result(text: &str, as_text: bool) -> Option<(String, Value)> {
    let json: Json = serde_json::from_str(text).ok()?;
    let data = serde_json::from_str::<Value>(text).ok().filter(|_| !as_text && !has_null(&json));
    Some(match data {
        Some(data) => ("result".to_owned(), data),
        None => ("result-json".to_owned(), Value::String(json.to_string())),
    })
}

fn has_null(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => items.iter().any(has_null),
        Json::Object(map) => map.values().any(has_null),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

fn list<T: Lines>(out: &mut String, name: &str, items: &[T]) {
    for item in items {
        let _ = write!(out, "\n[[expect.{name}]]\n{}", block(&item.lines()));
    }
}

/// The text with `new` where its tables on what is expected were, or at its end.
fn replaced(text: &str, new: &str) -> String {
    let (mut before, mut after, mut seen, mut inside) = (String::new(), String::new(), false, false);
    let (mut waiting, mut open) = (String::new(), None);
    for line in text.lines() {
        let header = open.is_none() && line.trim_start().starts_with('[');
        open = open_after(line, open);
        if header {
            let name = line.trim().trim_start_matches('[').trim_start();
            inside = name.starts_with("expect]") || name.starts_with("expect.");
            seen |= inside;
        }
        let part = if seen { &mut after } else { &mut before };
        match inside {
            // Comments and blank lines before the next table belong to that.
            true if line.trim().is_empty() || line.trim_start().starts_with('#') => {
                waiting += line;
                waiting.push('\n');
            }
            true => waiting.clear(),
            false => {
                *part += &std::mem::take(&mut waiting);
                *part += line;
                part.push('\n');
            }
        }
    }
    let (before, after) = (before.trim_end(), after.trim());
    let gap = if before.is_empty() { "" } else { "\n\n" };
    match after.is_empty() {
        true => format!("{before}{gap}{new}"),
        false => format!("{before}{gap}{new}\n{after}\n"),
    }
}

/// The quotes of the string that a line ends in, if that goes on; those of the one that it begins in are `open`.
fn open_after(line: &str, mut open: Option<&'static str>) -> Option<&'static str> {
    let mut rest = line;
    loop {
        if let Some(quotes) = open {
            let Some(after) = after_string(rest, quotes) else { return Some(quotes) };
            rest = after;
        }
        let (_, from) = rest.split_at_checked(rest.find(['"', '\'', '#'])?)?;
        // None of them: what follows is a comment.
        let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| from.starts_with(*quotes))?;
        rest = from.strip_prefix(quotes)?;
        open = Some(quotes);
    }
}

/// What follows the end of a string with these quotes, if it ends.
fn after_string<'a>(text: &'a str, quotes: &str) -> Option<&'a str> {
    let escapes = quotes.starts_with('"');
    let mut rest = text;
    loop {
        let sign = |c: char| quotes.starts_with(c) || escapes && c == '\\';
        let (_, from) = rest.split_at_checked(rest.find(sign)?)?;
        if let Some(after) = from.strip_prefix(quotes) {
            // One or two more of them before the end of a long string are its own.
            return Some(if quotes.len() == 3 { after.trim_start_matches(['"', '\'']) } else { after });
        }
        let mut signs = from.chars();
        if signs.next() == Some('\\') {
            signs.next();
        }
        rest = signs.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_expected_is_replaced() {
        let text = "# What\ndescription = \"x\"\n\n[expect]\nmessage = \"old\"\n# gone\n\n[[expect.changes]]\nrecord = \"@a\"\n\n\
                    # Kept\n[budgets]\nfuel = 1\n";
        let new = replaced(text, "[expect]\nmessage = \"new\"\n");
        assert_eq!(new, "# What\ndescription = \"x\"\n\n[expect]\nmessage = \"new\"\n\n# Kept\n[budgets]\nfuel = 1\n");
        assert_eq!(replaced("a = 1\n", "[expect]\n"), "a = 1\n\n[expect]\n");
    }

    #[test]
    fn a_result_with_null_is_written_with_it() {
        let written = |result: &str, as_text| {
            let (key, value) = super::result(result, as_text).expect("a result");
            (key, value.as_str().map(str::to_owned))
        };
        let null = r#"{"found":null,"tried":[1,null]}"#;
        assert_eq!(written(null, false), ("result-json".to_owned(), Some(null.to_owned())));
        assert_eq!(written(r#"{"found": 1}"#, false), ("result".to_owned(), None));
        assert_eq!(written(r#"{"found": 1}"#, true), ("result-json".to_owned(), Some(r#"{"found":1}"#.to_owned())));
        assert_eq!(super::result("no JSON", false), None);
    }

    #[test]
    fn lines_of_texts_are_no_tables() {
        let rest = "[given]\nx = \"\"\"\n[expect]\n\\\"\"\"\" # [expect]\ny = 'a\"'\nz = \"'''\\\"\" # it's\n[budgets]\nfuel = 1\n";
        let text =
            "[expect]\nmessage = \"\"\"\n[one]\n# two\n\"\"\"\n\n[[expect.messages]]\ntext = '''\n[expect.x]'''\n";
        let whole = format!("{text}\n{rest}\n[expect.error]\ncode = \"failed\"\n");
        assert_eq!(replaced(&whole, "[expect]\n"), format!("[expect]\n\n{rest}"));
    }
}
