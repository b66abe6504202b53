//! Language models and other services, as the command line configures them.

use std::sync::Arc;

use anyhow::anyhow;
use triggerbox_automation::outside::DatabaseLedger;
use triggerbox_llm::{
    Clock, Config, Matching, Models, Origin, Outside, Recording, Services, Spender, SystemClock, http::Web,
};
use triggerbox_store::db::Database;

use crate::{
    args::{LlmMode, MatchingName, OutsideArgs, RunArgs},
    exit::{Exit, Failure, OrExit},
};

/// What a run may ask; none when nothing is configured.
pub(crate) fn outside(args: &RunArgs, database: &Database, rule: &str) -> Result<Option<Outside>, Failure> {
    let Some(services) = services(&args.outside, !args.http.is_empty())? else { return Ok(None) };
    let ledger = DatabaseLedger::new(database).or_exit(Exit::Backend)?;
    Ok(Some(Outside {
        services,
        ledger: Arc::new(ledger),
        spender: Spender { rule: rule.to_owned(), ..Spender::default() },
        only_reads: args.dry_run,
        seat: None,
    }))
}

/// Whether other services than language models are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// They are not.
    Never,
    /// They are.
    Always,
    /// They are, unless this machine knows nobody to believe in TLS: a slim image may not, and whoever asks nobody needs none.
    Possibly,
}

impl From<bool> for Elsewhere {
    fn from(asked: bool) -> Self {
        if asked { Self::Always } else { Self::Never }
    }
}

/// Language models, and other services if they may be asked; none when nothing is configured.
pub(crate) fn services(
    options: &OutsideArgs,
    elsewhere: impl Into<Elsewhere>,
) -> Result<Option<Arc<Services>>, Failure> {
    let elsewhere = elsewhere.into();
    if options.providers.is_none() && options.recording.is_none() && elsewhere == Elsewhere::Never {
        return match mode(options) {
            LlmMode::Off => Ok(None),
            LlmMode::Replay | LlmMode::Record => Err(anyhow!("name the recording with --recording FILE").into()),
            LlmMode::Live => Err(anyhow!("name the providers file with --providers FILE").into()),
        };
    }
    let config = options.providers.as_deref().map(Config::load).transpose()?.unwrap_or_default();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let env = |name: &str| std::env::var(name).ok();
    let web = || Web::new(&config.secrets, &env, None);
    let web = match elsewhere {
        Elsewhere::Never => None,
        Elsewhere::Always => Some(web()?),
        Elsewhere::Possibly => web().ok(),
    };
    let budgets = config.budgets.clone();
    let models = models(options, config, &clock, &env)?;
    Ok(Some(Arc::new(Services { models, web, budgets, clock })))
}

/// Fails where a recording that was to be made is not in its file.
pub(crate) fn saved(services: Option<&Services>) -> Result<(), Failure> {
    match services.and_then(|services| services.models.unsaved()) {
        None => Ok(()),
        Some(error) => Err(error.into()),
    }
}

fn mode(options: &OutsideArgs) -> LlmMode {
    match (options.llm, &options.providers, &options.recording) {
        (Some(mode), ..) => mode,
        (None, Some(_), _) => LlmMode::Live,
        (None, None, Some(_)) => LlmMode::Replay,
        (None, None, None) => LlmMode::Off,
    }
}

/// Whoever records must ask somebody.
fn nobody_to_record(options: &OutsideArgs) -> anyhow::Error {
    let why = match &options.providers {
        Some(path) => format!("{} has none", path.display()),
        None => "no providers file is named".to_owned(),
    };
    anyhow!(
        "--llm record asks a provider and records what it answers, and {why}: give --providers FILE with one, or leave out --llm \
         to replay a recording"
    )
}

fn models(
    options: &OutsideArgs,
    config: Config,
    clock: &Arc<dyn Clock>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Models, Failure> {
    let recording = || options.recording.as_deref().ok_or_else(|| anyhow!("name the recording with --recording FILE"));
    Ok(match mode(options) {
        LlmMode::Off => Models::off(),
        LlmMode::Live => Models::live(config, clock, env)?,
        LlmMode::Record => {
            let path = recording()?;
            if config.providers.is_empty() {
                return Err(nobody_to_record(options).into());
            }
            if path.exists() {
                return Err(anyhow!("{} is there already; a recording is never written over", path.display()).into());
            }
            let new = Recording::new(Origin::Recorded, "");
            Models::record(config, clock, env, new, path.to_owned())?
        }
        LlmMode::Replay => {
            let path = recording()?;
            let recording = Recording::load(path)?;
            errln!("{}: {}", path.display(), recording.origin.describe());
            let matching = match options.matching {
                MatchingName::Strict => Matching::Strict,
                MatchingName::Tolerant => Matching::Tolerant,
            };
            Models::replay(config, &recording, matching)
        }
    })
}
