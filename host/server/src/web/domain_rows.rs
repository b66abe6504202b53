//! A domain as rows of field, operator and value: as far as it is a plain list of conditions that all hold. What rows cannot
//! say stays a text.

use maud::{Markup, html};
use triggerbox_model::{
    domain::{Condition, Domain, Literal, Operand, Operator},
    schema::{FieldKind, Model},
};

use super::{form::Form, parts::option};

/// Operators of rows, and what people call them.
const OPERATORS: [(Operator, &str); 11] = [
    (Operator::Equal, "is"),
    (Operator::NotEqual, "is not"),
    (Operator::Ilike, "contains"),
    (Operator::NotIlike, "does not contain"),
    (Operator::Greater, "is more than"),
    (Operator::GreaterOrEqual, "is at least"),
    (Operator::Less, "is less than"),
    (Operator::LessOrEqual, "is at most"),
    (Operator::In, "is one of"),
    (Operator::NotIn, "is none of"),
    (Operator::ChildOf, "is within"),
];

/// More conditions are a text.
const MOST: usize = 8;

/// One condition, as it is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    field: String,
    operator: String,
    value: String,
}

/// The rows of a domain; none: rows cannot say what it says.
pub(super) fn rows(model: Option<&Model>, text: &str) -> Option<Vec<Row>> {
    let domain = if text.trim().is_empty() { Domain::Always } else { Domain::parse(text).ok()? };
    let parts = match &domain {
        Domain::Always => Vec::new(),
        Domain::And(parts) => parts.iter().map(row).collect::<Option<Vec<_>>>()?,
        one => vec![row(one)?],
    };
    // What would come back as something else is not taken apart.
    (parts.len() <= MOST && made_of(model, &parts) == domain).then_some(parts)
}

fn row(part: &Domain) -> Option<Row> {
    let Domain::Condition(Condition { field, operator, value: Operand::Literal(value) }) = part else { return None };
    OPERATORS.iter().find(|(known, _)| known == operator)?;
    let plain = |literal: &Literal| match literal {
        Literal::Text(text) => Some(text.clone()),
        Literal::Bool(true) => Some("yes".to_owned()),
        Literal::Bool(false) | Literal::None => Some(String::new()),
        Literal::Integer(_) | Literal::Float(_) => Some(literal.to_string()),
        Literal::List(_) | Literal::Dict(_) => None,
    };
    let value = match value {
        Literal::List(items) => items.iter().map(plain).collect::<Option<Vec<_>>>()?.join(", "),
        literal => plain(literal)?,
    };
    Some(Row { field: field.clone(), operator: operator.text().to_owned(), value })
}

/// The domain that rows say.
fn made_of(model: Option<&Model>, rows: &[Row]) -> Domain {
    let conditions = rows.iter().filter(|row| !row.field.is_empty()).map(|row| {
        let operator = Operator::from_text(&row.operator).unwrap_or(Operator::Equal);
        let kind = model.and_then(|model| model.fields.get(&row.field)).map(|field| field.kind);
        let value = match operator {
            Operator::In | Operator::NotIn => {
                let items = row.value.split(',').map(str::trim).filter(|item| !item.is_empty());
                Literal::List(items.map(|item| literal(kind, item)).collect())
            }
            _ => literal(kind, row.value.trim()),
        };
        Domain::condition(row.field.clone(), operator, value)
    });
    Domain::and(conditions)
}

/// What was typed, as a value of a field of that kind.
fn literal(kind: Option<FieldKind>, typed: &str) -> Literal {
    let number = || {
        let whole = typed.parse::<i64>().ok().map(Literal::Integer);
        whole.or_else(|| typed.parse::<f64>().ok().filter(|number| number.is_finite()).map(Literal::Float))
    };
    match kind {
        _ if typed.is_empty() => Literal::Bool(false),
        Some(FieldKind::Boolean) => Literal::Bool(matches!(typed.to_lowercase().as_str(), "yes" | "true" | "1")),
        Some(
            FieldKind::Char
            | FieldKind::Text
            | FieldKind::Html
            | FieldKind::Selection
            | FieldKind::Date
            | FieldKind::Datetime
            | FieldKind::Reference,
        ) => Literal::text(typed),
        // Of paths and relations, numbers are numbers and the rest is what is called so.
        _ => number().unwrap_or_else(|| Literal::text(typed)),
    }
}

/// The domain that a form says: its rows, if they were changed and the text was not; else its text.
pub(super) fn read(model: Option<&Model>, form: &Form) -> Option<String> {
    let text = form.some("domain");
    let was = form.text("d.was");
    if text.as_deref().unwrap_or_default() != was || !form.is_on("d.field") {
        return text;
    }
    let typed = form.all("d.field").iter().zip(form.all("d.operator")).zip(form.all("d.value"));
    let typed = typed.filter(|((field, _), _)| !field.is_empty()).map(|((field, operator), value)| Row {
        field: field.clone(),
        operator: operator.clone(),
        value: value.trim().to_owned(),
    });
    let typed: Vec<Row> = typed.take(MOST + 1).collect();
    match rows(model, was) {
        Some(shown) if shown != typed => {
            Some(made_of(model, &typed)).filter(|domain| *domain != Domain::Always).map(|domain| domain.to_string())
        }
        _ => text,
    }
}

/// The rows, with an empty one for the next condition.
pub(super) fn inputs(model: &Model, text: &str) -> Markup {
    let Some(mut rows) = rows(Some(model), text) else {
        return html! { p.help { "The text below says more than rows can: it is changed there." } };
    };
    rows.push(Row { field: String::new(), operator: "=".to_owned(), value: String::new() });
    html! {
        input type="hidden" name="d.was" value=(text);
        @for (at, row) in rows.iter().enumerate() {
            div.toolbar {
                select name="d.field" aria-label=(format!("Field of condition {}", at + 1)) {
                    option value="" { @if row.field.is_empty() { "Add a condition" } @else { "Take it out" } }
                    // Whatever the list below lacks: a browser takes its first line for what it does not find.
                    @if !row.field.is_empty() && model.fields.get(&row.field).is_none_or(|field| !field.store) { (option(&row.field, &row.field, &row.field)) }
                    @for (name, field) in &model.fields { @if field.store { (option(name, if field.string.is_empty() { name } else { &field.string }, &row.field)) } }
                }
                select name="d.operator" aria-label=(format!("Operator of condition {}", at + 1)) {
                    @for (operator, words) in OPERATORS { (option(operator.text(), words, &row.operator)) }
                }
                input type="text" name="d.value" value=(row.value) size="16" autocapitalize="none" aria-label=(format!("Value of condition {}", at + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Form {
        Form::of(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn each_condition_has_its_own_field_chosen() {
        let now = "2026-11-20T09:30:00Z".parse().unwrap();
        let database = triggerbox_store::db::Database::demo_in_memory(now).unwrap();
        let model = database.schema().model("res.partner").unwrap();
        assert!(model.fields.values().any(|field| !field.store), "some are not among those to choose from");
        for name in model.fields.keys().map(String::as_str).chain(["x_gone"]) {
            let text = format!("[('{name}', '=', 1)]");
            let Some(shown) = rows(Some(model), &text) else { continue };
            assert_eq!(shown.len(), 1);
            let page = inputs(model, &text).into_string();
            assert!(page.contains(&format!("value=\"{name}\" selected")), "{name}: {page}");
        }
    }

    #[test]
    fn plain_conditions_are_rows_and_come_back_as_they_were() {
        for text in [
            "",
            "[('name', '=', 'Chairs')]",
            "[('expected_revenue', '>', 10000), ('name', 'ilike', 'chair')]",
            "[('stage_id', 'in', [1, 2])]",
            "[('partner_id.country_id', '=', 7)]",
            "[('email_from', '=', False)]",
        ] {
            let rows = rows(None, text).unwrap_or_else(|| panic!("{text}"));
            let domain = if text.is_empty() { Domain::Always } else { Domain::parse(text).unwrap() };
            assert_eq!(made_of(None, &rows), domain, "{text}");
        }
        for text in [
            "['|', ('name', '=', 'a'), ('name', '=', 'b')]",
            "[('tag_ids', 'any', [('name', '=', 'a')])]",
            "[('name', '=like', 'a%')]",
            "[('name', '=', '7')]",
            "[('name'",
        ] {
            assert_eq!(rows(None, text), None, "{text}: rows do not know that it is a text, or cannot say it");
        }
    }

    #[test]
    fn whichever_was_changed_counts() {
        let was = "[('name', '=', 'Chairs')]";
        let kept = [("d.was", was), ("domain", was), ("d.field", "name"), ("d.operator", "=")];
        let same = [&kept[..], &[("d.value", "Chairs")]].concat();
        assert_eq!(read(None, &form(&same)).as_deref(), Some(was), "as it was written");
        let changed =
            [&kept[..], &[("d.value", "Desks"), ("d.field", ""), ("d.operator", "="), ("d.value", "")]].concat();
        assert_eq!(read(None, &form(&changed)).as_deref(), Some("[('name', '=', 'Desks')]"));
        let more =
            [&kept[..], &[("d.value", "Chairs"), ("d.field", "phone"), ("d.operator", "!="), ("d.value", "")]].concat();
        let both = Domain::parse("[('name', '=', 'Chairs'), ('phone', '!=', False)]").unwrap();
        assert_eq!(Domain::parse(&read(None, &form(&more)).unwrap()).unwrap(), both);
        let out = [("d.was", was), ("domain", was), ("d.field", ""), ("d.operator", "="), ("d.value", "Chairs")];
        assert_eq!(read(None, &form(&out)), None, "taken out");
        let text = [&changed[..], &[("domain", "[('name', '=', 'Tables')]")]].concat();
        assert_eq!(read(None, &form(&text)).as_deref(), Some("[('name', '=', 'Tables')]"), "the text was typed");
        assert_eq!(read(None, &form(&[("domain", was)])).as_deref(), Some(was), "without rows");
    }
}
