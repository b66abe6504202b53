//! SQL and memory find the same records, whatever the domain and the data.
//!
//! A small number of cases in normal runs. `TRIGGERBOX_DOMAIN_CASES=100000 cargo test --release -p triggerbox-store --test
//! domains agreement -- --nocapture` is the soak; it prints which operators met which types of fields.

use std::{cell::RefCell, collections::BTreeMap};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use triggerbox_model::{
    domain::{Condition, Domain, Literal, Operand, Operator, filter::Cell},
    schema::{FieldKind, Schema},
    time::DatePart,
};

use crate::world::{World, int, real, schema, text};

/// Domains asked of each set of records.
const DOMAINS_PER_WORLD: usize = 8;
/// Pairs of records and domain in a normal run.
const PAIRS: usize = 800;

#[derive(Debug, Clone)]
struct Records {
    things: Vec<Vec<(&'static str, Cell)>>,
    translations: Vec<Option<String>>,
    lines: Vec<Vec<(&'static str, Cell)>>,
    tags: Vec<Vec<(&'static str, Cell)>>,
    places: Vec<Vec<(&'static str, Cell)>>,
    kinds: Vec<Vec<(&'static str, Cell)>>,
    pairs: Vec<(u32, u32)>,
}

fn texts() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "",
        "a",
        "A",
        "abc",
        "Abc",
        "été",
        "ÉTÉ",
        "ß",
        "İ",
        "50%",
        "a_b",
        "a\\b",
        "10",
        "x y",
        "z\u{1F600}",
    ])
    .prop_map(str::to_owned)
}

fn unset_or(cell: impl Strategy<Value = Cell>) -> impl Strategy<Value = Cell> {
    prop_oneof![1 => Just(Cell::Null), 4 => cell]
}

fn pick<T: Clone + std::fmt::Debug + 'static>(items: &[T]) -> impl Strategy<Value = T> + use<T> {
    prop::sample::select(items.to_vec())
}

fn days() -> impl Strategy<Value = Cell> {
    pick(&["2026-06-17", "2026-06-16", "2026-01-01", "2025-12-31", "2024-02-29"]).prop_map(text)
}

fn moments() -> impl Strategy<Value = Cell> {
    pick(&[
        "2026-06-17 13:05:00",
        "2026-06-17 13:05:00.250000",
        "2026-06-16 22:30:00",
        "2026-03-29 01:30:00",
        "2026-01-01 00:00:00",
        "2025-12-31 23:59:59.999999",
    ])
    .prop_map(text)
}

fn flags() -> impl Strategy<Value = Cell> {
    prop_oneof![Just(Cell::Null), Just(int(0)), Just(int(1)), Just(int(1))]
}

fn ids(count: u32) -> impl Strategy<Value = Cell> {
    (1..=count).prop_map(|id| int(i64::from(id)))
}

fn small() -> impl Strategy<Value = Cell> {
    pick(&[0, 1, -1, 7, 10, 2_147_483_647]).prop_map(int)
}

fn thing() -> impl Strategy<Value = Vec<(&'static str, Cell)>> {
    let texts_part = (
        unset_or(texts().prop_map(Cell::Text)),
        unset_or(texts().prop_map(Cell::Text)),
        unset_or(texts().prop_map(Cell::Text)),
    );
    let numbers = (
        unset_or(small()),
        unset_or(pick(&[0.0, 0.1, -0.5, 1.5, 100.0, 1e20, 1e-7]).prop_map(real)),
        unset_or(pick(&[0.0, 0.01, 10.0, -3.33]).prop_map(real)),
        unset_or(pick(&[0.0, 10.0, 1.005, -2.5]).prop_map(real)),
    );
    let rest = (
        flags(),
        unset_or(days()),
        unset_or(moments()),
        unset_or(pick(&["a", "b", "10"]).prop_map(text)),
        unset_or(pick(&["1", "\"a\"", "true", "[1, 2]", "{\"b\": 1, \"a\": [null]}", "[]"]).prop_map(text)),
        unset_or(pick(&["thing,1", "place,2"]).prop_map(text)),
        unset_or(Just(text("bytes"))),
    );
    let links = (unset_or(ids(4)), unset_or(ids(6)), ids(2), unset_or(ids(2)), flags());
    (texts_part, numbers, rest, links).prop_map(|(texts, numbers, rest, links)| {
        vec![
            ("name", texts.0.clone()),
            ("code", texts.1.clone()),
            ("label", texts.2.clone()),
            ("note", texts.0),
            ("body", texts.1),
            ("count", numbers.0),
            ("ratio", numbers.1),
            ("price", numbers.2),
            ("amount", numbers.3),
            ("flag", rest.0),
            ("day", rest.1),
            ("at", rest.2),
            ("state", rest.3),
            ("data", rest.4),
            ("ref", rest.5),
            ("picture", rest.6),
            ("place_id", links.0),
            ("parent_id", links.1),
            ("kind_id", links.2),
            ("currency_id", links.3),
            ("active", links.4),
        ]
    })
}

fn records() -> impl Strategy<Value = Records> {
    let line = (
        unset_or(texts().prop_map(Cell::Text)),
        unset_or(small()),
        flags(),
        unset_or(days()),
        unset_or(ids(6)),
        unset_or(ids(4)),
    )
        .prop_map(|(name, qty, done, day, thing, place)| {
            vec![("name", name), ("qty", qty), ("done", done), ("day", day), ("thing_id", thing), ("place_id", place)]
        });
    let tag = (unset_or(texts().prop_map(Cell::Text)), unset_or(small()), flags())
        .prop_map(|(name, rank, active)| vec![("name", name), ("rank", rank), ("active", active)]);
    let place = (unset_or(texts().prop_map(Cell::Text)), unset_or(small()), flags(), unset_or(ids(4))).prop_map(
        |(name, rank, active, parent)| vec![("name", name), ("rank", rank), ("active", active), ("parent_id", parent)],
    );
    let kind = (
        unset_or(texts().prop_map(Cell::Text)),
        unset_or(pick(&[0.0, 1.5]).prop_map(real)),
        unset_or(days()),
        unset_or(ids(4)),
    )
        .prop_map(|(title, weight, since, place)| {
            vec![("title", title), ("weight", weight), ("since", since), ("place_id", place)]
        });
    (
        vec(thing(), 0..=6),
        vec(prop::option::of(texts()), 6),
        vec(line, 0..=5),
        vec(tag, 0..=3),
        vec(place, 4),
        vec(kind, 2),
        vec((1u32..=6, 1u32..=3), 0..=6),
    )
        .prop_map(|(things, translations, lines, tags, places, kinds, pairs)| {
            let (thing_count, tag_count) = (things.len() as u32, tags.len() as u32);
            let exists = |&(thing, tag): &(u32, u32)| thing <= thing_count && tag <= tag_count;
            let pairs = pairs.into_iter().filter(exists).collect();
            Records { things, translations, lines, tags, places, kinds, pairs }
        })
}

fn fill(world: &mut World, records: &Records) {
    world.clear();
    world.conn.execute_batch("BEGIN").expect("begins");
    let number = |index: usize| u32::try_from(index + 1).expect("few");
    for (model, rows) in [
        ("thing", &records.things),
        ("line", &records.lines),
        ("tag", &records.tags),
        ("place", &records.places),
        ("kind", &records.kinds),
    ] {
        for (index, columns) in rows.iter().enumerate() {
            // A relation that leads nowhere cannot be stored.
            let exists = |(name, cell): &(&'static str, Cell)| match (*name, cell) {
                ("parent_id" | "thing_id", Cell::Integer(id)) if model != "place" => {
                    usize::try_from(*id).is_ok_and(|id| id <= records.things.len())
                }
                _ => true,
            };
            let columns: Vec<_> = columns.iter().filter(|column| exists(column)).cloned().collect();
            world.add(model, number(index), &columns);
        }
    }
    world.add("currency", 1, &[("name", text("EUR")), ("decimal_places", int(2))]);
    world.add("currency", 2, &[("name", text("JPY")), ("decimal_places", int(0))]);
    for (index, translation) in records.translations.iter().enumerate().take(records.things.len()) {
        if let Some(translation) = translation {
            world.translate(number(index), translation);
        }
    }
    for (thing, tag) in &records.pairs {
        world.tag(*thing, *tag);
    }
    world.conn.execute_batch("COMMIT").expect("commits");
}

/// Values that somebody may compare a field of this type with, most of them sensible.
fn value_for(kind: FieldKind) -> BoxedStrategy<Literal> {
    let literal_text = || texts().prop_map(Literal::Text);
    let sensible = match kind {
        FieldKind::Char | FieldKind::Text | FieldKind::Html => literal_text().boxed(),
        FieldKind::Integer => pick(&[0, 1, -1, 7, 10]).prop_map(Literal::Integer).boxed(),
        FieldKind::Float | FieldKind::Monetary => {
            pick(&[0.0, 0.1, 1.5, 10.0, 1.005, 0.014]).prop_map(Literal::Float).boxed()
        }
        FieldKind::Boolean => any::<bool>().prop_map(Literal::Bool).boxed(),
        FieldKind::Date => pick(&["2026-06-17", "today", "=1d", "-1m", "2026-01-01 12:00:00", "=monday"])
            .prop_map(Literal::text)
            .boxed(),
        FieldKind::Datetime => pick(&["2026-06-17 13:05:00", "2026-06-17", "today", "now -1H", "2026-03-29"])
            .prop_map(Literal::text)
            .boxed(),
        FieldKind::Selection => pick(&["a", "b", "10", "c"]).prop_map(Literal::text).boxed(),
        FieldKind::Json => prop_oneof![Just(Literal::Integer(1)), Just(Literal::text("a"))].boxed(),
        FieldKind::Reference => pick(&["thing,1", "place,2", "thing"]).prop_map(Literal::text).boxed(),
        FieldKind::Binary => Just(Literal::text("bytes")).boxed(),
        FieldKind::Many2one | FieldKind::One2many | FieldKind::Many2many => {
            prop_oneof![3 => (0..6i64).prop_map(Literal::Integer), 1 => literal_text()].boxed()
        }
    };
    let one = prop_oneof![6 => sensible.clone(), 1 => Just(Literal::Bool(false))].boxed();
    let odd = prop_oneof![
        Just(Literal::None),
        Just(Literal::Bool(true)),
        Just(Literal::Integer(5)),
        Just(Literal::Float(2.5)),
        literal_text(),
    ];
    prop_oneof![12 => one.clone(), 5 => vec(one, 0..4).prop_map(Literal::List), 1 => odd].boxed()
}

fn operators() -> impl Strategy<Value = Operator> {
    pick(&Operator::ALL)
}

/// Paths that a condition on a model may name, with the type at their end.
fn paths(schema: &Schema, model: &str, depth: usize) -> Vec<(String, FieldKind, Option<String>)> {
    let mut found =
        vec![("id".to_owned(), FieldKind::Integer, None), ("display_name".to_owned(), FieldKind::Char, None)];
    let described = &schema.models[model];
    let own = described.fields.iter();
    let inherited = described.inherits.keys().flat_map(|parent| schema.models[parent].fields.iter());
    for (name, field) in own.chain(inherited) {
        found.push((name.clone(), field.kind, field.relation.clone()));
        if matches!(field.kind, FieldKind::Date | FieldKind::Datetime) {
            for part in [DatePart::Month, DatePart::DayOfWeek, DatePart::Hour] {
                found.push((format!("{name}.{}", part.text()), FieldKind::Integer, None));
            }
        }
        if let (Some(relation), true) = (&field.relation, depth > 0) {
            for (rest, kind, end) in paths(schema, relation, depth - 1) {
                found.push((format!("{name}.{rest}"), kind, end));
            }
        }
    }
    found
}

fn condition(model: &'static str, depth: usize) -> BoxedStrategy<Domain> {
    let all = paths(&schema(), model, 1);
    // Short paths are as likely as long ones, though there are fewer of them.
    let (short, long): (Vec<_>, Vec<_>) = all.into_iter().partition(|(path, ..)| !path.contains('.'));
    let path =
        if long.is_empty() { pick(&short).boxed() } else { prop_oneof![3 => pick(&short), 1 => pick(&long)].boxed() };
    (path, operators())
        .prop_flat_map(move |((path, kind, relation), operator)| {
            // What only relations can be asked would mostly be refused of others.
            let for_relations =
                matches!(operator, Operator::Any | Operator::NotAny | Operator::ChildOf | Operator::ParentOf);
            let operator = if for_relations && relation.is_none() && path != "id" { Operator::Equal } else { operator };
            let field = path.clone();
            let build = move |value| Domain::Condition(Condition { field: field.clone(), operator, value });
            if matches!(operator, Operator::Any | Operator::NotAny) {
                let related = relation.as_deref().and_then(known).unwrap_or("thing");
                return domain(related, depth.saturating_sub(1))
                    .prop_map(move |sub| build(Operand::Domain(Box::new(sub))))
                    .boxed();
            }
            let value = if operator.is_whole_pattern() || operator.is_like() {
                prop_oneof![4 => texts().prop_map(|text| Literal::Text(format!("{text}%"))), 1 => value_for(kind)]
                    .boxed()
            } else {
                value_for(kind)
            };
            value.prop_map(move |value| build(Operand::Literal(value))).boxed()
        })
        .boxed()
}

fn known(model: &str) -> Option<&'static str> {
    ["thing", "line", "tag", "place", "kind", "currency"].into_iter().find(|known| *known == model)
}

fn domain(model: &'static str, depth: usize) -> BoxedStrategy<Domain> {
    let leaf = prop_oneof![
        12 => condition(model, depth),
        1 => Just(Domain::Always),
        1 => Just(Domain::Never),
    ]
    .boxed();
    if depth == 0 {
        return leaf;
    }
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..3).prop_map(Domain::and),
            vec(inner.clone(), 1..3).prop_map(Domain::or),
            inner.prop_map(Domain::negate),
        ]
    })
    .boxed()
}

/// How often each operator met each type of field: pairs that found some records but not all, and all pairs.
#[derive(Default)]
struct Coverage {
    met: BTreeMap<(Operator, FieldKind), (u64, u64)>,
    errors: u64,
    pairs: u64,
}

impl Coverage {
    fn count(&mut self, schema: &Schema, domain: &Domain, telling: bool) {
        domain.for_each_condition(&mut |condition| {
            let last = condition.field.rsplit('.').next().unwrap_or_default();
            let kinds = schema.models.values().find_map(|model| model.fields.get(last)).map(|field| field.kind);
            let kind = kinds.unwrap_or(FieldKind::Integer);
            let (some, all) = self.met.entry((condition.operator, kind)).or_default();
            *some += u64::from(telling);
            *all += 1;
        });
    }

    fn print(&self) {
        println!("{} pairs, {} of them refused both ways", self.pairs, self.errors);
        println!("operator × type: conditions of telling pairs (some records, not all) / conditions of all pairs");
        println!("{:<11} {}", "", FieldKind::ALL.map(|kind| format!("{:>11}", kind.name())).join(""));
        for operator in Operator::ALL {
            let met = FieldKind::ALL.map(|kind| {
                let (some, all) = self.met.get(&(operator, kind)).copied().unwrap_or_default();
                format!("{:>11}", format!("{some}/{all}"))
            });
            println!("{:<11} {}", operator.text(), met.join(""));
        }
    }
}

#[test]
fn sql_and_memory_find_the_same_records() {
    let pairs = std::env::var("TRIGGERBOX_DOMAIN_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(PAIRS);
    let soak = pairs > PAIRS;
    let worlds = u32::try_from(pairs.div_ceil(DOMAINS_PER_WORLD)).expect("a count");
    let config = Config { cases: worlds, max_shrink_iters: 4_000, failure_persistence: None, ..Config::default() };
    let mut runner = if soak {
        TestRunner::new(config)
    } else {
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let world = RefCell::new(World::new());
    let coverage = RefCell::new(Coverage::default());
    let all_things = |records: &Records| records.things.len();
    let settings = (any::<bool>(), any::<bool>(), prop::option::of(pick(&["Europe/Brussels", "Asia/Tokyo"])));
    let cases = (records(), vec(domain("thing", 2), DOMAINS_PER_WORLD), settings);
    let outcome = runner.run(&cases, |(records, domains, (active_test, french, tz))| {
        let mut world = world.borrow_mut();
        fill(&mut world, &records);
        let mut env = world.env.clone();
        env.active_test = active_test;
        env.tz = tz.map(str::to_owned);
        env.context_tz.clone_from(&env.tz);
        if french {
            env.lang = "fr_FR".to_owned();
        }
        let mut coverage = coverage.borrow_mut();
        for domain in &domains.iter().flat_map(|domain| [domain.clone(), with_other_values(domain)]).collect::<Vec<_>>()
        {
            let by_sql = world.by_sql(&env, "thing", domain);
            let in_memory = world.in_memory(&env, "thing", domain);
            coverage.pairs += 1;
            match (&by_sql, &in_memory) {
                (Ok(found), Ok(judged)) => {
                    prop_assert_eq!(found, judged, "SQL (left) and memory disagree on {}", domain);
                    let telling = !found.is_empty() && found.len() < all_things(&records);
                    coverage.count(&env.schema, domain, telling);
                    same_after_printing(domain)?;
                }
                (Err(_), Err(_)) => coverage.errors += 1,
                _ => {
                    let message = format!("one way fails on {domain}: SQL {by_sql:?}, memory {in_memory:?}");
                    return Err(TestCaseError::fail(message));
                }
            }
        }
        Ok(())
    });
    coverage.borrow().print();
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, (records, domains, settings))) => {
            let domains: Vec<String> = domains.iter().map(ToString::to_string).collect();
            panic!("{reason}\nsettings: {settings:?}\ndomains: {}\n{}", domains.join("\n"), described(&records))
        }
        Err(TestError::Abort(reason)) => panic!("aborted: {reason}"),
    }
}

/// The records with what is set in them.
fn described(records: &Records) -> String {
    let mut lines = vec![format!("pairs: {:?}; translations: {:?}", records.pairs, records.translations)];
    for (model, rows) in [
        ("thing", &records.things),
        ("line", &records.lines),
        ("tag", &records.tags),
        ("place", &records.places),
        ("kind", &records.kinds),
    ] {
        for (index, columns) in rows.iter().enumerate() {
            let set: Vec<_> = columns.iter().filter(|(_, cell)| *cell != Cell::Null).collect();
            lines.push(format!("{model} {}: {set:?}", index + 1));
        }
    }
    lines.join("\n")
}

/// The domain with other values of the same types in it: of the two, the second is asked with the SQL of the first, if that
/// serves.
fn with_other_values(domain: &Domain) -> Domain {
    match domain {
        Domain::Always | Domain::Never => domain.clone(),
        Domain::And(parts) => Domain::And(parts.iter().map(with_other_values).collect()),
        Domain::Or(parts) => Domain::Or(parts.iter().map(with_other_values).collect()),
        Domain::Not(inner) => Domain::Not(Box::new(with_other_values(inner))),
        Domain::Condition(Condition { field, operator, value }) => {
            let value = match value {
                Operand::Domain(inner) => Operand::Domain(Box::new(with_other_values(inner))),
                Operand::Literal(value) => Operand::Literal(other_value(value)),
            };
            Domain::Condition(Condition { field: field.clone(), operator: *operator, value })
        }
    }
}

fn other_value(value: &Literal) -> Literal {
    match value {
        Literal::Integer(number) if *number > 0 => Literal::Integer(number % 4 + 1),
        Literal::Text(text) => Literal::text(match text.as_str() {
            "a" | "Abc" => "abc",
            "b" | "abc" => "a",
            "10" => "b",
            "thing,1" => "place,2",
            other => other,
        }),
        Literal::List(items) => Literal::List(items.iter().map(other_value).collect()),
        other => other.clone(),
    }
}

/// A domain that is printed and parsed again asks the same.
fn same_after_printing(domain: &Domain) -> Result<(), TestCaseError> {
    let again = Domain::parse(&domain.to_string());
    prop_assert_eq!(again.as_ref().ok(), Some(domain), "{} does not read back", domain);
    Ok(())
}
