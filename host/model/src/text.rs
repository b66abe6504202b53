//! Small helpers for texts.

/// The candidate that a mistyped name probably meant, if one is near enough.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = 1 + name.chars().count() / 4;
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Text with the characters that mean something in HTML escaped, as Odoo does.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What a parser says is wrong with a file, without the value at fault that it quotes: that may be a secret which somebody
/// put there, where only its place belongs.
#[must_use]
pub fn without_value(problem: &str) -> String {
    let quoting = ["invalid type", "invalid value", "unknown variant"];
    let what = quoting.into_iter().find(|what| problem.starts_with(*what));
    match (what, problem.rsplit_once(", expected ")) {
        (Some(what), Some((_, expected))) => format!("{what}, expected {expected}"),
        (Some(what), None) => what.to_owned(),
        (None, _) => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_in_html_is_escaped() {
        assert_eq!(escape_html("<a href=\"x\">R & D's</a>"), "&lt;a href=&#34;x&#34;&gt;R &amp; D&#39;s&lt;/a&gt;");
        assert_eq!(escape_html("plain"), "plain");
    }

    #[test]
    fn a_value_at_fault_is_not_quoted() {
        for (problem, told) in [
            ("unknown variant `k, expected `, expected `env` or `file`", "unknown variant, expected `env` or `file`"),
            ("invalid type: string \"sk-1\", expected a map", "invalid type, expected a map"),
            ("invalid value: sk-1", "invalid value"),
            ("unknown field `nmae`, expected `name`", "unknown field `nmae`, expected `name`"),
        ] {
            assert_eq!(without_value(problem), told);
        }
    }
}
