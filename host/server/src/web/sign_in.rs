//! Signing in, and the links that set a password.

use axum::extract::State;
use jiff::Timestamp;
use maud::{Markup, html};
use rusqlite::Connection;
use serde::Deserialize;
use triggerbox_automation::{EngineError, people};
use triggerbox_model::{error::Error, value::Id};

use super::{
    form::Form,
    gate::{Known, SignedIn},
    page::{Answer, Done, Page, Tab, sentence},
    parts::{field, hidden_token},
    visitor::Guest,
};
use crate::{
    app::{App, failed},
    extract::Asked,
    people::{
        DeviceKey, SessionKey, accounts,
        audit::{self, Deed},
        devices, invites,
        pace::Try,
        password, sessions,
    },
    problem::Problem,
    told,
};
use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
}

pub(super) async fn show(guest: Guest, Asked(query): Asked<Next>) -> Page {
    page(&guest, &query.next, "", None)
}

fn page(guest: &Guest, next: &str, login: &str, wrong: Option<&str>) -> Page {
    let body = html! {
        section.sign-in {
            p.brand { span.mark aria-hidden="true" {} "Triggerbox" }
            form.card method="post" action="/sign-in" {
                h1 { "Sign in" }
                (hidden_token(&guest.key))
                input type="hidden" name="next" value=(own(next));
                @if let Some(wrong) = wrong { p.banner.bad role="alert" { (wrong) } }
                (field("login", "Sign-in name", "", &[], html! {
                    input #login type="text" name="login" value=(login) autocomplete="username" autocapitalize="none" required autofocus;
                }))
                (field("password", "Password", "", &[], html! {
                    input #password type="password" name="password" autocomplete="current-password" required;
                }))
                button.primary.wide type="submit" { "Sign in" }
            }
            p.faint { "No account, or the password is gone? An administrator can send you a link that sets a new one." }
        }
    };
    Page::new(Tab::None, "Sign in", body).status(if wrong.is_some() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    })
}

/// An address of this server, or the first page: nobody is sent elsewhere.
fn own(next: &str) -> &str {
    let plain = next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if next.starts_with('/') && !next.starts_with("//") && plain { next } else { "/" }
}

pub(super) async fn enter(State(app): State<App>, guest: Guest, form: Form) -> Answer<Response> {
    let (login, given) = (form.text("login").to_owned(), form.raw("password").to_owned());
    let now = app.engine().clock().now();
    let refuse = |why: &str| Ok(page(&guest, form.text("next"), &login, Some(why)).into_response());
    let known = known(&app, &guest, &login, now).await?;
    let one = Try::to_sign_in(&login, known.as_ref(), &guest.address);
    if !app.pace().take(&one, now) {
        let why = "Too many tries. Wait a quarter of an hour, or use a browser in which you signed in before.";
        let answer: Answer<Response> = refuse(why);
        return answer.map(|mut response| {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
            response
        });
    }
    let (inner, name) = (app.clone(), login.clone());
    let found = app.hashing(move || {
        let account = accounts::by_login(&*inner.engine().database().snapshot()?, &name)?;
        let kept = account.as_ref().filter(|one| one.disabled.is_none()).and_then(|one| one.password.clone());
        let right = password::is(&given, kept.as_deref());
        Ok(account.filter(|_| right))
    });
    let Some(account) = found.await? else {
        let deed = refused(&login, None, &guest, "name and password did not go together");
        app.write(move |conn| Ok::<_, EngineError>(audit::write(conn, &deed, now)?)).await?;
        return refuse("Name and password do not go together.");
    };
    app.pace().succeeded(&one, now);
    let (inner, user) = (app.clone(), account.user);
    let active = app.blocking(move || Ok(people::active(inner.engine().database(), user, now).is_ok()));
    if !active.await? {
        let deed = refused(&account.login, Some(user), &guest, "the user of the account is not active");
        app.write(move |conn| Ok::<_, EngineError>(audit::write(conn, &deed, now)?)).await?;
        return refuse("Your user is archived. Whoever manages users can make it active again.");
    }
    let inner = guest.clone();
    let begun = app.write(move |conn| begin(conn, &inner, &account, "signed-in", now));
    let begun = begun.await?;
    let response = (StatusCode::SEE_OTHER, [("location", own(form.text("next")).to_owned())]).into_response();
    Ok(begun.told(response))
}

fn refused(login: &str, user: Option<Id>, guest: &Guest, why: &str) -> Deed {
    Deed {
        who: login.chars().take(100).collect(),
        user,
        action: "sign-in-refused",
        what: "/sign-in".to_owned(),
        detail: why.to_owned(),
        address: guest.address.clone(),
    }
}

/// The browser, if it signed in with this name before.
async fn known(app: &App, guest: &Guest, login: &str, now: Timestamp) -> Result<Option<DeviceKey>, Problem> {
    let Some(key) = guest.device.clone() else { return Ok(None) };
    let login = login.to_owned();
    app.read(move |conn| Ok::<_, EngineError>(devices::is_known(conn, &key, &login, now)?.then_some(key))).await
}

/// A browser that is signed in.
struct Begun {
    session: SessionKey,
    device: DeviceKey,
}

impl Begun {
    /// An answer with the cookies of it.
    fn told(self, mut response: Response) -> Response {
        response.extensions_mut().insert(SignedIn(Some(self.session)));
        response.extensions_mut().insert(Known(self.device));
        response
    }
}

/// Signs a browser in: with new keys, whatever it had before.
fn begin(
    conn: &Connection,
    guest: &Guest,
    account: &accounts::Account,
    action: &'static str,
    now: Timestamp,
) -> Result<Begun, EngineError> {
    let deed = Deed {
        who: account.login.clone(),
        user: Some(account.user),
        action,
        what: account.login.clone(),
        detail: told::account(&account.login, account.user, &account.roles, false),
        address: guest.address.clone(),
    };
    sessions::end(conn, &guest.key)?;
    audit::write(conn, &deed, now)?;
    Ok(Begun {
        session: sessions::create(conn, account.id, &guest.address, now)?,
        device: devices::note(conn, account.id, guest.device.as_ref(), now)?,
    })
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    key: String,
}

/// A link is only looked at here: fetching it ahead, as mail programs do, does not use it up.
pub(super) async fn welcome(State(app): State<App>, guest: Guest, Asked(link): Asked<Link>) -> Answer {
    let login = login_of(&app, &link.key).await?;
    Ok(password_page(&guest, &link.key, &login, &[]))
}

async fn login_of(app: &App, key: &str) -> Result<String, Problem> {
    let (key, now) = (key.to_owned(), app.engine().clock().now());
    let found = app.read(move |conn| {
        let Some(account) = invites::find(conn, &key, now)? else { return Ok(None) };
        Ok::<_, EngineError>(accounts::get(conn, account)?.ok().map(|account| account.login))
    });
    found.await?.ok_or_else(gone)
}

fn gone() -> Problem {
    let text = "the link is used up, too old, or not whole; an administrator can make another one";
    Problem::new(StatusCode::GONE, "link-gone", text)
}

fn password_page(guest: &Guest, key: &str, login: &str, wrong: &[String]) -> Page {
    let help = format!(
        "At least {} characters. A few words that you remember are better than a short riddle.",
        password::SHORTEST
    );
    let input = |id: &str| -> Markup {
        html! { input id=(id) type="password" name=(id) autocomplete="new-password" required; }
    };
    let body = html! {
        section.sign-in {
            p.brand { span.mark aria-hidden="true" {} "Triggerbox" }
            form.card method="post" action="/welcome" {
                h1 { "Welcome, " (login) }
                p.faint { "Set the password that you will sign in with." }
                (hidden_token(&guest.key))
                input type="hidden" name="key" value=(key);
                input type="hidden" name="username" value=(login) autocomplete="username";
                (field("password", "Password", &help, wrong, input("password")))
                (field("again", "The same again", "", &[], input("again")))
                button.primary.wide type="submit" { "Set password and sign in" }
            }
        }
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    Page::new(Tab::None, "Welcome", body).status(status)
}

pub(super) async fn set_password(State(app): State<App>, guest: Guest, form: Form) -> Answer<Response> {
    let (key, given) = (form.text("key").to_owned(), form.raw("password").to_owned());
    let login = login_of(&app, &key).await?;
    if let Err(error) = check(&given, form.raw("again")) {
        return Ok(password_page(&guest, &key, &login, &[sentence(&error.message)]).into_response());
    }
    let hash = app.hashing(move || password::hash(&given).map_err(|_| failed())).await?;
    let now = app.engine().clock().now();
    let begun = app.write(move |conn| {
        let Some(id) = invites::take(conn, &key, now)? else {
            return Ok(None);
        };
        accounts::set_password(conn, id, &hash)?;
        sessions::end_all(conn, id)?;
        begin(conn, &guest, &accounts::get(conn, id)??, "password-set", now).map(Some)
    });
    let begun = begun.await?.ok_or_else(gone)?;
    Ok(begun.told(Done::new("/", "Your password is set. Welcome.").into_response()))
}

/// Whether two fields say the same good password.
pub(super) fn check(given: &str, again: &str) -> Result<(), Error> {
    password::check(given)?;
    if given == again {
        return Ok(());
    }
    Err(Error::invalid("weak-password", "the two fields do not say the same"))
}
