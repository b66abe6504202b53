//! What an operator sets about the engine. Every setting has a default.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use triggerbox_llm::Services;
use triggerbox_model::{
    grants::Policy,
    limits::{Class, LimitRequest},
    value::Id,
};
use triggerbox_sandbox::{Cache, Compiler, ContentHash, Script};

use crate::{policy::Parts, rule::Caps};

/// The demo company's and Odoo's first administrator (`base.user_admin`).
const ADMINISTRATOR: Id = 2;

/// The settings of one engine.
#[derive(Debug, Clone)]
pub struct Config {
    /// What nobody's script may do unless a rule grants it by name.
    pub policy: Policy,
    /// What of it the operator's file says: administrators set the rest while the server runs.
    pub fixed: Parts,
    /// Limits of this host, for every run.
    pub limits: LimitRequest,
    /// Runs that work at once, in all.
    pub workers: usize,
    /// Runs that wait for a language model or another service at once, besides those.
    pub waiting: usize,
    /// Whose rights a rule has when its owner is no longer active.
    pub administrator: Id,
    /// Failures in a row after which a rule is paused; 0: never.
    pub pause_after: u32,
    /// Which runs keep the answers to their host calls.
    pub journal: Journal,
    /// How long a change set waits for a yes, in hours.
    pub approval_hours: u32,
    /// How long the past is kept.
    pub retention: Retention,
    /// How uploaded components are compiled.
    pub compile: Compile,
    /// Language models and other services that runs may ask, until others are set; none: there are none.
    pub outside: Option<Arc<Services>>,
    /// Whom nobody has said how to ask: runs of rules that ask them stay in the queue.
    pub unserved: Unserved,
    /// What each session of runs with language models may use, where neither rule nor agent says it.
    pub caps: Caps,
    /// What links in notes start with: the address at which people reach this server; empty: links without a host.
    pub links: String,
    /// The Odoo server that the records are on; none: they are in the database.
    pub odoo: Option<Arc<triggerbox_odoo::Backend>>,
    /// Where the engine's random numbers start from: run ids, seeds of runs, jitter. Drawn when there is none.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            fixed: Parts::default(),
            limits: LimitRequest::default(),
            workers: 16,
            waiting: 1_000,
            administrator: ADMINISTRATOR,
            pause_after: 5,
            journal: Journal::default(),
            approval_hours: 72,
            retention: Retention::default(),
            compile: Compile::InProcess,
            outside: None,
            unserved: Unserved::default(),
            caps: Caps::default(),
            links: String::new(),
            odoo: None,
            seed: None,
        }
    }
}

/// Whom an engine does not know how to ask, though another one for the same database may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unserved {
    /// Language models.
    pub models: bool,
    /// Other services.
    pub services: bool,
}

impl Unserved {
    /// Whether there is anybody.
    #[must_use]
    pub fn any(self) -> bool {
        self.models || self.services
    }
}

/// How long the past is kept; nothing: for ever. Runs that are not over are always kept. Dead ones, and those whose outcome is
/// unknown, somebody may have to see to: only days let them go, and at least 365.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Retention {
    /// Runs with everything that belongs to them, in days.
    pub days: Option<u32>,
    /// Journals, in days.
    pub journal_days: Option<u32>,
    /// Runs of each rule.
    pub runs_per_rule: Option<u32>,
    /// Bytes of each rule's requests, reports, logs, journals and conversations.
    pub bytes_per_rule: Option<u64>,
    /// Keys of deliveries and requests, and times that were met, by which repeated ones are told, in days.
    pub seen_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            days: Some(90),
            journal_days: Some(30),
            runs_per_rule: Some(100_000),
            bytes_per_rule: Some(1 << 30),
            seen_days: 7,
        }
    }
}

/// Which runs keep the answers to their host calls. Paid and outside calls are always kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Journal {
    /// None.
    Off,
    /// One run in so many, in full.
    Sampled(u32),
    /// All, so that all can be replayed.
    #[default]
    All,
}

/// How uploaded components are compiled.
#[derive(Debug, Clone, Default)]
pub enum Compile {
    /// In this process, without bounds on time and memory: for components that the operator trusts, and for tests.
    #[default]
    InProcess,
    /// The same, and kept for all engines on one sandbox: for tests with many.
    Kept(Arc<Kept>),
    /// In a bounded child process, and kept in a cache.
    Bounded(Arc<Bounded>),
}

/// Components that were compiled, for engines on one sandbox.
#[derive(Default)]
pub struct Kept(pub(crate) tokio::sync::Mutex<HashMap<ContentHash, Script>>);

/// The child process that compiles, and where its work is kept.
pub struct Bounded {
    /// The child.
    pub compiler: Compiler,
    /// The cache, if there is one.
    pub cache: Option<Cache>,
}

/// Runs of one rule at once, where the rule says nothing.
#[must_use]
pub fn concurrency(class: Class) -> u32 {
    match class {
        Class::Sync | Class::Async => 10,
        Class::Batch => 1,
        Class::Agent => 5,
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").field("compiler", &self.compiler).finish_non_exhaustive()
    }
}
