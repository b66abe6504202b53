//! Where records live: the embedded SQLite backend.
//!
//! | module | what it does |
//! |---|---|
//! | [`db`] | the database file: create, open, transactions, what can go wrong with it |
//! | [`models`] | the models and rights that come with the program |
//! | [`demo`] | the demo company |
//! | [`written`] | records as people write them |
//! | [`env`] | on whose behalf something is read or written |
//! | [`rights`] | who may do what |
//! | [`group`] | groups with aggregates |
//! | [`ddl`] | tables and indexes of a schema |
//! | [`load`] | whole data sets in and out |
//! | [`query`] | search, read, names |
//! | [`write`] | create, write, delete, copy, and what follows from it |
//! | [`chatter`] | messages, followers, activities, tracking |
//! | [`methods`] | business methods that scripts call by name |
//! | [`session`] | a run's host calls, answered and staged |
//! | [`overlay`] | a run's view: staged changes over committed records |
//! | [`commit`] | a change set applied as one transaction |
//! | [`diff`] | changes in words |

pub mod chatter;
pub mod commit;
mod context;
pub mod db;
pub mod ddl;
pub mod demo;
pub mod diff;
mod effect;
pub mod env;
#[cfg(feature = "failpoints")]
pub mod failpoint;
#[cfg(not(feature = "failpoints"))]
mod failpoint;
pub mod group;
pub mod load;
pub mod mention;
pub mod methods;
pub mod models;
mod names;
pub mod overlay;
pub mod query;
mod remap;
pub mod rights;
mod seen;
pub mod session;
mod shared;
pub mod write;
pub mod written;
pub mod xmlid;
