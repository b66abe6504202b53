//! Another model for a rule: what is bound to the old one goes, and is named.

use rusqlite::Connection;
use serde::Serialize;
use triggerbox_model::schema::Schema;
use triggerbox_store::env::Env;

use super::{
    Rule, Source, Trigger,
    check::{Finding, Ground, Severity, domains},
    stored::{self, Edit, RuleError, Saved},
};
use crate::scripts::{RegistryError, asks, registry};

/// Something that a rule loses with its model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Where it was, in the words of the rule's file: `actions[1]`, `domain`.
    pub place: String,
    /// What it was.
    pub what: String,
    /// Why it goes.
    pub why: String,
}

impl Dropped {
    /// The same, as something that whoever edits the rule should know.
    #[must_use]
    pub fn finding(&self) -> Finding {
        Finding {
            severity: Severity::Warning,
            code: "dropped",
            place: self.place.clone(),
            message: format!("`{}` is dropped: {}", self.what, self.why),
        }
    }
}

/// Binds a rule that is kept to another model. What is dropped with the old one is among the warnings, or, if the rule makes
/// no sense without it, among the findings.
///
/// # Errors
/// As [`stored::save`]; [`RuleError::Unknown`].
pub fn save_on(ground: Ground<'_>, name: &str, model: &str, edit: &Edit<'_>) -> Result<Saved, RuleError> {
    let known = stored::get(ground.conn, name)?;
    let (rule, dropped) = with_model(ground.conn, ground.env, &known.rule, model)?;
    let dropped = dropped.iter().map(Dropped::finding);
    match stored::save(ground, &rule, edit) {
        Ok(mut saved) => {
            saved.warnings.extend(dropped);
            Ok(saved)
        }
        Err(RuleError::Refused(mut findings)) => {
            findings.extend(dropped);
            Err(RuleError::Refused(findings))
        }
        Err(error) => Err(error),
    }
}

/// The rule on another model, without what was bound to the old one: actions whose scripts ask for the old model and not
/// for the new one, domains and watched fields that the new model does not have.
///
/// # Errors
/// What the database says.
pub fn with_model(
    conn: &Connection,
    env: &Env,
    rule: &Rule,
    model: &str,
) -> Result<(Rule, Vec<Dropped>), RegistryError> {
    moved(conn, env, rule, Rule { model: Some(model.to_owned()), ..rule.clone() })
}

/// A rule as it is to be, without what it only has from the time when it was as `old`, on another model. What is new in it
/// stays, whatever it is.
///
/// # Errors
/// What the database says.
pub fn moved(
    conn: &Connection,
    env: &Env,
    old: &Rule,
    mut changed: Rule,
) -> Result<(Rule, Vec<Dropped>), RegistryError> {
    let mut dropped = Vec::new();
    let (Some(before), Some(model)) =
        (old.model.as_deref(), changed.model.clone().filter(|new| Some(new) != old.model.as_ref()))
    else {
        return Ok((changed, dropped));
    };
    let model = model.as_str();
    for (index, action) in std::mem::take(&mut changed.actions).into_iter().enumerate() {
        let is_old = old.actions.iter().any(|one| one.script.name == action.script.name);
        let why = match registry::resolve(conn, &action.script) {
            Err(RegistryError::Database(error)) => return Err(error.into()),
            Ok(version) if is_old => {
                let asked = asks::asks(&env.schema, old, &action, &version.manifest);
                let asked_anew = asks::asks(&env.schema, &changed, &action, &version.manifest);
                let on = |grants: &triggerbox_model::grants::Grants, model: &str| {
                    grants.0.iter().any(|grant| grant.model == model)
                };
                let wrong = crate::scripts::ready::misfits(&env.schema, Some(model), &action);
                match wrong.into_iter().next() {
                    Some((_, problem)) => Some(problem),
                    None if on(&asked, before) && !on(&asked_anew, model) => Some(format!("it works on `{before}`")),
                    None => None,
                }
            }
            _ => None,
        };
        match why {
            Some(why) => {
                dropped.push(Dropped { place: format!("actions[{index}]"), what: action.script.to_string(), why });
            }
            None => changed.actions.push(action),
        }
    }
    let judge = |domain: &str| env.schema.model(model).and_then(|model| domains::judge(conn, env, model, domain));
    let mut keep = |place: &str, domain: Option<String>, old: Option<&String>| {
        let text = domain?;
        match judge(&text) {
            Err(error) if old == Some(&text) => {
                dropped.push(Dropped { place: place.to_owned(), what: text, why: error.message });
                None
            }
            _ => Some(text),
        }
    };
    changed.before_domain = keep("before-domain", changed.before_domain.take(), old.before_domain.as_ref());
    changed.domain = keep("domain", changed.domain.take(), old.domain.as_ref());
    if let Some(Source::Domain(domain)) = changed.source.take_if(|source| matches!(source, Source::Domain(_))) {
        let old = old.source.as_ref().and_then(|source| match source {
            Source::Domain(domain) => Some(domain),
            Source::Script(_) => None,
        });
        changed.source = keep("source.domain", Some(domain), old).map(Source::Domain);
    }
    changed.judge_again &= changed.domain.is_some();
    let old = watched(&old.trigger).unwrap_or_default();
    if let Some(fields) = watched_mut(&mut changed.trigger) {
        leave_out(&env.schema, fields, old, model, &mut dropped);
    }
    Ok((changed, dropped))
}

fn leave_out(schema: &Schema, fields: &mut Vec<String>, old: &[String], model: &str, dropped: &mut Vec<Dropped>) {
    let Ok(model) = schema.model(model) else { return };
    let mut index = 0;
    fields.retain(|name| {
        let place = format!("trigger.fields[{index}]");
        index += 1;
        match model.field(name) {
            Err(error) if old.contains(name) => {
                dropped.push(Dropped { place, what: name.clone(), why: error.message });
                false
            }
            _ => true,
        }
    });
}

/// The fields that a trigger watches, if it is one that watches any.
fn watched(trigger: &Trigger) -> Option<&[String]> {
    match trigger {
        Trigger::Updated { fields }
        | Trigger::CreatedOrUpdated { fields }
        | Trigger::OnChange { fields }
        | Trigger::Before { fields, .. } => Some(fields),
        _ => None,
    }
}

fn watched_mut(trigger: &mut Trigger) -> Option<&mut Vec<String>> {
    match trigger {
        Trigger::Updated { fields }
        | Trigger::CreatedOrUpdated { fields }
        | Trigger::OnChange { fields }
        | Trigger::Before { fields, .. } => Some(fields),
        _ => None,
    }
}
