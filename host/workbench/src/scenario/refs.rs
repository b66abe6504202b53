//! Names of records in scenarios: `@name`, `crm.lead/7`, and `crm.lead/new` for one that the run created.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;
use triggerbox_model::{
    changes::{ChangeKind, Diff},
    error::Error,
    value::RecordRef,
};
use triggerbox_store::{db::Snapshot, written::full_xmlid, xmlid};

/// Who knows which records have names.
pub trait Names {
    /// The record of an external id.
    ///
    /// # Errors
    /// There is none.
    fn record(&self, xmlid: &str) -> Result<RecordRef, Error>;

    /// The external id of a record; a scenario's own come first.
    fn xmlid(&self, record: &RecordRef) -> Option<String>;
}

impl Names for Snapshot {
    fn record(&self, xmlid: &str) -> Result<RecordRef, Error> {
        xmlid::resolve(self, xmlid)
    }

    fn xmlid(&self, record: &RecordRef) -> Option<String> {
        let sql =
            "SELECT xmlid FROM tb_xmlid WHERE model = ? AND id = ? ORDER BY xmlid NOT LIKE 'test.%', xmlid LIMIT 1";
        self.query_row(sql, (&record.model, record.id), |row| row.get(0)).optional().ok().flatten()
    }
}

/// The record that a reference names.
///
/// # Errors
/// There is none of that external id; it is no reference.
pub fn resolve(names: &dyn Names, reference: &str) -> Result<RecordRef, Error> {
    if reference.starts_with('@') {
        return names.record(&full_xmlid(reference));
    }
    let parts = reference.split_once('/').and_then(|(model, id)| Some(RecordRef::new(model, id.parse().ok()?)));
    parts.ok_or_else(|| {
        Error::invalid("bad-reference", format!("`{reference}` names no record; write `@name` or `crm.lead/7`"))
    })
}

/// What records are called in what a scenario expects.
pub struct Called<'a> {
    names: &'a dyn Names,
    created: BTreeMap<RecordRef, String>,
}

impl<'a> Called<'a> {
    /// Names of records after a run. Those that it created are counted by model.
    #[must_use]
    pub fn new(names: &'a dyn Names, diff: &Diff) -> Self {
        let (mut created, mut count) = (BTreeMap::new(), BTreeMap::<&str, u32>::new());
        for record in diff.records.iter().filter(|record| record.kind == Some(ChangeKind::Created)) {
            let count = count.entry(&record.record.model).or_default();
            *count += 1;
            let name = match count {
                1 => format!("{}/new", record.record.model),
                more => format!("{}/new-{more}", record.record.model),
            };
            created.insert(record.record.clone(), name);
        }
        Self { names, created }
    }

    /// The one name of a record.
    #[must_use]
    pub fn of(&self, record: &RecordRef) -> String {
        if let Some(name) = self.created.get(record) {
            return name.clone();
        }
        match self.names.xmlid(record) {
            Some(name) => format!("@{}", name.strip_prefix("test.").unwrap_or(&name)),
            None => format!("{}/{}", record.model, record.id),
        }
    }

    /// The one name of what a scenario names; as it is, if it names nothing.
    #[must_use]
    pub fn normal(&self, reference: &str) -> String {
        resolve(self.names, reference).map_or_else(|_| reference.to_owned(), |record| self.of(&record))
    }
}
