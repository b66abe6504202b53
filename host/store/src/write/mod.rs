//! Creating, writing and deleting records, with everything that follows from it in Odoo: defaults, relational
//! commands, computed values, constraints, deletion rules, tracking messages.
//!
//! The same functions work on committed tables and on a run's staged view of them: [`Place`] says which.

mod addresses;
mod columns;
mod compute;
mod constraints;
mod copied;
mod copy;
mod create;
mod declared;
mod defaults;
mod delete;
mod guards;
pub mod html;
pub mod json;
mod known;
mod log;
mod made;
pub(crate) mod memo;
mod number;
mod place;
mod relations;
mod row;
mod sales;
mod together;
mod tree;
mod update;
pub(crate) mod values;

use std::{
    cell::{OnceCell, RefCell},
    collections::HashSet,
};

use rusqlite::{Connection, types::Value as Cell};
use triggerbox_model::{
    call,
    changes::Change,
    error::Error,
    schema::{ByName, Field, FieldKind, Model, RelationTable, Schema},
    value::{FieldValue, Id, RecordRef, Value},
};

pub(crate) use self::compute::{Name, Stale};
pub(crate) use self::log::ChangeLog;
pub(crate) use self::made::Made;
pub(crate) use self::place::{next_provisional, number_from};
pub(crate) use self::row::Row;
pub use self::{
    copied::copied_with,
    number::{round_digits, round_step},
    place::{Committing, Place},
};
use crate::{
    chatter::{Greeting, Tracking},
    db::fault,
    ddl,
    env::Env,
};

/// What a field is to become.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A value; for one2many and many2many the whole list.
    Value(Value),
    /// Changes of a one2many or many2many field, in order.
    Commands(Vec<Command>),
}

/// A change of a one2many or many2many field. As [`call::Command`], and commands may hold commands.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "the variants are those of the contract's command")]
pub enum Command {
    Link(Id),
    Unlink(Id),
    Delete(Id),
    Clear,
    Replace(Vec<Id>),
    Create(Values),
    Update(Id, Values),
}

/// Values of one record, by field, in the order given.
pub type Values = ByName<Input>;

/// The contract's list of values, by field. A field named twice has the last value.
#[must_use]
pub fn from_fields(fields: &[FieldValue]) -> Values {
    fields.iter().map(|field| (field.name.clone(), Input::Value(field.value.clone()))).collect()
}

/// As [`from_fields`].
pub(crate) fn into_values(fields: Vec<FieldValue>) -> Values {
    fields.into_iter().map(|field| (field.name, Input::Value(field.value))).collect()
}

impl From<&call::Command> for Command {
    fn from(command: &call::Command) -> Self {
        match command {
            call::Command::Link(id) => Self::Link(*id),
            call::Command::Unlink(id) => Self::Unlink(*id),
            call::Command::Delete(id) => Self::Delete(*id),
            call::Command::Clear => Self::Clear,
            call::Command::Replace(ids) => Self::Replace(ids.clone()),
            call::Command::Create(fields) => Self::Create(from_fields(fields)),
            call::Command::Update(id, fields) => Self::Update(*id, from_fields(fields)),
        }
    }
}

/// What a caller may switch off or preset; Odoo has these in its context.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// No messages, no tracking, no followers at all (`tracking_disable`).
    pub silent: bool,
    /// No tracking messages (`mail_notrack`).
    pub no_tracking: bool,
    /// No creation message (`mail_create_nolog`).
    pub no_creation_message: bool,
    /// The creator does not follow (`mail_create_nosubscribe`).
    pub no_subscription: bool,
    /// Recipients of a message follow from then on (`mail_post_autofollow`).
    pub recipients_follow: bool,
    /// Whoever a record is given to is not told (`mail_auto_subscribe_no_notify`).
    pub no_assignment_message: bool,
    /// Tasks are copied with their project: called the same, and archived if they are (`copy_project`).
    pub whole_project: bool,
    /// Values for fields that are not given (`default_…`), for the model that is created first.
    pub defaults: Values,
}

impl Options {
    /// What a context switches off, by Odoo's names.
    #[must_use]
    pub fn from_context(context: &serde_json::Value) -> Self {
        let on = |key: &str| context.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false);
        Self {
            silent: on("tracking_disable"),
            no_tracking: on("mail_notrack"),
            no_creation_message: on("mail_create_nolog"),
            no_subscription: on("mail_create_nosubscribe"),
            recipients_follow: on("mail_post_autofollow"),
            no_assignment_message: on("mail_auto_subscribe_no_notify"),
            ..Self::default()
        }
    }
}

/// Writes records in one environment, in one place.
///
/// Every public operation is all or nothing: it runs in a savepoint. [`Writer::finish`] ends the series of
/// operations that belong together (a call of a script): tracking messages are posted then, as Odoo does at commit.
#[derive(Debug)]
pub struct Writer<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) env: &'a Env,
    pub(crate) place: &'a mut Place,
    /// See [`Options`].
    pub options: Options,
    pub(crate) log: ChangeLog,
    pub(crate) tracking: Tracking,
    /// How deep operations are nested: records created by commands, copies of lines, known models' followers.
    pub(crate) depth: u8,
    /// The user may do what is being done whatever the rights say: a change of their own preferences.
    trusted: bool,
    /// A product that is being made brings its template: the template needs no variant of its own.
    variant_at_hand: bool,
    /// Records are archived, or brought back, by the button for it.
    pub(crate) by_button: bool,
    /// Stored fields that depend on others; built when the first is needed.
    triggers: Option<std::rc::Rc<compute::Triggers<'a>>>,
    pub(crate) memo: RefCell<memo::Memo>,
    statements: RefCell<columns::Statements<'a>>,
    /// Whoever called undoes everything if an operation fails: it needs no savepoint, for which SQLite would keep a copy of
    /// each page that it changes.
    pub(crate) undone_with_all: bool,
    /// The chatter of new records may begin later: nobody looks at it yet.
    pub(crate) puts_off_greeting: bool,
    pub(crate) greeting: Option<Greeting>,
    pub(crate) unwritten: Option<Unwritten>,
    /// The records that left the one that they cannot be without, and were deleted by that.
    pub(crate) left: Vec<RecordRef>,
    /// The time as stored, and as the contract has it.
    now: OnceCell<String>,
    now_told: OnceCell<String>,
}

/// New records of a view that nobody has looked at since: the log alone has their rows.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub(crate) model: String,
    pub(crate) ids: Vec<Id>,
    pub(crate) log: ChangeLog,
}

/// Nesting beyond this is refused: commands in commands, cascades of computations.
const DEEPEST: u8 = 32;

impl<'a> Writer<'a> {
    /// A writer that has done nothing yet.
    pub fn new(conn: &'a Connection, env: &'a Env, place: &'a mut Place) -> Self {
        Self {
            conn,
            env,
            place,
            options: Options::default(),
            log: ChangeLog::default(),
            tracking: Tracking::default(),
            depth: 0,
            trusted: false,
            variant_at_hand: false,
            by_button: false,
            triggers: None,
            memo: RefCell::default(),
            statements: RefCell::default(),
            undone_with_all: false,
            puts_off_greeting: false,
            greeting: None,
            unwritten: None,
            left: Vec::new(),
            now: OnceCell::new(),
            now_told: OnceCell::new(),
        }
    }

    /// Creates records; returns their ids in order.
    ///
    /// # Errors
    /// Everything that is wrong with the values, or refused; then nothing is created.
    pub fn create(&mut self, model: &str, list: impl IntoIterator<Item = Values>) -> Result<Vec<Id>, Error> {
        self.atomically(|writer| writer.create_many(model, list))
    }

    /// Writes the same values on records.
    ///
    /// # Errors
    /// As [`Writer::create`]; `missing-record`.
    pub fn write(&mut self, model: &str, ids: &[Id], values: Values) -> Result<(), Error> {
        self.atomically(|writer| writer.write_many(model, ids, values))
    }

    /// Deletes records, and what hangs on them.
    ///
    /// # Errors
    /// `missing-record`, `restricted` when something that must not lose them refers to them.
    pub fn unlink(&mut self, model: &str, ids: &[Id]) -> Result<(), Error> {
        self.atomically(|writer| writer.unlink_many(model, ids))
    }

    /// Copies records, with `values` in place of their own; returns the copies in order.
    ///
    /// # Errors
    /// As [`Writer::create`]; `missing-record`.
    pub fn copy(&mut self, model: &str, ids: &[Id], values: &Values) -> Result<Vec<Id>, Error> {
        self.atomically(|writer| writer.copy_many(model, ids, values))
    }

    /// Creates a record of which only the name is known.
    ///
    /// # Errors
    /// As [`Writer::create`]; `no-name` when the model has no name field.
    pub fn name_create(&mut self, model: &str, name: &str) -> Result<Id, Error> {
        let described = self.schema().model(model)?;
        let field = described
            .rec_name
            .clone()
            .ok_or_else(|| Error::invalid("no-name", format!("`{model}` has no name field: create it with values")))?;
        // A name that follows from others (the path of a category) is made by giving the record's own.
        let own = |field: &String| field == "complete_name" && described.fields.contains_key("name");
        let field = Some(field).filter(|field| !own(field)).unwrap_or_else(|| "name".to_owned());
        let values = Values::from_iter([(field, Input::Value(Value::text(name)))]);
        let ids = self.create(model, vec![values])?;
        ids.first().copied().ok_or_else(|| Error::invalid("no-name", "nothing was created"))
    }

    /// Ends one effect of a change set, and returns what really changed. What fields were before goes on being kept: a
    /// record that several effects change gets one tracking message, when all are done.
    pub(crate) fn finish_effect(&mut self) -> Result<Vec<Change>, Error> {
        if let Some(unwritten) = &mut self.unwritten {
            unwritten.log = std::mem::take(&mut self.log);
        }
        self.log.take(self.conn, &self.env.schema)
    }

    /// Adds rows that were left unwritten.
    pub(crate) fn write_down(&mut self, unwritten: Unwritten) -> Result<(), Error> {
        let model = self.schema().model(&unwritten.model)?;
        self.atomically(|writer| {
            writer.log = unwritten.log;
            writer.insert_rows(model, &unwritten.ids)
        })
    }

    /// Ends a call: posts the tracking messages, and returns what really changed since the last end.
    ///
    /// # Errors
    /// When a message cannot be stored.
    pub fn finish(&mut self) -> Result<Vec<Change>, Error> {
        self.atomically(Self::post_tracking)?;
        self.log.take(self.conn, &self.env.schema)
    }

    pub(crate) fn schema(&self) -> &'a Schema {
        &self.env.schema
    }

    /// Runs a step in a savepoint: it is done, or nothing of it is.
    pub(crate) fn atomically<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEEPEST {
            return Err(Error::invalid("too-deep", "values are nested too deeply; write in several calls"));
        }
        if self.depth > 0 {
            // The outermost savepoint undoes everything.
            self.depth += 1;
            let result = step(self);
            self.depth -= 1;
            return result;
        }
        if self.undone_with_all {
            return self.in_step(step);
        }
        let (log, tracking) = (self.log.clone(), self.tracking.clone());
        self.conn.execute_batch("SAVEPOINT step").map_err(fault)?;
        match self.in_step(step) {
            Ok(value) => {
                self.conn.execute_batch("RELEASE step").map_err(fault)?;
                Ok(value)
            }
            Err(error) => {
                // On a full disk SQLite has rolled back everything by itself, savepoints included.
                if !self.conn.is_autocommit() {
                    self.conn.execute_batch("ROLLBACK TO step; RELEASE step").map_err(fault)?;
                }
                (self.log, self.tracking) = (log, tracking);
                self.memo.get_mut().forget();
                self.place.rolled_back(self.conn)?;
                Err(error)
            }
        }
    }

    fn in_step<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.place.begin_step();
        self.depth += 1;
        let result = step(self).and_then(|value| {
            self.place.end_step(self.conn)?;
            Ok(value)
        });
        self.depth -= 1;
        result
    }

    /// Announces that a model's table is about to be written.
    pub(crate) fn touch(&mut self, model: &Model) -> Result<(), Error> {
        self.memo.get_mut().writes(&model.name);
        self.place.touch_model(self.conn, model)
    }

    /// Announces that a model's table is about to be searched by other columns than the id.
    pub(crate) fn searched(&self, model: &str) -> Result<(), Error> {
        match self.place.is_staged() {
            true => self.place.searched(self.conn, Some(&ddl::table(model))),
            false => Ok(()),
        }
    }

    /// Ids of the records of a model whose column holds a value, in order.
    pub(crate) fn ids_where(&self, model: &str, column: &str, value: Id) -> Result<Vec<Id>, Error> {
        self.searched(model)?;
        columns::ids_where(self.conn, model, column, value)
    }

    /// One column of one record; none: there is no such record.
    pub(crate) fn cell(&self, model: &str, column: &str, id: Id) -> Result<Option<Cell>, Error> {
        if let Some(made) = self.made(model, column, id) {
            return Ok(Some(made));
        }
        if let Some(known) = self.memo.borrow().cell(model, column, id) {
            return Ok(known);
        }
        let cell = columns::cell(self.conn, model, column, id)?;
        self.memo.borrow_mut().keep_cell(model, column, id, &cell);
        Ok(cell)
    }

    /// One column of a record that was made since the last end; none: that is to be asked.
    fn made(&self, model: &str, column: &str, id: Id) -> Option<Cell> {
        let row = self.log.made(model, id)?;
        match column {
            "id" => Some(Cell::Integer(i64::from(id))),
            // Kept beside the row.
            ddl::PARENT_PATH => None,
            _ => {
                let (place, _, field) = self.schema().models.get(model)?.fields.get_full(column)?;
                field.has_column().then(|| row.get(place).cloned().unwrap_or(Cell::Null))
            }
        }
    }

    /// Some columns of one record, in order; none: there is no such record.
    fn columns_of(&self, model: &str, columns: &[&str], id: Id) -> Result<Option<Vec<Cell>>, Error> {
        self.statements.borrow_mut().read(self.conn, model, columns, id)
    }

    /// Some columns of one record, by name; none: there is no such record.
    fn row_of(&self, model: &str, columns: &[&str], id: Id) -> Result<Option<Row<'static>>, Error> {
        let cells = self.columns_of(model, columns, id)?;
        Ok(cells.map(|cells| columns.iter().map(|column| (*column).to_owned()).zip(cells).collect()))
    }

    /// Whether a record exists.
    pub(crate) fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        Ok(self.cell(model, "id", id)?.is_some())
    }

    /// Fails unless all records exist.
    pub(crate) fn require_records(&self, model: &str, ids: &[Id]) -> Result<(), Error> {
        let gone = match ids {
            [] => None,
            [id] => (!self.exists(model, *id)?).then_some(*id),
            ids => {
                let there: HashSet<Id> = columns::existing(self.conn, model, ids)?.into_iter().collect();
                ids.iter().copied().find(|id| !there.contains(id))
            }
        };
        gone.map_or(Ok(()), |id| Err(missing(model, id)))
    }

    /// The time as stored, `2026-06-17 13:05:00`, with microseconds where there are any.
    pub(crate) fn now(&self) -> String {
        let stored = || {
            let micros = self.env.now.subsec_microsecond();
            let seconds = self.env.now.strftime("%Y-%m-%d %H:%M:%S").to_string();
            if micros == 0 { seconds } else { format!("{seconds}.{micros:06}") }
        };
        self.now.get_or_init(stored).clone()
    }

    /// Changes columns of a row, and nothing else. Its model's table can be written.
    fn set_columns(&mut self, model: &Model, id: Id, row: &Row<'_>) -> Result<(), Error> {
        if row.is_empty() {
            return Ok(());
        }
        self.place.take_over(self.conn, model, id)?;
        let table = || self.place.rows_of(model);
        self.statements.get_mut().update(self.conn, &model.name, table, id, row)?;
        self.log.became(model, id, row);
        Ok(())
    }

    /// Adds the rows of new records as the change log has them.
    pub(crate) fn insert_rows(&mut self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        ids.iter().try_for_each(|_| self.touch(model))?;
        let made = ids.iter().filter_map(|id| Some((*id, self.log.made(&model.name, *id)?)));
        let mut rows: Vec<(Id, &Made)> = Vec::with_capacity(ids.len());
        rows.extend(made);
        let table = || self.place.rows_of(model);
        self.statements.get_mut().insert_all(self.conn, model, table, &rows)
    }

    /// Adds pairs to a table of pairs. The table can be written.
    pub(crate) fn insert_pairs(&mut self, pairs: &RelationTable, added: &[[Id; 2]]) -> Result<(), Error> {
        self.statements.get_mut().pairs(self.conn, pairs, added)
    }

    /// Writes columns of a row of a mail model, with the change log.
    pub(crate) fn set_row(&mut self, model: &str, id: Id, row: Row<'a>) -> Result<(), Error> {
        let described = self.schema().model(model)?;
        let row = row.into_iter().filter(|(name, _)| described.has_column(name)).collect();
        self.update_row(described, id, row, &Values::default()).map(drop)
    }

    /// The user's own partner.
    pub(crate) fn user_partner(&self) -> Result<Option<Id>, Error> {
        if !self.schema().models.contains_key("res.users") {
            return Ok(None);
        }
        Ok(self.cell("res.users", "partner_id", self.env.user)?.as_ref().and_then(values::as_id))
    }
}

/// Ids in a many2many field of a record.
pub(crate) fn linked_ids(conn: &Connection, field: &Field, id: Id) -> Result<Vec<Id>, Error> {
    match &field.m2m {
        Some(pairs) if field.store => relations::linked(conn, pairs, id),
        _ => Ok(Vec::new()),
    }
}

/// One column of one record; none: there is no such record.
pub(crate) fn column(conn: &Connection, model: &str, name: &str, id: Id) -> Result<Option<Cell>, Error> {
    columns::cell(conn, model, name, id)
}

/// Some columns of one record; none: there is no such record.
pub(crate) fn row(conn: &Connection, model: &str, names: &[&str], id: Id) -> Result<Option<Row<'static>>, Error> {
    columns::row(conn, model, names, id)
}

/// There is no such record.
pub(crate) fn missing(model: &str, id: Id) -> Error {
    Error::not_found("missing-record", format!("there is no {model} {id}: it was deleted, or never existed"))
}

/// Columns that the store keeps by itself: values given for them are passed over, as Odoo does.
pub(crate) fn is_magic(model: &Model, field: &str) -> bool {
    field == "id"
        || field == "display_name"
        || is_log_access(model, field)
        || (field == ddl::PARENT_PATH && model.parent_store)
}

/// Whether a field says who made or changed a record, or when.
fn is_log_access(model: &Model, field: &str) -> bool {
    model.log_access && matches!(field, "create_uid" | "create_date" | "write_uid" | "write_date")
}

/// A field that shows another record's field and is not stored: the path to it.
pub(crate) fn shown_path(field: &Field) -> Option<&str> {
    if field.store { None } else { field.related.as_deref() }
}

/// Text columns that a translation can be written for.
pub(crate) fn is_translated(field: &Field, lang: &str) -> bool {
    field.translate && lang != BASE_LANG && matches!(field.kind, FieldKind::Char | FieldKind::Text | FieldKind::Html)
}

/// The language of base columns.
pub(crate) const BASE_LANG: &str = "en_US";
