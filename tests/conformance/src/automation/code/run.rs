//! Statements into calls.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};
use triggerbox_model::{error::Error, schema::Schema, value::Id};

use super::{Code, Expression, Statement, Stop};

/// Where code runs: each call is an op of the questions' own form.
pub(in crate::automation) struct Place<'a> {
    /// The models.
    pub(in crate::automation) schema: &'a Schema,
    /// Does an op; its answer is that of the server's call.
    pub(in crate::automation) call: &'a mut dyn FnMut(&Json) -> Result<Json, Error>,
}

#[derive(Debug, Clone)]
enum Value {
    Plain(Json),
    Records(String, Vec<Id>),
    Env,
}

/// Runs code on a record of a model.
pub(in crate::automation) fn run(code: &Code, place: &mut Place<'_>, model: &str, record: Id) -> Result<(), Stop> {
    let records = Value::Records(model.to_owned(), vec![record]);
    let names = [
        ("record".to_owned(), records.clone()),
        ("records".to_owned(), records),
        ("model".to_owned(), Value::Records(model.to_owned(), Vec::new())),
        ("env".to_owned(), Value::Env),
    ];
    Run { place, names: names.into() }.block(&code.0)
}

struct Run<'a, 'p> {
    place: &'a mut Place<'p>,
    names: BTreeMap<String, Value>,
}

impl Run<'_, '_> {
    fn block(&mut self, statements: &[Statement]) -> Result<(), Stop> {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Statement) -> Result<(), Stop> {
        match statement {
            Statement::Pass => {}
            Statement::Do(expression) => drop(self.value(expression)?),
            Statement::If(condition, body, otherwise) => {
                let holds = self.value(condition)?.is_true();
                self.block(if holds { body } else { otherwise })?;
            }
            Statement::For(name, list, body) => {
                let items = match self.value(list)? {
                    Value::Records(model, ids) => {
                        ids.iter().map(|id| Value::Records(model.clone(), vec![*id])).collect()
                    }
                    Value::Plain(Json::Array(items)) => items.into_iter().map(Value::Plain).collect(),
                    _ => Vec::new(),
                };
                for item in items {
                    self.names.insert(name.clone(), item);
                    self.block(body)?;
                }
            }
            Statement::Name(name, value) => {
                let value = self.value(value)?;
                self.names.insert(name.clone(), value);
            }
            Statement::Set(of, field, value) => {
                let (of, value) = (self.value(of)?, self.value(value)?.json());
                let Value::Records(model, ids) = of else { return Err(unread("=")) };
                self.call(json!({ "op": "write", "model": model, "ids": ids, "vals": { field: value } }))?;
            }
            Statement::Raise(class, text) => {
                let text = text.as_ref().map(|text| self.value(text)).transpose()?;
                return Err(Stop::Raised(format!("{class}: {}", text.map(Value::json).unwrap_or_default())));
            }
        }
        Ok(())
    }

    fn value(&mut self, expression: &Expression) -> Result<Value, Stop> {
        Ok(match expression {
            Expression::Literal(literal) => Value::Plain(literal.clone()),
            Expression::Name(name) => self.names.get(name).cloned().ok_or_else(|| unread(name))?,
            Expression::List(items) => {
                let items: Result<Vec<Json>, Stop> = items.iter().map(|item| Ok(self.value(item)?.json())).collect();
                Value::Plain(Json::Array(items?))
            }
            Expression::Dict(entries) => {
                let mut found = Map::new();
                for (key, value) in entries {
                    let key = self.value(key)?.json().as_str().map(str::to_owned).ok_or_else(|| unread("a key"))?;
                    found.insert(key, self.value(value)?.json());
                }
                Value::Plain(Json::Object(found))
            }
            Expression::Attribute(of, name) => {
                let of = self.value(of)?;
                self.attribute(of, name)?
            }
            Expression::Item(of, item) => {
                let (of, item) = (self.value(of)?, self.value(item)?.json());
                match (of, &item) {
                    (Value::Env, Json::String(model)) => {
                        self.place.schema.model(model)?;
                        Value::Records(model.clone(), Vec::new())
                    }
                    (of @ Value::Records(..), Json::String(field)) => self.attribute(of, field)?,
                    (Value::Records(model, ids), Json::Number(at)) => {
                        let at = at.as_u64().and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
                        Value::Records(model, ids.get(at).copied().into_iter().collect())
                    }
                    _ => return Err(unread("[]")),
                }
            }
            Expression::Call(what, arguments, named) => return self.call_of(what, arguments, named),
            Expression::Not(value) => Value::Plain(json!(!self.value(value)?.is_true())),
            Expression::Minus(value) => number(0.0 - self.value(value)?.number()?),
            Expression::Choice(condition, value, other) => {
                let chosen = if self.value(condition)?.is_true() { value } else { other };
                self.value(chosen)?
            }
            Expression::Two(sign, left, right) => {
                let left = self.value(left)?;
                match (*sign, left.is_true()) {
                    ("or", true) | ("and", false) => return Ok(left),
                    ("or" | "and", _) => return self.value(right),
                    _ => {}
                }
                let right = self.value(right)?;
                two(sign, left, right)?
            }
        })
    }

    fn attribute(&mut self, of: Value, name: &str) -> Result<Value, Stop> {
        let Value::Records(model, ids) = of else {
            return match (of, name) {
                (Value::Env, "user") => Err(unread("env.user")),
                _ => Err(unread(name)),
            };
        };
        match name {
            "id" => return Ok(Value::Plain(ids.first().map_or(json!(false), |id| json!(id)))),
            "ids" => return Ok(Value::Plain(json!(ids))),
            "_name" => return Ok(Value::Plain(json!(model))),
            _ => {}
        }
        let field = self.place.schema.model(&model)?.field(name)?;
        let rows = match ids.is_empty() {
            true => json!([]),
            false => self.call(json!({ "op": "read", "model": model, "ids": ids, "fields": [name] }))?,
        };
        let values = rows.as_array().into_iter().flatten().filter_map(|row| row.get(name)).cloned();
        match &field.relation {
            None => Ok(Value::Plain(values.into_iter().next().unwrap_or(json!(false)))),
            Some(relation) => {
                let ids = values.flat_map(|value| match value {
                    Json::Array(ids) => ids,
                    one => vec![one],
                });
                Ok(Value::Records(relation.clone(), ids.filter_map(|id| id_of(&id)).collect()))
            }
        }
    }

    fn call_of(
        &mut self,
        what: &Expression,
        arguments: &[Expression],
        named: &[(String, Expression)],
    ) -> Result<Value, Stop> {
        let arguments: Vec<Value> = arguments.iter().map(|value| self.value(value)).collect::<Result<_, _>>()?;
        let named: Result<Map<String, Json>, Stop> =
            named.iter().map(|(name, value)| Ok((name.clone(), self.value(value)?.json()))).collect();
        let named = named?;
        let first = arguments.first().cloned();
        let Expression::Attribute(of, method) = what else {
            let Expression::Name(name) = what else { return Err(unread("()")) };
            let first = first.ok_or_else(|| unread(name))?;
            return match name.as_str() {
                "len" => Ok(Value::Plain(json!(first.len()))),
                "str" => Ok(Value::Plain(json!(match first.json() {
                    Json::String(text) => text,
                    other => other.to_string(),
                }))),
                "int" | "float" => number_like(name, &first),
                _ => Err(unread(name)),
            };
        };
        let Value::Records(model, ids) = self.value(of)? else { return Err(unread(method)) };
        let same = |ids: Vec<Id>| Ok(Value::Records(model.clone(), ids));
        let first = first.map(Value::json).unwrap_or_default();
        match method.as_str() {
            "sudo" | "with_context" | "with_user" | "exists" => same(ids),
            "browse" => same(match first {
                Json::Array(ids) => ids.iter().filter_map(id_of).collect(),
                one => id_of(&one).into_iter().collect(),
            }),
            "search" => {
                let found = self.call(json!({ "op": "search", "model": model, "domain": first }))?;
                let limit = named.get("limit").and_then(Json::as_u64).and_then(|limit| usize::try_from(limit).ok());
                let found = found.as_array().into_iter().flatten().filter_map(id_of);
                same(found.take(limit.unwrap_or(usize::MAX)).collect())
            }
            "write" if ids.is_empty() => Ok(Value::Plain(json!(true))),
            "write" => self.plain(json!({ "op": "write", "model": model, "ids": ids, "vals": first })),
            "unlink" => self.plain(json!({ "op": "unlink", "model": model, "ids": ids })),
            "create" | "copy" => {
                let op = match method.as_str() {
                    "create" => json!({ "op": "create", "model": model, "vals": first }),
                    _ => json!({ "op": "copy", "model": model, "ids": ids }),
                };
                let made = self.call(op)?;
                same(made.get("ids").and_then(Json::as_array).into_iter().flatten().filter_map(id_of).collect())
            }
            method => {
                let arguments: Vec<Json> = arguments.into_iter().map(Value::json).collect();
                self.plain(json!({
                    "op": "call", "model": model, "ids": ids, "method": method, "args": arguments, "kwargs": named
                }))
            }
        }
    }

    fn plain(&mut self, op: Json) -> Result<Value, Stop> {
        Ok(Value::Plain(self.call(op)?))
    }

    #[allow(clippy::needless_pass_by_value, reason = "ops are made where they are called")]
    fn call(&mut self, op: Json) -> Result<Json, Stop> {
        Ok((self.place.call)(&op)?)
    }
}

impl Value {
    fn json(self) -> Json {
        match self {
            Self::Plain(json) => json,
            Self::Records(_, ids) => match ids.as_slice() {
                [] => json!(false),
                [id] => json!(id),
                ids => json!(ids),
            },
            Self::Env => Json::Null,
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Records(_, ids) => !ids.is_empty(),
            Self::Env => true,
            Self::Plain(json) => match json {
                Json::Null => false,
                Json::Bool(flag) => *flag,
                Json::Number(number) => number.as_f64() != Some(0.0),
                Json::String(text) => !text.is_empty(),
                Json::Array(items) => !items.is_empty(),
                Json::Object(entries) => !entries.is_empty(),
            },
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Records(_, ids) => ids.len(),
            Self::Plain(Json::String(text)) => text.chars().count(),
            Self::Plain(Json::Array(items)) => items.len(),
            _ => 0,
        }
    }

    fn number(&self) -> Result<f64, Stop> {
        match self {
            Self::Plain(Json::Bool(flag)) => Ok(f64::from(*flag)),
            Self::Plain(json) => json.as_f64().ok_or_else(|| unread("a number")),
            _ => Err(unread("a number")),
        }
    }
}

fn two(sign: &str, left: Value, right: Value) -> Result<Value, Stop> {
    let order = |holds: fn(f64, f64) -> bool| Ok(Value::Plain(json!(holds(left.number()?, right.number()?))));
    match sign {
        "<" => return order(|a, b| a < b),
        ">" => return order(|a, b| a > b),
        "<=" => return order(|a, b| a <= b),
        ">=" => return order(|a, b| a >= b),
        _ => {}
    }
    if let ("+", Value::Plain(Json::String(one)), Value::Plain(Json::String(other))) = (sign, &left, &right) {
        return Ok(Value::Plain(json!(format!("{one}{other}"))));
    }
    match sign {
        "+" => return Ok(number(left.number()? + right.number()?)),
        "-" => return Ok(number(left.number()? - right.number()?)),
        "*" => return Ok(number(left.number()? * right.number()?)),
        "/" if right.number()? == 0.0 => return Err(Stop::Raised("ZeroDivisionError".to_owned())),
        "/" => return Ok(Value::Plain(json!(left.number()? / right.number()?))),
        _ => {}
    }
    let (left, right) = (left.json(), right.json());
    let is_same = match (left.as_f64(), right.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => left == right,
    };
    match (sign, &right) {
        ("==", _) => Ok(Value::Plain(json!(is_same))),
        ("!=", _) => Ok(Value::Plain(json!(!is_same))),
        ("in", Json::Array(items)) => Ok(Value::Plain(json!(items.contains(&left)))),
        ("in", Json::String(text)) => Ok(Value::Plain(json!(left.as_str().is_some_and(|part| text.contains(part))))),
        _ => Err(unread(sign)),
    }
}

/// A whole number where it is one.
#[allow(clippy::cast_possible_truncation, reason = "it is whole, and small")]
fn number(number: f64) -> Value {
    Value::Plain(if number.fract() == 0.0 { json!(number as i64) } else { json!(number) })
}

fn number_like(name: &str, value: &Value) -> Result<Value, Stop> {
    let found = match value {
        Value::Plain(Json::String(text)) => text.trim().parse().map_err(|_| unread(name))?,
        value => value.number()?,
    };
    Ok(number(if name == "int" { found.trunc() } else { found }))
}

fn id_of(json: &Json) -> Option<Id> {
    json.as_u64().and_then(|id| Id::try_from(id).ok())
}

fn unread(what: &str) -> Stop {
    Stop::Unread(format!("the code says more than is read here: {what}"))
}
