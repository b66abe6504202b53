//! Rules on change: a form that is not saved yet goes in, values and a warning come out.

use std::sync::Arc;

use serde::Serialize;
use triggerbox_model::{
    domain::memory::Changed,
    event::{Failure, Trigger as Happened},
    value::{FieldValue, Id, Snapshot},
};
use triggerbox_sandbox::Ending;
use triggerbox_store::query::records::Stored;

use super::{
    Engine,
    before::{Heard, Question, no_answer},
};
use crate::{error::EngineError, index::Armed, matcher::judged, rule::Trigger};

/// What rules say to an edit in a form.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct DraftAnswer {
    /// Values for the form.
    pub values: Vec<FieldValue>,
    /// What to show beside it, one line for each rule.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Asks the rules that answer to edits of these fields. `draft` is the form as it is: the record it is of (0 for one that
    /// is not created yet) with all its values. Nothing is changed. A rule that is broken says so in a warning, and in the history.
    ///
    /// # Errors
    /// What the database says.
    pub async fn draft(
        &self,
        user: Id,
        model: &str,
        draft: &Snapshot,
        edited: &[String],
    ) -> Result<DraftAnswer, EngineError> {
        let (index, now) = (self.rules()?, self.clock().now());
        let mut draft = draft.clone();
        let mut answer = DraftAnswer::default();
        let Some(env) = index.env(now) else { return Ok(answer) };
        for rule in index.on_drafts(model) {
            let Trigger::OnChange { fields } = &rule.rule.trigger else { continue };
            if !fields.iter().any(|field| edited.contains(field)) {
                continue;
            }
            let judged = {
                let conn = self.database().snapshot()?;
                let stored = Stored(&conn);
                let mut form = Changed::new(&stored, model);
                form.columns.entry(draft.id).or_default();
                for field in &draft.fields {
                    form.set(draft.id, &field.name, &field.value)?;
                }
                judged(rule.after.holds(&conn, &env, &form, model, draft.id))?
            };
            let Some(broken) = judged else { continue };
            if let Some(error) = broken {
                answer.warnings.push(self.broke(rule, user, &error.into(), Heard::default()).await?);
                continue;
            }
            let records = if draft.id == 0 { Vec::new() } else { vec![draft.id] };
            let trigger = Happened::OnChange(draft.clone());
            let question = Question { actor: user, depth: 0, now, trigger, records, old_values: Vec::new() };
            let mut heard = Heard::default();
            let broken = match self.try_answer(rule, question, &mut heard).await {
                Ok((Some(outcome), _)) => {
                    answer.warnings.extend(outcome.warning);
                    for value in outcome.values {
                        for list in [&mut draft.fields, &mut answer.values] {
                            list.retain(|known| known.name != value.name);
                            list.push(value.clone());
                        }
                    }
                    continue;
                }
                Ok((None, _)) => match heard.ending() {
                    Some(Ending::Failed(Failure::UserError(text))) => {
                        answer.warnings.push(text);
                        continue;
                    }
                    ending => no_answer(ending),
                },
                Err(EngineError::Database(error)) => return Err(error.into()),
                Err(error) => error,
            };
            answer.warnings.push(self.broke(rule, user, &broken, heard).await?);
        }
        Ok(answer)
    }

    /// Keeps that a rule broke: whoever edits the form is seldom the one who can mend it. What to tell them.
    async fn broke(
        &self,
        rule: &Arc<Armed>,
        user: Id,
        error: &EngineError,
        heard: Heard,
    ) -> Result<String, EngineError> {
        self.note_broken(rule, user, error, heard).await?;
        Ok(format!("rule `{}` is broken: {error}", rule.rule.name))
    }
}
