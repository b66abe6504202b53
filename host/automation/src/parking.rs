//! A run that waits for somebody's yes has sent nothing. Once it has staged what policy wants a yes for, no request that
//! changes something elsewhere is sent; once one was sent, in this try or an earlier one, nothing such is staged.

use std::sync::atomic::{AtomicBool, Ordering};

use triggerbox_model::{
    call::Call,
    error::Error,
    grants::{GrantOperation, Need, Policy},
};

/// How far one try of a run is, all of its scripts together, where policy may want a yes for a part of it.
#[derive(Debug)]
pub struct Parking {
    /// An agent works in the rule.
    is_agent: bool,
    /// Something is staged that waits for a yes.
    waits: AtomicBool,
    /// A request was sent that changes something elsewhere, or may have been.
    sent: AtomicBool,
}

impl Parking {
    /// Of a rule with an agent or without, whose run has sent something in an earlier try, or has not. None: policy wants no yes
    /// for whatever it does.
    pub(crate) fn new(policy: &Policy, is_agent: bool, sent: bool) -> Option<Self> {
        let wants = GrantOperation::ALL.into_iter().any(|operation| policy.wants_yes(operation, is_agent));
        wants.then(|| Self { is_agent, waits: AtomicBool::new(false), sent: AtomicBool::new(sent) })
    }

    /// The operation of a call that policy wants a yes for, if it stages one. What may delete records counts as if it did.
    pub(crate) fn wanted(&self, policy: &Policy, call: &Call, needs: &[Need]) -> Option<GrantOperation> {
        if matches!(call, Call::HasAccess { .. }) {
            return None;
        }
        let operations = needs.iter().map(|need| need.operation).filter(|operation| *operation != GrantOperation::Read);
        operations.into_iter().find(|operation| policy.wants_yes(*operation, self.is_agent))
    }

    /// Whether something that wants a yes may be staged.
    pub(crate) fn may_stage(&self, operation: GrantOperation) -> Result<(), Error> {
        if self.sent.load(Ordering::Relaxed) { Err(sent_already(&format!("`{operation}`"))) } else { Ok(()) }
    }

    /// Whether a request that changes something elsewhere may be sent.
    pub(crate) fn may_send(&self, method: &str) -> Result<(), Error> {
        if !self.waits.load(Ordering::Relaxed) {
            return Ok(());
        }
        let text = format!(
            "policy wants somebody's yes for what this run has staged: until then it sends no {method}; send it in a rule of \
             its own, which fires on the change"
        );
        Err(Error::unavailable("http-not-sent", text))
    }

    /// Whether something is staged that waits for a yes.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Something is, or is not any more.
    pub(crate) fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Relaxed);
    }

    /// A request was sent.
    pub(crate) fn set_sent(&self) {
        self.sent.store(true, Ordering::Relaxed);
    }
}

/// Why a run that has sent a request does not wait for a yes.
pub(crate) fn sent_already(what: &str) -> Error {
    let text = format!(
        "policy wants somebody's yes for {what}, and this run has sent a request that changes something elsewhere: what waits \
         for a yes belongs into a rule of its own"
    );
    Error::denied("sent-already", text)
}
