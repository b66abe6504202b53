//! How Python turns values of domains into others: `str()`, `int()`, `float()`, equality.

use std::collections::HashSet;

use super::Literal;
use crate::time::python_int;

/// `str(value)`
pub(crate) fn to_str(value: &Literal) -> String {
    match value {
        Literal::Text(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `int(value or 0)`
pub(crate) fn to_int(value: &Literal) -> Option<i64> {
    if !value.is_truthy() {
        return Some(0);
    }
    match value {
        Literal::Bool(_) => Some(1),
        Literal::Integer(number) => Some(*number),
        // Beyond 64 bits the nearest integer compares with all stored ones as the exact one would.
        #[allow(clippy::cast_possible_truncation, reason = "the cast saturates")]
        Literal::Float(number) if number.is_finite() => Some(number.trunc() as i64),
        Literal::Text(text) => python_int(text),
        _ => None,
    }
}

/// `float(value or 0.0)`
pub(crate) fn to_float(value: &Literal) -> Option<f64> {
    if !value.is_truthy() {
        return Some(0.0);
    }
    match value {
        Literal::Bool(_) => Some(1.0),
        #[allow(clippy::cast_precision_loss, reason = "as Python does")]
        Literal::Integer(number) => Some(*number as f64),
        Literal::Float(number) => Some(*number),
        Literal::Text(text) => text_to_float(text),
        _ => None,
    }
}

/// `float(text)`
pub(crate) fn text_to_float(text: &str) -> Option<f64> {
    let trimmed = text.trim();
    if trimmed.starts_with('_') || trimmed.ends_with('_') || trimmed.contains("__") {
        return None;
    }
    trimmed.replace('_', "").parse().ok()
}

/// What a text means as a boolean; anything unknown is false.
pub(crate) fn text_to_bool(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "y" | "yes" | "1" | "true" | "t" | "on")
}

/// Odoo's rounding to decimal digits: half away from zero, forgiving the last bit of binary noise.
pub(crate) fn round_to(value: f64, digits: u8) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let factor = 10f64.powi(i32::from(digits));
    let scaled = value * factor;
    let epsilon = 2f64.powf(scaled.abs().log2() - 52.0);
    let rounded = (scaled.abs() + epsilon + 0.5).floor() / factor;
    // Through the text of it, so that it is the double nearest to the decimal number.
    let text = format!("{:.*}", usize::from(digits), rounded.copysign(value));
    text.parse().unwrap_or(value)
}

/// Values that Python's sets hold apart. `1`, `1.0` and `True` are one value, and the first stays.
pub(crate) fn unique(values: &[Literal]) -> Vec<Literal> {
    let mut seen = HashSet::new();
    values.iter().filter(|value| seen.insert(key(value))).cloned().collect()
}

/// Values that are in all of the sets, in the order of the first.
pub(crate) fn intersection(sets: Vec<Vec<Literal>>) -> Vec<Literal> {
    let mut sets = sets.into_iter();
    let mut common = sets.next().unwrap_or_default();
    for other in sets {
        let other: HashSet<Key> = other.iter().map(key).collect();
        common.retain(|value| other.contains(&key(value)));
    }
    common
}

/// Values that are not among the removed ones.
pub(crate) fn difference(mut values: Vec<Literal>, removed: &[Literal]) -> Vec<Literal> {
    let removed: HashSet<Key> = removed.iter().map(key).collect();
    values.retain(|value| !removed.contains(&key(value)));
    values
}

#[derive(PartialEq, Eq, Hash)]
enum Key {
    None,
    Integer(i64),
    Float(u64),
    Text(String),
}

fn key(value: &Literal) -> Key {
    match value {
        Literal::None => Key::None,
        Literal::Bool(flag) => Key::Integer(i64::from(*flag)),
        Literal::Integer(number) => Key::Integer(*number),
        #[allow(clippy::cast_possible_truncation, reason = "checked: whole and in range")]
        Literal::Float(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => Key::Integer(*number as i64),
        Literal::Float(number) => Key::Float(number.to_bits()),
        Literal::Text(text) => Key::Text(text.clone()),
        Literal::List(_) | Literal::Dict(_) => Key::Text(value.to_string()),
    }
}
