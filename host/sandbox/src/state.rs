//! What one run owns on the host's side, and the one way by which its calls reach the host.

use std::time::{Duration, Instant};

use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, Ran, Reply},
    error::Error,
    limits::{Limit, Meter},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::{clock::RunClock, console::Console, host::Host, limiter::Limiter, stop::Stop, wasi::Wasi};

/// The data of a run's store.
pub(crate) struct State {
    pub(crate) host: Box<dyn Host>,
    pub(crate) meter: Meter,
    pub(crate) clock: RunClock,
    pub(crate) console: Console,
    pub(crate) limiter: Limiter,
    pub(crate) wasi: Wasi,
    pub(crate) table: ResourceTable,
    pub(crate) fuel: Fuel,
}

/// The fuel around a call that may run another script: only the store knows it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fuel {
    /// What was left before the call.
    pub(crate) left: u64,
    /// What the other script used.
    pub(crate) spent: u64,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.context(&self.clock, &self.console), table: &mut self.table }
    }
}

impl State {
    /// Meters a call, has the host answer it, and meters the answer.
    ///
    /// # Errors
    /// A [`Stop`]: a limit, or a host that cannot go on. The error inside is the script's to handle.
    pub(crate) async fn ask(&mut self, call: Result<Call, Error>) -> wasmtime::Result<Result<Answer, Error>> {
        self.limiter.stack.look();
        let call = match call {
            Ok(call) => call,
            Err(error) => {
                self.charge(Limit::HostCalls, 1)?;
                return Ok(Err(error));
            }
        };
        self.meter.before(&call).map_err(Stop::from)?;
        let begin = Instant::now();
        self.check_time(begin)?;
        self.console.drain(&mut self.meter, &mut *self.host);
        let to_other_service = matches!(call, Call::Send { .. });
        let outside = to_other_service || matches!(call, Call::Complete { .. });
        let may = self.allowance();
        let reply = if to_other_service {
            self.in_http_time(begin, call, may).await?
        } else {
            self.clock.in_host(begin, self.host.call(call, may)).await.map_err(Stop::from)?
        };
        if outside {
            self.clock.in_host(Instant::now(), self.host.go_on()).await;
        }
        if let Ok(answer) = &reply {
            self.meter.after(answer).map_err(Stop::from)?;
        }
        Ok(reply.map(Answer::plain))
    }

    /// Has the host ask another service, no longer than the run may spend on that in all: where the service keeps it waiting,
    /// the call is dropped.
    async fn in_http_time(&mut self, begin: Instant, call: Call, may: Allowance) -> wasmtime::Result<Reply> {
        let left = Duration::from_millis(self.meter.remaining(Limit::HttpTime));
        let over = Stop::Limit(Limit::HttpTime);
        if left.is_zero() {
            return Err(over.into());
        }
        let answered = self.clock.in_host(begin, self.host.call(call, may));
        let reply = tokio::time::timeout(left, answered).await.map_err(|_| over)?;
        self.charge(Limit::HttpTime, milliseconds(begin.elapsed()))?;
        Ok(reply.map_err(Stop::from)?)
    }

    /// What a call that is made now may still use.
    fn allowance(&self) -> Allowance {
        Allowance {
            until: self.clock.times().until(self.meter.limits()),
            records: self.meter.remaining(Limit::RecordsRead),
            bytes: self.meter.remaining(Limit::BytesRead),
        }
    }

    /// Tells the host what is used so far, for a script that it runs within this run.
    pub(crate) fn lend(&mut self) {
        let (wall, guest) = {
            let times = self.clock.times();
            let now = Instant::now();
            (times.wall(now), times.guest(now))
        };
        let mut meter = self.meter.clone();
        let used = [
            (Limit::Fuel, meter.limits().get(Limit::Fuel).saturating_sub(self.fuel.left)),
            (Limit::Memory, self.limiter.memory_peak()),
            (Limit::TableElements, self.limiter.table_peak()),
            (Limit::WallTime, milliseconds(wall)),
            (Limit::CpuTime, milliseconds(guest)),
        ];
        for (limit, used) in used {
            // What is over its limit is found where it is measured.
            let _ = meter.raise_to(limit, used);
        }
        self.host.lend(meter);
    }

    /// Takes the use of a script that ran within this run as its own; it took so long.
    ///
    /// # Errors
    /// A [`Stop`]: together they are over a limit.
    pub(crate) fn absorb(&mut self, ran: &Ran, took: Duration) -> wasmtime::Result<()> {
        let used = |limit| ran.used.get(limit);
        self.fuel.spent = used(Limit::Fuel);
        let (guest, wall) = (Duration::from_millis(used(Limit::CpuTime)), Duration::from_millis(used(Limit::WallTime)));
        self.clock.add(guest, wall.saturating_sub(took));
        let memory = self.limiter.memory_peak().saturating_add(used(Limit::Memory));
        let elements = self.limiter.table_peak().saturating_add(used(Limit::TableElements));
        self.meter.raise_to(Limit::Memory, memory).map_err(Stop::from)?;
        self.meter.raise_to(Limit::TableElements, elements).map_err(Stop::from)?;
        self.meter.absorb(&ran.used, &ran.writes).map_err(Stop::from)?;
        self.check_time(Instant::now())
    }

    /// Uses some of a limit.
    pub(crate) fn charge(&mut self, limit: Limit, amount: u64) -> wasmtime::Result<()> {
        Ok(self.meter.charge(limit, amount).map_err(Stop::from)?)
    }

    /// Meters a call that is answered without asking the host: it carries so many bytes.
    ///
    /// # Errors
    /// A [`Stop`]: a limit.
    pub(crate) fn meter_own(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.limiter.stack.look();
        self.charge(Limit::HostCalls, 1)?;
        self.meter.raise_to(Limit::CallBytes, bytes as u64).map_err(Stop::from)?;
        self.charge(Limit::BytesSent, bytes as u64)?;
        self.check_time(Instant::now())
    }

    /// Ends the run if its time is over by `now`.
    pub(crate) fn check_time(&self, now: Instant) -> wasmtime::Result<()> {
        match self.clock.times().over(self.meter.limits(), now) {
            Some(limit) => Err(Stop::Limit(limit).into()),
            None => Ok(()),
        }
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The fault of a host that answered with the wrong kind of answer.
pub(crate) fn wrong_answer(asked: &str) -> wasmtime::Error {
    Stop::Host(crate::host::HostFault::new(format!("the host's answer to `{asked}` is of the wrong kind"))).into()
}
