//! The scripts that come with the program: what a rule can do without anybody writing code. They are components like any
//! other; only what they ask for is not in their manifests but in the rule's parameters.

use std::sync::LazyLock;

use guest_artifacts::{AI_AGENT, CALL_WEBHOOK, CREATE_RECORD, Guest, NOTIFY, UPDATE_RECORD};
use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_model::{grants::Grants, schema::Schema};
use triggerbox_sandbox::inspect;

use super::{binding, registry, registry::RegistryError, upload, upload::Upload};
use crate::{people::SYSTEM, rule::Action};

mod derive;

use derive::Derived;

/// What the program brings along.
const GUESTS: [&Guest; 5] = [&UPDATE_RECORD, &CREATE_RECORD, &NOTIFY, &CALL_WEBHOOK, &AI_AGENT];

static UPLOADS: LazyLock<Result<Vec<Upload>, String>> = LazyLock::new(|| {
    let upload = |guest: &&Guest| {
        let manifest = guest.manifest.ok_or_else(|| format!("{} has no manifest", guest.name))?;
        let component = inspect::embed_manifest(guest.component, manifest).map_err(|error| error.to_string())?;
        upload::inspect(component).map_err(|error| format!("{}: {error}", guest.name))
    };
    GUESTS.iter().map(upload).collect()
});

/// Whether a script comes with the program. Nobody can upload one of that name.
#[must_use]
pub fn is_ready_made(name: &str) -> bool {
    GUESTS.iter().any(|guest| guest.name == name)
}

/// Puts the program's scripts among the others, in the caller's transaction. A newer program's version becomes the
/// active one, under the same terms as any other.
///
/// # Errors
/// What the database says.
pub fn install(conn: &Connection, schema: &Schema, now: Timestamp) -> Result<(), RegistryError> {
    let damaged = |problem: &String| RegistryError::Damaged { name: "ready-made".to_owned(), problem: problem.clone() };
    for upload in UPLOADS.as_ref().map_err(damaged)? {
        let known = registry::version(conn, upload.hash, &upload.manifest.script.name).is_ok();
        if !known {
            let version = registry::insert(conn, upload, SYSTEM, now)?;
            if !version.active {
                binding::activate(conn, schema, &version, SYSTEM, now)?;
            }
        }
    }
    Ok(())
}

/// What an action with one of these scripts asks for: what its parameters name. None: it is another script.
///
/// What the parameters do not say, because they are wrong, is not asked for: the script fails at it.
#[must_use]
pub fn asks(schema: &Schema, model: Option<&str>, action: &Action) -> Option<Grants> {
    derive(schema, model, action).map(Derived::grants)
}

/// Where such an action sends requests to.
#[must_use]
pub fn address(action: &Action) -> Option<&str> {
    let address = action.parameters.get("url").map(String::as_str);
    address.filter(|_| action.script.name == "call-webhook")
}

/// What is wrong with the parameters of such an action, each with the parameter's name: fields that do not exist, texts
/// that do not parse.
#[must_use]
pub fn misfits(schema: &Schema, model: Option<&str>, action: &Action) -> Vec<(String, String)> {
    derive(schema, model, action).map(|derived| derived.wrong).unwrap_or_default()
}

fn derive<'s>(schema: &'s Schema, model: Option<&'s str>, action: &Action) -> Option<Derived<'s>> {
    let parameter = |name: &str| action.parameters.get(name).map_or("", String::as_str);
    let mut derived = Derived::new(schema, model);
    match action.script.name.as_str() {
        "update-record" => derived.update(parameter("target"), parameter("values")),
        "create-record" => {
            derived.create(parameter("model"), parameter("values"), parameter("once"), parameter("link"));
        }
        "notify" => {
            let texts = ["text", "subject", "partners", "user"].map(|name| (name, parameter(name)));
            derived.notify(parameter("how"), &texts);
        }
        "call-webhook" => derived.send(parameter("fields")),
        _ => return None,
    }
    Some(derived)
}
