//! Doing one effect of a change set: the same way when it is staged and when it is committed.

use rusqlite::OptionalExtension;
use triggerbox_model::{
    call::{Activity, BodyFormat, Message, Operation},
    changes::{Change, Effect},
    error::Error,
    value::{Id, RecordRef},
};

use crate::{
    chatter::{NewActivity, Post},
    db::fault,
    methods, rights,
    write::{self, Command, Input, Place, Values, Writer, html},
};

/// What doing an effect gave.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// Records that were created, or found by `ensure`.
    pub ids: Vec<Id>,
    /// What really changed.
    pub changes: Vec<Change>,
    /// The records that left the one that they cannot be without, and were deleted by that.
    pub left: Vec<RecordRef>,
}

/// Does one effect, all or nothing.
pub(crate) fn apply(writer: &mut Writer<'_>, effect: Effect) -> Result<Done, Error> {
    let ids = match effect {
        Effect::Create { model, values, .. } => writer.create(&model, values.into_iter().map(write::into_values))?,
        Effect::Ensure { model, keys, values, id } => {
            vec![ensure(writer, &model, &keys, write::into_values(values), id)?]
        }
        Effect::Write { model, ids, values } => {
            writer.write(&model, &ids, write::into_values(values))?;
            Vec::new()
        }
        Effect::Relate { target, field, commands } => {
            let commands: Vec<Command> = commands.iter().map(Command::from).collect();
            writer.write(&target.model, &[target.id], Values::from_iter([(field, Input::Commands(commands))]))?;
            Vec::new()
        }
        Effect::Unlink { model, ids } => {
            writer.unlink(&model, &ids)?;
            Vec::new()
        }
        Effect::Copy { target, values, .. } => writer.copy(&target.model, &[target.id], &write::into_values(values))?,
        Effect::CallMethod { model, ids, method, arguments_json } => {
            methods::call(writer, &model, &ids, &method, &arguments_json)?;
            Vec::new()
        }
        Effect::PostMessage { target, message, note } => {
            let post = post(writer, message, note)?;
            writer.post(&target.model, target.id, post)?;
            Vec::new()
        }
        Effect::ScheduleActivity { target, activity } => {
            check(writer, &target, rights::to_post_on(&target.model))?;
            let activity = new_activity(writer, &activity)?;
            writer.schedule(&target.model, target.id, activity)?;
            Vec::new()
        }
        Effect::CompleteActivities { target, kind, feedback } => {
            let open = writer.open_activities(&target.model, target.id, &kind, false)?;
            writer.complete(&open, feedback.as_deref())?;
            open
        }
        Effect::AddFollowers { target, partner_ids } => {
            check(writer, &target, Operation::Write)?;
            writer.add_followers(&target.model, target.id, &partner_ids)?;
            Vec::new()
        }
        Effect::RemoveFollowers { target, partner_ids } => {
            check(writer, &target, Operation::Write)?;
            writer.remove_followers(&target.model, target.id, &partner_ids)?;
            Vec::new()
        }
        Effect::SetState { rule, key, json } => {
            set_state(writer, &rule, &key, json.as_deref())?;
            Vec::new()
        }
    };
    Ok(Done { ids, changes: writer.finish_effect()?, left: std::mem::take(&mut writer.left) })
}

/// Fails unless the user may do this with a record: whoever commits a change is not always who staged it.
fn check(writer: &Writer<'_>, target: &RecordRef, operation: Operation) -> Result<(), Error> {
    let model = writer.require_chatter(&target.model, target.id)?;
    // Rules may look at what hangs on it.
    writer.place.searched(writer.conn, None)?;
    writer.check_operation(model, operation, &[target.id])
}

/// Creates the record, unless there is one by now: then that one is meant.
fn ensure(writer: &mut Writer<'_>, model: &str, keys: &[String], values: Values, provisional: Id) -> Result<Id, Error> {
    let found = writer.find_by_keys(model, keys, &values)?;
    if let (Some(found), Place::Committed(committing)) = (found, &mut *writer.place) {
        committing.stands_for(model, found);
        debug_assert_eq!(committing.real(model, provisional), Some(found));
        return Ok(found);
    }
    if let Some(found) = found {
        return Ok(found);
    }
    let ids = writer.create(model, vec![values])?;
    ids.first().copied().ok_or_else(|| Error::invalid("no-values", "nothing to create"))
}

/// A message of the contract as it is posted.
fn post(writer: &Writer<'_>, message: Message, note: bool) -> Result<Post, Error> {
    let body = match message.format {
        BodyFormat::Text => html::escape(&message.body),
        BodyFormat::Html => message.body,
    };
    let files = message.attachments.into_iter().map(|file| (file.name, file.mime_type, file.content));
    Ok(Post {
        body,
        subject: message.subject,
        message_type: "comment".to_owned(),
        subtype: writer.subtype_of(!note)?,
        partners: message.partner_ids,
        attachments: files.collect(),
        ..Post::default()
    })
}

/// An activity of the contract as it is scheduled.
pub(crate) fn new_activity(writer: &Writer<'_>, activity: &Activity) -> Result<NewActivity, Error> {
    Ok(NewActivity {
        kind: writer.activity_type(&activity.kind)?,
        summary: activity.summary.clone(),
        note: activity.note.clone(),
        deadline: activity.deadline.clone(),
        user: Some(activity.user_id.unwrap_or(writer.env.user)),
        delayed: true,
    })
}

fn set_state(writer: &mut Writer<'_>, rule: &str, key: &str, json: Option<&str>) -> Result<(), Error> {
    writer.place.touch_table(writer.conn, "tb_state")?;
    let there = get_state(writer.conn, rule, key)?.is_some();
    match (json, there) {
        (None, _) => {
            let mut statement =
                writer.conn.prepare_cached("DELETE FROM tb_state WHERE rule = ?1 AND key = ?2").map_err(fault)?;
            statement.execute((rule, key)).map_err(fault)?;
        }
        (Some(json), true) => {
            let sql = "UPDATE tb_state SET json = ?3 WHERE rule = ?1 AND key = ?2";
            writer.conn.prepare_cached(sql).map_err(fault)?.execute((rule, key, json)).map_err(fault)?;
        }
        (Some(json), false) => {
            let sql = "INSERT INTO tb_state (rule, key, json) VALUES (?1, ?2, ?3)";
            writer.conn.prepare_cached(sql).map_err(fault)?.execute((rule, key, json)).map_err(fault)?;
        }
    }
    Ok(())
}

/// What a rule keeps under a key.
pub(crate) fn get_state(conn: &rusqlite::Connection, rule: &str, key: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT json FROM tb_state WHERE rule = ?1 AND key = ?2";
    conn.prepare_cached(sql).map_err(fault)?.query_row((rule, key), |row| row.get(0)).optional().map_err(fault)
}
