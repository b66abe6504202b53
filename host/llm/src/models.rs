//! The models that can be asked, and where the answers come from: providers, a recording, or nowhere.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use triggerbox_model::call::{Completion, LlmRequest};

use crate::{
    budget::Amount,
    clock::Clock,
    config::{Config, ConfigError, Model, Provider},
    error::AskError,
    price,
    provider::{Answered, Asked, Connection, Written},
    recording::{Exchange, Matching, Recording, RecordingError, Replay},
};

/// All models of a host. Cheap to clone, but for the configuration.
#[derive(Clone)]
pub struct Models {
    config: Config,
    from: Arc<From>,
}

/// Where answers come from.
enum From {
    Nowhere,
    Providers(BTreeMap<String, Arc<Connection>>),
    Recorder { providers: BTreeMap<String, Arc<Connection>>, recorded: Mutex<Recorded>, path: PathBuf },
    Recording(Mutex<Replay>),
}

/// A recording that is being made.
struct Recorded {
    recording: Recording,
    /// Why it is not in its file, as far as it goes.
    unsaved: Option<RecordingError>,
}

impl Models {
    /// Nobody is asked, whoever is set later: every question fails.
    #[must_use]
    pub fn off() -> Self {
        Self { config: Config::default(), from: Arc::new(From::Nowhere) }
    }

    /// No provider yet: every question fails until there is one.
    #[must_use]
    pub fn none() -> Self {
        Self { config: Config::default(), from: Arc::new(From::Providers(BTreeMap::new())) }
    }

    /// The providers answer.
    ///
    /// # Errors
    /// A key that cannot be read; no TLS.
    pub fn live(
        config: Config,
        clock: &Arc<dyn Clock>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let providers = connect(&config, clock, env)?;
        Ok(Self { config, from: Arc::new(From::Providers(providers)) })
    }

    /// The providers answer, and every exchange is added to a recording that is written to `path`.
    ///
    /// # Errors
    /// As [`Models::live`].
    pub fn record(
        config: Config,
        clock: &Arc<dyn Clock>,
        env: &dyn Fn(&str) -> Option<String>,
        recording: Recording,
        path: PathBuf,
    ) -> Result<Self, ConfigError> {
        let providers = connect(&config, clock, env)?;
        let recorded = Mutex::new(Recorded { recording, unsaved: None });
        Ok(Self { config, from: Arc::new(From::Recorder { providers, recorded, path }) })
    }

    /// A recording answers. Without a configuration nothing is known of prices but what the recording says.
    #[must_use]
    pub fn replay(config: Config, recording: &Recording, matching: Matching) -> Self {
        Self { config, from: Arc::new(From::Recording(Mutex::new(Replay::new(recording, matching)))) }
    }

    /// The same with more providers, and a default where the configuration names none. None: a recording answers, or is made,
    /// or models are off, and nobody else is asked.
    #[must_use]
    pub fn with(&self, more: &[Arc<Connection>], default_model: Option<&str>) -> Option<Self> {
        let mut providers = match &*self.from {
            From::Providers(providers) => providers.clone(),
            From::Nowhere | From::Recorder { .. } | From::Recording(_) => return None,
        };
        let mut config = self.config.clone();
        for connection in more {
            let provider = connection.provider();
            providers.insert(provider.name.clone(), Arc::clone(connection));
            config.providers.push(provider.clone());
        }
        let known = default_model.filter(|name| config.model_names().iter().any(|model| model == name));
        config.default_model = config.default_model.or_else(|| known.map(str::to_owned));
        Some(Self { config, from: Arc::new(From::Providers(providers)) })
    }

    /// The most that a question can use.
    ///
    /// # Errors
    /// [`AskError::NotConfigured`], [`AskError::UnknownModel`]
    pub fn worst_case(&self, request: &LlmRequest) -> Result<Amount, AskError> {
        match self.find(request) {
            Ok((provider, model)) => Ok(price::worst_case(model, self.config.rate(provider), request)),
            Err(_) if self.is_replay() => Ok(price::worst_case(&free(), 1.0, request)),
            Err(error) => Err(error),
        }
    }

    /// Who is asked: `provider/model`, or [`RECORDING`]; none: nobody can be.
    #[must_use]
    pub fn who(&self, request: &LlmRequest) -> Option<String> {
        if self.is_replay() {
            return Some(RECORDING.to_owned());
        }
        let (provider, model) = self.find(request).ok()?;
        Some(format!("{}/{}", provider.name, model.name))
    }

    /// Asks once, and keeps no account of it. Dropping the future ends it.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn ask(&self, request: &LlmRequest) -> Result<Answered, AskError> {
        let (mut written, mut tries) = (Written::default(), 0);
        loop {
            if let Asked::Answered(answered) = self.go_on(request, &mut written, &mut tries).await? {
                return Ok(answered);
            }
        }
    }

    /// Asks a question that goes on with a conversation, of which so much is written, after so many tries.
    ///
    /// # Errors
    /// [`AskError`]
    pub async fn go_on(&self, request: &LlmRequest, written: &mut Written, tries: &mut u32) -> Result<Asked, AskError> {
        match &*self.from {
            From::Nowhere => Err(AskError::NotConfigured),
            From::Providers(providers) => self.ask_provider(providers, request, written, tries).await,
            From::Recorder { providers, recorded, path } => {
                let asked = self.ask_provider(providers, request, written, tries).await?;
                if let Asked::Answered(answered) = &asked {
                    let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                    let answer = answered.completion.clone();
                    recorded.recording.exchanges.push(Exchange { request: Some(request.clone()), answer });
                    // The answer is paid for, whatever becomes of the file.
                    recorded.unsaved = recorded.recording.save(path).err();
                }
                Ok(asked)
            }
            From::Recording(replay) => {
                let completion = replay.lock().unwrap_or_else(PoisonError::into_inner).answer(request)?;
                Ok(Asked::Answered(Answered { tokens: tokens(&completion), completion }))
            }
        }
    }

    /// Which providers and models there are, and what they cost. It holds where keys are, never a key.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Why the recording that is being made is not in its file, as far as it goes. The next exchange is another try.
    #[must_use]
    pub fn unsaved(&self) -> Option<RecordingError> {
        match &*self.from {
            From::Recorder { recorded, .. } => recorded.lock().unwrap_or_else(PoisonError::into_inner).unsaved.clone(),
            _ => None,
        }
    }

    /// Whether a recording answers.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(*self.from, From::Recording(_))
    }

    /// Whether nobody is asked.
    #[must_use]
    pub fn is_off(&self) -> bool {
        matches!(*self.from, From::Nowhere)
    }

    /// How many recorded exchanges were not asked for.
    #[must_use]
    pub fn unasked(&self) -> usize {
        match &*self.from {
            From::Recording(replay) => replay.lock().unwrap_or_else(PoisonError::into_inner).left(),
            _ => 0,
        }
    }

    async fn ask_provider(
        &self,
        providers: &BTreeMap<String, Arc<Connection>>,
        request: &LlmRequest,
        written: &mut Written,
        tries: &mut u32,
    ) -> Result<Asked, AskError> {
        let (provider, model) = self.find(request)?;
        let connection = providers.get(&provider.name).ok_or(AskError::NotConfigured)?;
        connection.ask(model, request, written, tries).await
    }

    fn find(&self, request: &LlmRequest) -> Result<(&Provider, &Model), AskError> {
        if self.config.providers.is_empty() {
            return Err(AskError::NotConfigured);
        }
        self.config.find(request.model.as_deref()).ok_or_else(|| AskError::UnknownModel {
            name: request.model.clone().unwrap_or_default(),
            known: self.config.model_names().join(", "),
        })
    }
}

/// Stands in place of a provider where a recording answered.
pub const RECORDING: &str = "recording";

/// What a completion says it used.
fn tokens(completion: &Completion) -> u64 {
    u64::from(completion.usage.input_tokens) + u64::from(completion.usage.output_tokens)
}

/// A model of which no price is known.
fn free() -> Model {
    Model {
        name: String::new(),
        input_price: 0.0,
        output_price: 0.0,
        max_output: 4_096,
        max_output_field: String::new(),
    }
}

fn connect(
    config: &Config,
    clock: &Arc<dyn Clock>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, Arc<Connection>>, ConfigError> {
    let connections = config.providers.iter().map(|provider| {
        let connection = Connection::new(provider, config.rate(provider), Arc::clone(clock), env)?;
        Ok((provider.name.clone(), Arc::new(connection)))
    });
    connections.collect()
}
