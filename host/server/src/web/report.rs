//! What was found out about a component: what it is made of, what it wants of the host, and what somebody should know.

use axum::extract::State;
use maud::{Markup, html};
use triggerbox_automation::{EngineError, scripts::registry};
use triggerbox_sandbox::inspect::{Finding, ImportStatus, Inspection, inspect};

use super::{
    page::{Answer, Page, Tab, sentence},
    parts::{address, badge, bytes, fitting, long},
    visitor::Visitor,
};
use crate::{api::scripts::wanted, app::App, extract::At};

/// Bytes of what a list tells.
const MOST_BYTES: usize = 40_000;

/// The check report of a version that is kept.
pub(super) async fn show(State(app): State<App>, _visitor: Visitor, At((name, hash)): At<(String, String)>) -> Answer {
    let wanted = wanted(name, hash)?;
    let inner = app.clone();
    let (version, inspection) = app
        .blocking(move || {
            let (version, component) = {
                let conn = inner.engine().database().snapshot()?;
                let version = registry::resolve(&conn, &wanted)?;
                let component = registry::component(&conn, version.hash).map_err(EngineError::from)?;
                (version, component)
            };
            Ok((version, inspect(&component)))
        })
        .await?;
    let script = address(&["scripts", &version.name]);
    let body = html! {
        p {
            @if version.active { (badge("good", "active")) " It is the version that runs." }
            @else { (badge("wait", "kept")) " It is not active: look at what it asks for, then activate it." }
        }
        (told(&inspection))
        p { a.button.primary href=(script) { "To the script" } }
    };
    Ok(Page::new(Tab::Scripts, format!("Check report of version {}", version.version), body)
        .under("Scripts", "/scripts")
        .under(&version.name, &script))
}

/// All that was found out.
pub(super) fn told(inspection: &Inspection) -> Markup {
    // Components also import the types that their functions use; a type has no version, and needs nothing of the host.
    let is_told = |name: &str, status| name.contains(':') || status != ImportStatus::Offered;
    let imports: Vec<_> = inspection.imports.iter().filter(|one| is_told(&one.name, one.status)).collect();
    let import = |name: &str, status, note: Option<&str>| {
        let (class, word) = match status {
            ImportStatus::Offered => ("good", "offered"),
            ImportStatus::Denied => ("wait", "fails at run time"),
            ImportStatus::Missing => ("bad", "missing"),
        };
        html! { li { (badge(class, word)) " " code { (long(name)) } @if let Some(note) = note { " " (long(&sentence(note))) } } }
    };
    let (rows, left) =
        fitting(imports.iter().map(|one| import(&one.name, one.status, one.note.as_deref())), MOST_BYTES);
    html! {
        section.card {
            h2 { "What it is" }
            dl.facts {
                dt { "Size" } dd { (bytes(inspection.size)) }
                dt { "Content" } dd { code { (inspection.hash.to_string()) } }
                dt { "Made by" }
                dd {
                    @if inspection.toolchain.is_empty() { span.faint { "it does not say" } }
                    @for (at, tool) in inspection.toolchain.iter().take(20).enumerate() { @if at > 0 { ", " } (long(&tool.name)) " " (long(&tool.version)) " " span.faint { (long(&tool.role)) } }
                }
                dt { "Backtraces" } dd { (symbols(inspection)) }
                @if !inspection.exports.is_empty() { dt { "Exports" } dd { (long(&inspection.exports.join(", "))) } }
            }
        }
        (findings("Problems", "bad", &inspection.problems))
        (findings("Worth knowing", "wait", &inspection.warnings))
        section.card {
            h2 { "What it uses of the host" }
            @if rows.is_empty() { p.faint { "Nothing." } }
            ul { @for row in &rows { (row) } }
            @if left > 0 { p.faint { "and " (left) " more" } }
        }
    }
}

fn findings(title: &str, class: &str, all: &[Finding]) -> Markup {
    let one = |one: &Finding| html! { li { (badge(class, one.code)) " " (long(&sentence(&one.message))) } };
    let (rows, left) = fitting(all.iter().map(one), MOST_BYTES);
    html! {
        @if !rows.is_empty() {
            section.card { h2 { (title) } ul { @for row in &rows { (row) } } @if left > 0 { p.faint { "and " (left) " more" } } }
        }
    }
}

fn symbols(inspection: &Inspection) -> &'static str {
    match (inspection.debug_info, inspection.names) {
        (true, _) => "with debug information: they have lines",
        (false, true) => "with names: they have functions, but no lines",
        (false, false) => "without names: they will say nothing",
    }
}
