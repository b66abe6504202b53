//! What was expected, against what came: each difference with its line and as a diff.

use serde::Serialize;
use similar::TextDiff;
use toml::{Spanned, Value};

use super::{
    ScenarioFile,
    expect::{Changed, Ended, Expect, Follower, Lines, Posted, Todo, plain},
    given::json,
    observe::Observed,
    place::line,
    refs::Called,
};

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The line of the file that expects something else.
    pub line: usize,
    /// What differs: `changes`, `message`, `budget fuel`.
    pub what: String,
    /// How: lines with `-` are expected, lines with `+` came.
    pub diff: String,
}

/// Compares.
pub(super) fn compare(file: &ScenarioFile, names: &Called<'_>, observed: &Observed) -> Vec<Failure> {
    let empty = Expect::default();
    let (expect, at) = match &file.scenario.expect {
        Some(expect) => (expect.get_ref(), line(&file.text, &expect.span())),
        None => (&empty, 1),
    };
    let mut found = Found { file, at, failures: Vec::new() };
    found.end(expect, observed);
    let outcome = observed.outcome.clone().unwrap_or_default();
    found.text("message", expect.message.as_ref(), outcome.message.as_deref());
    if expect.warning.is_some() || outcome.warning.is_some() {
        let (at, expected) = found.told(expect.warning.as_ref(), String::new());
        let came = outcome.warning.clone().unwrap_or_default();
        found.compare(at, "warning", &format!("{expected}\n"), &format!("{came}\n"));
    }
    let (at, expected) = found.told(expect.values.as_ref(), toml::Table::new());
    found.compare(at, "values", &shown(&Value::Table(expected)), &shown(&Value::Table(observed.values.clone())));
    let (at, expected) = found.told(expect.records.as_ref(), Vec::new());
    found.compare(at, "records", &shown(&integers(&expected)), &shown(&integers(&outcome.records)));
    found.result(expect, outcome.result_json.as_deref());
    let on = |reference: &str| names.normal(reference);
    let changed = |item: &Changed| Changed { record: on(&item.record), ..item.clone() };
    let expected: Vec<_> = expect.changes.iter().map(|item| changed(item.get_ref())).collect();
    let came: Vec<_> = observed
        .changes
        .iter()
        .map(|item| match expected.iter().find(|expected| expected.record == item.record) {
            Some(expected) => item.clone().seen_by(expected),
            None => item.clone(),
        })
        // What only follows from other changes is no change of the script's.
        .filter(|item| item.deleted || !item.values.is_empty() || expected.iter().any(|e| e.record == item.record))
        .collect();
    found.list("changes", &expect.changes, &came, changed);
    found.list("messages", &expect.messages, &observed.messages, |item: &Posted| Posted {
        on: on(&item.on),
        ..item.clone()
    });
    found.list("activities", &expect.activities, &observed.activities, |item: &Todo| Todo {
        on: on(&item.on),
        ..item.clone()
    });
    if observed.follows || !expect.followers.is_empty() {
        found.list("followers", &expect.followers, &observed.followers, |item: &Follower| Follower {
            on: on(&item.on),
            ..item.clone()
        });
    }
    found.list("requests", &expect.requests, &observed.requests, Clone::clone);
    let place = expect.refusals.first().map(|refusal| line(&file.text, &refusal.span()));
    let refusals: Vec<_> = expect.refusals.iter().map(|refusal| refusal.get_ref().clone()).collect();
    found.lines("refusals", place, &refusals, &observed.refusals);
    if let Some(log) = &expect.log {
        found.lines("log", Some(line(&file.text, &log.span())), log.get_ref(), &observed.log);
    }
    found.failures.extend(budgets(file, observed));
    found.failures
}

/// Budgets that were not kept.
pub(super) fn budgets(file: &ScenarioFile, observed: &Observed) -> Vec<Failure> {
    let over = file.scenario.budgets.iter().filter_map(|(limit, most)| {
        let used = observed.used.get(*limit.get_ref());
        (used > *most).then(|| Failure {
            line: line(&file.text, &limit.span()),
            what: format!("budget {}", limit.get_ref()),
            diff: format!("-at most {}\n+{}\n", grouped(*most), grouped(used)),
        })
    });
    over.collect()
}

struct Found<'a> {
    file: &'a ScenarioFile,
    /// The line of `[expect]`.
    at: usize,
    failures: Vec<Failure>,
}

impl Found<'_> {
    fn push(&mut self, line: usize, what: &str, diff: String) {
        self.failures.push(Failure { line, what: what.to_owned(), diff });
    }

    fn end(&mut self, expect: &Expect, observed: &Observed) {
        let line = expect.error.as_ref().map_or(self.at, |error| line(&self.file.text, &error.span()));
        let expected = expect.error.as_ref().map(|error| error.get_ref());
        let told = |end: Option<&Ended>| end.map_or_else(|| "success\n".to_owned(), |end| block(&end.lines()));
        let shown = observed.error.clone().map(|end| match expected {
            // Only what the scenario names is compared.
            Some(expected) => Ended {
                message: end.message.filter(|_| expected.message.is_some()),
                limit: end.limit.filter(|_| expected.limit.is_some()),
                ..end
            },
            None => end,
        });
        if expected != shown.as_ref() {
            let mut diff = difference(&told(expected), &told(shown.as_ref()));
            if let Some(detail) = observed.detail.as_ref().filter(|_| expected.is_none()) {
                diff += detail.trim_end();
                diff.push('\n');
            }
            self.push(line, "end", diff);
        }
    }

    fn text(&mut self, what: &str, expected: Option<&Spanned<String>>, came: Option<&str>) {
        let Some(expected) = expected else { return };
        if came != Some(expected.get_ref()) {
            let came = came.map_or_else(String::new, |text| format!("{text}\n"));
            let line = line(&self.file.text, &expected.span());
            self.push(line, what, difference(&format!("{}\n", expected.get_ref()), &came));
        }
    }

    /// What is expected and on which line; or what is expected where nothing is said.
    fn told<T: Clone>(&self, expected: Option<&Spanned<T>>, unsaid: T) -> (usize, T) {
        match expected {
            Some(expected) => (line(&self.file.text, &expected.span()), expected.get_ref().clone()),
            None => (self.at, unsaid),
        }
    }

    fn compare(&mut self, line: usize, what: &str, expected: &str, came: &str) {
        if expected != came {
            self.push(line, what, difference(expected, came));
        }
    }

    fn result(&mut self, expect: &Expect, came: Option<&str>) {
        let (span, wanted) = match (&expect.result, &expect.result_json) {
            (Some(data), _) => (data.span(), json(data.get_ref())),
            // That it is JSON was looked at when the file was read.
            (None, Some(text)) => (text.span(), serde_json::from_str(text.get_ref()).unwrap_or_default()),
            (None, None) => return,
        };
        let came: Option<serde_json::Value> = came.and_then(|text| serde_json::from_str(text).ok());
        if came.as_ref() != Some(&wanted) {
            let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
            let line = line(&self.file.text, &span);
            self.push(line, "result", difference(&pretty(&wanted), &came.as_ref().map(pretty).unwrap_or_default()));
        }
    }

    fn list<T: Lines>(&mut self, what: &str, expected: &[Spanned<T>], came: &[T], normal: impl Fn(&T) -> T) {
        let expected_blocks: Vec<_> = expected.iter().map(|item| block(&normal(item.get_ref()).lines())).collect();
        let came_blocks: Vec<_> = came.iter().map(|item| block(&item.lines())).collect();
        if expected_blocks == came_blocks {
            return;
        }
        // The first that did not come is where to look.
        let first = expected
            .iter()
            .zip(&expected_blocks)
            .enumerate()
            .find(|(index, (_, block))| came_blocks.get(*index) != Some(*block));
        let place = first.map_or(self.at, |(_, (item, _))| line(&self.file.text, &item.span()));
        let whole = |blocks: &[String]| {
            blocks.iter().map(|block| format!("[[expect.{what}]]\n{block}")).collect::<Vec<_>>().join("\n")
        };
        self.push(place, what, difference(&whole(&expected_blocks), &whole(&came_blocks)));
    }

    fn lines(&mut self, what: &str, place: Option<usize>, expected: &[String], came: &[String]) {
        if expected != came {
            let whole = |lines: &[String]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
            self.push(place.unwrap_or(self.at), what, difference(&whole(expected), &whole(came)));
        }
    }
}

/// Lines that are only expected with `-`, lines that only came with `+`, and those around them.
fn difference(expected: &str, came: &str) -> String {
    let diff = TextDiff::from_lines(expected, came);
    let changes = diff.iter_all_changes().map(|change| {
        let sign = match change.tag() {
            similar::ChangeTag::Delete => '-',
            similar::ChangeTag::Insert => '+',
            similar::ChangeTag::Equal => ' ',
        };
        format!("{sign}{}\n", change.value().trim_end_matches('\n'))
    });
    changes.collect()
}

/// Lines of a file.
pub(super) fn block(lines: &[(String, Value)]) -> String {
    lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

fn shown(value: &Value) -> String {
    match &plain(value) {
        Value::Table(table) => {
            let mut lines: Vec<_> = table.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            lines.sort_by(|(a, _), (b, _)| a.cmp(b));
            block(&lines)
        }
        other => format!("{other}\n"),
    }
}

fn integers(ids: &[u32]) -> Value {
    Value::Array(ids.iter().map(|id| Value::Integer(i64::from(*id))).collect())
}

/// `1_234_567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}
