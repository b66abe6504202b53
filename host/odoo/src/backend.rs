//! An Odoo server that can be used: its users with their keys, its models as each of them sees them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value as Json, json};
use triggerbox_model::{
    error::Error,
    event::User,
    schema::Model,
    value::{Id, Link},
};

use crate::{
    client::{Again, Caller, Client},
    config::{Config, ConfigError},
    error::OdooError,
    fields::{ATTRIBUTES, Described, described, empty},
    setup::MODULE,
    value,
};

/// Models, as users see them, that are kept at once: each user's of a server with all of Odoo's modules.
const MOST_MODELS: usize = 5_000;

/// How long models, users and the set-up are taken to be as they were.
const FRESH: Duration = Duration::from_secs(600);
/// So many people are remembered.
const MOST_PEOPLE: usize = 10_000;
/// So many days before its end a key is announced.
pub const NEAR: i64 = 14;

/// One Odoo server, as configured.
#[derive(Debug)]
pub struct Backend {
    pub(crate) config: Config,
    pub(crate) client: Client,
    callers: HashMap<String, Caller>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    users: HashMap<String, (Arc<Account>, Instant)>,
    models: HashMap<(String, String), (Arc<Described>, Instant)>,
    action: Option<(Id, Instant)>,
    people: HashMap<Id, (Arc<Seen>, Instant)>,
    /// How often something was forgotten.
    forgotten: u64,
}

/// A user of Odoo's of whom nothing but the number may be known.
#[derive(Debug)]
pub struct Seen {
    /// As scripts may know them.
    pub user: User,
    /// Their current company.
    pub company: Option<Link>,
}

/// A user of Odoo, as Odoo knows them.
#[derive(Debug)]
pub struct Account {
    /// As scripts may know them.
    pub user: User,
    /// Their current company.
    pub company: Link,
    pub(crate) caller: Caller,
    /// What requests carry along: language and zone, as Odoo's own client does.
    pub(crate) context: Json,
}

impl Backend {
    /// Prepares a server; nothing is sent.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: Config, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        config.check()?;
        let callers = config.users.iter().map(|user| {
            let key = user.read_key(env)?;
            Ok((user.login.clone(), Caller::new(user.login.clone(), key, user.expires).configured(user)))
        });
        Ok(Self {
            client: Client::new(&config)?,
            callers: callers.collect::<Result<_, ConfigError>>()?,
            known: Mutex::default(),
            config,
        })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The way to the server.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The caller of a configured user.
    ///
    /// # Errors
    /// `unknown-user`: no key is configured.
    pub fn caller(&self, login: &str) -> Result<&Caller, Error> {
        self.callers.get(login).ok_or_else(|| {
            Error::not_found(
                "unknown-user",
                format!("no key of `{login}` is configured: a script runs as a user of odoo with that user's own key"),
            )
        })
    }

    /// A user, asked of Odoo once in a while: that the server is Odoo 19, that the key is good, and that it is theirs.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn account(&self, login: &str) -> Result<Arc<Account>, OdooError> {
        if let Some((known, since)) = self.known().users.get(login)
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let caller = self.caller(login).map_err(refusal)?;
        let version = self.client.version().await?;
        if !version.starts_with("19.") {
            return Err(OdooError::OtherVersion { version });
        }
        let context = self.client.call(caller, "res.users", "context_get", &json!({})).await?;
        let odd = |why: &str| OdooError::NotOdoo { server: self.config.url.to_string(), why: why.to_owned() };
        let uid = context.get("uid").and_then(value::id).ok_or_else(|| odd("it does not say who the user is"))?;
        let body = json!({ "ids": [uid], "fields": ["name", "login", "lang", "tz", "company_id"] });
        let rows = self.client.call(caller, "res.users", "read", &body).await?;
        let row = rows.get(0).ok_or_else(|| odd("it does not show the user"))?;
        let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
        let owner = text("login").unwrap_or_default();
        if owner != login {
            return Err(OdooError::WrongLogin { login: login.to_owned(), owner });
        }
        let user = User {
            id: uid,
            name: text("name").unwrap_or_default(),
            login: owner,
            lang: text("lang").unwrap_or_else(|| "en_US".to_owned()),
            tz: text("tz").unwrap_or_else(|| "UTC".to_owned()),
        };
        let company = row.get("company_id").and_then(value::link).ok_or_else(|| odd("the user has no company"))?;
        let context = json!({ "lang": user.lang, "tz": user.tz });
        let account = Arc::new(Account { user, company, caller: caller.clone(), context });
        self.known().users.insert(login.to_owned(), (Arc::clone(&account), Instant::now()));
        Ok(account)
    }

    /// Whoever did something in Odoo, as the administrator sees them; who is gone, or not for the administrator to see, is a
    /// number.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn person(&self, id: Id) -> Result<Arc<Seen>, OdooError> {
        if let Some((known, since)) = self.known().people.get(&id)
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let body = json!({ "ids": [id], "fields": ["name", "login", "lang", "tz", "company_id"] });
        let rows = match self.client.call(caller, "res.users", "read", &body).await {
            // Record rules and companies bind the administrator, too.
            Err(OdooError::Refused(refusal))
                if matches!(refusal.error.code.as_str(), "no-access" | "missing-record") =>
            {
                Json::Null
            }
            answer => answer?,
        };
        let text = |name: &str| rows.pointer(&format!("/0/{name}")).and_then(Json::as_str).map(str::to_owned);
        let user = User {
            id,
            name: text("name").unwrap_or_else(|| format!("user {id}")),
            login: text("login").unwrap_or_default(),
            lang: text("lang").unwrap_or_else(|| "en_US".to_owned()),
            tz: text("tz").unwrap_or_else(|| "UTC".to_owned()),
        };
        let seen = Arc::new(Seen { user, company: rows.pointer("/0/company_id").and_then(value::link) });
        let mut known = self.known();
        // The numbers come from outside.
        if known.people.len() >= MOST_PEOPLE {
            known.people.clear();
        }
        known.people.insert(id, (Arc::clone(&seen), Instant::now()));
        Ok(seen)
    }

    /// Models as the administrator sees them, with those that they lead to by name only.
    ///
    /// # Errors
    /// [`OdooError`]; `unknown-model`
    pub async fn models(&self, names: &BTreeSet<String>) -> Result<Vec<Model>, OdooError> {
        let (models, missing) = self.models_there(names).await?;
        let unknown = |name: &str| Error::not_found("unknown-model", format!("odoo has no model `{name}`"));
        missing.first().map_or(Ok(models), |name| Err(refusal(unknown(name))))
    }

    /// The same of those that there are, and which of them there are not.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn models_there(&self, names: &BTreeSet<String>) -> Result<(Vec<Model>, BTreeSet<String>), OdooError> {
        let account = self.account(&self.config.administrator).await?;
        let (mut models, mut missing) = (Vec::new(), BTreeSet::new());
        for name in names {
            match self.model(&account, name).await {
                Ok(model) => models.push(model.model.clone()),
                Err(OdooError::Refused(refusal)) if refusal.error.code == "unknown-model" => {
                    missing.insert(name.clone());
                }
                Err(error) => return Err(error),
            }
        }
        let leads: BTreeSet<String> = models
            .iter()
            .flat_map(|model| model.fields.values().filter_map(|field| field.relation.clone()))
            .filter(|name| !names.contains(name))
            .collect();
        models.extend(leads.iter().map(|name| empty(name)));
        Ok((models, missing))
    }

    /// A model as a user sees it.
    ///
    /// # Errors
    /// [`OdooError`]
    pub async fn model(&self, account: &Account, name: &str) -> Result<Arc<Described>, OdooError> {
        let key = (account.user.login.clone(), name.to_owned());
        if let Some((known, since)) = self.known().models.get(&key)
            && since.elapsed() < FRESH
        {
            return Ok(Arc::clone(known));
        }
        let body = json!({ "attributes": ATTRIBUTES, "context": account.context });
        let answer = self.client.call(&account.caller, name, "fields_get", &body).await?;
        let model = Arc::new(described(name, &answer).map_err(refusal)?);
        let mut known = self.known();
        if known.models.len() >= MOST_MODELS {
            known.models.retain(|_, (_, since)| since.elapsed() < FRESH);
        }
        // A server that has so many at once makes them up: nothing is kept of them.
        if known.models.len() < MOST_MODELS {
            known.models.insert(key, (Arc::clone(&model), Instant::now()));
        }
        drop(known);
        Ok(model)
    }

    /// Forgets what was learnt of the models and the set-up: something in Odoo is not as it was.
    pub fn forget(&self) {
        let mut known = self.known();
        known.models.clear();
        known.action = None;
        known.forgotten = known.forgotten.wrapping_add(1);
    }

    /// Another number after each time that something was forgotten: whoever keeps what Odoo said forgets it, too.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.known().forgotten
    }

    /// The action that applies changes.
    ///
    /// # Errors
    /// [`OdooError::NotSetUp`]
    pub(crate) async fn action(&self) -> Result<Id, OdooError> {
        if let Some((action, since)) = self.known().action
            && since.elapsed() < FRESH
        {
            return Ok(action);
        }
        let caller = self.caller(&self.config.administrator).map_err(refusal)?;
        let domain = json!([["module", "=", MODULE], ["name", "=", "action_apply"]]);
        let body = json!({ "domain": domain, "fields": ["res_id"], "limit": 1 });
        let rows = self.client.call(caller, "ir.model.data", "search_read", &body).await?;
        let action = rows.get(0).and_then(|row| row.get("res_id")).and_then(value::id);
        let action = action
            .ok_or_else(|| OdooError::NotSetUp("odoo does not have the action that applies changes".to_owned()))?;
        self.known().action = Some((action, Instant::now()));
        Ok(action)
    }

    /// Runs the apply action as a user. It may be repeated: what was done is not done again.
    pub(crate) async fn apply(&self, account: &Account, context: Json) -> Result<Json, OdooError> {
        self.apply_again(account, context, Again::Safe).await
    }

    /// The same where the ledger keeps nothing, so that a repetition would do it again.
    pub(crate) async fn apply_once(&self, account: &Account, context: Json) -> Result<Json, OdooError> {
        self.apply_again(account, context, Again::Never).await
    }

    async fn apply_again(&self, account: &Account, context: Json, again: Again) -> Result<Json, OdooError> {
        let action = self.action().await?;
        let answer = match self.run_as(account, action, &context, again).await {
            // It was taken away and made again since it was looked up, and nothing was done.
            Err(OdooError::Refused(refusal)) if is_of_action(&refusal.error, action) => {
                self.forget();
                let action = self.action().await?;
                self.run_as(account, action, &context, again).await?
            }
            answer => answer?,
        };
        if answer.get("triggerbox").and_then(Json::as_u64) != Some(1) {
            self.forget();
            return Err(OdooError::NotSetUp(
                "the action that applies changes is not ours, or is of another version".to_owned(),
            ));
        }
        Ok(answer)
    }

    async fn run_as(&self, account: &Account, action: Id, context: &Json, again: Again) -> Result<Json, OdooError> {
        let body = json!({ "ids": [action], "context": context });
        let timeout = Duration::from_secs(self.config.apply_timeout);
        self.client.call_as(&account.caller, "ir.actions.server", "run", &body, again, timeout).await
    }

    /// Keys that end soon, or have ended, with their days.
    #[must_use]
    pub fn ending_keys(&self, now: Timestamp) -> Vec<(String, Date)> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let users = self.config.users.iter().filter_map(|user| Some((user.login.clone(), user.expires?)));
        users.filter(|(_, day)| today.until(*day).is_ok_and(|left| left.get_days() <= NEAR as i32)).collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the action itself that is not there any more, and not a record that it was to change.
fn is_of_action(error: &Error, action: Id) -> bool {
    error.code == "missing-record" && error.message.contains(&format!("ir.actions.server({action},)"))
}

/// An error of ours as one of Odoo's.
pub(crate) fn refusal(error: Error) -> OdooError {
    OdooError::Refused(crate::error::Refusal { error, traceback: String::new() })
}
