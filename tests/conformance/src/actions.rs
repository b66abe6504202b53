//! What server actions do: their Python code in the ready-made `server-action` component, through the real sandbox, on a
//! copy of the data. Compared are what is logged, the error or the answer, and the difference of the data.
//!
//! Attacks are compared otherwise: whatever they come to, nothing may have changed, and rights that nobody granted must
//! have been refused.

mod judge;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::Context as _;
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value as Json;
use triggerbox_automation::{self as automation, LogSink, Request, people};
use triggerbox_model::{
    event::Trigger,
    grants::{Grant, GrantOperation, Grants, Policy},
    limits::{Class, LimitRequest, Limits},
    manifest::Manifest,
    value::Id,
};
use triggerbox_sandbox::{LogLevel, Pool, Sandbox, Script};
use triggerbox_store::{
    db::{Database, Mode},
    load::DataSet,
};
use triggerbox_toolchain::{Project, Workshop, cache::build_cached};

use crate::{
    Verdict,
    data::{self, register},
    known::Known,
    writes::{self, State},
};

/// The data in a file, and the component that runs the code.
pub struct Actions {
    folder: tempfile::TempDir,
    now: Timestamp,
    before: State,
    grants: Grants,
    manifest: Manifest,
    script: Script,
    schema: Arc<triggerbox_model::schema::Schema>,
    runtime: tokio::runtime::Runtime,
}

impl Actions {
    /// Loads the data of a folder, and builds the component if it was not built before.
    ///
    /// # Errors
    /// When the data makes no sense, or Python scripts cannot be built on this machine.
    pub fn load(folder: &Path, now: Timestamp) -> anyhow::Result<Self> {
        let set = data::read_set(folder)?;
        let place = tempfile::tempdir()?;
        let file = place.path().join("data.db");
        drop(Database::create(&file, &set)?);
        let conn = Connection::open(&file)?;
        register(&conn)?;
        for fact in Known::load().unset {
            data::correct(&conn, &set.schema, &fact)?;
        }
        let before = writes::state(&conn)?;
        conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
        drop(conn);
        let (component, manifest) = component()?;
        let sandbox = Sandbox::new(&Pool { live: 1, ..Pool::default() })?;
        Ok(Self {
            folder: place,
            now,
            before,
            grants: everything(&set),
            manifest,
            script: sandbox.compile(&component)?,
            schema: Arc::new(set.schema),
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// Runs one case.
    #[must_use]
    pub fn run(&self, case: &Json) -> Verdict {
        match self.attempt(case) {
            Ok(verdict) => verdict,
            Err(error) => Verdict::failed("", format!("{error:#}")),
        }
    }

    fn attempt(&self, case: &Json) -> anyhow::Result<Verdict> {
        // The template is copied whole: a run commits.
        let file = self.folder.path().join("case.db");
        std::fs::copy(self.folder.path().join("data.db"), &file)?;
        // A session on the server says its language; a run has its user's. It is none of the fields that are compared.
        if let Some(lang) = case.pointer("/context/lang").and_then(Json::as_str) {
            let user = case.get("uid").and_then(Json::as_u64).unwrap_or(1);
            let sql = "UPDATE res_partner SET lang = ?1 WHERE id = (SELECT partner_id FROM res_users WHERE id = ?2)";
            Connection::open(&file)?.execute(sql, (lang, i64::try_from(user)?))?;
        }
        let log = Log::default();
        let report = {
            let database = Database::open(&file, Mode::Write)?;
            let request = self.request(&database, case)?;
            self.runtime.block_on(automation::run(&database, &request, Box::new(log.clone())))?
        };
        let after = {
            let conn = Connection::open(&file)?;
            register(&conn)?;
            writes::state(&conn)?
        };
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(self.folder.path().join(format!("case.db{end}")));
        }
        let changes = writes::difference(&self.schema, &self.before, &after);
        let lines = log.0.lock().map(|lines| lines.clone()).unwrap_or_default();
        if case.get("kind").and_then(Json::as_str) == Some("attack") {
            return Ok(judge::attack(case, &report, &changes, &lines));
        }
        Ok(judge::action(&self.schema, case, &report, changes, &lines))
    }

    fn request(&self, database: &Database, case: &Json) -> anyhow::Result<Request> {
        let text = |name: &str| case.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let user = case.get("uid").and_then(Json::as_u64).unwrap_or(1).to_string();
        let run_as = people::find(database, &user, self.now)?;
        let ids = case.get("active_ids").and_then(Json::as_array).cloned().unwrap_or_default();
        let context = case.get("context").filter(|context| context.as_object().is_some_and(|map| !map.is_empty()));
        let mut parameters = vec![("code".into(), text("code"))];
        parameters.extend(context.map(|context| ("context".into(), context.to_string())));
        let authority = self.manifest.authority(Some(self.grants.clone()), Vec::new(), Policy::default());
        Ok(Request {
            script: self.script.clone(),
            rule: text("id"),
            trigger: Trigger::Manual,
            model: Some(text("model")),
            records: ids.iter().filter_map(Json::as_u64).filter_map(|id| Id::try_from(id).ok()).collect(),
            old_values: Vec::new(),
            parameters: self.manifest.parameter_values(&parameters)?,
            actor: run_as.clone(),
            run_as,
            superuser: case.get("su").and_then(Json::as_bool).unwrap_or_default(),
            limits: Limits::resolve(Class::Async, [&self.manifest.limits, &LimitRequest::default()]),
            authority: Arc::new(authority),
            now: self.now,
            seed: 7,
            previous: None,
            dry_run: false,
            outside: None,
        })
    }
}

/// The component and its manifest, built in the folder that the project's other components are built in.
fn component() -> anyhow::Result<(Vec<u8>, Manifest)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let project = Project::open(&root.join("guest-examples/python/server-action"))?;
    let scratch = root.join(format!("target/guests/scratch/server-action-{}", std::process::id()));
    let workshop = Workshop::new(Workshop::shared_tools().unwrap_or_else(|| root.join("target/tools")), scratch);
    let component = build_cached(&project, &workshop, &root.join("target/guests"))?;
    let manifest = std::fs::read_to_string(project.folder.join("triggerbox.toml"))?;
    Ok((component, Manifest::parse(&manifest).context("server-action/triggerbox.toml")?))
}

/// A rule's grants by name: everything that the data has, so that what is compared is the code, not the grants. Other
/// people's users and Odoo's own machinery are not in the data.
fn everything(set: &DataSet) -> Grants {
    let methods = [
        "action_archive",
        "action_cancel",
        "action_confirm",
        "action_done",
        "action_draft",
        "action_feedback",
        "action_lock",
        "action_quotation_sent",
        "action_restore",
        "action_set_lost",
        "action_set_won",
        "action_unarchive",
        "action_unlock",
        "convert_opportunity",
        "message_notify",
        "toggle_active",
    ];
    let grants = set.schema.models.values().map(|model| Grant {
        model: model.name.clone(),
        operations: GrantOperation::ALL.into(),
        fields: model.fields.keys().cloned().collect(),
        keys: std::collections::BTreeSet::new(),
        methods: methods.map(str::to_owned).into(),
        read_only_methods: std::collections::BTreeSet::new(),
        domain: None,
    });
    Grants(grants.collect())
}

/// Log lines, kept.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(LogLevel, String)>>>);

impl LogSink for Log {
    fn line(&mut self, level: LogLevel, message: &str) {
        if let Ok(mut lines) = self.0.lock() {
            lines.push((level, message.to_owned()));
        }
    }
}
