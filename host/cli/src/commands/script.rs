//! From a file to a script that is ready to run: inspected, its manifest read, compiled in a bounded process,
//! and kept in the cache.

use std::{
    env,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow};
use triggerbox_model::manifest::Manifest;
use triggerbox_sandbox::{
    Cache, CompileError, Compiler, Pool, Sandbox, Script, ScriptError,
    inspect::{Inspection, MAX_BYTES, inspect},
};

use crate::exit::{Exit, Failure, OrExit};

/// Names the folder of compiled scripts and of the key that seals them, in place of the user's own.
const CACHE_VARIABLE: &str = "TRIGGERBOX_CACHE";

/// A script with its manifest.
pub(crate) struct Loaded {
    /// Ready to run.
    pub(crate) script: Script,
    /// What it asks for.
    pub(crate) manifest: Manifest,
}

/// The engine, with room for some runs at a time.
pub(crate) fn sandbox(live: u32) -> Result<Sandbox, Failure> {
    Sandbox::new(&Pool { live, ..Pool::default() })
        .context("this machine cannot run WebAssembly; see `triggerbox doctor`")
        .or_exit(Exit::Backend)
}

/// This program, as the bounded process that compiles.
pub(crate) fn compiler() -> anyhow::Result<Compiler> {
    let program = env::current_exe().context("this program's own file cannot be found")?;
    Ok(Compiler::new(program, ["__compile".into()]))
}

/// Where compiled scripts are kept, with the file of the key that seals them: never in the same folder.
pub(crate) fn cache_paths() -> Option<(PathBuf, PathBuf)> {
    match env::var_os(CACHE_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from) {
        Some(folder) => Some((folder.join("compiled"), folder.join("key"))),
        None => Some((dirs::cache_dir()?.join("triggerbox"), dirs::data_local_dir()?.join("triggerbox/cache.key"))),
    }
}

/// The cache, if there can be one. Without it every script is compiled each time.
pub(crate) fn cache() -> Option<Cache> {
    let (folder, key) = cache_paths()?;
    Cache::open(&folder, &key).ok()
}

/// A component's bytes, up to just more than it may have: what is larger is refused all the same.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(bytes)
}

/// Makes a component ready to run.
pub(crate) async fn load(sandbox: &Sandbox, bytes: &[u8]) -> Result<Loaded, Failure> {
    let inspection = inspect(bytes);
    if let Some(problem) = inspection.problems.first() {
        return Err(anyhow!("{}", problem.message)).or_exit(Exit::InvalidComponent);
    }
    let manifest = manifest(inspection)?;
    let script = sandbox.prepare(bytes, cache().as_ref(), &compiler()?).await.map_err(|error| Failure {
        exit: match &error {
            ScriptError::Child(CompileError::Failed(_)) => Exit::Backend,
            _ => Exit::InvalidComponent,
        },
        error: error.into(),
    })?;
    Ok(Loaded { script, manifest })
}

fn manifest(inspection: Inspection) -> Result<Manifest, Failure> {
    inspection
        .manifest
        .context("the component has no manifest; `triggerbox build` puts triggerbox.toml into it")
        .or_exit(Exit::InvalidComponent)
}
