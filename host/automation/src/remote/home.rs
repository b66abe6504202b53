//! Where the records of a file are: on which Odoo server, if on any. It is noted with the first one, so that nobody has its
//! rules run on other records by mistake.

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::error::Error;
use triggerbox_odoo::Config;

use crate::error::EngineError;

/// Key in `tb_meta`.
const HOME: &str = "odoo";

/// Notes where the records are, and refuses to have them elsewhere from then on.
///
/// # Errors
/// As [`check`].
pub fn keep(conn: &Connection, odoo: Option<&Config>) -> Result<(), EngineError> {
    check(conn, odoo)?;
    match noted(conn)? {
        None if odoo.is_some() => move_to(conn, odoo),
        _ => Ok(()),
    }
}

/// Refuses to look for the records elsewhere than where they are.
///
/// # Errors
/// `records-elsewhere`, with what to do; what the database says.
pub fn check(conn: &Connection, odoo: Option<&Config>) -> Result<(), EngineError> {
    let refuse = |text: String| Err(Error::rejected("records-elsewhere", text).into());
    match (noted(conn)?, odoo.map(place)) {
        (None, _) => Ok(()),
        (Some(known), Some(place)) if known == place => Ok(()),
        (Some(known), Some(place)) => refuse(format!(
            "the records of this file are in {known}, and not in {place}; if they are the same records, at another address \
             now, say so: `triggerbox odoo moved --db FILE`"
        )),
        (Some(known), None) => refuse(format!(
            "the records of this file are in {known}: name the file that describes it with `--odoo FILE`, or as `odoo` in \
             the server's configuration"
        )),
    }
}

/// The Odoo server that the records are on, in words; none: they are in the file.
///
/// # Errors
/// What the database says.
pub fn noted(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM tb_meta WHERE key = ?1";
    conn.prepare_cached(sql)?.query_row([HOME], |row| row.get(0)).optional()
}

/// Notes where the records are from now on, wherever they were.
///
/// # Errors
/// What the database says.
pub fn move_to(conn: &Connection, odoo: Option<&Config>) -> Result<(), EngineError> {
    match odoo.map(place) {
        Some(place) => {
            let sql = "INSERT OR REPLACE INTO tb_meta (key, value) VALUES (?1, ?2)";
            conn.prepare_cached(sql)?.execute((HOME, place))?;
        }
        None => {
            conn.prepare_cached("DELETE FROM tb_meta WHERE key = ?1")?.execute([HOME])?;
        }
    }
    Ok(())
}

fn place(config: &Config) -> String {
    format!("the database `{}` of the odoo server {}", config.database, config.url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, database: &str) -> Config {
        let text = format!(
            "url = 'https://{host}'\ndatabase = '{database}'\n[[user]]\nlogin = 'admin'\nkey = {{ env = 'K' }}\n"
        );
        Config::parse(&text).unwrap()
    }

    #[test]
    fn records_stay_on_the_first_server_that_was_named_until_somebody_says_that_they_moved() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch("CREATE TABLE tb_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)").unwrap();
        let (ours, other) = (server("erp.example.com", "prod"), server("erp.example.com", "test"));
        keep(&conn, None).unwrap();
        keep(&conn, Some(&ours)).unwrap();
        keep(&conn, Some(&ours)).unwrap();
        for (wrong, says) in [(None, "`--odoo FILE`"), (Some(&other), "triggerbox odoo moved --db FILE")] {
            let error = keep(&conn, wrong).unwrap_err();
            assert_eq!(error.code(), "records-elsewhere");
            let text = error.to_string();
            assert!(
                text.contains("`prod` of the odoo server https://erp.example.com/") && text.contains(says),
                "{text}"
            );
        }
        move_to(&conn, Some(&other)).unwrap();
        keep(&conn, Some(&other)).unwrap();
        move_to(&conn, None).unwrap();
        keep(&conn, None).unwrap();
        assert_eq!(noted(&conn).unwrap(), None);
    }
}
