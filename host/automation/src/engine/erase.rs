//! Taking one person's data out of what is kept of runs: requests, reports, logs, journals, conversations. Records are not
//! touched: whoever keeps them erases them there.

use rusqlite::{Connection, types::Value as Cell};
use serde::Serialize;
use serde_json::Value as Json;
use triggerbox_model::error::Error;

use super::Engine;
use crate::{
    error::EngineError,
    packed::{pack, unpack},
};

/// What stands in place of what was erased.
const ERASED: &str = "[erased]";

/// Shorter texts would be found everywhere.
const SHORTEST: usize = 4;

/// Rows that are looked at in one transaction.
const BATCH: i64 = 200;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Rows that held something of it.
    pub rows: usize,
    /// Proposals that hold something of it and wait for a yes: they are decided first.
    pub waiting: usize,
}

/// A table with the columns that hold texts from records, plain and packed.
struct Place {
    table: &'static str,
    plain: &'static [&'static str],
    packed: &'static [&'static str],
}

static PLACES: [Place; 10] = [
    Place { table: "engine_run", plain: &["request", "message", "outcome"], packed: &[] },
    Place { table: "engine_event", plain: &["change"], packed: &[] },
    Place { table: "engine_attempt", plain: &[], packed: &["report", "log", "journal"] },
    Place { table: "engine_log", plain: &["message"], packed: &[] },
    Place { table: "engine_proposal", plain: &["why", "note", "yes_note"], packed: &["changes", "diff"] },
    Place { table: "engine_seen", plain: &["answer"], packed: &[] },
    Place { table: "engine_thread", plain: &["name"], packed: &[] },
    // What scripts keep for their next run.
    Place { table: "tb_state", plain: &["json"], packed: &[] },
    Place { table: "llm_call", plain: &["request", "reply"], packed: &[] },
    Place { table: "llm_plan", plain: &["plan"], packed: &[] },
];

impl Engine {
    /// Takes texts, whatever their case, out of all that is kept of runs. A run that held one no longer replays as it was.
    ///
    /// # Errors
    /// `too-short-to-erase`; what the database says. What is done until then stays done: doing it again goes on.
    pub async fn erase(&self, texts: &[String]) -> Result<Erased, EngineError> {
        let texts: Vec<Vec<char>> = texts.iter().map(|text| folded(text.trim())).collect();
        if texts.is_empty() || texts.iter().any(|text| text.len() < SHORTEST) {
            let text = format!("each text has at least {SHORTEST} characters, or it is found everywhere");
            return Err(Error::invalid("too-short-to-erase", text).into());
        }
        let mut erased = Erased::default();
        for place in &PLACES {
            let keys = keys(&*self.database().snapshot()?, place)?;
            let mut after: Option<Vec<Cell>> = None;
            loop {
                let (texts, keys, from) = (texts.clone(), keys.clone(), after.take());
                let work = move |conn: &Connection| batch(conn, place, &keys, from.as_deref(), &texts);
                let (done, last) = self.committer().commit(work).await?;
                erased.rows += done.rows;
                erased.waiting += done.waiting;
                match last {
                    Some(last) => after = Some(last),
                    None => break,
                }
            }
        }
        Ok(erased)
    }
}

/// The columns that tell rows of a table apart.
fn keys(conn: &Connection, place: &Place) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk";
    conn.prepare(sql)?.query_map([place.table], |row| row.get(0))?.collect()
}

/// One batch of a table; the key of its last row, if there are more.
fn batch(
    conn: &Connection,
    place: &Place,
    keys: &[String],
    after: Option<&[Cell]>,
    texts: &[Vec<char>],
) -> Result<(Erased, Option<Vec<Cell>>), EngineError> {
    let key = keys.join(", ");
    let columns: Vec<&str> = place.plain.iter().chain(place.packed).copied().collect();
    let marks = |count: usize| vec!["?"; count].join(", ");
    let from = after.map_or_else(String::new, |_| format!("WHERE ({key}) > ({})", marks(keys.len())));
    let waits = if place.table == "engine_proposal" { "state = 'waiting'" } else { "0" };
    let sql = format!(
        "SELECT {key}, {waits}, {} FROM {} {from} ORDER BY {key} LIMIT {BATCH}",
        columns.join(", "),
        place.table
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(after.unwrap_or_default()))?;
    let (mut erased, mut last, mut seen) = (Erased::default(), None, 0);
    let mut updates = Vec::new();
    while let Some(row) = rows.next()? {
        seen += 1;
        let id: Vec<Cell> = (0..keys.len()).map(|at| row.get(at)).collect::<Result<_, _>>()?;
        last = Some(id.clone());
        let mut set = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            let cell: Cell = row.get(keys.len() + 1 + at)?;
            if let Some(clean) = cleaned(&cell, place.packed.contains(column), texts)? {
                set.push((*column, clean));
            }
        }
        if set.is_empty() {
            continue;
        }
        // What waits is applied exactly as it was shown, or not at all.
        if row.get(keys.len())? {
            erased.waiting += 1;
            continue;
        }
        erased.rows += 1;
        updates.push((id, set));
    }
    for (id, set) in updates {
        let assigned: Vec<String> = set.iter().map(|(column, _)| format!("{column} = ?")).collect();
        let sql = format!("UPDATE {} SET {} WHERE ({key}) = ({})", place.table, assigned.join(", "), marks(keys.len()));
        let values = set.into_iter().map(|(_, cell)| cell).chain(id);
        conn.prepare_cached(&sql)?.execute(rusqlite::params_from_iter(values))?;
    }
    Ok((erased, last.filter(|_| seen == BATCH)))
}

/// A cell without the texts; nothing, if it has none of them.
fn cleaned(cell: &Cell, packed: bool, texts: &[Vec<char>]) -> Result<Option<Cell>, EngineError> {
    Ok(match cell {
        Cell::Blob(bytes) if packed => {
            let mut json: Json = unpack(bytes)?;
            if scrub(&mut json, texts) { Some(Cell::Blob(pack(&json)?)) } else { None }
        }
        Cell::Text(text) => match serde_json::from_str::<Json>(text) {
            Ok(mut json) if json.is_object() || json.is_array() => {
                scrub(&mut json, texts).then(|| Cell::Text(json.to_string()))
            }
            _ => without(text, texts).map(Cell::Text),
        },
        _ => None,
    })
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
}
