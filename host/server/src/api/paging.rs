//! Pages of lists: each answer has `next`, and the next request says it.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    cut,
    runs::{MOST, hundred},
};
use crate::problem::Problem;

/// Which page of a list in the order of names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// After this one: `next` of the page before.
    after: Option<String>,
    /// Most of them, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

impl After {
    pub(super) fn new(after: Option<String>, limit: u32) -> Self {
        Self { after, limit }
    }

    /// The name that the page begins after, and how many there have to be, so that it is known whether there are more.
    pub(super) fn wanted(&self) -> (String, usize) {
        // The one that it begins after, and the first of the next page.
        (self.after.clone().unwrap_or_default(), self.size() + 2)
    }

    /// How many a page has at most.
    pub(super) fn size(&self) -> usize {
        usize::try_from(self.limit.clamp(1, MOST)).unwrap_or(usize::MAX)
    }

    /// The page of a list in the order of its names, which may begin before the page, and `next`.
    pub(super) fn of_names<T>(&self, list: impl IntoIterator<Item = T>, name: impl Fn(&T) -> &str) -> Page<T> {
        let list = list.into_iter().skip_while(|one| self.after.as_deref().is_some_and(|after| name(one) <= after));
        self.cut(list, &name)
    }

    /// The page of a whole list in another order, of which nothing is ever taken out, and `next`.
    ///
    /// # Errors
    /// `bad-query`: `after` is none of it.
    pub(super) fn of_places<T>(&self, list: Vec<T>, name: impl Fn(&T) -> &str) -> Result<Page<T>, Problem> {
        let Some(after) = &self.after else { return Ok(self.cut(list.into_iter(), name)) };
        let place = list.iter().position(|one| name(one) == after);
        let place = place
            .ok_or_else(|| Problem::invalid("bad-query", format!("`{after}` is no `next` of a page of this list")))?;
        Ok(self.cut(list.into_iter().skip(place + 1), name))
    }

    fn cut<T>(&self, list: impl Iterator<Item = T>, name: impl Fn(&T) -> &str) -> Page<T> {
        let mut page: Vec<T> = list.take(self.size() + 1).collect();
        let more = page.len() > self.size();
        page.truncate(self.size());
        let next = page.last().map(|last| name(last).to_owned()).filter(|_| more);
        (page, next)
    }
}

/// What a page has, and `next`.
pub(super) type Page<T, N = String> = (Vec<T>, Option<N>);

/// Which page of a list whose newest are first.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Before {
    /// Older than this one: `next` of the page before.
    before: Option<i64>,
    /// Most of them, up to 500.
    #[serde(default = "hundred")]
    #[param(default = 100)]
    limit: u32,
}

impl Before {
    /// The number of the first that may be on the page, and how many there have to be, so that it is known whether there are more.
    pub(super) fn wanted(&self) -> (i64, u32) {
        let from = self.before.map_or(i64::MAX, |before| before.saturating_sub(1));
        (from, self.limit.clamp(1, MOST).saturating_add(1))
    }

    /// The page of a list that falls by its numbers, which may begin before the page, and `next`.
    pub(super) fn of_numbers<T>(&self, list: impl IntoIterator<Item = T>, number: impl Fn(&T) -> i64) -> Page<T, i64> {
        let (from, size) = self.wanted();
        let list = list.into_iter().skip_while(|one| number(one) > from);
        let mut page: Vec<T> = list.take(usize::try_from(size).unwrap_or(usize::MAX)).collect();
        let next = cut(&mut page, size - 1, number);
        (page, next)
    }
}
