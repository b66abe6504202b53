//! The configuration file. Every setting has a default; the whole file, with comments, is on the page
//! `docs/operate/configuration.md`.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use triggerbox_automation::{self as automation, config::Journal, policy, rule::Caps};
use triggerbox_model::{limits::LimitRequest, text::without_value, value::Id};

/// The whole file. TOML.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// The file itself, for those who are told that it says something; none: there is none.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Where the server listens. Port 0: one that the system chooses.
    pub listen: SocketAddr,
    /// The providers file: language models, and what scripts may put into requests; none: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<PathBuf>,
    /// The file of the Odoo server that the records are on; none: they are in the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub odoo: Option<PathBuf>,
    /// Requests.
    pub http: Http,
    /// The pages.
    pub web: Web,
    /// Runs.
    pub runs: Runs,
    /// What each session of runs with language models may use, where neither rule nor agent says it.
    pub sessions: Caps,
    /// How long the past is kept.
    pub retention: Retention,
    /// What nobody's script may do unless a rule grants it by name. What it does not say is set on the pages, or as by default.
    pub policy: policy::Parts,
    /// Limits of this host, for every run.
    pub limits: LimitRequest,
    /// Requests of other systems to `/hook`.
    pub webhooks: Webhooks,
    /// What signs webhooks, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Who is told of trouble.
    pub alerts: Alerts,
    /// `/metrics`.
    pub metrics: Metrics,
    /// The log.
    pub log: Log,
}

/// Requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Http {
    /// Bytes of a request's body.
    pub max_body: usize,
    /// Bytes of an uploaded component.
    pub max_upload: usize,
    /// Seconds for the head of a request, from the connection or the request before it on.
    pub head_timeout: u64,
    /// Seconds until a request is given up, its body included.
    pub timeout: u64,
    /// The same for an upload, which is compiled before it is answered: that alone may take five minutes.
    pub upload_timeout: u64,
    /// Hours for which the answer to an idempotency key is kept.
    pub idempotency_hours: u32,
    /// Seconds that running runs and open requests have to end when the server is stopped.
    pub drain: u64,
}

/// The pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Web {
    /// Where people reach the server, when that is not where it listens: `https://triggerbox.example.com`.
    pub url: Option<String>,
    /// Whether `X-Forwarded-For` and `X-Forwarded-Proto` are believed: only behind a proxy that sets both.
    pub proxy: bool,
    /// A file of random bytes, outside of the database: with it, secrets can be written on the pages.
    pub key_file: Option<PathBuf>,
}

/// Runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Runs {
    /// That work at once, in all.
    pub workers: usize,
    /// That wait for a language model or another service at once, besides those.
    pub waiting: usize,
    /// Failures in a row after which a rule is paused; 0: never.
    pub pause_after: u32,
    /// One run in so many keeps the answers to its host calls; 1: all, 0: none. Paid and outside calls are always kept.
    pub journal_one_in: u32,
    /// How long a change set waits for a yes, in hours.
    pub approval_hours: u32,
    /// Whose rights a rule has when its owner is no longer active.
    pub administrator: Id,
}

/// How long the past is kept; 0: for ever. Runs that are not over are always kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Retention {
    /// Runs with everything that belongs to them, in days.
    pub days: u32,
    /// Journals, in days.
    pub journal_days: u32,
    /// Runs of each rule.
    pub runs_per_rule: u32,
    /// Bytes of each rule's runs.
    pub bytes_per_rule: u64,
    /// Keys of deliveries, by which repeated ones are told, in days.
    pub deliveries_days: u32,
}

/// Requests of other systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Webhooks {
    /// Seconds that a request's timestamp may be off.
    pub window: u64,
    /// Bytes of a body.
    pub max_body: usize,
    /// Seconds that a caller may wait for the outcome.
    pub max_wait: u64,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Secret {
    /// In an environment variable.
    Env(String),
    /// In a file; the line break at its end does not count.
    File(PathBuf),
}

/// Who is told of trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Alerts {
    /// Addresses that are told by POST; none: only the log is.
    pub to: Vec<String>,
    /// The name of the secret that signs these requests.
    pub secret: Option<String>,
    /// Failures in a row of one rule.
    pub failures: u32,
    /// Minutes after which a run that still runs is stuck.
    pub stuck_minutes: u32,
    /// Minutes after which a run that could start has waited too long for a worker; 0: never.
    pub wait_minutes: u32,
    /// Percent of a limit that a run used; 0: never.
    pub limit_percent: u32,
    /// Minutes for which the same trouble is not told again.
    pub repeat_minutes: u32,
}

/// `/metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Metrics {
    /// Whether it can be read without a token.
    pub open: bool,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Log {
    /// One JSON object in each line, or text for people.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or a filter such as `info,triggerbox_server=debug`.
    pub level: String,
}

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For programs.
    #[default]
    Json,
    /// For people.
    Text,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            file: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7171)),
            providers: None,
            odoo: None,
            http: Http::default(),
            web: Web::default(),
            runs: Runs::default(),
            sessions: Caps::DEFAULT,
            retention: Retention::default(),
            policy: policy::Parts::default(),
            limits: LimitRequest::default(),
            webhooks: Webhooks::default(),
            secrets: BTreeMap::new(),
            alerts: Alerts::default(),
            metrics: Metrics::default(),
            log: Log::default(),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_body: 1 << 20,
            max_upload: 64 << 20,
            head_timeout: 30,
            timeout: 60,
            upload_timeout: 420,
            idempotency_hours: 24,
            drain: 30,
        }
    }
}

impl Default for Runs {
    fn default() -> Self {
        let engine = automation::Config::default();
        Self {
            workers: engine.workers,
            waiting: engine.waiting,
            pause_after: engine.pause_after,
            journal_one_in: 1,
            approval_hours: engine.approval_hours,
            administrator: engine.administrator,
        }
    }
}

impl Default for Retention {
    fn default() -> Self {
        let engine = automation::config::Retention::default();
        Self {
            days: engine.days.unwrap_or(0),
            journal_days: engine.journal_days.unwrap_or(0),
            runs_per_rule: engine.runs_per_rule.unwrap_or(0),
            bytes_per_rule: engine.bytes_per_rule.unwrap_or(0),
            deliveries_days: engine.seen_days,
        }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self { window: 300, max_body: 256 << 10, max_wait: 30 }
    }
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            to: Vec::new(),
            secret: None,
            failures: 3,
            stuck_minutes: 30,
            wait_minutes: 30,
            limit_percent: 80,
            repeat_minutes: 60,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Json, level: "info".to_owned() }
    }
}

/// What is wrong with the configuration. The operator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, or not this shape.
    #[error("the configuration: line {line}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// It says something impossible.
    #[error("the configuration: `{place}`: {problem}")]
    Invalid {
        /// Where.
        place: String,
        /// What, and what to do.
        problem: String,
    },
    /// A secret is not where it should be.
    #[error("the secret `{name}` cannot be had: {problem}")]
    Secret {
        /// Its name.
        name: String,
        /// Why.
        problem: String,
    },
}

impl Config {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`]; no secret is read yet.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // The parser's own text quotes the line, which may hold a secret that somebody pasted.
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            line: error.span().map_or(1, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1),
            problem: without_value(error.message()),
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |place: &str, problem: &str| {
            Err(ConfigError::Invalid { place: place.to_owned(), problem: problem.to_owned() })
        };
        if self.runs.workers == 0 {
            return invalid("runs.workers", "at least 1, or no rule ever runs");
        }
        if [self.http.timeout, self.http.upload_timeout, self.http.head_timeout].contains(&0)
            || [self.http.max_body, self.http.max_upload].contains(&0)
        {
            return invalid(
                "http",
                "`timeout`, `upload-timeout`, `head-timeout`, `max-body` and `max-upload` are at least 1",
            );
        }
        if let Some(url) = &self.web.url
            && !reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.path() == "/")
        {
            return invalid("web.url", "is an http or https address without a path");
        }
        if !self.sessions.is_sound() {
            return invalid("sessions.cost", "is an amount of euros");
        }
        for to in &self.alerts.to {
            if !reqwest::Url::parse(to).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                return invalid("alerts.to", "each is an http or https address");
            }
        }
        if let Some(name) = &self.alerts.secret
            && !self.secrets.contains_key(name)
        {
            return invalid("alerts.secret", "names none of [secrets]");
        }
        Ok(())
    }

    /// What the file is called where people are told that it says something.
    #[must_use]
    pub fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "the configuration file".to_owned(), |file| file.display().to_string())
    }

    /// The settings of the engine.
    #[must_use]
    pub fn engine(&self) -> automation::Config {
        automation::Config {
            fixed: self.policy.clone(),
            limits: self.limits.clone(),
            workers: self.runs.workers,
            waiting: self.runs.waiting,
            administrator: self.runs.administrator,
            pause_after: self.runs.pause_after,
            journal: match self.runs.journal_one_in {
                0 => Journal::Off,
                1 => Journal::All,
                times => Journal::Sampled(times),
            },
            approval_hours: self.runs.approval_hours,
            caps: self.sessions,
            links: self.web.url.clone().unwrap_or_default().trim_end_matches('/').to_owned(),
            retention: automation::config::Retention {
                days: Some(self.retention.days).filter(|days| *days > 0),
                journal_days: Some(self.retention.journal_days).filter(|days| *days > 0),
                runs_per_rule: Some(self.retention.runs_per_rule).filter(|runs| *runs > 0),
                bytes_per_rule: Some(self.retention.bytes_per_rule).filter(|bytes| *bytes > 0),
                seen_days: self.retention.deliveries_days,
            },
            ..automation::Config::default()
        }
    }

    /// Reads all secrets.
    ///
    /// # Errors
    /// [`ConfigError::Secret`]
    pub fn read_secrets(&self) -> Result<Secrets, ConfigError> {
        let mut secrets = BTreeMap::new();
        for (name, place) in &self.secrets {
            let text = place.read().map_err(|problem| ConfigError::Secret { name: name.clone(), problem })?;
            if text.len() < SHORTEST_SECRET {
                let problem = format!("it has fewer than {SHORTEST_SECRET} bytes; draw a longer one");
                return Err(ConfigError::Secret { name: name.clone(), problem });
            }
            secrets.insert(name.clone(), text.into_bytes());
        }
        Ok(Secrets(secrets))
    }

    /// How long a request may take; an upload has longer.
    #[must_use]
    pub fn timeout(&self, uploads: bool) -> Duration {
        Duration::from_secs(if uploads { self.http.upload_timeout } else { self.http.timeout })
    }
}

/// Shorter ones can be guessed.
pub(crate) const SHORTEST_SECRET: usize = 16;

impl Secret {
    fn read(&self) -> Result<String, String> {
        match self {
            Self::Env(name) => std::env::var(name).map_err(|error| format!("the variable {name}: {error}")),
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
                .map_err(|error| format!("{}: {error}", path.display())),
        }
    }
}

/// What signs webhooks. Shown in no text.
#[derive(Clone, Default)]
pub struct Secrets(BTreeMap<String, Vec<u8>>);

impl Secrets {
    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use triggerbox_model::grants::Policy;

    use super::*;

    // Shows: F129
    #[test]
    fn the_page_with_the_whole_file_says_the_defaults() {
        let page = include_str!("../../../docs/operate/configuration.md");
        let file = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let page = Config::parse(file).unwrap();
        assert_eq!(page.policy, policy::Parts::all_of(Policy::default()));
        assert_eq!(Config { policy: policy::Parts::default(), ..page }, Config::default());
        // What is only shown as a comment parses too, and names every setting that there is.
        let open: String =
            file.lines().map(|line| line.strip_prefix("#> ").unwrap_or(line).to_owned() + "\n").collect();
        let full = Config::parse(&open).unwrap();
        assert!(full.alerts.secret.is_some() && full.secrets.len() == 2);
        assert!(!full.limits.0.is_empty());
    }

    #[test]
    fn mistakes_are_told_without_quoting_the_file() {
        let told = |text: &str| Config::parse(text).unwrap_err().to_string();
        let pasted = told("listen = \"127.0.0.1:0\"\nsecret-key = \"hunter2\"\n");
        assert!(pasted.contains("line 2") && !pasted.contains("hunter2"), "{pasted}");
        let pasted = told("[secrets]\nalerts = \"hunter2\"\n");
        assert!(pasted.contains("line 2") && !pasted.contains("hunter2"), "{pasted}");
        assert!(told("[runs]\nworkers = 0\n").contains("runs.workers"));
        assert!(told("[alerts]\nto = [\"ftp://x\"]\n").contains("alerts.to"));
        assert!(told("[alerts]\nsecret = \"x\"\n").contains("alerts.secret"));
        let config = Config::parse("[secrets.a]\nenv = \"TRIGGERBOX_NOT_SET\"\n").unwrap();
        assert!(config.read_secrets().unwrap_err().to_string().contains("secret `a`"));
    }
}
