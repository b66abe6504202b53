//! Writing values on records that are there.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Operation,
    error::Error,
    schema::{FieldKind, Model},
    value::Id,
};

use super::{
    Command, Input, Row, Values, Writer, create, declared, is_magic, is_translated, missing, shown_path, values,
};
use crate::{ddl, rights};

impl<'a> Writer<'a> {
    pub(super) fn write_many(&mut self, model: &str, ids: &[Id], given: Values) -> Result<(), Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            create::check_names(described, &given)?;
            let names = given.keys().map(String::as_str);
            let trusted = rights::is_own_preference(writer.env, model, ids, names, Operation::Write);
            let before = writer.trusted;
            let assigned = if given.contains_key("user_ids") { writer.assigned(described, ids)? } else { Vec::new() };
            let holders = writer.entrusted_to(described, ids)?;
            writer.trusted |= trusted;
            let done = writer.write_checked(described, ids, &given);
            writer.trusted = before;
            done?;
            writer.hand_over(described, ids, &holders)?;
            writer.follow(described, ids, &given)?;
            writer.follow_tasks(described, ids, &given, &assigned)
        })
    }

    fn write_checked(&mut self, model: &Model, ids: &[Id], given: &Values) -> Result<(), Error> {
        // Before it is told whether the records exist. What they become is not checked, as Odoo does not.
        self.check_operation(model, Operation::Write, &[])?;
        self.require_records(&model.name, ids)?;
        self.check_operation(model, Operation::Write, ids)?;
        self.check_fields(model, given)?;
        self.check_currencies(model, ids, given)?;
        let mut given = given.clone();
        if ids.len() > 1 {
            self.create_once(model, &mut given)?;
        }
        let given = &given;
        for id in ids {
            self.write_one(model, *id, given)?;
        }
        let written: Vec<&str> = given.keys().map(String::as_str).collect();
        self.check_companies(model, ids, &written)?;
        self.check_users_behind(model, ids)
    }

    /// What a many2many command creates is created once, and linked to each of the records.
    fn create_once(&mut self, model: &Model, given: &mut Values) -> Result<(), Error> {
        for (name, input) in given.iter_mut() {
            let Some(field) = model.fields.get(name).filter(|field| field.kind == FieldKind::Many2many) else {
                continue;
            };
            let (Input::Commands(commands), Some(relation)) = (input, &field.relation) else { continue };
            for command in commands {
                if let Command::Create(values) = command {
                    let made = self.create_many(relation, vec![std::mem::take(values)])?;
                    *command = made.first().map_or(Command::Replace(Vec::new()), |id| Command::Link(*id));
                }
            }
        }
        Ok(())
    }

    fn write_one(&mut self, model: &Model, id: Id, given: &Values) -> Result<(), Error> {
        let mut row = Row::new();
        let mut relations = Vec::new();
        let mut shown = Values::default();
        for (name, input) in given {
            if is_magic(model, name) {
                continue;
            }
            let field = model.field(name)?;
            if shown_path(field).is_some() {
                shown.insert(name.clone(), input.clone());
            } else if field.kind.is_x2many() {
                relations.push((name.as_str(), Self::commands(model, name, input.clone())?));
            } else if field.has_column() {
                self.env.translates(field)?;
                row.insert(name.clone(), self.column(model, name, field, input)?);
            }
        }
        self.check_not_emptied(model, &row, given)?;
        self.round_money(model, declared::money(model), &mut row, Some(id))?;
        self.add_known_columns(model, id, &mut row)?;
        let changed = self.update_row(model, id, row, given)?;
        for (name, commands) in relations {
            self.relate(model, id, name, model.field(name)?, commands)?;
        }
        self.write_shown(model, id, shown)?;
        // The taxes of an order's line are no column of it.
        if !changed.is_empty() || given.contains_key("tax_ids") {
            self.finish_known(model, id, given, Some(&changed))?;
        }
        if model.active_name.as_ref().is_some_and(|active| active == "active" && changed.contains(active)) {
            self.archive_together(model, id)?;
        }
        Ok(())
    }

    /// Writes columns of one row: only those that differ, with everything that follows from it. Returns them.
    pub(super) fn update_row(
        &mut self,
        model: &Model,
        id: Id,
        row: Row<'a>,
        given: &Values,
    ) -> Result<Vec<String>, Error> {
        let mut read: Vec<String> = row.keys().map(str::to_owned).collect();
        for name in row.keys() {
            if model.fields.get(name).is_some_and(|field| field.translate) {
                read.push(ddl::translations_column(name));
            }
        }
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        let old = self.row_of(&model.name, &read, id)?.ok_or_else(|| missing(&model.name, id))?;
        self.update_from(model, id, &old, row, given)
    }

    /// As [`Self::update_row`], of columns that are known to hold `old`.
    pub(super) fn update_from(
        &mut self,
        model: &Model,
        id: Id,
        old: &Row<'_>,
        row: Row<'a>,
        given: &Values,
    ) -> Result<Vec<String>, Error> {
        let env = self.env;
        let lang = env.lang.as_str();
        let translated = |name: &str| {
            model.fields.get(name).is_some_and(|field| is_translated(field, lang) && given.contains_key(name))
        };
        let null = Cell::Null;
        let mut sets = Row::new();
        let mut changed = Vec::new();
        for (name, new) in row {
            let Some(field) = model.fields.get(&*name) else { continue };
            let before = old.get(&name).unwrap_or(&null);
            if translated(&name) && new != Cell::Null && *before != Cell::Null {
                let column = ddl::translations_column(&name);
                // Another language's text: the base text stays.
                let texts = create::translations(lang, &new, old.get(&column));
                let known = old.get(&column).unwrap_or(&null);
                if *known != texts {
                    self.log.cell(&model.name, id, &column, known);
                    sets.insert(column, texts);
                }
                continue;
            }
            if values::same(field.kind, before, &new)
                && !(*before == Cell::Null && new != Cell::Null && matches!(new, Cell::Text(_)))
            {
                continue;
            }
            if field.translate && new == Cell::Null {
                sets.insert(ddl::translations_column(&name), Cell::Null);
            }
            changed.push((*name).to_owned());
            self.log.cell(&model.name, id, &name, before);
            self.track_cell(model, id, &name, field, before);
            sets.insert(name, new);
        }
        // What is refused names the first of them.
        changed.sort_unstable();
        if sets.is_empty() {
            return Ok(changed);
        }
        sets.extend(self.log_columns(model, false));
        self.touch(model)?;
        let names: Vec<&str> = changed.iter().map(String::as_str).collect();
        let before = self.dependents(&model.name, id, &names)?;
        let old_path = self.tree_path(model, id)?;
        self.check_cycle(model, id, &sets)?;
        self.check_unique(model, id, &sets)?;
        self.set_columns(model, id, &sets)?;
        if names.contains(&model.parent_name.as_str()) {
            self.place_in_tree(model, id, old_path)?;
        }
        self.check_required_of(model, id, &names)?;
        self.check_constraints(model, id)?;
        self.recompute(before)?;
        self.modified(&model.name, id, &names)?;
        Ok(changed)
    }

    /// Fails for a field that the user's groups do not see.
    pub(super) fn check_fields(&self, model: &Model, given: &Values) -> Result<(), Error> {
        if self.trusted {
            return Ok(());
        }
        rights::check_fields(self.env, &model.name, given.keys().map(String::as_str), Operation::Write)
    }

    /// Fails when the user may not do this to the model, or to one of the records.
    pub(crate) fn check_operation(&self, model: &Model, operation: Operation, ids: &[Id]) -> Result<(), Error> {
        if self.env.superuser || self.trusted {
            return Ok(());
        }
        // What others bring with them is checked one by one.
        if self.depth > 2 {
            self.place.searched(self.conn, None)?;
        }
        rights::check_access(self.conn, self.env, &model.name, ids, operation)
    }
}

/// The value that was given for a field, if it is a plain one.
pub(super) fn given_value<'v>(given: &'v Values, name: &str) -> Option<&'v triggerbox_model::value::Value> {
    match given.get(name) {
        Some(Input::Value(value)) => Some(value),
        _ => None,
    }
}
