//! On whose behalf, in which language, zone and companies, and at what time something is read or written:
//! Odoo's environment.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use triggerbox_model::{
    error::Error,
    schema::{Field, Schema},
    value::Id,
};

use crate::{
    db::fault,
    ddl::{self, quote, table},
    load::Language,
    rights::Rights,
};

/// The language of texts that say nothing else.
pub const DEFAULT_LANGUAGE: &str = "en_US";

/// One environment. Cheap to clone; a run has one.
#[derive(Debug, Clone)]
pub struct Env {
    /// The models.
    pub schema: Arc<Schema>,
    /// Who may do what.
    pub rights: Arc<Rights>,
    /// The languages that texts are kept in.
    pub languages: Arc<Vec<Language>>,
    /// The user (`res.users`).
    pub user: Id,
    /// What the user signs in with, for refusals that a person reads.
    pub login: Option<String>,
    /// Access rights and record rules do not apply; Odoo's `su`.
    pub superuser: bool,
    /// The user's groups, implied ones included.
    pub groups: BTreeSet<Id>,
    /// Their external ids, which restricted fields go by.
    pub group_names: Arc<BTreeSet<String>>,
    /// Language of translated fields and of names, `en_US`.
    pub lang: String,
    /// First day of the week in relative dates (`=week_start`), from the user's own language: 1 Monday … 7 Sunday.
    pub week_start: i8,
    /// IANA time zone in which dates are meant; none: UTC.
    pub tz: Option<String>,
    /// IANA time zone of date parts and of groupings by time; none: UTC. Odoo takes the context's here, never the
    /// user's own; the context of a user who works with Odoo has it.
    pub context_tz: Option<String>,
    /// Companies whose records are visible, the current one first. Whoever acts by them asks [`Env::allowed_companies`].
    pub companies: Vec<Id>,
    /// A company among them that the user does not work for.
    pub foreign_company: Option<Id>,
    /// Archived records are left out of searches that do not name the active field.
    pub active_test: bool,
    /// The time that relative dates, defaults and log-access fields go by.
    pub now: Timestamp,
}

/// What a caller may set for one call; Odoo's context, as far as it means something here.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Context {
    /// Language of translated fields and names.
    #[serde(default)]
    pub lang: Option<String>,
    /// IANA time zone.
    #[serde(default)]
    pub tz: Option<String>,
    /// Companies to work for, the current one first.
    #[serde(default)]
    pub allowed_company_ids: Option<Vec<Id>>,
    /// Whether archived records are left out.
    #[serde(default)]
    pub active_test: Option<bool>,
}

impl Env {
    /// The environment of a user, as `res.users` has it: groups with all that they imply, language, zone and
    /// companies of their own. Missing fields of the model mean: no groups, no companies, no zone.
    ///
    /// # Errors
    /// `unknown-user`; what the database says.
    pub fn for_user(
        conn: &Connection,
        schema: Arc<Schema>,
        rights: Arc<Rights>,
        user: Id,
        now: Timestamp,
    ) -> Result<Self, Error> {
        let languages: Vec<Language> = ddl::meta(conn, "languages").map_err(fault)?.unwrap_or_default();
        let reader = UserReader { conn, schema: &schema, user };
        if !reader.exists().map_err(fault)? {
            return Err(Error::not_found("unknown-user", format!("there is no user {user}")));
        }
        let groups = reader.groups().map_err(fault)?;
        let group_names = Arc::new(reader.group_names(&groups).map_err(fault)?);
        let companies = reader.companies().map_err(fault)?;
        let lang = reader.text("lang").map_err(fault)?.unwrap_or_else(|| DEFAULT_LANGUAGE.to_owned());
        let tz = reader.text("tz").map_err(fault)?;
        let login = reader.text("login").map_err(fault)?;
        let week_start = week_start(&languages, &lang);
        let languages = Arc::new(languages);
        let (superuser, active_test) = (false, true);
        Ok(Self {
            schema,
            rights,
            languages,
            user,
            login,
            superuser,
            groups,
            group_names,
            lang,
            week_start,
            context_tz: tz.clone(),
            tz,
            companies,
            foreign_company: None,
            active_test,
            now,
        })
    }

    /// The same, without access rights and record rules.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.superuser = true;
        self
    }

    /// The same, with what the context sets. A company that the user does not work for is refused where companies matter,
    /// as Odoo does: see [`Env::allowed_companies`].
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        if let Some(companies) = context.allowed_company_ids.filter(|companies| !companies.is_empty()) {
            let mut foreign = companies.iter().filter(|id| !self.superuser && !self.companies.contains(id));
            self.foreign_company = foreign.next().copied();
            self.companies = companies;
        }
        self.lang = context.lang.unwrap_or(self.lang);
        if context.tz.is_some() {
            self.tz.clone_from(&context.tz);
            self.context_tz = context.tz;
        }
        self.active_test = context.active_test.unwrap_or(self.active_test);
        self
    }

    /// Companies whose records are visible, the current one first.
    ///
    /// # Errors
    /// `foreign-company`: the user does not work for one of them (the superuser may use any).
    pub fn allowed_companies(&self) -> Result<&[Id], Error> {
        match self.foreign_company.filter(|_| !self.superuser) {
            None => Ok(&self.companies),
            Some(foreign) => {
                let message = format!("{} may not work for company {foreign}", self.who());
                Err(Error::denied("foreign-company", message))
            }
        }
    }

    /// The user as a refusal names them: `user "karin" (6)`.
    #[must_use]
    pub fn who(&self) -> String {
        match &self.login {
            Some(login) => format!("user {login:?} ({})", self.user),
            None => format!("user {}", self.user),
        }
    }

    /// Whether texts may be kept in the language in use.
    #[must_use]
    pub fn knows_language(&self) -> bool {
        self.languages.is_empty() || self.languages.iter().any(|language| language.code == self.lang)
    }

    /// Whether a field is shown in another language than the texts in its column are in.
    ///
    /// # Errors
    /// `unknown-language`: it is not installed.
    pub fn translates(&self, field: &Field) -> Result<bool, Error> {
        if !field.translate || self.lang == DEFAULT_LANGUAGE {
            return Ok(false);
        }
        if self.knows_language() {
            return Ok(true);
        }
        let message = format!("unknown language `{}`; use an installed one", self.lang);
        Err(Error::invalid("unknown-language", message))
    }

    /// First day of the week of the language in use, which week buckets of groupings start on.
    #[must_use]
    pub fn group_week_start(&self) -> i8 {
        week_start(&self.languages, &self.lang)
    }

    /// The company that new records belong to.
    ///
    /// # Errors
    /// As [`Env::allowed_companies`].
    pub fn company(&self) -> Result<Option<Id>, Error> {
        Ok(self.allowed_companies()?.first().copied())
    }
}

/// Sunday, unless the language says something else.
fn week_start(languages: &[Language], lang: &str) -> i8 {
    languages.iter().find(|language| language.code == lang).map_or(7, |language| language.week_start)
}

/// Reads what an environment needs of a user, whatever of it the schema has.
struct UserReader<'a> {
    conn: &'a Connection,
    schema: &'a Schema,
    user: Id,
}

impl UserReader<'_> {
    fn field(&self, model: &str, name: &str) -> Option<&Field> {
        self.schema.models.get(model)?.fields.get(name)
    }

    fn exists(&self) -> rusqlite::Result<bool> {
        if !self.schema.models.contains_key("res.users") {
            return Ok(false);
        }
        self.conn.prepare_cached("SELECT 1 FROM \"res_users\" WHERE \"id\" = ?1")?.exists([self.user])
    }

    /// A text of the user, or of the partner behind.
    fn text(&self, name: &str) -> rusqlite::Result<Option<String>> {
        let column = quote(name);
        let sql = if self.field("res.users", name).is_some_and(Field::has_column) {
            format!("SELECT {column} FROM \"res_users\" WHERE \"id\" = ?1")
        } else if self.field("res.partner", name).is_some_and(Field::has_column) {
            format!(
                "SELECT p.{column} FROM \"res_users\" u JOIN \"res_partner\" p ON p.\"id\" = u.\"partner_id\" \
                 WHERE u.\"id\" = ?1"
            )
        } else {
            return Ok(None);
        };
        let text = self.conn.prepare_cached(&sql)?.query_row([self.user], |row| row.get(0)).optional()?;
        Ok(text.flatten())
    }

    /// The other side of a many2many.
    fn pairs(&self, model: &str, name: &str, id: Id) -> rusqlite::Result<Vec<Id>> {
        let Some(pairs) = self.field(model, name).and_then(|field| field.m2m.as_ref()) else { return Ok(Vec::new()) };
        let (one, two) = (quote(&pairs.column1), quote(&pairs.column2));
        let sql = format!("SELECT {two} FROM {} WHERE {one} = ?1 ORDER BY {two}", quote(&pairs.table));
        self.conn.prepare_cached(&sql)?.query_map([id], |row| row.get(0))?.collect()
    }

    /// The user's groups and all that they imply.
    fn groups(&self) -> rusqlite::Result<BTreeSet<Id>> {
        let mut groups = BTreeSet::new();
        let mut open = self.pairs("res.users", "group_ids", self.user)?;
        while let Some(group) = open.pop() {
            if groups.insert(group) {
                open.extend(self.pairs("res.groups", "implied_ids", group)?);
            }
        }
        Ok(groups)
    }

    fn group_names(&self, groups: &BTreeSet<Id>) -> rusqlite::Result<BTreeSet<String>> {
        let sql = "SELECT id, xmlid FROM tb_xmlid WHERE model = 'res.groups'";
        let mut statement = self.conn.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut names = BTreeSet::new();
        while let Some(row) = rows.next()? {
            if groups.contains(&row.get(0)?) {
                names.insert(row.get(1)?);
            }
        }
        Ok(names)
    }

    /// The user's companies, their main one first.
    fn companies(&self) -> rusqlite::Result<Vec<Id>> {
        let mut companies = self.pairs("res.users", "company_ids", self.user)?;
        if self.field("res.users", "company_id").is_some() {
            let sql = format!("SELECT \"company_id\" FROM {} WHERE \"id\" = ?1", quote(&table("res.users")));
            let main: Option<Id> = self.conn.prepare_cached(&sql)?.query_row([self.user], |row| row.get(0))?;
            if let Some(main) = main {
                companies.retain(|id| *id != main);
                companies.insert(0, main);
            }
        }
        Ok(companies)
    }
}
