//! What a run gives: outcome, failure, trap, usage, log.
use guest_artifacts as guests;
use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, Ran, Reply},
    event::Failure,
    limits::{Limit, Meter, PerLimit, Writes},
    value::{FieldValue, Value},
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel, Pool, Sandbox};

use crate::support::{Memory, Mood, event, limits, memory, run, sandbox};

/// Shows: F015
#[tokio::test]
async fn a_script_reads_decides_and_posts() {
    let run = run(guests::HIGH_VALUE_ORDER.component, limits(&[]), Memory::default()).await;
    let Ending::Done(outcome) = &run.ending else { panic!("{:?}", run.ending) };
    assert_eq!(outcome.message.as_deref(), Some("1 of 1 orders over 10000"));
    let whatever_a_script_does = [Limit::Fuel, Limit::Memory, Limit::TableElements, Limit::Stack, Limit::Instances];
    let what_this_one_does = [Limit::Payload, Limit::Result, Limit::BytesRead, Limit::CallBytes];
    for limit in whatever_a_script_does.into_iter().chain(what_this_one_does) {
        let used = run.used.get(limit);
        assert!(used > 0 && used < run.limits.get(limit), "{limit}: {used}");
    }
    let used = |limit| run.used.get(limit);
    assert_eq!(
        (used(Limit::HostCalls), used(Limit::Queries), used(Limit::RecordsRead), used(Limit::Posts)),
        (2, 1, 1, 1)
    );
    assert!(run.durations.total >= run.durations.host + run.durations.instantiate);
    let host = memory(run);
    let [Call::PostNote { target, message }] = host.staged.as_slice() else { panic!("{:?}", host.staged) };
    assert_eq!((target.id, message.body.as_str()), (42, "High-value sale detected, manager notified."));
}

#[tokio::test]
async fn a_failure_of_the_script_carries_its_text() {
    let mut event = event();
    event.parameters.clear();
    let script = sandbox().compile(guests::HIGH_VALUE_ORDER.component).unwrap();
    let run = script.run(event, limits(&[]), Box::new(Memory::default())).await;
    let Ending::Failed(Failure::Failed(text)) = &run.ending else { panic!("{:?}", run.ending) };
    assert!(text.contains("threshold"), "{text}");
}

#[tokio::test]
async fn the_same_event_uses_the_same_fuel() {
    let mut fuel = Vec::new();
    for _ in 0..3 {
        fuel.push(run(guests::HIGH_VALUE_ORDER.component, limits(&[]), Memory::default()).await.used.get(Limit::Fuel));
    }
    assert_eq!(fuel[0], fuel[1]);
    assert_eq!(fuel[0], fuel[2]);
}

#[tokio::test]
async fn a_host_that_cannot_go_on_ends_the_run() {
    let host = Memory { mood: Mood::Broken, ..Memory::default() };
    let run = run(guests::HIGH_VALUE_ORDER.component, limits(&[]), host).await;
    assert_eq!(run.ending, Ending::HostFault("the database is gone".into()));
}

#[tokio::test]
async fn a_refusal_is_the_scripts_to_handle() {
    let host = Memory { mood: Mood::Refusing, ..Memory::default() };
    let run = run(guests::HIGH_VALUE_ORDER.component, limits(&[]), host).await;
    let Ending::Failed(failure) = &run.ending else { panic!("{:?}", run.ending) };
    assert!(failure.message().contains("refuses everything"), "{failure:?}");
}

#[tokio::test]
async fn the_time_for_other_services_is_over_where_one_keeps_the_run_waiting_and_all_together() {
    let mut event = event();
    event.parameters = vec![FieldValue::new("what", Value::text("http-calls"))];
    let script = sandbox().compile(guests::FLOODS.component).unwrap();
    // How often another service is asked until the time is over.
    for (mood, milliseconds, asked) in [(Mood::Unheard, 50, 1), (Mood::Slow, 12, 3), (Mood::Good, 0, 0)] {
        let limits = limits(&[(Limit::HttpTime, milliseconds), (Limit::HttpCalls, 1_000)]);
        let run = script.run(event.clone(), limits, Box::new(Memory { mood, ..Memory::default() })).await;
        let Ending::LimitExceeded(breach) = &run.ending else { panic!("{:?}", run.ending) };
        assert_eq!((breach.limit, breach.max), (Limit::HttpTime, milliseconds), "{breach}");
        assert!(breach.used > milliseconds && run.used.get(Limit::HttpCalls) <= asked.max(1), "{breach}");
        // One question before all others: which leads there are.
        assert!(memory(run).asked <= 1 + asked as usize, "asked no more after that");
    }
}

#[tokio::test]
async fn what_a_script_prints_is_in_its_log() {
    let run = run(guests::PANIC_AFTER_WRITE.component, limits(&[]), Memory::default()).await;
    let lines = memory(run).lines;
    let (level, _) = lines.iter().find(|(_, line)| line.contains("panicked at")).expect("the panic's text");
    assert_eq!(*level, LogLevel::Warning);
}

#[tokio::test]
async fn an_event_over_the_payload_limit_is_not_handed_over() {
    let mut event = event();
    event.old_values = vec![triggerbox_model::value::Snapshot {
        id: 42,
        fields: vec![triggerbox_model::value::FieldValue::new("note", Value::text("x".repeat(2 << 20)))],
    }];
    let script = sandbox().compile(guests::HIGH_VALUE_ORDER.component).unwrap();
    let run = script.run(event, limits(&[]), Box::new(Memory::default())).await;
    let Ending::LimitExceeded(breach) = &run.ending else { panic!("{:?}", run.ending) };
    assert_eq!(breach.limit, Limit::Payload);
    assert!(breach.used > 2 << 20);
    assert_eq!(run.used.get(Limit::Fuel), 0);
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_room_for_the_next() {
    let script = sandbox().compile(guests::WAITING_CALL.component).unwrap();
    for _ in 0..40 {
        let host = Memory { mood: Mood::Silent, ..Memory::default() };
        tokio::select! {
            biased;
            _ = script.run(event(), limits(&[]), Box::new(host)) => panic!("the host never answers"),
            () = tokio::task::yield_now() => {}
        }
    }
    let next = run(guests::HIGH_VALUE_ORDER.component, limits(&[]), Memory::default()).await;
    assert!(matches!(next.ending, Ending::Done(_)), "{:?}", next.ending);
}

#[tokio::test]
async fn open_handles_are_counted_at_their_most() {
    let run = run(guests::CLOCKS.component, limits(&[]), Memory::default()).await;
    let used = run.used.get(Limit::Handles);
    assert!((1..20).contains(&used), "{used}");
}

/// Shows: F133
#[tokio::test]
async fn a_run_within_a_run_has_a_place_of_its_own_and_never_waits_for_one() {
    let sandbox = Sandbox::new(&Pool { live: 1, ..Pool::default() }).unwrap();
    let script = sandbox.compile(guests::WAITING_CALL.component).unwrap();
    let host = || Box::new(Memory { mood: Mood::Silent, ..Memory::default() });
    let within = || script.run_within(event(), Meter::new(limits(&[])), host());
    // All that there may be at once wait.
    let mut outer = std::pin::pin!(script.run(event(), limits(&[]), host()));
    assert!(is_pending(outer.as_mut()).await);
    let mut inner = std::pin::pin!(within());
    assert!(is_pending(inner.as_mut()).await, "it has begun");
    assert!(within().await.is_none(), "and no other can");
}

/// Whether a run is not over once it has done all that it can do by itself.
async fn is_pending<F: Future>(mut run: std::pin::Pin<&mut F>) -> bool {
    for _ in 0..100 {
        let look =
            |context: &mut std::task::Context<'_>| std::task::Poll::Ready(run.as_mut().poll(context).is_pending());
        if !std::future::poll_fn(look).await {
            return false;
        }
        tokio::task::yield_now().await;
    }
    true
}

#[tokio::test]
async fn what_ran_within_a_run_is_the_runs_own_use() {
    let script = sandbox().compile(guests::SCRIPT_IN_SCRIPT.component).unwrap();
    let plain = script.run(event(), limits(&[]), Box::new(Runner::default())).await;
    let alone = plain.used.get(Limit::Fuel);
    let mut used = PerLimit::ZERO;
    for (limit, amount) in [(Limit::Fuel, 5_000), (Limit::Posts, 3), (Limit::Result, 77), (Limit::CpuTime, 40)] {
        used.set(limit, amount);
    }
    let run = script.run(event(), limits(&[]), Box::new(Runner { used: Some(used), lent: None })).await;
    assert!(matches!(run.ending, Ending::Done(_)), "{:?}", run.ending);
    assert_eq!((run.used.get(Limit::Fuel), run.used.get(Limit::Posts)), (alone + 5_000, 3));
    assert!(run.used.get(Limit::CpuTime) >= 40 && run.used.get(Limit::Result) >= 77);
    let lent = run.host.downcast::<Runner>().unwrap().lent.unwrap();
    assert!(lent.used().get(Limit::Fuel) > 0 && lent.used().get(Limit::Memory) > 0);
    // Together they are over a limit.
    let few = limits(&[(Limit::Posts, 2)]);
    let run = script.run(event(), few, Box::new(Runner { used: Some(used), lent: None })).await;
    let Ending::LimitExceeded(breach) = run.ending else { panic!("{:?}", run.ending) };
    assert_eq!((breach.limit, breach.used), (Limit::Posts, 3));
    let few = limits(&[(Limit::Fuel, alone + 4_000)]);
    let run = script.run(event(), few, Box::new(Runner { used: Some(used), lent: None })).await;
    let Ending::LimitExceeded(breach) = run.ending else { panic!("{:?}", run.ending) };
    assert_eq!(breach.limit, Limit::Fuel);
}

/// Says of each call that another script was run by it, which used so much.
#[derive(Default)]
struct Runner {
    used: Option<PerLimit>,
    lent: Option<Meter>,
}

#[async_trait::async_trait]
impl Host for Runner {
    async fn call(&mut self, _: Call, _: Allowance) -> Result<Reply, HostFault> {
        let used = self.used.unwrap_or(PerLimit::ZERO);
        Ok(Ok(Answer::Ran(Box::new(Ran { result: Ok(None), used, writes: Writes::new() }))))
    }

    fn lend(&mut self, meter: Meter) {
        self.lent = Some(meter);
    }

    fn log(&mut self, _: LogLevel, _: &str) {}
}
