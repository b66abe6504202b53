//! What developers and CI do with a script, without a server: try it on scenarios, judge it, run what was recorded again.
//!
//! | module | what it holds |
//! |---|---|
//! | [`scenario`] | a script's tests: what is given, what happens, what is expected |
//! | [`lint`] | judges a script: grants, manifest, size, start |
//! | [`report`] | what came of scenarios, for people, CI systems and programs |
//! | [`recording`] | runs in files: what was recorded of a run, to be run again anywhere |
//! | [`redact`] | takes what is personal out of a recording |

pub mod lint;
pub mod recording;
pub mod redact;
pub mod report;
pub mod scenario;
