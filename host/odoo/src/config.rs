//! Which Odoo, which of its users, and whose keys.

use std::{fmt, fs, path::PathBuf};

use jiff::civil::Date;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use triggerbox_model::text::without_value;
use url::Url;

/// The configuration file of one Odoo server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where it answers, `https://erp.example.com`.
    pub url: Url,
    /// Which of its databases.
    pub database: String,
    /// Sign-in name of the user who makes the set-up: an administrator with a key below.
    #[serde(default = "admin")]
    pub administrator: String,
    /// Methods that scripts may be granted, `crm.lead.action_set_won`: the set-up makes them callable, and no others.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Seconds that a read may take.
    #[serde(default = "thirty")]
    pub timeout: u64,
    /// Seconds that applying a run's changes may take.
    #[serde(default = "two_minutes")]
    pub apply_timeout: u64,
    /// Requests at a time. Odoo answers each on a connection of its own.
    #[serde(default = "four")]
    pub concurrent: usize,
    /// How often a call that is safe to repeat is repeated.
    #[serde(default = "three")]
    pub retries: u32,
    /// Milliseconds before the first repetition; each further one waits twice as long.
    #[serde(default = "quarter")]
    pub retry_wait: u64,
    /// Bytes of one answer. A larger one is not read to its end.
    #[serde(default = "answer")]
    pub largest_answer: usize,
    /// Bytes of one run's changes. More is refused before anything is sent.
    #[serde(default = "changes")]
    pub largest_changes: usize,
    /// Models that rules may be about, besides those that they are about when the host starts.
    #[serde(default)]
    pub models: Vec<String>,
    /// Seconds between two looks into the outbox.
    #[serde(default = "ten")]
    pub poll: u64,
    /// Where Odoo reaches this host's `/odoo/ping`; none: the outbox is looked into every `poll` seconds, and only then.
    #[serde(default)]
    pub ping: Option<Url>,
    /// Events that are taken at once.
    #[serde(default = "thousand")]
    pub most_events: u32,
    /// Bytes of one event. A larger one is set aside.
    #[serde(default = "mebibyte")]
    pub largest_event: usize,
    /// Runs that may wait here. With so many, events stay in Odoo's outbox until there are fewer.
    #[serde(default = "hundred_thousand")]
    pub most_waiting: u32,
    /// The users that scripts may run as, each with a key of their own.
    #[serde(rename = "user")]
    pub users: Vec<UserConfig>,
}

/// One user of Odoo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UserConfig {
    /// Sign-in name.
    pub login: String,
    /// Where their API key is.
    pub key: Source,
    /// The day on which Odoo no longer takes the key.
    #[serde(default)]
    pub expires: Option<Date>,
}

/// Where a key is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Source {
    /// In this environment variable.
    Env(String),
    /// In this file, alone.
    File(PathBuf),
}

/// A configuration that cannot be used. The operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl Config {
    /// Reads the file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // The parser's own text quotes the line at fault, which may hold a key that somebody pasted.
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
            ConfigError(format!("line {line}: {}", without_value(error.message())))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Whether it makes sense.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let wrong = |problem: String| Err(ConfigError(problem));
        let local = matches!(self.url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        match self.url.scheme() {
            "https" => {}
            "http" if local => {}
            "http" => return wrong("`url` must begin with https: keys are sent with every request".to_owned()),
            _ => return wrong("`url` must be an https address, such as https://erp.example.com".to_owned()),
        }
        if !self.url.username().is_empty() || self.url.password().is_some() {
            return wrong(
                "`url` has no name and no password: it is shown to people, and keys go into `key`".to_owned(),
            );
        }
        if self.users.is_empty() {
            return wrong("no `[[user]]`: name at least one user with a key".to_owned());
        }
        for (index, user) in self.users.iter().enumerate() {
            if self.users.iter().take(index).any(|other| other.login == user.login) {
                return wrong(format!("user `{}` stands there twice", user.login));
            }
        }
        for method in &self.methods {
            if !method.rsplit_once('.').is_some_and(|(model, name)| is_name(model) && is_method(name)) {
                return wrong(format!(
                    "`methods`: `{method}` is not a model and a method, such as crm.lead.action_set_won"
                ));
            }
        }
        if let Some(model) = self.models.iter().find(|model| !is_name(model)) {
            return wrong(format!("`models`: `{model}` is not a model, such as crm.lead"));
        }
        if let Some(ping) = &self.ping
            && !(matches!(ping.scheme(), "http" | "https") && ping.username().is_empty() && ping.query().is_none())
        {
            return wrong(format!("`ping`: `{ping}` is not a plain http or https address"));
        }
        if self.poll == 0 || self.most_events == 0 || self.most_waiting == 0 || self.largest_event < 1024 {
            return wrong(
                "`poll`, `most-events` and `most-waiting` must be at least 1, `largest-event` 1024".to_owned(),
            );
        }
        if self.concurrent == 0 || self.timeout == 0 || self.apply_timeout == 0 {
            return wrong("`concurrent`, `timeout` and `apply-timeout` must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// An API key: written into one header, and nowhere else.
#[derive(Clone)]
pub struct Key(SecretString);

impl Key {
    /// Keeps a key secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text.into())
    }

    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[key]")
    }
}

impl UserConfig {
    /// Fetches the key.
    ///
    /// # Errors
    /// It is not there, or is none.
    pub fn read_key(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Key, ConfigError> {
        let missing = |why: String| ConfigError(format!("the key of `{}`: {why}", self.login));
        let text = match &self.key {
            Source::Env(name) => {
                env(name).ok_or_else(|| missing(format!("the environment variable {name} is not set")))?
            }
            Source::File(path) => {
                fs::read_to_string(path).map_err(|error| missing(format!("cannot read {}: {error}", path.display())))?
            }
        };
        let text = text.trim();
        if text.len() < 8 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(missing("it must be one word of at least 8 characters".to_owned()));
        }
        Ok(Key::new(text.to_owned()))
    }
}

/// `[a-z_][a-z0-9_.]*`: what models and fields are called. Nothing else enters an address or code.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '.'))
}

/// A method that can be called from outside: Odoo keeps those with `_` in front to itself.
#[must_use]
pub fn is_method(text: &str) -> bool {
    is_name(text) && !text.starts_with('_') && !text.contains('.') && !text.contains("__")
}

fn admin() -> String {
    "admin".to_owned()
}
fn thirty() -> u64 {
    30
}
fn two_minutes() -> u64 {
    120
}
fn ten() -> u64 {
    10
}
fn thousand() -> u32 {
    1000
}
fn hundred_thousand() -> u32 {
    100_000
}
fn mebibyte() -> usize {
    1 << 20
}
fn four() -> usize {
    4
}
fn three() -> u32 {
    3
}
fn quarter() -> u64 {
    250
}
fn answer() -> usize {
    32 << 20
}
fn changes() -> usize {
    16 << 20
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "url = 'https://erp.example.com'\ndatabase = 'prod'\n[[user]]\nlogin = 'admin'\nkey = { env = 'K' }\n";

    #[test]
    fn keys_go_over_tls_only() {
        assert!(Config::parse(GOOD).is_ok());
        let error = Config::parse(&GOOD.replace("https", "http")).unwrap_err();
        assert!(error.to_string().contains("must begin with https"), "{error}");
        assert!(Config::parse(&GOOD.replace("https://erp.example.com", "http://127.0.0.1:8069")).is_ok());
    }

    #[test]
    fn what_is_secret_in_a_file_that_is_wrong_is_not_told() {
        let pasted = GOOD.replace("{ env = 'K' }", "'0123456789abcdef'");
        let named = GOOD.replace("https://", "https://odoo:0123456789abcdef@");
        for (text, says) in [(pasted, "unknown variant, expected"), (named, "`url` has no name and no password")] {
            let error = Config::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says) && !error.contains("0123456789abcdef"), "{error}");
        }
    }

    // Everything that a person typed and that ends in code which Odoo runs: only plain names pass.
    #[test]
    fn methods_are_plain_names() {
        for method in [
            "crm.lead.x'; env.cr.commit() #",
            "crm.lead._private",
            "crm.lead.__class__",
            "crm.lead.a b",
            "crm.lead.A",
            "crm.lead.",
            "'.'",
            "crm.lead.x\ny",
            "crm.lead.ünlink",
            "write",
        ] {
            let text = format!("methods = [{}]\n{GOOD}", toml::Value::from(method));
            assert!(Config::parse(&text).is_err(), "{method}");
        }
        assert!(Config::parse(&format!("methods = ['crm.lead.action_set_won']\n{GOOD}")).is_ok());
    }

    #[test]
    fn what_would_end_every_request_is_refused() {
        for option in ["timeout", "apply-timeout", "concurrent"] {
            let error = Config::parse(&format!("{option} = 0\n{GOOD}")).unwrap_err();
            assert!(error.to_string().contains(option), "{error}");
        }
    }

    #[test]
    fn a_key_shows_in_no_text() {
        assert_eq!(format!("{:?}", Key::new("secret-key".to_owned())), "[key]");
    }
}
