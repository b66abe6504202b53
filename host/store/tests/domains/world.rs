//! A small world with every type of field, in SQLite and in memory alike.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use rusqlite::{Connection, params_from_iter, types::Value as Sql};
use serde_json::json;
use triggerbox_model::{
    domain::{
        Domain,
        eval::{self, Records},
        filter::Cell,
        memory::{Columns, Memory},
    },
    error::Error,
    schema::Schema,
    value::Id,
};
use triggerbox_store::{
    ddl::{self, quote, table},
    env::Env,
    load::Language,
    query,
    rights::Rights,
};

/// The present, in this world: a Wednesday.
pub(crate) const NOW: &str = "2026-06-17T13:05:00Z";

/// `thing` has all types of fields, lines and tags; `place` is a hierarchy; `kind` is inherited by `thing`.
pub(crate) fn schema() -> Schema {
    let mut schema: Schema = serde_json::from_str(include_str!("schema.json")).expect("the schema is well-formed");
    for (name, model) in &mut schema.models {
        model.name.clone_from(name);
    }
    schema
}

/// The same records in a database and in memory.
pub(crate) struct World {
    pub(crate) conn: Connection,
    pub(crate) memory: Memory,
    pub(crate) env: Env,
}

impl World {
    pub(crate) fn new() -> Self {
        let conn = Connection::open_in_memory().expect("a database");
        conn.set_prepared_statement_cache_capacity(512);
        query::functions::register(&conn).expect("functions");
        let schema = Arc::new(schema());
        ddl::create(&conn, &schema, &Rights::default()).expect("tables");
        let language = |code: &str| Language { code: code.to_owned(), week_start: 1 };
        let env = Env {
            schema,
            rights: Arc::new(Rights::default()),
            languages: Arc::new(vec![language("en_US"), language("fr_FR")]),
            user: 1,
            login: None,
            superuser: true,
            groups: std::collections::BTreeSet::new(),
            group_names: Arc::default(),
            lang: "en_US".to_owned(),
            week_start: 1,
            tz: None,
            context_tz: None,
            companies: Vec::new(),
            foreign_company: None,
            active_test: true,
            now: NOW.parse::<Timestamp>().expect("a time"),
        };
        Self { conn, memory: Memory::default(), env }
    }

    /// Removes all records.
    pub(crate) fn clear(&mut self) {
        self.memory = Memory::default();
        for model in self.env.schema.models.keys() {
            self.conn.execute(&format!("DELETE FROM {}", quote(&table(model))), []).expect("deleted");
        }
        self.conn.execute("DELETE FROM thing_tag_rel", []).expect("deleted");
    }

    pub(crate) fn add(&mut self, model: &str, id: Id, columns: &[(&str, Cell)]) {
        let mut names = vec![quote("id")];
        let mut values = vec![Sql::Integer(i64::from(id))];
        for (name, cell) in columns {
            names.push(quote(name));
            values.push(match cell {
                Cell::Null => Sql::Null,
                Cell::Integer(number) => Sql::Integer(*number),
                Cell::Real(number) => Sql::Real(*number),
                Cell::Text(text) if *name == "picture" => Sql::Blob(text.clone().into_bytes()),
                Cell::Text(text) => Sql::Text(text.clone()),
            });
        }
        let marks = vec!["?"; values.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quote(&table(model)), names.join(", "));
        self.conn
            .prepare_cached(&sql)
            .and_then(|mut insert| insert.execute(params_from_iter(values)))
            .expect("inserted");
        let columns: Columns = columns.iter().map(|(name, cell)| ((*name).to_owned(), cell.clone())).collect();
        self.memory.records.entry(model.to_owned()).or_default().insert(id, columns);
    }

    pub(crate) fn translate(&mut self, id: Id, text: &str) {
        let json = json!({ "fr_FR": text }).to_string();
        self.conn
            .execute("UPDATE thing SET \"label$i18n\" = ?1 WHERE id = ?2", rusqlite::params![json, id])
            .expect("translated");
        let key = ("thing".to_owned(), id, "label".to_owned());
        self.memory.translations.insert(key, BTreeMap::from([("fr_FR".to_owned(), text.to_owned())]));
    }

    pub(crate) fn tag(&mut self, thing: Id, tag: Id) {
        self.conn.execute("INSERT OR IGNORE INTO thing_tag_rel VALUES (?1, ?2)", [thing, tag]).expect("tagged");
        let key = ("thing_tag_rel".to_owned(), "thing_id".to_owned());
        self.memory.pairs.entry(key).or_default().insert((thing, tag));
    }

    pub(crate) fn by_sql(&self, env: &Env, model: &str, domain: &Domain) -> Result<Vec<Id>, Error> {
        let page = triggerbox_model::call::Page { order: Some("id".to_owned()), ..Default::default() };
        query::search(&self.conn, env, model, domain, &page)
    }

    pub(crate) fn in_memory(&self, env: &Env, model: &str, domain: &Domain) -> Result<Vec<Id>, Error> {
        let filter = query::filter(&self.conn, env, model, domain, false)?;
        let found = eval::filter(&self.memory, model, &filter)?;
        // What a record's own columns say of it is what is so.
        for id in self.memory.all(model)? {
            let cell = |column: &str| match column {
                "id" => Ok(Cell::Integer(i64::from(id))),
                column => self.memory.cell(model, id, column),
            };
            if let Ok(Some(matches)) = eval::matches_alone(&filter, &cell) {
                assert_eq!(matches, found.contains(&id), "{model} {id} alone: {filter:?}");
            }
        }
        Ok(found)
    }

    /// What a literal domain finds, both ways.
    pub(crate) fn find(&self, env: &Env, model: &str, domain: &str) -> Vec<Id> {
        let domain = Domain::parse(domain).unwrap_or_else(|error| panic!("{domain}: {error}"));
        let by_sql = self.by_sql(env, model, &domain).unwrap_or_else(|error| panic!("{domain}: {error}"));
        let in_memory = self.in_memory(env, model, &domain).unwrap_or_else(|error| panic!("{domain}: {error}"));
        assert_eq!(by_sql, in_memory, "SQL and memory disagree on {domain}");
        by_sql
    }
}

pub(crate) fn int(number: i64) -> Cell {
    Cell::Integer(number)
}

pub(crate) fn real(number: f64) -> Cell {
    Cell::Real(number)
}

pub(crate) fn text(text: &str) -> Cell {
    Cell::text(text)
}
