//! Budgets of language models: a part of the settings. What the providers file says of them is shown; the rest is set here.

use axum::extract::State;
use maud::{Markup, html};
use triggerbox_llm::{BudgetSetting, config::Budget};

use super::{
    form::Form,
    page::{Answer, Done},
    parts::{badge, field, grouped, hidden_token, hidden_version},
    visitor::{Visitor, who_set},
};
use crate::{app::App, problem::Problem, providers, shown, told};

/// What a budget is for, by what it is called in the file.
fn label(name: &str) -> &'static str {
    match name {
        "root" => "One event from outside, with all that follows from it",
        "rule-day" => "One automation in a day",
        _ => "All automations in a day",
    }
}

/// The part of the settings.
pub(super) async fn part(app: &App, visitor: &Visitor) -> Result<Markup, Problem> {
    let kept = app.read(providers::kept_budgets).await?;
    let set = kept.as_ref().map(|kept| kept.value).unwrap_or_default();
    let (fixed, in_force) = (providers::of_file(app).said, providers::budgets(app, &set));
    let all = BudgetSetting::of(&in_force).each();
    let source = |name: &str| match (fixed.says(name), set.says(name)) {
        (true, _) => badge("calm", &format!("set in {}", providers::file_name(app))),
        (false, true) => badge("busy", "set here"),
        (false, false) => badge("calm", "default"),
    };
    Ok(html! {
        h3 #budgets { "Budgets" }
        @if let Some(kept) = &kept { p.faint { (who_set(app, visitor, kept.set)?) } }
        dl.facts { @for (name, budget) in all {
            dt { (label(name)) " " (source(name)) } dd { (budget.map(words).unwrap_or_default()) " " code.faint { "budgets." (name) } }
        } }
        @if all.iter().any(|(name, _)| !fixed.says(name)) {
            details { summary { b { "Change the budgets" } }
                form method="post" action="/settings/budgets" {
                    (hidden_token(&visitor.key))
                    (hidden_version(&shown::version(&told::budgets(&in_force))))
                    @for (name, budget) in all { @if let Some(budget) = budget.filter(|_| !fixed.says(name)) { (fields(name, &budget)) } }
                    button.primary type="submit" { "Set the budgets" } " "
                    @if kept.is_some() { button type="submit" name="as-file" value="1" formnovalidate { "As the file says" } }
                }
            }
        }
    })
}

fn words(Budget { calls, tokens, cost }: Budget) -> String {
    format!("{} calls, {} tokens, €{cost:.2}", grouped(calls), grouped(tokens))
}

/// The fields of one budget.
fn fields(name: &str, budget: &Budget) -> Markup {
    let ask = |what: &str, label: &str, value: String| {
        let (id, name) = (format!("budget-{name}-{what}"), format!("{name}.{what}"));
        let input = html! { input id=(id) type="text" inputmode="decimal" name=(name) value=(value) required; };
        field(&id, label, "", &[], input)
    };
    html! {
        fieldset {
            legend { (label(name)) }
            div.two {
                (ask("calls", "Calls", budget.calls.to_string()))
                (ask("tokens", "Tokens, in and out", budget.tokens.to_string()))
                (ask("cost", "Euros", budget.cost.to_string()))
            }
        }
    }
}

pub(super) async fn save(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Done> {
    let set = if form.is_on("as-file") { BudgetSetting::default() } else { asked(&form)? };
    // What is as without it is not set: another default would count then.
    let set = set.unlike(&providers::budgets(&app, &BudgetSetting::default()));
    providers::set_budgets(&app, visitor.caller.user, set, form.some(shown::FIELD)).await?;
    Ok(Done::new("/settings#budgets", "They are in force, for each run that begins from now on."))
}

/// What a form asks for: of each budget that it shows.
fn asked(form: &Form) -> Result<BudgetSetting, Problem> {
    let one = |name: &str| -> Result<Option<Budget>, Problem> {
        if !form.is_on(&format!("{name}.calls")) {
            return Ok(None);
        }
        let text = |what: &str| form.text(&format!("{name}.{what}")).split_whitespace().collect::<String>();
        let wrong = |what: &str| {
            let text = format!("`{name}.{what}` is a number of 0 or more, such as 500; of `cost` also 0.25");
            Problem::invalid("bad-body", text)
        };
        Ok(Some(Budget {
            calls: text("calls").parse().map_err(|_| wrong("calls"))?,
            tokens: text("tokens").parse().map_err(|_| wrong("tokens"))?,
            cost: text("cost").parse().ok().filter(|cost: &f64| cost.is_finite()).ok_or_else(|| wrong("cost"))?,
        }))
    };
    Ok(BudgetSetting { root: one("root")?, rule_day: one("rule-day")?, server_day: one("server-day")? })
}
