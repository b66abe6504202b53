//! On whose behalf, in which language, zone and companies, and at what time something is read or written:
//! Odoo's environment.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use triggerbox_model::{schema::Schema, value::Id};

use crate::rights::Rights;

/// One environment. Cheap to clone; a run has one.
#[derive(Debug, Clone)]
pub struct Env {
    /// The models.
    pub schema: Arc<Schema>,
    /// Who may do what.
    pub rights: Arc<Rights>,
    /// The user (`res.users`).
    pub user: Id,
    /// Access rights and record rules do not apply; Odoo's `su`.
    pub superuser: bool,
    /// The user's groups, implied ones included.
    pub groups: BTreeSet<Id>,
    /// Language of translated fields and of names, `en_US`.
    pub lang: String,
    /// First day of the week for `=week_start` and week buckets: 1 Monday … 7 Sunday.
    pub week_start: i8,
    /// IANA time zone in which dates are meant; none: UTC.
    pub tz: Option<String>,
    /// Companies whose records are visible, the current one first.
    pub companies: Vec<Id>,
    /// Archived records are left out of searches that do not name the active field.
    pub active_test: bool,
    /// The time that relative dates, defaults and log-access fields go by.
    pub now: Timestamp,
}
