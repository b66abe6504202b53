//! What leads, contacts, orders and their lines say of each other: totals with taxes, a lead's words and its contact's,
//! the team of a salesperson.
//!
//! Each part works as far as the schema has its fields.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Operation,
    error::Error,
    schema::{FieldKind, Model},
    value::Id,
};

use super::{Row, Writer, columns, compute::as_number, known::normalized, number, values};
use crate::db::fault;

/// What a lead and its contact have in common: the lead's field, the contact's.
const SHARED: [(&str, &str); 2] = [("email_from", "email"), ("phone", "phone")];
/// What a lead takes over from a contact that it is given to, besides [`SHARED`] and names.
const OF_CONTACT: [(&str, &str); 2] = [("function", "function"), ("website", "website")];
/// An address, which is taken over whole.
const ADDRESS: [&str; 4] = ["street", "city", "zip", "country_id"];

/// A line's price before anything is rounded.
#[derive(Default)]
struct Price {
    untaxed: f64,
    tax: f64,
}

impl Writer<'_> {
    /// A line's price: quantity times unit price less the discount, and the taxes on it, rounded in the order's currency.
    pub(super) fn finish_line(&mut self, model: &Model, id: Id) -> Result<(), Error> {
        let declared = model.fields.get("price_subtotal").is_none_or(|field| field.formula.is_some());
        if declared || !model.has_column("product_uom_qty") || !model.has_column("price_unit") {
            return Ok(());
        }
        let row = columns::whole_row(self.conn, model, id)?.unwrap_or_default();
        let price = self.price(model, id, &row)?;
        let step = self.step(&row)?;
        let (untaxed, tax) = (number::round_step(price.untaxed, step), number::round_step(price.tax, step));
        let total = number::round_step(untaxed + tax, step);
        let cells = vec![
            ("price_subtotal", Cell::Real(untaxed)),
            ("price_tax", Cell::Real(tax)),
            ("price_total", Cell::Real(total)),
        ];
        self.set(model, id, cells)?;
        match row.get("order_id").and_then(values::as_id) {
            Some(order) => self.total_order(order),
            None => Ok(()),
        }
    }

    /// An order's totals, of the unrounded prices of its lines.
    pub(super) fn total_order(&mut self, order: Id) -> Result<(), Error> {
        let schema = self.schema();
        let (Some(orders), Some(lines)) = (schema.models.get("sale.order"), schema.models.get("sale.order.line"))
        else {
            return Ok(());
        };
        let declared = orders.fields.get("amount_total").is_none_or(|field| field.formula.is_some());
        let declared = declared || lines.fields.get("price_subtotal").is_none_or(|field| field.formula.is_some());
        if declared || !orders.has_column("amount_untaxed") || !lines.has_column("product_uom_qty") {
            return Ok(());
        }
        let Some(row) = columns::whole_row(self.conn, orders, order)? else { return Ok(()) };
        let mut sum = Price::default();
        for line in self.ids_where(&lines.name, "order_id", order)? {
            let line_row = columns::whole_row(self.conn, lines, line)?.unwrap_or_default();
            let price = self.price(lines, line, &line_row)?;
            sum.untaxed += price.untaxed;
            sum.tax += price.tax;
        }
        let step = self.step(&row)?;
        let (untaxed, tax) = (number::round_step(sum.untaxed, step), number::round_step(sum.tax, step));
        let cells = vec![
            ("amount_untaxed", Cell::Real(untaxed)),
            ("amount_tax", Cell::Real(tax)),
            ("amount_total", Cell::Real(number::round_step(untaxed + tax, step))),
        ];
        self.set(orders, order, cells)
    }

    fn price(&self, model: &Model, id: Id, row: &Row<'_>) -> Result<Price, Error> {
        let amount = |name: &str| as_number(row.get(name));
        let untaxed = amount("product_uom_qty") * amount("price_unit") * (1.0 - amount("discount") / 100.0);
        let mut price = Price { untaxed, tax: 0.0 };
        let taxes = model.fields.get("tax_ids").filter(|field| field.relation.as_deref() == Some("account.tax"));
        let (Some(taxes), Some(kinds)) = (taxes, self.schema().models.get("account.tax")) else { return Ok(price) };
        let fixed = kinds.has_column("amount_type");
        for tax in super::linked_ids(self.conn, taxes, id)? {
            let rate = as_number(self.cell(&kinds.name, "amount", tax)?.as_ref());
            let kind = if fixed { self.cell(&kinds.name, "amount_type", tax)? } else { None };
            price.tax += match kind {
                Some(Cell::Text(kind)) if kind == "fixed" => rate * amount("product_uom_qty"),
                _ => untaxed * rate / 100.0,
            };
        }
        Ok(price)
    }

    /// To what the amounts of a record with a currency are rounded.
    fn step(&self, row: &Row<'_>) -> Result<f64, Error> {
        let step = match row.get("currency_id").and_then(values::as_id) {
            Some(currency) => self.rounding(currency)?,
            None => None,
        };
        Ok(step.unwrap_or(0.01))
    }

    /// The orders that lines belong to, whose totals change when these are deleted.
    pub(super) fn orders_of(&self, model: &Model, lines: &[Id]) -> Result<Vec<Id>, Error> {
        if model.name != "sale.order.line" || !model.has_column("order_id") {
            return Ok(Vec::new());
        }
        let mut orders = Vec::new();
        for line in lines {
            orders.extend(self.cell(&model.name, "order_id", *line)?.as_ref().and_then(values::as_id));
        }
        orders.sort_unstable();
        orders.dedup();
        Ok(orders)
    }

    /// A contact's new address or number is that of its leads too.
    pub(super) fn tell_leads(&mut self, partner: Id, changed: &[String]) -> Result<(), Error> {
        let mut words = Vec::new();
        for (own, theirs) in SHARED {
            if changed.iter().any(|name| name == theirs)
                && let Some(word) = self.cell("res.partner", theirs, partner)?.filter(is_said)
            {
                words.push((own, word));
            }
        }
        self.tell(partner, &words)
    }

    fn tell(&mut self, partner: Id, words: &[(&str, Cell)]) -> Result<(), Error> {
        let leads = self.schema().models.get("crm.lead").filter(|leads| leads.has_column("partner_id"));
        let Some(leads) = leads.filter(|_| !words.is_empty()) else { return Ok(()) };
        for lead in self.ids_where(&leads.name, "partner_id", partner)? {
            let mut cells = Vec::new();
            for (own, word) in words {
                let said = if leads.has_column(own) { self.cell(&leads.name, own, lead)? } else { None };
                if said.as_ref().is_none_or(|said| differs(own, said, word)) {
                    if *own == "email_from" {
                        cells.push(("email_normalized", normalized(Some(word))));
                    }
                    cells.push((*own, word.clone()));
                }
            }
            self.set(leads, lead, cells)?;
        }
        Ok(())
    }

    /// A lead's new address or number is that of its contact too, as far as the user may write contacts.
    pub(super) fn tell_contact(&mut self, leads: &Model, lead: Id, changed: &[String]) -> Result<(), Error> {
        let Some(partners) = self.schema().models.get("res.partner").filter(|_| leads.has_column("partner_id")) else {
            return Ok(());
        };
        if !SHARED.iter().any(|(own, _)| changed.iter().any(|name| name == own)) {
            return Ok(());
        }
        let Some(partner) = self.cell(&leads.name, "partner_id", lead)?.as_ref().and_then(values::as_id) else {
            return Ok(());
        };
        let (mut cells, mut words) = (Vec::new(), Vec::new());
        for (own, theirs) in SHARED {
            if !changed.iter().any(|name| name == own) || !partners.has_column(theirs) {
                continue;
            }
            let Some(word) = self.cell(&leads.name, own, lead)?.filter(is_said) else { continue };
            let said = self.cell(&partners.name, theirs, partner)?.unwrap_or(Cell::Null);
            if differs(own, &said, &word) {
                if theirs == "email" {
                    cells.push(("email_normalized", normalized(Some(&word))));
                }
                cells.push((theirs, word.clone()));
                words.push((own, word));
            }
        }
        if cells.is_empty() {
            return Ok(());
        }
        self.check_operation(partners, Operation::Write, &[partner])?;
        self.tell(partner, &words)?;
        self.set(partners, partner, cells)
    }

    /// Columns that a lead gets with a contact, where they are not written themselves. Without one, it names nobody.
    pub(super) fn add_contact_columns(&self, model: &Model, row: &mut Row<'_>) -> Result<(), Error> {
        let Some(partner) = row.get("partner_id") else { return Ok(()) };
        let Some(partner) = values::as_id(partner) else {
            for name in ["contact_name", "partner_name"] {
                if model.has_column(name) {
                    row.insert_new(name, Cell::Null);
                }
            }
            return Ok(());
        };
        let Some(partners) = self.schema().models.get("res.partner") else { return Ok(()) };
        let Some(contact) = columns::whole_row(self.conn, partners, partner)? else { return Ok(()) };
        let said = |theirs: &str| contact.get(theirs).filter(|word| is_said(word)).cloned();
        let words = SHARED.into_iter().chain(OF_CONTACT).filter_map(|(own, theirs)| Some((own, said(theirs)?)));
        let mut cells: Vec<(&'static str, Cell)> = words.collect();
        let parent = match contact.get("parent_id").and_then(values::as_id) {
            Some(parent) => self.cell(&partners.name, "name", parent)?.filter(is_said),
            None => None,
        };
        let own = if matches!(contact.get("is_company"), Some(Cell::Integer(1))) {
            said("name")
        } else {
            cells.extend(said("name").map(|name| ("contact_name", name)));
            None
        };
        cells.extend(parent.or(own).map(|name| ("partner_name", name)));
        if ADDRESS.iter().any(|name| said(name).is_some()) {
            cells.extend(ADDRESS.map(|name| (name, said(name).unwrap_or(Cell::Null))));
        }
        for (name, cell) in cells {
            if model.fields.get(name).is_some_and(|field| field.has_column() && field.kind != FieldKind::One2many) {
                row.insert_new(name, cell);
            }
        }
        Ok(())
    }

    /// The team that a lead is in with a new salesperson: the one that it is in, unless that person leads another.
    pub(super) fn team_with(&self, lead: Id, user: Id) -> Result<Option<Id>, Error> {
        let schema = self.schema();
        let teams = schema.models.get("crm.team").filter(|teams| teams.has_column("user_id"));
        let leads = schema.models.get("crm.lead").filter(|leads| leads.has_column("team_id"));
        let (Some(teams), Some(leads)) = (teams, leads) else { return Ok(None) };
        if let Some(team) = self.cell(&leads.name, "team_id", lead)?.as_ref().and_then(values::as_id)
            && self.cell(&teams.name, "user_id", team)?.as_ref().and_then(values::as_id) == Some(user)
        {
            return Ok(None);
        }
        let active = if teams.has_column("active") { "AND coalesce(active, 0) = 1" } else { "" };
        let order = if teams.has_column("sequence") { "sequence, id" } else { "id" };
        self.searched("crm.team")?;
        let sql = format!("SELECT id FROM crm_team WHERE user_id = ?1 {active} ORDER BY {order} LIMIT 1");
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let mut rows = statement.query([user]).map_err(fault)?;
        match rows.next().map_err(fault)? {
            Some(row) => row.get(0).map(Some).map_err(fault),
            None => Ok(None),
        }
    }

    /// Who is assigned to each of these tasks; empty for other models.
    pub(super) fn assigned(&self, model: &Model, ids: &[Id]) -> Result<Vec<Vec<Id>>, Error> {
        match model.fields.get("user_ids").filter(|_| model.name == "project.task") {
            Some(field) => ids.iter().map(|id| super::linked_ids(self.conn, field, *id)).collect(),
            None => Ok(Vec::new()),
        }
    }
}

fn is_said(cell: &Cell) -> bool {
    matches!(cell, Cell::Text(text) if !text.is_empty()) || matches!(cell, Cell::Integer(id) if *id != 0)
}

/// Whether two say something different; e-mail addresses are the same in other letters too.
fn differs(own: &str, said: &Cell, word: &Cell) -> bool {
    match own {
        "email_from" if normalized(Some(word)) != Cell::Null => normalized(Some(said)) != normalized(Some(word)),
        _ => said != word,
    }
}
