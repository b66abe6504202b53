//! Shared texts of fields, made when they are first told: thousands of changes tell of the same fields.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use triggerbox_model::{schema::Model, shared::SharedText};

/// One text for each field, by model.
#[derive(Debug, Default)]
pub(crate) struct FieldTexts<'s>(HashMap<&'s str, OfModel, RandomState>);

#[derive(Debug)]
pub(crate) struct OfModel {
    /// By the field's place in its model.
    texts: Vec<Option<SharedText>>,
    /// The fields that were asked for last, with their places.
    asked: Vec<(String, usize)>,
}

impl<'s> FieldTexts<'s> {
    /// The texts of one model's fields.
    pub(crate) fn of(&mut self, model: &'s Model) -> &mut OfModel {
        self.0
            .entry(&model.name)
            .or_insert_with(|| OfModel { texts: vec![None; model.fields.len()], asked: Vec::new() })
    }
}

impl OfModel {
    /// The place of a field in its model. `at`: how many are asked for before it of the same record. Records that change
    /// together mostly have the same fields in the same order.
    pub(crate) fn place(&mut self, model: &Model, at: usize, name: &str) -> Option<usize> {
        if let Some((_, place)) = self.asked.get(at).filter(|(known, _)| known == name) {
            return Some(*place);
        }
        let place = model.fields.get_index_of(name)?;
        if self.asked.len() <= at {
            self.asked.resize_with(at + 1, Default::default);
        }
        if let Some(asked) = self.asked.get_mut(at) {
            *asked = (name.to_owned(), place);
        }
        Some(place)
    }

    /// The text of the field at a place.
    pub(crate) fn get<T: Into<SharedText>>(&mut self, place: usize, text: impl FnOnce() -> T) -> SharedText {
        match self.texts.get_mut(place) {
            Some(known) => known.get_or_insert_with(|| text().into()).clone(),
            None => text().into(),
        }
    }
}
