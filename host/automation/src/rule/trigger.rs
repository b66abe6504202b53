//! What fires a rule. The names are those of Odoo's automation rules where Odoo has one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What fires a rule: `[trigger]` of its file, told apart by `on`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "on", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Trigger {
    /// A record was created.
    Created {},
    /// One of these fields really changed; any field, when there are none.
    Updated {
        /// Watched fields.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<String>,
    },
    /// Either. For a new record every field counts as changed.
    CreatedOrUpdated {
        /// Watched fields.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<String>,
    },
    /// A record was deleted; the script sees its last values.
    Deleted {},
    /// `stage_id` became this stage; any stage, when none is named.
    StageSet {
        /// The stage's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<u32>,
    },
    /// The selection `state` (or another `field`) became this value.
    StateSet {
        /// The selection's key.
        value: String,
        /// The selection field, when it is not `state`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<String>,
    },
    /// `priority` became this value.
    PrioritySet {
        /// The selection's key.
        value: String,
    },
    /// This tag was added to `tag_ids`.
    TagSet {
        /// The tag's id.
        value: u32,
    },
    /// Somebody became responsible: `user_id` or `user_ids` changed and is not empty.
    UserSet {},
    /// `active` went from true to false.
    Archived {},
    /// `active` went from false to true.
    Unarchived {},
    /// A date or datetime field comes due: that long before (negative) or after it.
    Time {
        /// The field.
        field: String,
        /// How long after; before, when negative.
        delay: i32,
        /// In what.
        unit: Unit,
        /// Whether the first look also takes up what was due before, however long ago.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        past: bool,
    },
    /// That long after the record's creation.
    AfterCreation {
        /// How long.
        delay: u32,
        /// In what.
        unit: Unit,
        /// Whether the first look also takes up what was due before, however long ago.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        past: bool,
    },
    /// That long after the record's last change.
    AfterUpdate {
        /// How long.
        delay: u32,
        /// In what.
        unit: Unit,
        /// Whether the first look also takes up what was due before, however long ago.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        past: bool,
    },
    /// A message from outside arrived on the record's chatter.
    MessageReceived {},
    /// An internal user posted a message to the record's followers.
    MessageSent {},
    /// One of these fields was edited in a form that is not saved: draft in, values and warning out.
    OnChange {
        /// The edited fields.
        fields: Vec<String>,
    },
    /// Inside the caller's write: may set values or refuse.
    Before {
        /// Which writes it stands before.
        writes: Vec<Write>,
        /// For updates: only if one of these is written; any, when there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<String>,
    },
    /// An HTTP request to the rule's address.
    Webhook {
        /// The configured secret that signs requests.
        secret: String,
        /// JSON pointer, in the body, of a text by which repeated deliveries are told: `/id`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dedup: Option<String>,
        /// JSON pointer, in the body, of the record's id or ids.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        records: Option<String>,
    },
    /// Somebody presses the button, on a record or on a selection.
    Manual {},
    /// A time of day comes.
    Schedule(Schedule),
}

impl Trigger {
    /// Whether changes of records fire it.
    #[must_use]
    pub fn is_on_record_change(&self) -> bool {
        match self {
            Self::Created {}
            | Self::Updated { .. }
            | Self::CreatedOrUpdated { .. }
            | Self::Deleted {}
            | Self::StageSet { .. }
            | Self::StateSet { .. }
            | Self::PrioritySet { .. }
            | Self::TagSet { .. }
            | Self::UserSet {}
            | Self::Archived {}
            | Self::Unarchived {} => true,
            Self::Time { .. }
            | Self::AfterCreation { .. }
            | Self::AfterUpdate { .. }
            | Self::MessageReceived {}
            | Self::MessageSent {}
            | Self::OnChange { .. }
            | Self::Before { .. }
            | Self::Webhook { .. }
            | Self::Manual {}
            | Self::Schedule(_) => false,
        }
    }

    /// Whether the first look takes up all that was ever due.
    #[must_use]
    pub fn takes_past(&self) -> bool {
        matches!(
            self,
            Self::Time { past: true, .. }
                | Self::AfterCreation { past: true, .. }
                | Self::AfterUpdate { past: true, .. }
        )
    }

    /// Whether the clock fires it.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        matches!(self, Self::Time { .. } | Self::AfterCreation { .. } | Self::AfterUpdate { .. } | Self::Schedule(_))
    }
}

/// A kind of write that a `before` rule stands before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Write {
    /// Creating records.
    Create,
    /// Changing records.
    Update,
    /// Deleting records.
    Delete,
}

/// Units of time. Days and longer are calendar units: of a schedule in its zone, of a rule on dates in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// 60 seconds.
    Minutes,
    /// 60 minutes.
    Hours,
    /// Calendar days.
    Days,
    /// Calendar weeks.
    Weeks,
    /// Calendar months.
    Months,
}

/// When a schedule is due. Its times are computed from this alone, never from when it ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Schedule {
    /// Every this many `unit`s from `first` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// Unit of `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
    /// Or a cron expression of five fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// IANA time zone of `first` and of the cron expression; UTC when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Civil date and time of the first slot, `2026-01-01T09:00:00`; required with `every`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// What a slot does while an earlier one still runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// Slots missed for at most this many minutes are made up for, as one run that tells how many it covers.
    #[serde(default = "a_day", skip_serializing_if = "is_a_day")]
    pub catch_up: u32,
}

/// What a slot does while an earlier one still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It is skipped, visibly.
    #[default]
    Skip,
    /// It waits its turn.
    Queue,
}

fn a_day() -> u32 {
    24 * 60
}

fn is_a_day(minutes: &u32) -> bool {
    *minutes == a_day()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
