//! Many rules at once, as they come from files: all or nothing, with what changes in words.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use triggerbox_store::db::DbError;

use super::{
    Rule,
    check::{Finding, Ground, Severity},
    diff::{Difference, all_of, differences},
    stored::{self, Edit, Outcome, RuleError},
};

/// What happens to one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The rule.
    pub rule: String,
    /// What becomes of it.
    pub change: Planned,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What somebody should look at.
    pub warnings: Vec<Finding>,
    /// Versions of scripts that it runs from now on though they ask for more, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<String>,
}

/// What becomes of one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Planned {
    /// It is new.
    Create,
    /// It becomes as the file says.
    Update,
    /// It is so already.
    Keep,
    /// Its owner is asked.
    Propose,
    /// No file has it any more.
    Delete,
}

/// What is wrong with one of the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The rule.
    pub rule: String,
    /// All that was found, warnings too.
    pub findings: Vec<Finding>,
}

/// Why nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Rules make no sense; all of them.
    #[error("{}", words(.0))]
    Refused(Vec<Refused>),
    /// Something else.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl From<DbError> for ApplyError {
    fn from(error: DbError) -> Self {
        Self::Rule(error.into())
    }
}

fn words(refused: &[Refused]) -> String {
    let lines =
        refused.iter().flat_map(|one| one.findings.iter().map(move |finding| format!("{}: {finding}", one.rule)));
    lines.collect::<Vec<_>>().join("\n")
}

/// What [`apply`] would do. Nothing of it stays.
///
/// # Errors
/// As [`apply`].
pub fn plan(ground: Ground<'_>, rules: &[Rule], edit: &Edit<'_>, prune: bool) -> Result<Vec<Step>, ApplyError> {
    ground.conn.execute_batch("SAVEPOINT plan").map_err(DbError::from)?;
    let steps = apply(ground, rules, edit, prune);
    ground.conn.execute_batch("ROLLBACK TO plan; RELEASE plan").map_err(DbError::from)?;
    steps
}

/// Makes the rules as they are here; with `prune` also deletes those that are not. In the caller's transaction, which the
/// caller rolls back after an error.
///
/// # Errors
/// [`ApplyError::Refused`] with the findings of all rules.
pub fn apply(ground: Ground<'_>, rules: &[Rule], edit: &Edit<'_>, prune: bool) -> Result<Vec<Step>, ApplyError> {
    let mut steps = Vec::new();
    let mut refused = Vec::new();
    let mut names = BTreeSet::new();
    for rule in rules {
        if !names.insert(rule.name.as_str()) {
            let finding = Finding {
                severity: Severity::Error,
                code: "named-twice",
                place: "name".to_owned(),
                message: "two files have a rule of this name; keep one".to_owned(),
            };
            refused.push(Refused { rule: rule.name.clone(), findings: vec![finding] });
            continue;
        }
        let known = stored::find(ground.conn, &rule.name)?;
        match stored::save(ground, rule, edit) {
            Ok(saved) => steps.push(Step {
                rule: rule.name.clone(),
                change: match saved.outcome {
                    Outcome::Created => Planned::Create,
                    Outcome::Updated => Planned::Update,
                    Outcome::Unchanged => Planned::Keep,
                    Outcome::Proposed => Planned::Propose,
                },
                differences: known.map_or_else(|| all_of(rule), |known| differences(&known.rule, rule)),
                warnings: saved.warnings,
                agreed: saved.agreed,
            }),
            Err(RuleError::Refused(findings)) => refused.push(Refused { rule: rule.name.clone(), findings }),
            Err(error) => return Err(error.into()),
        }
    }
    if !refused.is_empty() {
        return Err(ApplyError::Refused(refused));
    }
    if prune {
        for known in stored::all(ground.conn)? {
            if !names.contains(known.rule.name.as_str()) {
                stored::delete(ground.conn, &known.rule.name, edit)?;
                steps.push(Step {
                    rule: known.rule.name,
                    change: Planned::Delete,
                    differences: Vec::new(),
                    warnings: Vec::new(),
                    agreed: Vec::new(),
                });
            }
        }
    }
    Ok(steps)
}
