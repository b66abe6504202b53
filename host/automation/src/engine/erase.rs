//! Taking one person's data out of what is kept of runs: requests, reports, logs, journals, conversations. Records are not
//! touched: whoever keeps them erases them there.
//!
//! Much of it is JSON that the program reads again: there the texts go out of what was said and written, and the program's own
//! words, such as names of fields, stay.

use rusqlite::{
    Connection, ToSql,
    types::{FromSql, FromSqlResult, ToSqlOutput, Value as Cell, ValueRef},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use triggerbox_model::{
    call::{LlmMessage, Reply},
    changes::{Change, ChangeSet, Diff},
    error::Error,
    event::Outcome,
};

use super::Engine;
use crate::{
    error::EngineError,
    firing::Firing,
    journal::Recording,
    packed::{pack, unpack},
    runs::LogLine,
};

/// What stands in place of what was erased.
const ERASED: &str = "[erased]";

/// Shorter texts would be found everywhere.
const SHORTEST: usize = 4;

/// Rows that are looked at in one transaction.
const BATCH: u64 = 200;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Rows that held something of it.
    pub rows: usize,
    /// Proposals that hold something of it and wait for a yes: they are decided first.
    pub waiting: usize,
    /// Rows that could not be read, or hold something of it and could not be read without: they are as they were.
    pub left: usize,
}

/// How far an erasure has come, and so where it goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasing {
    /// Tables that it is through with.
    pub tables: usize,
    /// Rows that it looked at.
    pub looked: u64,
    /// What it came to.
    pub erased: Erased,
    /// The key of the row that it looked at last in the next table, if it has begun with it.
    after: Option<Vec<Key>>,
}

impl Erasing {
    /// The tables that there are.
    #[must_use]
    pub fn all_tables() -> usize {
        PLACES.len()
    }

    /// Whether it is through with all of them.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.tables >= PLACES.len()
    }
}

/// A part of the key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Number(i64),
    Text(String),
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self::Number).or_else(|_| String::column_result(value).map(Self::Text))
    }
}

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy)]
enum Form {
    /// A text, or JSON that is not the program's own.
    Free,
    /// JSON that the program reads again, if it still can.
    Read(fn(&Json) -> bool),
    /// The same, packed.
    Packed(fn(&Json) -> bool),
}

/// A table with the columns that hold texts from records.
struct Place {
    table: &'static str,
    columns: &'static [(&'static str, Form)],
}

static PLACES: [Place; 11] = [
    Place {
        table: "engine_run",
        columns: &[
            ("request", Form::Read(reads::<Firing>)),
            ("message", Form::Free),
            ("outcome", Form::Read(reads::<Outcome>)),
        ],
    },
    Place { table: "engine_event", columns: &[("change", Form::Read(reads::<Change>))] },
    Place {
        table: "engine_attempt",
        columns: &[
            ("report", Form::Packed(|_| true)),
            ("log", Form::Packed(reads::<Vec<LogLine>>)),
            ("journal", Form::Packed(reads::<Recording>)),
        ],
    },
    Place { table: "engine_log", columns: &[("message", Form::Free)] },
    Place {
        table: "engine_proposal",
        columns: &[
            ("why", Form::Free),
            ("note", Form::Free),
            ("yes_note", Form::Free),
            ("changes", Form::Packed(reads::<ChangeSet>)),
            ("diff", Form::Packed(reads::<Diff>)),
        ],
    },
    Place { table: "engine_seen", columns: &[("answer", Form::Read(|_| true))] },
    Place { table: "engine_thread", columns: &[("name", Form::Free)] },
    Place { table: "engine_refusal", columns: &[("message", Form::Free)] },
    // What scripts keep for their next run.
    Place { table: "tb_state", columns: &[("json", Form::Free)] },
    Place {
        table: "llm_call",
        columns: &[("request", Form::Read(is_question)), ("reply", Form::Read(reads::<Reply>))],
    },
    Place { table: "llm_plan", columns: &[("plan", Form::Read(|_| true))] },
];

/// Whether JSON is of a type.
fn reads<T: DeserializeOwned>(json: &Json) -> bool {
    T::deserialize(json).is_ok()
}

/// Whether JSON is what a language model, or another service, was asked.
fn is_question(json: &Json) -> bool {
    json.get("messages").is_none_or(reads::<Vec<LlmMessage>>)
}

impl Engine {
    /// Takes texts, whatever their case, out of all that is kept of runs. A run that held one no longer replays as it was.
    ///
    /// # Errors
    /// As [`Engine::erase_more`] and [`Engine::forget_erased`].
    pub async fn erase(&self, texts: &[String]) -> Result<Erased, EngineError> {
        let mut so_far = Erasing::default();
        while !so_far.is_over() {
            so_far = self.erase_more(texts, so_far, |_, _| Ok(())).await?;
        }
        self.forget_erased().await?;
        Ok(so_far.erased)
    }

    /// Writes the database's file anew: until then, whoever has the file can read in it what was erased, and what was let go
    /// or deleted before. Whatever is to be written waits meanwhile.
    ///
    /// # Errors
    /// As [`triggerbox_store::db::Database::write_anew`].
    pub async fn forget_erased(&self) -> Result<(), EngineError> {
        self.off_the_way(|engine| Ok(engine.database().write_anew()?)).await
    }

    /// Takes texts out of some more of it, from where it had come to. How far it has come then; `keep` writes that down in the
    /// same transaction.
    ///
    /// # Errors
    /// `too-short-to-erase`; what the database says. What was done before stays done.
    pub async fn erase_more(
        &self,
        texts: &[String],
        mut so_far: Erasing,
        keep: impl FnOnce(&Connection, &Erasing) -> Result<(), EngineError> + Send + 'static,
    ) -> Result<Erasing, EngineError> {
        let texts = wanted(texts)?;
        let work = move |conn: &Connection| {
            if let Some(place) = PLACES.get(so_far.tables) {
                batch(conn, place, &texts, &mut so_far)?;
            }
            keep(conn, &so_far)?;
            Ok::<_, EngineError>(so_far)
        };
        self.committer().commit(work).await
    }

    /// Refuses texts that would be found everywhere.
    ///
    /// # Errors
    /// `too-short-to-erase`
    pub fn check_texts(texts: &[String]) -> Result<(), EngineError> {
        wanted(texts).map(drop)
    }
}

/// Texts as they are looked for.
fn wanted(texts: &[String]) -> Result<Vec<Vec<char>>, EngineError> {
    let texts: Vec<Vec<char>> = texts.iter().map(|text| folded(text.trim())).collect();
    if texts.is_empty() || texts.iter().any(|text| text.len() < SHORTEST) {
        let text = format!("each text has at least {SHORTEST} characters, or it is found everywhere");
        return Err(Error::invalid("too-short-to-erase", text).into());
    }
    Ok(texts)
}

/// The columns that tell rows of a table apart.
fn keys(conn: &Connection, place: &Place) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    conn.prepare_cached(sql)?.query_map([place.table], |row| row.get(0))?.collect()
}

/// One batch of a table, from where it had come to.
fn batch(conn: &Connection, place: &Place, texts: &[Vec<char>], so_far: &mut Erasing) -> Result<(), EngineError> {
    let keys = keys(conn, place)?;
    let key = keys.join(", ");
    let columns: Vec<&str> = place.columns.iter().map(|(column, _)| *column).collect();
    let marks = |count: usize| vec!["?"; count].join(", ");
    let after = so_far.after.take();
    let from = after.as_ref().map_or_else(String::new, |_| format!("WHERE ({key}) > ({})", marks(keys.len())));
    let waits = if place.table == "engine_proposal" { "state = 'waiting'" } else { "0" };
    let sql = format!(
        "SELECT {key}, {waits}, {} FROM {} {from} ORDER BY {key} LIMIT {BATCH}",
        columns.join(", "),
        place.table
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(after.unwrap_or_default()))?;
    let (mut last, mut seen) = (None, 0);
    let mut updates = Vec::new();
    while let Some(row) = rows.next()? {
        seen += 1;
        let id: Vec<Key> = (0..keys.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        last = Some(id.clone());
        let (mut set, mut left) = (Vec::new(), false);
        for (at, (column, form)) in place.columns.iter().enumerate() {
            let cell: Cell = row.get(keys.len() + 1 + at)?;
            match cleaned(&cell, *form, texts)? {
                Cleaned::Clean(clean) => set.push((*column, clean)),
                Cleaned::Left => left = true,
                Cleaned::Untouched => {}
            }
        }
        so_far.erased.left += usize::from(left);
        if set.is_empty() {
            continue;
        }
        // What waits is applied exactly as it was shown, or not at all.
        if row.get(keys.len())? {
            so_far.erased.waiting += 1;
            continue;
        }
        so_far.erased.rows += 1;
        updates.push((id, set));
    }
    for (id, set) in updates {
        let assigned: Vec<String> = set.iter().map(|(column, _)| format!("{column} = ?")).collect();
        let sql = format!("UPDATE {} SET {} WHERE ({key}) = ({})", place.table, assigned.join(", "), marks(keys.len()));
        let cells = set.iter().map(|(_, cell)| cell as &dyn ToSql);
        conn.prepare_cached(&sql)?
            .execute(rusqlite::params_from_iter(cells.chain(id.iter().map(|part| part as &dyn ToSql))))?;
    }
    so_far.looked += seen;
    if seen == BATCH {
        so_far.after = last;
    } else {
        so_far.tables += 1;
    }
    Ok(())
}

/// What became of a cell.
enum Cleaned {
    /// It has none of the texts.
    Untouched,
    /// It had, and is without them now.
    Clean(Cell),
    /// It cannot be read, or has some and the program could not read it without them.
    Left,
}

/// A cell without the texts.
fn cleaned(cell: &Cell, form: Form, texts: &[Vec<char>]) -> Result<Cleaned, EngineError> {
    let of = |clean: Option<String>| clean.map_or(Cleaned::Untouched, |text| Cleaned::Clean(Cell::Text(text)));
    Ok(match (cell, form) {
        (Cell::Blob(bytes), Form::Packed(reads)) => {
            // Nobody can read one that is damaged, and it keeps the others from nothing.
            let Ok(mut json) = unpack::<Json>(bytes) else { return Ok(Cleaned::Left) };
            match scrub_own(&mut json, "", texts) {
                false => Cleaned::Untouched,
                // What could not be read before is no worse now.
                true if reads(&json) || !reads(&unpack(bytes)?) => Cleaned::Clean(Cell::Blob(pack(&json)?)),
                true => Cleaned::Left,
            }
        }
        (Cell::Text(text), form) => match (serde_json::from_str::<Json>(text), form) {
            (Ok(mut json), Form::Read(reads)) if json.is_object() || json.is_array() => {
                match scrub_own(&mut json, "", texts) {
                    false => Cleaned::Untouched,
                    true if reads(&json) || !reads(&serde_json::from_str(text)?) => of(Some(json.to_string())),
                    true => Cleaned::Left,
                }
            }
            (Ok(mut json), _) if json.is_object() || json.is_array() => {
                of(scrub(&mut json, texts).then(|| json.to_string()))
            }
            _ => of(without(text, texts)),
        },
        _ => Cleaned::Untouched,
    })
}

/// Takes the texts out of JSON of the program's own: names stay, and so do the program's words. `under`: the name that it
/// stands under. Whether there was one.
fn scrub_own(json: &mut Json, under: &str, texts: &[Vec<char>]) -> bool {
    match json {
        Json::String(text) if is_word(under, text) => false,
        Json::Array(list) if under == "body" && list.iter().all(Json::is_u64) => scrub_bytes(list, texts),
        Json::Array(list) => list.iter_mut().fold(false, |found, one| scrub_own(one, under, texts) | found),
        Json::Object(map) => {
            // Of a field's value, a tool's call and a tool the name is the program's; of anybody else it is theirs.
            let named = ["value", "arguments_json", "parameters_schema"].iter().any(|beside| map.contains_key(*beside));
            map.iter_mut().fold(false, |found, (name, one)| {
                let under = if named && name == "name" { "field" } else { name.as_str() };
                scrub_own(one, under, texts) | found
            })
        }
        other => scrub(other, texts),
    }
}

/// Whether a text is a word of the program: a fixed one, or the name of a model, a field, a method, by what it stands under.
fn is_word(under: &str, text: &str) -> bool {
    #[rustfmt::skip]
    const PLACES: &[&str] = &[
        "aggregates", "answer", "call", "call_id", "chatter", "class", "code", "commands", "data", "effect", "ending",
        "engine", "failure", "field", "fields", "finish", "format", "group_by", "keys", "kind", "lang", "layer", "level",
        "limit", "method", "model", "operation", "operations", "order", "relation", "request", "role", "rule", "run_id",
        "scope", "script", "side", "state", "terms", "tool", "tools", "type", "tz", "verdict", "xmlid",
    ];
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.:/+".contains(c);
    PLACES.contains(&under) && text.chars().all(plain)
}

/// The bytes of what was sent, if they are a text.
fn scrub_bytes(list: &mut Vec<Json>, texts: &[Vec<char>]) -> bool {
    let bytes: Option<Vec<u8>> = list.iter().map(|one| one.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    match without(&text, texts).or_else(|| within(&text, texts)) {
        Some(clean) => {
            *list = clean.bytes().map(Json::from).collect();
            true
        }
        None => false,
    }
}

/// Takes the texts out of all strings; whether there was one.
fn scrub(json: &mut Json, texts: &[Vec<char>]) -> bool {
    match json {
        Json::String(text) => match without(text, texts).or_else(|| within(text, texts)) {
            Some(clean) => {
                *text = clean;
                true
            }
            None => false,
        },
        Json::Array(list) => list.iter_mut().fold(false, |found, one| scrub(one, texts) | found),
        Json::Object(map) => {
            let named: Vec<String> = map.keys().filter(|key| without(key, texts).is_some()).cloned().collect();
            for key in &named {
                // Whatever has its name from a person has none of theirs any more.
                if let (Some(clean), Some(value)) = (without(key, texts), map.remove(key)) {
                    map.insert(clean, value);
                }
            }
            map.values_mut().fold(!named.is_empty(), |found, one| scrub(one, texts) | found)
        }
        _ => false,
    }
}

/// JSON in a text without the texts, where it writes their letters in another way; nothing, if it holds none of them.
fn within(text: &str, texts: &[Vec<char>]) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut json = serde_json::from_str::<Json>(text).ok().filter(|json| json.is_object() || json.is_array())?;
    scrub(&mut json, texts).then(|| json.to_string())
}

/// A text without some others; nothing, if it holds none of them.
fn without(text: &str, texts: &[Vec<char>]) -> Option<String> {
    let (mut clean, mut rest, mut found) = (String::new(), text, false);
    while let Some(first) = rest.chars().next() {
        let length = texts.iter().filter_map(|wanted| beginning(rest, wanted)).max();
        match length.and_then(|length| rest.get(length..)) {
            Some(behind) => {
                clean.push_str(ERASED);
                rest = behind;
                found = true;
            }
            None => {
                clean.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    found.then_some(clean)
}

/// The bytes at the beginning of a text that are a wanted one, whatever their case.
fn beginning(text: &str, wanted: &[char]) -> Option<usize> {
    let mut wanted = wanted.iter();
    for (at, c) in text.char_indices() {
        if wanted.as_slice().is_empty() {
            return Some(at);
        }
        for low in c.to_lowercase() {
            if wanted.next() != Some(&low) {
                return None;
            }
        }
    }
    wanted.as_slice().is_empty().then_some(text.len())
}

fn folded(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use triggerbox_model::{
        event::{Trigger, WebhookCall},
        value::{FieldValue, Link, Snapshot, Value},
    };

    use super::*;

    #[test]
    fn texts_are_found_in_any_case_and_nothing_else_is_changed() {
        let texts = [folded("Ada Cedar"), folded("ada@cedar.example")];
        assert_eq!(without("to ADA CEDAR <ada@Cedar.example>, é", &texts).unwrap(), "to [erased] <[erased]>, é");
        assert_eq!(without("nobody", &texts), None);
        let mut json = serde_json::json!({ "a": [1, "x ada cedar"], "b": { "c": "y" } });
        assert!(scrub(&mut json, &texts));
        assert_eq!(json, serde_json::json!({ "a": [1, "x [erased]"], "b": { "c": "y" } }));
        let mut json = serde_json::json!({ "Ada Cedar": 1, "said": "{\"to\": \"\\u0041da Cedar\"}", "path": "a\\b" });
        assert!(scrub(&mut json, &texts));
        assert_eq!(json, serde_json::json!({ "[erased]": 1, "said": "{\"to\":\"[erased]\"}", "path": "a\\b" }));
    }

    #[test]
    fn what_the_program_reads_again_it_can_still_read() {
        let link = Link { id: 12, name: Some("Webhook Manu".to_owned()) };
        let value = |name: &str, value: Value| FieldValue::new(name, value);
        let firing = Firing {
            old_values: vec![Snapshot {
                id: 7,
                fields: vec![value("field_kind", Value::text("webhook")), value("manual", Value::Many2one(link))],
            }],
            warnings: vec!["Kind of manual".to_owned()],
            ..Firing::new(
                Trigger::Webhook(WebhookCall {
                    method: "POST".to_owned(),
                    headers: vec![("x-from".to_owned(), "manu@cedar.example".to_owned())],
                    query: Vec::new(),
                    body: b"{\"from\": \"Manu\"}".to_vec(),
                }),
                vec![7],
            )
        };
        let texts = ["Field", "Kind", "Hook", "Manu", "record"].map(folded);
        let cell = Cell::Text(serde_json::to_string(&firing).unwrap());
        let Cleaned::Clean(Cell::Text(clean)) = cleaned(&cell, Form::Read(reads::<Firing>), &texts).unwrap() else {
            panic!("it holds some of them")
        };
        let clean: Firing = serde_json::from_str(&clean).unwrap();
        let Trigger::Webhook(call) = &clean.trigger else { panic!("{clean:?}") };
        assert_eq!(
            (call.headers[0].1.as_str(), &call.body[..]),
            ("[erased]@cedar.example", &b"{\"from\": \"[erased]\"}"[..])
        );
        assert_eq!(clean.records, [7]);
        let names: Vec<_> = clean.old_values[0].fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["field_kind", "manual"]);
        assert_eq!(clean.old_values[0].fields[0].value, Value::text("web[erased]"));
        let told = format!("{:?} {:?}", clean.old_values[0].fields[1].value, clean.warnings);
        assert!(told.contains("Web[erased] [erased]") && told.contains("[erased] of [erased]al"), "{told}");

        // What would be something else without it stays, and is told.
        let odd = Cell::Text("{\"trigger\":{\"kind\":\"manual\"},\"records\":[7]}".to_owned());
        let never = cleaned(&odd, Form::Read(|json| json["records"] == serde_json::json!(["x"])), &texts).unwrap();
        assert!(matches!(never, Cleaned::Untouched), "nothing of it is a text");
        let strict: fn(&Json) -> bool = |json| json["text"] == "Manu";
        let left = cleaned(&Cell::Text("{\"text\":\"Manu\"}".to_owned()), Form::Read(strict), &texts).unwrap();
        assert!(matches!(left, Cleaned::Left));
    }
}
