//! SQL functions and collations that domains need; each connection must have them.
//!
//! They call the very functions that the in-memory evaluation calls.

use jiff::tz::TimeZone;
use rusqlite::{
    Connection, Error, Result,
    functions::{Context, FunctionFlags},
    types::ValueRef,
};
use triggerbox_model::{
    domain::{
        eval::{as_text, compare_json},
        filter::{Cell, TextForm},
        pattern::Pattern,
    },
    time::{self, DatePart},
};

/// Starts the message of an error that is the question's fault, not the database's.
pub const REFUSED: &str = "refused: ";

/// Starts the message of an error about what would be larger than an answer may be.
pub const TOO_BIG: &str = "too big: ";

/// Registers everything on a connection.
///
/// # Errors
/// What the database says.
pub fn register(conn: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_INNOCUOUS;
    // Letter case counts, or not: `tb_like(pattern, text)`.
    conn.create_scalar_function("tb_like", 2, flags, |context| like(context, false))?;
    conn.create_scalar_function("tb_ilike", 2, flags, |context| like(context, true))?;
    // `tb_part('month_number', value, zone or NULL)`
    conn.create_scalar_function("tb_part", 3, flags, part)?;
    conn.create_scalar_function("tb_float_text", 1, flags, |context| text(context, &TextForm::Float, None))?;
    conn.create_scalar_function("tb_fixed_text", 2, flags, |context| {
        let digits = context.get::<u8>(1)?;
        text(context, &TextForm::Fixed(digits), None)
    })?;
    // `tb_money_text(value, decimals or NULL)`
    conn.create_scalar_function("tb_money_text", 2, flags, |context| {
        let form = TextForm::Money { currency: String::new(), model: String::new() };
        let decimals = context.get::<Option<u8>>(1)?;
        text(context, &form, decimals)
    })?;
    conn.create_scalar_function("tb_json_text", 1, flags, |context| text(context, &TextForm::Json, None))?;
    conn.create_scalar_function("tb_json_compare", 2, flags, |context| {
        let (ValueRef::Text(a), ValueRef::Text(b)) = (context.get_raw(0), context.get_raw(1)) else {
            return Ok(None);
        };
        Ok(compare_json(&String::from_utf8_lossy(a), &String::from_utf8_lossy(b)).map(|order| order as i64))
    })?;
    conn.create_collation("tb_json", |a, b| compare_json(a, b).unwrap_or_else(|| a.cmp(b)))
}

fn refused(message: impl std::fmt::Display) -> Error {
    Error::UserFunctionError(format!("{REFUSED}{message}").into())
}

fn like(context: &Context<'_>, ignore_case: bool) -> Result<Option<bool>> {
    let pattern = context.get_or_create_aux(0, |value| -> std::result::Result<_, Error> {
        let text = value.as_str().map_err(|_| refused("a pattern is no text"))?;
        Ok(Pattern::compile(text.to_owned(), ignore_case))
    })?;
    match context.get_raw(1) {
        ValueRef::Text(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(refused)?;
            pattern.matches(text).map(Some).map_err(refused)
        }
        _ => Ok(None),
    }
}

fn part(context: &Context<'_>) -> Result<Option<f64>> {
    let name = context.get_raw(0).as_str().map_err(refused)?;
    let part = DatePart::from_text(name).ok_or_else(|| refused(format!("there is no date part `{name}`")))?;
    let zone = context.get_or_create_aux(2, |value| -> std::result::Result<Option<TimeZone>, Error> {
        match value {
            ValueRef::Text(name) => time::time_zone(&String::from_utf8_lossy(name)).map(Some).map_err(refused),
            _ => Ok(None),
        }
    })?;
    match context.get_raw(1) {
        ValueRef::Text(bytes) => Ok(part.of_text(std::str::from_utf8(bytes).map_err(refused)?, zone.as_ref().as_ref())),
        _ => Ok(None),
    }
}

fn text(context: &Context<'_>, form: &TextForm, decimals: Option<u8>) -> Result<Option<String>> {
    let cell = match context.get_raw(0) {
        ValueRef::Null | ValueRef::Blob(_) => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
    };
    Ok(match as_text(&cell, form, decimals) {
        Cell::Text(text) => Some(text),
        _ => None,
    })
}
