//! A record as texts see it: the values at the ends of paths, and the same in words.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use triggerbox::{FieldInfo, calendar, prelude::*};
use triggerbox_placeholders::Text;

/// Descriptions of fields, asked for once.
#[derive(Default)]
pub struct Fields(RefCell<BTreeMap<(String, String), Rc<FieldInfo>>>);

impl Fields {
    /// A field's description.
    pub fn get(&self, model_name: &str, field: &str) -> Result<Rc<FieldInfo>> {
        let key = (model_name.to_owned(), field.to_owned());
        if let Some(known) = self.0.borrow().get(&key) {
            return Ok(Rc::clone(known));
        }
        let Some(info) = model(model_name).fields_get(&[field])?.into_iter().next() else {
            fail!("{model_name} has no field `{field}`");
        };
        let info = Rc::new(info);
        self.0.borrow_mut().insert(key, Rc::clone(&info));
        Ok(info)
    }
}

/// One triggering record.
pub struct Source<'e> {
    event: &'e Event,
    record: RecordRef,
    fields: Fields,
}

impl<'e> Source<'e> {
    /// A record, as the event's user sees it.
    pub fn new(event: &'e Event, record: RecordRef) -> Self {
        Self { event, record, fields: Fields::default() }
    }

    /// The record.
    pub fn record(&self) -> &RecordRef {
        &self.record
    }

    /// The event.
    pub fn event(&self) -> &'e Event {
        self.event
    }

    /// Descriptions of fields.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The value at the end of a path, with its field; all but the last are many2one fields. An empty link on the way
    /// has an empty value at its end.
    pub fn value(&self, path: &str) -> Result<(Value, Rc<FieldInfo>)> {
        let mut record = Some(self.record.clone());
        let mut model_name = self.record.model.clone();
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let info = self.fields.get(&model_name, name)?;
            let value = match &record {
                Some(record) => record.read(&[name])?.value(name)?.clone(),
                None => Value::Unset,
            };
            if names.peek().is_none() {
                return Ok((value, info));
            }
            let Some(relation) = info.relation.clone().filter(|_| info.kind == "many2one") else {
                fail!("`{name}` in `{{{path}}}` is no link to one record; only those can be followed");
            };
            record = match value {
                Value::Many2one(link) => Some(link.of(relation.as_str())),
                _ => None,
            };
            model_name = relation;
        }
        fail!("`{{{path}}}` names no field")
    }

    /// A text with the record's values in words.
    pub fn fill(&self, text: &Text) -> Result<String> {
        text.fill(|path| {
            let (value, info) = self.value(path)?;
            self.words(&value, &info)
        })
    }

    /// A value as people read it: labels, names, local times.
    fn words(&self, value: &Value, info: &FieldInfo) -> Result<String> {
        Ok(match value {
            Value::Unset => String::new(),
            Value::Pending => fail!("`{}` is known only when the run is applied; decide without it", info.name),
            Value::Boolean(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Text(key) if info.kind == "selection" => {
                let label = info.selection.iter().find(|(known, _)| known == key).map(|(_, label)| label);
                label.unwrap_or(key).clone()
            }
            Value::Text(text) | Value::Date(text) | Value::Json(text) => text.clone(),
            Value::Datetime(_) => {
                let Some(time) = <UtcDateTime as triggerbox::FromValue>::from_value(value) else {
                    fail!("`{}` is no time", info.name);
                };
                let local = calendar::to_local(time, &self.event.run_as.tz)?;
                let date = local.date();
                let (month, day) = (u8::from(date.month()), date.day());
                format!("{:04}-{month:02}-{day:02} {:02}:{:02}", date.year(), local.hour(), local.minute())
            }
            Value::Many2one(link) => link.name().to_owned(),
            Value::Ids(ids) => {
                let relation = info.relation.as_deref().unwrap_or_default();
                let rows = model(relation).read(ids, &["display_name"])?;
                let names = rows.iter().map(|row| row.text("display_name"));
                names.collect::<std::result::Result<Vec<_>, _>>()?.join(", ")
            }
            Value::Reference(record) => record.to_string(),
            Value::Binary(_) => fail!("`{}` holds a file, which has no text", info.name),
        })
    }
}
