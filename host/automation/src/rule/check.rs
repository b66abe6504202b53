//! What is wrong with a rule: all findings at once, before anything changes.
//!
//! | module | what it looks at |
//! |---|---|
//! | [`place`] | trigger, model and fields: whether this can ever happen to that model |
//! | [`time`] | schedules |
//! | [`domains`] | domains, with the position of what is wrong |
//! | [`actions`] | scripts, their agents and limits |
//! | [`grants`] | models, fields and domains of grants |
//! | [`parameters`] | values against the manifest's types |
//! | [`together`] | what does not go together |

mod actions;
pub(crate) mod domains;
pub(crate) mod grants;
pub(crate) mod parameters;
mod place;
mod time;
mod together;

use std::{collections::BTreeMap, fmt};

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use triggerbox_model::{
    grants::Policy,
    schema::{Model, Schema},
    value::Id,
};
use triggerbox_sandbox::ContentHash;
use triggerbox_store::env::Env;

use super::{Rule, ScriptRef};
use crate::scripts::{RegistryError, ScriptVersion, registry};

/// Something about a rule that its editor should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether the rule can be saved with it.
    pub severity: Severity,
    /// Stable: `unknown-field`, `impossible-trigger`…
    pub code: &'static str,
    /// Where, in the words of the rule's file: `trigger.fields[1]`, `actions[0].parameters.threshold`.
    pub place: String,
    /// What, on what, what to do.
    pub message: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rule cannot be saved.
    Error,
    /// It can, but somebody should look.
    Warning,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{word}{}: {}", self.place, self.message)
    }
}

/// What a rule is checked against: the database as it is, in the caller's transaction.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Records and scripts.
    pub conn: &'a Connection,
    /// The superuser's environment: rights decide what a script may do, not what a rule may say.
    pub env: &'a Env,
    /// What nobody's script may do unless it is granted by name.
    pub policy: &'a Policy,
}

/// Everything that there is to say about a rule.
///
/// # Errors
/// What the database says. What is wrong with the rule is in the findings.
pub fn check(ground: Ground<'_>, rule: &Rule) -> rusqlite::Result<Vec<Finding>> {
    check_running(ground, rule, &BTreeMap::new())
}

/// The same of a rule whose parts run these versions, whatever else is active by now.
pub(crate) fn check_running(
    ground: Ground<'_>,
    rule: &Rule,
    runs: &BTreeMap<i64, ContentHash>,
) -> rusqlite::Result<Vec<Finding>> {
    let mut check = Check { ground, rule, runs, model: None, findings: Vec::new() };
    check.name();
    check.find_model();
    check.trigger()?;
    check.domains();
    check.people()?;
    check.actions()?;
    check.together();
    // Errors first; within a severity in the order of the file.
    check.findings.sort_by_key(|finding| finding.severity);
    Ok(check.findings)
}

/// Whether a text can be the key of a rule or an agent.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.len() <= 64 && name.chars().all(plain)
}

/// One check on its way.
struct Check<'a> {
    ground: Ground<'a>,
    rule: &'a Rule,
    /// The versions that its parts run; of others, what their references mean.
    runs: &'a BTreeMap<i64, ContentHash>,
    model: Option<&'a Model>,
    findings: Vec<Finding>,
}

impl<'a> Check<'a> {
    fn schema(&self) -> &'a Schema {
        &self.ground.env.schema
    }

    fn error(&mut self, code: &'static str, place: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, code, place.into(), message.into());
    }

    fn warning(&mut self, code: &'static str, place: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Warning, code, place.into(), message.into());
    }

    fn add(&mut self, severity: Severity, code: &'static str, place: String, message: String) {
        self.findings.push(Finding { severity, code, place, message });
    }

    /// The version that a part of the rule runs.
    fn version(&self, part: i64, script: &ScriptRef) -> Result<ScriptVersion, RegistryError> {
        let meant = registry::resolve(self.ground.conn, script)?;
        let runs = self.runs.get(&part).filter(|hash| **hash != meant.hash);
        let runs = runs.and_then(|hash| registry::version(self.ground.conn, *hash, &script.name).ok());
        Ok(runs.unwrap_or(meant))
    }

    fn name(&mut self) {
        let name = &self.rule.name;
        if !is_plain_name(name) {
            self.error(
                "bad-name",
                "name",
                format!("`{name}` is no rule's name; use 1 to 64 lower-case letters, digits and dashes"),
            );
        }
    }

    fn people(&mut self) -> rusqlite::Result<()> {
        if let Some(login) = &self.rule.run_as {
            let sql = "SELECT active FROM res_users WHERE login = ?1";
            match self.ground.conn.query_row(sql, [login], |row| row.get::<_, bool>(0)).optional()? {
                None => {
                    self.error("unknown-user", "run-as", format!("there is no user `{login}`; give a sign-in name"))
                }
                Some(false) => {
                    self.error(
                        "inactive-user",
                        "run-as",
                        format!("the user `{login}` is archived; name somebody else"),
                    );
                }
                Some(true) => {}
            }
        }
        if self.rule.superuser {
            self.warning(
                "superuser",
                "superuser",
                "the scripts are not bound by any user's rights, in all companies; grants, policy and limits still bind them",
            );
        }
        Ok(())
    }

    /// Whether a record is there. Of one that is on another server nobody knows here.
    fn exists(&self, model: &Model, id: Id) -> rusqlite::Result<bool> {
        if self.schema().remote {
            return Ok(true);
        }
        let table = triggerbox_store::ddl::quote(&triggerbox_store::ddl::table(&model.name));
        self.ground.conn.prepare(&format!("SELECT 1 FROM {table} WHERE id = ?"))?.exists([id])
    }
}
