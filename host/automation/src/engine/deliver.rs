//! Deliveries from outside: each fires its rule once, however often it arrives.

use std::sync::Arc;

use triggerbox_model::{event::Trigger, value::Id};

use super::Engine;
use crate::{
    error::EngineError,
    runs::RunId,
    seen::{self, Known},
};

/// Where it is known what was delivered to a rule.
pub(crate) fn deliveries(rule: &str) -> String {
    format!("hook:{rule}")
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The runs that it caused, now or when it first arrived.
    pub runs: Vec<RunId>,
    /// It had arrived before.
    pub repeated: bool,
}

impl Engine {
    /// Fires a rule on the word of another system, as the rule's owner: once for each key, in the transaction that takes it.
    ///
    /// # Errors
    /// As [`Engine::fire`].
    pub async fn deliver(
        &self,
        rule: &str,
        trigger: Trigger,
        records: Vec<Id>,
        key: &str,
    ) -> Result<Delivered, EngineError> {
        let (shared, name, key) = (Arc::clone(&self.inner.shared), rule.to_owned(), key.to_owned());
        let delivered = self
            .committer()
            .commit(move |conn| {
                let scope = deliveries(&name);
                let known = seen::take(conn, &scope, &key, shared.now())?;
                if known != Known::New {
                    let answer = if let Known::Taken(answer) = known { answer } else { None };
                    let runs = answer.map(|json| serde_json::from_str(&json)).transpose()?.unwrap_or_default();
                    return Ok(Delivered { runs, repeated: true });
                }
                let owner = shared.rules(conn)?.rule(&name)?.owner;
                let runs = shared.fire(conn, &name, owner, trigger, records)?;
                seen::answer(conn, &scope, &key, &serde_json::to_string(&runs)?)?;
                Ok::<_, EngineError>(Delivered { runs, repeated: false })
            })
            .await?;
        self.inner.wake.notify_one();
        Ok(delivered)
    }
}
