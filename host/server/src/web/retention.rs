//! How long the past is kept: a part of the settings that is set here, in place of what the configuration file says.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use triggerbox_automation::{config::Retention, engine::Going, retention};

use super::{
    form::Form,
    page::{Answer, Done, Page, Tab},
    parts::{bytes, field, grouped, hidden_token},
    visitor::{Visitor, who_set},
};
use crate::{
    api::settings::{LONGEST, Less, keep_retention},
    app::App,
    problem::Problem,
    told,
};

/// What the form asks for.
const NAMES: [&str; 5] = ["days", "journal-days", "runs-per-rule", "bytes-per-rule", "deliveries-days"];

/// The part of the settings.
pub(super) async fn card(app: &App, visitor: &Visitor) -> Result<Markup, Problem> {
    let set = app.read(retention::found).await?;
    let file = app.engine().config().retention;
    let keep = set.as_ref().map_or(file, |set| set.value);
    let some = |number: Option<u32>| number.unwrap_or_default().to_string();
    let ask = |name: &str, label: &str, help: &str, value: &str| {
        let id = format!("keep-{name}");
        let input = html! { input id=(id) type="text" inputmode="numeric" name=(name) value=(value) required; };
        field(&id, label, help, &[], input)
    };
    let most = keep.bytes_per_rule.map_or_else(String::new, |most| format!(" Now {}.", bytes(most)));
    Ok(html! {
        section.card #retention {
            h2 { "How long the past is kept" }
            p.faint {
                "Runs that are not over are always kept; dead ones, and those whose outcome is unknown, for 365 days at least, however many they are. What is older or more is let go within the hour, for good. "
                @if let Some(set) = &set { "Set here, in place of what " code { "[retention]" } " of the configuration file says: " (told::retention(&file)) "." (who_set(app, visitor, set.set)?) }
                @else { "From " code { "[retention]" } " of the configuration file. What is set here counts instead, at once and also after a restart." }
            }
            form method="post" action="/settings/retention" {
                (hidden_token(&visitor.key))
                div.two {
                    (ask("days", "Runs with everything that belongs to them, in days", "0: for ever.", &some(keep.days)))
                    (ask("journal-days", "Journals, in days", "0: as long as their runs.", &some(keep.journal_days)))
                    (ask("runs-per-rule", "Runs of each automation", "0: any number.", &some(keep.runs_per_rule)))
                    (ask("bytes-per-rule", "Bytes of each automation's runs", &format!("0: any number.{most}"), &keep.bytes_per_rule.unwrap_or_default().to_string()))
                    (ask("deliveries-days", "Keys of deliveries, by which repeated ones are told, in days", "At least 1.", &keep.seen_days.to_string()))
                }
                button.primary type="submit" { "Keep so long" } " "
                @if set.is_some() { button type="submit" name="as-file" value="1" formnovalidate { "As the file says" } }
            }
        }
    })
}

pub(super) async fn save(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Response> {
    let keep = if form.is_on("as-file") { None } else { Some(asked(&form)?) };
    match keep_retention(&app, visitor.caller.user, keep, form.is_on("sure")).await? {
        None => Ok(Done::new("/settings#retention", "It is kept so long from now on.").into_response()),
        Some(less) => Ok(question(&visitor, &form, &less).into_response()),
    }
}

/// Whether it is really meant: what is let go is gone.
fn question(visitor: &Visitor, form: &Form, less: &Less) -> Page {
    let Less { new, was, going } = less;
    let count = |number: usize| grouped(u64::try_from(number).unwrap_or(u64::MAX));
    let body = html! {
        section.card {
            p.banner.wait role="alert" {
                @if *going == Going::default() { "Nothing that is kept today is older or more than this. What will be is let go, for good." }
                @else {
                    "Within the hour these are let go, for good: "
                    @if going.runs > 0 { b { (count(going.runs)) " run(s)" } " with everything that belongs to them" }
                    @if going.runs > 0 && going.journals > 0 { ", and " }
                    @if going.journals > 0 { "the journals of " b { (count(going.journals)) " run(s)" } " that stay" }
                    "."
                }
            }
            dl.facts {
                dt { "From now on" } dd { (told::retention(new)) }
                dt { "Until now" } dd { (told::retention(was)) }
            }
            form method="post" action="/settings/retention" {
                (hidden_token(&visitor.key))
                @if form.is_on("as-file") { input type="hidden" name="as-file" value="1"; }
                @for name in NAMES { @if let Some(value) = form.some(name) { input type="hidden" name=(name) value=(value); } }
                button.danger type="submit" name="sure" value="1" { "Yes, keep less" } " "
                a.button href="/settings#retention" { "No, leave it as it is" }
            }
        }
    };
    Page::new(Tab::Settings, "Keep less of the past?", body).under("Settings", "/settings")
}

/// What a form asks for.
fn asked(form: &Form) -> Result<Retention, Problem> {
    let number = |name: &str, least: u64, most: u64| {
        let digits: String = form.text(name).chars().filter(|c| !c.is_whitespace()).collect();
        let number = digits.parse::<u64>().ok().filter(|number| (least..=most).contains(number));
        let wrong = || Problem::invalid("bad-body", format!("`{name}` is a whole number from {least} to {most}"));
        number.ok_or_else(wrong)
    };
    let small = |name: &str, least: u32, most: u32| -> Result<u32, Problem> {
        Ok(u32::try_from(number(name, least.into(), most.into())?).unwrap_or(most))
    };
    let some = |number: u32| Some(number).filter(|number| *number > 0);
    Ok(Retention {
        days: some(small("days", 0, LONGEST)?),
        journal_days: some(small("journal-days", 0, LONGEST)?),
        runs_per_rule: some(small("runs-per-rule", 0, u32::MAX)?),
        bytes_per_rule: Some(number("bytes-per-rule", 0, i64::MAX.unsigned_abs())?).filter(|bytes| *bytes > 0),
        seen_days: small("deliveries-days", 1, LONGEST)?,
    })
}
