//! Rights made ready to be asked: found by model, the expressions of their rules read once.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use triggerbox_model::{domain::filter::Filter, error::Error, schema::Schema, value::Id};

use super::{Access, Expression, Rights, Rule};
use crate::{env::Env, query::Shapes};

/// Made when the rights are first asked. Says nothing that the rights do not say: all are equal.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    models: OnceLock<HashMap<String, OfModel>>,
    /// Rules for reading, resolved, by model; the latest last.
    filters: Mutex<HashMap<String, VecDeque<(Reader, Filter)>>>,
    /// Questions that were asked, with the SQL that they became.
    shapes: Mutex<Shapes>,
}

/// For how many readers the resolved rules of a model are kept.
const READERS: usize = 16;

/// Everything of an environment that settled rules follow from.
#[derive(Debug)]
pub(crate) struct Reader {
    schema: Arc<Schema>,
    user: Id,
    groups: BTreeSet<Id>,
    companies: Vec<Id>,
    foreign_company: Option<Id>,
    lang: String,
    knows_language: bool,
    tz: Option<String>,
    context_tz: Option<String>,
    week_start: i8,
}

impl Reader {
    pub(crate) fn of(env: &Env) -> Self {
        Self {
            schema: Arc::clone(&env.schema),
            user: env.user,
            groups: env.groups.clone(),
            companies: env.companies.clone(),
            foreign_company: env.foreign_company,
            lang: env.lang.clone(),
            knows_language: env.knows_language(),
            tz: env.tz.clone(),
            context_tz: env.context_tz.clone(),
            week_start: env.week_start,
        }
    }

    pub(crate) fn is(&self, env: &Env) -> bool {
        Arc::ptr_eq(&self.schema, &env.schema)
            && self.user == env.user
            && self.companies == env.companies
            && self.foreign_company == env.foreign_company
            && self.groups == env.groups
            && self.lang == env.lang
            && self.knows_language == env.knows_language()
            && self.tz == env.tz
            && self.context_tz == env.context_tz
            && self.week_start == env.week_start
    }
}

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
        self.prepared.models.get_or_init(prepare).get(model)
    }

    fn filters(&self) -> MutexGuard<'_, HashMap<String, VecDeque<(Reader, Filter)>>> {
        self.prepared.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Questions that were asked before.
    pub(crate) fn shapes(&self) -> MutexGuard<'_, Shapes> {
        self.prepared.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rules for reading a model as they were resolved before for the same reader.
    pub(super) fn known_filter(&self, env: &Env, model: &str) -> Option<Filter> {
        let filters = self.filters();
        let (_, filter) = filters.get(model)?.iter().find(|(reader, _)| reader.is(env))?;
        Some(filter.clone())
    }

    /// Keeps resolved rules that follow from the reader alone.
    pub(super) fn keep_filter(&self, env: &Env, model: &str, filter: &Filter) {
        let mut filters = self.filters();
        let of_model = filters.entry(model.to_owned()).or_default();
        if of_model.len() >= READERS {
            of_model.pop_front();
        }
        of_model.push_back((Reader::of(env), filter.clone()));
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
