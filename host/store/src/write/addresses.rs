//! What a contact has in common with its company: the address, and the company's numbers.
//!
//! A contact that is given to a company takes over what the company has; what one of them changes, the others have too.

use rusqlite::types::Value as Cell;
use triggerbox_model::{error::Error, schema::Model, value::Id};

use super::{Input, Row, Values, Writer, columns, values};

const ADDRESS: [&str; 6] = ["street", "street2", "zip", "city", "state_id", "country_id"];
/// Of the company, and of those who speak for it.
const COMMERCIAL: [&str; 3] = ["vat", "company_registry", "industry_id"];
/// Those of them that the company has from its contacts too.
const SHARED: [&str; 1] = ["vat"];
const PARENT: &str = "parent_id";

impl Writer<'_> {
    /// Brings a contact that was changed, its company and its own contacts into line. `changed`: fields of it; of a new
    /// contact, those that were given.
    pub(super) fn sync_contact(&mut self, model: &Model, id: Id, changed: &[&str], created: bool) -> Result<(), Error> {
        if ![PARENT, "type"].iter().chain(&ADDRESS).chain(&COMMERCIAL).any(|name| changed.contains(name)) {
            return Ok(());
        }
        let mut row = columns::whole_row(self.conn, model, id)?.unwrap_or_default();
        let contact = matches!(row.get("type"), Some(Cell::Text(kind)) if kind == "contact");
        let commercial = row.get("commercial_partner_id").and_then(values::as_id).unwrap_or(id);
        if let Some(parent) = row.get(PARENT).and_then(values::as_id) {
            let given = changed.contains(&PARENT);
            if given && commercial != id {
                let company = columns::whole_row(self.conn, model, commercial)?.unwrap_or_default();
                let numbers = said(model, &company, &COMMERCIAL);
                row.extend(numbers.clone().into_iter().map(|(name, cell)| (name.to_owned(), cell)));
                self.set(model, id, numbers)?;
            }
            let mut above = columns::whole_row(self.conn, model, parent)?.unwrap_or_default();
            if contact && (given || changed.contains(&"type")) && !said(model, &above, &ADDRESS).is_empty() {
                let address = taken(model, &above, &ADDRESS);
                row.extend(address.clone().into_iter().map(|(name, cell)| (name.to_owned(), cell)));
                self.set(model, id, address)?;
            }
            let moved = given || ADDRESS.iter().any(|name| changed.contains(name));
            if contact && moved && !said(model, &row, &ADDRESS).is_empty() && differ(model, &row, &above, &ADDRESS) {
                self.write_cells(model, parent, taken(model, &row, &ADDRESS))?;
                above = columns::whole_row(self.conn, model, parent)?.unwrap_or_default();
            }
            let numbered = given || SHARED.iter().any(|name| changed.contains(name));
            if commercial != id && numbered && differ(model, &row, &above, &SHARED) {
                self.write_cells(model, parent, said(model, &row, &SHARED))?;
            }
            if created {
                self.first_contact(model, parent, &row)?;
            }
        }
        self.tell_contacts(model, id, changed, commercial == id, &row)
    }

    /// What a contact changed is so for the contacts below it too.
    fn tell_contacts(
        &mut self,
        model: &Model,
        id: Id,
        changed: &[&str],
        is_commercial: bool,
        row: &Row<'_>,
    ) -> Result<(), Error> {
        let of = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().copied().filter(|name| changed.contains(name)).collect()
        };
        let (address, numbers) = (of(&ADDRESS), if is_commercial { of(&COMMERCIAL) } else { Vec::new() });
        if address.is_empty() && numbers.is_empty() {
            return Ok(());
        }
        let (address, numbers) = (taken(model, row, &address), taken(model, row, &numbers));
        for child in self.contacts_below(model, id)? {
            let known = columns::row(self.conn, &model.name, &["type", "is_company"], child)?.unwrap_or_default();
            if !numbers.is_empty() && !matches!(known.get("is_company"), Some(Cell::Integer(1))) {
                self.tell_numbers(model, child, &numbers)?;
            }
            if matches!(known.get("type"), Some(Cell::Text(kind)) if kind == "contact") {
                self.set(model, child, address.clone())?;
            }
        }
        Ok(())
    }

    fn tell_numbers(&mut self, model: &Model, id: Id, numbers: &[(&'static str, Cell)]) -> Result<(), Error> {
        let mut all = vec![id];
        while let Some(contact) = all.pop() {
            self.set(model, contact, numbers.to_vec())?;
            for child in self.contacts_below(model, contact)? {
                if !matches!(self.cell(&model.name, "is_company", child)?, Some(Cell::Integer(1))) {
                    all.push(child);
                }
            }
        }
        Ok(())
    }

    /// A company without an address has that of its first contact.
    fn first_contact(&mut self, model: &Model, parent: Id, row: &Row<'_>) -> Result<(), Error> {
        let above = columns::whole_row(self.conn, model, parent)?.unwrap_or_default();
        let whole = matches!(above.get("is_company"), Some(Cell::Integer(1)))
            || above.get(PARENT).and_then(values::as_id).is_none();
        let bare = said(model, &above, &ADDRESS).is_empty() && !said(model, row, &ADDRESS).is_empty();
        if whole && bare && self.contacts_below(model, parent)?.len() == 1 {
            self.set(model, parent, taken(model, row, &ADDRESS))?;
        }
        Ok(())
    }

    /// The contacts right below one that are not archived.
    fn contacts_below(&self, model: &Model, id: Id) -> Result<Vec<Id>, Error> {
        let mut contacts = Vec::new();
        for child in self.ids_where(&model.name, PARENT, id)? {
            if !model.has_column("active") || matches!(self.cell(&model.name, "active", child)?, Some(Cell::Integer(1)))
            {
                contacts.push(child);
            }
        }
        Ok(contacts)
    }

    /// Writes columns as a user does, with everything that follows.
    fn write_cells(&mut self, model: &Model, id: Id, cells: Vec<(&'static str, Cell)>) -> Result<(), Error> {
        let mut given = Values::default();
        for (name, cell) in cells {
            given.insert(name.to_owned(), Input::Value(values::from_cell(model.field(name)?.kind, cell)));
        }
        if given.is_empty() { Ok(()) } else { self.write_many(&model.name, &[id], given) }
    }
}

/// The named columns of a row that the model has, empty ones too.
fn taken(model: &Model, row: &Row<'_>, names: &[&'static str]) -> Vec<(&'static str, Cell)> {
    let known = names.iter().filter(|name| model.has_column(name));
    known.map(|name| (*name, row.get(name).cloned().unwrap_or(Cell::Null))).collect()
}

/// Those of them that say something.
fn said(model: &Model, row: &Row<'_>, names: &[&'static str]) -> Vec<(&'static str, Cell)> {
    let mut cells = taken(model, row, names);
    cells.retain(|(_, cell)| !matches!(cell, Cell::Null) && !matches!(cell, Cell::Text(text) if text.is_empty()));
    cells
}

fn differ(model: &Model, one: &Row<'_>, other: &Row<'_>, names: &[&'static str]) -> bool {
    taken(model, one, names) != taken(model, other, names)
}
