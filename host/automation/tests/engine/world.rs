//! The demo company with an engine on it, and short ways to change records and look at runs.

use std::{
    future::Future,
    sync::{Arc, LazyLock},
    time::Duration,
};

use guest_artifacts::Guest;
use triggerbox_automation::{
    Changed, Clock, Config, Engine, EngineError, Origin, TestClock,
    config::{Compile, Kept},
    people,
    rule::{
        Ground, Rule, check,
        stored::{self, Edit, Ownership},
    },
    runs::{RunDetail, RunFilter, RunId, RunSummary},
    scripts::{registry, upload},
};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    value::{FieldValue, Id, Value},
};
use triggerbox_sandbox::{Pool, Sandbox, inspect::embed_manifest};
use triggerbox_store::db::{Database, DbError};

pub(crate) const NOW: &str = "2026-11-20T09:30:00Z";
pub(crate) const ADMIN: Id = 2;
pub(crate) const MANAGER: Id = 3;
pub(crate) const SAM: Id = 4;
pub(crate) const READER: Id = 6;

static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(&Pool::default()).unwrap());

/// What was compiled, for all tests: the agent alone takes seconds.
static KEPT: LazyLock<Arc<Kept>> = LazyLock::new(Arc::default);

pub(crate) fn sandbox() -> Sandbox {
    SANDBOX.clone()
}

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<TestClock>,
}

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        Self::on(Database::demo_in_memory(NOW.parse().unwrap()).unwrap(), config)
    }

    pub(crate) fn on(database: Database, config: Config) -> Self {
        let clock = Arc::new(TestClock::at(NOW.parse().unwrap()));
        let compile = match config.compile {
            Compile::InProcess => Compile::Kept(Arc::clone(&KEPT)),
            other => other,
        };
        let config = Config { seed: Some(config.seed.unwrap_or(7)), compile, ..config };
        let engine = Engine::open(database, SANDBOX.clone(), config, Arc::<TestClock>::clone(&clock)).unwrap();
        Self { engine, clock }
    }

    /// Uploads a script; the first version of it is the active one.
    pub(crate) fn script(&self, guest: &Guest) {
        let upload = upload::inspect(embed_manifest(guest.component, guest.manifest.unwrap()).unwrap()).unwrap();
        let now = self.clock.now();
        let store = move |conn: &rusqlite::Connection| registry::store(conn, &upload, ADMIN, now);
        self.engine.committer().commit_blocking(store).unwrap();
    }

    /// Keeps a rule, given as in its file.
    pub(crate) fn rule(&self, toml: &str) {
        self.rule_of(ADMIN, toml);
    }

    /// The same, as somebody else's edit.
    pub(crate) fn rule_of(&self, by: Id, toml: &str) {
        let rule: Rule = toml::from_str(toml).unwrap();
        let env = people::environment(self.engine.database(), ADMIN, true, self.clock.now()).unwrap();
        let policy = self.engine.config().policy.clone();
        let edit = move |conn: &rusqlite::Connection| {
            let ground = Ground { conn, env: &env, policy: &policy };
            let edit =
                Edit { by, at: env.now, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
            stored::save(ground, &rule, &edit)
        };
        self.engine.committer().commit_blocking(edit).unwrap();
    }

    /// Deletes a rule.
    pub(crate) fn delete(&self, rule: &str) {
        let (rule, at) = (rule.to_owned(), self.clock.now());
        self.commit(move |conn| {
            let edit = Edit { by: ADMIN, at, note: "", ownership: Ownership::Take, administrator: true, agrees: false };
            stored::delete(conn, &rule, &edit)
        });
    }

    /// Switches a rule on or off.
    pub(crate) fn set_active(&self, rule: &str, active: bool) {
        let env = people::environment(self.engine.database(), ADMIN, true, self.clock.now()).unwrap();
        let (rule, policy) = (rule.to_owned(), self.engine.config().policy.clone());
        self.commit(move |conn| {
            let edit = Edit {
                by: ADMIN,
                at: env.now,
                note: "",
                ownership: Ownership::Take,
                administrator: true,
                agrees: false,
            };
            stored::set_active(Ground { conn, env: &env, policy: &policy }, &rule, active, &edit)
        });
    }

    /// What is wrong with a rule.
    pub(crate) fn check(&self, toml: &str) -> Vec<&'static str> {
        let rule: Rule = toml::from_str(toml).unwrap();
        let env = people::environment(self.engine.database(), ADMIN, true, self.clock.now()).unwrap();
        let conn = self.engine.database().snapshot().unwrap();
        let ground = Ground { conn: &conn, env: &env, policy: &self.engine.config().policy };
        check::check(ground, &rule).unwrap().iter().map(|finding| finding.code).collect()
    }

    /// Writes to the engine's tables, as its own parts do.
    pub(crate) fn commit<T: Send + 'static, E: From<DbError> + std::fmt::Debug + Send + 'static>(
        &self,
        work: impl FnOnce(&rusqlite::Connection) -> Result<T, E> + Send + 'static,
    ) -> T {
        self.engine.committer().commit_blocking(work).unwrap()
    }

    pub(crate) fn count(&self, sql: &str) -> u32 {
        self.engine.database().snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn change(&self, calls: Vec<Call>) -> Changed {
        self.try_change(ADMIN, calls).unwrap()
    }

    pub(crate) fn try_change(&self, user: Id, calls: Vec<Call>) -> Result<Changed, EngineError> {
        block_on(self.engine.change(Origin::user(user), calls))
    }

    pub(crate) fn create(&self, model: &str, values: &[(&str, Value)]) -> Id {
        let changed = self.change(vec![create(model, values)]);
        match &changed.answers[0] {
            Answer::Ids(ids) => ids[0],
            other => panic!("{other:?}"),
        }
    }

    /// Writes on a record; the runs that it caused.
    pub(crate) fn write(&self, model: &str, id: Id, values: &[(&str, Value)]) -> Vec<RunId> {
        self.change(vec![write(model, &[id], values)]).runs
    }

    pub(crate) fn settle(&self) -> usize {
        block_on(self.engine.settle()).unwrap()
    }

    pub(crate) fn step(&self) -> usize {
        block_on(self.engine.step()).unwrap()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    pub(crate) fn ask(&self, call: Call) -> Answer {
        self.change(vec![call]).answers.remove(0)
    }

    pub(crate) fn search(&self, model: &str, domain: &str) -> Vec<Id> {
        let domain = DomainSource::Literal(domain.to_owned());
        match self.ask(Call::Search { model: model.to_owned(), domain, page: Page::default() }) {
            Answer::Ids(ids) => ids,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn search_as(&self, user: Id, model: &str, domain: &str) -> Vec<Id> {
        let domain = DomainSource::Literal(domain.to_owned());
        let call = Call::Search { model: model.to_owned(), domain, page: Page::default() };
        match self.try_change(user, vec![call]).unwrap().answers.remove(0) {
            Answer::Ids(ids) => ids,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn value(&self, model: &str, id: Id, field: &str) -> Value {
        let call = Call::Read { model: model.to_owned(), ids: vec![id], fields: vec![field.to_owned()] };
        match self.ask(call) {
            Answer::Rows(rows) => rows[0].values[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Oldest first.
    pub(crate) fn runs(&self, filter: &RunFilter) -> Vec<RunSummary> {
        let mut runs = self.engine.runs(filter).unwrap();
        runs.reverse();
        runs
    }

    pub(crate) fn runs_of(&self, rule: &str) -> Vec<RunSummary> {
        self.runs(&RunFilter { rule: Some(rule.to_owned()), ..RunFilter::default() })
    }

    pub(crate) fn run(&self, run: RunId) -> RunDetail {
        self.engine.run(run).unwrap()
    }

    pub(crate) fn lead(&self, name: &str) -> Id {
        self.create("crm.lead", &[("name", Value::text(name))])
    }
}

pub(crate) fn fields(values: &[(&str, Value)]) -> Vec<FieldValue> {
    values.iter().map(|(name, value)| FieldValue::new(*name, value.clone())).collect()
}

pub(crate) fn create(model: &str, values: &[(&str, Value)]) -> Call {
    Call::Create { model: model.to_owned(), values: vec![fields(values)] }
}

pub(crate) fn write(model: &str, ids: &[Id], values: &[(&str, Value)]) -> Call {
    Call::Write { model: model.to_owned(), ids: ids.to_vec(), values: fields(values) }
}
