//! Plans: what a model intends to do, before anything is read. The host judges each step of a plan by identity, role,
//! policy, scope and rule, keeps the plan with its verdicts, and only then lets the run go on: with what was planned, or
//! with nothing at all.
//!
//! A run has to plan where its script follows the rule and has a parameter `plan` that is on. Then its first question to
//! a model is for the plan, and the answer is a [`Plan`] as JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use triggerbox_model::{
    allowance::Allowance,
    call::{Answer, Call, Operation},
    error::Error,
    grants::{Authority, Grant, GrantOperation, Grants, Need, Policy},
    value::{FieldValue, Id, Value},
};
use triggerbox_sandbox::HostFault;

use crate::{agents, records::Records};

/// The parameter that has a run plan first.
const PARAMETER: &str = "plan";

/// The parameter that names the tools that a run has; empty: all.
const TOOLS: &str = "tools";

/// What a model intends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What for.
    pub goal: String,
    /// How, in order.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The agent's tool.
    pub tool: String,
    /// On this model,
    pub model: String,
    /// with these fields; for `call`, these methods.
    #[serde(default)]
    pub fields: Vec<String>,
    /// The model's reason.
    #[serde(default)]
    pub why: String,
}

/// A plan with what was judged of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What for.
    pub goal: String,
    /// Whether every step is allowed. If not, the run may do nothing.
    pub allowed: bool,
    /// The steps, in order.
    pub steps: Vec<JudgedStep>,
}

impl Judged {
    /// Why a run whose plan this is has done nothing, whatever its script makes of that; none: it may do what it has planned.
    pub(crate) fn refused(&self) -> Option<Error> {
        if self.allowed {
            return None;
        }
        let why: Vec<_> = self.steps.iter().enumerate().filter_map(|(at, step)| refusal(at, step)).collect();
        let why = if why.is_empty() { "the answer is no plan".to_owned() } else { why.join("; ") };
        let text = format!("the plan is not allowed, so nothing was read or done: {why}");
        Some(Error::denied("plan-refused", text))
    }
}

/// A step with its verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedStep {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// Whether nobody refuses it.
    pub allowed: bool,
    /// What each layer says, in the order in which they are asked.
    pub verdicts: Vec<Verdict>,
}

/// What one layer says of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which.
    pub layer: Layer,
    /// Whether it allows the step; none: it was not asked, for another had refused before.
    pub allowed: Option<bool>,
    /// Why.
    pub why: String,
}

/// Who judges a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Whose rights count.
    Identity,
    /// What the administrator of this server forbids.
    Policy,
    /// What the rule and its agent grant.
    Rule,
    /// Which records of the model it is for.
    Scope,
    /// What that user may do in the ERP.
    Role,
}

impl Layer {
    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Policy => "policy",
            Self::Rule => "rule",
            Self::Scope => "scope",
            Self::Role => "role",
        }
    }
}

/// How far a run that has to plan is.
pub(crate) enum Stage {
    /// The next answer of a model is the plan; until then nothing may be asked of the records.
    Awaited,
    /// Nothing more is allowed; why.
    Refused(Error),
    /// What was planned, and nothing else.
    Allowed(Grants),
}

/// The planning of one run.
pub(crate) struct Planning {
    pub(crate) stage: Stage,
    /// Whose rights count, in words.
    who: String,
    superuser: bool,
    /// The triggering records: the context that the rule gives.
    own: Option<(String, Vec<Id>)>,
    /// Scripts that are tools, with what they ask for.
    scripts: Vec<(String, Grants)>,
    /// The tools that the run has; none named: all.
    tools: Vec<String>,
}

/// Whether a script's parameters have its run plan first.
pub(crate) fn is_wanted(authority: &Authority, parameters: &[FieldValue]) -> bool {
    let on = |value: &FieldValue| value.name == PARAMETER && value.value == Value::Boolean(true);
    authority.follows_rule && parameters.iter().any(on)
}

impl Planning {
    pub(crate) fn new(who: String, superuser: bool, own: Option<(String, Vec<Id>)>) -> Self {
        Self { stage: Stage::Awaited, who, superuser, own, scripts: Vec::new(), tools: Vec::new() }
    }

    /// Steps may use those tools alone that the parameters name, if they name some.
    pub(crate) fn with_tools(self, parameters: &[FieldValue]) -> Self {
        let named = parameters.iter().find(|value| value.name == TOOLS);
        let tools = match named.map(|named| &named.value) {
            Some(Value::Text(text)) => agents::tools(Some(text)).into_iter().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        Self { tools, ..self }
    }

    /// Steps may use these scripts as tools: then all that a script asks for is planned.
    pub(crate) fn with_scripts(self, scripts: Vec<(String, Grants)>) -> Self {
        Self { scripts, ..self }
    }

    /// The rights that a step needs, if there is its tool.
    fn needs(&self, step: &Step) -> Option<Vec<Need>> {
        if !self.tools.is_empty() && !self.tools.contains(&step.tool) {
            return None;
        }
        match self.scripts.iter().find(|(name, _)| *name == step.tool) {
            Some((_, asks)) => Some(asks.needs()),
            None => operation(&step.tool).map(|operation| needs(step, operation)),
        }
    }

    /// Whether anything may be asked of a model now.
    pub(crate) fn may_ask(&self) -> Result<(), Error> {
        match &self.stage {
            Stage::Awaited | Stage::Allowed(_) => Ok(()),
            Stage::Refused(error) => Err(error.clone()),
        }
    }

    /// What was planned, once anything may be done.
    pub(crate) fn planned(&self) -> Result<&Grants, Error> {
        match &self.stage {
            Stage::Awaited => {
                let text = "this run writes a plan first: until its steps are allowed, nothing is read or done";
                Err(Error::denied("plan-first", text))
            }
            Stage::Refused(error) => Err(error.clone()),
            Stage::Allowed(planned) => Ok(planned),
        }
    }

    /// Whether a call is part of the plan, by what it needs.
    pub(crate) fn may(&self, call: &Call, needs: &[Need]) -> Result<(), Error> {
        let planned = self.planned()?;
        let is_open = |need: &&Need| need.operation == GrantOperation::Read && self.is_context(call, need, planned);
        match needs.iter().filter(|need| !is_open(need)).find_map(|need| planned.lacks(need)) {
            None => Ok(()),
            Some(what) => Err(not_planned(&what)),
        }
    }

    /// Whether a call reads what needs no step: the triggering records, what may be done with them at all, and what the fields
    /// are of a model that a step is about.
    fn is_context(&self, call: &Call, need: &Need, planned: &Grants) -> bool {
        let own = |model: &str, ids: &[Id]| {
            self.own
                .as_ref()
                .is_some_and(|(known, records)| known == model && ids.iter().all(|id| records.contains(id)))
        };
        match call {
            // A path leads to other records.
            Call::Read { model, ids, fields } => {
                need.model == *model && own(model, ids) && !fields.iter().any(|field| field.contains('.'))
            }
            Call::HasAccess { model, ids, .. } => own(model, ids),
            Call::FieldsGet { model, .. } | Call::DescribeFields { model, .. } => {
                own(model, &[]) || planned.0.iter().any(|step| step.model == *model)
            }
            _ => false,
        }
    }

    /// A request to another service, which no step of a plan can be.
    pub(crate) fn may_send(&self) -> Result<(), Error> {
        self.planned()?;
        Err(not_planned("a request to another service"))
    }

    /// Takes an answer as the plan: judges it, and moves on.
    pub(crate) async fn take<R: Records>(
        &mut self,
        answer: &str,
        authority: &Authority,
        records: &mut R,
    ) -> Result<Judged, HostFault> {
        let plan: Plan = match serde_json::from_str(answer) {
            Ok(plan) => plan,
            Err(error) => {
                self.stage = Stage::Refused(Error::denied("plan-refused", format!("the answer is no plan: {error}")));
                return Ok(Judged { goal: String::new(), allowed: false, steps: Vec::new() });
            }
        };
        let mut steps = Vec::new();
        for step in plan.steps {
            steps.push(self.judge(step, authority, records).await?);
        }
        let refused: Vec<String> = steps.iter().enumerate().filter_map(|(at, step)| refusal(at, step)).collect();
        let judged = Judged { goal: plan.goal, allowed: refused.is_empty(), steps };
        self.stage = match judged.allowed {
            false => Stage::Refused(Error::denied("plan-refused", refused.join("; "))),
            true => {
                let needs = judged.steps.iter().flat_map(|judged| self.needs(&judged.step).unwrap_or_default());
                Stage::Allowed(Grants(needs.map(planned).collect()))
            }
        };
        Ok(judged)
    }

    async fn judge<R: Records>(
        &self,
        step: Step,
        authority: &Authority,
        records: &mut R,
    ) -> Result<JudgedStep, HostFault> {
        let mut verdicts = Vec::new();
        let mut say = |layer, allowed: Option<bool>, why: String| verdicts.push(Verdict { layer, allowed, why });
        say(Layer::Identity, Some(true), self.who.clone());
        let Some(needs) = self.needs(&step) else {
            say(Layer::Rule, Some(false), format!("there is no tool `{}`", step.tool));
            return Ok(JudgedStep { step, allowed: false, verdicts });
        };
        let policy = needs.iter().find_map(|need| forbidden(authority, need));
        say(Layer::Policy, Some(policy.is_none()), policy.clone().unwrap_or_else(|| "policy allows it".to_owned()));

        // The other sides alone.
        let unguarded = Policy { guarded_models: Vec::new(), guarded_operations: BTreeSet::new(), ..Policy::default() };
        let unguarded = Authority { policy: unguarded, ..authority.clone() };
        let (mut domains, mut refused, mut creates) = (Vec::new(), None, false);
        for need in &needs {
            match unguarded.allow(need) {
                Ok(allowed) => {
                    creates |= need.operation == GrantOperation::Create && !allowed.bounds.is_empty();
                    domains.extend(allowed.bounds.into_iter().map(|bound| bound.domains));
                }
                Err(refusal) => refused = refused.or(Some(refusal.message)),
            }
        }
        let mut all: Vec<_> = needs.iter().map(|need| format!("`{}` on {}", need.operation, need.model)).collect();
        all.dedup();
        let granted = format!("the rule grants {}", all.join(", "));
        say(Layer::Rule, Some(refused.is_none()), refused.clone().unwrap_or(granted));
        let open = policy.is_none() && refused.is_none();

        let scope = match (open, domains.is_empty(), creates) {
            (false, ..) => (None, "not asked".to_owned()),
            (true, true, _) => (Some(true), "all records that the user may see".to_owned()),
            (true, false, true) => {
                (Some(false), "the grant is bounded by a domain, to which new records cannot be held".to_owned())
            }
            (true, false, false) => {
                let all: Vec<_> = domains.iter().map(|any| any.join(" or ")).collect();
                (Some(true), format!("only records that match {}", all.join(" and ")))
            }
        };
        let open = open && scope.0 != Some(false);
        say(Layer::Scope, scope.0, scope.1);

        let role = match open {
            false => (None, "not asked".to_owned()),
            true if self.superuser => (Some(true), "a superuser rule: no user's rights bind it".to_owned()),
            true => self.roles(&needs, records).await?,
        };
        say(Layer::Role, role.0, role.1);
        let allowed = verdicts.iter().all(|verdict| verdict.allowed == Some(true));
        Ok(JudgedStep { step, allowed, verdicts })
    }

    /// The first thing that the user may not do, or the last that they may.
    async fn roles<R: Records>(&self, needs: &[Need], records: &mut R) -> Result<(Option<bool>, String), HostFault> {
        let mut verdict = (Some(true), "nothing is needed".to_owned());
        for need in needs {
            verdict = self.role(&need.model, need.operation, records).await?;
            if verdict.0 != Some(true) {
                break;
            }
        }
        Ok(verdict)
    }

    /// What the user may do with the model at all; of single records it is judged when they are touched. Reads none.
    async fn role<R: Records>(
        &self,
        model: &str,
        operation: GrantOperation,
        records: &mut R,
    ) -> Result<(Option<bool>, String), HostFault> {
        let asked = match operation {
            GrantOperation::Write => Operation::Write,
            GrantOperation::Create => Operation::Create,
            GrantOperation::Unlink => Operation::Unlink,
            // Whoever may not read a model cannot post on it either; the rest is judged with the record.
            _ => Operation::Read,
        };
        let call = Call::HasAccess { model: model.to_owned(), ids: Vec::new(), operation: asked };
        if let Err(error) = records.learn(&call).await? {
            return Ok((Some(false), error.message));
        }
        // No records are looked at.
        Ok(match records.answer(call, Allowance::UNLIMITED).await? {
            Ok(Answer::Flag(true)) => (Some(true), format!("the user may {} {model}", asked.name())),
            Ok(_) => (Some(false), format!("the user may not {} {model}", asked.name())),
            Err(error) => (Some(false), error.message),
        })
    }
}

/// The right that a tool of the agent needs.
fn operation(tool: &str) -> Option<GrantOperation> {
    Some(match tool {
        "search" | "read" | "read_group" | "fields_get" => GrantOperation::Read,
        "create" => GrantOperation::Create,
        "update" => GrantOperation::Write,
        "call" => GrantOperation::Call,
        "note" => GrantOperation::Note,
        "message" => GrantOperation::Message,
        "activity" => GrantOperation::Activity,
        _ => return None,
    })
}

/// What a step needs, as the grant that it is from then on. Whoever creates a record may look whether it is there already.
fn planned(need: Need) -> Grant {
    let Need { model, operation, fields, method, .. } = need;
    let reading = (operation == GrantOperation::Create).then_some(GrantOperation::Read);
    Grant {
        model,
        operations: [operation].into_iter().chain(reading).collect(),
        fields,
        keys: BTreeSet::new(),
        methods: method.into_iter().collect(),
        read_only_methods: BTreeSet::new(),
        domain: None,
    }
}

fn needs(step: &Step, operation: GrantOperation) -> Vec<Need> {
    let need = || Need::new(&step.model, operation);
    match operation {
        // A method that is not named is in no grant.
        GrantOperation::Call if step.fields.is_empty() => vec![Need { method: Some(String::new()), ..need() }],
        GrantOperation::Call => {
            step.fields.iter().map(|method| Need { method: Some(method.clone()), ..need() }).collect()
        }
        _ if operation.names_fields() => vec![need().with_fields(&step.fields)],
        _ => vec![need()],
    }
}

/// What policy has against a need, whatever is granted; or as nothing is granted by name.
fn forbidden(authority: &Authority, need: &Need) -> Option<String> {
    if authority.policy.forbids(&need.model) {
        return Some(format!("policy forbids scripts to touch {}", need.model));
    }
    let guarded = authority.policy.guards(&need.model) || authority.policy.guarded_operations.contains(&need.operation);
    (guarded && authority.rule.is_none())
        .then(|| format!("policy guards `{}` on {}: it is to be granted by name", need.operation, need.model))
}

fn refusal(at: usize, judged: &JudgedStep) -> Option<String> {
    let refused = judged.verdicts.iter().find(|verdict| verdict.allowed == Some(false))?;
    let Step { tool, model, .. } = &judged.step;
    Some(format!("step {} ({tool} on {model}): {}", at.saturating_add(1), refused.why))
}

fn not_planned(what: &str) -> Error {
    Error::denied("not-planned", format!("{what} is in no step of the plan"))
}
