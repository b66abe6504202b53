//! Where records live: the embedded SQLite backend.
//!
//! | module | what it does |
//! |---|---|
//! | [`env`] | on whose behalf something is read or written |
//! | [`rights`] | who may do what |
//! | [`ddl`] | tables and indexes of a schema |
//! | [`load`] | whole data sets in and out |

pub mod ddl;
pub mod env;
pub mod load;
pub mod query;
pub mod rights;
