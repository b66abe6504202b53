//! Grants: every model, field and domain that they name is there.

use triggerbox_model::grants::{GrantOperation, Grants};

use super::{Finding, Ground, Severity, domains};

/// What is wrong with grants, each with its place under `place`.
pub(crate) fn findings(ground: Ground<'_>, place: &str, grants: &Grants) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut error = |code, place, message| {
        findings.push(Finding { severity: Severity::Error, code, place, message });
    };
    for (index, grant) in grants.0.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let model = match ground.env.schema.model(&grant.model) {
            Ok(model) => model,
            Err(unknown) => {
                error("unknown-model", place, unknown.message);
                continue;
            }
        };
        for field in &grant.fields {
            if let Err(unknown) = model.field(field)
                && !matches!(field.as_str(), "id" | "display_name")
            {
                error("unknown-field", format!("{place}.fields"), unknown.message);
            }
        }
        if let Some(key) = grant.keys.iter().find(|key| !grant.fields.contains(*key)) {
            let message = format!("`{key}` is a key and none of the grant's `fields`: add it there");
            error("bad-keys", format!("{place}.keys"), message);
        } else if !grant.keys.is_empty() && !grant.operations.contains(&GrantOperation::Create) {
            error("bad-keys", format!("{place}.keys"), "keys go with `create`, which is not granted".to_owned());
        }
        if let Some(domain) = &grant.domain
            && let Err(wrong) = domains::judge(ground.conn, ground.env, model, domain)
        {
            error("bad-domain", format!("{place}.domain"), wrong.message);
        }
        if ground.policy.forbids(&grant.model) {
            let message = format!("policy forbids scripts to touch `{}`; no grant opens it", grant.model);
            error("forbidden", place, message);
        }
    }
    findings
}
