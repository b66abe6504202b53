//! Tokens that stand for a record's name in texts until the name and the id are known.

use triggerbox_model::{
    error::Error,
    value::{RecordRef, is_provisional},
};

use crate::{overlay::Overlay, write::html};

const OPEN: char = '\u{F8FC}';
const CLOSE: char = '\u{F8FD}';

/// The token of the n-th mention of a change set. Private-use characters: nobody writes one by accident.
pub(crate) fn token(index: usize) -> String {
    format!("{OPEN}{index}{CLOSE}")
}

/// Whether a text holds tokens.
pub(crate) fn has_token(text: &str) -> bool {
    text.contains(OPEN)
}

/// The records that a run mentioned, by token, with the names that they have by now. For what the run says
/// besides its effects: its outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mentions(pub(crate) Vec<Option<(RecordRef, String)>>);

impl Mentions {
    /// Plain text with names in place of tokens.
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        self.fill(text, Style::Plain)
    }

    /// JSON text with names in place of tokens.
    #[must_use]
    pub fn in_json(&self, json: &str) -> String {
        self.fill(json, Style::Json)
    }

    fn fill(&self, text: &str, style: Style) -> String {
        // Looking up what is known already cannot fail.
        resolve(text, style, |index| Ok(self.0.get(index).cloned().flatten())).unwrap_or_else(|_| text.to_owned())
    }
}

/// How a mention reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `Chairs (7)`
    Plain,
    /// The same, inside of a JSON text.
    Json,
    /// A link that Odoo's web client follows.
    Html,
}

/// Puts names in place of tokens. Tokens that the change set does not know stay as they are.
pub(crate) fn resolve(
    text: &str,
    style: Style,
    mut name: impl FnMut(usize) -> Result<Option<(RecordRef, String)>, Error>,
) -> Result<String, Error> {
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        resolved.push_str(before);
        let token = after.split_once(CLOSE).and_then(|(index, tail)| Some((index.parse::<usize>().ok()?, tail)));
        let Some((index, tail)) = token else {
            resolved.push(OPEN);
            rest = after;
            continue;
        };
        match name(index)? {
            Some((record, name)) => resolved.push_str(&words(style, &record, &name)),
            None => resolved.push_str(&self::token(index)),
        }
        rest = tail;
    }
    resolved.push_str(rest);
    Ok(resolved)
}

fn words(style: Style, record: &RecordRef, name: &str) -> String {
    let plain = match is_provisional(record.id) {
        // Only in a preview: nothing is committed with a record that has no id yet.
        true => format!("{name} (new)"),
        false => format!("{name} ({})", record.id),
    };
    match style {
        Style::Plain => plain,
        Style::Json => {
            let quoted = serde_json::Value::String(plain).to_string();
            quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
        }
        Style::Html => format!(
            "<a href=\"/odoo/{model}/{id}\" data-oe-model=\"{model}\" data-oe-id=\"{id}\">{name}</a>",
            model = html::escape(&record.model),
            id = record.id,
            name = html::escape(name)
        ),
    }
}

/// Fails when a text holds the number of a record that exists only in this run: it would mean nothing, or
/// another record, once the run is applied.
pub(crate) fn refuse_provisional_ids(overlay: &Overlay, text: &str) -> Result<(), Error> {
    for number in text.split(|c: char| !c.is_ascii_digit()).filter(|part| part.len() == 10) {
        if let Ok(id) = number.parse()
            && overlay.gave_out(id)
        {
            return Err(Error::invalid(
                "provisional-id",
                format!(
                    "the text holds {id}, which is the id of a new record only within this run; name the record with `mention`"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_become_names() {
        let text = format!("see {} and {}", token(0), token(7));
        let name = |index| Ok((index == 0).then(|| (RecordRef::new("crm.lead", 9), "A <b>".to_owned())));
        assert_eq!(resolve(&text, Style::Plain, name).unwrap(), format!("see A <b> (9) and {}", token(7)));
        assert!(resolve(&text, Style::Html, name).unwrap().contains(">A &lt;b&gt;</a>"));
        assert_eq!(resolve("\u{F8FC}x", Style::Plain, name).unwrap(), "\u{F8FC}x");
    }
}
