//! Another model for a rule: what is bound to the old one goes, and is named.

use rusqlite::Connection;
use serde::Serialize;
use triggerbox_model::{domain::Domain, schema::Schema};
use triggerbox_store::{env::Env, query};

use super::{Rule, Source, Trigger};
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
    let mut changed = Rule { model: Some(model.to_owned()), ..rule.clone() };
    let mut dropped = Vec::new();
    let Some(old) = rule.model.as_deref().filter(|old| *old != model) else {
        return Ok((changed, dropped));
    };
    changed.actions.clear();
    for (index, action) in rule.actions.iter().enumerate() {
        let why = match registry::resolve(conn, &action.script) {
            Err(RegistryError::Database(error)) => return Err(error.into()),
            Err(_) => None,
            Ok(version) => {
                let asked = asks::asks(&env.schema, rule, action, &version.manifest);
                let asked_anew = asks::asks(&env.schema, &changed, action, &version.manifest);
                let on = |grants: &triggerbox_model::grants::Grants, model: &str| {
                    grants.0.iter().any(|grant| grant.model == model)
                };
                let wrong = crate::scripts::ready::misfits(&env.schema, Some(model), action);
                match wrong.into_iter().next() {
                    Some((_, problem)) => Some(problem),
                    None if on(&asked, old) && !on(&asked_anew, model) => Some(format!("it works on `{old}`")),
                    None => None,
                }
            }
        };
        match why {
            Some(why) => {
                dropped.push(Dropped { place: format!("actions[{index}]"), what: action.script.to_string(), why });
            }
            None => changed.actions.push(action.clone()),
        }
    }
    let judge = |domain: &str| Domain::parse(domain).and_then(|domain| query::condition(conn, env, model, &domain));
    let mut keep = |place: &str, domain: Option<String>| {
        let text = domain?;
        match judge(&text) {
            Ok(_) => Some(text),
            Err(error) => {
                dropped.push(Dropped { place: place.to_owned(), what: text, why: error.message });
                None
            }
        }
    };
    changed.before_domain = keep("before-domain", changed.before_domain.take());
    changed.domain = keep("domain", changed.domain.take());
    if let Some(Source::Domain(domain)) = changed.source.take_if(|source| matches!(source, Source::Domain(_))) {
        changed.source = keep("source.domain", Some(domain)).map(Source::Domain);
    }
    changed.judge_again &= changed.domain.is_some();
    watched(&env.schema, &mut changed.trigger, model, &mut dropped);
    Ok((changed, dropped))
}

fn watched(schema: &Schema, trigger: &mut Trigger, model: &str, dropped: &mut Vec<Dropped>) {
    let (Trigger::Updated { fields }
    | Trigger::CreatedOrUpdated { fields }
    | Trigger::OnChange { fields }
    | Trigger::Before { fields, .. }) = trigger
    else {
        return;
    };
    let Ok(model) = schema.model(model) else { return };
    let mut index = 0;
    fields.retain(|name| {
        let known = model.field(name);
        if let Err(error) = &known {
            let place = format!("trigger.fields[{index}]");
            dropped.push(Dropped { place, what: name.clone(), why: error.message.clone() });
        }
        index += 1;
        known.is_ok()
    });
}
