//! Conditions on aggregates: `['&', ('__count', '>', 5), ('amount:sum', '<', 100)]`.

use rusqlite::types::Value as Sqlite;
use triggerbox_model::{domain::Literal, error::Error};

use super::columns::{Aggregate, Columns, Shape};
use crate::query::sql::Sql;

/// Conditions and operators at most: what is joined is a level deeper each time.
const MOST: usize = 100;

/// Conditions, joined.
#[derive(Debug)]
pub(super) enum Tree<T> {
    Test(T),
    Not(Box<Tree<T>>),
    And(Box<Tree<T>>, Box<Tree<T>>),
    Or(Box<Tree<T>>, Box<Tree<T>>),
}

impl<T> Tree<T> {
    fn map<U, E>(self, change: &mut impl FnMut(T) -> Result<U, E>) -> Result<Tree<U>, E> {
        Ok(match self {
            Self::Test(test) => Tree::Test(change(test)?),
            Self::Not(part) => Tree::Not(Box::new(part.map(change)?)),
            Self::And(left, right) => Tree::And(Box::new(left.map(change)?), Box::new(right.map(change)?)),
            Self::Or(left, right) => Tree::Or(Box::new(left.map(change)?), Box::new(right.map(change)?)),
        })
    }
}

/// How an aggregate is compared.
#[derive(Debug, Clone)]
pub(super) struct Test {
    aggregate: String,
    operator: &'static str,
    value: Literal,
}

/// Reads conditions; none at all are none.
pub(super) fn parse(text: &str) -> Result<Option<Tree<Test>>, Error> {
    let Literal::List(items) = Literal::parse(text)? else { return Err(bad(text, "is no list of conditions")) };
    if items.len() > MOST {
        return Err(bad(text, &format!("has {} conditions and operators; there may be {MOST}", items.len())));
    }
    // Prefix notation, read from its end.
    let mut stack: Vec<Tree<Test>> = Vec::new();
    for item in items.iter().rev() {
        let mut next = || stack.pop().map(Box::new).ok_or_else(|| bad(text, "has an operator without its conditions"));
        let tree = match item {
            Literal::Text(mark) if mark == "!" => Tree::Not(next()?),
            Literal::Text(mark) if mark == "&" => Tree::And(next()?, next()?),
            Literal::Text(mark) if mark == "|" => Tree::Or(next()?, next()?),
            Literal::List(parts) => Tree::Test(test(text, parts)?),
            other => return Err(bad(text, &format!("has {other}, which is no condition"))),
        };
        stack.push(tree);
    }
    while stack.len() > 1 {
        if let (Some(left), Some(right)) = (stack.pop(), stack.pop()) {
            stack.push(Tree::And(Box::new(left), Box::new(right)));
        }
    }
    Ok(stack.pop())
}

fn test(text: &str, parts: &[Literal]) -> Result<Test, Error> {
    let [Literal::Text(aggregate), Literal::Text(operator), value] = parts else {
        return Err(bad(text, "has a condition that is not `(aggregate, operator, value)`"));
    };
    let operator = match operator.as_str() {
        "=" => " = ",
        "!=" => " != ",
        "<" => " < ",
        ">" => " > ",
        "<=" => " <= ",
        ">=" => " >= ",
        // Odoo lists `in` and `not in`, but its database refuses them.
        other => return Err(bad(text, &format!("uses `{other}`; there are =, !=, <, >, <= and >="))),
    };
    Ok(Test { aggregate: aggregate.clone(), operator, value: value.clone() })
}

/// Finds the aggregates.
pub(super) fn resolve(tree: &Tree<Test>, columns: &mut Columns<'_>) -> Result<Tree<Resolved>, Error> {
    let mut find = |test: Test| {
        let aggregate = columns.aggregate(&test.aggregate)?;
        let value = comparable(&aggregate.shape, &test)?;
        Ok(Resolved { aggregate, operator: test.operator, value })
    };
    tree.clone_tests().map(&mut find)
}

impl Tree<Test> {
    fn clone_tests(&self) -> Self {
        match self {
            Self::Test(test) => Self::Test(test.clone()),
            Self::Not(part) => Self::Not(Box::new(part.clone_tests())),
            Self::And(left, right) => Self::And(Box::new(left.clone_tests()), Box::new(right.clone_tests())),
            Self::Or(left, right) => Self::Or(Box::new(left.clone_tests()), Box::new(right.clone_tests())),
        }
    }
}

pub(super) struct Resolved {
    aggregate: Aggregate,
    operator: &'static str,
    value: Sqlite,
}

fn comparable(shape: &Shape, test: &Test) -> Result<Sqlite, Error> {
    let unfit = || {
        let message = format!("`{}` cannot be compared with {}", test.aggregate, test.value);
        Error::invalid("bad-having", message)
    };
    let number = matches!(shape, Shape::Count | Shape::Number | Shape::Whole | Shape::Id);
    Ok(match (&test.value, shape) {
        (Literal::None, _) => Sqlite::Null,
        (Literal::Integer(value), _) if number => Sqlite::Integer(*value),
        (Literal::Float(value), _) if number => Sqlite::Real(*value),
        (Literal::Text(value), _) if number => Sqlite::Real(value.trim().parse().map_err(|_| unfit())?),
        (Literal::Bool(value), Shape::Truth) => Sqlite::Integer(i64::from(*value)),
        (Literal::Text(value), Shape::Field(_)) => Sqlite::Text(value.clone()),
        _ => return Err(unfit()),
    })
}

/// The condition with names of selected columns in place of aggregates.
pub(super) struct Named {
    name: String,
    operator: &'static str,
    value: Sqlite,
}

/// Adds the aggregates to the selected columns.
pub(super) fn push_columns(tree: Tree<Resolved>, sql: &mut Sql<'_>) -> Tree<Named> {
    let mut count = 0;
    let mut push = |test: Resolved| -> Result<Named, std::convert::Infallible> {
        let name = format!("\"having {count}\"");
        count += 1;
        sql.push(", ");
        test.aggregate.push(sql);
        sql.push(&format!(" AS {name}"));
        Ok(Named { name, operator: test.operator, value: test.value })
    };
    match tree.map(&mut push) {
        Ok(tree) => tree,
        Err(never) => match never {},
    }
}

/// Adds the condition.
pub(super) fn push_condition(tree: &Tree<Named>, sql: &mut Sql<'_>) {
    match tree {
        Tree::Test(test) => {
            sql.push(&test.name);
            sql.push(test.operator);
            sql.bind(test.value.clone());
        }
        Tree::Not(part) => {
            sql.push("(NOT ");
            push_condition(part, sql);
            sql.push(")");
        }
        Tree::And(left, right) | Tree::Or(left, right) => {
            sql.push("(");
            push_condition(left, sql);
            sql.push(if matches!(tree, Tree::And(..)) { " AND " } else { " OR " });
            push_condition(right, sql);
            sql.push(")");
        }
    }
}

fn bad(text: &str, why: &str) -> Error {
    let (shown, more) = match text.char_indices().nth(200) {
        Some((end, _)) => (text.get(..end).unwrap_or_default(), "…"),
        None => (text, ""),
    };
    Error::invalid("bad-having", format!("having `{shown}{more}` {why}"))
}
