//! Where records live: the embedded SQLite backend.

pub mod env;
pub mod rights;
