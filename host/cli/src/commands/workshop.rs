//! A database whose rules and scripts a command is about, and who does it.

use anyhow::anyhow;
use jiff::Timestamp;
use rusqlite::Connection;
use triggerbox_automation::{
    Config,
    people::{self, Person},
    policy,
    rule::{
        Ground,
        stored::{Edit, Ownership, RuleError},
    },
    scripts::{RegistryError, ready},
    state::tables,
};
use triggerbox_model::{grants::Policy, value::Id};
use triggerbox_server::people::audit::{self, Deed, PROGRAM, Telling};
use triggerbox_store::{
    db::{Database, DbError, Mode},
    env::Env,
};

use crate::{
    args::Common,
    commands::database,
    exit::{Exit, Failure, OrExit},
};

/// The group whose members may lend rights that are not theirs.
const ADMINISTRATORS: &str = "base.group_system";

/// A database with the engine's tables.
pub(crate) struct Workshop {
    pub(crate) database: Database,
    pub(crate) env: Env,
    pub(crate) person: Person,
    pub(crate) now: Timestamp,
    pub(crate) policy: Policy,
    pub(crate) administrator: bool,
}

impl Workshop {
    /// Opens the database. One that has no rules yet is made ready for them.
    pub(crate) fn open(common: &Common, mode: Mode) -> Result<Self, Failure> {
        Self::open_as(common, mode, Ok)
    }

    /// The same, with a say in what the database is.
    pub(crate) fn open_as(
        common: &Common,
        mode: Mode,
        dress: impl FnOnce(Database) -> Result<Database, Failure>,
    ) -> Result<Self, Failure> {
        let now = Timestamp::now();
        let mut database = match database::open(&common.database, mode) {
            // An older file is brought up to date, which whoever only reads cannot do.
            Err(failure) if matches!(failure.error.downcast_ref(), Some(DbError::Older { .. })) => {
                database::open(&common.database, Mode::Write)?
            }
            opened => opened?,
        };
        if !tables::exist(&*database.snapshot().or_exit(Exit::Backend)?).or_exit(Exit::Backend)? || mode == Mode::Write
        {
            if database.mode() == Mode::Read {
                drop(database);
                database = database::open(&common.database, Mode::Write)?;
            }
            let schema = std::sync::Arc::clone(database.schema());
            database
                .transaction(|conn| {
                    tables::refuse_newer(conn)?;
                    tables::upgrade(conn)?;
                    ready::install(conn, &schema, now)
                })
                .or_exit(Exit::Backend)?;
        }
        let database = dress(database)?;
        let person = people::find(&database, &common.user, now)?;
        let env = people::environment(&database, people::SYSTEM, true, now).or_exit(Exit::Backend)?;
        let own = people::environment(&database, person.user.id, false, now).or_exit(Exit::Backend)?;
        let administrator = own.group_names.contains(ADMINISTRATORS);
        // The file of a server is not known here; what was set on its pages is.
        let policy = policy::in_force(&*database.snapshot().or_exit(Exit::Backend)?, &Config::default());
        Ok(Self { policy: policy.or_exit(Exit::Backend)?, database, env, person, now, administrator })
    }

    /// What rules are checked against.
    pub(crate) fn ground<'a>(&'a self, conn: &'a Connection) -> Ground<'a> {
        Ground { conn, env: &self.env, policy: &self.policy }
    }

    /// An edit by whoever runs the command.
    pub(crate) fn edit<'a>(&self, note: &'a str, ask: bool) -> Edit<'a> {
        Edit {
            by: self.person.user.id,
            at: self.now,
            note,
            ownership: if ask { Ownership::Ask } else { Ownership::Take },
            administrator: self.administrator,
            agrees: false,
        }
    }

    /// One transaction, with its line in the audit log: the work says its details.
    pub(crate) fn write<T, E: From<DbError>>(
        &self,
        action: &'static str,
        what: &str,
        work: impl FnOnce(&Connection, &Telling) -> Result<T, E>,
    ) -> Result<T, Failure>
    where
        Failure: FromError<E>,
    {
        self.transaction(action, what, work).map_err(Failure::from_error)
    }

    /// The same, for those who look at what went wrong themselves.
    pub(crate) fn transaction<T, E: From<DbError>>(
        &self,
        action: &'static str,
        what: &str,
        work: impl FnOnce(&Connection, &Telling) -> Result<T, E>,
    ) -> Result<T, E> {
        let line = Telling::of(deed(self.person.user.id, action, what), self.now);
        self.database.transaction(|conn| {
            let value = work(conn, &line)?;
            audit::create_table(conn).map_err(DbError::from)?;
            line.write(conn)?;
            Ok(value)
        })
    }
}

/// What somebody does with the program itself: it knows no more of them than the user that they name.
pub(crate) fn deed(user: Id, action: &'static str, what: &str) -> Deed {
    Deed {
        who: PROGRAM.to_owned(),
        user: Some(user),
        action,
        what: what.to_owned(),
        detail: String::new(),
        address: "command line".to_owned(),
    }
}

/// How an error of the library ends a command.
pub(crate) trait FromError<E> {
    fn from_error(error: E) -> Self;
}

impl FromError<RuleError> for Failure {
    fn from_error(error: RuleError) -> Self {
        let exit = match &error {
            RuleError::Database(_) | RuleError::Damaged { .. } | RuleError::Script(RegistryError::Database(_)) => {
                Exit::Backend
            }
            RuleError::NotTheOwner { .. } => Exit::Policy,
            _ => Exit::Usage,
        };
        Self { exit, error: anyhow!(error) }
    }
}

impl FromError<RegistryError> for Failure {
    fn from_error(error: RegistryError) -> Self {
        let exit = match &error {
            RegistryError::Database(_) | RegistryError::Damaged { .. } => Exit::Backend,
            _ => Exit::Usage,
        };
        Self { exit, error: anyhow!(error) }
    }
}

/// The names of users, for showing.
pub(crate) fn login(conn: &Connection, user: u32) -> String {
    let sql = "SELECT login FROM res_users WHERE id = ?";
    conn.query_row(sql, [user], |row| row.get(0)).unwrap_or_else(|_| format!("user {user}"))
}
