//! Automation rules of Odoo's, one for each rule here that waits for something that happens there: kept in step.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use triggerbox_model::{domain::Domain, error::Error, value::Id};

use super::{
    CHANGED, Finding, MODULE, OUTBOX, Ours, State,
    parts::{Cell, Part},
};
use crate::{backend::Backend, client::Caller, config::is_name, error::OdooError, value};

/// External ids of automation rules begin so; the rule's name follows.
const RULE: &str = "rule_";

/// External ids of their actions.
const ACTION: &str = "rule_action_";

/// The part of a rule's code that is about records that are made, where nothing but that is wanted.
const CREATED: &str = "    noted['#RULE#', record._name, record.id, 'created'] = \
                       [env.uid, env.context.get('triggerbox_chain'), {}]\n";

/// What a rule wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// New records.
    Created,
    /// Changed fields of records that were there before the transaction.
    Updated,
    /// Either.
    Both,
    /// Records that are deleted.
    Deleted,
    /// Messages from outside on records.
    Received,
    /// Messages of colleagues on records, but for notes.
    Sent,
}

/// A rule, as far as Odoo must know it.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// Its name.
    pub rule: String,
    /// What people call it.
    pub title: String,
    /// The model whose records it is about.
    pub model: String,
    /// What it wants to hear of.
    pub want: Want,
    /// Fields whose change it waits for. Never empty where changes are waited for: Odoo then fires at everything.
    pub fields: Vec<String>,
    /// Whether, of either, values of new records are wanted of these fields.
    pub told: bool,
    /// Records that matched this before the change.
    pub before: Option<Domain>,
    /// Records that match this after it.
    pub after: Option<Domain>,
    /// Why Odoo cannot be told of it: what there is of it there is left as it is, until the rule is mended or switched off.
    pub wrong: Option<Error>,
}

/// Odoo's numbers for models and fields.
#[derive(Default)]
struct Numbers {
    models: BTreeMap<String, Id>,
    fields: BTreeMap<(String, String), Id>,
}

impl Watch {
    /// The code of its action. What stands in for its marks are plain names.
    fn code(&self) -> Result<String, Error> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let names = std::iter::once(&self.model).chain(&self.fields);
        if !self.rule.chars().all(plain) || !names.into_iter().all(|name| is_name(name)) {
            return Err(Error::invalid("bad-name", format!("rule `{}` names something that is no name", self.rule)));
        }
        let told = |want: &str| {
            format!(
                "    values = env.ref('{MODULE}.action_told')._run_action_code_multi(\
                 {{'env': env, 'record': record, 'want': '{want}'}})\n    if values:\n        \
                 key = ('#RULE#', record._name, record.id, '{want}', len(noted))\n        \
                 noted[key] = [env.uid, env.context.get('triggerbox_chain'), values]\n"
            )
        };
        let fields: String = self.fields.iter().map(|field| format!("'{field}', ")).collect();
        let new = if self.told { format!("dict.fromkeys(({fields}))") } else { "{}".to_owned() };
        let changed = |when: &str, kind: &str, told: &str| {
            CHANGED.replace("#IF#", when).replace("#KIND#", kind).replace("#TOLD#", told)
        };
        let old = "old.get(record.id) or {}";
        let what = match self.want {
            // In an import it is compiled for each record.
            Want::Created => CREATED.to_owned(),
            Want::Updated => changed("not new", "'updated'", old),
            Want::Both => changed("True", "'created' if new else 'updated'", &format!("{new} if new else {old}")),
            Want::Deleted => told("deleted"),
            Want::Received | Want::Sent => told("message"),
        };
        Ok(OUTBOX.replace("    #WHAT#\n", &what).replace("#RULE#", &self.rule))
    }

    fn parts(&self, numbers: &Numbers) -> Result<[Part; 2], Error> {
        if let Some(error) = &self.wrong {
            return Err(error.clone());
        }
        let number = |found: Option<&Id>, what: String| {
            found.copied().ok_or_else(|| Error::not_found("unknown-name", format!("odoo has no {what}")))
        };
        let model = number(numbers.models.get(&self.model), format!("model `{}`", self.model))?;
        let fields = self.fields.iter().map(|field| {
            let key = (self.model.clone(), field.clone());
            number(numbers.fields.get(&key), format!("field `{field}` of `{}`", self.model))
        });
        let fields: Vec<Id> = fields.collect::<Result<_, _>>()?;
        // Parsed from what somebody typed, and written anew: literals, and nothing else.
        let domain = |domain: &Option<Domain>| match domain {
            Some(domain) => Cell::Plain(json!(domain.to_string())),
            None => Cell::Nothing,
        };
        let (rule, action) = (format!("{RULE}{}", self.rule), format!("{ACTION}{}", self.rule));
        let trigger = match self.want {
            Want::Created => "on_create",
            Want::Deleted => "on_unlink",
            Want::Updated | Want::Both => "on_create_or_write",
            Want::Received => "on_message_received",
            Want::Sent => "on_message_sent",
        };
        // Of these, Odoo judges the record before the action only.
        let (before, after) = match self.want {
            Want::Received | Want::Sent => (&self.after, &None),
            _ => (&self.before, &self.after),
        };
        let text = |text: &str| Cell::Plain(json!(text));
        let watched = vec![
            ("name", Cell::Plain(json!(format!("Triggerbox: {}", self.title)))),
            ("model_id", Cell::Id(model)),
            ("active", Cell::Plain(json!(true))),
            ("trigger", text(trigger)),
            ("filter_pre_domain", domain(before)),
            ("filter_domain", domain(after)),
            ("trigger_field_ids", Cell::Ids(fields)),
        ];
        Ok([
            Part {
                name: rule.clone(),
                model: "base.automation",
                what: format!("automation rule of `{}`", self.rule),
                fields: watched,
                fixed: &[],
            },
            Part {
                name: action,
                model: "ir.actions.server",
                what: format!("action of the automation rule of `{}`", self.rule),
                fields: vec![
                    ("name", Cell::Plain(json!(format!("Triggerbox: {}", self.title)))),
                    ("state", text("code")),
                    ("usage", text("base_automation")),
                    ("model_id", Cell::Id(model)),
                    ("code", Cell::Plain(json!(self.code()?))),
                    ("base_automation_id", Cell::Ours(rule)),
                ],
                fixed: &[],
            },
        ])
    }
}

impl Backend {
    /// How Odoo's automation rules are found, against what the rules here want: rule by rule, those too that nobody wants
    /// any more. Changes nothing.
    ///
    /// # Errors
    /// Odoo cannot be used, or the administrator is none.
    pub async fn rules_status(&self, wanted: &[Watch]) -> Result<Vec<Finding>, OdooError> {
        let admin = self.administrator().await?;
        let ours = self.ours(admin).await?;
        Ok(self.differences(admin, &ours, wanted).await?.into_iter().map(|(finding, _)| finding).collect())
    }

    /// Automation rules whose code is of another version than this program. More cannot be told of them without the rules here.
    ///
    /// # Errors
    /// As [`Backend::rules_status`]
    pub async fn rules_of_other_versions(&self) -> Result<Vec<Finding>, OdooError> {
        let admin = self.administrator().await?;
        let ours = self.ours(admin).await?;
        let actions = ours.iter().filter_map(|(name, (_, id))| Some((*id, name.strip_prefix(ACTION)?)));
        let actions: BTreeMap<Id, &str> = actions.collect();
        if actions.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<Id> = actions.keys().copied().collect();
        let body = json!({ "domain": [["id", "in", ids]], "fields": ["code"] });
        let rows = self.client.call(admin, "ir.actions.server", "search_read", &body).await?;
        let other = rows.as_array().into_iter().flatten().filter_map(|row| {
            let rule = actions.get(&row.get("id").and_then(value::id)?)?;
            let code = row.get("code").and_then(Json::as_str).unwrap_or_default();
            (!code.trim().starts_with(&beginning(rule))).then(|| Finding {
                what: format!("action of the automation rule of `{rule}`"),
                state: State::Changed,
                detail: "its code is of another version; `triggerbox rules apply` mends it".to_owned(),
            })
        });
        Ok(other.collect())
    }

    /// Makes, mends and removes Odoo's automation rules, until they are as the rules here want. What was done, and which rules
    /// cannot be had, as of a model or field that Odoo does not have.
    ///
    /// # Errors
    /// As [`Backend::rules_status`]
    pub async fn rules_apply(&self, wanted: &[Watch]) -> Result<Vec<Finding>, OdooError> {
        let admin = self.administrator().await?;
        let ours = self.ours(admin).await?;
        if wanted.iter().any(|watch| watch.wrong.is_none()) && !ours.contains_key("model_event") {
            return Err(OdooError::NotSetUp("odoo does not have the outbox for events".to_owned()));
        }
        let mut done = Vec::new();
        for (finding, mend) in self.differences(admin, &ours, wanted).await? {
            match mend {
                Mend::Nothing if finding.state == State::Ok => continue,
                Mend::Nothing => {}
                Mend::Make(part) => {
                    // An action that is new stands on a rule that is new.
                    let ours = self.ours(admin).await?;
                    self.make(admin, &part, &ours).await?;
                }
                Mend::Remove(model, id) => {
                    if self.is_there(admin, &model, id).await? {
                        self.client.call(admin, &model, "unlink", &json!({ "ids": [id] })).await?;
                    }
                }
            }
            done.push(finding);
        }
        self.forget_gone(admin, wanted).await?;
        Ok(done)
    }

    /// External ids of rules that are gone.
    async fn forget_gone(&self, admin: &Caller, wanted: &[Watch]) -> Result<(), OdooError> {
        let names: BTreeSet<String> = wanted.iter().flat_map(names).collect();
        let body = json!({ "domain": [["module", "=", MODULE], ["name", "=like", "rule%"]], "fields": ["name"] });
        let rows = self.client.call(admin, "ir.model.data", "search_read", &body).await?;
        let old = rows.as_array().into_iter().flatten().filter(|row| {
            let name = row.get("name").and_then(Json::as_str).unwrap_or_default();
            (name.starts_with(RULE) || name.starts_with(ACTION)) && !names.contains(name)
        });
        let old: Vec<Id> = old.filter_map(|row| row.get("id").and_then(value::id)).collect();
        if !old.is_empty() {
            self.client.call(admin, "ir.model.data", "unlink", &json!({ "ids": old })).await?;
        }
        Ok(())
    }

    /// What is found of each part, with what mends it.
    async fn differences(
        &self,
        admin: &Caller,
        ours: &Ours,
        wanted: &[Watch],
    ) -> Result<Vec<(Finding, Mend)>, OdooError> {
        let numbers = self.numbers(admin, wanted).await?;
        let (mut parts, mut impossible) = (Vec::new(), Vec::new());
        for watch in wanted {
            match watch.parts(&numbers) {
                Ok(both) => parts.extend(both),
                Err(error) => impossible.push((watch, error)),
            }
        }
        let mut rows = BTreeMap::new();
        for model in ["base.automation", "ir.actions.server"] {
            let mine: Vec<&Part> = parts.iter().filter(|part| part.model == model).collect();
            let ids: Vec<Id> = mine.iter().filter_map(|part| ours.get(part.name.as_str())).map(|(_, id)| *id).collect();
            let Some(first) = mine.first().filter(|_| !ids.is_empty()) else { continue };
            let answer = self.client.call(admin, model, "read", &first.question(&ids)).await?;
            for row in answer.as_array().into_iter().flatten() {
                if let Some(id) = row.get("id").and_then(value::id) {
                    rows.insert((model, id), row.clone());
                }
            }
        }
        let mut found = Vec::new();
        let names: BTreeSet<String> = wanted.iter().flat_map(names).collect();
        // Actions go with their rules, but a rule that lost its action must not stand there without.
        for (name, (model, id)) in ours.iter().rev() {
            if (name.starts_with(RULE) || name.starts_with(ACTION)) && !names.contains(name) {
                let what = format!("{model} `{name}`");
                let detail = "no active rule wants it any more".to_owned();
                found.push((Finding { what, state: State::Changed, detail }, Mend::Remove(model.clone(), *id)));
            }
        }
        for (watch, error) in impossible {
            let what = format!("rule `{}`", watch.rule);
            found.push((Finding { what, state: State::Impossible, detail: error.message }, Mend::Nothing));
        }
        for part in parts {
            let row = ours.get(part.name.as_str()).and_then(|(_, id)| rows.get(&(part.model, *id)));
            let finding = part.found(row, ours);
            let mend = if finding.state == State::Ok { Mend::Nothing } else { Mend::Make(part) };
            found.push((finding, mend));
        }
        Ok(found)
    }

    async fn numbers(&self, admin: &Caller, wanted: &[Watch]) -> Result<Numbers, OdooError> {
        let mut numbers = Numbers::default();
        let wanted: Vec<&Watch> = wanted.iter().filter(|watch| watch.wrong.is_none()).collect();
        if wanted.is_empty() {
            return Ok(numbers);
        }
        let models: BTreeSet<&str> = wanted.iter().map(|watch| watch.model.as_str()).collect();
        let body = json!({ "domain": [["model", "in", models]], "fields": ["model"] });
        let rows = self.client.call(admin, "ir.model", "search_read", &body).await?;
        for row in rows.as_array().into_iter().flatten() {
            if let (Some(model), Some(id)) =
                (row.get("model").and_then(Json::as_str), row.get("id").and_then(value::id))
            {
                numbers.models.insert(model.to_owned(), id);
            }
        }
        let fields: BTreeSet<&str> = wanted.iter().flat_map(|watch| &watch.fields).map(String::as_str).collect();
        if fields.is_empty() {
            return Ok(numbers);
        }
        let domain = json!([["model", "in", models], ["name", "in", fields]]);
        let body = json!({ "domain": domain, "fields": ["model", "name"] });
        let rows = self.client.call(admin, "ir.model.fields", "search_read", &body).await?;
        for row in rows.as_array().into_iter().flatten() {
            let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
            if let (Some(model), Some(name), Some(id)) =
                (text("model"), text("name"), row.get("id").and_then(value::id))
            {
                numbers.fields.insert((model, name), id);
            }
        }
        Ok(numbers)
    }
}

/// What the code of all rules' actions has in common.
fn beginning(rule: &str) -> String {
    let common = OUTBOX.split_once("#WHAT#").map_or(OUTBOX, |(common, _)| common);
    common.trim().replace("#RULE#", rule)
}

/// What makes a part as it should be.
enum Mend {
    Nothing,
    Make(Part),
    Remove(String, Id),
}

fn names(watch: &Watch) -> [String; 2] {
    [format!("{RULE}{}", watch.rule), format!("{ACTION}{}", watch.rule)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(rule: &str, model: &str, fields: &[&str], domain: Option<&str>) -> Watch {
        Watch {
            rule: rule.to_owned(),
            title: "'); env.cr.commit() #".to_owned(),
            model: model.to_owned(),
            want: Want::Updated,
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            told: true,
            before: None,
            after: domain.map(|text| Domain::parse(text).unwrap()),
            wrong: None,
        }
    }

    // Everything that a person typed and that ends in code or in a domain that Odoo evaluates.
    #[test]
    fn nothing_that_was_typed_enters_code_but_names_and_literals() {
        let numbers = Numbers {
            models: BTreeMap::from([("crm.lead".to_owned(), 7)]),
            fields: BTreeMap::from([(("crm.lead".to_owned(), "name".to_owned()), 9)]),
        };
        for (rule, model, field) in [
            ("x', 'both', record, env) or env.cr.commit() #", "crm.lead", "name"),
            ("x", "crm.lead' + user", "name"),
            ("x", "crm.lead", "name', env.user, '"),
            ("X", "crm.lead", "name"),
            ("x\ny", "crm.lead", "name"),
        ] {
            assert!(watch(rule, model, &[field], None).parts(&numbers).is_err(), "{rule} {model} {field}");
        }
        let hostile = "[('name', '=', \"x' + __import__('os').system('id') + '\")]";
        let [rule, action] = watch("x", "crm.lead", &["name"], Some(hostile)).parts(&numbers).unwrap();
        let none = Ours::new();
        let cell =
            |part: &Part, name: &str| part.fields.iter().find(|(field, _)| *field == name).unwrap().1.json(&none);
        let domain = cell(&rule, "filter_domain");
        let domain = domain.as_str().unwrap();
        assert_eq!(Domain::parse(domain).unwrap(), Domain::parse(hostile).unwrap(), "one literal still: {domain}");
        let code = cell(&action, "code");
        let code = code.as_str().unwrap();
        assert!(code.starts_with(&beginning("x")));
        let named = CHANGED.replace("#IF#", "not new").replace("#KIND#", "'updated'");
        let named = named.replace("#TOLD#", "old.get(record.id) or {}");
        assert_eq!(code, OUTBOX.replace("    #WHAT#\n", &named).replace("#RULE#", "x"));
        assert!(!code.contains("name',"), "{code}");
        let both = Watch { want: Want::Both, ..watch("x", "crm.lead", &["name"], None) };
        let told = both.code().unwrap();
        assert!(
            told.contains("in (dict.fromkeys(('name', )) if new else old.get(record.id) or {}).items():"),
            "{told}"
        );
        for code in [code, told.as_str()] {
            assert!(!["#RULE#", "#TOLD#", "#IF#", "#KIND#", "#WHAT#"].iter().any(|mark| code.contains(mark)), "{code}");
        }
        for code in ["[('name', '=', env.cr.commit())]", "[('name', '=', user.name)]", "env.cr.commit() or []"] {
            assert!(Domain::parse(code).is_err(), "{code}");
        }
    }
}
