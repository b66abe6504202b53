//! Time rules: which records come due between two times.

use std::ops::ControlFlow;

use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::{
    domain::Domain,
    error::Error,
    schema::{FieldKind, Model},
    time,
    value::Id,
};
use triggerbox_store::{
    ddl::{quote, table},
    env::Env,
};

use crate::{
    error::EngineError,
    rule::{Rule, Trigger, trigger::Unit},
    schedule::shifted,
};

/// What a time rule looks at: a field, and how long after it.
#[derive(Debug, Clone, Copy)]
pub struct Watch<'r> {
    /// The field.
    pub field: &'r str,
    /// How long after it; before, when negative.
    pub delay: i64,
    /// In what.
    pub unit: Unit,
}

/// Months are not all as long as each other: there and back may be so many days off.
const MARGIN: i64 = 4;

impl<'r> Watch<'r> {
    /// What a rule looks at, if the clock fires it.
    #[must_use]
    pub fn of(rule: &'r Rule) -> Option<Self> {
        let (field, delay, unit) = match &rule.trigger {
            Trigger::Time { field, delay, unit, .. } => (field.as_str(), i64::from(*delay), *unit),
            Trigger::AfterCreation { delay, unit, .. } => ("create_date", i64::from(*delay), *unit),
            Trigger::AfterUpdate { delay, unit, .. } => ("write_date", i64::from(*delay), *unit),
            _ => return None,
        };
        Some(Self { field, delay, unit })
    }

    /// When a value comes due.
    pub(crate) fn due(&self, value: Timestamp) -> Option<Timestamp> {
        shifted(value, self.delay, self.unit)
    }

    /// From when on values may be due that come after one that is due at `due`: at a month's end, those of several days
    /// are due on one.
    pub(crate) fn later_values_from(&self, due: Timestamp) -> Timestamp {
        if self.unit != Unit::Months {
            return due;
        }
        due.to_zoned(jiff::tz::TimeZone::UTC).start_of_day().map_or(due, |day| day.timestamp())
    }

    /// The last value that can be due until `until`, with a margin; none: any may.
    pub(crate) fn value_after(&self, until: Timestamp) -> Option<Timestamp> {
        shifted(until, -self.delay, self.unit).and_then(|value| shifted(value, MARGIN, Unit::Days))
    }

    /// The last value that is due at `due` or before it, with a margin.
    pub(crate) fn value_before(&self, due: Timestamp) -> Timestamp {
        let early = shifted(due, -self.delay, self.unit).and_then(|value| shifted(value, -MARGIN, Unit::Days));
        early.unwrap_or(Timestamp::MIN)
    }
}

/// The field by which a rule that the clock fires does not see archived records: as a search, which sees them where its domain
/// speaks of that field.
///
/// # Errors
/// The rule's domain is wrong.
pub fn hides_archived<'m>(rule: &Rule, model: &'m Model) -> Result<Option<&'m str>, Error> {
    let domain = rule.domain.as_deref().map(Domain::parse).transpose()?.unwrap_or(Domain::Always);
    let active = model.active_name.as_deref().filter(|active| model.has_column(active));
    Ok(active.filter(|active| !domain.mentions(active)))
}

/// Records that come due for a rule after one time and up to another, with when.
///
/// # Errors
/// `not-a-date`; what the database says.
pub fn due(
    conn: &Connection,
    env: &Env,
    rule: &Rule,
    after: Timestamp,
    until: Timestamp,
) -> Result<Vec<(Id, Timestamp)>, EngineError> {
    let mut found = Vec::new();
    each_due(conn, env, rule, (after, until), |id, due| {
        found.push((id, due));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Goes through the records that come due for a rule after one time and up to another, the earliest date first, as long as is
/// wished.
///
/// # Errors
/// As [`due`]; what `each` says.
pub(crate) fn each_due(
    conn: &Connection,
    env: &Env,
    rule: &Rule,
    (after, until): (Timestamp, Timestamp),
    mut each: impl FnMut(Id, Timestamp) -> Result<ControlFlow<()>, EngineError>,
) -> Result<(), EngineError> {
    let (Some(watch), Some(model)) = (Watch::of(rule), &rule.model) else { return Ok(()) };
    let described = env.schema.model(model)?;
    let shown = hides_archived(rule, described)?.map(|active| format!(" AND {}", quote(active))).unwrap_or_default();
    let is_date = match described.fields.get(watch.field) {
        Some(field) if field.kind == FieldKind::Date && field.has_column() => true,
        Some(field) if field.kind == FieldKind::Datetime && field.has_column() => false,
        None if described.log_access && matches!(watch.field, "create_date" | "write_date") => false,
        _ => {
            let text = format!("`{}` of `{model}` is no stored date: a time rule cannot wait for it", watch.field);
            return Err(Error::invalid("not-a-date", text).into());
        }
    };
    let late = watch.value_after(until);
    let text = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let column = quote(watch.field);
    let sql = format!(
        "SELECT id, {column} FROM {} WHERE {column} > ?1 AND {column} <= ?2{shown} ORDER BY {column}, id",
        quote(&table(model))
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let bounds = (text(watch.value_before(after)), text(late.unwrap_or(Timestamp::MAX)));
    let rows = statement.query_map(bounds, |row| Ok((row.get::<_, Id>(0)?, row.get::<_, String>(1)?)))?;
    for row in rows {
        let (id, value) = row?;
        let value = if is_date { format!("{value} 00:00:00") } else { value };
        // What is no time comes never due.
        let Ok(value) = time::parse_datetime(&value).and_then(utc) else { continue };
        if let Some(due) = watch.due(value).filter(|due| *due > after && *due <= until)
            && each(id, due)?.is_break()
        {
            break;
        }
    }
    Ok(())
}

fn utc(stored: jiff::civil::DateTime) -> Result<Timestamp, Error> {
    let zoned = stored.to_zoned(jiff::tz::TimeZone::UTC);
    Ok(zoned.map_err(|error| Error::invalid("bad-date", error.to_string()))?.timestamp())
}
