//! What an Odoo server must know of a rule, and which rules it cannot have.

use triggerbox_model::{
    domain::Domain,
    error::Error,
    schema::{FieldKind, Model, Schema},
};
use triggerbox_odoo::setup::{Want, Watch};

use crate::{
    index::Index,
    rule::{Rule, Trigger},
    timed,
};

/// Why a rule cannot be had for records on an Odoo server: code, place, reason.
pub(crate) fn refusals(rule: &Rule) -> Vec<(&'static str, &'static str, String)> {
    let mut found = Vec::new();
    let mut refuse = |code, place, why: &str| found.push((code, place, why.to_owned()));
    match &rule.trigger {
        Trigger::Before { .. } => refuse(
            "odoo-no-before",
            "trigger",
            "odoo lets nobody into a user's write without a module installed there; use a rule that runs after it, or a \
             constraint in odoo",
        ),
        Trigger::OnChange { .. } => refuse(
            "odoo-no-on-change",
            "trigger",
            "odoo asks nobody outside about a form that is not saved; use a rule that runs after the change",
        ),
        _ => {}
    }
    if rule.superuser {
        refuse(
            "odoo-no-superuser",
            "superuser",
            "on an odoo server scripts run with the rights of the user whose key they use: an action there that lifts them \
             would lift them for whoever holds such a key; name a user with more rights in `run-as`",
        );
    }
    found
}

/// What Odoo must know of a rule; nothing, when it waits for nothing that happens there.
///
/// # Errors
/// The model has not what the trigger is about.
pub fn watch(rule: &Rule, model: &Model) -> Result<Option<Watch>, Error> {
    let has = |name: &str| model.fields.contains_key(name);
    let own = |name: &str| vec![name.to_owned()];
    // Whether a new record can be what the trigger waits for, and what of it must be told to know.
    let (want, fields, told) = match &rule.trigger {
        Trigger::Created {} => (Want::Created, Vec::new(), false),
        Trigger::Deleted {} => (Want::Deleted, Vec::new(), false),
        Trigger::MessageReceived {} => (Want::Received, Vec::new(), false),
        Trigger::MessageSent {} => (Want::Sent, Vec::new(), false),
        Trigger::Updated { fields } => (Want::Updated, some_or_all(fields, model), false),
        Trigger::CreatedOrUpdated { fields } => (Want::Both, some_or_all(fields, model), false),
        Trigger::StageSet { .. } => (Want::Both, own("stage_id"), true),
        Trigger::StateSet { field, .. } => (Want::Both, own(field.as_deref().unwrap_or("state")), true),
        Trigger::PrioritySet { .. } => (Want::Both, own("priority"), true),
        Trigger::TagSet { .. } => (Want::Both, own("tag_ids"), true),
        Trigger::UserSet {} => {
            let users = ["user_id", "user_ids"].into_iter().filter(|name| has(name));
            (Want::Both, users.map(str::to_owned).collect(), true)
        }
        Trigger::Archived {} | Trigger::Unarchived {} => {
            (Want::Updated, own(model.active_name.as_deref().unwrap_or("active")), false)
        }
        _ => return Ok(None),
    };
    if matches!(want, Want::Updated | Want::Both) && fields.is_empty() {
        let message = format!("`{}` has no stored field whose change could be seen; name fields", model.name);
        return Err(Error::invalid("nothing-to-watch", message));
    }
    if let Some(field) = fields.iter().find(|field| !has(field)) {
        return Err(Error::invalid("unknown-field", format!("`{}` has no field `{field}`", model.name)));
    }
    let parsed = |text: &Option<String>| text.as_deref().map(Domain::parse).transpose();
    Ok(Some(Watch {
        rule: rule.name.clone(),
        title: if rule.title.is_empty() { rule.name.clone() } else { rule.title.clone() },
        model: model.name.clone(),
        want,
        fields,
        told,
        before: parsed(&rule.before_domain)?,
        after: parsed(&rule.domain)?,
        wrong: None,
    }))
}

/// Whether a model has what a rule waits for: what it had when the rule was made may be gone.
///
/// # Errors
/// `unknown-field`, `nothing-to-watch`; a domain that makes no sense.
pub(crate) fn watchable(rule: &Rule, model: &Model) -> Result<(), Error> {
    match timed::Watch::of(rule) {
        Some(timed) => model.field(timed.field).map(drop),
        None => watch(rule, model).map(drop),
    }
}

/// The named fields; without any, all that people change.
fn some_or_all(fields: &[String], model: &Model) -> Vec<String> {
    if !fields.is_empty() {
        return fields.to_vec();
    }
    let stored = model.fields.iter().filter(|(_, field)| {
        field.store && !field.readonly && !matches!(field.kind, FieldKind::One2many | FieldKind::Binary)
    });
    stored.map(|(name, _)| name.clone()).collect()
}

/// What Odoo must know of all rules; of those that are broken here, why it cannot be told.
#[must_use]
pub fn watches(index: &Index, schema: &Schema) -> Vec<Watch> {
    let active = index.all().iter().filter(|armed| armed.rule.active && refusals(&armed.rule).is_empty());
    active
        .filter_map(|armed| {
            let told = match (&armed.broken, &armed.rule.model) {
                (Some(error), _) => Err(error.clone()),
                (None, Some(model)) => schema.model(model).and_then(|model| watch(&armed.rule, model)),
                (None, None) => Ok(None),
            };
            told.unwrap_or_else(|error| Some(broken(&armed.rule, error)))
        })
        .collect()
}

fn broken(rule: &Rule, error: Error) -> Watch {
    Watch {
        rule: rule.name.clone(),
        title: rule.title.clone(),
        model: rule.model.clone().unwrap_or_default(),
        want: Want::Created,
        fields: Vec::new(),
        told: false,
        before: None,
        after: None,
        wrong: Some(error),
    }
}
