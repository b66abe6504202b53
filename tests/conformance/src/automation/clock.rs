//! What comes due between two looks at the clock: here, and on the server, which looks for dates that lie as far back as its
//! rule says, counted from its own time.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, civil::DateTime, tz::TimeZone};
use rusqlite::Connection;
use triggerbox_automation::{
    EngineError,
    index::Index,
    matcher,
    rule::{Rule, trigger::Unit},
    timed::{self, Watch},
};
use triggerbox_model::{error::Error, schema::FieldKind, time, value::Id};
use triggerbox_store::{
    ddl::{quote, table},
    env::Env,
};

use super::{Cause, database};

/// Rules with the records that come due for them.
type Due = Vec<(Rule, Id)>;

/// What comes due here after one time and up to another.
pub(super) fn due(
    conn: &Connection,
    env: &Env,
    index: &Index,
    after: Timestamp,
    until: Timestamp,
) -> Result<Due, Error> {
    let mut found = Vec::new();
    for armed in index.timed() {
        let Some(model) = &armed.rule.model else { continue };
        for (id, _) in timed::due(conn, env, &armed.rule, after, until).map_err(EngineError::into_error)? {
            if matcher::record_holds(conn, env, armed, model, id)? {
                found.push((armed.rule.clone(), id));
            }
        }
    }
    Ok(in_order(found))
}

/// What the server fires at a time, when it looked last at another, or never.
pub(super) fn due_there(
    conn: &Connection,
    env: &Env,
    index: &Index,
    looked: Option<Timestamp>,
    until: Timestamp,
) -> Result<Due, Error> {
    let mut found = Vec::new();
    for armed in index.timed() {
        let (Some(model), Some(watch)) = (&armed.rule.model, Watch::of(&armed.rule)) else { continue };
        let described = env.schema.model(model)?;
        let is_date = described.fields.get(watch.field).is_some_and(|field| field.kind == FieldKind::Date);
        let (from, to) = (looked.map(|time| back(&watch, time)).transpose()?, back(&watch, until)?);
        let hidden = timed::hides_archived(&armed.rule, described)?;
        let shown = hidden.map(|active| format!(" AND {}", quote(active))).unwrap_or_default();
        let column = quote(watch.field);
        let sql = format!("SELECT id, {column} FROM {} WHERE {column} IS NOT NULL{shown}", quote(&table(model)));
        let mut statement = conn.prepare(&sql).map_err(database)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(database)?;
        let rows: Vec<(Id, String)> = rows.collect::<Result<_, _>>().map_err(database)?;
        for (id, value) in rows {
            let value = if is_date { format!("{value} 00:00:00") } else { value };
            let value = time::parse_datetime(&value)?;
            let is_due = match is_date {
                true => from.is_none_or(|from| value.date() > from.date()) && value.date() <= to.date(),
                false => from.is_none_or(|from| value >= from) && value < to,
            };
            if is_due && matcher::record_holds(conn, env, armed, model, id)? {
                found.push((armed.rule.clone(), id));
            }
        }
    }
    Ok(in_order(found))
}

/// Why what comes due differs.
pub(super) fn causes(index: &Index) -> BTreeSet<Cause> {
    let by_month = index.timed().any(|armed| Watch::of(&armed.rule).is_some_and(|watch| watch.unit == Unit::Months));
    BTreeSet::from([if by_month { Cause::Months } else { Cause::Second }])
}

/// The value that is due at a time, as the server counts.
fn back(watch: &Watch<'_>, at: Timestamp) -> Result<DateTime, Error> {
    let span = match watch.unit {
        Unit::Minutes => Span::new().try_minutes(watch.delay),
        Unit::Hours => Span::new().try_hours(watch.delay),
        Unit::Days => Span::new().try_days(watch.delay),
        Unit::Weeks => Span::new().try_weeks(watch.delay),
        Unit::Months => Span::new().try_months(watch.delay),
    };
    let back = span.and_then(|span| at.to_zoned(TimeZone::UTC).datetime().checked_sub(span));
    back.map_err(|error| Error::invalid("bad-date", error.to_string()))
}

pub(super) fn moment(text: &str) -> Result<Timestamp, Error> {
    let zoned = time::parse_datetime(text)?.to_zoned(TimeZone::UTC);
    Ok(zoned.map_err(|error| Error::invalid("bad-date", error.to_string()))?.timestamp())
}

fn in_order(mut due: Due) -> Due {
    due.sort_by(|(one, a), (other, b)| (&one.name, a).cmp(&(&other.name, b)));
    due
}
