//! Messages and notes.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rusqlite::{Connection, OptionalExtension, types::Value as Cell};
use triggerbox_model::{
    call::Operation,
    domain::{Domain, Operand},
    error::Error,
    schema::{Model, Schema},
    value::Id,
};

use super::{Cells, MODELS, link, link_or_null, subtype, text};
use crate::{
    db::fault,
    env::Env,
    rights,
    write::{ChangeLog, Name, Stale, Unwritten, Values, Writer, html, values},
};

/// A message to post.
#[derive(Debug, Clone, PartialEq)]
pub struct Post {
    /// HTML, sanitised when it is stored.
    pub body: String,
    /// Subject line.
    pub subject: Option<String>,
    /// `comment` for people's messages, `notification` for the system's.
    pub message_type: String,
    /// The subtype; none: an internal note.
    pub subtype: Option<Id>,
    /// Who says it.
    pub author: Author,
    /// Sender's address; none: the author's.
    pub email_from: Option<String>,
    /// Partners to notify besides the followers.
    pub partners: Vec<Id>,
    /// File name, MIME type, bytes.
    pub attachments: Vec<(String, String, Vec<u8>)>,
    /// Files that are there already.
    pub attached: Vec<Id>,
    /// The message that it answers; none: the record's latest.
    pub parent: Option<Id>,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Author {
    /// The user's partner.
    #[default]
    User,
    /// Another partner.
    Partner(Id),
    /// Somebody without a contact.
    Nobody,
}

impl Default for Post {
    fn default() -> Self {
        Self {
            body: String::new(),
            subject: None,
            message_type: "notification".to_owned(),
            subtype: None,
            author: Author::User,
            email_from: None,
            partners: Vec::new(),
            attachments: Vec::new(),
            attached: Vec::new(),
            parent: None,
        }
    }
}

/// What follows from new records as soon as somebody looks: their chatter begins, and records that they belong to count them.
#[derive(Debug)]
pub(crate) struct Greeting {
    model: String,
    ids: Vec<Id>,
    /// Who is made responsible for each.
    given: Vec<Values>,
    counts: Counts,
}

/// Fields that count, by model, with the records that are to count again.
pub(crate) type Counts = BTreeMap<(String, String), BTreeSet<Id>>;

impl Greeting {
    /// What is not counted yet.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// What is read of given values when a record is greeted.
pub(crate) fn responsible(given: &Values) -> Values {
    let told = ["user_id", "user_ids"].into_iter().filter_map(|name| given.get_key_value(name));
    told.map(|(name, input)| (name.clone(), input.clone())).collect()
}

/// Whether a record rule for an operation on a model is about followers, messages or activities, or about what is not counted
/// yet.
///
/// # Errors
/// What the database says; a rule that makes no sense.
pub(crate) fn rules_ask_chatter(
    conn: &Connection,
    env: &Env,
    model: &str,
    operation: Operation,
    counts: &Counts,
) -> Result<bool, Error> {
    if env.superuser {
        return Ok(false);
    }
    let uncounted: Vec<&str> = counts.keys().map(|(_, field)| field.as_str()).collect();
    Ok(asks_chatter(&env.schema, model, &rights::rule_domain(conn, env, model, operation)?, &uncounted))
}

/// Whether a domain on a model looks at followers, messages or activities: through a relation to them, whatever its name, or
/// by a field that is computed from them. Or at an uncounted field, which may show in another that is not stored.
fn asks_chatter(schema: &Schema, model: &str, domain: &Domain, uncounted: &[&str]) -> bool {
    let mut asks = false;
    domain.for_each_condition(&mut |condition| {
        let mut reached = model;
        for step in condition.field.split('.') {
            asks |= step.starts_with("message_") || step.starts_with("activity_");
            let field = schema.models.get(reached).and_then(|model| model.fields.get(step));
            let shown = field.is_some_and(|field| !field.store && field.related.is_some());
            asks |= !uncounted.is_empty() && (shown || uncounted.contains(&step));
            reached = field.and_then(|field| field.relation.as_deref()).unwrap_or_default();
            asks |= MODELS.contains(&reached);
        }
        asks |= matches!(&condition.value, Operand::Domain(inner) if asks_chatter(schema, reached, inner, uncounted));
    });
    asks
}

impl<'a> Writer<'a> {
    /// Posts a message on a record; returns it.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`.
    pub fn post(&mut self, model: &str, id: Id, post: Post) -> Result<Id, Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            writer.require_chatter(model, id)?;
            writer.require_records("res.partner", &post.partners)?;
            writer.check_posting(model, id)?;
            writer.post_on(described, id, post)
        })
    }

    /// Fails unless the user may post on a record.
    fn check_posting(&self, model: &str, id: Id) -> Result<(), Error> {
        match self.env.superuser {
            true => Ok(()),
            false => rights::check_access(self.conn, self.env, model, &[id], rights::to_post_on(model)),
        }
    }

    /// The subtypes behind a message (true) and a note (false).
    ///
    /// # Errors
    /// What the database says.
    pub fn subtype_of(&self, comment: bool) -> Result<Option<Id>, Error> {
        self.xmlid(if comment { subtype::COMMENT } else { subtype::NOTE })
    }

    fn post_on(&mut self, model: &Model, id: Id, post: Post) -> Result<Id, Error> {
        self.post_among(model, id, post, false)
    }

    /// Posts a message; `alone`: the record is known to have no other, and no follower besides the author.
    fn post_among(&mut self, model: &Model, id: Id, post: Post, alone: bool) -> Result<Id, Error> {
        let user = self.user_partner()?;
        let author = match post.author {
            Author::User => user,
            Author::Partner(partner) => Some(partner),
            Author::Nobody => None,
        };
        let email = match post.email_from {
            Some(email) => Some(email),
            None => self.formatted_email(author)?,
        };
        let comment = self.xmlid(subtype::COMMENT)?;
        let subtype = match post.subtype {
            Some(subtype) => Some(subtype),
            None => self.xmlid(subtype::NOTE)?,
        };
        if self.options.recipients_follow && !post.partners.is_empty() {
            self.subscribe(model, id, &post.partners)?;
        }
        let parent = match post.parent {
            Some(parent) => Some(parent),
            // The discussion on a contact is no thread: each message stands for itself.
            None if alone || model.name == "res.partner" => None,
            None => self.ancestor(&model.name, id)?,
        };
        let subject = match post.subject {
            None if !post.partners.is_empty() || (!alone && self.is_followed(&model.name, id, subtype, author)?) => {
                Some(self.name_of(&model.name, id)?)
            }
            subject => subject,
        };
        let now = self.now_seconds();
        let message = self.add_record(
            "mail.message",
            vec![
                ("model", text(&model.name)),
                ("res_id", link(id)),
                ("body", text(self.sanitized(&post.body))),
                ("subject", subject.map_or(Cell::Null, text)),
                ("message_type", text(&post.message_type)),
                ("subtype_id", link_or_null(subtype)),
                ("author_id", link_or_null(author)),
                ("email_from", email.map_or(Cell::Null, text)),
                ("date", text(now)),
                ("parent_id", link_or_null(parent)),
            ],
        )?;
        self.add_pairs("mail.message", "partner_ids", message, &post.partners)?;
        self.attach(model, id, message, post.attachments, post.attached)?;
        let by_hand = !matches!(
            post.message_type.as_str(),
            "notification" | "user_notification" | "auto_comment" | "out_of_office"
        );
        if by_hand
            && !self.options.no_subscription
            && subtype.is_some()
            && subtype == comment
            && self.is_active_internal_user()?
        {
            self.subscribe(model, id, &user.into_iter().collect::<Vec<_>>())?;
        }
        Ok(message)
    }

    /// Stores files with the message that brings them, beside those that are there already and that the user may read.
    fn attach(
        &mut self,
        model: &Model,
        id: Id,
        message: Id,
        files: Vec<(String, String, Vec<u8>)>,
        mut ids: Vec<Id>,
    ) -> Result<(), Error> {
        if files.is_empty() && ids.is_empty() {
            return Ok(());
        }
        if !self.schema().models.contains_key("ir.attachment") {
            return Err(Error::invalid(
                "no-attachments",
                "this backend's models have no `ir.attachment`: files cannot be stored",
            ));
        }
        self.require_records("ir.attachment", &ids)?;
        if !(ids.is_empty() || self.env.superuser) {
            rights::check_access(self.conn, self.env, "ir.attachment", &ids, Operation::Read)?;
        }
        for (name, mime_type, bytes) in files {
            let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
            ids.push(self.add_record(
                "ir.attachment",
                vec![
                    ("name", text(name)),
                    ("mimetype", text(mime_type)),
                    ("res_model", text(&model.name)),
                    ("res_id", link(id)),
                    ("file_size", Cell::Integer(size)),
                    ("raw", Cell::Blob(bytes)),
                ],
            )?);
        }
        self.add_pairs("mail.message", "attachment_ids", message, &ids)
    }

    /// A message of the system under a subtype.
    pub(super) fn post_system(&mut self, model: &Model, id: Id, body: String, subtype: Id) -> Result<Id, Error> {
        self.post_on(model, id, Post { body, subtype: Some(subtype), ..Post::default() })
    }

    /// Logs a note of the system on a record; its body is HTML. Nobody is notified.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`; `access-denied`: the user may not post there.
    pub fn log(&mut self, model: &str, id: Id, body: &str) -> Result<Id, Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            writer.require_chatter(model, id)?;
            writer.check_posting(model, id)?;
            writer.log_note(described, id, body.to_owned())
        })
    }

    /// A log note of the system: nobody is notified.
    pub(crate) fn log_note(&mut self, model: &Model, id: Id, body: String) -> Result<Id, Error> {
        let author = self.user_partner()?;
        let note = self.note(model, id, &body, author)?;
        self.add_record("mail.message", note)
    }

    fn note(&self, model: &Model, id: Id, body: &str, author: Option<Id>) -> Result<Cells, Error> {
        let email = self.formatted_email(author)?;
        let note = self.xmlid(subtype::NOTE)?;
        // In the order in which a row keeps them.
        Ok(vec![
            ("author_id", link_or_null(author)),
            ("body", text(self.sanitized(body))),
            ("date", text(self.now_seconds())),
            ("email_from", email.map_or(Cell::Null, text)),
            ("is_internal", Cell::Integer(1)),
            ("message_type", text("notification")),
            ("model", text(&model.name)),
            ("res_id", link(id)),
            ("subtype_id", link_or_null(note)),
        ])
    }

    /// Does what follows from new records, or leaves it to who looks at it first: nothing in it can be refused. The record
    /// rules look at it at once if they are about it. `rows`: the records whose rows are still to be added; that is left, too,
    /// if it is nothing to anybody.
    pub(crate) fn greet_or_put_off(
        &mut self,
        model: &Model,
        ids: &[Id],
        rows: Vec<Id>,
        given: Vec<Values>,
        stale: Stale<'a>,
    ) -> Result<(), Error> {
        /// What a template brings with it has a chatter of its own, which begins after the template's.
        const BRINGS_OTHERS: &str = "product.template";
        // Records that others bring with them (lines, companies) are greeted before those.
        let is_first = self.depth <= 2;
        if !self.puts_off_greeting || !is_first || model.name == BRINGS_OTHERS {
            self.insert_rows(model, &rows)?;
            self.recompute(stale)?;
            return self.greet(model, ids, &given);
        }
        let waits = self.may_wait(&stale);
        let (later, now) = if waits { (stale, Stale::new()) } else { (Stale::new(), stale) };
        let owned = |((model, field), ids): (&Name<'_>, &BTreeSet<Id>)| {
            (((*model).to_owned(), (*field).to_owned()), ids.clone())
        };
        let counts: Counts = later.iter().map(owned).collect();
        let is_asked = rules_ask_chatter(self.conn, self.env, &model.name, Operation::Create, &counts)?;
        if waits && !is_asked && rows == ids && self.may_have_made(model, ids)? {
            self.unwritten = Some(Unwritten { model: model.name.clone(), ids: rows, log: ChangeLog::default() });
        } else {
            self.insert_rows(model, &rows)?;
        }
        self.recompute(now)?;
        if !is_asked {
            self.greeting = Some(Greeting { model: model.name.clone(), ids: ids.to_vec(), given, counts });
            return Ok(());
        }
        self.recompute(later)?;
        self.greet(model, ids, &given)
    }

    /// Does what follows from new records that was put off.
    pub(crate) fn greet_now(&mut self, greeting: &Greeting) -> Result<(), Error> {
        self.atomically(|writer| {
            let mut stale = Stale::new();
            for ((model, field), ids) in &greeting.counts {
                let described = writer.schema().model(model)?;
                if let Some((field, _)) = described.fields.get_key_value(field) {
                    stale.insert((described.name.as_str(), field.as_str()), ids.clone());
                }
            }
            writer.recompute(stale)?;
            let model = writer.schema().model(&greeting.model)?;
            writer.greet(model, &greeting.ids, &greeting.given)
        })
    }

    /// What new records' chatter begins with: their creator follows, so does whoever was made responsible, and a note
    /// says that the record was made. `given`: what the caller gave for each.
    fn greet(&mut self, model: &Model, ids: &[Id], given: &[Values]) -> Result<(), Error> {
        /// Whoever makes one of these does not follow it.
        const NOT_FOLLOWED: [&str; 2] = ["crm.team", "project.project"];
        if !model.chatter || self.options.silent || !self.schema().models.contains_key("mail.message") {
            return Ok(());
        }
        // A task is followed whatever the context says.
        if (!self.options.no_subscription || model.name == "project.task")
            && !NOT_FOLLOWED.contains(&model.name.as_str())
            && self.schema().models.contains_key("mail.followers")
            && self.is_active_internal_user()?
            && let Some(creator) = self.user_partner()?
        {
            let followed = self.followed(&model.name, ids, None)?;
            let subtypes = self.default_subtypes(&model.name, creator)?;
            if followed.is_empty() {
                self.add_follower(model, ids, creator, &subtypes)?;
            } else {
                ids.iter().try_for_each(|id| self.subscribe(model, *id, &[creator]))?;
            }
        }
        for (id, given) in ids.iter().zip(given) {
            self.follow(model, &[*id], given)?;
        }
        if !self.options.no_creation_message {
            self.announce(model, ids)?;
        }
        ids.iter().zip(given).try_for_each(|(id, given)| self.follow_tasks(model, &[*id], given, &[]))
    }

    /// Says on each record that it was made.
    fn announce(&mut self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        let author = self.user_partner()?;
        let mut busy = self.followed(&model.name, ids, author)?;
        busy.extend(self.discussed(&model.name, ids)?);
        if busy.is_empty() {
            let notes = self.creation_notes(model, ids, author)?;
            return self.add_on("mail.message", notes).map(drop);
        }
        for id in ids {
            match self.creation_subtype(model, self.creation_about(model, *id)?)? {
                Some((subtype, words)) => {
                    let post = Post { body: creation_body(&words), subtype: Some(subtype), ..Post::default() };
                    self.post_among(model, *id, post, !busy.contains(id))?;
                }
                None => drop(self.log_note(model, *id, html::escape(&format!("{} created", model.description)))?),
            }
        }
        Ok(())
    }

    /// What says of records that they were made, where there is nothing else: the same of those that follow each other, mostly.
    fn creation_notes<'i>(
        &self,
        model: &Model,
        ids: &'i [Id],
        author: Option<Id>,
    ) -> Result<Vec<(Cells, &'i [Id])>, Error> {
        let about: Vec<Option<Id>> = ids.iter().map(|id| self.creation_about(model, *id)).collect::<Result<_, _>>()?;
        let (mut notes, mut rest) = (Vec::new(), ids);
        for alike in about.chunk_by(|one, other| one == other) {
            let (ids, others) = rest.split_at_checked(alike.len()).unwrap_or((rest, &[]));
            if let (Some(id), Some(about)) = (ids.first(), alike.first()) {
                notes.push((self.creation_note(model, *id, *about, author)?, ids));
            }
            rest = others;
        }
        Ok(notes)
    }

    fn creation_note(&self, model: &Model, id: Id, about: Option<Id>, author: Option<Id>) -> Result<Cells, Error> {
        let Some((subtype, words)) = self.creation_subtype(model, about)? else {
            return self.note(model, id, &html::escape(&format!("{} created", model.description)), author);
        };
        let email = self.formatted_email(author)?;
        Ok(vec![
            ("author_id", link_or_null(author)),
            ("body", text(self.sanitized(&creation_body(&words)))),
            ("date", text(self.now_seconds())),
            ("email_from", email.map_or(Cell::Null, text)),
            ("message_type", text("notification")),
            ("model", text(&model.name)),
            ("res_id", link(id)),
            ("subtype_id", link(subtype)),
        ])
    }

    /// Those of new records that have messages.
    fn discussed(&self, model: &str, ids: &[Id]) -> Result<HashSet<Id>, Error> {
        let (Some(first), Some(last)) = (ids.iter().min(), ids.iter().max()) else { return Ok(HashSet::new()) };
        self.searched("mail.message")?;
        let sql = "SELECT res_id FROM mail_message WHERE model = ?1 AND res_id BETWEEN ?2 AND ?3";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        let found = statement.query_map((model, first, last), |row| row.get(0)).map_err(fault)?;
        found.collect::<Result<_, _>>().map_err(fault)
    }

    /// A body as it is stored.
    fn sanitized(&self, body: &str) -> String {
        if let Some(known) = self.memo.borrow().html(body) {
            return known;
        }
        let clean = html::sanitize(body);
        self.memo.borrow_mut().keep_html(body, &clean);
        clean
    }

    /// The message that a new one hangs under: the latest comment or mail, else the latest of all.
    fn ancestor(&self, model: &str, id: Id) -> Result<Option<Id>, Error> {
        self.searched("mail.message")?;
        // The latest of each kind is found at the end of the index: one query for both would sort all messages.
        let latest = |kind: &str| -> Result<Option<Id>, Error> {
            let sql = format!(
                "SELECT id FROM mail_message WHERE model = ?1 AND res_id = ?2 AND message_type {kind} \
                 ORDER BY date DESC, id DESC LIMIT 1"
            );
            let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
            statement.query_row((model, id), |row| row.get(0)).optional().map_err(fault)
        };
        let Some(any) = latest("<> 'user_notification'")? else { return Ok(None) };
        Ok(Some(latest("IN ('comment', 'email')")?.unwrap_or(any)))
    }

    /// `"Name" <address>`
    pub(crate) fn formatted_email(&self, partner: Option<Id>) -> Result<Option<String>, Error> {
        let Some(partner) = partner else { return Ok(None) };
        let Some(Cell::Text(email)) = self.cell("res.partner", "email", partner)? else { return Ok(None) };
        let name = match self.cell("res.partner", "name", partner)? {
            Some(Cell::Text(name)) => name,
            _ => String::new(),
        };
        Ok(Some(format!("\"{}\" <{email}>", name.replace('\\', "\\\\").replace('"', "\\\""))))
    }

    /// Whether the user is a person of the house, and not archived.
    fn is_active_internal_user(&self) -> Result<bool, Error> {
        let Some(users) = self.schema().models.get("res.users") else { return Ok(false) };
        let flag = |name: &str, otherwise: bool| -> Result<bool, Error> {
            if !users.has_column(name) {
                return Ok(otherwise);
            }
            Ok(matches!(self.cell("res.users", name, self.env.user)?, Some(Cell::Integer(1))))
        };
        Ok(flag("active", true)? && !flag("share", false)?)
    }

    /// The time as messages carry it: whole seconds.
    pub(crate) fn now_seconds(&self) -> String {
        let mut now = self.now();
        now.truncate("2026-06-17 13:05:00".len());
        now
    }

    /// What a path leads to from a record; NULL when it breaks off.
    pub(super) fn path_cell(&self, model: &Model, path: &str, id: Id) -> Result<Cell, Error> {
        Ok(self.follow_path(model, path, id)?.filter(|cell| values::as_id(cell).is_some()).unwrap_or(Cell::Null))
    }
}

fn creation_body(words: &str) -> String {
    format!("<div summary=\"o_mail_notification\"><p>{}</p></div>", html::escape(words))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn chatter_is_asked_for_by_any_relation_to_it() {
        let many = |model: &str| json!({ "type": "one2many", "relation": model, "relation_field": "res_id" });
        let link = |model: &str| json!({ "type": "many2one", "relation": model });
        let schema = json!({
            "lead": { "description": "Lead", "fields": {
                "name": { "type": "char" }, "order_id": link("order"), "website_message_ids": many("mail.message"),
                "mail_id": link("mail.template"), "message_is_follower": { "type": "boolean" } } },
            "order": { "description": "Order", "fields": {
                "lead_id": link("lead"), "watched_by": many("mail.followers"), "to_do": many("mail.activity") } },
        });
        let schema: Schema = serde_json::from_value(schema).unwrap();
        for (domain, asks) in [
            ("[('name', '=', 'x'), ('order_id.lead_id.name', '=', 'x')]", false),
            ("[('order_id', 'any', [('lead_id', '!=', False)])]", false),
            ("[('mail_id', '!=', False)]", false),
            ("[('website_message_ids', '!=', False)]", true),
            ("[('message_is_follower', '=', True)]", true),
            ("['|', ('name', '=', 'x'), ('order_id.watched_by.partner_id', '=', 1)]", true),
            ("[('order_id', 'any', [('to_do', '!=', False)])]", true),
            ("[('order_id.lead_id', 'not any', [('website_message_ids', '=', False)])]", true),
        ] {
            assert_eq!(asks_chatter(&schema, "lead", &Domain::parse(domain).unwrap(), &[]), asks, "{domain}");
        }
    }
}
