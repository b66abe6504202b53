//! Figures: a report states those that were read, and no others.

use triggerbox::serde_json::Value as Json;

/// Between two digits these belong to the number.
const SEPARATORS: [char; 6] = ['.', ',', '\'', '’', '\u{a0}', '\u{202f}'];

/// The numbers that the model was given or has read.
#[derive(Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    pub fn read_text(&mut self, text: &str) {
        let values = numerals(text).into_iter().flat_map(meanings).map(|(value, _)| value);
        self.0.extend(values);
    }

    /// What a tool gives of records. Their numbers are no figures: what is called `id`, and whole numbers in a list.
    pub fn read(&mut self, json: &Json) {
        match json {
            Json::Number(number) => self.0.extend(number.as_f64().map(f64::abs)),
            Json::String(text) => self.read_text(text),
            Json::Array(items) => items.iter().filter(|item| !item.is_u64()).for_each(|item| self.read(item)),
            Json::Object(fields) => {
                let values = fields.iter().filter(|(name, _)| *name != "id").map(|(_, value)| value);
                values.for_each(|value| self.read(value));
            }
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// A figure of a text that was not read, if there is one. Single digits count nothing but lines.
    pub fn unread<'t>(&self, text: &'t str) -> Option<&'t str> {
        numerals(text).into_iter().find(|numeral| numeral.len() > 1 && !self.knows(numeral))
    }

    /// The same for all texts and numbers of a tool's arguments.
    pub fn unread_in(&self, json: &Json) -> Option<String> {
        match json {
            Json::String(text) => self.unread(text).map(str::to_owned),
            Json::Number(number) => {
                let written = number.to_string();
                let value = number.as_f64()?.abs();
                let is_digit = value < 10.0 && value.fract() == 0.0;
                (!is_digit && !self.has(value, decimals(&written))).then_some(written)
            }
            Json::Array(items) => items.iter().find_map(|item| self.unread_in(item)),
            Json::Object(fields) => fields.values().find_map(|value| self.unread_in(value)),
            Json::Null | Json::Bool(_) => None,
        }
    }

    /// Whether it is one of them, rounded as it is written.
    fn knows(&self, numeral: &str) -> bool {
        meanings(numeral).into_iter().any(|(value, decimals)| self.has(value, decimals))
    }

    fn has(&self, value: f64, decimals: i32) -> bool {
        let scale = 10f64.powi(decimals);
        self.0.iter().any(|known| ((known * scale).round() / scale - value).abs() <= 1e-9 * value.max(1.0))
    }
}

/// The numbers in a text, as they are written. Dates, times and what is part of a name (`S00017`) are none.
fn numerals(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut at, mut before) = (0, ' ');
    while let Some(c) = text[at..].chars().next() {
        let length = match c.is_ascii_digit() {
            true => calendar(&text[at..]).unwrap_or_else(|| number(&text[at..])),
            false => c.len_utf8(),
        };
        let part = &text[at..at + length];
        let is_name = before.is_alphanumeric() || matches!(before, '_' | '#');
        if c.is_ascii_digit() && !is_name && calendar(part).is_none() {
            found.push(part);
        }
        before = part.chars().last().unwrap_or(c);
        at += length;
    }
    found
}

/// How long the number is that a text begins with.
fn number(text: &str) -> usize {
    let mut end = 0;
    while let Some(c) = text[end..].chars().next() {
        let after = end + c.len_utf8();
        let separates = SEPARATORS.contains(&c) && text[after..].starts_with(|next: char| next.is_ascii_digit());
        if !c.is_ascii_digit() && !separates {
            break;
        }
        end = after;
    }
    end
}

/// How long the date or time is that a text begins with.
fn calendar(text: &str) -> Option<usize> {
    let is = |shape: &str| {
        let fits = |(byte, like): (u8, u8)| if like == b'0' { byte.is_ascii_digit() } else { byte == like };
        text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(fits)
    };
    ["0000-00-00", "00:00"].into_iter().find(|shape| is(shape)).map(str::len)
}

/// What a numeral may mean, with its decimals: `1,234` is written for 1234 and for 1.234.
fn meanings(numeral: &str) -> Vec<(f64, i32)> {
    let plain = numeral.replace(['\'', '’', '\u{a0}', '\u{202f}'], "");
    let written = [plain.replace(',', ""), plain.replace('.', "").replace(',', ".")];
    written.iter().filter_map(|text| Some((text.parse().ok()?, decimals(text)))).collect()
}

/// How many decimals a number is written with.
fn decimals(text: &str) -> i32 {
    let decimals =
        text.split_once('.').map_or(0, |(_, decimals)| decimals.bytes().take_while(u8::is_ascii_digit).count());
    i32::try_from(decimals).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use triggerbox::json;

    #[test]
    fn what_was_read_may_be_rounded_and_written_in_any_way() {
        let mut figures = Figures::default();
        figures.read(&json!({ "sum": 128450.5, "lines": [{ "count": 342 }], "text": "of 1.234,56 EUR" }));
        for good in
            ["128,450.50 in 342 orders", "128450.5", "128.450,5 €", "128 450.5 of 1,234.56", "about 128,451", "342"]
        {
            let text = good.replace("128 450", "128\u{a0}450");
            assert_eq!(figures.unread(&text), None, "{good}");
        }
        for (wrong, figure) in [("128,449", "128,449"), ("in 343 orders", "343"), ("of 128.45", "128.45")] {
            assert_eq!(figures.unread(wrong), Some(figure), "{wrong}");
        }
        let unread = |json: Json| figures.unread_in(&json);
        assert_eq!(unread(json!({ "values": { "text": ["342", "78"] } })).as_deref(), Some("78"));
        for good in [json!(128450.5), json!(-128451), json!([342, 342.0, 7, true, null])] {
            assert_eq!(unread(good.clone()), None, "{good}");
        }
        for (wrong, figure) in [(json!({ "revenue": 128449 }), "128449"), (json!([3.5]), "3.5"), (json!(34.2), "34.2")]
        {
            assert_eq!(unread(wrong).as_deref(), Some(figure));
        }
    }

    #[test]
    fn the_numbers_of_records_are_no_figures() {
        let mut figures = Figures::default();
        let record =
            json!({ "id": 21, "partner_id": { "id": 34, "name": "Hall 9" }, "tag_ids": [55, 56], "total": 78 });
        figures.read(&json!({ "records": [record], "missing": [90], "total": 12 }));
        for id in ["21", "34", "55", "56", "90"] {
            assert_eq!(figures.unread(id), Some(id));
        }
        assert_eq!(figures.unread("78 of 12"), None);
    }

    #[test]
    fn dates_times_names_and_single_digits_are_no_figures() {
        let none = Figures::default();
        for text in ["On 2026-11-20 at 09:30", "order S00017, tax_21", "1. first, 2. second", "&#8217;"] {
            assert_eq!(none.unread(text), None, "{text}");
        }
        assert_eq!(none.unread("by 10:30 in 12 days"), Some("12"));
    }
}
