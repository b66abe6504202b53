//! Which requests to other services are granted: method, scheme, host, port and path. Nothing is granted by default.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use url::Url;

/// A right to send requests to one address, or to all below a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    /// Upper case.
    pub methods: BTreeSet<String>,
    /// `https://slack.com/api/chat.postMessage`; a path that ends in `/*` covers all paths below it.
    pub url: UrlPattern,
    /// The address may be a private one: loopback, a local network. Counts only where a rule grants it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
}

/// One address, or all below a path. The query is free.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UrlPattern {
    url: Url,
    /// All paths that begin with the address's own.
    below: bool,
}

/// A text that is no grant of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadHttpGrant(String);

impl UrlPattern {
    /// The address, or that which all others begin with.
    #[must_use]
    pub fn address(&self) -> &Url {
        &self.url
    }

    /// Whether a request's address is covered.
    #[must_use]
    pub fn covers(&self, url: &Url) -> bool {
        let same_place = self.is_at_the_place_of(url) && url.username().is_empty() && url.password().is_none();
        let path = url.path();
        same_place
            && match self.below {
                false => path == self.url.path(),
                // An encoded slash is a letter here and may be a slash to the server.
                true => path.starts_with(self.url.path()) && !hides_a_slash(path),
            }
    }
}

impl UrlPattern {
    /// Whether another pattern covers all that this one covers.
    fn is_within(&self, other: &Self) -> bool {
        match self.below {
            false => other.covers(&self.url),
            // What hides a slash is covered by neither.
            true => other.below && other.is_at_the_place_of(&self.url) && self.url.path().starts_with(other.url.path()),
        }
    }

    fn is_at_the_place_of(&self, url: &Url) -> bool {
        url.scheme() == self.url.scheme()
            && url.host_str() == self.url.host_str()
            && url.port_or_known_default() == self.url.port_or_known_default()
    }
}

fn hides_a_slash(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["%2f", "%5c", "\\"].iter().any(|slash| path.contains(slash))
}

impl FromStr for UrlPattern {
    type Err = BadHttpGrant;

    fn from_str(text: &str) -> Result<Self, BadHttpGrant> {
        let bad = |why: &str| Err(BadHttpGrant(format!("`{text}` is not an address to grant: {why}")));
        let (address, below) = match text.strip_suffix("/*") {
            Some(address) => (format!("{address}/"), true),
            None => (text.to_owned(), false),
        };
        let Ok(url) = Url::parse(&address) else {
            return bad("write it in full, such as https://slack.com/api/chat.postMessage");
        };
        if !matches!(url.scheme(), "http" | "https") {
            return bad("only http and https can be granted");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return bad("keys are secrets of the host, never part of an address");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return bad("leave out the query: the path is what is granted");
        }
        if address.contains('*') {
            return bad("a star stands only at the end, as `/*`; hosts are named in full");
        }
        Ok(Self { url, below })
    }
}

impl fmt::Display for UrlPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url, if self.below { "*" } else { "" })
    }
}

impl TryFrom<String> for UrlPattern {
    type Error = BadHttpGrant;

    fn try_from(text: String) -> Result<Self, BadHttpGrant> {
        text.parse()
    }
}

impl From<UrlPattern> for String {
    fn from(pattern: UrlPattern) -> Self {
        pattern.to_string()
    }
}

impl HttpGrant {
    /// Whether a request is covered. The method is compared as it is: upper case.
    #[must_use]
    pub fn covers(&self, method: &str, url: &Url) -> bool {
        self.methods.contains(method) && self.url.covers(url)
    }

    /// What this grant allows and others do not; none, when every request here is also there.
    #[must_use]
    pub fn beyond(&self, others: &[Self]) -> Option<Self> {
        let covering: Vec<&Self> =
            others.iter().filter(|other| self.url.is_within(&other.url) && (other.private || !self.private)).collect();
        let more = self.methods.iter().filter(|method| !covering.iter().any(|other| other.methods.contains(*method)));
        let methods: BTreeSet<String> = more.cloned().collect();
        (!methods.is_empty()).then(|| Self { methods, ..self.clone() })
    }
}

impl FromStr for HttpGrant {
    type Err = BadHttpGrant;

    /// `POST https://slack.com/api/chat.postMessage`, `GET,POST https://shop.example/api/*`, with ` private` after it
    /// for an address that is not public.
    fn from_str(text: &str) -> Result<Self, BadHttpGrant> {
        let shape = || BadHttpGrant(format!("`{text}` is not METHODS URL, such as `POST https://slack.com/api/*`"));
        let parts: Vec<_> = text.split_whitespace().collect();
        let (methods, url, private) = match parts.as_slice() {
            [methods, url] => (methods, url, false),
            [methods, url, "private"] => (methods, url, true),
            _ => return Err(shape()),
        };
        let methods: BTreeSet<_> = methods.split(',').map(str::to_owned).collect();
        if !methods.iter().all(|method| is_method(method)) {
            return Err(shape());
        }
        Ok(Self { methods, url: url.parse()?, private })
    }
}

impl fmt::Display for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(String::as_str).collect();
        write!(f, "{} {}{}", methods.join(","), self.url, if self.private { " private" } else { "" })
    }
}

/// Whether a text is a method's name: upper-case letters.
#[must_use]
pub fn is_method(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(grant: &str, method: &str, url: &str) -> bool {
        grant.parse::<HttpGrant>().unwrap().covers(method, &url.parse().unwrap())
    }

    #[test]
    fn a_grant_covers_its_methods_host_and_path() {
        let slack = "POST https://slack.com/api/chat.postMessage";
        assert!(covers(slack, "POST", "https://slack.com/api/chat.postMessage?pretty=1"));
        assert!(covers(slack, "POST", "https://SLACK.com:443/api/../api/chat.postMessage"));
        for (method, url) in [
            ("GET", "https://slack.com/api/chat.postMessage"),
            ("POST", "http://slack.com/api/chat.postMessage"),
            ("POST", "https://slack.com:8443/api/chat.postMessage"),
            ("POST", "https://slack.com.evil.example/api/chat.postMessage"),
            ("POST", "https://slack.com@evil.example/api/chat.postMessage"),
            ("POST", "https://me:pass@slack.com/api/chat.postMessage"),
            ("POST", "https://slack.com/api/chat.postMessage/"),
            ("POST", "https://slack.com/api/chat.delete"),
        ] {
            assert!(!covers(slack, method, url), "{method} {url}");
        }
    }

    #[test]
    fn below_a_path_means_below_it() {
        let shop = "GET,PUT https://shop.example/api/*";
        assert!(covers(shop, "PUT", "https://shop.example/api/products/7"));
        for url in [
            "https://shop.example/api",
            "https://shop.example/apis/1",
            "https://shop.example/api/../admin",
            "https://shop.example/api/%2e%2e/admin",
            "https://shop.example/api/..%2fadmin",
            "https://shop.example/api/..%5cadmin",
        ] {
            assert!(!covers(shop, "GET", url), "{url}");
        }
    }

    #[test]
    fn what_is_no_grant_says_why() {
        for (text, why) in [
            ("https://slack.com/", "is not METHODS URL"),
            ("post https://slack.com/", "is not METHODS URL"),
            ("POST https://*.slack.com/", "hosts are named in full"),
            ("POST https://slack.com/a*", "a star stands only at the end"),
            ("POST ftp://slack.com/", "only http and https"),
            ("POST https://u:p@slack.com/", "keys are secrets"),
            ("POST https://slack.com/?a=1", "leave out the query"),
            ("POST slack.com", "write it in full"),
        ] {
            let error = text.parse::<HttpGrant>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let grant: HttpGrant = "POST,GET http://127.0.0.1:9/x/* private".parse().unwrap();
        assert_eq!(grant.to_string(), "GET,POST http://127.0.0.1:9/x/* private");
    }

    #[test]
    fn what_is_asked_beyond_what_is_there() {
        let grants = |texts: &[&str]| texts.iter().map(|text| text.parse::<HttpGrant>().unwrap()).collect::<Vec<_>>();
        let beyond = |wanted: &str, known: &[&str]| {
            wanted.parse::<HttpGrant>().unwrap().beyond(&grants(known)).map(|more| more.to_string())
        };
        let shop = "https://shop.example";
        assert_eq!(beyond("GET https://shop.example/a/b", &["GET,POST https://shop.example/a/*"]), None);
        assert_eq!(beyond("GET https://shop.example/a/b/*", &["GET https://shop.example/a/*"]), None);
        assert_eq!(beyond("GET https://shop.example:443/a", &["GET https://shop.example/a"]), None);
        for (wanted, known, expected) in [
            (format!("GET,POST {shop}/a/b"), format!("GET {shop}/a/*"), format!("POST {shop}/a/b")),
            (format!("GET {shop}/a/*"), format!("GET {shop}/a/b"), format!("GET {shop}/a/*")),
            (format!("GET {shop}/*"), format!("GET {shop}/a/*"), format!("GET {shop}/*")),
            (format!("GET {shop}/ab"), format!("GET {shop}/a/*"), format!("GET {shop}/ab")),
            (format!("GET {shop}/a"), "GET http://shop.example/a".to_owned(), format!("GET {shop}/a")),
            (format!("GET {shop}/a"), "GET https://shop.example:8443/a".to_owned(), format!("GET {shop}/a")),
            (format!("GET {shop}/a private"), format!("GET {shop}/a"), format!("GET {shop}/a private")),
        ] {
            assert_eq!(beyond(&wanted, &[&known]), Some(expected), "{wanted} beyond {known}");
        }
        assert_eq!(beyond("GET https://shop.example/a", &[]), Some("GET https://shop.example/a".to_owned()));
        // Two grants together cover both methods.
        let both = ["GET https://shop.example/a", "POST https://shop.example/a"];
        assert_eq!(beyond("GET,POST https://shop.example/a", &both), None);
    }
}
