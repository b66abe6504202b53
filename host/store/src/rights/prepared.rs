//! Rights made ready to be asked: found by model, the expressions of their rules read once.

use std::{collections::HashMap, sync::OnceLock};

use triggerbox_model::error::Error;

use super::{Access, Expression, Rights, Rule};

/// Made when the rights are first asked. Says nothing that the rights do not say: all are equal.
#[derive(Debug, Default)]
pub(super) struct Prepared(OnceLock<HashMap<String, OfModel>>);

impl Clone for Prepared {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Prepared {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The rights of one model, by their places among all.
#[derive(Debug, Default)]
struct OfModel {
    access: Vec<usize>,
    rules: Vec<(usize, Result<Expression, Error>)>,
}

impl Rights {
    fn of(&self, model: &str) -> Option<&OfModel> {
        let prepare = || {
            let mut models: HashMap<String, OfModel> = HashMap::new();
            for (index, access) in self.access.iter().enumerate() {
                models.entry(access.model.clone()).or_default().access.push(index);
            }
            for (index, rule) in self.rules.iter().enumerate() {
                let read = Expression::parse(&rule.domain);
                models.entry(rule.model.clone()).or_default().rules.push((index, read));
            }
            models
        };
        self.prepared.0.get_or_init(prepare).get(model)
    }

    /// The access rights of a model, in order.
    pub(super) fn access_to<'a>(&'a self, model: &str) -> impl Iterator<Item = &'a Access> {
        self.of(model).into_iter().flat_map(|of| of.access.iter().filter_map(|index| self.access.get(*index)))
    }

    /// The record rules of a model with what their domains say, in order.
    pub(super) fn rules_of<'a>(
        &'a self,
        model: &str,
    ) -> impl Iterator<Item = (&'a Rule, &'a Result<Expression, Error>)> {
        let rules = self.of(model).into_iter().flat_map(|of| &of.rules);
        rules.filter_map(|(index, read)| Some((self.rules.get(*index)?, read)))
    }
}
