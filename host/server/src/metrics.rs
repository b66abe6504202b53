//! `/metrics`: what an operator watches, in the format that Prometheus reads. Counters are kept as tries end; what the
//! queue looks like is asked when somebody looks.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use rusqlite::Connection;
use triggerbox_automation::{
    EngineError,
    engine::{Attempt, Work},
    runs::RunState,
};
use triggerbox_llm::budget::Amount;
use triggerbox_model::limits::Limit;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRule {
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRuleAndState {
    rule: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRuleAndLimit {
    rule: String,
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWork {
    work: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    method: String,
    route: String,
    status: u16,
}

/// All metrics of one server.
pub struct Metrics {
    registry: Registry,
    tries: Family<ByRuleAndState, Counter>,
    conflicts: Family<ByRule, Counter>,
    took: Family<ByRule, Histogram, fn() -> Histogram>,
    waited: Family<ByRule, Histogram, fn() -> Histogram>,
    usage: Family<ByRuleAndLimit, Gauge<f64, std::sync::atomic::AtomicU64>>,
    llm_cost: Family<ByRule, Counter<f64, std::sync::atomic::AtomicU64>>,
    llm_tokens: Family<ByRule, Counter>,
    faults: Family<ByWork, Counter>,
    requests: Family<ByStatus, Counter>,
    refused: Counter,
    queue: Family<ByState, Gauge>,
    waiting: Gauge,
    oldest: Gauge<f64, std::sync::atomic::AtomicU64>,
    paused: Gauge,
}

fn seconds() -> Histogram {
    // 1 ms to 8 minutes.
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("triggerbox");
        let metrics = Self {
            registry: Registry::default(),
            tries: Family::default(),
            conflicts: Family::default(),
            took: Family::new_with_constructor(seconds),
            waited: Family::new_with_constructor(seconds),
            usage: Family::default(),
            llm_cost: Family::default(),
            llm_tokens: Family::default(),
            faults: Family::default(),
            requests: Family::default(),
            refused: Counter::default(),
            queue: Family::default(),
            waiting: Gauge::default(),
            oldest: Gauge::default(),
            paused: Gauge::default(),
        };
        registry.register("tries", "Tries of runs, by where the run stands after it", metrics.tries.clone());
        registry.register("conflicts", "Tries that met a conflict", metrics.conflicts.clone());
        let unit = Unit::Seconds;
        registry.register_with_unit("try", "From start to end of a try", unit.clone(), metrics.took.clone());
        registry.register_with_unit("wait", "From event to start of a try", unit.clone(), metrics.waited.clone());
        registry.register("limit_usage_ratio", "Used part of a limit, by the last try", metrics.usage.clone());
        registry.register("llm_cost_euros", "What language models cost", metrics.llm_cost.clone());
        registry.register("llm_tokens", "Tokens of language models, in and out", metrics.llm_tokens.clone());
        registry.register("engine_faults", "What of the engine's own work failed", metrics.faults.clone());
        registry.register("http_requests", "Requests that were answered", metrics.requests.clone());
        registry.register(
            "deliveries_refused",
            "Webhooks that were not signed as they should be",
            metrics.refused.clone(),
        );
        registry.register("runs", "Runs that are not over, and dead letters", metrics.queue.clone());
        let help = "Runs that wait for a language model or another service, and keep no worker meanwhile";
        registry.register("runs_waiting", help, metrics.waiting.clone());
        registry.register_with_unit("queue_age", "Age of the oldest run that is due", unit, metrics.oldest.clone());
        registry.register("rules_paused", "Rules that are paused", metrics.paused.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// Counts a try.
    pub fn count(&self, attempt: &Attempt) {
        let rule = || ByRule { rule: attempt.rule.clone() };
        self.tries.get_or_create(&ByRuleAndState { rule: attempt.rule.clone(), state: attempt.state.name() }).inc();
        if attempt.code == "conflict" {
            self.conflicts.get_or_create(&rule()).inc();
        }
        self.took.get_or_create(&rule()).observe(attempt.took.as_secs_f64());
        self.waited.get_or_create(&rule()).observe(attempt.waited.as_secs_f64());
        for (limit, part) in usage(attempt) {
            let label = ByRuleAndLimit { rule: attempt.rule.clone(), limit: limit.spec().name };
            self.usage.get_or_create(&label).set(part);
        }
        self.spent(&attempt.rule, attempt.spent);
    }

    /// Counts what a try or a dry run of a rule spent on language models.
    pub fn spent(&self, rule: &str, spent: Amount) {
        let Amount { tokens, micro_euro, .. } = spent;
        if tokens > 0 || micro_euro > 0 {
            let rule = ByRule { rule: rule.to_owned() };
            #[allow(clippy::cast_precision_loss, reason = "millionths of a euro")]
            self.llm_cost.get_or_create(&rule).inc_by(micro_euro as f64 / 1e6);
            self.llm_tokens.get_or_create(&rule).inc_by(tokens);
        }
    }

    /// Counts that something of the engine's own work failed.
    pub(crate) fn failed(&self, work: Work) {
        self.faults.get_or_create(&ByWork { work: work.name() }).inc();
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &str, route: &str, status: u16) {
        let label = ByStatus { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&label).inc();
    }

    /// Counts a delivery that was refused.
    pub(crate) fn refused_delivery(&self) {
        self.refused.inc();
    }

    /// The page; `waiting` runs wait for the outside.
    ///
    /// # Errors
    /// What the database says.
    pub fn page(&self, conn: &Connection, now: i64, waiting: usize) -> Result<String, EngineError> {
        for state in [RunState::Queued, RunState::Running, RunState::WaitingApproval, RunState::Dead] {
            let sql = "SELECT count(*) FROM engine_run WHERE state = ?1";
            let count: i64 = conn.prepare_cached(sql)?.query_row([state.name()], |row| row.get(0))?;
            self.queue.get_or_create(&ByState { state: state.name() }).set(count);
        }
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let sql = "SELECT min(due) FROM engine_run WHERE state = 'queued' AND blockers = 0 AND due <= ?1";
        let oldest: Option<i64> = conn.prepare_cached(sql)?.query_row([now], |row| row.get(0))?;
        #[allow(clippy::cast_precision_loss, reason = "milliseconds of an age")]
        self.oldest.set(oldest.map_or(0.0, |due| (now - due) as f64 / 1e3));
        let sql = "SELECT count(*) FROM engine_rule WHERE paused IS NOT NULL";
        self.paused.set(conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?);
        let mut page = String::new();
        // Writing into a text does not fail.
        let _ = encode(&mut page, &self.registry);
        Ok(page)
    }
}

/// The used part of each limit that has one: the largest of all scripts.
#[must_use]
pub fn usage(attempt: &Attempt) -> Vec<(Limit, f64)> {
    let mut parts: Vec<(Limit, f64)> = Vec::new();
    for (limits, used) in &attempt.usage {
        for (limit, used) in used.iter().filter(|(_, used)| *used > 0) {
            let max = limits.get(limit);
            if max == 0 {
                continue;
            }
            #[allow(clippy::cast_precision_loss, reason = "a part, for people")]
            let part = used as f64 / max as f64;
            match parts.iter_mut().find(|(known, _)| *known == limit) {
                Some((_, known)) => *known = known.max(part),
                None => parts.push((limit, part)),
            }
        }
    }
    parts
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
