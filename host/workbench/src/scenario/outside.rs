//! Language models and other services in a scenario: a recorded conversation, and answers that the scenario gives. Nothing
//! leaves the machine.

use std::sync::{Arc, Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use triggerbox_llm::{
    Config, Matching, Models, Outside, Recording, Services, Spender, SystemClock,
    http::Web,
    ledger::{Begun, End, Intent, Kind, Ledger, LedgerError},
};
use triggerbox_model::{
    call::{Answer, HttpRequest, HttpResponse, Reply},
    error::Error,
};

use super::{BadScenario, ScenarioFile, given::json};

/// What a scenario's run may ask, and the answers that are left when it is over.
pub(super) struct Answers {
    pub(super) outside: Outside,
    services: Arc<Services>,
    left: Arc<Mutex<Vec<(String, HttpResponse)>>>,
}

impl Answers {
    pub(super) fn of(file: &ScenarioFile) -> Result<Self, BadScenario> {
        let scenario = &file.scenario;
        let models = match &scenario.when.llm {
            None => Models::off(),
            Some(path) => {
                let recording = Recording::load(&file.beside(path.get_ref()));
                let recording = recording.map_err(|error| file.wrong(&path.span(), error))?;
                let matching = scenario.when.matching.unwrap_or(Matching::Tolerant);
                Models::replay(Config::default(), &recording, matching)
            }
        };
        let web = Web::new(&[], &|_| None, None).map_err(|error| file.broken(error))?;
        let answers = scenario.answers.iter().map(|answer| {
            let answer = answer.get_ref();
            let body = match (&answer.json, &answer.body) {
                (Some(value), _) => json(value).to_string(),
                (None, body) => body.clone().unwrap_or_default(),
            };
            let headers = answer.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
            (answer.request.clone(), HttpResponse { status: answer.status, headers, body: body.into_bytes() })
        });
        let left = Arc::new(Mutex::new(answers.collect()));
        let services = Arc::new(Services {
            models,
            web: Some(web),
            budgets: Config::default().budgets,
            clock: Arc::new(SystemClock),
        });
        let outside = Outside {
            services: Arc::clone(&services),
            ledger: Arc::new(Scripted { left: Arc::clone(&left) }),
            spender: Spender { rule: file.name.clone(), ..Spender::default() },
            only_reads: false,
            seat: None,
        };
        Ok(Self { outside, services, left })
    }

    /// Answers that nobody asked for, in words.
    pub(super) fn unasked(&self) -> Vec<String> {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unasked: Vec<_> = left.iter().map(|(request, _)| format!("`{request}` was not sent")).collect();
        match self.services.models.unasked() {
            0 => {}
            count => unasked.push(format!("{count} answers of the recorded conversation were not asked for")),
        }
        unasked
    }
}

/// Knows the answer to every request to another service, so that none is sent. Models answer from their recording.
struct Scripted {
    left: Arc<Mutex<Vec<(String, HttpResponse)>>>,
}

#[async_trait::async_trait]
impl Ledger for Scripted {
    async fn begin(&self, intent: Intent) -> Result<Begun, LedgerError> {
        if intent.kind == Kind::Model {
            return Ok(Begun::Go(0));
        }
        let request: HttpRequest =
            serde_json::from_str(&intent.request).map_err(|error| LedgerError(error.to_string()))?;
        Ok(Begun::Known(self.answer(&format!("{} {}", request.method, request.url))))
    }

    async fn known(&self, _: Intent) -> Result<Option<Reply>, LedgerError> {
        Ok(None)
    }

    async fn end(&self, _: i64, _: End) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn plan(&self, _: &str, _: i64, _: String) -> Result<(), LedgerError> {
        Ok(())
    }
}

impl Scripted {
    fn answer(&self, request: &str) -> Reply {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.iter().position(|(known, _)| known == request) {
            Some(index) => Ok(Answer::Response(left.remove(index).1)),
            None => Err(Error::unavailable(
                "http-not-answered",
                format!("the scenario has no answer to `{request}`; add it to [[answers]]"),
            )),
        }
    }
}

/// A body in words: its text, or its bytes as base64.
pub(super) fn body(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("base64:{}", STANDARD.encode(bytes)),
    }
}
