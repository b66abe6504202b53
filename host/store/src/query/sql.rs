//! A resolved domain as SQL. Every value is bound, never written into the text.

use rusqlite::{Connection, params_from_iter, types::Value};
use triggerbox_model::{
    domain::filter::{Cell, Check, Closure, Filter, Inequality, Link, LinkStorage, Related, Subject, TextForm},
    error::Error,
};

use super::fault;
use crate::ddl::{push_quoted, quote, table, translations_column};

/// Lists longer than this are bound as one JSON text.
const LONGEST_LIST: usize = 24;

/// Bytes that a query usually has.
const USUAL: usize = 512;

/// SQL in the making.
pub struct Sql<'c> {
    conn: &'c Connection,
    text: String,
    params: Vec<Value>,
    aliases: usize,
    has_asked: bool,
}

impl<'c> Sql<'c> {
    /// Nothing yet. The connection is asked only for the few domains whose validity depends on the data.
    #[must_use]
    pub fn new(conn: &'c Connection) -> Self {
        Self { conn, text: String::with_capacity(USUAL), params: Vec::new(), aliases: 0, has_asked: false }
    }

    /// Adds text: SQL of ours, never anything from outside.
    pub fn push(&mut self, sql: &str) {
        self.text.push_str(sql);
    }

    /// Adds a value.
    pub fn bind(&mut self, value: impl Into<Value>) {
        self.params.push(value.into());
        self.text.push('?');
    }

    /// Adds a column.
    fn column(&mut self, alias: &str, column: &str) {
        self.text.push_str(alias);
        self.text.push('.');
        push_quoted(&mut self.text, column);
    }

    /// The text and the values bound to its question marks.
    #[must_use]
    pub fn finish(self) -> (String, Vec<Value>) {
        (self.text, self.params)
    }

    /// Whether the records were looked at to write it.
    pub(super) fn has_asked(&self) -> bool {
        self.has_asked
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// Adds a condition on the row that `alias` stands for.
    ///
    /// # Errors
    /// `bad-domain` where the domain makes no sense with these data; what the database says.
    pub fn filter(&mut self, model: &str, alias: &str, filter: &Filter) -> Result<(), Error> {
        match filter {
            Filter::Always => self.push("1"),
            Filter::Never => self.push("0"),
            Filter::And(parts) => self.balanced(model, alias, parts, " AND ")?,
            Filter::Or(parts) => self.balanced(model, alias, parts, " OR ")?,
            Filter::Not(inner) => {
                self.push("(");
                self.filter(model, alias, inner)?;
                self.push(" IS NOT TRUE)");
            }
            Filter::Test(subject, check) => self.test(alias, subject, check),
            Filter::Related(related) => self.related(alias, related)?,
            Filter::Within(closure) => {
                self.push(&format!("{alias}.\"id\" IN ("));
                self.closure(closure)?;
                self.push(")");
            }
            Filter::Exists(other, filter) => {
                self.push("EXISTS (SELECT 1 FROM ");
                self.rows(other, filter)?;
                self.push(")");
            }
            Filter::Refused(other, filter, message) => {
                let mut question = Sql::new(self.conn);
                question.push("SELECT EXISTS (SELECT 1 FROM ");
                question.rows(other, filter)?;
                question.push(")");
                let (text, params) = question.finish();
                self.has_asked = true;
                let refused: bool =
                    self.conn.query_row(&text, params_from_iter(params), |row| row.get(0)).map_err(fault)?;
                if refused {
                    return Err(Error::invalid("bad-domain", message.as_str()));
                }
                self.push("0");
            }
        }
        Ok(())
    }

    /// `a AND b AND c` as a balanced tree: SQLite bounds the depth of expressions.
    fn balanced(&mut self, model: &str, alias: &str, parts: &[Filter], operator: &str) -> Result<(), Error> {
        match parts {
            [] => self.push(if operator == " AND " { "1" } else { "0" }),
            [only] => self.filter(model, alias, only)?,
            _ => {
                let (left, right) = parts.split_at(parts.len() / 2);
                self.push("(");
                self.balanced(model, alias, left, operator)?;
                self.push(operator);
                self.balanced(model, alias, right, operator)?;
                self.push(")");
            }
        }
        Ok(())
    }

    /// `"table" AS t3 WHERE …`
    fn rows(&mut self, model: &str, filter: &Filter) -> Result<(), Error> {
        let alias = self.alias();
        self.push(&format!("{} AS {alias}", quote(&table(model))));
        if *filter != Filter::Always {
            self.push(" WHERE ");
            self.filter(model, &alias, filter)?;
        }
        Ok(())
    }

    /// Adds the value of a subject.
    pub fn subject(&mut self, alias: &str, subject: &Subject) {
        match subject {
            Subject::Column(column) | Subject::Json(column) => self.column(alias, column),
            Subject::Translated { column, lang } => {
                self.push(&format!("coalesce(json_extract({alias}.{}, ", quote(&translations_column(column))));
                self.bind(format!("$.\"{lang}\""));
                self.push(&format!("), {alias}.{})", quote(column)));
            }
            Subject::Part { column, part, tz } => {
                self.push("tb_part(");
                self.bind(part.text().to_owned());
                self.push(&format!(", {alias}.{}, ", quote(column)));
                match tz {
                    Some(tz) => self.bind(tz.clone()),
                    None => self.push("NULL"),
                }
                self.push(")");
            }
            Subject::Text(inner, form) => self.as_text(alias, inner, form),
        }
    }

    fn as_text(&mut self, alias: &str, inner: &Subject, form: &TextForm) {
        let (before, after) = match form {
            TextForm::Plain => ("CAST(", " AS TEXT)".to_owned()),
            TextForm::Boolean => ("iif(", ", 'true', 'false')".to_owned()),
            TextForm::Float => ("tb_float_text(", ")".to_owned()),
            TextForm::Fixed(digits) => ("tb_fixed_text(", format!(", {digits})")),
            TextForm::Json => ("tb_json_text(", ")".to_owned()),
            TextForm::Amount => ("tb_money_text(", ", NULL)".to_owned()),
            TextForm::Money { currency, model } => {
                let other = self.alias();
                let places = format!(
                    "(SELECT {other}.\"decimal_places\" FROM {} AS {other} WHERE {other}.\"id\" = {alias}.{})",
                    quote(&table(model)),
                    quote(currency)
                );
                ("tb_money_text(", format!(", {places})"))
            }
        };
        self.push(before);
        self.subject(alias, inner);
        self.push(&after);
    }

    fn test(&mut self, alias: &str, subject: &Subject, check: &Check) {
        let or_unset = match check {
            Check::In { or_unset, .. }
            | Check::NotIn { or_unset, .. }
            | Check::Compare { or_unset, .. }
            | Check::Like { or_unset, .. } => *or_unset,
        };
        let always_false = matches!(check, Check::In { values, .. } if values.is_empty());
        // Records of some companies, or of none: that is most of them, and an index for each of the two would be in the way
        // of a better one. A `+` keeps SQLite from using it.
        let set = |cell: &Cell| !matches!(cell, Cell::Null | Cell::Integer(0)) && *cell != Cell::text("");
        let plain = matches!(subject, Subject::Column(_))
            && matches!(check, Check::In { values, or_unset: true } if values.iter().any(set));
        if always_false {
            if or_unset {
                self.subject(alias, subject);
                self.push(" IS NULL");
            } else {
                self.push("0");
            }
            return;
        }
        if or_unset {
            self.push(if plain { "(+" } else { "(" });
        }
        self.check(alias, subject, check);
        if or_unset {
            self.push(if plain { " OR +" } else { " OR " });
            self.subject(alias, subject);
            self.push(" IS NULL)");
        }
    }

    /// The part of a check about set values: true, or false or NULL.
    fn check(&mut self, alias: &str, subject: &Subject, check: &Check) {
        match check {
            Check::In { values, .. } => self.member(alias, subject, values, false),
            Check::NotIn { values, .. } if values.is_empty() => {
                self.subject(alias, subject);
                self.push(" IS NOT NULL");
            }
            Check::NotIn { values, .. } => self.member(alias, subject, values, true),
            Check::Compare { order, value, .. } => self.compare(alias, subject, order.text(), value),
            Check::Like { pattern, negated, .. } => {
                // What all matches start with lets an index narrow the search.
                let prefix = if *negated { String::new() } else { pattern.prefix() };
                let range = matches!(subject, Subject::Column(_)).then(|| after(&prefix)).flatten();
                if let Some(end) = &range {
                    self.push("(");
                    self.compare(alias, subject, Inequality::GreaterOrEqual.text(), &Cell::text(prefix.as_str()));
                    self.push(" AND ");
                    self.compare(alias, subject, Inequality::Less.text(), &Cell::text(end.as_str()));
                    self.push(" AND ");
                }
                if *negated {
                    self.push("NOT ");
                }
                self.push(if pattern.ignore_case() { "tb_ilike(" } else { "tb_like(" });
                self.bind(pattern.text().to_owned());
                self.push(", ");
                self.subject(alias, subject);
                self.push(")");
                if range.is_some() {
                    self.push(")");
                }
            }
        }
    }

    fn compare(&mut self, alias: &str, subject: &Subject, operator: &str, value: &Cell) {
        if matches!(subject, Subject::Json(_)) {
            self.push("tb_json_compare(");
            self.subject(alias, subject);
            self.push(", ");
            self.cell(value);
            self.push(&format!(") {operator} 0"));
        } else {
            self.subject(alias, subject);
            for part in [" ", operator, " "] {
                self.push(part);
            }
            self.cell(value);
        }
    }

    fn cell(&mut self, cell: &Cell) {
        self.bind(to_value(cell));
    }

    fn member(&mut self, alias: &str, subject: &Subject, values: &[Cell], negated: bool) {
        if matches!(subject, Subject::Json(_)) {
            self.json_member(alias, subject, values, negated);
            return;
        }
        if let [only] = values {
            self.compare(alias, subject, if negated { "<>" } else { "=" }, only);
            return;
        }
        self.subject(alias, subject);
        self.push(if negated { " NOT IN (" } else { " IN (" });
        if values.len() > LONGEST_LIST {
            let list: Vec<serde_json::Value> = values.iter().map(to_json).collect();
            self.push("SELECT value FROM json_each(");
            self.bind(serde_json::Value::Array(list).to_string());
            self.push(")");
        } else {
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    self.push(", ");
                }
                self.cell(value);
            }
        }
        self.push(")");
    }

    /// `a = 1 OR a = 2 OR …` as a balanced tree.
    fn json_member(&mut self, alias: &str, subject: &Subject, values: &[Cell], negated: bool) {
        match values {
            [] => self.push(if negated { "1" } else { "0" }),
            [only] => self.compare(alias, subject, if negated { "<>" } else { "=" }, only),
            _ => {
                let (left, right) = values.split_at(values.len() / 2);
                self.push("(");
                self.json_member(alias, subject, left, negated);
                self.push(if negated { " AND " } else { " OR " });
                self.json_member(alias, subject, right, negated);
                self.push(")");
            }
        }
    }

    fn related(&mut self, alias: &str, related: &Related) -> Result<(), Error> {
        let Related { link, filter, negated } = related;
        let not = if *negated { "NOT " } else { "" };
        match &link.storage {
            LinkStorage::Many2one => {
                let column = format!("{alias}.{}", quote(&link.field));
                if *filter == Filter::Always {
                    self.push(&format!("{column} IS {}NULL", if *negated { "" } else { "NOT " }));
                    return Ok(());
                }
                if let Filter::Test(Subject::Column(id), Check::In { values, or_unset: false }) = filter
                    && id == "id"
                    && !values.is_empty()
                {
                    // The link itself says which record it is.
                    let values = values.clone();
                    let check = if *negated {
                        Check::NotIn { values, or_unset: true }
                    } else {
                        Check::In { values, or_unset: false }
                    };
                    self.test(alias, &Subject::Column(link.field.clone()), &check);
                    return Ok(());
                }
                if *negated {
                    self.push(&format!("({column} IS NULL OR "));
                }
                self.push(&format!("{column} {not}IN ("));
                self.ids_of(&link.model, filter)?;
                self.push(if *negated { "))" } else { ")" });
            }
            LinkStorage::One2many(inverse) => {
                let other = self.alias();
                let inverse = format!("{other}.{}", quote(inverse));
                self.push(&format!(
                    "{alias}.\"id\" {not}IN (SELECT {inverse} FROM {} AS {other} WHERE {inverse} IS NOT NULL",
                    quote(&table(&link.model))
                ));
                self.and(&link.model, &other, filter)?;
                self.push(")");
            }
            LinkStorage::Many2many(pairs, own, theirs) => {
                let rel = self.alias();
                self.push(&format!(
                    "{alias}.\"id\" {not}IN (SELECT {rel}.{} FROM {} AS {rel}",
                    quote(own),
                    quote(pairs)
                ));
                if *filter != Filter::Always {
                    self.push(&format!(" WHERE {rel}.{} IN (", quote(theirs)));
                    self.ids_of(&link.model, filter)?;
                    self.push(")");
                }
                self.push(")");
            }
        }
        Ok(())
    }

    /// ` AND …`, unless there is nothing to ask.
    fn and(&mut self, model: &str, alias: &str, filter: &Filter) -> Result<(), Error> {
        if *filter != Filter::Always {
            self.push(" AND ");
            self.filter(model, alias, filter)?;
        }
        Ok(())
    }

    /// `SELECT id FROM … WHERE …`
    fn ids_of(&mut self, model: &str, filter: &Filter) -> Result<(), Error> {
        let alias = self.alias();
        self.push(&format!("SELECT {alias}.\"id\" FROM {} AS {alias} WHERE ", quote(&table(model))));
        self.filter(model, &alias, filter)
    }

    /// `UNION` leaves out what is there already, so cycles end.
    fn closure(&mut self, closure: &Closure) -> Result<(), Error> {
        let Closure { model, seeds, link, through, forward } = closure;
        let (tree, row) = (self.alias(), self.alias());
        let records = quote(&table(model));
        self.push(&format!("WITH RECURSIVE {tree}(id) AS ("));
        self.ids_of(model, seeds)?;
        self.push(" UNION ");
        let Link { storage, field, .. } = link;
        match (storage, forward) {
            (LinkStorage::Many2one, false) => {
                let parent = quote(field);
                self.push(&format!(
                    "SELECT {row}.\"id\" FROM {tree} JOIN {records} AS {row} ON {row}.{parent} = {tree}.id"
                ));
            }
            (LinkStorage::Many2one, true) => {
                let parent = quote(field);
                self.push(&format!(
                    "SELECT {row}.{parent} FROM {tree} JOIN {records} AS {row} ON {row}.\"id\" = {tree}.id \
                     WHERE {row}.{parent} IS NOT NULL"
                ));
            }
            (LinkStorage::One2many(inverse), false) => {
                let inverse = quote(inverse);
                self.push(&format!(
                    "SELECT {row}.{inverse} FROM {tree} JOIN {records} AS {row} ON {row}.\"id\" = {tree}.id \
                     WHERE {row}.{inverse} IS NOT NULL"
                ));
                self.and(model, &row, through)?;
            }
            (LinkStorage::One2many(inverse), true) => {
                self.push(&format!(
                    "SELECT {row}.\"id\" FROM {tree} JOIN {records} AS {row} ON {row}.{} = {tree}.id WHERE 1",
                    quote(inverse)
                ));
                self.and(model, &row, through)?;
            }
            (LinkStorage::Many2many(pairs, own, theirs), forward) => {
                // A step goes from one side of the pairs to the other; `through` is about their side.
                let rel = self.alias();
                let (from, to) = if *forward { (own, theirs) } else { (theirs, own) };
                self.push(&format!(
                    "SELECT {rel}.{to} FROM {tree} JOIN {pairs} AS {rel} ON {rel}.{from} = {tree}.id \
                     JOIN {records} AS {row} ON {row}.\"id\" = {rel}.{theirs} WHERE 1",
                    pairs = quote(pairs),
                    to = quote(to),
                    from = quote(from),
                    theirs = quote(theirs),
                ));
                self.and(model, &row, through)?;
            }
        }
        self.push(&format!(") SELECT id FROM {tree}"));
        Ok(())
    }
}

/// The first text after all that start with a prefix.
fn after(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    let last = chars.pop()?;
    let next = match u32::from(last) + 1 {
        0xD800 => 0xE000,
        code => code,
    };
    chars.push(char::from_u32(next)?);
    Some(chars.into_iter().collect())
}

fn to_value(cell: &Cell) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Integer(number) => Value::Integer(*number),
        Cell::Real(number) => Value::Real(*number),
        Cell::Text(text) => Value::Text(text.clone()),
    }
}

fn to_json(cell: &Cell) -> serde_json::Value {
    match cell {
        Cell::Null => serde_json::Value::Null,
        Cell::Integer(number) => (*number).into(),
        Cell::Real(number) => (*number).into(),
        Cell::Text(text) => text.as_str().into(),
    }
}
