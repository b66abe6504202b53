//! What Odoo must hold for all this: a group, a ledger of applied runs, and the action that applies changes. Made, looked
//! at and taken away over the same API, each part under an external id of ours, so that nothing is made twice or forgotten.

mod parts;
mod rules;

use std::collections::BTreeMap;

pub use self::rules::{Want, Watch};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use triggerbox_model::value::Id;

use self::parts::{ONCE, PING, Part, parts};
use crate::{
    backend::{Backend, refusal},
    client::{Again, Caller},
    error::OdooError,
    session::odd,
    value,
};

/// The module name in our external ids: what is under it is ours, and nothing else is.
pub const MODULE: &str = "__triggerbox__";

const CODE: &str = include_str!("apply.py");

/// The code that notes what happened, of which each rule has its own.
const OUTBOX: &str = include_str!("outbox.py");

/// The part of it that is about records that are made and changed.
const CHANGED: &str = include_str!("changed.py");

/// The code that tells what deleted records held, and what messages say.
const TOLD: &str = include_str!("told.py");

/// The group whose members may empty the outbox.
const EVENTS: &str = "group_events";

/// Groups with members of their own.
const GROUPS: [&str; 2] = ["group_scripts", EVENTS];

/// One thing that the set-up makes, as it is found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// In words.
    pub what: String,
    /// As found.
    pub state: State,
    /// What differs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// How a part of the set-up is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Not there: the set-up makes it.
    Missing,
    /// Somebody changed it, or it is of another version: the set-up mends it.
    Changed,
    /// It cannot be made as it should be; what is there is left as it is. Whoever keeps the rule.
    Impossible,
}

/// A record of ours in Odoo.
type Ours = BTreeMap<String, (String, Id)>;

/// The code of the action that applies changes, with the methods that may be called.
#[must_use]
pub fn code(methods: &[String]) -> String {
    // Checked when the configuration was read: plain names, nothing that could be anything else in code.
    let named = methods.iter().filter_map(|method| Some((method, method.rsplit_once('.')?.1)));
    let lines: Vec<String> =
        named.map(|(method, name)| format!("'{method}': lambda r, a, k: r.{name}(*a, **k),")).collect();
    CODE.replace("#METHODS#", &lines.join("\n    "))
}

/// The beginning of the code's SHA-256: what `status` shows.
#[must_use]
pub fn fingerprint(code: &str) -> String {
    let hash = Sha256::digest(code.trim().as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

impl Backend {
    /// How the set-up is found, part by part. Changes nothing.
    ///
    /// # Errors
    /// Odoo cannot be used, or the administrator is none.
    pub async fn status(&self) -> Result<Vec<Finding>, OdooError> {
        let admin = self.administrator().await?;
        let ours = self.ours(admin).await?;
        let mut findings = Vec::new();
        for part in parts(&self.config, self.administrators(admin).await?) {
            findings.push(self.look(admin, &part, &ours).await?);
        }
        for group in GROUPS {
            findings.extend(self.members(admin, &ours, group).await?.into_iter().map(|(finding, _)| finding));
        }
        findings.push(self.once(&ours).await?);
        findings.extend(self.old_ping(&ours));
        Ok(findings)
    }

    /// Makes what is missing and mends what is changed; what is as it should be is not touched. A second time it does
    /// nothing; after a failure it goes on where it was.
    ///
    /// # Errors
    /// As [`Backend::status`]
    pub async fn set_up(&self) -> Result<Vec<Finding>, OdooError> {
        let admin = self.administrator().await?;
        self.require_json(admin).await?;
        let mut done = Vec::new();
        for part in parts(&self.config, self.administrators(admin).await?) {
            let ours = self.ours(admin).await?;
            let finding = self.look(admin, &part, &ours).await?;
            if finding.state != State::Ok {
                self.make(admin, &part, &ours).await?;
                done.push(finding);
            }
        }
        self.forget();
        let ours = self.ours(admin).await?;
        for name in GROUPS {
            for (finding, command) in self.members(admin, &ours, name).await? {
                if let (Some(command), Some((_, group))) = (command, ours.get(name)) {
                    let body = json!({ "ids": [group], "vals": { "user_ids": [command] } });
                    self.client.call(admin, "res.groups", "write", &body).await?;
                    done.push(finding);
                }
            }
        }
        if let (Some(finding), Some((model, id))) = (self.old_ping(&ours), ours.get(PING)) {
            self.client.call(admin, model, "unlink", &json!({ "ids": [id] })).await?;
            done.push(finding);
        }
        let once = self.once(&ours).await?;
        if once.state != State::Ok {
            self.make_once(admin, &ours).await?;
            done.push(once);
        }
        Ok(done)
    }

    /// Takes everything away that the set-up made: the ledger with what it remembers, too.
    ///
    /// # Errors
    /// As [`Backend::status`]
    pub async fn tear_down(&self) -> Result<Vec<String>, OdooError> {
        let admin = self.administrator().await?;
        let mut gone = Vec::new();
        let ours = self.ours(admin).await?;
        // What stands on other parts goes before them.
        let order = [
            "ir.ui.menu",
            "ir.actions.act_window",
            "base.automation",
            "ir.actions.server",
            "ir.model.access",
            "ir.model",
            "res.groups",
        ];
        for model in order {
            for (name, (_, id)) in ours.iter().filter(|(_, (of, _))| of == model) {
                if self.is_there(admin, model, *id).await? {
                    self.client.call(admin, model, "unlink", &json!({ "ids": [id] })).await?;
                    gone.push(format!("{model} {name}"));
                }
            }
        }
        let domain = json!({ "domain": [["module", "=", MODULE]] });
        let left = self.client.call(admin, "ir.model.data", "search", &domain).await?;
        if left.as_array().is_some_and(|left| !left.is_empty()) {
            self.client.call(admin, "ir.model.data", "unlink", &json!({ "ids": left })).await?;
        }
        self.forget();
        Ok(gone)
    }

    /// The caller who makes the set-up: with a good key, and with the right to.
    async fn administrator(&self) -> Result<&Caller, OdooError> {
        self.account(&self.config.administrator).await?;
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let body = json!({ "ids": [], "operation": "create" });
        match self.client.call(caller, "ir.actions.server", "has_access", &body).await? {
            Json::Bool(true) => Ok(caller),
            _ => {
                let message = format!(
                    "`{}` may not make server actions in odoo; `administrator` must be a user with the group Settings",
                    caller.login
                );
                Err(refusal(triggerbox_model::error::Error::denied("not-an-administrator", message)))
            }
        }
    }

    /// The code of actions knows JSON only where automation rules are installed.
    async fn require_json(&self, admin: &Caller) -> Result<(), OdooError> {
        let body = json!({ "domain": [["name", "=", "base_automation"], ["state", "=", "installed"]] });
        match self.client.call(admin, "ir.module.module", "search_count", &body).await? {
            Json::Number(count) if count.as_u64() != Some(0) => Ok(()),
            _ => Err(OdooError::NotSetUp("install odoo's own app Automation Rules first".to_owned())),
        }
    }

    async fn ours(&self, admin: &Caller) -> Result<Ours, OdooError> {
        let body = json!({ "domain": [["module", "=", MODULE]], "fields": ["name", "model", "res_id"] });
        let rows = self.client.call(admin, "ir.model.data", "search_read", &body).await?;
        let rows = rows.as_array().into_iter().flatten().map(|row| {
            let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
            Some((text("name")?, (text("model")?, row.get("res_id").and_then(value::id)?)))
        });
        rows.collect::<Option<_>>().ok_or_else(|| refusal(odd("a search")))
    }

    /// Odoo's own group of those who may change settings.
    async fn administrators(&self, admin: &Caller) -> Result<Id, OdooError> {
        let domain = json!([["module", "=", "base"], ["name", "=", "group_system"]]);
        let body = json!({ "domain": domain, "fields": ["res_id"], "limit": 1 });
        let rows = self.client.call(admin, "ir.model.data", "search_read", &body).await?;
        rows.pointer("/0/res_id").and_then(value::id).ok_or_else(|| refusal(odd("a search")))
    }

    /// Whether there is such a record, archived or not: what is archived by hand is no less there.
    async fn is_there(&self, admin: &Caller, model: &str, id: Id) -> Result<bool, OdooError> {
        let search = json!({ "domain": [["id", "=", id]], "context": { "active_test": false } });
        Ok(self.client.call(admin, model, "search_count", &search).await? != json!(0))
    }

    /// Whether a part is there and as it should be.
    async fn look(&self, admin: &Caller, part: &Part, ours: &Ours) -> Result<Finding, OdooError> {
        let Some((_, id)) = ours.get(part.name.as_str()) else { return Ok(part.found(None, ours)) };
        let rows = self.client.call(admin, part.model, "read", &part.question(&[*id])).await?;
        Ok(part.found(rows.get(0), ours))
    }

    /// Makes or mends a part; the external id is given with it, in the same transaction.
    async fn make(&self, admin: &Caller, part: &Part, ours: &Ours) -> Result<(), OdooError> {
        let values: serde_json::Map<String, Json> =
            part.fields.iter().map(|(field, value)| ((*field).to_owned(), value.written(ours))).collect();
        if let Some((model, id)) = ours.get(part.name.as_str())
            && model == part.model
            && self.is_there(admin, model, *id).await?
        {
            let changeable: serde_json::Map<String, Json> =
                values.into_iter().filter(|(field, _)| !part.fixed.contains(&field.as_str())).collect();
            let body = json!({ "ids": [id], "vals": changeable });
            self.client.call(admin, part.model, "write", &body).await?;
            return Ok(());
        }
        let mut columns = vec!["id".to_owned()];
        let mut row = vec![json!(part.name)];
        for (field, value) in &part.fields {
            columns.push(value.column(field));
            row.push(value.cell(ours));
        }
        let context = json!({ "module": MODULE, "mode": "init" });
        let body = json!({ "fields": columns, "data": [row], "context": context });
        let answer = self.client.call_as(admin, part.model, "load", &body, Again::Safe, self.time()).await?;
        match answer.get("ids").and_then(Json::as_array) {
            Some(ids) if ids.len() == 1 => Ok(()),
            _ => {
                let why = answer.pointer("/messages/0/message").and_then(Json::as_str).unwrap_or("it does not say why");
                let message = format!("odoo does not make the {}: {why}", part.what);
                Err(refusal(triggerbox_model::error::Error::rejected("odoo-refused", message)))
            }
        }
    }

    /// Who is in the group, against who should be; with the command that mends it.
    async fn members(
        &self,
        admin: &Caller,
        ours: &Ours,
        group: &str,
    ) -> Result<Vec<(Finding, Option<Json>)>, OdooError> {
        let mut wanted = BTreeMap::new();
        let may = if group == EVENTS { "empty the outbox" } else { "apply changes" };
        let everybody = group != EVENTS;
        for user in self.config.users.iter().filter(|user| everybody || user.login == self.config.administrator) {
            let account = self.account(&user.login).await?;
            wanted.insert(account.user.id, user.login.clone());
        }
        let finding = |login: &str, state, detail: &str| Finding {
            what: format!("`{login}` in the group that may {may}"),
            state,
            detail: detail.to_owned(),
        };
        let present: Vec<Id> = match ours.get(group) {
            Some((_, group)) => {
                let body = json!({ "ids": [group], "fields": ["user_ids"], "load": null });
                let rows = self.client.call(admin, "res.groups", "read", &body).await?;
                let ids = rows.pointer("/0/user_ids").and_then(Json::as_array);
                ids.into_iter().flatten().filter_map(value::id).collect()
            }
            None => Vec::new(),
        };
        let mut members: Vec<(Finding, Option<Json>)> = wanted
            .iter()
            .map(|(id, login)| match present.contains(id) {
                true => (finding(login, State::Ok, ""), None),
                false => (finding(login, State::Missing, ""), Some(json!([4, id]))),
            })
            .collect();
        for id in present.iter().filter(|id| !wanted.contains_key(id)) {
            let strange = finding(&format!("user {id}"), State::Changed, "not in the configuration");
            members.push((strange, Some(json!([3, id]))));
        }
        Ok(members)
    }

    /// A ping that nobody wants any more.
    fn old_ping(&self, ours: &Ours) -> Option<Finding> {
        let old = self.config.ping.is_none() && ours.contains_key(PING);
        let what = "server action `Triggerbox: ping`".to_owned();
        old.then(|| Finding { what, state: State::Changed, detail: "the configuration has no `ping`".to_owned() })
    }

    /// Whether the ledger takes each run once: an index that only the action itself can see.
    async fn once(&self, ours: &Ours) -> Result<Finding, OdooError> {
        let finding = |state, detail: String| Finding { what: "each run once in the ledger".to_owned(), state, detail };
        if !ours.contains_key("action_apply") {
            return Ok(finding(State::Missing, String::new()));
        }
        let account = self.account(&self.config.administrator).await?;
        match self.apply(&account, json!({ "triggerbox_status": true })).await {
            Ok(answer) if answer.get("once") == Some(&json!(true)) => Ok(finding(State::Ok, String::new())),
            Ok(_) => Ok(finding(State::Missing, String::new())),
            Err(OdooError::NotSetUp(why)) => Ok(finding(State::Missing, why)),
            Err(OdooError::Refused(refusal)) => Ok(finding(State::Changed, refusal.error.message)),
            Err(error) => Err(error),
        }
    }

    /// Only code can make an index: an action that is gone again afterwards.
    async fn make_once(&self, admin: &Caller, ours: &Ours) -> Result<(), OdooError> {
        let id = |name: &str| ours.get(name).map(|(_, id)| *id).unwrap_or_default();
        let values = json!({
            "name": "Triggerbox: set-up", "state": "code", "model_id": id("model_run"), "code": ONCE,
            "group_ids": [[6, 0, [id("group_scripts")]]],
        });
        let body = json!({ "vals_list": [values] });
        let made = self.client.call_as(admin, "ir.actions.server", "create", &body, Again::Never, self.time()).await?;
        let ran = self.client.call(admin, "ir.actions.server", "run", &json!({ "ids": made })).await;
        self.client.call(admin, "ir.actions.server", "unlink", &json!({ "ids": made })).await?;
        ran.map(drop)
    }

    fn time(&self) -> std::time::Duration {
        std::time::Duration::from_secs(self.config.apply_timeout)
    }
}

impl Part {
    /// Asks how records that this part is among are.
    fn question(&self, ids: &[Id]) -> Json {
        let fields: Vec<&str> = self.fields.iter().map(|(field, _)| *field).collect();
        json!({ "ids": ids, "fields": fields, "load": null, "context": { "active_test": false } })
    }

    /// How it is found.
    fn found(&self, row: Option<&Json>, ours: &Ours) -> Finding {
        let finding = |state, detail: String| Finding { what: self.what.clone(), state, detail };
        let Some(row) = row else { return finding(State::Missing, String::new()) };
        for (field, wanted) in &self.fields {
            let wanted = wanted.json(ours);
            let found = row.get(*field).unwrap_or(&Json::Null);
            if !alike(&wanted, found) {
                let detail = match (*field, &wanted, found) {
                    ("code", Json::String(wanted), Json::String(found)) => {
                        format!("its code has the fingerprint {}, not {}", fingerprint(found), fingerprint(wanted))
                    }
                    _ => format!("`{field}` is {found}, not {wanted}"),
                };
                return finding(State::Changed, detail);
            }
        }
        let code = self.fields.iter().find(|(field, _)| *field == "code");
        finding(State::Ok, code.and_then(|(_, code)| Some(fingerprint(code.json(ours).as_str()?))).unwrap_or_default())
    }
}

/// Texts are kept without the space around them; lists in any order.
fn alike(wanted: &Json, found: &Json) -> bool {
    match (wanted, found) {
        (Json::String(wanted), Json::String(found)) => wanted.trim() == found.trim(),
        (Json::Array(wanted), Json::Array(found)) => {
            wanted.len() == found.len() && wanted.iter().all(|item| found.contains(item))
        }
        (wanted, found) => wanted == found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_holds_the_granted_methods_and_nothing_else_changes() {
        let code = code(&["crm.lead.action_set_won".to_owned(), "sale.order.action_confirm".to_owned()]);
        assert!(code.contains("'crm.lead.action_set_won': lambda r, a, k: r.action_set_won(*a, **k),"));
        assert!(code.contains("'sale.order.action_confirm': lambda r, a, k: r.action_confirm(*a, **k),"));
        assert_eq!(super::code(&[]), CODE.replace("#METHODS#", ""));
        assert_ne!(fingerprint(&code), fingerprint(CODE));
    }
}
