//! Whatever is asked is answered, or refused with what is wrong with it: no question is a fault of the database, and none ends
//! the process. A few hundred questions in normal runs; `TRIGGERBOX_QUESTIONS` asks more.

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use triggerbox_model::{
    call::{GroupPage, Page},
    domain::Domain,
    error::Error,
};
use triggerbox_store::{group, query};

use crate::world::{World, int, text};

/// Questions in a normal run.
const QUESTIONS: u32 = 600;

const NAMES: [&str; 24] = [
    "id",
    "display_name",
    "name",
    "code",
    "label",
    "body",
    "count",
    "ratio",
    "amount",
    "flag",
    "active",
    "day",
    "at",
    "state",
    "data",
    "ref",
    "place_id",
    "parent_id",
    "kind_id",
    "child_ids",
    "line_ids",
    "tag_ids",
    "place_name",
    "nothing",
];

/// Paths of any length, the long ones mostly through one relation.
fn path() -> impl Strategy<Value = String> {
    let through = prop::sample::select(vec!["parent_id", "child_ids", "place_id", "tag_ids", "line_ids"]);
    let steps = (through, 0usize..80).prop_map(|(through, steps)| format!("{through}.").repeat(steps));
    let start = prop_oneof![4 => Just(String::new()), 1 => steps];
    (start, vec(prop::sample::select(NAMES.to_vec()), 1..4))
        .prop_map(|(start, names)| format!("{start}{}", names.join(".")))
}

fn value() -> impl Strategy<Value = String> {
    let one = prop::sample::select(vec![
        "False",
        "True",
        "None",
        "0",
        "7",
        "-1.5",
        "1e308",
        "'a'",
        "'%'",
        "'today'",
        "'2026-02-30'",
        "''",
        "[]",
        "[[]]",
        "[('name', '=', 'a')]",
        "{}",
    ])
    .prop_map(str::to_owned);
    prop_oneof![
        6 => one.clone(),
        1 => vec(one, 0..6).prop_map(|values| format!("[{}]", values.join(", "))),
        1 => (0usize..3_000).prop_map(|count| format!("[{}]", "7, ".repeat(count))),
    ]
}

fn domain() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec![
        "=",
        "!=",
        "<",
        ">=",
        "in",
        "not in",
        "like",
        "not ilike",
        "=like",
        "=?",
        "child_of",
        "parent_of",
        "any",
        "not any",
        "<>",
        "==",
        "~",
    ]);
    let condition =
        (path(), operator, value()).prop_map(|(path, operator, value)| format!("('{path}', '{operator}', {value})"));
    let mark = prop::sample::select(vec!["'&'", "'|'", "'!'", "(1, '=', 1)"]).prop_map(str::to_owned);
    vec(prop_oneof![3 => condition, 1 => mark], 0..12).prop_map(|terms| format!("[{}]", terms.join(", ")))
}

fn order() -> impl Strategy<Value = String> {
    let direction = prop::sample::select(vec!["", " desc", " asc nulls first", " sideways"]);
    vec((path(), direction), 0..8).prop_map(|terms| {
        terms.iter().map(|(path, direction)| format!("{path}{direction}")).collect::<Vec<_>>().join(", ")
    })
}

fn grouping() -> impl Strategy<Value = (Vec<String>, Vec<String>, String)> {
    let by = prop::sample::select(vec!["", ":month", ":day_of_week", ":hour", ":century"]);
    let function = prop::sample::select(vec!["sum", "avg", "max", "count_distinct", "array_agg", "bool_or", "median"]);
    let keys = vec((path(), by).prop_map(|(path, by)| format!("{path}{by}")), 0..4);
    let aggregates = vec((path(), function).prop_map(|(path, function)| format!("{path}:{function}")), 0..4);
    let test = prop::sample::select(vec![
        "'!'",
        "'&'",
        "('__count', '>', 0)",
        "('count:sum', '<', 3)",
        "('name:max', '=', 'a')",
    ]);
    let having = vec(test, 0..150).prop_map(|tests| format!("[{}]", tests.join(", ")));
    (keys, aggregates, prop_oneof![3 => Just("[]".to_owned()), 1 => having])
}

/// What was refused was refused for what it is.
fn answered<T>(answer: Result<T, Error>, question: &str) -> Result<(), TestCaseError> {
    match answer {
        Err(error) if error.code == "database" => Err(TestCaseError::fail(format!("{question}: {error}"))),
        _ => Ok(()),
    }
}

#[test]
fn whatever_is_asked_is_answered_or_refused_for_what_it_is() {
    let mut world = World::new();
    group::functions::register(&world.conn).unwrap();
    for id in 1..=3 {
        let cells = [
            ("name", text(&format!("thing {id}"))),
            ("active", int(1)),
            ("count", int(i64::from(id))),
            ("parent_id", int(1)),
        ];
        world.add("thing", id, &cells);
    }
    let questions =
        std::env::var("TRIGGERBOX_QUESTIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(QUESTIONS);
    let config = Config { cases: questions, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let asked = runner.run(&(domain(), order(), grouping()), |(domain, order, (by, aggregates, having))| {
        let World { conn, env, .. } = &world;
        let Ok(read) = Domain::parse(&domain) else { return Ok(()) };
        let page = Page { order: Some(order.clone()), limit: Some(10), ..Page::default() };
        answered(query::search(conn, env, "thing", &read, &page), &format!("search {domain} by {order}"))?;
        answered(query::search_count(conn, env, "thing", &read), &format!("count {domain}"))?;
        let page = GroupPage { having: Some(having.clone()), ..GroupPage::default() };
        let question = format!("group {domain} by {by:?} with {aggregates:?} having {having}");
        answered(group::read_group(conn, env, "thing", &read, &by, &aggregates, &page), &question)
    });
    asked.unwrap();
}
