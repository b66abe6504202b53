//! What is indexed is found by its index, whatever the domain is wrapped in.

use triggerbox_model::{call::Page, domain::Domain};
use triggerbox_store::query;

use crate::world::{World, int, text};

fn plan(world: &World, model: &str, domain: &str) -> Vec<String> {
    let domain = Domain::parse(domain).unwrap_or_else(|error| panic!("{domain}: {error}"));
    let page = Page { order: Some("id".to_owned()), limit: Some(80), ..Page::default() };
    query::plan(&world.conn, &world.env, model, &domain, &page).unwrap_or_else(|error| panic!("{domain}: {error}"))
}

/// A world large enough for indexes to pay.
fn large() -> World {
    let mut world = World::new();
    world.conn.execute_batch("BEGIN").unwrap();
    for id in 1..=40 {
        world.add("place", id, &[("name", text(&format!("place {id}"))), ("active", int(1))]);
    }
    for id in 1..=2000 {
        let place = int(i64::from(id % 40 + 1));
        let name = text(&format!("name {id}"));
        world.add(
            "thing",
            id,
            &[("name", name.clone()), ("count", int(i64::from(id))), ("place_id", place), ("active", int(1))],
        );
        world.add("line", id, &[("name", name), ("thing_id", int(i64::from(id)))]);
    }
    world.conn.execute_batch("COMMIT; ANALYZE").unwrap();
    world
}

#[test]
fn indexed_equality_never_scans_the_table() {
    let world = large();
    for (model, domain) in [
        ("thing", "[('id', '=', 7)]"),
        ("thing", "[('id', 'in', [7, 8])]"),
        ("thing", "[('name', '=', 'name 7')]"),
        ("thing", "[('name', 'in', ['name 7', 'name 8'])]"),
        ("thing", "[('name', '=like', 'name 7%')]"),
        ("thing", "[('count', '=', 7)]"),
        ("thing", "[('count', '>=', 5), ('count', '<', 8)]"),
        ("thing", "[('place_id', '=', 7)]"),
        ("thing", "[('place_id', 'in', [7, 8])]"),
        ("thing", "[('place_id', '=', False)]"),
        ("thing", "[('place_id.id', '=', 7)]"),
        ("thing", "[('line_ids', '=', 7)]"),
        ("thing", "[('line_ids.id', 'in', [7])]"),
        ("thing", "['&', ('flag', '=', True), '|', ('name', '=', 'name 7'), ('place_id', '=', 3)]"),
        ("line", "[('thing_id', '=', 7)]"),
        ("line", "[('thing_id.name', '=', 'name 7')]"),
        ("line", "[('thing_id.place_id', '=', 7)]"),
        ("line", "[('thing_id', 'any', [('count', '=', 7)])]"),
    ] {
        let plan = plan(&world, model, domain);
        let scans = plan.iter().filter(|step| step.starts_with("SCAN") && !step.contains("json_each"));
        assert_eq!(scans.count(), 0, "{model} {domain}: {plan:#?}");
    }
}

#[test]
fn an_index_for_what_is_also_unset_is_not_in_the_way() {
    let world = large();
    let plan = plan(&world, "thing", "[('place_id', 'in', [False, 7, 8, 9]), ('id', '>', 1990)]");
    assert!(plan[0].contains("USING INTEGER PRIMARY KEY (rowid>?)"), "{plan:#?}");
    for domain in ["[('count', '=', 0)]", "[('place_id', 'in', [False])]"] {
        let plan = self::plan(&world, "thing", domain);
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{domain}: {plan:#?}");
    }
}

#[test]
fn giant_lists_are_bound_as_one_value() {
    let world = large();
    let ids: Vec<String> = (1..=100_000).map(|id| id.to_string()).collect();
    let found =
        world.by_sql(&world.env, "thing", &Domain::parse(&format!("[('id', 'in', [{}])]", ids.join(", "))).unwrap());
    assert_eq!(found.unwrap().len(), 2000);
    let names: Vec<String> = (1..=50_000).map(|id| format!("'name {id}'")).collect();
    let domain = Domain::parse(&format!("[('name', 'not in', [{}])]", names.join(", "))).unwrap();
    assert_eq!(world.by_sql(&world.env, "thing", &domain).unwrap(), Vec::<u32>::new());
}

#[test]
fn thousands_of_terms_run_in_bounded_time() {
    let world = large();
    let start = std::time::Instant::now();
    let equal = |index: usize| format!("('count', '=', {index})");
    let below = |index: usize| format!("('count', '!=', {index})");
    let exactly = |index: usize| format!("('name', '=like', 'name {index}')");
    let starts = |index: usize| format!("('name', '=like', 'name {index}%')");
    let related = |index: usize| format!("('place_id.rank', '=', {index})");
    for (mark, count, term) in [
        ("'|', ", 10_000, &equal as &dyn Fn(usize) -> String),
        ("'&', ", 10_000, &below),
        ("'|', ", 10_000, &exactly),
        ("'|', ", 500, &starts),
        ("'|', ", 500, &related),
    ] {
        let terms: Vec<String> = (0..count).map(term).collect();
        let text = format!("[{}{}]", mark.repeat(terms.len() - 1), terms.join(", "));
        world.by_sql(&world.env, "thing", &Domain::parse(&text).unwrap()).unwrap();
    }
    assert!(start.elapsed().as_secs() < 60, "took {:?}", start.elapsed());
}

#[test]
fn a_long_list_of_json_values_is_answered() {
    let mut world = World::new();
    world.add("thing", 1, &[("data", text("1500"))]);
    let list = (1_000..3_000).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let found = |operator: &str| {
        let domain = Domain::parse(&format!("[('data', '{operator}', [{list}])]")).unwrap();
        query::search(&world.conn, &world.env, "thing", &domain, &Page { archived: true, ..Page::default() }).unwrap()
    };
    assert_eq!((found("in"), found("not in")), (vec![1], vec![]));
}
