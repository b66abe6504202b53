//! A rule: what happened, under which condition, and what is done then. Its TOML form is the file that people keep
//! in Git; its JSON form is what the API speaks.

pub mod action;
pub mod apply;
pub mod caps;
pub mod check;
pub mod diff;
pub mod file;
pub mod model_change;
pub mod schema;
pub mod stored;
pub mod trigger;
mod unknown;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    action::{Action, ScriptRef, Version},
    caps::Caps,
    check::{Finding, Ground, Severity, check},
    trigger::Trigger,
};

/// One rule, as it is configured. Everything but name, trigger and actions has a default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// The rule's key: lower-case letters, digits and dashes, at most 64. Runs, state and grants go by it.
    pub name: String,
    /// What people call it; the name when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Why the rule is there, for the people who come after.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notes: String,
    /// The model that it is bound to. Only schedules, webhooks and what is run by hand may have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Inactive rules never fire.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub active: bool,
    /// What fires it.
    pub trigger: Trigger,
    /// Only records that matched this domain before the change. Not judged for new records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_domain: Option<String>,
    /// Only records that match this domain after the change (of deleted ones: their last values).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Judge `domain` again when the run starts: a record that no longer matches is left out.
    #[serde(default, skip_serializing_if = "is_no")]
    pub judge_again: bool,
    /// What is done, in order. The last result that is not empty is the rule's.
    pub actions: Vec<Action>,
    /// Sign-in name of the user whose rights the actions have; the rule's owner when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
    /// Not bound by that user's rights, across all companies. Grants, policy and limits still bind it.
    #[serde(default, skip_serializing_if = "is_no")]
    pub superuser: bool,
    /// What becomes of the changes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// One run for all records of a fire, or one for each.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dispatch: Dispatch,
    /// Where the records come from when the event brings none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Per-record dispatch runs for the first this many records of a fire; 0: all of them.
    #[serde(default = "hundred", skip_serializing_if = "is_hundred")]
    pub max_records: u32,
    /// A fire on a record waits this many seconds, and further fires on it meanwhile join it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub debounce: u32,
    /// Runs of this rule at once; the class's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Whether changes are committed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub environment: Environment,
    /// What a `before` rule that breaks does to the caller's write.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_error: OnError,
    /// The next run on the same record is given the last text and the tool log of the one before.
    #[serde(default, skip_serializing_if = "is_no")]
    pub chain: bool,
    /// What the runs on one record may use of language models together; of a rule that is not chained, each run by itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub caps: Caps,
}

impl Rule {
    /// For how many records of one fire it has runs of their own.
    #[must_use]
    pub fn most_records(&self) -> usize {
        match self.max_records {
            0 => usize::MAX,
            most => usize::try_from(most).unwrap_or(usize::MAX),
        }
    }
}

/// What becomes of a run's changes; the strictest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They are kept as a proposal and never applied.
    Recommend,
    /// They wait for somebody to approve them.
    Approve,
    /// They are applied, unless policy wants them approved.
    #[default]
    Auto,
}

/// How the records of one fire become runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Dispatch {
    /// One run with all records.
    #[default]
    Single,
    /// One run for each record.
    PerRecord,
}

/// Where the records come from when neither the event nor the caller names any.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Those of the rule's model that match.
    Domain(String),
    /// Those that a script answers to `select-records`.
    #[schema(value_type = String)]
    Script(ScriptRef),
}

/// Whether a rule is in earnest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Environment {
    /// Changes are committed.
    #[default]
    Live,
    /// Runs on live events and commits nothing.
    Test,
}

/// What a broken `before` rule does to the write that it stands before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// The write is refused.
    #[default]
    Refuse,
    /// The write goes on without the rule.
    Pass,
}

fn yes() -> bool {
    true
}

fn is_yes(flag: &bool) -> bool {
    *flag
}

fn is_no(flag: &bool) -> bool {
    !*flag
}

fn hundred() -> u32 {
    100
}

fn is_hundred(number: &u32) -> bool {
    *number == 100
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
