//! Tokens that stand for a record's name in texts until the commit knows it.

use serde_json::{Value as Json, json};

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

/// A text for the apply action: as it is, or in pieces where it holds mentions.
pub(crate) fn in_request(text: &str, style: &str, known: usize) -> Json {
    if !text.contains(OPEN) {
        return json!(text);
    }
    let pieces = pieces(text, known).into_iter().map(|piece| match piece {
        Piece::Text(text) => json!(text),
        Piece::Mention(index) => json!(index),
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
    let quoted = names.iter().map(|name| {
        let quoted = json!(name.as_ref()?).to_string();
        quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(str::to_owned)
    });
    fill(json, &quoted.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_from_text() {
        let text = format!("see {} and {}", token(0), token(7));
        assert_eq!(in_request(&text, "html", 1), json!({"$text": ["see ", 0, " and ", "7\u{F8FD}"], "$style": "html"}));
        assert_eq!(in_request("plain", "html", 1), json!("plain"));
        assert_eq!(fill(&format!("{}!", token(0)), &[Some("Ada (3)".to_owned())]), "Ada (3)!");
    }
}
