//! Keys and aggregates as SQL: which column of which table, what is done to it, and how its value reads.

use std::collections::HashSet;

use rusqlite::{Connection, types::ValueRef};
use triggerbox_model::{
    call::Operation,
    domain::{Domain, Literal, filter::Filter, filter::Subject, resolve},
    error::Error,
    schema::{Field, FieldKind, Model},
    time::{self, DatePart},
    value::{Id, Value},
};

use super::{OrderTerm, bucket::Granularity, misfit, spec::Spec};
use crate::{
    ddl::{quote, table},
    env::Env,
    query::{self, order, read, sql::Sql},
    rights,
};

/// Longest chain of fields that show other fields, and longest path of a key.
const MAX_STEPS: usize = 16;

/// A key of the grouping.
#[derive(Debug)]
pub(super) struct Key {
    /// Many2one fields that lead to it.
    pub(super) path: Vec<String>,
    /// The field, on the model at the end of the path.
    pub(super) field: String,
    pub(super) form: KeyForm,
    value: Column,
}

/// What a key's values are.
#[derive(Debug)]
pub(super) enum KeyForm {
    Plain(Shape),
    Boolean,
    Link {
        model: String,
    },
    /// A many2many: a record is in the group of each of its related records.
    Pairs {
        model: String,
    },
    Part(DatePart),
    Bucket {
        granularity: Granularity,
        datetime: bool,
    },
}

/// An aggregate.
#[derive(Debug)]
pub(super) struct Aggregate {
    function: Function,
    /// None: the records themselves.
    value: Option<Column>,
    /// Plain doubles, which are summed up as PostgreSQL does.
    floating: bool,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Rows,
    Count,
    CountDistinct,
    Sum,
    Avg,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    Array,
    ArrayDistinct,
    Recordset,
}

/// How a column's values read.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Count,
    Number,
    Whole,
    Truth,
    Id,
    Ids,
    List(Box<Field>),
    Field(Box<Field>),
}

/// An expression over a row.
#[derive(Debug, Clone)]
struct Column {
    alias: String,
    subject: Subject,
    before: String,
    after: String,
}

impl Column {
    fn push(&self, sql: &mut Sql<'_>) {
        sql.push(&self.before);
        sql.subject(&self.alias, &self.subject);
        sql.push(&self.after);
    }
}

impl Key {
    /// Adds the value, named for use in the order.
    pub(super) fn push(&self, sql: &mut Sql<'_>, place: usize) {
        self.value.push(sql);
        sql.push(&format!(" AS \"key {place}\""));
    }
}

impl Aggregate {
    pub(super) fn push(&self, sql: &mut Sql<'_>) {
        let Some(value) = &self.value else {
            sql.push("count(*)");
            return;
        };
        let (before, after) = match self.function {
            Function::Rows | Function::Count => ("count(", ")"),
            Function::CountDistinct => ("count(DISTINCT ", ")"),
            Function::Sum if self.floating => ("tb_float_sum(", ")"),
            Function::Sum => ("sum(", ")"),
            Function::Avg if self.floating => ("tb_float_avg(", ")"),
            Function::Avg => ("avg(", ")"),
            Function::Min | Function::BoolAnd => ("min(", ")"),
            Function::Max | Function::BoolOr => ("max(", ")"),
            Function::Array | Function::Recordset => ("tb_array(", " ORDER BY \"t\".\"id\")"),
            Function::ArrayDistinct => ("tb_array(DISTINCT ", ""),
        };
        sql.push(before);
        value.push(sql);
        sql.push(after);
        if self.function == Function::ArrayDistinct {
            sql.push(" ORDER BY ");
            value.push(sql);
            sql.push(" NULLS LAST)");
        }
    }
}

/// A term of the order as SQL.
pub(super) enum OrderColumn {
    /// The key at this place.
    Key(usize, &'static str),
    /// The key at this place, a day of the week, in the week's order.
    Weekday(usize, i8, &'static str),
    /// An aggregate.
    Aggregate(Aggregate, &'static str),
    /// A many2one key, by the order of its model.
    Through(order::Order),
}

/// What the order refers to in the list of selected columns.
pub(super) enum Place {
    /// A selected column, and whether the groups must also be told apart by it.
    Column {
        number: usize,
        direction: &'static str,
        grouped: bool,
    },
    Weekday {
        number: usize,
        week_start: i8,
        direction: &'static str,
    },
}

/// Collects the joins that columns need.
pub(super) struct Columns<'a> {
    conn: &'a Connection,
    env: &'a Env,
    model: &'a Model,
    joins: Vec<Join>,
}

enum Join {
    /// A record that a many2one points to; with a filter, only if it matches.
    Record { alias: String, model: String, from: String, column: String, filter: Filter },
    /// Pairs of a many2many, with related records that match.
    Pairs { alias: String, table: String, own: String, other: String, from: String, model: String, filter: Filter },
    /// Joins of an order.
    Ready(Vec<String>),
}

impl<'a> Columns<'a> {
    pub(super) fn new(conn: &'a Connection, env: &'a Env, model: &'a Model) -> Self {
        Self { conn, env, model, joins: Vec::new() }
    }

    fn alias(&self) -> String {
        format!("\"j{}\"", self.joins.len())
    }

    /// How many tables are joined so far.
    pub(super) fn tables(&self) -> usize {
        1 + self.joins.len()
    }

    /// A key: `stage_id`, `create_date:month`, `order_id.partner_id`.
    pub(super) fn key(&mut self, text: &str) -> Result<Key, Error> {
        let spec = Spec::parse(text)
            .ok_or_else(|| bad_group(text, "is written otherwise; write `field`, `date:month` or `many2one.field`"))?;
        let mut names: Vec<&str> = vec![spec.field];
        names.extend(spec.rest.into_iter().flat_map(|rest| rest.split('.')));
        let (last, steps) = names.split_last().ok_or_else(|| bad_group(text, "is empty"))?;
        if steps.len() > MAX_STEPS {
            return Err(Error::invalid("bad-group", format!("a path to group by has more than {MAX_STEPS} steps")));
        }
        let (mut model, mut alias) = (self.model, "\"t\"".to_owned());
        let mut path = Vec::new();
        for step in steps {
            let field = self.shown(model, step)?;
            if field.kind != FieldKind::Many2one {
                return Err(bad_group(text, &format!("goes through `{step}`, which is no many2one")));
            }
            self.check_field(model, step)?;
            let found = self.stored(model, &alias, step)?;
            let related = self.env.schema.model(field.relation.as_deref().unwrap_or_default())?;
            rights::check_model(self.env, &related.name, Operation::Read)?;
            // Of records that the user does not see, nothing is known; archived ones count.
            let filter = query::filter(self.conn, self.env, &related.name, &Domain::Always, true)?;
            let joined = self.alias();
            let (from, column) = (found.alias, found.name);
            self.joins.push(Join::Record { alias: joined.clone(), model: related.name.clone(), from, column, filter });
            (model, alias) = (related, joined);
            path.push((*step).to_owned());
        }
        let (value, form) = self.leaf(text, model, &alias, last, spec.function)?;
        Ok(Key { path, field: (*last).to_owned(), form, value })
    }

    fn leaf(
        &mut self,
        text: &str,
        model: &Model,
        alias: &str,
        name: &str,
        function: Option<&str>,
    ) -> Result<(Column, KeyForm), Error> {
        if name == "id" {
            let form = KeyForm::Link { model: model.name.clone() };
            return match function {
                None => Ok((plain(alias, "id"), form)),
                Some(_) => Err(bad_group(text, "gives a granularity, but is no date")),
            };
        }
        let field = self.shown(model, name)?;
        self.check_field(model, name)?;
        let dated = matches!(field.kind, FieldKind::Date | FieldKind::Datetime);
        match function {
            Some(_) if !dated => return Err(bad_group(text, "gives a granularity, but is no date")),
            None if dated => {
                return Err(bad_group(text, "is a date without a granularity; write `:month` or the like after it"));
            }
            _ => {}
        }
        if field.kind == FieldKind::Many2many {
            return self.pairs(text, model, alias, name);
        }
        let found = self.stored(model, alias, name)?;
        let mut column = self.column(&found)?;
        let form = match found.field.kind {
            FieldKind::Boolean => {
                (column.before, column.after) = ("coalesce(".to_owned(), ", 0)".to_owned());
                KeyForm::Boolean
            }
            FieldKind::Many2one => KeyForm::Link { model: found.field.relation.clone().unwrap_or_default() },
            FieldKind::Json => {
                " COLLATE tb_json".clone_into(&mut column.after);
                KeyForm::Plain(Shape::Field(Box::new(found.field)))
            }
            FieldKind::Date | FieldKind::Datetime => {
                let datetime = found.field.kind == FieldKind::Datetime;
                let tz = self.env.context_tz.clone().filter(|_| datetime);
                tz.as_deref().map(time::time_zone).transpose()?;
                let function = function.unwrap_or_default();
                if let Some(part) = DatePart::from_text(function) {
                    column.subject = Subject::Part { column: found.name, part, tz };
                    KeyForm::Part(part)
                } else if let Some(granularity) = Granularity::from_text(function) {
                    if granularity == Granularity::Hour && !datetime {
                        return Err(bad_group(text, "asks for the hour of a date"));
                    }
                    (column.before, column.after) =
                        bucket_sql(granularity, datetime, tz.as_deref(), self.env.group_week_start());
                    KeyForm::Bucket { granularity, datetime }
                } else {
                    return Err(bad_group(text, &format!("has the unknown granularity `{function}`")));
                }
            }
            _ => KeyForm::Plain(Shape::Field(Box::new(found.field))),
        };
        Ok((column, form))
    }

    /// The pairs of a many2many whose related records the user sees.
    fn pairs(&mut self, text: &str, model: &Model, alias: &str, name: &str) -> Result<(Column, KeyForm), Error> {
        let found = self.follow(model, alias, name)?;
        if !found.field.store {
            return Err(bad_group(text, "is a many2many that is not stored"));
        }
        let Found { alias: from, model: owner, name, field } = found;
        let Some(pairs) = field.m2m.clone() else { return Err(bad_group(text, "is a many2many without a table")) };
        let related = field.relation.clone().unwrap_or_default();
        let (_, filter) =
            query::access::resolving(self.conn, self.env, |context| resolve::members(context, &owner, &name))?;
        let joined = self.alias();
        self.joins.push(Join::Pairs {
            alias: joined.clone(),
            table: pairs.table,
            own: pairs.column1,
            other: pairs.column2.clone(),
            from,
            model: related.clone(),
            filter,
        });
        Ok((plain(&joined, &pairs.column2), KeyForm::Pairs { model: related }))
    }

    /// An aggregate: `expected_revenue:sum`, `__count`.
    pub(super) fn aggregate(&mut self, text: &str) -> Result<Aggregate, Error> {
        if text == "__count" {
            return Ok(Aggregate { function: Function::Rows, value: None, floating: false, shape: Shape::Count });
        }
        let bad = |why: String| Error::invalid("bad-aggregate", format!("aggregate `{text}` {why}"));
        let spec = Spec::parse(text).ok_or_else(|| bad("is written otherwise; write `field:sum`".to_owned()))?;
        if spec.rest.is_some() {
            return Err(bad("goes along a path; only fields of the model itself can be aggregated".to_owned()));
        }
        let (column, field) = if spec.field == "id" {
            (plain("\"t\"", "id"), Field::new(FieldKind::Integer))
        } else {
            self.shown(self.model, spec.field)?;
            self.check_field(self.model, spec.field)?;
            if spec.function.is_none() {
                return Err(bad("says no function; write `:sum` or the like after it".to_owned()));
            }
            let found = self.stored(self.model, "\"t\"", spec.field)?;
            (self.column(&found)?, found.field)
        };
        let function = match spec.function.unwrap_or_default() {
            "sum" => Function::Sum,
            // There are no rates here: amounts are summed as they stand.
            "sum_currency" if field.kind == FieldKind::Monetary => Function::Sum,
            "avg" => Function::Avg,
            "min" => Function::Min,
            "max" => Function::Max,
            "count" => Function::Count,
            "count_distinct" => Function::CountDistinct,
            "bool_and" => Function::BoolAnd,
            "bool_or" => Function::BoolOr,
            "array_agg" => Function::Array,
            "array_agg_distinct" => Function::ArrayDistinct,
            "recordset" if field.kind.is_relational() || spec.field == "id" => Function::Recordset,
            other => {
                return Err(bad(format!(
                    "asks for `{other}`, which {} fields do not have; there are sum, avg, min, max, count, count_distinct, \
                     array_agg, array_agg_distinct, bool_and, bool_or, and recordset for relations",
                    field.kind.name()
                )));
            }
        };
        let floating = field.kind == FieldKind::Float && field.digits.is_none();
        let whole = matches!(field.kind, FieldKind::Integer | FieldKind::Many2one);
        let number = whole || matches!(field.kind, FieldKind::Float | FieldKind::Monetary);
        let ordered = !matches!(field.kind, FieldKind::Boolean | FieldKind::Json | FieldKind::Binary);
        let truth = field.kind == FieldKind::Boolean;
        let fits = match function {
            Function::Sum | Function::Avg => number,
            Function::Min | Function::Max => ordered,
            Function::BoolAnd | Function::BoolOr => truth,
            _ => true,
        };
        if !fits {
            return Err(bad(format!("does not go with a {} field", field.kind.name())));
        }
        let shape = match function {
            Function::Rows | Function::Count | Function::CountDistinct => Shape::Count,
            Function::Sum if whole => Shape::Whole,
            Function::Sum | Function::Avg => Shape::Number,
            Function::BoolAnd | Function::BoolOr => Shape::Truth,
            Function::Min | Function::Max if field.kind == FieldKind::Many2one => Shape::Id,
            // Of no records there is no least number.
            Function::Min | Function::Max if whole => Shape::Whole,
            Function::Min | Function::Max if number => Shape::Number,
            Function::Min | Function::Max => Shape::Field(Box::new(field)),
            Function::Recordset => Shape::Ids,
            Function::Array | Function::ArrayDistinct => Shape::List(Box::new(field)),
        };
        Ok(Aggregate { function, value: Some(column), floating, shape })
    }

    /// A term of the order: a key or an aggregate, written as among them.
    pub(super) fn order_term(
        &mut self,
        term: &OrderTerm,
        specs: &[String],
        keys: &[Key],
    ) -> Result<OrderColumn, Error> {
        let direction = match (term.descending, term.nulls_first.unwrap_or(term.descending)) {
            (false, true) => " ASC NULLS FIRST",
            (false, false) => " ASC NULLS LAST",
            (true, true) => " DESC NULLS FIRST",
            (true, false) => " DESC NULLS LAST",
        };
        let place = specs.iter().position(|spec| *spec == term.term);
        let Some((place, key)) = place.and_then(|place| Some((place, keys.get(place)?))) else {
            let aggregate = self.aggregate(&term.term).map_err(|error| {
                let message =
                    format!("order by `{}`, which is neither a key nor an aggregate: {}", term.term, error.message);
                Error::invalid("bad-order", message)
            })?;
            return Ok(OrderColumn::Aggregate(aggregate, direction));
        };
        match &key.form {
            KeyForm::Part(DatePart::DayOfWeek) => {
                Ok(OrderColumn::Weekday(place, self.env.group_week_start(), direction))
            }
            KeyForm::Link { model } if key.path.is_empty() && key.field != "id" => {
                let by_id = self.env.schema.models.get(model).is_none_or(|model| model.order == "id");
                if by_id {
                    return Ok(OrderColumn::Key(place, direction));
                }
                let prefix = format!("g{}_", self.joins.len());
                let through =
                    order::through(self.env, self.model, &key.field, term.descending, term.nulls_first, &prefix)?;
                self.joins.push(Join::Ready(through.joins().to_vec()));
                Ok(OrderColumn::Through(through))
            }
            _ => Ok(OrderColumn::Key(place, direction)),
        }
    }

    pub(super) fn push_joins(&self, sql: &mut Sql<'_>) -> Result<(), Error> {
        for join in &self.joins {
            match join {
                Join::Ready(joins) => joins.iter().for_each(|join| sql.push(join)),
                Join::Record { alias, model, from, column, filter } => {
                    let (records, column) = (quote(&table(model)), quote(column));
                    sql.push(&format!(" LEFT JOIN {records} AS {alias} ON {alias}.\"id\" = {from}.{column}"));
                    if *filter != Filter::Always {
                        sql.push(" AND ");
                        sql.filter(model, alias, filter)?;
                    }
                }
                Join::Pairs { alias, table: pairs, own, other, from, model, filter } => {
                    let (pairs, own, other) = (quote(pairs), quote(own), quote(other));
                    sql.push(&format!(" LEFT JOIN {pairs} AS {alias} ON {alias}.{own} = {from}.\"id\""));
                    if *filter != Filter::Always {
                        let records = quote(&table(model));
                        sql.push(&format!(
                            " AND {alias}.{other} IN (SELECT \"m\".\"id\" FROM {records} AS \"m\" WHERE "
                        ));
                        sql.filter(model, "\"m\"", filter)?;
                        sql.push(")");
                    }
                }
            }
        }
        Ok(())
    }

    /// A field of the model, also one that it shows of another.
    fn shown(&self, model: &Model, name: &str) -> Result<Field, Error> {
        match self.env.schema.shown_field(model, name) {
            Some(field) => Ok(field.clone()),
            None => model.field(name).cloned(),
        }
    }

    fn check_field(&self, model: &Model, name: &str) -> Result<(), Error> {
        rights::check_fields(self.env, &model.name, [name], Operation::Read)
    }

    /// Where a field's value is stored: related and inherited fields are followed.
    fn stored(&mut self, model: &Model, alias: &str, name: &str) -> Result<Found, Error> {
        let found = self.follow(model, alias, name)?;
        if !found.field.has_column() || found.field.kind == FieldKind::Binary {
            let message =
                format!("`{name}` of `{}` cannot be grouped or aggregated: it is not stored in a column", model.name);
            return Err(Error::invalid("bad-group", message).with_field(name));
        }
        Ok(found)
    }

    fn follow(&mut self, model: &Model, alias: &str, name: &str) -> Result<Found, Error> {
        let (mut alias, mut at, mut name) = (alias.to_owned(), model.name.clone(), name.to_owned());
        for _ in 0..MAX_STEPS {
            let model = self.env.schema.model(&at)?;
            let own = model.fields.get(&name);
            let path = match own {
                // The rest of a path of several steps.
                None if name.contains('.') => Some(name.clone()),
                Some(field) if field.store => return Ok(Found { alias, model: at, name, field: field.clone() }),
                Some(field) => field.related.clone(),
                None => model.inherits.iter().find_map(|(parent, link)| {
                    let shown = self.env.schema.models.get(parent)?.fields.contains_key(&name);
                    shown.then(|| format!("{link}.{name}"))
                }),
            };
            let step = path.as_deref().and_then(|path| path.split_once('.'));
            let followed = step.and_then(|(link, rest)| {
                let field = model.fields.get(link).filter(|field| field.kind == FieldKind::Many2one && field.store)?;
                Some((link.to_owned(), rest.to_owned(), field.relation.clone()?))
            });
            let Some((link, rest, related)) = followed else {
                let field = self.shown(model, &name)?;
                return Ok(Found { alias, model: at, name, field: Field { store: false, ..field } });
            };
            let joined = self.alias();
            self.joins.push(Join::Record {
                alias: joined.clone(),
                model: related.clone(),
                from: alias,
                column: link,
                filter: Filter::Always,
            });
            (alias, at, name) = (joined, related, rest);
        }
        Err(Error::invalid("bad-schema", format!("`{name}` of `{}` shows a field in a circle", model.name)))
    }

    fn column(&self, found: &Found) -> Result<Column, Error> {
        let mut column = plain(&found.alias, &found.name);
        if self.env.translates(&found.field)? {
            column.subject = Subject::Translated { column: found.name.clone(), lang: self.env.lang.clone() };
        }
        Ok(column)
    }
}

/// A stored field.
struct Found {
    alias: String,
    model: String,
    name: String,
    field: Field,
}

fn plain(alias: &str, column: &str) -> Column {
    Column {
        alias: alias.to_owned(),
        subject: Subject::Column(column.to_owned()),
        before: String::new(),
        after: String::new(),
    }
}

fn bad_group(text: &str, why: &str) -> Error {
    Error::invalid("bad-group", format!("group by `{text}` {why}"))
}

/// What a date is wrapped in to become its bucket's start. Without a zone, the beginning of its text often is that.
fn bucket_sql(granularity: Granularity, datetime: bool, tz: Option<&str>, week_start: i8) -> (String, String) {
    let (length, rest) = match (granularity, datetime) {
        (Granularity::Hour, _) => (13, "||':00:00'"),
        (Granularity::Day, true) => (10, "||' 00:00:00'"),
        (Granularity::Month, true) => (7, "||'-01 00:00:00'"),
        (Granularity::Month, false) => (7, "||'-01'"),
        (Granularity::Year, true) => (4, "||'-01-01 00:00:00'"),
        (Granularity::Year, false) => (4, "||'-01-01'"),
        _ => (0, ""),
    };
    if length > 0 && tz.is_none() {
        return ("substr(".to_owned(), format!(", 1, {length}){rest}"));
    }
    // A zone's name was found in the time zone database before: there is no quote in it.
    let zone = tz.map_or_else(|| "NULL".to_owned(), |tz| format!("'{tz}'"));
    (format!("tb_bucket('{}', ", granularity.text()), format!(", {zone}, {week_start})"))
}

/// Adds the columns of the order that are not selected yet. `next` counts selected columns.
pub(super) fn push_order_columns(sql: &mut Sql<'_>, order: &[OrderColumn], next: &mut usize) -> Vec<Place> {
    let mut places = Vec::new();
    for column in order {
        match column {
            OrderColumn::Key(place, direction) => {
                places.push(Place::Column { number: 2 + place, direction, grouped: false })
            }
            OrderColumn::Weekday(place, week_start, direction) => {
                places.push(Place::Weekday { number: 2 + place, week_start: *week_start, direction });
            }
            OrderColumn::Aggregate(aggregate, direction) => {
                sql.push(", ");
                aggregate.push(sql);
                *next += 1;
                places.push(Place::Column { number: *next, direction, grouped: false });
            }
            OrderColumn::Through(order) => {
                for index in 0..order.len() {
                    sql.push(", ");
                    let direction = order.push_value(sql, index);
                    *next += 1;
                    places.push(Place::Column { number: *next, direction, grouped: true });
                }
            }
        }
    }
    places
}

pub(super) fn push_group_by(sql: &mut Sql<'_>, keys: usize, places: &[Place]) {
    let own = (2..2 + keys).map(|number| number.to_string());
    let others = places.iter().filter_map(|place| match place {
        Place::Column { number, grouped: true, .. } => Some(number.to_string()),
        _ => None,
    });
    sql.push(" GROUP BY ");
    sql.push(&own.chain(others).collect::<Vec<_>>().join(", "));
}

/// Adds the order; groups that tie follow their keys.
pub(super) fn push_order_by(sql: &mut Sql<'_>, places: &[Place], keys: usize) {
    let asked = places.iter().map(|place| match place {
        Place::Column { number, direction, .. } => format!("{number}{direction}"),
        Place::Weekday { number, week_start, direction } => {
            let key = number - 2;
            format!("(7 - {week_start} + CAST(\"key {key}\" AS INTEGER)) % 7{direction}")
        }
    });
    let rest = (2..2 + keys).map(|number| format!("{number} ASC NULLS LAST"));
    sql.push(" ORDER BY ");
    sql.push(&asked.chain(rest).collect::<Vec<_>>().join(", "));
}

impl Shape {
    /// The value of no records at all.
    pub(super) fn empty(&self) -> Value {
        match self {
            Self::Count => Value::Integer(0),
            Self::Ids => Value::Ids(Vec::new()),
            Self::List(_) => Value::Json("[]".to_owned()),
            _ => Value::Unset,
        }
    }

    pub(super) fn decode(&self, raw: ValueRef<'_>) -> Result<Value, Error> {
        if raw == ValueRef::Null {
            return Ok(self.empty());
        }
        Ok(match self {
            Self::Count | Self::Whole | Self::Id => {
                let number = raw.as_i64().map_err(misfit)?;
                #[allow(clippy::cast_precision_loss, reason = "a sum that outgrew an integer")]
                i32::try_from(number).map_or(Value::Number(number as f64), Value::Integer)
            }
            Self::Number => Value::Number(real(raw)?),
            Self::Truth => Value::Boolean(raw.as_i64().map_err(misfit)? != 0),
            Self::Ids => {
                let all: Vec<Option<Id>> = serde_json::from_str(raw.as_str().map_err(misfit)?).map_err(misfit)?;
                let mut seen = HashSet::new();
                Value::Ids(all.into_iter().flatten().filter(|id| seen.insert(*id)).collect())
            }
            Self::List(field) => Value::Json(list(field, raw.as_str().map_err(misfit)?)?),
            Self::Field(field) => read::decode(field, raw).map_err(misfit)?,
        })
    }
}

#[allow(clippy::cast_precision_loss, reason = "numbers are doubles")]
fn real(raw: ValueRef<'_>) -> Result<f64, Error> {
    match raw {
        ValueRef::Integer(number) => Ok(number as f64),
        other => other.as_f64().map_err(misfit),
    }
}

/// A JSON list of column values as scripts read them: truths as truths, times as the contract writes them.
fn list(field: &Field, text: &str) -> Result<String, Error> {
    use serde_json::Value as Json;
    if !matches!(field.kind, FieldKind::Boolean | FieldKind::Datetime | FieldKind::Json) {
        return Ok(text.to_owned());
    }
    let Json::Array(values) = serde_json::from_str(text).map_err(misfit)? else { return Err(misfit("no list")) };
    let values = values.into_iter().map(|value| {
        Ok(match (field.kind, value) {
            (FieldKind::Boolean, Json::Number(number)) => Json::Bool(number.as_i64() != Some(0)),
            (FieldKind::Datetime, Json::String(text)) => Json::String(time::datetime_to_contract(&text)?),
            (FieldKind::Json, Json::String(text)) => serde_json::from_str(&text).map_err(misfit)?,
            (_, value) => value,
        })
    });
    Ok(Json::Array(values.collect::<Result<_, Error>>()?).to_string())
}

/// A key's column value as domains write it.
pub(super) fn literal(raw: ValueRef<'_>, shape: &Shape) -> Result<Literal, Error> {
    let json = matches!(shape, Shape::Field(field) if field.kind == FieldKind::Json);
    Ok(match raw {
        ValueRef::Null | ValueRef::Blob(_) => Literal::Bool(false),
        ValueRef::Integer(number) => Literal::Integer(number),
        ValueRef::Real(number) => Literal::Float(number),
        ValueRef::Text(text) if json => Literal::from_json(&serde_json::from_slice(text).map_err(misfit)?)?,
        ValueRef::Text(_) => Literal::text(raw.as_str().map_err(misfit)?),
    })
}
