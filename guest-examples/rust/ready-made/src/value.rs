//! From a text to a field's value.

use triggerbox::{FieldInfo, calendar, prelude::*, resolve_xmlid};
use triggerbox_placeholders::Text;

use crate::Source;

/// What a text sets a field to.
pub enum Set {
    /// A value.
    Value(Value),
    /// Additions to and removals from a many2many field.
    Commands(Vec<Command>),
}

/// What a field becomes when a text is assigned to it.
pub fn set(source: &Source<'_>, info: &FieldInfo, text: &Text) -> Result<Set> {
    // One placeholder alone takes the value over, not its words.
    if let Some(path) = text.only_path() {
        let (value, from) = source.value(path)?;
        if from.kind == info.kind && from.relation == info.relation {
            return Ok(Set::Value(value));
        }
        if let ("integer", "many2one", Value::Integer(id)) = (from.kind.as_str(), info.kind.as_str(), &value) {
            return Ok(Set::Value(u32::try_from(*id).map_or(Value::Unset, Value::from)));
        }
    }
    let filled = source.fill(text)?;
    let trimmed = filled.trim();
    let wants = |what: &str| Failure::Failed(format!("`{}` wants {what}, not `{trimmed}`", info.name));
    if trimmed.is_empty() {
        return Ok(Set::Value(Value::Unset));
    }
    let value = match info.kind.as_str() {
        "char" | "text" => Value::Text(filled),
        // What people typed and what records hold is text; markup in it stays visible.
        "html" => Value::Text(triggerbox::chatter::escape(&filled)),
        "integer" => Value::Integer(trimmed.parse().map_err(|_| wants("a whole number"))?),
        "float" | "monetary" => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Number(number),
            _ => return Err(wants("a number")),
        },
        "boolean" => match trimmed {
            "true" | "yes" | "1" => Value::Boolean(true),
            "false" | "no" | "0" => Value::Boolean(false),
            _ => return Err(wants("`true` or `false`")),
        },
        "selection" => {
            let option = info.selection.iter().find(|(key, label)| key == trimmed || label == trimmed);
            let Some((key, _)) = option else {
                let keys: Vec<_> = info.selection.iter().map(|(key, _)| key.as_str()).collect();
                return Err(wants(&format!("one of {}", keys.join(", "))));
            };
            Value::Text(key.clone())
        }
        "date" => day(source.event(), trimmed)?.into(),
        "datetime" => moment(source.event(), trimmed)?.into(),
        "many2one" => one(source, info.relation.as_deref().unwrap_or_default(), trimmed)?.into(),
        "many2many" => return many(source, info, trimmed),
        other => fail!("`{}` is a {other} field, which this script does not set", info.name),
    };
    Ok(Set::Value(value))
}

impl Set {
    /// What a text sets a field to.
    pub fn of(source: &Source<'_>, info: &FieldInfo, text: &Text) -> Result<Self> {
        set(source, info, text)
    }
}

/// A record by its id, its external id, or `me` for the run's user.
pub fn one(source: &Source<'_>, relation: &str, text: &str) -> Result<u32> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    if text == "me" && relation == "res.users" {
        return Ok(source.event().run_as.id);
    }
    if text.contains('.') {
        let record = resolve_xmlid(text)?;
        if record.model == relation {
            return Ok(record.id);
        }
        fail!("`{text}` is a record of {}, not of {relation}", record.model);
    }
    fail!("`{text}` names no record of {relation}; write an id or an external id such as `base.main_partner`")
}

/// Records by ids or external ids, with commas or spaces between.
pub fn ids(source: &Source<'_>, relation: &str, text: &str) -> Result<Vec<u32>> {
    words(text).map(|word| one(source, relation, word)).collect()
}

/// `4, 7` are the only ones from now on; `+4 -7` adds one and takes one away.
fn many(source: &Source<'_>, info: &FieldInfo, text: &str) -> Result<Set> {
    let relation = info.relation.as_deref().unwrap_or_default();
    if !text.starts_with(['+', '-']) {
        return Ok(Set::Value(ids(source, relation, text)?.into()));
    }
    let commands = words(text).map(|word| match (word.strip_prefix('+'), word.strip_prefix('-')) {
        (Some(added), _) => one(source, relation, added).map(Command::Link),
        (_, Some(removed)) => one(source, relation, removed).map(Command::Unlink),
        _ => fail!("`{}`: begin each record with + or -, or none of them", info.name),
    });
    Ok(Set::Commands(commands.collect::<Result<_>>()?))
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ' ']).filter(|word| !word.is_empty())
}

/// `2026-11-21`, `today`, `today + 3 days`, `today - 1 week`.
pub fn day(event: &Event, text: &str) -> Result<Date> {
    if let Some(shift) = text.strip_prefix("today") {
        return Ok(event.today()? + shift_of(shift)?);
    }
    match <Date as triggerbox::FromValue>::from_value(&Value::Date(text.to_owned())) {
        Some(date) => Ok(date),
        None => fail!("`{text}` is no day; write 2026-11-21, `today` or `today + 3 days`"),
    }
}

/// `2026-11-21T10:15:00Z`, `now`, `now + 3 hours`; a day is its midnight where the run's user is.
fn moment(event: &Event, text: &str) -> Result<UtcDateTime> {
    if let Some(shift) = text.strip_prefix("now") {
        return Ok(event.time()? + shift_of(shift)?);
    }
    if let Some(time) = <UtcDateTime as triggerbox::FromValue>::from_value(&Value::Datetime(text.to_owned())) {
        return Ok(time);
    }
    Ok(calendar::to_utc(day(event, text)?.midnight(), &event.run_as.tz)?)
}

/// ` + 3 days`
fn shift_of(text: &str) -> Result<triggerbox::Duration> {
    let text = text.trim();
    let (sign, rest) = match (text.strip_prefix('+'), text.strip_prefix('-')) {
        (Some(rest), _) => (1, rest),
        (_, Some(rest)) => (-1, rest),
        _ if text.is_empty() => return Ok(triggerbox::Duration::ZERO),
        _ => fail!("`{text}` is no time span; write `+ 3 days`"),
    };
    let (number, unit) = rest.trim().split_once(' ').unwrap_or((rest.trim(), "days"));
    let Ok(number) = number.parse::<i32>() else { fail!("`{number}` is no whole number") };
    let number = i64::from(sign * number);
    Ok(match unit.trim().trim_end_matches('s') {
        "minute" => number.minutes(),
        "hour" => number.hours(),
        "day" => number.days(),
        "week" => number.weeks(),
        other => fail!("`{other}` is no unit here; there are minutes, hours, days and weeks"),
    })
}
