//! Where language models are asked: a part of the settings. Keys are never shown, and nobody is asked for this: whether a
//! provider can be reached is told from the newest calls of runs.

use std::collections::BTreeMap;

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};
use rusqlite::Connection;
use serde::Deserialize;
use triggerbox_automation::{EngineError, clock::timestamp};
use triggerbox_llm::{
    Config,
    config::{Kind, Provider},
};

use super::{
    form::Form,
    page::{Answer, Done, sentence},
    parts::{address, badge, confirmed, fitting, grouped, hidden_token, time},
    standing::fact,
    visitor::{Visitor, who_set},
};
use crate::{
    app::App,
    problem::Problem,
    providers::{self, Kept},
};

/// Calls that are looked at.
const NEWEST: i64 = 500;

/// Bytes of what is told of providers.
const MOST_BYTES: usize = 60_000;

/// Models that are offered where one is typed.
const MOST_OPTIONS: usize = 50;

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
    let services = app.engine().services();
    let config = services.as_ref().map(|services| services.models.config().clone()).unwrap_or_default();
    let (of_file, kept) = (providers::of_file(app), providers::kept(app).await?);
    let known = config.clone();
    let read = app.read(move |conn| Ok::<_, EngineError>((heard(conn, &known)?, providers::default_model(conn)?)));
    let (heard, set_default) = read.await?;
    let default = config.find(None).map(|(provider, model)| format!("{}/{}", provider.name, model.name));
    let file = app.config().providers.as_ref().map(|path| path.display().to_string());
    let by_name = |name: &str| config.providers.iter().find(|one| one.name == name);
    let budgets = super::budgets::part(app, visitor).await?;
    let mut sections = Vec::new();
    for provider in &of_file.providers {
        sections.push(one(&config, provider, heard.get(&provider.name), visitor, None));
    }
    for set in &kept {
        let more = (of_set(app, visitor, set)?, set.setting.value.key.clone());
        sections.push(match by_name(&set.name).filter(|_| set.aside.is_none()) {
            Some(provider) => one(&config, provider, heard.get(&provider.name), visitor, Some(&more)),
            None => html! { section.diff {
                h3 { (set.name) " " (badge("bad", "not asked")) }
                p.banner.wait { (sentence(set.aside.as_deref().unwrap_or("no provider is asked"))) }
                (more.0)
            } },
        });
    }
    let (shown, left) = fitting(sections.into_iter(), MOST_BYTES);
    Ok(html! {
        section.card #providers {
            h2 { "Language models" }
            p.faint {
                @if app.engine().config().outside.is_some() {
                    "What the file says that " code { "providers" } " of the configuration names"
                    @if let Some(file) = &file { ", " code { (file) } }
                    ", counts: it is changed there, and in force after a restart. Others are set here, and asked at once by each run that begins. "
                } @else if kept.is_empty() {
                    "None, and no run asks a model: the configuration's " code { "providers" } " names no file of providers, and none is set here. "
                }
                "Keys are never shown. "
                @if let Some(default) = &default { "Who names no model asks " code { (default) } "." }
            }
            @if services.as_ref().is_some_and(|services| services.models.is_replay()) { p.banner.wait { "A recording answers: no provider is asked." } }
            @if services.as_ref().is_some_and(|services| services.models.is_off()) { p.banner.wait { "Language models are switched off where the server was started: no provider is asked." } }
            @for section in &shown { (section) }
            @if left > 0 { p { "And " (left) " more: " @for set in &kept { a href=(address(&["settings", "providers", &set.name])) { (set.name) } " " } } }
            p { a.button href="/settings/providers/_new" { "New provider" } }
            @if !config.providers.is_empty() { (default_form(app, visitor, &config, &of_file, set_default.map(|set| set.value))) }
            @if services.is_some() { (budgets) }
            (secrets(&config))
        }
    })
}

/// What can be done with a provider that was set here.
fn of_set(app: &App, visitor: &Visitor, set: &Kept) -> Result<Markup, Problem> {
    let to = |what: &[&str]| address(&[&["settings", "providers", set.name.as_str()][..], what].concat());
    Ok(html! {
        p.faint { "Set here." (who_set(app, visitor, set.setting.set)?) }
        p.toolbar {
            a.button href=(to(&[])) { "Change " (set.name) } " "
            (confirmed(visitor, &to(&["delete"]), "Delete", "Runs that name its models fail from then on. Those that have begun still ask it."))
        }
    })
}

/// The model of those who name none.
fn default_form(app: &App, visitor: &Visitor, config: &Config, of_file: &Config, set: Option<String>) -> Markup {
    let set = set.unwrap_or_default();
    html! {
        @if of_file.default_model.is_some() { p.faint { "Who names no model: set in " code { (providers::file_name(app)) } "." } }
        @else {
            form.toolbar method="post" action="/settings/default-model" {
                (hidden_token(&visitor.key))
                div {
                    label for="default-model" { "Who names no model asks" } br;
                    input #default-model type="text" name="model" value=(set) list="models" placeholder="the first there is" autocapitalize="none" spellcheck="false";
                    datalist #models { @for name in config.model_names().iter().take(MOST_OPTIONS) { option value=(name) {} } }
                }
                button type="submit" { "Set" }
            }
        }
    }
}

pub(super) async fn save_default(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Done> {
    providers::set_default_model(&app, &visitor.caller, form.some("model")).await?;
    Ok(Done::new("/settings#providers", "It is asked by who names no model, from now on."))
}

fn one(
    config: &Config,
    provider: &Provider,
    heard: Option<&Heard>,
    visitor: &Visitor,
    set: Option<&(Markup, Option<String>)>,
) -> Markup {
    let kind = match provider.kind {
        Kind::Openai => "chat completions (openai)",
        Kind::Anthropic => "messages (anthropic)",
    };
    let per_minute = |most: Option<u32>| most.map_or_else(|| "as many as come".to_owned(), |most| grouped(most.into()));
    let key = match (set, &provider.key) {
        (Some((_, Some(secret))), _) => format!("with the secret {secret}"),
        (None, Some(_)) => "with a key".to_owned(),
        _ => "without a key".to_owned(),
    };
    html! {
        section.diff {
            h3 { (provider.name) " " @if set.is_some() { (badge("busy", "set here")) " " } (reach(heard)) }
            @if let Some(heard) = heard {
                p.faint { "Asked last: " (time(heard.at, &visitor.zone)) "; of the newest " (grouped(heard.calls)) " calls " (grouped(heard.failures)) " failed." }
            }
            dl.facts {
                (fact("Protocol", "kind", kind))
                (fact("Address", "base-url", &place(provider)))
                (fact("Asked", "key", &key))
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
            @if let Some((more, _)) = set { (more) }
        }
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
    /// Who was asked, where that is kept.
    #[serde(default)]
    by: Option<String>,
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
        // A call that names nobody may have gone to whoever was the default then, or to a recording.
        let Some(who) = asked.and_then(|asked| asked.by.or(asked.model)) else { continue };
        let Some((provider, _)) = config.find(Some(&who)) else { continue };
        let failed: Option<String> = row.get(1)?;
        let at = timestamp(row.get(2)?);
        let is_failure = u64::from(failed.is_some());
        let known = all.entry(provider.name.clone()).or_insert(Heard { at, failed, calls: 0, failures: 0 });
        known.calls += 1;
        known.failures += is_failure;
    }
    Ok(all)
}
