//! Why a rule did not fire, where the records may be on an Odoo server.

use jiff::tz::TimeZone;
use triggerbox_model::{call::Answer, value::Id};

use super::Engine;
use crate::{
    diagnose::{Cause, diagnose_known, question},
    error::EngineError,
};

impl Engine {
    /// Every cause that keeps a rule from firing, or made its last run fail, as [`diagnose`](crate::diagnose::diagnose) says
    /// it, with times in this zone. Whether a record on an Odoo server matches the rule's domain is asked there, with the rights of
    /// who wants to know.
    ///
    /// # Errors
    /// `unknown-rule`; what the backend says.
    pub async fn diagnose(
        &self,
        user: Id,
        rule: &str,
        record: Option<Id>,
        zone: TimeZone,
    ) -> Result<Vec<Cause>, EngineError> {
        let holds = match record.filter(|_| self.odoo().is_some()) {
            Some(record) => self.holds_there(user, rule, record).await?,
            None => None,
        };
        let (rule, policy, now) = (rule.to_owned(), self.policy()?, self.clock().now().to_zoned(zone));
        self.off_the_way(move |engine| diagnose_known(engine.database(), &policy, &rule, (record, holds), &now)).await
    }

    /// Whether a record there matches a rule's domain; none: there is nothing to match, or Odoo does not tell this user.
    async fn holds_there(&self, user: Id, rule: &str, record: Id) -> Result<Option<bool>, EngineError> {
        let Some(question) = question(&self.rules()?.rule(rule)?.rule, record)? else { return Ok(None) };
        match self.ask_there(user, question).await {
            Ok(Answer::Ids(found)) => Ok(Some(!found.is_empty())),
            Ok(_) | Err(EngineError::Refused(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
