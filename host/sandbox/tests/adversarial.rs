//! Scripts that mean harm, one test for each guest of `tests/guests`: which limit stops it, that nothing of it is
//! applied, that the host's memory grew by no more than the run's limit and 64 MiB, and that the next run works.
//! Shows: F017
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may be blunt"
)]

mod support;

use std::{fs, time::Duration};

use guest_artifacts::{self as guests, Guest};
use support::{Memory, Mood, event, limits, sandbox};
use tokio::sync::Mutex;
use triggerbox_model::{
    call::Call,
    event::Outcome,
    limits::{Breach, Class, Limit, LimitRequest, Limits},
};
use triggerbox_sandbox::{Ending, LogLevel, Run, Trap};

/// A guest without a test does not compile: each name must be a function of this file.
macro_rules! has_a_test {
    ($name:ident) => {
        const _: fn() = $name;
    };
}
guests::for_each_misbehaving!(has_a_test);

/// One at a time: memory is measured for the whole process.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Runs a guest and checks what must hold whatever it did.
async fn attack_with(component: &[u8], limits: Limits, host: Memory) -> Run {
    let _alone = ALONE.lock().await;
    let script = sandbox().compile(component).expect("the guest compiles");
    let order = sandbox().compile(guests::HIGH_VALUE_ORDER.component).unwrap();

    // The kernel forgets the highest mark so far; where it does not, the mark is only higher than it should be.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = memory_of_process("VmRSS:");
    let run = script.run(event(), limits, Box::new(host)).await;
    let grown = memory_of_process("VmHWM:").saturating_sub(before);
    let allowed = limits.get(Limit::Memory) + (64 << 20);
    assert!(grown <= allowed, "the host grew by {} MiB, {} are allowed", grown >> 20, allowed >> 20);

    let next = order.run(event(), support::limits(&[]), Box::new(Memory::default())).await;
    assert!(matches!(next.ending, Ending::Done(_)), "the next run: {:?}", next.ending);
    assert_eq!(support::memory(next).staged.len(), 1);
    run
}

async fn attack(guest: &Guest) -> Run {
    attack_with(guest.component, limits(&[]), Memory::default()).await
}

/// With so little fuel that it is gone before the time is, however busy the machine.
async fn spend(guest: &Guest) -> Run {
    attack_with(guest.component, limits(&[(Limit::Fuel, 50_000_000)]), Memory::default()).await
}

fn memory_of_process(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// What a caller does with a run: only an outcome is committed.
fn commit(run: Run) -> Vec<Call> {
    if matches!(run.ending, Ending::Done(_)) { support::memory(run).staged } else { Vec::new() }
}

/// The breach that ended a run, which therefore applies nothing.
fn breach(run: Run) -> Breach {
    let Ending::LimitExceeded(breach) = run.ending.clone() else { panic!("{:?}", run.ending) };
    assert!(breach.used > breach.max, "{breach}");
    assert_eq!(breach.max, run.limits.get(breach.limit));
    assert!(run.used.get(breach.limit) > breach.max);
    assert_eq!(commit(run), []);
    breach
}

fn trap(run: Run) -> Trap {
    let Ending::Trapped(trap) = run.ending.clone() else { panic!("{:?}", run.ending) };
    assert_eq!(commit(run), []);
    trap
}

/// Makes a test of an async function.
fn alone(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

#[test]
fn endless_loop() {
    alone(async {
        let run = attack(&guests::ENDLESS_LOOP).await;
        assert!(run.durations.guest > Duration::from_millis(10));
        assert_eq!(breach(run).limit, Limit::Fuel);
    });
}

#[test]
fn an_endless_loop_with_fuel_to_spare_meets_the_clocks() {
    alone(async {
        for limit in [Limit::CpuTime, Limit::WallTime] {
            let limits = Limits::resolve(Class::Batch, [&LimitRequest([(limit, 50)].into())]);
            let run = attack_with(guests::ENDLESS_LOOP.component, limits, Memory::default()).await;
            assert!(run.durations.total < Duration::from_secs(5), "{:?}", run.durations);
            assert_eq!(breach(run).limit, limit);
        }
    });
}

#[test]
fn endless_copy() {
    alone(async { assert_eq!(breach(spend(&guests::ENDLESS_COPY).await).limit, Limit::Fuel) });
}

#[test]
fn memory_bomb() {
    alone(async {
        let breach = breach(attack(&guests::MEMORY_BOMB).await);
        assert_eq!((breach.limit, breach.max), (Limit::Memory, 64 << 20));
    });
}

#[test]
fn huge_memory() {
    alone(async { assert_eq!(breach(attack(&guests::HUGE_MEMORY).await).limit, Limit::Memory) });
}

#[test]
fn deep_recursion() {
    alone(async { assert_eq!(breach(attack(&guests::DEEP_RECURSION).await).limit, Limit::Stack) });
}

#[test]
fn deep_frames() {
    alone(async {
        let trap = trap(attack(&guests::DEEP_FRAMES).await);
        assert!(trap.cause.starts_with("stack overflow: a function calls itself"), "{trap}");
    });
}

#[test]
fn table_growth() {
    alone(async { assert_eq!(breach(attack(&guests::TABLE_GROWTH).await).limit, Limit::TableElements) });
}

#[test]
fn huge_string() {
    alone(async { assert_eq!(breach(attack(&guests::HUGE_STRING).await).limit, Limit::CallBytes) });
}

#[test]
fn huge_list() {
    alone(async { assert_eq!(breach(attack(&guests::HUGE_LIST).await).limit, Limit::CallBytes) });
}

#[test]
fn handle_flood() {
    alone(async { assert_eq!(breach(attack(&guests::HANDLE_FLOOD).await).limit, Limit::Handles) });
}

#[test]
fn log_flood() {
    alone(async {
        let run = attack(&guests::LOG_FLOOD).await;
        assert!(matches!(run.ending, Ending::Done(_)), "logging never ends a run: {:?}", run.ending);
        assert_eq!(run.used.get(Limit::LogLines), 1_000);
        let lines = support::memory(run).lines;
        assert_eq!(lines.len(), 1_001);
        assert!(lines[1_000].1.starts_with("the log ends here"));
    });
}

/// What it says is told as it is, and none of it is more than text; `host/server/tests/api/pages.rs` has it shown.
#[test]
fn loud() {
    alone(async {
        let run = attack(&guests::LOUD).await;
        let Ending::Done(outcome) = &run.ending else { panic!("{:?}", run.ending) };
        let said = "<script>alert(1)</script>";
        assert_eq!((outcome.message.as_deref(), outcome.warning.as_deref()), (Some(said), Some(said)));
        let lines = support::memory(run).lines;
        assert!(lines.iter().filter(|line| line.1 == said).count() >= 2, "{lines:?}");
    });
}

#[test]
fn print_flood() {
    alone(async {
        let run =
            attack_with(guests::PRINT_FLOOD.component, limits(&[(Limit::Fuel, 50_000_000)]), Memory::default()).await;
        let logged = run.used.get(Limit::LogBytes);
        assert!(logged <= run.limits.get(Limit::LogBytes), "{logged}");
        assert_eq!(breach(run).limit, Limit::Fuel);
    });
}

#[test]
fn call_flood() {
    alone(async {
        // Refused or not, each call counts: a script cannot go on for ever by ignoring refusals.
        for mood in [Mood::Good, Mood::Refusing] {
            let run =
                attack_with(guests::CALL_FLOOD.component, limits(&[]), Memory { mood, ..Memory::default() }).await;
            let Ending::LimitExceeded(breach) = &run.ending else { panic!("{:?}", run.ending) };
            assert_eq!((breach.limit, breach.used, breach.max), (Limit::HostCalls, 10_001, 10_000));
            assert_eq!(support::memory(run).asked, 10_000, "the call over the limit never reaches the host");
        }
    });
}

#[test]
fn floods() {
    alone(async {
        // The other floods are in host/automation/tests/hostile.rs.
        let breach = breach(attack(&guests::FLOODS).await);
        assert_eq!((breach.limit, breach.max), (Limit::BytesSent, 8 << 20));
    });
}

#[test]
fn write_loop() {
    alone(async {
        let run = attack(&guests::WRITE_LOOP).await;
        let breach = breach(run);
        assert_eq!((breach.limit, breach.used), (Limit::WritesPerRecord, 13));
    });
}

#[test]
fn fan_out() {
    alone(async {
        let run = attack(&guests::FAN_OUT).await;
        // Whether records are created, and what that fires, is its host's to say.
        let Ending::Failed(failure) = &run.ending else { panic!("{:?}", run.ending) };
        assert!(failure.message().contains("does not know this call"), "{failure:?}");
        assert_eq!(run.used.get(Limit::RecordsWritten), 5);
    });
}

#[test]
fn waiting_call() {
    alone(async {
        let host = Memory { mood: Mood::Silent, ..Memory::default() };
        let run = attack_with(guests::WAITING_CALL.component, limits(&[(Limit::WallTime, 100)]), host).await;
        assert!(run.durations.total >= Duration::from_millis(100));
        assert!(run.durations.guest < Duration::from_millis(50), "waiting is not computing: {:?}", run.durations);
        assert_eq!(breach(run).limit, Limit::WallTime);
    });
}

#[test]
fn a_host_call_that_computes_is_told_when_the_time_is_over() {
    alone(async {
        let host = Memory { mood: Mood::Busy, ..Memory::default() };
        let run = attack_with(guests::WAITING_CALL.component, limits(&[(Limit::WallTime, 100)]), host).await;
        assert!(run.durations.total >= Duration::from_millis(100), "{:?}", run.durations);
        assert_eq!(breach(run).limit, Limit::WallTime);
    });
}

#[test]
fn hard_questions() {
    alone(async {
        // How they are answered is its host's to say; host/automation/tests/hostile.rs asks them all.
        let breach = breach(attack(&guests::HARD_QUESTIONS).await);
        assert_eq!(breach.limit, Limit::Queries);
    });
}

#[test]
fn long_sleep() {
    alone(async {
        let run = attack(&guests::LONG_SLEEP).await;
        assert!(
            run.durations.total < Duration::from_secs(5),
            "nobody waits for a sleeping script: {:?}",
            run.durations
        );
        let breach = breach(run);
        assert_eq!(breach.limit, Limit::WallTime);
        assert!(breach.used >= 3_600_000, "{breach}");
    });
}

#[test]
fn random_flood() {
    alone(async {
        let run =
            attack_with(guests::RANDOM_FLOOD.component, limits(&[(Limit::CpuTime, 100)]), Memory::default()).await;
        assert!(run.durations.total < Duration::from_secs(2), "{:?}", run.durations);
        assert_eq!(breach(run).limit, Limit::CpuTime);
    });
}

#[test]
fn huge_result() {
    alone(async {
        let breach = breach(attack(&guests::HUGE_RESULT).await);
        assert_eq!(breach.limit, Limit::Result);
        assert!(breach.used >= 2 << 20);
    });
}

#[test]
fn gigantic_result() {
    alone(async { assert_eq!(breach(attack(&guests::GIGANTIC_RESULT).await).limit, Limit::Result) });
}

#[test]
fn start_loop() {
    alone(async { assert_eq!(breach(spend(&guests::START_LOOP).await).limit, Limit::Fuel) });
}

#[test]
fn realloc_loop() {
    alone(async { assert_eq!(breach(spend(&guests::REALLOC_LOOP).await).limit, Limit::Fuel) });
}

#[test]
fn realloc_calls_back() {
    alone(async {
        let run = attack(&guests::REALLOC_CALLS_BACK).await;
        assert_eq!(trap(run).cause, "cannot leave component instance");
    });
}

#[test]
fn realloc_out_of_bounds() {
    alone(async {
        let trap = trap(attack(&guests::REALLOC_OUT_OF_BOUNDS).await);
        assert_eq!(trap.cause, "realloc return: beyond end of memory");
    });
}

#[test]
fn bad_result() {
    alone(async {
        let trap = trap(attack(&guests::BAD_RESULT).await);
        assert!(trap.cause.contains("out of bounds"), "{trap}");
    });
}

#[test]
fn bad_text() {
    alone(async {
        let run = attack(&guests::BAD_TEXT).await;
        let trap = trap(run);
        assert!(trap.cause.contains("utf-8"), "{trap}");
    });
}

#[test]
fn first_contract() {
    alone(async {
        let run = attack(&guests::FIRST_CONTRACT).await;
        let Ending::Done(outcome) = &run.ending else { panic!("{:?}", run.ending) };
        assert_eq!(*outcome, Outcome::default());
        assert_eq!(support::memory(run).lines, [(LogLevel::Info, "fields are told".to_owned())]);
    });
}

#[test]
fn panic_after_write() {
    alone(async {
        let trap = trap(attack(&guests::PANIC_AFTER_WRITE).await);
        assert_eq!(trap.cause, "the script panicked");
        assert!(trap.stderr.as_ref().unwrap().contains("cannot divide among 1"), "{trap}");
        // The library's way from `panic!` to the trap is left out: the first frame is where the script went wrong.
        let frame = trap.frames.first().expect("a backtrace");
        assert!(frame.function.ends_with("divide"), "{trap}");
        assert!(frame.file.as_ref().unwrap().ends_with("src/lib.rs"), "{frame}");
        assert_eq!(frame.line, Some(13), "{frame}");
    });
}

#[test]
fn exit_after_write() {
    alone(async {
        let trap = trap(attack(&guests::EXIT_AFTER_WRITE).await);
        assert_eq!(trap.cause, "the script ended the program with `exit` and gave no outcome");
    });
}

#[test]
fn outside() {
    alone(async {
        let run = attack(&guests::OUTSIDE).await;
        let Ending::Done(outcome) = &run.ending else { panic!("{:?}", run.ending) };
        assert_eq!(outcome.message.as_deref(), Some("false false false 0 0 false false"));
    });
}

#[test]
fn clocks() {
    alone(async {
        let ask = async |seed| {
            let mut event = event();
            event.seed = seed;
            let script = sandbox().compile(guests::CLOCKS.component).unwrap();
            let run = script.run(event, limits(&[]), Box::new(Memory::default())).await;
            let Ending::Done(outcome) = run.ending else { panic!("{:?}", run.ending) };
            assert!(run.used.get(Limit::WallTime) >= 1_500, "the wait was not charged");
            assert!(run.durations.total.as_millis() < 1_000, "the wait was real");
            outcome.message.unwrap()
        };
        let first = ask(7).await;
        // 2026-11-21T10:15:00Z, twice; 1.5 s slept.
        assert!(first.starts_with("Some(1795256100) Some(1795256100) 1500 "), "{first}");
        assert_eq!(first, ask(7).await, "the same seed gives the same random numbers");
        assert_ne!(first, ask(8).await);
    });
}

/// A component made of many more instances than it needs.
fn with_core_instances(component: &[u8], count: usize) -> Vec<u8> {
    use wasm_encoder::{ComponentSection, InstanceSection, Module, ModuleSection};

    let modules = wasmparser::Parser::new(0)
        .parse_all(component)
        .scan(0, |depth, payload| {
            let payload = payload.unwrap();
            let at = *depth;
            match payload {
                wasmparser::Payload::ModuleSection { .. } | wasmparser::Payload::ComponentSection { .. } => *depth += 1,
                wasmparser::Payload::End(_) => *depth -= 1,
                _ => {}
            }
            Some(u32::from(at == 0 && matches!(payload, wasmparser::Payload::ModuleSection { .. })))
        })
        .sum();
    let mut bytes = component.to_vec();
    ModuleSection(&Module::new()).append_to_component(&mut bytes);
    let mut instances = InstanceSection::new();
    for _ in 0..count {
        instances.instantiate(modules, std::iter::empty::<(&str, wasm_encoder::ModuleArg)>());
    }
    instances.append_to_component(&mut bytes);
    bytes
}

#[test]
fn many_instances() {
    alone(async {
        let component = with_core_instances(guests::HIGH_VALUE_ORDER.component, 100);
        let run = attack_with(&component, limits(&[]), Memory::default()).await;
        let breach = breach(run);
        assert_eq!(breach.limit, Limit::Instances);
        assert!((101..120).contains(&breach.used), "{breach}");

        let component = with_core_instances(guests::HIGH_VALUE_ORDER.component, 300);
        let error = sandbox().compile(&component).unwrap_err().to_string();
        assert!(error.contains("core module instances"), "{error}");
    });
}

/// A component that opens handles of a resource type of its own, which no table of the host's ever sees.
fn with_handle_flood(component: &[u8]) -> Vec<u8> {
    use wasm_encoder::{
        CanonicalFunctionSection, CodeSection, ComponentSection as _, ComponentTypeSection, EntityType, ExportKind,
        Function, FunctionSection, ImportSection, InstanceSection, Instruction, Module, ModuleArg, ModuleSection,
        StartSection, TypeSection, ValType,
    };

    let mut validator = wasmparser::Validator::new();
    let types = validator.validate_all(component).unwrap();
    let types = types.as_ref();
    let (resource, new) = (types.component_type_count(), types.function_count());
    let (instances, modules) = (types.core_instance_count(), types.module_count());

    let mut module = Module::new();
    let mut signatures = TypeSection::new();
    signatures.ty().function([ValType::I32], [ValType::I32]);
    signatures.ty().function([], []);
    let mut imports = ImportSection::new();
    imports.import("", "new", EntityType::Function(0));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut start = Function::new([]);
    for instruction in [
        Instruction::Loop(wasm_encoder::BlockType::Empty),
        Instruction::I32Const(7),
        Instruction::Call(0),
        Instruction::Drop,
        Instruction::Br(0),
        Instruction::End,
        Instruction::End,
    ] {
        start.instruction(&instruction);
    }
    let mut code = CodeSection::new();
    code.function(&start);
    module.section(&signatures).section(&imports).section(&functions);
    module.section(&StartSection { function_index: 1 }).section(&code);

    let mut bytes = component.to_vec();
    let mut handles = ComponentTypeSection::new();
    handles.resource(ValType::I32, None);
    handles.append_to_component(&mut bytes);
    let mut canonical = CanonicalFunctionSection::new();
    canonical.resource_new(resource);
    canonical.append_to_component(&mut bytes);
    ModuleSection(&module).append_to_component(&mut bytes);
    let mut made = InstanceSection::new();
    made.export_items([("new", ExportKind::Func, new)]);
    made.instantiate(modules, [("", ModuleArg::Instance(instances))]);
    made.append_to_component(&mut bytes);
    bytes
}

#[test]
fn component_handle_flood() {
    alone(async {
        let component = with_handle_flood(guests::HIGH_VALUE_ORDER.component);
        let run = attack_with(&component, limits(&[]), Memory::default()).await;
        let breach = breach(run);
        assert_eq!((breach.limit, breach.used, breach.max), (Limit::Handles, 1_001, 1_000));
    });
}

#[test]
fn leaves_behind() {
    alone(async {
        let run = attack(&guests::LEAVES_BEHIND).await;
        // Whether there is a context to leave behind is its host's to say.
        let Ending::Failed(failure) = &run.ending else { panic!("{:?}", run.ending) };
        assert!(failure.message().contains("does not know this call"), "{failure:?}");
        assert_eq!(run.used.get(Limit::HostCalls), 2);
    });
}

#[test]
fn script_in_script() {
    alone(async {
        let run = attack(&guests::SCRIPT_IN_SCRIPT).await;
        // Whether a script may run another is its host's to say.
        let Ending::Failed(failure) = &run.ending else { panic!("{:?}", run.ending) };
        assert!(failure.message().contains("does not know this call"), "{failure:?}");
        assert_eq!(run.used.get(Limit::HostCalls), 1);
    });
}
