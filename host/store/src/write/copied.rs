//! What the standard models make of copies: names that say so, a task with those below it, a project with its tasks.

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    call::Page,
    domain::{Domain, Literal, Operator, filter::Filter},
    error::Error,
    schema::Model,
    value::{Id, Value},
};

use super::{Command, Input, Options, Values, Writer, values};
use crate::query;

/// Fields that say of a copy that it is one, by model.
const MARKED: [(&str, &str); 11] = [
    ("account.tax", "name"),
    ("product.category", "name"),
    ("product.product", "name"),
    ("product.template", "name"),
    ("project.project", "name"),
    ("project.task", "name"),
    ("project.task.type", "name"),
    ("res.groups", "name"),
    ("res.partner", "name"),
    ("res.users", "login"),
    ("res.users", "name"),
];

const TASK: &str = "project.task";
const PROJECT: &str = "project.project";

/// The model of records that are copied with a model's without being lines that are copied: tasks, with the task or the project
/// that they are below.
#[must_use]
pub fn copied_with(model: &str) -> Option<&'static str> {
    matches!(model, TASK | PROJECT).then_some(TASK)
}

impl Writer<'_> {
    /// Changes what a copy of a record takes over, where its model has rules of its own. `given`: what the copy is given.
    pub(super) fn adapt_copy(
        &mut self,
        model: &Model,
        id: Id,
        copied: &mut Values,
        given: &Values,
    ) -> Result<(), Error> {
        let whole = self.options.whole_project;
        for (_, field) in MARKED.iter().filter(|(of, field)| *of == model.name && !given.contains_key(*field)) {
            if let (false, Some(Input::Value(Value::Text(text)))) = (whole, copied.get_mut(*field)) {
                text.push_str(" (copy)");
            }
        }
        match model.name.as_str() {
            "crm.lead" => self.adapt_lead(copied),
            TASK => self.adapt_task(model, id, copied, given),
            _ => Ok(()),
        }
    }

    /// Whoever has left gets no leads; a lead that is no opportunity yet was assigned on no day.
    fn adapt_lead(&mut self, copied: &mut Values) -> Result<(), Error> {
        let user = match copied.get("user_id") {
            Some(Input::Value(Value::Many2one(user))) => Some(user.id),
            _ => None,
        };
        let gone = match user {
            Some(user) => !self.is_active("res.users", user)?,
            None => false,
        };
        if gone {
            copied.insert("user_id".to_owned(), Input::Value(Value::Unset));
        }
        let opportunity = matches!(copied.get("type"), Some(Input::Value(Value::Text(kind))) if kind == "opportunity");
        if !opportunity {
            copied.insert("date_open".to_owned(), Input::Value(Value::Unset));
        }
        Ok(())
    }

    /// A task is copied with the tasks below it, for those who are still there.
    fn adapt_task(&mut self, model: &Model, id: Id, copied: &mut Values, given: &Values) -> Result<(), Error> {
        if model.has_column("active") && !given.contains_key("active") && !self.options.whole_project {
            copied.insert("active".to_owned(), Input::Value(Value::Boolean(true)));
        }
        if let Some(Input::Commands(commands)) = copied.get_mut("user_ids") {
            for command in commands {
                if let Command::Replace(users) = command {
                    let active: Result<Vec<bool>, Error> =
                        users.iter().map(|user| self.is_active("res.users", *user)).collect();
                    let mut active = active?.into_iter();
                    users.retain(|_| active.next().unwrap_or(true));
                }
            }
        }
        if given.contains_key("child_ids") || !model.fields.contains_key("child_ids") || !model.has_column("parent_id")
        {
            return Ok(());
        }
        let mut below = Vec::new();
        for child in self.tasks_below(id)? {
            if self.is_active(TASK, child)? {
                self.depth += 1;
                let copy = self.copy_of(model, child, &Values::default());
                self.depth -= 1;
                below.push(Command::Create(copy?));
            }
        }
        copied.insert("child_ids".to_owned(), Input::Commands(below));
        Ok(())
    }

    /// The tasks below one that the user may read, in order.
    fn tasks_below(&self, id: Id) -> Result<Vec<Id>, Error> {
        let below = Domain::condition("parent_id", Operator::Equal, Literal::Integer(i64::from(id)));
        query::search(self.conn, self.env, TASK, &below, &Page { archived: true, ..Page::default() })
    }

    /// What is switched off while copies of a model are made.
    pub(super) fn options_of_copies(&self, model: &Model) -> Options {
        let (task, project) = (model.name == TASK, model.name == PROJECT);
        let before = &self.options;
        Options {
            no_creation_message: before.no_creation_message || task,
            no_subscription: before.no_subscription || task || project,
            no_assignment_message: before.no_assignment_message || task || project,
            ..before.clone()
        }
    }

    /// What comes with copies that were made.
    pub(super) fn finish_copies(&mut self, model: &Model, ids: &[Id], copies: &[Id]) -> Result<(), Error> {
        match model.name.as_str() {
            TASK if model.chatter && self.schema().models.contains_key("mail.message") => {
                copies.iter().try_for_each(|copy| self.log_note(model, *copy, "Task Created".to_owned()).map(drop))
            }
            PROJECT => ids.iter().zip(copies).try_for_each(|(id, copy)| self.copy_project(model, *id, *copy)),
            _ => Ok(()),
        }
    }

    /// A project's copy has its followers, and copies of its tasks.
    fn copy_project(&mut self, model: &Model, id: Id, copy: Id) -> Result<(), Error> {
        if model.chatter {
            for (partner, subtypes) in self.followers_of(&model.name, id)? {
                self.add_followers_of(&model.name, copy, &[partner], Some(&subtypes))?;
            }
        }
        let Some(tasks) = self.schema().models.get(TASK).filter(|tasks| tasks.has_column("project_id")) else {
            return Ok(());
        };
        let mut top = Vec::new();
        for task in self.in_order(tasks, &self.ids_where(TASK, "project_id", id)?)? {
            if !tasks.has_column("parent_id") || self.link_of(TASK, "parent_id", task)?.is_none() {
                top.push(task);
            }
        }
        let mut given = Values::from_iter([("project_id".to_owned(), Input::Value(Value::link(copy)))]);
        if tasks.has_column("state") {
            given.insert("state".to_owned(), Input::Value(Value::text("01_in_progress")));
        }
        if tasks.has_column("company_id") && model.has_column("company_id") {
            let company = self.link_of(&model.name, "company_id", copy)?;
            given.insert("company_id".to_owned(), Input::Value(company.map_or(Value::Unset, Value::link)));
        }
        let before = std::mem::replace(&mut self.options.whole_project, true);
        let made = self.copy_many(TASK, &top, &given);
        self.options.whole_project = before;
        // Tasks below them were copied with the project that they were in.
        let mut above = made?;
        while let Some(task) = above.pop() {
            for child in self.ids_where(TASK, "parent_id", task)? {
                if self.link_of(TASK, "project_id", child)? == Some(id) {
                    let moved = Values::from_iter([("project_id".to_owned(), Input::Value(Value::link(copy)))]);
                    self.write_many(TASK, &[child], moved)?;
                }
                above.push(child);
            }
        }
        Ok(())
    }

    /// Records in their model's own order.
    pub(crate) fn in_order(&self, model: &Model, ids: &[Id]) -> Result<Vec<Id>, Error> {
        if ids.len() < 2 {
            return Ok(ids.to_vec());
        }
        let listed = Filter::ids(ids.iter().map(|id| i64::from(*id)).collect());
        query::select_ids(self.conn, self.env, model, &listed, &Page::default())
    }

    /// Whether a record is not archived; records of models that archive nothing are not.
    fn is_active(&self, model: &str, id: Id) -> Result<bool, Error> {
        if !self.schema().models.get(model).is_some_and(|described| described.has_column("active")) {
            return Ok(true);
        }
        Ok(matches!(self.cell(model, "active", id)?, Some(Cell::Integer(1))))
    }

    fn link_of(&self, model: &str, field: &str, id: Id) -> Result<Option<Id>, Error> {
        Ok(self.cell(model, field, id)?.as_ref().and_then(values::as_id))
    }
}
