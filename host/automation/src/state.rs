//! What the engine remembers, in the database file.

pub mod tables;
