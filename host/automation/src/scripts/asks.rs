//! What an action asks for, and what it is given: the manifest's request, or, for the program's own scripts, what their
//! parameters name.

use triggerbox_model::{
    grants::{Authority, Grants, Policy},
    manifest::Manifest,
    schema::Schema,
};

use super::ready;
use crate::rule::{Action, Rule};

/// What one action of a rule asks for.
#[must_use]
pub fn asks(schema: &Schema, rule: &Rule, action: &Action, manifest: &Manifest) -> Grants {
    asks_on(schema, rule.model.as_deref(), action, manifest)
}

fn asks_on(schema: &Schema, model: Option<&str>, action: &Action, manifest: &Manifest) -> Grants {
    ready::asks(schema, model, action)
        .unwrap_or_else(|| manifest.authority(action.grants.clone(), Vec::new(), Policy::default()).script)
}

/// The three sides in front of the backend for one action of a rule.
///
/// The program's own scripts do what the rule's parameters say, so that these are grants by name; but a model that
/// policy guards is opened by the rule's own `grants` only.
#[must_use]
pub fn authority(schema: &Schema, rule: &Rule, action: &Action, manifest: &Manifest, policy: &Policy) -> Authority {
    authority_on(schema, rule.model.as_deref(), action, manifest, policy)
}

/// The same for an action of any rule that is bound to this model.
#[must_use]
pub fn authority_on(
    schema: &Schema,
    model: Option<&str>,
    action: &Action,
    manifest: &Manifest,
    policy: &Policy,
) -> Authority {
    let Authority { script_http, rule_http, follows_rule, .. } =
        manifest.authority(action.grants.clone(), action.http.clone(), Policy::default());
    let script = asks_on(schema, model, action, manifest);
    let granted = match &action.grants {
        Some(grants) => Some(grants.clone()),
        None if ready::is_ready_made(&action.script.name) => {
            let open = script.0.iter().filter(|grant| !policy.guards(&grant.model));
            Some(Grants(open.cloned().collect()))
        }
        None => None,
    };
    Authority { script, rule: granted, policy: policy.clone(), script_http, rule_http, follows_rule, agent: None }
}

/// What an action asks for and is not given: empty when all is well.
#[must_use]
pub fn missing(schema: &Schema, rule: &Rule, action: &Action, manifest: &Manifest, policy: &Policy) -> Grants {
    let authority = authority(schema, rule, action, manifest, policy);
    match &authority.rule {
        Some(grants) => authority.script.beyond(grants),
        None => policy.guarded(&authority.script),
    }
}
