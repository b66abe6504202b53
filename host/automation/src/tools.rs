//! Scripts as an agent's tools: what the model is told of them, and the run of one within the agent's own run.
//!
//! Such a run has a fresh sandbox and everything else from the run that it is in: its records, its user, its change set, what
//! is left of its limits and budgets, and its grants, of which it may use what its own manifest asks for. If it does not
//! succeed, what it staged is forgotten. It runs no scripts itself.

use std::{collections::HashMap, sync::Arc};

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use triggerbox_llm::is_reading;
use triggerbox_model::{
    allowance::Allowance,
    call::{Call, Ran, Reply},
    error::{Error, ErrorKind},
    event::{Event, Outcome, Trigger},
    grants::{Authority, GrantOperation, Grants},
    limits::Meter,
    manifest::Manifest,
    outbound::HttpGrant,
    value::Id,
};
use triggerbox_sandbox::{Ending, Host, HostFault, LogLevel, Run, Script};

use crate::journal::Entry;

/// A script that a run may run as a tool.
#[derive(Debug, Clone)]
pub struct ScriptTool {
    /// The compiled component.
    script: Script,
    manifest: Arc<Manifest>,
    /// What it asks for, as far as the agent lets it.
    pub(crate) asks: Grants,
    http: Vec<HttpGrant>,
}

impl ScriptTool {
    /// A script as a tool. One for an agent that only reads may only read.
    ///
    /// # Errors
    /// `no-manifest`
    pub(crate) fn new(script: Script, read_only: bool) -> Result<Self, Error> {
        let Some(manifest) = script.manifest().cloned() else {
            let text = format!("the script {} has no manifest: it may do nothing", script.hash());
            return Err(Error::rejected("no-manifest", text));
        };
        let (mut asks, mut http) = (manifest.grants.clone(), manifest.http.clone());
        if read_only {
            asks = asks.only(&[GrantOperation::Read].into());
            for grant in &mut http {
                grant.methods.retain(|method| is_reading(method));
            }
        }
        Ok(Self { script, manifest: Arc::new(manifest), asks, http })
    }

    /// The tool's name: the script's.
    pub(crate) fn name(&self) -> &str {
        &self.manifest.script.name
    }

    /// The hash of its component.
    pub(crate) fn version(&self) -> String {
        self.script.hash().to_string()
    }

    /// What the agent's script is told: name, description and a JSON Schema of the arguments. Models are those that the script
    /// asks for and the run may touch.
    pub(crate) fn told(&self, authority: &Authority) -> Json {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let models = authority.models(&self.asks);
        if !self.asks.0.is_empty() {
            properties.insert("model".to_owned(), json!({ "type": "string", "enum": models }));
            let ids = json!({ "type": "array", "items": { "type": "integer" }, "description": "the records, by id" });
            properties.insert("ids".to_owned(), ids);
            required.extend(["model", "ids"]);
        }
        if !self.manifest.parameters.is_empty() {
            properties.insert("parameters".to_owned(), self.manifest.parameters_schema());
            if self.manifest.parameters.iter().any(|parameter| parameter.required) {
                required.push("parameters");
            }
        }
        let schema = json!({
            "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        let description = Some(&self.manifest.script.description).filter(|text| !text.is_empty());
        let description = description.map_or_else(|| format!("Runs the script {}.", self.name()), Clone::clone);
        json!({ "name": self.name(), "description": description, "schema": schema })
    }

    /// What its run may do: what it asks for of what the run that it is in may do.
    pub(crate) fn authority(&self, outer: &Authority) -> Authority {
        Authority {
            script: self.asks.clone(),
            script_http: self.http.clone(),
            // Without grants by name there is nothing to have a part of.
            rule: Some(outer.rule.clone().unwrap_or_default()),
            follows_rule: false,
            ..outer.clone()
        }
    }
}

/// The scripts that a run may run, and what their runs are made of.
pub(crate) struct Toolbox {
    scripts: Vec<ScriptTool>,
    /// What the run itself was given.
    event: Event,
    /// What it had used when it asked.
    lent: Option<Meter>,
    /// How often each has run, by name.
    ran: HashMap<String, u32>,
}

/// A run within a run, ready to begin.
pub(crate) struct Within {
    pub(crate) tool: ScriptTool,
    pub(crate) event: Event,
    pub(crate) meter: Meter,
}

/// The arguments of the call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    script: String,
    #[serde(default)]
    parameters: Map<String, Json>,
}

impl Toolbox {
    pub(crate) fn new(scripts: Vec<ScriptTool>, event: Event) -> Option<Self> {
        (!scripts.is_empty()).then_some(Self { scripts, event, lent: None, ran: HashMap::new() })
    }

    pub(crate) fn lend(&mut self, meter: Meter) {
        self.lent = Some(meter);
    }

    /// Counts a run that really began.
    pub(crate) fn began(&mut self, name: &str) {
        let ran = self.ran.entry(name.to_owned()).or_default();
        *ran = ran.saturating_add(1);
    }

    /// Makes a run ready.
    pub(crate) fn prepare(&mut self, model: String, ids: Vec<Id>, arguments: &str) -> Result<Within, Error> {
        let Arguments { script, parameters } = serde_json::from_str(arguments)
            .map_err(|error| Error::invalid("bad-arguments", format!("the arguments of a script's run: {error}")))?;
        let Some(tool) = self.scripts.iter().find(|tool| tool.name() == script) else {
            let known: Vec<_> = self.scripts.iter().map(ScriptTool::name).collect();
            let text = format!("`{script}` is no script of this agent; there are {}", known.join(", "));
            return Err(Error::not_found("unknown-script", text));
        };
        if model.is_empty() && !ids.is_empty() {
            return Err(Error::invalid("no-model", "records need a model: name it"));
        }
        let parameters = tool.manifest.parameter_values_json(&parameters);
        let parameters =
            parameters.map_err(|error| Error::invalid("bad-parameter", error.to_string()).with_field(error.name))?;
        let Some(lent) = self.lent.take() else {
            return Err(Error::unavailable("no-limits", "the run did not say what is left of its limits"));
        };
        // The same in each attempt, whatever other scripts run there before it.
        let [a, b, c, d, ..] = tool.script.hash().0;
        let ran = self.ran.get(tool.name()).copied().unwrap_or_default();
        let event = Event {
            seed: self.event.seed.wrapping_add(u32::from_le_bytes([a, b, c, d])).wrapping_add(ran),
            trigger: Trigger::Manual,
            model: Some(model).filter(|model| !model.is_empty()),
            records: ids,
            old_values: Vec::new(),
            parameters,
            previous: None,
            extra_json: None,
            ..self.event.clone()
        };
        Ok(Within { meter: lent.within(&tool.manifest.limits), tool: tool.clone(), event })
    }
}

impl Within {
    /// Begins the run. Its host calls come out of the receiver; it is over when the future is. None: there is no place.
    pub(crate) fn begin(&self) -> (impl Future<Output = Option<Run>> + Send + use<>, mpsc::UnboundedReceiver<Asked>) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (script, event, meter) = (self.tool.script.clone(), self.event.clone(), self.meter.clone());
        (async move { script.run_within(event, meter, Box::new(Messenger(asks))).await }, asked)
    }
}

/// What a script asks that runs within a run.
pub(crate) enum Asked {
    /// A host call, and what it may use.
    Call(Call, Allowance, oneshot::Sender<Result<Reply, HostFault>>),
    /// Whether it may go on after it waited.
    GoOn(oneshot::Sender<()>),
    /// It logs.
    Log(LogLevel, String),
}

/// The host of a run within a run: the other run's host answers.
struct Messenger(mpsc::UnboundedSender<Asked>);

#[async_trait::async_trait]
impl Host for Messenger {
    async fn call(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        let (reply, answer) = oneshot::channel();
        // Where nobody listens any more there is no answer either.
        let _ = self.0.send(Asked::Call(call, may, reply));
        answer.await.unwrap_or_else(|_| Err(HostFault::new("the run that this one is within is over")))
    }

    async fn go_on(&mut self) {
        let (done, is_done) = oneshot::channel();
        let _ = self.0.send(Asked::GoOn(done));
        let _ = is_done.await;
    }

    fn log(&mut self, level: LogLevel, message: &str) {
        let _ = self.0.send(Asked::Log(level, message.to_owned()));
    }
}

/// What a run within a run came to, for whoever asked for it. Only a success is `Ok`.
///
/// # Errors
/// The outer one: the host cannot go on, and neither can the run that it is within.
pub(crate) fn result(name: &str, ending: &Ending) -> Result<Result<Option<String>, Error>, HostFault> {
    let failed = |code: &str, why: &str| Ok(Err(Error::new(ErrorKind::Other, code, format!("`{name}`: {why}"))));
    match ending {
        Ending::Done(outcome) => Ok(Ok(Some(told(outcome).to_string()))),
        Ending::Failed(failure) => failed("script-failed", failure.message()),
        Ending::LimitExceeded(breach) => failed("script-over-limit", &breach.to_string()),
        Ending::Trapped(trap) => failed("script-trapped", &trap.cause),
        Ending::HostFault(why) => Err(HostFault::new(why.clone())),
        Ending::OutcomeUnknown(what) => Err(HostFault::OutcomeUnknown(what.clone())),
    }
}

/// What the model is told of an outcome: its line for the history, its result, the records that it chose.
fn told(outcome: &Outcome) -> Json {
    let mut told = Map::new();
    if let Some(message) = &outcome.message {
        told.insert("message".to_owned(), json!(message));
    }
    if let Some(result) = &outcome.result_json {
        told.insert("result".to_owned(), serde_json::from_str(result).unwrap_or_else(|_| json!(result)));
    }
    if !outcome.records.is_empty() {
        told.insert("records".to_owned(), json!(outcome.records));
    }
    Json::Object(told)
}

/// The answer to the call, with all that was used.
pub(crate) fn ran(result: Result<Option<String>, Error>, run: &Run) -> Ran {
    Ran { result, used: run.used, writes: run.writes.clone() }
}

/// What is kept of a run's calls by a run that keeps only paid and outside ones.
pub(crate) fn outside_only(entries: Vec<Entry>) -> Vec<Entry> {
    entries.into_iter().filter(|entry| matches!(entry.call, Call::Complete { .. } | Call::Send { .. })).collect()
}
