//! What a model writes as HTML: it may shape a text, and nothing of it loads or leads anywhere.

/// Elements that only shape a text.
const SHAPES: &[&str] = &[
    "b",
    "blockquote",
    "br",
    "code",
    "div",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "s",
    "span",
    "strong",
    "table",
    "tbody",
    "td",
    "th",
    "thead",
    "tr",
    "u",
    "ul",
];

/// A text with bare elements of these alone: whatever is in brackets is one of them, without attributes, or is left out; a
/// bracket that begins nothing is text. Whoever wants to lure others with a picture or a link has their address shown at most.
pub fn shaped(html: &str) -> String {
    let mut shaped = String::new();
    let mut rest = html;
    while let Some((text, inside)) = rest.split_once('<') {
        shaped.push_str(text);
        let comment =
            inside.strip_prefix("!--").map(|comment| comment.split_once("-->").map_or("", |(_, after)| after));
        let tag = inside.split_once('>').filter(|(tag, _)| begins(tag));
        rest = match (comment, tag) {
            (Some(after), _) => after,
            (None, Some((tag, after))) => {
                shaped.push_str(&bare(tag));
                after
            }
            (None, None) => {
                shaped.push_str("&lt;");
                inside
            }
        };
    }
    shaped + rest
}

/// Whether something in brackets is more than two signs of comparison.
fn begins(tag: &str) -> bool {
    tag.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '/' | '!' | '?'))
}

/// The element alone; nothing, if it does more than shape.
fn bare(tag: &str) -> String {
    let (slash, tag) = tag.strip_prefix('/').map_or(("", tag), |tag| ("/", tag));
    let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    match SHAPES.contains(&name.as_str()) {
        true => format!("<{slash}{name}>"),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shapes_a_text_stays_bare_and_the_rest_goes() {
        for (html, expected) in [
            ("<p>One</p><p>Two<br/>three</p>", "<p>One</p><p>Two<br>three</p>"),
            ("<P CLASS='x' style=\"background:url(//evil.example)\">a</P>", "<p>a</p>"),
            ("<img src=https://evil.example/?d=1>", ""),
            ("<a href=\"https://evil.example\">the invoice</a>", "the invoice"),
            ("<img alt=\">\" src=x onerror=alert(1)>", "\" src=x onerror=alert(1)>"),
            ("a < b and c > d, 1<2", "a &lt; b and c > d, 1&lt;2"),
            ("<<img src=x>", "&lt;"),
            ("<scr<b>ipt>", "ipt>"),
            ("a<!-- <img src=x> -->b<!-- no end", "ab"),
            ("<script>fetch('x')</script>", "fetch('x')"),
            ("<svg/onload=x><image href=x /></svg>", ""),
            ("<p", "&lt;p"),
            ("&lt;img src=x&gt;", "&lt;img src=x&gt;"),
            ("日本 <b>語</b>", "日本 <b>語</b>"),
            ("", ""),
        ] {
            assert_eq!(shaped(html), expected, "{html}");
        }
    }
}
