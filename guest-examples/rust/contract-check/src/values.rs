//! Every kind of value, to a record and back.

use triggerbox::{FieldDefault, FieldDetails, Link, OnDelete, RecordRef, prelude::*};

use crate::{Report, show};

/// What there is to say of fields besides their type.
pub fn details(report: &mut Report) {
    let fields = model("x_contract").describe_fields(&["x_amount", "x_owner_id", "x_login"]);
    let told = report.note("records.describe-fields", fields).unwrap_or_default();
    show("records.describe-fields", &told.iter().map(in_words).collect::<Vec<_>>());
}

fn in_words(field: &FieldDetails) -> String {
    let mut words = format!("{} {}", field.info.name, field.info.kind);
    if let Some((precision, scale)) = field.digits {
        words += &format!(" {precision}/{scale}");
    }
    match &field.default {
        Some(FieldDefault::Literal(json)) => words += &format!(" literal {json}"),
        Some(FieldDefault::Function(name)) => words += &format!(" function {name}"),
        None => {}
    }
    if let Some(rule) = field.on_delete {
        words += match rule {
            OnDelete::SetNull => " set-null",
            OnDelete::Restrict => " restrict",
            OnDelete::Cascade => " cascade",
        };
    }
    if field.copied == Some(true) {
        words += " copied";
    }
    if let Some(path) = &field.related {
        words += &format!(" shows {path}");
    }
    words + &format!(" {} groups", field.groups.as_ref().map_or(0, Vec::len))
}

/// Creates a record of `x_contract` with a value of every kind, empties another, and reads both.
pub fn round_trip(event: &Event, report: &mut Report) {
    // Each kind with what it is when it is empty: numbers, booleans and lists have no other emptiness.
    let kinds = [
        ("x_boolean", Value::Boolean(true), Value::Boolean(false)),
        ("x_integer", Value::Integer(i32::MIN), Value::Integer(0)),
        ("x_float", Value::Number(0.1 + 0.2), Value::Number(0.0)),
        ("x_text", Value::Text("naïve ☃ \u{1f980}\n\"'\\<b>".into()), Value::Unset),
        ("x_date", Value::Date("2026-02-28".into()), Value::Unset),
        ("x_datetime", Value::Datetime("2026-02-28T23:59:59Z".into()), Value::Unset),
        ("x_partner_id", Value::Many2one(Link::new(1)), Value::Unset),
        ("x_tag_ids", Value::Ids(vec![1, 2]), Value::Ids(vec![])),
        ("x_reference", Value::Reference(RecordRef::new("res.partner", 1)), Value::Unset),
        ("x_binary", Value::Binary(vec![0, 255, 10, 0]), Value::Unset),
        ("x_json", Value::Json(r#"{"a":[1,2.5,null,"b"]}"#.into()), Value::Unset),
    ];
    let names: Vec<_> = kinds.iter().map(|(name, ..)| *name).collect();
    let mut full = values! { "x_name" => format!("full, by {}", event.rule) };
    let mut empty = values! { "x_name" => "empty" };
    for (name, value, _) in &kinds {
        full.set(*name, value.clone());
        empty.set(*name, Value::Unset);
    }
    let Some(created) = report.note("values.create", model("x_contract").create_many(vec![full, empty])) else {
        return;
    };
    for (record, which) in created.iter().zip(["full", "empty"]) {
        let Some(row) = report.note(&format!("values.read.{which}"), record.read(&names)) else { continue };
        for (name, value, nothing) in &kinds {
            let wanted = if which == "full" { value } else { nothing };
            let read = row.value(name);
            let same = if read.as_ref().is_ok_and(|read| same(read, wanted)) { "same" } else { "differs" };
            report.note(&format!("values.{name}.{which}"), read.map(|read| format!("{} {same}", read.kind_name())));
        }
    }
    // Each kind again as the right-hand side of a condition.
    for (name, value, _) in kinds {
        let found = model("x_contract").count(domain![(name, "=", value)]);
        report.note(&format!("values.domain.{name}"), found);
    }
}

/// Names of links come only from the host.
fn same(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Many2one(read), Value::Many2one(written)) => read.id == written.id,
        (read, written) => read == written,
    }
}
