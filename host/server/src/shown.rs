//! What a form was made from: who saves it later overwrites nothing that others changed meanwhile.

use axum::http::StatusCode;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// The field of a form that says it.
pub(crate) const FIELD: &str = "version";

/// What a form carries of what it shows, told in words.
#[must_use]
pub(crate) fn version(words: &str) -> String {
    Sha256::digest(words.as_bytes()).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Refuses a form that shows something else than what is so now. Who says no version has looked at no form.
///
/// # Errors
/// `another-version`
pub(crate) fn is_still(seen: Option<&str>, words: &str) -> Result<(), Problem> {
    if seen.is_none_or(|seen| seen == version(words)) {
        return Ok(());
    }
    let text = "somebody changed it meanwhile; load the page again and make your change anew";
    Err(Problem::new(StatusCode::CONFLICT, "another-version", text))
}
