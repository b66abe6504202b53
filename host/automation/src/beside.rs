//! What is written beside the changes that a task makes, in their own transactions: it is there if they are, and only then.

use std::sync::Arc;

use rusqlite::Connection;
use triggerbox_store::db::DbError;

/// Something that is written beside changes.
pub trait Beside: Send + Sync {
    /// Writes it, in a transaction that changes something. If it cannot be written, nothing is changed.
    ///
    /// # Errors
    /// What the database says.
    fn write(&self, conn: &Connection) -> Result<(), DbError>;

    /// What the task changes next is something else than what was asked for: what it is called, `approval-met-conflict`, and a
    /// few words. It is written with that transaction in place of what would have been, which is written with a later one, if
    /// there is one.
    fn became(&self, _what: &'static str, _why: &str) {}

    /// The transaction is committed.
    fn kept(&self) {}
}

type All = Vec<Arc<dyn Beside>>;

tokio::task_local! {
    static CURRENT: All;
}

/// Does work; what it commits is committed together with this, beside what its task writes already.
pub async fn with<T>(more: Arc<dyn Beside>, work: impl Future<Output = T>) -> T {
    let mut all = current();
    all.push(more);
    CURRENT.scope(all, work).await
}

/// Does work that nothing is written beside: it is kept whatever becomes of the request.
pub(crate) async fn apart<T>(work: impl Future<Output = T>) -> T {
    CURRENT.scope(All::new(), work).await
}

/// Does work that is not given up with whoever waits for it, in a task of its own that writes beside its changes what this one
/// does.
pub(crate) async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(CURRENT.scope(current(), work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}

/// What the current task writes.
pub(crate) fn current() -> All {
    CURRENT.try_with(Clone::clone).unwrap_or_default()
}

/// Says what the next change is, where it is something else than what was asked for.
pub(crate) fn became(all: &[Arc<dyn Beside>], what: &'static str, why: &str) {
    all.iter().for_each(|one| one.became(what, why));
}
