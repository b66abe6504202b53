//! Reading a record's messages.

use rusqlite::Connection;
use triggerbox_model::{allowance::Room, call::Posted, error::Error, value::RecordRef};

use super::subtype;
use crate::{db::fault, env::Env, names};

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
