//! What a search by name looks at, and the few computed fields that can be searched.
//!
//! A model says in its schema which fields a name is searched in. Some of Odoo's models do more; they are listed here by
//! name, as they are part of what a domain means on Odoo.

use super::{Context, Leaf, Node, Place, Test, chatter, find, normal, relations, wrong_type};
use crate::{
    domain::{
        Domain, Literal, Operator,
        filter::{Closure, Filter},
        python::to_str,
    },
    error::Error,
    schema::Model,
};

/// A comparison of a record's display name.
pub(super) fn resolve<'a>(context: &Context<'a>, model: &'a Model, leaf: &Leaf<'a>) -> Result<Filter, Error> {
    let test = &leaf.test;
    if let Test::Hierarchy { value: Literal::Bool(false), negated, .. } = test {
        return Ok(if *negated { Filter::Always } else { Filter::Never });
    }
    if !matches!(test, Test::In { .. } | Test::Compare(..) | Test::Like { .. }) {
        return Err(wrong_type(&leaf.name, "a name is a text; compare it as one"));
    }
    match model.name.as_str() {
        "res.users" => user_names(context, model, test),
        "res.partner.category" => category_names(context, model, test),
        "product.product" => product_names(context, model, test),
        "product.template" => template_names(context, model, test),
        _ => by_fields(context, model, test),
    }
}

/// The fields that a name is searched in: one must match, or, negated, all must.
fn fields_node<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Node<'a>, Error> {
    let paths: Vec<&str> = match (&model.rec_names_search, &model.rec_name) {
        (Some(paths), _) if !paths.is_empty() => paths.iter().map(String::as_str).collect(),
        // Followers have the name of their contact; the field that shows it is not always in the schema.
        (_, Some(name)) if model.name == "mail.followers" && !model.fields.contains_key(name) => {
            vec!["partner_id.name"]
        }
        (_, Some(name)) => vec![name.as_str()],
        // A model without names does not restrain anything.
        _ => return Ok(Node::Always),
    };
    let parts: Vec<Node<'a>> =
        paths.into_iter().map(|path| path_node(context, model, path, test)).collect::<Result<_, _>>()?;
    Ok(if is_negative(test) { Node::and(parts) } else { Node::or(parts) })
}

fn by_fields<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    relations::resolve(context, model, &fields_node(context, model, test)?)
}

fn is_negative(test: &Test<'_>) -> bool {
    matches!(test, Test::In { negated: true, .. } | Test::Like { negated: true, .. })
}

fn leaf<'a>(name: &str, place: Place<'a>, test: Test<'a>) -> Node<'a> {
    Node::Leaf(Leaf { name: name.to_owned(), place, part: None, test })
}

fn path_node<'a>(context: &Context<'a>, model: &'a Model, path: &str, test: &Test<'a>) -> Result<Node<'a>, Error> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Ok(place) = find(context, model, name) else { return Ok(of_missing(test)) };
    match normal::related_model(context, place)? {
        Some(related) => {
            let sub = Box::new(path_node(context, related, rest.unwrap_or("display_name"), test)?);
            Ok(leaf(name, place, Test::Any { sub, negated: false, bypass: false }))
        }
        None => Ok(leaf(name, place, test.clone())),
    }
}

/// What a text that is unset everywhere answers: an excerpt of a schema may lack fields that names are searched in.
fn of_missing<'a>(test: &Test<'_>) -> Node<'a> {
    let holds = match test {
        Test::In { values, negated } => {
            values.iter().any(|value| value.is_unset() || *value == Literal::text("")) != *negated
        }
        Test::Compare(order, value) => {
            let text = if value.is_unset() { String::new() } else { to_str(value) };
            order.holds("".cmp(text.as_str()))
        }
        Test::Like { negated, .. } => *negated,
        Test::Any { .. } | Test::Hierarchy { .. } => false,
    };
    if holds { Node::Always } else { Node::Never }
}

/// A login that matches exactly goes before names.
fn user_names<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    let by_name = by_fields(context, model, test)?;
    let logins = match test {
        Test::In { values, negated: false } => values.clone(),
        Test::Like { text, ignore_case: true, whole: false, negated: false } => vec![Literal::text(text.as_str())],
        _ => return Ok(by_name),
    };
    let by_login = Domain::condition("login", Operator::In, Literal::List(logins));
    let by_login = super::search(context, &model.name, &by_login)?;
    let known = Filter::Exists(model.name.clone(), Box::new(by_login.clone()));
    Ok(Filter::or([Filter::and([known.clone(), by_login]), Filter::and([known.negate(), by_name])]))
}

/// A category's name is its path, so those below a match match too.
fn category_names<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    let Test::Like { negated, .. } = test else { return by_fields(context, model, test) };
    if *negated {
        return Ok(category_names(context, model, &test.clone().negate())?.negate());
    }
    let Some(parent) = model.fields.get(&model.parent_name) else { return by_fields(context, model, test) };
    let node = fields_node(context, model, test)?;
    let named = Filter::and([relations::resolve(context, model, &node)?, visible(context, model)?]);
    Ok(Filter::Within(Box::new(Closure {
        model: model.name.clone(),
        seeds: named,
        link: relations::link(context, model, &model.parent_name, parent)?,
        through: Filter::Always,
        forward: false,
    })))
}

/// What a search for everything finds.
fn visible(context: &Context<'_>, model: &Model) -> Result<Filter, Error> {
    super::search(context, &model.name, &Domain::Always)
}

/// A product is found by its name, its reference or its barcode; `[ref] name` too.
fn product_names<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    let on = |name: &'static str, test: Test<'a>| find(context, model, name).map(|place| leaf(name, place, test));
    let exactly = |values: Vec<Literal>| Test::In { values, negated: false };
    let mut parts = vec![on("name", test.clone())?, on("default_code", test.clone())?];
    if is_negative(test) {
        return relations::resolve(context, model, &Node::and(parts));
    }
    match test {
        Test::In { values, .. } => {
            parts.push(on("barcode", exactly(values.clone()))?);
            let codes: Vec<Literal> = values.iter().filter_map(bracketed).collect();
            if !codes.is_empty() {
                parts.push(on("default_code", exactly(codes))?);
            }
        }
        Test::Like { text, .. } => parts.push(on("barcode", exactly(vec![Literal::text(text.as_str())]))?),
        _ => {}
    }
    relations::resolve(context, model, &Node::or(parts))
}

/// `ref` of `[ref] name`.
fn bracketed(value: &Literal) -> Option<Literal> {
    let Literal::Text(text) = value else { return None };
    let (_, rest) = text.split_once('[')?;
    let (code, _) = rest.split_once(']')?;
    Some(Literal::text(code))
}

/// A product template is found by its own name or by its variants.
fn template_names<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    let own = by_fields(context, model, test)?;
    let variants = "product_variant_ids";
    let asks_for_a_name = match test {
        Test::In { values, .. } => !values.is_empty(),
        Test::Compare(_, value) => value.is_truthy(),
        _ => true,
    };
    if !asks_for_a_name || !model.fields.contains_key(variants) {
        return Ok(own);
    }
    let (operator, value) = as_condition(test);
    let by_variant = super::condition(context, &model.name, &Domain::condition(variants, operator, value))?;
    if is_negative(test) {
        return Ok(Filter::and([own, by_variant]));
    }
    Ok(Filter::and([Filter::or([own, by_variant]), visible(context, model)?]))
}

/// A test as operator and value again.
fn as_condition(test: &Test<'_>) -> (Operator, Literal) {
    use crate::domain::filter::Inequality;
    match test {
        Test::In { values, negated } => {
            (if *negated { Operator::NotIn } else { Operator::In }, Literal::List(values.clone()))
        }
        Test::Compare(order, value) => (
            match order {
                Inequality::Less => Operator::Less,
                Inequality::LessOrEqual => Operator::LessOrEqual,
                Inequality::Greater => Operator::Greater,
                Inequality::GreaterOrEqual => Operator::GreaterOrEqual,
            },
            value.clone(),
        ),
        Test::Like { text, ignore_case, whole, negated } => {
            let positive = match (whole, ignore_case) {
                (false, false) => Operator::Like,
                (false, true) => Operator::Ilike,
                (true, false) => Operator::EqualLike,
                (true, true) => Operator::EqualIlike,
            };
            (if *negated { positive.negated().unwrap_or(positive) } else { positive }, Literal::text(text.as_str()))
        }
        Test::Any { .. } | Test::Hierarchy { .. } => (Operator::Equal, Literal::Bool(false)),
    }
}

/// A field that is computed and not stored: a few can be searched all the same.
pub(super) fn computed<'a>(context: &Context<'a>, model: &'a Model, leaf_: &Leaf<'a>) -> Result<Filter, Error> {
    match (model.name.as_str(), leaf_.name.as_str()) {
        ("res.groups", "full_name") => group_full_name(context, model, &leaf_.test),
        _ => chatter::resolve(context, model, leaf_)?.ok_or_else(|| {
            Error::invalid(
                "not-searchable",
                format!("`{}` of `{}` is computed when it is read and cannot be searched", leaf_.name, model.name),
            )
            .with_field(leaf_.name.as_str())
        }),
    }
}

/// `Sales / Administrator`: the group's name, which here holds its category too.
fn group_full_name<'a>(context: &Context<'a>, model: &'a Model, test: &Test<'a>) -> Result<Filter, Error> {
    if is_negative(test) {
        return Ok(group_full_name(context, model, &test.clone().negate())?.negate());
    }
    let place = find(context, model, "name")?;
    relations::resolve(context, model, &leaf("name", place, test.clone()))
}
