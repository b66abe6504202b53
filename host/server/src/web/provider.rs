//! One provider of language models that is set here: its form.

use std::str::FromStr;

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use maud::{Markup, html};
use triggerbox_llm::{
    config::{Kind, Model, Structured},
    setting::ProviderSetting,
};

use super::{
    form::Form,
    page::{Answer, Done, Page, Tab, sentence},
    parts::{address, field, hidden_token, option},
    visitor::Visitor,
};
use crate::{
    app::App,
    extract::At,
    problem::{FoundWrong, Problem},
    providers,
    vault::Purpose,
};

/// Rows of models that a form has at most.
const MOST_ROWS: usize = 20;

/// Empty rows at its end.
const SPARE: usize = 2;

/// What is typed of a model.
const COLUMNS: [&str; 4] = ["name", "input-price", "output-price", "max-output"];

pub(super) async fn fresh(State(app): State<App>, visitor: Visitor) -> Page {
    let form = Form::of(Vec::new());
    page(&app, &visitor, None, &form, &[])
}

pub(super) async fn show(State(app): State<App>, visitor: Visitor, At(name): At<String>) -> Answer {
    let kept = providers::one(&app, &name).await?;
    Ok(page(&app, &visitor, Some(&name), &typed(&kept.setting.value), &[]))
}

pub(super) async fn create(State(app): State<App>, visitor: Visitor, form: Form) -> Answer<Response> {
    let name = form.text("name").to_owned();
    keep(&app, &visitor, &name, &form, true).await
}

pub(super) async fn save(
    State(app): State<App>,
    visitor: Visitor,
    At(name): At<String>,
    form: Form,
) -> Answer<Response> {
    providers::one(&app, &name).await?;
    keep(&app, &visitor, &name, &form, false).await
}

/// Sets what the form says, or shows what is wrong with it beside the fields.
async fn keep(app: &App, visitor: &Visitor, name: &str, form: &Form, is_new: bool) -> Answer<Response> {
    let form = without_gaps(form);
    let problem = match read(&form) {
        Ok(setting) => match providers::set(app, &visitor.caller, name, setting, is_new).await {
            Ok(()) => {
                let said = format!("{name} is asked by each run that begins from now on.");
                return Ok(Done::new("/settings#providers", said).into_response());
            }
            Err(problem) => problem,
        },
        Err(wrong) => Problem::bad_setting(wrong),
    };
    let wrong = &problem.details().findings;
    if wrong.is_empty() {
        return Err(problem.into());
    }
    let page = page(app, visitor, Some(name).filter(|_| !is_new), &form, wrong);
    Ok(page.status(StatusCode::UNPROCESSABLE_ENTITY).into_response())
}

pub(super) async fn delete(State(app): State<App>, At(name): At<String>) -> Answer<Done> {
    providers::unset(&app, &name).await?;
    Ok(Done::new("/settings#providers", format!("{name} is asked no more by runs that begin from now on.")))
}

/// What a model's field is called.
fn cell(row: usize, column: &str) -> String {
    format!("models[{row}].{column}")
}

/// Whether something was typed into a row.
fn is_filled(form: &Form, row: usize) -> bool {
    COLUMNS.iter().any(|column| !form.text(&cell(row, column)).is_empty())
}

/// The same form with its models one after the other.
fn without_gaps(form: &Form) -> Form {
    let rest = form.under("").filter(|(name, _)| !name.starts_with("models["));
    let mut pairs: Vec<(String, String)> = rest.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    for (to, from) in (0..MOST_ROWS).filter(|row| is_filled(form, *row)).enumerate() {
        for column in COLUMNS.into_iter().chain(["max-output-field"]) {
            pairs.push((cell(to, column), form.text(&cell(from, column)).to_owned()));
        }
    }
    Form::of(pairs)
}

/// A form that says what is set.
fn typed(setting: &ProviderSetting) -> Form {
    let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
    let some = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut pairs = vec![
        ("kind".to_owned(), kind(setting.kind).to_owned()),
        ("base-url".to_owned(), setting.base_url.clone()),
        ("key".to_owned(), some(&setting.key)),
        ("key-header".to_owned(), some(&setting.key_header)),
        ("currency".to_owned(), setting.currency.clone()),
        ("rate".to_owned(), setting.rate.map(|rate| rate.to_string()).unwrap_or_default()),
        ("structured".to_owned(), structured(setting.structured).to_owned()),
        ("timeout".to_owned(), setting.timeout.to_string()),
        ("retries".to_owned(), setting.retries.to_string()),
        ("requests-per-minute".to_owned(), number(setting.requests_per_minute)),
        ("tokens-per-minute".to_owned(), number(setting.tokens_per_minute)),
        ("concurrent".to_owned(), setting.concurrent.to_string()),
    ];
    if setting.private {
        pairs.push(("private".to_owned(), "1".to_owned()));
    }
    for (row, model) in setting.models.iter().enumerate() {
        pairs.push((cell(row, "name"), model.name.clone()));
        pairs.push((cell(row, "input-price"), model.input_price.to_string()));
        pairs.push((cell(row, "output-price"), model.output_price.to_string()));
        pairs.push((cell(row, "max-output"), model.max_output.to_string()));
        pairs.push((cell(row, "max-output-field"), model.max_output_field.clone()));
    }
    Form::of(pairs)
}

/// What a form says, or what of it cannot be read.
fn read(form: &Form) -> Result<ProviderSetting, Vec<FoundWrong>> {
    let mut wrong = Vec::new();
    let mut models = Vec::new();
    for row in (0..MOST_ROWS).filter(|row| is_filled(form, *row)) {
        let at = |column: &str| cell(row, column);
        models.push(Model {
            name: form.text(&at("name")).to_owned(),
            input_price: number(form, &at("input-price"), None, &mut wrong),
            output_price: number(form, &at("output-price"), None, &mut wrong),
            max_output: number(form, &at("max-output"), Some(4_096), &mut wrong),
            max_output_field: form.some(&at("max-output-field")).unwrap_or_else(|| "max_tokens".to_owned()),
        });
    }
    let mut some = |name: &str| form.some(name).map(|_| number(form, name, Some(0), &mut wrong));
    let (requests_per_minute, tokens_per_minute) = (some("requests-per-minute"), some("tokens-per-minute"));
    let setting = ProviderSetting {
        kind: if form.text("kind") == kind(Kind::Anthropic) { Kind::Anthropic } else { Kind::Openai },
        base_url: form.text("base-url").to_owned(),
        private: form.is_on("private"),
        key: form.some("key"),
        key_header: form.some("key-header"),
        currency: form.some("currency").unwrap_or_else(|| "EUR".to_owned()),
        rate: form.some("rate").map(|_| number(form, "rate", None, &mut wrong)),
        structured: match form.text("structured") == structured(Structured::Prompt) {
            true => Structured::Prompt,
            false => Structured::Native,
        },
        timeout: number(form, "timeout", Some(120), &mut wrong),
        retries: number(form, "retries", Some(4), &mut wrong),
        requests_per_minute,
        tokens_per_minute,
        concurrent: number(form, "concurrent", Some(8), &mut wrong),
        models,
    };
    if wrong.is_empty() { Ok(setting) } else { Err(wrong) }
}

/// A number that was typed; what counts when nothing was.
fn number<T: FromStr + Default>(form: &Form, name: &str, empty: Option<T>, wrong: &mut Vec<FoundWrong>) -> T {
    let digits: String = form.text(name).chars().filter(|c| !c.is_whitespace()).collect();
    match (digits.is_empty(), empty, digits.parse::<T>()) {
        (true, Some(empty), _) => empty,
        (_, _, Ok(number)) => number,
        _ => {
            wrong.push(FoundWrong::error("not-a-number", name, "is a number, such as 8 or 0.25"));
            T::default()
        }
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Openai => "openai",
        Kind::Anthropic => "anthropic",
    }
}

fn structured(structured: Structured) -> &'static str {
    match structured {
        Structured::Native => "native",
        Structured::Prompt => "prompt",
    }
}

/// The page of one provider; without a name: of a new one.
fn page(app: &App, visitor: &Visitor, name: Option<&str>, form: &Form, wrong: &[FoundWrong]) -> Page {
    let to =
        name.map_or_else(|| "/settings/providers/_new".to_owned(), |name| address(&["settings", "providers", name]));
    let keys = app.vault().names().into_iter().filter_map(|(secret, purpose)| match purpose {
        Purpose::Key { host } => Some((secret, host)),
        Purpose::Signs | Purpose::Header { .. } => None,
    });
    let keys: Vec<(String, String)> = keys.collect();
    let told = |place: &str| -> Vec<String> {
        wrong.iter().filter(|one| one.place == place).map(|one| sentence(&one.message)).collect()
    };
    let text = |id: &str, label: &str, help: &str, default: &str| {
        let value = form.some(id).unwrap_or_else(|| default.to_owned());
        let input =
            html! { input id=(id) type="text" name=(id) value=(value) autocapitalize="none" spellcheck="false"; };
        field(id, label, help, &told(id), input)
    };
    let body = html! {
        form.card method="post" action=(to) autocomplete="off" {
            (hidden_token(&visitor.key))
            @if name.is_none() { (text("name", "Name", "Lower-case letters, digits and dashes: models are called NAME/MODEL.", "")) }
            @else { @for one in told("name") { p.banner.bad { (one) } } }
            div.two {
                (field("kind", "Protocol", "", &told("kind"), html! { select #kind name="kind" {
                    (option("openai", "chat completions (openai)", form.text("kind"))) (option("anthropic", "messages (anthropic)", form.text("kind")))
                } }))
                (text("base-url", "Address", "What comes before /chat/completions or /messages: https://api.example.com/v1", ""))
            }
            div.field.row {
                input #private type="checkbox" name="private" value="1" checked[form.is_on("private")]; " "
                label for="private" { "It is private: on this machine or in its network. Else only public addresses are connected to, with TLS." }
                @for one in told("private") { p.error { (one) } }
            }
            div.two {
                (field("key", "Key", "A secret that is only sent to its host; write it under Secrets first.", &told("key"), html! { select #key name="key" {
                    (option("", "none", form.text("key")))
                    @for (secret, host) in &keys { (option(secret, &format!("{secret}, for {host}"), form.text("key"))) }
                    @if let Some(gone) = form.some("key").filter(|key| !keys.iter().any(|(secret, _)| secret == key)) { (option(&gone, &format!("{gone}, which is not there"), &gone)) }
                } }))
                (text("key-header", "Header of the key", "Empty: what is usual for the protocol.", ""))
            }
            div.two {
                (text("currency", "Currency of its prices", "EUR, USD, …", "EUR"))
                (text("rate", "Euros for one unit of it", "Empty for euros, and where the providers file says it.", ""))
            }
            fieldset {
                legend { "Models" }
                @for one in told("models") { p.error { (one) } }
                (models(form, wrong))
            }
            details open[!wrong.is_empty()] { summary { b { "Limits of this provider" } }
                div.two {
                    (text("requests-per-minute", "Requests a minute", "Empty: as many as come.", ""))
                    (text("tokens-per-minute", "Tokens a minute", "Empty: as many as come.", ""))
                    (text("concurrent", "Requests at once", "", "8"))
                    (text("timeout", "One try takes at most, in seconds", "", "120"))
                    (text("retries", "Sent again after trouble, at most", "", "4"))
                    (field("structured", "How it is told the schema of an answer", "", &told("structured"), html! { select #structured name="structured" {
                        (option("native", "as the protocol has it", form.text("structured"))) (option("prompt", "in words", form.text("structured")))
                    } }))
                }
            }
            button.primary type="submit" { @if name.is_some() { "Save" } @else { "Add provider" } } " "
            a.button href="/settings#providers" { "Back to the settings" }
        }
    };
    let title = name.unwrap_or("New provider").to_owned();
    Page::new(Tab::Settings, title, body).under("Settings", "/settings")
}

/// The rows of models: those that are filled, and some more.
fn models(form: &Form, wrong: &[FoundWrong]) -> Markup {
    let filled = (0..MOST_ROWS).filter(|row| is_filled(form, *row)).count();
    let rows = (filled + SPARE).min(MOST_ROWS);
    let told = |row: usize| wrong.iter().filter(move |one| one.place.starts_with(&format!("models[{row}].")));
    let label = |column: &str| match column {
        "name" => "Model",
        "input-price" => "A million tokens in",
        "output-price" => "A million tokens out",
        _ => "Longest answer, in tokens",
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Models" { table.stack {
            thead { tr { @for column in COLUMNS { th scope="col" { (label(column)) } } th scope="col" { "Its bound is called" } } }
            tbody { @for row in 0..rows {
                tr {
                    @for column in COLUMNS { td {
                        @let default = if column == "max-output" { "4096" } else { "" };
                        input type="text" name=(cell(row, column)) value=(form.text(&cell(row, column))) placeholder=(default) aria-label={ (label(column)) ", row " (row + 1) } autocapitalize="none" spellcheck="false";
                    } }
                    td { select name=(cell(row, "max-output-field")) aria-label={ "What the bound is called, row " (row + 1) } {
                        @for name in ["max_tokens", "max_completion_tokens"] { (option(name, name, form.text(&cell(row, "max-output-field")))) }
                    } }
                }
                @for one in told(row) { tr { td colspan="5" { p.error { (sentence(&one.message)) } } } }
            } }
        } }
        p.help { "Prices are in the currency of the provider. The longest answer bounds what a question can cost." }
    }
}
