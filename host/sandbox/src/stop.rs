//! What ends a run from the host's side. It travels through the engine as an error, which no script can catch.

use triggerbox_model::limits::Limit;

use crate::host::HostFault;

/// Why the host ends a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// A limit is passed; the meter knows the numbers.
    #[error("limit exceeded: {0}")]
    Limit(Limit),
    /// The host cannot go on.
    #[error(transparent)]
    Host(#[from] HostFault),
}

impl From<triggerbox_model::limits::Breach> for Stop {
    fn from(breach: triggerbox_model::limits::Breach) -> Self {
        Self::Limit(breach.limit)
    }
}
