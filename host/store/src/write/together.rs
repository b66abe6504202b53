//! Records of the standard models that are archived or deleted with others: a template with its variants, a project
//! with its tasks, a task with those below it.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::Model,
    value::{Id, Value},
};

use super::{Input, Values, Writer};

impl Writer<'_> {
    /// Archives, or brings back, what goes with a record that was just archived or brought back.
    pub(super) fn archive_together(&mut self, model: &Model, id: Id) -> Result<(), Error> {
        let active = matches!(self.cell(&model.name, "active", id)?, Some(Cell::Integer(1)));
        match model.name.as_str() {
            "product.template" => self.set_active_below("product.product", "product_tmpl_id", id, active),
            "project.project" => self.set_active_below("project.task", "project_id", id, active),
            // What follows goes with the button that archives, not with the field.
            _ if !self.by_button => Ok(()),
            "product.product" => self.archive_template(id, active),
            "project.task" if !active => self.set_active_below("project.task", "parent_id", id, false),
            // Nobody will do what a user who left was to do.
            "res.users" if !active => {
                let activities = self.below("mail.activity", "user_id", id)?;
                self.delete_quietly("mail.activity", &activities)
            }
            _ => Ok(()),
        }
    }

    /// The records and those that are deleted with them.
    pub(super) fn deleted_together(&mut self, model: &Model, ids: &[Id]) -> Result<Vec<Id>, Error> {
        let mut all = ids.to_vec();
        match model.name.as_str() {
            "project.project" => {
                for id in ids {
                    let tasks = self.below("project.task", "project_id", *id)?;
                    self.with_trust(|writer| writer.unlink_many("project.task", &tasks))?;
                }
            }
            "project.task" => {
                let mut at = 0;
                while let Some(id) = all.get(at).copied() {
                    for task in self.below("project.task", "parent_id", id)? {
                        let archived = matches!(self.cell("project.task", "active", task)?, Some(Cell::Integer(0)));
                        if !archived && !ids.contains(&task) {
                            all.push(task);
                        }
                    }
                    at += 1;
                }
                all.sort_unstable();
                all.dedup();
            }
            _ => {}
        }
        Ok(all)
    }

    /// A template is there as long as one of its variants is.
    fn archive_template(&mut self, variant: Id, active: bool) -> Result<(), Error> {
        let Some(Cell::Integer(template)) = self.cell("product.product", "product_tmpl_id", variant)? else {
            return Ok(());
        };
        let Ok(template) = Id::try_from(template) else { return Ok(()) };
        for other in self.below("product.product", "product_tmpl_id", template)? {
            if !active && matches!(self.cell("product.product", "active", other)?, Some(Cell::Integer(1))) {
                return Ok(());
            }
        }
        self.set_active("product.template", &[template], active)
    }

    fn set_active_below(&mut self, model: &str, column: &str, id: Id, active: bool) -> Result<(), Error> {
        let below = self.below(model, column, id)?;
        self.set_active(model, &below, active)
    }

    fn set_active(&mut self, model: &str, ids: &[Id], active: bool) -> Result<(), Error> {
        if !self.schema().models.get(model).is_some_and(|described| described.has_column("active")) {
            return Ok(());
        }
        let values = Values::from_iter([("active".to_owned(), Input::Value(Value::Boolean(active)))]);
        self.with_trust(|writer| writer.write_many(model, ids, values))
    }

    /// The records whose many2one leads to this one.
    fn below(&self, model: &str, column: &str, id: Id) -> Result<Vec<Id>, Error> {
        match self.schema().models.get(model) {
            Some(described) if described.has_column(column) => self.ids_where(model, column, id),
            _ => Ok(Vec::new()),
        }
    }

    /// Does what follows from something that was allowed.
    fn with_trust<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let before = std::mem::replace(&mut self.trusted, true);
        let done = work(self);
        self.trusted = before;
        done
    }
}
