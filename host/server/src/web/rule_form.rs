//! A rule as a form, and a form as a rule. What the form does not show of a rule stays as it was.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::{Map, Value as Json, json};
use triggerbox_automation::{
    agents::SCRIPT,
    rule::{Action, Dispatch, Environment, Mode, OnError, Rule, ScriptRef, Source, Trigger, Version},
    scripts::ScriptVersion,
};
use triggerbox_model::{
    grants::{Grant, Grants, Policy},
    limits::{Limit, TABLE, Unit},
    manifest::{Manifest, Parameter, ParameterKind},
    outbound::HttpGrant,
    schema::Schema,
};

use super::{
    domain_rows,
    form::Form,
    parts::{badge, field, option},
};
use crate::problem::FoundWrong;

/// The triggers in Odoo's groups and words.
const TRIGGERS: [(&str, &[(&str, &str)]); 6] = [
    (
        "Values updated",
        &[
            ("stage-set", "Stage is set to"),
            ("user-set", "User is set"),
            ("tag-set", "Tag is added"),
            ("state-set", "State is set to"),
            ("priority-set", "Priority is set to"),
            ("archived", "On archived"),
            ("unarchived", "On unarchived"),
        ],
    ),
    (
        "Timing conditions",
        &[("time", "Based on date field"), ("after-creation", "After creation"), ("after-update", "After last update")],
    ),
    (
        "Custom",
        &[
            ("created", "On create"),
            ("updated", "On edit"),
            ("created-or-updated", "On create and edit"),
            ("deleted", "On deletion"),
            ("on-change", "On change in a form"),
            ("before", "Before a write"),
        ],
    ),
    ("Messages", &[("message-received", "On incoming message"), ("message-sent", "On outgoing message")]),
    ("External", &[("webhook", "On webhook")]),
    ("Scheduled and by hand", &[("schedule", "Scheduled action"), ("manual", "By hand")]),
];

/// The setting of one kind of trigger: its key in a rule, its label, its help, and what it is.
type Setting = (&'static str, &'static str, &'static str, Kind);

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Fields,
    Unit,
    Writes,
    Past,
}

fn settings(on: &str) -> &'static [Setting] {
    const WATCHED: Setting =
        ("fields", "When updating", "Field names, separated by commas; empty: any field.", Kind::Fields);
    const UNIT: Setting = ("unit", "Unit", "", Kind::Unit);
    const PAST: Setting = ("past", "What was due before", "Counts for the first look of a new rule.", Kind::Past);
    match on {
        "updated" | "created-or-updated" | "on-change" => &[WATCHED],
        "before" => &[("writes", "Which writes", "", Kind::Writes), WATCHED],
        "stage-set" => &[("value", "Stage", "The stage's id; empty: any.", Kind::Number)],
        "tag-set" => &[("value", "Tag", "The tag's id.", Kind::Number)],
        "state-set" => &[
            ("value", "Value", "The key of the selection.", Kind::Text),
            ("field", "Field", "When it is not `state`.", Kind::Text),
        ],
        "priority-set" => &[("value", "Value", "0, 1, 2 or 3.", Kind::Text)],
        "time" => &[
            ("field", "Date field", "", Kind::Text),
            ("delay", "Delay", "Negative: before the date.", Kind::Number),
            UNIT,
            PAST,
        ],
        "after-creation" | "after-update" => &[("delay", "Delay", "", Kind::Number), UNIT, PAST],
        "webhook" => &[
            ("secret", "Secret", "The name of the secret that signs requests.", Kind::Text),
            ("dedup", "Key of repeated deliveries", "JSON pointer in the body, `/id`.", Kind::Text),
            ("records", "Records", "JSON pointer in the body of the record's id or ids.", Kind::Text),
        ],
        "schedule" => &[
            ("every", "Every", "", Kind::Number),
            UNIT,
            ("first", "First time", "2026-01-01T09:00:00, in the zone below.", Kind::Text),
            ("zone", "Time zone", "Europe/Brussels; empty: UTC.", Kind::Text),
            ("cron", "Or a cron expression", "Five fields; then leave `Every` and `First time` empty.", Kind::Text),
        ],
        _ => &[],
    }
}

/// What the form shows: a rule, or what was typed in place of one.
pub(super) struct Draft {
    /// As far as it could be read.
    pub(super) rule: Rule,
    /// What was typed as settings of the trigger.
    trigger: Map<String, Json>,
    /// Whether it is kept already.
    pub(super) known: bool,
    /// What could not be read: place and why.
    pub(super) unread: Vec<(String, String)>,
    /// Actions that are to be granted all that their scripts ask for.
    all: BTreeSet<usize>,
}

impl Draft {
    /// A rule that is kept.
    pub(super) fn of(rule: Rule) -> Self {
        let trigger = serde_json::to_value(&rule.trigger).ok();
        let trigger = trigger.and_then(|json| json.as_object().cloned()).unwrap_or_default();
        Self { rule, trigger, known: true, unread: Vec::new(), all: BTreeSet::new() }
    }

    /// A new one.
    pub(super) fn new() -> Self {
        let rule = Rule {
            name: String::new(),
            title: String::new(),
            notes: String::new(),
            model: None,
            active: true,
            trigger: Trigger::Created {},
            before_domain: None,
            domain: None,
            judge_again: false,
            actions: Vec::new(),
            run_as: None,
            superuser: false,
            mode: Mode::Auto,
            dispatch: Dispatch::Single,
            source: None,
            max_records: 100,
            debounce: 0,
            concurrency: None,
            environment: Environment::Live,
            on_error: OnError::Refuse,
            chain: false,
            caps: triggerbox_automation::rule::Caps::default(),
        };
        let mut draft = Self::of(rule);
        draft.known = false;
        draft
    }

    /// What a form says, on top of the rule that there is.
    pub(super) fn read(form: &Form, known: Option<Rule>, schema: &Schema) -> Self {
        let base = known.as_ref().map_or_else(|| Self::new().rule, Clone::clone);
        let mut draft = Self { known: known.is_some(), ..Self::of(base.clone()) };
        let rule = &mut draft.rule;
        if known.is_none() {
            rule.name = form.text("name").to_owned();
        }
        form.text("title").clone_into(&mut rule.title);
        rule.notes = as_it_was(Some(&base.notes), form.text("notes").to_owned());
        rule.model = form.some("model");
        rule.active = form.is_on("active");
        let before = form.some("before-domain");
        rule.before_domain = before.map(|typed| as_it_was(base.before_domain.as_ref(), typed));
        let domain = domain_rows::read(rule.model.as_ref().and_then(|model| schema.models.get(model)), form);
        rule.domain = domain.map(|typed| as_it_was(base.domain.as_ref(), typed));
        rule.judge_again = form.is_on("judge-again");
        rule.run_as = form.some("run-as");
        rule.superuser = form.is_on("superuser");
        rule.chain = form.is_on("chain");
        // Only rules before a write have a say.
        let passes = form.text("on") == "before" && form.is_on("pass");
        rule.on_error = if passes { OnError::Pass } else { OnError::Refuse };
        rule.environment = if form.is_on("test") { Environment::Test } else { Environment::Live };
        rule.dispatch = if form.is_on("per-record") { Dispatch::PerRecord } else { Dispatch::Single };
        rule.mode = match form.text("mode") {
            "approve" => Mode::Approve,
            "recommend" => Mode::Recommend,
            _ => Mode::Auto,
        };
        rule.source = match (form.some("source"), &base.source) {
            // It is told beside the field, which is for a domain in its place.
            (None, Some(Source::Script(script))) => Some(Source::Script(script.clone())),
            (Some(typed), Some(Source::Domain(was))) => Some(Source::Domain(as_it_was(Some(was), typed))),
            (typed, _) => typed.map(Source::Domain),
        };
        let mut unread = Vec::new();
        let mut number = |place: &str, default: u32| -> u32 {
            let text = form.text(place);
            if text.is_empty() {
                return default;
            }
            text.parse().unwrap_or_else(|_| {
                unread.push((place.to_owned(), format!("`{text}` is not a whole number")));
                default
            })
        };
        rule.max_records = number("max-records", 100);
        rule.debounce = number("debounce", 0);
        rule.concurrency = form.some("concurrency").map(|_| number("concurrency", 1));
        draft.trigger = trigger(form, &draft.trigger);
        match serde_json::from_value::<Trigger>(Json::Object(draft.trigger.clone())) {
            Ok(read) => rule.trigger = read,
            Err(error) => unread.push(("trigger".to_owned(), format!("the trigger's settings are not whole: {error}"))),
        }
        (rule.actions, draft.all) = actions(form, &base.actions, &mut unread);
        draft.unread = unread;
        draft
    }

    /// Puts another rule in place of what was typed: one that grants what the form grants. What could not be read stays so.
    pub(super) fn put(&mut self, rule: Rule) {
        let unread = std::mem::take(&mut self.unread);
        let typed = unread.iter().any(|(place, _)| place == "trigger").then(|| std::mem::take(&mut self.trigger));
        *self = Self { known: self.known, unread, ..Self::of(rule) };
        if let Some(typed) = typed {
            self.trigger = typed;
        }
    }

    /// The rule, with all that its scripts ask for where the form grants that.
    pub(super) fn granted(&self, scripts: &[ScriptVersion]) -> Rule {
        let mut rule = self.rule.clone();
        for (_, action) in rule.actions.iter_mut().enumerate().filter(|(at, _)| self.all.contains(at)) {
            action.grants = meant(scripts, &action.script).map(|one| one.manifest.grants.clone());
        }
        rule
    }

    fn on(&self) -> &str {
        self.trigger.get("on").and_then(Json::as_str).unwrap_or("created")
    }

    fn setting(&self, key: &str) -> String {
        match self.trigger.get(key) {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => text.clone(),
            Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "),
            Some(other) => other.to_string(),
        }
    }
}

/// The version that a reference means, if it is among these.
fn meant<'s>(scripts: &'s [ScriptVersion], script: &ScriptRef) -> Option<&'s ScriptVersion> {
    scripts.iter().filter(|one| one.name == script.name).find(|one| match &script.version {
        Version::Latest => one.active,
        Version::Hash(hash) => one.hash.to_string().starts_with(hash),
    })
}

/// What was typed; what there was, where that differs in nothing but the blanks around it.
fn as_it_was(was: Option<&String>, typed: String) -> String {
    was.filter(|was| was.trim() == typed).cloned().unwrap_or(typed)
}

/// The trigger that a form says, as in a rule's file. Settings that the form does not show are kept.
fn trigger(form: &Form, known: &Map<String, Json>) -> Map<String, Json> {
    let on = form.text("on");
    let mut made = match known.get("on").and_then(Json::as_str) == Some(on) {
        true => known.clone(),
        false => Map::from_iter([("on".to_owned(), json!(on))]),
    };
    for (key, _, _, kind) in settings(on) {
        let name = format!("t.{key}");
        let text = form.text(&name);
        made.remove(*key);
        let value = match kind {
            Kind::Fields => json!(form.list(&name)),
            Kind::Writes => json!(form.all(&name)),
            // One is always chosen; it goes with a number.
            Kind::Unit if on == "schedule" && form.text("t.every").is_empty() => continue,
            _ if text.is_empty() => continue,
            // What is no number is told by whoever reads the trigger.
            Kind::Number => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
            Kind::Text | Kind::Unit => json!(text),
            Kind::Past => json!(text == "true"),
        };
        made.insert((*key).to_owned(), value);
    }
    made
}

/// The actions that a form says. What it does not show of an action stays as it was, as long as its script is the same.
fn actions(form: &Form, known: &[Action], unread: &mut Vec<(String, String)>) -> (Vec<Action>, BTreeSet<usize>) {
    let (mut actions, mut all) = (Vec::new(), BTreeSet::new());
    for (at, text) in form.all("script").iter().enumerate() {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let script: ScriptRef = match text.parse() {
            Ok(script) => script,
            Err(error) => {
                let error: triggerbox_automation::rule::action::BadScriptRef = error;
                unread.push((format!("actions[{at}].script"), error.to_string()));
                continue;
            }
        };
        let same = known.get(at).filter(|known| known.script.name == script.name);
        // What was typed was typed for the script that was shown.
        let shown = form.text(&format!("for{at}"));
        let prefix = format!("p{at}.");
        let set = form.under(&prefix).filter(|_| shown.is_empty() || shown == script.name);
        let set = set.filter_map(|(name, value)| {
            let was = same.and_then(|known| known.parameters.get(name));
            let value = as_it_was(was, value.trim().to_owned());
            // What is set to nothing stays so; else, where nothing is typed nothing is set.
            let is_set = !value.is_empty() || was.is_some_and(String::is_empty);
            is_set.then(|| (name.to_owned(), value))
        });
        let granted = form.text(&format!("g{at}"));
        if granted == "all" {
            all.insert(actions.len());
        }
        let mut action = Action {
            parameters: set.collect(),
            grants: same.and_then(|known| known.grants.clone()).filter(|_| granted != "asked"),
            http: same.map(|known| known.http.clone()).unwrap_or_default(),
            limits: same.map(|known| known.limits.clone()).unwrap_or_default(),
            agent: same.and_then(|known| known.agent.clone()),
            script,
        };
        if let Some(known) = same {
            // In the order of the rule's file, in which a change of one thing is a change of one line.
            let place = |name: &String| known.parameters.get_index_of(name).unwrap_or(usize::MAX);
            action.parameters.sort_by(|one, _, other, _| place(one).cmp(&place(other)));
        }
        if shown == action.script.name {
            typed(form, at, &mut action, unread);
        }
        actions.push(action);
    }
    (actions, all)
}

/// What a form says of an action besides its parameters: its agent, its requests to other services, its limits.
fn typed(form: &Form, at: usize, action: &mut Action, unread: &mut Vec<(String, String)>) {
    action.agent = form.some(&format!("agent{at}"));
    let rights = format!("rights{at}");
    // What the lines do not tell of it is kept, as long as they are the same.
    if form.is_on(&rights) && lines(action.grants.as_ref()) != form.text(&rights) {
        let mut grants = Vec::new();
        for line in form.text(&rights).lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.replace(", ", ",").parse::<Grant>() {
                Ok(grant) => grants.push(grant),
                Err(why) => unread.push((format!("actions[{at}].grants"), format!("`{line}`: {why}"))),
            }
        }
        action.grants = (!grants.is_empty()).then_some(Grants(grants));
    }
    action.http.clear();
    for line in form.raw(&format!("http{at}")).lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.replace(", ", ",").parse::<HttpGrant>() {
            Ok(grant) => action.http.push(grant),
            Err(why) => unread.push((format!("actions[{at}].http"), why.to_string())),
        }
    }
    action.limits.0.clear();
    let prefix = format!("limit{at}.");
    for (name, value) in form.under(&prefix).filter(|(_, value)| !value.trim().is_empty()) {
        let digits: String = value.chars().filter(|c| !c.is_whitespace()).collect();
        match (Limit::from_name(name), digits.parse::<u64>()) {
            (Some(limit), Ok(number)) => {
                action.limits.0.insert(limit, number);
            }
            (None, _) => unread.push((format!("actions[{at}].limits"), format!("there is no limit `{name}`"))),
            (_, Err(_)) => {
                unread.push((format!("actions[{at}].limits.{name}"), format!("`{value}` is not a whole number")));
            }
        }
    }
}

/// Grants, one a line.
fn lines(grants: Option<&Grants>) -> String {
    let grants = grants.map(|grants| grants.0.as_slice()).unwrap_or_default();
    grants.iter().map(Grant::to_string).collect::<Vec<_>>().join("\n")
}

/// What the form knows besides the rule.
pub(super) struct Known<'a> {
    pub(super) schema: &'a Schema,
    pub(super) policy: &'a Policy,
    /// All scripts: the active version of each, and those that the rule names.
    pub(super) scripts: &'a [ScriptVersion],
    /// All agents: name and title.
    pub(super) agents: &'a [(String, String)],
    /// How many records match, or why that cannot be said.
    pub(super) matching: Option<Result<u32, String>>,
    /// When a schedule is due next.
    pub(super) next: Vec<Markup>,
    /// What is wrong, by place.
    pub(super) findings: &'a [FoundWrong],
}

impl Known<'_> {
    fn manifest(&self, script: &ScriptRef) -> Option<&Manifest> {
        meant(self.scripts, script).map(|one| &one.manifest)
    }
}

/// What is wrong, place by place: what is told beside its field, and what is left for the top.
struct Wrong(BTreeMap<String, Vec<String>>);

impl Wrong {
    fn of(draft: &Draft, findings: &[FoundWrong]) -> Self {
        let mut all = BTreeMap::<String, Vec<String>>::new();
        for (place, text) in &draft.unread {
            all.entry(place.clone()).or_default().push(super::page::sentence(text));
        }
        for one in findings {
            all.entry(one.place.clone()).or_default().push(super::page::sentence(&one.message));
        }
        Self(all)
    }

    /// What is wrong at a place or below it; it is told once.
    fn take(&mut self, place: &str) -> Vec<String> {
        let below =
            |known: &str| known.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        let found: Vec<String> = self.0.keys().filter(|known| below(known)).cloned().collect();
        found.iter().filter_map(|place| self.0.remove(place)).flatten().collect()
    }
}

/// The inputs of a rule.
pub(super) fn inputs(draft: &Draft, known: &Known<'_>) -> Markup {
    let mut wrong = Wrong::of(draft, known.findings);
    let rule = &draft.rule;
    let text = |id: &str, value: &str| html! { input id=(id) type="text" name=(id) value=(value); };
    // A browser takes the first line of a list for what it does not find.
    let gone = rule.model.as_deref().filter(|model| !known.schema.models.contains_key(*model));
    let first = html! {
        fieldset {
            legend { "Automation" }
            (field("title", "Name", "What people call it.", &wrong.take("title"), text("title", &rule.title)))
            @if !draft.known {
                (field("name", "Key", "Lower-case letters, digits and dashes. It stays.", &wrong.take("name"), html! {
                    input #name type="text" name="name" value=(rule.name) pattern="[a-z0-9\\-]{1,64}" required autocapitalize="none";
                }))
            }
            (field("model", "Model", "", &wrong.take("model"), html! {
                select #model name="model" data-reload[draft.known] {
                    (option("", "None (scheduled, by hand and webhooks only)", rule.model.as_deref().unwrap_or_default()))
                    @if let Some(model) = gone { (option(model, model, model)) }
                    @for (name, model) in &known.schema.models {
                        (option(name, &format!("{} ({name})", model.description), rule.model.as_deref().unwrap_or_default()))
                    }
                }
            }))
            (tick("active", "Active", rule.active, "Switched off, it never fires."))
            (field("notes", "Notes", "Why it is there, for the people who come after.", &wrong.take("notes"), html! {
                textarea #notes name="notes" rows="2" { (rule.notes) }
            }))
        }
    };
    let when = when(draft, known, &mut wrong);
    let what = what(draft, known, &mut wrong);
    let whose = whose(draft, &mut wrong);
    let rest: Vec<String> = wrong.0.into_iter().map(|(place, texts)| format!("{place}: {}", texts.join(" "))).collect();
    html! {
        @if !rest.is_empty() { div.banner.bad role="alert" { @for one in &rest { p { (one) } } } }
        (first) (when) (what) (whose)
    }
}

fn when(draft: &Draft, known: &Known<'_>, wrong: &mut Wrong) -> Markup {
    let rule = &draft.rule;
    let on = draft.on();
    html! {
        fieldset {
            legend { "When" }
            (field("on", "Trigger", "", &wrong.take("trigger.on"), html! {
                select #on name="on" data-reload {
                    @for (group, triggers) in TRIGGERS {
                        optgroup label=(group) { @for (value, label) in triggers { (option(value, label, on)) } }
                    }
                }
                noscript { button type="submit" name="reload" value="1" formnovalidate { "Show its settings" } }
                button hidden type="submit" name="reload" value="1" formnovalidate { "Show its settings" }
            }))
            div.two {
                @for (key, label, help, kind) in settings(on) {
                    @let id = format!("t.{key}");
                    (field(&id, label, help, &wrong.take(&format!("trigger.{key}")), setting(&id, *kind, &draft.setting(key))))
                }
            }
            @if on == "before" { (tick("pass", "If it breaks, the write goes on without it", rule.on_error == OnError::Pass, "Else the write is refused.")) }
            @for one in wrong.take("trigger") { p.error { (one) } }
            div #fires data-told {
                @if !known.next.is_empty() { p { "Due next: " @for (at, one) in known.next.iter().enumerate() { @if at > 0 { " · " } (one) } } }
            }
            (field("before-domain", "Before update domain", "Only records that matched it before the change. Empty: all.", &wrong.take("before-domain"), html! {
                textarea #before-domain name="before-domain" rows="1" spellcheck="false" { (rule.before_domain.as_deref().unwrap_or_default()) }
            }))
            @let model = rule.model.as_ref().and_then(|model| known.schema.models.get(model));
            @if let Some(model) = model { fieldset { legend { "Apply on records where" } (domain_rows::inputs(model, rule.domain.as_deref().unwrap_or_default())) } }
            (field("domain", if model.is_some() { "The same as a domain" } else { "Apply on" }, "A domain in Odoo's notation: [('expected_revenue', '>', 10000)]. Empty: all records.", &wrong.take("domain"), html! {
                textarea #domain name="domain" rows="2" spellcheck="false" { (rule.domain.as_deref().unwrap_or_default()) }
            }))
            p #matching data-told aria-live="polite" {
                @match &known.matching {
                    Some(Ok(count)) => { b { (count) } " record(s) match now" },
                    Some(Err(why)) => span.error { (why) },
                    None => {},
                }
            }
            (tick("judge-again", "Judge the domain again when the run starts", rule.judge_again, ""))
        }
    }
}

fn setting(id: &str, kind: Kind, value: &str) -> Markup {
    html! {
        @match kind {
            Kind::Text | Kind::Fields => input id=(id) type="text" name=(id) value=(value) spellcheck="false" autocapitalize="none";,
            Kind::Number => input id=(id) type="text" inputmode="numeric" name=(id) value=(value);,
            Kind::Unit => select id=(id) name=(id) {
                @for unit in ["minutes", "hours", "days", "weeks", "months"] { (option(unit, unit, value)) }
            },
            Kind::Past => select id=(id) name=(id) {
                (option("", "Is left alone", value))
                (option("true", "Is done too, as a new rule in Odoo does it", value))
            },
            Kind::Writes => span.checks {
                @for write in ["create", "update", "delete"] {
                    label { input id=[(write == "create").then_some(id)] type="checkbox" name=(id) value=(write) checked[value.contains(write)]; " " (write) }
                }
            },
        }
    }
}

fn what(draft: &Draft, known: &Known<'_>, wrong: &mut Wrong) -> Markup {
    let actions = &draft.rule.actions;
    html! {
        fieldset {
            legend { "Actions to do" }
            @for (at, action) in actions.iter().enumerate() { (action_of(at, action, draft.all.contains(&at), known, wrong)) }
            @let at = actions.len();
            (field(&format!("script{at}"), if at == 0 { "Script" } else { "One more script" }, "Its parameters appear once it is chosen.", &wrong.take(&format!("actions[{at}]")), html! {
                select id=(format!("script{at}")) name="script" data-reload {
                    option value="" { @if at == 0 { "Choose a script" } @else { "None" } }
                    @for one in known.scripts.iter().filter(|one| one.active) { option value=(one.name) { (one.name) @if !one.manifest.script.description.is_empty() { " · " (one.manifest.script.description) } } }
                }
                noscript { button type="submit" name="reload" value="1" formnovalidate { "Show its parameters" } }
            }))
            @for one in wrong.take("actions") { p.error { (one) } }
            (field("mode", "Changes", "", &wrong.take("mode"), html! {
                select #mode name="mode" {
                    @let mode = match draft.rule.mode { Mode::Auto => "auto", Mode::Approve => "approve", Mode::Recommend => "recommend" };
                    (option("auto", "are applied", mode))
                    (option("approve", "wait until somebody approves them", mode))
                    (option("recommend", "are kept as a recommendation, never applied", mode))
                }
            }))
            (tick("test", "Test: run on real events, commit nothing", draft.rule.environment == Environment::Test, ""))
        }
    }
}

fn action_of(at: usize, action: &Action, all: bool, known: &Known<'_>, wrong: &mut Wrong) -> Markup {
    let id = format!("script{at}");
    let place = format!("actions[{at}]");
    let manifest = known.manifest(&action.script);
    let parameters: Vec<Markup> = manifest
        .map(|one| one.parameters.as_slice())
        .unwrap_or_default()
        .iter()
        .map(|parameter| {
            let wrong = wrong.take(&format!("{place}.parameters.{}", parameter.name));
            parameter_of(at, parameter, action.parameters.get(&parameter.name), &wrong)
        })
        .collect();
    let is_declared = |name: &str| manifest.is_some_and(|one| one.parameters.iter().any(|known| known.name == name));
    let others: Vec<Markup> = action
        .parameters
        .iter()
        .filter(|(name, _)| !is_declared(name))
        .map(|(name, value)| {
            let help = match manifest {
                Some(_) => "This version of the script has no such parameter. Empty: it is taken out.",
                None => {
                    "There is no such version of the script, or the script is switched off. Empty: it is taken out."
                }
            };
            let (id, wrong) = (format!("p{at}.{name}"), wrong.take(&format!("{place}.parameters.{name}")));
            field(&id, name, help, &wrong, html! { textarea id=(id) name=(id) rows=(rows(value, "")) { (value) } })
        })
        .collect();
    html! {
        section.diff {
            (field(&id, &format!("Script {}", at + 1), "A name, or a name with @ and a version's hash. Empty: take the action out.", &wrong.take(&format!("{place}.script")), html! {
                input id=(id) type="text" name="script" value=(action.script.to_string()) spellcheck="false" autocapitalize="none";
            }))
            div.two { @for one in parameters.iter().chain(&others) { (one) } }
            @if let Some(manifest) = manifest {
                @if manifest.script.follows_rule { (rights(at, action, known.policy, &wrong.take(&format!("{place}.grants")))) }
                @else { (grants(at, action, all, manifest, known.policy)) }
            }
            (more(at, action, manifest, known, wrong))
            @for one in wrong.take(&place) { p.error { (one) } }
        }
    }
}

/// The agent, the requests to other services and the limits of an action.
fn more(at: usize, action: &Action, manifest: Option<&Manifest>, known: &Known<'_>, wrong: &mut Wrong) -> Markup {
    let place = format!("actions[{at}]");
    let asked = manifest.map(|one| one.http.as_slice()).unwrap_or_default();
    let (agent, http) = (wrong.take(&format!("{place}.agent")), wrong.take(&format!("{place}.http")));
    let shows_http = !asked.is_empty() || !action.http.is_empty() || !http.is_empty();
    let mut limits = Vec::new();
    for spec in TABLE.iter().filter(|spec| !spec.limit.is_fixed()) {
        limits.push((spec, wrong.take(&format!("{place}.limits.{}", spec.name))));
    }
    let narrows = !action.limits.0.is_empty() || limits.iter().any(|(_, wrong)| !wrong.is_empty());
    html! {
        input type="hidden" name=(format!("for{at}")) value=(action.script.name);
        @if action.script.name == SCRIPT || action.agent.is_some() {
            @let (id, chosen) = (format!("agent{at}"), action.agent.as_deref().unwrap_or_default());
            (field(&id, "Agent", "Its model, instructions, tools and caps are set up once by an administrator; this automation can only narrow them.", &agent, html! {
                select id=(id) name=(id) {
                    (option("", "None", chosen))
                    @if !chosen.is_empty() && !known.agents.iter().any(|(name, _)| name == chosen) { (option(chosen, chosen, chosen)) }
                    @for (name, title) in known.agents { (option(name, title, chosen)) }
                }
            }))
        }
        @if shows_http {
            @let id = format!("http{at}");
            (field(&id, "Requests to other services that it is granted", "One a line: methods, then an address; one that ends in /* covers all below it. An address of a local network needs the word private behind it. Empty: none.", &http, html! {
                textarea id=(id) name=(id) rows=(action.http.len().max(asked.len()).clamp(1, 6)) spellcheck="false" placeholder=(asked.iter().map(HttpGrant::to_string).collect::<Vec<_>>().join("\n")) {
                    (action.http.iter().map(HttpGrant::to_string).collect::<Vec<_>>().join("\n"))
                }
            }))
        }
        details open[narrows] {
            summary { "Limits" }
            p.help { "Of each run of this script. The smallest of what script, automation and host say holds; empty: as they say." }
            div.two { @for (spec, wrong) in &limits {
                @let id = format!("limit{at}.{}", spec.name);
                @let said = action.limits.0.get(&spec.limit).map(u64::to_string).unwrap_or_default();
                @let asked = manifest.and_then(|one| one.limits.0.get(&spec.limit)).map(u64::to_string).unwrap_or_default();
                (field(&id, &format!("{} ({})", spec.name, unit(spec.unit)), spec.help, wrong, html! {
                    input id=(id) type="text" inputmode="numeric" name=(id) value=(said) placeholder=(asked);
                }))
            } }
        }
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "milliseconds",
        Unit::Bytes => "bytes",
        Unit::MicroEuro => "millionths of a euro",
        Unit::Hours => "hours",
        Unit::Count => "number",
        Unit::Fuel => "instructions",
        Unit::Tokens => "tokens",
    }
}

fn parameter_of(at: usize, parameter: &Parameter, set: Option<&String>, wrong: &[String]) -> Markup {
    let id = format!("p{at}.{}", parameter.name);
    let default =
        parameter.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let value = set.map(String::as_str).unwrap_or_default();
    let hint = default.as_deref().unwrap_or_default();
    let label = parameter.label.as_deref().unwrap_or(&parameter.name);
    let mut help = parameter.help.clone();
    if let Some(relation) = &parameter.relation {
        help = format!("{help} The id of a record of {relation}.");
    }
    field(
        &id,
        &if parameter.required { format!("{label} *") } else { label.to_owned() },
        help.trim(),
        wrong,
        html! {
            @match parameter.kind {
                ParameterKind::Boolean => select id=(id) name=(id) {
                    (option("", &format!("As the script says ({})", if hint.is_empty() { "not set" } else { hint }), value))
                    (option("true", "Yes", value)) (option("false", "No", value))
                },
                ParameterKind::Selection => select id=(id) name=(id) {
                    (option("", &format!("As the script says ({})", if hint.is_empty() { "not set" } else { hint }), value))
                    @if !value.is_empty() && !parameter.options.iter().any(|one| one == value) { (option(value, value, value)) }
                    @for one in &parameter.options { (option(one, one, value)) }
                },
                ParameterKind::Date => input id=(id) type="date" name=(id) value=(value);,
                ParameterKind::Integer | ParameterKind::Float | ParameterKind::Many2one =>
                    input id=(id) type="text" inputmode="decimal" name=(id) value=(value) placeholder=(hint);,
                // Any text may have lines, which an input would take out.
                ParameterKind::Text => textarea id=(id) name=(id) rows=(rows(value, hint)) placeholder=(hint) { (value) },
                ParameterKind::Datetime => input id=(id) type="text" name=(id) value=(value) placeholder=(hint);,
            }
        },
    )
}

/// Lines that a text has room for.
fn rows(value: &str, hint: &str) -> usize {
    let least = if value.len().max(hint.len()) > 60 { 4 } else { 1 };
    value.lines().count().max(hint.lines().count()).clamp(least, 12)
}

/// What a script may do that has no rights of its own to ask for.
fn rights(at: usize, action: &Action, policy: &Policy, wrong: &[String]) -> Markup {
    let (id, typed) = (format!("rights{at}"), lines(action.grants.as_ref()));
    html! {
        (field(&id, "What it may do", "One a line: a model, operations, and fields: crm.lead:read,write:name,priority. Empty: what its agent may do; without one, nothing.", wrong, html! {
            textarea id=(id) name=(id) rows=(typed.lines().count().clamp(1, 12)) spellcheck="false" autocapitalize="none" { (typed) }
        }))
        @if let Some(own) = &action.grants { (in_words(own, policy)) }
    }
}

/// What the script asks for, in words, and what of it needs a word of the rule.
fn grants(at: usize, action: &Action, all: bool, manifest: &Manifest, policy: &Policy) -> Markup {
    let guarded = policy.guarded(&manifest.grants);
    let id = format!("g{at}");
    html! {
        h3 { "What it asks for" }
        (in_words(&manifest.grants, policy))
        @if !manifest.http.is_empty() {
            p { "It asks to send requests to: " @for (at, one) in manifest.http.iter().enumerate() { @if at > 0 { ", " } code { (one.url.to_string()) } } ". None is granted unless it is named below." }
        }
        @if !guarded.0.is_empty() || action.grants.is_some() || all {
            @let chosen = match &action.grants { _ if all => "all", None => "asked", Some(own) if *own == manifest.grants => "all", Some(_) => "keep" };
            (field(&id, "What it is granted", "Rights that policy guards are granted here, by name, or not at all.", &[], html! {
                select id=(id) name=(id) {
                    @if chosen == "keep" { (option("keep", "What the rule's file says", chosen)) }
                    (option("asked", "What it asks for, without what policy guards", chosen))
                    (option("all", "All that it asks for, guarded rights too", chosen))
                }
            }))
            @if let ("keep", Some(own)) = (chosen, &action.grants) { h3 { "What the rule's file says" } (in_words(own, policy)) }
        }
    }
}

/// Grants as sentences: "may read name, priority of crm.lead".
pub(super) fn in_words(grants: &Grants, policy: &Policy) -> Markup {
    html! {
        @if grants.0.is_empty() { p.faint { "No rights on records." } }
        ul.grants {
            @for grant in &grants.0 {
                li {
                    "may "
                    @for (at, operation) in grant.operations.iter().enumerate() {
                        @if at > 0 { ", " }
                        b { (operation.name()) }
                    }
                    " " code { (grant.model) }
                    @if !grant.fields.is_empty() { ": " (grant.fields.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) }
                    @if !grant.methods.is_empty() { ", methods " (grant.methods.iter().map(String::as_str).collect::<Vec<_>>().join(", ")) }
                    @if let Some(domain) = &grant.domain { ", only where " code { (domain) } }
                    @if !policy.guarded(&Grants(vec![grant.clone()])).0.is_empty() { " " (badge("wait", "guarded by policy")) }
                }
            }
        }
    }
}

fn whose(draft: &Draft, wrong: &mut Wrong) -> Markup {
    let rule = &draft.rule;
    let number = |value: u32| value.to_string();
    let (domain, source) = match &rule.source {
        Some(Source::Domain(domain)) => (domain.as_str(), "A domain: for schedules.".to_owned()),
        Some(Source::Script(script)) => ("", format!("The script {script} gives them. A domain takes its place.")),
        None => ("", "A domain: for schedules.".to_owned()),
    };
    let rest = ["source", "max-records", "debounce", "concurrency"].map(|place| wrong.take(place));
    // What is wrong is seen.
    let is_open = rest.iter().any(|wrong| !wrong.is_empty());
    let [no_source, no_most, no_wait, no_concurrency] = &rest;
    html! {
        fieldset {
            legend { "Rights and pace" }
            (field("run-as", "Runs with the rights of", "A sign-in name; empty: whoever owns the automation. Whoever saves it becomes its owner.", &wrong.take("run-as"), html! {
                input #run-as type="text" name="run-as" value=(rule.run_as.as_deref().unwrap_or_default()) autocapitalize="none";
            }))
            div.field.row {
                input #superuser type="checkbox" name="superuser" value="1" checked[rule.superuser];
                " " label.superuser for="superuser" { "Run as superuser" }
                p.help { "Not bound by anybody's rights, across all companies. Each run is marked with it. Grants, policy and limits still hold." }
                @for one in wrong.take("superuser") { p.error { (one) } }
            }
            details open[is_open] {
                summary { "More" }
                (field("source", "Records when the event brings none", &source, no_source, html! {
                    textarea #source name="source" rows="1" spellcheck="false" { (domain) }
                }))
                (tick("per-record", "One run for each record", rule.dispatch == Dispatch::PerRecord, ""))
                (tick("chain", "Each run is told what the one before it on the same record said", rule.chain, ""))
                div.two {
                    (field("max-records", "Records of one fire at most", "0: all.", no_most, html! { input #max-records type="text" inputmode="numeric" name="max-records" value=(number(rule.max_records)); }))
                    (field("debounce", "Wait, in seconds", "Further changes of the record meanwhile join.", no_wait, html! { input #debounce type="text" inputmode="numeric" name="debounce" value=(number(rule.debounce)); }))
                    (field("concurrency", "Runs at once", "Empty: as usual.", no_concurrency, html! { input #concurrency type="text" inputmode="numeric" name="concurrency" value=(rule.concurrency.map(number).unwrap_or_default()); }))
                }
            }
        }
    }
}

fn tick(id: &str, label: &str, on: bool, help: &str) -> Markup {
    html! {
        div.field.row {
            input id=(id) type="checkbox" name=(id) value="1" checked[on];
            " " label for=(id) { (label) }
            @if !help.is_empty() { p.help { (help) } }
        }
    }
}
