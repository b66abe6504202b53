//! One's own account: password, and signing out here or everywhere.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::html;
use triggerbox_automation::EngineError;

use super::{
    form::Form,
    gate::SignedIn,
    page::{Answer, Done, Page, Tab, sentence},
    parts::{confirmed, field, hidden_token},
    sign_in,
    visitor::Visitor,
};
use crate::{
    app::{App, failed},
    people::{accounts, audit, pace::Try, password, sessions},
};

pub(super) async fn show(State(app): State<App>, visitor: Visitor) -> Answer {
    page(&app, &visitor, &[]).await
}

async fn page(app: &App, visitor: &Visitor, wrong: &[String]) -> Answer {
    let (account, now) = (visitor.account.id, app.engine().clock().now());
    let open = app.read(move |conn| sessions::count(conn, account, now)).await?;
    let input = |id: &str, complete: &str| {
        html! {
            input id=(id) type="password" name=(id) autocomplete=(complete) required;
        }
    };
    let body = html! {
        div.two {
            section.card {
                h2 { "You" }
                dl.facts {
                    dt { "Name" } dd { (visitor.name) }
                    dt { "Sign-in name" } dd { (visitor.account.login) }
                    dt { "Roles" }
                    dd { @for role in &visitor.account.roles { p { b { (role.name()) } ": " (role.help()) } } }
                    dt { "Time zone" } dd { (visitor.zone.iana_name().unwrap_or("UTC")) " " span.faint { "(from your user)" } }
                }
            }
            form.card method="post" action="/account/password" {
                h2 { "Change your password" }
                (hidden_token(&visitor.key))
                (field("old", "Present password", "", &[], input("old", "current-password")))
                (field("password", "New password", "", wrong, input("password", "new-password")))
                (field("again", "The same again", "", &[], input("again", "new-password")))
                button.primary type="submit" { "Change password" }
                p.help { "All your other browsers are signed out by it." }
            }
        }
        section.card {
            h2 { "Where you are signed in" }
            p { "In " (open) @if open == 1 { " browser: this one." } @else { " browsers, this one included." } }
            (confirmed(visitor, "/sign-out-everywhere", "Sign out everywhere", "This browser is signed out as well."))
        }
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Ok(Page::new(Tab::None, "Your account", body).status(status))
}

pub(super) async fn change_password(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Response> {
    let now = app.engine().clock().now();
    let (account, login, address) = (visitor.account.id, visitor.account.login.clone(), visitor.address.clone());
    let one = Try::to_change(account);
    let wrong = |text: String| async { Ok(page(&app, &visitor, &[text]).await?.into_response()) };
    let (old, new) = (form.raw("old").to_owned(), form.raw("password").to_owned());
    if let Err(error) = sign_in::check(&new, form.raw("again")) {
        return wrong(sentence(&error.message)).await;
    }
    if !app.pace().take(&one, now) {
        return wrong("Too many tries. Wait a quarter of an hour.".to_owned()).await;
    }
    let kept = visitor.account.password.clone();
    let hash = app.hashing(move || {
        let right = password::is(&old, kept.as_deref());
        right.then(|| password::hash(&new).map_err(|_| failed())).transpose()
    });
    let Some(hash) = hash.await? else {
        return wrong("The present password is another one.".to_owned()).await;
    };
    app.pace().succeeded(&one, now);
    audit::say(format!("of {login}; its other browsers are signed out"));
    let key = app
        .write(move |conn| {
            accounts::set_password(conn, account, &hash)?;
            sessions::end_all(conn, account)?;
            Ok::<_, EngineError>(sessions::create(conn, account, &address, now)?)
        })
        .await?;
    let mut response = Done::new("/account", "Your password is changed.").into_response();
    response.extensions_mut().insert(SignedIn(Some(key)));
    Ok(response)
}

pub(super) async fn sign_out(State(app): State<App>, visitor: Visitor) -> Answer<Response> {
    audit::say(format!("{}, in this browser", visitor.account.login));
    app.write(move |conn| Ok::<_, EngineError>(sessions::end(conn, &visitor.key)?)).await?;
    Ok(out())
}

pub(super) async fn sign_out_everywhere(State(app): State<App>, visitor: Visitor) -> Answer<Response> {
    let account = visitor.account.id;
    audit::say(format!("{}, in all browsers", visitor.account.login));
    app.write(move |conn| Ok::<_, EngineError>(sessions::end_all(conn, account)?)).await?;
    Ok(out())
}

fn out() -> Response {
    let mut response = Done::new("/sign-in", "You are signed out.").into_response();
    response.extensions_mut().insert(SignedIn(None));
    response
}
