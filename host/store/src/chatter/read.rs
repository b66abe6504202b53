//! Reading a record's messages, and what they say of its fields.

use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    allowance::Room,
    call::Posted,
    error::Error,
    schema::FieldKind,
    value::{Id, RecordRef},
};

use super::subtype;
use crate::{db::fault, env::Env, names, rights};

/// A change of a field that a message tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// The message.
    pub message: Id,
    /// The field's label.
    pub field: String,
    /// In words, empty without a value.
    pub old: String,
    /// In words, empty without a value.
    pub new: String,
}

/// The newest messages and notes of a record, as far as there is room for them. The system's notifications to single people
/// are not among them.
///
/// # Errors
/// What the database says.
pub fn read_messages(
    conn: &Connection,
    env: &Env,
    target: &RecordRef,
    limit: u32,
    room: &mut Room,
) -> Result<Vec<Posted>, Error> {
    let sql = "SELECT m.id, m.author_id, m.email_from, m.date, m.body, \
                      coalesce(m.is_internal, 0) OR m.subtype_id IS (SELECT id FROM tb_xmlid WHERE xmlid = ?3) \
               FROM mail_message m WHERE m.model = ?1 AND m.res_id = ?2 AND m.message_type <> 'user_notification' \
               ORDER BY m.date DESC, m.id DESC LIMIT ?4";
    let mut statement = conn.prepare_cached(sql).map_err(fault)?;
    let rows = statement.query_map((&target.model, target.id, subtype::NOTE, limit), |row| {
        let author: Option<u32> = row.get(1)?;
        let email: Option<String> = row.get(2)?;
        let date: Option<String> = row.get(3)?;
        let posted = Posted {
            id: row.get(0)?,
            author: email.unwrap_or_default(),
            date: date.map(|date| format!("{}Z", date.replacen(' ', "T", 1))).unwrap_or_default(),
            body: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            is_note: row.get(5)?,
        };
        Ok((author, posted))
    });
    let mut messages = Vec::new();
    for row in rows.map_err(fault)? {
        let (author, mut posted) = row.map_err(fault)?;
        if let Some(author) = author {
            posted.author = names::display_name(conn, env, "res.partner", author)?;
        }
        room.take(posted.body.len() as u64);
        room.take_record();
        messages.push(posted);
        if room.is_over() {
            break;
        }
    }
    Ok(messages)
}

/// What messages tell of the fields that the user may see, in the order in which Odoo shows it.
///
/// # Errors
/// What the database says.
pub fn read_tracked(conn: &Connection, env: &Env, messages: &[Id]) -> Result<Vec<Tracked>, Error> {
    let sql = "SELECT v.mail_message_id, f.model, f.name, \
                      v.old_value_char, v.old_value_text, v.old_value_integer, v.old_value_float, v.old_value_datetime, \
                      v.new_value_char, v.new_value_text, v.new_value_integer, v.new_value_float, v.new_value_datetime \
               FROM mail_tracking_value v JOIN tb_field f ON f.id = v.field_id \
               WHERE v.mail_message_id IN (SELECT value FROM json_each(?1)) ORDER BY v.id DESC";
    let messages = serde_json::Value::from(messages).to_string();
    let mut statement = conn.prepare_cached(sql).map_err(fault)?;
    let mut rows = statement.query([messages]).map_err(fault)?;
    let mut all = Vec::new();
    while let Some(row) = rows.next().map_err(fault)? {
        let (model, name): (String, String) = (row.get(1).map_err(fault)?, row.get(2).map_err(fault)?);
        let described = env.schema.models.get(&model).and_then(|model| model.fields.get(&name));
        let Some(field) = described.filter(|field| rights::sees_field(env, field)) else { continue };
        // Of five columns the field's type says which one counts.
        let column = match field.kind {
            FieldKind::Text => 1,
            FieldKind::Integer | FieldKind::Boolean => 2,
            FieldKind::Float | FieldKind::Monetary => 3,
            FieldKind::Date | FieldKind::Datetime => 4,
            _ => 0,
        };
        let value =
            |side: usize| -> Result<String, Error> { Ok(in_words(field.kind, row.get(side + column).map_err(fault)?)) };
        let label = if field.string.is_empty() { name } else { field.string.clone() };
        all.push(Tracked { message: row.get(0).map_err(fault)?, field: label, old: value(3)?, new: value(8)? });
    }
    Ok(all)
}

fn in_words(kind: FieldKind, cell: Cell) -> String {
    match (kind, cell) {
        (FieldKind::Boolean, cell) => if cell == Cell::Integer(1) { "yes" } else { "no" }.to_owned(),
        (FieldKind::Date, Cell::Text(time)) => time.split(' ').next().unwrap_or_default().to_owned(),
        (_, Cell::Text(text)) => text,
        (_, Cell::Integer(number)) => number.to_string(),
        (_, Cell::Real(number)) => number.to_string(),
        _ => String::new(),
    }
}
