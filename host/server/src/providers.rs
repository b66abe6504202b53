//! Providers of language models that administrators set while the server runs, beside those of the providers file: what the
//! file says counts, and is changed there.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection as Database;
use triggerbox_automation::{
    EngineError,
    setting::{self, Setting},
};
use triggerbox_llm::{
    BudgetSetting, Config, Models, Services, SystemClock,
    config::{Budgets, ConfigError},
    provider::Connection,
    secret::Secret,
    setting::{ProviderSetting, Sound},
};
use triggerbox_model::value::Id;

use crate::{
    app::App,
    auth::Caller,
    people::audit,
    problem::{FoundWrong, Problem},
    shown, told,
};

/// Providers that are set at most.
const MOST: usize = 20;

/// What one is kept as: this and its name.
const KEPT: &str = "provider/";

/// What budgets are kept as.
const BUDGETS: &str = "budgets";

/// What the model is kept as that those ask who name none.
const DEFAULT_MODEL: &str = "default-model";

/// The providers that were set, as they are asked now.
#[derive(Default)]
pub(crate) struct Providers(Mutex<State>);

#[derive(Default)]
struct State {
    live: BTreeMap<String, Live>,
    /// Those that are not asked, and why.
    aside: BTreeMap<String, String>,
}

/// One that is asked: the same connection for as long as all of this stays the same.
struct Live {
    setting: ProviderSetting,
    sound: Sound,
    key: Option<Vec<u8>>,
    connection: Arc<Connection>,
}

/// One that was set.
pub(crate) struct Kept {
    pub(crate) name: String,
    pub(crate) setting: Setting<ProviderSetting>,
    /// Why it is not asked.
    pub(crate) aside: Option<String>,
}

impl Providers {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has runs that begin from now on ask what is kept now. What cannot be asked is set aside: the others are asked.
    pub(crate) fn apply(app: &App) -> Result<(), EngineError> {
        // Whoever comes last has seen all that was kept before.
        let mut state = app.providers().state();
        let (kept, default, budgets) = {
            let conn = app.engine().database().snapshot()?;
            (setting::under::<ProviderSetting>(&conn, KEPT)?, default_model(&conn)?, kept_budgets(&conn)?)
        };
        let (mut live, mut aside) = (BTreeMap::new(), BTreeMap::new());
        for (name, Setting { value: setting, .. }) in kept {
            let before = state.live.remove(&name);
            match prepare(app, &name, &setting, before) {
                Ok(ready) => drop(live.insert(name, ready)),
                Err(wrong) => drop(aside.insert(name, in_words(&wrong))),
            }
        }
        let more: Vec<_> = live.values().map(|one| Arc::clone(&one.connection)).collect();
        *state = State { live, aside };
        let (default, budgets) = (default.map(|default| default.value), budgets.map(|budgets| budgets.value));
        app.engine().set_services(services(app, &more, default.as_deref(), budgets.as_ref()));
        Ok(())
    }
}

/// All that runs may ask, and what they may use of it together: what the file says, and what was set besides.
fn services(
    app: &App,
    more: &[Arc<Connection>],
    default: Option<&str>,
    set: Option<&BudgetSetting>,
) -> Option<Arc<Services>> {
    let (of_file, secrets) = (app.engine().config().outside.clone(), app.vault().for_headers());
    if more.is_empty() && default.is_none() && secrets.is_empty() && set.is_none() {
        return of_file;
    }
    let budgets = budgets(app, set.unwrap_or(&BudgetSetting::default()));
    match of_file {
        Some(of_file) => {
            // Where a recording answers, or is made, or models are off, nobody else is asked.
            let models = of_file.models.with(more, default).unwrap_or_else(|| of_file.models.clone());
            Some(Arc::new(Services { budgets, ..of_file.with(models, &secrets) }))
        }
        None if more.is_empty() => None,
        None => Models::none()
            .with(more, default)
            .map(|models| Arc::new(Services { models, web: None, budgets, clock: Arc::new(SystemClock) })),
    }
}

/// The budgets that are in force with what was set of them: what the file says nobody changes elsewhere.
pub(crate) fn budgets(app: &App, set: &BudgetSetting) -> Budgets {
    let unset = app.engine().config().outside.as_ref().map(|services| services.budgets.clone()).unwrap_or_default();
    of_file(app).said.over(&set.over(&unset))
}

/// What the providers file says; nothing, where there is none.
pub(crate) fn of_file(app: &App) -> Config {
    app.engine().config().outside.as_ref().map(|services| services.models.config().clone()).unwrap_or_default()
}

/// What the providers file is called where people are told that it says something.
pub(crate) fn file_name(app: &App) -> String {
    let file = app.config().providers.as_ref();
    file.map_or_else(|| "the providers file".to_owned(), |file| file.display().to_string())
}

/// Makes a provider ready to be asked; as it was before, if nothing of it is different.
fn prepare(app: &App, name: &str, setting: &ProviderSetting, before: Option<Live>) -> Result<Live, Vec<FoundWrong>> {
    let file = of_file(app);
    if file.providers.iter().any(|one| one.name == name) {
        let text = format!("{} has a provider of this name, which is changed there", file_name(app));
        return Err(vec![FoundWrong::error("set-in-file", "name", text)]);
    }
    let sound = setting.check(name, &file).map_err(|all| {
        let wrong = all.iter().map(|one| FoundWrong::error("bad-provider", &one.place, &one.message));
        wrong.collect::<Vec<_>>()
    })?;
    let bad_key = |why: String| vec![FoundWrong::error("bad-key-secret", "key", why)];
    let key = setting.key.as_ref().map(|key| app.vault().key(key, &sound.host)).transpose().map_err(bad_key)?;
    if let Some(before) =
        before.filter(|before| (&before.setting, &before.sound, &before.key) == (setting, &sound, &key))
    {
        return Ok(before);
    }
    let text = key.clone().map(String::from_utf8).transpose();
    let secret = text.map_err(|_| bad_key("the secret is no text".to_owned()))?.map(Secret::new);
    let clock = app.engine().config().outside.as_ref().map(|services| Arc::clone(&services.clock));
    let connection = Connection::set(&sound, secret, clock.unwrap_or_else(|| Arc::new(SystemClock)));
    let connection = connection.map_err(|error| match error {
        ConfigError::Invalid { problem, .. } => bad_key(problem),
        other => bad_key(other.to_string()),
    });
    let connection = Arc::new(connection?);
    Ok(Live { setting: setting.clone(), sound, key, connection })
}

fn in_words(wrong: &[FoundWrong]) -> String {
    wrong.iter().map(|one| format!("{}: {}", one.place, one.message)).collect::<Vec<_>>().join("; ")
}

/// Has runs that begin from now on ask what is kept now.
///
/// # Errors
/// What the database says.
pub(crate) async fn apply(app: &App) -> Result<(), Problem> {
    let inner = app.clone();
    app.blocking(move || Ok(Providers::apply(&inner)?)).await
}

/// Those that were set, by name.
///
/// # Errors
/// What the database says.
pub(crate) async fn kept(app: &App) -> Result<Vec<Kept>, Problem> {
    let all = app.read(|conn| setting::under::<ProviderSetting>(conn, KEPT)).await?;
    let aside = app.providers().state().aside.clone();
    let kept = all.into_iter().map(|(name, setting)| Kept { aside: aside.get(&name).cloned(), name, setting });
    Ok(kept.collect())
}

/// One that was set.
///
/// # Errors
/// `unknown-provider`; what the database says.
pub(crate) async fn one(app: &App, name: &str) -> Result<Kept, Problem> {
    let found = kept(app).await?.into_iter().find(|one| one.name == name);
    found.ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(
        "unknown-provider",
        format!("no provider `{name}` was set here; those of files are changed there"),
    )
}

/// Sets a provider, in place of what was set of it before, and says in the audit log what is different then. Whether there may
/// be one already is up to the caller.
///
/// # Errors
/// `setting-refused`, with what is wrong with what; what the database says.
pub(crate) async fn set(
    app: &App,
    caller: &Caller,
    name: &str,
    setting: ProviderSetting,
    is_new: bool,
) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    if setting.private && !caller.administrator {
        let text = "only an administrator of the records opens a private address";
        wrong.push(FoundWrong::error("not-an-administrator", "private", text));
    }
    let (inner, owned, wanted) = (app.clone(), name.to_owned(), setting.clone());
    let ready = app.blocking(move || Ok(prepare(&inner, &owned, &wanted, None).map(drop))).await?;
    wrong.extend(ready.err().unwrap_or_default());
    if !wrong.is_empty() {
        return Err(Problem::bad_setting(wrong));
    }
    let (key, line) = (format!("{KEPT}{name}"), audit::here());
    let (by, at, named) = (caller.user, app.engine().clock().now(), name.to_owned());
    app.write(move |conn| {
        let was = setting::find::<ProviderSetting>(conn, &key)?.map(|was| was.value);
        if is_new && was.is_some() {
            let text = format!("a provider `{named}` is set already");
            return Err(Problem::bad_setting(vec![FoundWrong::error("name-taken", "name", text)]));
        }
        if was.is_none() && setting::under::<ProviderSetting>(conn, KEPT)?.len() >= MOST {
            let text = format!("{MOST} providers at most are set here: more go into the file");
            return Err(Problem::bad_setting(vec![FoundWrong::error("too-many-providers", "name", text)]));
        }
        setting::set(conn, &key, &setting, (by, at))?;
        line.say(format!("{named}: {}", told::setting(was.as_ref(), Some(&setting))));
        Ok(())
    })
    .await?;
    apply(app).await
}

/// Takes a provider back.
///
/// # Errors
/// `unknown-provider`; what the database says.
pub(crate) async fn unset(app: &App, name: &str) -> Result<(), Problem> {
    let (key, line, named) = (format!("{KEPT}{name}"), audit::here(), name.to_owned());
    app.write(move |conn| {
        let was = setting::find::<ProviderSetting>(conn, &key)?.ok_or_else(|| unknown(&named))?;
        setting::unset(conn, &key)?;
        line.say(format!("{named}: {}", told::setting(Some(&was.value), None)));
        Ok::<_, Problem>(())
    })
    .await?;
    apply(app).await
}

/// The budgets that were set.
///
/// # Errors
/// What the database says.
pub(crate) fn kept_budgets(conn: &Database) -> Result<Option<Setting<BudgetSetting>>, EngineError> {
    setting::find(conn, BUDGETS)
}

/// Sets budgets, in place of all that were set before, and says in the audit log what is different then. `seen`: the version that
/// they were chosen from.
///
/// # Errors
/// `setting-refused`, with what is wrong with what; `another-version`; what the database says.
pub(crate) async fn set_budgets(app: &App, by: Id, set: BudgetSetting, seen: Option<String>) -> Result<(), Problem> {
    let (said, file) = (of_file(app).said, file_name(app));
    let mut wrong: Vec<_> = set
        .each()
        .into_iter()
        .filter(|(name, budget)| budget.is_some() && said.says(name))
        .map(|(name, _)| FoundWrong::error("set-in-file", name, format!("is set in {file}, and changed there")))
        .collect();
    wrong.extend(set.wrong().iter().map(|one| FoundWrong::error("out-of-range", &one.place, &one.message)));
    if !wrong.is_empty() {
        return Err(Problem::bad_setting(wrong));
    }
    let (inner, line, at) = (app.clone(), audit::here(), app.engine().clock().now());
    app.write(move |conn| {
        let was = budgets(&inner, &kept_budgets(conn)?.map(|was| was.value).unwrap_or_default());
        shown::is_still(seen.as_deref(), &told::budgets(&was))?;
        match set == BudgetSetting::default() {
            true => setting::unset(conn, BUDGETS)?,
            false => setting::set(conn, BUDGETS, &set, (by, at))?,
        }
        line.say(told::setting(Some(&was), Some(&budgets(&inner, &set))));
        Ok::<_, Problem>(())
    })
    .await?;
    apply(app).await
}

/// The model that those ask who name none, where it was set.
pub(crate) fn default_model(conn: &Database) -> Result<Option<Setting<String>>, EngineError> {
    setting::find(conn, DEFAULT_MODEL)
}

/// Sets the model that those ask who name none; none: the first there is.
///
/// # Errors
/// `setting-refused`; what the database says.
pub(crate) async fn set_default_model(app: &App, caller: &Caller, model: Option<String>) -> Result<(), Problem> {
    let refuse = |code: &str, text: String| Problem::bad_setting(vec![FoundWrong::error(code, DEFAULT_MODEL, text)]);
    if of_file(app).default_model.is_some() {
        return Err(refuse("set-in-file", format!("is set in {}, and changed there", file_name(app))));
    }
    if let Some(model) = &model {
        let known = app.engine().services().map(|services| services.models.config().model_names()).unwrap_or_default();
        if !known.contains(model) {
            return Err(refuse(
                "unknown-llm-model",
                format!("there is no model `{model}`; there are {}", known.join(", ")),
            ));
        }
    }
    let (by, at, line) = (caller.user, app.engine().clock().now(), audit::here());
    app.write(move |conn| {
        let was = default_model(conn)?.map(|was| was.value);
        match &model {
            Some(model) => setting::set(conn, DEFAULT_MODEL, model, (by, at))?,
            None => setting::unset(conn, DEFAULT_MODEL)?,
        }
        let name = |model: &Option<String>| model.clone().unwrap_or_else(|| "the first there is".to_owned());
        line.say(format!("{} → {}", name(&was), name(&model)));
        Ok::<_, EngineError>(())
    })
    .await?;
    apply(app).await
}
