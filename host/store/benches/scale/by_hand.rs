//! Plain SQLite: what somebody would write who has the tables in front of him.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params_from_iter, types::Value};
use triggerbox_store::db::Database;

/// A reading connection with the store's settings, without the store.
pub(crate) struct Hand(Connection);

/// A lead, as `search-read` gives it.
#[allow(dead_code, reason = "made to be measured, not to be read")]
pub(crate) struct Lead {
    id: i64,
    name: String,
    partner: Option<(i64, String)>,
    stage: Option<(i64, String)>,
    revenue: Option<f64>,
    city: Option<String>,
}

impl Hand {
    pub(crate) fn new(path: &Path) -> Self {
        let conn = Connection::open(path).unwrap();
        conn.pragma_update(None, "cache_size", -16 * 1024).unwrap();
        conn.pragma_update(None, "temp_store", "MEMORY").unwrap();
        conn.execute_batch("BEGIN").unwrap();
        Self(conn)
    }

    pub(crate) fn ids(&self, sql: &str) -> Vec<i64> {
        let mut statement = self.0.prepare_cached(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// Reads every column of every row; returns how many rows.
    pub(crate) fn rows(&self, sql: &str) -> usize {
        let mut statement = self.0.prepare_cached(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|n| row.get(n)).collect::<Result<Vec<Value>, _>>());
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>().len()
    }

    /// Leads of a query for ids, with the names of what they link to.
    pub(crate) fn leads(&self, ids: &str) -> Vec<Lead> {
        let sql = format!(
            "SELECT l.id, l.name, l.partner_id, p.complete_name, l.stage_id, s.name, l.expected_revenue, l.city \
             FROM ({ids}) AS i JOIN crm_lead l ON l.id = i.id LEFT JOIN res_partner p ON p.id = l.partner_id \
             LEFT JOIN crm_stage s ON s.id = l.stage_id"
        );
        let mut statement = self.0.prepare_cached(&sql).unwrap();
        let link = |id: Option<i64>, name: Option<String>| Some((id?, name?));
        let rows = statement.query_map([], |row| {
            Ok(Lead {
                id: row.get(0)?,
                name: row.get(1)?,
                partner: link(row.get(2)?, row.get(3)?),
                stage: link(row.get(4)?, row.get(5)?),
                revenue: row.get(6)?,
                city: row.get(7)?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }
}

/// What the follower's column of its pairs with subtypes is called here.
const FOLLOWER: &str = "its follower";

/// Rows that an operation left in one table.
pub(crate) struct Made {
    table: String,
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

/// The rows that `work` adds to the tables with ids. Pairs of relations are told by their highest first column.
pub(crate) fn made_by(database: &Database, work: impl FnOnce()) -> Vec<Made> {
    let tables: Vec<String> = {
        let snapshot = database.snapshot().unwrap();
        let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%\"id\" INTEGER PRIMARY KEY%'";
        let mut statement = snapshot.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    let highest = |table: &String| -> i64 {
        let sql = format!("SELECT coalesce(max(id), 0) FROM \"{table}\"");
        database.snapshot().unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let before: Vec<i64> = tables.iter().map(highest).collect();
    let followers = highest(&"mail_followers".to_owned());
    work();
    let snapshot = database.snapshot().unwrap();
    let mut made = Vec::new();
    for (table, before) in tables.into_iter().zip(before) {
        let mut statement = snapshot.prepare(&format!("SELECT * FROM \"{table}\" WHERE id > ?1")).unwrap();
        let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|n| row.get(n)).collect();
        let rows: Vec<Vec<Value>> = statement.query_map([before], read).unwrap().map(Result::unwrap).collect();
        if !rows.is_empty() {
            made.push(Made { table, columns, rows });
        }
    }
    let follower = &database.schema().models["mail.followers"].fields["subtype_ids"];
    let pairs = follower.m2m.clone().unwrap();
    let sql =
        format!("SELECT \"{0}\", \"{1}\" FROM \"{2}\" WHERE \"{0}\" > ?1", pairs.column1, pairs.column2, pairs.table);
    let mut statement = snapshot.prepare(&sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok(vec![row.get(0)?, row.get(1)?]);
    let rows: Vec<Vec<Value>> = statement.query_map([followers], read).unwrap().map(Result::unwrap).collect();
    if !rows.is_empty() {
        made.push(Made { table: pairs.table, columns: vec![FOLLOWER.to_owned(), pairs.column2], rows });
    }
    made
}

/// Adds the same rows again under new ids, with what is done before and after, in one durable transaction. How long that
/// takes.
pub(crate) fn repeat(
    database: &Database,
    made: &[Made],
    before: impl FnOnce(&Connection),
    after: impl FnOnce(&Connection),
) -> Duration {
    let count = |table: &str| made.iter().find(|made| made.table == table).map_or(0, |made| made.rows.len());
    // New ids of the rows themselves, and of what they point to among each other.
    let shifted: Vec<(String, Vec<Vec<Value>>)> = made
        .iter()
        .map(|made| {
            let shift: Vec<i64> = made
                .columns
                .iter()
                .map(|column| match column.as_str() {
                    "id" => made.rows.len() as i64,
                    "res_id" => count("crm_lead") as i64,
                    "mail_message_id" => count("mail_message") as i64,
                    FOLLOWER => count("mail_followers") as i64,
                    _ => 0,
                })
                .collect();
            let move_on = |(value, shift): (&Value, &i64)| match value {
                Value::Integer(id) => Value::Integer(id + shift),
                other => other.clone(),
            };
            let rows = made.rows.iter().map(|row| row.iter().zip(&shift).map(move_on).collect()).collect();
            let places = vec!["?"; made.columns.len()].join(", ");
            (format!("INSERT INTO \"{}\" VALUES ({places})", made.table), rows)
        })
        .collect();
    let conn = Connection::open(database.path()).unwrap();
    conn.pragma_update(None, "synchronous", "FULL").unwrap();
    conn.pragma_update(None, "cache_size", -16 * 1024).unwrap();
    conn.set_prepared_statement_cache_capacity(256);
    // A connection that is in use knows the tables.
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).unwrap();
    let begin = Instant::now();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    before(&conn);
    for (sql, rows) in shifted {
        let mut statement = conn.prepare_cached(&sql).unwrap();
        for row in rows {
            statement.execute(params_from_iter(row)).unwrap();
        }
    }
    for made in made.iter().filter(|made| made.columns.iter().any(|column| column == "id")) {
        let model = made.table.replace('_', ".");
        conn.execute("UPDATE tb_sequence SET next = next + ?2 WHERE name = ?1", (model, made.rows.len() as i64))
            .unwrap();
    }
    after(&conn);
    conn.execute_batch("COMMIT").unwrap();
    begin.elapsed()
}

/// Reads what each new lead has from its contact.
pub(crate) fn read_contacts(conn: &Connection, partners: &[u32]) {
    let sql = "SELECT email, phone, commercial_company_name, street, city, zip, country_id, function, website, name, \
               is_company, company_id FROM res_partner WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).unwrap();
    for partner in partners {
        let read = |row: &rusqlite::Row<'_>| (0..12).map(|n| row.get(n)).collect::<Result<Vec<Value>, _>>();
        assert_eq!(statement.query_row([partner], read).unwrap().len(), 12);
    }
}

/// Counts the leads of each contact, and looks whether the latest leads are of the user's companies.
pub(crate) fn count_leads(conn: &Connection, partners: &[u32]) {
    let sql = "SELECT count(*) FROM (SELECT company_id FROM crm_lead ORDER BY id DESC LIMIT ?1) \
               WHERE company_id IS NOT NULL AND company_id NOT IN (1, 2)";
    let others: i64 = conn.query_row(sql, [partners.len() as i64], |row| row.get(0)).unwrap();
    assert_eq!(others, 0);
    let sql = "UPDATE res_partner SET lead_count = (SELECT count(*) FROM crm_lead WHERE partner_id = ?1), \
               write_date = '2026-11-21 10:15:00', write_uid = 2 WHERE id = ?1";
    let mut statement = conn.prepare_cached(sql).unwrap();
    for partner in partners {
        statement.execute([partner]).unwrap();
    }
}

/// Reads the old amount of each lead and sets the new one.
pub(crate) fn write(conn: &Connection, ids: &[u32], amount: f64) {
    let mut read = conn.prepare_cached("SELECT expected_revenue FROM crm_lead WHERE id = ?1").unwrap();
    let sql = "UPDATE crm_lead SET expected_revenue = ?2, write_date = '2026-11-21 10:15:00', write_uid = 2 WHERE id = ?1 \
               AND (company_id IS NULL OR company_id IN (1, 2))";
    let mut write = conn.prepare_cached(sql).unwrap();
    for id in ids {
        let _old: Option<f64> = read.query_row([id], |row| row.get(0)).unwrap();
        write.execute((id, amount)).unwrap();
    }
}
