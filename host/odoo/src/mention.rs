//! Tokens that stand for a record's name in texts until the commit knows it.

use serde_json::{Value as Json, json};
use triggerbox_model::text::escape_html;

const OPEN: char = '\u{F8FC}';
const CLOSE: char = '\u{F8FD}';

/// The token of the n-th mention of a run. Private-use characters: nobody writes one by accident.
pub(crate) fn token(index: usize) -> String {
    format!("{OPEN}{index}{CLOSE}")
}

/// A piece of a text with tokens.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Mention(usize),
}

fn pieces(text: &str, known: usize) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    for (index, part) in text.split(OPEN).enumerate() {
        let mention = part.split_once(CLOSE).filter(|_| index > 0);
        match mention.and_then(|(number, rest)| Some((number.parse().ok().filter(|n| *n < known)?, rest))) {
            Some((number, rest)) => pieces.extend([Piece::Mention(number), Piece::Text(rest)]),
            None => pieces.push(Piece::Text(part)),
        }
    }
    pieces
}

/// A text for the apply action: as it is, or in pieces where it holds mentions. Those of the run's mentions that are words here
/// are text.
pub(crate) fn in_request(text: &str, style: &str, mentions: &[Option<String>]) -> Json {
    if !text.contains(OPEN) {
        return json!(text);
    }
    let pieces = pieces(text, mentions.len()).into_iter().map(|piece| match piece {
        Piece::Text(text) => json!(text),
        Piece::Mention(index) => match mentions.get(index) {
            Some(Some(words)) => json!(styled(words, style)),
            _ => json!(index),
        },
    });
    json!({ "$text": pieces.collect::<Vec<_>>(), "$style": style })
}

/// A text with names in place of tokens.
pub(crate) fn fill(text: &str, names: &[Option<String>]) -> String {
    if !text.contains(OPEN) {
        return text.to_owned();
    }
    let pieces = pieces(text, names.len()).into_iter().map(|piece| match piece {
        Piece::Text(text) => text.to_owned(),
        Piece::Mention(index) => names.get(index).cloned().flatten().unwrap_or_default(),
    });
    pieces.collect()
}

/// JSON text with names in place of tokens, which stand inside of its texts.
pub(crate) fn fill_json(json: &str, names: &[Option<String>]) -> String {
    let quoted = names.iter().map(|name| name.as_deref().map(in_json));
    fill(json, &quoted.collect::<Vec<_>>())
}

/// Words as they stand in a text of this style.
fn styled(words: &str, style: &str) -> String {
    match style {
        "html" => escape_html(words),
        "json" => in_json(words),
        _ => words.to_owned(),
    }
}

/// Words as they stand inside of a text in JSON.
fn in_json(words: &str) -> String {
    let quoted = json!(words).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_from_text() {
        let text = format!("see {} and {}", token(0), token(7));
        assert_eq!(
            in_request(&text, "html", &[None]),
            json!({"$text": ["see ", 0, " and ", "7\u{F8FD}"], "$style": "html"})
        );
        assert_eq!(in_request("plain", "html", &[None]), json!("plain"));
        for (style, words) in [("plain", "\"A\" & B"), ("html", "&#34;A&#34; &amp; B"), ("json", "\\\"A\\\" & B")] {
            let pieces = in_request(&token(0), style, &[Some("\"A\" & B".to_owned())]);
            assert_eq!(pieces["$text"], json!(["", words, ""]));
        }
        assert_eq!(fill(&format!("{}!", token(0)), &[Some("Ada (3)".to_owned())]), "Ada (3)!");
    }
}
