//! What one run owns on the host's side, and the one way by which its calls reach the host.

use std::time::Instant;

use triggerbox_model::{
    call::{Answer, Call},
    error::Error,
    limits::{Limit, Meter},
};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{clock::RunClock, console::Console, host::Host, limiter::Limiter, stop::Stop};

/// The data of a run's store.
pub(crate) struct State {
    pub(crate) host: Box<dyn Host>,
    pub(crate) meter: Meter,
    pub(crate) clock: RunClock,
    pub(crate) console: Console,
    pub(crate) limiter: Limiter,
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
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
        self.meter.raise_to(Limit::CallBytes, call.byte_size()).map_err(Stop::from)?;
        self.check_time()?;
        self.console.drain(&mut self.meter, &mut *self.host);
        let to_other_service = matches!(call, Call::Send { .. });
        let outside = to_other_service || matches!(call, Call::Complete { .. });
        let begin = Instant::now();
        let reply = self.clock.in_host(self.host.call(call)).await.map_err(Stop::from)?;
        if to_other_service {
            self.charge(Limit::HttpTime, u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX))?;
        }
        if outside {
            self.clock.in_host(self.host.go_on()).await;
        }
        if let Ok(answer) = &reply {
            self.meter.after(answer).map_err(Stop::from)?;
        }
        Ok(reply)
    }

    /// Uses some of a limit.
    pub(crate) fn charge(&mut self, limit: Limit, amount: u64) -> wasmtime::Result<()> {
        Ok(self.meter.charge(limit, amount).map_err(Stop::from)?)
    }

    /// Ends the run if its time is over.
    pub(crate) fn check_time(&self) -> wasmtime::Result<()> {
        match self.clock.times().over(self.meter.limits()) {
            Some(limit) => Err(Stop::Limit(limit).into()),
            None => Ok(()),
        }
    }
}

/// The fault of a host that answered with the wrong kind of answer.
pub(crate) fn wrong_answer(asked: &str) -> wasmtime::Error {
    Stop::Host(crate::host::HostFault::new(format!("the host's answer to `{asked}` is of the wrong kind"))).into()
}
