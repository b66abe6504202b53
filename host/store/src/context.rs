//! What a script sets for the calls that follow, with a call of `with_context`; Odoo's context, as far as it means something
//! here. It is staged like a change: a commit does each effect in the context that it was staged in.

use serde_json::{Map, Value as Json};
use triggerbox_model::{call::WITH_CONTEXT, changes::Effect, error::Error};

use crate::{
    env::{Context, Env},
    write::Options,
};

/// Bytes of a context at most: a change set holds each that was set.
const LONGEST: usize = 2_048;

/// The environment that an effect sets for those after it, and what it switches off; none for other effects. `env`: that of
/// the run.
///
/// # Errors
/// `bad-arguments`; `unknown-language`.
pub(crate) fn set_by(env: &Env, effect: &Effect) -> Result<Option<(Env, Options)>, Error> {
    match effect {
        Effect::CallMethod { arguments_json, .. } if sets(effect) => entered(env, arguments_json).map(Some),
        _ => Ok(None),
    }
}

/// Whether an effect sets a context.
pub(crate) fn sets(effect: &Effect) -> bool {
    matches!(effect, Effect::CallMethod { method, .. } if method == WITH_CONTEXT)
}

fn entered(env: &Env, arguments_json: &str) -> Result<(Env, Options), Error> {
    if arguments_json.len() > LONGEST {
        let text = format!("the context of `{WITH_CONTEXT}` is longer than {LONGEST} bytes");
        return Err(Error::invalid("bad-arguments", text));
    }
    let wrong = || Error::invalid("bad-arguments", format!("`{WITH_CONTEXT}` takes an object `context`"));
    let mut arguments: Map<String, Json> = serde_json::from_str(arguments_json).map_err(|_| wrong())?;
    let Some(given @ Json::Object(_)) = arguments.remove("context") else { return Err(wrong()) };
    let context: Context = serde_json::from_value(given.clone()).map_err(|error| {
        Error::invalid("bad-arguments", format!("the context of `{WITH_CONTEXT}` makes no sense: {error}"))
    })?;
    let env = env.clone().with_context(context);
    if !env.knows_language() {
        return Err(Error::invalid(
            "unknown-language",
            format!("unknown language `{}`; use an installed one", env.lang),
        ));
    }
    env.allowed_companies()?;
    Ok((env, Options::from_context(&given)))
}
