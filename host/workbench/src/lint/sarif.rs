//! Findings in the format that code hosts show beside the code: SARIF 2.1.0.

use serde_sarif::sarif::{
    ArtifactLocation, Location, LogicalLocation, Message, MultiformatMessageString, PhysicalLocation, Region,
    ReportingDescriptor, Result as Reported, ResultLevel, Run, Sarif, Tool, ToolComponent,
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

/// Where a manifest says what a finding is about: `grants.crm.lead` is at `model = "crm.lead"`.
fn line_of(manifest: &str, place: &str) -> Option<i64> {
    let (table, name) = place.split_once('.').unwrap_or((place, ""));
    let wanted = match table {
        "grants" => format!("model=\"{name}\""),
        "parameters" => format!("name=\"{name}\""),
        "http" => "[[http]]".to_owned(),
        _ => format!("{name}="),
    };
    let squeezed = |line: &str| line.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    let index = manifest.lines().position(|line| squeezed(line).starts_with(&wanted))?;
    i64::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn findings_on_the_manifest_have_their_line() {
        let manifest = "[script]\nname = \"x\"\nversion = \"1\"\n\n[[grants]]\nmodel = \"crm.lead\"\n";
        assert_eq!(line_of(manifest, "grants.crm.lead"), Some(6));
        assert_eq!(line_of(manifest, "script.version"), Some(3));
        assert_eq!(line_of(manifest, "script.description"), None);
    }
}
