//! An Odoo server, recorded or real, and engines whose records are on it.

#![allow(dead_code, reason = "each test file uses its own part")]

#[path = "../../../host/odoo/tests/odoo/lab/mod.rs"]
pub(crate) mod lab;

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use triggerbox_automation::{
    Clock, Config, Engine, SystemClock, TestClock,
    agents::{Agent, stored as agents},
    people,
    rule::{
        Ground, Rule,
        stored::{self, Edit, Ownership, RuleError},
    },
    runs::{RunDetail, RunFilter},
};
use triggerbox_model::value::{Id, Value};
use triggerbox_odoo::Backend;
use triggerbox_sandbox::{Pool, Sandbox};
use triggerbox_store::db::{Database, DbError, Mode};

use self::lab::Lab;

/// The administrator, here and there.
pub(crate) const ADMIN: Id = 2;

/// Who is `tb_sales` here.
pub(crate) const SALES: Id = 4;

/// Who has no key there.
pub(crate) const READER: Id = 6;

/// The Odoo server of one test, with a file for engines.
pub(crate) struct Office {
    pub(crate) lab: Lab,
    pub(crate) backend: Arc<Backend>,
    /// What nothing else there is called.
    pub(crate) name: String,
    folder: TempDir,
}

impl Office {
    pub(crate) async fn open(recording: &'static str, called: &str) -> Self {
        let lab = Lab::open(recording).await;
        let backend = lab.prepared().await;
        let name = lab.unique(called);
        Self { lab, backend, name, folder: tempfile::tempdir().unwrap() }
    }

    /// An engine on the file, which is made with the first one.
    pub(crate) async fn host(&self) -> Host {
        self.host_on(&self.backend).await
    }

    /// The same over another connection.
    pub(crate) async fn host_on(&self, backend: &Arc<Backend>) -> Host {
        self.host_with(backend, Arc::new(SystemClock), Config::default()).await
    }

    /// The same at another time.
    pub(crate) async fn host_at(&self, clock: &Arc<TestClock>) -> Host {
        self.host_with(&self.backend, Arc::<TestClock>::clone(clock), Config::default()).await
    }

    /// The same with other settings.
    pub(crate) async fn host_with(&self, backend: &Arc<Backend>, clock: Arc<dyn Clock>, config: Config) -> Host {
        self.host_of(&["crm.lead"], backend, clock, config).await
    }

    /// The same for rules on these models.
    pub(crate) async fn host_of(
        &self,
        models: &[&str],
        backend: &Arc<Backend>,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Host {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        Host::open(&self.folder.path().join("rules.db"), models, backend, &self.name, clock, config).await
    }

    /// Calls a method as the administrator.
    pub(crate) async fn admin(&self, model: &str, method: &str, body: Json) -> Json {
        self.lab.admin(&self.backend, model, method, body).await.unwrap()
    }

    /// A new lead.
    pub(crate) async fn lead(&self, values: Json) -> Id {
        lab::lead(&self.lab, &self.backend, values).await
    }

    /// A user's write.
    pub(crate) async fn write(&self, id: Id, values: Json) {
        self.write_as("admin", id, values).await;
    }

    pub(crate) async fn write_as(&self, login: &str, id: Id, values: Json) {
        let (caller, body) = (self.backend.caller(login).unwrap(), json!({ "ids": [id], "vals": values }));
        self.backend.client().call(caller, "crm.lead", "write", &body).await.unwrap();
    }

    /// A field of a lead, as the administrator reads it.
    pub(crate) async fn field(&self, id: Id, name: &str) -> Json {
        self.admin("crm.lead", "read", json!({ "ids": [id], "fields": [name] })).await[0][name].clone()
    }

    pub(crate) async fn time(&self, id: Id, name: &str) -> Timestamp {
        format!("{}Z", self.field(id, name).await.as_str().unwrap()).parse().unwrap()
    }

    /// Has the last update of a lead be some seconds earlier or later than it was: times are told to the second, and what is
    /// written next, or was before, may have the same one.
    pub(crate) async fn move_update(&self, id: Id, seconds: i32) {
        let code = format!(
            "env.cr.execute(\"UPDATE crm_lead SET write_date = write_date + interval '{seconds} seconds' WHERE id = {id}\")"
        );
        lab::run_code(&self.lab, &self.backend, &code, &[]).await;
    }

    /// Applies something to a lead as the changes of a run, whose answer nobody hears.
    pub(crate) async fn apply(&self, run: &str, id: Id) {
        let mut session = self.lab.session(&self.backend, "admin").await;
        lab::write(&mut session, "crm.lead", id, &[("city", Value::text("Bruges"))]).await;
        session.commit(run).await.unwrap();
    }

    pub(crate) fn close(self) {
        self.lab.close();
    }
}

pub(crate) struct Host {
    pub(crate) engine: Engine,
}

impl Host {
    async fn open(
        path: &Path,
        models: BTreeSet<String>,
        backend: &Arc<Backend>,
        seed: &str,
        clock: Arc<dyn Clock>,
        config: Config,
    ) -> Self {
        let now = "2026-11-29T10:00:00Z".parse().unwrap();
        if !path.exists() {
            drop(Database::create_demo(path, now).unwrap());
        }
        let models = backend.models(&models).await.unwrap();
        let database = Database::open(path, Mode::Write).unwrap().for_remote(models, &BTreeSet::new()).unwrap();
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
            let edit =
                Edit { by: owner, at: now, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
            stored::save(ground, &rule, &edit).map(drop)
        });
        saved.await
    }

    /// Keeps an agent.
    pub(crate) async fn agent(&self, toml: &str) {
        let agent: Agent = toml::from_str(toml).unwrap();
        let now = self.engine.clock().now();
        let env = people::environment(self.engine.database(), ADMIN, true, now).unwrap();
        let policy = self.engine.config().policy.clone();
        let saved = self.engine.committer().commit(move |conn| {
            let ground = Ground { conn, env: &env, policy: &policy };
            let edit =
                Edit { by: ADMIN, at: now, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
            agents::save(ground, &agent, &edit).map(drop)
        });
        saved.await.unwrap();
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
