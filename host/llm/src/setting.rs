//! A provider as an administrator sets it while the host runs: what a `[[providers]]` of the file says, but that its key is the
//! name of a secret, never where to read one, and that it is on the internet unless it says otherwise.

use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::{
    config::{self, Config, Kind, Model, Provider, Structured},
    http::{Closed, OURS, Reach, closed, place},
};

/// Models of one provider.
const MOST_MODELS: usize = 20;
/// Seconds for one try.
const LONGEST_TRY: u64 = 600;
/// How often a request is sent again.
const MOST_RETRIES: u32 = 10;
/// Requests at once.
const MOST_AT_ONCE: u32 = 10_000;
/// Tokens of one answer.
const LONGEST_ANSWER: u32 = 1_000_000;
/// For a million tokens, or for one unit of a currency.
const HIGHEST_PRICE: f64 = 1e6;

/// What is set of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProviderSetting {
    /// Which protocol it speaks.
    pub kind: Kind,
    /// What comes before `/chat/completions` or `/messages`.
    pub base_url: String,
    /// Whether it is on this machine or in its network. Without it, only addresses that anybody on the internet can reach are
    /// connected to, and only with TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The name of the secret that is its key; none for a server that wants none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The header that the key goes into, as it is; without it, what is usual for the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_header: Option<String>,
    /// ISO 4217 code of its prices.
    #[serde(default = "config::euro")]
    pub currency: String,
    /// Euros for one unit of that currency, where the file has no rate for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How it is told the schema of an answer.
    #[serde(default)]
    pub structured: Structured,
    /// Seconds for one try, from connecting to the last byte.
    #[serde(default = "config::two_minutes")]
    pub timeout: u64,
    /// How often a request is sent again after 429, 5xx or a connection that could not be made.
    #[serde(default = "config::four")]
    pub retries: u32,
    /// Requests a minute; none: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_per_minute: Option<u32>,
    /// Tokens a minute, counted at their worst case; none: as many as come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u32>,
    /// Requests at once.
    #[serde(default = "config::eight")]
    pub concurrent: u32,
    /// Its models.
    pub models: Vec<Model>,
}

/// One thing that is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Where: `base-url`, `models[0].name`.
    pub place: String,
    /// What, and what to do.
    pub message: String,
}

/// A provider that may be connected to.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    /// As the file would have it, without its key.
    pub provider: Provider,
    /// Euros for one unit of its currency.
    pub rate: f64,
    /// The host that its key may be sent to, with `:PORT` if that is not the usual one.
    pub host: String,
    /// Where it may be.
    pub(crate) reach: Reach,
}

impl ProviderSetting {
    /// Checks all of it beside what the providers file says.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self, name: &str, file: &Config) -> Result<Sound, Vec<Wrong>> {
        let mut all = Vec::new();
        let mut wrong = |place: &str, message: String| all.push(Wrong { place: place.to_owned(), message });
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            wrong("name", "a provider's name has lower-case letters, digits and dashes, 64 at most".to_owned());
        }
        let reach = if self.private { Reach::Private } else { Reach::Public };
        let url = match address(&self.base_url, reach) {
            Ok(url) => Some(url),
            Err(why) => {
                wrong("base-url", why);
                None
            }
        };
        if let Some(header) = &self.key_header {
            let known = HeaderName::from_bytes(header.to_ascii_lowercase().as_bytes()).ok();
            let free = known.filter(|name| !OURS.contains(&name.as_str()));
            if free.is_none_or(|name| ["content-type", "anthropic-version"].contains(&name.as_str())) {
                wrong("key-header", "is not the name of a header that a key may go into".to_owned());
            }
        }
        let mut rate = 1.0;
        if self.currency.len() != 3 || !self.currency.bytes().all(|letter| letter.is_ascii_uppercase()) {
            wrong("currency", "is the code of a currency, such as EUR or USD".to_owned());
        } else {
            let currency = &self.currency;
            let known = if currency == "EUR" { Some(1.0) } else { file.rates.get(currency).copied() };
            match (known, self.rate) {
                (Some(known), None) => rate = known,
                (Some(_), Some(_)) if currency == "EUR" => wrong("rate", "a euro is a euro: leave it empty".to_owned()),
                (Some(known), Some(_)) => {
                    wrong(
                        "rate",
                        format!("the providers file says that 1 {currency} is {known} euros: leave it empty"),
                    );
                }
                (None, Some(set)) if set.is_finite() && set > 0.0 && set <= HIGHEST_PRICE => rate = set,
                (None, _) => wrong("rate", format!("say how many euros 1 {currency} is: budgets are in euros")),
            }
        }
        let mut within = |place: &str, number: u64, least: u64, most: u64| {
            if !(least..=most).contains(&number) {
                wrong(place, format!("is a whole number from {least} to {most}"));
            }
        };
        within("timeout", self.timeout, 1, LONGEST_TRY);
        within("retries", self.retries.into(), 0, MOST_RETRIES.into());
        within("concurrent", self.concurrent.into(), 1, MOST_AT_ONCE.into());
        let ever = u64::from(u32::MAX);
        within("requests-per-minute", self.requests_per_minute.unwrap_or(1).into(), 1, ever);
        within("tokens-per-minute", self.tokens_per_minute.unwrap_or(1).into(), 1, ever);
        self.check_models(&mut all);
        match url {
            Some(url) if all.is_empty() => {
                Ok(Sound { host: place(&url), provider: self.provider(name, url), rate, reach })
            }
            _ => Err(all),
        }
    }

    fn check_models(&self, all: &mut Vec<Wrong>) {
        if self.models.is_empty() || self.models.len() > MOST_MODELS {
            let message = format!("name at least one of its models, and {MOST_MODELS} at most");
            all.push(Wrong { place: "models".to_owned(), message });
        }
        for (at, model) in self.models.iter().take(MOST_MODELS).enumerate() {
            let mut wrong = |what: &str, message: &str| {
                all.push(Wrong { place: format!("models[{at}].{what}"), message: message.to_owned() });
            };
            let odd = |c: char| c.is_control() || c.is_whitespace();
            if model.name.is_empty() || model.name.chars().count() > 100 || model.name.chars().any(odd) {
                wrong("name", "is the provider's name of the model, without blanks");
            }
            if self.models.iter().take(at).any(|other| other.name == model.name) {
                wrong("name", "is there twice");
            }
            for (what, price) in [("input-price", model.input_price), ("output-price", model.output_price)] {
                if !(0.0..=HIGHEST_PRICE).contains(&price) {
                    wrong(what, "is the price of a million tokens, 0 or more");
                }
            }
            if !(1..=LONGEST_ANSWER).contains(&model.max_output) {
                wrong("max-output", "is the longest answer that is ever asked for, in tokens: 1 to 1000000");
            }
            let plain = |c: char| c.is_ascii_lowercase() || c == '_';
            let field = &model.max_output_field;
            if field.is_empty() || field.len() > 64 || !field.chars().all(plain) {
                wrong("max-output-field", "is what the provider calls it: max_tokens or max_completion_tokens");
            }
        }
    }

    fn provider(&self, name: &str, base_url: Url) -> Provider {
        Provider {
            name: name.to_owned(),
            kind: self.kind,
            base_url,
            key: None,
            key_header: self.key_header.clone(),
            currency: self.currency.clone(),
            rate: self.rate,
            structured: self.structured,
            timeout: self.timeout,
            retries: self.retries,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrent: self.concurrent,
            models: self.models.clone(),
        }
    }
}

/// An address that may be asked. Where a name leads is judged whenever it is connected to.
fn address(text: &str, reach: Reach) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no address: {error}; write it in full"))?;
    let Some(host) = url.host_str().filter(|_| matches!(url.scheme(), "http" | "https")) else {
        return Err("is an http or https address".to_owned());
    };
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("has no name, password, `?` or `#`: the key is a secret".to_owned());
    }
    if url.as_str().len() > 500 {
        return Err("has at most 500 characters".to_owned());
    }
    match closed(&url) {
        Some(Closed::Always) => return Err(format!("`{host}` is an address that is never connected to")),
        Some(Closed::UnlessPrivate) if reach == Reach::Public => {
            return Err(format!("`{host}` is not a public address; say that it is private if it is meant"));
        }
        _ => {}
    }
    if reach == Reach::Public && url.scheme() == "http" {
        return Err("only a private address is asked without TLS: begin with https://".to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(json: serde_json::Value) -> ProviderSetting {
        let mut all = serde_json::json!({
            "kind": "openai", "base-url": "https://api.example/v1",
            "models": [{ "name": "small", "input-price": 1.0, "output-price": 2.0 }],
        });
        for (name, value) in json.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    fn places(setting: &ProviderSetting, file: &Config) -> Vec<String> {
        setting.check("one", file).err().unwrap_or_default().into_iter().map(|wrong| wrong.place).collect()
    }

    #[test]
    fn what_is_sound_is_a_provider_like_those_of_the_file() {
        let file = Config::parse("[rates]\nUSD = 0.5\n").unwrap();
        let sound = setting(serde_json::json!({ "currency": "USD" })).check("one", &file).unwrap();
        assert_eq!((sound.rate, sound.host.as_str(), sound.reach), (0.5, "api.example", Reach::Public));
        let text = "[rates]\nUSD = 0.5\n[[providers]]\nname = \"one\"\nkind = \"openai\"\nbase-url = \"https://api.example/v1\"\n\
                    currency = \"USD\"\n[[providers.models]]\nname = \"small\"\ninput-price = 1.0\noutput-price = 2.0\n";
        assert_eq!(Config::parse(text).unwrap().providers[0], sound.provider);
        let own = setting(serde_json::json!({ "currency": "CHF", "rate": 1.07 })).check("one", &file).unwrap();
        assert_eq!((own.rate, own.provider.rate), (1.07, Some(1.07)));
    }

    #[test]
    fn addresses_are_on_the_internet_unless_they_are_said_to_be_private() {
        let file = Config::default();
        let told = |url: &str, private: bool| {
            let setting = setting(serde_json::json!({ "base-url": url, "private": private }));
            setting.check("one", &file).err().map(|wrong| wrong[0].clone())
        };
        for url in ["https://api.openai.com/v1", "https://1.1.1.1", "https://[2606:4700::1111]:8443/v1"] {
            assert_eq!(told(url, false), None, "{url}");
        }
        for url in [
            "http://127.0.0.1:11434/v1",
            "http://localhost:8080",
            "https://localhost",
            "https://x.localhost/",
            "https://10.1.2.3/v1",
            "https://[::1]/",
            "https://[fd00::1]/",
            "https://0x7f.1/",
            "https://2130706433/",
        ] {
            let wrong = told(url, false).unwrap();
            assert!(wrong.place == "base-url" && wrong.message.contains("private"), "{url}: {wrong:?}");
            assert_eq!(told(url, true), None, "{url}");
        }
        assert!(told("http://api.openai.com/v1", false).unwrap().message.contains("TLS"));
        for url in [
            "https://169.254.169.254/latest",
            "https://[fe80::1]/",
            "https://0.0.0.0/",
            "https://[::ffff:169.254.169.254]/",
            "ftp://api.example",
            "file:///etc/passwd",
            "api.example",
            "",
            "https://",
            "https://key@api.example/",
            "https://:key@api.example/",
            "https://api.example/?key=1",
            "https://api.example/#x",
        ] {
            for private in [false, true] {
                assert_eq!(told(url, private).unwrap().place, "base-url", "{url}");
            }
        }
    }

    #[test]
    fn each_mistake_is_told_at_its_place() {
        let file = Config::parse("[rates]\nUSD = 0.5\n").unwrap();
        let model = |more: serde_json::Value| {
            let mut model = serde_json::json!({ "name": "m", "input-price": 1.0, "output-price": 1.0 });
            for (name, value) in more.as_object().unwrap() {
                model[name] = value.clone();
            }
            serde_json::json!({ "models": [model] })
        };
        for (json, place) in [
            (serde_json::json!({ "currency": "usd" }), "currency"),
            (serde_json::json!({ "currency": "CHF" }), "rate"),
            (serde_json::json!({ "currency": "CHF", "rate": 0.0 }), "rate"),
            (serde_json::json!({ "currency": "USD", "rate": 0.9 }), "rate"),
            (serde_json::json!({ "rate": 1.0 }), "rate"),
            (serde_json::json!({ "timeout": 0 }), "timeout"),
            (serde_json::json!({ "timeout": 601 }), "timeout"),
            (serde_json::json!({ "retries": 11 }), "retries"),
            (serde_json::json!({ "concurrent": 0 }), "concurrent"),
            (serde_json::json!({ "requests-per-minute": 0 }), "requests-per-minute"),
            (serde_json::json!({ "tokens-per-minute": 0 }), "tokens-per-minute"),
            (serde_json::json!({ "key-header": "a b" }), "key-header"),
            (serde_json::json!({ "key-header": "Host" }), "key-header"),
            (serde_json::json!({ "key-header": "content-type" }), "key-header"),
            (serde_json::json!({ "models": [] }), "models"),
            (model(serde_json::json!({ "name": "" })), "models[0].name"),
            (model(serde_json::json!({ "name": "a b" })), "models[0].name"),
            (model(serde_json::json!({ "input-price": -1.0 })), "models[0].input-price"),
            (model(serde_json::json!({ "output-price": 1e7 })), "models[0].output-price"),
            (model(serde_json::json!({ "max-output": 0 })), "models[0].max-output"),
            (model(serde_json::json!({ "max-output-field": "a-b" })), "models[0].max-output-field"),
        ] {
            assert_eq!(places(&setting(json.clone()), &file), [place], "{json}");
        }
        let name = "m".to_owned();
        let one =
            Model { name, input_price: 0.0, output_price: 0.0, max_output: 1, max_output_field: "max_tokens".into() };
        let twice = ProviderSetting { models: vec![one.clone(), one], ..setting(serde_json::json!({})) };
        assert_eq!(places(&twice, &file), ["models[1].name"]);
        for name in ["", "A", "a/b", "a b", "_new", "<b>", &"a".repeat(65)] {
            assert_eq!(setting(serde_json::json!({})).check(name, &file).unwrap_err()[0].place, "name", "{name}");
        }
        let all = ProviderSetting { timeout: 0, retries: 99, base_url: "x".into(), ..setting(serde_json::json!({})) };
        assert_eq!(places(&all, &file), ["base-url", "timeout", "retries"]);
    }
}
