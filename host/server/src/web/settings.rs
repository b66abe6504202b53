//! Settings: accounts, tokens, what policy and limits say, how long the past is kept.

use std::collections::{BTreeSet, HashMap};

use axum::{extract::State, http::HeaderMap};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use triggerbox_automation::{EngineError, people};
use triggerbox_model::value::Id;

use super::{
    automation::number,
    form::Form,
    page::{Answer, Done, Page, Tab},
    parts::{action, address, badge, confirmed, encoded, field, hidden_token, hidden_version, time},
    visitor::{Visitor, names},
};
use crate::{
    api::access::{self, New},
    app::App,
    extract::{Asked, At},
    people::{Account, Role, accounts, audit, invites, sessions},
    problem::Problem,
    shown,
    tokens::{self, Scope, Token},
    told,
};

/// Accounts of one page: each with its form.
const ACCOUNTS: u32 = 20;

/// Tokens of one page.
const TOKENS: u32 = 40;

/// The parts of the page: each is found by its name.
const PARTS: [(&str, &str); 8] = [
    ("accounts", "Accounts"),
    ("tokens", "API tokens"),
    ("providers", "Language models"),
    ("secrets", "Secrets"),
    ("erase", "Erase one person"),
    ("retention", "How long the past is kept"),
    ("policy", "Policy"),
    ("limits", "Limits"),
];

/// Which accounts, tokens and secrets.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// The sign-in name that the accounts begin with.
    account: String,
    /// The token that the tokens begin with.
    token: Option<i64>,
    /// The name that the secrets begin with.
    secret: String,
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, Asked(query): Asked<Query>) -> Answer {
    let now = app.engine().clock().now();
    let (login, newest) = (query.account.clone(), query.token.unwrap_or(i64::MAX));
    let (mut all, open, mut tokens, opened) = app
        .read(move |conn| {
            let all = accounts::from(conn, &login, ACCOUNTS + 1)?;
            let counts = all.iter().map(|one| Ok((one.id, sessions::count(conn, one.id, now)?)));
            let counts: HashMap<i64, u32> = counts.collect::<rusqlite::Result<_>>()?;
            let tokens = tokens::back_from(conn, newest, TOKENS + 1)?;
            let users: BTreeSet<Id> = tokens.iter().map(|one| one.user).collect();
            let opened = users.into_iter().map(|user| Ok((user, accounts::opened_for(conn, user)?)));
            let opened: HashMap<Id, Option<BTreeSet<Scope>>> = opened.collect::<rusqlite::Result<_>>()?;
            Ok::<_, EngineError>((all, counts, tokens, opened))
        })
        .await?;
    let next_account = beyond(&mut all, ACCOUNTS).map(|one| format!("/settings?account={}", encoded(&one.login)));
    let next_token = beyond(&mut tokens, TOKENS).map(|one| format!("/settings?token={}#tokens", one.id));
    let people = names(&app, all.iter().map(|one| one.user).chain(tokens.iter().map(|one| one.user)))?;
    let name = |user: Id| people.get(&user).map_or("", String::as_str);
    let providers = super::providers::card(&app, &visitor).await?;
    let keeping = super::keeping::cards(&app, &visitor, &query.secret).await?;
    let retention = super::retention::card(&app, &visitor).await?;
    let policy = super::policy::card(&app, &visitor).await?;
    let body = html! {
        p.toolbar { a.button href="/settings/audit" { "Audit log" } a.button href="/usage" { "Stop switch" } }
        nav.toolbar aria-label="On this page" { @for (id, title) in PARTS { a href={ "#" (id) } { (title) } } }
        section.card #accounts {
            h2 { "Accounts" }
            p.faint { "An account signs in here and has the rights of a user of the records: what it may see follows from those, what it may do follows from its roles." }
            form.toolbar method="get" action="/settings" role="search" {
                div { label for="account" { "From sign-in name" } br; input #account type="search" name="account" value=(query.account) autocapitalize="none"; }
                button type="submit" { "Find" }
            }
            @if all.is_empty() { p.faint { "None from this name on." } }
            @for one in &all { (account(&visitor, one, name(one.user), open.get(&one.id).copied().unwrap_or_default())) }
            @if let Some(next) = &next_account { p { a.button href=(next) { "More accounts" } } }
            details { summary { b { "New account" } } (new_account(&visitor)) }
        }
        section.card #tokens {
            h2 { "API tokens" }
            @if tokens.is_empty() { p.faint { "None. Programs that use the API carry one." } }
            @else { div.scroll tabindex="0" role="region" aria-label="Tokens" { table.stack {
                thead { tr { th scope="col" { "Token" } th scope="col" { "Acts as" } th scope="col" { "For" } th scope="col" { "Made" } th scope="col" { "Good until" } th scope="col" { span.unseen { "Actions" } } } }
                tbody { @for one in &tokens { (token(&visitor, one, name(one.user), opened.get(&one.user).and_then(Option::as_ref), now)) } }
            } } }
            @if let Some(next) = &next_token { p { a.button href=(next) { "Older tokens" } } }
            details { summary { b { "New token" } } (new_token(&visitor)) }
        }
        (providers)
        (keeping)
        (retention)
        (policy)
        (super::standing::cards(&app))
    };
    Ok(Page::new(Tab::Settings, "Settings", body))
}

/// Cuts a list, of which one more was asked for than a page has, to the page: the one beyond it begins the next page.
fn beyond<T>(list: &mut Vec<T>, page: u32) -> Option<T> {
    let size = usize::try_from(page).unwrap_or(usize::MAX);
    if list.len() > size { list.pop() } else { None }
}

fn account(visitor: &Visitor, one: &Account, name: &str, open: u32) -> Markup {
    let to = |what: &str| address(&["settings", "accounts", &one.id.to_string(), what]);
    html! {
        details.diff id={ "account-" (one.id) } {
            summary {
                b { (one.login) } " " span.faint { (name) } " "
                @for role in &one.roles { (badge("busy", role.name())) " " }
                @if one.disabled.is_some() { (badge("bad", "switched off")) }
                @else if one.password.is_none() { (badge("wait", "no password yet")) }
                @else if open > 0 { (badge("good", "signed in")) }
            }
            form method="post" action=(address(&["settings", "accounts", &one.id.to_string()])) {
                (hidden_token(&visitor.key))
                (hidden_version(&shown::version(&words(one))))
                (roles(&one.roles, one.id))
                (field(&format!("user-{}", one.id), "User", "Sign-in name or id of the user whose rights it has.", &[], html! {
                    input id=(format!("user-{}", one.id)) type="text" name="user" value=(one.user) required;
                }))
                div.field.row { input id=(format!("off-{}", one.id)) type="checkbox" name="disabled" value="1" checked[one.disabled.is_some()]; " " label for=(format!("off-{}", one.id)) { "Switched off: nobody signs in with it, and tokens of its user are refused" } }
                button.primary type="submit" { "Save" }
            }
            p.toolbar {
                (action(visitor, &to("link"), "Make a link that sets a new password", ""))
                @if open > 0 { (confirmed(visitor, &to("sign-out"), "Sign out", "All browsers that are signed in with it are signed out.")) }
            }
        }
    }
}

/// An account in words: whose rights it has, and what it may do.
fn words(one: &Account) -> String {
    told::account(&one.login, one.user, &one.roles, one.disabled.is_some())
}

fn roles(chosen: &BTreeSet<Role>, id: i64) -> Markup {
    html! {
        fieldset { legend { "Roles" } div.checks { @for role in Role::ALL {
            @let one = format!("role-{id}-{role}");
            span { input id=(one) type="checkbox" name="role" value=(role.name()) checked[chosen.contains(&role)]; " " label for=(one) title=(role.help()) { (role.name()) } }
        } } }
    }
}

fn new_account(visitor: &Visitor) -> Markup {
    html! {
        form method="post" action="/settings/accounts" {
            (hidden_token(&visitor.key))
            div.two {
                (field("login", "Sign-in name", "", &[], html! { input #login type="text" name="login" required autocapitalize="none" autocomplete="off"; }))
                (field("user", "User", "Sign-in name or id of the user whose rights it has.", &[], html! { input #user type="text" name="user" required autocapitalize="none"; }))
            }
            (roles(&[Role::Reader].into(), 0))
            button.primary type="submit" { "Create, and make a link" }
        }
    }
}

/// A token, with what the accounts of its user open, if there are any.
fn token(visitor: &Visitor, one: &Token, name: &str, opened: Option<&BTreeSet<Scope>>, now: Timestamp) -> Markup {
    let holds = |scope: &Scope| opened.is_none_or(|opened| opened.contains(scope));
    html! {
        tr {
            th.name scope="row" { (one.name) }
            td { (name) }
            td {
                @for scope in one.scopes.iter().filter(|scope| holds(scope)) { (badge("calm", scope.name())) " " }
                @if !one.scopes.iter().all(holds) { (badge("wait", "held back by the account")) }
            }
            td { (time(one.created, &visitor.zone)) }
            td { @match one.expires { Some(at) if at <= now => { (badge("bad", "expired")) }, Some(at) => { (time(at, &visitor.zone)) }, None => { "revoked" } } }
            td { (confirmed(visitor, &address(&["settings", "tokens", &one.id.to_string(), "revoke"]), "Revoke", "Programs that carry it are refused from now on.")) }
        }
    }
}

fn new_token(visitor: &Visitor) -> Markup {
    html! {
        form method="post" action="/settings/tokens" {
            (hidden_token(&visitor.key))
            div.two {
                (field("token-name", "Name", "What it is for.", &[], html! { input #token-name type="text" name="name" required maxlength="100"; }))
                (field("token-user", "Acts as", "Sign-in name or id of a user. Where they have an account, it opens no more than the account's roles.", &[], html! { input #token-user type="text" name="user" required; }))
                (field("days", "Good for days", "Empty: until it is revoked.", &[], html! { input #days type="text" inputmode="numeric" name="days" value="90"; }))
            }
            fieldset { legend { "For" } div.checks { @for scope in Scope::ALL {
                @let id = format!("scope-{scope}");
                span { input id=(id) type="checkbox" name="scope" value=(scope.name()) checked[scope == Scope::Read]; " " label for=(id) { (scope.name()) } }
            } } }
            button.primary type="submit" { "Make token" }
        }
    }
}

/// Refuses to lend somebody else's rights by an account, as by a token: only administrators of the records do.
fn lending(visitor: &Visitor, user: Id) -> Result<(), Problem> {
    if visitor.caller.administrator || user == visitor.caller.user {
        return Ok(());
    }
    let detail =
        "only an administrator of the records lets somebody sign in with the rights of another user than their own";
    Err(Problem::denied("access-denied", detail))
}

/// Users of the records by sign-in name or id.
async fn user(app: &App, text: &str) -> Result<Id, Problem> {
    let (app, text) = (app.clone(), text.to_owned());
    let now = app.engine().clock().now();
    app.clone().blocking(move || Ok(people::find(app.engine().database(), &text, now)?.user.id)).await
}

fn chosen(form: &Form) -> Result<BTreeSet<Role>, Problem> {
    let roles: Result<BTreeSet<Role>, String> = form.all("role").iter().map(|name| name.parse()).collect();
    let roles = roles.map_err(|why| Problem::invalid("bad-body", why))?;
    if roles.is_empty() { Err(Problem::invalid("bad-body", "an account has at least one role")) } else { Ok(roles) }
}

pub(super) async fn create_account(State(app): State<App>, visitor: Visitor, headers: HeaderMap, form: Form) -> Answer {
    let (user, roles, login) = (user(&app, form.text("user")).await?, chosen(&form)?, form.text("login").to_owned());
    lending(&visitor, user)?;
    let (now, name) = (app.engine().clock().now(), login.clone());
    audit::say(told::account(&login, user, &roles, false));
    let secret = app
        .write(move |conn| {
            let id = accounts::create(conn, &name, user, &roles, now)??;
            Ok::<_, EngineError>(invites::create(conn, id, now)?)
        })
        .await?;
    Ok(link_page(&app, &visitor, &headers, &login, &secret))
}

pub(super) async fn make_link(State(app): State<App>, visitor: Visitor, headers: HeaderMap, At(id): At<i64>) -> Answer {
    let (now, line, by) = (app.engine().clock().now(), audit::here(), visitor.clone());
    let (login, secret) = app
        .write(move |conn| {
            let account = accounts::get(conn, id)??;
            lending(&by, account.user)?;
            line.say(format!("a link that sets a password of {}, good for {} hours", account.login, invites::HOURS));
            Ok::<_, Problem>((account.login, invites::create(conn, id, now)?))
        })
        .await?;
    Ok(link_page(&app, &visitor, &headers, &login, &secret))
}

/// The link is shown once.
fn link_page(app: &App, _visitor: &Visitor, headers: &HeaderMap, login: &str, secret: &str) -> Page {
    let host = headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let base = app.config().web.url.clone().unwrap_or_else(|| format!("http://{host}"));
    let link = format!("{}/welcome?key={secret}", base.trim_end_matches('/'));
    let body = html! {
        section.card {
            p { "Send this link to " b { (login) } ". It sets a password, is good once and for " (invites::HOURS) " hours, and is not shown again." }
            (field("link", "Link", "", &[], html! { input #link type="text" readonly value=(link); }))
            a.button href="/settings" { "Back to the settings" }
        }
    };
    Page::new(Tab::Settings, "A link for one person", body).under("Settings", "/settings")
}

pub(super) async fn change_account(
    State(app): State<App>,
    visitor: Visitor,
    At(id): At<i64>,
    form: Form,
) -> Answer<Done> {
    let (user, roles) = (user(&app, form.text("user")).await?, chosen(&form)?);
    let disabled = form.is_on("disabled").then(|| app.engine().clock().now());
    let (seen, line) = (form.some(shown::FIELD), audit::here());
    app.write(move |conn| {
        let old = accounts::get(conn, id)??;
        shown::is_still(seen.as_deref(), &words(&old))?;
        if user != old.user {
            lending(&visitor, user)?;
        }
        let now = told::account(&old.login, user, &roles, disabled.is_some());
        line.say(format!("{now}; before: {}", words(&old)));
        accounts::change(conn, id, user, &roles, disabled)??;
        if disabled.is_some() {
            sessions::end_all(conn, id)?;
        }
        Ok::<_, Problem>(())
    })
    .await?;
    Ok(Done::new("/settings", "The account is saved."))
}

pub(super) async fn sign_out_account(State(app): State<App>, At(id): At<i64>) -> Answer<Done> {
    let line = audit::here();
    let count = app
        .write(move |conn| {
            let count = sessions::end_all(conn, id)?;
            line.say(format!("{} in {count} browser(s)", accounts::get(conn, id)??.login));
            Ok::<_, EngineError>(count)
        })
        .await?;
    Ok(Done::new("/settings", format!("{count} browser(s) are signed out.")))
}

pub(super) async fn create_token(State(app): State<App>, visitor: Visitor, form: Form) -> Answer {
    let scopes: Result<BTreeSet<Scope>, String> = form.all("scope").iter().map(|name| name.parse()).collect();
    let scopes = scopes.map_err(|why| Problem::invalid("bad-body", why))?;
    let days = if form.text("days").is_empty() { None } else { Some(number(&form, "days")?) };
    let new = New { name: form.text("name").to_owned(), user: form.text("user").to_owned(), scopes, days };
    let (token, secret) = access::make(&app, &visitor.caller, new).await?;
    let body = html! {
        section.card {
            p { "This is the token " b { (token.name) } ". It is not shown again; only its hash is kept." }
            (field("secret", "Token", "", &[], html! { input #secret type="text" readonly value=(secret); }))
            a.button href="/settings" { "Back to the settings" }
        }
    };
    Ok(Page::new(Tab::Settings, "A new token", body).under("Settings", "/settings"))
}

pub(super) async fn revoke_token(State(app): State<App>, At(id): At<i64>) -> Answer<Done> {
    access::end(&app, id).await?;
    Ok(Done::new("/settings", "The token is revoked."))
}
