//! What Odoo's own models refuse beyond rights and constraints.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Operation,
    domain::{eval, filter},
    error::Error,
    schema::Model,
    value::Id,
};

use super::{Writer, columns};
use crate::{ddl::quote, rights};

impl Writer<'_> {
    /// Fails when the user may not make these new records. Mostly their rows say that he may.
    pub(super) fn check_made(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        // Those are asked before they are left unwritten.
        let is_asked =
            self.unwritten.as_ref().is_some_and(|unwritten| unwritten.model == model.name && unwritten.ids == ids);
        match is_asked || self.may_have_made(model, ids)? {
            true => Ok(()),
            false => self.check_operation(model, Operation::Create, ids),
        }
    }

    /// Whether the user may make these new records, as far as their own rows say it: false says nothing.
    pub(crate) fn may_have_made(&self, model: &Model, ids: &[Id]) -> Result<bool, Error> {
        if self.env.superuser || self.trusted {
            return Ok(true);
        }
        rights::check_model(self.env, &model.name, Operation::Create)?;
        let Some(allowed) = rights::allowed(self.conn, self.env, &model.name, Operation::Create)? else {
            return Ok(false);
        };
        for id in ids {
            let cell = |column: &str| {
                Ok(match self.cell(&model.name, column, *id)? {
                    None | Some(Cell::Null) => filter::Cell::Null,
                    Some(Cell::Integer(number)) => filter::Cell::Integer(number),
                    Some(Cell::Real(number)) => filter::Cell::Real(number),
                    Some(Cell::Text(text)) => filter::Cell::Text(text),
                    // Binaries are only ever asked whether they are set.
                    Some(Cell::Blob(_)) => filter::Cell::text("binary"),
                })
            };
            if eval::matches_alone(&allowed, &cell)? != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
    }

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
            for user in self.ids_where("res.users", "partner_id", *partner)? {
                if user != self.env.user && holds("active", user, 1)? && holds("share", user, 0)? {
                    rights::check_access(self.conn, self.env, "res.users", &[user], Operation::Write)?;
                }
            }
        }
        Ok(())
    }

    /// Records that are linked to each other belong to the same company, or to none. Looked at when one of the fields, or
    /// the company, was written.
    pub(super) fn check_companies(&self, model: &Model, ids: &[Id], written: &[&str]) -> Result<(), Error> {
        if !model.has_column("company_id") {
            return Ok(());
        }
        let moved = written.contains(&"company_id");
        let fields = model
            .fields
            .iter()
            .filter(|(name, field)| field.check_company && field.store && (moved || written.contains(&name.as_str())));
        for (name, field) in fields {
            let Some(related) = field.relation.as_ref().and_then(|name| self.schema().models.get(name)) else {
                continue;
            };
            for id in ids {
                let company = self.id_in(model, "company_id", *id)?;
                let others = match &field.m2m {
                    Some(pairs) => {
                        let (one, two) = (quote(&pairs.column1), quote(&pairs.column2));
                        let sql = format!("SELECT {two} FROM {} WHERE {one} = ?1", quote(&pairs.table));
                        columns::ids(self.conn, &sql, *id)?
                    }
                    None if field.has_column() => self.id_in(model, name, *id)?.into_iter().collect(),
                    None => continue,
                };
                for other in others {
                    if !self.may_work_with(related, other, company)? {
                        return Err(self.companies_differ(model, *id, name, related, other, company));
                    }
                }
            }
        }
        Ok(())
    }

    fn id_in(&self, model: &Model, column: &str, id: Id) -> Result<Option<Id>, Error> {
        Ok(match self.cell(&model.name, column, id)? {
            Some(Cell::Integer(other)) => Id::try_from(other).ok(),
            _ => None,
        })
    }

    /// A user works for the company; another record is the company's, one above it where that counts, or nobody's.
    fn may_work_with(&self, related: &Model, other: Id, company: Option<Id>) -> Result<bool, Error> {
        /// Models whose records belong to the companies below as well.
        const INHERITED: [&str; 4] = ["res.partner", "product.template", "product.product", "account.tax"];
        if related.name == "res.users" {
            let Some(company) = company else { return Ok(true) };
            let Some(pairs) = related.fields.get("company_ids").and_then(|field| field.m2m.as_ref()) else {
                return Ok(true);
            };
            let (one, two) = (quote(&pairs.column1), quote(&pairs.column2));
            let sql = format!("SELECT {two} FROM {} WHERE {one} = ?1", quote(&pairs.table));
            return Ok(columns::ids(self.conn, &sql, other)?.contains(&company));
        }
        if !related.has_column("company_id") {
            return Ok(true);
        }
        let Some(owner) = self.id_in(related, "company_id", other)? else { return Ok(true) };
        if company == Some(owner) {
            return Ok(true);
        }
        let companies = self.schema().models.get("res.company");
        let (Some(company), Some(companies)) =
            (company, companies.filter(|_| INHERITED.contains(&related.name.as_str())))
        else {
            return Ok(false);
        };
        if !companies.has_column("parent_id") {
            return Ok(false);
        }
        let mut at = Some(company);
        for _ in 0..super::DEEPEST {
            let Some(current) = at else { return Ok(false) };
            if current == owner {
                return Ok(true);
            }
            at = self.id_in(companies, "parent_id", current)?;
        }
        Ok(false)
    }

    fn companies_differ(
        &self,
        model: &Model,
        id: Id,
        field: &str,
        related: &Model,
        other: Id,
        company: Option<Id>,
    ) -> Error {
        // The message names the company: it is for those who may see it.
        if let Some(company) = company
            && let Err(error) = rights::check_access(self.conn, self.env, "res.company", &[company], Operation::Read)
        {
            return error;
        }
        let of = company.map_or_else(|| "no company".to_owned(), |company| format!("company {company}"));
        let message = format!(
            "{} {id} belongs to {of}, and `{field}` ({} {other}) to another; choose one of the same company",
            model.name, related.name
        );
        Error::rejected("companies-differ", message).with_field(field)
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

    /// Lines of a confirmed order stay: what was ordered may have been delivered or invoiced.
    pub(super) fn check_line_deletion(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        let needed = ["order_id", "display_type"];
        let orders = self.schema().models.get("sale.order").filter(|orders| orders.has_column("state"));
        let Some(orders) = orders.filter(|_| needed.iter().all(|column| model.has_column(column))) else {
            return Ok(());
        };
        if model.name != "sale.order.line" {
            return Ok(());
        }
        for id in ids {
            let Some(order) = self.id_in(model, "order_id", *id)? else { continue };
            let confirmed = columns::cell(self.conn, &orders.name, "state", order)?;
            let is_text = matches!(columns::cell(self.conn, &model.name, "display_type", *id)?, Some(Cell::Text(_)));
            if !is_text && matches!(confirmed, Some(Cell::Text(state)) if state == "sale") {
                let message = format!(
                    "sale.order.line {id} is a line of the confirmed sale.order {order}; set its quantity to 0 instead"
                );
                return Err(Error::rejected("order-confirmed", message));
            }
        }
        Ok(())
    }

    /// Whoever deletes an activity is told what it was: he must be allowed to read it.
    pub(super) fn check_activity_deletion(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        if model.name != "mail.activity" || self.env.superuser || self.trusted {
            return Ok(());
        }
        rights::check_access(self.conn, self.env, &model.name, ids, Operation::Read)
    }
}
