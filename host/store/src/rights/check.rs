//! What a user may do: with a model, with which of its records, with which fields.
//!
//! Odoo's rules: an operation needs one access right, of any group of the user or of everybody. Of the record rules
//! for the operation, every global one must hold, and one of those of the user's groups if there are any. A model
//! that inherits from another by delegation is bound by that one's rules too. The superuser is bound by nothing.

use std::collections::HashSet;

use rusqlite::Connection;
use triggerbox_model::{
    call::Operation,
    domain::{Condition, Domain, Literal, Operand, Operator, filter::Filter},
    error::{Error, ErrorKind},
    schema::{Field, FieldKind, Schema},
    value::Id,
};

use super::{Access, Expression, Rule, documents::by_document};
use crate::{env::Env, query};

/// Fields of their own user record that everybody may read.
const OWN_READABLE: [&str; 13] = [
    "signature",
    "company_id",
    "login",
    "email",
    "name",
    "lang",
    "tz",
    "group_ids",
    "partner_id",
    "write_date",
    "share",
    "phone",
    "display_name",
];
/// Fields of their own user record that everybody may write.
const OWN_WRITABLE: [&str; 7] = ["signature", "company_id", "email", "name", "lang", "tz", "phone"];

/// Fields of a task that users of the portal may read besides those that they may write.
const TASK_READABLE: [&str; 43] = [
    "id",
    "active",
    "priority",
    "project_id",
    "display_in_project",
    "allow_task_dependencies",
    "subtask_count",
    "email_from",
    "create_date",
    "write_date",
    "company_id",
    "displayed_image_id",
    "display_name",
    "portal_user_names",
    "user_ids",
    "display_parent_task_button",
    "current_user_same_company_partner",
    "allow_recurring_tasks",
    "allow_milestones",
    "milestone_id",
    "has_late_and_unreached_milestone",
    "date_assign",
    "dependent_ids",
    "message_is_follower",
    "recurring_task",
    "closed_subtask_count",
    "dependent_tasks_count",
    "depend_on_ids",
    "depend_on_count",
    "repeat_interval",
    "repeat_unit",
    "repeat_type",
    "repeat_until",
    "recurrence_id",
    "recurring_count",
    "duration_tracking",
    "display_follow_button",
    "is_template",
    "has_template_ancestor",
    "has_project_template",
    "stage_id_color",
    "access_token",
    "access_url",
];
/// Fields of a task that users of the portal may write.
const TASK_WRITABLE: [&str; 14] = [
    "name",
    "description",
    "partner_id",
    "date_deadline",
    "date_last_stage_update",
    "tag_ids",
    "sequence",
    "stage_id",
    "child_ids",
    "color",
    "parent_id",
    "priority",
    "state",
    "is_closed",
];

impl Access {
    fn gives(&self, operation: Operation) -> bool {
        self.active
            && match operation {
                Operation::Read => self.perm_read,
                Operation::Write => self.perm_write,
                Operation::Create => self.perm_create,
                Operation::Unlink => self.perm_unlink,
            }
    }
}

impl Rule {
    fn counts_for(&self, operation: Operation) -> bool {
        self.active
            && match operation {
                Operation::Read => self.perm_read,
                Operation::Write => self.perm_write,
                Operation::Create => self.perm_create,
                Operation::Unlink => self.perm_unlink,
            }
    }

    /// A rule without groups is global.
    #[must_use]
    pub fn is_global(&self) -> bool {
        self.groups.is_empty()
    }

    /// The rule's domain for the user, companies and time of an environment.
    ///
    /// # Errors
    /// `bad-rule`, naming the rule.
    pub fn domain(&self, conn: &Connection, env: &Env) -> Result<Domain, Error> {
        self.domain_of(&Expression::parse(&self.domain), conn, env)
    }

    /// The same, with what was read of the rule before.
    fn domain_of(&self, read: &Result<Expression, Error>, conn: &Connection, env: &Env) -> Result<Domain, Error> {
        let evaluate = || Domain::from_literal(&read.as_ref().map_err(Clone::clone)?.evaluate(conn, env)?);
        let named = |error: Error| match error.kind {
            ErrorKind::Other | ErrorKind::AccessDenied => error,
            _ => Error::invalid(
                "bad-rule",
                format!("record rule `{}` on `{}`: {}", self.name, self.model, error.message),
            ),
        };
        let domain = evaluate().map_err(named)?;
        Ok(without_unknown_fields(domain, &env.schema, &self.model))
    }
}

/// Whether the user may do this with the model at all.
#[must_use]
pub fn may(env: &Env, model: &str, operation: Operation) -> bool {
    env.superuser
        || env
            .rights
            .access_to(model)
            .any(|access| access.gives(operation) && access.group_id.is_none_or(|group| env.groups.contains(&group)))
}

/// Refuses what the user may not do with the model at all.
///
/// # Errors
/// `unknown-model`; `no-access`, naming the access rights that would give it.
pub fn check_model(env: &Env, model: &str, operation: Operation) -> Result<(), Error> {
    if may(env, model, operation) {
        // Only afterwards: whether an unknown model exists is nobody's business.
        return env.schema.model(model).map(drop);
    }
    let giving = env.rights.access_to(model).filter(|access| access.gives(operation));
    let names: Vec<String> = giving.map(|access| format!("`{}`", access.name)).collect();
    let who = match names.as_slice() {
        [] => "no access right gives it to anybody".to_owned(),
        names => format!("it is given by {}, to groups that the user is not in", names.join(", ")),
    };
    let message = format!("{} may not {} `{model}`; {who}", env.who(), operation.name());
    Err(Error::denied("no-access", message))
}

/// The records of a model that the user may do this with. The superuser: all.
///
/// # Errors
/// `bad-rule` for a rule that cannot be evaluated; what the database says.
pub fn rule_domain(conn: &Connection, env: &Env, model: &str, operation: Operation) -> Result<Domain, Error> {
    if env.superuser {
        return Ok(Domain::Always);
    }
    let mut all = Vec::new();
    if let Some(described) = env.schema.models.get(model) {
        for (parent, link) in &described.inherits {
            if described.has_column(link) && env.schema.models.contains_key(parent) {
                match rule_domain(conn, env, parent, operation)? {
                    Domain::Always => {}
                    domain => all.push(Domain::any(link.clone(), Operator::Any, domain)),
                }
            }
        }
    }
    let mut of_groups = Vec::new();
    for (rule, read) in rules(env, model, operation) {
        // Whether or not this one asks for the companies.
        env.allowed_companies()?;
        let domain = rule.domain_of(read, conn, env)?;
        if rule.is_global() { all.push(domain) } else { of_groups.push(domain) }
    }
    if !of_groups.is_empty() {
        all.push(Domain::or(of_groups));
    }
    Ok(Domain::and(all))
}

/// The rules for reading a model, as they were resolved before for a user like this one, and whether they follow from the
/// user alone. `resolve`: resolves them, and says what of.
///
/// # Errors
/// What `resolve` says.
pub(crate) fn read_filter(
    env: &Env,
    model: &str,
    resolve: impl FnOnce() -> Result<(Filter, Domain), Error>,
) -> Result<(Filter, bool), Error> {
    if let Some(known) = env.rights.known_filter(env, model) {
        return Ok((known, true));
    }
    let (filter, domain) = resolve()?;
    let settled = is_settled(env, model) && is_settled_domain(&domain);
    if settled {
        env.rights.keep_filter(env, model, &filter);
    }
    Ok((filter, settled))
}

/// Whether the rules for reading a model follow from who the user is, and from nothing else.
fn is_settled(env: &Env, model: &str) -> bool {
    let above = env.schema.models.get(model).into_iter().flat_map(|described| described.inherits.keys());
    rules(env, model, Operation::Read).all(|(_, read)| read.as_ref().is_ok_and(Expression::is_settled))
        && above.into_iter().all(|parent| is_settled(env, parent))
}

/// Whether a domain means the same at all times: texts may stand for dates that move.
fn is_settled_domain(domain: &Domain) -> bool {
    let mut settled = true;
    domain.for_each_condition(&mut |condition| {
        settled &= match &condition.value {
            Operand::Literal(value) => has_no_text(value),
            Operand::Domain(inner) => is_settled_domain(inner),
        }
    });
    settled
}

fn has_no_text(value: &Literal) -> bool {
    match value {
        Literal::None | Literal::Bool(_) | Literal::Integer(_) | Literal::Float(_) => true,
        Literal::List(items) => items.iter().all(has_no_text),
        Literal::Text(_) | Literal::Dict(_) => false,
    }
}

/// The rules that bind the user, in order.
fn rules<'a>(
    env: &'a Env,
    model: &str,
    operation: Operation,
) -> impl Iterator<Item = (&'a Rule, &'a Result<Expression, Error>)> {
    env.rights.rules_of(model).filter(move |(rule, _)| {
        rule.counts_for(operation) && (rule.is_global() || rule.groups.iter().any(|group| env.groups.contains(group)))
    })
}

/// Refuses what the user may not do with all of these records (with the model at all, for no ids).
///
/// # Errors
/// `no-access` as [`check_model`]; `record-rule`, naming records and rules; `missing-record` where the rules must
/// look at a record that is gone.
pub fn check_access(conn: &Connection, env: &Env, model: &str, ids: &[Id], operation: Operation) -> Result<(), Error> {
    check_model(env, model, operation)?;
    if env.superuser || ids.is_empty() {
        return Ok(());
    }
    let domain = rule_domain(conn, env, model, operation)?;
    let by_document = by_document(conn, env, model, operation)?;
    if domain == Domain::Always && by_document.as_ref().is_none_or(|by| by.or_rules) {
        return Ok(());
    }
    let mut allowed: HashSet<Id> = matching(conn, env, model, ids, &domain)?.into_iter().collect();
    if let Some(by) = by_document {
        let on_documents: HashSet<Id> = query::among(conn, env, model, ids, &by.filter)?.into_iter().collect();
        if by.or_rules {
            allowed.extend(on_documents);
        } else {
            allowed.retain(|id| on_documents.contains(id));
        }
    }
    let forbidden: Vec<Id> = ids.iter().copied().filter(|id| !allowed.contains(id)).collect();
    if forbidden.is_empty() {
        return Ok(());
    }
    let existing = matching(conn, env, model, &forbidden, &Domain::Always)?;
    if let Some(missing) = forbidden.iter().find(|id| !existing.contains(id)) {
        let message = format!("`{model}` {missing} does not exist or has been deleted");
        return Err(Error::not_found("missing-record", message));
    }
    let failing = failing_rules(conn, env, model, &forbidden, operation)?;
    let message =
        format!("{} may not {} `{model}` {}; refused by {failing}", env.who(), operation.name(), first_few(&forbidden));
    Err(Error::denied("record-rule", message))
}

/// The records that [`check_access`] allows this with; none: that takes more than a filter of the model.
///
/// # Errors
/// As [`rule_domain`].
pub(crate) fn allowed(
    conn: &Connection,
    env: &Env,
    model: &str,
    operation: Operation,
) -> Result<Option<Filter>, Error> {
    if by_document(conn, env, model, operation)?.is_some() {
        return Ok(None);
    }
    let domain = rule_domain(conn, env, model, operation)?;
    let filter = query::condition(conn, &seeing_all(env), model, &domain)?;
    // A rule that makes no sense is told, whatever else would allow it.
    Ok((!filter.may_be_refused()).then_some(filter))
}

/// Whether [`check_access`] allows it.
///
/// # Errors
/// Anything but a refusal.
pub fn has_access(conn: &Connection, env: &Env, model: &str, ids: &[Id], operation: Operation) -> Result<bool, Error> {
    match check_access(conn, env, model, ids, operation) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == ErrorKind::AccessDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// The rules that records fail, for the message: global ones each, those of groups together.
fn failing_rules(conn: &Connection, env: &Env, model: &str, ids: &[Id], operation: Operation) -> Result<String, Error> {
    let mut failing = Vec::new();
    let mut of_groups = Vec::new();
    for (rule, read) in rules(env, model, operation) {
        let domain = rule.domain_of(read, conn, env)?;
        if !rule.is_global() {
            of_groups.push((rule, domain));
        } else if matching(conn, env, model, ids, &domain)?.len() < ids.len() {
            failing.push(format!("record rule `{}`", rule.name));
        }
    }
    let any = Domain::or(of_groups.iter().map(|(_, domain)| domain.clone()));
    if !of_groups.is_empty() && matching(conn, env, model, ids, &any)?.len() < ids.len() {
        failing.extend(of_groups.iter().map(|(rule, _)| format!("record rule `{}`", rule.name)));
    }
    if failing.is_empty() {
        failing.push("the rules of a record that it belongs to".to_owned());
    }
    Ok(failing.join(", "))
}

/// Those of the records that match a domain, as the superuser sees it, archived ones included.
fn matching(conn: &Connection, env: &Env, model: &str, ids: &[Id], domain: &Domain) -> Result<Vec<Id>, Error> {
    query::matching(conn, &seeing_all(env), model, ids, domain)
}

fn seeing_all(env: &Env) -> Env {
    Env { active_test: false, ..env.clone().sudo() }
}

/// Whether the user may read or write a field. Reading and writing one's own preferences is always allowed.
#[must_use]
pub fn sees_field(env: &Env, field: &Field) -> bool {
    if env.superuser || field.groups.is_empty() {
        return true;
    }
    let (negative, positive): (Vec<&str>, Vec<&str>) =
        field.groups.iter().map(String::as_str).partition(|group| group.starts_with('!'));
    let has = |group: &str| env.group_names.contains(group.trim_start_matches('!'));
    !negative.iter().any(|group| has(group)) && (positive.is_empty() || positive.iter().any(|group| has(group)))
}

/// Of a task, users of the portal see and write only what Odoo's project application lists for them.
fn is_kept_from_customers(env: &Env, model: &str, name: &str, operation: Operation) -> bool {
    /// External id of the group of users from outside.
    const PORTAL: &str = "base.group_portal";
    if model != "project.task" || env.superuser || !env.group_names.contains(PORTAL) {
        return false;
    }
    let writable = TASK_WRITABLE.contains(&name);
    match operation {
        Operation::Read => !writable && !TASK_READABLE.contains(&name),
        Operation::Write => !writable,
        Operation::Create | Operation::Unlink => false,
    }
}

/// Refuses fields that are restricted to groups which the user is not in.
///
/// # Errors
/// `restricted-field`; `unknown-field`.
pub fn check_fields<'a>(
    env: &Env,
    model: &str,
    fields: impl IntoIterator<Item = &'a str>,
    operation: Operation,
) -> Result<(), Error> {
    let described = env.schema.model(model)?;
    fields.into_iter().try_for_each(|name| match env.schema.shown_field(described, name) {
        Some(field) => check_field(env, model, name, field, operation),
        None => Ok(()),
    })
}

/// Refuses a field that is restricted to groups which the user is not in.
///
/// # Errors
/// `restricted-field`
pub fn check_field(env: &Env, model: &str, name: &str, field: &Field, operation: Operation) -> Result<(), Error> {
    if sees_field(env, field) && !is_kept_from_customers(env, model, name, operation) {
        return Ok(());
    }
    if field.groups.is_empty() {
        let message = format!("{} may not {} field `{name}` of `{model}`", env.who(), operation.name());
        return Err(Error::denied("restricted-field", message).with_field(name));
    }
    let (who, operation, groups) = (env.who(), operation.name(), field.groups.join(", "));
    let message = format!("{who} may not {operation} field `{name}` of `{model}`; it is for the groups {groups}");
    Err(Error::denied("restricted-field", message).with_field(name))
}

/// Whether users may do this although they have no right to: read or change preferences of their own.
/// The caller goes on as the superuser.
#[must_use]
pub fn is_own_preference<'a>(
    env: &Env,
    model: &str,
    ids: &[Id],
    fields: impl IntoIterator<Item = &'a str>,
    operation: Operation,
) -> bool {
    let allowed: &[&str] = match operation {
        Operation::Read => &OWN_READABLE,
        Operation::Write => &OWN_WRITABLE,
        Operation::Create | Operation::Unlink => return false,
    };
    model == "res.users" && ids == [env.user] && fields.into_iter().all(|field| allowed.contains(&field))
}

/// Conditions on fields that the schema does not have never hold, negated or not: rules of a larger system give
/// access here only by what is here.
fn without_unknown_fields(domain: Domain, schema: &Schema, model: &str) -> Domain {
    let known = |condition: &Condition| path_is_known(schema, model, &condition.field);
    match domain {
        Domain::Condition(condition) if !known(&condition) => Domain::Never,
        Domain::Not(inner) => match *inner {
            Domain::Condition(condition) if !known(&condition) => Domain::Never,
            other => Domain::Not(Box::new(other)),
        },
        Domain::And(parts) => Domain::and(parts.into_iter().map(|part| without_unknown_fields(part, schema, model))),
        Domain::Or(parts) => Domain::or(parts.into_iter().map(|part| without_unknown_fields(part, schema, model))),
        other => other,
    }
}

fn path_is_known(schema: &Schema, model: &str, path: &str) -> bool {
    let mut at = schema.models.get(model);
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let Some(model) = at else { return false };
        if matches!(name, "id" | "display_name") {
            at = None;
            continue;
        }
        let Some(field) = schema.shown_field(model, name) else { return false };
        if field.kind.is_relational() {
            at = field.relation.as_ref().and_then(|relation| schema.models.get(relation));
        } else {
            // What follows a date is a part of it.
            return names.peek().is_none() || matches!(field.kind, FieldKind::Date | FieldKind::Datetime);
        }
    }
    true
}

fn first_few(ids: &[Id]) -> String {
    const SHOWN: usize = 6;
    let shown: Vec<String> = ids.iter().take(SHOWN).map(ToString::to_string).collect();
    match ids.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
