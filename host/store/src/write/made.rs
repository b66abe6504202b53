//! The row of a new record, as the change log keeps it: thousands may be made before anybody asks.

use rusqlite::types::Value as Cell;
use triggerbox_model::schema::Model;

use crate::ddl;

/// Columns and what they hold, in the order of the model's fields.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Made {
    cells: Vec<(Column, Cell)>,
}

/// A column of a model's table that a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Column {
    /// The place of the field in its model.
    field: u32,
    /// It holds the field's texts in other languages.
    is_translations: bool,
}

impl Column {
    /// The column of a field by its place.
    fn of(place: usize) -> Option<Self> {
        Some(Self { field: u32::try_from(place).ok()?, is_translations: false })
    }

    fn named(model: &Model, name: &str) -> Option<Self> {
        if let Some((place, _, field)) = model.fields.get_full(name) {
            return Self::of(place).filter(|_| field.has_column());
        }
        let place = model.fields.get_index_of(ddl::translated_field(name)?)?;
        Some(Self { is_translations: true, ..Self::of(place)? })
    }

    fn place(self) -> usize {
        usize::try_from(self.field).unwrap_or(usize::MAX)
    }

    /// As SQL knows it, not quoted.
    pub(super) fn name(self, model: &Model) -> Option<String> {
        let (field, _) = model.fields.get_index(self.place())?;
        Some(if self.is_translations { ddl::translations_column(field) } else { field.clone() })
    }
}

impl Made {
    /// A row of a model's table, each column once. Those that no field has are left out.
    pub(crate) fn of<N: AsRef<str>>(model: &Model, row: impl IntoIterator<Item = (N, Cell)>) -> Self {
        let row = row.into_iter();
        let mut cells = Vec::with_capacity(row.size_hint().1.unwrap_or_default());
        cells.extend(row.filter_map(|(name, cell)| Some((Column::named(model, name.as_ref())?, cell))));
        cells.sort_unstable_by_key(|(column, _)| *column);
        Self { cells }
    }

    fn find(&self, column: Column) -> Result<usize, usize> {
        self.cells.binary_search_by_key(&column, |(known, _)| *known)
    }

    /// What the column of a field holds, by the field's place.
    pub(super) fn get(&self, place: usize) -> Option<&Cell> {
        let found = self.find(Column::of(place)?).ok()?;
        self.cells.get(found).map(|(_, cell)| cell)
    }

    /// Puts a cell in place of the one that is there.
    pub(crate) fn set(&mut self, model: &Model, name: &str, cell: Cell) {
        let Some(column) = Column::named(model, name) else { return };
        match self.find(column) {
            Ok(at) => drop(self.cells.get_mut(at).map(|(_, known)| *known = cell)),
            Err(at) => self.cells.insert(at, (column, cell)),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &Column> + Clone {
        self.cells.iter().map(|(column, _)| column)
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().map(|(_, cell)| cell)
    }

    /// The cells of fields, each with the place of its field, as far as they are wanted.
    pub(super) fn into_fields(
        mut self,
        is_wanted: impl Fn(usize, &Cell) -> bool,
    ) -> impl ExactSizeIterator<Item = (usize, Cell)> {
        self.cells.retain(|(column, cell)| !column.is_translations && is_wanted(column.place(), cell));
        self.cells.into_iter().map(|(column, cell)| (column.place(), cell))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let text = serde_json::json!({ "type": "char", "translate": true });
        let model = serde_json::json!({ "description": "Model", "fields": { "b": text, "a": text, "c": text } });
        serde_json::from_value(model).unwrap()
    }

    #[test]
    fn a_row_is_kept_in_the_order_of_the_fields() {
        let model = model();
        let cell = Cell::Integer;
        let mut made = Made::of(&model, [("c", cell(3)), ("a", cell(1)), ("a$i18n", cell(2)), ("x", cell(4))]);
        made.set(&model, "b", cell(5));
        made.set(&model, "c", cell(6));
        let names: Vec<String> = made.columns().filter_map(|column| column.name(&model)).collect();
        assert_eq!(names, ["b", "a", "a$i18n", "c"]);
        assert!(made.cells().eq(&[cell(5), cell(1), cell(2), cell(6)]));
        assert_eq!((made.get(1), made.get(2), made.get(3)), (Some(&cell(1)), Some(&cell(6)), None));
        assert!(made.into_fields(|place, _| place != 1).eq([(0, cell(5)), (2, cell(6))]));
    }
}
