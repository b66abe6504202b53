//! What stands before each page: who is it, may they, does the form come from a page of ours; and what goes around it: the
//! frame, the headers, the line in the audit log. No page has to remember any of it.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SameSite};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use triggerbox_automation::engine::renewing;

use super::{
    page::{Frame, Oops, Page, Said},
    parts::encoded,
    visitor::{Guest, Visitor},
};
use crate::{
    app::App,
    people::{DeviceKey, SessionKey, audit::Telling, devices},
    problem::Problem,
    tokens::Scope,
};

/// What the cookies are called.
struct Names {
    /// Of a browser that is signed in.
    session: &'static str,
    /// Of one that is not, so that its forms are told from others'.
    guest: &'static str,
    /// Of one that signed in before: counted apart from strangers.
    device: &'static str,
    /// With what was done just before.
    said: &'static str,
}

const PLAIN: Names = Names { session: "tb_session", guest: "tb_guest", device: "tb_device", said: "tb_said" };

/// Where TLS is spoken, browsers take cookies of these names from this host alone, and send them to no other.
const SECURE: Names = Names {
    session: "__Host-tb_session",
    guest: "__Host-tb_guest",
    device: "__Host-tb_device",
    said: "__Host-tb_said",
};

impl Names {
    fn of(secure: bool) -> &'static Self {
        if secure { &SECURE } else { &PLAIN }
    }
}

/// How long browsers that came over TLS once come in no other way, in seconds: a year.
const STRICT: &str = "max-age=31536000";

/// The header of what a page asks for by itself, to renew a part of it: no document that somebody reads.
const RENEWS: &str = "x-renewal";

/// The field that each form carries.
pub(super) const FORM_TOKEN: &str = "form-token";

/// Bytes of a form.
const LONGEST_FORM: usize = 512 << 10;

/// Headers of every page. Nothing from elsewhere, nothing inline, in nobody's frame.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=()"),
];

/// What a page needs of who asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is for those who are not signed in, too.
    Nothing,
    /// An account whose roles open this.
    Role(Scope),
}

/// A page's door.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) app: App,
    pub(super) need: Need,
    /// What a change through it is called in the audit log; none: it tells of itself.
    pub(super) action: &'static str,
}

/// A session that began or ended: the cookie follows.
#[derive(Debug, Clone)]
pub(super) struct SignedIn(pub(super) Option<SessionKey>);

/// A browser that is known from now on: a cookie that lasts follows.
#[derive(Debug, Clone)]
pub(super) struct Known(pub(super) DeviceKey);

pub(super) async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let jar = CookieJar::from_headers(request.headers());
    let address = place(&gate.app, &request);
    let (uri, method) = (request.uri().clone(), request.method().clone());
    let secure = is_secure(&gate.app, request.headers());
    let by_itself = request.headers().contains_key(RENEWS);
    let renews = by_itself && method == Method::GET;
    let is_read = reads_pages(request.headers());
    let mut visitor = None;
    let mut guest = None;
    let names = Names::of(secure);
    let mut answer = match enter(&gate, &jar, names, &address, request).await {
        Ok((request, found)) => {
            match found {
                Found::Visitor(found) => visitor = Some(*found),
                Found::Guest(found) => guest = Some(found),
            }
            let changes = !matches!(method, Method::GET | Method::HEAD) && !gate.action.is_empty();
            match visitor.as_ref().filter(|_| changes) {
                Some(visitor) => {
                    let line = Telling::of(visitor.deed(gate.action, what(&uri)), gate.app.engine().clock().now());
                    audited(&gate.app, &line, next.run(request)).await
                }
                None if renews => renewing(next.run(request)).await,
                None => next.run(request).await,
            }
        }
        Err(Refused::SignIn) if matches!(method, Method::GET | Method::HEAD) => return to_sign_in(&uri),
        Err(Refused::SignIn) => {
            oops(StatusCode::UNAUTHORIZED, "signed-out", "you are signed out; sign in, and do it again")
        }
        Err(Refused::Because(problem, found)) => {
            visitor = found.map(|found| *found);
            Oops(*problem).into_response()
        }
    };
    // Parts of a request that are refused before a page has seen it: nobody reads JSON in a browser.
    if let Some(problem) = answer.extensions_mut().remove::<Problem>().filter(|_| is_read) {
        answer = Oops(problem).into_response();
    }
    // What may be kept by others on the way carries no cookie.
    let guest = guest.filter(|_| answer.extensions().get::<Arc<Page>>().is_some());
    let said = said(&jar, names).filter(|_| !by_itself);
    let mut response = framed(&gate.app, answer, visitor.as_ref(), said).await;
    cookies(&mut response, &jar, secure, guest.as_ref());
    response
}

/// Does what a request asks for, with its line in the audit log.
async fn audited(app: &App, line: &Telling, work: impl Future<Output = Response>) -> Response {
    let answer = line.during(work).await;
    if answer.status().as_u16() >= 400 {
        return answer;
    }
    match line.finish(app).await {
        Ok(()) => answer,
        // It changed nothing here: else the line would be there.
        Err(problem) => Oops(problem).into_response(),
    }
}

/// What there is where nothing is.
pub(crate) async fn nowhere(State(app): State<App>, request: Request) -> Response {
    let text = "there is nothing at this address; /api/openapi.json lists what there is";
    lost(&app, request, Problem::not_found("no-such-address", text)).await
}

/// What there is for a method that an address does not take.
pub(crate) async fn not_so(State(app): State<App>, request: Request) -> Response {
    let text = if *request.method() == Method::GET && reads_pages(request.headers()) {
        "a form is sent to this address, and there is nothing to see at it; go back to the page that has the form"
    } else {
        "this address does not take this method"
    };
    lost(&app, request, Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", text)).await
}

/// A page for people, a problem for programs.
async fn lost(app: &App, request: Request, problem: Problem) -> Response {
    if *request.method() != Method::GET || !reads_pages(request.headers()) {
        return problem.into_response();
    }
    let jar = CookieJar::from_headers(request.headers());
    let names = Names::of(is_secure(app, request.headers()));
    let visitor = match jar.get(names.session).map(|cookie| SessionKey::of(cookie.value())) {
        Some(key) => Visitor::find(app, key, place(app, &request), true).await.ok().flatten(),
        None => None,
    };
    // What was done just before is told by the next page that there is.
    framed(app, Oops(problem).into_response(), visitor.as_ref(), None).await
}

/// Whether whoever asks shows pages.
fn reads_pages(headers: &HeaderMap) -> bool {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepts.contains("text/html")
}

enum Found {
    Visitor(Box<Visitor>),
    Guest(Guest),
}

enum Refused {
    SignIn,
    Because(Box<Problem>, Option<Box<Visitor>>),
}

/// Lets a request in, with who it is from.
async fn enter(
    gate: &Gate,
    jar: &CookieJar,
    names: &Names,
    address: &str,
    mut request: Request,
) -> Result<(Request, Found), Refused> {
    let because = |problem: Problem| Refused::Because(Box::new(problem), None);
    if gate.app.is_draining() {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(because(Problem::new(status, "draining", "the server is being stopped; try again in a while")));
    }
    let device = jar.get(names.device).map(|cookie| DeviceKey::of(cookie.value()));
    let guest = |key: SessionKey| Guest { key, device: device.clone(), address: address.to_owned() };
    let key = jar.get(names.session).map(|cookie| SessionKey::of(cookie.value()));
    let is_used = !nobody_asks(request.method(), request.headers());
    let visitor = match key {
        Some(key) => Visitor::find(&gate.app, key, address.to_owned(), is_used).await.map_err(because)?,
        None => None,
    };
    let found = match (gate.need, visitor) {
        (Need::Role(scope), Some(visitor)) => {
            if !visitor.may(scope) {
                let text =
                    format!("your roles do not open this; it needs one that may `{scope}`: ask an administrator");
                return Err(Refused::Because(Box::new(Problem::denied("role-lacks", text)), Some(Box::new(visitor))));
            }
            Found::Visitor(Box::new(visitor))
        }
        (Need::Role(_), None) => return Err(Refused::SignIn),
        (Need::Nothing, Some(visitor)) => Found::Visitor(Box::new(visitor)),
        (Need::Nothing, None) => {
            let key = jar.get(names.guest).map(|cookie| SessionKey::of(cookie.value()));
            Found::Guest(guest(key.unwrap_or_else(SessionKey::draw)))
        }
    };
    let key = match &found {
        Found::Visitor(visitor) => {
            request.extensions_mut().insert(Visitor::clone(visitor));
            request.extensions_mut().insert(guest(visitor.key.clone()));
            visitor.key.clone()
        }
        Found::Guest(guest) => {
            request.extensions_mut().insert(guest.clone());
            guest.key.clone()
        }
    };
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok((request, found));
    }
    match own_form(&gate.app, &key, request).await {
        Ok(request) => Ok((request, found)),
        Err(problem) => Err(Refused::Because(Box::new(problem), None)),
    }
}

/// Whether nobody asks for it: a page that was left open does, to show what changed, or to hear of it.
fn nobody_asks(method: &Method, headers: &HeaderMap) -> bool {
    let hears = headers.get(header::ACCEPT).is_some_and(|kind| kind == "text/event-stream");
    *method == Method::GET && (hears || headers.contains_key(RENEWS))
}

/// The request again, if it comes from a page of this server that was made for this browser.
async fn own_form(app: &App, key: &SessionKey, request: Request) -> Result<Request, Problem> {
    let foreign = || {
        Problem::denied(
            "foreign-form",
            "the form does not come from a page of this session; load the page again and send it anew",
        )
    };
    let headers = request.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return Err(foreign());
    }
    if let Some(origin) = text("origin")
        && !is_own(app, origin, text("host").unwrap_or_default())
    {
        return Err(foreign());
    }
    let kind = text("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim().to_lowercase();
    // A file is not read here: its form says the token in its address.
    if kind == "multipart/form-data" {
        let token = request.uri().query().and_then(|query| value(query.as_bytes(), FORM_TOKEN));
        return if token.is_some_and(|token| key.is_form_token(&token)) { Ok(request) } else { Err(foreign()) };
    }
    if kind != "application/x-www-form-urlencoded" {
        return Err(foreign());
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, LONGEST_FORM).await.map_err(|_| {
        let text = format!("a form has at most {LONGEST_FORM} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", text)
    })?;
    match value(&body, FORM_TOKEN) {
        Some(token) if key.is_form_token(&token) => Ok(Request::from_parts(parts, Body::from(body))),
        _ => Err(foreign()),
    }
}

/// One value of an encoded form.
fn value(form: &[u8], name: &str) -> Option<String> {
    super::form::pairs(form).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// Whether an origin is this server's.
fn is_own(app: &App, origin: &str, host: &str) -> bool {
    let configured = app.config().web.url.as_deref().and_then(|url| Url::parse(url).ok());
    let Ok(origin) = Url::parse(origin) else { return false };
    if configured.is_some_and(|url| url.origin() == origin.origin()) {
        return true;
    }
    let asked = Url::parse(&format!("{}://{host}", origin.scheme()));
    asked.is_ok_and(|asked| asked.origin() == origin.origin())
}

/// Where a browser is.
pub(crate) fn place(app: &App, request: &Request) -> String {
    // Whether the proxy adds to the header that it was sent or puts its own behind it: the last one is what it saw itself, and
    // those before it are only claimed.
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    if let (true, Some(list)) = (app.config().web.proxy, forwarded.and_then(|value| value.to_str().ok())) {
        return list.rsplit(',').next().unwrap_or_default().trim().chars().take(64).collect();
    }
    let info = request.extensions().get::<ConnectInfo<SocketAddr>>();
    info.map_or_else(|| "unknown".to_owned(), |info| info.0.ip().to_string())
}

/// Whether the browser speaks TLS.
pub(crate) fn is_secure(app: &App, headers: &HeaderMap) -> bool {
    let web = &app.config().web;
    web.url.as_deref().is_some_and(|url| url.starts_with("https:"))
        || (web.proxy && headers.get("x-forwarded-proto").is_some_and(|value| value == "https"))
}

fn to_sign_in(uri: &Uri) -> Response {
    let wanted = uri.path_and_query().map_or("/", |all| all.as_str());
    let to = if wanted == "/" { "/sign-in".to_owned() } else { format!("/sign-in?next={}", encoded(wanted)) };
    let to = HeaderValue::from_str(&to).unwrap_or_else(|_| HeaderValue::from_static("/sign-in"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

fn oops(status: StatusCode, code: &str, text: &str) -> Response {
    Oops(Problem::new(status, code, text)).into_response()
}

/// What was changed: the address without what is asked of it.
fn what(uri: &Uri) -> String {
    uri.path().chars().take(200).collect()
}

/// What was done just before.
fn said(jar: &CookieJar, names: &Names) -> Option<String> {
    let bytes = jar.get(names.said).and_then(|cookie| URL_SAFE_NO_PAD.decode(cookie.value()).ok());
    bytes.and_then(|bytes| String::from_utf8(bytes).ok())
}

/// Puts the frame around a page; other answers stay as they are.
async fn framed(app: &App, mut answer: Response, visitor: Option<&Visitor>, said: Option<String>) -> Response {
    let Some(page) = answer.extensions_mut().remove::<Arc<Page>>() else { return answer };
    let counted = app
        .read(|conn| {
            let one = |sql: &str| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0));
            Ok::<_, rusqlite::Error>((
                one("SELECT count(*) FROM engine_proposal WHERE state = 'waiting'")?,
                one("SELECT count(*) FROM engine_stop")?,
            ))
        })
        .await;
    let (waiting, stops) = counted.unwrap_or_default();
    let stopped = visitor.is_some() && stops > 0;
    let frame = Frame { visitor, said: said.as_deref(), waiting, stopped };
    // No page has this character: browsers drop it, or show another one for it.
    let text = page.document(&frame).into_string().replace('\0', "\u{fffd}");
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    *answer.body_mut() = Body::from(text);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().remove(header::CONTENT_LENGTH);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if said.is_some() {
        answer.extensions_mut().insert(Told);
    }
    answer
}

/// What was done just before is told: not again.
#[derive(Debug, Clone)]
struct Told;

fn cookies(response: &mut Response, jar: &CookieJar, secure: bool, guest: Option<&Guest>) {
    let cookie = |name: &'static str, value: String| {
        let made = Cookie::build((name, value)).http_only(true).same_site(SameSite::Lax).path("/").secure(secure);
        made.build().to_string()
    };
    // With all that it was set with: a browser takes nothing else for its end.
    let ended = |name: &'static str| format!("{}; Max-Age=0", cookie(name, String::new()));
    let names = Names::of(secure);
    let mut set = Vec::new();
    match response.extensions_mut().remove::<SignedIn>() {
        Some(SignedIn(Some(key))) => {
            set.push(cookie(names.session, key.cookie().to_owned()));
            set.push(ended(names.guest));
        }
        Some(SignedIn(None)) => set.push(ended(names.session)),
        None => {
            if let Some(guest) = guest.filter(|_| jar.get(names.guest).is_none()) {
                set.push(cookie(names.guest, guest.key.cookie().to_owned()));
            }
        }
    }
    if let Some(Known(key)) = response.extensions_mut().remove::<Known>() {
        let seconds = devices::DAYS * 24 * 3_600;
        set.push(format!("{}; Max-Age={seconds}", cookie(names.device, key.cookie().to_owned())));
    }
    if let Some(Said(text)) = response.extensions_mut().remove::<Said>() {
        let text: String = text.chars().take(500).collect();
        set.push(cookie(names.said, URL_SAFE_NO_PAD.encode(text)));
    } else if response.extensions_mut().remove::<Told>().is_some() {
        set.push(ended(names.said));
    }
    for one in set {
        if let Ok(value) = HeaderValue::from_str(&one) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
}

/// Adds what keeps browsers from doing what a page does not want; to an answer over TLS also that there is no other way.
pub(crate) fn protect(response: &mut Response, secure: bool) {
    if secure {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(STRICT));
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
