//! Answers of pages: a page, a way to another one, or why it was not done. The gate puts the frame around them.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};

use super::{parts::hidden_token, visitor::Visitor};
use crate::{
    problem::{Details, Problem},
    tokens::Scope,
};

/// A screen of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    /// Automations.
    Automations,
    /// Scripts and versions.
    Scripts,
    /// Runs.
    Runs,
    /// Threads.
    Threads,
    /// Approvals.
    Approvals,
    /// Usage and health.
    Usage,
    /// Settings and audit.
    Settings,
    /// None of them.
    None,
}

/// The menu: its words are Odoo's where Odoo has the thing.
const MENU: [(Tab, &str, &str, Scope); 7] = [
    (Tab::Automations, "Automations", "/automations", Scope::Read),
    (Tab::Scripts, "Scripts", "/scripts", Scope::Read),
    (Tab::Runs, "Runs", "/runs", Scope::Read),
    (Tab::Threads, "Threads", "/threads", Scope::Read),
    (Tab::Approvals, "Approvals", "/approvals", Scope::Read),
    (Tab::Usage, "Usage & health", "/usage", Scope::Read),
    (Tab::Settings, "Settings", "/settings", Scope::Admin),
];

/// A page, without its frame.
#[derive(Clone)]
pub(super) struct Page {
    status: StatusCode,
    title: String,
    tab: Tab,
    crumbs: Vec<(String, String)>,
    body: Markup,
}

impl Page {
    /// A page of a screen.
    pub(super) fn new(tab: Tab, title: impl Into<String>, body: Markup) -> Self {
        Self { status: StatusCode::OK, title: title.into(), tab, crumbs: Vec::new(), body }
    }

    /// With the way to it: what is above, and its address.
    #[must_use]
    pub(super) fn under(mut self, title: &str, address: &str) -> Self {
        self.crumbs.push((title.to_owned(), address.to_owned()));
        self
    }

    /// With another status: something on it is wrong.
    #[must_use]
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// The whole document.
    pub(super) fn document(&self, frame: &Frame<'_>) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Triggerbox" }
                    link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                    link rel="stylesheet" href="/assets/style.css";
                    script src="/assets/app.js" defer {}
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    @if let Some(visitor) = frame.visitor { (self.bar(visitor, frame)) }
                    @if frame.stopped {
                        p.banner.bad role="status" {
                            "Runs are stopped: rules still fire, their runs wait. " a href="/usage" { "Where and why" }
                        }
                    }
                    main #main tabindex="-1" {
                        @if let Some(said) = frame.said { p.banner.good role="status" { (said) } }
                        @if frame.visitor.is_some() {
                            header.head {
                                @if !self.crumbs.is_empty() {
                                    nav.crumbs aria-label="Where you are" {
                                        @for (title, address) in &self.crumbs { a href=(address) { (title) } }
                                    }
                                }
                                h1 { (self.title) }
                            }
                        }
                        (self.body)
                    }
                }
            }
        }
    }

    fn bar(&self, visitor: &Visitor, frame: &Frame<'_>) -> Markup {
        html! {
            header.bar {
                a.brand href="/" { span.mark aria-hidden="true" {} "Triggerbox" }
                nav.menu aria-label="Main" {
                    @for (tab, title, address, scope) in MENU {
                        @if visitor.may(scope) {
                            a href=(address) aria-current=[(tab == self.tab).then_some("page")] {
                                (title)
                                @if tab == Tab::Approvals && frame.waiting > 0 {
                                    " " span.count { (frame.waiting) span.unseen { " waiting" } }
                                }
                            }
                        }
                    }
                }
                details.me {
                    summary { span { (visitor.name) } }
                    div.sheet {
                        p.faint { "Signed in as " b { (visitor.account.login) } }
                        p.faint { (visitor.account.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")) }
                        a.button.wide href="/account" { "Your account" }
                        form method="post" action="/sign-out" {
                            (hidden_token(&visitor.key))
                            button.wide type="submit" { "Sign out" }
                        }
                    }
                }
            }
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}

/// What is around a page.
pub(super) struct Frame<'a> {
    pub(super) visitor: Option<&'a Visitor>,
    /// What was done just before.
    pub(super) said: Option<&'a str>,
    /// Changes that wait for a yes.
    pub(super) waiting: u32,
    /// Whether some runs are stopped.
    pub(super) stopped: bool,
}

/// Something was done: on to a page that tells so.
#[derive(Debug, Clone)]
pub(super) struct Done {
    to: String,
    said: Said,
}

/// What the next page tells.
#[derive(Debug, Clone)]
pub(super) struct Said(pub(super) String);

impl Done {
    /// On to an address of this server, telling what was done.
    pub(super) fn new(to: impl Into<String>, said: impl Into<String>) -> Self {
        Self { to: to.into(), said: Said(said.into()) }
    }
}

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        let to = HeaderValue::from_str(&self.to).unwrap_or_else(|_| HeaderValue::from_static("/"));
        let mut response = (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
        response.extensions_mut().insert(self.said);
        response
    }
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub(super) struct Oops(pub(super) Problem);

impl<E: Into<Problem>> From<E> for Oops {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// What a page or an action answers.
pub(super) type Answer<T = Page> = Result<T, Oops>;

impl IntoResponse for Oops {
    fn into_response(self) -> Response {
        page_of(self.0.details()).into_response()
    }
}

/// A refusal as a page.
fn page_of(details: &Details) -> Page {
    let status = StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match status {
        StatusCode::NOT_FOUND => "There is no such thing here",
        StatusCode::FORBIDDEN => "You may not do this",
        StatusCode::CONFLICT => "Something else happened meanwhile",
        StatusCode::INTERNAL_SERVER_ERROR => "The server failed",
        _ => "This was not done",
    };
    let body = html! {
        section.card.oops {
            p { (sentence(&details.detail)) }
            @if !details.findings.is_empty() {
                ul { @for one in &details.findings { li { @if !one.place.is_empty() { code { (one.place) } ": " } (one.message) } } }
            }
            p.faint { "Nothing was changed. Code: " code { (details.code) } }
        }
    };
    Page::new(Tab::None, title, body).status(status)
}

/// A message of the program as people write: with a capital and a full stop.
#[must_use]
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let mut text = first + chars.as_str();
    if !text.is_empty() && !text.ends_with(['.', '!', '?', '…', '`', '\n']) {
        text.push('.');
    }
    text
}
