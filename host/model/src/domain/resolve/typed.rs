//! Second pass, part one: a comparison with a stored field, with the value converted as the column holds it.

use super::{Context, Leaf, Test, wrong_type};
use crate::{
    domain::{
        Literal,
        filter::{Cell, Check, Filter, Inequality, Subject, TextForm},
        pattern::Pattern,
        python::{round_to, text_to_float, to_float, to_int, to_str},
    },
    error::Error,
    schema::{Field, FieldKind, Model},
};

/// The comparison on the record's own column; `field` is none for `id`.
pub(super) fn resolve(
    context: &Context<'_>,
    model: &Model,
    leaf: &Leaf<'_>,
    field: Option<&Field>,
) -> Result<Filter, Error> {
    let column = leaf.name.clone();
    let translated = field.is_some_and(|field| field.translate) && context.lang != "en_US";
    if translated {
        context.check_language()?;
    }
    let subject = if let Some(part) = leaf.part {
        let zoned = field.is_some_and(|field| field.kind == FieldKind::Datetime);
        let tz = context.parts_tz.filter(|_| zoned).map(str::to_owned);
        Subject::Part { column, part, tz }
    } else if translated {
        Subject::Translated { column, lang: context.lang.to_owned() }
    } else if field.is_some_and(|field| field.kind == FieldKind::Json) {
        Subject::Json(column)
    } else {
        Subject::Column(column)
    };
    let kind = field.map(|field| field.kind);
    if kind == Some(FieldKind::Boolean) {
        let Test::In { negated, .. } = leaf.test else {
            return Err(wrong_type(&leaf.name, "a boolean is true or false"));
        };
        let values = vec![Cell::Integer(1)];
        let check =
            if negated { Check::NotIn { values, or_unset: true } } else { Check::In { values, or_unset: false } };
        return Ok(Filter::Test(subject, check));
    }
    let convert = Convert { name: &leaf.name, field, part: leaf.part.is_some() };
    match &leaf.test {
        Test::In { values, negated } => Ok(Filter::Test(subject, in_check(&convert, values, *negated)?)),
        Test::Compare(order, value) => compare_check(&convert, *order, value).map(|check| match check {
            Some(check) => Filter::Test(subject, check),
            None => Filter::Never,
        }),
        Test::Like { text, ignore_case, whole, negated } => {
            let pattern = Pattern::new(text, *ignore_case, !*whole);
            if pattern.is_unfinished_text() && !*negated {
                return Ok(Filter::Never);
            }
            let check = match pattern.only_match() {
                // A pattern without wildcards is equality, which an index may answer.
                Some(text) if *negated => Check::NotIn { values: vec![Cell::Text(text)], or_unset: true },
                Some(text) => Check::In { values: vec![Cell::Text(text)], or_unset: false },
                None => Check::Like { pattern, negated: *negated, or_unset: *negated },
            };
            let subject = match text_form(context, model, field, leaf.part.is_some()) {
                Some(form) => Subject::Text(Box::new(plain(subject)), form),
                None => subject,
            };
            Ok(Filter::Test(subject, check))
        }
        Test::Any { .. } | Test::Hierarchy { .. } => Err(wrong_type(&leaf.name, "this operator needs a relation")),
    }
}

/// The column behind a JSON comparison.
fn plain(subject: Subject) -> Subject {
    match subject {
        Subject::Json(column) => Subject::Column(column),
        other => other,
    }
}

/// How the field's values read as texts; none: they are texts.
fn text_form(context: &Context<'_>, model: &Model, field: Option<&Field>, part: bool) -> Option<TextForm> {
    let Some(field) = field else { return Some(TextForm::Plain) };
    if part {
        return Some(TextForm::Float);
    }
    match field.kind {
        FieldKind::Integer | FieldKind::Many2one => Some(TextForm::Plain),
        FieldKind::Boolean => Some(TextForm::Boolean),
        FieldKind::Float => Some(field.digits.map_or(TextForm::Float, |(_, digits)| TextForm::Fixed(digits))),
        FieldKind::Monetary => {
            let currency = field.currency_field.clone().unwrap_or_else(|| "currency_id".to_owned());
            let related = model.fields.get(&currency).filter(|currency| currency.store);
            let currencies = related.and_then(|related| related.relation.clone());
            Some(match currencies.filter(|name| context.schema.models.contains_key(name)) {
                Some(model) => TextForm::Money { currency, model },
                None => TextForm::Amount,
            })
        }
        FieldKind::Json => Some(TextForm::Json),
        FieldKind::Char
        | FieldKind::Text
        | FieldKind::Html
        | FieldKind::Date
        | FieldKind::Datetime
        | FieldKind::Selection
        | FieldKind::Binary
        | FieldKind::One2many
        | FieldKind::Many2many
        | FieldKind::Reference => None,
    }
}

/// Converts values as the column of a field holds them.
struct Convert<'a> {
    name: &'a str,
    field: Option<&'a Field>,
    part: bool,
}

impl Convert<'_> {
    fn kind(&self) -> Option<FieldKind> {
        self.field.map(|field| field.kind)
    }

    fn fail(&self, value: &Literal) -> Error {
        let wanted = match self.kind() {
            _ if self.part => "number",
            None | Some(FieldKind::Many2one) => "record id",
            Some(kind) => kind.name(),
        };
        let shown: String = value.to_string().chars().take(60).collect();
        wrong_type(self.name, format!("{shown} is not a valid {wanted}"))
    }

    /// The value that an unset field equals, where the type has one.
    fn falsy(&self) -> Option<Cell> {
        if self.part {
            return match self.kind() {
                Some(FieldKind::Date | FieldKind::Datetime) | None => None,
                Some(_) => Some(Cell::Integer(0)),
            };
        }
        match self.kind()? {
            FieldKind::Char | FieldKind::Text | FieldKind::Html => Some(Cell::text("")),
            FieldKind::Integer => Some(Cell::Integer(0)),
            FieldKind::Float | FieldKind::Monetary => Some(Cell::Real(0.0)),
            _ => None,
        }
    }

    /// A value that is set, as the column holds it; `Null` never equals anything.
    fn cell(&self, value: &Literal) -> Result<Cell, Error> {
        let fail = || self.fail(value);
        if self.part {
            return number(value).map(Cell::Real).ok_or_else(fail);
        }
        let Some(kind) = self.kind() else {
            return id_cell(value).ok_or_else(fail);
        };
        match kind {
            FieldKind::Char | FieldKind::Text => Ok(Cell::Text(self.cut(to_str(value)))),
            FieldKind::Html => match value {
                Literal::Text(text) => Ok(Cell::text(text.as_str())),
                _ => Err(fail()),
            },
            FieldKind::Selection | FieldKind::Reference | FieldKind::Date | FieldKind::Datetime => {
                Ok(Cell::Text(to_str(value)))
            }
            FieldKind::Integer => to_int(value).map(Cell::Integer).ok_or_else(fail),
            FieldKind::Float => to_float(value).map(|number| Cell::Real(self.round(number))).ok_or_else(fail),
            FieldKind::Monetary => match value {
                // Money is compared as the text of it, which a boolean's is not.
                Literal::Bool(_) => Err(fail()),
                Literal::Text(text) => text_to_float(text).map(Cell::Real).ok_or_else(fail),
                other => to_float(other).map(Cell::Real).ok_or_else(fail),
            },
            FieldKind::Many2one => match value {
                value if !value.is_truthy() => Ok(Cell::Null),
                value => id_cell(value).ok_or_else(fail),
            },
            FieldKind::Json => Ok(Cell::Text(value.to_json().to_string())),
            FieldKind::Boolean | FieldKind::Binary | FieldKind::One2many | FieldKind::Many2many => Err(fail()),
        }
    }

    fn cut(&self, text: String) -> String {
        match self.field.and_then(|field| field.size) {
            Some(size) => text.chars().take(usize::try_from(size).unwrap_or(usize::MAX)).collect(),
            None => text,
        }
    }

    fn round(&self, number: f64) -> f64 {
        match self.field.and_then(|field| field.digits) {
            Some((_, digits)) => round_to(number, digits),
            None => number,
        }
    }
}

/// A text as an html field would store it: plain text becomes a paragraph.
fn as_html(text: &str) -> String {
    if text.trim_start().starts_with('<') {
        return text.to_owned();
    }
    format!("<p>{}</p>", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

/// An id, or a number that may stand in its place.
fn id_cell(value: &Literal) -> Option<Cell> {
    match value {
        Literal::Integer(number) => Some(Cell::Integer(*number)),
        Literal::Float(number) => Some(Cell::Real(*number)),
        Literal::Text(text) => text.trim().parse().ok().map(Cell::Integer),
        _ => None,
    }
}

fn number(value: &Literal) -> Option<f64> {
    match value {
        Literal::Integer(_) | Literal::Float(_) => to_float(value),
        Literal::Text(text) => text_to_float(text),
        _ => None,
    }
}

fn in_check(convert: &Convert<'_>, values: &[Literal], negated: bool) -> Result<Check, Error> {
    let mut cells = Vec::new();
    let mut unset = false;
    let mut nothing = false;
    for value in values {
        if value.is_unset() {
            unset = true;
            continue;
        }
        match convert.cell(value)? {
            Cell::Null => nothing = true,
            cell => cells.push(cell),
        }
    }
    if let Some(falsy) = convert.falsy() {
        if cells.contains(&falsy) {
            unset = true;
        } else if unset {
            cells.push(falsy);
        }
    }
    if negated && nothing {
        // Nothing is unequal to what no record can have, except what is unset.
        return Ok(Check::In { values: Vec::new(), or_unset: !unset });
    }
    Ok(if negated {
        Check::NotIn { values: cells, or_unset: !unset }
    } else {
        Check::In { values: cells, or_unset: unset }
    })
}

/// None when nothing can be above or below the value.
fn compare_check(convert: &Convert<'_>, order: Inequality, value: &Literal) -> Result<Option<Check>, Error> {
    if convert.part || convert.field.is_none() {
        return Ok(Some(Check::Compare { order, value: convert.cell(value)?, or_unset: false }));
    }
    if let Some(falsy) = convert.falsy() {
        let value = match (convert.kind(), value) {
            (Some(FieldKind::Html), Literal::Text(text)) if !text.is_empty() => Cell::Text(as_html(text)),
            // Odoo's sanitiser gives up on what is no text, with these words.
            (Some(FieldKind::Html), value) if value.is_truthy() => Cell::text("<p>Unknown error when sanitizing</p>"),
            (Some(FieldKind::Html), _) => falsy.clone(),
            (Some(FieldKind::Char | FieldKind::Text), value) => {
                if value.is_unset() {
                    falsy.clone()
                } else {
                    Cell::Text(convert.cut(to_str(value)))
                }
            }
            (Some(FieldKind::Monetary), value) => to_float(value).map(Cell::Real).ok_or_else(|| convert.fail(value))?,
            (_, value) => convert.cell(value)?,
        };
        let or_unset = falsy.compare(&value).is_some_and(|found| order.holds(found));
        return Ok(Some(Check::Compare { order, value, or_unset }));
    }
    match convert.kind() {
        Some(FieldKind::Json) => {
            let value = if matches!(value, Literal::None) { Literal::Bool(false) } else { value.clone() };
            Ok(Some(Check::Compare { order, value: convert.cell(&value)?, or_unset: false }))
        }
        Some(FieldKind::Many2one) if matches!(value, Literal::List(items) if !items.is_empty()) => {
            Err(convert.fail(value))
        }
        Some(FieldKind::Date) if matches!(value, Literal::List(_)) => Ok(None),
        _ if value.is_unset() => Ok(None),
        _ => Ok(match convert.cell(value)? {
            Cell::Null => None,
            value => Some(Check::Compare { order, value, or_unset: false }),
        }),
    }
}
