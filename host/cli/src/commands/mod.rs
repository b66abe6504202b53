//! One module for each command.

pub(crate) mod agents;
pub(crate) mod approvals;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod database;
pub(crate) mod db;
pub(crate) mod demo;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod limits;
pub(crate) mod new;
pub(crate) mod odoo;
pub(crate) mod outside;
pub(crate) mod replay;
pub(crate) mod rules;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod script;
pub(crate) mod scripts;
pub(crate) mod serve;
mod server;
pub(crate) mod test;
pub(crate) mod threads;
pub(crate) mod token;
pub(crate) mod watch;
pub(crate) mod workshop;
