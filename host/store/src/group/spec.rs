//! How keys, aggregates and orders of groupings are written.

use triggerbox_model::error::Error;

/// `order_id.partner_id`, `create_date:month`, `expected_revenue:sum`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spec<'a> {
    /// The first name.
    pub(super) field: &'a str,
    /// What follows it after a dot.
    pub(super) rest: Option<&'a str>,
    /// What follows a colon.
    pub(super) function: Option<&'a str>,
}

impl<'a> Spec<'a> {
    /// Reads one; `None` if it is written otherwise.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (path, function) = match text.split_once(':') {
            Some((path, function)) => (path, Some(function)),
            None => (text, None),
        };
        let (field, rest) = match path.split_once('.') {
            Some((field, rest)) => (field, Some(rest)),
            None => (path, None),
        };
        let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
        let words = is_word(field)
            && rest.is_none_or(|rest| {
                !rest.is_empty() && rest.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')
            })
            && function.is_none_or(is_word);
        words.then_some(Self { field, rest, function })
    }
}

/// One term of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderTerm {
    /// A key or an aggregate, as it is written among them.
    pub(super) term: String,
    pub(super) descending: bool,
    /// Where unset values go, if it is said.
    pub(super) nulls_first: Option<bool>,
}

/// Reads `x_sel desc nulls last, __count`.
pub(super) fn parse_order(text: &str) -> Result<Vec<OrderTerm>, Error> {
    let bad =
        || Error::invalid("bad-order", format!("invalid order `{text}`; write keys and aggregates, as `__count desc`"));
    text.split(',')
        .map(|part| {
            let words: Vec<String> = part.split_whitespace().map(str::to_owned).collect();
            let (term, rest) = words.split_first().ok_or_else(bad)?;
            let rest: Vec<String> = rest.iter().map(|word| word.to_lowercase()).collect();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            let (descending, rest) = match rest.as_slice() {
                ["desc", rest @ ..] => (true, rest),
                ["asc", rest @ ..] => (false, rest),
                rest => (false, rest),
            };
            let nulls_first = match rest {
                [] => None,
                ["nulls", "first"] => Some(true),
                ["nulls", "last"] => Some(false),
                _ => return Err(bad()),
            };
            Spec::parse(term).ok_or_else(bad)?;
            Ok(OrderTerm { term: term.clone(), descending, nulls_first })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_have_a_field_a_path_and_a_function() {
        let spec = Spec::parse("order_id.partner_id.name:max").unwrap();
        assert_eq!((spec.field, spec.rest, spec.function), ("order_id", Some("partner_id.name"), Some("max")));
        assert_eq!(Spec::parse("__count").unwrap().function, None);
        for wrong in ["", "a b", "a:", "a:b:c", ".a", "a-b"] {
            assert_eq!(Spec::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn orders_have_directions_and_places_for_unset_values() {
        let terms = parse_order("a:sum DESC nulls last, b").unwrap();
        let parts: Vec<_> = terms.iter().map(|t| (t.term.as_str(), t.descending, t.nulls_first)).collect();
        assert_eq!(parts, [("a:sum", true, Some(false)), ("b", false, None)]);
        assert_eq!(parse_order("a downwards").unwrap_err().code, "bad-order");
        assert_eq!(parse_order("a,,b").unwrap_err().code, "bad-order");
    }
}
