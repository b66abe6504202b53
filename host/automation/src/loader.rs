//! From a script's name to a component that is ready to run: found in the database, compiled once, kept.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OptionalExtension};
use triggerbox_model::error::Error;
use triggerbox_sandbox::{ContentHash, Sandbox, Script, ScriptError};
use triggerbox_store::db::{Database, fault};

use crate::{config::Compile, error::EngineError};

/// Compiled scripts in memory.
pub struct Loader {
    sandbox: Sandbox,
    compile: Compile,
    ready: Mutex<HashMap<ContentHash, Script>>,
    /// One compilation at a time: many runs of a new script wait for the first one's.
    compiling: tokio::sync::Mutex<()>,
}

impl Loader {
    pub(crate) fn new(sandbox: Sandbox, compile: Compile) -> Self {
        Self { sandbox, compile, ready: Mutex::default(), compiling: tokio::sync::Mutex::default() }
    }

    /// The script with this content.
    ///
    /// # Errors
    /// `unknown-script`, `broken-script`; what the database says.
    pub async fn ready(&self, database: &Database, hash: ContentHash) -> Result<Script, EngineError> {
        if let Some(script) = self.known(hash) {
            return Ok(script);
        }
        let _turn = self.compiling.lock().await;
        if let Some(script) = self.known(hash) {
            return Ok(script);
        }
        let component = component(&*database.snapshot()?, hash)?;
        let script = self.compile(&component).await?;
        self.lock().insert(hash, script.clone());
        Ok(script)
    }

    /// The script of a component, which is not kept.
    ///
    /// # Errors
    /// `broken-script`
    pub async fn compile(&self, component: &[u8]) -> Result<Script, Error> {
        self.compiled(component).await.map_err(|error| {
            let hash = ContentHash::of(component);
            Error::rejected("broken-script", format!("the script {hash} cannot be made ready: {error}"))
        })
    }

    async fn compiled(&self, component: &[u8]) -> Result<Script, ScriptError> {
        match &self.compile {
            Compile::InProcess => self.sandbox.compile(component),
            Compile::Kept(kept) => {
                // Whoever wants the same one waits for it.
                let mut kept = kept.0.lock().await;
                let hash = ContentHash::of(component);
                if let Some(script) = kept.get(&hash) {
                    return Ok(script.clone());
                }
                let script = self.sandbox.compile(component)?;
                kept.insert(hash, script.clone());
                Ok(script)
            }
            Compile::Bounded(bounded) => {
                self.sandbox.prepare(component, bounded.cache.as_ref(), &bounded.compiler).await
            }
        }
    }

    fn known(&self, hash: ContentHash) -> Option<Script> {
        self.lock().get(&hash).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentHash, Script>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn component(conn: &Connection, hash: ContentHash) -> Result<Vec<u8>, Error> {
    let sql = "SELECT component FROM engine_script WHERE hash = ?1";
    let found = conn
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([hash.0.as_slice()], |row| row.get(0)).optional());
    found.map_err(fault)?.ok_or_else(|| {
        Error::not_found(
            "unknown-script",
            format!("the script {hash} is gone; upload it again, or let the rule use another"),
        )
    })
}
