//! Business methods of the standard models that scripts call by name.

use indexmap::IndexSet;
use rusqlite::types::Value as Cell;
use serde_json::{Map, Value as Json};
use triggerbox_model::{
    allowance::Room,
    call::Operation,
    error::{Error, ErrorKind},
    schema::Model,
    text::nearest,
    value::{Id, Value},
};

use crate::{
    chatter::{Author, NewActivity, Post},
    db::fault,
    rights,
    write::{Input, Row, Values, Writer, html, json, values},
};

/// A method of a model, or of all (`*`), with the names of its arguments.
const METHODS: [(&str, &str, &[&str]); 28] = [
    ("*", "action_archive", &[]),
    ("*", "action_unarchive", &[]),
    ("*", "toggle_active", &[]),
    ("*", "message_post", MESSAGE),
    ("*", "message_notify", &["body", "body_is_html", "subject", "partner_ids"]),
    ("*", "message_subscribe", &["partner_ids", "subtype_ids"]),
    ("*", "message_unsubscribe", &["partner_ids"]),
    ("*", "activity_schedule", ACTIVITY),
    ("*", "activity_feedback", &["act_type_xmlids", "user_id", "feedback", "only_automated"]),
    ("*", "activity_unlink", &["act_type_xmlids", "user_id", "only_automated"]),
    ("*", "activity_reschedule", RESCHEDULE),
    ("*", "_message_log", LOG),
    ("crm.lead", "action_set_won", &[]),
    ("crm.lead", "action_set_lost", VALUES),
    ("crm.lead", "action_restore", &[]),
    ("crm.lead", "convert_opportunity", &["partner", "user_ids", "team_id"]),
    ("sale.order", "action_lock", &[]),
    ("sale.order", "action_unlock", &[]),
    ("sale.order", "action_confirm", &[]),
    ("sale.order", "action_cancel", &[]),
    ("sale.order", "action_draft", &[]),
    ("sale.order", "action_quotation_sent", &[]),
    ("account.move", "action_post", &[]),
    ("account.move", "button_cancel", &[]),
    ("account.move", "button_draft", &[]),
    ("mail.activity", "action_cancel", &[]),
    ("mail.activity", "action_done", &[]),
    ("mail.activity", "action_feedback", &["feedback"]),
];

/// The arguments of `message_post`.
const MESSAGE: &[&str] = &[
    "body",
    "body_is_html",
    "subject",
    "message_type",
    "subtype_xmlid",
    "subtype_id",
    "author_id",
    "email_from",
    "partner_ids",
    "attachment_ids",
    "parent_id",
];

/// The arguments of `_message_log`.
const LOG: &[&str] = &["body", "body_is_html", "subject", "author_id", "email_from", "message_type", "partner_ids"];

/// The arguments of `activity_reschedule`.
const RESCHEDULE: &[&str] = &["act_type_xmlids", "user_id", "date_deadline", "new_user_id", "only_automated"];

/// The arguments of `activity_schedule`.
const ACTIVITY: &[&str] = &["act_type_xmlid", "activity_type_id", "summary", "note", "date_deadline", "user_id"];

/// Arguments that are fields of the model.
const VALUES: &[&str] = &["*"];

/// What Odoo's methods that post are told of the e-mails that they send: none is sent here.
const OF_EMAILS: [&str; 12] = [
    "email_add_signature",
    "email_layout_xmlid",
    "force_email_company",
    "force_email_lang",
    "force_record_name",
    "force_send",
    "mail_auto_delete",
    "mail_headers",
    "model_description",
    "send_after_commit",
    "skip_existing",
    "subtitles",
];

/// The arguments of a method of a model.
///
/// # Errors
/// `unknown-method`
pub(crate) fn known(model: &Model, method: &str) -> Result<&'static [&'static str], Error> {
    let of_model = || METHODS.iter().filter(move |(owner, ..)| *owner == "*" || *owner == model.name);
    if let Some((_, _, arguments)) = of_model().find(|(_, name, _)| *name == method) {
        return Ok(*arguments);
    }
    let names: Vec<&str> = of_model().map(|(_, name, _)| *name).collect();
    let hint = match nearest(method, names.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; there are {}", names.join(", ")),
    };
    Err(Error::not_found("unknown-method", format!("`{}` has no method `{method}` here{hint}", model.name)))
}

/// Fails unless the model has the method, and the method all of these arguments; the arguments.
///
/// # Errors
/// `unknown-method`, `bad-arguments`; `unknown-field`, where arguments are fields.
pub(crate) fn check(model: &Model, method: &str, arguments_json: &str) -> Result<Map<String, Json>, Error> {
    let arguments = arguments_of(method, arguments_json)?;
    let known = known(model, method)?;
    if known == VALUES {
        arguments.keys().try_for_each(|name| model.field(name).map(drop))?;
        return Ok(arguments);
    }
    takes_all(method, known, &arguments)?;
    Ok(arguments)
}

fn takes_all(method: &str, known: &[&str], arguments: &Map<String, Json>) -> Result<(), Error> {
    let posts = matches!(method, "message_post" | "message_notify");
    let takes = |name: &str| known.contains(&name) || posts && OF_EMAILS.contains(&name);
    // One that is given as nothing is not given.
    let said = arguments.iter().filter(|(_, value)| !is_nothing(value)).map(|(name, _)| name);
    let Some(unknown) = said.into_iter().find(|name| !takes(name)) else { return Ok(()) };
    let hint = match nearest(unknown, known.iter().copied()) {
        _ if known.is_empty() => "; it takes none".to_owned(),
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; it takes {}", known.join(", ")),
    };
    Err(Error::invalid("bad-arguments", format!("`{method}` has no argument `{unknown}` here{hint}")))
}

fn is_nothing(value: &Json) -> bool {
    matches!(value, Json::Null | Json::Bool(false))
        || value.as_str().is_some_and(str::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}

/// Calls a method with a JSON object of named arguments; what it answers, as JSON.
///
/// # Errors
/// `unknown-method`, `bad-arguments`, and what the method refuses.
pub fn call(
    writer: &mut Writer<'_>,
    model: &str,
    ids: &[Id],
    method: &str,
    arguments_json: &str,
) -> Result<Json, Error> {
    let described = writer.schema().model(model)?;
    let arguments = check(described, method, arguments_json)?;
    writer.require_records(model, ids)?;
    writer.atomically(|writer| Call { model: described, ids, arguments: &arguments }.run(writer, method))
}

/// Records of which `copy_data` is told at once.
const COPIES_AT_ONCE: usize = 50;

/// Asks what a method of every model says; it changes nothing. In Odoo's JSON form, as far as there is room for it.
///
/// # Errors
/// `unknown-method`, `bad-arguments`; as [`Writer::default_get`] and [`Writer::copy_data`].
pub fn ask(
    writer: &mut Writer<'_>,
    model: &str,
    ids: &[Id],
    method: &str,
    arguments_json: &str,
    room: &mut Room,
) -> Result<String, Error> {
    let arguments = arguments_of(method, arguments_json)?;
    let described = writer.schema().model(model)?;
    match method {
        "default_get" => {
            takes_all(method, &["fields", "fields_list"], &arguments)?;
            // The argument has had two names.
            let fields = arguments.get("fields").or_else(|| arguments.get("fields_list")).cloned();
            let fields: Vec<String> = serde_json::from_value(fields.unwrap_or_default())
                .map_err(|_| Error::invalid("bad-arguments", "`fields` is no list of names"))?;
            let defaults = writer.default_get(model, &fields)?;
            Ok(json::object(writer.schema(), described, &defaults).to_string())
        }
        "copy_data" => {
            takes_all(method, &["default"], &arguments)?;
            let given = match arguments.get("default") {
                Some(Json::Object(given)) => json::values(writer.schema(), described, given)?,
                _ => Values::default(),
            };
            writer.require_records(model, ids)?;
            let mut copies = String::from("[");
            // Also of no records what is given is looked at.
            for ids in ids.chunks(COPIES_AT_ONCE).chain(ids.is_empty().then_some(ids)) {
                for values in &writer.copy_data(model, ids, &given)? {
                    let copy = json::object(writer.schema(), described, values).to_string();
                    let comma = if copies.len() > 1 { "," } else { "" };
                    copies.extend([comma, copy.as_str()]);
                    room.take(copy.len() as u64);
                }
                if room.is_over() {
                    break;
                }
            }
            Ok(copies + "]")
        }
        _ => Err(Error::not_found("unknown-method", format!("`{method}` answers nothing at once"))),
    }
}

/// Arguments that are numbers of records, each with the model: those that are called as a field of the model, or as Odoo's
/// methods call people and subtypes.
pub(crate) fn records_in<'a>(
    model: &Model,
    arguments: &'a mut Map<String, Json>,
) -> impl Iterator<Item = (String, &'a mut Json)> {
    let related = |name: &str| match name {
        "partner" | "partner_id" | "partner_ids" | "author_id" => Some("res.partner".to_owned()),
        "user_id" | "user_ids" => Some("res.users".to_owned()),
        "subtype_id" | "subtype_ids" => Some("mail.message.subtype".to_owned()),
        "activity_type_id" => Some("mail.activity.type".to_owned()),
        "attachment_ids" => Some("ir.attachment".to_owned()),
        name => model.fields.get(name)?.relation.clone(),
    };
    arguments.iter_mut().filter_map(move |(name, value)| Some((related(name)?, value))).flat_map(|(relation, value)| {
        let ids = match value {
            Json::Array(ids) => ids.iter_mut().collect(),
            one => vec![one],
        };
        ids.into_iter().map(move |id| (relation.clone(), id))
    })
}

fn arguments_of(method: &str, json: &str) -> Result<Map<String, Json>, Error> {
    match serde_json::from_str(json) {
        Ok(Json::Object(arguments)) => Ok(arguments),
        Ok(Json::Null) => Ok(Map::new()),
        Err(_) if json.trim().is_empty() => Ok(Map::new()),
        _ => Err(Error::invalid("bad-arguments", format!("the arguments of `{method}` are no JSON object"))),
    }
}

struct Call<'a> {
    model: &'a Model,
    ids: &'a [Id],
    arguments: &'a Map<String, Json>,
}

impl Call<'_> {
    fn run(&self, writer: &mut Writer<'_>, method: &str) -> Result<Json, Error> {
        match (self.model.name.as_str(), method) {
            (_, "action_archive") => self.set_active(writer, |_| false),
            (_, "action_unarchive") | ("crm.lead", "action_restore") => self.set_active(writer, |_| true),
            (_, "toggle_active") => self.set_active(writer, |active| !active),
            (_, "message_post") => self.message_post(writer),
            (_, "message_notify") => self.message_notify(writer),
            (_, "message_subscribe") => {
                let partners = self.partners_to_follow(writer)?;
                let subtypes = match self.arguments.get("subtype_ids") {
                    None | Some(Json::Null | Json::Bool(false)) => None,
                    Some(_) => Some(self.ids_of("subtype_ids")?),
                };
                self.ids.iter().try_for_each(|id| {
                    writer.add_followers_of(&self.model.name, *id, &partners, subtypes.as_deref())
                })?;
                Ok(Json::Bool(true))
            }
            (_, "message_unsubscribe") => {
                let partners = self.partners_to_follow(writer)?;
                self.ids.iter().try_for_each(|id| writer.remove_followers(&self.model.name, *id, &partners))?;
                Ok(if partners.is_empty() { Json::Bool(true) } else { Json::Null })
            }
            (_, "activity_schedule") => self.activity_schedule(writer),
            (_, "activity_feedback" | "activity_unlink" | "activity_reschedule") => self.activities(writer, method),
            (_, "_message_log") => {
                let body = self.arguments.get("body").and_then(Json::as_str).unwrap_or_default();
                let html = self.arguments.get("body_is_html").and_then(Json::as_bool).unwrap_or(false);
                let body = if html { body.to_owned() } else { html::escape(body) };
                let logged: Result<Vec<Id>, Error> = self
                    .ids
                    .iter()
                    .map(|id| {
                        let message = writer.log(&self.model.name, *id, &body)?;
                        self.sign(writer, message)?;
                        Ok(message)
                    })
                    .collect();
                logged.map(Json::from)
            }
            ("crm.lead", "convert_opportunity") => self.convert(writer),
            ("crm.lead", "action_set_won") => self.set_won(writer),
            ("crm.lead", "action_set_lost") => {
                self.set_active(writer, |_| false)?;
                let zero = Value::Number(0.0);
                let mut values = json::values(writer.schema(), self.model, self.arguments)?;
                values.extend(self.plain(&[("probability", zero.clone()), ("automated_probability", zero)]));
                self.write(writer, values)?;
                Ok(Json::Null)
            }
            ("sale.order", "action_confirm") => {
                self.require_state(
                    writer,
                    &["draft", "sent"],
                    "some orders are not in a state requiring confirmation",
                )?;
                let now = Value::Datetime(writer.env.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
                self.write(writer, self.plain(&[("state", Value::text("sale")), ("date_order", now)]))
            }
            ("sale.order", "action_cancel") => self.to_state(writer, "cancel"),
            ("sale.order", "action_draft") => {
                // Orders in other states stay as they are.
                for id in self.ids {
                    if matches!(writer.cell(&self.model.name, "state", *id)?, Some(Cell::Text(state))
                        if matches!(state.as_str(), "cancel" | "sent"))
                    {
                        writer.write(&self.model.name, &[*id], self.plain(&[("state", Value::text("draft"))]))?;
                    }
                }
                Ok(Json::Bool(true))
            }
            ("sale.order", "action_quotation_sent") => {
                self.require_state(writer, &["draft"], "only draft orders can be marked as sent")?;
                self.to_state(writer, "sent")?;
                Ok(Json::Null)
            }
            ("sale.order", "action_lock" | "action_unlock") => {
                self.write(writer, self.plain(&[("locked", Value::Boolean(method == "action_lock"))]))?;
                Ok(Json::Null)
            }
            ("account.move", "action_post") => {
                self.require_state(writer, &["draft"], "only draft entries can be posted")?;
                self.to_state(writer, "posted")
            }
            ("account.move", "button_cancel") => self.to_state(writer, "cancel"),
            ("account.move", "button_draft") => self.to_state(writer, "draft"),
            ("mail.activity", "action_cancel") => {
                writer.unlink("mail.activity", self.ids)?;
                Ok(Json::Null)
            }
            ("mail.activity", _) => {
                let feedback = self.arguments.get("feedback").and_then(Json::as_str).filter(|text| !text.is_empty());
                let message = writer.complete(self.ids, feedback)?;
                Ok(message.map_or(Json::Bool(false), Json::from))
            }
            _ => {
                Err(Error::not_found("unknown-method", format!("`{}` has no method `{method}` here", self.model.name)))
            }
        }
    }

    /// The values of which the model has the field.
    fn plain(&self, values: &[(&str, Value)]) -> Values {
        let known = values.iter().filter(|(name, _)| self.model.fields.contains_key(*name));
        known.map(|(name, value)| ((*name).to_owned(), Input::Value(value.clone()))).collect()
    }

    fn write(&self, writer: &mut Writer<'_>, values: Values) -> Result<Json, Error> {
        writer.write(&self.model.name, self.ids, values)?;
        Ok(Json::Bool(true))
    }

    fn to_state(&self, writer: &mut Writer<'_>, state: &str) -> Result<Json, Error> {
        self.write(writer, self.plain(&[("state", Value::text(state))]))
    }

    fn require_state(&self, writer: &Writer<'_>, states: &[&str], message: &str) -> Result<(), Error> {
        for id in self.ids {
            match writer.cell(&self.model.name, "state", *id)? {
                Some(Cell::Text(state)) if states.contains(&state.as_str()) => {}
                _ => return Err(Error::new(ErrorKind::Rejected, "wrong-state", message).with_field("state")),
            }
        }
        Ok(())
    }

    fn set_active(&self, writer: &mut Writer<'_>, becomes: impl Fn(bool) -> bool) -> Result<Json, Error> {
        let field = self.model.active_name.clone().ok_or_else(|| {
            Error::invalid(
                "no-active-field",
                format!("records of `{}` cannot be archived: the model has no active field", self.model.name),
            )
        })?;
        // Whoever may not see them is not told that there is nothing to do.
        rights::check_access(writer.conn, writer.env, &self.model.name, self.ids, Operation::Read)?;
        for id in self.ids {
            let active =
                !matches!(writer.cell(&self.model.name, &field, *id)?, Some(Cell::Integer(0)) | Some(Cell::Null));
            let next = becomes(active);
            if active && !next && self.model.name == "res.partner" {
                writer.check_no_active_user(*id, "archived")?;
            }
            if next != active {
                let values = Values::from_iter([(field.clone(), Input::Value(Value::Boolean(next)))]);
                let before = std::mem::replace(&mut writer.by_button, true);
                let written = writer.write(&self.model.name, &[*id], values);
                writer.by_button = before;
                written?;
            }
        }
        Ok(Json::Null)
    }

    /// The lead's team's first won stage.
    fn set_won(&self, writer: &mut Writer<'_>) -> Result<Json, Error> {
        self.set_active(writer, |_| true)?;
        let sql = "SELECT id FROM crm_stage WHERE coalesce(is_won, 0) = 1 ORDER BY sequence, id LIMIT 1";
        let stage: Id = writer.conn.query_row(sql, [], |row| row.get(0)).map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => {
                Error::rejected("no-won-stage", "no stage of the pipeline is the won one")
            }
            other => fault(other),
        })?;
        self.write(writer, Values::from_iter([("stage_id".to_owned(), Input::Value(Value::link(stage)))]))
    }

    /// Makes opportunities of leads, for a customer; what is won or lost already stays as it is.
    fn convert(&self, writer: &mut Writer<'_>) -> Result<Json, Error> {
        // A record is given by its number, or as a list of it.
        let id = |name: &str| {
            let given = self.arguments.get(name)?;
            given.as_array().map_or(Some(given), |list| list.first())?.as_u64().and_then(|id| Id::try_from(id).ok())
        };
        let (users, team) = (self.ids_of("user_ids")?, id("team_id"));
        let now = Value::Datetime(writer.env.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        for (place, lead) in self.ids.iter().enumerate() {
            let cell = |field: &str| writer.cell(&self.model.name, field, *lead);
            let lost = matches!(cell("active")?, Some(Cell::Integer(0)) | Some(Cell::Null));
            let won = matches!(cell("probability")?, Some(Cell::Real(probability)) if probability >= 100.0);
            if !(lost || won) {
                let mut values = self.plain(&[("type", Value::text("opportunity")), ("date_conversion", now.clone())]);
                values.extend(id("partner").map(|partner| ("partner_id".to_owned(), link(partner))));
                writer.write(&self.model.name, &[*lead], values)?;
            }
            let mut assigned = Values::default();
            assigned.extend(team.map(|team| ("team_id".to_owned(), link(team))));
            let user = place.checked_rem(users.len()).and_then(|place| users.get(place));
            assigned.extend(user.map(|user| ("user_id".to_owned(), link(*user))));
            if !assigned.is_empty() {
                writer.write(&self.model.name, &[*lead], assigned)?;
            }
        }
        Ok(Json::Bool(true))
    }

    fn message_post(&self, writer: &mut Writer<'_>) -> Result<Json, Error> {
        let text = |name: &str| self.arguments.get(name).and_then(Json::as_str);
        let flag = |name: &str| self.arguments.get(name).and_then(Json::as_bool).unwrap_or(false);
        let id = |name: &str| self.arguments.get(name).and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok());
        let body = text("body").unwrap_or_default();
        let message_type = text("message_type").unwrap_or("notification");
        let messages = writer.schema().model("mail.message")?;
        let types = messages.field("message_type")?;
        values::to_cell(messages, "message_type", types, &Value::text(message_type))?;
        // One that there is not is a note.
        let subtype = match (text("subtype_xmlid").filter(|xmlid| !xmlid.is_empty()), id("subtype_id")) {
            (Some(xmlid), _) => writer.xmlid(xmlid)?,
            (None, id) => id,
        };
        writer.require_records("mail.message.subtype", id("subtype_id").as_slice())?;
        if message_type == "user_notification" {
            let message = "a message to be discussed is no notification to one user; choose another type";
            return Err(Error::invalid("bad-message-type", message).with_field("message_type"));
        }
        let mut posted = None;
        for record in self.ids {
            let post = Post {
                body: if flag("body_is_html") { body.to_owned() } else { html::escape(body) },
                subject: text("subject").filter(|subject| !subject.is_empty()).map(str::to_owned),
                message_type: message_type.to_owned(),
                subtype,
                author: self.author(writer)?,
                email_from: text("email_from").filter(|email| !email.is_empty()).map(str::to_owned),
                partners: self.ids_of("partner_ids")?,
                attachments: Vec::new(),
                attached: self.ids_of("attachment_ids")?,
                parent: id("parent_id"),
            };
            posted = Some(writer.post(&self.model.name, *record, post)?);
        }
        Ok(posted.map_or(Json::Bool(false), Json::from))
    }

    /// Who a message is from: without a word about it the user, or whose address it comes from.
    fn author(&self, writer: &Writer<'_>) -> Result<Author, Error> {
        let given = self.arguments.get("author_id");
        if let Some(partner) = given.and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok()) {
            writer.require_records("res.partner", &[partner])?;
            return Ok(Author::Partner(partner));
        }
        let email = self.arguments.get("email_from").and_then(Json::as_str).filter(|email| !email.is_empty());
        Ok(match (given, email) {
            (Some(Json::Bool(false)), _) => Author::Nobody,
            (_, Some(email)) => writer.partner_by_email(email)?.map_or(Author::Nobody, Author::Partner),
            (_, None) => Author::User,
        })
    }

    /// Gives a message that was logged what else is said of it.
    fn sign(&self, writer: &mut Writer<'_>, message: Id) -> Result<(), Error> {
        let text = |name: &str| self.arguments.get(name).and_then(Json::as_str);
        let said = |name: &str| text(name).filter(|text| !text.is_empty());
        let mut row = Row::new();
        if let Some(subject) = text("subject") {
            row.insert("subject", Cell::Text(subject.to_owned()));
        }
        if let Some(kind) = said("message_type") {
            let messages = writer.schema().model("mail.message")?;
            let types = messages.field("message_type")?;
            row.insert("message_type", values::to_cell(messages, "message_type", types, &Value::text(kind))?);
        }
        let author = match self.author(writer)? {
            Author::User => None,
            Author::Partner(partner) => Some(Some(partner)),
            Author::Nobody => Some(None),
        };
        if let Some(author) = author {
            let email = writer.formatted_email(author)?;
            row.insert("author_id", author.map_or(Cell::Null, |id| Cell::Integer(i64::from(id))));
            row.insert("email_from", email.map_or(Cell::Null, Cell::Text));
        }
        if let Some(email) = said("email_from") {
            row.insert("email_from", Cell::Text(email.to_owned()));
        }
        if !row.is_empty() {
            writer.set_row("mail.message", message, row)?;
        }
        writer.add_pairs("mail.message", "partner_ids", message, &self.ids_of("partner_ids")?)
    }

    /// A message to some people only, which is not part of the discussion.
    fn message_notify(&self, writer: &mut Writer<'_>) -> Result<Json, Error> {
        let text = |name: &str| self.arguments.get(name).and_then(Json::as_str).unwrap_or_default();
        writer.check_operation(self.model, rights::to_post_on(&self.model.name), self.ids)?;
        let partners = self.ids_of("partner_ids")?;
        writer.require_records("res.partner", &partners)?;
        if partners.is_empty() {
            return Err(Error::invalid("bad-arguments", "`partner_ids` is empty: a notification is to somebody"));
        }
        let html = self.arguments.get("body_is_html").and_then(Json::as_bool).unwrap_or(false);
        let body = if html { html::sanitize(text("body")) } else { html::escape(text("body")) };
        for record in self.ids {
            writer.require_chatter(&self.model.name, *record)?;
            writer.notify_all(self.model, *record, &partners, text("subject"), body.clone())?;
        }
        Ok(Json::Bool(true))
    }

    fn activity_schedule(&self, writer: &mut Writer<'_>) -> Result<Json, Error> {
        let text = |name: &str| self.arguments.get(name).and_then(Json::as_str).map(str::to_owned);
        // An activity is made on a record that one may change.
        let activities = writer.schema().model("mail.activity")?;
        writer.check_operation(activities, Operation::Create, &[])?;
        writer.check_operation(self.model, rights::to_post_on(&self.model.name), self.ids)?;
        let id = |name: &str| self.arguments.get(name).and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok());
        // The number counts where both are given.
        let kind = match (id("activity_type_id"), text("act_type_xmlid").filter(|xmlid| !xmlid.is_empty())) {
            (Some(kind), _) => {
                writer.require_records("mail.activity.type", &[kind])?;
                kind
            }
            (None, xmlid) => writer.activity_type(xmlid.as_deref().unwrap_or("mail.mail_activity_data_todo"))?,
        };
        let mut scheduled = Vec::new();
        for record in self.ids {
            let activity = NewActivity {
                kind,
                summary: text("summary").unwrap_or_default(),
                note: text("note").filter(|note| !note.is_empty()),
                // A point in time stands for its day.
                deadline: text("date_deadline")
                    .filter(|day| !day.is_empty())
                    .map(|day| day.split(' ').next().unwrap_or_default().to_owned()),
                user: id("user_id"),
                delayed: false,
            };
            scheduled.push(writer.schedule(&self.model.name, *record, activity)?);
        }
        Ok(Json::from(scheduled))
    }

    /// What is done with the open activities of some types on the records.
    fn activities(&self, writer: &mut Writer<'_>, method: &str) -> Result<Json, Error> {
        let text = |name: &str| self.arguments.get(name).and_then(Json::as_str).filter(|text| !text.is_empty());
        let id = |name: &str| self.arguments.get(name).and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok());
        let kinds = self.arguments.get("act_type_xmlids").and_then(Json::as_array).into_iter().flatten();
        let only_automated = self.arguments.get("only_automated").is_none_or(|only| !is_nothing(only));
        // A type may be named twice, and a record.
        let mut open = IndexSet::new();
        for kind in kinds.filter_map(Json::as_str) {
            for record in self.ids {
                for activity in writer.open_activities(&self.model.name, *record, kind, only_automated)? {
                    let whose = writer.cell("mail.activity", "user_id", activity)?.as_ref().and_then(values::as_id);
                    if id("user_id").is_none_or(|user| whose == Some(user)) {
                        open.insert(activity);
                    }
                }
            }
        }
        let open: Vec<Id> = open.into_iter().collect();
        match method {
            "activity_feedback" => drop(writer.complete(&open, text("feedback"))?),
            "activity_unlink" => writer.unlink("mail.activity", &open)?,
            _ => {
                let mut values = Values::default();
                if let Some(day) = text("date_deadline") {
                    values.insert("date_deadline".to_owned(), Input::Value(Value::Date(day.to_owned())));
                }
                if let Some(user) = id("new_user_id") {
                    values.insert("user_id".to_owned(), link(user));
                }
                writer.write("mail.activity", &open, values)?;
                return Ok(Json::from(open));
            }
        }
        Ok(Json::Bool(true))
    }

    /// The partners that shall follow, or follow no longer, as far as there are any. Whoever reads a record may follow it;
    /// for others one must be allowed to change it.
    fn partners_to_follow(&self, writer: &Writer<'_>) -> Result<Vec<Id>, Error> {
        let partners = self.ids_of("partner_ids")?;
        let alone = writer.user_partner()?.is_some_and(|me| partners.iter().all(|partner| *partner == me));
        let needed = if alone { Operation::Read } else { Operation::Write };
        writer.check_operation(self.model, needed, self.ids)?;
        let mut there = Vec::with_capacity(partners.len());
        for partner in partners {
            if writer.exists("res.partner", partner)? {
                there.push(partner);
            }
        }
        Ok(there)
    }

    fn ids_of(&self, name: &str) -> Result<Vec<Id>, Error> {
        let wrong = || Error::invalid("bad-arguments", format!("`{name}` is no list of ids"));
        match self.arguments.get(name) {
            None | Some(Json::Null | Json::Bool(false)) => Ok(Vec::new()),
            Some(Json::Array(items)) => {
                items.iter().map(|item| item.as_u64().and_then(|id| Id::try_from(id).ok()).ok_or_else(wrong)).collect()
            }
            Some(_) => Err(wrong()),
        }
    }
}

fn link(id: Id) -> Input {
    Input::Value(Value::link(id))
}
