//! Judges a script before it is uploaded: each finding has a stable code, a severity, and what to do.

mod grants;
mod manifest;
mod sarif;
mod size;
mod start;

use serde::Serialize;
use triggerbox_model::grants::Need;
use triggerbox_sandbox::inspect::Inspection;

use crate::scenario::BadScenario;

pub use self::{
    grants::used,
    sarif::sarif,
    start::{Start, start},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// To be put right.
    Warning,
    /// It does not run, or not as meant.
    Error,
}

impl Severity {
    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something to know about a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable: `unused-grant`.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What, on what.
    pub message: String,
    /// What to do.
    pub help: &'static str,
    /// What of the manifest it is about: `grants.crm.lead`, and `grants.crm.lead#2` for a second grant on the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// A code with what it means; the table of the book's page.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable.
    pub code: &'static str,
    /// How much such findings matter.
    pub severity: Severity,
    /// What is found, in a sentence.
    pub what: &'static str,
    /// What to do.
    pub help: &'static str,
}

/// All codes of the linter's own. What keeps a component from running has codes of its own, too; they are errors.
pub const RULES: [Rule; 16] = [
    rule(
        "does-not-compile",
        Severity::Error,
        "The component does not compile here, or does not fit the contract.",
        "see the message",
    ),
    rule(
        "broken-scenario",
        Severity::Error,
        "A scenario cannot be run: its file is wrong.",
        "put the file right; nothing is said of untested grants until then",
    ),
    rule(
        "unused-grant",
        Severity::Warning,
        "The manifest asks for an operation that the component cannot do: it imports \
        no function for it.",
        "take the operation out of the grant",
    ),
    rule(
        "missing-grant",
        Severity::Warning,
        "The component imports a function that needs an operation which no grant \
        asks for: it will be refused.",
        "ask for it in [[grants]], or do not call the function",
    ),
    rule(
        "untested-grant",
        Severity::Note,
        "No scenario needs a right that the manifest asks for.",
        "take it out of the \
        manifest, or add a scenario that needs it",
    ),
    rule(
        "wide-grant",
        Severity::Note,
        "A grant asks for an operation that policy guards: no rule has it unless it grants \
        it by name.",
        "ask for it only if the script cannot do without",
    ),
    rule(
        "unused-http",
        Severity::Warning,
        "The manifest asks for requests to other services, and the component imports \
        no function that sends any.",
        "take the entry out of [[http]]",
    ),
    rule(
        "no-description",
        Severity::Warning,
        "The manifest does not say what the script is for.",
        "set \
        script.description: people choose scripts by it",
    ),
    rule(
        "bad-version",
        Severity::Warning,
        "The script's version is no semantic version.",
        "write it as MAJOR.MINOR.PATCH",
    ),
    rule("no-parameter-help", Severity::Note, "A parameter has no help text.", "say what the parameter does in `help`"),
    rule(
        "world-version",
        Severity::Note,
        "The component is built for another version of the contract than this host's.",
        "build it with this host's `wit/`",
    ),
    rule(
        "denied-import",
        Severity::Note,
        "The component imports parts of WASI whose calls fail at run time.",
        "nothing, if \
        it is the language's runtime that imports them; else do without files and network",
    ),
    rule(
        "large-component",
        Severity::Note,
        "The component is large: it loads and uploads slowly.",
        "build for size and \
        strip what is not needed; nothing, if most of it is the language's interpreter",
    ),
    rule(
        "slow-start",
        Severity::Warning,
        "Making an instance takes long, and every run pays it.",
        "do less before `run`: \
        fewer modules, a smaller runtime, data read when it is needed",
    ),
    rule(
        "large-memory",
        Severity::Note,
        "An instance takes much memory before the script does anything.",
        "build with a \
        smaller initial memory",
    ),
    rule(
        "no-backtraces",
        Severity::Note,
        "The component has no debug information: backtraces have no lines.",
        "build with \
        line tables while the script is young: see the book's page of its language",
    ),
];

const fn rule(code: &'static str, severity: Severity, what: &'static str, help: &'static str) -> Rule {
    Rule { code, severity, what, help }
}

/// What is known of a script.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What its bytes tell.
    pub inspection: &'a Inspection,
    /// How one start went; none: it was not tried.
    pub start: Option<&'a Start>,
    /// Why it does not compile, or does not fit the contract; none: it does, or it was not tried.
    pub refused: Option<&'a str>,
    /// Rights that its scenarios needed; none: there are no scenarios, or not all of them can be run or tell.
    pub needed: Option<&'a [Need]>,
    /// Scenarios that cannot be run.
    pub broken: &'a [BadScenario],
}

/// Judges.
#[must_use]
pub fn lint(known: &Known<'_>) -> Vec<Finding> {
    let inspection = known.inspection;
    let mut findings: Vec<_> = inspection
        .problems
        .iter()
        .map(|problem| Finding {
            code: problem.code,
            severity: Severity::Error,
            message: problem.message.clone(),
            help: "see the message",
            place: None,
        })
        .collect();
    if inspection.refusal().is_some() {
        return findings;
    }
    findings.extend(known.refused.map(|why| found("does-not-compile", why.to_owned(), None)));
    findings.extend(known.broken.iter().map(|scenario| found("broken-scenario", scenario.to_string(), None)));
    findings.extend(inspection.warnings.iter().map(|warning| found(warning.code, warning.message.clone(), None)));
    if let Some(manifest) = &inspection.manifest {
        manifest::judge(manifest, &mut findings);
        grants::judge(manifest, inspection, known.needed, &mut findings);
    }
    size::judge(inspection, known.start, &mut findings);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// A finding of one of the [`RULES`].
fn found(code: &'static str, message: String, place: Option<String>) -> Finding {
    let rule = RULES.iter().find(|rule| rule.code == code);
    Finding {
        code,
        severity: rule.map_or(Severity::Warning, |rule| rule.severity),
        message,
        help: rule.map_or("", |rule| rule.help),
        place,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use triggerbox_model::{
        grants::{GrantOperation, Need},
        manifest::Manifest,
    };
    use triggerbox_sandbox::{
        Durations,
        inspect::{self, Import, ImportStatus, Inspection, full_name, inspect},
    };

    use super::{BadScenario, Finding, Known, RULES, Severity, Start, lint, sarif};

    /// What is known of a script that nothing is to be said of.
    struct Script {
        inspection: Inspection,
        start: Start,
        refused: Option<String>,
        needed: Vec<Need>,
        broken: Vec<BadScenario>,
    }

    const MANIFEST: &str = r#"
        [script]
        name = "noter"
        version = "1.0.0"
        description = "Notes leads."
        [[grants]]
        model = "crm.lead"
        operations = ["read", "note"]
        fields = ["name"]
        [[http]]
        methods = ["POST"]
        url = "https://hooks.example/leads"
        [[parameters]]
        name = "text"
        type = "text"
        help = "What it notes."
    "#;

    fn import(interface: &str, functions: &[&str]) -> Import {
        let functions = functions.iter().map(|name| (*name).to_owned()).collect();
        Import { name: full_name(interface), status: ImportStatus::Offered, functions, note: None }
    }

    impl Script {
        fn new() -> Self {
            let mut inspection = inspect(b"");
            inspection.problems.clear();
            inspection.ok = true;
            inspection.debug_info = true;
            inspection.imports =
                vec![import("records", &["read"]), import("chatter", &["post-note"]), import("http", &["send"])];
            let mut script = Self {
                inspection,
                start: Start { durations: Durations::default(), memory: 1 << 20 },
                refused: None,
                needed: vec![
                    Need { fields: ["name".to_owned()].into(), ..Need::new("crm.lead", GrantOperation::Read) },
                    Need::new("crm.lead", GrantOperation::Note),
                ],
                broken: Vec::new(),
            };
            script.manifest(|text| text);
            script
        }

        /// Says something else in the manifest.
        fn manifest(&mut self, change: impl Fn(String) -> String) {
            let text = change(MANIFEST.to_owned());
            self.inspection.manifest = Some(Manifest::parse(&text).expect("a manifest"));
        }

        fn findings(&self) -> Vec<Finding> {
            let Self { inspection, start, refused, needed, broken } = self;
            let refused = refused.as_deref();
            lint(&Known { inspection, start: Some(start), refused, needed: Some(needed), broken })
        }
    }

    /// What is wrong with a script, to be found under this code.
    fn spoil(script: &mut Script, code: &str) {
        let inspection = &mut script.inspection;
        let with = |from: &'static str, to: &'static str| move |text: String| text.replace(from, to);
        match code {
            "does-not-compile" => script.refused = Some("compiling the component needs more than 60 s".to_owned()),
            "broken-scenario" => script.broken.push(BadScenario {
                path: "scenarios/first.toml".into(),
                at: Some((1, 1)),
                problem: "unknown field `x`".to_owned(),
            }),
            "unused-grant" => script.manifest(with("\"note\"]", "\"note\", \"follow\"]")),
            "missing-grant" => inspection.imports.push(import("chatter", &["add-followers"])),
            "untested-grant" => script.needed.truncate(1),
            "wide-grant" => {
                inspection.imports.push(import("records", &["unlink"]));
                script.needed.push(Need::new("crm.lead", GrantOperation::Unlink));
                script.manifest(with("\"note\"]", "\"note\", \"unlink\"]"));
            }
            "unused-http" => inspection.imports.truncate(2),
            "no-description" => script.manifest(with("\"Notes leads.\"", "\" \"")),
            "bad-version" => script.manifest(with("\"1.0.0\"", "\"spring\"")),
            "no-parameter-help" => script.manifest(with("help = \"What it notes.\"", "")),
            "world-version" => inspection.imports[0].name = "triggerbox:automation/records@0.1.7".to_owned(),
            "denied-import" => inspection.warnings.push(inspect::Finding {
                code: "denied-import",
                message: "calls to these fail: wasi:sockets/tcp@0.2.0".to_owned(),
            }),
            "large-component" => inspection.size = 9 << 20,
            "slow-start" => script.start.durations.instantiate = Duration::from_millis(21),
            "large-memory" => script.start.memory = 33 << 20,
            "no-backtraces" => inspection.debug_info = false,
            other => panic!("no script shows {other}"),
        }
    }

    #[test]
    fn each_finding_is_made_of_what_is_wrong_and_of_nothing_else() {
        assert_eq!(Script::new().findings(), []);
        for rule in RULES {
            let mut script = Script::new();
            spoil(&mut script, rule.code);
            let findings = script.findings();
            let [found] = findings.as_slice() else { panic!("{}: {findings:#?}", rule.code) };
            assert_eq!((found.code, found.severity, found.help), (rule.code, rule.severity, rule.help));
        }
    }

    /// `tests/e2e` holds a report of the program's own against the whole schema.
    #[test]
    fn a_report_has_findings_of_every_severity_at_their_level() {
        let mut script = Script::new();
        for rule in RULES {
            // This one takes imports away that others need.
            if rule.code != "unused-http" {
                spoil(&mut script, rule.code);
            }
        }
        script.inspection.problems.push(inspect::Finding { code: "no-manifest", message: "it has none".to_owned() });
        let findings = script.findings();
        let report = serde_json::to_value(sarif("noter.wasm", None, &findings)).expect("it is JSON");
        let results = report["runs"][0]["results"].as_array().expect("results");
        let levels: Vec<_> = results.iter().map(|result| result["level"].as_str().unwrap_or_default()).collect();
        let severities: Vec<_> = findings.iter().map(|finding| finding.severity.name()).collect();
        assert_eq!(levels, severities);
        for severity in [Severity::Note, Severity::Warning, Severity::Error] {
            assert!(levels.contains(&severity.name()), "{}: {levels:?}", severity.name());
        }
    }

    #[test]
    fn what_a_runtime_imports_for_all_scripts_says_nothing_of_one() {
        let mut script = Script::new();
        for (interface, function, _) in super::grants::FUNCTIONS {
            script.inspection.imports.push(import(interface, &[function]));
        }
        assert!(script.findings().iter().all(|finding| finding.code != "missing-grant"));
        script.inspection.imports.pop();
        assert!(script.findings().iter().any(|finding| finding.code == "missing-grant"));
    }

    #[test]
    fn the_page_of_the_book_lists_every_code() {
        let page = include_str!("../../../docs/write/check.md");
        for rule in RULES {
            let row = format!("| `{}` | {} | {} |", rule.code, rule.severity.name(), rule.what);
            assert!(page.contains(&row), "docs/write/check.md lacks: {row}");
        }
    }
}
