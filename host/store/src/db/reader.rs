//! A connection that reads, and gives up what takes too long: SQLite is interrupted here and nowhere else.
//!
//! Only reading connections are interrupted. A statement that writes takes its whole transaction with it, and on the writing
//! connection that holds other people's changes, too.

use std::{
    ops::Deref,
    os::raw::c_int,
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Instant,
};

use rusqlite::Connection;

use super::{DbError, lock_mutex};

/// Instructions of SQLite's machine between two looks at the clock. Functions of our own count as one instruction each, however
/// long they take: a scan calls one some twenty times between two looks, and the longest takes milliseconds.
const LOOK_EVERY: c_int = 200;

/// A read connection.
#[derive(Debug)]
pub(super) struct Reader {
    conn: Connection,
    /// When its statements are given up; none: never.
    until: Arc<Mutex<Option<Instant>>>,
}

impl Reader {
    pub(super) fn new(mut conn: Connection) -> Result<Self, DbError> {
        let until = Arc::new(Mutex::new(None));
        let watched = Arc::clone(&until);
        let is_over = move || lock_mutex(&watched).is_some_and(|until| Instant::now() >= until);
        conn.progress_handler(LOOK_EVERY, Some(is_over))?;
        Ok(Self { conn, until })
    }

    /// From now on statements fail with [`DbError::OutOfTime`] when it is later than this.
    pub(super) fn give_up_at(&self, until: Option<Instant>) {
        *lock_mutex(&self.until) = until;
    }

    /// See [`super::Snapshot::count_work`].
    pub(super) fn count_work(&mut self, step: u16, counter: Arc<AtomicU64>) -> Result<(), DbError> {
        use std::sync::atomic::Ordering;

        let count = move || {
            counter.fetch_add(u64::from(step), Ordering::Relaxed);
            false
        };
        Ok(self.conn.progress_handler(step.into(), Some(count))?)
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.conn
    }
}
