//! `triggerbox demo`: the whole point in a minute, on the demo CRM in memory.

use std::{future::Future, sync::Arc};

use anyhow::{Context, anyhow};
use guest_artifacts::{AI_AGENT, DEMO_EAT_MEMORY, DEMO_LOOP_FOREVER, DEMO_WRITE_THEN_TRAP, Guest, HIGH_VALUE_ORDER};
use jiff::Timestamp;
use serde_json::json;
use triggerbox_automation::{self as automation, Report, Request, outside::DatabaseLedger, people};
use triggerbox_llm::{Clock, Config, Matching, Models, Outside, Recording, Services, Spender, SystemClock};
use triggerbox_model::{
    call::{Answer, Call, DomainSource, Page},
    event::Trigger,
    grants::{Grant, Grants, Policy},
    limits::{Class, Limits},
    manifest::Manifest,
    value::{FieldValue, Id, RecordRef, Row, Value},
};
use triggerbox_sandbox::Sandbox;
use triggerbox_store::{commit, db::Database, session::Session};

use crate::{
    args::DemoArgs,
    commands::{run, script},
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, GREEN, RED, printable, styled},
};

/// The order's total: above the example script's threshold of 10,000.
const TOTAL: f64 = 12_000.0;
/// What is shown of the order, and compared before and after the scripts that misbehave.
const SHOWN: [&str; 6] = ["name", "partner_id", "state", "amount_total", "client_order_ref", "note"];
/// The lead that the agent is asked about.
const LEAD: Id = 1;
/// What it is asked, and what it may do.
const PROMPT: &str = "Rate {{ record.name }} and say why in a note. Assign it to somebody.";
const MAY: [&str; 1] = ["crm.lead:read,write,note:name,description,priority"];
/// What a model answers: nobody is asked.
const CONVERSATION: &str = include_str!("demo.json");

/// A script in the program, and what it is run with.
struct Part<'a> {
    guest: &'a Guest,
    trigger: Trigger,
    record: RecordRef,
    class: Class,
    parameters: &'a [(String, String)],
    grants: Option<Grants>,
    outside: Option<Outside>,
}

pub(crate) fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let demo = Demo::new(args.format.json)?;
    demo.play()
}

struct Demo {
    json: bool,
    runtime: tokio::runtime::Runtime,
    sandbox: Sandbox,
    database: Database,
    now: Timestamp,
}

impl Demo {
    fn new(json: bool) -> Result<Self, Failure> {
        let now = Timestamp::now();
        Ok(Self {
            json,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().or_exit(Exit::Backend)?,
            sandbox: script::sandbox(1)?,
            database: Database::demo_in_memory(now).or_exit(Exit::Backend)?,
            now,
        })
    }

    fn play(&self) -> Result<Exit, Failure> {
        self.say(
            "Triggerbox runs scripts as WebAssembly components, each in a fresh sandbox with limits, each as one \
             transaction.\nThis demo has a CRM in memory, one script that works, an agent, and three scripts that misbehave.",
        );

        self.heading("1. A sale order of 12,000 is created, and a script notes it");
        let order = self.create_order()?;
        self.show(order)?;
        let mut reports = vec![self.script(&HIGH_VALUE_ORDER, order)?];
        self.show(order)?;

        self.heading("2. An AI agent rates a lead, and tries more than it may");
        reports.push(self.agent()?);

        let before = self.record(order)?;
        for (number, title, guest) in [
            (3, "A script that loops forever", &DEMO_LOOP_FOREVER),
            (4, "A script that eats memory", &DEMO_EAT_MEMORY),
            (5, "A script that writes on the order, posts, and then breaks", &DEMO_WRITE_THEN_TRAP),
        ] {
            self.heading(&format!("{number}. {title}"));
            reports.push(self.script(guest, order)?);
        }

        self.heading("The order after all that");
        self.show(order)?;
        let unharmed = self.record(order)? == before;
        match unharmed {
            true => self.say(&styled(GREEN, "unharmed: nothing of the last three scripts was applied")),
            false => self.say(&styled(RED, "harmed: a script that failed has changed the order")),
        }
        let as_meant = unharmed
            && matches!(reports.as_slice(), [first, agent, rest @ ..] if first.verdict.is_success()
            && agent.verdict.is_success() && rest.iter().all(|report| !report.verdict.is_success()));
        if self.json {
            output::json(&json!({ "order": order, "unharmed": unharmed, "runs": reports }))?;
        } else {
            self.say(&format!("\nNext: {} and the book's first chapter.", styled(BOLD, "triggerbox new my-script")));
        }
        Ok(if as_meant { Exit::Ok } else { Exit::ScriptFailed })
    }

    /// An order of one line, as an administrator would enter it.
    fn create_order(&self) -> Result<Id, Failure> {
        let mut session = self.session()?;
        let first = |session: &mut Session, model: &str, domain: &str| -> anyhow::Result<Id> {
            let domain = DomainSource::Literal(domain.to_owned());
            let page = Page { limit: Some(1), ..Page::default() };
            match session.call(Call::Search { model: model.to_owned(), domain, page })? {
                Ok(Answer::Ids(ids)) => ids.first().copied().with_context(|| format!("the demo CRM has no {model}")),
                other => Err(anyhow!("searching {model}: {other:?}")),
            }
        };
        let partner = first(&mut session, "res.partner", "[('is_company', '=', True)]")?;
        let product = first(&mut session, "product.product", "[]")?;
        let number = |name: &str, number: f64| FieldValue::new(name, Value::Number(number));
        let create = |model: &str, values| Call::Create { model: model.to_owned(), values: vec![values] };
        let order = match session.call(create("sale.order", vec![FieldValue::new("partner_id", Value::link(partner))]))
        {
            Ok(Ok(Answer::Ids(ids))) => ids.first().copied().context("no order was created")?,
            other => return Err(anyhow!("creating the order: {other:?}").into()),
        };
        let line = vec![
            FieldValue::new("order_id", Value::link(order)),
            FieldValue::new("product_id", Value::link(product)),
            number("product_uom_qty", 12.0),
            number("price_unit", TOTAL / 12.0),
        ];
        if let Err(error) = session.call(create("sale.order.line", line))? {
            return Err(anyhow!("creating the order's line: {error}").into());
        }
        let env = session.env().clone();
        let committed = commit::commit(&self.database, &env, &session.finish()).or_exit(Exit::Backend)?;
        let created = committed.ids.get(&("sale.order".to_owned(), order)).copied();
        Ok(created.context("the order has no id")?)
    }

    fn session(&self) -> Result<Session, Failure> {
        let env = people::environment(&self.database, people::SYSTEM, true, self.now)?;
        Session::new(&self.database, env).or_exit(Exit::Backend)
    }

    /// Runs one of the scripts that are inside the program on the order.
    fn script(&self, guest: &Guest, order: Id) -> Result<Report, Failure> {
        let record = RecordRef::new("sale.order", order);
        let (trigger, class) = (Trigger::Created, Class::Async);
        self.part(Part { guest, trigger, record, class, parameters: &[], grants: None, outside: None })
    }

    /// Runs the agent on a lead. Its model's answers are read, and said to be.
    fn agent(&self) -> Result<Report, Failure> {
        let recording: Recording = serde_json::from_str(CONVERSATION)?;
        self.say(&format!("{} {}", styled(DIM, "the prompt  |"), PROMPT));
        self.say(&format!("{} {}", styled(DIM, "its answers |"), recording.origin.describe()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let config = Config::default();
        let budgets = config.budgets.clone();
        let models = Models::replay(config, &recording, Matching::Tolerant);
        let outside = Outside {
            services: Arc::new(Services { models, web: None, budgets, clock }),
            ledger: Arc::new(DatabaseLedger::new(&self.database).or_exit(Exit::Backend)?),
            spender: Spender { rule: AI_AGENT.name.to_owned(), ..Spender::default() },
            only_reads: false,
            seat: None,
        };
        let grants = MAY.iter().map(|line| line.parse::<Grant>().map_err(|why| anyhow!(why)));
        self.part(Part {
            guest: &AI_AGENT,
            trigger: Trigger::Manual,
            record: RecordRef::new("crm.lead", LEAD),
            class: Class::Agent,
            parameters: &[("prompt".to_owned(), PROMPT.to_owned())],
            grants: Some(Grants(grants.collect::<Result<_, _>>()?)),
            outside: Some(outside),
        })
    }

    /// With its manifest's limits, and what it asks for or is granted.
    fn part(&self, part: Part<'_>) -> Result<Report, Failure> {
        let Part { guest, trigger, record, class, parameters, grants, outside } = part;
        let manifest = guest.manifest.with_context(|| format!("{} has no manifest", guest.name))?;
        let manifest = Manifest::parse(manifest)?;
        let run_as = people::find(&self.database, "admin", self.now).or_exit(Exit::Backend)?;
        let request = Request {
            script: self.sandbox.compile(guest.component).or_exit(Exit::InvalidComponent)?,
            rule: guest.name.to_owned(),
            trigger,
            model: Some(record.model),
            records: vec![record.id],
            old_values: Vec::new(),
            parameters: manifest.parameter_values(parameters)?,
            actor: run_as.clone(),
            run_as,
            superuser: false,
            limits: Limits::resolve(class, [&manifest.limits]),
            authority: Arc::new(manifest.authority(grants, Vec::new(), Policy::default())),
            now: self.now,
            seed: 1,
            previous: None,
            dry_run: false,
            outside,
        };
        let log = Box::new(run::Console { json: self.json });
        let report = self.wait(automation::run(&self.database, &request, log)).or_exit(Exit::Backend)?;
        self.say(run::text(&report).trim_end());
        Ok(report)
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The order's fields and its messages, oldest last.
    fn record(&self, order: Id) -> Result<(Vec<Row>, Vec<String>), Failure> {
        let mut session = self.session()?;
        let fields = SHOWN.map(str::to_owned).to_vec();
        let rows = match session.call(Call::Read { model: "sale.order".to_owned(), ids: vec![order], fields }) {
            Ok(Ok(Answer::Rows(rows))) => rows,
            other => return Err(anyhow!("reading the order: {other:?}").into()),
        };
        let target = RecordRef::new("sale.order", order);
        let messages = match session.call(Call::ReadMessages { target, limit: 20 }) {
            Ok(Ok(Answer::Messages(messages))) => {
                messages.iter().map(|message| format!("{}: {}", message.author, message.body)).collect()
            }
            other => return Err(anyhow!("reading the order's chatter: {other:?}").into()),
        };
        Ok((rows, messages))
    }

    fn show(&self, order: Id) -> Result<(), Failure> {
        let (rows, messages) = self.record(order)?;
        for row in &rows {
            let values: Vec<_> = SHOWN
                .iter()
                .zip(&row.values)
                .filter(|(_, value)| **value != Value::Unset)
                .map(|(name, value)| format!("{name} {}", short(value)))
                .collect();
            self.say(&format!("{} {}", styled(BOLD, format!("sale.order {}:", row.id)), values.join(", ")));
        }
        // Odoo posts tracked changes as messages without a text.
        for message in messages.iter().map(|message| output::without_tags(message)).filter(|text| !text.ends_with(": "))
        {
            self.say(&format!("  {} {}", styled(DIM, "chatter |"), printable(&message)));
        }
        Ok(())
    }

    fn heading(&self, text: &str) {
        self.say(&format!("\n{}", styled(BOLD, text)));
    }

    /// Prints for people, and nothing where JSON is asked for.
    fn say(&self, text: &str) {
        if !self.json {
            outln!("{text}");
        }
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Text(text) => printable(text),
        Value::Number(number) => number.to_string(),
        Value::Many2one(link) => printable(link.name.as_deref().unwrap_or_default()),
        other => format!("{other:?}"),
    }
}
