//! Secrets, and erasing what was kept of one person: parts of the settings.

use axum::extract::State;
use maud::{Markup, html};
use triggerbox_automation::{EngineError, engine::Erasing};

use super::{
    form::Form,
    page::{Answer, Done},
    parts::{address, badge, confirmed, encoded, field, grouped, hidden_token, long, time},
    visitor::Visitor,
};
use crate::{
    app::App,
    erasure::{self, Erasure},
    extract::At,
    people::audit,
    problem::Problem,
    providers,
    vault::{self, Purpose},
};

/// Secrets of one page.
const SECRETS: usize = 40;

/// Both parts of the settings; the secrets from this name on.
///
/// # Errors
/// What the database says.
pub(super) async fn cards(app: &App, visitor: &Visitor, from: &str) -> Result<Markup, Problem> {
    let (written, erasures) = (app.vault().names(), app.read(erasure::open).await?);
    let here = || written.iter().filter(|(name, _)| name.as_str() >= from);
    let next = here().nth(SECRETS).map(|(name, _)| format!("/settings?secret={}#secrets", encoded(name)));
    Ok(html! {
        section.card #secrets {
            h2 { "Secrets" }
            p.faint { "What signs webhooks, the keys of providers that are set here, and what scripts have put into their requests as " code { "${secret:NAME}" } ", by name. Written here, never shown again; encrypted in the database with the key of the configuration's " code { "web.key-file" } ". Those of the configuration file sign webhooks too. What a file has under a name counts, and is changed there." }
            ul {
                @for name in app.config().secrets.keys() { li { code { (name) } " " span.faint { "in the configuration" } } }
                @for (name, purpose) in here().take(SECRETS) { li { code { (name) } " " span.faint { (told(purpose)) " " }
                    @if let Some(file) = app.file_with_secret(name, purpose) { (badge("wait", "not used")) " " span.faint { (long(&file)) " has one of this name, which counts. " } }
                    (confirmed(visitor, &address(&["settings", "secrets", name, "delete"]), "Delete", "What uses it is refused from now on.")) } }
            }
            @if let Some(next) = next { p { a.button href=(next) { "More secrets" } } }
            @if app.vault().is_there() {
                form method="post" action="/settings/secrets" autocomplete="off" {
                    (hidden_token(&visitor.key))
                    div.two {
                        (field("secret-name", "Name", "Lower-case letters, digits and dashes.", &[], html! { input #secret-name type="text" name="name" required autocapitalize="none"; }))
                        (field("secret-text", "Secret", "At least 16 bytes.", &[], html! { input #secret-text type="password" name="secret" required autocomplete="new-password"; }))
                    }
                    div.two {
                        (field("secret-host", "Only sent to the host", "api.example.com, with the port if it is not the usual one. Empty: it signs, and is sent nowhere.", &[], html! { input #secret-host type="text" name="host" autocapitalize="none" spellcheck="false"; }))
                        (field("secret-header", "Only in the header", "Where scripts have it put: authorization, x-api-key. Empty: it is the key of a provider.", &[], html! { input #secret-header type="text" name="header" autocapitalize="none" spellcheck="false"; }))
                    }
                    button type="submit" { "Write secret" }
                }
            } @else { p.banner.wait { "Set " code { "web.key-file" } " to a file of random bytes to write secrets here." } }
        }
        section.card #erase {
            h2 { "Erase one person" }
            p.faint { "Takes texts, whatever their case, out of all that is kept of runs: requests, reports, logs, journals, conversations. Records are not touched. A run that held one no longer replays as it was. It is done in the background, and goes on after a restart; the " a href="/settings/audit?text=erasure-done" { "audit log" } " tells what came of it." }
            form method="post" action="/settings/erase" {
                (hidden_token(&visitor.key))
                (field("texts", "Texts", "One a line: name, e-mail address, telephone number.", &[], html! { textarea #texts name="texts" rows="3" required {} }))
                (field("request", "By which request", "For the audit log; without the person's data.", &[], html! { input #request type="text" name="request" required; }))
                button.danger type="submit" { "Erase" }
            }
            div #erasing data-live[!erasures.is_empty()] { @for one in &erasures { (progress(one, visitor)) } }
        }
    })
}

/// How far an erasure has come.
fn progress(one: &Erasure, visitor: &Visitor) -> Markup {
    let (tables, looked) = (one.so_far.tables, grouped(one.so_far.looked));
    html! {
        p.banner.wait role="status" {
            "By request " (long(&one.request)) ", since " (time(one.began, &visitor.zone)) ": "
            (tables) " of " (Erasing::all_tables()) " tables are done, " (looked) " rows were looked at."
            @if one.so_far.is_over() { " The database's file is being written anew, so that nothing of it can be read there either." }
        }
    }
}

/// What a secret is for.
fn told(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Signs => "signs, and is sent nowhere".to_owned(),
        Purpose::Key { host } => format!("a key, only sent to {host}"),
        Purpose::Header { host, header } => format!("for scripts, only sent to {host} in the header {header}"),
    }
}

pub(super) async fn write_secret(State(app): State<App>, form: Form) -> Answer<Done> {
    let (name, secret) = (form.text("name").to_owned(), form.raw("secret").to_owned());
    let (host, header) = (form.some("host").map(|host| host.to_lowercase()), form.some("header"));
    let purpose = Purpose::of(host.as_deref(), header.as_deref())?;
    if let Some(file) = app.file_with_secret(&name, &purpose) {
        let text = format!("{file} has a secret of this name, which is changed there");
        return Err(Problem::invalid("set-in-file", text).into());
    }
    let (nonce, sealed) = app.vault().seal(&name, &secret, &purpose)?;
    let again = if app.vault().names().contains_key(&name) { "in place of another one" } else { "a new one" };
    audit::say(format!("the secret `{name}`, {again}: {}", told(&purpose)));
    let (kept, its) = (name.clone(), purpose.clone());
    let write = move |conn: &_| Ok::<_, EngineError>(vault::write(conn, &kept, (nonce, &sealed), &its)?);
    app.write(write).await?;
    app.vault().keep(&name, &secret, purpose);
    providers::apply(&app).await?;
    Ok(Done::new("/settings", "The secret is written. It is not shown again."))
}

pub(super) async fn delete_secret(State(app): State<App>, At(name): At<String>) -> Answer<Done> {
    let was = if app.vault().names().contains_key(&name) { "" } else { ", which was not there" };
    audit::say(format!("the secret `{name}`{was}"));
    let kept = name.clone();
    app.write(move |conn| Ok::<_, EngineError>(vault::delete(conn, &kept)?)).await?;
    app.vault().forget(&name);
    providers::apply(&app).await?;
    Ok(Done::new("/settings", "The secret is deleted."))
}

pub(super) async fn erase(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Done> {
    let texts: Vec<String> =
        form.raw("texts").lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    let request = form.some("request");
    let request = request.ok_or_else(|| Problem::invalid("bad-body", "say by which request, for the audit log"))?;
    if texts.iter().any(|text| request.to_lowercase().contains(&text.to_lowercase())) {
        return Err(Problem::invalid(
            "bad-body",
            "the audit log is never shortened: leave the person's data out of the request",
        )
        .into());
    }
    // The line stands there before the first row is changed; another one tells what came of it.
    audit::say(format!("by request {request}: {} text(s)", texts.len()));
    erasure::begin(&app, &texts, request, visitor.deed("", "")).await?;
    let said = "It is being erased. How far that has come is told here, and what came of it in the audit log.";
    Ok(Done::new("/settings#erase", said))
}
