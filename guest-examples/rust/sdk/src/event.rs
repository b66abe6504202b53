//! What happened, and what the script answers.

use time::{Date, UtcDateTime};

use crate::{
    Error, ErrorKind, Event, Field, FromValue, Model, Outcome, RecordRef, Row, Snapshot, Value, Values, calendar, model,
};

impl Event {
    /// The model that the rule is bound to. Schedules, webhooks and what is run by hand may have none: `no-model`.
    pub fn model(&self) -> Result<Model, Error> {
        match &self.model {
            Some(name) => Ok(model(name.as_str())),
            None => Err(Error::new(ErrorKind::Invalid, "no-model", "this rule is bound to no model")),
        }
    }

    /// The triggering records with the named fields. Those that are gone are left out.
    pub fn read(&self, fields: &[&str]) -> Result<Vec<Row>, Error> {
        self.model()?.read(&self.records, fields)
    }

    /// The triggering records; nothing is read.
    pub fn records(&self) -> Result<Vec<RecordRef>, Error> {
        let model = self.model()?;
        Ok(self.records.iter().map(|id| model.record(*id)).collect())
    }

    /// One of the rule's parameters: `event.param::<f64>("threshold")?`. Read as an `Option`, it may have no value.
    pub fn param<T: FromValue>(&self, name: &str) -> Result<T, Error> {
        let missing = || Error::invalid("missing-parameter", name, format!("parameter \"{name}\" has no value"));
        let field = self.parameters.iter().find(|field| field.name == name);
        let value = match field {
            Some(field) => &field.value,
            None if T::OPTIONAL => &Value::Unset,
            None => return Err(missing()),
        };
        T::from_value(value).ok_or_else(|| match value {
            Value::Unset => missing(),
            other => {
                let message = format!("parameter \"{name}\" is {}, read as {}", other.kind_name(), T::WANTED);
                Error::invalid("wrong-type", name, message)
            }
        })
    }

    /// When the event happened. The clock stands still during a run.
    pub fn time(&self) -> Result<UtcDateTime, Error> {
        calendar::parse_utc(&self.now)
    }

    /// The day of the event where the run-as user is; Odoo's `context_today`.
    pub fn today(&self) -> Result<Date, Error> {
        Ok(calendar::to_local(self.time()?, &self.run_as.tz)?.date())
    }

    /// For updates: a changed field of a record as it was; none if it did not change.
    pub fn old_value(&self, id: u32, field: &str) -> Option<&Value> {
        self.old_values.iter().find(|record| record.id == id)?.value(field)
    }
}

impl Snapshot {
    /// A field's value, if the snapshot has it.
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.fields.iter().find(|other| other.name == field).map(|field| &field.value)
    }

    /// A field's value as a Rust type. Fails if the snapshot does not have it.
    pub fn get<T: FromValue>(&self, field: &str) -> Result<T, Error> {
        let value = self.value(field).ok_or_else(|| {
            Error::invalid("field-not-read", field, format!("the snapshot of record {} has no \"{field}\"", self.id))
        })?;
        T::from_value(value).ok_or_else(|| {
            Error::invalid("wrong-type", field, format!("\"{field}\" is {}, read as {}", value.kind_name(), T::WANTED))
        })
    }
}

impl Outcome {
    /// Nothing to say.
    pub fn none() -> Self {
        Self { message: None, values: Vec::new(), warning: None, records: Vec::new(), result_json: None }
    }

    /// A line for the run history.
    pub fn message(text: impl Into<String>) -> Self {
        Self { message: Some(text.into()), ..Self::none() }
    }

    /// Before and on-change rules: sets these values on the record.
    pub fn with_values(mut self, values: Values) -> Self {
        self.values = Vec::<Field>::from(values);
        self
    }

    /// On-change rules: shown beside the form.
    pub fn with_warning(mut self, text: impl Into<String>) -> Self {
        self.warning = Some(text.into());
        self
    }

    /// For `select-records`: the records that the rule applies to.
    pub fn with_records(mut self, ids: Vec<u32>) -> Self {
        self.records = ids;
        self
    }

    /// What a webhook's or a manual run's caller gets.
    pub fn with_result(mut self, result: serde_json::Value) -> Self {
        self.result_json = Some(result.to_string());
        self
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::none()
    }
}

impl From<String> for Outcome {
    fn from(text: String) -> Self {
        Self::message(text)
    }
}

impl From<&str> for Outcome {
    fn from(text: &str) -> Self {
        Self::message(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Link, Trigger, User};

    fn event() -> Event {
        let user = User {
            id: 2,
            name: "Mitchell Admin".into(),
            login: "admin".into(),
            lang: "en_US".into(),
            tz: "Europe/Brussels".into(),
        };
        Event {
            run_id: "r1".into(),
            rule: "test".into(),
            attempt: 1,
            depth: 0,
            seed: 7,
            trigger: Trigger::Updated,
            model: Some("crm.lead".into()),
            records: vec![7],
            old_values: vec![Snapshot { id: 7, fields: vec![Field::new("name", "before")] }],
            actor: user.clone(),
            run_as: user,
            superuser: false,
            company: Link::new(1),
            now: "2026-11-21T23:30:00Z".into(),
            parameters: vec![Field::new("threshold", 10_000.0), Field::new("tag", Value::Unset)],
            previous: None,
            extra_json: None,
        }
    }

    #[test]
    fn parameters_are_typed() {
        let event = event();
        assert_eq!(event.param::<f64>("threshold").unwrap(), 10_000.0);
        assert_eq!(event.param::<Option<u32>>("tag").unwrap(), None);
        assert_eq!(event.param::<Option<u32>>("absent").unwrap(), None);
        let text = |error: Error| error.text();
        assert_eq!(
            text(event.param::<String>("thresold").unwrap_err()),
            "missing-parameter: parameter \"thresold\" has no value"
        );
        assert_eq!(
            text(event.param::<String>("threshold").unwrap_err()),
            "wrong-type: parameter \"threshold\" is number, read as text"
        );
    }

    #[test]
    fn old_values_are_found_by_record_and_field() {
        let event = event();
        assert_eq!(event.old_value(7, "name"), Some(&Value::from("before")));
        assert_eq!(event.old_value(8, "name"), None);
        assert_eq!(event.old_values[0].get::<String>("name").unwrap(), "before");
        assert_eq!(event.old_values[0].get::<f64>("name").unwrap_err().code, "wrong-type");
    }

    #[test]
    fn time_is_parsed() {
        assert_eq!(event().time().unwrap(), UtcDateTime::from_unix_timestamp(1_795_303_800).unwrap());
    }

    #[test]
    fn texts_and_nothing_are_outcomes() {
        assert_eq!(Outcome::from("done").message.as_deref(), Some("done"));
        assert_eq!(Outcome::from(()), Outcome::none());
    }
}
