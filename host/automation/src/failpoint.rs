//! Named places where the kill test has the process killed. Nothing in a normal build.

#[cfg(feature = "failpoints")]
pub(crate) use triggerbox_store::failpoint::hit;

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn hit(_name: &str) {}
