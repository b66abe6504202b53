//! `triggerbox run`: one script on some records, and what came of it.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use serde::Deserialize;
use triggerbox_automation::{
    self as automation, LogSink, Report, Request, RunError, Verdict, people,
    rule::{Trigger as RuleTrigger, stored},
    runs,
    state::tables,
    threads,
};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    event::{Failure as ScriptFailure, Outcome, PreviousRun, Trigger, WebhookCall},
    grants::{Authority, Grants, Policy},
    limits::{Breach, Class, LimitRequest, Limits},
    manifest::Manifest,
    value::Snapshot,
};
use triggerbox_sandbox::LogLevel;
use triggerbox_server::values;
use triggerbox_store::{
    db::{Database, DbError, Mode},
    session::Session,
};

use crate::{
    args::{ClassName, RunArgs, TriggerName},
    commands::{database, odoo, outside, script, workshop::FromError},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, limit_bars, printable, styled},
};

pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let bytes = script::read(&args.script)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?;
    let sandbox = script::sandbox(1)?;
    let loaded = runtime
        .block_on(script::load(&sandbox, &bytes))
        .map_err(|failure| Failure { error: failure.error.context(args.script.display().to_string()), ..failure })?;
    if let Some(config) = &args.odoo {
        return runtime.block_on(on_odoo(args, config, loaded));
    }
    // What is only shown needs no place to be kept, unless others are asked: what they answer is.
    let keeps = !args.dry_run || args.outside.asks() || !args.http.is_empty();
    let database = match database::open(&args.database, if keeps { Mode::Write } else { Mode::Read }) {
        // An older file is brought up to date, which whoever only reads cannot do.
        Err(failure) if matches!(failure.error.downcast_ref(), Some(DbError::Older { .. })) => {
            database::open(&args.database, Mode::Write)?
        }
        opened => opened?,
    };

    let rule = args.script.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let request = Request {
        outside: outside::outside(args, &database, &rule)?,
        previous: previous(args, &database)?,
        ..request(args, &database, loaded, rule)?
    };
    let log = Box::new(Console { json: args.format.json });
    let report = runtime.block_on(automation::run(&database, &request, log)).map_err(cannot_start)?;
    let exit = tell(args, &request, &report)?;
    tell_of_rules(&database, &report)?;
    Ok(exit)
}

/// Names the rules that may miss something: they fire on what comes over the API and on what runs change, and stand before that.
fn tell_of_rules(database: &Database, report: &Report) -> Result<(), Failure> {
    let conn = database.snapshot().or_exit(Exit::Backend)?;
    if !matches!(report.verdict, Verdict::Applied(_)) || !tables::exist(&conn).or_exit(Exit::Backend)? {
        return Ok(());
    }
    let is_changed = |model: &String| report.diff.records.iter().any(|changed| changed.record.model == *model);
    let hears = |trigger: &RuleTrigger| trigger.is_on_record_change() || matches!(trigger, RuleTrigger::Before { .. });
    let rules = stored::all(&conn).map_err(Failure::from_error)?;
    let deaf = rules.iter().map(|stored| &stored.rule);
    let deaf = deaf.filter(|rule| rule.active && hears(&rule.trigger) && rule.model.as_ref().is_some_and(is_changed));
    let names: Vec<_> = deaf.map(|rule| format!("`{}`", rule.name)).collect();
    if !names.is_empty() {
        errln!(
            "{} no rule sees what `run` changes, and these are about such records: {}",
            styled(YELLOW, "note:"),
            names.join(", ")
        );
    }
    Ok(())
}

/// The same on an Odoo server.
async fn on_odoo(args: &RunArgs, config: &Path, loaded: script::Loaded) -> Result<Exit, Failure> {
    if !args.old.is_empty() {
        return Err(anyhow!("--old is for the embedded backend; leave it out with --odoo").into());
    }
    let backend = odoo::open_for_runs(config)?;
    let run_as = automation::remote::person(&backend, &args.user).await.map_err(cannot_start)?;
    let rule = args.script.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let request = described(args, loaded, rule.clone(), now(args)?, run_as)?;
    // What paid calls cost and answered is kept here: the demo's file in memory will do.
    let database = database::open(&args.database, Mode::Write)?;
    let request =
        Request { outside: outside::outside(args, &database, &rule)?, previous: previous(args, &database)?, ..request };
    let log = Box::new(Console { json: args.format.json });
    let report = automation::remote::run(&backend, &request, log).await.map_err(cannot_start)?;
    tell(args, &request, &report)
}

fn tell(args: &RunArgs, request: &Request, report: &Report) -> Result<Exit, Failure> {
    if args.format.json {
        output::json(report)?;
    } else {
        out!("{}", text(report));
    }
    outside::saved(request.outside.as_ref().map(|outside| &*outside.services))?;
    Ok(exit(report))
}

fn now(args: &RunArgs) -> Result<Timestamp, Failure> {
    Ok(match &args.now {
        None => Timestamp::now(),
        Some(text) if text.ends_with('Z') => text.parse().with_context(|| format!("--now {text}"))?,
        Some(text) => return Err(anyhow!("--now {text}: a time ends in Z, such as 2026-11-21T10:15:00Z").into()),
    })
}

fn request(args: &RunArgs, database: &Database, loaded: script::Loaded, rule: String) -> Result<Request, Failure> {
    let now = now(args)?;
    let run_as = people::find(database, &args.user, now).map_err(cannot_start)?;
    let request = described(args, loaded, rule, now, run_as)?;
    if let Some(model) = &args.model {
        present(database, model, &args.ids)?;
    }
    Ok(Request { old_values: old_values(args, database)?, ..request })
}

/// What the arguments say, for a user of whichever backend.
fn described(
    args: &RunArgs,
    loaded: script::Loaded,
    rule: String,
    now: Timestamp,
    run_as: people::Person,
) -> Result<Request, Failure> {
    if let Some(id) = duplicate(&args.ids) {
        return Err(anyhow!("--ids names {id} twice").into());
    }
    Ok(Request {
        parameters: loaded.manifest.parameter_values(&args.params)?,
        authority: Arc::new(authority(&loaded.manifest, args)),
        limits: limits(&loaded.manifest, args),
        script: loaded.script,
        rule,
        trigger: match (&args.payload, args.trigger) {
            (Some(payload), _) => Trigger::Webhook(delivery(payload)?),
            (None, TriggerName::Created) => Trigger::Created,
            (None, TriggerName::Updated) => Trigger::Updated,
            (None, TriggerName::Manual) => Trigger::Manual,
            (None, TriggerName::SelectRecords) => Trigger::SelectRecords,
        },
        model: args.model.clone(),
        records: args.ids.clone(),
        old_values: Vec::new(),
        actor: run_as.clone(),
        run_as,
        superuser: args.superuser,
        now,
        seed: args.seed.unwrap_or_else(rand::random),
        previous: None,
        dry_run: args.dry_run,
        outside: None,
    })
}

/// The body of a webhook: the argument itself, if it is JSON, else what is in the file that it names.
fn delivery(payload: &str) -> Result<WebhookCall, Failure> {
    let body = match serde_json::from_str::<serde_json::Value>(payload) {
        Ok(_) => payload.as_bytes().to_vec(),
        Err(_) => fs::read(payload).with_context(|| format!("--payload {payload} is neither JSON nor a file"))?,
    };
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Ok(WebhookCall { method: "POST".to_owned(), headers, query: Vec::new(), body })
}

/// What the script may know of the run before it.
fn previous(args: &RunArgs, database: &Database) -> Result<Option<PreviousRun>, Failure> {
    /// A report of `triggerbox run --json` on a script that succeeded.
    #[derive(Deserialize)]
    struct Told {
        run_id: String,
        detail: Outcome,
    }

    let Some(previous) = &args.previous else { return Ok(None) };
    if let Ok(run) = previous.parse::<runs::RunId>() {
        let conn = database.snapshot().or_exit(Exit::Backend)?;
        if !tables::exist(&conn).or_exit(Exit::Backend)? {
            return Err(anyhow!("--previous {run}: this database has no runs yet").into());
        }
        let run = runs::detail(&conn, run).map_err(Failure::from_error)?;
        return Ok(Some(threads::remembered(run.summary.key, run.outcome.unwrap_or_default())));
    }
    let report = fs::read(previous).with_context(|| format!("cannot read {previous}"))?;
    let told: Told = serde_json::from_slice(&report)
        .with_context(|| format!("--previous {previous} is not what `triggerbox run --json` says of a success"))?;
    Ok(Some(threads::remembered(told.run_id, told.detail)))
}

/// What the records held before, the same for each of them. Text that is no JSON of the field's type stands for itself.
fn old_values(args: &RunArgs, database: &Database) -> Result<Vec<Snapshot>, Failure> {
    let (Some(model), false) = (&args.model, args.old.is_empty()) else { return Ok(Vec::new()) };
    let model = database.schema().model(model)?;
    let mut fields = Vec::new();
    for (name, text) in &args.old {
        let one = |json| values::read(model, &serde_json::Map::from_iter([(name.clone(), json)]));
        let as_json = serde_json::from_str(text).ok().and_then(|json| one(json).ok());
        fields.extend(as_json.map_or_else(|| one(serde_json::Value::from(text.as_str())), Ok)?);
    }
    Ok(args.ids.iter().map(|id| Snapshot { id: *id, fields: fields.clone() }).collect())
}

/// The records are there, whether the user may see them or not.
fn present(database: &Database, model: &str, ids: &[u32]) -> Result<(), Failure> {
    let env = people::environment(database, people::SYSTEM, true, Timestamp::now()).map_err(cannot_start)?;
    let mut session = Session::new(database, env).or_exit(Exit::Backend)?;
    let call = Call::Search {
        model: model.to_owned(),
        domain: DomainSource::Literal(format!("[('id', 'in', {ids:?})]")),
        page: Page { archived: true, ..Page::default() },
    };
    match session.call(call).or_exit(Exit::Backend)?? {
        Answer::Ids(found) => match ids.iter().find(|id| !found.contains(id)) {
            None => Ok(()),
            Some(id) => {
                Err(anyhow!("there is no {model}({id}); `triggerbox db search {model}` lists what there is").into())
            }
        },
        _ => Err(anyhow!("the backend answered a search with something else")).or_exit(Exit::Backend),
    }
}

fn duplicate(ids: &[u32]) -> Option<u32> {
    let mut seen = BTreeSet::new();
    ids.iter().copied().find(|id| !seen.insert(*id))
}

fn authority(manifest: &Manifest, args: &RunArgs) -> Authority {
    let rule = (!args.grants.is_empty()).then(|| Grants(args.grants.clone()));
    manifest.authority(rule, args.http.clone(), Policy::default())
}

fn limits(manifest: &Manifest, args: &RunArgs) -> Limits {
    let class = match args.class {
        ClassName::Sync => Class::Sync,
        ClassName::Async => Class::Async,
        ClassName::Batch => Class::Batch,
        ClassName::Agent => Class::Agent,
    };
    Limits::resolve(class, [&manifest.limits, &LimitRequest(args.limits.iter().copied().collect())])
}

/// Prints the script's log as it comes: to stdout as text, to stderr beside JSON.
pub(crate) struct Console {
    /// Whether stdout is kept for JSON.
    pub(crate) json: bool,
}

impl LogSink for Console {
    fn line(&mut self, level: LogLevel, message: &str) {
        let style = match level {
            LogLevel::Debug => DIM,
            LogLevel::Info => BOLD,
            LogLevel::Warning => YELLOW,
            LogLevel::Error => RED,
        };
        let line = format!("{} {}", styled(style, format!("{:<7}", level.name())), printable(message));
        if self.json { errln!("{line}") } else { outln!("{line}") }
    }
}

/// The report for people: outcome, diff, limit bars.
pub(crate) fn text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |part: String| {
        text.push_str(&part);
        text.push('\n');
    };
    match &report.verdict {
        Verdict::Applied(outcome)
        | Verdict::DryRun(outcome)
        | Verdict::Proposed(outcome)
        | Verdict::Dropped(outcome) => {
            let word = match (&report.verdict, report.diff.is_empty()) {
                (_, true) => "succeeded, nothing to change",
                (Verdict::DryRun(_), false) => "would change (dry run)",
                _ => "succeeded",
            };
            let message = outcome.message.as_deref().map(|m| format!(": {}", printable(m))).unwrap_or_default();
            line(styled(GREEN, word) + &message);
            if let Some(warning) = &outcome.warning {
                line(format!("{} {}", styled(YELLOW, "warning:"), printable(warning)));
            }
            if !outcome.records.is_empty() {
                line(format!("records: {:?}", outcome.records));
            }
            if let Some(result) = &outcome.result_json {
                line(format!("result: {}", printable(result)));
            }
        }
        Verdict::Failed(failure) => {
            let (word, message) = match failure {
                ScriptFailure::UserError(message) => ("refused by the script:", message),
                ScriptFailure::Failed(message) => ("failed:", message),
            };
            line(format!("{} {}", styled(RED, word), printable(message)));
        }
        Verdict::LimitExceeded(Breach { limit, used, max, class, scope }) => {
            let amount = |number| output::amount(limit.spec().unit, number);
            let (used, max, whose) = (amount(*used), amount(*max), scope.describe(*class));
            line(format!("{} {limit}, {used} of at most {max} ({whose})", styled(RED, "limit exceeded:")));
        }
        Verdict::Trapped(trap) => {
            line(format!("{} {}", styled(RED, "the script broke:"), printable(&trap.to_string())))
        }
        Verdict::Rejected(error) => line(format!("{} {}", styled(RED, "rejected:"), printable(&error.message))),
        Verdict::Conflict(error) => line(format!("{} {}", styled(RED, "conflict:"), printable(&error.message))),
        Verdict::OutcomeUnknown(message) => line(format!("{} {}", styled(RED, "outcome unknown:"), printable(message))),
        Verdict::Unavailable(error) => line(format!("{} {}", styled(RED, "not available:"), printable(&error.message))),
        Verdict::Backend(message) => line(format!("{} {}", styled(RED, "the backend failed:"), printable(message))),
        Verdict::Away(message) => line(format!("{} {}", styled(RED, "odoo is away:"), printable(message))),
        Verdict::Unusable(message) => line(format!("{} {}", styled(RED, "odoo cannot be used:"), printable(message))),
    }
    if !report.verdict.is_success() {
        line(styled(DIM, "nothing was applied"));
    }
    if report.attempts > 1 {
        line(format!("attempts: {}", report.attempts));
    }
    if !report.diff.is_empty() {
        line(String::new());
        line(report.diff.to_string().trim_end().to_owned());
    }
    if !report.verdict.is_success() {
        for traceback in &report.tracebacks {
            line(String::new());
            traceback.lines().for_each(|part| line(styled(DIM, printable(part))));
        }
    }
    let breached = match &report.verdict {
        Verdict::LimitExceeded(breach) => Some(breach.limit),
        _ => None,
    };
    line(String::new());
    line(styled(BOLD, "limits"));
    text + &limit_bars(&report.limits, &report.used, breached)
}

/// The exit code that a report stands for.
pub(crate) fn exit(report: &Report) -> Exit {
    match &report.verdict {
        Verdict::Applied(_) | Verdict::DryRun(_) | Verdict::Proposed(_) => Exit::Ok,
        Verdict::LimitExceeded(_) => Exit::Limit,
        // A script that gave up after a refusal gave up because of it.
        Verdict::Failed(_) if !report.refusals.is_empty() => Exit::Policy,
        Verdict::Rejected(_) if report.plan.as_ref().is_some_and(|plan| !plan.allowed) => Exit::Policy,
        Verdict::Failed(_) | Verdict::Trapped(_) | Verdict::Rejected(_) | Verdict::Dropped(_) => Exit::ScriptFailed,
        Verdict::Conflict(_)
        | Verdict::Backend(_)
        | Verdict::Away(_)
        | Verdict::Unusable(_)
        | Verdict::Unavailable(_)
        | Verdict::OutcomeUnknown(_) => Exit::Backend,
    }
}

fn cannot_start(error: RunError) -> Failure {
    let exit = match &error {
        RunError::Invalid(_) => Exit::Usage,
        RunError::Backend(_) => Exit::Backend,
    };
    Failure { exit, error: error.into() }
}
