//! Engine, linker and compiled scripts.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use triggerbox_model::manifest::Manifest;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    bindings::AutomationPre,
    cache::Cache,
    compile::{CompileError, Compiler},
    engine::{self, Allocation, EngineError, Mode, Pool},
    hash::ContentHash,
    imports, inspect, measure,
    state::State,
    wasi,
};

/// Everything that scripts share: one for each process. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    shared: Arc<Shared>,
}

struct Shared {
    engine: Engine,
    allocation: Allocation,
    linker: Linker<State>,
    fingerprint: String,
    /// One permit for each run that the pool has room for: one too many waits in place of failing.
    room: Arc<Semaphore>,
    /// The same for runs within runs.
    within: Arc<Semaphore>,
}

/// A component that is compiled and linked, ready to run any number of times. Cheap to clone.
#[derive(Clone)]
pub struct Script {
    pub(crate) sandbox: Sandbox,
    pub(crate) pre: AutomationPre<State>,
    /// Core instances, memories or tables of one instance, whichever are most.
    pub(crate) instances: u64,
    hash: ContentHash,
    manifest: Option<Arc<Manifest>>,
}

/// Why a component is not a script.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It is no component, or not one of this contract. The script's author.
    #[error("{0}")]
    Refused(String),
    /// The compiler's child process did not compile it.
    #[error(transparent)]
    Child(#[from] CompileError),
    /// The engine refuses it: invalid, or it uses a WebAssembly feature that is off. The script's author.
    #[error("the component does not compile: {0}")]
    Compile(String),
    /// It wants an import that the host does not have, or does not export the contract's `run`. The script's author.
    #[error("the component does not fit the contract: {0}")]
    Link(String),
}

impl Sandbox {
    /// Starts the engine and links the contract and WASI.
    ///
    /// # Errors
    /// [`EngineError`] when this machine cannot run WebAssembly.
    pub fn new(pool: &Pool) -> Result<Self, EngineError> {
        let (engine, allocation) = engine::engine(Mode::Run, pool)?;
        let mut linker = Linker::new(&engine);
        wasi::link(&mut linker).and_then(|()| imports::link(&mut linker)).map_err(EngineError)?;
        let fingerprint = engine::fingerprint(&engine);
        let places = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(usize::MAX)));
        let (room, within) = (places(pool.live), places(pool.within()));
        Ok(Self { shared: Arc::new(Shared { engine, allocation, linker, fingerprint, room, within }) })
    }

    /// How runs get their memory on this machine.
    #[must_use]
    pub fn allocation(&self) -> Allocation {
        self.shared.allocation
    }

    /// What an artefact must have been compiled with to be loaded here.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.shared.fingerprint
    }

    /// Compiles a component in this process, without bounds on time and memory: for components that the operator
    /// trusts. Uploads go through [`Sandbox::prepare`].
    ///
    /// # Errors
    /// [`ScriptError`]: the component is at fault.
    pub fn compile(&self, component: &[u8]) -> Result<Script, ScriptError> {
        let compiled =
            Component::new(self.engine(), component).map_err(|error| ScriptError::Compile(one_line(&error)))?;
        self.link(&compiled, component)
    }

    /// The script of an uploaded component: from the cache if this host compiled it before, else compiled in a
    /// bounded child process and kept.
    ///
    /// # Errors
    /// [`ScriptError`]
    pub async fn prepare(
        &self,
        component: &[u8],
        cache: Option<&Cache>,
        compiler: &Compiler,
    ) -> Result<Script, ScriptError> {
        if let Some(script) = cache.and_then(|cache| self.cached(component, cache)) {
            return Ok(script);
        }
        if let Some(finding) = inspect::inspect(component).refusal() {
            return Err(ScriptError::Refused(finding.message.clone()));
        }
        let artefact = compiler.compile(component).await?;
        if let Some(cache) = cache {
            // A cache that cannot be written costs time at the next start, nothing else.
            let _ = cache.store(ContentHash::of(component), self.fingerprint(), &artefact);
        }
        self.artefact(&artefact, component)
    }

    /// The script of a component that this host compiled before, if the cache has it and it is untouched.
    #[must_use]
    pub fn cached(&self, component: &[u8], cache: &Cache) -> Option<Script> {
        let artefact = cache.load(ContentHash::of(component), self.fingerprint())?;
        self.artefact(artefact.code(), component).ok()
    }

    /// Loads machine code. Private: only what this host compiled itself may come here.
    fn artefact(&self, artefact: &[u8], component: &[u8]) -> Result<Script, ScriptError> {
        #[allow(
            unsafe_code,
            reason = "the bytes come from this host's own compiler: from its child process, or from the cache with a \
                      MAC that only this host can make"
        )]
        let compiled = unsafe { Component::deserialize(self.engine(), artefact) };
        let compiled = compiled.map_err(|error| ScriptError::Compile(one_line(&error)))?;
        self.link(&compiled, component)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    pub(crate) fn room(&self) -> &Arc<Semaphore> {
        &self.shared.room
    }

    /// A place for a run within another, if there is one now: one that is kept for such runs, or any that is free.
    pub(crate) fn place_within(&self) -> Option<OwnedSemaphorePermit> {
        let places = [&self.shared.within, &self.shared.room];
        places.into_iter().find_map(|places| Arc::clone(places).try_acquire_owned().ok())
    }

    fn link(&self, compiled: &Component, component: &[u8]) -> Result<Script, ScriptError> {
        let needs = compiled.resources_required();
        let memories_or_tables = needs.map_or(0, |needs| needs.num_memories.max(needs.num_tables));
        let instances = measure::core_instances(component).unwrap_or_default().max(u64::from(memories_or_tables));
        let pre = self.shared.linker.instantiate_pre(compiled).and_then(AutomationPre::new);
        let pre = pre.map_err(|error| ScriptError::Link(one_line(&error)))?;
        let manifest = inspect::manifest_of(component).ok().map(Arc::new);
        Ok(Script { sandbox: self.clone(), pre, instances, hash: ContentHash::of(component), manifest })
    }
}

impl Script {
    /// The identity of this version.
    #[must_use]
    pub fn hash(&self) -> ContentHash {
        self.hash
    }

    /// What the engine that it is compiled for is told by: on the same one, the same run is the same to the last bit.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.sandbox.fingerprint()
    }

    /// What it says about itself. Without a valid manifest a script may do nothing.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_deref()
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// An error with its causes, on one line.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    let mut text = format!("{error:#}");
    if let Some(end) = text.find("\n\n") {
        text.truncate(end);
    }
    text.replace('\n', "; ")
}
