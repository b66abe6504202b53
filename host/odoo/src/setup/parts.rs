//! The parts of the set-up, as data.

use serde_json::{Value as Json, json};

use super::{MODULE, Ours, code};

/// Makes the index that lets each run into the ledger once.
pub(super) const ONCE: &str =
    "env.cr.execute('CREATE UNIQUE INDEX IF NOT EXISTS x_triggerbox_run_once ON x_triggerbox_run (x_name)')";

/// One record.
pub(super) struct Part {
    /// Its external id, without the module.
    pub(super) name: &'static str,
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
    /// A record of ours.
    Ours(&'static str),
    /// A list of one record of ours.
    List(&'static str),
    /// A group of Odoo's own, by external id; compared as nothing.
    Theirs(&'static str),
}

impl Cell {
    fn id(ours: &Ours, name: &str) -> Json {
        ours.get(name).map_or(Json::Bool(false), |(_, id)| json!(id))
    }

    /// As it is read.
    pub(super) fn json(&self, ours: &Ours) -> Json {
        match self {
            Self::Plain(json) => json.clone(),
            Self::Ours(name) => Self::id(ours, name),
            Self::List(name) => json!([Self::id(ours, name)]),
            Self::Theirs(_) => Json::Null,
        }
    }

    /// As it is written.
    pub(super) fn written(&self, ours: &Ours) -> Json {
        match self {
            Self::List(name) => json!([[6, 0, [Self::id(ours, name)]]]),
            cell => cell.json(ours),
        }
    }

    /// The column of an import.
    pub(super) fn column(&self, field: &str) -> String {
        match self {
            Self::Plain(_) => field.to_owned(),
            Self::Ours(_) => format!("{field}/.id"),
            Self::List(_) | Self::Theirs(_) => format!("{field}/id"),
        }
    }

    /// The text of an import.
    pub(super) fn cell(&self, ours: &Ours) -> Json {
        match self {
            Self::Plain(Json::Bool(flag)) => json!(if *flag { "1" } else { "0" }),
            Self::Plain(json) => json.clone(),
            Self::Ours(name) => json!(Self::id(ours, name).to_string()),
            Self::List(name) => json!(format!("{MODULE}.{name}")),
            Self::Theirs(name) => json!(name),
        }
    }
}

/// All parts, in the order in which they are made.
pub(super) fn parts(methods: &[String]) -> Vec<Part> {
    let text = |text: &str| Cell::Plain(json!(text));
    let mut parts = vec![
        Part {
            name: "group_scripts",
            model: "res.groups",
            what: "group `Triggerbox: may apply changes`, whose members do so with their own rights".to_owned(),
            fields: vec![("name", text("Triggerbox: may apply changes"))],
            fixed: &[],
        },
        Part {
            name: "model_run",
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
            name,
            model: "ir.model.fields",
            what: format!("field `{field}` of the ledger"),
            fields: vec![
                ("name", text(field)),
                ("ttype", text(kind)),
                ("field_description", text(label)),
                ("model_id", Cell::Ours("model_run")),
            ],
            fixed: &["name", "ttype", "model_id"],
        });
    }
    parts.push(Part {
        name: "access_run",
        model: "ir.model.access",
        what: "access: administrators may read the ledger, nobody may write it by hand".to_owned(),
        fields: vec![
            ("name", text("Triggerbox run: read by administrators")),
            ("model_id", Cell::Ours("model_run")),
            ("group_id", Cell::Theirs("base.group_system")),
            ("perm_read", Cell::Plain(json!(true))),
            ("perm_write", Cell::Plain(json!(false))),
            ("perm_create", Cell::Plain(json!(false))),
            ("perm_unlink", Cell::Plain(json!(false))),
        ],
        fixed: &["group_id", "model_id"],
    });
    parts.push(Part {
        name: "action_apply",
        model: "ir.actions.server",
        what: "server action `Triggerbox: apply the changes of a run`, for members of the group only".to_owned(),
        fields: vec![
            ("name", text("Triggerbox: apply the changes of a run")),
            ("state", text("code")),
            ("model_id", Cell::Ours("model_run")),
            ("code", text(&code(methods))),
            ("group_ids", Cell::List("group_scripts")),
        ],
        fixed: &["model_id"],
    });
    parts
}
