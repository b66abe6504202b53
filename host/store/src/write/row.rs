//! The columns of one record.

use std::borrow::Cow;

use rusqlite::types::Value as Cell;

/// Columns and what they hold, by name. Mostly the names are those that the schema keeps: a row is made for each of thousands
/// of records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Row<'s> {
    /// In the order of the names: the shorter first, which tells most of them apart.
    cells: Vec<(Cow<'s, str>, Cell)>,
}

impl<'s> Row<'s> {
    /// No columns.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// No columns, with a place for so many.
    pub(crate) fn with_capacity(columns: usize) -> Self {
        Self { cells: Vec::with_capacity(columns) }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.cells.binary_search_by(|(known, _)| known.len().cmp(&name.len()).then_with(|| (**known).cmp(name)))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Cell> {
        self.cells.get(self.place(name).ok()?).map(|(_, cell)| cell)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Cell> {
        let place = self.place(name).ok()?;
        self.cells.get_mut(place).map(|(_, cell)| cell)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Cell> {
        self.place(name).ok().map(|place| self.cells.remove(place).1)
    }

    pub(crate) fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Puts a cell in place of the one that is there.
    pub(crate) fn insert(&mut self, name: impl Into<Cow<'s, str>>, cell: Cell) {
        let name = name.into();
        match self.place(&name) {
            Ok(place) => {
                if let Some((_, known)) = self.cells.get_mut(place) {
                    *known = cell;
                }
            }
            Err(place) => self.cells.insert(place, (name, cell)),
        }
    }

    /// Adds a cell, unless there is one.
    pub(crate) fn insert_new(&mut self, name: impl Into<Cow<'s, str>>, cell: Cell) {
        let name = name.into();
        if let Err(place) = self.place(&name) {
            self.cells.insert(place, (name, cell));
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> + Clone {
        self.cells.iter().map(|(name, _)| &**name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().map(|(_, cell)| cell)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Cow<'s, str>, &Cell)> {
        self.cells.iter().map(|(name, cell)| (name, cell))
    }
}

impl<'s, N: Into<Cow<'s, str>>> Extend<(N, Cell)> for Row<'s> {
    fn extend<I: IntoIterator<Item = (N, Cell)>>(&mut self, cells: I) {
        cells.into_iter().for_each(|(name, cell)| self.insert(name, cell));
    }
}

impl<'s, N: Into<Cow<'s, str>>> FromIterator<(N, Cell)> for Row<'s> {
    fn from_iter<I: IntoIterator<Item = (N, Cell)>>(cells: I) -> Self {
        let cells = cells.into_iter();
        let mut row = Self::with_capacity(cells.size_hint().0);
        row.extend(cells);
        row
    }
}

impl<'s, N: Into<Cow<'s, str>>, const COLUMNS: usize> From<[(N, Cell); COLUMNS]> for Row<'s> {
    fn from(cells: [(N, Cell); COLUMNS]) -> Self {
        cells.into_iter().collect()
    }
}

impl<'s> IntoIterator for Row<'s> {
    type Item = (Cow<'s, str>, Cell);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.cells.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_each_column_once_in_the_order_of_names() {
        let mut row = Row::from([("b", Cell::Integer(1)), ("aa", Cell::Integer(2)), ("b", Cell::Integer(3))]);
        row.insert("c".to_owned(), Cell::Null);
        row.insert_new("c", Cell::Integer(4));
        assert_eq!(row.keys().collect::<Vec<_>>(), ["b", "c", "aa"]);
        assert_eq!((row.get("b"), row.get("c"), row.get("d")), (Some(&Cell::Integer(3)), Some(&Cell::Null), None));
        assert_eq!(row.remove("b"), Some(Cell::Integer(3)));
        assert!(!row.contains_key("b"));
        assert_eq!(row.keys().count(), 2);
    }
}
