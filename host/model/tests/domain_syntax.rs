//! What a domain may look like, and what is said about one that may not.

use triggerbox_model::{
    call::{DomainSource, Operand, Term},
    domain::{Domain, Literal, MAX_CONDITIONS},
    value::{Link, Value},
};

fn printed(text: &str) -> String {
    Domain::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn refused(text: &str) -> String {
    let error = Domain::parse(text).expect_err(text);
    assert_eq!(error.code, "bad-domain", "{text}");
    error.message
}

#[test]
fn terms_without_operator_are_joined_by_and() {
    for (text, shown) in [
        ("[]", "[]"),
        ("[('a', '=', 1)]", "[('a', '=', 1)]"),
        ("[('a', '=', 1), ('b', '=', 2)]", "[('a', '=', 1), ('b', '=', 2)]"),
        ("['&', ('a', '=', 1), ('b', '=', 2)]", "[('a', '=', 1), ('b', '=', 2)]"),
        (
            "['|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]",
            "['&', '|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]",
        ),
        (
            "['|', '|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]",
            "['|', '|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]",
        ),
        (
            "['|', ('a', '=', 1), '|', ('b', '=', 2), ('c', '=', 3)]",
            "['|', '|', ('a', '=', 1), ('b', '=', 2), ('c', '=', 3)]",
        ),
        ("[['a', 'in', (1, 2)]]", "[('a', 'in', [1, 2])]"),
        ("[('a.b', 'any', [('c', '=', 1)])]", "[('a.b', 'any', [('c', '=', 1)])]"),
    ] {
        assert_eq!(printed(text), shown, "{text}");
    }
}

#[test]
fn negation_moves_to_the_conditions() {
    for (text, shown) in [
        ("['!', ('a', '=', 1)]", "[('a', '!=', 1)]"),
        ("['!', '!', ('a', '=', 1)]", "[('a', '=', 1)]"),
        ("['!', '|', ('a', '=', 1), ('b', 'ilike', 'x')]", "[('a', '!=', 1), ('b', 'not ilike', 'x')]"),
        ("['!', '&', ('a', '=', 1), ('b', 'not any', [])]", "['|', ('a', '!=', 1), ('b', 'any', [])]"),
        // What `not a > 5` means depends on the field, and a path is negated as a whole.
        ("['!', ('a', '>', 5)]", "['!', ('a', '>', 5)]"),
        ("['!', ('a.b', '=', 5)]", "['!', ('a.b', '=', 5)]"),
    ] {
        assert_eq!(printed(text), shown, "{text}");
    }
}

#[test]
fn constants_are_simplified() {
    for (text, shown) in [
        ("[(1, '=', 1)]", "[]"),
        ("True", "[]"),
        ("False", "[(0, '=', 1)]"),
        ("[(0, '=', 1)]", "[(0, '=', 1)]"),
        ("['&', (0, '=', 1), ('a', '=', 1)]", "[(0, '=', 1)]"),
        ("['|', (1, '=', 1), ('a', '=', 1)]", "[]"),
        ("['!', (0, '=', 1)]", "[]"),
    ] {
        assert_eq!(printed(text), shown, "{text}");
    }
}

#[test]
fn operators_are_read_in_any_case_and_old_spelling() {
    assert_eq!(printed("[('a', 'Not Like', 'x')]"), "[('a', 'not like', 'x')]");
    assert_eq!(printed("[('a', '<>', 1)]"), "[('a', '!=', 1)]");
    assert_eq!(printed("[('a', '==', 1)]"), "[('a', '=', 1)]");
}

#[test]
fn malformed_domains_say_where_and_what() {
    for (text, part) in [
        ("['&']", "item 1: `&` needs two terms after it"),
        ("['&', ('a', '=', 1)]", "item 1: `&` needs two terms after it"),
        ("[('a', '=', 1), '&', ('b', '=', 2)]", "item 2: `&` needs two terms after it"),
        ("[('a', '=', 1), '!']", "item 2: `!` needs one term after it"),
        ("['and', ('a', '=', 1)]", "item 1: 'and' is neither a condition"),
        ("[[]]", "item 1: [] is neither a condition"),
        ("[('a', '=')]", "item 1: ['a', '='] is neither a condition"),
        ("['a', '=', True]", "item 3: True is neither a condition"),
        ("[(0, '=', 0)]", "item 1: [0, '=', 0] is neither"),
        ("[('a', 'is', 1)]", "unknown operator `is` on `a`"),
        ("[('a', 'any!', [])]", "unknown operator `any!`"),
        ("[('a', None, 1)]", "the operator must be a text"),
        ("[('', '=', 1)]", "'' is not a field name"),
        ("[('a; drop table x', '=', 1)]", "is not a field name"),
        ("[('A', '=', 1)]", "'A' is not a field name"),
        ("[('a', 'any', 5)]", "a domain is a list, not an integer"),
        ("None", "a domain is a list, not None"),
        ("{'a': 1}", "a domain is a list, not a dictionary"),
        ("", "at character 1: the literal ends too early"),
        ("[('a', '=', 1)", "the list opened at character 1 is not closed; add `]`"),
        ("[('a', '=', 'x)]", "the text opened at character 13 is not closed"),
        ("[('a', '=', uid)]", "at character 13: `uid` is a name; only literals are allowed"),
        ("[('a', '=', true)]", "write True, False or None"),
        ("[('a', '=', 1 + 1)]", "expected `,` between list items"),
        ("[('a', '=', 1+1)]", "arithmetic is not evaluated"),
        ("[('a', '=', f())]", "`f` is a name"),
        ("[] []", "at character 4: unexpected `[` after the end"),
    ] {
        let message = refused(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn text_escapes_are_pythons() {
    for (text, value) in [
        (r"'a\'b'", "a'b"),
        (r#""a'b""#, "a'b"),
        (r"'a\\b'", "a\\b"),
        (r"'\n\t\x41\u00e9\U0001F600\101'", "\n\tA\u{e9}\u{1F600}A"),
        (r"'100\%'", "100\\%"),
        ("'a' 'b'", "ab"),
    ] {
        assert_eq!(Literal::parse(text).expect(text), Literal::text(value), "{text}");
    }
    for bad in [r"'\x4'", r"'\ud800'", "'a\nb'", "'"] {
        Literal::parse(bad).expect_err(bad);
    }
}

#[test]
fn numbers_are_pythons() {
    for (text, value) in [
        ("-7", Literal::Integer(-7)),
        ("1_000", Literal::Integer(1000)),
        ("1.50", Literal::Float(1.5)),
        (".5", Literal::Float(0.5)),
        ("1e3", Literal::Float(1000.0)),
        ("99999999999999999999", Literal::Float(1e20)),
    ] {
        assert_eq!(Literal::parse(text).expect(text), value, "{text}");
    }
    assert_eq!(Literal::Float(1e16).to_string(), "1e+16");
    assert_eq!(Literal::Float(0.00001).to_string(), "1e-05");
    assert_eq!(Literal::Float(100.0).to_string(), "100.0");
}

#[test]
fn printing_and_parsing_give_the_same_domain() {
    for text in [
        "[('a', '=', 'it\\'s \"quoted\" \\\\ \\x00')]",
        "['|', '&', ('a', '=', None), ('b', 'in', [1, 2.5, 'x', False]), '!', ('c', '>', -1)]",
        "['!', ('a.b', 'any', ['|', ('c', '=', 1), ('d', '=', [])])]",
    ] {
        let domain = Domain::parse(text).expect(text);
        assert_eq!(Domain::parse(&domain.to_string()).expect("printed"), domain);
        assert_eq!(Domain::from_literal(&domain.to_literal()).expect("as a literal"), domain);
    }
}

#[test]
fn ten_thousand_terms_are_read_quickly() {
    let condition = |index: usize| format!("('a', '=', {index})");
    let start = std::time::Instant::now();
    let count = 10_000;
    let together = format!("[{}]", (0..count).map(condition).collect::<Vec<_>>().join(", "));
    let before = format!("[{}{}]", "'|', ".repeat(count - 1), (0..count).map(condition).collect::<Vec<_>>().join(", "));
    let between = {
        // `| a | b | c d`: an operator before each term but the last.
        let mut parts: Vec<String> = (0..count - 1).map(|index| format!("'|', {}", condition(index))).collect();
        parts.push(condition(count - 1));
        format!("[{}]", parts.join(", "))
    };
    for text in [&together, &before, &between] {
        let domain = Domain::parse(text).expect("parses");
        assert!(matches!(&domain, Domain::And(parts) | Domain::Or(parts) if parts.len() == count));
        assert_eq!(domain.depth(), 2);
    }
    assert_eq!(Domain::parse(&before).expect("prefix"), Domain::parse(&between).expect("chain"));
    let many = format!("[{}('a', '=', 1)]", "'!', ".repeat(count));
    assert_eq!(printed(&many), "[('a', '=', 1)]");
    assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
}

#[test]
fn too_many_or_too_deep_is_an_error() {
    let many = vec!["('a', '=', 1)"; MAX_CONDITIONS + 1].join(", ");
    assert!(refused(&format!("[{many}]")).contains("conditions"));
    // Alternating operators cannot be flattened.
    let deep = "'&', ('a', '=', 1), '|', ('b', '=', 2), ".repeat(5_000);
    assert!(refused(&format!("[{deep} ('c', '=', 3)]")).contains("nests deeper"));
    let nested = format!("{}{}", "[('a', 'any', ".repeat(5_000), ")]".repeat(5_000));
    assert!(refused(&nested).contains("deeper"));
    let lists = "[".repeat(100_000);
    assert!(refused(&lists).contains("deeper"));
    // Each step of a path is a level as well.
    let path = |steps: usize| format!("[('{}id', '=', 1)]", "a.".repeat(steps));
    assert!(Domain::parse(&path(60)).is_ok());
    for steps in [64, 400_000] {
        assert!(refused(&path(steps)).contains("nests deeper"));
    }
}

#[test]
fn domains_come_from_json_and_from_terms_of_a_call() {
    let json = serde_json::json!(["|", ["a", "=", false], ["b", "in", [1, "x", null]]]);
    let domain = Domain::from_json(&json).expect("json");
    assert_eq!(domain.to_string(), "['|', ('a', '=', False), ('b', 'in', [1, 'x', None])]");

    let terms = DomainSource::Terms(vec![
        Term::Or,
        Term::Condition("partner_id".into(), "=".into(), Operand::One(Value::Many2one(Link { id: 7, name: None }))),
        Term::Not,
        Term::Condition("create_date".into(), ">".into(), Operand::One(Value::Datetime("2026-11-21T10:15:00Z".into()))),
        Term::Condition("tag_ids".into(), "any".into(), Operand::Domain("[('name', '=', 'x')]".into())),
        Term::Condition("state".into(), "in".into(), Operand::Many(vec![Value::text("a"), Value::Unset])),
        Term::Always,
    ]);
    assert_eq!(
        Domain::from_source(&terms).expect("terms").to_string(),
        "['&', '&', '|', ('partner_id', '=', 7), '!', ('create_date', '>', '2026-11-21 10:15:00'), \
         ('tag_ids', 'any', [('name', '=', 'x')]), ('state', 'in', ['a', False])]"
    );
    let naive = DomainSource::Terms(vec![Term::Condition(
        "create_date".into(),
        ">".into(),
        Operand::One(Value::Datetime("2026-11-21T10:15:00".into())),
    )]);
    assert!(Domain::from_source(&naive).expect_err("no zone").message.contains("no `Z`"));
    let pending = DomainSource::Terms(vec![Term::Condition("a".into(), "=".into(), Operand::One(Value::Pending))]);
    Domain::from_source(&pending).expect_err("pending");
}
