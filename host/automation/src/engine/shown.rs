//! Which fields somebody may read of what is shown to them. Records are for who may read them, and some of their fields are
//! for fewer people: what changed of those is left out.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    call::Operation,
    changes::Diff,
    event::Trigger,
    value::{Id, Snapshot},
};
use triggerbox_store::rights::check_field;

use super::{Engine, odoo::unavailable, readable::is_no};
use crate::{error::EngineError, firing::Firing, people};

/// The fields that somebody may read.
#[derive(Debug, Clone)]
pub enum Fields {
    /// All of them.
    All,
    /// Of each model these.
    These(BTreeMap<String, BTreeSet<String>>),
}

impl Fields {
    /// Whether a field is among them.
    #[must_use]
    pub fn has(&self, model: &str, field: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.get(model).is_some_and(|fields| fields.contains(field)),
        }
    }

    /// Leaves the others out of a diff.
    pub fn keep_in(&self, diff: &mut Diff) {
        for one in &mut diff.records {
            one.fields.retain(|field| self.has(&one.record.model, &field.field));
        }
    }

    /// Leaves the others out of what a run was fired with, by records of this model.
    pub fn keep_by(&self, model: &str, firing: &mut Firing) {
        let keep = |record: &mut Snapshot| record.fields.retain(|field| self.has(model, &field.name));
        firing.old_values.iter_mut().for_each(keep);
        if let Trigger::Deleted(records) = &mut firing.trigger {
            records.iter_mut().for_each(keep);
        }
    }
}

impl Engine {
    /// The fields of these models that a user may read.
    ///
    /// # Errors
    /// What the backend says.
    pub async fn readable_fields(&self, user: Id, models: BTreeSet<String>) -> Result<Fields, EngineError> {
        if models.is_empty() {
            return Ok(Fields::These(BTreeMap::new()));
        }
        let Some(backend) = self.odoo() else {
            return self.off_the_way(move |engine| engine.fields_here(user, models)).await;
        };
        let mut session = match self.session_there(backend, user, self.clock().now()).await {
            Err(EngineError::Refused(error)) if is_no(error.kind) => return Ok(Fields::These(BTreeMap::new())),
            session => session?,
        };
        let mut these = BTreeMap::new();
        for model in models {
            // Odoo tells each user of the fields that they may read. It is asked for them once in a while.
            if session.know(&model).await.map_err(unavailable)?.is_ok()
                && let Some(known) = session.schema().models.get(&model)
            {
                these.insert(model, known.fields.keys().cloned().collect());
            }
        }
        Ok(Fields::These(these))
    }

    fn fields_here(&self, user: Id, models: BTreeSet<String>) -> Result<Fields, EngineError> {
        let env = people::environment(self.database(), user, false, self.clock().now())?;
        let schema = &env.schema;
        let mut these = BTreeMap::new();
        for model in models {
            let Some(known) = schema.models.get(&model) else { continue };
            let inherited = known.inherits.keys().filter_map(|parent| schema.models.get(parent));
            let names = [known].into_iter().chain(inherited).flat_map(|model| model.fields.keys());
            let may = |name: &&String| {
                let field = schema.shown_field(known, name);
                field.is_some_and(|field| check_field(&env, &model, name, field, Operation::Read).is_ok())
            };
            let names = names.filter(may).cloned().collect();
            these.insert(model, names);
        }
        Ok(Fields::These(these))
    }
}
