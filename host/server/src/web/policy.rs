//! The policy: a part of the settings. What the configuration file says of it is shown; the rest is set here.

use std::collections::BTreeSet;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use triggerbox_automation::{
    EngineError,
    policy::{self, Part, Parts},
};
use triggerbox_model::grants::GrantOperation;

use super::{
    form::Form,
    page::{Answer, Done, Page, Tab, sentence},
    parts::{badge, field, hidden_token, hidden_version, long},
    visitor::{Visitor, who_set},
};
use crate::{
    api::settings::keep_policy,
    app::App,
    problem::{FoundWrong, Problem},
    shown, told,
};

/// What a part is called, and what it does.
fn label(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::GuardedModels => {
            ("Models that need a grant by name", "One a line, in full or with a star at the end: hr.*")
        }
        Part::GuardedOperations => ("Operations that need a grant by name", "On any model."),
        Part::ForbiddenModels => ("Models that no grant opens", "One a line, in full or with a star at the end: hr.*"),
        Part::ApprovedOperations => {
            ("Operations that somebody must approve", "On any model: nothing is applied before.")
        }
        Part::ApprovedAgentOperations => {
            ("Operations of agents that somebody must approve", "Besides those of all automations.")
        }
    }
}

/// The part of the settings.
pub(super) async fn card(app: &App, visitor: &Visitor) -> Result<Markup, Problem> {
    let inner = app.clone();
    let read = app.read(move |conn| {
        let policy = policy::in_force(conn, inner.engine().config())?;
        Ok::<_, EngineError>((policy::kept(conn)?, policy))
    });
    let (kept, policy) = read.await?;
    let fixed = &app.engine().config().fixed;
    let source = |part: Part| match &kept {
        _ if fixed.says(part) => badge("calm", &format!("set in {}", app.config().name())),
        Some(kept) if kept.value.says(part) => badge("busy", "set here"),
        _ => badge("calm", "default"),
    };
    let all = Parts::all_of(policy.clone());
    Ok(html! {
        section.card #policy {
            h2 { "Policy" }
            p.faint {
                "What " code { "[policy]" } " of the configuration file says counts: it is changed there, and in force after a restart. "
                "What the file does not say is set here, and in force at once for each run that begins."
                @if let Some(kept) = &kept { (who_set(app, visitor, kept.set)?) }
            }
            dl.facts { @for part in Part::ALL {
                dt { (label(part).0) " " (source(part)) } dd { (long(&part.words(&policy))) " " code.faint { (part.name()) } }
            } }
            @if Part::ALL.iter().all(|part| fixed.says(*part)) { p.faint { "The file says all of it." } }
            @else { details { summary { b { "Change the policy" } } (form(app, visitor, &all, kept.is_some(), &shown::version(&told::whole_policy(&policy)), &[])) } }
        }
    })
}

/// What can be set, with what is wrong with it beside it.
fn form(app: &App, visitor: &Visitor, shown: &Parts, is_set: bool, version: &str, wrong: &[FoundWrong]) -> Markup {
    let fixed = &app.engine().config().fixed;
    let of = |part: Part| wrong.iter().filter(move |one| one.place == part.name()).map(|one| sentence(&one.message));
    let open = |part: &Part| !fixed.says(*part) || of(*part).next().is_some();
    html! {
        form method="post" action="/settings/policy" {
            (hidden_token(&visitor.key))
            (hidden_version(version))
            @for part in Part::ALL.into_iter().filter(open) {
                input type="hidden" name="part" value=(part.name());
                @let wrong: Vec<String> = of(part).collect();
                @match part {
                    Part::GuardedModels => { (models(part, shown.guarded_models.as_deref(), &wrong)) }
                    Part::ForbiddenModels => { (models(part, shown.forbidden_models.as_deref(), &wrong)) }
                    Part::GuardedOperations => { (operations(part, shown.guarded_operations.as_ref(), &wrong)) }
                    Part::ApprovedOperations => { (operations(part, shown.approved_operations.as_ref(), &wrong)) }
                    Part::ApprovedAgentOperations => { (operations(part, shown.approved_agent_operations.as_ref(), &wrong)) }
                }
            }
            button.primary type="submit" { "Set the policy" } " "
            @if is_set { button type="submit" name="as-file" value="1" formnovalidate { "As the file says" } }
        }
    }
}

fn models(part: Part, list: Option<&[String]>, wrong: &[String]) -> Markup {
    let ((label, help), id) = (label(part), format!("policy-{}", part.name()));
    let text = list.unwrap_or_default().join("\n");
    let rows = text.lines().count().clamp(3, 12);
    let input =
        html! { textarea id=(id) name=(part.name()) rows=(rows) autocapitalize="none" spellcheck="false" { (text) } };
    field(&id, label, help, wrong, input)
}

fn operations(part: Part, set: Option<&BTreeSet<GrantOperation>>, wrong: &[String]) -> Markup {
    let (label, help) = label(part);
    html! {
        fieldset {
            legend { (label) }
            div.checks { @for operation in GrantOperation::ALL {
                @let id = format!("policy-{}-{operation}", part.name());
                span {
                    input id=(id) type="checkbox" name=(part.name()) value=(operation.name()) checked[set.is_some_and(|set| set.contains(&operation))];
                    " " label for=(id) { (operation.name()) }
                }
            } }
            p.help { (help) }
            @for one in wrong { p.error { (one) } }
        }
    }
}

/// Sets what the form says, or shows what is wrong with it beside the fields.
pub(super) async fn save(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Response> {
    let asked = if form.is_on("as-file") { Parts::default() } else { asked(&form)? };
    // What is as by default is not set: another default would count then.
    let parts = asked.clone().unlike(&app.engine().config().policy);
    match keep_policy(&app, visitor.caller.user, parts, form.some(shown::FIELD)).await {
        Ok(()) => {
            Ok(Done::new("/settings#policy", "It is in force, for each run that begins from now on.").into_response())
        }
        Err(problem) if !problem.details().findings.is_empty() => {
            let form = self::form(&app, &visitor, &asked, false, form.text(shown::FIELD), &problem.details().findings);
            let page = Page::new(Tab::Settings, "Policy", html! { section.card { (form) } });
            let page = page.under("Settings", "/settings").status(StatusCode::UNPROCESSABLE_ENTITY);
            Ok(page.into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

/// What a form asks for: of each part that it shows.
fn asked(form: &Form) -> Result<Parts, Problem> {
    let models = |part: Part| {
        let (mut list, mut seen) = (form.list(part.name()), BTreeSet::new());
        list.retain(|one| seen.insert(one.clone()));
        list
    };
    let operations = |part: Part| {
        let named = |name: &String| GrantOperation::ALL.into_iter().find(|one| one.name() == name);
        let all: Option<BTreeSet<GrantOperation>> = form.all(part.name()).iter().map(named).collect();
        all.ok_or_else(|| Problem::invalid("bad-body", format!("`{}` has an operation that there is not", part.name())))
    };
    let mut parts = Parts::default();
    for name in form.all("part") {
        let part = Part::ALL.into_iter().find(|part| part.name() == name);
        match part.ok_or_else(|| Problem::invalid("bad-body", "the policy has no such part"))? {
            part @ Part::GuardedModels => parts.guarded_models = Some(models(part)),
            part @ Part::ForbiddenModels => parts.forbidden_models = Some(models(part)),
            part @ Part::GuardedOperations => parts.guarded_operations = Some(operations(part)?),
            part @ Part::ApprovedOperations => parts.approved_operations = Some(operations(part)?),
            part @ Part::ApprovedAgentOperations => parts.approved_agent_operations = Some(operations(part)?),
        }
    }
    Ok(parts)
}
