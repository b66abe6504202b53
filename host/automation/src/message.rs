//! Messages on a record's chatter, as triggers know them: received from outside, or sent by somebody inside. Notes and the
//! system's own notifications are neither, as in Odoo.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    changes::{Change, ChangeKind},
    error::Error,
    event::MessageInfo,
    value::{Link, RecordRef, Value},
};
use triggerbox_store::db::fault;

use crate::people::SYSTEM;

/// Where a message went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From outside.
    In,
    /// From an internal user.
    Out,
}

/// A message that triggers may wait for.
pub(crate) struct Heard {
    pub(crate) on: RecordRef,
    pub(crate) direction: Direction,
    pub(crate) info: MessageInfo,
}

/// The message that a change is about, if it is one that triggers may wait for.
pub(crate) fn heard(conn: &Connection, change: &Change) -> Result<Option<Heard>, Error> {
    if change.record.model != "mail.message" || change.kind != ChangeKind::Created {
        return Ok(None);
    }
    let value = |name: &str| change.fields.iter().find(|field| field.field == name).map(|field| &field.new);
    let (Some(Value::Text(model)), Some(Value::Integer(id))) = (value("model"), value("res_id")) else {
        return Ok(None);
    };
    let Ok(id) = u32::try_from(*id) else { return Ok(None) };
    let text = |name: &str| match value(name) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let link = |name: &str| match value(name) {
        Some(Value::Many2one(link)) => Some(link.id),
        _ => None,
    };
    if matches!(text("message_type"), "notification" | "auto_comment" | "user_notification") {
        return Ok(None);
    }
    let Some(subtype) = link("subtype_id") else { return Ok(None) };
    let sql = "SELECT internal FROM mail_message_subtype WHERE id = ?1";
    let internal: Option<bool> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([subtype], |row| row.get(0)).optional())
        .map_err(fault)?
        .flatten();
    if internal != Some(false) || value("is_internal") == Some(&Value::Boolean(true)) {
        return Ok(None);
    }
    let author = link("author_id");
    let direction = match author {
        Some(partner) if is_colleague(conn, partner)? => Direction::Out,
        _ => Direction::In,
    };
    let author = author.map(|id| author_link(conn, id)).transpose()?;
    let info = MessageInfo { id: change.record.id, author, body: text("body").to_owned(), is_note: false };
    Ok(Some(Heard { on: RecordRef::new(model.as_str(), id), direction, info }))
}

/// Whether an active internal user, or the system itself, stands behind a partner.
fn is_colleague(conn: &Connection, partner: u32) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM res_users WHERE partner_id = ?1 AND (active AND NOT coalesce(share, 0) OR id = ?2)";
    conn.prepare_cached(sql).and_then(|mut statement| statement.exists([partner, SYSTEM])).map_err(fault)
}

fn author_link(conn: &Connection, partner: u32) -> Result<Link, Error> {
    let sql = "SELECT name FROM res_partner WHERE id = ?1";
    let name: Option<Option<String>> = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([partner], |row| row.get(0)).optional())
        .map_err(fault)?;
    Ok(Link { id: partner, name: name.flatten() })
}
