//! `ORDER BY` as Odoo understands it: through relations, with PostgreSQL's places for unset values.
//!
//! A many2one is ordered by its model's own order. Unset values come last, or first when descending. The id always
//! comes last of all, so that the order is total.

use triggerbox_model::{
    domain::filter::Subject,
    error::Error,
    schema::{FieldKind, Model},
    time::DatePart,
};

use super::sql::Sql;
use crate::{
    ddl::{quote, table},
    env::Env,
};

/// The alias of the model's own table.
const OWN: &str = "t";

/// An order, with the joins it needs.
#[derive(Debug, Default)]
pub struct Order {
    joins: Vec<String>,
    terms: Vec<Term>,
}

#[derive(Debug)]
struct Term {
    alias: String,
    subject: Subject,
    /// What the value is wrapped in: `coalesce(`, `, 0)`.
    wrap: (&'static str, &'static str),
    direction: &'static str,
}

/// One part of an order: `partner_id.id desc nulls last`.
struct Part<'a> {
    field: &'a str,
    property: Option<&'a str>,
    descending: bool,
    nulls_first: Option<bool>,
}

/// The order of a search; none, or an empty text: the model's own.
///
/// # Errors
/// `bad-order`: malformed, or by a field that has no order; `unknown-field`.
pub fn order_by<'e>(env: &'e Env, model: &'e Model, order: Option<&str>) -> Result<Order, Error> {
    let text = order.filter(|order| !order.is_empty()).unwrap_or(&model.order);
    let mut builder = Builder { env, order: Order::default(), seen: Vec::new(), prefix: "o" };
    builder.add(model, OWN, text, false)?;
    let mut order = builder.order;
    let total = order.terms.iter().any(|term| term.alias == OWN && term.subject == Subject::Column("id".to_owned()));
    if !total {
        order.terms.push(id_term(OWN, ""));
    }
    Ok(order)
}

/// The order of records by a many2one of theirs: by its model's own order. Nothing is added to make it total.
///
/// Aliases of joins start with `prefix`.
///
/// # Errors
/// As [`order_by`].
pub(crate) fn through(
    env: &Env,
    model: &Model,
    field: &str,
    descending: bool,
    nulls_first: Option<bool>,
    prefix: &str,
) -> Result<Order, Error> {
    let mut builder = Builder { env, order: Order::default(), seen: Vec::new(), prefix };
    let part = Part { field, property: None, descending, nulls_first };
    builder.add_part(model, OWN, &part, descending, nulls_first)?;
    Ok(builder.order)
}

fn id_term(alias: &str, direction: &'static str) -> Term {
    Term { alias: alias.to_owned(), subject: Subject::Column("id".to_owned()), wrap: ("", ""), direction }
}

impl Order {
    /// Adds the joins, after the table `t`.
    pub fn push_joins(&self, sql: &mut Sql<'_>) {
        for join in &self.joins {
            sql.push(join);
        }
    }

    /// The joins alone.
    pub(crate) fn joins(&self) -> &[String] {
        &self.joins
    }

    /// How many terms there are.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Adds the value of a term, and gives back its direction.
    pub(crate) fn push_value(&self, sql: &mut Sql<'_>, index: usize) -> &'static str {
        let Some(term) = self.terms.get(index) else { return "" };
        sql.push(term.wrap.0);
        sql.subject(&term.alias, &term.subject);
        sql.push(term.wrap.1);
        term.direction
    }

    /// Adds ` ORDER BY …`.
    pub fn push_terms(&self, sql: &mut Sql<'_>) {
        for (index, term) in self.terms.iter().enumerate() {
            sql.push(if index == 0 { " ORDER BY " } else { ", " });
            sql.push(term.wrap.0);
            sql.subject(&term.alias, &term.subject);
            sql.push(term.wrap.1);
            sql.push(term.direction);
        }
    }
}

fn bad(text: &str) -> Error {
    Error::invalid(
        "bad-order",
        format!("invalid order `{text}`; write fields with `asc` or `desc`, as `name desc, id`"),
    )
}

fn parse(text: &str) -> Result<Vec<Part<'_>>, Error> {
    text.split(',').map(|part| parse_part(part).ok_or_else(|| bad(text))).collect()
}

fn parse_part(part: &str) -> Option<Part<'_>> {
    let mut words = part.split_whitespace();
    let path = words.next()?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    let (field, property) = match path.split_once('.') {
        Some((field, property)) => (field, Some(property)),
        None => (path, None),
    };
    if !is_name(field) || !property.is_none_or(is_name) {
        return None;
    }
    let mut rest: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    let nulls_first = match rest.as_slice() {
        [.., nulls, place] if nulls == "nulls" && place == "first" => Some(true),
        [.., nulls, place] if nulls == "nulls" && place == "last" => Some(false),
        _ => None,
    };
    if nulls_first.is_some() {
        rest.truncate(rest.len() - 2);
    }
    let descending = match rest.as_slice() {
        [] => false,
        [direction] if direction == "asc" => false,
        [direction] if direction == "desc" => true,
        _ => return None,
    };
    Some(Part { field, property, descending, nulls_first })
}

struct Builder<'e> {
    env: &'e Env,
    order: Order,
    /// Many2one fields that are being followed: an order that comes back to one of them ends there.
    seen: Vec<(String, String)>,
    /// What aliases of joins start with.
    prefix: &'e str,
}

impl<'e> Builder<'e> {
    fn add(&mut self, model: &'e Model, alias: &str, text: &str, reverse: bool) -> Result<(), Error> {
        for part in parse(text)? {
            let descending = part.descending != reverse;
            let nulls_first = part.nulls_first.map(|first| first != reverse);
            self.add_part(model, alias, &part, descending, nulls_first)?;
        }
        Ok(())
    }

    fn add_part(
        &mut self,
        model: &'e Model,
        alias: &str,
        part: &Part<'_>,
        descending: bool,
        nulls_first: Option<bool>,
    ) -> Result<(), Error> {
        let unsortable = |why: &str| {
            Error::invalid("bad-order", format!("`{}` of `{}` {why}", part.field, model.name)).with_field(part.field)
        };
        let direction = match (descending, nulls_first.unwrap_or(descending)) {
            (false, true) => " ASC NULLS FIRST",
            (false, false) => " ASC NULLS LAST",
            (true, true) => " DESC NULLS FIRST",
            (true, false) => " DESC NULLS LAST",
        };
        if part.field == "id" {
            if part.property.is_some() {
                return Err(unsortable("has no parts"));
            }
            // Reached through a relation it may be unset; the model's own needs no word on that, so that an index serves.
            let plain = if descending { " DESC" } else { "" };
            self.order.terms.push(id_term(alias, if alias == OWN { plain } else { direction }));
            return Ok(());
        }
        // A field that shows another one is ordered as that one.
        let (alias, model, name) = self.resolve(model, alias, part.field)?;
        let field = model.field(&name)?;
        if !field.has_column() || field.kind == FieldKind::Binary {
            return Err(unsortable("cannot be ordered by: it is not stored in a column"));
        }
        if field.kind == FieldKind::Many2one {
            return self.add_many2one(model, &alias, &name, part, descending, nulls_first, direction);
        }
        let subject = match part.property.map(|property| (property, DatePart::from_text(property))) {
            None if self.env.translates(field)? => Subject::Translated { column: name, lang: self.env.lang.clone() },
            None => Subject::Column(name),
            Some((_, Some(date_part))) if matches!(field.kind, FieldKind::Date | FieldKind::Datetime) => {
                let tz = self.env.context_tz.clone().filter(|_| field.kind == FieldKind::Datetime);
                Subject::Part { column: name, part: date_part, tz }
            }
            Some((property, _)) => return Err(unsortable(&format!("has no part `{property}`"))),
        };
        let wrap = match field.kind {
            FieldKind::Boolean => ("coalesce(", ", 0)"),
            FieldKind::Json => ("", " COLLATE tb_json"),
            _ => ("", ""),
        };
        // Where nothing can be unset, an index may give the order; a joined record may be missing as a whole.
        let direction = match (field.required && alias == OWN, descending) {
            (true, true) => " DESC",
            (true, false) => "",
            (false, _) => direction,
        };
        self.order.terms.push(Term { alias, subject, wrap, direction });
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one order term")]
    fn add_many2one(
        &mut self,
        model: &'e Model,
        alias: &str,
        name: &str,
        part: &Part<'_>,
        descending: bool,
        nulls_first: Option<bool>,
        direction: &'static str,
    ) -> Result<(), Error> {
        let key = (model.name.clone(), name.to_owned());
        if self.seen.contains(&key) {
            return Ok(());
        }
        let related = self.env.schema.model(model.field(name)?.relation.as_deref().unwrap_or_default())?;
        let order = match part.property {
            None => related.order.as_str(),
            Some("id") => "id",
            Some(property) => {
                let message = format!("`{name}` can be ordered by as a whole or by `{name}.id`, not by `{property}`");
                return Err(Error::invalid("bad-order", message).with_field(name));
            }
        };
        let subject = Subject::Column(name.to_owned());
        if order == "id" {
            self.order.terms.push(Term { alias: alias.to_owned(), subject, wrap: ("", ""), direction });
            return Ok(());
        }
        if let Some(first) = nulls_first {
            let wrap = ("", if first { " IS NOT NULL" } else { " IS NULL" });
            self.order.terms.push(Term { alias: alias.to_owned(), subject, wrap, direction: "" });
        }
        let joined = self.join(alias, name, &related.name);
        self.seen.push(key);
        let added = self.add(related, &joined, order, descending);
        self.seen.pop();
        added
    }

    fn join(&mut self, alias: &str, column: &str, model: &str) -> String {
        let joined = format!("{}{}", self.prefix, self.order.joins.len());
        self.order.joins.push(format!(
            " LEFT JOIN {} AS {joined} ON {joined}.\"id\" = {alias}.{}",
            quote(&table(model)),
            quote(column)
        ));
        joined
    }

    /// Follows related and inherited fields to the one that is stored: the alias and model it is on, and its name.
    fn resolve(&mut self, model: &'e Model, alias: &str, name: &str) -> Result<(String, &'e Model, String), Error> {
        let schema = &self.env.schema;
        let mut here = (alias.to_owned(), model.name.clone(), name.to_owned());
        for _ in 0..16 {
            let (alias, model_name, name) = &here;
            let current = schema.model(model_name)?;
            let own = current.fields.get(name);
            // The rest of a related field's path.
            if own.is_none()
                && let Some((first, rest)) = name.split_once('.')
                && let Some(step) = current.fields.get(first).filter(|step| step.kind == FieldKind::Many2one)
                && step.store
            {
                let related = step.relation.clone().unwrap_or_default();
                here = (self.join(alias, first, &related), related, rest.to_owned());
                continue;
            }
            let path = match own {
                Some(field) if field.store => break,
                Some(field) => field.related.clone(),
                None => current.inherits.iter().find_map(|(parent, via)| {
                    let shown = schema.models.get(parent)?.fields.contains_key(name);
                    shown.then(|| format!("{via}.{name}"))
                }),
            };
            let Some(path) = path else { break };
            here = (alias.clone(), model_name.clone(), path);
        }
        let (alias, model_name, name) = here;
        Ok((alias, schema.model(&model_name)?, name))
    }
}
