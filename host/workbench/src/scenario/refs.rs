//! Names of records in scenarios: `@name`, `crm.lead/7`, and `crm.lead/new` for one that the run created.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::{
    changes::{ChangeKind, Diff},
    error::Error,
    value::RecordRef,
};
use triggerbox_store::{written::full_xmlid, xmlid};

/// The record that a reference names.
///
/// # Errors
/// There is none of that external id; it is no reference.
pub fn resolve(conn: &Connection, reference: &str) -> Result<RecordRef, Error> {
    if reference.starts_with('@') {
        return xmlid::resolve(conn, &full_xmlid(reference));
    }
    let parts = reference.split_once('/').and_then(|(model, id)| Some(RecordRef::new(model, id.parse().ok()?)));
    parts.ok_or_else(|| {
        Error::invalid("bad-reference", format!("`{reference}` names no record; write `@name` or `crm.lead/7`"))
    })
}

/// What records are called in what a scenario expects.
pub struct Names<'a> {
    conn: &'a Connection,
    created: BTreeMap<RecordRef, String>,
}

impl<'a> Names<'a> {
    /// Names of records after a run. Those that it created are counted by model.
    #[must_use]
    pub fn new(conn: &'a Connection, diff: &Diff) -> Self {
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
        Self { conn, created }
    }

    /// The one name of a record.
    #[must_use]
    pub fn of(&self, record: &RecordRef) -> String {
        if let Some(name) = self.created.get(record) {
            return name.clone();
        }
        // A scenario's own names come first.
        let sql =
            "SELECT xmlid FROM tb_xmlid WHERE model = ? AND id = ? ORDER BY xmlid NOT LIKE 'test.%', xmlid LIMIT 1";
        let found = self.conn.query_row(sql, (&record.model, record.id), |row| row.get::<_, String>(0)).optional();
        match found.ok().flatten() {
            Some(name) => format!("@{}", name.strip_prefix("test.").unwrap_or(&name)),
            None => format!("{}/{}", record.model, record.id),
        }
    }

    /// The one name of what a scenario names; as it is, if it names nothing.
    #[must_use]
    pub fn normal(&self, reference: &str) -> String {
        resolve(self.conn, reference).map_or_else(|_| reference.to_owned(), |record| self.of(&record))
    }
}
