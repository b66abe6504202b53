//! The ground of a scenario in the embedded store: a database of its own, in memory.

use jiff::Timestamp;
use triggerbox_automation::people::{self, Person};
use triggerbox_model::{
    call::Call,
    schema::FieldKind,
    value::{FieldValue, RecordRef, Snapshot, Value},
};
use triggerbox_store::{commit, db::Database, load::Record, query, session::Session};

use super::{refs::Names, when::Ground};

/// A scenario's database, at its time.
pub(super) struct Embedded<'a> {
    pub(super) database: &'a Database,
    pub(super) now: Timestamp,
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Ground for Embedded<'_> {
    fn names(&self) -> Result<Box<dyn Names + '_>, String> {
        Ok(Box::new(self.database.snapshot().map_err(told)?))
    }

    fn person(&self, login: &str) -> Result<Person, String> {
        people::find(self.database, login, self.now).map_err(told)
    }

    fn values(&self, model: &str, record: Record) -> Result<Vec<FieldValue>, String> {
        self.database.values_written(model, record, self.now).map_err(told)
    }

    fn update(&self, target: &RecordRef, record: Record) -> Result<Snapshot, String> {
        let fields: Vec<String> = record.keys().cloned().collect();
        let old = self.read(target, &fields)?;
        self.database.change_written(target, record, self.now).map_err(told)?;
        Ok(old)
    }

    fn delete(&self, target: &RecordRef) -> Result<Snapshot, String> {
        let model = self.database.schema().model(&target.model).map_err(told)?;
        let kept = model.fields.iter().filter(|(_, field)| field.has_column() && field.kind != FieldKind::Binary);
        let fields: Vec<String> = kept.map(|(name, _)| name.clone()).collect();
        let last = self.read(target, &fields)?;
        let env = people::environment(self.database, people::SYSTEM, true, self.now).map_err(told)?;
        let mut session = Session::new(self.database, env.clone()).map_err(told)?;
        let call = Call::Unlink { model: target.model.clone(), ids: vec![target.id] };
        session.call(call).map_err(told)?.map_err(told)?;
        commit::commit(self.database, &env, &session.finish()).map_err(told)?;
        Ok(last)
    }

    fn name(&self, target: &RecordRef) -> Result<Option<String>, String> {
        let named = self.read(target, &["display_name".to_owned()])?;
        Ok(named.fields.into_iter().find_map(|field| match field.value {
            Value::Text(name) => Some(name),
            _ => None,
        }))
    }
}

impl Embedded<'_> {
    fn read(&self, target: &RecordRef, fields: &[String]) -> Result<Snapshot, String> {
        let env = people::environment(self.database, people::SYSTEM, true, self.now).map_err(told)?;
        let conn = self.database.snapshot().map_err(told)?;
        let rows = query::read::read(&conn, &env, &target.model, &[target.id], fields);
        let row = rows.map_err(|error| error.message)?.into_iter().next();
        let row = row.ok_or_else(|| format!("there is no {target}"))?;
        let fields = fields.iter().zip(row.values).map(|(name, value)| FieldValue::new(name, value)).collect();
        Ok(Snapshot { id: target.id, fields })
    }
}
