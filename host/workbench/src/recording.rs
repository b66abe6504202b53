//! Runs in files: all that a run was told, so that any version of its script can be run again on it, without a server and
//! without a database.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use triggerbox_automation::{
    journal::Recording,
    replay::{self, Replayed, Verdict},
};
use triggerbox_model::schema::Schema;
use triggerbox_sandbox::Script;

use crate::redact::Redactor;

/// The format that this version writes and reads.
const FORMAT: u32 = 1;

/// An exported run. JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exported {
    /// The format's number.
    pub triggerbox_run: u32,
    /// The run.
    pub run: i64,
    /// Its rule.
    pub rule: String,
    /// Whether what is personal was taken out.
    pub redacted: bool,
    /// What a replay of this file can tell.
    pub decides: Decides,
    /// The scripts that the run ran, in order.
    pub actions: Vec<Action>,
}

/// One script of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Action {
    /// The script's name.
    pub script: String,
    /// The component, as base64, if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What it was told, and what it wanted.
    pub recording: Recording,
}

/// What a replay of an exported run can tell. What tells less is greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decides {
    /// All that the run itself can: its own version does the same on it.
    All,
    /// Whether another version does the same as the run's own would on these answers, which are not those of the run.
    Anew,
    /// Not known: the run's own version was not there to try.
    Untried,
    /// Little: its own version asks what the file does not answer any more; says what.
    Little(String),
}

impl Action {
    /// Runs a script on what was redacted. Where it wants something else than it did, that is recorded in place of it.
    async fn try_again(&mut self, script: &Script) -> Decides {
        match replay::replay(script, &self.recording).await.verdict {
            Verdict::Same => Decides::All,
            Verdict::Differs(_) => match replay::record_again(script, &self.recording).await {
                Ok(again) => {
                    self.recording = again;
                    Decides::Anew
                }
                Err(why) => Decides::Little(why),
            },
            Verdict::Undecidable(why) => Decides::Little(why),
        }
    }
}

impl Decides {
    /// Of several scripts, the whole tells no more than the one that tells least.
    fn limit(&mut self, of_one: Self) {
        if of_one > *self {
            *self = of_one;
        }
    }

    /// In words, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::All => "the script does the same on it as it did then".to_owned(),
            Self::Anew => {
                "the script's decisions depend on what was redacted: what it does on the redacted answers was \
                           recorded in place of what it did then"
                    .to_owned()
            }
            Self::Little(why) => format!("it cannot be run again, for what was redacted decides what is asked: {why}"),
            Self::Untried => "the version that the run ran on is not there to try it".to_owned(),
        }
    }
}

/// A file that is not an exported run. Whoever keeps it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct BadRecording {
    /// The file.
    pub path: String,
    /// What, and what to do.
    pub problem: String,
}

impl Exported {
    /// Puts a run into a file's form, all of it.
    #[must_use]
    pub fn new(run: i64, rule: String, actions: Vec<Action>) -> Self {
        Self { triggerbox_run: FORMAT, run, rule, redacted: false, decides: Decides::All, actions }
    }

    /// Takes what is personal out, and finds out what the rest can tell. `scripts` are the versions that the run ran on,
    /// as far as they are there.
    pub async fn redact(&mut self, schema: &Schema, scripts: &[Option<Script>]) -> Result<(), serde_json::Error> {
        let redactor = Redactor::new(schema);
        self.redacted = true;
        for (index, action) in self.actions.iter_mut().enumerate() {
            action.recording = redactor.recording(&action.recording)?;
            let decides = match scripts.get(index).and_then(Option::as_ref) {
                Some(script) => action.try_again(script).await,
                None => Decides::Untried,
            };
            self.decides.limit(decides);
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`BadRecording`]
    pub fn load(path: &Path) -> Result<Self, BadRecording> {
        let fail = |problem: String| BadRecording { path: path.display().to_string(), problem };
        let text = fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))?;
        let exported: Self =
            serde_json::from_str(&text).map_err(|error| fail(format!("is no exported run: {error}")))?;
        match exported.triggerbox_run {
            FORMAT => Ok(exported),
            found => Err(fail(format!("has format {found}; this version reads {FORMAT}: export the run again"))),
        }
    }

    /// Writes a file, whole or not at all.
    ///
    /// # Errors
    /// [`BadRecording`]
    pub fn save(&self, path: &Path) -> Result<(), BadRecording> {
        let fail = |problem: String| BadRecording { path: path.display().to_string(), problem };
        let mut text = serde_json::to_string_pretty(self).map_err(|error| fail(error.to_string()))?;
        text.push('\n');
        let beside = path.with_extension("json.new");
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        folder
            .and_then(|()| fs::write(&beside, text))
            .and_then(|()| fs::rename(&beside, path))
            .map_err(|error| fail(format!("cannot be written: {error}")))
    }

    /// The component of each script, where the file has it.
    ///
    /// # Errors
    /// One is no base64.
    pub fn components(&self) -> Result<Vec<Option<Vec<u8>>>, base64::DecodeError> {
        let decoded = |action: &Action| action.component.as_ref().map(|text| STANDARD.decode(text)).transpose();
        self.actions.iter().map(decoded).collect()
    }

    /// Runs it again with this version in place of the script of its name; the only script of a run is replaced whatever it
    /// was called.
    ///
    /// # Errors
    /// The run has several scripts, and none of this name.
    pub async fn replay_on(&self, script: &Script) -> Result<Vec<Replayed>, String> {
        let name = script.manifest().map(|manifest| manifest.script.name.clone()).unwrap_or_default();
        let own: Vec<_> =
            self.actions.iter().filter(|action| self.actions.len() == 1 || action.script == name).collect();
        if own.is_empty() {
            let names: Vec<_> = self.actions.iter().map(|action| action.script.as_str()).collect();
            return Err(format!("the run has no script `{name}`; it has {}", names.join(", ")));
        }
        let mut replayed = Vec::new();
        for action in own {
            replayed.push(replay::replay(script, &action.recording).await);
        }
        Ok(replayed)
    }
}

/// A component as a file keeps it.
#[must_use]
pub fn packed(component: &[u8]) -> String {
    STANDARD.encode(component)
}

#[cfg(test)]
mod tests {
    use super::Decides;

    #[test]
    fn a_run_of_several_scripts_tells_what_the_least_of_them_does() {
        let little = || Decides::Little("it asks for more".to_owned());
        let order = [Decides::All, Decides::Anew, Decides::Untried, little()];
        for (place, one) in order.iter().enumerate() {
            for (other_place, other) in order.iter().enumerate() {
                let mut whole = Decides::All;
                whole.limit(one.clone());
                whole.limit(other.clone());
                assert_eq!(Some(&whole), order.get(place.max(other_place)), "{one:?}, then {other:?}");
            }
        }
    }
}
