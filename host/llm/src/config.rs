//! The providers file: which models there are, what they cost, where their keys are, and the budgets that all runs
//! share.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use triggerbox_model::{
    limits::{Class, Limit},
    text::without_value,
};
use url::Url;

use crate::{budget::Amount, budget_setting::BudgetSetting, http, secret::Source};

/// The whole file. TOML.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Config {
    /// The model of rules and scripts that name none: `PROVIDER/MODEL`. Without it: the first of the file.
    pub default_model: Option<String>,
    /// Euros for one unit of each currency that prices are in: budgets are in euros.
    pub rates: BTreeMap<String, f64>,
    /// What runs may use together.
    pub budgets: Budgets,
    /// Which of them the file itself says.
    #[serde(skip)]
    pub said: BudgetSetting,
    /// Where models are asked.
    pub providers: Vec<Provider>,
    /// What scripts may put into headers without knowing it.
    pub secrets: Vec<HeaderSecret>,
}

/// One place that answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Provider {
    /// What models of it are prefixed with.
    pub name: String,
    /// Which protocol it speaks.
    pub kind: Kind,
    /// What comes before `/chat/completions` or `/messages`.
    pub base_url: Url,
    /// Where its key is; none for a server that wants none.
    #[serde(default)]
    pub key: Option<Source>,
    /// The header that the key goes into, as it is; without it, what is usual for the protocol.
    #[serde(default)]
    pub key_header: Option<String>,
    /// ISO 4217 code of its prices.
    #[serde(default = "euro")]
    pub currency: String,
    /// Euros for one unit of it, of a provider that was set while the host runs; else `rates` says it.
    #[serde(skip)]
    pub rate: Option<f64>,
    /// How it is told the schema of an answer.
    #[serde(default)]
    pub structured: Structured,
    /// Seconds for one try, from connecting to the last byte.
    #[serde(default = "two_minutes")]
    pub timeout: u64,
    /// How often a request is sent again after 429, 5xx or a connection that could not be made.
    #[serde(default = "four")]
    pub retries: u32,
    /// Requests a minute; none: as many as come.
    #[serde(default)]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, counted at their worst case; none: as many as come.
    #[serde(default)]
    pub tokens_per_minute: Option<u32>,
    /// Requests at once.
    #[serde(default = "eight")]
    pub concurrent: u32,
    /// Its models.
    pub models: Vec<Model>,
}

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Chat completions, as OpenAI, Azure, Mistral, vLLM, llama.cpp, Ollama and many others speak it.
    Openai,
    /// Anthropic's messages.
    Anthropic,
}

/// How a provider is told the schema of an answer. The answer is checked by the host either way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Structured {
    /// By the protocol's own means.
    #[default]
    Native,
    /// In words, for servers that know no other.
    Prompt,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Model {
    /// The provider's name of it.
    pub name: String,
    /// For a million tokens in, in the provider's currency.
    pub input_price: f64,
    /// For a million tokens out.
    pub output_price: f64,
    /// The longest answer that is ever asked for, in tokens: it bounds the worst case.
    #[serde(default = "four_thousand")]
    pub max_output: u32,
    /// What the field of that bound is called: newer OpenAI models want `max_completion_tokens`.
    #[serde(default = "max_tokens")]
    pub max_output_field: String,
}

/// A secret that the host puts into one header of requests to one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HeaderSecret {
    /// Scripts write `${secret:NAME}`.
    pub name: String,
    /// Where it is.
    pub value: Source,
    /// The only host that it is sent to, with `:PORT` if that is not the usual one.
    pub host: String,
    /// The only header that it is put into.
    pub header: String,
}

/// What several runs may use together. Each has a value, always.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Budgets {
    /// One root event with all that follows from it.
    pub root: Budget,
    /// One rule in a day (UTC).
    pub rule_day: Budget,
    /// All rules in a day (UTC).
    pub server_day: Budget,
}

/// One budget, as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Calls of language models.
    pub calls: u64,
    /// Tokens in and out.
    pub tokens: u64,
    /// Euros.
    pub cost: f64,
}

impl Budget {
    /// In the ledger's units.
    #[must_use]
    pub fn amount(&self) -> Amount {
        let micro_euro = triggerbox_model::limits::micro_euro(self.cost);
        Amount { calls: self.calls, tokens: self.tokens, micro_euro }
    }
}

impl Default for Budgets {
    /// A root event gets what one agent's run gets; a rule and a server the work of many in a day.
    fn default() -> Self {
        let agent = |limit: Limit| limit.spec().defaults.get(Class::Agent as usize).copied().unwrap_or_default();
        #[allow(clippy::cast_precision_loss, reason = "a few euros in millionths")]
        let cost = agent(Limit::LlmCost) as f64 / 1e6;
        let root = Budget { calls: agent(Limit::LlmCalls), tokens: agent(Limit::LlmTokens), cost };
        let times = |n: u32| Budget {
            calls: root.calls * u64::from(n),
            tokens: root.tokens * u64::from(n),
            cost: root.cost * f64::from(n),
        };
        Self { root, rule_day: times(10), server_day: times(40) }
    }
}

/// The file once more, for what it says of budgets and what it leaves as by default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Says {
    budgets: BudgetSetting,
}

/// What is wrong with the providers file. The administrator mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the providers file: {0}")]
    Unreadable(String),
    /// Not TOML, or not this shape.
    #[error("the providers file does not parse: {0}")]
    Syntax(String),
    /// It says something impossible.
    #[error("the providers file: {place}: {problem}")]
    Invalid {
        /// Where.
        place: String,
        /// What, and what to do.
        problem: String,
    },
    /// A key is not where it should be.
    #[error("{what}: no key: {why}")]
    Secret {
        /// Whose.
        what: String,
        /// Why not.
        why: String,
    },
    /// The system's certificates or TLS cannot be used.
    #[error("no HTTPS on this machine: {0}")]
    Tls(String),
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`]; no key is read yet.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable(format!("{}: {error}", path.display())))?;
        Self::parse(&text)
    }

    /// Parses and checks the text of a file.
    ///
    /// # Errors
    /// [`ConfigError`]
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        // The parser's message quotes the line at fault, which may hold a key that somebody pasted.
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
            ConfigError::Syntax(format!("line {line}: {}", without_value(error.message())))
        })?;
        config.check()?;
        config.said = toml::from_str(text).map(|Says { budgets }| budgets).unwrap_or_default();
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |place: String, problem: &str| Err(ConfigError::Invalid { place, problem: problem.to_owned() });
        for (currency, rate) in &self.rates {
            if !(rate.is_finite() && *rate > 0.0) {
                return invalid(format!("rates.{currency}"), "a rate is a positive number of euros");
            }
        }
        for (name, budget) in [
            ("root", &self.budgets.root),
            ("rule-day", &self.budgets.rule_day),
            ("server-day", &self.budgets.server_day),
        ] {
            if !(budget.cost.is_finite() && budget.cost >= 0.0) {
                return invalid(format!("budgets.{name}"), "`cost` is an amount of euros");
            }
        }
        let mut names = std::collections::BTreeSet::new();
        for provider in &self.providers {
            let place = || format!("provider `{}`", provider.name);
            if provider.name.is_empty() || provider.name.contains('/') || !names.insert(&provider.name) {
                return invalid(place(), "each has a name of its own, without a slash");
            }
            if !matches!(provider.base_url.scheme(), "http" | "https") || provider.base_url.host().is_none() {
                return invalid(place(), "`base-url` is an http or https address");
            }
            let url = &provider.base_url;
            if url.query().is_some() || !url.username().is_empty() || url.password().is_some() {
                return invalid(place(), "keys go into `key`, never into `base-url`");
            }
            if provider.currency != "EUR" && !self.rates.contains_key(&provider.currency) {
                let problem = format!("its prices are in {0}: add the euros for one {0} to [rates]", provider.currency);
                return invalid(place(), &problem);
            }
            if provider.models.is_empty() {
                return invalid(place(), "name its models");
            }
            let paces = [provider.requests_per_minute, provider.tokens_per_minute];
            if provider.timeout == 0 || provider.concurrent == 0 || paces.contains(&Some(0)) {
                return invalid(place(), "`timeout`, `concurrent` and what is allowed a minute are at least 1");
            }
            let mut models = std::collections::BTreeSet::new();
            for model in &provider.models {
                let place = format!("model `{}/{}`", provider.name, model.name);
                if !models.insert(&model.name) {
                    return invalid(place, "it is there twice, and has one price; take one out");
                }
                let prices = [model.input_price, model.output_price];
                if model.name.is_empty() || !prices.iter().all(|price| price.is_finite() && *price >= 0.0) {
                    return invalid(place, "a model has a name and prices of 0 or more");
                }
                if model.max_output == 0 {
                    return invalid(place, "`max-output` is at least 1");
                }
            }
        }
        if let Some(name) = &self.default_model
            && self.find(Some(name)).is_none()
        {
            return invalid("default-model".into(), &format!("there is no model `{name}`"));
        }
        let mut names = std::collections::BTreeSet::new();
        for secret in &self.secrets {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if secret.name.is_empty() || !secret.name.chars().all(plain) || !names.insert(&secret.name) {
                let place = format!("secret `{}`", secret.name);
                return invalid(place, "each has a name of its own: lower-case letters, digits and dashes");
            }
            // As the address of a request has it; else it would be filled in nowhere.
            let url = Url::parse(&format!("https://{}/", secret.host)).ok();
            if url.is_none_or(|url| http::place(&url) != secret.host.to_ascii_lowercase()) {
                let place = format!("secret `{}`", secret.name);
                return invalid(place, "`host` is a host as addresses name it: slack.com, or slack.com:8443");
            }
        }
        Ok(())
    }

    /// A model by `PROVIDER/MODEL`, or by its own name where only one provider has it; the default for none.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<(&Provider, &Model)> {
        let all =
            || self.providers.iter().flat_map(|provider| provider.models.iter().map(move |model| (provider, model)));
        let Some(name) = name.or(self.default_model.as_deref()) else { return all().next() };
        let full = |(provider, model): &(&Provider, &Model)| {
            name.strip_prefix(provider.name.as_str()).and_then(|rest| rest.strip_prefix('/')) == Some(&model.name)
        };
        if let Some(found) = all().find(full) {
            return Some(found);
        }
        let mut named = all().filter(|(_, model)| model.name == name);
        named.next().filter(|_| named.next().is_none())
    }

    /// All models, `PROVIDER/MODEL`.
    #[must_use]
    pub fn model_names(&self) -> Vec<String> {
        let names = |provider: &Provider| {
            provider.models.iter().map(|model| format!("{}/{}", provider.name, model.name)).collect::<Vec<_>>()
        };
        self.providers.iter().flat_map(names).collect()
    }

    /// Euros for one unit of a provider's currency.
    #[must_use]
    pub fn rate(&self, provider: &Provider) -> f64 {
        match provider.rate.or_else(|| self.rates.get(&provider.currency).copied()) {
            _ if provider.currency == "EUR" => 1.0,
            rate => rate.unwrap_or(f64::INFINITY),
        }
    }
}

pub(crate) fn euro() -> String {
    "EUR".to_owned()
}

pub(crate) fn two_minutes() -> u64 {
    120
}

pub(crate) fn four() -> u32 {
    4
}

pub(crate) fn eight() -> u32 {
    8
}

fn four_thousand() -> u32 {
    4_096
}

fn max_tokens() -> String {
    "max_tokens".to_owned()
}
