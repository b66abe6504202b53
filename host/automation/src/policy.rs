//! The policy in force: what the operator's file says of it, of the rest what administrators set, and else the defaults.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use triggerbox_model::{
    grants::{GrantOperation, Policy},
    manifest::is_technical_name,
};
use utoipa::ToSchema;

use crate::{
    config::Config,
    engine::Engine,
    error::EngineError,
    setting::{self, Setting},
};

/// What it is kept as.
pub const NAME: &str = "policy";

/// Patterns of one list.
const MOST: usize = 200;

/// Parts of a policy. What is not there is said elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Parts {
    /// Models that need a rule's grant by name: exact names, or a prefix with a star at its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarded_models: Option<Vec<String>>,
    /// Operations that need a rule's grant by name, on any model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub guarded_operations: Option<BTreeSet<GrantOperation>>,
    /// Models that no grant opens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forbidden_models: Option<Vec<String>>,
    /// Operations that are applied only once somebody has said yes, on any model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub approved_operations: Option<BTreeSet<GrantOperation>>,
    /// The same for runs of rules with an agent, besides those of all runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub approved_agent_operations: Option<BTreeSet<GrantOperation>>,
}

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Models that need a grant by name.
    GuardedModels,
    /// Operations that need a grant by name.
    GuardedOperations,
    /// Models that no grant opens.
    ForbiddenModels,
    /// Operations that wait for a yes.
    ApprovedOperations,
    /// Operations that wait for a yes in runs with an agent.
    ApprovedAgentOperations,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::GuardedModels,
        Self::GuardedOperations,
        Self::ForbiddenModels,
        Self::ApprovedOperations,
        Self::ApprovedAgentOperations,
    ];

    /// What it is called in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GuardedModels => "guarded-models",
            Self::GuardedOperations => "guarded-operations",
            Self::ForbiddenModels => "forbidden-models",
            Self::ApprovedOperations => "approved-operations",
            Self::ApprovedAgentOperations => "approved-agent-operations",
        }
    }

    /// What a policy says of it.
    #[must_use]
    pub fn words(self, policy: &Policy) -> String {
        let operations = |set: &BTreeSet<GrantOperation>| set.iter().map(|one| one.name().to_owned()).collect();
        let all: Vec<String> = match self {
            Self::GuardedModels => policy.guarded_models.clone(),
            Self::GuardedOperations => operations(&policy.guarded_operations),
            Self::ForbiddenModels => policy.forbidden_models.clone(),
            Self::ApprovedOperations => operations(&policy.approved_operations),
            Self::ApprovedAgentOperations => operations(&policy.approved_agent_operations),
        };
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    }
}

impl Parts {
    /// All of a policy.
    #[must_use]
    pub fn all_of(policy: Policy) -> Self {
        Self {
            guarded_models: Some(policy.guarded_models),
            guarded_operations: Some(policy.guarded_operations),
            forbidden_models: Some(policy.forbidden_models),
            approved_operations: Some(policy.approved_operations),
            approved_agent_operations: Some(policy.approved_agent_operations),
        }
    }

    /// A policy with these parts in place of its own.
    #[must_use]
    pub fn over(&self, policy: Policy) -> Policy {
        let own = self.clone();
        Policy {
            guarded_models: own.guarded_models.unwrap_or(policy.guarded_models),
            guarded_operations: own.guarded_operations.unwrap_or(policy.guarded_operations),
            forbidden_models: own.forbidden_models.unwrap_or(policy.forbidden_models),
            approved_operations: own.approved_operations.unwrap_or(policy.approved_operations),
            approved_agent_operations: own.approved_agent_operations.unwrap_or(policy.approved_agent_operations),
        }
    }

    /// Those that differ from a policy's own.
    #[must_use]
    pub fn unlike(self, policy: &Policy) -> Self {
        Self {
            guarded_models: self.guarded_models.filter(|own| *own != policy.guarded_models),
            guarded_operations: self.guarded_operations.filter(|own| *own != policy.guarded_operations),
            forbidden_models: self.forbidden_models.filter(|own| *own != policy.forbidden_models),
            approved_operations: self.approved_operations.filter(|own| *own != policy.approved_operations),
            approved_agent_operations: self
                .approved_agent_operations
                .filter(|own| *own != policy.approved_agent_operations),
        }
    }

    /// Whether it says something of a part.
    #[must_use]
    pub fn says(&self, part: Part) -> bool {
        match part {
            Part::GuardedModels => self.guarded_models.is_some(),
            Part::GuardedOperations => self.guarded_operations.is_some(),
            Part::ForbiddenModels => self.forbidden_models.is_some(),
            Part::ApprovedOperations => self.approved_operations.is_some(),
            Part::ApprovedAgentOperations => self.approved_agent_operations.is_some(),
        }
    }

    /// What is wrong with its lists of models: of which part, and why.
    #[must_use]
    pub fn wrong(&self) -> Vec<(Part, String)> {
        let mut wrong = Vec::new();
        for (part, list) in
            [(Part::GuardedModels, &self.guarded_models), (Part::ForbiddenModels, &self.forbidden_models)]
        {
            let list = list.as_deref().unwrap_or_default();
            if list.len() > MOST {
                wrong.push((part, format!("names {} models; {MOST} at most, and a star stands for many", list.len())));
            }
            let bad = list.iter().filter(|pattern| !is_pattern(pattern));
            wrong.extend(bad.map(|pattern| {
                let text = format!("`{pattern}` is no model's name, nor a prefix with a star at its end, such as hr.*");
                (part, text)
            }));
        }
        wrong
    }
}

/// The name of a model, or its beginning and a star.
fn is_pattern(text: &str) -> bool {
    let prefix = text.strip_suffix('*').unwrap_or(text);
    text == "*" || is_technical_name(prefix)
}

/// What administrators set.
///
/// # Errors
/// What the database says.
pub fn kept(conn: &Connection) -> Result<Option<Setting<Parts>>, EngineError> {
    setting::find(conn, NAME)
}

/// The policy that is in force. What the operator's file says of it nobody changes elsewhere.
///
/// # Errors
/// What the database says.
pub fn in_force(conn: &Connection, config: &Config) -> Result<Policy, EngineError> {
    let kept = kept(conn)?.map(|kept| kept.value).unwrap_or_default();
    Ok(config.fixed.over(kept.over(config.policy.clone())))
}

impl Engine {
    /// The policy that is in force now.
    ///
    /// # Errors
    /// What the database says.
    pub fn policy(&self) -> Result<Policy, EngineError> {
        in_force(&*self.database().snapshot()?, self.config())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_comes_before_what_is_set_and_that_before_the_defaults() {
        let models = |name: &str| Some(vec![name.to_owned()]);
        let file =
            Parts { guarded_models: models("a"), approved_operations: Some(BTreeSet::new()), ..Parts::default() };
        let set = Parts {
            guarded_models: models("b"),
            forbidden_models: models("c"),
            approved_operations: Some([GrantOperation::Write].into()),
            ..Parts::default()
        };
        let policy = file.over(set.over(Policy::default()));
        assert_eq!((policy.guarded_models, policy.forbidden_models), (vec!["a".to_owned()], vec!["c".to_owned()]));
        assert!(policy.approved_operations.is_empty());
        assert_eq!(policy.guarded_operations, Policy::default().guarded_operations);
        assert!(Part::ALL.iter().all(|part| Parts::all_of(Policy::default()).says(*part)));
        let names: Vec<_> = Part::ALL.iter().filter(|part| file.says(**part)).map(|part| part.name()).collect();
        assert_eq!(names, ["guarded-models", "approved-operations"]);
        let json = serde_json::to_value(Parts::all_of(Policy::default())).unwrap();
        assert!(Part::ALL.iter().all(|part| json.get(part.name()).is_some()), "{json}");
    }

    #[test]
    fn models_are_named_in_full_or_by_their_beginning() {
        for good in ["res.users", "ir.*", "hr*", "*", "x_studio_thing", "a.b.c"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", ".", "Res.users", "res users", "res.*.x", "*.x", "**", "<b>", "ünit"] {
            assert!(!is_pattern(bad), "{bad}");
        }
        let long = Parts { forbidden_models: Some(vec!["x".repeat(129)]), ..Parts::default() };
        assert_eq!(long.wrong().len(), 1);
        let many = Parts { guarded_models: Some(vec!["a".to_owned(); 201]), ..Parts::default() };
        assert_eq!(many.wrong()[0].0, Part::GuardedModels);
    }
}
