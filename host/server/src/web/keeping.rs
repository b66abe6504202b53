//! Secrets, and erasing what was kept of one person: parts of the settings.

use axum::extract::State;
use maud::{Markup, html};
use triggerbox_automation::EngineError;

use super::{
    form::Form,
    page::{Answer, Done},
    parts::{address, confirmed, field, hidden_token},
    visitor::Visitor,
};
use crate::{
    app::App,
    extract::At,
    people::audit,
    problem::Problem,
    providers,
    vault::{self, Purpose},
};

/// Both parts of the settings.
pub(super) fn cards(app: &App, visitor: &Visitor) -> Markup {
    let written = app.vault().names();
    html! {
        section.card #secrets {
            h2 { "Secrets" }
            p.faint { "What signs webhooks, the keys of providers that are set here, and what scripts have put into their requests as " code { "${secret:NAME}" } ", by name. Written here, never shown again; encrypted in the database with the key of the configuration's " code { "web.key-file" } ". Those of the configuration file sign webhooks too." }
            ul {
                @for name in app.config().secrets.keys().filter(|name| !written.contains_key(*name)) { li { code { (name) } " " span.faint { "in the configuration" } } }
                @for (name, purpose) in &written { li { code { (name) } " " span.faint { (told(purpose)) " " } (confirmed(visitor, &address(&["settings", "secrets", name, "delete"]), "Delete", "What uses it is refused from now on.")) } }
            }
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
            p.faint { "Takes texts, whatever their case, out of all that is kept of runs: requests, reports, logs, journals, conversations. Records are not touched. A run that held one no longer replays as it was." }
            form method="post" action="/settings/erase" {
                (hidden_token(&visitor.key))
                (field("texts", "Texts", "One a line: name, e-mail address, telephone number.", &[], html! { textarea #texts name="texts" rows="3" required {} }))
                (field("request", "By which request", "For the audit log; without the person's data.", &[], html! { input #request type="text" name="request" required; }))
                button.danger type="submit" { "Erase" }
            }
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
    let in_file = matches!(purpose, Purpose::Header { .. })
        && providers::of_file(&app).secrets.iter().any(|one| one.name == name);
    if in_file {
        let text = format!("{} has a secret of this name, which is changed there", providers::file_name(&app));
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

pub(super) async fn erase(State(app): State<App>, form: Form) -> Answer<Done> {
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
    // The line stands there before the first row is changed, and stays if the work is cut short.
    audit::say(format!("by request {request}: {} text(s)", texts.len()));
    let erased = app.engine().erase(&texts).await?;
    let mut left = match erased.waiting {
        0 => String::new(),
        count => format!(" {count} proposal(s) that wait for a yes hold it too: decide about them, then erase again."),
    };
    if erased.left > 0 {
        let count = erased.left;
        left += &format!(" {count} place(s) could not be read without it, and still hold it until they are let go.");
    }
    Ok(Done::new("/settings", format!("Erased from {} place(s).{left}", erased.rows)))
}
