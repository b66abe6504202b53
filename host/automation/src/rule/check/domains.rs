//! Domains: each is parsed and resolved against the model, and what is wrong is said with its position.

use rusqlite::Connection;
use triggerbox_model::{domain::Domain, error::Error, schema::Model};
use triggerbox_store::{env::Env, query};

use super::Check;
use crate::rule::{Source, Trigger, trigger::Write};

impl Check<'_> {
    pub(super) fn domains(&mut self) {
        let rule = self.rule;
        if let Some(domain) = &rule.before_domain {
            if !has_before(&rule.trigger) {
                self.error(
                    "no-values-before",
                    "before-domain",
                    "this trigger knows no values before the change; put the condition into `domain`",
                );
            }
            self.domain("before-domain", domain);
        }
        match &rule.domain {
            Some(domain) => {
                self.domain("domain", domain);
                self.unjudged(domain);
            }
            None if rule.judge_again => self.error(
                "nothing-to-judge",
                "judge-again",
                "there is no `domain` to judge again; give one, or take this out",
            ),
            None => {}
        }
        match &rule.source {
            Some(Source::Domain(domain)) => self.domain("source.domain", domain),
            Some(Source::Script(_)) | None => {}
        }
    }

    /// Where somebody else says which records it is about, a domain keeps none of them away by itself.
    fn unjudged(&mut self, domain: &str) {
        let message = match &self.rule.trigger {
            Trigger::Manual {} | Trigger::Webhook { .. } if !self.rule.judge_again => {
                "whoever fires the rule says on which records, and they are taken as they are; with `judge-again` \
                 those that do not match are left out"
            }
            Trigger::Schedule(_) => "a schedule has the records of its `source`, whatever this says; put it there",
            _ => return,
        };
        // What is wrong with it is told already.
        let says_nothing = Domain::parse(domain).is_ok_and(|domain| domain == Domain::Always);
        if !says_nothing && self.findings.iter().all(|finding| finding.place != "domain") {
            self.warning("domain-unjudged", "domain", message);
        }
    }

    pub(super) fn domain(&mut self, place: &str, text: &str) {
        if let Err(error) = Domain::parse(text) {
            return self.error("bad-domain", place, error.message);
        }
        let Some(model) = self.model else {
            if self.rule.model.is_none() {
                self.error("no-model", place, "a domain needs a model; name it in `model`");
            }
            return;
        };
        if let Err(error) = judge(self.ground.conn, self.ground.env, model, text) {
            let position = error.field.as_deref().and_then(|field| position(text, field));
            let at = position.map(|position| format!("at character {position}: ")).unwrap_or_default();
            self.error("bad-domain", place, at + &error.message);
        }
    }
}

/// Whether a domain makes sense for a model. Of one that another server judges, only the fields are looked at that it begins with.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge(conn: &Connection, env: &Env, model: &Model, text: &str) -> Result<(), Error> {
    let domain = Domain::parse(text)?;
    if !env.schema.remote {
        return query::condition(conn, env, &model.name, &domain).map(drop);
    }
    let mut unknown = None;
    domain.for_each_condition(&mut |condition| {
        let first = condition.field.split('.').next().unwrap_or_default();
        if first != "id" && !model.fields.contains_key(first) {
            unknown.get_or_insert_with(|| first.to_owned());
        }
    });
    match unknown {
        Some(field) => {
            let text = format!("`{}` has no field `{field}`", model.name);
            Err(Error::invalid("unknown-field", text).with_field(field))
        }
        None => Ok(()),
    }
}

/// Where a domain names a field, in characters from 1. A path is found by any of its names.
fn position(text: &str, field: &str) -> Option<usize> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let whole = text.match_indices(field).find(|(at, found)| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        let after = text.get(at + found.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(is_name) && !after.is_some_and(is_name)
    });
    let (at, _) = whole?;
    Some(text.get(..at)?.chars().count() + 1)
}

/// Whether there are values before the change to be judged.
fn has_before(trigger: &Trigger) -> bool {
    match trigger {
        Trigger::Updated { .. }
        | Trigger::CreatedOrUpdated { .. }
        | Trigger::StageSet { .. }
        | Trigger::StateSet { .. }
        | Trigger::PrioritySet { .. }
        | Trigger::TagSet { .. }
        | Trigger::UserSet {}
        | Trigger::Archived {}
        | Trigger::Unarchived {} => true,
        Trigger::Before { writes, .. } => writes.contains(&Write::Update),
        Trigger::Created {}
        | Trigger::Deleted {}
        | Trigger::Time { .. }
        | Trigger::AfterCreation { .. }
        | Trigger::AfterUpdate { .. }
        | Trigger::MessageReceived {}
        | Trigger::MessageSent {}
        | Trigger::OnChange { .. }
        | Trigger::Webhook { .. }
        | Trigger::Manual {}
        | Trigger::Schedule(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_whole_names() {
        assert_eq!(position("[('x_name', '=', 1), ('name', '=', 2)]", "name"), Some(24));
        assert_eq!(position("[('é', '=', 1), ('nmae', '=', 2)]", "nmae"), Some(19));
        assert_eq!(position("[('partner_id.nmae', '=', 2)]", "nmae"), Some(15));
        assert_eq!(position("[]", "name"), None);
    }
}
