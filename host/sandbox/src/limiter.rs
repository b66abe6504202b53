//! What instances may take: memory, tables, instances, counted over all of a run.

use triggerbox_model::limits::{Limit, Limits};
use wasmtime::ResourceLimiter;

use crate::{measure::StackDepth, stop::Stop};

/// Counts what the engine hands to one run.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory: Gauge,
    tables: Gauge,
    instances: usize,
    pub(crate) stack: StackDepth,
}

/// A total over all memories, or all tables, of a run.
#[derive(Debug)]
struct Gauge {
    limit: Limit,
    used: usize,
    peak: usize,
    max: usize,
    /// What the last growth added: taken back if the engine then cannot do it.
    last: usize,
}

impl Gauge {
    fn new(limit: Limit, limits: &Limits) -> Self {
        let max = usize::try_from(limits.get(limit)).unwrap_or(usize::MAX);
        Self { limit, used: 0, peak: 0, max, last: 0 }
    }

    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last = desired.saturating_sub(current);
        let total = self.used.saturating_add(self.last);
        if total > self.max {
            self.peak = total;
            // An error traps; `false` would let the script go on without the memory it needs.
            return Err(Stop::Limit(self.limit).into());
        }
        // Over its own declared maximum a memory does not grow: the script is told.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.used = total;
        self.peak = self.peak.max(total);
        Ok(true)
    }

    fn failed(&mut self) {
        self.used = self.used.saturating_sub(self.last);
        self.last = 0;
    }
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: Gauge::new(Limit::Memory, limits),
            tables: Gauge::new(Limit::TableElements, limits),
            instances: usize::try_from(limits.get(Limit::Instances)).unwrap_or(usize::MAX),
            stack: StackDepth::default(),
        }
    }

    /// Most linear memory so far or, after a breach, what was wanted.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory.peak as u64
    }

    /// Most table elements so far or, after a breach, what was wanted.
    pub(crate) fn table_peak(&self) -> u64 {
        self.tables.peak as u64
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.stack.look();
        self.memory.grow(current, desired, maximum)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.failed();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.tables.grow(current, desired, maximum)
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.failed();
        Ok(())
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.instances
    }

    fn memories(&self) -> usize {
        self.instances
    }
}
