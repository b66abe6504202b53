//! The parts of the set-up, as data.

use serde_json::{Value as Json, json};
use triggerbox_model::value::Id;

use super::{MODULE, Ours, TOLD, code};
use crate::config::Config;

/// Makes the index that lets each run into the ledger once.
pub(super) const ONCE: &str =
    "env.cr.execute('CREATE UNIQUE INDEX IF NOT EXISTS x_triggerbox_run_once ON x_triggerbox_run (x_name)')";

/// The action that pings; not there without an address for it.
pub(super) const PING: &str = "action_ping";

/// One record.
pub(super) struct Part {
    /// Its external id, without the module.
    pub(super) name: String,
    pub(super) model: &'static str,
    /// For people.
    pub(super) what: String,
    pub(super) fields: Vec<(&'static str, Cell)>,
    /// Fields that Odoo lets nobody change later.
    pub(super) fixed: &'static [&'static str],
}

/// A value of a part.
pub(super) enum Cell {
    Plain(Json),
    /// No text.
    Nothing,
    /// A record of ours.
    Ours(String),
    /// A list of one record of ours.
    List(&'static str),
    /// A record of Odoo's own.
    Id(Id),
    /// Records of Odoo's own.
    Ids(Vec<Id>),
}

impl Cell {
    fn id(ours: &Ours, name: &str) -> Json {
        ours.get(name).map_or(Json::Bool(false), |(_, id)| json!(id))
    }

    /// As it is read.
    pub(super) fn json(&self, ours: &Ours) -> Json {
        match self {
            Self::Plain(json) => json.clone(),
            Self::Nothing => json!(false),
            Self::Ours(name) => Self::id(ours, name),
            Self::List(name) => json!([Self::id(ours, name)]),
            Self::Id(id) => json!(id),
            Self::Ids(ids) => json!(ids),
        }
    }

    /// As it is written.
    pub(super) fn written(&self, ours: &Ours) -> Json {
        match self {
            Self::List(name) => json!([[6, 0, [Self::id(ours, name)]]]),
            Self::Ids(ids) => json!([[6, 0, ids]]),
            cell => cell.json(ours),
        }
    }

    /// The column of an import.
    pub(super) fn column(&self, field: &str) -> String {
        match self {
            Self::Plain(_) | Self::Nothing => field.to_owned(),
            Self::Ours(_) | Self::Id(_) | Self::Ids(_) => format!("{field}/.id"),
            Self::List(_) => format!("{field}/id"),
        }
    }

    /// The text of an import.
    pub(super) fn cell(&self, ours: &Ours) -> Json {
        match self {
            Self::Plain(Json::Bool(flag)) => json!(if *flag { "1" } else { "0" }),
            Self::Plain(json) => json.clone(),
            Self::Nothing => json!(""),
            Self::Ours(name) => json!(Self::id(ours, name).to_string()),
            Self::List(name) => json!(format!("{MODULE}.{name}")),
            Self::Id(id) => json!(id.to_string()),
            Self::Ids(ids) => json!(ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

/// All parts, in the order in which they are made. `administrators` is Odoo's own group of those who may change settings.
pub(super) fn parts(config: &Config, administrators: Id) -> Vec<Part> {
    let text = |text: &str| Cell::Plain(json!(text));
    let ours = |name: &str| Cell::Ours(name.to_owned());
    let mut parts = vec![
        Part {
            name: "group_scripts".to_owned(),
            model: "res.groups",
            what: "group `Triggerbox: may apply changes`, whose members do so with their own rights, and may read and \
                   change by hand what rules remember"
                .to_owned(),
            fields: vec![("name", text("Triggerbox: may apply changes"))],
            fixed: &[],
        },
        Part {
            name: "model_run".to_owned(),
            model: "ir.model",
            what: "model `x_triggerbox_run`, the ledger of applied runs".to_owned(),
            fields: vec![("name", text("Triggerbox run")), ("model", text("x_triggerbox_run"))],
            fixed: &["model"],
        },
    ];
    for (name, field, kind, label) in [
        ("field_run_result", "x_result", "text", "Result"),
        ("field_run_count", "x_count", "integer", "Changes"),
        ("field_run_user", "x_user", "integer", "User"),
        ("field_run_chain", "x_chain", "char", "Chain"),
    ] {
        parts.push(Part {
            name: name.to_owned(),
            model: "ir.model.fields",
            what: format!("field `{field}` of the ledger"),
            fields: vec![
                ("name", text(field)),
                ("ttype", text(kind)),
                ("field_description", text(label)),
                ("model_id", ours("model_run")),
            ],
            fixed: &["name", "ttype", "model_id"],
        });
    }
    parts.push(Part {
        name: "access_run".to_owned(),
        model: "ir.model.access",
        what: "access: administrators may read the ledger, nobody may write it by hand".to_owned(),
        fields: vec![
            ("name", text("Triggerbox run: read by administrators")),
            ("model_id", ours("model_run")),
            ("group_id", Cell::Id(administrators)),
            ("perm_read", Cell::Plain(json!(true))),
            ("perm_write", Cell::Plain(json!(false))),
            ("perm_create", Cell::Plain(json!(false))),
            ("perm_unlink", Cell::Plain(json!(false))),
        ],
        fixed: &[],
    });
    parts.push(Part {
        name: "action_apply".to_owned(),
        model: "ir.actions.server",
        what: "server action `Triggerbox: apply the changes of a run`, for members of the group only".to_owned(),
        fields: vec![
            ("name", text("Triggerbox: apply the changes of a run")),
            ("state", text("code")),
            ("model_id", ours("model_run")),
            ("code", text(&code(&config.methods))),
            ("group_ids", Cell::List("group_scripts")),
        ],
        fixed: &["model_id"],
    });
    parts.extend(outbox(config));
    parts
}

/// What events need: the outbox, who may empty it, what tells of records that rules cannot look at, the ping.
fn outbox(config: &Config) -> Vec<Part> {
    let text = |text: &str| Cell::Plain(json!(text));
    let ours = |name: &str| Cell::Ours(name.to_owned());
    let mut parts = vec![
        Part {
            name: "group_events".to_owned(),
            model: "res.groups",
            what: "group `Triggerbox: may empty the outbox`, whose member is the administrator of the configuration"
                .to_owned(),
            fields: vec![("name", text("Triggerbox: may empty the outbox"))],
            fixed: &[],
        },
        Part {
            name: "model_event".to_owned(),
            model: "ir.model",
            what: "model `x_triggerbox_event`, the outbox: what happened to records that rules watch".to_owned(),
            fields: vec![("name", text("Triggerbox event")), ("model", text("x_triggerbox_event"))],
            fixed: &["model"],
        },
    ];
    for (name, field, kind, label) in [
        ("field_event_model", "x_model", "char", "Model"),
        ("field_event_record", "x_record", "integer", "Record"),
        ("field_event_kind", "x_kind", "char", "What happened"),
        ("field_event_values", "x_values", "text", "Values before and after"),
        ("field_event_user", "x_user", "integer", "User"),
        ("field_event_transaction", "x_transaction", "char", "Transaction"),
        ("field_event_chain", "x_chain", "char", "Run that caused it"),
    ] {
        parts.push(Part {
            name: name.to_owned(),
            model: "ir.model.fields",
            what: format!("field `{field}` of the outbox"),
            fields: vec![
                ("name", text(field)),
                ("ttype", text(kind)),
                ("field_description", text(label)),
                ("model_id", ours("model_event")),
            ],
            fixed: &["name", "ttype", "model_id"],
        });
    }
    parts.push(Part {
        name: "access_event".to_owned(),
        model: "ir.model.access",
        what: "access: members of that group may read and remove rows of the outbox, nobody may write them by hand"
            .to_owned(),
        fields: vec![
            ("name", text("Triggerbox event: emptied by members")),
            ("model_id", ours("model_event")),
            ("group_id", ours("group_events")),
            ("perm_read", Cell::Plain(json!(true))),
            ("perm_write", Cell::Plain(json!(false))),
            ("perm_create", Cell::Plain(json!(false))),
            ("perm_unlink", Cell::Plain(json!(true))),
        ],
        fixed: &[],
    });
    let name = "Triggerbox: tell of deleted records and messages";
    parts.push(Part {
        name: "action_told".to_owned(),
        model: "ir.actions.server",
        what: format!("server action `{name}`, which the automation rules of Triggerbox use"),
        fields: vec![
            ("name", text(name)),
            ("state", text("code")),
            ("model_id", ours("model_event")),
            ("code", text(TOLD)),
        ],
        fixed: &["model_id"],
    });
    if let Some(url) = &config.ping {
        parts.push(Part {
            name: PING.to_owned(),
            model: "ir.actions.server",
            what: format!("server action `Triggerbox: ping`, which tells {url} that the outbox is no longer empty"),
            fields: vec![
                ("name", text("Triggerbox: ping")),
                ("state", text("webhook")),
                ("model_id", ours("model_event")),
                ("webhook_url", text(url.as_str())),
            ],
            fixed: &["model_id"],
        });
    }
    parts
}
