//! What an action asks for, and what it is given: the manifest's request, or, for the program's own scripts, what their
//! parameters name.

use std::fmt;

use triggerbox_model::{
    grants::{Authority, Grants, Policy},
    limits::{Limit, LimitRequest, TABLE, Zero},
    manifest::Manifest,
    outbound::HttpGrant,
    schema::Schema,
};

use super::ready;
use crate::rule::{Action, Rule};

/// All that a version of a script asks for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// Rights on records.
    pub grants: Grants,
    /// Requests to other services.
    pub http: Vec<HttpGrant>,
    /// Limits; absent: as much as the host gives.
    pub limits: LimitRequest,
}

/// What is asked for beyond what somebody has agreed to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct More {
    /// Rights on records.
    pub grants: Grants,
    /// Requests to other services.
    pub http: Vec<HttpGrant>,
    /// Limits that are higher.
    pub limits: Vec<Raised>,
}

/// A limit that is higher than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Which one.
    pub limit: Limit,
    /// What was asked for; none: as much as the host gives.
    pub was: Option<u64>,
    /// What is asked for now; none: as much as the host gives.
    pub is: Option<u64>,
}

impl Asked {
    /// What a manifest says.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self { grants: manifest.grants.clone(), http: manifest.http.clone(), limits: manifest.limits.clone() }
    }

    /// What one action of a rule asks for with it.
    #[must_use]
    pub fn by(schema: &Schema, rule: &Rule, action: &Action, manifest: &Manifest) -> Self {
        let http = manifest.authority(None, action.http.clone(), Policy::default()).script_http;
        let mut limits = manifest.limits.clone();
        // What the rule itself narrows is not widened by any version.
        for (limit, narrow) in &action.limits.0 {
            if height(*limit, Some(*narrow)) < height(*limit, limits.0.get(limit).copied()) {
                limits.0.insert(*limit, *narrow);
            }
        }
        Self { grants: asks(schema, rule, action, manifest), http, limits }
    }

    /// What is asked for here and not there.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> More {
        let raised = TABLE.iter().map(|spec| spec.limit).filter(|limit| !limit.is_fixed()).map(|limit| {
            let of = |asked: &Self| asked.limits.0.get(&limit).copied();
            Raised { limit, was: of(other), is: of(self) }
        });
        More {
            grants: self.grants.beyond(&other.grants),
            http: self.http.iter().filter_map(|one| one.beyond(&other.http)).collect(),
            limits: raised.filter(|one| height(one.limit, one.is) > height(one.limit, one.was)).collect(),
        }
    }
}

/// How much a request for a limit lets a script have, for comparing requests.
fn height(limit: Limit, asked: Option<u64>) -> u64 {
    match (limit.zero(), asked) {
        // Zero is the largest of all here, and whoever asks for nothing has the default.
        (Zero::NoCap, asked) => {
            asked.or(limit.spec().defaults.iter().copied().max()).unwrap_or_default().wrapping_sub(1)
        }
        (_, None) | (Zero::Default, Some(0)) => u64::MAX,
        (_, Some(number)) => number,
    }
}

impl More {
    /// Whether it is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grants.0.is_empty() && self.http.is_empty() && self.limits.is_empty()
    }
}

impl fmt::Display for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grants = self.grants.0.iter().map(ToString::to_string);
        let http = self.http.iter().map(ToString::to_string);
        let parts: Vec<String> = grants.chain(http).chain(self.limits.iter().map(ToString::to_string)).collect();
        f.write_str(&parts.join(" "))
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |number: Option<u64>| number.map_or_else(|| "the host's".to_owned(), |number| number.to_string());
        write!(f, "{}={} (was {})", self.limit.spec().name, told(self.is), told(self.was))
    }
}

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
