//! An engine whose records are on the Odoo server of a lab.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::{collections::BTreeSet, path::Path, sync::Arc};

use serde_json::{Value as Json, json};
use triggerbox_automation::{
    Clock, Config, Engine, SystemClock, people,
    rule::{
        Ground, Rule,
        stored::{self, Edit, Ownership, RuleError},
    },
    runs::{RunDetail, RunFilter},
};
use triggerbox_model::value::Id;
use triggerbox_odoo::Backend;
use triggerbox_sandbox::{Pool, Sandbox};
use triggerbox_store::db::{Database, DbError, Mode};

use crate::lab::Lab;

/// The administrator, here and there.
pub(crate) const ADMIN: Id = 2;

/// Who is `tb_sales` here.
pub(crate) const SALES: Id = 4;

/// Who has no key there.
pub(crate) const READER: Id = 6;

pub(crate) struct Host {
    pub(crate) engine: Engine,
}

impl Host {
    /// Opens the file, and makes it first if it is not there.
    pub(crate) async fn open(path: &Path, backend: &Arc<Backend>, seed: &str) -> Self {
        Self::with(path, backend, seed, Arc::new(SystemClock), Config::default()).await
    }

    /// The same at another time, with other settings.
    pub(crate) async fn with(
        path: &Path,
        backend: &Arc<Backend>,
        seed: &str,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Self {
        let now = "2026-11-29T10:00:00Z".parse().unwrap();
        if !path.exists() {
            drop(Database::create_demo(path, now).unwrap());
        }
        let models = backend.models(&BTreeSet::from(["crm.lead".to_owned()])).await.unwrap();
        let database = Database::open(path, Mode::Write).unwrap().for_remote(models).unwrap();
        // Keys of runs are remembered by a real server: each recording has its own.
        let seed = seed.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        // One run at a time: what is asked is a sequence.
        let config = Config { seed: Some(seed), workers: 1, odoo: Some(Arc::clone(backend)), ..config };
        let sandbox = Sandbox::new(&Pool::default()).unwrap();
        let engine = Engine::open(database, sandbox, config, clock).unwrap();
        let named = |conn: &rusqlite::Connection| {
            Ok::<_, DbError>(conn.execute("UPDATE res_users SET login = 'tb_sales' WHERE id = ?1", [SALES])?)
        };
        engine.committer().commit(named).await.unwrap();
        Self { engine }
    }

    pub(crate) async fn rule(&self, toml: &str) -> Result<(), RuleError> {
        self.rule_of(ADMIN, toml).await
    }

    /// Keeps a rule of somebody's.
    pub(crate) async fn rule_of(&self, owner: Id, toml: &str) -> Result<(), RuleError> {
        let rule: Rule = toml::from_str(toml).unwrap();
        let now = self.engine.clock().now();
        let env = people::environment(self.engine.database(), owner, true, now).unwrap();
        let policy = self.engine.config().policy.clone();
        let saved = self.engine.committer().commit(move |conn| {
            let ground = Ground { conn, env: &env, policy: &policy };
            let edit = Edit { by: owner, at: now, note: "", ownership: Ownership::Take, administrator: true };
            stored::save(ground, &rule, &edit).map(drop)
        });
        saved.await
    }

    /// Runs whatever is due.
    pub(crate) async fn settle(&self) {
        while self.engine.step().await.unwrap() > 0 {}
    }

    /// All runs, the oldest first.
    pub(crate) fn runs(&self) -> Vec<RunDetail> {
        let mut runs = self.engine.runs(&RunFilter::default()).unwrap();
        runs.reverse();
        runs.iter().map(|run| self.engine.run(run.id).unwrap()).collect()
    }
}

/// A user's write.
pub(crate) async fn write(lab: &Lab, backend: &Backend, id: Id, values: Json) {
    write_as(lab, backend, "admin", id, values).await;
}

pub(crate) async fn write_as(_: &Lab, backend: &Backend, login: &str, id: Id, values: Json) {
    let (caller, body) = (backend.caller(login).unwrap(), json!({ "ids": [id], "vals": values }));
    backend.client().call(caller, "crm.lead", "write", &body).await.unwrap();
}

/// A field of a lead, as the administrator reads it.
pub(crate) async fn field(lab: &Lab, backend: &Backend, id: Id, name: &str) -> Json {
    let body = json!({ "ids": [id], "fields": [name] });
    lab.admin(backend, "crm.lead", "read", body).await.unwrap()[0][name].clone()
}
