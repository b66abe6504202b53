//! Why the engine ended a run, told apart: limits under their names, all else as a trap with a backtrace.

use triggerbox_model::limits::Limit;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::{I32Exit, ResourceTableError};

use crate::{host::HostFault, report::Frame, sandbox::one_line, stop::Stop};

/// What an error of the engine means.
pub(crate) enum Cause {
    /// A limit, or the host.
    Stop(Stop),
    /// The script broke.
    Trap(String),
}

/// Tells limits, host faults and traps apart.
pub(crate) fn classify(error: &wasmtime::Error) -> Cause {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return Cause::Stop(stop.clone());
    }
    if let Some(fault) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Cause::Stop(Stop::Host(HostFault::new(format!("no room for another run: {fault}"))));
    }
    if let Some(limit) = limit(error) {
        return Cause::Stop(Stop::Limit(limit));
    }
    Cause::Trap(match (error.downcast_ref::<I32Exit>(), error.downcast_ref::<Trap>()) {
        (Some(I32Exit(0)), _) => "the script ended the program with `exit` and gave no outcome".to_owned(),
        (Some(I32Exit(status)), _) => format!("the script ended the program with exit status {status}"),
        (_, Some(Trap::UnreachableCodeReached)) => "the script aborted (reached `unreachable`)".to_owned(),
        (_, Some(Trap::MemoryOutOfBounds)) if is_recursion(error) => {
            "stack overflow: a function calls itself again and again, until the stack in the script's memory is full"
                .to_owned()
        }
        (_, Some(trap)) => trap.to_string().trim_start_matches("wasm trap: ").to_owned(),
        _ => root(error),
    })
}

/// The limit behind an error of the engine's own. Some have no type to tell them by; the adversarial tests hold
/// the texts in place.
fn limit(error: &wasmtime::Error) -> Option<Limit> {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => return Some(Limit::Fuel),
        Some(Trap::StackOverflow) => return Some(Limit::Stack),
        _ => {}
    }
    if matches!(error.downcast_ref::<ResourceTableError>(), Some(ResourceTableError::Full)) {
        return Some(Limit::Handles);
    }
    let text = root(error);
    if text.contains("too much data is being copied between the host and the guest") {
        // Without a frame of the script on the stack it is the outcome that is being lifted.
        let in_call = error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty());
        return Some(if in_call { Limit::CallBytes } else { Limit::Result });
    }
    if text.contains("handle") && text.contains("limit") {
        return Some(Limit::Handles);
    }
    if text.starts_with("resource limit exceeded") {
        return Some(Limit::Instances);
    }
    None
}

/// Whether the innermost calls are all of one function. Languages that keep part of their stack in linear memory
/// may run out of that part first, and step out of memory.
fn is_recursion(error: &wasmtime::Error) -> bool {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let mut calls = trace.frames().iter().take(16).map(wasmtime::FrameInfo::func_index);
    trace.frames().len() >= 16 && calls.next().is_some_and(|first| calls.all(|call| call == first))
}

/// The innermost cause of an error, on one line.
fn root(error: &wasmtime::Error) -> String {
    error.chain().last().map_or_else(|| one_line(error), |cause| cause.to_string().replace('\n', "; "))
}

/// Says that a trap was a panic or an uncaught exception, if stderr shows one.
pub(crate) fn with_panic(cause: String, stderr: Option<&str>) -> String {
    let Some(stderr) = stderr else { return cause };
    if stderr.contains("panicked at") {
        "the script panicked".to_owned()
    } else if stderr.contains("Traceback (most recent call last)") {
        "the script raised an exception that nothing caught".to_owned()
    } else {
        cause
    }
}

/// The script's stack, innermost first, with inlined functions as frames of their own.
pub(crate) fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let mut frames = Vec::new();
    for frame in trace.frames() {
        let outer = frame.func_name().map_or_else(|| "<unknown>".to_owned(), demangle);
        if frame.symbols().is_empty() {
            frames.push(Frame { function: outer, file: None, line: None, column: None });
            continue;
        }
        for symbol in frame.symbols() {
            frames.push(Frame {
                function: symbol.name().map_or_else(|| outer.clone(), demangle),
                file: symbol.file().map(str::to_owned),
                line: symbol.line(),
                column: symbol.column(),
            });
        }
    }
    frames
}

fn demangle(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}
