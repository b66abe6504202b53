//! Stored fields that follow from others: related fields and declared formulas.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use foldhash::fast::RandomState;
use rusqlite::types::Value as Cell;
use triggerbox_model::{
    error::Error,
    schema::{Field, FieldKind, Formula, Model, Schema},
    value::Id,
};

use super::{Row, Values, Writer, number, values};
use crate::{
    db::fault,
    ddl::{quote, table},
};

/// A record, what its computed field holds, and what it is to hold.
type Computed = (Id, Cell, Cell);

/// Which stored fields depend on which.
#[derive(Debug, Default)]
pub(super) struct Triggers<'s> {
    /// By model and field that changes.
    by_field: HashMap<&'s str, HashMap<&'s str, Vec<Dependent<'s>>, RandomState>, RandomState>,
    /// Fields that are computed on each new record of a model, in order of declaration.
    computed: HashMap<&'s str, Vec<Name<'s>>, RandomState>,
}

/// A model and a field of it.
pub(crate) type Name<'s> = (&'s str, &'s str);

/// A field that is to be computed again, and how its records are found from the one that changed.
#[derive(Debug, Clone)]
struct Dependent<'s> {
    name: Name<'s>,
    /// Relations from the dependent's record to the one that changed.
    path: Vec<&'s str>,
}

/// Whether every step of a path is a field.
pub(super) fn leads_somewhere(schema: &Schema, model: &Model, path: &str) -> bool {
    let mut holder = Some(model);
    path.split('.').all(|step| {
        let field = holder.and_then(|holder| holder.fields.get(step));
        holder = field.and_then(|field| field.relation.as_deref()).and_then(|name| schema.models.get(name));
        field.is_some()
    })
}

/// Fields to compute again, with their records.
pub(crate) type Stale<'s> = BTreeMap<Name<'s>, BTreeSet<Id>>;

impl<'s> Triggers<'s> {
    fn of(schema: &'s Schema) -> Self {
        let mut triggers = Self::default();
        for model in schema.models.values() {
            for (name, field) in &model.fields {
                if !field.has_column() {
                    continue;
                }
                let paths: &[String] = match (&field.formula, &field.related) {
                    (Some(formula), _) => formula.paths(),
                    (None, Some(path)) => std::slice::from_ref(path),
                    (None, None) => continue,
                };
                // A path that leads out of the schema cannot be followed: the field is kept as data.
                if !paths.iter().all(|path| leads_somewhere(schema, model, path)) {
                    continue;
                }
                let computed = (model.name.as_str(), name.as_str());
                triggers.computed.entry(&model.name).or_default().push(computed);
                for path in paths {
                    triggers.add(schema, model, computed, path);
                }
            }
        }
        triggers
    }

    /// Registers every step of a path: a change anywhere on it makes the field stale.
    fn add(&mut self, schema: &'s Schema, model: &'s Model, name: Name<'s>, path: &'s str) {
        let mut holder = model;
        let mut walked: Vec<&'s str> = Vec::new();
        for step in path.split('.') {
            let Some(described) = holder.fields.get(step) else { return };
            self.on(holder, step, name, walked.clone());
            let Some(related) = described.relation.as_deref().and_then(|name| schema.models.get(name)) else { return };
            walked.push(step);
            if let (FieldKind::One2many, Some(inverse)) = (described.kind, described.relation_field.as_deref()) {
                self.on(related, inverse, name, walked.clone());
            }
            holder = related;
        }
    }

    fn on(&mut self, holder: &'s Model, changed: &'s str, name: Name<'s>, path: Vec<&'s str>) {
        self.by_field.entry(&holder.name).or_default().entry(changed).or_default().push(Dependent { name, path });
    }
}

impl<'a> Writer<'a> {
    fn triggers(&mut self) -> Rc<Triggers<'a>> {
        let schema = self.schema();
        Rc::clone(self.triggers.get_or_insert_with(|| Rc::new(Triggers::of(schema))))
    }

    /// What depends on these fields of a record as things are now.
    pub(super) fn dependents(&mut self, model: &str, id: Id, fields: &[&str]) -> Result<Stale<'a>, Error> {
        let triggers = self.triggers();
        let mut stale = Stale::new();
        if let Some(by_field) = triggers.by_field.get(model) {
            self.add_stale(fields.iter().filter_map(|field| by_field.get(*field)).flatten(), id, &mut stale)?;
        }
        Ok(stale)
    }

    /// What is to be computed again when a record changes that these lead to.
    fn add_stale<'d>(
        &self,
        dependents: impl Iterator<Item = &'d Dependent<'a>>,
        id: Id,
        stale: &mut Stale<'a>,
    ) -> Result<(), Error>
    where
        'a: 'd,
    {
        for dependent in dependents {
            stale.entry(dependent.name).or_default().extend(self.holders(dependent, id)?);
        }
        Ok(())
    }

    /// Computes what depends on these fields of a record, now that they have changed.
    pub(super) fn modified(&mut self, model: &str, id: Id, fields: &[&str]) -> Result<(), Error> {
        let stale = self.dependents(model, id, fields)?;
        self.recompute(stale)
    }

    /// Computes all computed fields of a new record. Adds to `stale` what depends on the record being there, to be computed
    /// when all that are made together are there.
    pub(super) fn created(&mut self, model: &Model, id: Id, stale: &mut Stale<'a>) -> Result<(), Error> {
        let triggers = self.triggers();
        let all = triggers.by_field.get(model.name.as_str()).into_iter().flat_map(HashMap::values).flatten();
        let Some(computed) = triggers.computed.get(model.name.as_str()) else { return self.add_stale(all, id, stale) };
        let mut others = Stale::new();
        self.add_stale(all, id, &mut others)?;
        let mut own = Stale::new();
        for name in computed {
            let mut ids = others.remove(name).unwrap_or_default();
            ids.insert(id);
            own.insert(*name, ids);
        }
        self.recompute(own)?;
        for (name, ids) in others {
            stale.entry(name).or_default().extend(ids);
        }
        Ok(())
    }

    /// Whether what depends on a new record of a model is found without looking at its row: none of its own fields, and
    /// others by what it belongs to.
    pub(super) fn follows_at_once(&mut self, model: &Model) -> bool {
        let (schema, triggers) = (self.schema(), self.triggers());
        let belongs = |dependent: &Dependent<'_>| match (dependent.path.as_slice(), dependent.name) {
            ([step], (holder, _)) => {
                let field = schema.models.get(holder).and_then(|holder| holder.fields.get(*step));
                field.is_some_and(|field| field.kind == FieldKind::One2many)
            }
            _ => false,
        };
        !triggers.computed.contains_key(model.name.as_str())
            && triggers.by_field.get(model.name.as_str()).into_iter().flat_map(HashMap::values).flatten().all(belongs)
    }

    /// Whether fields can be computed later as well: counts, which nothing can refuse and nothing else follows from.
    pub(crate) fn may_wait(&mut self, stale: &Stale<'a>) -> bool {
        let triggers = self.triggers();
        stale.keys().all(|(model, field)| {
            let Some(described) = self.schema().models.get(*model) else { return false };
            let formula = described.fields.get(*field).and_then(|field| field.formula.as_ref());
            let is_followed = triggers.by_field.get(model).is_some_and(|by_field| by_field.contains_key(field));
            matches!(formula, Some(Formula::Count { .. })) && !is_followed && described.constraints.is_empty()
        })
    }

    /// Computes stale fields, and what becomes stale by that.
    pub(crate) fn recompute(&mut self, stale: Stale<'a>) -> Result<(), Error> {
        if stale.is_empty() {
            return Ok(());
        }
        if self.depth >= super::DEEPEST {
            return Err(Error::invalid("circular-formula", "computed fields depend on each other in a circle"));
        }
        self.depth += 1;
        let result = stale.into_iter().try_for_each(|((model, field), ids)| self.recompute_field(model, field, ids));
        self.depth -= 1;
        result
    }

    fn recompute_field(&mut self, model: &str, name: &str, ids: BTreeSet<Id>) -> Result<(), Error> {
        let described = self.schema().model(model)?;
        let field = described.field(name)?;
        if let Some(counts) = self.counts(described, name, field, &ids)? {
            return counts
                .into_iter()
                .try_for_each(|(id, before, value)| self.take_value(described, id, name, before, value));
        }
        for id in ids {
            let Some(before) = self.cell(model, name, id)? else { continue };
            let value = self.compute(described, field, id)?;
            self.take_value(described, id, name, before, value)?;
        }
        Ok(())
    }

    /// Gives a computed field its new value, if it is one.
    fn take_value(&mut self, model: &Model, id: Id, name: &str, before: Cell, value: Cell) -> Result<(), Error> {
        if !values::same(model.field(name)?.kind, &before, &value) {
            let (old, row) = (Row::from([(name.to_owned(), before)]), Row::from([(name.to_owned(), value)]));
            self.update_from(model, id, &old, row, &Values::default())?;
        }
        Ok(())
    }

    /// The numbers of lines that records have, asked at once. None for other fields, and for lines that say by more than one
    /// column whose they are.
    fn counts(
        &self,
        model: &Model,
        name: &str,
        field: &Field,
        ids: &BTreeSet<Id>,
    ) -> Result<Option<Vec<Computed>>, Error> {
        let Some(Formula::Count { field: lines }) = &field.formula else { return Ok(None) };
        let lines = model.field(lines)?;
        let (FieldKind::One2many, Some(inverse)) = (lines.kind, lines.relation_field.as_deref()) else {
            return Ok(None);
        };
        let related = self.schema().model(lines.relation.as_deref().unwrap_or_default())?;
        // Lines that also say which model they belong to are no matter of one column.
        if !related.has_column(inverse) || related.model_column().is_some() || field.translate {
            return Ok(None);
        }
        self.searched(&related.name)?;
        let list = serde_json::Value::from_iter(ids.iter().copied()).to_string();
        // Lines are counted here: a view of staged and committed records is searched by its indexes only row by row.
        let sql = format!(
            "SELECT {inverse} FROM {} WHERE {inverse} IN (SELECT value FROM json_each(?1))",
            quote(&table(&related.name)),
            inverse = quote(inverse),
        );
        let mut found: HashMap<Id, i64, RandomState> = HashMap::default();
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let mut rows = statement.query([&list]).map_err(fault)?;
        while let Some(row) = rows.next().map_err(fault)? {
            *found.entry(row.get(0).map_err(fault)?).or_default() += 1;
        }
        let sql = format!(
            "SELECT id, {} FROM {} WHERE id IN (SELECT value FROM json_each(?1)) ORDER BY id",
            quote(name),
            quote(&table(&model.name))
        );
        let mut statement = self.conn.prepare_cached(&sql).map_err(fault)?;
        let counted = statement.query_map([&list], |row| {
            let id = row.get(0)?;
            Ok((id, row.get(1)?, Cell::Integer(found.get(&id).copied().unwrap_or(0))))
        });
        counted.map_err(fault)?.collect::<Result<_, _>>().map(Some).map_err(fault)
    }

    /// Records of the dependent's model from which the path leads to a record.
    fn holders(&self, dependent: &Dependent<'a>, id: Id) -> Result<BTreeSet<Id>, Error> {
        let schema = self.schema();
        // Models along the path: the one at index n holds the relation at index n.
        let mut models = vec![schema.model(dependent.name.0)?];
        for step in &dependent.path {
            let Some(holder) = models.last() else { break };
            models.push(schema.model(holder.field(step)?.relation.as_deref().unwrap_or_default())?);
        }
        let mut ids = BTreeSet::from([id]);
        for (step, holder) in dependent.path.iter().zip(&models).rev() {
            let field = holder.field(step)?;
            let mut next = BTreeSet::new();
            for id in ids {
                next.extend(self.pointing(holder, step, field, id)?);
            }
            ids = next;
        }
        Ok(ids)
    }

    /// Records of `holder` whose relation leads to a record.
    fn pointing(&self, holder: &Model, name: &str, field: &Field, id: Id) -> Result<Vec<Id>, Error> {
        match field.kind {
            FieldKind::Many2one if field.has_column() => self.ids_where(&holder.name, name, id),
            FieldKind::One2many => {
                let related = field.relation.as_deref().unwrap_or_default();
                let inverse = field.relation_field.as_deref().unwrap_or_default();
                if !self.schema().model(related)?.has_column(inverse) {
                    return Ok(Vec::new());
                }
                let cell = self.cell(related, inverse, id)?;
                Ok(cell.as_ref().and_then(values::as_id).into_iter().collect())
            }
            FieldKind::Many2many => {
                let Some(pairs) = field.m2m.as_ref() else { return Ok(Vec::new()) };
                self.place.searched(self.conn, Some(&pairs.table))?;
                let sql = format!(
                    "SELECT {} FROM {} WHERE {} = ?1",
                    quote(&pairs.column1),
                    quote(&pairs.table),
                    quote(&pairs.column2)
                );
                super::columns::ids(self.conn, &sql, id)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What a computed field is now.
    fn compute(&self, model: &Model, field: &Field, id: Id) -> Result<Cell, Error> {
        let cell = match (&field.formula, &field.related) {
            (Some(Formula::Sum { path }), _) => self.sum(model, path, id)?,
            (Some(Formula::Count { field: relation }), _) => {
                let lines = match model.field(relation)? {
                    Field { kind: FieldKind::Many2many, m2m: Some(pairs), .. } => {
                        super::relations::linked(self.conn, pairs, id)?
                    }
                    _ => self.lines(model, id, relation)?,
                };
                Cell::Integer(i64::try_from(lines.len()).unwrap_or(i64::MAX))
            }
            (Some(Formula::Concat { fields, separator }), _) => {
                let mut parts = Vec::new();
                for name in fields {
                    if let Some(Cell::Text(text)) = self.follow_path(model, name, id)?
                        && !text.is_empty()
                    {
                        parts.push(text);
                    }
                }
                Cell::Text(parts.join(separator))
            }
            (Some(Formula::Product { fields }), _) => {
                let mut product = 1.0;
                for name in fields {
                    product *= as_number(self.follow_path(model, name, id)?.as_ref());
                }
                Cell::Real(product)
            }
            (None, Some(path)) => self.follow_path(model, path, id)?.unwrap_or(Cell::Null),
            (None, None) => Cell::Null,
        };
        self.rounded(model, field, id, cell)
    }

    fn sum(&self, model: &Model, path: &str, id: Id) -> Result<Cell, Error> {
        let Some((relation, column)) = path.split_once('.') else { return Ok(Cell::Real(0.0)) };
        let field = model.field(relation)?;
        let relation = field.relation.as_deref().unwrap_or_default();
        self.searched(relation)?;
        let related = quote(&table(relation));
        let chosen = match (&field.m2m, field.relation_field.as_deref()) {
            (Some(pairs), _) => {
                let (pairs_table, one, two) = (quote(&pairs.table), quote(&pairs.column1), quote(&pairs.column2));
                format!("id IN (SELECT {two} FROM {pairs_table} WHERE {one} = ?1)")
            }
            (None, inverse) => format!("{} = ?1", quote(inverse.unwrap_or_default())),
        };
        let sql = format!("SELECT total({}) FROM {related} WHERE {chosen}", quote(column));
        let total: f64 =
            self.conn.prepare_cached(&sql).map_err(fault)?.query_row([id], |row| row.get(0)).map_err(fault)?;
        Ok(Cell::Real(total))
    }

    /// What stands at the end of a path from a record; none when the path breaks off.
    pub(crate) fn follow_path(&self, model: &Model, path: &str, id: Id) -> Result<Option<Cell>, Error> {
        let mut holder = model;
        let mut at = id;
        let mut steps = path.split('.').peekable();
        while let Some(step) = steps.next() {
            let field = holder.field(step)?;
            let cell = match field.related.as_deref().filter(|_| !field.store) {
                Some(inner) => self.follow_path(holder, inner, at)?,
                None if field.has_column() => self.cell(&holder.name, step, at)?,
                None => None,
            };
            if steps.peek().is_none() {
                return Ok(cell);
            }
            let Some(next) = cell.as_ref().and_then(values::as_id) else { return Ok(None) };
            holder = self.schema().model(field.relation.as_deref().unwrap_or_default())?;
            at = next;
        }
        Ok(None)
    }

    /// A number as its field keeps it: whole, with its digits, in its currency.
    fn rounded(&self, model: &Model, field: &Field, id: Id, cell: Cell) -> Result<Cell, Error> {
        #[allow(clippy::cast_possible_truncation, reason = "a sum of integers is whole")]
        let cell = match (field.kind, cell) {
            (FieldKind::Integer, Cell::Real(number)) => Cell::Integer(number as i64),
            (FieldKind::Float, Cell::Real(number)) => {
                Cell::Real(field.digits.map_or(number, |(_, digits)| number::round_digits(number, digits)))
            }
            (FieldKind::Monetary, Cell::Real(number)) => {
                let path = field.currency_field.as_deref().unwrap_or_default();
                let currency = if model.fields.contains_key(path) { self.follow_path(model, path, id)? } else { None };
                let step = match currency.as_ref().and_then(values::as_id) {
                    Some(currency) => self.rounding(currency)?,
                    None => None,
                };
                Cell::Real(step.map_or(number, |step| number::round_step(number, step)))
            }
            (_, cell) => cell,
        };
        Ok(cell)
    }
}

pub(super) fn as_number(cell: Option<&Cell>) -> f64 {
    match cell {
        Some(Cell::Real(number)) => *number,
        Some(Cell::Integer(number)) => values::as_float(*number),
        _ => 0.0,
    }
}
