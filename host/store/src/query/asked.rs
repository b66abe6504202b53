//! Questions that were asked before: of a domain that differs from an earlier one in its values alone, the SQL is known, and
//! nothing is resolved and written again.
//!
//! The *shape* of a domain is the domain without its positive whole numbers and its texts, which are open. When a shape is
//! asked for the first time, it is resolved twice: with its values, and with marks in their places. Where both give the same
//! SQL, and each mark turns up in it just as it was, values of later domains take the places of the marks. Shapes of which
//! that is not so (names, patterns, relative dates) are resolved each time.

use std::{
    collections::{HashMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
    mem::discriminant,
    sync::Arc,
};

use rusqlite::{Connection, types::Value};
use triggerbox_model::{
    call::Operation,
    domain::{Condition, Domain, Literal, Operand, Operator, filter::Filter, resolve},
    error::Error,
    schema::{Field, FieldKind, Model, Schema},
};

use super::{access::resolving_for, select, sql::Sql};
use crate::{
    ddl::{quote, table},
    env::Env,
    rights::{self, Reader},
};

/// Conditions of a domain, and members of a list, beyond which there is no use in keeping its SQL.
const MOST: usize = 24;

/// Shapes that are kept; then all are forgotten.
const MOST_SHAPES: usize = 1_000;

/// Characters of a domain or an order beyond which nothing of it is kept.
const LONGEST: usize = 4_096;

/// A whole number that stands in an open place; those after it in the other places.
const MARK: i64 = 1_500_000_000;

/// What begins a text that stands in an open place. A private-use character: nobody writes one by accident.
const TEXT_MARK: char = '\u{F8FA}';

/// A search, or a count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) env: &'q Env,
    pub(super) model: &'q str,
    pub(super) domain: &'q Domain,
    /// Archived records are left out.
    pub(super) active_test: bool,
    pub(super) wanted: Wanted<'q>,
}

/// What is wanted of the records that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wanted<'q> {
    /// How many there are.
    Count,
    /// Their ids; whether the SQL is to have places for a limit and an offset at its end.
    Ids { order: Option<&'q str>, paged: bool },
}

/// A statement with all values but those of limit and offset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Statement {
    pub(super) text: Arc<str>,
    pub(super) params: Vec<Value>,
}

/// Shapes that were asked, by hash.
#[derive(Debug, Default)]
pub(crate) struct Shapes(HashMap<u64, Arc<Shape>>);

impl Shapes {
    fn keep(&mut self, hash: u64, shape: Shape) {
        if self.0.len() >= MOST_SHAPES {
            self.0.clear();
        }
        self.0.insert(hash, Arc::new(shape));
    }
}

/// A question with the values that it was first asked with, and its SQL if that serves for others.
#[derive(Debug)]
struct Shape {
    reader: Reader,
    superuser: bool,
    active_test: bool,
    model: String,
    domain: Domain,
    /// None: a count.
    ids: Option<(Option<String>, bool)>,
    template: Option<Template>,
}

#[derive(Debug)]
struct Template {
    text: Arc<str>,
    params: Vec<Param>,
}

#[derive(Debug)]
enum Param {
    Fixed(Value),
    /// The value in the open place of this number.
    Open(usize),
}

/// A domain's SQL, and whether it is the same whenever this user asks.
struct Resolved {
    statement: Statement,
    lasts: bool,
}

impl Question<'_> {
    /// The SQL; none where no record can match.
    ///
    /// # Errors
    /// As [`super::search`].
    pub(super) fn statement(&self, conn: &Connection) -> Result<Option<Statement>, Error> {
        let Some(hash) = self.hash() else { return self.written(conn) };
        let known = self.env.rights.shapes().0.get(&hash).filter(|shape| shape.is_of(self)).cloned();
        if let Some(shape) = known {
            return match &shape.template {
                Some(template) => Ok(Some(template.filled(self.domain))),
                None => self.written(conn),
            };
        }
        if self.domain.to_string().len() > LONGEST || self.order().is_some_and(|order| order.len() > LONGEST) {
            return self.written(conn);
        }
        let resolved = self.resolve(conn, self.domain)?;
        let template = resolved.as_ref().and_then(|resolved| self.template(conn, resolved));
        self.env.rights.shapes().keep(hash, self.shape(template));
        Ok(resolved.map(|resolved| resolved.statement))
    }

    fn order(&self) -> Option<&str> {
        match self.wanted {
            Wanted::Ids { order, .. } => order,
            Wanted::Count => None,
        }
    }

    /// The SQL, resolved and written for this question alone.
    fn written(&self, conn: &Connection) -> Result<Option<Statement>, Error> {
        Ok(self.resolve(conn, self.domain)?.map(|resolved| resolved.statement))
    }

    fn resolve(&self, conn: &Connection, domain: &Domain) -> Result<Option<Resolved>, Error> {
        let env = self.env;
        rights::check_model(env, self.model, Operation::Read)?;
        let (filter, settled) = resolving_for(conn, env, |context| {
            resolve::search(&resolve::Context { active_test: self.active_test, ..*context }, self.model, domain)
        })?;
        let sql = match self.wanted {
            Wanted::Count => {
                let mut sql = Sql::new(conn);
                sql.push(&format!("SELECT count(*) FROM {} AS t WHERE ", quote(&table(self.model))));
                sql.filter(self.model, "t", &filter)?;
                sql
            }
            Wanted::Ids { order, paged } => select(conn, env, env.schema.model(self.model)?, &filter, order, paged)?,
        };
        if filter == Filter::Never {
            return Ok(None);
        }
        let lasts = settled && !sql.has_asked();
        let (text, params) = sql.finish();
        Ok(Some(Resolved { statement: Statement { text: text.into(), params }, lasts }))
    }

    /// A number for the question without the values in its open places; none: its SQL is not kept.
    fn hash(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        (self.model, self.active_test, self.env.user, self.env.superuser, self.wanted).hash(&mut hasher);
        let mut left = MOST;
        hash_domain(self.domain, &mut left, &mut hasher).then(|| hasher.finish())
    }

    fn shape(&self, template: Option<Template>) -> Shape {
        Shape {
            reader: Reader::of(self.env),
            superuser: self.env.superuser,
            active_test: self.active_test,
            model: self.model.to_owned(),
            domain: self.domain.clone(),
            ids: match self.wanted {
                Wanted::Count => None,
                Wanted::Ids { order, paged } => Some((order.map(str::to_owned), paged)),
            },
            template,
        }
    }

    /// The SQL with open places, if values can be put in there.
    fn template(&self, conn: &Connection, resolved: &Resolved) -> Option<Template> {
        let schema = &self.env.schema;
        let model = schema.models.get(self.model)?;
        if !resolved.lasts || !takes_values(schema, model, self.domain, &mut HashSet::new()) {
            return None;
        }
        let mut marks = 0;
        let marked = self.resolve(conn, &marked(self.domain, &mut marks)).ok()??;
        let (own, others) = (&resolved.statement, &marked.statement);
        if !marked.lasts || own.text != others.text || own.params.len() != others.params.len() {
            return None;
        }
        let mut values = Vec::new();
        for_each_open(self.domain, &mut |value| values.push(open_value(value)));
        let mut found = vec![false; values.len()];
        let mut params = Vec::with_capacity(own.params.len());
        for (value, mark) in own.params.iter().zip(&others.params) {
            let place = place_of(mark).filter(|place| *place < values.len());
            params.push(match place {
                Some(place) if values.get(place) == Some(value) => {
                    *found.get_mut(place)? = true;
                    Param::Open(place)
                }
                None if value == mark => Param::Fixed(value.clone()),
                _ => return None,
            });
        }
        found.iter().all(|found| *found).then(|| Template { text: Arc::clone(&own.text), params })
    }
}

impl Shape {
    fn is_of(&self, question: &Question<'_>) -> bool {
        let wanted = match &self.ids {
            None => Wanted::Count,
            Some((order, paged)) => Wanted::Ids { order: order.as_deref(), paged: *paged },
        };
        self.superuser == question.env.superuser
            && self.active_test == question.active_test
            && wanted == question.wanted
            && self.model == question.model
            && alike(&self.domain, question.domain)
            && self.reader.is(question.env)
    }
}

impl Template {
    fn filled(&self, domain: &Domain) -> Statement {
        let mut values = Vec::with_capacity(self.params.len());
        for_each_open(domain, &mut |value| values.push(value));
        let value_at = |place: usize| values.get(place).map_or(Value::Null, |value| open_value(value));
        let params = self.params.iter().map(|param| match param {
            Param::Fixed(value) => value.clone(),
            Param::Open(place) => value_at(*place),
        });
        Statement { text: Arc::clone(&self.text), params: params.collect() }
    }
}

/// Whether a value's place is open: others like it mean the same but for what they are.
fn is_open(value: &Literal) -> bool {
    match value {
        Literal::Integer(number) => (1..=i64::from(i32::MAX)).contains(number),
        Literal::Text(text) => !text.is_empty(),
        _ => false,
    }
}

/// An open value as it is bound.
fn open_value(value: &Literal) -> Value {
    match value {
        Literal::Integer(number) => Value::Integer(*number),
        Literal::Text(text) => Value::Text(text.clone()),
        _ => Value::Null,
    }
}

/// The number of the place that a mark stands in.
fn place_of(mark: &Value) -> Option<usize> {
    match mark {
        Value::Integer(number) => usize::try_from(number.checked_sub(MARK)?).ok(),
        Value::Text(text) => text.strip_prefix(TEXT_MARK)?.parse().ok(),
        _ => None,
    }
}

/// Adds a shape to a hash; false: there are no templates for what it holds, or for as much.
fn hash_domain(domain: &Domain, left: &mut usize, hasher: &mut impl Hasher) -> bool {
    discriminant(domain).hash(hasher);
    match domain {
        Domain::Always | Domain::Never => true,
        Domain::And(parts) | Domain::Or(parts) => {
            parts.len().hash(hasher);
            parts.iter().all(|part| hash_domain(part, left, hasher))
        }
        Domain::Not(inner) => hash_domain(inner, left, hasher),
        Domain::Condition(condition) => {
            let Some(fewer) = left.checked_sub(1) else { return false };
            *left = fewer;
            (&condition.field, condition.operator).hash(hasher);
            match &condition.value {
                Operand::Literal(value) => hash_value(value, hasher),
                Operand::Domain(inner) => hash_domain(inner, left, hasher),
            }
        }
    }
}

fn hash_value(value: &Literal, hasher: &mut impl Hasher) -> bool {
    (discriminant(value), is_open(value)).hash(hasher);
    match value {
        Literal::None | Literal::Text(_) => true,
        Literal::Bool(flag) => {
            flag.hash(hasher);
            true
        }
        Literal::Integer(number) => {
            if !is_open(value) {
                number.hash(hasher);
            }
            true
        }
        Literal::List(items) => {
            items.len().hash(hasher);
            items.len() <= MOST
                && items.iter().all(|item| !matches!(item, Literal::List(_)) && hash_value(item, hasher))
        }
        Literal::Float(_) | Literal::Dict(_) => false,
    }
}

/// Whether two domains have the same shape.
fn alike(one: &Domain, other: &Domain) -> bool {
    match (one, other) {
        (Domain::Always, Domain::Always) | (Domain::Never, Domain::Never) => true,
        (Domain::And(one), Domain::And(other)) | (Domain::Or(one), Domain::Or(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Domain::Not(one), Domain::Not(other)) => alike(one, other),
        (Domain::Condition(one), Domain::Condition(other)) => {
            one.operator == other.operator
                && one.field == other.field
                && match (&one.value, &other.value) {
                    (Operand::Literal(one), Operand::Literal(other)) => alike_values(one, other),
                    (Operand::Domain(one), Operand::Domain(other)) => alike(one, other),
                    _ => false,
                }
        }
        _ => false,
    }
}

fn alike_values(one: &Literal, other: &Literal) -> bool {
    match (one, other) {
        (Literal::List(one), Literal::List(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike_values(one, other))
        }
        (Literal::Integer(_), Literal::Integer(_)) | (Literal::Text(_), Literal::Text(_)) if is_open(one) => {
            is_open(other)
        }
        _ => one == other,
    }
}

/// Calls `visit` for each value in an open place, in order.
fn for_each_open<'d>(domain: &'d Domain, visit: &mut impl FnMut(&'d Literal)) {
    match domain {
        Domain::Always | Domain::Never => {}
        Domain::And(parts) | Domain::Or(parts) => parts.iter().for_each(|part| for_each_open(part, visit)),
        Domain::Not(inner) => for_each_open(inner, visit),
        Domain::Condition(Condition { value: Operand::Domain(inner), .. }) => for_each_open(inner, visit),
        Domain::Condition(Condition { value: Operand::Literal(value), .. }) => {
            let items = if let Literal::List(items) = value { items } else { std::slice::from_ref(value) };
            items.iter().filter(|item| is_open(item)).for_each(visit);
        }
    }
}

/// The domain with marks in its open places.
fn marked(domain: &Domain, next: &mut i64) -> Domain {
    match domain {
        Domain::Always | Domain::Never => domain.clone(),
        Domain::And(parts) => Domain::And(parts.iter().map(|part| marked(part, next)).collect()),
        Domain::Or(parts) => Domain::Or(parts.iter().map(|part| marked(part, next)).collect()),
        Domain::Not(inner) => Domain::Not(Box::new(marked(inner, next))),
        Domain::Condition(condition) => {
            let value = match &condition.value {
                Operand::Domain(inner) => Operand::Domain(Box::new(marked(inner, next))),
                Operand::Literal(value) => Operand::Literal(marked_value(value, next)),
            };
            Domain::Condition(Condition { field: condition.field.clone(), operator: condition.operator, value })
        }
    }
}

fn marked_value(value: &Literal, next: &mut i64) -> Literal {
    let marked = match value {
        Literal::List(items) => return Literal::List(items.iter().map(|item| marked_value(item, next)).collect()),
        Literal::Integer(_) if is_open(value) => Literal::Integer(MARK + *next),
        Literal::Text(_) if is_open(value) => Literal::Text(format!("{TEXT_MARK}{next}")),
        other => return other.clone(),
    };
    *next += 1;
    marked
}

/// Whether all values in the open places of a domain mean the same but for what they are: texts only as values of texts, and
/// no path named twice, because conditions on one field are joined by their values.
fn takes_values<'d>(schema: &Schema, model: &Model, domain: &'d Domain, paths: &mut HashSet<&'d str>) -> bool {
    match domain {
        Domain::Always | Domain::Never => true,
        Domain::And(parts) | Domain::Or(parts) => parts.iter().all(|part| takes_values(schema, model, part, paths)),
        Domain::Not(inner) => takes_values(schema, model, inner, paths),
        Domain::Condition(condition) => {
            let end = end_of(schema, model, &condition.field);
            paths.insert(&condition.field)
                && match &condition.value {
                    Operand::Domain(inner) => end
                        .and_then(|field| schema.models.get(field.relation.as_deref()?))
                        .is_some_and(|related| takes_values(schema, related, inner, paths)),
                    Operand::Literal(_) => !has_open_text(domain) || end.is_some_and(|end| takes_text(condition, end)),
                }
        }
    }
}

fn has_open_text(domain: &Domain) -> bool {
    let mut has = false;
    for_each_open(domain, &mut |value| has |= matches!(value, Literal::Text(_)));
    has
}

/// Whether texts are compared with a field as they are: by no pattern, not cut, and not as names or dates.
fn takes_text(condition: &Condition, end: &Field) -> bool {
    let compared = matches!(
        condition.operator,
        Operator::Equal | Operator::NotEqual | Operator::EqualOrUnset | Operator::In | Operator::NotIn
    );
    compared && end.size.is_none() && matches!(end.kind, FieldKind::Char | FieldKind::Text | FieldKind::Selection)
}

/// The field at the end of a path.
fn end_of<'s>(schema: &'s Schema, model: &'s Model, path: &str) -> Option<&'s Field> {
    let mut holder = Some(model);
    let mut end = None;
    for step in path.split('.') {
        let field = schema.shown_field(holder?, step)?;
        holder = field.relation.as_deref().and_then(|relation| schema.models.get(relation));
        end = Some(field);
    }
    end
}

#[cfg(test)]
mod tests {
    use triggerbox_model::call::Page;

    use super::*;
    use crate::{db::Database, query};

    const ADMIN: u32 = 2;

    fn demo() -> (Database, Env) {
        let now = "2026-11-21T10:15:00Z".parse().unwrap();
        let database = Database::demo_in_memory(now).unwrap();
        let (schema, rights) = (database.schema().clone(), database.rights().clone());
        let env = Env::for_user(&database.snapshot().unwrap(), schema, rights, ADMIN, now).unwrap();
        (database, env)
    }

    fn question<'q>(env: &'q Env, domain: &'q Domain) -> Question<'q> {
        let wanted = Wanted::Ids { order: None, paged: false };
        Question { env, model: "crm.lead", domain, active_test: true, wanted }
    }

    #[test]
    fn sql_is_kept_where_values_mean_the_same_but_for_what_they_are() {
        let (database, env) = demo();
        let conn = database.snapshot().unwrap();
        for (domain, kept) in [
            ("[('partner_id', '=', 7)]", true),
            ("[('name', '=', 'Chairs')]", true),
            ("[('partner_id.email_normalized', '=', 'a@example.com')]", true),
            ("[('stage_id', 'in', [1, 2]), ('user_id', '=', False)]", true),
            ("['|', ('id', '>', 7), ('partner_id', 'any', [('city', '!=', 'Ghent')])]", true),
            ("['!', ('color', '<=', 3)]", true),
            ("[]", true),
            // Patterns, names, dates, numbers as columns hold them, and one field twice.
            ("[('name', 'ilike', 'chairs')]", false),
            ("[('partner_id', '=', 'Azure')]", false),
            ("[('date_deadline', '<', 'today')]", false),
            ("[('date_open.month_number', '=', 3)]", false),
            ("[('expected_revenue', '>', 1000)]", false),
            ("[('active', '=', 5)]", false),
            ("[('stage_id', '=', 1), ('stage_id', '=', 2)]", false),
            ("[('stage_id', '!=', 1), ('stage_id', '!=', 2)]", false),
        ] {
            let domain = Domain::parse(domain).unwrap();
            let question = question(&env, &domain);
            let template = question.resolve(&conn, &domain).unwrap().and_then(|own| question.template(&conn, &own));
            assert_eq!(template.is_some(), kept, "{domain}: {template:?}");
        }
    }

    #[test]
    fn kept_sql_with_other_values_is_what_would_be_written() {
        let (database, env) = demo();
        let conn = database.snapshot().unwrap();
        for (first, other) in [
            ("[('partner_id', '=', 7)]", "[('partner_id', '=', 8)]"),
            ("[('name', '=', 'a'), ('id', 'in', [1, 2])]", "[('name', '=', 'b'), ('id', 'in', [9, 3])]"),
            (
                "[('partner_id', 'any', [('city', '=', 'a')]), ('stage_id', '=?', 2)]",
                "[('partner_id', 'any', [('city', '=', 'b')]), ('stage_id', '=?', 1)]",
            ),
        ] {
            let (first, other) = (Domain::parse(first).unwrap(), Domain::parse(other).unwrap());
            let asked = question(&env, &first).statement(&conn).unwrap();
            assert_eq!(asked, question(&env, &first).written(&conn).unwrap());
            let known = question(&env, &other);
            let shape = env.rights.shapes().0.get(&known.hash().unwrap()).cloned().unwrap();
            assert!(shape.is_of(&known) && shape.template.is_some());
            assert_eq!(known.statement(&conn).unwrap(), known.written(&conn).unwrap());
        }
    }

    #[test]
    fn what_one_user_asked_is_nothing_to_another() {
        let (database, env) = demo();
        let conn = database.snapshot().unwrap();
        let domain = Domain::parse("[('id', '>', 1)]").unwrap();
        let all = query::search(&conn, &env.clone().sudo(), "crm.lead", &domain, &Page::default()).unwrap();
        let elsewhere = Env { companies: vec![999], ..env.clone() };
        let few = query::search(&conn, &elsewhere, "crm.lead", &domain, &Page::default()).unwrap();
        let own = query::search(&conn, &env, "crm.lead", &domain, &Page::default()).unwrap();
        assert!(few.len() < own.len() && own.len() <= all.len(), "{few:?} {own:?} {all:?}");
    }
}
