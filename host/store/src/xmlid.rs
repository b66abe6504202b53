//! External ids: `base.main_company`.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{error::Error, value::RecordRef};

use crate::db::fault;

/// The record behind an external id; Odoo's `env.ref`.
///
/// # Errors
/// `unknown-xmlid`.
pub fn resolve(conn: &Connection, xmlid: &str) -> Result<RecordRef, Error> {
    let mut statement = conn.prepare_cached("SELECT model, id FROM tb_xmlid WHERE xmlid = ?1").map_err(fault)?;
    let found = statement.query_row([xmlid], |row| Ok(RecordRef { model: row.get(0)?, id: row.get(1)? })).optional();
    found
        .map_err(fault)?
        .ok_or_else(|| Error::not_found("unknown-xmlid", format!("there is no record with the external id `{xmlid}`")))
}
