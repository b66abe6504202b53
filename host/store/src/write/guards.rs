//! What Odoo's own models refuse beyond rights and constraints.

use rusqlite::types::Value as Cell;
use triggerbox_model::{call::Operation, error::Error, schema::Model, value::Id};

use super::{Writer, columns};
use crate::rights;

impl Writer<'_> {
    /// Whoever changes the contact of someone who works here must have the right to change that user.
    pub(super) fn check_users_behind(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        if model.name != "res.partner" || self.env.superuser || self.trusted {
            return Ok(());
        }
        let Some(users) = self.schema().models.get("res.users").filter(|users| users.has_column("partner_id")) else {
            return Ok(());
        };
        let holds = |field: &str, id: Id, value: i64| -> Result<bool, Error> {
            if !users.has_column(field) {
                return Ok(true);
            }
            let cell = columns::cell(self.conn, "res.users", field, id)?;
            Ok(matches!(cell, Some(Cell::Integer(found)) if found == value) || (value == 0 && cell == Some(Cell::Null)))
        };
        for partner in ids {
            for user in columns::ids_where(self.conn, "res.users", "partner_id", *partner)? {
                if user != self.env.user && holds("active", user, 1)? && holds("share", user, 0)? {
                    rights::check_access(self.conn, self.env, "res.users", &[user], Operation::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Orders that the customer has seen are cancelled, not deleted.
    pub(super) fn check_order_deletion(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        if model.name != "sale.order" || !model.has_column("state") {
            return Ok(());
        }
        for id in ids {
            if let Some(Cell::Text(state)) = columns::cell(self.conn, "sale.order", "state", *id)?
                && !matches!(state.as_str(), "draft" | "cancel")
            {
                let message =
                    format!("sale.order {id} is a sent or confirmed order (state `{state}`); cancel it first");
                return Err(Error::rejected("order-not-cancelled", message));
            }
        }
        Ok(())
    }
}
