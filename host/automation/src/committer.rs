//! All writes to the file, one after the other: a thread that runs each job in a savepoint of its own and commits as many
//! as have gathered with one `fsync`. A job that fails is rolled back alone. Callers hear of it after the commit.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};
use triggerbox_model::error::Error;
use triggerbox_store::db::{Database, DbError};

use crate::beside;

/// Jobs in one transaction. What comes later waits for the next one.
const MOST_JOBS: usize = 256;

/// A transaction takes no further jobs after this: the first caller waits no longer than this for others.
const LONGEST: Duration = Duration::from_millis(20);

/// Hands jobs to the thread that writes. Dropping it ends the thread, after what was handed in.
#[derive(Debug)]
pub struct Committer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    commits: watch::Sender<u64>,
}

/// One piece of work on the writing connection.
trait Job: Send {
    /// Does it. Whether it is to be kept.
    fn run(&mut self, conn: &Connection) -> bool;

    /// Whether it may change records.
    fn changes_records(&self) -> bool;

    /// Tells the caller what became of it.
    fn tell(self: Box<Self>, committed: Result<(), DbError>);
}

struct Task<F, H, T, E> {
    work: Option<F>,
    then: H,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
    changes_records: bool,
}

impl<F, H, T, E> Job for Task<F, H, T, E>
where
    F: FnOnce(&Connection) -> Result<T, E> + Send,
    H: FnOnce(&mut T) + Send,
    T: Send,
    E: From<DbError> + Send,
{
    fn run(&mut self, conn: &Connection) -> bool {
        self.result = self.work.take().map(|work| work(conn));
        matches!(self.result, Some(Ok(_)))
    }

    fn changes_records(&self) -> bool {
        self.changes_records
    }

    fn tell(self: Box<Self>, committed: Result<(), DbError>) {
        let result = match (self.result, committed) {
            // What the job itself says is more to the point than what the transaction says.
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.into()),
            (Some(Ok(mut value)), Ok(())) => {
                (self.then)(&mut value);
                Ok(value)
            }
            (None, Ok(())) => Err(gone().into()),
        };
        // A caller that no longer waits does not want to know.
        let _ = self.reply.send(result);
    }
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(database: Database) -> Result<Self, DbError> {
        let (jobs, queue) = mpsc::channel();
        let commits = watch::Sender::new(0);
        let told = commits.clone();
        let work = move || serve(&database, &queue, &told);
        let thread = thread::Builder::new().name("committer".to_owned()).spawn(work)?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), commits })
    }

    /// Has `work` done in the next transaction. It is kept if `work` succeeds; together with what the task writes beside its
    /// changes ([`beside::with`]).
    ///
    /// # Errors
    /// What `work` says; what the database says.
    pub async fn commit<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.commit_then(work, |_| ()).await
    }

    /// The same; once it is committed, `then` is done at once, whether or not the caller still waits.
    pub(crate) async fn commit_then<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&mut T) + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let beside = beside::current();
        let kept = beside.clone();
        let work = move |conn: &Connection| {
            let value = work(conn)?;
            for one in &beside {
                one.write(conn)?;
            }
            Ok::<_, E>(value)
        };
        let then = move |value: &mut T| {
            kept.iter().for_each(|one| one.kept());
            then(value);
        };
        self.submit(true, work, then).await.unwrap_or_else(|_| Err(gone().into()))
    }

    /// The same for work that changes no records, only what the engine keeps beside them: runs that have read records need
    /// not compare them after it.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub async fn commit_beside<T, E>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(false, work, |_| ()).await.unwrap_or_else(|_| Err(gone().into()))
    }

    /// The same, from outside of any async runtime.
    ///
    /// # Errors
    /// As [`Committer::commit`].
    pub fn commit_blocking<T, E>(&self, work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        self.submit(true, work, |_| ()).blocking_recv().unwrap_or_else(|_| Err(gone().into()))
    }

    /// Tells of each commit: for whoever shows what is there.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }

    fn submit<T, E>(
        &self,
        changes_records: bool,
        work: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        then: impl FnOnce(&mut T) + Send + 'static,
    ) -> oneshot::Receiver<Result<T, E>>
    where
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        if let Some(jobs) = &self.jobs {
            // If the thread is gone, so is the reply, and the caller is told so.
            let _ = jobs.send(Box::new(Task { work: Some(work), then, result: None, reply, changes_records }));
        }
        answer
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            // It catches panics of jobs; one of its own has nothing left to say.
            let _ = thread.join();
        }
    }
}

fn gone() -> DbError {
    DbError::Failed { why: "the writing thread does not answer; restart the server".to_owned() }
}

fn serve(database: &Database, queue: &mpsc::Receiver<Box<dyn Job>>, commits: &watch::Sender<u64>) {
    while let Ok(first) = queue.recv() {
        let mut jobs = vec![first];
        let committed = database.transaction_beside(|conn, records| {
            let started = Instant::now();
            let mut next = 0;
            while let Some(job) = jobs.get_mut(next) {
                if job.changes_records() {
                    records.change();
                }
                in_savepoint(conn, job.as_mut())?;
                next += 1;
                if next < MOST_JOBS && started.elapsed() < LONGEST {
                    jobs.extend(queue.try_recv().ok());
                }
            }
            crate::failpoint::hit("mid-commit");
            Ok::<_, DbError>(())
        });
        crate::failpoint::hit("before-acknowledgement");
        let failure = committed.err().map(Error::from);
        commits.send_modify(|count| *count += 1);
        for job in jobs {
            job.tell(match &failure {
                None => Ok(()),
                Some(error) => {
                    Err(DbError::behind(error).unwrap_or_else(|| DbError::Failed { why: error.to_string() }))
                }
            });
        }
    }
}

fn in_savepoint(conn: &Connection, job: &mut dyn Job) -> Result<(), DbError> {
    conn.execute_batch("SAVEPOINT job")?;
    // A job that panics is one that fails: the thread lives on for the others.
    let kept = catch_unwind(AssertUnwindSafe(|| job.run(conn))).unwrap_or(false);
    if conn.is_autocommit() {
        // SQLite gave the whole transaction up (a full disk): with it went the jobs before this one.
        return Err(DbError::Failed { why: "the transaction was given up by the database".to_owned() });
    }
    conn.execute_batch(if kept { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database::demo_in_memory("2026-11-21T10:15:00Z".parse().unwrap()).unwrap()
    }

    fn insert(key: &'static str) -> impl FnOnce(&Connection) -> Result<usize, DbError> + Send {
        move |conn| Ok(conn.execute("INSERT INTO tb_meta (key, value) VALUES (?1, '1')", [key])?)
    }

    fn count(database: &Database) -> u32 {
        let sql = "SELECT count(*) FROM tb_meta WHERE key LIKE 'test-%'";
        database.snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_job_that_fails_is_rolled_back_alone() {
        let database = database();
        let committer = Committer::start(database.clone()).unwrap();
        // Holds the thread until all jobs wait, so that they become one transaction.
        let (go, wait) = mpsc::channel::<()>();
        let wait = move |_: &Connection| {
            wait.recv().ok();
            Ok::<_, DbError>(())
        };
        let held = committer.submit(true, wait, |()| ());
        // Told to those whose work is kept, before they hear of it themselves.
        let (kept, told) = mpsc::channel();
        let tell = |name: &'static str| {
            let kept = kept.clone();
            move || kept.send(name).unwrap()
        };
        let [good, bad, panics, last] = ["good", "bad", "panics", "last"].map(tell);
        let good = committer.submit(true, insert("test-a"), move |_| good());
        let fail = |conn: &Connection| {
            conn.execute("INSERT INTO tb_meta (key, value) VALUES ('test-b', '1')", [])?;
            Err::<(), _>(DbError::TooBig)
        };
        let bad = committer.submit(true, fail, move |()| bad());
        let panics = committer.submit(true, |_| -> Result<(), DbError> { panic!("on purpose") }, move |()| panics());
        let last = committer.submit(true, insert("test-c"), move |_| last());
        go.send(()).unwrap();
        held.blocking_recv().unwrap().unwrap();
        assert_eq!(good.blocking_recv().unwrap().unwrap(), 1);
        assert_eq!(bad.blocking_recv().unwrap().unwrap_err().code(), "too-big");
        assert!(panics.blocking_recv().unwrap().is_err());
        assert_eq!(last.blocking_recv().unwrap().unwrap(), 1);
        assert_eq!(count(&database), 2);
        drop(kept);
        assert_eq!(told.iter().collect::<Vec<_>>(), ["good", "last"]);
    }

    #[test]
    fn what_was_handed_in_is_done_before_the_thread_ends() {
        let database = database();
        let committer = Committer::start(database.clone()).unwrap();
        let _not_waited_for = committer.submit(true, insert("test-a"), |_| ());
        drop(committer);
        assert_eq!(count(&database), 1);
    }
}
