//! Findings in the format that code hosts show beside the code: SARIF 2.1.0.

use serde_sarif::sarif::{
    ArtifactLocation, Location, LogicalLocation, Message, MultiformatMessageString, PhysicalLocation, Region,
    ReportingDescriptor, Result as Reported, ResultLevel, Run, Sarif, Tool, ToolComponent,
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::{Finding, RULES, Severity};

/// The schema that the output follows.
const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The findings on a file, by its address. With the manifest's address and text, findings on the manifest get their line
/// there.
#[must_use]
pub fn sarif(file: &str, manifest: Option<(&str, &str)>, findings: &[Finding]) -> Sarif {
    let results: Vec<Reported> = findings.iter().map(|finding| reported(file, manifest, finding)).collect();
    let rules: Vec<_> = RULES
        .iter()
        .map(|rule| {
            ReportingDescriptor::builder()
                .id(rule.code)
                .short_description(MultiformatMessageString::builder().text(rule.what).build())
                .help(MultiformatMessageString::builder().text(rule.help).build())
                .build()
        })
        .collect();
    let driver = ToolComponent::builder()
        .name("triggerbox check")
        .semantic_version(env!("CARGO_PKG_VERSION"))
        .rules(rules)
        .build();
    let run = Run::builder().tool(Tool::builder().driver(driver).build()).results(results).build();
    Sarif::builder().schema(SCHEMA).version("2.1.0").runs(vec![run]).build()
}

fn reported(file: &str, manifest: Option<(&str, &str)>, finding: &Finding) -> Reported {
    let line = manifest.and_then(|(path, text)| Some((path, line_of(text, finding.place.as_deref()?)?)));
    let physical = match line {
        Some((path, line)) => PhysicalLocation::builder()
            .artifact_location(ArtifactLocation::builder().uri(path).build())
            .region(Region::builder().start_line(line).build())
            .build(),
        None => PhysicalLocation::builder().artifact_location(ArtifactLocation::builder().uri(file).build()).build(),
    };
    let location = match &finding.place {
        Some(place) => Location::builder()
            .physical_location(physical)
            .logical_locations(vec![LogicalLocation::builder().fully_qualified_name(place.as_str()).build()])
            .build(),
        None => Location::builder().physical_location(physical).build(),
    };
    let text = format!("{}; {}", finding.message, finding.help);
    Reported::builder()
        .rule_id(finding.code)
        .level(level(finding.severity))
        .message(Message::builder().text(text).build())
        .locations(vec![location])
        .build()
}

fn level(severity: Severity) -> ResultLevel {
    match severity {
        Severity::Note => ResultLevel::Note,
        Severity::Warning => ResultLevel::Warning,
        Severity::Error => ResultLevel::Error,
    }
}

/// The line at which a manifest says what a finding is about: `grants.crm.lead` is at the `model = "crm.lead"` of the first such
/// grant, `grants.crm.lead#2` at that of the second.
fn line_of(manifest: &str, place: &str) -> Option<i64> {
    let document = DeTable::parse(manifest).ok()?;
    let before = manifest.get(..offset(document.get_ref(), place)?)?;
    i64::try_from(before.matches('\n').count() + 1).ok()
}

fn offset(manifest: &DeTable<'_>, place: &str) -> Option<usize> {
    let (table, name) = place.split_once('.').unwrap_or((place, ""));
    let (key, value) = entry(manifest, table)?;
    match table {
        "grants" => {
            let (model, nth) = name.split_once('#').unwrap_or((name, "1"));
            item(value.get_ref(), "model", model, nth.parse().ok()?)
        }
        "parameters" => item(value.get_ref(), "name", name, 1),
        _ if name.is_empty() => Some(key.span().start),
        _ => Some(entry(value.get_ref().as_table()?, name)?.0.span().start),
    }
}

/// Where the nth table of a list, from 1, whose `key` is `name` says so.
fn item(list: &DeValue<'_>, key: &str, name: &str, nth: usize) -> Option<usize> {
    let mut places = list.as_array()?.iter().filter_map(|item| {
        let (_, value) = entry(item.get_ref().as_table()?, key)?;
        (value.get_ref().as_str() == Some(name)).then(|| value.span().start)
    });
    places.nth(nth.checked_sub(1)?)
}

fn entry<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<(&'a Spanned<DeString<'i>>, &'a Spanned<DeValue<'i>>)> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

#[cfg(test)]
mod tests {
    use super::line_of;

    const MANIFEST: &str = r##"# grants = [{ model = "crm.lead" }], version = "0"
[script]
name = "x"
description = """
version = "2"
"""
version = "1"
[[grants]]
# model = "crm.tag"
operations = ["read"]
model = "crm.lead"
[[grants]]
domain = "[('name', '=', 'crm.lead')]"
model = "res.partner"
operations = ["read"]
[[grants]]
operations = ["note"]
"model" = 'crm.lead'
[[parameters]]
help = "The name."
name = "name"
[[http]]
methods = ["GET"]
"##;

    #[test]
    fn findings_on_the_manifest_have_their_line() {
        for (place, line) in [
            ("script.version", Some(7)),
            ("script.description", Some(4)),
            ("script.follows-rule", None),
            ("grants.crm.lead", Some(11)),
            ("grants.crm.lead#2", Some(18)),
            ("grants.crm.lead#3", None),
            ("grants.res.partner", Some(14)),
            ("grants.crm.tag", None),
            ("parameters.name", Some(21)),
            ("http", Some(22)),
            ("limits", None),
        ] {
            assert_eq!(line_of(MANIFEST, place), line, "{place}");
        }
        assert_eq!(line_of("grants = [{ model = \"a\" },\n  { model = \"b\" }]", "grants.b"), Some(2));
        assert_eq!(line_of("no manifest", "script.version"), None);
    }
}
