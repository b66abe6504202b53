//! What the code of a server's rule does besides noting that the rule fires: the part of Python that such code is made of,
//! each call as a step of its own. Code that says more than this is not read.

mod parse;
mod run;

use triggerbox_model::error::Error;

pub(super) use self::run::{Place, run};

/// Code, read.
#[derive(Debug, Default)]
pub(super) struct Code(Vec<Statement>);

/// Why code did not come to its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// It says something that is not read here.
    Unread(String),
    /// It raised an error for people.
    Raised(String),
    /// A call failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

#[derive(Debug)]
enum Statement {
    Do(Expression),
    If(Expression, Vec<Statement>, Vec<Statement>),
    For(String, Expression, Vec<Statement>),
    Name(String, Expression),
    /// `record.field = value`, `record['field'] = value`
    Set(Expression, String, Expression),
    Raise(String, Option<Expression>),
    Pass,
}

#[derive(Debug)]
enum Expression {
    Literal(serde_json::Value),
    Name(String),
    List(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, String),
    Item(Box<Expression>, Box<Expression>),
    Call(Box<Expression>, Vec<Expression>, Vec<(String, Expression)>),
    Not(Box<Expression>),
    Minus(Box<Expression>),
    Two(&'static str, Box<Expression>, Box<Expression>),
    /// `a if condition else b`
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
}

impl Code {
    /// Reads code, without the lines that note the fire.
    pub(super) fn read(code: &str) -> Result<Self, Stop> {
        let lines: Vec<&str> = code.lines().collect();
        let noted = lines.iter().position(|line| line.contains("env['x_fire']")).map_or(0, |line| line + 1);
        parse::block(lines.get(noted..).unwrap_or_default()).map(Self)
    }

    /// Whether it only notes the fire.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};
    use triggerbox_store::models;

    use super::*;

    /// The calls of some code on lead 7, whose fields are all 3.
    fn calls(code: &str) -> Result<Vec<Json>, Stop> {
        let schema = models::schema().expect("models");
        let mut calls = Vec::new();
        let mut call = |op: &Json| match op["op"].as_str() {
            Some("read") => Ok(json!([{ (op["fields"][0].as_str().unwrap_or_default()): 3 }])),
            _ => {
                calls.push(op.clone());
                Ok(json!({ "ids": [9] }))
            }
        };
        let mut place = Place { schema: &schema, call: &mut call };
        run(&Code::read(code)?, &mut place, "crm.lead", 7)?;
        Ok(calls)
    }

    #[test]
    fn calls_are_steps() {
        let code = "for r in records:\n    env['x_fire'].sudo().create({'x': json.dumps(1)})\n\
                    # what it is for\n\
                    if record.color < 5 and not record.name == 'x':\n    record.write({'color': record.color + 1})\n\
                    else:\n    record.unlink()\n\
                    task = env['project.task'].sudo().create({'name': (record.partner_name or '') and 'a' + \"b\", 'n': [(4, -1)]})\n\
                    task.message_post(body='hi', message_type='comment')\n\
                    record['city'] = 'Gent' if record.color in [1, 3] else False\n";
        let wanted = [
            json!({ "op": "write", "model": "crm.lead", "ids": [7], "vals": { "color": 4 } }),
            json!({ "op": "create", "model": "project.task", "vals": { "name": "ab", "n": [[4, -1]] } }),
            json!({ "op": "call", "model": "project.task", "ids": [9], "method": "message_post", "args": [],
                    "kwargs": { "body": "hi", "message_type": "comment" } }),
            json!({ "op": "write", "model": "crm.lead", "ids": [7], "vals": { "city": "Gent" } }),
        ];
        assert_eq!(calls(code).expect("it is read"), wanted);
    }

    #[test]
    fn what_is_not_read_is_told() {
        for code in
            ["record.write({'a': x for x in y})", "while True:\n    pass", "import os", "lambda: 1", "f(record)"]
        {
            assert!(matches!(calls(code), Err(Stop::Unread(_))), "{code}");
        }
        assert!(matches!(calls("raise UserError('no')"), Err(Stop::Raised(text)) if text.contains("no")));
    }
}
