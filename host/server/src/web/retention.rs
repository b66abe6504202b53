//! How long the past is kept: a part of the settings that is set here, in place of what the configuration file says.

use axum::extract::State;
use maud::{Markup, html};
use triggerbox_automation::{EngineError, config::Retention, retention};

use super::{
    form::Form,
    page::{Answer, Done},
    parts::{bytes, field, hidden_token},
    visitor::Visitor,
};
use crate::{app::App, people::audit, problem::Problem, told};

/// The longest time that can be set, in days: a hundred years.
const LONGEST: u32 = 36_525;

/// The part of the settings.
pub(super) async fn card(app: &App, visitor: &Visitor) -> Result<Markup, Problem> {
    let set = app.read(retention::kept).await?;
    let file = app.engine().config().retention;
    let keep = set.unwrap_or(file);
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
                "Runs that are not over are always kept. What is older or more is let go within the hour, for good. "
                @if set.is_some() { "Set here, in place of what " code { "[retention]" } " of the configuration file says: " (told::retention(&file)) "." }
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

pub(super) async fn save(State(app): State<App>, form: Form) -> Answer<Done> {
    let file = app.engine().config().retention;
    let keep = if form.is_on("as-file") { None } else { Some(asked(&form)?) };
    let line = audit::here();
    app.write(move |conn| {
        let was = retention::kept(conn)?.unwrap_or(file);
        retention::set(conn, keep)?;
        let source = if keep.is_some() { "" } else { "as the configuration file says: " };
        line.say(format!("{source}{}; before: {}", told::retention(&keep.unwrap_or(file)), told::retention(&was)));
        Ok::<_, EngineError>(())
    })
    .await?;
    Ok(Done::new("/settings#retention", "It is kept so long from now on."))
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
