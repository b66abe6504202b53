//! Bringing a file up to date: its format first, then the models in it.

use rusqlite::Connection;

use super::DbError;
use crate::{ddl, models};

/// The format that this program writes (`user_version` of the file).
pub const FORMAT: u32 = 2;

/// Brings a file from one format to the next.
pub(super) type Step = fn(&Connection) -> Result<(), rusqlite::Error>;

/// The step at index `n` leads from format `n + 1` to format `n + 2`.
pub(super) const STEPS: &[Step] = &[add_indexes];

/// To format 2: indexes that were thought of later, such as that of a record's messages by date.
fn add_indexes(conn: &Connection) -> Result<(), rusqlite::Error> {
    let (schema, _) = ddl::describe(conn)?;
    ddl::add_indexes(conn, &schema)
}

/// The format of a file; 0: nobody has written one.
pub(super) fn format_of(conn: &Connection) -> Result<u32, rusqlite::Error> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies the missing steps in one transaction: afterwards the file has the newest format, or the one it had.
pub(super) fn upgrade(conn: &Connection, steps: &[Step]) -> Result<(), DbError> {
    let newest = u32::try_from(steps.len()).unwrap_or(u32::MAX).saturating_add(1);
    let found = format_of(conn)?;
    if found > newest {
        return Err(DbError::Newer { found, known: newest });
    }
    if found == newest {
        return Ok(());
    }
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let done = (|| {
        for step in steps.iter().skip(found.saturating_sub(1) as usize) {
            step(conn)?;
        }
        conn.pragma_update(None, "user_version", newest)?;
        conn.execute_batch("COMMIT")
    })();
    if let Err(error) = done {
        // The first error says what went wrong; a rollback that fails too leaves the same: nothing.
        let _ = conn.execute_batch("ROLLBACK");
        return Err(error.into());
    }
    Ok(())
}

/// Brings a database of this program's own models to their newest version, in one transaction. One that was imported
/// keeps the models that it was imported with.
pub(super) fn upgrade_models(conn: &Connection) -> Result<(), DbError> {
    let Some(found) = ddl::meta::<u32>(conn, ddl::VERSION)? else { return Ok(()) };
    if found > models::VERSION {
        return Err(DbError::NewerModels { found, known: models::VERSION });
    }
    if found == models::VERSION {
        return Ok(());
    }
    let newest = models::base().map_err(DbError::Data)?;
    conn.execute_batch("BEGIN IMMEDIATE")?;
    match ddl::upgrade(conn, &newest.schema, &newest.rights, models::VERSION) {
        Ok(_) => Ok(conn.execute_batch("COMMIT")?),
        Err(error) => {
            let _ = conn.execute_batch("ROLLBACK");
            Err(DbError::behind(&error).unwrap_or(DbError::Models { why: error.message }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(format: u32) -> Connection {
        let conn = Connection::open_in_memory().unwrap();
        conn.pragma_update(None, "user_version", format).unwrap();
        conn
    }

    fn tables(conn: &Connection) -> Vec<String> {
        let mut statement = conn.prepare("SELECT name FROM sqlite_schema ORDER BY name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    const TWO: &[Step] = &[|c| c.execute_batch("CREATE TABLE a(x)"), |c| c.execute_batch("CREATE TABLE b(x)")];
    const BROKEN: &[Step] = &[|c| c.execute_batch("CREATE TABLE a(x)"), |c| c.execute_batch("CREATE nonsense")];

    #[test]
    fn missing_steps_are_applied_in_order() {
        let conn = at(1);
        upgrade(&conn, TWO).unwrap();
        assert_eq!((format_of(&conn).unwrap(), tables(&conn)), (3, vec!["a".into(), "b".into()]));

        let conn = at(2);
        upgrade(&conn, TWO).unwrap();
        assert_eq!((format_of(&conn).unwrap(), tables(&conn)), (3, vec!["b".to_owned()]));
    }

    #[test]
    fn a_step_that_fails_leaves_the_file_as_it_was() {
        let conn = at(1);
        assert!(upgrade(&conn, BROKEN).is_err());
        assert_eq!((format_of(&conn).unwrap(), tables(&conn)), (1, vec![]));
        assert!(conn.is_autocommit());
    }

    #[test]
    fn a_newer_file_is_refused() {
        let error = upgrade(&at(9), TWO).unwrap_err();
        assert_eq!(error.code(), "newer-database");
    }
}
