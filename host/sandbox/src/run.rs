//! One run: a fresh store, one instance, one call, and what it came to.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use triggerbox_model::{
    event::{Event, Failure, Outcome},
    limits::{Limit, Limits, Meter},
};
use wasmtime::{CallHook, Store, component::ResourceTable};

use crate::{
    bindings::triggerbox::automation::events,
    calendar,
    clock::RunClock,
    console::Console,
    convert::{IntoModel, IntoWit},
    engine::YIELD_EVERY,
    host::{Host, HostFault},
    limiter::Limiter,
    measure,
    report::{Durations, Ending, Run, Trap},
    sandbox::Script,
    state::{Fuel, State, milliseconds},
    stop::Stop,
    trap,
    wasi::Wasi,
};

/// What went on inside the engine, for [`conclude`].
enum Inside {
    /// The script returned.
    Returned(Result<events::Outcome, events::Failure>),
    /// The host ended it, between two turns.
    Stopped(Stop),
    /// The engine ended it: a trap, or a stop from inside a host call.
    Broken(wasmtime::Error),
}

impl Script {
    /// Runs the script once, in a fresh sandbox, and always comes back: whatever goes wrong is in [`Run::ending`].
    ///
    /// Must be called on a tokio runtime with its timer on. Waits, uncharged, while the pool is full. Dropping the
    /// future ends the run and drops the host.
    pub async fn run(&self, event: Event, limits: Limits, host: Box<dyn Host>) -> Run {
        // The semaphore is never closed; without a permit the pool itself would say that it is full.
        let _room = Arc::clone(self.sandbox.room()).acquire_owned().await.ok();
        self.run_metered(event, Meter::new(limits), host).await
    }

    /// Runs the script within a run that is under way, against what is left of its limits ([`Meter::within`]). None: there
    /// is no place for it now. It never waits for one: whoever asks has a place, and if all waited, none would be given back.
    pub async fn run_within(&self, event: Event, meter: Meter, host: Box<dyn Host>) -> Option<Run> {
        let _room = self.sandbox.place_within()?;
        // On the heap: the run that it is within has it in its own future.
        Some(Box::pin(self.run_metered(event, meter, host)).await)
    }

    async fn run_metered(&self, event: Event, mut meter: Meter, host: Box<dyn Host>) -> Run {
        let limits = *meter.limits();
        let clock = RunClock::start();
        let fits = meter
            .raise_to(Limit::Payload, event.byte_size())
            .and_then(|()| meter.raise_to(Limit::Instances, self.instances));
        let now = calendar::timestamp(&event.now).map(|now| u64::try_from(now.as_second()).unwrap_or_default());
        let console = Console::new(limits.get(Limit::LogBytes), limits.get(Limit::LogLines));
        let wasi = Wasi::new(event.seed, Duration::from_secs(*now.as_ref().unwrap_or(&0)));
        let mut table = ResourceTable::new();
        let handles = usize::try_from(limits.get(Limit::Handles)).unwrap_or(usize::MAX);
        table.set_max_capacity(handles);
        let limiter = Limiter::new(&limits);
        let state = State { host, meter, clock: clock.clone(), console, limiter, wasi, table, fuel: Fuel::default() };

        let mut store = Store::new(self.sandbox.engine(), state);
        store.limiter(|state| &mut state.limiter);
        store.call_hook(|mut store, hook| {
            if matches!(hook, CallHook::CallingWasm) {
                store.data_mut().limiter.stack.begin();
            }
            Ok(())
        });
        store.set_hostcall_fuel(usize::try_from(limits.get(Limit::CallBytes)).unwrap_or(usize::MAX));
        store.set_max_component_handles(handles);
        let fuelled =
            store.set_fuel(limits.get(Limit::Fuel)).and_then(|()| store.fuel_async_yield_interval(Some(YIELD_EVERY)));

        let mut instantiated = Duration::ZERO;
        let inside = if let Err(breach) = fits {
            Inside::Stopped(breach.into())
        } else if let Err(error) = now {
            Inside::Stopped(Stop::Host(HostFault::new(format!("the event's time: {error}"))))
        } else {
            let run = std::pin::pin!(async {
                fuelled?;
                let script = self.pre.instantiate_async(&mut store).await?;
                instantiated = clock.times().real(Instant::now());
                script.call_run(&mut store, &event.into_wit()).await
            });
            match clock.watch(&limits, run).await {
                Ok(Ok(result)) => Inside::Returned(result),
                Ok(Err(error)) => Inside::Broken(error),
                Err(stop) => Inside::Stopped(stop),
            }
        };
        let fuel_left = store.get_fuel().unwrap_or_default();
        conclude(inside, store.into_data(), fuel_left, instantiated)
    }
}

/// Closes the books of a run.
fn conclude(inside: Inside, mut state: State, fuel_left: u64, instantiated: Duration) -> Run {
    let limits = *state.meter.limits();
    let stderr = state.console.finish(&mut state.meter, &mut *state.host);

    // Totals that were not counted call by call. What is over its limit shows in the ending, not here.
    let (wall, guest, host_calls, total) = {
        let (times, now) = (state.clock.times(), Instant::now());
        (times.wall(now), times.guest(now), times.host_calls(), times.real(now))
    };
    let used = &mut state.meter;
    let _ = used.raise_to(Limit::Fuel, limits.get(Limit::Fuel).saturating_sub(fuel_left));
    let _ = used.raise_to(Limit::Memory, state.limiter.memory_peak());
    let _ = used.raise_to(Limit::TableElements, state.limiter.table_peak());
    let _ = used.raise_to(Limit::Stack, state.limiter.stack.deepest());
    let _ = used.raise_to(Limit::Handles, measure::most_handles(state.table));
    let _ = used.raise_to(Limit::WallTime, milliseconds(wall));
    let _ = used.raise_to(Limit::CpuTime, milliseconds(guest));

    let ending = match inside {
        Inside::Returned(result) => returned(result, &mut state.meter),
        Inside::Stopped(stop) => stopped(stop, &mut state.meter),
        Inside::Broken(error) => match trap::classify(&error) {
            trap::Cause::Stop(stop) => stopped(stop, &mut state.meter),
            trap::Cause::Trap(cause) => {
                let cause = trap::with_panic(cause, stderr.as_deref());
                Ending::Trapped(Trap { cause, stderr, frames: trap::frames(&error) })
            }
        },
    };
    Run {
        ending,
        limits,
        used: *state.meter.used(),
        writes: state.meter.writes().clone(),
        durations: Durations {
            instantiate: instantiated,
            guest: guest.saturating_sub(instantiated),
            host: host_calls,
            total,
        },
        host: state.host,
    }
}

/// A script that returned: its answer counts, if it is not too large.
fn returned(result: Result<events::Outcome, events::Failure>, meter: &mut Meter) -> Ending {
    let result: Result<Result<Outcome, Failure>, _> = match result {
        Ok(outcome) => outcome.into_model().map(Ok),
        Err(failure) => failure.into_model().map(Err),
    };
    let size = match &result {
        Ok(Ok(outcome)) => outcome.byte_size(),
        Ok(Err(failure)) => failure.message().len() as u64,
        Err(_) => 0,
    };
    if let Err(breach) = meter.raise_to(Limit::Result, size) {
        return Ending::LimitExceeded(breach);
    }
    match result {
        Ok(Ok(outcome)) => Ending::Done(outcome),
        Ok(Err(failure)) => Ending::Failed(failure),
        Err(error) => Ending::Failed(Failure::Failed(format!("the outcome is invalid: {error}"))),
    }
}

/// A run that the host ended. Where only the fact of a breach is known, the use is just over the limit.
fn stopped(stop: Stop, meter: &mut Meter) -> Ending {
    match stop {
        Stop::Limit(limit) | Stop::Host(HostFault::Over(limit)) => {
            let _ = meter.raise_to(limit, meter.limits().get(limit).saturating_add(1));
            Ending::LimitExceeded(meter.breach(limit))
        }
        Stop::Host(HostFault::Broken(message)) => Ending::HostFault(message),
        Stop::Host(HostFault::Limit(breach)) => Ending::LimitExceeded(breach),
        Stop::Host(HostFault::OutcomeUnknown(message)) => Ending::OutcomeUnknown(message),
    }
}
