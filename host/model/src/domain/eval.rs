//! Judges a [`Filter`] in memory, over anything that knows records' stored values.

use std::{cmp::Ordering, collections::BTreeSet};

use serde_json::Value as Json;

use super::filter::{
    Cell, Check, Closure, Filter, Link, LinkStorage, Related, Subject, TextForm, float_text, json_compare, json_text,
};
use super::literal::float_repr;
use crate::{error::Error, time, value::Id};

/// Stored values of records. Nothing is hidden: rights, archived records and languages are the filter's business.
pub trait Records {
    /// A stored value; `Null` where the record does not exist.
    ///
    /// # Errors
    /// The backend's.
    fn cell(&self, model: &str, id: Id, column: &str) -> Result<Cell, Error>;

    /// The translation of a text, where there is one.
    ///
    /// # Errors
    /// The backend's.
    fn translation(&self, model: &str, id: Id, column: &str, lang: &str) -> Result<Option<String>, Error>;

    /// Whether the record exists.
    ///
    /// # Errors
    /// The backend's.
    fn exists(&self, model: &str, id: Id) -> Result<bool, Error>;

    /// All records of a model.
    ///
    /// # Errors
    /// The backend's.
    fn all(&self, model: &str) -> Result<Vec<Id>, Error>;

    /// The records in a record's one2many or many2many, all of them.
    ///
    /// # Errors
    /// The backend's.
    fn linked(&self, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error>;
}

/// Whether a record of `model` matches.
///
/// # Errors
/// The backend's, or a malformed `like` pattern.
pub fn matches(records: &dyn Records, model: &str, id: Id, filter: &Filter) -> Result<bool, Error> {
    match filter {
        Filter::Always => Ok(true),
        Filter::Never => Ok(false),
        Filter::And(parts) => {
            for part in parts {
                if !matches(records, model, id, part)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Filter::Or(parts) => {
            for part in parts {
                if matches(records, model, id, part)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Filter::Not(inner) => Ok(!matches(records, model, id, inner)?),
        Filter::Test(subject, check) => test(records, model, id, subject, check),
        Filter::Related(related) => is_related(records, model, id, related),
        Filter::Within(closure) => is_within(records, id, closure),
        Filter::Exists(other, filter) => any_matches(records, other, filter),
        Filter::Refused(other, filter, message) => match any_matches(records, other, filter)? {
            true => Err(Error::invalid("bad-domain", message.as_str())),
            false => Ok(false),
        },
    }
}

/// Fails where the data make the domain senseless, whether or not a record's answer depends on it.
fn refuse(records: &dyn Records, filter: &Filter) -> Result<(), Error> {
    match filter {
        Filter::Always | Filter::Never | Filter::Test(..) => Ok(()),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().try_for_each(|part| refuse(records, part)),
        Filter::Not(inner) | Filter::Exists(_, inner) => refuse(records, inner),
        Filter::Related(related) => refuse(records, &related.filter),
        Filter::Within(closure) => {
            refuse(records, &closure.seeds)?;
            refuse(records, &closure.through)
        }
        Filter::Refused(model, filter, message) => {
            refuse(records, filter)?;
            if any_matches(records, model, filter)? {
                return Err(Error::invalid("bad-domain", message.as_str()));
            }
            Ok(())
        }
    }
}

fn any_matches(records: &dyn Records, model: &str, filter: &Filter) -> Result<bool, Error> {
    for candidate in records.all(model)? {
        if matches(records, model, candidate, filter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The records of `model` that match, by id.
///
/// # Errors
/// As [`matches`].
pub fn filter(records: &dyn Records, model: &str, filter: &Filter) -> Result<Vec<Id>, Error> {
    refuse(records, filter)?;
    let mut ids = records.all(model)?;
    ids.sort_unstable();
    let mut kept = Vec::new();
    for id in ids {
        if matches(records, model, id, filter)? {
            kept.push(id);
        }
    }
    Ok(kept)
}

fn test(records: &dyn Records, model: &str, id: Id, subject: &Subject, check: &Check) -> Result<bool, Error> {
    let cell = value_of(records, model, id, subject)?;
    holds(check, &cell, |other| match (subject, &cell, other) {
        (Subject::Json(_), Cell::Text(a), Cell::Text(b)) => compare_json(a, b),
        _ => cell.compare(other),
    })
}

/// Whether a check holds for a value. `compare`: the order of the value and another one.
fn holds(check: &Check, cell: &Cell, compare: impl Fn(&Cell) -> Option<Ordering>) -> Result<bool, Error> {
    if *cell == Cell::Null {
        return Ok(match check {
            Check::In { or_unset, .. }
            | Check::NotIn { or_unset, .. }
            | Check::Compare { or_unset, .. }
            | Check::Like { or_unset, .. } => *or_unset,
        });
    }
    let found = |values: &[Cell]| values.iter().any(|value| compare(value) == Some(Ordering::Equal));
    Ok(match check {
        Check::In { values, .. } => found(values),
        Check::NotIn { values, .. } => !found(values),
        Check::Compare { order, value, .. } => compare(value).is_some_and(|found| order.holds(found)),
        Check::Like { pattern, negated, .. } => match cell {
            Cell::Text(text) => pattern.matches(text)? != *negated,
            _ => false,
        },
    })
}

/// Whether a record matches, if its own columns say so as they are stored; none: more is to be looked at.
///
/// # Errors
/// What `cell` says, or a malformed `like` pattern.
pub fn matches_alone(filter: &Filter, cell: &dyn Fn(&str) -> Result<Cell, Error>) -> Result<Option<bool>, Error> {
    let each = |parts: &[Filter], decides: bool| {
        let mut all = Some(!decides);
        for part in parts {
            match matches_alone(part, cell)? {
                Some(matches) if matches == decides => return Ok(Some(decides)),
                Some(_) => {}
                None => all = None,
            }
        }
        Ok(all)
    };
    match filter {
        Filter::Always => Ok(Some(true)),
        Filter::Never => Ok(Some(false)),
        Filter::And(parts) => each(parts, false),
        Filter::Or(parts) => each(parts, true),
        Filter::Not(inner) => Ok(matches_alone(inner, cell)?.map(|matches| !matches)),
        Filter::Test(Subject::Column(column), check) => {
            let cell = cell(column)?;
            holds(check, &cell, |other| cell.compare(other)).map(Some)
        }
        _ => Ok(None),
    }
}

/// Order of two JSON texts; none where one is malformed.
#[must_use]
pub fn compare_json(a: &str, b: &str) -> Option<Ordering> {
    let parse = |text: &str| serde_json::from_str::<Json>(text).ok();
    Some(json_compare(&parse(a)?, &parse(b)?))
}

fn value_of(records: &dyn Records, model: &str, id: Id, subject: &Subject) -> Result<Cell, Error> {
    match subject {
        Subject::Column(column) if column == "id" => Ok(Cell::Integer(i64::from(id))),
        Subject::Column(column) | Subject::Json(column) => records.cell(model, id, column),
        Subject::Translated { column, lang } => match records.translation(model, id, column, lang)? {
            Some(text) => Ok(Cell::Text(text)),
            None => records.cell(model, id, column),
        },
        Subject::Part { column, part, tz } => {
            let zone = tz.as_deref().map(time::time_zone).transpose()?;
            Ok(match records.cell(model, id, column)? {
                Cell::Text(text) => part.of_text(&text, zone.as_ref()).map_or(Cell::Null, Cell::Real),
                _ => Cell::Null,
            })
        }
        Subject::Text(inner, form) => {
            let cell = value_of(records, model, id, inner)?;
            let decimals = match form {
                TextForm::Money { currency, model: currencies } => match records.cell(model, id, currency)? {
                    Cell::Integer(currency) => match u32::try_from(currency) {
                        Ok(currency) => decimals_of(&records.cell(currencies, currency, "decimal_places")?),
                        Err(_) => None,
                    },
                    _ => None,
                },
                _ => None,
            };
            Ok(as_text(&cell, form, decimals))
        }
    }
}

/// How many decimals a currency has.
#[must_use]
pub fn decimals_of(decimal_places: &Cell) -> Option<u8> {
    match decimal_places {
        Cell::Integer(places) => u8::try_from(*places).ok(),
        _ => None,
    }
}

/// A value as a text. `decimals` are those of the record's currency, where the form wants them.
#[must_use]
pub fn as_text(cell: &Cell, form: &TextForm, decimals: Option<u8>) -> Cell {
    let number = match cell {
        Cell::Null => return Cell::Null,
        Cell::Text(text) => {
            return Cell::Text(match form {
                TextForm::Json => serde_json::from_str(text).map_or_else(|_| text.clone(), |json| json_text(&json)),
                _ => text.clone(),
            });
        }
        Cell::Integer(number) => {
            if matches!(form, TextForm::Boolean) {
                return Cell::text(if *number == 0 { "false" } else { "true" });
            }
            if matches!(form, TextForm::Plain) {
                return Cell::Text(number.to_string());
            }
            #[allow(clippy::cast_precision_loss, reason = "a float column that happens to hold a whole number")]
            let number = *number as f64;
            number
        }
        Cell::Real(number) => *number,
    };
    Cell::Text(match form {
        TextForm::Fixed(digits) => format!("{number:.*}", usize::from(*digits)),
        TextForm::Amount => float_repr(number),
        TextForm::Money { .. } => match decimals {
            Some(digits) => format!("{number:.*}", usize::from(digits)),
            None => float_repr(number),
        },
        _ => float_text(number),
    })
}

fn is_related(records: &dyn Records, model: &str, id: Id, related: &Related) -> Result<bool, Error> {
    let mut found = false;
    for other in related_ids(records, model, id, &related.link)? {
        // That a set many2one leads somewhere is taken for granted, as SQL does, unless more is asked.
        let known = matches!(related.filter, Filter::Always);
        if known
            || (records.exists(&related.link.model, other)?
                && matches(records, &related.link.model, other, &related.filter)?)
        {
            found = true;
            break;
        }
    }
    Ok(found != related.negated)
}

fn related_ids(records: &dyn Records, model: &str, id: Id, link: &Link) -> Result<Vec<Id>, Error> {
    match link.storage {
        LinkStorage::Many2one => Ok(match records.cell(model, id, &link.field)? {
            Cell::Integer(other) => u32::try_from(other).into_iter().collect(),
            _ => Vec::new(),
        }),
        LinkStorage::One2many(_) | LinkStorage::Many2many(..) => records.linked(model, id, link),
    }
}

/// Whether steps backwards from the record lead to a seed.
fn is_within(records: &dyn Records, id: Id, closure: &Closure) -> Result<bool, Error> {
    let model = &closure.model;
    let mut seen = BTreeSet::from([id]);
    let mut queue = vec![id];
    while let Some(current) = queue.pop() {
        if matches(records, model, current, &closure.seeds)? {
            return Ok(true);
        }
        let previous = if closure.forward {
            // A step leads from a record to those in its field: those that have `current` there come before it.
            if !matches(records, model, current, &closure.through)? {
                continue;
            }
            let mut holders = Vec::new();
            for candidate in records.all(model)? {
                if related_ids(records, model, candidate, &closure.link)?.contains(&current) {
                    holders.push(candidate);
                }
            }
            holders
        } else {
            let mut held = Vec::new();
            for other in related_ids(records, model, current, &closure.link)? {
                if matches(records, model, other, &closure.through)? {
                    held.push(other);
                }
            }
            held
        };
        for other in previous {
            if records.exists(model, other)? && seen.insert(other) {
                queue.push(other);
            }
        }
    }
    Ok(false)
}
