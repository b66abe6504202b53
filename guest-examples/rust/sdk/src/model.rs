//! Reading and changing records.

use std::{fmt, rc::Rc};

use crate::{
    Command, Domain, Error, ErrorKind, FieldDetails, FieldInfo, Group, Link, Operation, RecordRef, Row, Search, Values,
    bindings::triggerbox::automation::{
        records::{self as host, GroupPage, Page},
        types,
    },
};

/// The records of one model, such as `crm.lead`. Names and habits are those of Odoo's ORM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    name: String,
}

/// The model with this technical name; Odoo's `env["crm.lead"]`.
pub fn model(name: impl Into<String>) -> Model {
    Model { name: name.into() }
}

/// The record behind an external id such as `base.main_company`; Odoo's `env.ref`.
pub fn resolve_xmlid(xmlid: &str) -> Result<RecordRef, Error> {
    host::resolve_xmlid(xmlid)
}

impl Model {
    /// Technical name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// One record, by id. Nothing is read.
    pub fn record(&self, id: u32) -> RecordRef {
        RecordRef { model: self.name.clone(), id }
    }

    /// Ids of the matching records.
    ///
    /// ```no_run
    /// # use triggerbox::prelude::*;
    /// # fn run() -> Result<()> {
    /// let newest = model("crm.lead").search(domain![("type", "=", "lead")].order("create_date desc").limit(5))?;
    /// # Ok(()) }
    /// ```
    pub fn search(&self, search: impl Into<Search>) -> Result<Vec<u32>, Error> {
        let (domain, page) = search.into().page();
        host::search(&self.name, &domain, &page)
    }

    /// The matching records with the named fields.
    pub fn search_read(&self, search: impl Into<Search>, fields: &[&str]) -> Result<Vec<Row>, Error> {
        let (domain, page) = search.into().page();
        let names = names(fields);
        let rows = host::search_read(&self.name, &domain, &names, &page)?;
        Ok(self.rows(&Rc::from(names), rows))
    }

    /// The first matching record with the named fields, if any matches.
    pub fn search_first(&self, search: impl Into<Search>, fields: &[&str]) -> Result<Option<Row>, Error> {
        Ok(self.search_read(search.into().limit(1), fields)?.into_iter().next())
    }

    /// How many records match; the search's order and limits play no part.
    pub fn count(&self, search: impl Into<Search>) -> Result<u32, Error> {
        host::search_count(&self.name, &search.into().domain)
    }

    /// The named fields of these records, in the order of `ids`. Records that are gone are left out.
    pub fn read(&self, ids: &[u32], fields: &[&str]) -> Result<Vec<Row>, Error> {
        let names = names(fields);
        let rows = host::read(&self.name, ids, &names)?;
        Ok(self.rows(&Rc::from(names), rows))
    }

    /// Groups with aggregates: `&["stage_id", "create_date:month"]`, `&["expected_revenue:sum", "__count"]`.
    pub fn read_group(
        &self,
        search: impl Into<Search>,
        group_by: &[&str],
        aggregates: &[&str],
    ) -> Result<Vec<Group>, Error> {
        let Search { domain, offset, limit, order, having, archived } = search.into();
        let page = GroupPage { offset, limit, order, having, archived };
        host::read_group(&self.name, &domain, &names(group_by), &names(aggregates), &page)
    }

    /// Records whose name matches a text, best first.
    pub fn name_search(&self, text: &str, limit: u32) -> Result<Vec<Link>, Error> {
        host::name_search(&self.name, text, limit)
    }

    /// Describes the named fields, or all for none.
    pub fn fields_get(&self, fields: &[&str]) -> Result<Vec<FieldInfo>, Error> {
        host::fields_get(&self.name, &names(fields))
    }

    /// All that is known of the named fields, or of all for none: digits, default, what a computed one follows from…
    pub fn describe_fields(&self, fields: &[&str]) -> Result<Vec<FieldDetails>, Error> {
        host::describe_fields(&self.name, &names(fields))
    }

    /// Whether the run may do this to all of these records; for no ids, to the model at all.
    pub fn has_access(&self, ids: &[u32], operation: Operation) -> Result<bool, Error> {
        host::has_access(&self.name, ids, operation)
    }

    /// Stages a new record. Its id is provisional until the run is applied: use it as a value, and
    /// [`RecordRef::mention`] to name it in a text.
    pub fn create(&self, values: Values) -> Result<RecordRef, Error> {
        let created = self.create_many(vec![values])?;
        created.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::Other, "no-id", format!("the host gave no id for a new record of {}", self.name))
        })
    }

    /// Stages new records.
    pub fn create_many(&self, values: Vec<Values>) -> Result<Vec<RecordRef>, Error> {
        let values: Vec<_> = values.into_iter().map(|values| values.0).collect();
        let ids = host::create(&self.name, &values)?;
        Ok(ids.into_iter().map(|id| self.record(id)).collect())
    }

    /// Finds the one record whose `keys` fields are as in `values`, or stages its creation. Two runs
    /// at the same time end with one record.
    ///
    /// ```no_run
    /// # use triggerbox::prelude::*;
    /// # fn run() -> Result<()> {
    /// let tag = model("crm.tag").ensure(&["name"], values! { "name" => "hot" })?;
    /// # Ok(()) }
    /// ```
    pub fn ensure(&self, keys: &[&str], values: Values) -> Result<RecordRef, Error> {
        host::ensure(&self.name, &names(keys), &values.0).map(|id| self.record(id))
    }

    /// Stages the same values on all of these records.
    pub fn write(&self, ids: &[u32], values: Values) -> Result<(), Error> {
        host::write(&self.name, ids, &values.0)
    }

    /// Stages deletion.
    pub fn unlink(&self, ids: &[u32]) -> Result<(), Error> {
        host::unlink(&self.name, ids)
    }

    /// Calls a business method with named arguments, as a JSON object. It is staged, and then there
    /// is no answer; a method that the grant marks as read-only answers at once.
    pub fn call(
        &self,
        ids: &[u32],
        method: &str,
        arguments: serde_json::Value,
    ) -> Result<Option<serde_json::Value>, Error> {
        let answer = host::call(&self.name, ids, method, &arguments.to_string())?;
        answer.map(|json| parse_json(&json)).transpose()
    }

    fn rows(&self, names: &Rc<[String]>, rows: Vec<types::Row>) -> Vec<Row> {
        rows.into_iter().map(|row| Row::new(&self.name, names, row.id, row.values)).collect()
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// What belongs to one record. Notes, messages, activities and followers are in [`chatter`](crate::chatter).
impl RecordRef {
    /// A record by model and id. Nothing is read.
    pub fn new(model: impl Into<String>, id: u32) -> Self {
        Self { model: model.into(), id }
    }

    /// Whether the record was created in this run and has no real id yet.
    pub fn is_provisional(&self) -> bool {
        self.id >= 1 << 31
    }

    /// The named fields. Fails with `no-such-record` if the record is gone.
    pub fn read(&self, fields: &[&str]) -> Result<Row, Error> {
        let rows = self.model().read(&[self.id], fields)?;
        rows.into_iter().next().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "no-such-record", format!("{self} does not exist, or not any more"))
        })
    }

    /// Stages values.
    pub fn write(&self, values: Values) -> Result<(), Error> {
        host::write(&self.model, &[self.id], &values.0)
    }

    /// Stages deletion.
    pub fn unlink(&self) -> Result<(), Error> {
        host::unlink(&self.model, &[self.id])
    }

    /// Stages changes of one one2many or many2many field.
    ///
    /// ```no_run
    /// # use triggerbox::prelude::*;
    /// # fn run(lead: RecordRef, hot: RecordRef, cold: RecordRef) -> Result<()> {
    /// lead.relate("tag_ids", &[Command::Link(hot.id), Command::Unlink(cold.id)])?;
    /// # Ok(()) }
    /// ```
    pub fn relate(&self, field: &str, commands: &[Command]) -> Result<(), Error> {
        host::relate(self, field, commands)
    }

    /// Stages a copy, with these values in place of the original's.
    pub fn copy(&self, values: Values) -> Result<Self, Error> {
        host::copy(self, &values.0).map(|id| Self::new(self.model.clone(), id))
    }

    /// Calls a business method on the record; see [`Model::call`].
    pub fn call(&self, method: &str, arguments: serde_json::Value) -> Result<Option<serde_json::Value>, Error> {
        self.model().call(&[self.id], method, arguments)
    }

    /// A text that becomes the record's name and id when the run is applied. The only way to name a
    /// record created in this run inside a message or a text field.
    pub fn mention(&self) -> Result<String, Error> {
        host::mention(self)
    }

    fn model(&self) -> Model {
        model(self.model.as_str())
    }
}

impl fmt::Display for RecordRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.model, self.id)
    }
}

impl Group {
    /// What the group has in common, by the name it was asked for: `stage_id`, `create_date:month`.
    pub fn key<T: crate::FromValue>(&self, name: &str) -> Result<T, Error> {
        named(&self.keys, name)
    }

    /// An aggregate, by the name it was asked for: `expected_revenue:sum`.
    pub fn aggregate<T: crate::FromValue>(&self, name: &str) -> Result<T, Error> {
        named(&self.aggregates, name)
    }
}

/// One of a group's values.
fn named<T: crate::FromValue>(fields: &[crate::Field], name: &str) -> Result<T, Error> {
    let Some(field) = fields.iter().find(|field| field.name == name) else {
        let asked: Vec<_> = fields.iter().map(|field| field.name.as_str()).collect();
        let message = format!("\"{name}\" was not asked for, only {}", asked.join(", "));
        return Err(Error::invalid("field-not-read", name, message));
    };
    T::from_value(&field.value).ok_or_else(|| {
        let message = format!("\"{name}\" is {}, read as {}", field.value.kind_name(), T::WANTED);
        Error::invalid("wrong-type", name, message)
    })
}

impl Search {
    fn page(self) -> (types::Domain, Page) {
        let Self { domain, offset, limit, order, archived, having: _ } = self;
        (domain, Page { offset, limit, order, archived })
    }
}

impl Default for Search {
    fn default() -> Self {
        Domain::all().into()
    }
}

pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, Error> {
    serde_json::from_str(json).map_err(|error| Error::new(ErrorKind::Invalid, "bad-json", error.to_string()))
}

fn names(fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}
