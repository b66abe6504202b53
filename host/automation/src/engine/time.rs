//! What the clock fires.

use jiff::Timestamp;

use super::Engine;
use crate::error::EngineError;

impl Engine {
    /// Fires what the clock makes due. Returns how many runs that made.
    ///
    /// # Errors
    /// What the database says.
    pub async fn tick(&self) -> Result<usize, EngineError> {
        Ok(0)
    }

    /// When the clock fires something next.
    pub(super) fn next_tick(&self) -> Option<Timestamp> {
        None
    }
}
