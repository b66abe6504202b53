//! Scripts and versions: uploading, what each asks for, which one is active, and back.

use std::collections::BTreeSet;

use axum::{
    Json,
    extract::{Multipart, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use triggerbox_automation::{
    EngineError,
    engine::Backtest,
    index::Index,
    rule::stored,
    runs::{self, RunId},
    scripts::{
        RegistryError, ScriptVersion,
        asks::{Asked as Wanted, Raised},
        binding::{self, Switched},
        registry,
    },
};
use triggerbox_model::{grants::Policy, manifest::Manifest, outbound::HttpGrant, value::Id};
use triggerbox_sandbox::inspect::{Inspection, inspect};

use super::{
    automations::{named, title},
    form::Form,
    page::{Answer, Done, Page, Said, Tab, sentence},
    parts::{action, address, badge, bytes, empty, fitting, hidden_token, long, time},
    rule_form::in_words,
    visitor::{Visitor, names},
};
use crate::{
    api::{
        runs::{may_see_journal, seen_of},
        scripts::{Taken, switched_off, take_in, wanted},
    },
    app::App,
    extract::{Asked, At},
    people::audit,
    problem::Problem,
    tokens::Scope,
    told,
    verdicts::{self, Verdict},
};

/// Versions of one page.
const VERSIONS: usize = 20;

/// Bytes of what a page tells of them.
const MOST_BYTES: usize = 120_000;

/// Runs of each kind of which a backtest says more than their number.
const TOLD: usize = 20;

/// Days of runs that a backtest looks at.
const BACKTEST_DAYS: i64 = 14;

pub(super) async fn list(State(app): State<App>, visitor: Visitor) -> Answer {
    let all = app.read(registry::all).await?;
    let people = names(&app, all.iter().map(|one| one.uploaded_by))?;
    let mut names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
    names.dedup();
    let body = html! {
        @if visitor.may(Scope::Scripts) { (upload_form(&visitor)) }
        @if names.is_empty() { (empty("No scripts yet", html! { p { "A script is a WebAssembly component. `triggerbox new` starts one, `triggerbox build` makes the file that is uploaded here." } })) }
        @else { section.card #live data-live { div.scroll tabindex="0" role="region" aria-label="Scripts" { table.stack {
            thead { tr { th scope="col" { "Script" } th scope="col" { "What it does" } th scope="col" { "Active version" } th scope="col" { "Versions" } th scope="col" { "Uploaded" } } }
            tbody { @for name in names {
                @let versions: Vec<&ScriptVersion> = all.iter().filter(|one| one.name == name).collect();
                @let shown = versions.iter().find(|one| one.active).or_else(|| versions.first());
                @if let Some(one) = shown { tr {
                    th.name scope="row" { a href=(address(&["scripts", name])) { (name) } }
                    td.quiet { (long(&one.manifest.script.description)) }
                    td { @if one.active { (long(&one.version)) " " code.faint { (short(one)) } } @else { (badge("wait", "switched off")) } }
                    td { (versions.len()) }
                    td { (time(one.at, &visitor.zone)) " " span.faint { (people.get(&one.uploaded_by).map_or("", String::as_str)) } }
                } }
            } }
        } } } }
    };
    Ok(Page::new(Tab::Scripts, "Scripts", body))
}

/// A file is not read by the gate, so that its form says the token in its address.
fn upload_form(visitor: &Visitor) -> Markup {
    html! {
        form.drop method="post" action=(format!("/scripts/_upload?form-token={}", visitor.key.form_token())) enctype="multipart/form-data" {
            p { label for="component" { b { "Upload a component" } } " or drop it here" }
            p { input #component type="file" name="component" accept=".wasm,application/wasm" required; " " button.primary type="submit" { "Upload and check" } }
            p { progress hidden aria-label="How much is uploaded" {} }
            p.help role="status" aria-live="polite" { "It is looked into and compiled before anything is kept. The first version of a script becomes the active one; later ones wait for you." }
        }
    }
}

fn short(version: &ScriptVersion) -> String {
    version.hash.to_string().chars().take(12).collect()
}

pub(super) async fn upload(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
    mut form: Multipart,
) -> Answer<Response> {
    let bad =
        |error: axum::extract::multipart::MultipartError| Problem::new(error.status(), "bad-upload", error.body_text());
    let mut component = None;
    // A form of ours has this one part.
    while let Some(field) = form.next_field().await.map_err(bad)? {
        if field.name() != Some("component") || component.is_some() {
            return Err(Problem::invalid("bad-upload", "send one file, as `component`, and nothing else").into());
        }
        component = Some(field.bytes().await.map_err(bad)?);
    }
    let component = component.filter(|bytes| !bytes.is_empty());
    let component = component.ok_or_else(|| Problem::invalid("bad-upload", "choose a file first"))?;
    match take_in(&app, visitor.caller.user, component.to_vec()).await {
        Ok(Taken { version, is_new, warnings }) => {
            let warnings: String = warnings.iter().map(|one| format!(" {}", sentence(one))).collect();
            let active =
                if version.active { "it is active" } else { "activate it when you have looked at what it asks for" };
            let kept = if is_new { "is kept" } else { "is there already, exactly so: nothing was changed" };
            let said = format!(
                "Version {} ({}) of {} {kept}; {active}.{warnings}",
                version.version,
                short(&version),
                version.name
            );
            let to = address(&["scripts", &version.name, &version.hash.to_string(), "report"]);
            let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if !accepts.starts_with("application/json") {
                return Ok(Done::new(to, said).into_response());
            }
            // Whoever follows how much is uploaded goes there by itself: a redirect would be followed behind its back.
            let mut response = Json(json!({ "to": to })).into_response();
            response.extensions_mut().insert(Said(said));
            Ok(response)
        }
        Err(problem) if problem.details().status == 422 => {
            let inspection = app.blocking(move || Ok(inspect(&component))).await?;
            Ok(refused(&visitor, &problem, &inspection).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// What is wrong with a file, and the form for the next one.
fn refused(visitor: &Visitor, problem: &Problem, inspection: &Inspection) -> Page {
    let details = problem.details();
    let body = html! {
        div.banner.bad role="alert" {
            p { b { "This file is no script that can run here. Nothing was kept." } }
            @if details.findings.is_empty() { p { (long(&sentence(&details.detail))) } }
            ul { @for one in details.findings.iter().take(50) { li { code { (one.code) } ": " (long(&sentence(&one.message))) } } }
        }
        (upload_form(visitor))
        (super::report::told(inspection))
    };
    Page::new(Tab::Scripts, "Check report", body).under("Scripts", "/scripts").status(StatusCode::UNPROCESSABLE_ENTITY)
}

/// Which versions of a script.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    /// How many newer ones are left out.
    skip: usize,
}

pub(super) async fn show(
    State(app): State<App>,
    visitor: Visitor,
    At(name): At<String>,
    Asked(query): Asked<Query>,
) -> Answer {
    let (asked, skip) = (name.clone(), query.skip);
    let (versions, said, activations, rules) = app
        .read(move |conn| {
            let rules = stored::all(conn)?
                .into_iter()
                .filter(|one| binding::parts(&one.rule).any(|(_, script)| script.name == asked));
            let rules: Vec<stored::Stored> = rules.collect();
            let versions = registry::versions(conn, &asked)?;
            let of_page = versions.iter().skip(skip).take(VERSIONS);
            let said: Vec<Vec<Verdict>> = of_page.map(|one| verdicts::of(conn, one.hash)).collect::<Result<_, _>>()?;
            Ok::<_, EngineError>((versions, said, registry::history(conn, &asked)?, rules))
        })
        .await?;
    let testers = said.iter().flatten().map(|one| one.by);
    let others = activations.iter().map(|one| one.by).chain(testers);
    let people = names(&app, versions.iter().map(|one| one.uploaded_by).chain(others))?;
    let person = |id: Id| people.get(&id).map_or("", String::as_str).to_owned();
    let active = versions.iter().find(|one| one.active);
    let (policy, there) = (app.engine().policy()?, app.engine().rules()?);
    let to = |what: &str| address(&["scripts", &name, what]);
    let goes_back = binding::earlier(&activations, active.map(|one| one.hash)).is_some();
    let cards = versions.iter().skip(skip).zip(&said).map(|(one, said)| {
        let said = verdict(&visitor, said, &there, &person);
        version_card(&visitor, one, active, &policy, &person(one.uploaded_by), &rules, &said)
    });
    let (cards, _) = fitting(cards, MOST_BYTES);
    let shown = skip.saturating_add(cards.len());
    let users = rules.iter().map(|one| used_by(one, &versions));
    let (users, more_users) = fitting(users, MOST_BYTES / 4);
    let body = html! {
        @if let Some(one) = active { p { (long(&one.manifest.script.description)) } }
        @else { p.banner.wait { "It is switched off: automations that use its latest version do not run. Activate a version." } }
        @if visitor.may(Scope::Scripts) {
            div.toolbar {
                @if goes_back { (action(&visitor, &to("roll-back"), "Roll back", "")) }
                @if active.is_some() { (super::parts::confirmed(&visitor, &to("deactivate"), "Switch off", "Automations that use its latest version stop until a version is active again.")) }
            }
        }
        section.card {
            h2 { "Used by" }
            @if rules.is_empty() { p.faint { "No automation." } }
            ul { @for one in &users { (one) } }
            @if more_users > 0 { p.faint { "and " (more_users) " more" } }
        }
        @if skip > 0 { p { a.button href=(address(&["scripts", &name])) { "The newest versions" } } }
        @for card in &cards { (card) }
        @if shown < versions.len() {
            p { a.button href=(format!("{}?skip={shown}", address(&["scripts", &name]))) { "Older versions" } " " span.faint { (versions.len() - shown) " more" } }
        }
        section.card {
            details { summary { b { "What was active when" } }
                ul { @for one in activations.iter().take(50) { li {
                    (time(one.at, &visitor.zone)) ": "
                    @match &one.hash {
                        Some(hash) => { code { (hash.to_string().chars().take(12).collect::<String>()) } },
                        None => { "switched off" },
                    }
                    " by " (person(one.by))
                } } }
            }
        }
    };
    Ok(Page::new(Tab::Scripts, name, body).under("Scripts", "/scripts"))
}

/// A rule that uses a script, and the version that it runs.
fn used_by(one: &stored::Stored, versions: &[ScriptVersion]) -> Markup {
    html! {
        li {
            a href=(address(&["automations", &one.rule.name])) { (title(&one.rule)) } " "
            @for bound in one.bound.values() { @if let Some(version) = versions.iter().find(|version| version.hash == bound.hash) { span.faint { "runs " (version.version) " " code { (short(version)) } } } }
        }
    }
}

fn version_card(
    visitor: &Visitor,
    one: &ScriptVersion,
    active: Option<&ScriptVersion>,
    policy: &Policy,
    by: &str,
    rules: &[stored::Stored],
    said: &Markup,
) -> Markup {
    let hash = one.hash.to_string();
    let to = |what: &str| address(&["scripts", &one.name, what]);
    let button = |label: &str, to: String, class: &str| {
        html! {
            form.inline method="post" action=(to) {
                (hidden_token(&visitor.key))
                input type="hidden" name="hash" value=(hash);
                button class=(class) type="submit" { (label) } " "
            }
        }
    };
    html! {
        section.card {
            h2 { "Version " (long(&one.version)) " " code.faint { (short(one)) } @if one.active { " " (badge("good", "active")) } }
            p.faint { "uploaded " (time(one.at, &visitor.zone)) " by " (by) ", " (bytes(one.size)) ", uses " @if one.imports.is_empty() { "nothing of the host" } @else { (one.imports.join(", ")) } }
            @if visitor.may(Scope::Scripts) && !one.active { (button("Activate", to("activate"), "primary")) }
            @if visitor.may(Scope::Scripts) && !rules.is_empty() { (button("Backtest", to("backtest"), "")) }
            @if visitor.may(Scope::Scripts) { a.button href=(address(&["scripts", &one.name, &hash, "component"])) { "Download" } " " }
            a.button href=(address(&["scripts", &one.name, &hash, "report"])) { "Check report" }
            (said)
            details open[!one.active] {
                summary { b { "What it asks for" } }
                (in_words(&one.manifest.grants, policy))
                (http_in_words(&one.manifest.http))
                @if !one.manifest.limits.0.is_empty() {
                    p { "Limits: " @for (at, (limit, value)) in one.manifest.limits.0.iter().enumerate() { @if at > 0 { ", " } (limit.spec().name) " " (super::parts::amount(limit.spec().unit, *value)) } }
                }
                @if !one.manifest.parameters.is_empty() {
                    p { "Parameters: " @for (at, parameter) in one.manifest.parameters.iter().enumerate() { @if at > 0 { ", " } code { (parameter.name) } @if parameter.required { " (required)" } } }
                }
                @if let Some(active) = active.filter(|active| active.hash != one.hash) {
                    h3 { "Against the active version" }
                    @let more = Wanted::of(&one.manifest).beyond(&Wanted::of(&active.manifest));
                    @if more.is_empty() { p { (badge("good", "asks for nothing more")) } }
                    @else {
                        p { (badge("wait", "asks for more")) }
                        @if !more.grants.0.is_empty() { (in_words(&more.grants, policy)) }
                        (http_in_words(&more.http))
                        @if !more.limits.is_empty() { ul.grants { @for one in &more.limits { li { (raised(one)) } } } }
                    }
                    (lines(&active.manifest, &one.manifest))
                }
            }
        }
    }
}

/// Requests to other services, as sentences.
fn http_in_words(http: &[HttpGrant]) -> Markup {
    html! {
        @if !http.is_empty() {
            ul.grants { @for one in http { li {
                "sends "
                @for (at, method) in one.methods.iter().enumerate() { @if at > 0 { ", " } b { (method) } }
                " to " code { (one.url.to_string()) } @if one.private { ", also where it is a private address" }
            } } }
        }
    }
}

/// A limit that is higher than in the active version.
fn raised(one: &Raised) -> Markup {
    let spec = one.limit.spec();
    let told = |number: Option<u64>| {
        number.map_or_else(|| "as much as the host gives".to_owned(), |number| super::parts::amount(spec.unit, number))
    };
    html! { "limit " b { (spec.name) } ": " (told(one.is)) ", before: " (told(one.was)) }
}

/// What the last backtest of a version said: beside the button that activates it.
fn verdict(visitor: &Visitor, said: &[Verdict], rules: &Index, person: &dyn Fn(Id) -> String) -> Markup {
    let sum = |count: fn(&Verdict) -> u32| said.iter().map(count).fold(0, u32::saturating_add);
    html! {
        @if let Some(first) = said.first() {
            details.backtest id={ "backtest-" (first.at.as_millisecond()) } {
                summary { "Backtest: " (counts(sum(|one| one.same), sum(|one| one.differs), sum(|one| one.undecidable))) " " span.faint { (time(first.at, &visitor.zone)) " by " (person(first.by)) } }
                ul { @for one in said { li { (named(rules, &one.rule)) ": " (one.same) " same, " (one.differs) " differ, " (one.undecidable) " undecidable" } } }
            }
        }
    }
}

/// On how many runs a version does what.
fn counts(same: u32, differs: u32, undecidable: u32) -> Markup {
    html! {
        (badge(if same == 0 { "calm" } else { "good" }, &format!("{same} same"))) " "
        (badge(if differs == 0 { "good" } else { "bad" }, &format!("{differs} differ"))) " "
        (badge(if undecidable == 0 { "good" } else { "wait" }, &format!("{undecidable} undecidable")))
    }
}

/// Lines of a manifest that another version does not have.
fn lines(old: &Manifest, new: &Manifest) -> Markup {
    let text = |manifest: &Manifest| toml::to_string_pretty(manifest).unwrap_or_default();
    let (old, new) = (text(old), text(new));
    let gone: Vec<&str> =
        old.lines().filter(|line| !line.is_empty() && !new.lines().any(|other| other == *line)).collect();
    let come: Vec<&str> =
        new.lines().filter(|line| !line.is_empty() && !old.lines().any(|other| other == *line)).collect();
    html! {
        @if gone.is_empty() && come.is_empty() { p.faint { "The manifests say the same." } }
        @else { pre { @for line in gone.iter().take(100) { del { "- " (line) } "\n" } @for line in come.iter().take(100) { ins { "+ " (line) } "\n" } } }
    }
}

pub(super) async fn component(State(app): State<App>, At((name, hash)): At<(String, String)>) -> Answer<Response> {
    let wanted = wanted(name, hash)?;
    // A script's name has letters, digits and dashes only; what is asked for may have anything.
    let (file, bytes) = app
        .read(move |conn| {
            let version = registry::resolve(conn, &wanted)?;
            let file = format!("attachment; filename=\"{}-{}.wasm\"", version.name, short(&version));
            Ok::<_, RegistryError>((file, registry::component(conn, version.hash)?))
        })
        .await?;
    let kind = "application/wasm".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], bytes).into_response())
}

fn told(name: &str, version: &ScriptVersion, switched: &Switched) -> Done {
    let mut said = format!("Version {} ({}) is active.", version.version, short(version));
    if !switched.moved.is_empty() {
        said.push_str(&format!(" It runs from now on in: {}.", switched.moved.join(", ")));
    }
    for one in &switched.held {
        said.push_str(&format!(" {} stays with its version: {}.", one.rule, one.why));
    }
    Done::new(address(&["scripts", name]), said)
}

pub(super) async fn activate(
    State(app): State<App>,
    visitor: Visitor,
    At(name): At<String>,
    form: Form,
) -> Answer<Done> {
    let wanted = wanted(name.clone(), form.text("hash").to_owned())?;
    let (by, now, line) = (visitor.caller.user, app.engine().clock().now(), audit::here());
    let schema = app.engine().database().schema().clone();
    let (version, switched) = app
        .write(move |conn| {
            let version = registry::resolve(conn, &wanted)?;
            let switched = binding::activate(conn, &schema, &version, by, now)?;
            line.say(told::switched(&version, &switched));
            Ok::<_, EngineError>((version, switched))
        })
        .await?;
    Ok(told(&name, &version, &switched))
}

pub(super) async fn roll_back(State(app): State<App>, visitor: Visitor, At(name): At<String>) -> Answer<Done> {
    let (by, now, script) = (visitor.caller.user, app.engine().clock().now(), name.clone());
    let schema = app.engine().database().schema().clone();
    let line = audit::here();
    let (version, switched) = app
        .write(move |conn| {
            let (version, switched) = binding::roll_back(conn, &schema, &script, by, now)?;
            line.say(told::switched(&version, &switched));
            Ok::<_, EngineError>((version, switched))
        })
        .await?;
    Ok(told(&name, &version, &switched))
}

pub(super) async fn deactivate(State(app): State<App>, visitor: Visitor, At(name): At<String>) -> Answer<Done> {
    switched_off(&app, name.clone(), visitor.caller.user).await?;
    Ok(Done::new(address(&["scripts", &name]), "It is switched off."))
}

/// The first runs on which a version does something else, or of which it cannot be said: how, or why.
fn first_of(result: &Backtest) -> impl Iterator<Item = (RunId, String)> {
    let differs = result.differs.iter().take(TOLD).map(|(run, how)| (*run, how.join("; ")));
    differs.chain(result.undecidable.iter().take(TOLD).cloned())
}

/// Those of them of which the visitor is told how: a version says what it likes of all that the run read.
async fn told_of(app: &App, visitor: &Visitor, all: &[(String, Backtest)]) -> Result<BTreeSet<RunId>, Problem> {
    let runs: BTreeSet<RunId> = all.iter().flat_map(|(_, result)| first_of(result)).map(|(run, _)| run).collect();
    let heads = app
        .read(move |conn| runs.into_iter().map(|run| runs::head(conn, run)).collect::<Result<Vec<_>, EngineError>>())
        .await?;
    let own = heads.iter().filter(|run| may_see_journal(&visitor.caller, run)).map(|run| run.id);
    seen_of(app, &visitor.caller, own.collect()).await
}

/// What a version would have done with the runs of late: nothing is changed.
pub(super) async fn backtest(State(app): State<App>, visitor: Visitor, At(name): At<String>, form: Form) -> Answer {
    let wanted = wanted(name.clone(), form.text("hash").to_owned())?;
    let asked = name.clone();
    let (version, component, rules) = app
        .read(move |conn| {
            let version = registry::resolve(conn, &wanted)?;
            let component = registry::component(conn, version.hash)?;
            let rules = stored::all(conn)?
                .into_iter()
                .filter(|one| binding::parts(&one.rule).any(|(_, script)| script.name == asked));
            Ok::<_, EngineError>((version, component, rules.map(|one| one.rule.name).collect::<Vec<_>>()))
        })
        .await?;
    audit::say(format!("{}, on the runs of {}", told::version(&version), rules.join(", ")));
    let script = app.engine().try_out(&component).await?;
    let now = app.engine().clock().now();
    let since = now.saturating_sub(SignedDuration::from_hours(24 * BACKTEST_DAYS)).unwrap_or(now);
    let mut results = Vec::new();
    for rule in rules {
        let result = app.engine().backtest(&rule, &script, since).await?;
        results.push((rule, result));
    }
    let (by, hash, told) = (visitor.caller.user, version.hash, results.clone());
    app.write(move |conn| Ok::<_, EngineError>(verdicts::keep(conn, hash, &told, by, now)?)).await?;
    let told = told_of(&app, &visitor, &results).await?;
    let back = address(&["scripts", &name]);
    let count = |list: usize| u32::try_from(list).unwrap_or(u32::MAX);
    let body = html! {
        p.banner.wait { "Each run of the last " (BACKTEST_DAYS) " days, as far as it was kept in full, was replayed on this version. Nothing was changed and nothing was sent." }
        @for (rule, result) in &results {
            section.card {
                h2 { (rule) }
                p { (counts(result.same, count(result.differs.len()), count(result.undecidable.len()))) }
                @let shown: Vec<(RunId, String)> = first_of(result).filter(|(run, _)| told.contains(run)).collect();
                ul { @for (run, how) in &shown { li { a href=(address(&["runs", &run.to_string()])) { "Run #" (run) } ": " (long(how)) } } }
                @if shown.len() < first_of(result).count() { p.faint { "What the others come to is told to administrators, and to whom those runs had the rights of." } }
            }
        }
        p.toolbar {
            a.button href=(back) { "Back" }
            @if visitor.may(Scope::Scripts) && !version.active {
                form.inline method="post" action=(address(&["scripts", &name, "activate"])) {
                    (hidden_token(&visitor.key))
                    input type="hidden" name="hash" value=(version.hash.to_string());
                    button.primary type="submit" { "Activate version " (version.version) }
                }
            }
        }
    };
    Ok(Page::new(Tab::Scripts, format!("Backtest of version {}", version.version), body)
        .under("Scripts", "/scripts")
        .under(&name, &back))
}
