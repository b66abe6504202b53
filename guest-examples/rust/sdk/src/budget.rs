//! What the run may still use.

use crate::bindings::triggerbox::automation::budget as host;

/// How much is left of a limit, by its name (`fuel`, `host-calls`, `llm-cost`…); none for an unknown name.
pub fn remaining(limit: &str) -> Option<f64> {
    host::remaining(limit)
}
