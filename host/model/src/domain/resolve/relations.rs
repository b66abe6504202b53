//! Second pass, part two: relations are followed, with the record rules and archived records of the other side.

use super::{
    Context, Leaf, Node, Place, Test, active_field, chatter, find, names, normal, rules_of, typed, wrong_type,
};
use crate::{
    domain::{
        Domain, Literal, Operator,
        filter::{Cell, Check, Closure, Filter, Link, LinkStorage, Related, Subject},
        literal::bad,
    },
    error::Error,
    schema::{Field, FieldKind, Model},
};

/// A normalised domain as a filter.
pub(super) fn resolve<'a>(context: &Context<'a>, model: &'a Model, node: &Node<'a>) -> Result<Filter, Error> {
    Ok(match node {
        Node::Always => Filter::Always,
        Node::Never => Filter::Never,
        Node::And(parts) => Filter::and(all(context, model, parts)?),
        Node::Or(parts) => Filter::or(all(context, model, parts)?),
        Node::Leaf(leaf) => resolve_leaf(context, model, leaf)?,
    })
}

fn all<'a>(context: &Context<'a>, model: &'a Model, parts: &[Node<'a>]) -> Result<Vec<Filter>, Error> {
    parts.iter().map(|part| resolve(context, model, part)).collect()
}

fn resolve_leaf<'a>(context: &Context<'a>, model: &'a Model, leaf: &Leaf<'a>) -> Result<Filter, Error> {
    match leaf.place {
        Place::Id => match &leaf.test {
            Test::Hierarchy { up, value, negated } => hierarchy(context, model, leaf, None, *up, value, *negated),
            _ => typed::resolve(context, model, leaf, None),
        },
        Place::DisplayName => names::resolve(context, model, leaf),
        Place::Inherited(via, parent, field) => {
            let related = Leaf { place: Place::Own(field), ..leaf.clone() };
            let filter = resolve_leaf(context, parent, &related)?;
            let link = many2one(via, &parent.name);
            Ok(Filter::Related(Box::new(Related { link, filter, negated: false })))
        }
        Place::Own(field) => own_field(context, model, leaf, field),
    }
}

fn many2one(field: &str, model: &str) -> Link {
    Link { field: field.to_owned(), model: model.to_owned(), storage: LinkStorage::Many2one }
}

fn own_field<'a>(context: &Context<'a>, model: &'a Model, leaf: &Leaf<'a>, field: &'a Field) -> Result<Filter, Error> {
    if let Some(access) = context.access {
        access.check_field(model, &leaf.name, field)?;
    }
    if !field.store {
        return match &field.related {
            // Followers are searched with the rights of a superuser, and nobody follows as nobody.
            Some(path) if leaf.name != chatter::FOLLOWING => related_field(context, model, leaf, path),
            _ => names::computed(context, model, leaf),
        };
    }
    match &leaf.test {
        Test::Any { sub, negated, bypass } => any(context, model, leaf, field, sub, *negated, *bypass),
        Test::Hierarchy { up, value, negated } => hierarchy(context, model, leaf, Some(field), *up, value, *negated),
        Test::In { values, negated } if field.kind.is_x2many() => {
            in_x2many(context, model, leaf, field, values, *negated)
        }
        Test::Compare(..) if field.kind.is_x2many() => {
            Err(wrong_type(&leaf.name, "a list of records cannot be above or below a value"))
        }
        _ => typed::resolve(context, model, leaf, Some(field)),
    }
}

/// A field that shows another one at the end of a path: the path is searched instead.
///
/// A record whose path breaks off counts as having an empty value, where the question is whether the value is empty.
fn related_field<'a>(context: &Context<'a>, model: &'a Model, leaf: &Leaf<'a>, path: &str) -> Result<Filter, Error> {
    let unset_too = match &leaf.test {
        Test::In { values, negated } => {
            let null = values.iter().any(|value| equals_falsy(leaf.place, value));
            if *negated && !null {
                let positive = Leaf { test: Test::In { values: values.clone(), negated: false }, ..leaf.clone() };
                return Ok(related_field(context, model, &positive, path)?.negate());
            }
            *negated != null
        }
        Test::Compare(_, Literal::List(values)) => values.iter().any(|value| equals_falsy(leaf.place, value)),
        Test::Compare(_, value) => equals_falsy(leaf.place, value),
        Test::Like { negated: true, .. } | Test::Any { negated: true, .. } | Test::Hierarchy { negated: true, .. } => {
            let positive = Leaf { test: leaf.test.clone().negate(), ..leaf.clone() };
            return Ok(related_field(context, model, &positive, path)?.negate());
        }
        Test::Hierarchy { value, .. } => equals_falsy(leaf.place, value),
        Test::Like { .. } | Test::Any { .. } => false,
    };
    let node = follow(context, model, path, leaf, unset_too)?;
    // The path is followed with the rights of a superuser, as Odoo computes such fields.
    resolve(context, model, &node)
}

/// Whether a value is what an empty field of the place equals.
fn equals_falsy(place: Place<'_>, value: &Literal) -> bool {
    if value.is_unset() {
        return true;
    }
    match place.kind() {
        FieldKind::Char | FieldKind::Text | FieldKind::Html => matches!(value, Literal::Text(text) if text.is_empty()),
        FieldKind::Integer | FieldKind::Float | FieldKind::Monetary | FieldKind::Boolean => {
            matches!(value, Literal::Integer(0)) || *value == Literal::Float(0.0)
        }
        _ => false,
    }
}

fn follow<'a>(
    context: &Context<'a>,
    model: &'a Model,
    path: &str,
    leaf: &Leaf<'a>,
    unset_too: bool,
) -> Result<Node<'a>, Error> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let place = find(context, model, name)?;
    let Some(rest) = rest else {
        return Ok(Node::Leaf(Leaf { name: name.to_owned(), place, ..leaf.clone() }));
    };
    let Some(related) = normal::related_model(context, place)? else {
        return Err(bad(format!("`{name}` of `{}` is no relation, but a related field goes through it", model.name)));
    };
    let sub = Box::new(follow(context, related, rest, leaf, unset_too)?);
    let step = |test| Node::Leaf(Leaf { name: name.to_owned(), place, part: None, test });
    let found = step(Test::Any { sub, negated: false, bypass: true });
    let optional = place.field().is_some_and(|field| field.kind == FieldKind::Many2one && !field.required);
    if unset_too && optional {
        let unset = step(Test::In { values: vec![Literal::Bool(false)], negated: false });
        return Ok(Node::or([found, unset]));
    }
    Ok(found)
}

/// How a relational field is stored.
pub(super) fn link(context: &Context<'_>, model: &Model, name: &str, field: &Field) -> Result<Link, Error> {
    let fail =
        |what: &str| Error::invalid("bad-schema", format!("the schema of `{}.{name}` lacks its {what}", model.name));
    let related = field.relation.clone().ok_or_else(|| fail("relation"))?;
    context.model(&related)?;
    let storage = match field.kind {
        FieldKind::One2many => {
            LinkStorage::One2many(field.relation_field.clone().ok_or_else(|| fail("relation field"))?)
        }
        FieldKind::Many2many => match &field.m2m {
            Some(table) => LinkStorage::Many2many(table.table.clone(), table.column1.clone(), table.column2.clone()),
            None => LinkStorage::Many2many(
                format!("{}_{name}_rel", model.name.replace('.', "_")),
                format!("{}_id", model.name.replace('.', "_")),
                format!("{}_id", related.replace('.', "_")),
            ),
        },
        _ => LinkStorage::Many2one,
    };
    Ok(Link { field: name.to_owned(), model: related, storage })
}

/// Which related records a one2many or many2many shows at all.
pub(super) fn field_domain(context: &Context<'_>, model: &Model, field: &Field) -> Result<Domain, Error> {
    let declared = match &field.domain {
        Some(serde_json::Value::Array(items)) if field.kind.is_x2many() => {
            Domain::from_json(&serde_json::Value::Array(items.clone()))?
        }
        _ => Domain::Always,
    };
    let Some(model_column) = reference_model_column(context, field)? else { return Ok(declared) };
    // Records of many models share the table: those of this model are meant. Notifications to users are not discussion.
    let ours = Domain::condition(model_column, Operator::Equal, Literal::text(model.name.as_str()));
    let visible = if field.relation.as_deref() == Some("mail.message") {
        Domain::condition("message_type", Operator::NotEqual, Literal::text("user_notification"))
    } else {
        Domain::Always
    };
    Ok(Domain::and([declared, ours, visible]))
}

/// For a one2many whose other side is a plain id (`res_id`): the column that says of which model.
fn reference_model_column(context: &Context<'_>, field: &Field) -> Result<Option<&'static str>, Error> {
    let (Some(related), Some(inverse)) = (&field.relation, &field.relation_field) else { return Ok(None) };
    if field.kind != FieldKind::One2many {
        return Ok(None);
    }
    let related = context.model(related)?;
    if related.fields.get(inverse).is_none_or(|inverse| inverse.kind == FieldKind::Many2one) {
        return Ok(None);
    }
    Ok(["res_model", "model"].into_iter().find(|name| related.fields.contains_key(*name)))
}

/// The context in which the records of a one2many or many2many are searched.
fn x2many_context<'a>(context: &Context<'a>, field: &Field) -> Context<'a> {
    let active_test = field.context.as_ref().and_then(|values| values.get("active_test"));
    match active_test.and_then(serde_json::Value::as_bool) {
        Some(active_test) => context.with_active_test(active_test),
        None => *context,
    }
}

/// Where no rights are asked, `many2one any (id in …)` is a comparison of the many2one itself, so that texts are names.
fn by_id<'a>(
    context: &Context<'a>,
    leaf: &Leaf<'a>,
    field: &'a Field,
    sub: &Node<'a>,
    bypass: bool,
) -> Result<Option<Node<'a>>, Error> {
    match sub {
        Node::Leaf(Leaf { place: Place::Id, part: None, test: Test::In { values, negated }, .. })
            if field.kind == FieldKind::Many2one
                && (bypass || context.access.is_none())
                && values.iter().any(|value| matches!(value, Literal::Text(_))) =>
        {
            normal::holds_id(context, &leaf.name, leaf.place, values, *negated).map(Some)
        }
        _ => Ok(None),
    }
}

/// Some related record matches `sub` (or, negated, none does).
fn any<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    field: &'a Field,
    sub: &Node<'a>,
    negated: bool,
    bypass: bool,
) -> Result<Filter, Error> {
    if let Some(node) = by_id(context, leaf, field, sub, bypass)? {
        return resolve(context, model, &if negated { node.negate() } else { node });
    }
    let link = link(context, model, &leaf.name, field)?;
    let related = context.model(&link.model)?;
    let is_chatter = reference_model_column(context, field)?.is_some();
    let bypass = bypass || is_chatter || model.inherits.values().any(|via| *via == leaf.name);
    let rules = if bypass { Filter::Always } else { rules_of(context, related)? };
    let filter = if field.kind == FieldKind::Many2one {
        resolve(context, related, sub)?
    } else {
        let context = x2many_context(context, field);
        let domain = normal::normalise(&context, related, &field_domain(&context, model, field)?)?;
        let whole = Node::and([sub.clone(), domain]);
        let active = match active_field(&context, related) {
            Some(active) if context.active_test && !whole.mentions(active) => {
                normal::normalise(&context, related, &Domain::condition(active, Operator::Equal, Literal::Bool(true)))?
            }
            _ => Node::Always,
        };
        resolve(&context, related, &Node::and([whole, active]))?
    };
    let filter = Filter::and([filter, rules]);
    Ok(Filter::Related(Box::new(Related { link, filter, negated })))
}

/// What a one2many or many2many shows to the user.
pub(super) fn members<'a>(
    context: &Context<'a>,
    model: &'a Model,
    name: &str,
    field: &'a Field,
) -> Result<(Link, Filter), Error> {
    let link = link(context, model, name, field)?;
    let related = context.model(&link.model)?;
    let is_chatter = reference_model_column(context, field)?.is_some();
    let rules = if is_chatter { Filter::Always } else { rules_of(context, related)? };
    let active = match active_field(context, related) {
        Some(active) if x2many_context(context, field).active_test => Filter::Test(
            Subject::Column(active.to_owned()),
            Check::In { values: vec![Cell::Integer(1)], or_unset: false },
        ),
        _ => Filter::Always,
    };
    let filter = Filter::and([shown(context, model, field)?, active, rules]);
    Ok((link, filter))
}

/// Ids of a one2many or many2many: no rights are asked and archived records count.
fn in_x2many<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    field: &'a Field,
    values: &[Literal],
    negated: bool,
) -> Result<Filter, Error> {
    let mut ids = Vec::new();
    let mut unset = false;
    for value in values {
        match value {
            // Zero is `False` to Python.
            value if value.is_unset() || *value == Literal::Integer(0) => unset = true,
            Literal::Integer(id) => ids.push(*id),
            // No id has a fraction.
            Literal::Float(_) => {}
            other => {
                return Err(wrong_type(&leaf.name, format!("{other} is not a record id; use an id or a name")));
            }
        }
    }
    let mut parts = Vec::new();
    if unset {
        parts.push(holding(context, model, leaf, field, Filter::Always)?.negate());
    }
    if !ids.is_empty() {
        parts.push(holding(context, model, leaf, field, Filter::ids(ids))?);
    }
    let found = Filter::or(parts);
    Ok(if negated { found.negate() } else { found })
}

/// Records whose one2many or many2many holds a record that matches, archived or not.
fn holding<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    field: &'a Field,
    filter: Filter,
) -> Result<Filter, Error> {
    let link = link(context, model, &leaf.name, field)?;
    let filter = Filter::and([filter, shown(context, model, field)?]);
    Ok(Filter::Related(Box::new(Related { link, filter, negated: false })))
}

/// The field's own domain, as a filter on the related model.
fn shown<'a>(context: &Context<'a>, model: &'a Model, field: &'a Field) -> Result<Filter, Error> {
    let Some(relation) = &field.relation else { return Ok(Filter::Always) };
    let context = context.sudo().with_active_test(false);
    let related = context.model(relation)?;
    let node = normal::normalise(&context, related, &field_domain(&context, model, field)?)?;
    resolve(&context, related, &node)
}

/// `child_of` and `parent_of`. `field` is none for `id`.
fn hierarchy<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    field: Option<&'a Field>,
    up: bool,
    value: &Literal,
    negated: bool,
) -> Result<Filter, Error> {
    let found = match field {
        _ if value.is_unset() => Filter::Never,
        Some(field) if !field.kind.is_relational() => {
            return Err(wrong_type(&leaf.name, "a hierarchy needs a relation or `id`"));
        }
        field => in_hierarchy(context, model, leaf, field, up, value)?,
    };
    Ok(if negated { found.negate() } else { found })
}

fn in_hierarchy<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    field: Option<&'a Field>,
    up: bool,
    value: &Literal,
) -> Result<Filter, Error> {
    let own_link = field.map(|field| link(context, model, &leaf.name, field)).transpose()?;
    let related = match &own_link {
        Some(link) => context.model(&link.model)?,
        None => model,
    };
    let to_itself = related.name == model.name;
    let parent_name = if to_itself && field.is_some() { leaf.name.as_str() } else { related.parent_name.as_str() };
    let kept_path = related.parent_store && parent_name == related.parent_name;

    let seeds = seeds(context, related, leaf, field, value)?;
    if seeds.is_empty() {
        return Ok(Filter::Never);
    }
    let holds_unset = seeds.unset && !kept_path;
    let refused = |what: String| Error::invalid("bad-domain", what).with_field(leaf.name.as_str());
    if (seeds.unset || seeds.zero) && kept_path {
        return Err(refused(format!("an unset value has no place in the hierarchy of `{}`", related.name)));
    }
    let no_hierarchy =
        || refused(format!("`{}` has no hierarchy: it has no relation `{parent_name}` to itself", related.name));
    let to_related = |parent: &&Field| parent.relation.as_deref() == Some(&related.name);
    let parent = related.fields.get(parent_name).filter(to_related);
    if parent.is_none() && find(context, related, parent_name).is_ok() {
        // A parent of another kind (a user's is a partner) leads nowhere: only where it starts is left.
        return seeds_only(context, model, leaf, own_link, seeds.filter, holds_unset);
    }
    let Some(parent) = parent else {
        // Odoo looks for the hierarchy only when it found where to start.
        return if seeds.certain {
            Err(no_hierarchy())
        } else {
            Ok(Filter::Refused(related.name.clone(), Box::new(seeds.filter), no_hierarchy().message))
        };
    };
    let closure = Filter::Within(Box::new(Closure {
        model: related.name.clone(),
        seeds: seeds.filter,
        link: link(context, related, parent_name, parent)?,
        through: if parent.kind == FieldKind::Many2one { Filter::Always } else { shown(context, related, parent)? },
        forward: up,
    }));
    let (Some(field), Some(own_link)) = (field, own_link) else { return Ok(closure) };
    if field.kind == FieldKind::Many2one {
        if to_itself {
            return Ok(closure);
        }
        let unset = Filter::Test(Subject::Column(leaf.name.clone()), Check::UNSET);
        let found = Filter::Related(Box::new(Related { link: own_link, filter: closure, negated: false }));
        return Ok(if holds_unset { Filter::or([found, unset]) } else { found });
    }
    if kept_path && !up {
        // Odoo finds them by path, with a search that leaves archived records out.
        let context = x2many_context(context, field);
        let active = match active_field(&context, related) {
            Some(active) if context.active_test && !field_domain(&context, model, field)?.mentions(active) => {
                Filter::Test(
                    Subject::Column(active.to_owned()),
                    Check::In { values: vec![Cell::Integer(1)], or_unset: false },
                )
            }
            _ => Filter::Always,
        };
        return holding(&context, model, leaf, field, Filter::and([closure, active]));
    }
    let found = holding(context, model, leaf, field, closure)?;
    if holds_unset {
        return Ok(Filter::or([holding(context, model, leaf, field, Filter::Always)?.negate(), found]));
    }
    Ok(found)
}

/// The records that a hierarchy would start from, where there is none.
fn seeds_only<'a>(
    context: &Context<'a>,
    model: &'a Model,
    leaf: &Leaf<'a>,
    link: Option<Link>,
    seeds: Filter,
    holds_unset: bool,
) -> Result<Filter, Error> {
    let Some(link) = link else { return Ok(seeds) };
    let filter = match (&link.storage, leaf.place.field()) {
        (LinkStorage::Many2one, _) | (_, None) => seeds,
        (_, Some(field)) => Filter::and([seeds, shown(context, model, field)?]),
    };
    let unset = Filter::Related(Box::new(Related { link: link.clone(), filter: Filter::Always, negated: true }));
    let found = Filter::Related(Box::new(Related { link, filter, negated: false }));
    Ok(if holds_unset { Filter::or([found, unset]) } else { found })
}

/// Where a hierarchy starts.
struct Seeds {
    filter: Filter,
    /// `False` is among them.
    unset: bool,
    /// 0 is among them: the id of no record, and not even of one that was deleted.
    zero: bool,
    /// They are there whatever the data say.
    certain: bool,
}

impl Seeds {
    fn is_empty(&self) -> bool {
        self.filter == Filter::Never && !self.unset
    }
}

fn seeds<'a>(
    context: &Context<'a>,
    related: &'a Model,
    leaf: &Leaf<'a>,
    field: Option<&'a Field>,
    value: &Literal,
) -> Result<Seeds, Error> {
    let single;
    let values = match value {
        Literal::List(items) => items.as_slice(),
        Literal::Integer(_) | Literal::Text(_) | Literal::Bool(_) => {
            single = [value.clone()];
            single.as_slice()
        }
        other => {
            return Err(wrong_type(&leaf.name, format!("{} is neither a record id nor a name", other.type_name())));
        }
    };
    let mut ids = Vec::new();
    let mut names = Vec::new();
    let mut unset = false;
    for value in values {
        match value {
            Literal::Bool(true) => return Err(wrong_type(&leaf.name, "True is not a record id")),
            Literal::Bool(false) => unset = true,
            Literal::Integer(id) => ids.push(*id),
            other => names.push(Domain::condition("display_name", Operator::Ilike, other.clone())),
        }
    }
    let kind = field.map(|field| field.kind);
    let zero = kind != Some(FieldKind::Many2many) && ids.contains(&0);
    let context = match (kind, field) {
        (Some(FieldKind::Many2one), _) => context.with_active_test(false),
        (Some(_), Some(field)) => x2many_context(context, field),
        _ => *context,
    };
    let mut wanted = names;
    let certain = kind != Some(FieldKind::Many2many) && (!ids.is_empty() || unset);
    let mut parts = Vec::new();
    if kind == Some(FieldKind::Many2many) {
        // Ids are searched too, so that rights and archived records count.
        unset = false;
        if !ids.is_empty() {
            let ids = ids.into_iter().map(Literal::Integer).collect();
            wanted.push(Domain::condition("id", Operator::In, Literal::List(ids)));
        }
    } else if !ids.is_empty() {
        parts.push(Filter::ids(ids));
    }
    if !wanted.is_empty() {
        parts.push(super::search(&context, &related.name, &Domain::or(wanted))?);
    }
    Ok(Seeds { filter: Filter::or(parts), unset, zero, certain })
}
