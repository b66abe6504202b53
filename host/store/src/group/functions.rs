//! SQL functions of groupings; each connection must have them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use jiff::tz::TimeZone;
use rusqlite::{
    Connection, Error, Result,
    functions::{Aggregate, Context, FunctionFlags},
    types::ValueRef,
};
use serde_json::Value as Json;
use triggerbox_model::time;

use super::bucket::Granularity;
use crate::query::functions::{REFUSED, TOO_BIG};

/// Registers them on a connection.
///
/// # Errors
/// What the database says.
pub fn register(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    // `tb_bucket('week', value, zone or NULL, first day of the week)`: the bucket's start, in the zone.
    conn.create_scalar_function("tb_bucket", 4, flags, bucket)?;
    // `tb_array(value)`: all values as a JSON list, unset ones too; numbers keep every digit.
    conn.create_aggregate_function("tb_array", 1, flags, Array(Arc::default()))?;
    // `tb_float_sum(value)`, `tb_float_avg(value)`: as PostgreSQL does with double precision.
    conn.create_aggregate_function("tb_float_sum", 1, flags, Floats { average: false })?;
    conn.create_aggregate_function("tb_float_avg", 1, flags, Floats { average: true })
}

/// Adds one double after the other, with the rounding that this has: SQLite's own sum makes up for it, and so comes to
/// other sums than Odoo shows where large numbers cancel out.
struct Floats {
    average: bool,
}

impl Aggregate<(f64, u32), Option<f64>> for Floats {
    fn init(&self, _: &mut Context<'_>) -> Result<(f64, u32)> {
        Ok((0.0, 0))
    }

    fn step(&self, context: &mut Context<'_>, (sum, count): &mut (f64, u32)) -> Result<()> {
        if let Some(number) = context.get::<Option<f64>>(0)? {
            *sum += number;
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, total: Option<(f64, u32)>) -> Result<Option<f64>> {
        Ok(total.filter(|(_, count)| *count > 0).map(
            |(sum, count)| {
                if self.average { sum / f64::from(count) } else { sum }
            },
        ))
    }
}

fn refused(message: impl std::fmt::Display) -> Error {
    Error::UserFunctionError(format!("{REFUSED}{message}").into())
}

fn bucket(context: &Context<'_>) -> Result<Option<String>> {
    let name = context.get_raw(0).as_str().map_err(refused)?;
    let granularity = Granularity::from_text(name).ok_or_else(|| refused(format!("there are no {name} buckets")))?;
    let zone = context.get_or_create_aux(2, |value| -> std::result::Result<Option<TimeZone>, Error> {
        match value {
            ValueRef::Text(name) => time::time_zone(&String::from_utf8_lossy(name)).map(Some).map_err(refused),
            _ => Ok(None),
        }
    })?;
    let ValueRef::Text(stored) = context.get_raw(1) else { return Ok(None) };
    let stored = std::str::from_utf8(stored).map_err(refused)?;
    let week_start: i8 = context.get(3)?;
    if stored.len() == 10 {
        let date = time::parse_date(stored).map_err(refused)?;
        let start = granularity.start(date.at(0, 0, 0, 0), week_start).map_err(refused)?;
        return Ok(Some(time::date_text(start.date())));
    }
    let utc = time::parse_datetime(stored).map_err(refused)?;
    let local = match zone.as_ref() {
        None => utc,
        Some(zone) => {
            let instant = TimeZone::UTC.to_timestamp(utc).map_err(refused)?;
            zone.to_datetime(instant)
        }
    };
    Ok(Some(time::datetime_text(granularity.start(local, week_start).map_err(refused)?)))
}

/// Bytes of the lists that one connection makes at once, which are those of one group.
const MOST_LISTED: usize = 16 << 20;

/// Makes lists. How many bytes of them are being made on this connection, its calls have in common.
struct Array(Arc<AtomicUsize>);

/// A list in the making: its text without the bracket at its end.
struct List {
    text: String,
    /// What all lists of the connection take.
    all: Arc<AtomicUsize>,
}

impl Drop for List {
    fn drop(&mut self) {
        self.all.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

impl Aggregate<List, Option<String>> for Array {
    fn init(&self, _: &mut Context<'_>) -> Result<List> {
        Ok(List { text: String::new(), all: Arc::clone(&self.0) })
    }

    fn step(&self, context: &mut Context<'_>, list: &mut List) -> Result<()> {
        let value = match context.get_raw(0) {
            ValueRef::Null | ValueRef::Blob(_) => Json::Null,
            ValueRef::Integer(number) => Json::from(number),
            ValueRef::Real(number) => Json::from(number),
            ValueRef::Text(text) => Json::from(String::from_utf8_lossy(text)),
        };
        let value = value.to_string();
        let all = list.all.fetch_add(value.len() + 1, Ordering::Relaxed);
        list.text.push(if list.text.is_empty() { '[' } else { ',' });
        list.text.push_str(&value);
        if all > MOST_LISTED {
            let most = MOST_LISTED >> 20;
            let why = format!("{TOO_BIG}the lists of one group take more than {most} MiB; group by more, or count");
            return Err(Error::UserFunctionError(why.into()));
        }
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, list: Option<List>) -> Result<Option<String>> {
        Ok(list.filter(|list| !list.text.is_empty()).map(|mut list| {
            // What was counted is given back, and the bracket is not.
            list.all.fetch_sub(list.text.len(), Ordering::Relaxed);
            std::mem::take(&mut list.text) + "]"
        }))
    }
}
