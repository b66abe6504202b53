//! Whatever is thrown at the parser, it answers or refuses, and soon.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use triggerbox_model::{
    domain::{Domain, Literal, pattern::Pattern},
    time::{Clock, parse_iso, parse_moment},
};

/// Pieces that malformed domains are made of.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "[", "]", "(", ")", "{", "}", ",", ":", "'", "\"", "\\", "'&'", "'|'", "'!'", "('a', '=', 1)", "'a'", "'='", "'any'",
            "None", "True", "1", "-", "1e9", "0x", "\\u12", "'\\x", " ", "\n", "\u{0}", "é", "\u{1F600}", "nan", "1_", "--1", ".",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn malformed_domains_never_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        let start = Instant::now();
        if let Ok(domain) = Domain::parse(&text) {
            let again = Domain::parse(&domain.to_string());
            prop_assert_eq!(again.ok(), Some(domain), "{}", text);
        }
        prop_assert!(start.elapsed() < Duration::from_secs(2), "{} took {:?}", text, start.elapsed());
    }

    #[test]
    fn literals_print_and_parse_to_themselves(text in any::<String>(), number in any::<i64>(), float in any::<f64>()) {
        let literal = Literal::List(vec![
            Literal::Text(text.clone()),
            Literal::Integer(number),
            Literal::Dict(vec![(text, Literal::None)]),
        ]);
        prop_assert_eq!(Literal::parse(&literal.to_string()).ok(), Some(literal));
        if float.is_finite() {
            let literal = Literal::Float(float);
            prop_assert_eq!(Literal::parse(&literal.to_string()).ok(), Some(literal));
        }
    }

    #[test]
    fn dates_never_panic(text in "[-+=0-9a-zA-Z: .TWZ]{0,24}|[-+=][0-9]{1,20}[dwmyHMS]( [-+=][0-9]{1,6}[dwmyHMS]){0,4}") {
        let now = "2026-06-17T13:05:00Z".parse().expect("a time");
        let clock = Clock { now, tz: jiff::tz::TimeZone::UTC, week_start: 1 };
        let _ = parse_iso(&text);
        let _ = parse_moment(&text, &clock);
    }

    /// Matches as the obvious, slow definition does.
    #[test]
    fn patterns_match_as_defined(pattern in "[ab%_]{0,6}", text in "[ab]{0,8}") {
        fn obvious(pattern: &[char], text: &[char]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, None) => true,
                (Some(('%', rest)), _) => (0..=text.len()).any(|eaten| obvious(rest, &text[eaten..])),
                (Some((wanted, rest)), Some((c, left))) => (*wanted == '_' || wanted == c) && obvious(rest, left),
                _ => false,
            }
        }
        let (wanted, chars): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        let compiled = Pattern::compile(pattern, false);
        prop_assert_eq!(compiled.matches(&text).ok(), Some(obvious(&wanted, &chars)));
    }
}

#[test]
fn a_hostile_pattern_is_matched_in_bounded_time() {
    let start = Instant::now();
    let pattern = Pattern::compile(format!("{}b", "%a".repeat(200)), false);
    assert_eq!(pattern.matches(&"a".repeat(20_000)).ok(), Some(false));
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
    // What would take longer than anybody waits is refused.
    let pattern = Pattern::compile(format!("%{}b", "a".repeat(10_000)), false);
    assert_eq!(pattern.matches(&"a".repeat(100_000)).unwrap_err().code, "bad-domain");
    assert_eq!(pattern.matches(&("a".repeat(100_000) + "b")).unwrap_err().code, "bad-domain");
    assert_eq!(pattern.matches(&("c".repeat(1_000_000) + &"a".repeat(10_000) + "b")).ok(), Some(true));
}
