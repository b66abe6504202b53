//! Named places around a commit where a test can have the process killed. Nothing in a normal build.

/// Every place, in the order in which a commit passes them.
#[cfg(feature = "failpoints")]
pub const ALL: [&str; 6] =
    ["begun", "compared", "effect-applied", "before-commit", "after-commit", "between-transactions"];

/// Notes in the file named by `TRIGGERBOX_FAILPOINT_TRACE` that the process has come here. Dies here, if this is the
/// place named by `TRIGGERBOX_FAILPOINT`, at the visit numbered by `TRIGGERBOX_FAILPOINT_AT` (1 for the first).
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::{
        fs::File,
        os::unix::fs::FileExt,
        sync::{LazyLock, Mutex, PoisonError},
    };
    /// Where it is noted, and how often the process has come to the place of its death.
    static TRACE: LazyLock<Mutex<(Option<File>, u64)>> = LazyLock::new(|| {
        Mutex::new((std::env::var_os("TRIGGERBOX_FAILPOINT_TRACE").and_then(|path| File::create(path).ok()), 0))
    });

    // Held over the death: no other thread notes where it has come to meanwhile.
    let mut held = TRACE.lock().unwrap_or_else(PoisonError::into_inner);
    let (trace, visits) = &mut *held;
    if let Some(trace) = trace {
        // One write of fixed length: the note is whole whenever the process dies. A lost one makes the histogram coarser.
        let _ = trace.write_all_at(format!("{name:<32}").as_bytes(), 0);
    }
    if std::env::var("TRIGGERBOX_FAILPOINT").as_deref() != Ok(name) {
        return;
    }
    let at = std::env::var("TRIGGERBOX_FAILPOINT_AT").ok().and_then(|at| at.parse().ok()).unwrap_or(1);
    *visits += 1;
    if *visits == at {
        // As `kill -9`: no destructor runs, nothing is flushed.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn hit(_name: &str) {}

/// A commit that is broken on purpose, to show that the kill test's checker finds it: two transactions for one change set.
#[cfg(feature = "failpoints")]
pub(crate) fn break_in_two(conn: &rusqlite::Connection) -> rusqlite::Result<()> {
    if std::env::var_os("TRIGGERBOX_BROKEN_COMMIT").is_some() {
        conn.execute_batch("COMMIT")?;
        hit("between-transactions");
        conn.execute_batch("BEGIN IMMEDIATE")?;
    }
    Ok(())
}
