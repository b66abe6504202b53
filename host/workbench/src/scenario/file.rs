//! The file of a scenario. Keys that are not known are refused, with their place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use indexmap::IndexMap;
use serde::{Deserialize, de::IgnoredAny};
use toml::{Spanned, Table, Value};
use triggerbox_llm::Matching;
use triggerbox_model::limits::{Class, Limit, LimitRequest};

use super::{
    expect::Expect,
    place::{BadScenario, line_and_column},
};

/// Keys that a recording does not stand in place of, and its own.
const BESIDE_RECORDING: [&str; 3] = ["description", "recording", "budgets"];

/// A scenario with the file that it is from.
#[derive(Debug, Clone)]
pub struct ScenarioFile {
    /// The file.
    pub path: PathBuf,
    /// The file's name without its end: what the scenario is called.
    pub name: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub scenario: Scenario,
}

/// A scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What it shows, in a sentence.
    #[serde(default)]
    pub description: String,
    /// A run that was exported, in place of all but budgets: the script must want the same as it did.
    #[serde(default)]
    pub recording: Option<Spanned<String>>,
    /// The time that the script sees; days such as `+3d` count from here.
    #[serde(default)]
    pub time: Option<Spanned<Value>>,
    /// The script's random numbers come from here.
    #[serde(default = "one")]
    pub seed: u32,
    /// Whether the demo CRM is there; if not, only a company with its users is.
    #[serde(default = "yes")]
    pub demo: bool,
    /// Records of the demo that the script finds by itself; on an Odoo server they are made as those that are named.
    #[serde(default)]
    pub needs: Vec<Spanned<String>>,
    /// Why it cannot be run on an Odoo server, if so.
    #[serde(default)]
    pub not_on_odoo: Option<String>,
    /// Files with models of one's own, in the form of the program's.
    #[serde(default)]
    pub models: Vec<Spanned<String>>,
    /// Records that are there before, by model, in the order of the file.
    #[serde(default)]
    pub given: IndexMap<String, Vec<Spanned<Table>>>,
    /// What happens.
    #[serde(default)]
    pub when: When,
    /// What other services answer.
    #[serde(default)]
    pub answers: Vec<Spanned<HttpAnswer>>,
    /// What is expected.
    #[serde(default)]
    pub expect: Option<Spanned<Expect>>,
    /// The most that the run may use of a limit.
    #[serde(default)]
    pub budgets: IndexMap<Spanned<Limit>, u64>,
}

/// What happens.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct When {
    /// The trigger.
    pub trigger: TriggerName,
    /// The model, where no record tells it.
    pub model: Option<String>,
    /// The triggering records: `@name`, `crm.lead/7`, or a number with `model`.
    pub records: Vec<Spanned<Value>>,
    /// Sign-in name of the user whose rights the script has [default: admin].
    pub user: Option<Spanned<String>>,
    /// Sign-in name of who caused it [default: the same].
    pub actor: Option<Spanned<String>>,
    /// The user's rights do not bind the script.
    pub superuser: bool,
    /// The class of the run [default: what the trigger and the manifest make it].
    pub class: Option<Class>,
    /// Parameters of the script.
    pub parameters: IndexMap<String, Spanned<Value>>,
    /// What the rule grants, in place of all that the manifest asks for and policy does not guard.
    pub grants: Option<Vec<Spanned<String>>>,
    /// Requests to other services that the rule grants.
    pub http: Vec<Spanned<String>>,
    /// Limits that the rule narrows.
    pub limits: LimitRequest,
    /// The recorded conversation that answers questions to a language model.
    pub llm: Option<Spanned<String>>,
    /// How alike a question must be to a recorded one [default: tolerant].
    #[serde(rename = "match")]
    pub matching: Option<Matching>,
    /// `updated`: what is changed on the records. `before-create`, `before-update`, `on-change`: the values in question.
    pub values: Option<Spanned<Table>>,
    /// `time`: the field. `other`: the trigger's name.
    pub name: Option<String>,
    /// `scheduled`: when it was due [default: now].
    pub due: Option<String>,
    /// `scheduled`: earlier slots that this one covers.
    pub missed: u32,
    /// `webhook`: the request.
    pub webhook: Option<Webhook>,
    /// `message`: what was posted.
    pub message: Option<Said>,
}

/// A trigger, by the contract's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names are the contract's")]
pub enum TriggerName {
    Created,
    Updated,
    Deleted,
    Time,
    Scheduled,
    #[default]
    Manual,
    Webhook,
    Message,
    OnChange,
    BeforeCreate,
    BeforeUpdate,
    BeforeDelete,
    SelectRecords,
    Other,
}

/// A request that reached a webhook.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhook {
    /// Upper case [default: POST].
    pub method: Option<String>,
    /// Names in lower case.
    pub headers: IndexMap<String, String>,
    /// Query arguments.
    pub query: IndexMap<String, String>,
    /// The body as text.
    pub body: Option<String>,
    /// The body as data: sent as JSON.
    pub json: Option<Value>,
}

/// A message on a record.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Said {
    /// HTML.
    pub body: String,
    /// The author's partner.
    pub author: Option<Spanned<String>>,
    /// An internal note.
    pub note: bool,
}

/// What another service answers to one request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpAnswer {
    /// `POST https://slack.com/api/chat.postMessage`
    pub request: String,
    /// Status code.
    #[serde(default = "ok")]
    pub status: u16,
    /// Names and values.
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    /// The body as text.
    #[serde(default)]
    pub body: Option<String>,
    /// The body as data: sent as JSON.
    #[serde(default)]
    pub json: Option<Value>,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn ok() -> u16 {
    200
}

/// What stands beside a recording and would not be looked at, with its place.
fn beside_recording(scenario: &Scenario, text: &str) -> Option<(usize, String)> {
    scenario.recording.as_ref()?;
    let keys: IndexMap<Spanned<String>, IgnoredAny> = toml::from_str(text).ok()?;
    let key = keys.into_keys().find(|key| !BESIDE_RECORDING.contains(&key.get_ref().as_str()))?;
    let problem =
        format!("a recording brings what is given, what happens and what is expected: leave out `{}`", key.get_ref());
    Some((key.span().start, problem))
}

/// What is wrong with the result that is expected as text, with its place.
fn wrong_result(scenario: &Scenario) -> Option<(usize, String)> {
    let expect = scenario.expect.as_ref()?.get_ref();
    let result = expect.result_json.as_ref()?;
    let problem = match serde_json::from_str::<IgnoredAny>(result.get_ref()) {
        Ok(_) if expect.result.is_some() => {
            "the result is expected twice: leave out `result` or `result-json`".to_owned()
        }
        Ok(_) => return None,
        Err(error) => format!("is no JSON: {error}"),
    };
    Some((result.span().start, problem))
}

impl ScenarioFile {
    /// Reads a scenario.
    ///
    /// # Errors
    /// The file cannot be read or is wrong; says where.
    pub fn read(path: &Path) -> Result<Self, BadScenario> {
        let fail = |at, problem| BadScenario { path: path.to_owned(), at, problem };
        let text = fs::read_to_string(path).map_err(|error| fail(None, format!("cannot be read: {error}")))?;
        Self::parse(path, text)
    }

    /// Reads a scenario's text.
    ///
    /// # Errors
    /// It is wrong; says where.
    pub fn parse(path: &Path, text: String) -> Result<Self, BadScenario> {
        let scenario: Scenario = toml::from_str(&text).map_err(|error| BadScenario {
            path: path.to_owned(),
            at: error.span().map(|span| line_and_column(&text, span.start)),
            problem: error.message().trim_end().replace('\n', "; "),
        })?;
        if let Some((at, problem)) = beside_recording(&scenario, &text).or_else(|| wrong_result(&scenario)) {
            let at = Some(line_and_column(&text, at));
            return Err(BadScenario { path: path.to_owned(), at, problem });
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { path: path.to_owned(), name, text, scenario })
    }

    /// Something is wrong at a place of this file.
    pub fn wrong(&self, span: &std::ops::Range<usize>, problem: impl std::fmt::Display) -> BadScenario {
        BadScenario {
            path: self.path.clone(),
            at: Some(line_and_column(&self.text, span.start)),
            problem: problem.to_string(),
        }
    }

    /// Something is wrong with this file as a whole.
    pub fn broken(&self, problem: impl std::fmt::Display) -> BadScenario {
        BadScenario { path: self.path.clone(), at: None, problem: problem.to_string() }
    }

    /// A file that this one names, from its own folder.
    #[must_use]
    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new(".")).join(name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What may stand in a place of a scenario, in the words with which the format refuses what may not.
    fn known(wrong: &str, of: &str) -> BTreeSet<String> {
        let error = toml::from_str::<Scenario>(wrong).expect_err("it is wrong").to_string();
        let (_, names) =
            error.split_once("expected one of").or(error.split_once("expected")).expect("it says what is right");
        let names: BTreeSet<_> = names.split('`').skip(1).step_by(2).map(|name| format!("{of}{name}")).collect();
        assert!(names.len() > 1, "{error}");
        names
    }

    /// The keys of a table, with those of the tables in it.
    fn keys(value: &Value, of: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Table(table) => {
                for (name, value) in table {
                    found.insert(format!("{of}{name}"));
                    keys(value, &format!("{of}{name}."), found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, of, found)),
            Value::String(name) if of == "when.trigger." => {
                found.insert(format!("{of}{name}"));
            }
            _ => {}
        }
    }

    /// Where a scenario is wrong, and why.
    fn wrong(text: &str) -> String {
        ScenarioFile::parse(Path::new("x.toml"), text.to_owned()).expect_err("it is wrong").to_string()
    }

    #[test]
    fn what_a_recording_stands_in_place_of_is_refused_where_it_stands() {
        let with = |more: &str| format!("description = \"x\"\nrecording = \"run-1.json\"\n{more}[budgets]\nfuel = 1\n");
        ScenarioFile::parse(Path::new("x.toml"), with("")).expect("nothing else");
        for (more, key, place) in [
            ("time = 2026-01-15T09:00:00Z\n", "time", "3:1"),
            ("seed = 7\n", "seed", "3:1"),
            ("demo = false\n", "demo", "3:1"),
            ("\n[when]\ntrigger = \"created\"\n", "when", "4:2"),
            ("[expect]\nmessage = \"x\"\n", "expect", "3:2"),
        ] {
            let said = wrong(&with(more));
            assert!(
                said.starts_with(&format!("x.toml:{place}: ")) && said.contains(&format!("leave out `{key}`")),
                "{said}"
            );
        }
    }

    #[test]
    fn a_result_is_expected_once_and_its_text_is_json() {
        let said = wrong("[expect]\nresult = { a = 1 }\nresult-json = '{\"a\":1}'\n");
        assert!(said.starts_with("x.toml:3:15: ") && said.contains("expected twice"), "{said}");
        let said = wrong("[expect]\nresult-json = '{'\n");
        assert!(said.starts_with("x.toml:2:15: ") && said.contains("is no JSON"), "{said}");
    }

    #[test]
    fn every_key_stands_in_a_scenario_that_is_run() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let examples = fs::read_dir(root.join("guest-examples/rust")).expect("examples");
        let folders = examples.map(|entry| entry.expect("an example").path().join(crate::scenario::FOLDER));
        let mut found = BTreeSet::new();
        for folder in folders.chain([root.join("tests/e2e/scenario-keys")]) {
            for path in crate::scenario::files(&folder).expect("a folder") {
                let text = fs::read_to_string(&path).expect("a file");
                keys(&toml::from_str(&text).expect("TOML"), "", &mut found);
            }
        }
        let places = [
            ("x = 1", ""),
            ("[when]\nx = 1", "when."),
            ("[when]\ntrigger = \"x\"", "when.trigger."),
            ("[when.webhook]\nx = 1", "when.webhook."),
            ("[when.message]\nx = 1", "when.message."),
            ("[[answers]]\nx = 1", "answers."),
            ("[expect]\nx = 1", "expect."),
            ("[expect.error]\nx = 1", "expect.error."),
            ("[[expect.changes]]\nx = 1", "expect.changes."),
            ("[[expect.messages]]\nx = 1", "expect.messages."),
            ("[[expect.activities]]\nx = 1", "expect.activities."),
            ("[[expect.followers]]\nx = 1", "expect.followers."),
            ("[[expect.requests]]\nx = 1", "expect.requests."),
        ];
        let mut missing: BTreeSet<_> = places.iter().flat_map(|(wrong, of)| known(wrong, of)).collect();
        missing.extend(["given.post", "given.activity"].map(str::to_owned));
        // A run that was recorded: in tests/e2e/workbench.rs, which records one.
        missing.remove("recording");
        missing.retain(|key| !found.contains(key));
        assert_eq!(missing, BTreeSet::new(), "put these into a file of tests/e2e/scenario-keys");
    }
}
