//! A few values that a rule keeps from run to run. Staged and applied like any change.

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, bindings::triggerbox::automation::state as host, model::parse_json};

/// The value kept under a key, if there is one.
///
/// ```no_run
/// # use triggerbox::{prelude::*, state};
/// # fn run() -> Result<()> {
/// let seen: u32 = state::get("seen")?.unwrap_or(0);
/// state::set("seen", &(seen + 1))?;
/// # Ok(()) }
/// ```
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    host::get(key)?.map(|json| parse_json(&json)).transpose()
}

/// Stages a value under a key, as JSON.
pub fn set<T: Serialize>(key: &str, value: &T) -> Result<(), Error> {
    let json = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Invalid, "bad-json", format!("state \"{key}\": {error}")))?;
    host::set(key, Some(&json))
}

/// Stages that the key is gone.
pub fn remove(key: &str) -> Result<(), Error> {
    host::set(key, None)
}
