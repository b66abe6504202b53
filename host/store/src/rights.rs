//! Who may do what: access per model and operation, record rules, field groups.

/// All rights of a backend.
#[derive(Debug, Clone, Default)]
pub struct Rights {}
