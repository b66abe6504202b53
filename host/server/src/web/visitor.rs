//! Who looks at a page: their account, and whose rights they have.

use std::collections::BTreeSet;

use axum::{extract::FromRequestParts, http::request::Parts};
use jiff::{Timestamp, tz::TimeZone};
use maud::{Markup, html};
use triggerbox_automation::people;
use triggerbox_model::value::Id;

use super::parts::time;
use crate::{
    app::{App, failed},
    auth::{Caller, is_administrator},
    people::{Account, DeviceKey, SessionKey, accounts, audit::Deed, roles, sessions},
    problem::Problem,
    tokens::{Scope, Token},
};

/// Who looks at a page.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    /// Their account.
    pub(super) account: Account,
    /// Their user's rights, and what their roles open, in the form in which the API has both.
    pub(super) caller: Caller,
    /// Full name.
    pub(super) name: String,
    /// The zone in which they are told times.
    pub(super) zone: TimeZone,
    /// Where they are.
    pub(super) address: String,
    /// Their browser's session.
    pub(super) key: SessionKey,
}

impl Visitor {
    /// The visitor with a session, if it is good now and so are account and user. That it is used keeps it good for
    /// longer.
    ///
    /// # Errors
    /// What the database says.
    pub(super) async fn find(
        app: &App,
        key: SessionKey,
        address: String,
        is_used: bool,
    ) -> Result<Option<Self>, Problem> {
        let inner = app.clone();
        let found = app.blocking(move || {
            let now = inner.engine().clock().now();
            let (session, account) = {
                let conn = inner.engine().database().snapshot()?;
                let Some(session) = sessions::find(&conn, &key, now)? else { return Ok(None) };
                let Ok(account) = accounts::get(&conn, session.account)? else { return Ok(None) };
                (session, account)
            };
            let Ok(person) = people::active(inner.engine().database(), account.user, now) else {
                return Ok(None);
            };
            if account.disabled.is_some() {
                return Ok(None);
            }
            let administrator = is_administrator(&inner, account.user)?;
            let visitor = Self {
                caller: Caller { user: account.user, administrator, token: as_token(&account) },
                name: person.user.name,
                zone: TimeZone::get(&person.user.tz).unwrap_or(TimeZone::UTC),
                address,
                key,
                account,
            };
            let due = is_used && sessions::is_due(&session, now);
            Ok(Some((visitor, due.then_some(now))))
        });
        let Some((visitor, due)) = found.await? else { return Ok(None) };
        if let Some(now) = due {
            let key = visitor.key.clone();
            app.write(move |conn| Ok::<_, triggerbox_store::db::DbError>(sessions::note(conn, &key, now)?)).await?;
        }
        Ok(Some(visitor))
    }

    /// Whether their roles open something.
    #[must_use]
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.caller.token.scopes.contains(&scope)
    }

    /// What they did, for the audit log.
    #[must_use]
    pub(super) fn deed(&self, action: &'static str, what: impl Into<String>) -> Deed {
        Deed {
            who: self.account.login.clone(),
            user: Some(self.account.user),
            action,
            what: what.into(),
            detail: String::new(),
            address: self.address.clone(),
        }
    }
}

/// What an account may do, in the form in which the API has it.
fn as_token(account: &Account) -> Token {
    Token {
        id: 0,
        name: account.login.clone(),
        user: account.user,
        scopes: roles::scopes(&account.roles),
        created: account.created,
        expires: None,
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = super::page::Oops;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        // A page behind no gate has no visitor: that is a mistake here, and nobody gets in by it.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| failed().into())
    }
}

/// A browser that need not be signed in: what its forms carry, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    /// From a cookie, signed in or not.
    pub(super) key: SessionKey,
    /// From another one, if it ever signed in.
    pub(super) device: Option<DeviceKey>,
    /// Where it is.
    pub(super) address: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Guest {
    type Rejection = super::page::Oops;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| failed().into())
    }
}

/// Who set something, and when.
///
/// # Errors
/// What the database says.
pub(super) fn who_set(app: &App, visitor: &Visitor, set: Option<(Id, Timestamp)>) -> Result<Markup, Problem> {
    let Some((by, at)) = set else { return Ok(html! {}) };
    let people = names(app, [by])?;
    Ok(html! { " Set by " @for name in people.values() { b { (name) } } ", " (time(at, &visitor.zone)) "." })
}

/// Users of the records by id: their names for lists. Who is gone is told by number.
///
/// # Errors
/// What the database says.
pub(super) fn names(
    app: &App,
    users: impl IntoIterator<Item = Id>,
) -> Result<std::collections::HashMap<Id, String>, Problem> {
    let users: BTreeSet<Id> = users.into_iter().collect();
    let conn = app.engine().database().snapshot()?;
    let now: Timestamp = app.engine().clock().now();
    let env = people::environment_in(&conn, people::SYSTEM, true, now)?;
    let named = users.into_iter().map(|user| {
        let name = people::by_id(&conn, &env, user).map_or_else(|_| format!("user {user}"), |one| one.user.name);
        (user, name)
    });
    Ok(named.collect())
}
