//! Judges a script before it is uploaded: each finding has a stable code, a severity, and what to do.

mod grants;
mod manifest;
mod sarif;
mod size;
mod start;

use serde::Serialize;
use triggerbox_model::grants::Need;
use triggerbox_sandbox::inspect::Inspection;

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
    /// What of the manifest it is about: `grants.crm.lead`.
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
pub const RULES: [Rule; 14] = [
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
    /// Rights that its scenarios needed; none: there are no scenarios.
    pub needed: Option<&'a [Need]>,
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
    use super::RULES;

    #[test]
    fn the_page_of_the_book_lists_every_code() {
        let page = include_str!("../../../docs/src/write/check.md");
        for rule in RULES {
            let row = format!("| `{}` | {} | {} |", rule.code, rule.severity.name(), rule.what);
            assert!(page.contains(&row), "docs/src/write/check.md lacks: {row}");
        }
    }
}
