//! One automation: its form, its history, and the buttons that have it do something.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;
use triggerbox_automation::{
    EngineError,
    agents::{self, Agent},
    diagnose::NOTHING,
    engine::{DryRun, is_renewing},
    rule::{
        Dispatch, Ground, Rule, Trigger,
        check::check,
        diff, model_change,
        stored::{self, Outcome, RuleError, RuleVersion, Stored, VersionState},
    },
    runs::{self, LogLine, RunFilter},
    schedule::Slots,
    scripts::{
        ScriptVersion,
        binding::{self, HeldBack},
        registry,
    },
};
use triggerbox_model::{
    call::{Answer as Answered, Call, DomainSource, Operation, Page as Part},
    changes::Diff,
    event::Trigger as Happened,
    grants::Policy,
    value::{Id, RecordRef},
};

use super::{
    automations::{asks_models, standing, title, trigger},
    form::Form,
    page::{Answer, Done, Oops, Page, Tab, sentence},
    parts::{self, action, address, badge, confirmed, field, fitting, hidden_token, long, time},
    rule_form::{Draft, Known, in_words, inputs},
    runs::table,
    visitor::{Visitor, names},
};
use crate::{
    api::{
        approvals::leave_out,
        rules::{self, How, causes, edit},
        runs::visible,
    },
    app::{App, failed},
    extract::{Asked, At},
    people::audit,
    problem::{FoundWrong, Problem},
    tokens::Scope,
    told,
};

/// Runs that are shown below the form.
const RUNS: u32 = 10;

/// Versions that are shown at once.
const VERSIONS: usize = 30;

/// Bytes of log lines, and of dry runs, that are shown.
const MOST_BYTES: usize = 60_000;

/// Records that are named, of those that something is done to at once.
const NAMED: usize = 20;

/// Records that a dry run is tried on at most, of those that match.
const TRIED: u32 = 10;

pub(super) async fn fresh(State(app): State<App>, visitor: Visitor) -> Answer {
    form_page(&app, &visitor, Draft::new(), None, Vec::new()).await
}

/// The active version of each script, and others that a rule names.
fn scripts(conn: &rusqlite::Connection, rule: &Rule) -> Result<Vec<ScriptVersion>, EngineError> {
    let mut known: Vec<_> = registry::all(conn)?.into_iter().filter(|one| one.active).collect();
    // One that is not there is told of by whoever checks the rule.
    let named = rule.actions.iter().filter_map(|action| registry::resolve(conn, &action.script).ok());
    known.extend(named.filter(|one| !one.active));
    Ok(known)
}

/// The rule that a form says, with what it grants.
async fn granted(app: &App, draft: &Draft) -> Result<Rule, Problem> {
    let rule = draft.rule.clone();
    let scripts = app.read(move |conn| scripts(conn, &rule)).await?;
    Ok(draft.granted(&scripts))
}

/// Name and title of each agent.
fn agents(conn: &rusqlite::Connection) -> Result<Vec<(String, String)>, EngineError> {
    let all = agents::stored::all(conn)?.into_iter().map(|one| one.agent);
    let titled = |one: Agent| if one.title.is_empty() { (one.name.clone(), one.name) } else { (one.name, one.title) };
    Ok(all.map(titled).collect())
}

/// How many records match what is typed, or why that cannot be said. With the visitor's own rights: a count tells of records,
/// too.
async fn matching(app: &App, user: Id, rule: &Rule) -> Option<Result<u32, String>> {
    // A page that renews itself leaves the form as it is.
    if is_renewing() {
        return None;
    }
    let (model, text) = (rule.model.clone()?, rule.domain.as_deref().unwrap_or("[]"));
    let call = Call::SearchCount { model, domain: DomainSource::Literal(text.to_owned()) };
    Some(match ask(app, user, call).await {
        Ok(Answered::Count(count)) => Ok(count),
        Ok(_) => Err(sentence(&failed().details().detail)),
        Err(problem) => Err(sentence(&problem.details().detail)),
    })
}

/// Answers a call that changes nothing, as a user, where the records are.
async fn ask(app: &App, user: Id, call: Call) -> Result<Answered, Problem> {
    match app.engine().odoo() {
        None => app.ask(user, call).await,
        Some(_) => Ok(app.engine().ask_there(user, call).await?),
    }
}

/// The next times of a schedule, or why there are none.
fn next(app: &App, visitor: &Visitor, rule: &Rule) -> Vec<Markup> {
    let Trigger::Schedule(schedule) = &rule.trigger else { return Vec::new() };
    match Slots::new(schedule) {
        Ok(slots) => {
            let times = slots.all_after(app.engine().clock().now());
            times.take(5).map(|at| time(at, &visitor.zone)).collect()
        }
        Err(error) => vec![html! { span.error { (sentence(&error.message)) } }],
    }
}

async fn form_page(
    app: &App,
    visitor: &Visitor,
    draft: Draft,
    stored: Option<Stored>,
    findings: Vec<FoundWrong>,
) -> Answer {
    whole_page(app, visitor, draft, stored, findings, 0).await
}

/// The form with what stands around it; `skip`: so many newer versions are left out of the history.
async fn whole_page(
    app: &App,
    visitor: &Visitor,
    draft: Draft,
    stored: Option<Stored>,
    findings: Vec<FoundWrong>,
    skip: usize,
) -> Answer {
    let (inner, looker) = (app.clone(), visitor.clone());
    let status = if findings.iter().any(|one| one.severity == "error") || !draft.unread.is_empty() {
        StatusCode::UNPROCESSABLE_ENTITY
    } else {
        StatusCode::OK
    };
    let matching = matching(app, visitor.caller.user, &draft.rule).await;
    let (kept, may) = (stored.as_ref().map(|stored| stored.rule.clone()), visitor.may(Scope::Rules));
    let (draft, form, held) = app
        .blocking(move || {
            let policy = inner.engine().policy()?;
            let (scripts, agents, held) = {
                let conn = inner.engine().database().snapshot()?;
                let schema = inner.engine().database().schema();
                let held = kept.map(|rule| binding::all_held_back(&conn, schema, &rule)).transpose();
                let held = held.map_err(RuleError::from)?.unwrap_or_default();
                (scripts(&conn, &draft.rule)?, agents(&conn)?, held_back(&held, &policy, may))
            };
            let known = Known {
                schema: inner.engine().database().schema(),
                policy: &policy,
                scripts: &scripts,
                agents: &agents,
                matching,
                next: next(&inner, &looker, &draft.rule),
                findings: &findings,
            };
            let form = inputs(&draft, &known);
            Ok((draft, form, held))
        })
        .await?;
    let to = if draft.known { address(&["automations", &draft.rule.name]) } else { "/automations/_new".to_owned() };
    let heading = if draft.known { title(&draft.rule).to_owned() } else { "New automation".to_owned() };
    let rest = match &stored {
        Some(stored) => Some(around(app, visitor, stored, skip).await?),
        None => None,
    };
    let body = html! {
        @if let Some((above, _)) = &rest { (above) }
        form method="post" action=(to) data-ask="/automations/_ask" autocomplete="off" {
            (hidden_token(&visitor.key))
            input type="hidden" name="known" value=(if draft.known { draft.rule.name.as_str() } else { "" });
            @if let Some(stored) = &stored { input type="hidden" name="version" value=(stored.version); }
            (held)
            (form)
            @if may {
                div.toolbar {
                    div.grow { (field("note", "Why", "For the history.", &[], html! { input #note type="text" name="note"; })) }
                    @if stored.as_ref().is_some_and(|stored| stored.owner != visitor.caller.user) {
                        div { label { input type="checkbox" name="ask-owner" value="1"; " Ask its owner first" } }
                    }
                    button.primary type="submit" { "Save" }
                }
            } @else { p.faint { "Only developers and administrators change automations." } }
        }
        @if let Some((_, below)) = &rest { (below) }
    };
    Ok(Page::new(Tab::Automations, heading, body).under("Automations", "/automations").status(status))
}

/// What stands above and below the form of a rule that there is.
async fn around(app: &App, visitor: &Visitor, stored: &Stored, skip: usize) -> Result<(Markup, Markup), Oops> {
    let rule = &stored.rule;
    let name = rule.name.clone();
    let asked = rule.clone();
    let (versions, found, is_ai) = app
        .read(move |conn| {
            let filter = RunFilter { rule: Some(name.clone()), limit: RUNS, ..RunFilter::default() };
            let versions = stored::history(conn, &name)?;
            Ok::<_, EngineError>((versions, runs::list(conn, &filter)?, asks_models(conn, &asked)))
        })
        .await?;
    // Who has to pause it need not wait for whoever says whose records they are.
    let found = match visible(app, &visitor.caller, found).await {
        Err(problem) if problem.details().status >= 500 => Err(sentence(&problem.details().detail)),
        found => Ok(found?),
    };
    let people = names(app, versions.iter().map(|one| one.author).chain([stored.owner]))?;
    let person = |id: Id| people.get(&id).cloned().unwrap_or_default();
    let to = |what: &str| address(&["automations", &rule.name, what]);
    let operates = visitor.may(Scope::Operate);
    let rules = app.engine().rules()?;
    let broken = rules.rule(&rule.name).ok().and_then(|armed| armed.broken.as_ref());
    let above = html! {
        p { (standing(stored, broken)) " " (trigger(&rule.trigger)) @if let Some(model) = &rule.model { " · " (model) } " · owned by " (person(stored.owner)) }
        @if let Some(why) = &stored.paused { div.banner.wait role="status" { p { "It is paused and does not fire: " (long(why)) } } }
        @if let Trigger::Webhook { secret, .. } = &rule.trigger { (hook(app, &rule.name, secret)) }
        @if operates {
            div.toolbar {
                @if stored.paused.is_some() { (action(visitor, &to("resume"), "Resume", "primary")) }
                @else { (action(visitor, &to("pause"), "Pause", "")) }
                form.toolbar method="post" action=(to("test")) {
                    (hidden_token(&visitor.key))
                    @if rule.model.is_some() { div { label for="record" { "Record id" } br; input #record type="text" inputmode="numeric" name="records" size="8" required; } }
                    @if rule.model.is_some() { button type="submit" { "Test with record" } }
                    button type="submit" name="matching" value="1" formnovalidate title="On the records that match now" { "Dry run" }
                    button type="submit" formaction=(to("run")) formnovalidate[!wants_records(rule)] { "Run now" }
                }
                a.button href=(format!("/runs?rule={}", parts::encoded(&rule.name))) { "All its runs" }
                @if is_ai { a.button href=(format!("/threads?rule={}", parts::encoded(&rule.name))) { "Its threads" } }
            }
        } @else if is_ai { p { a.button href=(format!("/threads?rule={}", parts::encoded(&rule.name))) { "Its threads" } } }
    };
    let below = html! {
        section.card #live data-live {
            h2 { "Newest runs" }
            @match &found {
                Err(why) => p.banner.wait { "What ran is not shown, for whose records it was about cannot be told: " (long(why)) },
                Ok(found) if found.is_empty() => p.faint { "It has not run yet. Change a record that it is for, or press “Run now”." },
                Ok(found) => { (table(found, &visitor.zone, &rules)) },
            }
        }
        section.card {
            details open[skip > 0] {
                summary { b { "History: " (versions.len()) " versions" } }
                (history(visitor, &rule.name, &versions, (Some(stored.version), skip), &person))
            }
        }
        @if visitor.may(Scope::Rules) {
            (confirmed(visitor, &to("delete"), "Delete", "Its history stays, and can be restored."))
        }
    };
    Ok((above, below))
}

/// Where a rule is told by other systems, and whether anybody can.
fn hook(app: &App, name: &str, secret: &str) -> Markup {
    let base = app.config().web.url.as_deref().unwrap_or_default().trim_end_matches('/');
    html! {
        p { "It is fired by POST to " code { (base) (address(&["hook", name])) } ", signed with the secret " code { (secret) } "." }
        @if app.secret(secret).is_none() {
            p.banner.bad { "There is no secret " code { (secret) } ": whatever is sent is refused until an administrator writes it, on the page Settings or in the configuration." }
        }
    }
}

/// What counted when a version was made: not what was only proposed.
fn counted_before(versions: &[RuleVersion], at: usize) -> Option<&Rule> {
    let counts = |one: &&RuleVersion| matches!(one.state, VersionState::Accepted | VersionState::Deleted);
    versions.iter().skip(at + 1).find(counts).and_then(|before| before.rule.as_ref())
}

/// The versions of a rule, the newest first: so many, without those that are left out. `now`: the one that counts.
fn history(
    visitor: &Visitor,
    name: &str,
    versions: &[RuleVersion],
    (now, skip): (Option<u32>, usize),
    person: &dyn Fn(Id) -> String,
) -> Markup {
    let cards = versions.iter().enumerate().skip(skip).take(VERSIONS);
    let cards = cards.map(|(at, one)| {
        let by = person(one.author);
        version_card(visitor, name, one, counted_before(versions, at), now, &by)
    });
    let (cards, _) = fitting(cards, MOST_BYTES);
    let shown = skip.saturating_add(cards.len());
    let here = address(&["automations", name]);
    html! {
        @if skip > 0 { p { a.button href=(here) { "The newest versions" } } }
        @for card in &cards { (card) }
        @if shown < versions.len() {
            p { a.button href=(format!("{here}?skip={shown}")) { "Older versions" } " " span.faint { (versions.len() - shown) " more" } }
        }
    }
}

/// One version, with what differs from the one before it.
fn version_card(
    visitor: &Visitor,
    name: &str,
    one: &RuleVersion,
    before: Option<&Rule>,
    now: Option<u32>,
    by: &str,
) -> Markup {
    let to = |what: &str| address(&["automations", name, what]);
    let is_proposed = one.state == VersionState::Proposed;
    html! {
        section.diff {
            h3 {
                "Version " (one.version) " "
                @match one.state {
                    VersionState::Accepted => {},
                    VersionState::Proposed => { (badge("wait", "proposed")) },
                    VersionState::Rejected => { (badge("bad", "rejected")) },
                    VersionState::Deleted => { (badge("bad", "deleted")) },
                }
                " " span.faint { (by) ", " (time(one.at, &visitor.zone)) }
            }
            @if !one.note.is_empty() { p { "“" (long(&one.note)) "”" } }
            @if let (Some(new), Some(old)) = (&one.rule, before) {
                ul { @for change in diff::differences(old, new) {
                    li {
                        code { (change.place) } ": "
                        @if let Some(old) = &change.old { del { (long(old)) } " " }
                        @if let Some(new) = &change.new { ins { (long(new)) } }
                    }
                } }
            }
            @if visitor.may(Scope::Rules) && one.rule.is_some() && !is_proposed && now != Some(one.version) {
                form method="post" action=(to("restore")) {
                    (hidden_token(&visitor.key))
                    input type="hidden" name="version" value=(one.version);
                    button.small type="submit" { "Restore this version" }
                }
            }
            @if visitor.may(Scope::Rules) && is_proposed {
                form method="post" action=(to("decide")) {
                    (hidden_token(&visitor.key))
                    input type="hidden" name="version" value=(one.version);
                    button.small type="submit" name="accept" value="1" { "Accept" } " "
                    button.small type="submit" { "Reject" }
                }
            }
        }
    }
}

/// Which part of the history.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// How many newer versions are left out.
    skip: usize,
}

pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    At(name): At<String>,
    Asked(query): Asked<Query>,
) -> Answer {
    let asked = name.clone();
    let found = app.read(move |conn| match stored::find(conn, &asked)? {
        Some(stored) => Ok((Some(stored), Vec::new())),
        None => Ok::<_, RuleError>((None, rules::history(conn, &asked)?)),
    });
    match found.await? {
        (Some(stored), _) => {
            whole_page(&app, &visitor, Draft::of(stored.rule.clone()), Some(stored), Vec::new(), query.skip).await
        }
        (None, versions) => deleted(&app, &visitor, &name, &versions, query.skip),
    }
}

/// What there is of a rule that was deleted: its history, and the way back.
fn deleted(app: &App, visitor: &Visitor, name: &str, versions: &[RuleVersion], skip: usize) -> Answer {
    let people = names(app, versions.iter().map(|one| one.author))?;
    let person = |id: Id| people.get(&id).cloned().unwrap_or_default();
    let body = html! {
        p.banner.wait { "It was deleted, and does not fire." @if visitor.may(Scope::Rules) { " It is there again once one of its versions is restored." } }
        p { a.button href=(format!("/runs?rule={}", parts::encoded(name))) { "All its runs" } }
        section.card {
            h2 { "History: " (versions.len()) " versions" }
            (history(visitor, name, versions, (None, skip), &person))
        }
    };
    Ok(Page::new(Tab::Automations, name, body).under("Automations", "/automations"))
}

/// What the form says beside itself while it is typed: how many records match, and when it is due.
pub(super) async fn says(State(app): State<App>, visitor: Visitor, form: Form) -> Answer {
    let stored = known(&app, &form).await?;
    let draft = Draft::read(&form, stored.map(|stored| stored.rule), app.engine().database().schema());
    let matching = matching(&app, visitor.caller.user, &draft.rule).await;
    let inner = app.clone();
    let body = app
        .blocking(move || {
            let next = next(&inner, &visitor, &draft.rule);
            Ok(html! {
                p #matching {
                    @match &matching {
                        Some(Ok(count)) => { b { (count) } " record(s) match now" },
                        Some(Err(why)) => span.error { (why) },
                        None => {},
                    }
                }
                div #fires { @if !next.is_empty() { p { "Due next: " @for (at, one) in next.iter().enumerate() { @if at > 0 { " · " } (one) } } } }
            })
        })
        .await?;
    Ok(Page::new(Tab::Automations, "What the form says", body))
}

async fn known(app: &App, form: &Form) -> Result<Option<Stored>, Problem> {
    let Some(name) = form.some("known") else { return Ok(None) };
    app.read(move |conn| stored::get(conn, &name)).await.map(Some)
}

/// Saves what the form says, or shows what is wrong with it beside the fields.
pub(super) async fn save(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Response> {
    let stored = known(&app, &form).await?;
    let mut draft =
        Draft::read(&form, stored.as_ref().map(|stored| stored.rule.clone()), app.engine().database().schema());
    let dropped = match &stored {
        Some(stored) if stored.rule.model != draft.rule.model => {
            on_its_model(&app, &visitor, stored, &mut draft).await?
        }
        _ => Vec::new(),
    };
    if form.is_on("reload") {
        audit::here().forget();
        // Another trigger was chosen: its settings are yet to be filled in.
        draft.unread.retain(|(place, _)| place != "trigger");
        return Ok(form_page(&app, &visitor, draft, stored, dropped).await?.status(StatusCode::OK).into_response());
    }
    let rule = granted(&app, &draft).await?;
    if !draft.unread.is_empty() {
        let mut findings = findings(&app, &visitor, rule).await?;
        findings.extend(dropped);
        return Ok(form_page(&app, &visitor, draft, stored, findings).await?.into_response());
    }
    if stored.is_none()
        && app
            .read({
                let name = rule.name.clone();
                move |conn| stored::find(conn, &name)
            })
            .await?
            .is_some()
    {
        let taken = wrong("name-taken", "name", "there is an automation with this key already");
        return Ok(form_page(&app, &visitor, draft, stored, vec![taken]).await?.into_response());
    }
    let agreed = form.some("agree");
    let how = How { note: form.text("note").to_owned(), ask_owner: form.is_on("ask-owner"), agree: agreed.is_some() };
    let (seen, name, line) = (form.text("version").parse::<u32>().ok(), rule.name.clone(), audit::here());
    let saved = edit(&app, &visitor.caller, how, move |ground, edit| {
        let now = stored::find(ground.conn, &rule.name)?;
        let held = |known: &Stored| binding::all_held_back(ground.conn, &ground.env.schema, &known.rule);
        // A yes is a yes to what was shown.
        let is_shown = match (&agreed, &now) {
            (Some(agreed), Some(known)) => *agreed == newest(&held(known)?),
            _ => true,
        };
        let save = || told::on_saving(ground.conn, &rule, &line, || stored::save(ground, &rule, edit));
        (now.map(|known| known.version) == seen && is_shown).then(save).transpose()
    });
    match saved.await {
        Ok(Some(saved)) => {
            let said = match saved.outcome {
                Outcome::Created => "The automation is created.",
                Outcome::Updated => "The automation is saved.",
                Outcome::Unchanged => "Nothing was to be changed.",
                Outcome::Proposed => "The change is proposed: its owner decides.",
            };
            let warnings = saved.warnings.iter().map(|one| &one.message).chain(dropped.iter().map(|one| &one.message));
            let warnings: String = warnings.map(|message| format!(" {}", sentence(message))).collect();
            Ok(Done::new(address(&["automations", &name]), format!("{said}{warnings}")).into_response())
        }
        Ok(None) => {
            let text = "somebody saved it meanwhile, or another version of its script is active; load the page again and make your change anew";
            Err(Problem::new(StatusCode::CONFLICT, "another-version", text).into())
        }
        Err(problem) if !problem.details().findings.is_empty() => {
            let mut findings = problem.details().findings.clone();
            findings.extend(dropped);
            Ok(form_page(&app, &visitor, draft, stored, findings).await?.into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// The versions that are said yes to, as a form names them.
fn newest(held: &[HeldBack]) -> String {
    held.iter().map(|one| one.newest.hash.to_string()).collect::<Vec<_>>().join(" ")
}

/// Versions of scripts that are active and do not run, with what they ask for besides, and the way to say yes.
fn held_back(held: &[HeldBack], policy: &Policy, may: bool) -> Markup {
    html! {
        @if !held.is_empty() {
            div.banner.wait role="status" {
                @for HeldBack { runs, newest, more, .. } in held {
                    p {
                        b { (newest.name) } " stays at version " (runs.version) ". Version " (newest.version)
                        " is the active one, and asks for more than was agreed to:"
                    }
                    @if !more.grants.0.is_empty() { (in_words(&more.grants, policy)) }
                    @if !more.http.is_empty() || !more.limits.is_empty() {
                        ul {
                            @for one in &more.http { li { "requests: " code { (one) } } }
                            @for one in &more.limits { li { "limit: " code { (one) } } }
                        }
                    }
                }
                @if may {
                    label { input type="checkbox" name="agree" value=(newest(held)); " Agree to that: it is run from the next save on" }
                }
            }
        }
    }
}

/// Leaves out of a draft on another model what was bound to the old one; what that was.
async fn on_its_model(
    app: &App,
    visitor: &Visitor,
    stored: &Stored,
    draft: &mut Draft,
) -> Result<Vec<FoundWrong>, Problem> {
    let env = app.env(visitor.caller.user, true)?;
    let typed = granted(app, draft).await?;
    let old = stored.rule.clone();
    let (rule, dropped) = app.read(move |conn| model_change::moved(conn, &env, &old, typed)).await?;
    draft.put(rule);
    let found = dropped.iter().map(|one| {
        let found = FoundWrong::from(&one.finding());
        // The other actions have moved up.
        let place = if found.place.starts_with("actions") { "actions".to_owned() } else { found.place };
        FoundWrong { place, ..found }
    });
    Ok(found.collect())
}

fn wrong(code: &str, place: &str, message: &str) -> FoundWrong {
    let text = str::to_owned;
    FoundWrong { rule: None, severity: text("error"), code: text(code), place: text(place), message: text(message) }
}

async fn findings(app: &App, visitor: &Visitor, rule: Rule) -> Result<Vec<FoundWrong>, Problem> {
    let env = app.env(visitor.caller.user, true)?;
    let policy = app.engine().policy()?;
    let found = app.read(move |conn| check(Ground { conn, env: &env, policy: &policy }, &rule)).await?;
    Ok(found.iter().map(FoundWrong::from).collect())
}

pub(super) async fn pause(State(app): State<App>, visitor: Visitor, At(name): At<String>) -> Answer<Done> {
    let why = format!("paused by {}", visitor.name);
    audit::say(&*why);
    app.engine().pause(&name, &why).await?;
    Ok(Done::new(address(&["automations", &name]), "It is paused: it does not fire until it is resumed."))
}

pub(super) async fn resume(State(app): State<App>, At(name): At<String>) -> Answer<Done> {
    audit::say(told::resumed(&app, &name).await?);
    app.engine().resume(&name).await?;
    Ok(Done::new(address(&["automations", &name]), "It fires again."))
}

/// Whether a rule is about records that somebody must name: it finds none by itself, and its trigger brings some.
fn wants_records(rule: &Rule) -> bool {
    let brings = !matches!(rule.trigger, Trigger::Schedule { .. } | Trigger::Webhook { .. });
    rule.model.is_some() && rule.source.is_none() && brings
}

fn no_record(then: &str) -> Problem {
    Problem::invalid("no-records", format!("it is about records, and none is named: fill in “Record id”, then {then}"))
}

/// The records that a form names; the visitor must be able to read them.
async fn records(app: &App, visitor: &Visitor, name: &str, form: &Form) -> Result<Vec<Id>, Problem> {
    let model = app.engine().rules()?.rule(name)?.rule.model.clone();
    let typed = form.list("records");
    let ids: Option<Vec<Id>> = typed.iter().map(|one| one.parse().ok().filter(|id| *id > 0)).collect();
    let ids = ids.ok_or_else(|| {
        Problem::invalid("bad-record", "a record is named by its id, a whole number; several, by commas")
    })?;
    if let (Some(model), false) = (&model, ids.is_empty())
        && !app.may(visitor.caller.user, Operation::Read, model, &ids).await?
    {
        return Err(Problem::denied("access-denied", format!("you may not read all of these records of {model}")));
    }
    Ok(ids)
}

pub(super) async fn run(State(app): State<App>, visitor: Visitor, At(name): At<String>, form: Form) -> Answer<Done> {
    let records = records(&app, &visitor, &name, &form).await?;
    let rule = app.engine().rules()?.rule(&name)?.rule.clone();
    if records.is_empty() && wants_records(&rule) {
        return Err(no_record("press “Run now”").into());
    }
    audit::say(told::records(&records));
    let runs = app.engine().fire(&name, visitor.caller.user, Happened::Manual, records).await?;
    let to = match runs.as_slice() {
        [run] => address(&["runs", &run.to_string()]),
        _ => format!("/runs?rule={}", parts::encoded(&name)),
    };
    Ok(Done::new(to, format!("It runs: {} run(s).", runs.len())))
}

/// What it would do to a record, and whether it would fire for it at all.
pub(super) async fn test(State(app): State<App>, visitor: Visitor, At(name): At<String>, form: Form) -> Answer {
    let mut records = records(&app, &visitor, &name, &form).await?;
    // What was named is judged with its record; what matches now is only an example.
    let (record, mut others) = (records.first().copied(), 0);
    let rule = app.engine().rules()?.rule(&name)?.rule.clone();
    let is_matching = records.is_empty() && form.is_on("matching") && rule.model.is_some();
    if records.is_empty() && !is_matching && wants_records(&rule) {
        return Err(no_record("press “Test with record”; “Dry run” takes those that match now").into());
    }
    if is_matching {
        (records, others) = matching_now(&app, visitor.caller.user, &rule).await?;
    }
    audit::say(format!("{}; nothing is changed", told::records(&records)));
    // As it would run: each record by itself, or all of them together.
    let alone = rule.dispatch == Dispatch::PerRecord && !records.is_empty();
    let fires: Vec<Vec<Id>> = if alone { records.iter().map(|id| vec![*id]).collect() } else { vec![records.clone()] };
    let mut all = Vec::new();
    for fire in fires {
        let mut shown = app.engine().dry_run(&name, visitor.caller.user, fire.clone()).await?;
        withhold(&app, &visitor, &name, &fire, &mut shown).await?;
        all.push((fire, shown));
    }
    let (shown, left) = fitting(all.iter().map(|(fire, shown)| would_do(shown, fire, &visitor.zone)), MOST_BYTES);
    let causes = causes(&app, &visitor.caller, &name, record, &visitor.zone).await?;
    let back = address(&["automations", &name]);
    let body = html! {
        p.banner.wait { "A dry run: nothing was changed."
            @if others > 0 { " It was tried on the first " (records.len()) " of the records that match now; there are " (others) " others." }
            @if is_matching && records.is_empty() { " No record matches now." }
        }
        @for one in &shown { (one) }
        @if left > 0 { p.faint { "and " (left) " more" } }
        section.card {
            h2 { "Would it fire by itself?" }
            ul { @for cause in &causes { li { p {
                (long(&sentence(&cause.sentence)))
                @if cause.remedy != NOTHING { " " span.faint { (long(&sentence(&cause.remedy))) } }
            } } } }
        }
        p.toolbar {
            a.button href=(back) { "Back" }
            form.inline method="post" action=(address(&["automations", &name, "run"])) {
                (hidden_token(&visitor.key))
                input type="hidden" name="records" value=(records.iter().map(Id::to_string).collect::<Vec<_>>().join(","));
                button.primary type="submit" { "Run it in earnest" }
            }
        }
    };
    Ok(Page::new(Tab::Automations, "Test", body).under("Automations", "/automations").under(&name, &back))
}

/// The records that a rule's domain matches now, as far as the visitor may read them: the first ones, and how many others.
async fn matching_now(app: &App, user: Id, rule: &Rule) -> Result<(Vec<Id>, u64), Problem> {
    let Some(model) = rule.model.clone() else { return Ok((Vec::new(), 0)) };
    let domain = || DomainSource::Literal(rule.domain.clone().unwrap_or_else(|| "[]".to_owned()));
    let page = Part { limit: Some(TRIED), ..Part::default() };
    let found = ask(app, user, Call::Search { model: model.clone(), domain: domain(), page }).await?;
    let count = ask(app, user, Call::SearchCount { model, domain: domain() }).await?;
    let (Answered::Ids(ids), Answered::Count(count)) = (found, count) else { return Err(failed()) };
    let others = u64::from(count).saturating_sub(u64::try_from(ids.len()).unwrap_or_default());
    Ok((ids, others))
}

/// Keeps what a dry run of a rule on these records shows from who may not read all that it is about: it ran with the rule's
/// rights.
pub(super) async fn withhold(
    app: &App,
    visitor: &Visitor,
    rule: &str,
    records: &[Id],
    shown: &mut DryRun,
) -> Result<(), Problem> {
    if visitor.caller.administrator {
        return Ok(());
    }
    // Which records its source gave is known to whom it has the rights of.
    let sourced = {
        let rules = app.engine().rules()?;
        let armed = rules.rule(rule)?;
        let own = armed.run_as == visitor.caller.user && !armed.rule.superuser;
        armed.rule.source.is_some() && armed.rule.dispatch != Dispatch::PerRecord && records.is_empty() && !own
    };
    let changed: Vec<RecordRef> = shown.diff.records.iter().map(|one| one.record.clone()).collect();
    let readable = app.readable_among(visitor.caller.user, changed).await?;
    if sourced || !shown.diff.records.iter().all(|one| readable.has(&one.record)) {
        (shown.diff, shown.log) = (Diff::default(), Vec::new());
        shown.message = Some("it is about records that you may not read, and what it would change is not shown".into());
    }
    leave_out(app, &visitor.caller, vec![&mut shown.diff]).await
}

/// What a dry run on some records came to.
pub(super) fn would_do(shown: &DryRun, records: &[Id], zone: &TimeZone) -> Markup {
    let line = |line: &LogLine| html! { li { (badge("calm", line.level.name())) " " (long(&line.message)) } };
    let (lines, left) = fitting(shown.log.iter().map(line), MOST_BYTES);
    let named = records.get(..NAMED).unwrap_or(records);
    html! {
        section.card {
            h2 { @if shown.succeeds { (badge("good", "would succeed")) } @else { (badge("bad", "would fail")) } " " code.faint { (shown.code) }
                @if !records.is_empty() { " " span.faint { (told::records(named)) @if records.len() > NAMED { " and " (records.len() - NAMED) " more" } } }
            }
            @if let Some(message) = &shown.message { p.text { (long(&sentence(message))) } }
            h3 { "What would change" }
            (parts::diff(&shown.diff, zone))
            @if !lines.is_empty() { h3 { "Log" } ul.log { @for line in &lines { (line) } } }
            @if left > 0 { p.faint { "and " (left) " more lines" } }
            @for (limits, used) in &shown.usage { h3 { "Limits" } (parts::limit_bars(limits, used)) }
        }
    }
}

pub(super) async fn delete(State(app): State<App>, visitor: Visitor, At(name): At<String>) -> Answer<Done> {
    let line = audit::here();
    edit(&app, &visitor.caller, How::default(), move |ground, edit| {
        told::on_rule(ground.conn, &name, &line, || stored::delete(ground.conn, &name, edit))
    })
    .await?;
    Ok(Done::new("/automations", "The automation is deleted. Its history stays."))
}

pub(super) async fn restore(
    State(app): State<App>,
    visitor: Visitor,
    At(name): At<String>,
    form: Form,
) -> Answer<Done> {
    let (version, rule) = (number(&form, "version")?, name.clone());
    let how = How { note: format!("version {version} again"), ..How::default() };
    let line = audit::here();
    edit(&app, &visitor.caller, how, move |ground, edit| {
        told::on_change(ground.conn, &rule, &line, || stored::restore(ground, &rule, version, edit))
    })
    .await?;
    Ok(Done::new(address(&["automations", &name]), format!("Version {version} is the newest one again.")))
}

pub(super) async fn decide(State(app): State<App>, visitor: Visitor, At(name): At<String>, form: Form) -> Answer<Done> {
    let (version, accept, rule) = (number(&form, "version")?, form.is_on("accept"), name.clone());
    let line = audit::here();
    edit(&app, &visitor.caller, How::default(), move |ground, edit| {
        told::on_decision(ground.conn, &rule, &line, (version, accept), || {
            stored::decide(ground, &rule, version, accept, edit)
        })
    })
    .await?;
    let said = if accept { "The change is accepted." } else { "The change is rejected." };
    Ok(Done::new(address(&["automations", &name]), said))
}

/// A whole number of a form.
pub(super) fn number(form: &Form, name: &str) -> Result<u32, Problem> {
    form.text(name)
        .parse()
        .map_err(|_| Problem::invalid("bad-body", format!("the form lacks `{name}`, a whole number")))
}
