//! What a run has read of committed records, as it was before the run changed them. A run may read a great many: of each value
//! only its bytes are kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use triggerbox_model::{
    changes::Seen,
    value::{Id, Link, RecordRef, Value},
};

/// Values by model, record and field.
#[derive(Debug, Default)]
pub(crate) struct Read {
    models: HashMap<String, OfModel>,
    /// Where a value is written before it is kept.
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct OfModel {
    /// The fields that were read of any record.
    fields: Vec<String>,
    /// Of each value: the place of its field, its length, and its bytes.
    records: BTreeMap<Id, Vec<u8>>,
}

impl Read {
    /// Keeps a value without the names of records, if it is the first that is read of the field.
    pub(crate) fn note(&mut self, model: &str, id: Id, field: &str, value: &Value) {
        if !self.models.contains_key(model) {
            self.models.insert(model.to_owned(), OfModel::default());
        }
        let Some(OfModel { fields, records }) = self.models.get_mut(model) else { return };
        let at = fields.iter().position(|known| known == field).unwrap_or_else(|| {
            fields.push(field.to_owned());
            fields.len() - 1
        });
        let kept = records.entry(id).or_default();
        if values(kept).any(|(known, _)| known == at) {
            return;
        }
        self.scratch.clear();
        write(value, &mut self.scratch);
        push_number(at, kept);
        push_number(self.scratch.len(), kept);
        kept.extend_from_slice(&self.scratch);
    }

    /// All of it, in order.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.of(|_, _| true)
    }

    /// What was read of these records.
    pub(crate) fn of_records(&self, records: &HashSet<(&str, Id)>) -> Vec<Seen> {
        self.of(|model, id| records.contains(&(model, id)))
    }

    /// Whether nothing was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    fn of(&self, is_wanted: impl Fn(&str, Id) -> bool) -> Vec<Seen> {
        let mut models: Vec<_> = self.models.iter().collect();
        models.sort_by_key(|(model, _)| *model);
        let mut all = Vec::new();
        for (model, OfModel { fields, records }) in models {
            for (id, kept) in records.iter().filter(|(id, _)| is_wanted(model, **id)) {
                let of_field = |(at, bytes)| Some((fields.get(at)?, read(bytes)?));
                let mut values: Vec<_> = values(kept).filter_map(of_field).collect();
                values.sort_by_key(|(field, _)| *field);
                all.extend(values.into_iter().map(|(field, value)| Seen {
                    record: RecordRef::new(model, *id),
                    field: field.clone(),
                    value,
                }));
            }
        }
        all
    }
}

/// The values of a record: the place of the field, and the bytes.
fn values(mut kept: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        let at = take_number(&mut kept)?;
        let length = take_number(&mut kept)?;
        let (value, rest) = kept.split_at_checked(length)?;
        kept = rest;
        Some((at, value))
    })
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn push_number(mut number: usize, to: &mut Vec<u8>) {
    while number > 0x7f {
        to.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    to.push(number.to_le_bytes()[0]);
}

fn take_number(from: &mut &[u8]) -> Option<usize> {
    let (mut number, mut shift) = (0, 0);
    loop {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        number |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
}

/// What follows the byte that says which kind of value it is.
fn write(value: &Value, to: &mut Vec<u8>) {
    let mut push = |kind: u8, bytes: &[u8]| {
        to.push(kind);
        to.extend_from_slice(bytes);
    };
    match value {
        Value::Unset => push(0, &[]),
        Value::Pending => push(1, &[]),
        Value::Boolean(flag) => push(2, &[u8::from(*flag)]),
        Value::Integer(number) => push(3, &number.to_le_bytes()),
        Value::Number(number) => push(4, &number.to_le_bytes()),
        Value::Text(text) => push(5, text.as_bytes()),
        Value::Date(text) => push(6, text.as_bytes()),
        Value::Datetime(text) => push(7, text.as_bytes()),
        Value::Many2one(link) => push(8, &link.id.to_le_bytes()),
        Value::Ids(ids) => {
            push(9, &[]);
            ids.iter().for_each(|id| to.extend_from_slice(&id.to_le_bytes()));
        }
        Value::Reference(record) => {
            push(10, &record.id.to_le_bytes());
            to.extend_from_slice(record.model.as_bytes());
        }
        Value::Binary(bytes) => push(11, bytes),
        Value::Json(text) => push(12, text.as_bytes()),
    }
}

fn read(bytes: &[u8]) -> Option<Value> {
    let (kind, bytes) = bytes.split_first()?;
    let text = || String::from_utf8(bytes.to_vec()).ok();
    Some(match kind {
        0 => Value::Unset,
        1 => Value::Pending,
        2 => Value::Boolean(bytes.first() == Some(&1)),
        3 => Value::Integer(i32::from_le_bytes(bytes.try_into().ok()?)),
        4 => Value::Number(f64::from_le_bytes(bytes.try_into().ok()?)),
        5 => Value::Text(text()?),
        6 => Value::Date(text()?),
        7 => Value::Datetime(text()?),
        8 => Value::Many2one(Link { id: Id::from_le_bytes(bytes.try_into().ok()?), name: None }),
        9 => Value::Ids(bytes.as_chunks().0.iter().map(|id| Id::from_le_bytes(*id)).collect()),
        10 => {
            let (id, model) = bytes.split_first_chunk()?;
            Value::reference(String::from_utf8(model.to_vec()).ok()?, Id::from_le_bytes(*id))
        }
        11 => Value::Binary(bytes.to_vec()),
        12 => Value::Json(text()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_each_field_is_kept_in_order() {
        let mut read = Read::default();
        for (model, id, field, value) in
            [("b", 2, "y", 1), ("b", 2, "x", 2), ("b", 1, "x", 3), ("a", 9, "z", 4), ("b", 2, "y", 5)]
        {
            read.note(model, id, field, &Value::Integer(value));
        }
        let told = |seen: Vec<Seen>| -> Vec<String> {
            seen.iter().map(|seen| format!("{}.{} {:?}", seen.record, seen.field, seen.value)).collect()
        };
        let all = ["a(9).z Integer(4)", "b(1).x Integer(3)", "b(2).x Integer(2)", "b(2).y Integer(1)"];
        assert_eq!(told(read.all()), all);
        assert_eq!(told(read.of_records(&[("b", 1), ("a", 1)].into())), all[1..2]);
    }

    #[test]
    fn every_value_is_kept_as_it_is() {
        let values = [
            Value::Unset,
            Value::Pending,
            Value::Boolean(false),
            Value::Boolean(true),
            Value::Integer(i32::MIN),
            Value::Number(0.1 + 0.2),
            Value::text(""),
            Value::text("é".repeat(100_000)),
            Value::Date("2026-11-21".into()),
            Value::Datetime("2026-11-21T10:15:00Z".into()),
            Value::link(u32::MAX),
            Value::Ids(vec![]),
            Value::Ids(vec![1, 1 << 31, 7]),
            Value::reference("crm.lead", 7),
            Value::Binary(vec![0, 255, 128]),
            Value::Json("[1]".into()),
        ];
        let mut read = Read::default();
        for (at, value) in values.iter().enumerate() {
            read.note("m", 1, &format!("{at:03}"), value);
        }
        let named = Value::Many2one(Link { id: 3, name: Some("Ada".into()) });
        read.note("m", 2, "f", &named);
        let mut kept: Vec<Value> = read.all().into_iter().map(|seen| seen.value).collect();
        assert_eq!(kept.pop(), Some(Value::link(3)), "records may be renamed without this one being changed");
        assert_eq!(kept, values);
    }
}
