//! What the sandbox costs on top of bare wasmtime: time of a run, memory of a live sandbox, loading a script.
//!
//! ```text
//! cargo bench --workspace --bench sandbox
//! ```
//!
//! Bare wasmtime runs the same component on an engine with the same settings, with imports that answer at once with
//! the same values; it meters nothing, captures nothing and links no WASI. Both are measured in turns in one process, in
//! time that its thread computes, and a busy machine still slows both: trust the ratios, not the microseconds.
//!
//! Scripts of other languages are measured the same way, but for WASI, which both sides link. They are named with their
//! components, each the language's `high-value-order` as `triggerbox build` makes it:
//!
//! ```text
//! SANDBOX_BENCH_COMPONENTS=python=/tmp/python.wasm,go=/tmp/go.wasm cargo bench --workspace --bench sandbox
//! ```
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a benchmark may panic")]
#![allow(missing_docs, reason = "the bindings are generated")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::{
    fs,
    future::Future,
    pin::Pin,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use guest_artifacts as guests;
use mimalloc::MiMalloc;
use support::{Memory, Mood, event, limits};
use triggerbox_sandbox::{Cache, Compiler, Ending, Pool, Sandbox, Script, inspect};

/// As the program has it.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

/// Bare wasmtime: what any host would need at least.
mod bare {
    use triggerbox_sandbox::{
        engine::{Mode, Pool, engine},
        inspect::full_name,
    };
    use wasmtime::{
        Store,
        component::{Component, Linker, ResourceTable, types::ComponentItem},
    };
    use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "automation",
        imports: { default: async | trappable },
        exports: { default: async },
    });

    use triggerbox::automation::{
        chatter::Message,
        events::{PreviousRun, Trigger, User},
        types::{Error, Field, Link, RecordRef, Row, Value},
    };

    pub(super) struct Bare {
        pre: AutomationPre<Held>,
    }

    /// What a store holds: whether the host keeps silent, and WASI.
    pub(super) struct Held {
        silent: bool,
        wasi: WasiCtx,
        table: ResourceTable,
    }

    impl WasiView for Held {
        fn ctx(&mut self) -> WasiCtxView<'_> {
            WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
        }
    }

    impl Bare {
        pub(super) fn new(component: &[u8], pool: &Pool, wasi: bool) -> Self {
            let (engine, _) = engine(Mode::Run, pool).unwrap();
            let component = Component::new(&engine, component).unwrap();
            let mut linker = Linker::<Held>::new(&engine);
            // A script that asks for nothing of it is given none, here as there.
            let described = component.component_type();
            if wasi || described.imports(&engine).any(|(name, _)| name.starts_with("wasi:")) {
                wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
            }
            // What it imports of the contract is there; two functions answer.
            linker.allow_shadowing(true);
            for (name, import) in component.component_type().imports(&engine) {
                let ComponentItem::ComponentInstance(instance) = import.ty else { continue };
                if !name.starts_with("triggerbox:") {
                    continue;
                }
                let mut linked = linker.instance(name).unwrap();
                for (function, _) in
                    instance.exports(&engine).filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentFunc(_)))
                {
                    linked.func_new(function, |_, _, _, _| Err(wasmtime::Error::msg("a stub"))).unwrap();
                }
            }
            // By the version of the contract that it was built for.
            let name_of = |interface: &str| {
                let start = format!("triggerbox:automation/{interface}@");
                let own = described.imports(&engine).find(|(name, _)| name.starts_with(&start));
                own.map_or_else(|| full_name(interface), |(name, _)| name.to_owned())
            };
            let mut records = linker.instance(&name_of("records")).unwrap();
            records
                .func_wrap_async("read", |store, (_, ids, _): (String, Vec<u32>, Vec<String>)| {
                    let silent = store.data().silent;
                    Box::new(async move {
                        if silent {
                            std::future::pending::<()>().await;
                        }
                        let values = vec![Value::Number(12_000.0)];
                        let rows = ids.into_iter().map(|id| Row { id, values: values.clone() }).collect();
                        Ok((Ok::<Vec<Row>, Error>(rows),))
                    })
                })
                .unwrap();
            let mut chatter = linker.instance(&name_of("chatter")).unwrap();
            chatter
                .func_wrap_async("post-note", |_, _: (RecordRef, Message)| {
                    Box::new(async move { Ok((Ok::<(), Error>(()),)) })
                })
                .unwrap();
            Self { pre: AutomationPre::new(linker.instantiate_pre(&component).unwrap()).unwrap() }
        }

        pub(super) async fn run(&self, event: &Event, silent: bool) -> Outcome {
            let held = Held { silent, wasi: WasiCtx::default(), table: ResourceTable::new() };
            let mut store = Store::new(self.pre.engine(), held);
            store.set_fuel(1_000_000_000).unwrap();
            store.fuel_async_yield_interval(Some(1_000_000)).unwrap();
            let script = self.pre.instantiate_async(&mut store).await.unwrap();
            script.call_run(&mut store, event).await.unwrap().unwrap()
        }
    }

    pub(super) fn event() -> Event {
        let user = User {
            id: 2,
            name: "Mitchell Admin".into(),
            login: "admin".into(),
            lang: "en_US".into(),
            tz: "Europe/Brussels".into(),
        };
        Event {
            run_id: "run-1".into(),
            rule: "high-value".into(),
            attempt: 1,
            depth: 0,
            seed: 7,
            trigger: Trigger::Created,
            model: Some("sale.order".into()),
            records: vec![42],
            old_values: Vec::new(),
            actor: user.clone(),
            run_as: user,
            superuser: false,
            company: Link { id: 1, display_name: Some("My Company".into()) },
            now: "2026-11-21T10:15:00Z".into(),
            parameters: vec![Field { name: "threshold".into(), value: Value::Number(10_000.0) }],
            previous: None::<PreviousRun>,
            extra_json: None,
        }
    }
}

const SCRIPT: &[u8] = guests::HIGH_VALUE_ORDER.component;
/// Sandboxes that are alive at once in the measurement of memory.
const LIVE: usize = 1_000;
/// How long a cached script may take.
const LOADED: Duration = Duration::from_millis(5);
/// Which side a child process measures the memory of.
const SIDE: &str = "SANDBOX_BENCH_MEMORY_OF";

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // `cargo test` only wants to know that it works; `cargo bench` says that it is meant.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 30 } else { 1 };
    if let Ok(side) = std::env::var(SIDE) {
        println!("{}", runtime.block_on(memory_of(&side)));
        return;
    }
    runtime.block_on(run_against_bare("rust", SCRIPT, false, rounds));
    for (language, component) in languages() {
        runtime.block_on(run_against_bare(&language, &component, true, rounds));
    }
    memory_against_bare();
    runtime.block_on(loading(rounds));
    divan::main();
}

/// Components of other languages, by name.
fn languages() -> Vec<(String, Vec<u8>)> {
    let named = std::env::var("SANDBOX_BENCH_COMPONENTS").unwrap_or_default();
    let pairs = named.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, path)| (name.to_owned(), fs::read(path).unwrap())).collect()
}

/// Fresh sandbox, one record read, one decision, one note posted.
async fn run_against_bare(language: &str, component: &[u8], wasi: bool, rounds: usize) {
    const RUNS: usize = 500;
    let pool = Pool { live: 64, ..Pool::default() };
    let sandbox = Sandbox::new(&pool).unwrap();
    let script = sandbox.compile(component).unwrap();
    let bare = bare::Bare::new(component, &pool, wasi);
    let bare_event = bare::event();
    let (mut ours, mut theirs, mut host) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begin = computed();
        for _ in 0..RUNS {
            bare.run(&bare_event, false).await;
        }
        theirs.push((computed() - begin) / RUNS as u32);

        let input: Vec<_> = (0..RUNS).map(|_| (event(), limits(&[]), Box::new(Memory::default()))).collect();
        let mut in_host = Duration::ZERO;
        let begin = computed();
        for (event, limits, memory) in input {
            // What a run comes to is dropped here, on either side.
            let run = script.run(event, limits, memory).await;
            assert!(matches!(run.ending, Ending::Done(_)));
            in_host += run.durations.host;
        }
        ours.push((computed() - begin) / RUNS as u32);
        host.push(in_host / RUNS as u32);
    }
    let (ours, theirs, host) = (median(&mut ours), median(&mut theirs), median(&mut host));
    println!(
        "{language}: fresh sandbox + run: read one record, decide, post one note (median of {rounds} rounds of {RUNS})"
    );
    println!("  bare wasmtime {:>8.1} µs", micros(theirs));
    println!("  sandbox       {:>8.1} µs, {:.1} of them in the test's host", micros(ours), micros(host));
    println!("  ratio         {:>8.2}", micros(ours) / micros(theirs));
    println!("  own share     {:>8.1} µs\n", micros(ours) - micros(theirs));
}

/// Private memory of sandboxes that wait in their first host call. Each side in a process of its own: memory that one
/// has given back to the allocator would be the other's for free.
fn memory_against_bare() {
    let of = |side: &str| -> u64 {
        let program = std::env::current_exe().unwrap();
        let output = std::process::Command::new(program).env(SIDE, side).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    let (theirs, ours) = (of("bare"), of("sandbox"));
    println!("private memory of a live sandbox that waits in a host call ({LIVE} at once; {:?})", live_pool());
    println!("  bare wasmtime {:>8.1} KiB", theirs as f64 / 1024.0);
    println!("  sandbox       {:>8.1} KiB", ours as f64 / 1024.0);
    println!("  ratio         {:>8.2}\n", ours as f64 / theirs as f64);
}

/// The engine's settings for that many.
fn live_pool() -> Pool {
    Pool { live: LIVE as u32 + 8, ..Pool::default() }
}

/// Measures one side's memory, in a process of its own.
async fn memory_of(side: &str) -> u64 {
    let pool = live_pool();
    if side == "bare" {
        let bare = bare::Bare::new(SCRIPT, &pool, false);
        let event = bare::event();
        return hold(|| bare.run(&event, true));
    }
    let sandbox = Sandbox::new(&pool).unwrap();
    let script = sandbox.compile(SCRIPT).unwrap();
    hold(|| {
        let host = Memory { mood: Mood::Silent, ..Memory::default() };
        script.run(event(), limits(&[]), Box::new(host))
    })
}

/// Starts many futures, lets each come to its first wait, and says what each holds in memory.
fn hold<F: Future>(start: impl Fn() -> F) -> u64 {
    // One first, so that what is made once is not counted.
    let first = poll_once(start());
    let before = private_bytes();
    let held: Vec<_> = (0..LIVE).map(|_| poll_once(start())).collect();
    let after = private_bytes();
    drop((first, held));
    after.saturating_sub(before) / LIVE as u64
}

fn poll_once<F: Future>(future: F) -> Pin<Box<impl Future>> {
    // Without tokio's budget for one turn of a task, which 1,000 runs at once would use up.
    let mut future = Box::pin(tokio::task::unconstrained(future));
    let poll = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "it ended before its first wait");
    future
}

/// What this process holds for itself, from the kernel's accounts.
fn private_bytes() -> u64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = |name: &str| -> u64 {
        let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kib("Private_Dirty:") + kib("Private_Clean:")) << 10
}

/// From bytes of a component to a script that is ready to run, when the host compiled it before: each Rust example.
async fn loading(rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(&folder.path().join("cache"), &folder.path().join("key")).unwrap();
    let sandbox = Sandbox::new(&Pool { live: 4, ..Pool::default() }).unwrap();
    let compiler = Compiler::new(env!("CARGO_BIN_EXE_sandbox-compile-child"), []);
    let mut loaded = Vec::new();
    for guest in guests::EXAMPLES {
        sandbox.prepare(guest.component, Some(&cache), &compiler).await.unwrap();
        let load = |_| {
            let begin = Instant::now();
            sandbox.cached(guest.component, &cache).unwrap();
            begin.elapsed()
        };
        loaded.push((median(&mut (0..rounds).map(load).collect::<Vec<_>>()), guest));
    }
    loaded.sort_by_key(|(time, _)| *time);
    println!("loading a script whose artefact is cached (MAC checked), median of {rounds}; the aim is {LOADED:?}");
    let slow = loaded.iter().filter(|(time, _)| *time > LOADED).map(|loaded| ("over the aim", *loaded));
    let ends = [("fastest", loaded[0]), ("slowest", loaded[loaded.len() - 1])];
    for (what, (time, guest)) in ends.into_iter().chain(slow) {
        let (time, size) = (micros(time) / 1e3, guest.component.len() >> 10);
        println!("  {what:<13} {time:>8.2} ms, {}, {size} KiB", guest.name);
    }
    println!("  of {} scripts\n", loaded.len());
}

/// What this thread has computed so far, in the kernel as well. Both sides run on one thread; what else the machine does
/// is in neither.
fn computed() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What `check` costs before it compiles anything.
#[divan::bench]
fn inspect_a_script() -> inspect::Inspection {
    inspect::inspect(divan::black_box(SCRIPT))
}

/// One run, as one number.
#[divan::bench]
fn run_a_script(bencher: divan::Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sandbox = Sandbox::new(&Pool { live: 4, ..Pool::default() }).unwrap();
    let script: Script = sandbox.compile(SCRIPT).unwrap();
    bencher
        .with_inputs(|| (event(), Box::new(Memory::default())))
        .bench_local_values(|(event, host)| runtime.block_on(script.run(event, limits(&[]), host)).used);
}
