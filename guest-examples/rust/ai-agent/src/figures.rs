//! Figures: a report states those that were read, and no others.

use std::collections::BTreeSet;

use triggerbox::serde_json::Value as Json;

/// Between two digits these belong to the number.
const SEPARATORS: [char; 6] = ['.', ',', '\'', '’', '\u{a0}', '\u{202f}'];

/// Longer names, in bytes, are none that anybody says again.
const LONGEST_NAME: usize = 256;

/// The zero of each script that has decimal digits; the nine others follow it.
const ZEROS: [u32; 76] = [
    0x30, 0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50, 0xED0,
    0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50, 0xA620,
    0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066, 0x110F0, 0x11136,
    0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0,
    0x11C50, 0x11D50, 0x11DA0, 0x11DE0, 0x11F50, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8,
    0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// The numbers that the model was given or has read, and the names with numbers in them.
#[derive(Default)]
pub struct Figures {
    numbers: Vec<f64>,
    /// In lower case.
    names: BTreeSet<String>,
}

/// A number in a text.
struct Numeral<'t> {
    /// As it is written.
    text: &'t str,
    /// The name that it is a part of, such as `S00017`.
    name: Option<&'t str>,
}

impl Figures {
    pub fn read_text(&mut self, text: &str) {
        for Numeral { text, name } in numerals(&plain(text)) {
            match name {
                Some(name) if name.len() <= LONGEST_NAME => {
                    self.names.insert(name.to_lowercase());
                }
                Some(_) => {}
                None => self.numbers.extend(meanings(text).into_iter().map(|(value, _)| value)),
            }
        }
    }

    /// What a tool gives of records. Their numbers are no figures: what is called `id`, and whole numbers in a list.
    pub fn read(&mut self, json: &Json) {
        match json {
            Json::Number(number) => self.numbers.extend(number.as_f64().map(f64::abs)),
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
    pub fn unread(&self, text: &str) -> Option<String> {
        let text = plain(text);
        let unread = numerals(&text).into_iter().find(|numeral| numeral.text.len() > 1 && !self.knows(numeral));
        unread.map(|Numeral { text, name }| name.unwrap_or(text).to_owned())
    }

    /// The same for all texts and numbers of a tool's arguments.
    pub fn unread_in(&self, json: &Json) -> Option<String> {
        match json {
            Json::String(text) => self.unread(text),
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

    /// Whether it is one of them, rounded as it is written, or a part of a name that was read.
    fn knows(&self, Numeral { text, name }: &Numeral<'_>) -> bool {
        name.is_some_and(|name| name.len() <= LONGEST_NAME && self.names.contains(&name.to_lowercase()))
            || meanings(text).into_iter().any(|(value, decimals)| self.has(value, decimals))
    }

    fn has(&self, value: f64, decimals: i32) -> bool {
        let scale = 10f64.powi(decimals);
        self.numbers.iter().any(|known| ((known * scale).round() / scale - value).abs() <= 1e-9 * value.max(1.0))
    }
}

/// A text with the digits of every script, and the signs between them, as programs write them.
fn plain(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        '\u{66b}' | '\u{ff0c}' => ',',
        '\u{66c}' => '\'',
        '\u{ff0e}' => '.',
        c => digit(c).unwrap_or(c),
    });
    plain.collect()
}

/// The digit that a letter stands for.
fn digit(c: char) -> Option<char> {
    let code = u32::from(c);
    let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= code)].last()?;
    char::from_digit(code - zero, 10)
}

/// Whether numbers that follow it, or come before it, may be a part of a name. Where letters have no case, words are written
/// together with numbers that are none of their own.
fn is_in_names(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase() || c.is_ascii_digit() || c == '_'
}

/// The numbers in a text. Dates, times and what follows a `#` are none.
fn numerals(text: &str) -> Vec<Numeral<'_>> {
    let mut found = Vec::new();
    // Where we are, where the word began that we are in, and where it ends as far as that is known.
    let (mut at, mut word, mut word_end, mut before) = (0, 0, 0, ' ');
    while let Some(c) = text[at..].chars().next() {
        let length = match c.is_ascii_digit() {
            true => calendar(&text[at..]).unwrap_or_else(|| number(&text[at..])),
            false => c.len_utf8(),
        };
        if !is_in_names(before) {
            word = at;
        }
        let end = at + length;
        let part = &text[at..end];
        // `#12`; `&#8217;` and `&#x2019;` are letters.
        let is_numbered = before == '#' || text[..word].ends_with("&#");
        if c.is_ascii_digit() && !is_numbered && calendar(part).is_none() {
            if word_end < end {
                word_end = text[end..].find(|c: char| !is_in_names(c)).map_or(text.len(), |rest| end + rest);
            }
            found.push(Numeral { text: part, name: (word < at).then(|| &text[word..word_end]) });
        }
        before = part.chars().last().unwrap_or(c);
        at = end;
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
            assert_eq!(figures.unread(wrong).as_deref(), Some(figure), "{wrong}");
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
            assert_eq!(figures.unread(id).as_deref(), Some(id));
        }
        assert_eq!(figures.unread("78 of 12"), None);
    }

    #[test]
    fn dates_times_and_single_digits_are_no_figures() {
        let none = Figures::default();
        for text in ["On 2026-11-20T09:30", "1. first, 2. second", "&#8217; &#x2019; #12", "B2B in Q4"] {
            assert_eq!(none.unread(text), None, "{text}");
        }
        assert_eq!(none.unread("by 10:30 in 12 days").as_deref(), Some("12"));
    }

    #[test]
    fn a_number_that_is_written_to_letters_is_a_name_if_it_was_read_and_else_a_figure() {
        let mut figures = Figures::default();
        figures.read_text("order S00017 of tax_21 over 128450 EUR");
        for good in ["order S00017, tax_21", "s00017", "EUR128,450", "128450EUR", "1月S00017"] {
            assert_eq!(figures.unread(good), None, "{good}");
        }
        for (wrong, figure) in [
            ("EUR128449", "EUR128449"),
            ("total_128449.", "total_128449"),
            ("S00018", "S00018"),
            ("S000171", "S000171"),
            ("of 17", "17"),
            ("00:00128449", "00:00128449"),
        ] {
            assert_eq!(figures.unread(wrong).as_deref(), Some(figure), "{wrong}");
        }
        // However many numbers one word has, it is gone through once.
        let long = "a12".repeat(100_000);
        figures.read_text(&long);
        assert_eq!((figures.names.len(), figures.unread(&long)), (2, Some(long)));
        // Where letters have no case, numbers stand between them.
        figures.read_text("共342件");
        assert_eq!(figures.unread("总计342件"), None);
        assert_eq!(figures.unread("总计343件").as_deref(), Some("343"));
    }

    #[test]
    fn digits_are_digits_in_every_script() {
        let mut figures = Figures::default();
        figures.read(&json!({ "sum": 128450.5, "text": "٣٤٢" }));
        for good in ["१२८४५०.५", "１２８，４５０．５", "١٢٨٬٤٥٠٫٥", "𝟏𝟐𝟖𝟒𝟓𝟏", "342"]
        {
            assert_eq!(figures.unread(good), None, "{good}");
        }
        // Of a later Unicode, and drawn as outlines.
        assert_eq!(figures.unread("\u{1ccf3}\u{1ccf4}\u{1ccf2}"), None);
        assert_eq!(figures.unread("\u{1ccf3}\u{1ccf4}\u{1ccf3}").as_deref(), Some("343"));
        for (wrong, figure) in [("１２８４４９", "128449"), ("٣٤٣", "343"), ("EUR𝟏𝟐𝟖", "EUR128")] {
            assert_eq!(figures.unread(wrong).as_deref(), Some(figure), "{wrong}");
        }
    }
}
