//! `triggerbox runs`: what happened, again or not.

mod export;
pub(crate) mod past;
mod show;

use std::{path::Path, sync::Arc};

use anyhow::anyhow;
use jiff::{SignedDuration, Timestamp};
use triggerbox_automation::{
    Engine, EngineError, SystemClock,
    config::{Bounded, Compile, Config, Unserved},
    index::Armed,
    logs::LogFilter,
    people,
    runs::{RunFilter, RunId, RunState},
};
use triggerbox_llm::Services;
use triggerbox_model::{
    call::{Answer, Call, Operation},
    error::ErrorKind,
    value::RecordRef,
};
use triggerbox_sandbox::{LogLevel, Sandbox};
use triggerbox_server::{
    App,
    people::audit::{self, Telling},
    told,
};
use triggerbox_store::{
    db::{DbError, Mode},
    session::Session,
};

pub(crate) use self::export::exported;
use crate::{
    args::{Common, OutsideArgs, RunsCommand, There},
    commands::{
        odoo, outside, script, serve,
        workshop::{FromError, Workshop, deed},
    },
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, styled},
};

pub(crate) fn run(command: &RunsCommand) -> Result<Exit, Failure> {
    match command {
        RunsCommand::List { rule, state, record, code, since, until, root, before, limit, common } => {
            let filter = RunFilter {
                rule: rule.clone(),
                state: state.as_deref().map(state_named).transpose()?,
                record: record.as_deref().map(record_named).transpose()?,
                code: code.clone(),
                since: since.as_deref().map(|text| time(text, Timestamp::now())).transpose()?,
                until: until.as_deref().map(|text| time(text, Timestamp::now())).transpose()?,
                root: *root,
                before: *before,
                after: None,
                limit: *limit,
            };
            show::list(&filter, common)
        }
        RunsCommand::Show { run, common } => show::one(*run, common),
        RunsCommand::Journal { run, attempt, action, common } => show::journal(*run, *attempt, *action, common),
        RunsCommand::Chain { run, common } => show::chain(*run, common),
        RunsCommand::Retry { run, there, common } => {
            let desk = Desk::on(common, there)?;
            let was = told::run(&desk.engine.run(*run).map_err(Failure::from_error)?.summary);
            desk.change(("run-retried", &run.to_string()), was, desk.engine.retry(*run))?;
            done(common, *run, "is queued again; `triggerbox serve` or `triggerbox runs work` runs it")
        }
        RunsCommand::Requeue { rule, state, there, common } => {
            let desk = Desk::on(common, there)?;
            desk.for_administrators("queues all runs of a rule again")?;
            let queued = desk.engine.requeue(rule, state_named(state)?);
            let runs = desk.change(("runs-retried", rule), format!("all that are {state}"), queued)?;
            if common.format.json {
                output::json(&serde_json::json!({ "rule": rule, "runs": runs }))?;
            } else {
                outln!("{} of {} queued again", output::count(runs.len(), "run"), styled(BOLD, rule));
            }
            Ok(Exit::Ok)
        }
        RunsCommand::Logs { rule, run, level, contains, since, limit, common } => {
            let filter = LogFilter {
                rule: rule.clone(),
                run: *run,
                level: level.as_deref().map(level_named).transpose()?,
                contains: contains.clone(),
                since: since.as_deref().map(|text| time(text, Timestamp::now())).transpose()?,
                before: None,
                limit: *limit,
            };
            show::logs(&filter, common)
        }
        RunsCommand::Cancel { run, there, common } => {
            let desk = Desk::on(common, there)?;
            let was = told::run(&desk.engine.run(*run).map_err(Failure::from_error)?.summary);
            desk.change(("run-cancelled", &run.to_string()), was, desk.engine.cancel(*run, desk.user))?;
            done(common, *run, "is cancelled")
        }
        RunsCommand::Replay { run, version, common } => past::replay(*run, version.as_deref(), common),
        RunsCommand::Export { run, out, plain, with_scripts, common } => {
            export::run(*run, out.as_deref(), *plain, *with_scripts, common)
        }
        RunsCommand::Backtest { version, rule, since, common } => past::backtest(version, rule, since, common),
        RunsCommand::Work { config, outside, there, common } => work(config.as_deref(), outside, there, common),
        RunsCommand::Prune { common } => past::prune(common),
    }
}

fn work(config: Option<&Path>, options: &OutsideArgs, there: &There, common: &Common) -> Result<Exit, Failure> {
    let config = config.map(serve::configured).transpose()?;
    let services = match &config {
        Some(config) => {
            let (asked, elsewhere) = serve::asked(options, config);
            outside::services(&asked, elsewhere)?
        }
        None => outside::services(options, options.providers.is_some())?,
    };
    let settings = config.as_ref().map(triggerbox_server::Config::engine).unwrap_or_default();
    let unserved = match &config {
        // As its server would: it says so where it knows nobody to ask.
        Some(_) => Unserved::default(),
        None => unserved(options, services.as_deref()),
    };
    let odoo = there.odoo.clone().or_else(|| config.as_ref()?.odoo.clone());
    let settings = Config { outside: services.clone(), unserved, ..settings };
    let desk = Desk::opened(common, Mode::Write, Some(&There { odoo }), settings)?;
    // What was set on the pages of a server is what its engine asks from here on.
    let _server = config.map(|config| App::new(desk.engine.clone(), desk.sandbox.clone(), config)).transpose()?;
    // What happened on an Odoo server, and what came due there: here, both are known by themselves.
    desk.block_on(desk.engine.drain())?;
    let due = desk.block_on(desk.engine.tick_remote());
    let count = desk.block_on(desk.engine.settle())?;
    let left = desk.engine.left_unserved().map_err(Failure::from_error)?;
    let tried = output::count(count, "run");
    if common.format.json {
        let left: Vec<_> = left.iter().map(|(rule, runs)| left_as_json(rule, *runs)).collect();
        output::json(&serde_json::json!({ "tried": count, "left": left }))?;
    } else if left.is_empty() {
        outln!("{tried} tried; nothing is due any more");
    } else {
        outln!("{tried} tried");
    }
    outside::saved(services.as_deref())?;
    due?;
    match left.is_empty() {
        true => Ok(Exit::Ok),
        false => Err(anyhow!("{}", why_left(&left)).into()),
    }
}

/// Whom runs without a configuration cannot ask. Who says that models are off has said what becomes of those that ask one.
fn unserved(options: &OutsideArgs, services: Option<&Services>) -> Unserved {
    Unserved {
        models: services.is_none() && options.llm.is_none(),
        services: services.is_none_or(|services| services.web.is_none()),
    }
}

fn left_as_json(rule: &Armed, runs: u32) -> serde_json::Value {
    let Unserved { models, services } = rule.unserved;
    serde_json::json!({ "rule": rule.rule.name, "runs": runs, "asks-models": models, "asks-services": services })
}

/// What stays queued, and what to do about it.
fn why_left(left: &[(Arc<Armed>, u32)]) -> String {
    let lines = left.iter().map(|(armed, runs)| {
        let asks = match armed.unserved {
            Unserved { models: true, services: true } => "asks a language model and other services",
            Unserved { models: true, services: false } => "asks a language model",
            Unserved { models: false, .. } => "sends requests to other services",
        };
        let runs = output::count(usize::try_from(*runs).unwrap_or(usize::MAX), "run");
        format!("{runs} of `{}` left in the queue: it {asks}\n", armed.rule.name)
    });
    lines.collect::<String>() + "say how with --config FILE, that of the server, or with --providers FILE"
}

/// An engine on a database file, for one command.
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) user: u32,
    administrator: bool,
    sandbox: Sandbox,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    /// For what the file alone knows: no run is run, wherever its records are.
    pub(crate) fn open(common: &Common) -> Result<Self, Failure> {
        Self::opened(common, Mode::Write, None, Config::default())
    }

    /// The same for whoever only looks, also beside a process that writes.
    pub(crate) fn look(common: &Common) -> Result<Self, Failure> {
        Self::opened(common, Mode::Read, None, Config::default())
    }

    /// For what concerns records: on the Odoo server that they are on, if they are on one.
    pub(crate) fn on(common: &Common, there: &There) -> Result<Self, Failure> {
        Self::opened(common, Mode::Write, Some(there), Config::default())
    }

    /// The same for whoever only looks, also beside a process that writes.
    pub(crate) fn look_on(common: &Common, there: &There) -> Result<Self, Failure> {
        Self::opened(common, Mode::Read, Some(there), Config::default())
    }

    fn opened(common: &Common, mode: Mode, there: Option<&There>, settings: Config) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let file = there.and_then(|there| there.odoo.as_deref());
        let odoo = file.map(odoo::open_for_runs).transpose()?;
        let workshop = Workshop::open_as(common, mode, |database| match &odoo {
            Some(backend) => runtime.block_on(odoo::on_odoo(database, backend, &[])),
            None => Ok(database),
        })?;
        if there.is_some() {
            odoo::at_home(&workshop.database, odoo.as_deref())?;
        }
        let bounded = Bounded { compiler: script::compiler()?, cache: script::cache() };
        let config = Config { compile: Compile::Bounded(Arc::new(bounded)), odoo, ..settings };
        let sandbox = script::sandbox(u32::try_from(config.workers).unwrap_or(u32::MAX))?;
        let (user, administrator) = (workshop.person.user.id, workshop.administrator);
        if workshop.database.mode() == Mode::Write {
            let made = workshop.database.transaction(|conn| audit::create_table(conn).map_err(DbError::from));
            made.or_exit(Exit::Backend)?;
        }
        let engine = Engine::open(workshop.database, sandbox.clone(), config, Arc::new(SystemClock));
        let engine = engine.map_err(Failure::from_error)?;
        Ok(Self { engine, user, administrator, sandbox, runtime })
    }

    /// Refuses what an administrator does, and nobody else.
    pub(crate) fn for_administrators(&self, does: &str) -> Result<(), Failure> {
        match self.administrator {
            true => Ok(()),
            false => Err(anyhow!("only an administrator {does}, and user {} is none", self.user)).or_exit(Exit::Policy),
        }
    }

    /// Whether whoever runs the command may read these records, where they are.
    pub(crate) fn may_read(&self, model: &str, ids: &[u32]) -> Result<(), Failure> {
        let call = Call::HasAccess { model: model.to_owned(), ids: ids.to_vec(), operation: Operation::Read };
        let answer = match self.engine.odoo() {
            Some(_) => self.block_on(self.engine.ask_there(self.user, call))?,
            None => {
                let env = people::environment(self.engine.database(), self.user, false, Timestamp::now());
                let env = env.or_exit(Exit::Backend)?;
                let mut session = Session::new(self.engine.database(), env).or_exit(Exit::Backend)?;
                session.call(call).or_exit(Exit::Backend)??
            }
        };
        match answer {
            Answer::Flag(true) => Ok(()),
            _ => Err(anyhow!("user {} may not read all of these records of {model}", self.user)).or_exit(Exit::Policy),
        }
    }

    /// Changes something, with its line in the audit log.
    pub(crate) fn change<T>(
        &self,
        (action, what): (&'static str, &str),
        detail: String,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, Failure> {
        let line = Telling::of(deed(self.user, action, what), Timestamp::now());
        line.say(detail);
        self.block_on(line.during(work))
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T, EngineError>>) -> Result<T, Failure> {
        self.runtime.block_on(work).map_err(Failure::from_error)
    }
}

impl FromError<EngineError> for Failure {
    fn from_error(error: EngineError) -> Self {
        let exit = match &error {
            EngineError::Refused(error) if error.kind == ErrorKind::AccessDenied => Exit::Policy,
            EngineError::Refused(_) => Exit::Usage,
            EngineError::Conflict(_) | EngineError::Backend(_) | EngineError::Database(_) => Exit::Backend,
        };
        Self { exit, error: anyhow!(error.to_string()) }
    }
}

fn state_named(name: &str) -> anyhow::Result<RunState> {
    RunState::ALL.into_iter().find(|state| state.name() == name).ok_or_else(|| {
        let all: Vec<_> = RunState::ALL.iter().map(|state| state.name()).collect();
        anyhow!("there is no state `{name}`; there are {}", all.join(", "))
    })
}

fn level_named(name: &str) -> anyhow::Result<LogLevel> {
    LogLevel::ALL.into_iter().find(|level| level.name() == name).ok_or_else(|| {
        let all: Vec<_> = LogLevel::ALL.iter().map(|level| level.name()).collect();
        anyhow!("there is no level `{name}`; there are {}", all.join(", "))
    })
}

pub(super) fn record_named(text: &str) -> anyhow::Result<RecordRef> {
    let parts = text.split_once('/').and_then(|(model, id)| Some(RecordRef::new(model, id.parse().ok()?)));
    parts.ok_or_else(|| anyhow!("`{text}` is not MODEL/ID, such as crm.lead/7"))
}

/// `7d` before now, or a time.
fn time(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    let wrong = || anyhow!("`{text}` is neither a time such as 2026-11-21T10:15:00Z nor a span such as 30m, 24h or 7d");
    let units = [('m', 60), ('h', 3_600), ('d', 86_400)];
    let span = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    match span {
        Some((number, seconds)) => {
            let number: i64 = number.parse().map_err(|_| wrong())?;
            let span = number.checked_mul(*seconds).ok_or_else(wrong)?;
            now.checked_sub(SignedDuration::from_secs(span)).map_err(|_| wrong())
        }
        None => text.parse().map_err(|_| wrong()),
    }
}

fn done(common: &Common, run: RunId, what: &str) -> Result<Exit, Failure> {
    if common.format.json {
        output::json(&serde_json::json!({ "run": run, "done": what }))?;
    } else {
        outln!("run {} {what}", styled(BOLD, run));
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spans_back_or_moments() {
        let now: Timestamp = "2026-11-21T10:15:00Z".parse().unwrap();
        assert_eq!(time("24h", now).unwrap().to_string(), "2026-11-20T10:15:00Z");
        assert_eq!(time("2026-01-01T00:00:00Z", now).unwrap().to_string(), "2026-01-01T00:00:00Z");
        for wrong in ["", "d", "7", "7w", "99999999999999999d", "yesterday"] {
            assert!(time(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn records_are_named_by_model_and_id() {
        assert_eq!(record_named("crm.lead/7").unwrap(), RecordRef::new("crm.lead", 7));
        assert!(record_named("crm.lead").is_err());
    }
}
