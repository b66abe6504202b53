//! HTML that is stored: sanitised with an allow-list, in the shape that Odoo gives it.
//!
//! The sanitising is ammonia's. Around it, Odoo's habits: text without a block around it gets a paragraph,
//! a dangerous address becomes an empty one, a form becomes a plain block.

use std::{borrow::Cow, collections::HashSet, sync::LazyLock};

use ammonia::Builder;
pub use triggerbox_model::text::escape_html as escape;

/// Sanitised HTML of an HTML source.
#[must_use]
pub fn sanitize(source: &str) -> String {
    if source.trim().is_empty() {
        return String::new();
    }
    let clean = CLEANER.clean(source).to_string();
    // The cleaner keeps forms without their attributes, and escapes every `<` that is not a tag.
    let mut clean = clean.replace("<form>", "<div>").replace("</form>", "</div>");
    // A parser of HTML 5 gives every table a body.
    if !source.to_ascii_lowercase().contains("<tbody") {
        clean = clean.replace("<tbody>", "").replace("</tbody>", "");
    }
    wrap(clean)
}

/// Text as HTML: special characters escaped, one paragraph.
#[must_use]
pub fn from_text(text: &str) -> String {
    if text.trim().is_empty() { String::new() } else { format!("<p>{}</p>", escape(text)) }
}

/// What people read of HTML: no tags, blocks on lines of their own.
#[must_use]
pub fn to_text(html: &str) -> String {
    let spaced = html.replace("</p>", "</p>\n").replace("<br>", "\n").replace("</div>", "</div>\n");
    let bare = TEXT_ONLY.clean(&spaced).to_string();
    let plain = bare
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", " ")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    plain.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Tags that may stay, as in Odoo: everything but scripts, styles, frames and the page itself.
const TAGS: &str = "a abbr acronym address area article aside b bdi bdo big blockquote br caption center cite code col \
    colgroup data dd del details dfn dir div dl dt em figcaption figure font footer form h1 h2 h3 h4 h5 h6 header hgroup hr i img \
    ins kbd legend li main map mark menu nav ol p picture pre q rp rt ruby s samp section small source span strike \
    strong sub summary sup table tbody td tfoot th thead time tr tt u ul var video wbr";

/// Attributes that may stay on every tag.
const ATTRIBUTES: &str = "abbr align alt axis border bgcolor cellpadding cellspacing char charoff charset checked class \
    clear cols colspan color compact coords datetime dir face frame headers height hspace id \
    ismap label lang longdesc maxlength name noshade nowrap rel rev rows rowspan rules scope shape size span start style summary \
    tabindex target title type usemap valign value vspace width \
    data-oe-model data-oe-id data-oe-field data-oe-type data-oe-expression data-oe-nodeid data-o-mail-quote \
    data-o-mail-quote-node data-o-mail-quote-container data-id data-width data-height data-attachment-id data-mimetype data-file-name";

/// Addresses that do nothing but lead somewhere.
const SAFE_SCHEMES: [&str; 8] = ["http", "https", "mailto", "tel", "sms", "ftp", "ftps", "geo"];

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::new();
    builder
        .tags(TAGS.split_whitespace().collect())
        .clean_content_tags(HashSet::from([
            "script", "style", "title", "iframe", "noscript", "object", "embed", "frame",
        ]))
        .tag_attributes(
            [("a", HashSet::from(["href"])), ("img", HashSet::from(["src"])), ("area", HashSet::from(["href"]))].into(),
        )
        .generic_attributes(ATTRIBUTES.split_whitespace().collect())
        .link_rel(None)
        .strip_comments(true)
        // Dangerous schemes are let through to the filter, which empties them: Odoo keeps the bare link.
        .url_schemes(
            SAFE_SCHEMES.into_iter().chain(["javascript", "vbscript", "data", "file", "about", "blob"]).collect(),
        )
        .attribute_filter(|tag, attribute, value| match (tag, attribute) {
            ("form", _) => None,
            (_, "href" | "src") if !is_safe(tag, value) => Some(Cow::Borrowed("")),
            (_, "style") if value.to_ascii_lowercase().contains("javascript:") => None,
            _ => Some(Cow::Borrowed(value)),
        });
    builder
});

static TEXT_ONLY: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder.clean_content_tags(HashSet::from(["script", "style", "title"]));
    builder
});

/// Whether an address has no scheme or a harmless one. Pictures may carry their own bytes.
fn is_safe(tag: &str, address: &str) -> bool {
    let bare: String = address.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let Some((scheme, rest)) = bare.split_once(':') else { return true };
    if !scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')) {
        return true;
    }
    let scheme = scheme.to_ascii_lowercase();
    SAFE_SCHEMES.contains(&scheme.as_str())
        || (tag == "img" && scheme == "data" && rest.starts_with("image/") && !rest.starts_with("image/svg"))
}

/// Tags that stand for themselves; text and inline tags outside of them get a paragraph.
const BLOCKS: [&str; 28] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "center",
    "details",
    "dir",
    "div",
    "dl",
    "figure",
    "footer",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "main",
    "menu",
    "nav",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "ul",
];

/// Puts a paragraph around text that has none. One inline element alone stays as it is.
fn wrap(html: String) -> String {
    let trimmed = html.trim_end();
    if trimmed.is_empty() {
        return String::new();
    }
    match Top::of(trimmed) {
        Top::Text(end) => match html.split_at_checked(end) {
            Some((text, blocks)) => format!("<p>{text}</p>{blocks}"),
            None => html,
        },
        Top::Inline => format!("<span>{html}</span>"),
        Top::Whole => html,
    }
}

/// What stands at the top level of a fragment.
enum Top {
    /// Begins with text: everything up to the first block, which begins here, is one paragraph.
    Text(usize),
    /// Several inline elements.
    Inline,
    /// One element, or blocks.
    Whole,
}

impl Top {
    fn of(html: &str) -> Self {
        let mut depth = 0_usize;
        let mut elements = 0_usize;
        let mut text = false;
        let mut block = None;
        let mut rest = html;
        while let Some(start) = rest.find('<') {
            let (before, tag) = rest.split_at(start);
            if depth == 0 && !before.trim().is_empty() {
                if elements == 0 {
                    text = true;
                }
                elements += 1;
            }
            let end = tag_end(tag);
            let (tag, after) = tag.split_at(end);
            let closing = tag.starts_with("</");
            let name: String =
                tag.trim_start_matches(['<', '/']).chars().take_while(char::is_ascii_alphanumeric).collect();
            let void = matches!(name.as_str(), "br" | "hr" | "img" | "col" | "area" | "wbr" | "source");
            if depth == 0 && block.is_none() && BLOCKS.contains(&name.as_str()) {
                block = Some(html.len() - rest.len() + start);
            }
            match (closing, void) {
                (true, _) => depth = depth.saturating_sub(1),
                (false, true) => elements += usize::from(depth == 0),
                (false, false) => {
                    elements += usize::from(depth == 0);
                    depth += 1;
                }
            }
            rest = after;
        }
        if depth == 0 && !rest.trim().is_empty() {
            text |= elements == 0;
            elements += 1;
        }
        match (text, elements, block) {
            (true, _, block) => Self::Text(block.unwrap_or(html.len())),
            (_, 0 | 1, _) | (_, _, Some(_)) => Self::Whole,
            _ => Self::Inline,
        }
    }
}

/// Where a tag ends; a `>` inside of a quoted attribute does not end it.
fn tag_end(tag: &str) -> usize {
    let mut quoted = false;
    for (at, c) in tag.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return at + 1,
            _ => {}
        }
    }
    tag.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_odoo_stores() {
        for (source, stored) in [
            ("plain", "<p>plain</p>"),
            ("<script>alert(1)</script>x", "<p>x</p>"),
            ("<a href=\"javascript:x()\">l</a>", "<a href=\"\">l</a>"),
            ("<p>a</p><p>b</p>", "<p>a</p><p>b</p>"),
            ("a & b", "<p>a &amp; b</p>"),
            ("1 < 2", "<p>1 &lt; 2</p>"),
            ("<img src=\"x\" onerror=\"y\">", "<img src=\"x\">"),
            ("", ""),
            (" ", ""),
            ("<p></p>", "<p></p>"),
            ("<h1>T</h1><ul><li>i</li></ul>", "<h1>T</h1><ul><li>i</li></ul>"),
            ("<form action=\"x\"><input name=\"a\"></form>", "<div></div>"),
            ("line1\nline2", "<p>line1\nline2</p>"),
            ("<style>p{}</style><p>s</p>", "<p>s</p>"),
            ("<b>bold</b>", "<b>bold</b>"),
            ("<b>bold</b> and not", "<span><b>bold</b> and not</span>"),
            ("some <b>bold</b>", "<p>some <b>bold</b></p>"),
            ("text<p>a</p>", "<p>text</p><p>a</p>"),
            ("<table><tr><td>1</td></tr></table>", "<table><tr><td>1</td></tr></table>"),
        ] {
            assert_eq!(sanitize(source), stored, "{source}");
        }
    }

    #[test]
    fn nothing_that_runs_survives() {
        for source in [
            "<a href=\"java\tscript:x()\">l</a>",
            "<a href=\" JaVaScRiPt:x()\">l</a>",
            "<iframe src=\"http://x\"></iframe>",
            "<img src=\"data:image/svg+xml;base64,AAAA\">",
            "<svg onload=x()></svg>",
            "<p onclick=\"x()\">t</p>",
            "<math><mi//xlink:href=\"data:x,<script>x()</script>\">",
        ] {
            let stored = sanitize(source).to_lowercase();
            for bad in ["script", "onclick", "onload", "iframe", "svg"] {
                assert!(!stored.contains(bad), "{source} gives {stored}");
            }
        }
    }

    #[test]
    fn text_of_html() {
        assert_eq!(to_text("<p>a &amp; b</p><p>c<br>d</p>"), "a & b\nc\nd");
    }
}
