//! What the configuration file says of runs and limits: a part of the settings. It is changed in the file.

use maud::{Markup, html};
use reqwest::Url;
use triggerbox_model::limits::{Class, Limits, TABLE};

use super::parts::amount;
use crate::app::App;

/// Runs and limits.
pub(super) fn cards(app: &App) -> Markup {
    let (engine, config) = (app.engine().config(), app.config());
    let of = |class| Limits::resolve(class, [&engine.limits]);
    let classes = [of(Class::Sync), of(Class::Async), of(Class::Batch), of(Class::Agent)];
    let alerts: Vec<String> = config.alerts.to.iter().map(|to| origin(to)).collect();
    let caps = config.sessions;
    html! {
        section.card #runs {
            h2 { "Runs" }
            p.faint { "From " code { "[runs]" } ", " code { "[sessions]" } " and " code { "[alerts]" } " of the configuration file. They are changed there, and in force after a restart." }
            dl.facts {
                (fact("Runs that work at once", "runs.workers", &config.runs.workers.to_string()))
                (fact("Runs that wait for others at once, besides those", "runs.waiting", &config.runs.waiting.to_string()))
                (fact("A change waits for a yes", "runs.approval-hours", &format!("{} hours", config.runs.approval_hours)))
                (fact("An automation is paused after", "runs.pause-after", &match config.runs.pause_after {
                    0 => "no number of failures".to_owned(),
                    count => format!("{count} failures in a row"),
                }))
                (fact("A session of runs with language models has", "sessions", &format!(
                    "{} runs after the first, {} hours, {} tokens, €{:.2}, where neither automation nor agent says it", caps.resumes, caps.hours, caps.tokens, caps.cost
                )))
                (fact("Trouble is told to", "alerts.to", &list(&alerts)))
            }
        }
        section.card #limits {
            details { summary { b { "Limits of this host" } }
                p.faint { "The defaults, and what " code { "[limits]" } " of the configuration file says. They are changed there, and in force after a restart." }
                div.scroll tabindex="0" role="region" aria-label="Limits of this host" { table {
                    thead { tr { th scope="col" { "Limit" } @for class in Class::ALL { th.number scope="col" { (class.name()) } } } }
                    tbody { @for spec in TABLE { tr { th scope="row" title=(spec.help) { (spec.name) } @for limits in &classes { td.number { (amount(spec.unit, limits.get(spec.limit))) } } } } }
                } }
            }
        }
    }
}

/// One setting: what it says, and what it is called in the file.
pub(super) fn fact(label: &str, key: &str, value: &str) -> Markup {
    html! { dt { (label) } dd { (value) " " code.faint { (key) } } }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Where an address is, without what it may hide.
fn origin(address: &str) -> String {
    Url::parse(address).map_or_else(|_| "an address".to_owned(), |url| url.origin().ascii_serialization())
}
