//! WASI 0.2 with everything denied: no files, no environment, no arguments, no network.
//!
//! Language runtimes import it, so it is linked. A script sees the time of its event, random numbers drawn
//! from the event's seed, and a log in place of stdout and stderr.

use std::{convert::Infallible, time::Duration};

use rand::{Rng, SeedableRng, TryRng, rngs::StdRng};
use triggerbox_model::limits::Limit;
use wasmtime::{
    StoreContextMut,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    HostMonotonicClock, HostWallClock, WasiCtx, WasiView,
    p2::{
        DynPollable, Pollable,
        bindings::{
            clocks::monotonic_clock::{self, Instant},
            io::poll,
            random,
        },
        subscribe,
    },
};

use crate::{clock::RunClock, console::Console, state::State, stop::Stop};

/// Where the script's monotonic clock starts. Go's runtime takes zero for a broken clock.
const MONOTONIC_START: Duration = Duration::from_secs(1);
/// Most random bytes in one call: enough for any key, and no way to burn time that fuel does not see.
const MAX_RANDOM: u64 = 64 * 1024;

/// The script's side of WASI for one run. It is made when it is first asked for: most scripts never do.
pub(crate) struct Wasi {
    /// What random numbers are drawn from.
    seed: u32,
    /// The time since 1970 that it shows.
    now: Duration,
    made: Option<WasiCtx>,
}

impl Wasi {
    pub(crate) fn new(seed: u32, now: Duration) -> Self {
        Self { seed, now, made: None }
    }

    pub(crate) fn context(&mut self, clock: &RunClock, console: &Console) -> &mut WasiCtx {
        self.made.get_or_insert_with(|| context(self.seed, self.now, clock, console))
    }
}

fn context(seed: u32, now: Duration, clock: &RunClock, console: &Console) -> WasiCtx {
    let seed = u64::from(seed);
    WasiCtx::builder()
        .stdout(console.stdout())
        .stderr(console.stderr())
        .secure_random(Seeded::new(seed))
        .insecure_random(Seeded::new(seed ^ (1 << 32)))
        .insecure_random_seed((u128::from(seed) << 64) | u128::from(!seed))
        .max_random_size(MAX_RANDOM)
        .wall_clock(Frozen(now))
        .monotonic_clock(Virtual(clock.clone()))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}

/// Links all of WASI 0.2, with timers on the virtual clock.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<State, Timers>(linker, |state| TimersView {
        clock: &state.clock,
        table: &mut state.table,
    })?;
    // What these do is out of proportion to the few instructions that ask for it, so random bytes cost fuel and
    // both look at the clock: fuel alone would let 50 seconds pass between two yields.
    linker.instance(RANDOM)?.func_wrap(
        "get-random-bytes",
        |mut store: StoreContextMut<'_, State>, (len,): (u64,)| {
            charge(&mut store, len)?;
            Ok((random::random::Host::get_random_bytes(store.data_mut().ctx().ctx.random(), len)?,))
        },
    )?;
    linker.instance(INSECURE)?.func_wrap(
        "get-insecure-random-bytes",
        |mut store: StoreContextMut<'_, State>, (len,): (u64,)| {
            charge(&mut store, len)?;
            Ok((random::insecure::Host::get_insecure_random_bytes(store.data_mut().ctx().ctx.random(), len)?,))
        },
    )?;
    linker.instance(POLL)?.func_wrap_async(
        "poll",
        |mut store: StoreContextMut<'_, State>, (list,): (Vec<Resource<DynPollable>>,)| {
            Box::new(async move {
                charge(&mut store, list.len() as u64)?;
                Ok((poll::Host::poll(&mut store.data_mut().table, list).await?,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The names under which wasmtime-wasi links what is replaced; a test fails when they change.
const RANDOM: &str = "wasi:random/random@0.2.12";
const INSECURE: &str = "wasi:random/insecure@0.2.12";
const POLL: &str = "wasi:io/poll@0.2.12";

/// Takes fuel for work of the host, and ends the run when its fuel or its time is over.
fn charge(store: &mut StoreContextMut<'_, State>, fuel: u64) -> wasmtime::Result<()> {
    store.data().check_time(std::time::Instant::now())?;
    let left = store.get_fuel()?.checked_sub(fuel).ok_or(Stop::Limit(Limit::Fuel))?;
    store.set_fuel(left)
}

/// A wall clock that stands still.
struct Frozen(Duration);

impl HostWallClock for Frozen {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

/// A monotonic clock that only waiting moves.
struct Virtual(RunClock);

impl HostMonotonicClock for Virtual {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        nanoseconds(self.0.virtual_now())
    }
}

fn nanoseconds(virtual_now: Duration) -> u64 {
    u64::try_from((virtual_now + MONOTONIC_START).as_nanos()).unwrap_or(u64::MAX)
}

struct Timers;

impl HasData for Timers {
    type Data<'a> = TimersView<'a>;
}

struct TimersView<'a> {
    clock: &'a RunClock,
    table: &'a mut ResourceTable,
}

impl monotonic_clock::Host for TimersView<'_> {
    fn now(&mut self) -> wasmtime::Result<Instant> {
        Ok(nanoseconds(self.clock.virtual_now()))
    }

    fn resolution(&mut self) -> wasmtime::Result<Instant> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: Instant) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = Duration::from_nanos(when).saturating_sub(MONOTONIC_START);
        let timer = self.table.push(Timer { clock: self.clock.clone(), deadline })?;
        subscribe(self.table, timer)
    }

    fn subscribe_duration(&mut self, nanoseconds: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let deadline = self.clock.virtual_now().saturating_add(Duration::from_nanos(nanoseconds));
        let timer = self.table.push(Timer { clock: self.clock.clone(), deadline })?;
        subscribe(self.table, timer)
    }
}

/// A point of the virtual clock to wait for.
struct Timer {
    clock: RunClock,
    deadline: Duration,
}

#[async_trait::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        self.clock.wait_until(self.deadline).await;
    }
}

/// Random numbers from the event's seed: the same again in a replay. Set up when the first is drawn, as most
/// scripts draw none.
struct Seeded {
    seed: u64,
    drawn: Option<StdRng>,
}

impl Seeded {
    fn new(seed: u64) -> Self {
        Self { seed, drawn: None }
    }

    fn rng(&mut self) -> &mut StdRng {
        let seed = self.seed;
        self.drawn.get_or_insert_with(|| StdRng::seed_from_u64(seed))
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.rng().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.rng().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.rng().fill_bytes(bytes);
        Ok(())
    }
}
