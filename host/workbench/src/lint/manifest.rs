//! What a manifest should say.

use triggerbox_model::{
    grants::{Grants, Policy},
    manifest::Manifest,
};

use super::{Finding, found, grants::place};

pub(super) fn judge(manifest: &Manifest, findings: &mut Vec<Finding>) {
    let info = &manifest.script;
    if info.description.trim().is_empty() {
        let message = format!("`{}` has no description", info.name);
        findings.push(found("no-description", message, Some("script.description".to_owned())));
    }
    if semver::Version::parse(&info.version).is_err() {
        let message = format!("`{}` is no semantic version", info.version);
        findings.push(found("bad-version", message, Some("script.version".to_owned())));
    }
    for parameter in manifest.parameters.iter().filter(|parameter| parameter.help.trim().is_empty()) {
        let message = format!("the parameter `{}` has no help text", parameter.name);
        findings.push(found("no-parameter-help", message, Some(format!("parameters.{}", parameter.name))));
    }
    for (at, grant) in manifest.grants.0.iter().enumerate() {
        for guarded in Policy::default().guarded(&Grants(vec![grant.clone()])).0 {
            let operations: Vec<_> = guarded.operations.iter().map(|operation| operation.name()).collect();
            let message = format!("policy guards `{}` on {}", operations.join(", "), grant.model);
            findings.push(found("wide-grant", message, place(&manifest.grants, at)));
        }
    }
}
