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

/// What the engine says of breaches that it gives no type. Tests below hold each text to the engine in use.
const COPIED_TOO_MUCH: &str = "too much data is being copied between the host and the guest";
const TOO_MANY_HANDLES: &str = "store handle limit exceeded";
const TOO_MANY_INSTANCES: &str = "resource limit exceeded: ";

/// The limit behind an error of the engine's own.
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
    if text.contains(COPIED_TOO_MUCH) {
        // Without a frame of the script on the stack it is the outcome that is being lifted.
        let in_call = error.downcast_ref::<WasmBacktrace>().is_some_and(|trace| !trace.frames().is_empty());
        return Some(if in_call { Limit::CallBytes } else { Limit::Result });
    }
    if text.ends_with(TOO_MANY_HANDLES) {
        return Some(Limit::Handles);
    }
    text.starts_with(TOO_MANY_INSTANCES).then_some(Limit::Instances)
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

/// Says that a trap was a panic or an uncaught exception, if stderr shows one. CPython's host inside the component
/// panics after an exception, so a traceback comes first.
pub(crate) fn with_panic(cause: String, stderr: Option<&str>) -> String {
    let Some(stderr) = stderr else { return cause };
    if let Some((_, traceback)) = stderr.split_once("Traceback (most recent call last)") {
        // The exception is the first line that is not part of the stack.
        let exception = traceback.lines().skip(1).find(|line| !line.starts_with(' ') && !line.trim().is_empty());
        return match exception {
            Some(exception) => format!("the script raised an exception that nothing caught: {exception}"),
            None => "the script raised an exception that nothing caught".to_owned(),
        };
    }
    if stderr.contains("panicked at") { "the script panicked".to_owned() } else { cause }
}

/// The script's stack, innermost first, with inlined functions as frames of their own. It starts at the script's own
/// code: how a language's library gets from a panic to a trap says nothing about the script.
pub(crate) fn frames(error: &wasmtime::Error) -> Vec<Frame> {
    let mut frames = all_frames(error);
    if let Some(own) = frames.iter().position(|frame| !is_library(frame)) {
        frames.drain(..own);
    }
    frames
}

/// Whether a frame belongs to a language's own library, told by the names that Rust, Go and C give theirs.
fn is_library(frame: &Frame) -> bool {
    const FILES: [&str; 4] = ["/rustc/", "/library/std/", "/library/core/", "/library/alloc/"];
    const NAMES: [&str; 6] = ["std::", "core::", "alloc::", "panic_abort::", "runtime.", "__"];
    if frame.file.as_ref().is_some_and(|file| FILES.iter().any(|library| file.contains(library))) {
        return true;
    }
    // `<core::option::Option<T>>::unwrap` and `<T as core::…>::…` are told by the first name in them.
    let name = frame.function.trim_start_matches('<');
    matches!(name, "abort" | "exit" | "_Exit" | "rust_panic" | "rust_begin_unwind")
        || NAMES.iter().any(|library| name.starts_with(library))
}

fn all_frames(error: &wasmtime::Error) -> Vec<Frame> {
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

#[cfg(test)]
mod tests {
    use triggerbox_model::limits::{Class, Limits};
    use wasmtime::{
        Store,
        component::{Component, Linker},
    };

    use super::*;
    use crate::{
        engine::{Mode, Pool, engine},
        limiter::Limiter,
    };

    /// The error of instantiating a component and calling its `run`, if it has one.
    fn breaks(component: &str, tune: impl FnOnce(&mut Store<Limiter>), limits: &Limits) -> wasmtime::Error {
        let (engine, _) = engine(Mode::Compile, &Pool::default()).unwrap();
        let component = Component::new(&engine, wat::parse_str(component).unwrap()).unwrap();
        let mut linker = Linker::new(&engine);
        linker.root().func_wrap("take", |_, (_,): (Vec<u8>,)| Ok(())).unwrap();
        let mut store = Store::new(&engine, Limiter::new(limits));
        store.limiter(|limiter| limiter);
        store.set_fuel(1_000_000).unwrap();
        tune(&mut store);
        let instance = match linker.instantiate(&mut store, &component) {
            Ok(instance) => instance,
            Err(error) => return error,
        };
        let run = instance.get_typed_func::<(), (Vec<u8>,)>(&mut store, "run").unwrap();
        run.call(&mut store, ()).unwrap_err()
    }

    fn limits(changes: &[(Limit, u64)]) -> Limits {
        let request = triggerbox_model::limits::LimitRequest(changes.iter().copied().collect());
        Limits::resolve(Class::Async, [&request])
    }

    #[test]
    fn the_engine_still_says_that_too_many_handles_are_open() {
        let flood = r#"(component
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core module $m
                (import "" "new" (func $new (param i32) (result i32)))
                (func $start (loop $again (drop (call $new (i32.const 1))) br $again))
                (start $start))
            (core instance (instantiate $m (with "" (instance (export "new" (func $new)))))))"#;
        let error = breaks(flood, |store| store.set_max_component_handles(10), &limits(&[]));
        assert!(root(&error).ends_with(TOO_MANY_HANDLES), "{error:#}");
        assert_eq!(limit(&error), Some(Limit::Handles));
    }

    #[test]
    fn the_engine_still_says_that_there_are_too_many_instances() {
        let two = "(component (core module $m) (core instance (instantiate $m)) (core instance (instantiate $m)))";
        let error = breaks(two, |_| {}, &limits(&[(Limit::Instances, 1)]));
        assert!(root(&error).starts_with(TOO_MANY_INSTANCES), "{error:#}");
        assert_eq!(limit(&error), Some(Limit::Instances));
    }

    #[test]
    fn the_engine_still_says_that_too_much_is_copied() {
        let call = |body: &str| {
            format!(
                r#"(component
                    (import "take" (func $take (param "bytes" (list u8))))
                    (core module $memory (memory (export "memory") 4))
                    (core instance $memory (instantiate $memory))
                    (alias core export $memory "memory" (core memory $mem))
                    (core func $lowered (canon lower (func $take) (memory $mem)))
                    (core module $m
                        (import "" "memory" (memory 4))
                        (import "" "take" (func $take (param i32 i32)))
                        (func (export "run") (result i32) {body}
                            (i32.store (i32.const 4) (i32.const 100000))
                            i32.const 0))
                    (core instance $i (instantiate $m (with "" (instance
                        (export "memory" (memory $mem)) (export "take" (func $lowered))))))
                    (func (export "run") (result (list u8)) (canon lift (core func $i "run") (memory $mem))))"#
            )
        };
        let tune = |store: &mut Store<Limiter>| store.set_hostcall_fuel(1000);
        let error = breaks(&call("(call $take (i32.const 0) (i32.const 100000))"), tune, &limits(&[]));
        assert!(root(&error).contains(COPIED_TOO_MUCH), "{error:#}");
        assert_eq!(limit(&error), Some(Limit::CallBytes));
        let error = breaks(&call(""), tune, &limits(&[]));
        assert!(root(&error).contains(COPIED_TOO_MUCH), "{error:#}");
        assert_eq!(limit(&error), Some(Limit::Result));
    }

    #[test]
    fn library_frames_are_told_from_the_scripts_own() {
        let frame = |function: &str, file: Option<&str>| Frame {
            function: function.to_owned(),
            file: file.map(str::to_owned),
            line: None,
            column: None,
        };
        for library in [
            "std::panicking::begin_panic",
            "__rustc::rust_panic",
            "<core::option::Option<u8>>::unwrap",
            "runtime._panic",
        ] {
            assert!(is_library(&frame(library, None)), "{library}");
        }
        assert!(is_library(&frame("unwrap_failed", Some("/rustc/0123/library/core/src/result.rs"))));
        assert!(!is_library(&frame("panic_after_write::divide", Some("panic-after-write/src/lib.rs"))));
        assert!(!is_library(&frame("lead_scoring::score", None)));
    }

    #[test]
    fn an_uncaught_exception_is_named_by_its_last_line() {
        let stderr = "Traceback (most recent call last):\n  File \"/0/script.py\", line 3, in run\n    total / 0\n\
                      ZeroDivisionError: division by zero\n\nthread '<unnamed>' (1) panicked at runtime/src/lib.rs";
        assert_eq!(
            with_panic("the script aborted".to_owned(), Some(stderr)),
            "the script raised an exception that nothing caught: ZeroDivisionError: division by zero"
        );
        assert_eq!(with_panic(String::new(), Some("thread 'main' panicked at src/lib.rs:3")), "the script panicked");
        assert_eq!(with_panic("integer divide by zero".to_owned(), None), "integer divide by zero");
    }
}
