//! What a script may do, and who refused.
//!
//! The effective right is the intersection of four sides: what the script asks for in its manifest,
//! what the rule (or the command line) grants, what the server's policy allows, and what the run-as
//! user may do. The first three are judged here on a [`Need`]; the user's own rights are the backend's.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use url::Url;

use crate::{error::Error, outbound::HttpGrant};

/// An operation that grants are about. Finer than Odoo's four: posting and calling are apart from writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantOperation {
    /// Read and search.
    Read,
    /// Change fields.
    Write,
    /// Create and copy.
    Create,
    /// Delete.
    Unlink,
    /// Post an internal note.
    Note,
    /// Post a message that followers are notified of.
    Message,
    /// Schedule and complete activities.
    Activity,
    /// Add and remove followers.
    Follow,
    /// Call a business method.
    Call,
}

impl GrantOperation {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Unlink,
        Self::Note,
        Self::Message,
        Self::Activity,
        Self::Follow,
        Self::Call,
    ];

    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Create => "create",
            Self::Unlink => "unlink",
            Self::Note => "note",
            Self::Message => "message",
            Self::Activity => "activity",
            Self::Follow => "follow",
            Self::Call => "call",
        }
    }

    /// Whether fields are part of the right: only reading, writing and creating name fields.
    #[must_use]
    pub fn names_fields(self) -> bool {
        matches!(self, Self::Read | Self::Write | Self::Create)
    }
}

impl fmt::Display for GrantOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A right on one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Technical name, in full: there are no wildcards.
    pub model: String,
    /// What may be done.
    pub operations: BTreeSet<GrantOperation>,
    /// Which fields may be read, written or set on creation. `id` and `display_name` need no grant.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
    /// Which of `fields` tell records apart: then one is only created by an `ensure` with these keys, which finds it if it is
    /// there already.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
    /// Which methods may be called.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub methods: BTreeSet<String>,
    /// Which of `methods` change nothing and may therefore answer at once.
    #[serde(default, rename = "read-only-methods", skip_serializing_if = "BTreeSet::is_empty")]
    pub read_only_methods: BTreeSet<String>,
    /// Only records that match this literal domain; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl Grant {
    /// The same with these of its operations, and the names that go with them.
    fn only(&self, operations: BTreeSet<GrantOperation>) -> Self {
        let fields = operations.iter().any(|operation| operation.names_fields());
        let calls = operations.contains(&GrantOperation::Call);
        let kept = |names: &BTreeSet<String>, keep: bool| if keep { names.clone() } else { BTreeSet::new() };
        Self {
            model: self.model.clone(),
            fields: kept(&self.fields, fields),
            keys: kept(&self.keys, operations.contains(&GrantOperation::Create)),
            methods: kept(&self.methods, calls),
            read_only_methods: kept(&self.read_only_methods, calls),
            domain: self.domain.clone(),
            operations,
        }
    }

    /// What one operation of this grant allows beyond all of `other`.
    fn beyond(&self, operation: GrantOperation, other: &Grants) -> Option<Self> {
        let covering: Vec<_> = other
            .0
            .iter()
            .filter(|known| known.model == self.model && known.operations.contains(&operation))
            .filter(|known| known.domain.is_none() || known.domain == self.domain)
            .filter(|known| operation != GrantOperation::Create || known.keys.is_empty() || known.keys == self.keys)
            .collect();
        let new = |names: &BTreeSet<String>, of: fn(&Self) -> &BTreeSet<String>, counts: bool| -> BTreeSet<String> {
            let names = names.iter().filter(|_| counts);
            names.filter(|name| !covering.iter().any(|known| of(known).contains(*name))).cloned().collect()
        };
        let calls = operation == GrantOperation::Call;
        let more = Self {
            model: self.model.clone(),
            operations: [operation].into(),
            fields: new(&self.fields, |grant| &grant.fields, operation.names_fields()),
            keys: if operation == GrantOperation::Create { self.keys.clone() } else { BTreeSet::new() },
            methods: new(&self.methods, |grant| &grant.methods, calls),
            read_only_methods: new(&self.read_only_methods, |grant| &grant.read_only_methods, calls),
            domain: self.domain.clone(),
        };
        let nothing = more.fields.is_empty() && more.methods.is_empty() && more.read_only_methods.is_empty();
        (covering.is_empty() || !nothing).then_some(more)
    }

    /// Whether records are created as this grant wants it: those that it tells apart are looked for first.
    fn looks_first(&self, need: &Need) -> bool {
        need.operation != GrantOperation::Create
            || self.keys.is_empty()
            || need.keys.as_ref().is_none_or(|keys| *keys == self.keys)
    }
}

impl fmt::Display for Grant {
    /// The command line's notation: `crm.lead:read,write:name,priority`; a star marks keys, `crm.tag:create:name*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operations: Vec<_> = self.operations.iter().map(|operation| operation.name()).collect();
        write!(f, "{}:{}", self.model, operations.join(","))?;
        let names: BTreeSet<_> = self.fields.iter().chain(&self.methods).chain(&self.read_only_methods).collect();
        let marked = |name: &String| format!("{name}{}", if self.keys.contains(name) { "*" } else { "" });
        let names: Vec<_> = names.into_iter().map(marked).collect();
        match (&self.domain, names.is_empty()) {
            (None, true) => Ok(()),
            (None, false) => write!(f, ":{}", names.join(",")),
            (Some(domain), _) => write!(f, ":{}:{domain}", names.join(",")),
        }
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grants: Vec<_> = self.0.iter().map(Grant::to_string).collect();
        f.write_str(&grants.join(" "))
    }
}

/// Grants of one side. Several grants on a model add up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grants(pub Vec<Grant>);

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The manifest did not ask for it. The script's author.
    Script,
    /// The agent's data sources do not include it. Whoever configures the agent.
    Agent,
    /// The rule or the command line does not grant it. Whoever configures the rule.
    Rule,
    /// The server's policy does not allow it. The server's administrator.
    Policy,
    /// The run-as user may not do it. Whoever manages users in the ERP.
    User,
}

impl Side {
    /// Lower-case name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Script => "script",
            Self::Agent => "agent",
            Self::Rule => "rule",
            Self::Policy => "policy",
            Self::User => "user",
        }
    }
}

/// What one call needs to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// On this model,
    pub model: String,
    /// to do this,
    pub operation: GrantOperation,
    /// with these fields;
    pub fields: BTreeSet<String>,
    /// for calls, this method.
    pub method: Option<String>,
    /// For creations, the keys by which the record is looked for first: none of them, if it is not. None: that is not judged.
    pub keys: Option<BTreeSet<String>>,
    /// Only a path or a command of the call leads to the records, even if they are of the call's own model: the call does not
    /// name them.
    pub reached: bool,
}

impl Need {
    /// A need without fields.
    pub fn new(model: impl Into<String>, operation: GrantOperation) -> Self {
        Self { model: model.into(), operation, fields: BTreeSet::new(), method: None, keys: None, reached: false }
    }

    /// Adds fields.
    #[must_use]
    pub fn with_fields<I: IntoIterator<Item = S>, S: Into<String>>(mut self, fields: I) -> Self {
        self.fields.extend(fields.into_iter().map(Into::into));
        self
    }
}

/// What nobody's script may do unless a rule grants it by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Models that need a rule's grant by name: exact names, or a prefix with a star at its end.
    #[serde(rename = "guarded-models")]
    pub guarded_models: Vec<String>,
    /// Operations that need a rule's grant by name, on any model.
    #[serde(rename = "guarded-operations")]
    pub guarded_operations: BTreeSet<GrantOperation>,
    /// Models that no grant opens.
    #[serde(rename = "forbidden-models")]
    pub forbidden_models: Vec<String>,
    /// Operations that a run may do, but that are applied only once somebody has said yes, on any model.
    #[serde(rename = "approved-operations")]
    pub approved_operations: BTreeSet<GrantOperation>,
    /// The same for runs of rules with an agent, besides those of all runs.
    #[serde(rename = "approved-agent-operations")]
    pub approved_agent_operations: BTreeSet<GrantOperation>,
}

impl Default for Policy {
    /// Users, groups and Odoo's own machinery, method calls, deletion and messages to followers need a grant by name. What an
    /// agent deletes, and the methods that it calls, wait for somebody's yes.
    fn default() -> Self {
        Self {
            guarded_models: ["res.users", "res.groups", "ir.*"].map(str::to_owned).to_vec(),
            guarded_operations: [GrantOperation::Unlink, GrantOperation::Message, GrantOperation::Call].into(),
            forbidden_models: Vec::new(),
            approved_operations: BTreeSet::new(),
            approved_agent_operations: [GrantOperation::Unlink, GrantOperation::Call].into(),
        }
    }
}

impl Policy {
    /// Whether a model needs a rule's grant by name.
    #[must_use]
    pub fn guards(&self, model: &str) -> bool {
        self.guarded_models.iter().any(|pattern| matches_pattern(pattern, model))
    }

    /// Whether an operation of a run is applied only once somebody has said yes.
    #[must_use]
    pub fn wants_yes(&self, operation: GrantOperation, is_agent: bool) -> bool {
        self.approved_operations.contains(&operation) || is_agent && self.approved_agent_operations.contains(&operation)
    }

    /// Whether no grant opens a model.
    #[must_use]
    pub fn forbids(&self, model: &str) -> bool {
        self.forbidden_models.iter().any(|pattern| matches_pattern(pattern, model))
    }

    /// What of these grants needs a rule's grant by name.
    #[must_use]
    pub fn guarded(&self, grants: &Grants) -> Grants {
        let guarded = grants.0.iter().filter_map(|grant| {
            let operations: BTreeSet<_> = match self.guards(&grant.model) {
                true => grant.operations.clone(),
                false => grant.operations.intersection(&self.guarded_operations).copied().collect(),
            };
            (!operations.is_empty()).then(|| grant.only(operations))
        });
        Grants(guarded.collect())
    }
}

fn matches_pattern(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => pattern == model,
    }
}

/// A refusal: who, and a text that says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who refused.
    pub side: Side,
    /// The whole text.
    pub message: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::denied(&format!("refused-by-{}", refusal.side.name()), refusal.message)
    }
}

/// What bounds the records of an allowed call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// The records must be within each. Of two sides that say the same, the first.
    pub bounds: Vec<Bound>,
}

/// The records to which a side bounds a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Whose grants say so.
    pub side: Side,
    /// The records match one of these domains.
    pub domains: Vec<String>,
}

impl Allowed {
    fn within(&mut self, bound: Option<Bound>) {
        let new = |bound: &Bound| self.bounds.iter().all(|known| known.domains != bound.domains);
        let bound = bound.filter(new);
        self.bounds.extend(bound);
    }
}

/// What the sides in front of the backend allow.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    /// What the manifest asks for.
    pub script: Grants,
    /// What the agent that the rule picks may do at most. None: there is none, or it says nothing.
    pub agent: Option<Grants>,
    /// What is granted. None: everything the script asks for, but nothing that policy guards.
    pub rule: Option<Grants>,
    /// The server's policy.
    pub policy: Policy,
    /// Requests to other services: what the manifest asks for.
    pub script_http: Vec<HttpGrant>,
    /// Requests to other services: what is granted, by name. Nothing by default.
    pub rule_http: Vec<HttpGrant>,
    /// The script serves any model: it asks for just what the rule grants, and is told what that is.
    pub follows_rule: bool,
}

impl Authority {
    /// Judges a need.
    ///
    /// # Errors
    /// The first side that refuses: script, agent, policy, then rule.
    pub fn allow(&self, need: &Need) -> Result<Allowed, Refusal> {
        let mut allowed = Allowed::default();
        // One that asks for what the rule grants has nothing to add to its manifest.
        let asks = if self.follows_rule { Side::Rule } else { Side::Script };
        allowed.within(self.script.covers(need, asks)?);
        if let Some(agent) = &self.agent {
            allowed.within(agent.covers(need, Side::Agent)?);
        }
        if self.policy.forbids(&need.model) {
            return Err(Refusal {
                side: Side::Policy,
                message: format!("policy forbids scripts to touch `{}`; no grant opens it", need.model),
            });
        }
        match &self.rule {
            Some(grants) => allowed.within(grants.covers(need, Side::Rule)?),
            None => self.unguarded(need)?,
        }
        Ok(allowed)
    }

    /// Judges a request to another service; whether it may go to an address that is not public.
    ///
    /// # Errors
    /// The first side that refuses: script, rule, or policy where the rule grants no request at all.
    pub fn allow_http(&self, method: &str, url: &Url) -> Result<bool, Refusal> {
        // Without query: it may hold what the script read.
        let mut place = url.clone();
        place.set_query(None);
        place.set_fragment(None);
        if !self.follows_rule && !self.script_http.iter().any(|grant| grant.covers(method, url)) {
            let message = format!("the script's manifest does not ask for `{method} {place}`; add it to [[http]]");
            return Err(Refusal { side: Side::Script, message });
        }
        let covering: Vec<_> = self.rule_http.iter().filter(|grant| grant.covers(method, url)).collect();
        if covering.is_empty() {
            let (side, who) = match self.rule_http.is_empty() {
                true => (Side::Policy, "policy guards requests to other services"),
                false => (Side::Rule, "the rule does not grant this request"),
            };
            return Err(Refusal { side, message: format!("{who}; to allow it, grant it by name: `{method} {place}`") });
        }
        Ok(covering.iter().any(|grant| grant.private))
    }

    /// The models that a script asks for and that the sides here grant anything on.
    #[must_use]
    pub fn models(&self, asks: &Grants) -> Vec<String> {
        let granted = |grants: &Option<Grants>, model: &str| {
            grants.as_ref().is_none_or(|grants| grants.0.iter().any(|grant| grant.model == model))
        };
        let models: BTreeSet<_> = asks.0.iter().map(|grant| grant.model.as_str()).collect();
        let open = models.into_iter().filter(|model| granted(&self.rule, model) && granted(&self.agent, model));
        open.map(str::to_owned).collect()
    }

    /// What a script that follows its rule is told of its grants, and of what else there is (`more`), as one JSON object for
    /// the event.
    #[must_use]
    pub fn told(&self, more: serde_json::Map<String, serde_json::Value>) -> Option<String> {
        let http: Vec<_> = self.rule_http.iter().map(ToString::to_string).collect();
        let grants = self.agent.as_ref().map(|agent| self.script.within(agent));
        let grants = grants.as_ref().unwrap_or(&self.script);
        let mut told = serde_json::json!({ "grants": grants, "http": http });
        if let Some(told) = told.as_object_mut() {
            told.extend(more);
        }
        self.follows_rule.then(|| told.to_string())
    }

    /// Whether a method may answer at once.
    #[must_use]
    pub fn is_read_only(&self, model: &str, method: &str) -> bool {
        let names = |grants: &Grants| {
            grants.0.iter().any(|grant| grant.model == model && grant.read_only_methods.contains(method))
        };
        names(&self.script) && self.rule.as_ref().is_some_and(names)
    }

    /// Without a rule's grants, whatever policy guards is refused.
    fn unguarded(&self, need: &Need) -> Result<(), Refusal> {
        let guard = if self.policy.guards(&need.model) {
            format!("the model `{}`", need.model)
        } else if self.policy.guarded_operations.contains(&need.operation) {
            format!("the operation `{}`", need.operation)
        } else {
            return Ok(());
        };
        Err(Refusal {
            side: Side::Policy,
            message: format!("policy guards {guard}; to allow it, grant it by name: {}", as_grant(need)),
        })
    }
}

impl Grants {
    /// What these grants allow and `other` does not: nothing, when every right here is also there.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        let mut beyond: Vec<Grant> = Vec::new();
        for grant in &self.0 {
            for operation in &grant.operations {
                let Some(more) = grant.beyond(*operation, other) else { continue };
                let alike =
                    |known: &&mut Grant| Grant { operations: more.operations.clone(), ..(**known).clone() } == more;
                match beyond.iter_mut().find(alike) {
                    Some(known) => known.operations.extend(more.operations),
                    None => beyond.push(more),
                }
            }
        }
        Self(beyond)
    }

    /// What is left of these grants with these operations alone.
    #[must_use]
    pub fn only(&self, operations: &BTreeSet<GrantOperation>) -> Self {
        let grants = self.0.iter().filter_map(|grant| {
            let left: BTreeSet<_> = grant.operations.intersection(operations).copied().collect();
            (!left.is_empty()).then(|| grant.only(left))
        });
        Self(grants.collect())
    }

    /// All that these grants name, as needs.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let needs = self.0.iter().flat_map(|grant| {
            grant.operations.iter().flat_map(|operation| {
                let need = Need::new(&grant.model, *operation);
                match operation {
                    GrantOperation::Call => {
                        let methods = grant.methods.union(&grant.read_only_methods);
                        methods.map(|method| Need { method: Some(method.clone()), ..need.clone() }).collect()
                    }
                    _ if operation.names_fields() => vec![need.with_fields(&grant.fields)],
                    _ => vec![need],
                }
            })
        });
        needs.collect()
    }

    /// What is left of these grants within others. Domains are not put together: each side judges its own.
    fn within(&self, bound: &Self) -> Self {
        let grants = self.0.iter().flat_map(|grant| {
            grant.operations.iter().filter_map(|operation| {
                let bounds =
                    bound.0.iter().filter(|one| one.model == grant.model && one.operations.contains(operation));
                let bounds: Vec<_> = bounds.collect();
                let kept = |names: &BTreeSet<String>, of: fn(&Grant) -> &BTreeSet<String>| -> BTreeSet<String> {
                    names.iter().filter(|name| bounds.iter().any(|one| of(one).contains(*name))).cloned().collect()
                };
                let own = grant.only([*operation].into());
                let wanted = bounds.first().filter(|_| bounds.iter().all(|one| !one.keys.is_empty()));
                let keys = match (own.keys.is_empty(), operation, wanted) {
                    (true, GrantOperation::Create, Some(one)) => one.keys.clone(),
                    _ => own.keys.clone(),
                };
                (!bounds.is_empty()).then(|| Grant {
                    keys,
                    fields: kept(&grant.fields, |one| &one.fields),
                    methods: kept(&grant.methods, |one| &one.methods),
                    read_only_methods: kept(&grant.read_only_methods, |one| &one.read_only_methods),
                    ..own
                })
            })
        });
        Self(grants.collect())
    }

    /// The grants that a need may be covered by.
    fn covering(&self, need: &Need) -> Vec<&Grant> {
        let of_model = self.0.iter().filter(|grant| grant.model == need.model);
        of_model.filter(|grant| grant.operations.contains(&need.operation) && grant.looks_first(need)).collect()
    }

    /// The keys without which these grants let no record of a model be created.
    fn wanted_keys(&self, need: &Need) -> Option<&BTreeSet<String>> {
        let of_model = self.0.iter().filter(|grant| grant.model == need.model);
        of_model.filter(|grant| grant.operations.contains(&need.operation)).map(|grant| &grant.keys).next()
    }

    /// What of a need these grants do not cover, in words; none: they cover it, at least on some records.
    #[must_use]
    pub fn lacks(&self, need: &Need) -> Option<String> {
        let covering = self.covering(need);
        if covering.is_empty() {
            let only_by = |keys: &BTreeSet<String>| {
                let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
                format!(" other than by `ensure` with the keys {}", keys.join(", "))
            };
            let how = self.wanted_keys(need).map(only_by).unwrap_or_default();
            return Some(format!("`{}` on `{}`{how}", need.operation, need.model));
        }
        if let Some(method) = &need.method
            && !covering.iter().any(|grant| grant.methods.contains(method) || grant.read_only_methods.contains(method))
        {
            return Some(format!("the method `{method}` of `{}`", need.model));
        }
        let missing: Vec<_> = need
            .fields
            .iter()
            .filter(|field| !free_of_charge(field) && !covering.iter().any(|grant| grant.fields.contains(*field)))
            .map(|field| format!("`{field}`"))
            .collect();
        let lacks = || format!("`{}` of {} on `{}`", need.operation, missing.join(", "), need.model);
        (!missing.is_empty()).then(lacks)
    }

    /// Whether the grants of one side cover a need, and what then bounds its records:
    /// nothing when one of the covering grants is unbounded.
    fn covers(&self, need: &Need, side: Side) -> Result<Option<Bound>, Refusal> {
        if let Some(what) = self.lacks(need) {
            let message = match side {
                Side::Script => format!("the script's manifest does not ask for {what}; add it to [[grants]]: "),
                Side::Agent => format!("the agent's data sources do not include {what}; to allow it, add: "),
                _ => format!("the rule does not grant {what}; to allow it, grant: "),
            } + &as_grant(need);
            return Err(Refusal { side, message });
        }
        let covering = self.covering(need);
        // A grant bounds the call if the call needs that grant: for a field that no unbounded grant has.
        let unbounded_suffices = need.fields.iter().all(|field| {
            free_of_charge(field) || covering.iter().any(|g| g.domain.is_none() && g.fields.contains(field))
        }) && covering.iter().any(|grant| grant.domain.is_none());
        if unbounded_suffices {
            return Ok(None);
        }
        let domains = covering.iter().filter_map(|grant| grant.domain.clone()).collect();
        Ok(Some(Bound { side, domains }))
    }
}

/// Every record may show its id and its name where it may be read at all.
fn free_of_charge(field: &str) -> bool {
    matches!(field, "id" | "display_name")
}

/// A need in the command line's notation, `model:operation:field,field`.
fn as_grant(need: &Need) -> String {
    let names: Vec<_> = match &need.method {
        Some(method) => vec![method.as_str()],
        None => need.fields.iter().map(String::as_str).filter(|field| !free_of_charge(field)).collect(),
    };
    match names.as_slice() {
        [] => format!("`{}:{}`", need.model, need.operation),
        names => format!("`{}:{}:{}`", need.model, need.operation, names.join(",")),
    }
}

impl FromStr for Grant {
    type Err = String;

    /// `model:operation,operation[:name,name][:domain]`; names are fields, those that are keys with a star, or methods for
    /// `call`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shape = "a grant is `model:operation,operation[:field,field][:domain]`, such as `crm.lead:read,write:name,priority`";
        let mut parts = text.splitn(4, ':');
        let (Some(model), Some(operations)) = (parts.next(), parts.next()) else {
            return Err(format!("`{text}` is not a grant; {shape}"));
        };
        let split = |list: &str| -> BTreeSet<String> {
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let operations = split(operations)
            .iter()
            .map(|name| {
                GrantOperation::ALL.into_iter().find(|operation| operation.name() == name).ok_or_else(|| {
                    let known = GrantOperation::ALL.map(GrantOperation::name).join(", ");
                    format!("unknown operation `{name}` in grant `{text}`; there are {known}")
                })
            })
            .collect::<Result<BTreeSet<_>, _>>()?;
        if model.is_empty() || operations.is_empty() {
            return Err(format!("`{text}` is not a grant; {shape}"));
        }
        let names = parts.next().map(split).unwrap_or_default();
        let calls = operations.contains(&GrantOperation::Call);
        if calls && operations.len() > 1 {
            return Err(format!("grant `call` apart from other operations: in `{text}` the names are methods"));
        }
        let domain = parts.next().map(str::to_owned).filter(|domain| !domain.is_empty());
        let keys: BTreeSet<String> =
            names.iter().filter_map(|name| name.strip_suffix('*')).map(str::to_owned).collect();
        if !keys.is_empty() && !operations.contains(&GrantOperation::Create) {
            return Err(format!("a star marks keys of records to create, and `{text}` creates none"));
        }
        let names = names.iter().map(|name| name.strip_suffix('*').unwrap_or(name).to_owned()).collect();
        let (fields, methods) = if calls { (BTreeSet::new(), names) } else { (names, BTreeSet::new()) };
        let read_only_methods = BTreeSet::new();
        Ok(Self { model: model.to_owned(), operations, fields, keys, methods, read_only_methods, domain })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[&str]) -> Grants {
        Grants(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn need(text: &str) -> Need {
        let grant: Grant = text.parse().unwrap();
        let operation = *grant.operations.first().unwrap();
        let method = grant.methods.first().cloned();
        Need { method, ..Need::new(grant.model, operation).with_fields(grant.fields) }
    }

    fn side(authority: &Authority, wanted: &str) -> Option<Side> {
        authority.allow(&need(wanted)).err().map(|refusal| refusal.side)
    }

    #[test]
    fn each_side_refuses_what_it_does_not_cover() {
        let authority = Authority {
            script: grants(&["crm.lead:read,write:name,priority", "ir.model:read:name", "res.users:read:login"]),
            rule: Some(grants(&["crm.lead:read:name,priority", "res.users:read:login", "ir.model:read:name"])),
            policy: Policy { forbidden_models: vec!["ir.*".into()], ..Policy::default() },
            ..Authority::default()
        };
        assert_eq!(side(&authority, "crm.lead:read:name"), None);
        assert_eq!(side(&authority, "crm.lead:read:description"), Some(Side::Script));
        assert_eq!(side(&authority, "crm.lead:write:name"), Some(Side::Rule));
        assert_eq!(side(&authority, "res.users:read:login"), None, "a rule may grant by name what policy guards");
        assert_eq!(side(&authority, "ir.model:read:name"), Some(Side::Policy), "but not what it forbids");
    }

    #[test]
    fn without_a_rule_policy_guards_what_is_dangerous() {
        let script = grants(&[
            "crm.lead:read,unlink,message,note:name",
            "crm.lead:call:action_set_won",
            "res.users:read:login",
            "ir.cron:read:name",
        ]);
        let authority = Authority { script, rule: None, ..Authority::default() };
        for allowed in ["crm.lead:read:name", "crm.lead:note"] {
            assert_eq!(side(&authority, allowed), None, "{allowed}");
        }
        let guarded =
            ["crm.lead:unlink", "crm.lead:message", "crm.lead:call:action_set_won", "res.users:read", "ir.cron:read"];
        for wanted in guarded {
            assert_eq!(side(&authority, wanted), Some(Side::Policy), "{wanted}");
        }
    }

    #[test]
    fn a_domain_bounds_only_what_needs_its_grant() {
        let script = grants(&["crm.lead:read:name", "crm.lead:read:phone:[('user_id', '=', 7)]"]);
        let bound = |side, domain: &str| Bound { side, domains: vec![domain.to_owned()] };
        let mut authority = Authority { script, rule: None, ..Authority::default() };
        assert_eq!(authority.allow(&need("crm.lead:read:name")).unwrap().bounds, []);
        let own = bound(Side::Script, "[('user_id', '=', 7)]");
        assert_eq!(authority.allow(&need("crm.lead:read:name,phone")).unwrap().bounds, std::slice::from_ref(&own));
        authority.rule = Some(grants(&["crm.lead:read:phone:[('id', '=', 3)]"]));
        let both = [own.clone(), bound(Side::Rule, "[('id', '=', 3)]")];
        assert_eq!(authority.allow(&need("crm.lead:read:phone")).unwrap().bounds, both);
        authority.rule = Some(authority.script.clone());
        assert_eq!(authority.allow(&need("crm.lead:read:phone")).unwrap().bounds, [own], "said once");
    }

    #[test]
    fn what_goes_beyond_is_said_grant_by_grant() {
        let old = grants(&[
            "crm.lead:read,write:name,phone",
            "crm.lead:call:action_set_won",
            "res.partner:read:name:[('id', '=', 1)]",
        ]);
        let beyond = |list: &[&str]| grants(list).beyond(&old).to_string();
        assert_eq!(beyond(&["crm.lead:read:name", "crm.lead:write:phone", "crm.lead:call:action_set_won"]), "");
        assert_eq!(beyond(&["crm.lead:read,write:name,email"]), "crm.lead:read,write:email");
        assert_eq!(
            beyond(&["crm.lead:call:action_set_lost", "crm.lead:note"]),
            "crm.lead:call:action_set_lost crm.lead:note"
        );
        assert_eq!(beyond(&["res.partner:read:name:[('id', '=', 1)]"]), "");
        assert_eq!(beyond(&["res.partner:read:name"]), "res.partner:read:name", "no domain is more than one");
    }

    #[test]
    fn what_has_keys_is_created_by_ensure_with_them_alone() {
        let text = "res.partner:read,create:email*,name,phone";
        assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        assert!("res.partner:read:email*".parse::<Grant>().is_err());
        let (keyed, free) = (grants(&[text]), grants(&["res.partner:read,create:email,name,phone"]));
        let by = |keys: &[&str]| Need {
            keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
            ..need("res.partner:create:email,name")
        };
        let authority = |script: &Grants, rule: &Grants| Authority {
            script: script.clone(),
            rule: Some(rule.clone()),
            ..Authority::default()
        };
        let side = |authority: &Authority, keys: &[&str]| authority.allow(&by(keys)).err().map(|refusal| refusal.side);
        for (authority, refuses) in [
            (authority(&keyed, &free), Side::Script),
            (authority(&free, &keyed), Side::Rule),
            (Authority { agent: Some(keyed.clone()), ..authority(&free, &free) }, Side::Agent),
        ] {
            assert_eq!(side(&authority, &["email"]), None);
            for other in [&[][..], &["name"], &["email", "name"]] {
                assert_eq!(side(&authority, other), Some(refuses), "{other:?}");
            }
            assert!(authority.allow(&need("res.partner:create:email")).is_ok(), "whether there is the right at all");
        }
        let refusal = authority(&free, &keyed).allow(&by(&[])).unwrap_err();
        assert_eq!(
            refusal.message,
            "the rule does not grant `create` on `res.partner` other than by `ensure` with the keys `email`; to allow it, \
             grant: `res.partner:create:email,name`"
        );
        // A grant without keys is more; one with other keys is another.
        assert_eq!(free.beyond(&keyed).to_string(), "res.partner:create:email,name,phone");
        assert_eq!(keyed.beyond(&free).to_string(), "");
        // What the script is told of holds for all sides.
        let told = Authority { agent: Some(keyed.clone()), follows_rule: true, ..authority(&free, &free) };
        let told: serde_json::Value = serde_json::from_str(&told.told(serde_json::Map::new()).unwrap()).unwrap();
        let creates =
            told["grants"].as_array().unwrap().iter().find(|grant| grant["operations"][0] == "create").unwrap();
        assert_eq!(creates["keys"], serde_json::json!(["email"]));
    }

    #[test]
    fn requests_need_the_script_and_a_rule_that_names_them() {
        let post = |text: &str| vec![text.parse().unwrap()];
        let authority = |script: &str, rule: Option<&str>| Authority {
            script_http: post(script),
            rule_http: rule.map(post).unwrap_or_default(),
            ..Authority::default()
        };
        let ask = |authority: Authority, url: &str| {
            authority.allow_http("POST", &url.parse().unwrap()).map_err(|refusal| (refusal.side, refusal.message))
        };
        let (slack, message) = ("POST https://slack.com/api/*", "https://slack.com/api/chat.postMessage?text=hidden");
        assert_eq!(ask(authority(slack, Some(slack)), message), Ok(false));
        assert_eq!(ask(authority(slack, Some("POST https://slack.com/api/* private")), message), Ok(true));
        let (side, text) = ask(authority(slack, None), message).unwrap_err();
        assert_eq!(side, Side::Policy);
        assert_eq!(
            text,
            "policy guards requests to other services; to allow it, grant it by name: \
             `POST https://slack.com/api/chat.postMessage`"
        );
        assert_eq!(ask(authority("GET https://slack.com/api/*", Some(slack)), message).unwrap_err().0, Side::Script);
        assert_eq!(ask(authority(slack, Some("POST https://slack.com/x")), message).unwrap_err().0, Side::Rule);
        // What only the manifest calls private stays closed.
        assert_eq!(ask(authority("POST https://slack.com/api/* private", Some(slack)), message), Ok(false));
    }

    #[test]
    fn refusals_say_what_to_grant() {
        let authority = Authority { script: grants(&["crm.lead:read:name"]), rule: None, ..Authority::default() };
        let refusal = authority.allow(&need("crm.lead:read:phone")).unwrap_err();
        assert_eq!(
            refusal.message,
            "the script's manifest does not ask for `read` of `phone` on `crm.lead`; add it to [[grants]]: `crm.lead:read:phone`"
        );
        // Where the script asks for what the rule grants, it is the rule's to say.
        let own = |rule: Option<Grants>| Authority {
            script: rule.clone().unwrap_or_default(),
            rule,
            follows_rule: true,
            ..Authority::default()
        };
        let authority = own(Some(grants(&["crm.lead:read:name:[('id', '=', 3)]"])));
        let refusal = authority.allow(&need("crm.lead:read:phone")).unwrap_err();
        let text = "the rule does not grant `read` of `phone` on `crm.lead`; to allow it, grant: `crm.lead:read:phone`";
        assert_eq!((refusal.side, refusal.message.as_str()), (Side::Rule, text));
        let bounds = authority.allow(&need("crm.lead:read:name")).unwrap().bounds;
        assert_eq!(bounds.iter().map(|bound| bound.side).collect::<Vec<_>>(), [Side::Rule]);
        assert_eq!(own(None).allow(&need("crm.lead:read:name")).unwrap_err().side, Side::Rule);
        let refusal = own(None).allow_http("GET", &"https://shop.example/".parse().unwrap()).unwrap_err();
        assert_eq!(refusal.side, Side::Policy, "{}", refusal.message);
    }
}
