//! Activities: things to do on a record, by somebody, by a day.

use rusqlite::{OptionalExtension, types::Value as Cell};
use triggerbox_model::{error::Error, schema::Model, text::nearest, value::Id};

use super::{Post, link, link_or_null, subtype, text};
use crate::{
    db::fault,
    write::{Row, Writer, html, values},
};

/// Set on what code schedules; what people plan by hand has it not.
const AUTOMATED: &str = "automated";

/// An activity to schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewActivity {
    /// Its type (`mail.activity.type`).
    pub kind: Id,
    /// One line; empty: the type's.
    pub summary: String,
    /// HTML.
    pub note: Option<String>,
    /// A date.
    pub deadline: Option<String>,
    /// Whose.
    pub user: Option<Id>,
    /// Without a deadline: today plus the type's own delay, rather than today.
    pub delayed: bool,
}

impl Writer<'_> {
    /// Schedules an activity; returns it.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`, `bad-date`.
    pub fn schedule(&mut self, model: &str, id: Id, activity: NewActivity) -> Result<Id, Error> {
        self.atomically(|writer| {
            writer.require_chatter(model, id)?;
            let kind = activity.kind;
            if let Some(user) = activity.user {
                writer.require_records("res.users", &[user])?;
            }
            let deadline = writer.deadline(&activity)?;
            let summary = match activity.summary {
                summary if summary.is_empty() => {
                    writer.cell("mail.activity.type", "summary", kind)?.unwrap_or(Cell::Null)
                }
                summary => text(summary),
            };
            let mut columns = vec![
                ("res_model", text(model)),
                ("res_id", link(id)),
                ("activity_type_id", link(kind)),
                ("summary", summary),
                ("note", activity.note.as_deref().map_or(Cell::Null, |note| text(html::sanitize(note)))),
                ("date_deadline", text(deadline)),
                ("user_id", link_or_null(activity.user)),
                ("active", Cell::Integer(1)),
            ];
            if writer.schema().model("mail.activity")?.has_column(AUTOMATED) {
                columns.push((AUTOMATED, Cell::Integer(1)));
            }
            let scheduled = writer.add_record("mail.activity", columns)?;
            writer.entrust(scheduled)?;
            Ok(scheduled)
        })
    }

    /// Whoever an activity is for is told of it, unless they did it themselves, and follows the record.
    fn entrust(&mut self, activity: Id) -> Result<(), Error> {
        let (Some(user), Some(target)) = (self.id_of(activity, "user_id")?, self.id_of(activity, "res_id")?) else {
            return Ok(());
        };
        let words = |field: &str| -> Result<String, Error> {
            Ok(match self.cell("mail.activity", field, activity)? {
                Some(Cell::Text(text)) => text,
                _ => String::new(),
            })
        };
        let Some(described) = self.schema().models.get(&words("res_model")?).filter(|model| model.chatter) else {
            return Ok(());
        };
        let partner = self.cell("res.users", "partner_id", user)?.as_ref().and_then(values::as_id);
        if let Some(partner) = partner.filter(|_| user != self.env.user) {
            let kind = match self.id_of(activity, "activity_type_id")? {
                Some(kind) => self.name_of("mail.activity.type", kind)?,
                None => String::new(),
            };
            let name = self.name_of(&described.name, target)?;
            let what = format!("{kind}: you have something to do by {} on {name}.", words("date_deadline")?);
            let title = match words("summary")? {
                summary if summary.is_empty() => kind,
                summary => summary,
            };
            self.notify(described, target, partner, format!("\"{name}: {title}\" assigned to you"), &what)?;
        }
        self.subscribe(described, target, &partner.into_iter().collect::<Vec<_>>())
    }

    fn id_of(&self, activity: Id, field: &str) -> Result<Option<Id>, Error> {
        Ok(self.cell("mail.activity", field, activity)?.as_ref().and_then(values::as_id))
    }

    /// Who activities are for; empty for records of other models.
    pub(crate) fn entrusted_to(&self, model: &Model, ids: &[Id]) -> Result<Vec<Option<Id>>, Error> {
        match model.name.as_str() {
            "mail.activity" => ids.iter().map(|id| self.id_of(*id, "user_id")).collect(),
            _ => Ok(Vec::new()),
        }
    }

    /// Entrusts activities to whoever they are for now, and were not for before.
    pub(crate) fn hand_over(&mut self, model: &Model, ids: &[Id], before: &[Option<Id>]) -> Result<(), Error> {
        let now = self.entrusted_to(model, ids)?;
        for ((id, now), before) in ids.iter().zip(now).zip(before) {
            if now != *before {
                self.entrust(*id)?;
            }
        }
        Ok(())
    }

    /// Marks activities as done: each posts a message and is archived. Returns the last message.
    ///
    /// # Errors
    /// `missing-record`.
    pub fn complete(&mut self, activities: &[Id], feedback: Option<&str>) -> Result<Option<Id>, Error> {
        self.atomically(|writer| {
            writer.require_records("mail.activity", activities)?;
            let mut message = None;
            for id in activities {
                message = Some(writer.complete_one(*id, feedback)?);
            }
            Ok(message)
        })
    }

    /// Open activities of a type on a record: all of them, or those that code scheduled.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`, `unknown-activity-type`.
    pub fn open_activities(&self, model: &str, id: Id, kind: &str, only_automated: bool) -> Result<Vec<Id>, Error> {
        self.require_chatter(model, id)?;
        let kind = self.activity_type(kind)?;
        // A schema that was exported without the field does not tell them apart.
        let only_automated = only_automated && self.schema().model("mail.activity")?.has_column(AUTOMATED);
        let mut open = Vec::new();
        for activity in self.hanging("mail.activity", model, id)? {
            let is_kind = self.cell("mail.activity", "activity_type_id", activity)?.as_ref().and_then(values::as_id)
                == Some(kind);
            let is = |field| self.cell("mail.activity", field, activity).map(|cell| cell == Some(Cell::Integer(1)));
            if is_kind
                && !matches!(self.cell("mail.activity", "active", activity)?, Some(Cell::Integer(0)))
                && (!only_automated || is(AUTOMATED)?)
            {
                open.push(activity);
            }
        }
        Ok(open)
    }

    /// Checks what can be checked of an activity before it is scheduled.
    pub(crate) fn check_activity(&self, activity: &NewActivity) -> Result<(), Error> {
        if let Some(user) = activity.user {
            self.require_records("res.users", &[user])?;
        }
        self.deadline(activity).map(drop)
    }

    /// An activity type by external id or name.
    pub(crate) fn activity_type(&self, kind: &str) -> Result<Id, Error> {
        if let Some(id) = self.xmlid(kind)?
            && self.exists("mail.activity.type", id)?
        {
            return Ok(id);
        }
        let sql = "SELECT id FROM mail_activity_type WHERE name = ?1 ORDER BY coalesce(active, 1) DESC, id LIMIT 1";
        let found = self.conn.prepare_cached(sql).map_err(fault)?.query_row([kind], |row| row.get(0)).optional();
        found.map_err(fault)?.ok_or_else(|| {
            let names = self.activity_type_names().unwrap_or_default();
            let hint = match nearest(kind, names.iter().map(String::as_str)) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => format!("; there are {}", names.join(", ")),
            };
            Error::not_found("unknown-activity-type", format!("there is no activity type `{kind}`{hint}"))
        })
    }

    fn activity_type_names(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT name FROM mail_activity_type WHERE coalesce(active, 1) = 1 AND name IS NOT NULL ORDER BY id";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        let names = statement.query_map([], |row| row.get(0)).map_err(fault)?;
        names.collect::<Result<_, _>>().map_err(fault)
    }

    /// The day by which an activity is due.
    fn deadline(&self, activity: &NewActivity) -> Result<String, Error> {
        if let Some(deadline) = &activity.deadline {
            let field = self.schema().model("mail.activity")?;
            let value = triggerbox_model::value::Value::Date(deadline.clone());
            return match values::to_cell(field, "date_deadline", field.field("date_deadline")?, &value)? {
                Cell::Text(date) => Ok(date),
                _ => Ok(deadline.clone()),
            };
        }
        let today = self.today();
        if !activity.delayed {
            return Ok(today);
        }
        let count = match self.cell("mail.activity.type", "delay_count", activity.kind)? {
            Some(Cell::Integer(count)) => count,
            _ => 0,
        };
        let unit = match self.cell("mail.activity.type", "delay_unit", activity.kind)? {
            Some(Cell::Text(unit)) => unit,
            _ => "days".to_owned(),
        };
        let span = match unit.as_str() {
            "weeks" => jiff::Span::new().try_weeks(count),
            "months" => jiff::Span::new().try_months(count),
            _ => jiff::Span::new().try_days(count),
        };
        let date = today.parse::<jiff::civil::Date>().and_then(|date| date.checked_add(span?));
        Ok(date.map_or(today, |date| date.to_string()))
    }

    /// The icon of a type: its own, or that of the type that comes with Odoo.
    fn activity_icon(&self, kind: Id) -> Result<String, Error> {
        const ICON: &str = "icon";
        if self.schema().model("mail.activity.type")?.has_column(ICON) {
            return Ok(match self.cell("mail.activity.type", ICON, kind)? {
                Some(Cell::Text(icon)) => icon,
                _ => String::new(),
            });
        }
        for (xmlid, icon) in ICONS {
            if self.xmlid(xmlid)? == Some(kind) {
                return Ok(icon.to_owned());
            }
        }
        Ok(String::new())
    }

    fn complete_one(&mut self, id: Id, feedback: Option<&str>) -> Result<Id, Error> {
        let read = |field: &str| self.cell("mail.activity", field, id).map(|cell| cell.unwrap_or(Cell::Null));
        let words = |cell: Cell| match cell {
            Cell::Text(text) => text,
            _ => String::new(),
        };
        let model = words(read("res_model")?);
        let target = values::as_id(&read("res_id")?).unwrap_or_default();
        let kind = values::as_id(&read("activity_type_id")?);
        let (icon, kind) = match kind {
            Some(kind) => (self.activity_icon(kind)?, self.name_of("mail.activity.type", kind)?),
            None => (String::new(), String::new()),
        };
        let (summary, note) = (words(read("summary")?), words(read("note")?));
        let assignee = match values::as_id(&read("user_id")?) {
            user if user == Some(self.env.user) => None,
            Some(user) => Some(self.name_of("res.users", user)?),
            None => Some(String::new()),
        };
        let described = self.schema().model(&model)?;
        let done = DoneActivity {
            icon: &icon,
            kind: &kind,
            summary: &summary,
            note: &note,
            assignee: assignee.as_deref(),
            feedback: feedback.unwrap_or_default(),
        };
        let body = done.body();
        let subtype = self.xmlid(subtype::ACTIVITIES)?;
        let message = self.post(&described.name, target, Post { body, subtype, ..Post::default() })?;
        let row = Row::from([
            ("active".to_owned(), Cell::Integer(0)),
            ("feedback".to_owned(), feedback.map_or(Cell::Null, text)),
            ("date_done".to_owned(), text(self.today())),
        ]);
        self.set_row("mail.activity", id, row)?;
        Ok(message)
    }

    /// The responsible is told that the record is theirs now.
    pub(super) fn notify_assigned(&mut self, model: &Model, id: Id, partner: Id) -> Result<(), Error> {
        let name = self.name_of(&model.name, id)?;
        let what = format!("you have been assigned to the {} {name}.", model.description);
        self.notify(model, id, partner, format!("You have been assigned to {name}"), &what)
    }

    /// A message of the system to one partner only.
    fn notify(&mut self, model: &Model, id: Id, partner: Id, subject: String, what: &str) -> Result<(), Error> {
        let who = self.name_of("res.partner", partner)?;
        let body = format!("<div>Dear {}, {}</div>", html::escape(&who), html::escape(what));
        self.notify_all(model, id, &[partner], &subject, body)
    }

    /// A message to some partners only.
    pub(crate) fn notify_all(
        &mut self,
        model: &Model,
        id: Id,
        partners: &[Id],
        subject: &str,
        body: String,
    ) -> Result<(), Error> {
        let author = self.user_partner()?;
        let email = self.formatted_email(author)?;
        let note = self.xmlid(subtype::NOTE)?;
        let message = self.add_record(
            "mail.message",
            vec![
                ("model", text(&model.name)),
                ("res_id", link(id)),
                ("body", text(body)),
                ("subject", if subject.is_empty() { Cell::Null } else { text(subject) }),
                ("message_type", text("user_notification")),
                ("subtype_id", link_or_null(note)),
                ("is_internal", Cell::Integer(1)),
                ("author_id", link_or_null(author)),
                ("email_from", email.map_or(Cell::Null, text)),
                ("date", text(self.env.now.strftime("%Y-%m-%d %H:%M:%S").to_string())),
            ],
        )?;
        self.add_pairs("mail.message", "partner_ids", message, partners)
    }
}

/// The icons of the types that come with Odoo, by external id.
const ICONS: [(&str, &str); 6] = [
    ("mail.mail_activity_data_email", "fa-envelope"),
    ("mail.mail_activity_data_call", "fa-phone"),
    ("mail.mail_activity_data_meeting", "fa-users"),
    ("mail.mail_activity_data_todo", "fa-check"),
    ("mail.mail_activity_data_upload_document", "fa-upload"),
    ("mail.mail_activity_data_warning", "fa-warning"),
];

/// An activity that is done, in words.
struct DoneActivity<'a> {
    icon: &'a str,
    kind: &'a str,
    summary: &'a str,
    note: &'a str,
    /// Who it was for, if not for whoever did it.
    assignee: Option<&'a str>,
    feedback: &'a str,
}

impl DoneActivity<'_> {
    /// What the chatter says of it: Odoo's own text, spaces included.
    fn body(&self) -> String {
        use std::fmt::Write;

        let named =
            |text: &str| if text.is_empty() { String::new() } else { format!("<span>{}</span>", html::escape(text)) };
        let mut body = format!(
            "<div>\n    <p>\n        <span class=\"fa {} fa-fw\"></span>{} done\n",
            html::escape(self.icon),
            named(self.kind)
        );
        if let Some(assignee) = self.assignee {
            // Writing to a String cannot fail.
            let _ = writeln!(body, "         (originally assigned to {})", named(assignee));
        }
        if !self.summary.is_empty() {
            let _ = writeln!(body, "        <span>: </span>{}", named(self.summary));
        }
        body.push_str("    </p>\n");
        if !self.note.is_empty() && self.note != "<p><br></p>" {
            body.push_str("    \n        <div class=\"o_mail_note_title fw-bold\">Original note:</div>\n        <div>");
            body.push_str(self.note);
            body.push_str("</div>\n");
        }
        if !self.feedback.is_empty() {
            let lines = html::escape(self.feedback).replace('\n', "\n            <br>\n            ");
            body.push_str("    <div>\n        <div class=\"fw-bold\">Feedback:</div>\n            ");
            body.push_str(&lines);
            body.push_str("\n    </div>\n");
        }
        body.push_str("</div>");
        body
    }
}
