//! The store on a million leads and 200,000 contacts, each operation against plain SQLite doing the same by hand.
//!
//! ```text
//! cargo bench --workspace --bench scale
//! ```
//!
//! By hand means: a connection with the same settings, the SQL that somebody who knows the tables would write, prepared
//! once, and for writes the very rows that ours left (the record, its message, its tracked values or its follower) in one
//! transaction, with what has to be read for them: the old amounts, what new leads have from their contacts, the counts of
//! their contacts' leads, and whether the user may. Nothing is told of what changed.
//! Both take turns in one process; trust the ratios. `TRIGGERBOX_SCALE` sets the number of leads, and `-- create` measures
//! that part alone (`reads`, `pages`, `staged`, `write`, `create`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a benchmark may panic"
)]

mod by_hand;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use mimalloc::MiMalloc;
use rusqlite::Connection;
use triggerbox_model::{
    allowance::Room,
    call::{Answer, Call, DomainSource, GroupPage, Page},
    changes::{ChangeSet, Effect},
    domain::Domain,
    value::{FIRST_PROVISIONAL_ID, FieldValue, Id, Value},
};
use triggerbox_store::{
    commit::commit,
    db::{Database, DbError},
    env::Env,
    group, query,
    session::Session,
};

use by_hand::Hand;

/// The memory that the program has; for both sides.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

/// How often each side is measured; the median counts.
const ROUNDS: usize = 5;

/// Questions that take longer than this, on both sides together, are measured less often.
const SLOW: Duration = Duration::from_secs(2);
const SLOW_ROUNDS: usize = 3;

fn main() {
    // `cargo test` only wants to know that it works; `cargo bench` says that it is meant.
    let test = !std::env::args().any(|argument| argument == "--bench");
    let asked = std::env::var("TRIGGERBOX_SCALE").ok().and_then(|leads| leads.parse().ok());
    let only: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |part: &str| only.is_empty() || only.iter().any(|one| one == part);
    let bench = Bench::new(if test { 5_000 } else { asked.unwrap_or(1_000_000) });
    if wanted("reads") {
        bench.reads();
    }
    if wanted("pages") {
        bench.pages();
    }
    if wanted("staged") {
        bench.staged_reads();
    }
    let (written, created) = if test { (50, 100) } else { (1_000, 10_000) };
    if wanted("write") {
        bench.write(written);
    }
    if wanted("create") {
        bench.create(created);
    }
}

struct Bench {
    database: Database,
    env: Env,
    leads: u32,
    partners: u32,
    _folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    "2026-11-21T10:15:00Z".parse().unwrap()
}

impl Bench {
    fn new(leads: u32) -> Self {
        // On a real disk: a commit must cost what it costs.
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::tempdir_in(target).unwrap();
        let database = Database::create_demo(&folder.path().join("scale.db"), now()).unwrap();
        let partners = leads / 5;
        let begin = Instant::now();
        database.transaction(|conn| Ok::<_, DbError>(fill(conn, leads, partners)?)).unwrap();
        let env = {
            let snapshot = database.snapshot().unwrap();
            Env::for_user(&snapshot, database.schema().clone(), database.rights().clone(), 2, now()).unwrap()
        };
        let size = std::fs::metadata(database.path()).unwrap().len();
        println!("{leads} leads, {partners} contacts, {} MiB, made in {:.0?}", size >> 20, begin.elapsed());
        println!("{:<58}{:>12}{:>12}{:>8}", "", "by hand", "store", "ratio");
        Self { database, env, leads, partners, _folder: folder }
    }

    fn domain(text: &str) -> Domain {
        Domain::parse(text).unwrap()
    }

    fn reads(&self) {
        let partner = self.partners / 2;
        let name = format!("Lead {}", self.leads / 2);
        for (what, domain, by_hand) in [
            (
                "search an indexed relation",
                format!("[('partner_id', '=', {partner})]"),
                format!("partner_id = {partner}"),
            ),
            ("search an indexed text", format!("[('name', '=', '{name}')]"), format!("name = '{name}'")),
            (
                "search through a relation",
                format!("[('partner_id.email_normalized', '=', 'p{partner}@example.com')]"),
                format!("partner_id IN (SELECT id FROM res_partner WHERE email_normalized = 'p{partner}@example.com')"),
            ),
            (
                "search a part of a text, 1 lead in 10",
                "[('city', 'ilike', 'ghent')]".into(),
                "city LIKE '%ghent%'".into(),
            ),
            (
                "search a number, 1 lead in 100",
                "[('expected_revenue', '>', 99000)]".into(),
                "expected_revenue > 99000".into(),
            ),
        ] {
            let domain = Self::domain(&domain);
            let page = Page { limit: Some(80), ..Page::default() };
            let sql = format!("SELECT id FROM crm_lead WHERE {by_hand}{VISIBLE} {ORDER} LIMIT 80");
            self.compare(
                what,
                |conn| query::search(conn, &self.env, "crm.lead", &domain, &page).unwrap().len(),
                |hand| hand.ids(&sql).len(),
            );
            let count = format!("SELECT count(*) FROM crm_lead WHERE {by_hand}{VISIBLE}");
            self.compare(
                &what.replace("search", "count"),
                |conn| query::search_count(conn, &self.env, "crm.lead", &domain).unwrap() as usize,
                |hand| hand.ids(&count)[0] as usize,
            );
        }
        self.search_read();
        self.groups();
    }

    fn search_read(&self) {
        let fields: Vec<String> =
            ["name", "partner_id", "stage_id", "expected_revenue", "city"].map(str::to_owned).into();
        for (what, limit) in
            [("search-read 80 of a stage, 5 fields", 80), ("search-read 5,000 of a stage, 5 fields", 5000)]
        {
            let domain = Self::domain("[('stage_id', '=', 2)]");
            let page = Page { limit: Some(limit), ..Page::default() };
            let sql = format!("SELECT id FROM crm_lead WHERE stage_id = 2{VISIBLE} {ORDER} LIMIT {limit}");
            self.compare(
                what,
                |conn| {
                    query::search_read(conn, &self.env, "crm.lead", &domain, &fields, &page, &mut { Room::ENDLESS })
                        .unwrap()
                        .len()
                },
                |hand| hand.leads(&sql).len(),
            );
        }
    }

    fn groups(&self) {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        for (what, by, aggregates, sql) in [
            (
                "read-group by stage, sum and count",
                "stage_id",
                "expected_revenue:sum",
                format!(
                    "SELECT count(*), l.stage_id, sum(l.expected_revenue), s.name FROM crm_lead l \
                     LEFT JOIN crm_stage s ON s.id = l.stage_id WHERE 1{VISIBLE} GROUP BY l.stage_id ORDER BY s.sequence"
                )
                .replace("active", "l.active"),
            ),
            (
                "read-group by month, average",
                "date_open:month",
                "expected_revenue:avg",
                format!(
                    "SELECT count(*), date(date_open, '+1 hour', 'start of month') AS m, avg(expected_revenue) \
                     FROM crm_lead WHERE 1{VISIBLE} GROUP BY m ORDER BY m"
                ),
            ),
            (
                "read-group by contact, 100 groups, distinct cities",
                "partner_id",
                "city:count_distinct",
                format!(
                    "SELECT count(*), partner_id, count(DISTINCT city), p.complete_name FROM crm_lead l \
                     LEFT JOIN res_partner p ON p.id = l.partner_id WHERE 1{VISIBLE} \
                     GROUP BY partner_id ORDER BY p.complete_name, p.id DESC LIMIT 100"
                )
                .replace("active", "l.active")
                .replace("(company_id", "(l.company_id")
                .replace("OR company_id", "OR l.company_id")
                .replace("city)", "l.city)"),
            ),
        ] {
            let limit = if by == "partner_id" { Some(100) } else { None };
            let page = GroupPage { limit, ..GroupPage::default() };
            self.compare(
                what,
                |conn| {
                    let (by, aggregates) = (strings(&[by]), strings(&[aggregates]));
                    group::read_group(conn, &self.env, "crm.lead", &Domain::Always, &by, &aggregates, &page).unwrap().len()
                },
                |hand| hand.rows(&sql),
            );
        }
    }

    /// All records, page by page: by id from the last one on, which stays as fast on the last page as on the first.
    fn pages(&self) {
        let pages = 20;
        let size = self.leads / pages;
        let page = Page { limit: Some(size), order: Some("id".into()), ..Page::default() };
        self.compare(
            "read all ids in 20 pages, from the last id on",
            |conn| {
                let (mut last, mut all) = (0, 0);
                loop {
                    let domain = Self::domain(&format!("[('id', '>', {last})]"));
                    let ids = query::search(conn, &self.env, "crm.lead", &domain, &page).unwrap();
                    let Some(end) = ids.last() else { return all };
                    (last, all) = (*end, all + ids.len());
                }
            },
            |hand| {
                let (mut last, mut all) = (0, 0);
                loop {
                    let sql = format!("SELECT id FROM crm_lead WHERE id > {last}{VISIBLE} ORDER BY id LIMIT {size}");
                    let ids = hand.ids(&sql);
                    let Some(end) = ids.last() else { return all };
                    (last, all) = (*end, all + ids.len());
                }
            },
        );
    }

    /// What a run sees after its first change: the same search on the view that shows what it has staged.
    fn staged_reads(&self) {
        let mut run = Session::new(&self.database, self.env.clone()).unwrap();
        let write = Call::Write {
            model: "crm.lead".into(),
            ids: vec![self.leads / 3],
            values: vec![FieldValue::new("city", Value::text("Ghent"))],
        };
        run.call(write).unwrap().unwrap();
        let partner = self.partners / 2;
        let search = Call::Search {
            model: "crm.lead".into(),
            domain: DomainSource::Literal(format!("[('partner_id', '=', {partner})]")),
            page: Page::default(),
        };
        let sql = format!("SELECT id FROM crm_lead WHERE partner_id = {partner}{VISIBLE} {ORDER}");
        let run = std::cell::RefCell::new(run);
        self.compare(
            "search an indexed relation, with a staged change",
            |_| match run.borrow_mut().call(search.clone()).unwrap().unwrap() {
                Answer::Ids(ids) => ids.len(),
                other => panic!("{other:?}"),
            },
            |hand| hand.ids(&sql).len(),
        );
    }

    fn write(&self, count: u32) {
        let ids: Vec<Id> = (0..count).map(|n| 1_000 + n * (self.leads / 2 / count)).collect();
        let (mut ours, mut theirs, mut run) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let amount = |side: usize| f64::from(u32::try_from(round * 3 + side).unwrap());
            let values = vec![FieldValue::new("expected_revenue", Value::Number(amount(1)))];
            let effect = Effect::Write { model: "crm.lead".into(), ids: ids.clone(), values: values.clone() };
            let changes = ChangeSet { effects: vec![effect], ..ChangeSet::default() };
            let made = by_hand::made_by(&self.database, || {
                let begin = Instant::now();
                commit(&self.database, &self.env, &changes).unwrap();
                ours.push(begin.elapsed());
            });
            theirs.push(by_hand::repeat(&self.database, &made, |conn| by_hand::write(conn, &ids, amount(3)), |_| ()));
            let begin = Instant::now();
            let mut session = Session::new(&self.database, self.env.clone()).unwrap();
            let call = Call::Write {
                model: "crm.lead".into(),
                ids: ids.clone(),
                values: vec![FieldValue::new("expected_revenue", Value::Number(amount(2)))],
            };
            session.call(call).unwrap().unwrap();
            commit(&self.database, &self.env, &session.finish()).unwrap();
            run.push(begin.elapsed());
        }
        report(&format!("write {count} leads, tracked, durable"), theirs.clone(), ours);
        report("  staged by a run first, then committed", theirs, run);
    }

    fn create(&self, count: u32) {
        let values: Vec<Vec<FieldValue>> = (0..count)
            .map(|n| {
                vec![
                    FieldValue::new("name", Value::text(format!("New lead {n}"))),
                    FieldValue::new("partner_id", Value::link(100 + n % (self.partners - 100))),
                    FieldValue::new("expected_revenue", Value::Number(f64::from(n))),
                ]
            })
            .collect();
        let partners: Vec<u32> = (0..count).map(|n| 100 + n % (self.partners - 100)).collect();
        let ids = (0..count).map(|n| FIRST_PROVISIONAL_ID + n).collect();
        let changes = ChangeSet {
            effects: vec![Effect::Create { model: "crm.lead".into(), values: values.clone(), ids }],
            ..ChangeSet::default()
        };
        let (mut ours, mut theirs, mut run) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS.min(3) {
            let made = by_hand::made_by(&self.database, || {
                let begin = Instant::now();
                commit(&self.database, &self.env, &changes).unwrap();
                ours.push(begin.elapsed());
            });
            theirs.push(by_hand::repeat(
                &self.database,
                &made,
                |conn| by_hand::read_contacts(conn, &partners),
                |conn| by_hand::count_leads(conn, &partners),
            ));
            let begin = Instant::now();
            let mut session = Session::new(&self.database, self.env.clone()).unwrap();
            session.call(Call::Create { model: "crm.lead".into(), values: values.clone() }).unwrap().unwrap();
            commit(&self.database, &self.env, &session.finish()).unwrap();
            run.push(begin.elapsed());
        }
        report(&format!("create {count} leads, durable"), theirs.clone(), ours);
        report("  staged by a run first, then committed", theirs, run);
    }

    /// Measures both sides in turns; they must find the same number of things.
    fn compare(&self, what: &str, ours: impl Fn(&Connection) -> usize, theirs: impl Fn(&Hand) -> usize) {
        let snapshot = self.database.snapshot().unwrap();
        let hand = Hand::new(self.database.path());
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        // The first of each fills caches and prepares statements.
        let begin = Instant::now();
        let (found, by_hand) = (ours(&snapshot), theirs(&hand));
        assert_eq!(found, by_hand, "{what}: not the same question");
        // What takes seconds differs little from round to round.
        let rounds = if begin.elapsed() > SLOW { SLOW_ROUNDS } else { ROUNDS };
        for _ in 0..rounds {
            let begin = Instant::now();
            theirs(&hand);
            their_times.push(begin.elapsed());
            let begin = Instant::now();
            ours(&snapshot);
            our_times.push(begin.elapsed());
        }
        report(what, their_times, our_times);
    }
}

/// What an administrator sees besides the domain: records that are not archived, of his companies.
const VISIBLE: &str = " AND active AND (company_id IS NULL OR company_id IN (1, 2))";
const ORDER: &str = "ORDER BY priority DESC, id DESC";

fn report(what: &str, mut theirs: Vec<Duration>, mut ours: Vec<Duration>) {
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (theirs, ours) = (median(&mut theirs), median(&mut ours));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("{what:<58}{:>12}{:>12}{ratio:>8.2}", format!("{theirs:.1?}"), format!("{ours:.1?}"));
}

fn fill(conn: &Connection, leads: u32, partners: u32) -> rusqlite::Result<()> {
    let numbers = |from: &str, upto: u32| {
        format!("WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {upto})")
    };
    conn.execute(
        &format!(
            "{} INSERT OR IGNORE INTO res_partner (id, name, complete_name, active, email, email_normalized, city, \
             commercial_partner_id, type) SELECT i, 'Contact ' || i, 'Contact ' || i, 1, 'p' || i || '@example.com', \
             'p' || i || '@example.com', 'City ' || i % 500, i, 'contact' FROM n",
            numbers("100", partners)
        ),
        [],
    )?;
    conn.execute(
        &format!(
            "{} INSERT OR IGNORE INTO crm_lead (id, name, partner_id, type, stage_id, user_id, company_id, \
             expected_revenue, probability, priority, active, city, email_from, date_open, create_date, write_date, \
             create_uid, write_uid, won_status) \
             SELECT i, 'Lead ' || i, 100 + (i * 7919) % ({partners} - 100), 'opportunity', 1 + i % 4, 2 + i % 3, \
             iif(i % 3, 1, NULL), (i * 31) % 100000, i % 100, '' || i % 4, i % 20 > 0, \
             iif(i % 10 = 0, 'Ghent', 'City ' || i % 500), 'l' || i || '@example.com', \
             datetime('2026-11-01', -(i % 900) || ' days', (i % 1440) || ' minutes'), '2026-01-01 00:00:00', \
             '2026-01-01 00:00:00', 2, 2, 'pending' FROM n",
            numbers("100", leads)
        ),
        [],
    )?;
    for (model, last) in [("crm.lead", leads), ("res.partner", partners)] {
        conn.execute("UPDATE tb_sequence SET next = ?2 WHERE name = ?1", (model, last + 1))?;
    }
    Ok(())
}
