//! Which subtype a creation or a tracked change is posted under, for the standard models.

use rusqlite::types::Value as Cell;
use triggerbox_model::{error::Error, schema::Model, value::Id};

use crate::write::{Writer, values};

/// Internal notes.
pub(super) const NOTE: &str = "mail.mt_note";
/// Messages to the followers.
pub(super) const COMMENT: &str = "mail.mt_comment";
/// Activities that are done.
pub(super) const ACTIVITIES: &str = "mail.mt_activities";

impl Writer<'_> {
    /// The record that the note of a new record's creation names: a lead's team, a task's project.
    pub(super) fn creation_about(&self, model: &Model, id: Id) -> Result<Option<Id>, Error> {
        let field = match model.name.as_str() {
            "crm.lead" => "team_id",
            "project.task" => "project_id",
            _ => return Ok(None),
        };
        match model.has_column(field) {
            true => Ok(self.cell(&model.name, field, id)?.as_ref().and_then(values::as_id)),
            false => Ok(None),
        }
    }

    /// The subtype of a record's creation, with its text; none: a plain log note. `about`: as [`Self::creation_about`] says.
    pub(super) fn creation_subtype(&self, model: &Model, about: Option<Id>) -> Result<Option<(Id, String)>, Error> {
        let xmlid = match model.name.as_str() {
            "crm.lead" => "crm.mt_lead_create",
            "project.task" => "project.mt_task_new",
            _ => return Ok(None),
        };
        let Some(subtype) = self.xmlid(xmlid)? else { return Ok(None) };
        let words = match model.name.as_str() {
            "crm.lead" => match self.related_name(model, "team_id", about)? {
                Some(team) => format!("A new lead has been created for the team \"{team}\"."),
                None => "A new lead has been created and is not assigned to any team.".to_owned(),
            },
            _ => match self.related_name(model, "project_id", about)? {
                Some(project) => format!("A new task has been created in the \"{project}\" project."),
                None => "A new task has been created and is not part of any project.".to_owned(),
            },
        };
        Ok(Some((subtype, words)))
    }

    /// The subtype of a tracked change; none: a plain log note.
    pub(super) fn track_subtype(&self, model: &Model, id: Id, changed: &[&str]) -> Result<Option<Id>, Error> {
        let has = |field: &str| changed.contains(&field) && model.has_column(field);
        let state = |field: &str| -> Result<String, Error> {
            if !model.has_column(field) {
                return Ok(String::new());
            }
            Ok(match self.cell(&model.name, field, id)? {
                Some(Cell::Text(text)) => text,
                Some(Cell::Integer(number)) => number.to_string(),
                _ => String::new(),
            })
        };
        let xmlid = match model.name.as_str() {
            "crm.lead" if has("stage_id") && state("won_status")? == "won" => "crm.mt_lead_won",
            "crm.lead" if has("lost_reason_id") && !state("lost_reason_id")?.is_empty() => "crm.mt_lead_lost",
            "crm.lead" if has("stage_id") => "crm.mt_lead_stage",
            "crm.lead" if has("won_status") && state("won_status")? == "lost" => "crm.mt_lead_lost",
            "crm.lead" if has("won_status") => "crm.mt_lead_restored",
            "sale.order" if has("state") && state("state")? == "sale" => "sale.mt_order_confirmed",
            "sale.order" if has("state") && state("state")? == "sent" => "sale.mt_order_sent",
            "project.task" if has("stage_id") => "project.mt_task_stage",
            "project.task" if has("state") => match state("state")?.as_str() {
                "01_in_progress" => "project.mt_task_in_progress",
                "02_changes_requested" => "project.mt_task_changes_requested",
                "03_approved" => "project.mt_task_approved",
                "1_done" => "project.mt_task_done",
                "1_canceled" => "project.mt_task_canceled",
                "04_waiting_normal" => "project.mt_task_waiting",
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.xmlid(xmlid)
    }

    fn related_name(&self, model: &Model, field: &str, target: Option<Id>) -> Result<Option<String>, Error> {
        let (Some(described), Some(target)) = (model.fields.get(field), target) else { return Ok(None) };
        self.name_of(described.relation.as_deref().unwrap_or_default(), target).map(Some)
    }
}
