//! The one place that builds a wasmtime engine. Each knob says what it costs.

use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

/// What an engine is for. Both modes compile to the same code, so that what one compiled the other runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Runs scripts: slots for instances are reserved up front.
    Run,
    /// Only compiles: reserves nothing, so it lives under an address-space limit.
    Compile,
}

/// How scripts find room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Runs at the same time. Each costs about 8 GiB of address space, no memory, and 6 entries in the
    /// process's memory map (`vm.max_map_count` is 65,530 by default).
    pub live: u32,
    /// Largest linear memory that any run may be allowed, in bytes. Address space only.
    pub max_memory: usize,
    /// Slots that stay mapped to the module that used them last. More make switching between many scripts
    /// faster; each may keep [`KEEP_RESIDENT`] bytes.
    pub warm_slots: u32,
}

/// Places that are kept for runs within runs (a script that an agent uses as a tool), on top of those for all runs: these
/// hold places of their own while they want a second one.
const WITHIN: u32 = 32;

impl Pool {
    /// Places for runs within runs: no more than there can be runs.
    pub(crate) fn within(&self) -> u32 {
        self.live.min(WITHIN)
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self { live: 256, max_memory: 1 << 30, warm_slots: 64 }
    }
}

/// How instances get their memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// From slots reserved when the engine was made.
    Pooling,
    /// Mapped for each run: slower where several threads run scripts, but needs no reservation.
    OnDemand,
}

/// WebAssembly stack of a run, in bytes. QuickJS's own overflow check sits above wasmtime's default of 512 KiB:
/// with less, a deep JavaScript recursion traps in place of throwing.
pub const MAX_WASM_STACK: usize = 1 << 20;

/// Stack of the fiber that a run lives on: the WebAssembly stack, and as much again for the host calls made on it.
/// Address space; touched pages stay with the slot.
pub(crate) const FIBER_STACK: usize = 2 << 20;

/// Dirty bytes of a slot that are cleared by hand at the end of a run, in place of giving the pages back: it saves
/// 7 page faults and 15 µs for each Rust run and is what scales over threads. Resident for each warm slot at most.
pub const KEEP_RESIDENT: usize = 4 << 20;

/// Fuel between two looks at the clock: about 0.1 to 0.2 ms of computing. Ten times less would cost 20 to 40 %.
pub(crate) const YIELD_EVERY: u64 = 1_000_000;

/// Most linear memories and tables of one component: StarlingMonkey and Rust have one memory, QuickJS two.
const MEMORIES_EACH: u32 = 2;
const TABLES_EACH: u32 = 8;
/// Room for core instances on average: Python has 40. A single component may take up to 256, so that the run's own
/// limit, and not the pool, is what stops it.
const CORE_INSTANCES_EACH: u32 = 48;

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine does not start on this machine: {0:#}")]
pub struct EngineError(pub(crate) wasmtime::Error);

/// Makes an engine. In [`Mode::Run`] slots are reserved; where the address space is too small for that (a container
/// with `ulimit -v`, an old kernel), instances are mapped one by one.
///
/// # Errors
/// [`EngineError`] when the processor or the system cannot run WebAssembly at all.
pub fn engine(mode: Mode, pool: &Pool) -> Result<(Engine, Allocation), EngineError> {
    if mode == Mode::Run {
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
        if let Ok(engine) = Engine::new(&config) {
            return Ok((engine, Allocation::Pooling));
        }
    }
    Engine::new(&config()).map(|engine| (engine, Allocation::OnDemand)).map_err(EngineError)
}

/// What both modes share: everything that shapes compiled code.
fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // Compiling takes longer than with `None` (Python: 8 s in place of 3); code runs two to five times as fast.
        .cranelift_opt_level(OptLevel::Speed)
        // All cores compile; only while a script is uploaded.
        .parallel_compilation(true)
        // The same bits for NaN on every processor, for replays. About 1 % on code that computes with floats.
        .cranelift_nan_canonicalization(true)
        // Counts instructions: exact and the same on every machine. 7 % on arithmetic, 20 to 40 % on text.
        .consume_fuel(true)
        .operator_cost(operator_cost())
        // Fuel already gives the clock its say; epochs on top would cost up to 20 % more.
        .epoch_interruption(false)
        // Without the component model's own concurrency a run is 10 to 50 µs shorter.
        .concurrency_support(false)
        .max_wasm_stack(MAX_WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // Initial memory is mapped copy-on-write: without it Python starts in 8 ms, not in 3.
        .memory_init_cow(true)
        // Traps carry function names, and lines where the component has debug information. Costs the size of that
        // information in the artefact, and time only when a script traps.
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(32))
        .generate_address_map(true)
        // Only debuggers and profilers read it; leaving it out makes artefacts smaller and loading faster.
        .native_unwind_info(false);

    // Proposals: what the supported languages' compilers emit is on, all else is off.
    config
        .wasm_simd(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_extended_const(true)
        // Results may differ between processors.
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        // QuickJS components pass values from one of their modules to another, by adapters over both modules' memories.
        .wasm_multi_memory(true)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false)
        .wasm_component_model_map(false)
        .wasm_component_model_fixed_length_lists(false)
        .wasm_component_model_memory64(false)
        .wasm_component_model_implements(false);
    config
}

/// What one instruction costs: wasmtime's table, but growing has a price too. A new page costs the host 40 µs when
/// it is touched; 255 fuel is all that the table can say, which is enough to end a loop that grows nothing.
fn operator_cost() -> OperatorCost {
    let mut cost = OperatorCost::new();
    cost.variable.memory_grow_per_page = u8::MAX;
    cost.variable.table_grow_per_element = 8;
    cost
}

fn pooling(pool: &Pool) -> PoolingAllocationConfig {
    let mut config = PoolingAllocationConfig::new();
    let places = pool.live.saturating_add(pool.within());
    config
        .total_component_instances(places)
        .total_stacks(places)
        .total_memories(places.saturating_mul(MEMORIES_EACH))
        .total_tables(places.saturating_mul(TABLES_EACH))
        .total_core_instances(places.saturating_mul(CORE_INSTANCES_EACH).max(256))
        .max_core_instances_per_component(256)
        .max_memories_per_component(MEMORIES_EACH)
        .max_tables_per_component(TABLES_EACH)
        .max_memories_per_module(1)
        .max_tables_per_module(4)
        // Records of functions and types, on the host's heap while the instance lives.
        .max_core_instance_size(4 << 20)
        .max_component_instance_size(8 << 20)
        // As many as a run's limit allows. StarlingMonkey's table has 7,708 elements. Address space.
        .table_elements(20_000)
        .max_memory_size(pool.max_memory)
        .max_unused_warm_slots(pool.warm_slots);
    // Finds the dirty pages of a slot without touching the others (Linux 6.7). Without it keeping pages would mean
    // clearing the whole image after each run, so then nothing is kept.
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        config.pagemap_scan(Enabled::Yes).linear_memory_keep_resident(KEEP_RESIDENT).table_keep_resident(1 << 20);
    }
    config
}

/// What an artefact must have been compiled with to be loaded here: engine version, processor features, settings.
#[must_use]
pub fn fingerprint(engine: &Engine) -> String {
    use std::hash::{Hash, Hasher};

    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-wasmtime48-{:016x}", env!("CARGO_PKG_VERSION"), hasher.finish())
}

/// FNV-1a: the same on every run, which the standard library's hasher does not promise.
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_modes_compile_the_same_code() {
        let pool = Pool { live: 4, ..Pool::default() };
        let (run, allocation) = engine(Mode::Run, &pool).unwrap();
        let (compile, _) = engine(Mode::Compile, &pool).unwrap();
        assert_eq!(allocation, Allocation::Pooling);
        assert_eq!(fingerprint(&run), fingerprint(&compile));
    }

    #[test]
    fn without_address_space_instances_are_mapped_one_by_one() {
        // 100,000 runs at once do not fit in 47 bits of addresses.
        let (_, allocation) = engine(Mode::Run, &Pool { live: 100_000, ..Pool::default() }).unwrap();
        assert_eq!(allocation, Allocation::OnDemand);
    }
}
