//! What is read of records, in which order, and what names mean.

use triggerbox_model::{
    call::Page,
    domain::{Domain, Operator},
    value::{Id, Link, Value},
};
use triggerbox_store::query;

use crate::world::{World, int, real, text};

fn world() -> World {
    let mut world = World::new();
    world.add("place", 1, &[("name", text("North")), ("rank", int(1)), ("active", int(1))]);
    world.add("place", 2, &[("name", text("South")), ("rank", int(9)), ("active", int(0)), ("parent_id", int(1))]);
    world.add("kind", 1, &[("title", text("Good")), ("weight", real(1.5)), ("place_id", int(2))]);
    for (id, name, rank, active) in [(1, "b", 2, 1), (2, "a", 2, 1), (3, "c", 1, 1), (4, "d", 0, 0)] {
        world.add("tag", id, &[("name", text(name)), ("rank", int(rank)), ("active", int(active))]);
    }
    let columns = [
        ("name", text("full")),
        ("label", text("Chair")),
        ("count", int(7)),
        ("ratio", real(1.5)),
        ("amount", real(10.0)),
        ("flag", int(1)),
        ("day", text("2026-06-17")),
        ("at", text("2026-06-17 13:05:00.250000")),
        ("state", text("a")),
        ("picture", text("bytes")),
        ("data", text("{\"a\":1}")),
        ("ref", text("place,2")),
        ("place_id", int(2)),
        ("kind_id", int(1)),
        ("active", int(1)),
    ];
    world.add("thing", 1, &columns);
    world.add("thing", 2, &[("active", int(1))]);
    world.add("thing", 3, &[("name", text("child")), ("parent_id", int(1)), ("active", int(1)), ("place_id", int(1))]);
    world.translate(1, "Chaise");
    for tag in [1, 2, 3, 4] {
        world.tag(1, tag);
    }
    for (id, qty) in [(1, 5), (2, 9), (3, 5)] {
        world.add("line", id, &[("qty", int(qty)), ("thing_id", int(1))]);
    }
    world
}

fn read(world: &World, id: Id, field: &str) -> Value {
    let rows = query::read::read(&world.conn, &world.env, "thing", &[id], &[field.to_owned()]).expect(field);
    rows.into_iter().next().and_then(|row| row.values.into_iter().next()).expect(field)
}

fn link(id: Id, name: &str) -> Value {
    Value::Many2one(Link { id, name: Some(name.to_owned()) })
}

#[test]
fn values_are_read_as_their_type() {
    let world = world();
    for (field, set, unset) in [
        ("name", Value::text("full"), Value::Unset),
        ("count", Value::Integer(7), Value::Integer(0)),
        ("ratio", Value::Number(1.5), Value::Number(0.0)),
        ("amount", Value::Number(10.0), Value::Number(0.0)),
        ("flag", Value::Boolean(true), Value::Boolean(false)),
        ("day", Value::Date("2026-06-17".to_owned()), Value::Unset),
        ("at", Value::Datetime("2026-06-17T13:05:00Z".to_owned()), Value::Unset),
        ("state", Value::text("a"), Value::Unset),
        ("picture", Value::Binary(b"bytes".to_vec()), Value::Unset),
        ("data", Value::Json("{\"a\":1}".to_owned()), Value::Unset),
        ("ref", Value::reference("place", 2), Value::Unset),
        ("place_id", link(2, "South"), Value::Unset),
        ("id", Value::Integer(1), Value::Integer(2)),
        ("display_name", Value::text("full"), Value::Unset),
        // In the related model's order, archived ones left out unless the field says otherwise.
        ("line_ids", Value::Ids(vec![2, 1, 3]), Value::Ids(Vec::new())),
        ("tag_ids", Value::Ids(vec![3, 2, 1]), Value::Ids(Vec::new())),
        ("shown_tag_ids", Value::Ids(vec![3, 2, 1]), Value::Ids(Vec::new())),
        ("place_name", Value::text("South"), Value::Unset),
        ("place_rank", Value::Integer(9), Value::Integer(0)),
        ("title", Value::text("Good"), Value::Unset),
        ("weight", Value::Number(1.5), Value::Number(0.0)),
    ] {
        assert_eq!(read(&world, 1, field), set, "{field}");
        assert_eq!(read(&world, 2, field), unset, "{field}");
    }
}

#[test]
fn translations_are_read_in_the_language_of_the_environment() {
    let mut world = world();
    assert_eq!(read(&world, 1, "label"), Value::text("Chair"));
    world.env.lang = "fr_FR".to_owned();
    assert_eq!(read(&world, 1, "label"), Value::text("Chaise"));
}

#[test]
fn rows_come_in_the_order_asked_without_missing_records() {
    let world = world();
    let fields = ["name".to_owned(), "parent_id".to_owned()];
    let rows = query::read::read(&world.conn, &world.env, "thing", &[3, 99, 1], &fields).expect("rows");
    let ids: Vec<Id> = rows.iter().map(|row| row.id).collect();
    assert_eq!(ids, [3, 1]);
    assert_eq!(rows[0].values, [Value::text("child"), link(1, "full")]);
    let unknown = query::read::read(&world.conn, &world.env, "thing", &[1], &["nmae".to_owned()]).expect_err("unknown");
    assert_eq!((unknown.code.as_str(), unknown.field.as_deref()), ("unknown-field", Some("nmae")));
    assert!(unknown.message.contains("did you mean `name`"), "{}", unknown.message);
    let none = query::read::read(&world.conn, &world.env, "thing", &[1], &[]).expect_err("no fields");
    assert_eq!(none.code, "no-fields");
}

fn ordered(world: &World, order: &str) -> Vec<Id> {
    let page = Page { order: Some(order.to_owned()), ..Page::default() };
    query::search(&world.conn, &world.env, "thing", &Domain::Always, &page)
        .unwrap_or_else(|error| panic!("{order}: {error}"))
}

#[test]
fn orders_go_through_relations_and_place_unset_values() {
    let world = world();
    for (order, expected) in [
        ("", [3, 1, 2]),
        ("name", [3, 1, 2]),
        ("name desc", [2, 1, 3]),
        ("name asc nulls first", [2, 3, 1]),
        ("name DESC NULLS LAST", [1, 3, 2]),
        ("id desc", [3, 2, 1]),
        ("count, id desc", [1, 3, 2]),
        ("flag, id", [2, 3, 1]),
        // A place is ordered by its rank, descending: unset ones first, as ever when descending, then the South.
        ("place_id", [2, 1, 3]),
        ("place_id desc", [3, 1, 2]),
        ("place_id nulls last", [1, 3, 2]),
        ("place_id.id", [3, 1, 2]),
        ("place_name", [3, 1, 2]),
        ("title, id desc", [1, 3, 2]),
        // By the parent, that is by its name: an order that comes back to itself ends.
        ("parent_id, id", [3, 1, 2]),
        ("day.month_number, id", [1, 2, 3]),
        ("data, id", [1, 2, 3]),
    ] {
        assert_eq!(ordered(&world, order), expected, "{order}");
    }
    for order in [
        "nothing",
        "name,",
        ",name",
        "name up",
        "name; drop table thing",
        "line_ids",
        "picture",
        "display_name",
        "place_id.name",
        "day.month",
    ] {
        let page = Page { order: Some(order.to_owned()), ..Page::default() };
        let error = query::search(&world.conn, &world.env, "thing", &Domain::Always, &page).expect_err(order);
        assert!(matches!(error.code.as_str(), "bad-order" | "unknown-field"), "{order}: {error:?}");
    }
}

#[test]
fn pages_cut_what_is_found() {
    let world = world();
    let page = |offset, limit| Page { offset, limit, order: Some("id".to_owned()), archived: false };
    let find = |page: &Page| query::search(&world.conn, &world.env, "thing", &Domain::Always, page).expect("found");
    assert_eq!(find(&page(1, Some(1))), [2]);
    assert_eq!(find(&page(2, None)), [3]);
    // As Odoo has it, a limit of zero is none.
    assert_eq!(find(&page(0, Some(0))), [1, 2, 3]);
    assert_eq!(query::search_count(&world.conn, &world.env, "thing", &Domain::Always).expect("count"), 3);
    let places =
        query::search(&world.conn, &world.env, "place", &Domain::Always, &Page { archived: true, ..page(0, None) });
    assert_eq!(places.expect("found"), [1, 2]);
}

#[test]
fn a_name_search_gives_names() {
    let world = world();
    let find = |text: &str, limit| {
        query::name_search(&world.conn, &world.env, "place", text, Operator::Ilike, &Domain::Always, limit)
            .expect("found")
    };
    assert_eq!(find("nor", 10), [Link { id: 1, name: Some("North".to_owned()) }]);
    assert_eq!(find("", 10).len(), 1, "archived records are left out");
    assert_eq!(find("nothing", 10), []);
}
