//! Secrets in headers: a script writes `${secret:NAME}`, the host fills it in on the way out and takes it out of
//! whatever comes back.

use reqwest::header::{HeaderName, HeaderValue};
use triggerbox_model::error::Error;
use url::Url;

use crate::{
    config::{ConfigError, HeaderSecret},
    secret::Secret,
};

const OPEN: &str = "${secret:";

/// The secrets that may be filled in.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Vec<Bound>);

/// A secret that scripts may have filled in, bound to one host and one header.
#[derive(Debug, Clone)]
pub struct Bound {
    /// Scripts write `${secret:NAME}`.
    pub name: String,
    /// The only host that it is sent to, with `:PORT` if that is not the usual one.
    pub host: String,
    /// The only header that it is put into.
    pub header: HeaderName,
    /// What it is.
    pub value: Secret,
}

impl Secrets {
    /// Reads all of them.
    pub(crate) fn load(list: &[HeaderSecret], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let bound = list.iter().map(|secret| {
            let what = format!("secret `{}`", secret.name);
            let header = HeaderName::from_bytes(secret.header.to_ascii_lowercase().as_bytes()).map_err(|_| {
                ConfigError::Invalid { place: what.clone(), problem: "`header` is not the name of a header".to_owned() }
            })?;
            let value = secret.value.read(&what, env)?;
            Ok(Bound { name: secret.name.clone(), host: secret.host.to_ascii_lowercase(), header, value })
        });
        Ok(Self(bound.collect::<Result<_, _>>()?))
    }

    /// These, and more of other names.
    pub(crate) fn and(&self, more: &[Bound]) -> Self {
        let more = more.iter().filter(|one| self.0.iter().all(|bound| bound.name != one.name));
        Self(self.0.iter().chain(more).cloned().collect())
    }

    /// A header's value with its secrets filled in.
    ///
    /// # Errors
    /// A secret that there is not, or that is bound to another host or header.
    pub(crate) fn fill(&self, url: &Url, header: &HeaderName, value: &str) -> Result<HeaderValue, Error> {
        let mut filled = String::new();
        let mut rest = value;
        let mut sensitive = false;
        while let Some((before, after)) = rest.split_once(OPEN) {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| Error::invalid("bad-header", format!("header `{header}`: `{OPEN}` has no end")))?;
            filled.push_str(before);
            filled.push_str(self.find(name, url, header)?.value.expose());
            (rest, sensitive) = (after, true);
        }
        filled.push_str(rest);
        let mut value = HeaderValue::try_from(filled).map_err(|_| {
            Error::invalid("bad-header", format!("header `{header}` holds characters that no header takes"))
        })?;
        value.set_sensitive(sensitive);
        Ok(value)
    }

    /// Whether an address or a body names one of them. There it would never be filled in.
    pub(crate) fn are_named_in(&self, text: &[u8]) -> bool {
        let named = |bound: &Bound| {
            let placeholder = format!("{OPEN}{}}}", bound.name);
            text.windows(placeholder.len()).any(|part| part == placeholder.as_bytes())
        };
        self.0.iter().any(named)
    }

    fn find(&self, name: &str, url: &Url, header: &HeaderName) -> Result<&Bound, Error> {
        let denied = |why: String| Error::denied("secret-refused", format!("secret `{name}` {why}"));
        let bound = self.0.iter().find(|bound| bound.name == name);
        let bound = bound.ok_or_else(|| denied("is not configured on this host".to_owned()))?;
        if bound.host != place(url) {
            return Err(denied(format!("is bound to another host than `{}`", place(url))));
        }
        if bound.header != *header {
            return Err(denied(format!("is bound to another header than `{header}`")));
        }
        Ok(bound)
    }

    /// Takes every secret out of what comes back, in each shape that it may have.
    pub(crate) fn scrub(&self, bytes: Vec<u8>) -> Vec<u8> {
        self.0.iter().fold(bytes, |bytes, bound| bound.value.scrub_bytes(bytes))
    }
}

/// Host with port, if it is not the usual one.
pub(crate) fn place(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
