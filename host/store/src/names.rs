//! What people call one record.

use rusqlite::Connection;
use triggerbox_model::{
    error::Error,
    schema::{FieldKind, Schema},
    value::Id,
};

use crate::{env::Env, query};

/// The display name of a record; empty for one that is gone or has none.
pub(crate) fn display_name(conn: &Connection, env: &Env, model: &str, id: Id) -> Result<String, Error> {
    let mut names = query::names::display_names(conn, env, model, &[id])?;
    Ok(names.remove(&id).unwrap_or_default())
}

/// Whether the names of a model's records follow from their own columns alone.
pub(crate) fn is_own(schema: &Schema, model: &str) -> bool {
    let Some(described) = schema.models.get(model) else { return false };
    let named = described.rec_name.as_ref().and_then(|name| described.fields.get(name));
    !matches!(model, "res.partner.category" | "sale.order.line" | "mail.activity" | "mail.followers")
        && named.is_some_and(|field| field.has_column() && field.kind != FieldKind::Many2one)
}
