//! Messages and activities are seen with the record that they are on.
//!
//! As in Odoo: one reads an activity of one's own, or of a record that one may read; one changes an activity if a rule
//! allows it, or on a record that one may change. One reads a message that one wrote or received, or on a record that one
//! may read; users from outside never see internal ones. One changes messages that one wrote or received, or on records
//! that one may change.

use rusqlite::Connection;
use triggerbox_model::{
    call::Operation,
    domain::filter::{Cell, Check, Filter, Link, LinkStorage, Related, Subject},
    error::Error,
    schema::{FieldKind, Model},
};

use super::{
    check::{may, rule_domain},
    records::{Attribute, Records},
};
use crate::{env::Env, query};

/// External id of the group of users who work here.
const INTERNAL_USERS: &str = "base.group_user";
/// External id of the group of those who keep the system.
const ADMINISTRATORS: &str = "base.group_system";

/// Standard models that a schema may leave out, and the group whose members read messages on their records.
const LEFT_OUT: [(&str, &str); 4] = [
    ("crm.team.member", INTERNAL_USERS),
    ("discuss.channel", INTERNAL_USERS),
    ("ir.actions.server", ADMINISTRATORS),
    ("ir.cron", ADMINISTRATORS),
];

/// Which records of such a model the user may do this with, by the records that they are on.
pub(super) struct ByDocument {
    /// These.
    pub(super) filter: Filter,
    /// A record rule alone is enough too; else both must allow it.
    pub(super) or_rules: bool,
}

/// What [`ByDocument`] says of a model; none for models that are not on other records, and for the superuser.
///
/// # Errors
/// `bad-rule`; what the database says.
pub(super) fn by_document(
    conn: &Connection,
    env: &Env,
    model: &str,
    operation: Operation,
) -> Result<Option<ByDocument>, Error> {
    if env.superuser || !matches!(model, "mail.activity" | "mail.message") {
        return Ok(None);
    }
    let Some(described) = env.schema.models.get(model) else { return Ok(None) };
    let Some(model_column) = described.model_column() else { return Ok(None) };
    let mut documents = Vec::new();
    // Anything can have messages that were posted on it, but a message.
    for target in env.schema.models.values().filter(|target| !target.name.starts_with("mail.")) {
        let needed = needed(target, operation);
        if !may(env, &target.name, needed) {
            continue;
        }
        let rules = rule_domain(conn, env, &target.name, needed)?;
        let mut sudo = env.clone().sudo();
        sudo.active_test = false;
        let filter = query::condition(conn, &sudo, &target.name, &rules)?;
        let link = Link { field: "res_id".to_owned(), model: target.name.clone(), storage: LinkStorage::Many2one };
        documents.push(Filter::and([
            equals(model_column, Cell::text(&target.name)),
            Filter::Related(Box::new(Related { link, filter, negated: false })),
        ]));
    }
    if model == "mail.message" && operation == Operation::Read {
        let kept = |name: &&str| !env.schema.models.contains_key(*name);
        let seen = LEFT_OUT.iter().filter(|(_, group)| env.group_names.contains(*group)).map(|(name, _)| *name);
        documents.extend(seen.filter(kept).map(|name| equals(model_column, Cell::text(name))));
    }
    let documents = Filter::or(documents);
    Ok(Some(match model {
        "mail.activity" => {
            let own = equals("user_id", Cell::Integer(i64::from(env.user)));
            let filter = if operation == Operation::Read { Filter::or([own, documents]) } else { documents };
            ByDocument { filter, or_rules: matches!(operation, Operation::Write | Operation::Unlink) }
        }
        _ => ByDocument { filter: messages(conn, env, described, operation, documents)?, or_rules: false },
    }))
}

/// What one must be allowed with a record for what is done with the messages and activities on it.
fn needed(target: &Model, operation: Operation) -> Operation {
    if operation == Operation::Read { Operation::Read } else { to_post_on(&target.name) }
}

/// What one must be allowed with a record to post messages on it.
#[must_use]
pub fn to_post_on(model: &str) -> Operation {
    // Whoever reads a task may take part in its discussion.
    if model == "project.task" { Operation::Read } else { Operation::Write }
}

fn messages(
    conn: &Connection,
    env: &Env,
    model: &Model,
    operation: Operation,
    documents: Filter,
) -> Result<Filter, Error> {
    let notification = Filter::Test(
        Subject::Column("message_type".to_owned()),
        Check::NotIn { values: vec![Cell::text("user_notification")], or_unset: true },
    );
    let mut any = vec![Filter::and([notification, documents])];
    let user = Records { model: "res.users".to_owned(), ids: vec![env.user] };
    if let Attribute::Records(partners) = user.attribute(conn, env, "partner_id")?
        && operation != Operation::Unlink
    {
        let ids = || partners.ids.iter().map(|id| i64::from(*id));
        for id in ids() {
            any.push(equals("author_id", Cell::Integer(id)));
        }
        if let Some(pairs) = model.fields.get("partner_ids").and_then(|field| field.m2m.clone()) {
            let storage = LinkStorage::Many2many(pairs.table, pairs.column1, pairs.column2);
            let link = Link { field: "partner_ids".to_owned(), model: partners.model.clone(), storage };
            let filter = Filter::ids(ids().collect());
            any.push(Filter::Related(Box::new(Related { link, filter, negated: false })));
        }
    }
    let mut all = vec![Filter::or(any)];
    if !env.group_names.contains(INTERNAL_USERS) {
        let is = |name: &str, kind: FieldKind| model.fields.get(name).is_some_and(|field| field.kind == kind);
        if is("is_internal", FieldKind::Boolean) {
            all.push(unset_or_false("is_internal"));
        }
        if is("subtype_id", FieldKind::Many2one) {
            let subtype = model.fields.get("subtype_id").and_then(|field| field.relation.clone()).unwrap_or_default();
            let link = Link { field: "subtype_id".to_owned(), model: subtype, storage: LinkStorage::Many2one };
            let filter = unset_or_false("internal");
            all.push(Filter::Related(Box::new(Related { link, filter, negated: false })));
        }
    }
    Ok(Filter::and(all))
}

fn equals(column: &str, value: Cell) -> Filter {
    Filter::Test(Subject::Column(column.to_owned()), Check::In { values: vec![value], or_unset: false })
}

fn unset_or_false(column: &str) -> Filter {
    Filter::Test(Subject::Column(column.to_owned()), Check::In { values: vec![Cell::Integer(0)], or_unset: true })
}

/// Which of the records that rules let the user search he also sees by what they are on.
///
/// # Errors
/// As [`by_document`].
pub fn read_documents(conn: &Connection, env: &Env, model: &str) -> Result<Filter, Error> {
    Ok(by_document(conn, env, model, Operation::Read)?.map_or(Filter::Always, |by| by.filter))
}
