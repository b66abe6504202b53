//! A browser that keeps cookies and sends forms, as people's do.

use std::{collections::BTreeMap, sync::Mutex};

use triggerbox_automation::{Clock, EngineError};
use triggerbox_server::people::{Role, SessionKey, accounts, sessions};

use crate::world::{Answer, World};

pub(crate) struct Browser<'w> {
    world: &'w World,
    client: reqwest::Client,
    pub(crate) cookies: Mutex<BTreeMap<String, String>>,
}

impl<'w> Browser<'w> {
    pub(crate) fn new(world: &'w World) -> Self {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { world, client, cookies: Mutex::default() }
    }

    /// One that is signed in, with an account of its own.
    pub(crate) async fn of(world: &'w World, user: u32, roles: &[Role]) -> Self {
        let browser = Self::new(world);
        let (roles, now) = (roles.iter().copied().collect(), world.clock.now());
        let key = world.app.write(move |conn| {
            let login = format!("account{}", accounts::list(conn)?.len());
            let account = accounts::create(conn, &login, user, &roles, now)??;
            Ok::<_, EngineError>(sessions::create(conn, account, "127.0.0.1", now)?)
        });
        browser.keep("tb_session", key.await.unwrap().cookie());
        browser
    }

    pub(crate) fn keep(&self, name: &str, value: &str) {
        self.cookies.lock().unwrap().insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(name).cloned()
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let jar = self.cookies.lock().unwrap();
        let all: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.client.request(method.parse().unwrap(), format!("{}{path}", self.world.base));
        if all.is_empty() { request } else { request.header("cookie", all.join("; ")) }
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let answer = self.world.send(request).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(text.contains("HttpOnly") && text.contains("SameSite=Lax"), "{text}");
            let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
            if text.contains("Max-Age=0") {
                self.cookies.lock().unwrap().remove(name);
            } else {
                self.keep(name, value);
            }
        }
        answer
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request("GET", path)).await
    }

    /// A page that is there, with all that each page must have.
    pub(crate) async fn page(&self, path: &str) -> String {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.bytes.len() < 200 << 10, "{path} has {} bytes", answer.bytes.len());
        let text = answer.text();
        sound(&text).unwrap_or_else(|why| panic!("{path}: {why}\n{text}"));
        text
    }

    /// What this browser's forms carry.
    pub(crate) fn form_token(&self) -> String {
        let names = ["tb_session", "__Host-tb_session", "tb_guest", "__Host-tb_guest"];
        let key = names.into_iter().find_map(|name| self.cookie(name)).unwrap_or_default();
        SessionKey::of(&key).form_token()
    }

    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> reqwest::RequestBuilder {
        let token = self.form_token();
        let fields = fields.iter().copied().chain([("form-token", token.as_str())]);
        let body: Vec<_> = fields.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.request("POST", path).header("content-type", "application/x-www-form-urlencoded").body(body.join("&"))
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.form(path, fields)).await
    }

    /// A form that is done; where it leads.
    pub(crate) async fn done(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let answer = self.post(path, fields).await;
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        answer.header("location").to_owned()
    }
}

pub(crate) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Elements that pages are made of. Another one came from elsewhere.
const ELEMENTS: [&str; 69] = [
    "bdi",
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "body",
    "a",
    "header",
    "nav",
    "main",
    "section",
    "details",
    "summary",
    "div",
    "span",
    "p",
    "b",
    "br",
    "h1",
    "h2",
    "h3",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "form",
    "input",
    "select",
    "option",
    "optgroup",
    "textarea",
    "button",
    "label",
    "fieldset",
    "legend",
    "noscript",
    "code",
    "pre",
    "time",
    "del",
    "ins",
    "svg",
    "g",
    "rect",
    "figure",
    "figcaption",
    "em",
    "i",
    "small",
    "strong",
    "kbd",
    "hr",
    "footer",
    "article",
    "aside",
    "datalist",
    "output",
    "progress",
    "abbr",
];

/// Whether a page is made of nothing but what the templates write: known elements, quoted attributes, no handlers, no styles,
/// no script but the one file, no address elsewhere. Texts from outside have no `<` then, and close no attribute.
pub(crate) fn sound(page: &str) -> Result<(), String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap_or(page);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let closing = rest.starts_with('/');
        rest = rest.strip_prefix('/').unwrap_or(rest);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).ok_or("a tag that does not end")?;
        let name = &rest[..end];
        if !ELEMENTS.contains(&name) {
            return Err(format!("an element `{name}`: {}", rest.chars().take(60).collect::<String>()));
        }
        rest = &rest[end..];
        let mut source = None;
        loop {
            rest = rest.trim_start();
            if let Some(behind) = rest.strip_prefix('>') {
                rest = behind;
                break;
            }
            let end = rest
                .find(|c: char| c == '=' || c == '>' || c.is_whitespace())
                .ok_or("an attribute that does not end")?;
            let attribute = &rest[..end];
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if attribute.is_empty() || !attribute.chars().all(plain) {
                return Err(format!("an attribute `{attribute}` of `{name}`"));
            }
            if attribute.starts_with("on") || ["style", "srcdoc", "srcset", "http-equiv"].contains(&attribute) {
                return Err(format!("`{attribute}` of `{name}`"));
            }
            rest = &rest[end..];
            let Some(value) = rest.strip_prefix("=\"") else { continue };
            let end = value.find('"').ok_or("a value that does not end")?;
            let (value, behind) = value.split_at(end);
            rest = &behind[1..];
            if ["href", "src", "action", "formaction", "data-ask"].contains(&attribute) {
                let own = (value.starts_with('/') && !value.starts_with("//") && !value.contains('\\'))
                    || value.starts_with('#');
                if !own {
                    return Err(format!("`{attribute}` of `{name}` leads to `{value}`"));
                }
                source = Some(value);
            }
        }
        if name == "script" && !closing && (source != Some("/assets/app.js") || !rest.starts_with("</script>")) {
            return Err("a script that is not ours".to_owned());
        }
    }
    Ok(())
}

/// Elements that keep the direction of writing to themselves: each is a block, or the style sheet isolates it.
const ISOLATED: [&str; 29] = [
    "a", "b", "bdi", "button", "code", "dd", "del", "div", "dt", "em", "h1", "h2", "h3", "i", "ins", "label", "li",
    "option", "p", "pre", "small", "span", "strong", "summary", "td", "textarea", "th", "time", "title",
];

/// Whether each text with marks that turn the direction of writing ends with its element: else they turn what stands behind it.
pub(crate) fn isolated(page: &str) -> Result<(), String> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    for (at, _) in page.match_indices(turns) {
        let (before, behind) = page.split_at(at);
        // The values of attributes are by themselves.
        if before.rfind('<') > before.rfind('>') {
            continue;
        }
        let tag = behind.split_once('<').map_or("", |(_, tag)| tag);
        let ends =
            ISOLATED.iter().any(|name| tag.strip_prefix(&format!("/{name}")).is_some_and(|rest| rest.starts_with('>')));
        if !ends {
            return Err(format!("in front of `<{}`", tag.chars().take(60).collect::<String>()));
        }
    }
    Ok(())
}

#[test]
fn what_breaks_out_of_a_page_is_found() {
    isolated("<p title=\"\u{202e}\">a <b>\u{202e}b</b> c \u{202e}d</p>").unwrap();
    assert!(isolated("<p>\u{202e}a <b>b</b></p>").is_err());
    sound("<!DOCTYPE html><p>a &lt;b&gt; <a href=\"/x?y=%22\">z</a><script src=\"/assets/app.js\" defer></script>")
        .unwrap();
    for page in [
        "<img src=x onerror=alert(1)>",
        "<p>a<script>alert(1)</script>",
        "<input value=\"\" onfocus=\"alert(1)\">",
        "<a href=\"javascript:alert(1)\">",
        "<a href=\"//evil.example\">",
        "<p style=\"x\">",
        "<p title='x'>",
        "<iframe src=\"/x\">",
        "a < b",
    ] {
        assert!(sound(page).is_err(), "{page}");
    }
}
