//! Records held in memory: a data set of its own, or other records with some values replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    eval::Records,
    filter::{Cell, Link, LinkStorage},
};
use crate::{
    error::Error,
    time,
    value::{Id, Value},
};

impl Cell {
    /// A value as its column holds it; lists of records have no column and are `Null`.
    ///
    /// # Errors
    /// `bad-date` for a malformed datetime; `pending` for a value that only the commit can know.
    pub fn of(value: &Value) -> Result<Self, Error> {
        Ok(match value {
            Value::Unset | Value::Ids(_) => Self::Null,
            Value::Pending => {
                return Err(Error::new(
                    crate::error::ErrorKind::Pending,
                    "pending",
                    "the value is known only once the run is applied",
                ));
            }
            Value::Boolean(flag) => Self::Integer(i64::from(*flag)),
            Value::Integer(number) => Self::Integer(i64::from(*number)),
            Value::Number(number) => Self::Real(*number),
            Value::Text(text) | Value::Date(text) | Value::Json(text) => Self::text(text.as_str()),
            Value::Datetime(text) => Self::Text(time::datetime_from_contract(text)?),
            Value::Many2one(link) => Self::Integer(i64::from(link.id)),
            Value::Reference(record) => Self::Text(format!("{},{}", record.model, record.id)),
            // Only whether a binary is set is ever asked.
            Value::Binary(_) => Self::text("binary"),
        })
    }
}

/// One record: its columns by name.
pub type Columns = BTreeMap<String, Cell>;

/// A data set.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Records by model and id.
    pub records: BTreeMap<String, BTreeMap<Id, Columns>>,
    /// Translations by model, id and column, then language.
    pub translations: BTreeMap<(String, Id, String), BTreeMap<String, String>>,
    /// Tables behind many2many fields, as pairs of `(column1, column2)`; by table and first column.
    pub pairs: BTreeMap<(String, String), BTreeSet<(Id, Id)>>,
}

impl Memory {
    fn record(&self, model: &str, id: Id) -> Option<&Columns> {
        self.records.get(model)?.get(&id)
    }
}

impl Records for Memory {
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error> {
        Ok(self.record(model, id).and_then(|columns| columns.get(column)).cloned().unwrap_or(Cell::Null))
    }

    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error> {
        let key = (model.to_owned(), id, column.to_owned());
        Ok(self.translations.get(&key).and_then(|texts| texts.get(lang)).cloned())
    }

    fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        Ok(self.record(model, id).is_some())
    }

    fn all(&self, model: &str) -> Result<Vec<Id>, Error> {
        Ok(self.records.get(model).into_iter().flat_map(|records| records.keys().copied()).collect())
    }

    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
        let wanted = Cell::Integer(i64::from(id));
        Ok(match &link.storage {
            LinkStorage::Many2one => match self.cell(model, id, &link.field)? {
                Cell::Integer(other) => Id::try_from(other).into_iter().collect(),
                _ => Vec::new(),
            },
            LinkStorage::One2many(inverse) => self
                .records
                .get(&link.model)
                .into_iter()
                .flatten()
                .filter(|(_, columns)| columns.get(inverse) == Some(&wanted))
                .map(|(other, _)| *other)
                .collect(),
            LinkStorage::Many2many(table, own, _) => {
                // A table may be seen from either side.
                let pairs = self.pairs.iter().filter(|((name, _), _)| name == table);
                pairs
                    .flat_map(|((_, first), pairs)| {
                        pairs.iter().map(move |(a, b)| if first == own { (*a, *b) } else { (*b, *a) })
                    })
                    .filter(|(from, _)| *from == id)
                    .map(|(_, to)| to)
                    .collect()
            }
        })
    }
}

/// Other records, with some values replaced: what a record was before a change, or would be after it.
pub struct Changed<'a> {
    /// Everything that is not replaced.
    pub base: &'a dyn Records,
    /// The model of the replaced values.
    pub model: &'a str,
    /// Columns by record.
    pub columns: BTreeMap<Id, Columns>,
    /// Records of one2many and many2many fields, by record and field.
    pub linked: BTreeMap<(Id, String), Vec<Id>>,
}

impl<'a> Changed<'a> {
    /// Nothing replaced yet.
    #[must_use]
    pub fn new(base: &'a dyn Records, model: &'a str) -> Self {
        Self { base, model, columns: BTreeMap::new(), linked: BTreeMap::new() }
    }

    /// Replaces one value.
    ///
    /// # Errors
    /// As [`Cell::of`].
    pub fn set(&mut self, id: Id, field: &str, value: &Value) -> Result<(), Error> {
        if let Value::Ids(ids) = value {
            self.linked.insert((id, field.to_owned()), ids.clone());
        } else {
            self.columns.entry(id).or_default().insert(field.to_owned(), Cell::of(value)?);
        }
        Ok(())
    }

    fn replaced(&self, model: &str, id: Id, column: &str) -> Option<&Cell> {
        self.columns.get(&id).filter(|_| model == self.model)?.get(column)
    }
}

impl Records for Changed<'_> {
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error> {
        match self.replaced(model, id, column) {
            Some(cell) => Ok(cell.clone()),
            None => self.base.cell(model, id, column),
        }
    }

    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error> {
        match self.replaced(model, id, column) {
            Some(_) => Ok(None),
            None => self.base.translation(model, id, column, lang),
        }
    }

    fn exists(&self, model: &str, id: Id) -> Result<bool, Error> {
        Ok((model == self.model && self.columns.contains_key(&id)) || self.base.exists(model, id)?)
    }

    fn all(&self, model: &str) -> Result<Vec<Id>, Error> {
        let mut all = self.base.all(model)?;
        if model == self.model {
            all.extend(self.columns.keys());
            all.sort_unstable();
            all.dedup();
        }
        Ok(all)
    }

    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
        if model == self.model
            && let Some(ids) = self.linked.get(&(id, link.field.clone()))
        {
            return Ok(ids.clone());
        }
        self.base.linked(model, id, link)
    }
}
