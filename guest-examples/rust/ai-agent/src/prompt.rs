//! The prompt: chosen by language, rendered as a template. A template that fails is used as it is written.

mod lookup;

use std::collections::BTreeMap;

use minijinja::{Environment, UndefinedBehavior, context};
use triggerbox::{prelude::*, serde_json, serde_json::Value as Json};

use self::lookup::{Env, Record, data};
use crate::{
    grants::{Dispatch, Grants},
    trigger,
    values::parsed,
};

/// Steps that a template may take. Over it, the prompt is used as it is written.
const FUEL: u64 = 50_000;

pub struct Prompt {
    /// What the model is asked.
    pub text: String,
    /// As it was written.
    pub template: String,
    /// Why it is not rendered, if it is not.
    pub error: Option<String>,
}

impl Prompt {
    /// With what happened, as `trigger`.
    pub fn of(event: &Event, grants: &Grants, trigger: &Json) -> Result<Self> {
        let template = choose(event)?;
        Ok(match render(event, grants, trigger, &template) {
            Ok(text) => Self { text, template, error: None },
            Err(error) => Self { text: template.clone(), template, error: Some(error.to_string()) },
        })
    }
}

/// The text in the run-as user's language, or in another form of that language, or the one that always is there.
pub fn choose(event: &Event) -> Result<String> {
    let translations: String = event.param("translations")?;
    let translations: BTreeMap<String, String> = match serde_json::from_str(&translations) {
        Ok(translations) => translations,
        Err(error) => fail!("the parameter `translations` is no JSON object of texts: {error}"),
    };
    let lang = event.run_as.lang.as_str();
    let language = |code: &str| code.split('_').next().unwrap_or_default().to_owned();
    let exact = translations.get(lang);
    let near = || translations.iter().find(|(code, _)| language(code) == language(lang)).map(|(_, text)| text);
    match exact.or_else(near) {
        Some(text) => Ok(text.clone()),
        None => Ok(event.param("prompt")?),
    }
}

fn render(event: &Event, grants: &Grants, trigger: &Json, template: &str) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.add_function("may", may);
    let model = event.model.as_deref().unwrap_or_default();
    let records: Vec<_> = match &event.trigger {
        // There is nothing left to be read.
        Trigger::Deleted(gone) => trigger::records(gone, event, grants).into_iter().map(data).collect(),
        _ => Record::all(model, &event.records),
    };
    // As dispatch has it: one record, or all of them.
    let (record, records) = match records.as_slice() {
        [record] if grants.dispatch != Some(Dispatch::Single) => (record.clone(), Vec::new()),
        _ => (minijinja::Value::UNDEFINED, records),
    };
    let previous = event.previous.as_ref();
    let tool_log = previous.map(|previous| previous.tool_log.as_slice()).unwrap_or_default().iter().map(|entry| {
        let [arguments, output] = [&entry.arguments_json, &entry.output_json].map(|json| data(parsed(json)));
        context! { name => entry.name.as_str(), arguments, output }
    });
    let [name, login, lang, tz] =
        [&event.run_as.name, &event.run_as.login, &event.run_as.lang, &event.run_as.tz].map(String::as_str);
    environment.render_str(
        template,
        context! {
            record, records,
            trigger => data(trigger.clone()),
            user => context! { id => event.run_as.id, name, login, lang, tz },
            company => context! { id => event.company.id, name => event.company.name() },
            ctx => context! { lang, tz, rule => event.rule.as_str(), attempt => event.attempt, model },
            today => event.today().map(|day| day.to_string()).unwrap_or_default(),
            now => event.now.as_str(),
            previous_session => context! {
                last_text => previous.map(|previous| previous.last_text.as_str()).unwrap_or_default(),
                tool_log => tool_log.collect::<Vec<_>>(),
            },
            env => minijinja::Value::from_object(Env),
        },
    )
}

/// Whether rule and user allow an operation on a model at all: `{% if may("read", "account.move") %}`. What is said can so
/// depend on whose rights the run has.
#[allow(clippy::needless_pass_by_value, reason = "the signature of a template's function")]
fn may(operation: String, on: String) -> Result<bool, minijinja::Error> {
    let operation = match operation.as_str() {
        "read" => Operation::Read,
        "write" => Operation::Write,
        "create" => Operation::Create,
        "unlink" => Operation::Unlink,
        other => {
            let text = format!("may() knows read, write, create and unlink, not `{other}`");
            return Err(minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, text));
        }
    };
    Ok(model(on).has_access(&[], operation).unwrap_or(false))
}
