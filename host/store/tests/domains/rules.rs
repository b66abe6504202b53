//! What domains mean, rule by rule; each found by SQL and judged in memory.

use triggerbox_model::domain::Domain;

use crate::world::{World, int, real, text};

/// Things 1 to 5: 5 is archived; 4 has nothing set. Places 1 > 2 > 3, and 4 archived below 1.
fn world() -> World {
    let mut world = World::new();
    for (id, name, rank, active, parent) in
        [(1, "Root", 1, 1, None), (2, "Branch", 2, 1, Some(1)), (3, "Leaf", 3, 1, Some(2)), (4, "Old", 4, 0, Some(1))]
    {
        let parent = parent.map_or(triggerbox_model::domain::filter::Cell::Null, int);
        world.add(
            "place",
            id,
            &[("name", text(name)), ("rank", int(rank)), ("active", int(active)), ("parent_id", parent)],
        );
    }
    world.add("kind", 1, &[("title", text("Good")), ("weight", real(1.5)), ("since", text("2026-01-31"))]);
    world.add("kind", 2, &[("place_id", int(3))]);
    world.add("tag", 1, &[("name", text("Hot")), ("rank", int(1)), ("active", int(1))]);
    world.add("tag", 2, &[("name", text("Cold")), ("rank", int(0)), ("active", int(1))]);
    world.add("tag", 3, &[("name", text("Gone")), ("rank", int(5)), ("active", int(0))]);
    world.add("currency", 1, &[("name", text("EUR")), ("decimal_places", int(2))]);
    let common = |kind: i64, active: i64| [("kind_id", int(kind)), ("active", int(active))];
    let add = |world: &mut World,
               id: u32,
               kind: i64,
               active: i64,
               columns: &[(&str, triggerbox_model::domain::filter::Cell)]| {
        let mut all = common(kind, active).to_vec();
        all.extend(columns.iter().cloned());
        world.add("thing", id, &all);
    };
    add(
        &mut world,
        1,
        1,
        1,
        &[
            ("name", text("Acme")),
            ("label", text("Chair")),
            ("count", int(7)),
            ("ratio", real(1.5)),
            ("price", real(0.1)),
            ("amount", real(10.0)),
            ("currency_id", int(1)),
            ("flag", int(1)),
            ("day", text("2026-06-17")),
            ("at", text("2026-06-17 13:05:00.250000")),
            ("state", text("a")),
            ("picture", text("x")),
            ("data", text("{\"a\": 1}")),
            ("ref", text("place,2")),
            ("place_id", int(3)),
        ],
    );
    add(
        &mut world,
        2,
        1,
        1,
        &[
            ("name", text("acme ÉTÉ")),
            ("label", text("Table")),
            ("count", int(-1)),
            ("ratio", real(100.0)),
            ("flag", int(0)),
            ("day", text("2026-01-01")),
            ("at", text("2026-01-01 00:00:00")),
            ("state", text("b")),
            ("data", text("5")),
            ("place_id", int(4)),
            ("parent_id", int(1)),
        ],
    );
    add(
        &mut world,
        3,
        2,
        1,
        &[
            ("name", text("")),
            ("count", int(0)),
            ("ratio", real(0.0)),
            ("state", text("10")),
            ("parent_id", int(2)),
            ("at", text("2026-06-16 22:30:00")),
            ("place_id", int(1)),
        ],
    );
    add(&mut world, 4, 2, 1, &[]);
    add(&mut world, 5, 1, 0, &[("name", text("Acme old")), ("count", int(7)), ("parent_id", int(1)), ("flag", int(1))]);
    world.translate(1, "Chaise");
    world.add(
        "line",
        1,
        &[("name", text("one")), ("qty", int(2)), ("done", int(1)), ("thing_id", int(1)), ("place_id", int(2))],
    );
    world.add("line", 2, &[("name", text("two")), ("qty", int(0)), ("thing_id", int(1))]);
    world.add("line", 3, &[("qty", int(5)), ("thing_id", int(2))]);
    world.add("line", 4, &[("qty", int(5))]);
    for (thing, tag) in [(1, 1), (1, 2), (2, 2), (3, 3)] {
        world.tag(thing, tag);
    }
    world
}

fn expect(world: &World, table: &[(&str, &[u32])]) {
    for (domain, expected) in table {
        assert_eq!(world.find(&world.env, "thing", domain), *expected, "{domain}");
    }
}

fn refused(world: &World, table: &[(&str, &str)]) {
    for (text, code) in table {
        let domain = Domain::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let error = world.by_sql(&world.env, "thing", &domain).expect_err(text);
        assert_eq!(error.code, *code, "{text}: {}", error.message);
    }
}

#[test]
fn equality_and_lists() {
    expect(
        &world(),
        &[
            ("[('name', '=', 'Acme')]", &[1]),
            ("[('name', '!=', 'Acme')]", &[2, 3, 4]),
            ("[('name', 'in', ['Acme', 'acme ÉTÉ'])]", &[1, 2]),
            ("[('name', 'in', [])]", &[]),
            ("[('name', 'not in', [])]", &[1, 2, 3, 4]),
            // An empty text and an unset one are the same to a domain.
            ("[('name', '=', False)]", &[3, 4]),
            ("[('name', '=', '')]", &[3, 4]),
            ("[('name', 'not in', [False, 'Acme'])]", &[2]),
            ("[('name', '=', [])]", &[3, 4]),
            ("[('count', '=', False)]", &[3, 4]),
            ("[('count', '!=', 0)]", &[1, 2]),
            ("[('count', '=', '7')]", &[1]),
            ("[('price', '=', 0.104)]", &[1]),
            ("[('state', '=', 10)]", &[3]),
            ("[('state', '!=', 'a')]", &[2, 3, 4]),
            ("[('count', '=?', False)]", &[1, 2, 3, 4]),
            ("[('count', '=?', 7)]", &[1]),
        ],
    );
}

#[test]
fn inequalities_and_unset_values() {
    let world = world();
    expect(
        &world,
        &[
            ("[('count', '<', 5)]", &[2, 3, 4]),
            ("[('count', '>', -5)]", &[1, 2, 3, 4]),
            ("[('count', '>', 0)]", &[1]),
            ("['!', ('count', '>', 0)]", &[2, 3, 4]),
            ("[('name', '<', 'B')]", &[1, 3, 4]),
            // A date has no value that stands for unset: it is neither above nor below, but it is not above either.
            ("[('day', '>', '2026-01-01')]", &[1]),
            ("['!', ('day', '>', '2026-01-01')]", &[2, 3, 4]),
            ("[('day', '>', False)]", &[]),
            ("[('place_id', '>', 1)]", &[1, 2]),
        ],
    );
    refused(
        &world,
        &[
            ("[('count', '<', 'abc')]", "wrong-type"),
            ("[('flag', '<', 1)]", "wrong-type"),
            ("[('place_id', '<', 'Root')]", "wrong-type"),
            ("[('line_ids', '<', 1)]", "wrong-type"),
            ("[('day', '<', 5)]", "wrong-type"),
            ("[('day', '<', 'tomorrow')]", "bad-date"),
            ("[('nothing', '=', 1)]", "unknown-field"),
            ("[('place_id.nothing', '=', 1)]", "unknown-field"),
            ("[('count.nothing', '=', 1)]", "bad-domain"),
            ("[('name', 'any', [('id', '=', 1)])]", "wrong-type"),
            ("[('count', 'child_of', 1)]", "wrong-type"),
        ],
    );
}

#[test]
fn patterns() {
    let world = world();
    expect(
        &world,
        &[
            ("[('name', 'like', 'cme')]", &[1, 2]),
            ("[('name', 'like', 'A')]", &[1]),
            ("[('name', 'ilike', 'a_me')]", &[1, 2]),
            ("[('name', 'ilike', 'été')]", &[2]),
            ("[('name', 'not ilike', 'acme')]", &[3, 4]),
            ("[('name', '=like', 'A%')]", &[1]),
            ("[('name', '=ilike', 'ACME')]", &[1]),
            ("[('name', 'not =ilike', 'acme%')]", &[3, 4]),
            ("[('name', 'like', '')]", &[1, 2, 3, 4]),
            ("[('name', 'not like', '')]", &[]),
            ("[('name', '=like', '')]", &[3, 4]),
            ("[('name', 'like', '\\\\%')]", &[]),
            ("[('count', 'like', 7)]", &[1]),
            ("[('ratio', 'like', '100')]", &[2]),
            ("[('amount', '=like', '10.00')]", &[1]),
            ("[('day', 'like', '2026-06')]", &[1]),
            ("[('data', '=like', '{\"a\": 1}')]", &[1]),
        ],
    );
    refused(
        &world,
        &[
            ("[('name', '=like', 5)]", "wrong-type"),
            ("[('flag', 'like', 'x')]", "wrong-type"),
            ("[('name', '=ilike', 'acme\\\\')]", "bad-domain"),
        ],
    );
}

#[test]
fn booleans_binaries_json_and_references() {
    expect(
        &world(),
        &[
            ("[('flag', '=', True)]", &[1]),
            ("[('flag', '!=', True)]", &[2, 3, 4]),
            ("[('flag', '=', 'yes')]", &[1]),
            ("[('flag', '=', 0)]", &[2, 3, 4]),
            ("[('flag', 'in', [True, False])]", &[1, 2, 3, 4]),
            ("[('picture', '=', False)]", &[2, 3, 4]),
            ("[('picture', '!=', False)]", &[1]),
            ("[('data', '=', 5)]", &[2]),
            ("[('data', '>', 3)]", &[1, 2]),
            ("[('data', '=', False)]", &[3, 4]),
            ("[('ref', '=', 'place,2')]", &[1]),
            ("[('ref', '=like', 'place,%')]", &[1]),
        ],
    );
}

#[test]
fn dates_and_datetimes() {
    let world = world();
    expect(
        &world,
        &[
            ("[('day', '=', 'today')]", &[1]),
            ("[('day', '>=', '=1d')]", &[1]),
            ("[('day', '=', '2026-06-17 23:59:59')]", &[1]),
            // A point in time is its whole second.
            ("[('at', '=', '2026-06-17 13:05:00')]", &[1]),
            ("[('at', '>', '2026-06-17 13:05:00')]", &[]),
            ("[('at', '<=', '2026-06-17 13:05:00')]", &[1, 2, 3]),
            // A day is all of it; a relative one its first moment.
            ("[('at', '>', '2026-06-16')]", &[1]),
            ("[('at', '<=', '2026-06-16')]", &[2, 3]),
            ("[('at', '>', 'today')]", &[1]),
            ("[('at', '!=', '2026-01-01 00:00:00')]", &[1, 3, 4]),
            ("['!', ('at', '<', '2026-06-01')]", &[1, 3, 4]),
            ("[('at', '=', False)]", &[4]),
            ("[('at', '<=', '9999-12-31')]", &[1, 2, 3]),
            ("[('day.month_number', '=', 6)]", &[1]),
            ("[('day.month_number', '!=', 6)]", &[2, 3, 4]),
            ("[('day.day_of_week', 'in', ['3', '4'])]", &[1, 2]),
            ("[('at.hour_number', '>', 12)]", &[1, 3]),
            ("['!', ('at.hour_number', '>', 12)]", &[2, 4]),
            ("[('kind_id.since.quarter_number', '=', 1)]", &[1, 2]),
            ("[('since.year_number', '=', 2026)]", &[1, 2]),
        ],
    );
    let mut brussels = world.env.clone();
    brussels.tz = Some("Europe/Brussels".to_owned());
    brussels.context_tz.clone_from(&brussels.tz);
    for (domain, expected) in [
        ("[('at', '>', '2026-06-16')]", &[1, 3][..]),
        ("[('at', '>=', 'today')]", &[1, 3]),
        ("[('at', '>', '2026-06-16 22:30:00')]", &[1]),
        ("[('at.day_of_month', '=', 17)]", &[1, 3]),
        ("[('at.hour_number', '=', 0)]", &[3]),
    ] {
        assert_eq!(world.find(&brussels, "thing", domain), expected, "{domain}");
    }
    refused(&world, &[("[('at', '>', '2026-06-16T10:00:00Z')]", "bad-date"), ("[('at.week', '=', 1)]", "bad-domain")]);
}

#[test]
fn paths_and_any() {
    expect(
        &world(),
        &[
            ("[('place_id.name', '=', 'Leaf')]", &[1]),
            ("['!', ('place_id.name', '=', 'Leaf')]", &[2, 3, 4]),
            ("[('place_id.parent_id.name', '=', 'Branch')]", &[1]),
            ("[('line_ids.qty', '>', 1)]", &[1, 2]),
            ("['!', ('line_ids.qty', '>', 1)]", &[3, 4]),
            ("[('line_ids', 'any', [('qty', '=', 0)])]", &[1]),
            ("[('line_ids', 'any', ['&', ('qty', '=', 0), ('done', '=', True)])]", &[]),
            ("[('line_ids', 'not any', [('qty', '=', 0)])]", &[2, 3, 4]),
            ("[('line_ids', 'any', [])]", &[1, 2]),
            ("[('line_ids', 'any', [(0, '=', 1)])]", &[]),
            ("[('line_ids', 'not any', [(0, '=', 1)])]", &[1, 2, 3, 4]),
            ("[('place_id', 'not any', [])]", &[4]),
            ("[('id', 'any', [('count', '=', 7)])]", &[1]),
            ("[('id', 'not any', [('count', '=', 7)])]", &[2, 3, 4]),
            ("[('child_ids.child_ids.id', '=', 3)]", &[1]),
            // Both lines must be one for one condition each; together they need not be the same.
            ("[('line_ids.qty', '=', 0), ('line_ids.done', '=', True)]", &[1]),
        ],
    );
}

#[test]
fn ids_and_names_of_relations() {
    expect(
        &world(),
        &[
            ("[('place_id', '=', 3)]", &[1]),
            ("[('place_id', '=', False)]", &[4]),
            ("[('place_id', 'in', [3, False])]", &[1, 4]),
            ("[('place_id', 'not in', [3])]", &[2, 3, 4]),
            ("[('place_id', 'ilike', 'o')]", &[2, 3]),
            ("[('place_id', '=', 'Leaf')]", &[1]),
            ("[('place_id', 'in', ['Leaf', 1])]", &[1, 3]),
            ("[('place_id', 'not ilike', 'o')]", &[1, 4]),
            ("[('place_id', 'like', '')]", &[1, 2, 3]),
            ("[('line_ids', '=', 1)]", &[1]),
            ("[('line_ids', '=', False)]", &[3, 4]),
            ("[('line_ids', '=', 'one')]", &[1]),
            ("[('tag_ids', 'in', [1])]", &[1]),
            ("[('tag_ids', 'not in', [2])]", &[3, 4]),
            ("[('tag_ids', '=', False)]", &[4]),
            ("[('tag_ids', 'in', [1, False])]", &[1, 4]),
            ("[('tag_ids.name', '=', 'Cold')]", &[1, 2]),
            ("[('display_name', 'ilike', 'acme')]", &[1, 2]),
        ],
    );
}

#[test]
fn archived_records_hide_unless_named() {
    let world = world();
    expect(
        &world,
        &[
            ("[('count', '=', 7)]", &[1]),
            ("[('count', '=', 7), ('active', '=', False)]", &[5]),
            ("[('count', '=', 7), ('active', 'in', [True, False])]", &[1, 5]),
            // A many2one sees archived records; a one2many or many2many only when they are named.
            ("[('place_id.name', '=', 'Old')]", &[2]),
            ("[('child_ids.count', '=', 7)]", &[]),
            ("[('child_ids', 'any', [('count', '=', 7), ('active', '=', False)])]", &[1]),
            ("[('tag_ids', 'any', [])]", &[1, 2]),
            ("[('tag_ids', 'in', [3])]", &[3]),
            // The field's own domain and context: only ranked tags, archived ones too.
            ("[('shown_tag_ids', 'any', [])]", &[1, 3]),
            ("[('shown_tag_ids', '=', False)]", &[2, 4]),
            ("[('shown_tag_ids', 'in', [2])]", &[]),
        ],
    );
    let mut all = world.env.clone();
    all.active_test = false;
    assert_eq!(world.find(&all, "thing", "[('count', '=', 7)]"), [1, 5]);
    assert_eq!(world.find(&all, "thing", "[('child_ids.count', '=', 7)]"), [1]);
}

#[test]
fn hierarchies() {
    let world = world();
    let places = |domain: &str| world.find(&world.env, "place", domain);
    assert_eq!(places("[('id', 'child_of', 1)]"), [1, 2, 3]);
    assert_eq!(places("[('id', 'child_of', [2])]"), [2, 3]);
    assert_eq!(places("[('id', 'child_of', 'Branch')]"), [2, 3]);
    assert_eq!(places("[('id', 'parent_of', 3)]"), [1, 2, 3]);
    assert_eq!(places("[('id', 'parent_of', [1, 2])]"), [1, 2]);
    assert_eq!(places("['!', ('id', 'child_of', 2)]"), [1]);
    assert_eq!(places("[('id', 'child_of', False)]"), Vec::<u32>::new());
    assert_eq!(places("[('id', 'child_of', 99)]"), Vec::<u32>::new());
    expect(
        &world,
        &[
            ("[('place_id', 'child_of', 2)]", &[1]),
            ("[('place_id', 'child_of', 'Root')]", &[1, 2, 3]),
            ("[('place_id', 'parent_of', 2)]", &[3]),
            ("[('parent_id', 'child_of', 1)]", &[1, 2, 3]),
            ("[('parent_id', 'parent_of', 3)]", &[1, 2, 3]),
            ("[('child_ids', 'child_of', 1)]", &[]),
            ("[('line_ids.place_id', 'child_of', 1)]", &[1]),
        ],
    );
    refused(
        &world,
        &[("[('kind_id', 'child_of', 1)]", "bad-domain"), ("[('place_id', 'child_of', 1.5)]", "wrong-type")],
    );
}

#[test]
fn a_cyclic_hierarchy_ends() {
    let mut world = World::new();
    for (id, parent) in [(1, 2), (2, 3), (3, 1), (4, 4)] {
        world.add("place", id, &[("parent_id", int(parent)), ("active", int(1))]);
    }
    assert_eq!(world.find(&world.env, "place", "[('id', 'child_of', 1)]"), [1, 2, 3]);
    assert_eq!(world.find(&world.env, "place", "[('id', 'parent_of', 1)]"), [1, 2, 3]);
    assert_eq!(world.find(&world.env, "place", "[('id', 'child_of', 4)]"), [4]);
}

#[test]
fn related_inherited_and_translated_fields() {
    let world = world();
    expect(
        &world,
        &[
            ("[('place_name', '=', 'Leaf')]", &[1]),
            ("[('place_name', '!=', 'Leaf')]", &[2, 3, 4]),
            // A path that breaks off counts as empty where emptiness is asked for.
            ("[('place_name', '=', False)]", &[4]),
            ("[('place_name', 'ilike', 'l')]", &[1, 2]),
            ("[('place_rank', '>', 2)]", &[1, 2]),
            ("[('title', '=', 'Good')]", &[1, 2]),
            ("[('title', '!=', 'Good')]", &[3, 4]),
            ("[('weight', '<', 1)]", &[3, 4]),
            ("[('label', '=', 'Chair')]", &[1]),
        ],
    );
    let mut french = world.env.clone();
    french.lang = "fr_FR".to_owned();
    assert_eq!(world.find(&french, "thing", "[('label', '=', 'Chaise')]"), [1]);
    assert_eq!(world.find(&french, "thing", "[('label', '=', 'Chair')]"), Vec::<u32>::new());
    assert_eq!(world.find(&french, "thing", "[('label', '=', 'Table')]"), [2]);
    french.lang = "xx_YY".to_owned();
    // A language that is not installed matters where a translated text does.
    assert_eq!(world.find(&french, "thing", "[('count', '=', 7)]"), [1]);
    let named = Domain::parse("[('label', '=', 'Chair')]").expect("a domain");
    assert_eq!(world.by_sql(&french, "thing", &named).expect_err("no such language").code, "unknown-language");
}

#[test]
fn sets_of_one_field_are_joined() {
    expect(
        &world(),
        &[
            ("['|', ('count', '=', 7), ('count', '=', -1)]", &[1, 2]),
            ("[('count', 'in', [7, -1]), ('count', '!=', 7)]", &[2]),
            ("['|', ('count', '!=', 7), ('count', '!=', -1)]", &[1, 2, 3, 4]),
            // For lists of records each condition may be met by another record.
            ("[('tag_ids', '=', 1), ('tag_ids', '=', 2)]", &[1]),
        ],
    );
}

#[test]
fn none_is_unset_by_itself_and_nothing_in_a_list() {
    let world = world();
    for (none, same) in [
        ("[('tag_ids', '=', None)]", "[('tag_ids', '=', False)]"),
        ("[('picture', '!=', None)]", "[('picture', '!=', False)]"),
        ("[('at', '=', None)]", "[('at', '=', False)]"),
        ("[('tag_ids', 'not in', [None])]", "[]"),
        ("[('tag_ids', 'not in', [None, False])]", "[('tag_ids', '!=', False)]"),
        ("[('tag_ids', 'in', [None])]", "[(0, '=', 1)]"),
        ("[('picture', 'not in', [None])]", "[]"),
    ] {
        assert_eq!(world.find(&world.env, "thing", none), world.find(&world.env, "thing", same), "{none}");
    }
    refused(&world, &[("[('at', 'in', ['2026-06-17 13:05:00', None])]", "wrong-type")]);
}
