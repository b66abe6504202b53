//! Display names, and searching by them.
//!
//! A record is named by its model's name field. Some of Odoo's models make their names up; they are listed here.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use triggerbox_model::{
    call::Page,
    domain::{Domain, Literal, Operator},
    error::Error,
    schema::{FieldKind, Model},
    value::{Id, Value},
};

use super::{read, search as find};
use crate::env::Env;

/// Names by id.
pub type Names = BTreeMap<Id, String>;

/// How deep names may be made of other records' names.
const MAX_DEPTH: usize = 16;

/// The records that a text may mean, the likeliest first.
///
/// # Errors
/// As [`super::search`].
pub fn search(
    conn: &Connection,
    env: &Env,
    model: &str,
    text: &str,
    operator: Operator,
    domain: &Domain,
    limit: u32,
) -> Result<Vec<Id>, Error> {
    let page = |limit| Page { limit: Some(limit), ..Page::default() };
    let exactly = |field: &str, operator, limit| {
        let condition = Domain::condition(field, operator, Literal::text(text));
        find(conn, env, model, &Domain::and([condition, domain.clone()]), &page(limit))
    };
    let meant = !text.is_empty() && !operator.is_negative();
    let mut found = match model {
        // A login names one user; a two-letter code a country; a reference or barcode a product.
        "res.users" if meant => {
            let users = exactly("login", Operator::Equal, 1)?;
            if !users.is_empty() {
                return Ok(users);
            }
            users
        }
        "res.country" if meant && text.chars().count() == 2 => exactly("code", operator, limit)?,
        "product.product" if meant => {
            let mut products = exactly("default_code", Operator::Equal, limit)?;
            if products.is_empty() {
                products = exactly("barcode", Operator::Equal, limit)?;
            }
            if !products.is_empty() {
                return Ok(products);
            }
            exactly("default_code", operator, limit)?
        }
        _ => Vec::new(),
    };
    let rest = if limit == 0 { 0 } else { limit.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX)) };
    if limit > 0 && rest == 0 {
        return Ok(found);
    }
    let mut parts = vec![Domain::condition("display_name", operator, Literal::text(text)), domain.clone()];
    if !found.is_empty() {
        let ids = found.iter().map(|id| Literal::Integer(i64::from(*id))).collect();
        parts.push(Domain::condition("id", Operator::NotIn, Literal::List(ids)));
    }
    found.extend(find(conn, env, model, &Domain::and(parts), &page(rest))?);
    Ok(found)
}

/// Display names of records, whatever the user may see of them. A record without a name is not among them.
///
/// # Errors
/// What the database says.
pub fn display_names(conn: &Connection, env: &Env, model: &str, ids: &[Id]) -> Result<Names, Error> {
    let env = env.clone().sudo();
    at_depth(conn, &env, env.schema.model(model)?, ids, 0)
}

/// One field of the records, as values.
fn values(conn: &Connection, env: &Env, model: &Model, ids: &[Id], field: &str) -> Result<BTreeMap<Id, Value>, Error> {
    if field != "id"
        && !model.fields.contains_key(field)
        && !model
            .inherits
            .keys()
            .any(|parent| env.schema.models.get(parent).is_some_and(|parent| parent.fields.contains_key(field)))
    {
        return Ok(BTreeMap::new());
    }
    let rows = read::read_raw(conn, env, model, ids, &[field.to_owned()])?;
    Ok(rows.into_iter().filter_map(|row| Some((row.id, row.values.into_iter().next()?))).collect())
}

fn texts(conn: &Connection, env: &Env, model: &Model, ids: &[Id], field: &str) -> Result<Names, Error> {
    let plain = |(id, value)| match value {
        Value::Text(text) => Some((id, text)),
        Value::Date(text) | Value::Datetime(text) => Some((id, text)),
        Value::Integer(number) => Some((id, number.to_string())),
        Value::Number(number) => Some((id, number.to_string())),
        Value::Reference(record) => Some((id, format!("{},{}", record.model, record.id))),
        _ => None,
    };
    Ok(values(conn, env, model, ids, field)?.into_iter().filter_map(plain).collect())
}

/// Names of the records in a many2one, by the id of the record that has it.
fn names_of(
    conn: &Connection,
    env: &Env,
    model: &Model,
    ids: &[Id],
    field: &str,
    depth: usize,
) -> Result<Names, Error> {
    let Some(relation) = model.fields.get(field).and_then(|field| field.relation.as_deref()) else {
        return Ok(Names::new());
    };
    let Some(related) = env.schema.models.get(relation) else { return Ok(Names::new()) };
    let links = links(conn, env, model, ids, field)?;
    let others: Vec<Id> = links.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let names = at_depth(conn, env, related, &others, depth + 1)?;
    Ok(links.into_iter().filter_map(|(id, other)| Some((id, names.get(&other)?.clone()))).collect())
}

fn links(conn: &Connection, env: &Env, model: &Model, ids: &[Id], field: &str) -> Result<BTreeMap<Id, Id>, Error> {
    let link = |(id, value)| match value {
        Value::Many2one(link) => Some((id, link.id)),
        _ => None,
    };
    Ok(values(conn, env, model, ids, field)?.into_iter().filter_map(link).collect())
}

/// Makes the names of records; the last number: how deep names are made of other records' names.
type Make = fn(&Connection, &Env, &Model, &[Id], usize) -> Result<Names, Error>;

/// Models whose records are not simply called by their name field.
const MADE_UP: [(&str, Make); 8] = [
    ("res.partner", partner_names),
    ("res.partner.category", path_names),
    ("product.product", product_names),
    ("product.template", product_names),
    ("sale.order.line", order_line_names),
    ("mail.activity", activity_names),
    ("mail.followers", |conn, env, model, ids, depth| names_of(conn, env, model, ids, "partner_id", depth)),
    ("res.groups", |conn, env, model, ids, _| texts(conn, env, model, ids, "name")),
];

/// How the names of a model's records are made up, if they are.
fn made_up(model: &Model) -> Option<Make> {
    MADE_UP.iter().find(|(name, _)| *name == model.name).map(|(_, make)| *make)
}

fn at_depth(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Names, Error> {
    if ids.is_empty() || depth > MAX_DEPTH {
        return Ok(Names::new());
    }
    made_up(model).unwrap_or(by_name_field)(conn, env, model, ids, depth)
}

/// The field that alone says what the records of a model are called, in every language; none where names are made up.
pub(crate) fn name_field(model: &Model) -> Option<&str> {
    let name = model.rec_name.as_deref().filter(|_| made_up(model).is_none())?;
    let field = model.fields.get(name)?;
    (field.kind == FieldKind::Char && field.has_column() && !field.translate).then_some(name)
}

fn partner_names(conn: &Connection, env: &Env, model: &Model, ids: &[Id], _: usize) -> Result<Names, Error> {
    let mut names = texts(conn, env, model, ids, "complete_name")?;
    for name in names.values_mut() {
        *name = name.trim().to_owned();
    }
    Ok(names)
}

/// `[CHAIR] Office chair`
fn product_names(conn: &Connection, env: &Env, model: &Model, ids: &[Id], _: usize) -> Result<Names, Error> {
    let mut names = texts(conn, env, model, ids, "name")?;
    for (id, code) in texts(conn, env, model, ids, "default_code")? {
        if let Some(name) = names.get_mut(&id).filter(|_| !code.is_empty()) {
            *name = format!("[{code}] {name}");
        }
    }
    Ok(names)
}

fn activity_names(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Names, Error> {
    let mut names = names_of(conn, env, model, ids, "activity_type_id", depth)?;
    let summaries = texts(conn, env, model, ids, "summary")?;
    names.extend(summaries.into_iter().filter(|(_, summary)| !summary.is_empty()));
    Ok(names)
}

fn by_name_field(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Names, Error> {
    let Some(field) = model.rec_name.as_deref() else {
        return Ok(ids.iter().map(|id| (*id, format!("{},{id}", model.name))).collect());
    };
    match model.fields.get(field).map(|field| field.kind) {
        Some(FieldKind::Many2one) => names_of(conn, env, model, ids, field, depth),
        _ => texts(conn, env, model, ids, field),
    }
}

/// `Region / North / City`
fn path_names(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Names, Error> {
    let mut names = texts(conn, env, model, ids, "name")?;
    for (id, above) in names_of(conn, env, model, ids, &model.parent_name, depth)? {
        let name = names.entry(id).or_default();
        *name = format!("{above} / {name}");
    }
    Ok(names)
}

/// `S00001 - Chair (Ada)`: the order; what is sold, in the customer's language; the customer's company.
///
/// What is sold is the line's second line of text, if it says something of its own, else the product.
fn order_line_names(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Names, Error> {
    let orders = names_of(conn, env, model, ids, "order_id", depth)?;
    let texts_of_lines = texts(conn, env, model, ids, "name")?;
    let customers = Customers::of(conn, env, model, ids, depth)?;
    let mut names = Names::new();
    for lang in customers.languages(env, ids) {
        let spoken = Env { lang, ..env.clone() };
        let lines: Vec<Id> = ids.iter().copied().filter(|id| customers.language(env, *id) == spoken.lang).collect();
        let products = names_of(conn, &spoken, model, &lines, "product_id", depth)?;
        let descriptions = through(conn, &spoken, model, &lines, "product_id", "description_sale")?;
        for id in lines {
            let text = texts_of_lines.get(&id).map_or("", String::as_str);
            let mut parts = text.split('\n');
            let first = parts.next().unwrap_or_default();
            let second = parts.next().filter(|part| !part.is_empty());
            let sold = match products.get(&id) {
                Some(product) => {
                    let usual = match descriptions.get(&id).filter(|description| !description.is_empty()) {
                        Some(description) => format!("{product}\n{description}"),
                        None => product.clone(),
                    };
                    second.filter(|_| text != usual).unwrap_or(product)
                }
                None => first,
            };
            let order = orders.get(&id).map_or("False", String::as_str);
            let customer = customers.names.get(&id).map_or("False", String::as_str);
            names.insert(id, format!("{order} - {sold} ({customer})"));
        }
    }
    Ok(names)
}

/// A text of the record in a many2one, by the id of the record that has it.
fn through(conn: &Connection, env: &Env, model: &Model, ids: &[Id], link: &str, field: &str) -> Result<Names, Error> {
    let related = model.fields.get(link).and_then(|link| link.relation.as_ref());
    let Some(related) = related.and_then(|related| env.schema.models.get(related)) else { return Ok(Names::new()) };
    let links = links(conn, env, model, ids, link)?;
    let others: Vec<Id> = links.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let found = texts(conn, env, related, &others, field)?;
    Ok(links.into_iter().filter_map(|(id, other)| Some((id, found.get(&other)?.clone()))).collect())
}

/// Who bought, by order line.
struct Customers {
    /// Reference or name of the customer's company.
    names: Names,
    /// Language that the customer speaks.
    languages: Names,
}

impl Customers {
    fn of(conn: &Connection, env: &Env, model: &Model, ids: &[Id], depth: usize) -> Result<Self, Error> {
        let link = "order_partner_id";
        let languages = through(conn, env, model, ids, link, "lang")?;
        let mut names = names_of(conn, env, model, ids, link, depth)?;
        let partners = links(conn, env, model, ids, link)?;
        if let Some(partner) = env.schema.models.get("res.partner") {
            let bought: Vec<Id> = partners.values().copied().collect::<BTreeSet<_>>().into_iter().collect();
            let company = "commercial_partner_id";
            let company_names = through(conn, env, partner, &bought, company, "name")?;
            let references = through(conn, env, partner, &bought, company, "ref")?;
            for (line, partner) in partners {
                let reference = references.get(&partner).filter(|reference| !reference.is_empty());
                if let Some(name) = reference.or_else(|| company_names.get(&partner)) {
                    names.insert(line, name.clone());
                }
            }
        }
        Ok(Self { names, languages })
    }

    /// Languages that are not installed do not count.
    fn language(&self, env: &Env, line: Id) -> String {
        let installed = |code: &&String| env.languages.iter().any(|language| language.code == **code);
        self.languages.get(&line).filter(installed).unwrap_or(&env.lang).clone()
    }

    fn languages(&self, env: &Env, lines: &[Id]) -> BTreeSet<String> {
        lines.iter().map(|line| self.language(env, *line)).collect()
    }
}
