//! What a model declares that each of its new records is looked at for: found once for all that are made together.

use rusqlite::types::Value as Cell;
use triggerbox_model::schema::{DefaultValue, Field, FieldKind, Model};

use super::{Writer, is_magic, shown_path};

/// Names and fields in the model's order.
#[derive(Debug)]
pub(super) struct Declared<'m> {
    /// Who makes the records, and when.
    pub(super) logged: Vec<(&'static str, Cell)>,
    /// They may have a default.
    pub(super) defaults: Vec<(&'m str, &'m Field)>,
    /// Something is computed for them where there is nothing else.
    pub(super) computed: Vec<(&'m str, &'m Field, &'m DefaultValue)>,
    /// They show another record's field.
    pub(super) shown: Vec<&'m str>,
    /// They must have a value.
    pub(super) required: Vec<(&'m str, FieldKind)>,
    /// Some of those are computed unless they are given.
    pub(super) requires_computed: bool,
    /// Amounts, with the field that their currency is in.
    pub(super) money: Vec<(&'m str, &'m str)>,
}

impl<'m> Declared<'m> {
    pub(super) fn of(model: &'m Model, writer: &Writer<'_>) -> Self {
        let logged = writer.log_columns(model, true);
        let presets = !writer.options.defaults.is_empty();
        let (mut defaults, mut computed, mut shown, mut required) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut requires_computed = false;
        for (name, field) in &model.fields {
            let name = name.as_str();
            let may_have_one = field.default.is_some() || name == "active" || presets;
            if may_have_one && !is_magic(model, name) {
                defaults.push((name, field));
            }
            if let Some(DefaultValue::Computed { computed: value }) = &field.default {
                computed.push((name, field, &**value));
            }
            if shown_path(field).is_some() {
                shown.push(name);
            }
            if field.required && field.has_column() {
                required.push((name, field.kind));
            }
            requires_computed |= field.required && field.computed;
        }
        let money = money(model).collect();
        Self { logged, defaults, computed, shown, required, requires_computed, money }
    }
}

/// Amounts, with the field that their currency is in.
pub(super) fn money(model: &Model) -> impl Iterator<Item = (&str, &str)> {
    model.fields.iter().filter_map(|(name, field)| Some((name.as_str(), field.currency_field.as_deref()?)))
}
