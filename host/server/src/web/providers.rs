//! Where language models are asked: a part of the settings. Keys are never shown, and nobody is asked for this: whether a
//! provider can be reached is told from the newest calls of runs.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{Markup, html};
use rusqlite::Connection;
use serde::Deserialize;
use triggerbox_automation::clock::timestamp;
use triggerbox_llm::{
    Config,
    config::{Kind, Provider},
};

use super::{
    parts::{badge, grouped, time},
    standing::fact,
    visitor::Visitor,
};
use crate::{app::App, problem::Problem};

/// Calls that are looked at.
const NEWEST: i64 = 500;

/// How the newest call of a provider ended, and how many of those before it failed.
#[derive(Debug, Clone)]
struct Heard {
    at: Timestamp,
    /// The code of what went wrong; none: it answered.
    failed: Option<String>,
    calls: u64,
    failures: u64,
}

pub(super) async fn card(app: &App, visitor: &Visitor) -> Result<Markup, Problem> {
    let Some(services) = app.engine().config().outside.clone() else {
        return Ok(html! {
            section.card #providers {
                h2 { "Language models" }
                p.faint { "None: the configuration's " code { "providers" } " names no file of providers, and no run asks a model." }
            }
        });
    };
    let heard = app.read({
        let services = services.clone();
        move |conn| heard(conn, services.models.config())
    });
    let heard = heard.await?;
    let config = services.models.config();
    let default = config.find(None).map(|(provider, model)| format!("{}/{}", provider.name, model.name));
    let file = app.config().providers.as_ref().map(|path| path.display().to_string());
    Ok(html! {
        section.card #providers {
            h2 { "Language models" }
            p.faint {
                "From the file that " code { "providers" } " of the configuration names"
                @if let Some(file) = &file { ", " code { (file) } }
                ". They are changed there, and in force after a restart. Keys are never shown. "
                @if let Some(default) = &default { "Who names no model asks " code { (default) } "." }
            }
            @if services.models.is_replay() { p.banner.wait { "A recording answers: no provider is asked." } }
            @for provider in &config.providers { (one(config, provider, heard.get(&provider.name), visitor)) }
            (budgets(config))
            (secrets(config))
        }
    })
}

fn one(config: &Config, provider: &Provider, heard: Option<&Heard>, visitor: &Visitor) -> Markup {
    let kind = match provider.kind {
        Kind::Openai => "chat completions (openai)",
        Kind::Anthropic => "messages (anthropic)",
    };
    let per_minute = |most: Option<u32>| most.map_or_else(|| "as many as come".to_owned(), |most| grouped(most.into()));
    html! {
        section.diff {
            h3 { (provider.name) " " (reach(heard)) }
            @if let Some(heard) = heard {
                p.faint { "Asked last: " (time(heard.at, &visitor.zone)) "; of the newest " (grouped(heard.calls)) " calls " (grouped(heard.failures)) " failed." }
            }
            dl.facts {
                (fact("Protocol", "kind", kind))
                (fact("Address", "base-url", &place(provider)))
                (fact("Asked", "key", if provider.key.is_some() { "with a key" } else { "without a key" }))
                (fact("Requests a minute", "requests-per-minute", &per_minute(provider.requests_per_minute)))
                (fact("Tokens a minute", "tokens-per-minute", &per_minute(provider.tokens_per_minute)))
                (fact("Requests at once", "concurrent", &grouped(provider.concurrent.into())))
                (fact("One try takes at most", "timeout", &format!("{} seconds", grouped(provider.timeout))))
                (fact("Sent again after trouble, at most", "retries", &format!("{} times", grouped(provider.retries.into()))))
                @if provider.currency != "EUR" { (fact("Euros for one unit of its currency", "rates", &format!("{} for 1 {}", config.rate(provider), provider.currency))) }
            }
            div.scroll tabindex="0" role="region" aria-label={ "Models of " (provider.name) } { table.stack {
                thead { tr { th scope="col" { "Model" } th.number scope="col" { "A million tokens in" } th.number scope="col" { "A million tokens out" } th.number scope="col" { "Longest answer" } } }
                tbody { @for model in &provider.models { tr {
                    th.name scope="row" { (model.name) }
                    td.number { (model.input_price) " " (provider.currency) }
                    td.number { (model.output_price) " " (provider.currency) }
                    td.number { (grouped(model.max_output.into())) " tokens" }
                } } }
            } }
        }
    }
}

/// What runs may use together.
fn budgets(config: &Config) -> Markup {
    let all = [
        ("One event from outside, with all that follows from it", "budgets.root", &config.budgets.root),
        ("One automation in a day", "budgets.rule-day", &config.budgets.rule_day),
        ("All automations in a day", "budgets.server-day", &config.budgets.server_day),
    ];
    html! {
        h3 { "Budgets" }
        dl.facts { @for (label, key, budget) in all {
            (fact(label, key, &format!("{} calls, {} tokens, €{:.2}", grouped(budget.calls), grouped(budget.tokens), budget.cost)))
        } }
    }
}

/// What scripts may put into headers without knowing it.
fn secrets(config: &Config) -> Markup {
    html! {
        @if !config.secrets.is_empty() {
            h3 { "Secrets of requests" }
            dl.facts { @for secret in &config.secrets {
                (fact(&secret.name, "secrets", &format!("only in the header {} of requests to {}", secret.header, secret.host)))
            } }
        }
    }
}

fn reach(heard: Option<&Heard>) -> Markup {
    match heard {
        None => badge("calm", "not asked lately"),
        Some(Heard { failed: None, .. }) => badge("good", "answers"),
        Some(Heard { failed: Some(code), .. }) => {
            html! { (badge("bad", "last call failed")) " " code.faint { (code) } }
        }
    }
}

/// Where a provider is, without what an address may hide.
fn place(provider: &Provider) -> String {
    let url = &provider.base_url;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    model: Option<String>,
}

/// The newest calls, provider by provider.
fn heard(conn: &Connection, config: &Config) -> rusqlite::Result<BTreeMap<String, Heard>> {
    let sql = "SELECT request, reply ->> '$.Err.code', coalesce(ended, at) FROM llm_call \
               WHERE kind = 'model' AND state <> 'intent' ORDER BY id DESC LIMIT ?";
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query([NEWEST])?;
    let mut all = BTreeMap::<String, Heard>::new();
    while let Some(row) = rows.next()? {
        let asked: Option<Asked> = serde_json::from_str(&row.get::<_, String>(0)?).ok();
        let Some((provider, _)) = config.find(asked.and_then(|asked| asked.model).as_deref()) else { continue };
        let failed: Option<String> = row.get(1)?;
        let at = timestamp(row.get(2)?);
        let is_failure = u64::from(failed.is_some());
        let known = all.entry(provider.name.clone()).or_insert(Heard { at, failed, calls: 0, failures: 0 });
        known.calls += 1;
        known.failures += is_failure;
    }
    Ok(all)
}
