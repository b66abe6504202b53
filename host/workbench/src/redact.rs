//! Takes what is personal out of a recording, and leaves what scripts decide by.
//!
//! Every word that records, people and other services brought into the run is replaced by letters of the same length and
//! case, the same word by the same letters wherever it stands: in answers, in what the script asked and in what it wrote.
//! So texts can still be split, joined, compared and changed in case. Numbers in texts are replaced digit by digit, however
//! they are grouped: `+32 2 555 01 77` is one number, and numbers that end alike end alike afterwards, with or without a
//! country's code. What stays: values that are numbers, dates, ids, choices, names of models and fields, numbers of up to
//! four digits in texts, the rule's parameters, and what programs say to each other: names of HTTP headers, what headers say
//! of how a body is to be read, and the words in which the host refuses. The letters and digits follow from a key that is
//! thrown away.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
};

use serde_json::{Map, Value as Json};
use triggerbox_automation::journal::Recording;
use triggerbox_model::{
    call::{Answer, Call, Reply},
    schema::Schema,
};

/// Keys whose texts are the format's own.
const TAGS: [&str; 20] = [
    "kind", "call", "answer", "type", "ending", "failure", "class", "format", "finish", "scope", "script", "engine",
    "run_id", "rule", "model", "method", "code", "currency", "now", "lang",
];

/// Refusals in the host's own words, besides those of grants: of whatever else is in them, the script asked.
const REFUSALS: [&str; 19] = [
    "address-refused",
    "bad-header",
    "bad-method",
    "bad-url",
    "http-answer-packed",
    "http-answer-too-large",
    "http-not-configured",
    "http-not-sent",
    "http-timeout",
    "llm-not-configured",
    "no-scripts",
    "no-tools-within",
    "not-planned",
    "not-read-only",
    "plan-first",
    "refused-by-agent",
    "refused-by-policy",
    "refused-by-rule",
    "refused-by-script",
];

/// The refusal that ends with a domain, which may name somebody.
const REFUSED_BY_DOMAIN: &str = "refused-by-domain";

/// Headers that say how a body is to be read, and of nobody who wrote it.
const HEADERS: [&str; 16] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-ranges",
    "allow",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "retry-after",
    "server",
    "transfer-encoding",
    "vary",
];

/// What addresses begin with.
const SCHEMES: [&str; 2] = ["http", "https"];

/// Digits in texts that stay.
const SHORT_NUMBER: usize = 4;

/// So many last digits tell a number from others.
const TAIL: usize = SHORT_NUMBER + 1;

/// Words in the names of fields that hold numbers of people: in their values short numbers do not stay either.
const NUMBERED: [&str; 10] =
    ["phone", "mobile", "fax", "vat", "iban", "card", "passport", "ssn", "acc_number", "account_number"];

/// Replaces words and numbers. Each has a key of its own.
pub struct Redactor {
    key: RandomState,
    /// Technical names and choices, which stay.
    known: BTreeSet<String>,
}

impl Redactor {
    /// Knows which words are technical.
    #[must_use]
    pub fn new(schema: &Schema) -> Self {
        let mut known = BTreeSet::from(SCHEMES.map(str::to_owned));
        for (model, described) in &schema.models {
            known.extend(words(model).map(str::to_owned));
            for (name, field) in &described.fields {
                known.insert(name.clone());
                known.extend(field.selection.iter().flat_map(|(key, _)| words(key)).map(str::to_owned));
            }
        }
        Self { key: RandomState::new(), known }
    }

    /// A recording without what is personal.
    ///
    /// # Errors
    /// It is not what it says; never, for one that was recorded.
    pub fn recording(&self, recording: &Recording) -> Result<Recording, serde_json::Error> {
        let mut personal = Personal::new(&self.known);
        for entry in recording.entries.iter().flat_map(|entry| std::iter::once(entry).chain(&entry.within)) {
            match (&entry.call, &entry.reply) {
                // Labels and help texts are no one's.
                (Call::FieldsGet { .. } | Call::DescribeFields { .. }, _) => {}
                (Call::Read { fields, .. } | Call::SearchRead { fields, .. }, Ok(Answer::Rows(rows))) => {
                    for (field, value) in rows.iter().flat_map(|row| fields.iter().zip(&row.values)) {
                        personal.collect(&serde_json::to_value(value)?, "", is_numbered(field));
                    }
                }
                (_, reply) => personal.reply(reply)?,
            }
        }
        let event = serde_json::to_value(&recording.event)?;
        for part in ["trigger", "old_values", "actor", "run_as", "company", "previous"] {
            personal.collect(event.get(part).unwrap_or(&Json::Null), part, false);
        }
        let mut whole = serde_json::to_value(recording)?;
        let parameters = recording.event.parameters.clone();
        self.replace(&mut whole, "", &personal);
        let redacted: Recording = serde_json::from_value(whole)?;
        Ok(Recording {
            event: triggerbox_model::event::Event { parameters, ..redacted.event },
            // Binary limits and facts of the machine are kept as they were.
            ..redacted
        })
    }

    fn replace(&self, value: &mut Json, key: &str, personal: &Personal<'_>) {
        match value {
            Json::String(text) if !TAGS.contains(&key) => *text = self.text(text, personal),
            Json::Array(pair) if key == "headers" && header(pair).is_some() => {
                let stays = header(pair).is_some_and(|(name, value)| is_technical(name, value));
                if let Some(value) = pair.get_mut(1).filter(|_| !stays) {
                    self.replace(value, "", personal);
                }
            }
            Json::Array(items) => match bytes(items).filter(|_| key == "body" || key == "content") {
                Some(body) => {
                    let redacted = match String::from_utf8(body) {
                        Ok(text) => self.text(&text, personal).into_bytes(),
                        Err(binary) => vec![0; binary.as_bytes().len()],
                    };
                    *items = redacted.into_iter().map(Json::from).collect();
                }
                None => items.iter_mut().for_each(|item| self.replace(item, key, personal)),
            },
            Json::Object(map) if is_binary(map) => {
                // The same length, and nothing of what was in it.
                if let Some(Json::String(text)) = map.get_mut("value") {
                    let padding = text.len() - text.trim_end_matches('=').len();
                    let letters = text.len().saturating_sub(padding);
                    *text = format!("{}{}", "A".repeat(letters), "=".repeat(padding));
                }
            }
            Json::Object(map) => {
                for (name, value) in map.iter_mut() {
                    self.replace(value, name, personal);
                }
            }
            _ => {}
        }
    }

    /// A text with each personal word and number replaced. Dates and times stay.
    fn text(&self, text: &str, personal: &Personal<'_>) -> String {
        let parts =
            parts(text).map(|(part, is_moment)| if is_moment { part.to_owned() } else { self.part(part, personal) });
        parts.collect()
    }

    fn part(&self, text: &str, personal: &Personal<'_>) -> String {
        let mut digits: HashMap<usize, char> = HashMap::new();
        for number in numbers(text).iter().filter(|number| personal.has_number(number)) {
            digits.extend(number.iter().map(|(place, _)| *place).zip(self.number(number)));
        }
        let mut out = String::with_capacity(text.len());
        let mut place = 0;
        for (word, is_word) in pieces(text) {
            let is_personal = is_word && personal.words.contains(&word.to_lowercase());
            let letters = if is_personal { self.word(word) } else { word.to_owned() };
            for letter in letters.chars() {
                out.push(digits.get(&place).copied().unwrap_or(letter));
                place += 1;
            }
        }
        out
    }

    /// Other digits for a number: each follows from those from it to the end.
    fn number(&self, digits: &[(usize, char)]) -> Vec<char> {
        let mut state = 0;
        let from_the_end = digits.iter().rev().map(|(_, digit)| {
            state = self.key.hash_one((state, digit));
            char::from(b'0' + u8::try_from(state % 10).unwrap_or_default())
        });
        let mut replaced: Vec<char> = from_the_end.collect();
        replaced.reverse();
        replaced
    }

    /// Letters for a word: the same for the same word, whatever its case.
    fn word(&self, word: &str) -> String {
        let lower = word.to_lowercase();
        let letters = word.chars().enumerate().map(|(index, c)| {
            let draw = self.key.hash_one((index, &lower));
            let nth = |count: u64| u8::try_from(draw % count).unwrap_or_default();
            match c {
                '_' => '_',
                c if c.is_numeric() => char::from(b'0' + nth(10)),
                c if c.is_uppercase() => char::from(b'A' + nth(26)),
                _ => char::from(b'a' + nth(26)),
            }
        });
        letters.collect()
    }
}

/// Words and numbers that are somebody's.
struct Personal<'a> {
    known: &'a BTreeSet<String>,
    /// In lower case.
    words: HashSet<String>,
    /// The last digits of numbers.
    numbers: HashSet<String>,
}

impl<'a> Personal<'a> {
    fn new(known: &'a BTreeSet<String>) -> Self {
        Self { known, words: HashSet::new(), numbers: HashSet::new() }
    }

    /// What was answered. Of what the host says in its own words, nothing is anybody's.
    fn reply(&mut self, reply: &Reply) -> Result<(), serde_json::Error> {
        match reply {
            Err(error) if REFUSALS.contains(&error.code.as_str()) => {}
            Err(error) if error.code == REFUSED_BY_DOMAIN => {
                let domain = error.message.split_once(": ").map_or("", |(_, domain)| domain);
                self.text(domain, false);
            }
            reply => self.collect(&serde_json::to_value(reply)?, "", false),
        }
        Ok(())
    }

    /// `numbered`: short numbers are somebody's, too.
    fn collect(&mut self, value: &Json, key: &str, numbered: bool) {
        match value {
            Json::String(text) if !TAGS.contains(&key) => self.text(text, numbered),
            Json::Array(pair) if key == "headers" && header(pair).is_some() => {
                if let Some((_, value)) = header(pair).filter(|(name, value)| !is_technical(name, value)) {
                    self.text(value, numbered);
                }
            }
            Json::Array(items) => match bytes(items).filter(|_| key == "body" || key == "content") {
                Some(body) => self.text(&String::from_utf8(body).unwrap_or_default(), numbered),
                None => items.iter().for_each(|item| self.collect(item, key, numbered)),
            },
            Json::Object(map) if is_binary(map) || is_moment(map) => {}
            Json::Object(map) => {
                let field = map.get("name").and_then(Json::as_str).is_some_and(is_numbered);
                map.iter().for_each(|(name, value)| self.collect(value, name, numbered || field));
            }
            _ => {}
        }
    }

    fn text(&mut self, text: &str, numbered: bool) {
        for part in parts(text).filter(|(_, is_moment)| !is_moment).map(|(part, _)| part) {
            for (word, _) in pieces(part).filter(|(_, is_word)| *is_word) {
                let a_number = word.chars().all(char::is_numeric);
                // A single letter of the alphabet is nobody's; a single sign of another script may be a name.
                let a_letter = word.len() == 1;
                if !a_number && !a_letter && !self.known.contains(word) {
                    self.words.insert(word.to_lowercase());
                }
            }
            let numbers = numbers(part).into_iter().filter(|digits| numbered || digits.len() > SHORT_NUMBER);
            self.numbers.extend(numbers.map(|digits| tail(&digits)));
        }
    }

    fn has_number(&self, digits: &[(usize, char)]) -> bool {
        self.numbers.contains(&tail(digits))
    }
}

/// A header's name and value, as JSON has them. Whatever else is called `headers`, in anybody's JSON, is none.
fn header(pair: &[Json]) -> Option<(&str, &str)> {
    let is_name = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match pair {
        [Json::String(name), Json::String(value)] if is_name(name) => Some((name.as_str(), value.as_str())),
        _ => None,
    }
}

/// Whether the value of a header is nobody's. One that names a file may have a person in it.
fn is_technical(header: &str, value: &str) -> bool {
    HEADERS.iter().any(|known| known.eq_ignore_ascii_case(header)) && !value.to_ascii_lowercase().contains("name")
}

/// Whether a field's name says that its values are numbers of people: `phone_sanitized`, `partner_id.vat`.
fn is_numbered(field: &str) -> bool {
    let field = field.to_lowercase();
    let is = |word: &str| NUMBERED.contains(&word.trim_end_matches(char::is_numeric));
    NUMBERED.iter().any(|name| name.contains('_') && field.contains(name)) || field.split(['.', '_']).any(is)
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether digits on both sides of it are of one number: `02 555.01-77`, `(+32) 2/555`.
fn joins(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '.' | '-' | '/' | '(' | ')' | '+' | '_' | '·' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// The numbers of a text: for each digit its place, in characters.
fn numbers(text: &str) -> Vec<Vec<(usize, char)>> {
    let mut numbers: Vec<Vec<(usize, char)>> = Vec::new();
    let mut joined = false;
    for (place, c) in text.chars().enumerate() {
        if c.is_numeric() {
            match numbers.last_mut().filter(|_| joined) {
                Some(digits) => digits.push((place, c)),
                None => numbers.push(vec![(place, c)]),
            }
            joined = true;
        } else {
            joined = joined && joins(c);
        }
    }
    numbers
}

/// What a number is known by.
fn tail(digits: &[(usize, char)]) -> String {
    digits.iter().skip(digits.len().saturating_sub(TAIL)).map(|(_, digit)| digit).collect()
}

/// A text in pieces: words, and what is between them.
fn pieces(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let is_word = rest.chars().next().map(is_letter)?;
        let end = rest.find(|c| is_letter(c) != is_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some((piece, is_word))
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    pieces(text).filter(|(_, is_word)| *is_word).map(|(word, _)| word)
}

/// A text in parts: those that are a date, maybe with a time, and those between them.
fn parts(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let first = rest.char_indices().find_map(|(start, _)| Some((start, moment_at(rest, start)?)));
        let (start, length) = first.unwrap_or((rest.len(), 0));
        let is_moment = start == 0;
        let (part, after) = rest.split_at(if is_moment { length } else { start });
        rest = after;
        Some((part, is_moment))
    })
}

/// The bytes of the date or time that stands at a place of a text, and is no part of something longer: `2026-11-30`,
/// `2026-11-30T10:15:00Z`.
fn moment_at(text: &str, start: usize) -> Option<usize> {
    let (before, from) = text.split_at_checked(start)?;
    let (day, after) = from.split_at_checked("2026-11-30".len())?;
    let longer = |c: char| is_letter(c) || c == '-';
    if before.ends_with(longer) || day.as_bytes().get(4) != Some(&b'-') {
        return None;
    }
    // Of other centuries, it is rather somebody's number.
    let day_of = day.parse::<jiff::civil::Date>().ok().filter(|day| (1900..2200).contains(&day.year()));
    day_of?;
    let Some(time) = after.strip_prefix('T') else {
        return (!after.starts_with(longer)).then_some(day.len());
    };
    let end = time.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(time.len());
    let (time, zone) = time.split_at_checked(end)?;
    time.parse::<jiff::civil::Time>().ok()?;
    Some(day.len() + 1 + time.len() + usize::from(zone.starts_with('Z')))
}

/// Bytes, as JSON has them.
fn bytes(items: &[Json]) -> Option<Vec<u8>> {
    items.iter().map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
}

fn is_type(map: &Map<String, Json>, types: &[&str]) -> bool {
    map.get("type").and_then(Json::as_str).is_some_and(|kind| types.contains(&kind))
}

fn is_binary(map: &Map<String, Json>) -> bool {
    is_type(map, &["binary"])
}

/// Dates and times stay.
fn is_moment(map: &Map<String, Json>) -> bool {
    is_type(map, &["date", "datetime"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor() -> Redactor {
        Redactor::new(&Schema::new(triggerbox_model::schema::ByName::default()))
    }

    /// What a text becomes of which all is somebody's.
    fn redacted(redactor: &Redactor, texts: &[&str]) -> Vec<String> {
        let known = BTreeSet::new();
        let mut personal = Personal::new(&known);
        if let Some(text) = texts.first() {
            personal.text(text, false);
        }
        texts.iter().map(|text| redactor.text(text, &personal)).collect()
    }

    fn digits(text: &str) -> String {
        text.chars().filter(char::is_ascii_digit).collect()
    }

    #[test]
    fn the_same_word_becomes_the_same_letters_wherever_it_stands() {
        let redactor = redactor();
        let known = BTreeSet::new();
        let mut personal = Personal::new(&known);
        personal.text("Adalbert Byronson (2500012345)", false);
        let [whole, part, mail] = ["Dear Adalbert Byronson (2500012345)", "Byronson", "adalbert@byronson.example"]
            .map(|text| redactor.text(text, &personal));
        assert!(whole.starts_with("Dear "), "{whole}");
        assert!(!whole.contains("Adalbert") && !whole.contains("2500012345"), "{whole}");
        assert!(whole.contains(&part), "{whole}: {part}");
        assert_eq!(mail.to_lowercase().split(['@', '.']).nth(1), Some(part.to_lowercase().as_str()));
        assert!(mail.ends_with(".example"));
    }

    #[test]
    fn short_numbers_technical_names_and_dates_stay() {
        let known = BTreeSet::from(["sale".to_owned()]);
        let mut personal = Personal::new(&known);
        personal.text("80 of 100 for sale by 2026-11-30, or 2026-12-01T10:15:00Z: call 02 555 01 35", false);
        let mut words: Vec<_> = personal.words.iter().cloned().collect();
        words.sort();
        assert_eq!(words, ["by", "call", "for", "of", "or"]);
        assert_eq!(personal.numbers, HashSet::from(["50135".to_owned()]));
        let kept = redactor().text(
            "80 of 100, 12.50, 2026-11-30 12:00, 2026-12-01T10:15:00.5Z",
            &Personal { words: HashSet::new(), ..personal },
        );
        assert_eq!(kept, "80 of 100, 12.50, 2026-11-30 12:00, 2026-12-01T10:15:00.5Z");
    }

    #[test]
    fn a_word_of_one_sign_is_somebody_s_and_a_letter_is_not() {
        let new = redacted(&redactor(), &["A: 李 and Ö, b_1"]).remove(0);
        assert!(new.starts_with("A: ") && !new.contains(['李', 'Ö']), "{new}");
        assert_eq!(new.chars().count(), "A: 李 and Ö, b_1".chars().count());
    }

    #[test]
    fn a_number_is_replaced_however_it_is_grouped() {
        let redactor = redactor();
        for number in [
            "+32 2 555 01 77",
            "(02) 555.01.77",
            "02/555-01-77",
            "+32\u{a0}2\u{a0}555\u{2011}01\u{2011}77",
            "4111 1111 1111 1111",
            "BE71 0961 2345 6769",
            "BE71096123456769",
            "BE 0477.472.701",
            "0477_472_701",
        ] {
            let new = redacted(&redactor, &[number]).remove(0);
            assert_eq!(new.chars().count(), number.chars().count(), "{number}: {new}");
            assert_ne!(digits(&new), digits(number), "{number}: {new}");
            let signs = |text: &str| text.chars().filter(|c| !c.is_alphanumeric()).collect::<String>();
            assert_eq!(signs(&new), signs(number), "{number}: {new}");
        }
    }

    #[test]
    fn numbers_that_end_alike_end_alike_afterwards() {
        let texts = ["tel. +32 2 555 01 77", "+3225550177", "025550177", "5550177", "BE3225550177"];
        let new: Vec<String> = redacted(&redactor(), &texts).iter().map(|text| digits(text)).collect();
        let [whole, joined, local, short, word] = new.as_slice() else { panic!("{new:?}") };
        assert_eq!(whole, joined);
        assert_eq!(whole, word);
        assert!(local.ends_with(whole.get(2..).expect("ten digits")), "{new:?}");
        assert!(whole.ends_with(short.as_str()), "{new:?}");
    }

    #[test]
    fn names_of_headers_and_how_bodies_are_read_stay() {
        let known = BTreeSet::new();
        let mut personal = Personal::new(&known);
        let answer = serde_json::json!({
            "headers": [["content-type", "application/json"], ["x-customer", "Byron, ref 250000012345"]],
            "body": b"type".to_vec(),
        });
        personal.collect(&answer, "", false);
        let mut words: Vec<_> = personal.words.iter().cloned().collect();
        words.sort();
        assert_eq!(words, ["byron", "ref", "type"]);
        let mut asked =
            serde_json::json!({ "headers": [["Content-Type", "application/json"], ["x-customer", "Byron"]] });
        redactor().replace(&mut asked, "", &personal);
        assert_eq!(asked["headers"][0], serde_json::json!(["Content-Type", "application/json"]));
        assert_eq!(asked["headers"][1][0], "x-customer");
        assert_ne!(asked["headers"][1][1], "Byron");
    }

    #[test]
    fn what_is_called_headers_and_has_none_is_somebody_s() {
        let redactor = redactor();
        let known = BTreeSet::new();
        let mut personal = Personal::new(&known);
        let mut said = serde_json::json!({
            "headers": ["Adalbert Byronson", ["Beatrice Birchwood", "x"], ["a", "Cleopatra", "Cedarwood"]],
            "table": { "headers": [["content-type", "application/pdf; name=\"Evangeline Elmhurst.pdf\""]] },
        });
        personal.collect(&said, "", false);
        redactor.replace(&mut said, "", &personal);
        let said = said.to_string();
        for name in
            ["Adalbert", "Byronson", "Beatrice", "Birchwood", "Cleopatra", "Cedarwood", "Evangeline", "Elmhurst"]
        {
            assert!(!said.contains(name), "{name}: {said}");
        }
    }

    #[test]
    fn what_the_host_says_is_nobody_s_and_what_others_say_is() {
        use triggerbox_model::error::Error;
        let collected = |error: Error| {
            let known = BTreeSet::from(["email".to_owned()]);
            let mut personal = Personal::new(&known);
            personal.reply(&Err(error)).expect("an error is JSON");
            let mut words: Vec<_> = personal.words.into_iter().collect();
            words.sort();
            words
        };
        assert!(collected(Error::denied("refused-by-rule", "the rule does not grant this request")).is_empty());
        assert!(collected(Error::unavailable("http-not-sent", "nothing is sent")).is_empty());
        let domain = "`read` on crm.lead(5) is outside of the records that the rule grants: [('email', '=', 'ada')]";
        assert_eq!(collected(Error::denied("refused-by-domain", domain)), ["ada"]);
        assert_eq!(collected(Error::rejected("odoo-refused", "Byron was here")), ["byron", "here", "was"]);
    }

    #[test]
    fn in_fields_of_numbers_short_ones_are_somebody_s_too() {
        for name in ["phone", "x_phone2", "phone_sanitized", "partner_id.vat", "sanitized_acc_number", "Mobile"] {
            assert!(is_numbered(name), "{name}");
        }
        for name in ["name", "private", "activity_ids", "discard"] {
            assert!(!is_numbered(name), "{name}");
        }
        let known = BTreeSet::new();
        let mut personal = Personal::new(&known);
        let fields = serde_json::json!([
            { "name": "phone", "value": { "type": "text", "value": "0477, ext. 12" } },
            { "name": "name", "value": { "type": "text", "value": "34 desks" } },
        ]);
        personal.collect(&fields, "", false);
        assert_eq!(personal.numbers, HashSet::from(["0477".to_owned(), "12".to_owned()]));
    }
}
