//! Named places where the kill test has the process killed. Nothing in a normal build.

#[cfg(feature = "failpoints")]
pub(crate) use triggerbox_store::failpoint::hit;

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn hit(_name: &str) {}

/// A ledger that is broken on purpose, to show that the kill test's checker finds it: answers of this kind are not kept.
#[cfg(feature = "failpoints")]
pub(crate) fn forgets(kind: &str) -> bool {
    let forgets = std::env::var("TRIGGERBOX_BROKEN_LEDGER").is_ok_and(|broken| broken == kind);
    if forgets {
        hit("answer-forgotten");
    }
    forgets
}
