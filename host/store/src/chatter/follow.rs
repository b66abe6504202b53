//! Followers.

use std::collections::HashSet;

use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::Model,
    value::{Id, Value},
};

use super::{link, text};
use crate::{
    db::fault,
    ddl::quote,
    write::{Command, Input, Values, Writer, linked_ids, values},
};

impl Writer<'_> {
    /// Whether anybody but the author is told of messages of this subtype on a record.
    pub(super) fn is_followed(
        &self,
        model: &str,
        id: Id,
        subtype: Option<Id>,
        author: Option<Id>,
    ) -> Result<bool, Error> {
        let (Some(subtype), Some(followers)) = (subtype, self.schema().models.get("mail.followers")) else {
            return Ok(false);
        };
        self.searched("mail.followers")?;
        let sql = "SELECT id FROM mail_followers WHERE res_model = ?1 AND res_id = ?2 AND partner_id IS NOT ?3";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        let found = statement.query_map((model, id, author), |row| row.get(0)).map_err(fault)?;
        let found: Vec<Id> = found.collect::<Result<_, _>>().map_err(fault)?;
        let subtypes = followers.field("subtype_ids")?;
        for follower in found {
            if linked_ids(self.conn, subtypes, follower)?.contains(&subtype) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes partners follow a record; archived ones are passed over, those who follow already stay as they are.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`.
    pub fn add_followers(&mut self, model: &str, id: Id, partners: &[Id]) -> Result<(), Error> {
        self.add_followers_of(model, id, partners, None)
    }

    /// The same, for some kinds of messages only; those who follow already follow these from now on.
    ///
    /// # Errors
    /// As [`Self::add_followers`]; `missing-record` for a subtype too.
    pub fn add_followers_of(
        &mut self,
        model: &str,
        id: Id,
        partners: &[Id],
        subtypes: Option<&[Id]>,
    ) -> Result<(), Error> {
        self.atomically(|writer| {
            let described = writer.schema().model(model)?;
            writer.require_chatter(model, id)?;
            writer.require_records("res.partner", partners)?;
            let mut active = Vec::new();
            for partner in partners {
                if !matches!(writer.cell("res.partner", "active", *partner)?, Some(Cell::Integer(0))) {
                    active.push(*partner);
                }
            }
            writer.subscribe(described, id, &active)?;
            let Some(subtypes) = subtypes else { return Ok(()) };
            let followers = writer.schema().model("mail.followers")?;
            writer.require_records("mail.message.subtype", subtypes)?;
            for follower in writer.hanging("mail.followers", model, id)? {
                let partner = writer.cell("mail.followers", "partner_id", follower)?;
                if partner.as_ref().and_then(values::as_id).is_some_and(|partner| active.contains(&partner)) {
                    let field = followers.field("subtype_ids")?;
                    let chosen = vec![Command::Replace(subtypes.to_vec())];
                    writer.relate(followers, follower, "subtype_ids", field, chosen)?;
                }
            }
            Ok(())
        })
    }

    /// Who follows a record, each with the kinds of messages that they follow.
    pub(crate) fn followers_of(&self, model: &str, id: Id) -> Result<Vec<(Id, Vec<Id>)>, Error> {
        let Some(subtypes) =
            self.schema().models.get("mail.followers").and_then(|model| model.fields.get("subtype_ids"))
        else {
            return Ok(Vec::new());
        };
        let mut followers = Vec::new();
        for follower in self.hanging("mail.followers", model, id)? {
            let partner = self.cell("mail.followers", "partner_id", follower)?;
            if let Some(partner) = partner.as_ref().and_then(values::as_id) {
                followers.push((partner, linked_ids(self.conn, subtypes, follower)?));
            }
        }
        Ok(followers)
    }

    /// Makes partners follow a record no longer.
    ///
    /// # Errors
    /// `no-chatter`, `missing-record`.
    pub fn remove_followers(&mut self, model: &str, id: Id, partners: &[Id]) -> Result<(), Error> {
        self.atomically(|writer| {
            writer.require_chatter(model, id)?;
            let mut leaving = Vec::new();
            for follower in writer.hanging("mail.followers", model, id)? {
                let partner = writer.cell("mail.followers", "partner_id", follower)?;
                if partner.as_ref().and_then(values::as_id).is_some_and(|partner| partners.contains(&partner)) {
                    leaving.push(follower);
                }
            }
            writer.delete_quietly("mail.followers", &leaving)
        })
    }

    /// Adds followers with the subtypes that the model's followers get by default.
    pub(super) fn subscribe(&mut self, model: &Model, id: Id, partners: &[Id]) -> Result<(), Error> {
        if !self.schema().models.contains_key("mail.followers") {
            return Ok(());
        }
        self.searched("mail.followers")?;
        for partner in partners {
            // A contact may follow a million records, and a record has a few followers: `+` keeps SQLite to those.
            let sql = "SELECT 1 FROM mail_followers WHERE res_model = ?1 AND res_id = ?2 AND +partner_id = ?3";
            if !self.conn.prepare_cached(sql).map_err(fault)?.exists((&model.name, id, partner)).map_err(fault)? {
                let subtypes = self.default_subtypes(&model.name, *partner)?;
                self.add_follower(model, &[id], *partner, &subtypes)?;
            }
        }
        Ok(())
    }

    /// Makes a partner follow records that they do not follow.
    pub(super) fn add_follower(
        &mut self,
        model: &Model,
        ids: &[Id],
        partner: Id,
        subtypes: &[Id],
    ) -> Result<(), Error> {
        let follower = vec![("partner_id", link(partner)), ("res_model", text(&model.name))];
        let followers = self.add_on("mail.followers", vec![(follower, ids)])?;
        self.add_all_pairs("mail.followers", "subtype_ids", &followers, subtypes)
    }

    /// Those of new records that anybody but one partner follows. New records have ids one after the other: they are found
    /// together.
    pub(super) fn followed(&self, model: &str, ids: &[Id], but: Option<Id>) -> Result<HashSet<Id>, Error> {
        let (true, Some(first), Some(last)) =
            (self.schema().models.contains_key("mail.followers"), ids.iter().min(), ids.iter().max())
        else {
            return Ok(HashSet::new());
        };
        self.searched("mail.followers")?;
        let sql = "SELECT res_id FROM mail_followers WHERE res_model = ?1 AND res_id BETWEEN ?2 AND ?3 \
                   AND partner_id IS NOT ?4";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        let found = statement.query_map((model, first, last, but), |row| row.get(0)).map_err(fault)?;
        found.collect::<Result<_, _>>().map_err(fault)
    }

    /// Subtypes that a new follower gets; customers get no internal ones.
    pub(super) fn default_subtypes(&self, model: &str, partner: Id) -> Result<Vec<Id>, Error> {
        if !self.schema().models.contains_key("mail.message.subtype") {
            return Ok(Vec::new());
        }
        let shared = self.schema().model("res.partner")?.has_column("partner_share")
            && matches!(self.cell("res.partner", "partner_share", partner)?, Some(Cell::Integer(1)));
        let key = Id::from(shared);
        if let Some(known) = self.memo.borrow().list("mail.message.subtype", model, key) {
            return Ok(known);
        }
        let sql = format!(
            "SELECT id FROM mail_message_subtype WHERE {default} = 1 AND (res_model IS NULL OR res_model = ?1) \
             AND NOT (?2 AND coalesce(internal, 0)) ORDER BY id",
            default = quote("default")
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let rows = statement.query_map((model, shared), |row| row.get(0)).map_err(fault)?;
        let subtypes: Vec<Id> = rows.collect::<Result<_, _>>().map_err(fault)?;
        self.memo.borrow_mut().keep_list("mail.message.subtype", model, key, &subtypes);
        Ok(subtypes)
    }

    /// The new responsible of a record follows it, and is told unless they did it themselves.
    pub(crate) fn follow(&mut self, model: &Model, ids: &[Id], given: &Values) -> Result<(), Error> {
        if !model.chatter || self.options.silent || !self.schema().models.contains_key("mail.followers") {
            return Ok(());
        }
        let responsible =
            model.fields.get("user_id").filter(|f| f.tracking.is_some() && f.relation.as_deref() == Some("res.users"));
        let (Some(_), Some(Input::Value(Value::Many2one(user)))) = (responsible, given.get("user_id")) else {
            return Ok(());
        };
        let user = user.id;
        if matches!(self.cell("res.users", "active", user)?, Some(Cell::Integer(0)) | None) {
            return Ok(());
        }
        let Some(partner) = self.cell("res.users", "partner_id", user)?.as_ref().and_then(values::as_id) else {
            return Ok(());
        };
        for id in ids {
            self.subscribe(model, *id, &[partner])?;
            if user != self.env.user && !self.options.no_assignment_message {
                self.notify_assigned(model, *id, partner)?;
            }
        }
        Ok(())
    }

    /// Those whom a task is given to follow it; who was not assigned before is told, unless they did it themselves.
    pub(crate) fn follow_tasks(
        &mut self,
        model: &Model,
        ids: &[Id],
        given: &Values,
        before: &[Vec<Id>],
    ) -> Result<(), Error> {
        let Some(input) = given.get("user_ids").filter(|_| model.name == "project.task" && model.chatter) else {
            return Ok(());
        };
        if self.options.silent || !self.schema().models.contains_key("mail.followers") {
            return Ok(());
        }
        let mut named: Vec<Id> = Vec::new();
        match input {
            Input::Value(Value::Ids(users)) => named.extend(users),
            Input::Commands(commands) => {
                for command in commands {
                    match command {
                        Command::Link(user) => named.push(*user),
                        Command::Replace(users) => named.extend(users),
                        _ => {}
                    }
                }
            }
            Input::Value(_) => {}
        }
        let mut partners = Vec::new();
        for user in named {
            if matches!(self.cell("res.users", "active", user)?, Some(Cell::Integer(0)) | None) {
                continue;
            }
            let partner = self.cell("res.users", "partner_id", user)?.as_ref().and_then(values::as_id);
            partners.extend(partner.map(|partner| (user, partner)));
        }
        let all: Vec<Id> = partners.iter().map(|(_, partner)| *partner).collect();
        let none = Vec::new();
        for (place, id) in ids.iter().enumerate() {
            self.subscribe(model, *id, &all)?;
            let before = before.get(place).unwrap_or(&none);
            for (user, partner) in &partners {
                if *user != self.env.user && !before.contains(user) && !self.options.no_assignment_message {
                    self.notify_assigned(model, *id, *partner)?;
                }
            }
        }
        Ok(())
    }
}
