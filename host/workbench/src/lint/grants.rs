//! What a manifest asks for, against what the component imports and what its scenarios needed.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    grants::{GrantOperation, Grants, Need},
    manifest::Manifest,
};
use triggerbox_sandbox::inspect::Inspection;

use super::{Finding, found};

/// Which function of the contract needs which operation. Reading functions are one for all: each needs `read`.
pub(super) const FUNCTIONS: [(&str, &str, GrantOperation); 23] = [
    ("records", "search", GrantOperation::Read),
    ("records", "search-read", GrantOperation::Read),
    ("records", "search-count", GrantOperation::Read),
    ("records", "read", GrantOperation::Read),
    ("records", "read-group", GrantOperation::Read),
    ("records", "name-search", GrantOperation::Read),
    ("records", "fields-get", GrantOperation::Read),
    ("records", "describe-fields", GrantOperation::Read),
    ("records", "mention", GrantOperation::Read),
    ("records", "create", GrantOperation::Create),
    ("records", "ensure", GrantOperation::Create),
    ("records", "copy", GrantOperation::Create),
    ("records", "write", GrantOperation::Write),
    ("records", "relate", GrantOperation::Write),
    ("records", "unlink", GrantOperation::Unlink),
    ("records", "call", GrantOperation::Call),
    ("chatter", "read-messages", GrantOperation::Read),
    ("chatter", "post-note", GrantOperation::Note),
    ("chatter", "post-message", GrantOperation::Message),
    ("chatter", "schedule-activity", GrantOperation::Activity),
    ("chatter", "complete-activities", GrantOperation::Activity),
    ("chatter", "add-followers", GrantOperation::Follow),
    ("chatter", "remove-followers", GrantOperation::Follow),
];

/// What a component imports of the contract: `records.search`.
fn imported(inspection: &Inspection) -> BTreeSet<(&str, &str)> {
    let interfaces = inspection.imports.iter().filter_map(|import| {
        let name = import.name.strip_prefix("triggerbox:automation/")?;
        Some((name.split('@').next().unwrap_or(name), &import.functions))
    });
    interfaces.flat_map(|(name, functions)| functions.iter().map(move |function| (name, function.as_str()))).collect()
}

/// Operations that a component can ask for. Relating records may create and delete, a list that is written may delete what leaves
/// it, and a copy is read of its original.
#[must_use]
pub fn used(inspection: &Inspection) -> BTreeSet<GrantOperation> {
    let imported = imported(inspection);
    let mut used: BTreeSet<_> = FUNCTIONS
        .iter()
        .filter(|(interface, function, _)| imported.contains(&(*interface, *function)))
        .map(|(.., operation)| *operation)
        .collect();
    if imported.contains(&("records", "relate")) {
        used.extend([GrantOperation::Create, GrantOperation::Unlink]);
    }
    if imported.contains(&("records", "write")) {
        used.insert(GrantOperation::Unlink);
    }
    if imported.contains(&("records", "copy")) {
        used.insert(GrantOperation::Read);
    }
    // The host asks these for the script: `has-access` needs what it asks about.
    if imported.contains(&("records", "has-access")) {
        used.extend([GrantOperation::Read, GrantOperation::Write, GrantOperation::Create, GrantOperation::Unlink]);
    }
    used
}

pub(super) fn judge(
    manifest: &Manifest,
    inspection: &Inspection,
    needed: Option<&[Need]>,
    findings: &mut Vec<Finding>,
) {
    // What such a script may do is the rule's to say.
    if manifest.script.follows_rule {
        return;
    }
    let used = used(inspection);
    let mut asked = BTreeSet::new();
    for (at, grant) in manifest.grants.0.iter().enumerate() {
        asked.extend(grant.operations.iter().copied());
        for operation in grant.operations.iter().filter(|operation| !used.contains(operation)) {
            let message = format!("`{operation}` on {}: the component imports no function for it", grant.model);
            findings.push(found("unused-grant", message, place(&manifest.grants, at)));
        }
    }
    let imported = imported(inspection);
    // The runtime of a language may import whatever there is, for all scripts: that says nothing of this one.
    let says_nothing = FUNCTIONS.iter().all(|(interface, function, _)| imported.contains(&(*interface, *function)));
    for (interface, function, operation) in FUNCTIONS {
        if !says_nothing && imported.contains(&(interface, function)) && !asked.contains(&operation) {
            let message =
                format!("the component imports `{interface}.{function}`, and no grant asks for `{operation}`");
            findings.push(found("missing-grant", message, None));
        }
    }
    if !manifest.http.is_empty() && !imported.iter().any(|(interface, _)| *interface == "http") {
        findings.push(found("unused-http", "the component sends no requests".to_owned(), Some("http".to_owned())));
    }
    if let Some(needed) = needed {
        untested(manifest, &used, needed, findings);
    }
}

/// Rights that no scenario needed.
fn untested(manifest: &Manifest, used: &BTreeSet<GrantOperation>, needed: &[Need], findings: &mut Vec<Finding>) {
    let mut fields: BTreeMap<(&str, GrantOperation), BTreeSet<&str>> = BTreeMap::new();
    for need in needed {
        let known = fields.entry((&need.model, need.operation)).or_default();
        known.extend(need.fields.iter().chain(&need.method).map(String::as_str));
    }
    for (at, grant) in manifest.grants.0.iter().enumerate() {
        let of = |operation: &GrantOperation| fields.get(&(grant.model.as_str(), *operation));
        for operation in grant.operations.iter().filter(|operation| used.contains(operation) && of(operation).is_none())
        {
            let message = format!("no scenario needs `{operation}` on {}", grant.model);
            findings.push(found("untested-grant", message, place(&manifest.grants, at)));
        }
        let touched: BTreeSet<_> = grant.operations.iter().filter_map(of).flatten().copied().collect();
        let names = grant.fields.iter().chain(&grant.methods).map(String::as_str);
        let never: Vec<_> = names.filter(|name| !touched.contains(name)).collect();
        if !never.is_empty() && !touched.is_empty() {
            let message = format!("no scenario needs {} of {}", never.join(", "), grant.model);
            findings.push(found("untested-grant", message, place(&manifest.grants, at)));
        }
    }
}

/// Where a manifest has a grant: `grants.crm.lead`, and `grants.crm.lead#2` for a second one on the same model.
pub(super) fn place(grants: &Grants, at: usize) -> Option<String> {
    let model = &grants.0.get(at)?.model;
    let nth = grants.0.iter().take(at + 1).filter(|other| other.model == *model).count();
    Some(if nth == 1 { format!("grants.{model}") } else { format!("grants.{model}#{nth}") })
}
