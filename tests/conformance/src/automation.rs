//! Which rules fire on what, and how often. A real server fires more often than records change (each recomputed field is a
//! write of its own there, and a write of the same value is a write); here a rule fires once for each record that really
//! changed. Compared are the fires of each step, with those that follow from what the rules' code does.
//!
//! | module | what it does |
//! |---|---|
//! | [`rules`] | the server's rules as ours |
//! | [`code`] | what their code does |
//! | [`clock`] | what comes due, here and there |
//! | [`cause`] | why the fires of a step may differ |

mod cause;
mod clock;
mod code;
mod rules;

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_automation::{
    index::Index,
    loops::MAX_DEPTH,
    matcher::{self, Fire},
    rule::Rule,
    state::tables,
};
use triggerbox_model::{
    changes::{Change, merge},
    error::Error,
    value::{Id, RecordRef},
};
use triggerbox_store::env::Env;

pub use self::cause::Cause;
use self::{
    cause::Seen,
    code::{Code, Place, Stop},
    rules::Unfit,
};
use crate::{
    Data, Verdict,
    writes::{Step, use_up_ids},
};

/// A fire: the rule, and the record.
type Fired = (String, RecordRef);

/// Runs one case.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    data.judge(case, |conn| attempt(data, conn, case))
}

/// A case on its way.
struct Case<'a> {
    case: &'a Json,
    conn: &'a Connection,
    index: Index,
    /// The system's, in which rules are judged.
    system: Env,
    /// The case's user.
    env: Env,
    /// The server's name of each rule, and what its code does.
    rules: BTreeMap<String, (String, Code)>,
    /// Records by the names that the ops give them.
    names: BTreeMap<String, Vec<Id>>,
}

fn attempt(data: &Data, conn: &Connection, case: &Json) -> Result<Verdict, Error> {
    let system = data.env(&json!({ "uid": 1, "su": true }))?;
    tables::upgrade(conn).map_err(database)?;
    let (mut rules, mut refused, mut unread) = (BTreeMap::new(), Vec::new(), None);
    for (number, described) in (0..).zip(list(case, "/rules")) {
        let name = format!("rule-{}", number + 1);
        let saved = case.pointer(&format!("/expected/rules_as_saved/{number}")).cloned().unwrap_or_default();
        let rule = match rules::read(&name, &described, &saved) {
            Ok(rule) => rule,
            Err(Unfit::Python(reason)) => {
                unread.get_or_insert(reason);
                continue;
            }
            Err(Unfit::Unknown(reason)) => return Ok(Verdict::not_run(reason)),
        };
        for finding in rules::problems(conn, &system, &rule)? {
            refused.push((text(&described, "tag"), rule.clone(), finding));
        }
        let body = serde_json::to_string(&rule).map_err(|error| Error::invalid("bad-rule", error.to_string()))?;
        conn.execute("INSERT INTO engine_rule (name, version, owner, body) VALUES (?, 1, 1, ?)", (&name, body))
            .map_err(database)?;
        let code = match Code::read(&text(&described, "code")) {
            Ok(code) => code,
            Err(Stop::Unread(what)) => return Ok(Verdict::not_run(what)),
            Err(_) => Code::default(),
        };
        rules.insert(name, (text(&described, "tag"), code));
    }
    let steps = list(case, "/expected/steps");
    // What the server refuses to save, or chokes on when it judges it, is refused when it is saved here.
    let is_refused_there = case.pointer("/expected/rule_error").is_some()
        || steps.iter().any(|step| step.get("error").is_some()) && (unread.is_some() || !refused.is_empty());
    let shown = || refused.iter().map(|(_, _, finding)| finding.to_string()).collect::<Vec<_>>().join("; ");
    match (is_refused_there, unread, refused.first()) {
        (true, None, None) => return Ok(Verdict::failed("the rule is refused", "it is saved")),
        (true, _, _) => return Ok(Verdict::Passed),
        (false, Some(reason), _) => return Ok(Verdict::not_run(reason)),
        (false, None, Some(_)) => {
            let causes: Option<BTreeSet<Cause>> = refused
                .iter()
                .map(|(tag, rule, finding)| cause::refusal(&system.schema, &steps, tag, rule, finding))
                .collect();
            return Ok(match causes {
                Some(causes) => Verdict::otherwise(&causes, "a rule".to_owned(), shown()),
                None => Verdict::failed("a rule", shown()),
            });
        }
        (false, None, None) => {}
    }
    let index = Index::load(conn, system.clone(), None).map_err(|error| Error::invalid("rules", error.to_string()))?;
    let env = data.env(case)?;
    Case { case, conn, index, system, env, rules, names: BTreeMap::new() }.steps(&steps)
}

/// What came of one step.
#[derive(Default)]
struct Done {
    fires: Vec<Fired>,
    seen: Seen,
    /// What a rule's code raised.
    raised: Option<String>,
}

impl Case<'_> {
    fn steps(&mut self, steps: &[Json]) -> Result<Verdict, Error> {
        let (mut differs, mut causes, mut looked) = (None, BTreeSet::new(), None);
        for (op, wanted) in list(self.case, "/ops").iter().zip(steps) {
            let expected = fires(wanted);
            let shown = format!("{op} => {expected:?}");
            self.execute("SAVEPOINT op")?;
            let (done, of_clock) = match text(op, "op") == "tick" {
                true => {
                    let until = clock::moment(&text(op, "to"))?;
                    let (done, by_clock) = self.tick(&expected, looked, until)?;
                    looked = Some(until);
                    (Ok(done), by_clock)
                }
                false => (self.step(op), None),
            };
            let done = match (done, wanted.get("error")) {
                (Err(Stop::Unread(what)), _) => return Ok(Verdict::not_run(what)),
                (Ok(Done { raised: None, .. }), Some(error)) => {
                    return Ok(Verdict::failed(format!("{op} => {error}"), "it is done"));
                }
                // The server undoes what a rule raised an error about.
                (Ok(Done { raised: Some(_), .. }), Some(_)) => {
                    self.undo()?;
                    causes.insert(Cause::Refuses);
                    differs = Some((shown, "it is done".to_owned()));
                    continue;
                }
                (Ok(Done { raised: Some(what), .. }), None) => return Ok(Verdict::failed(shown, what)),
                (Err(Stop::Failed(error)), Some(_)) => {
                    self.execute("ROLLBACK TO op; RELEASE op")?;
                    use_up_ids(self.conn, op, &error)?;
                    continue;
                }
                (Err(Stop::Failed(error)), None) => {
                    return Ok(Verdict::failed(shown, format!("{}: {error}", error.code)));
                }
                (Err(Stop::Raised(what)), _) => return Ok(Verdict::failed(shown, what)),
                (Ok(done), None) => done,
            };
            self.execute("RELEASE op")?;
            let got = format!("{:?}", done.fires);
            let Some(found) = of_clock.or_else(|| done.seen.judge(op, &expected, &done.fires)) else {
                return Ok(Verdict::failed(shown, got));
            };
            if !found.is_empty() {
                let parts = done.seen.parts(&found);
                causes.extend(found);
                differs = Some((shown, got));
                if parts {
                    break;
                }
            }
        }
        Ok(match differs {
            None => Verdict::Passed,
            Some((expected, got)) => Verdict::otherwise(&causes, expected, got),
        })
    }

    /// Does an op, and what the rules do that it fires.
    fn step(&mut self, op: &Json) -> Result<Done, Stop> {
        let mut step = Step::new(&self.env, self.case, self.conn, &mut self.names, op);
        step.run()?;
        let changes = std::mem::take(&mut step.changes);
        let mut done = self.done();
        self.settle(vec![(vec![changes], 0)], &mut done, HashSet::new())?;
        Ok(done)
    }

    /// What the clock fires. With it, why that differs, if it does and is known.
    fn tick(
        &mut self,
        expected: &[Fired],
        looked: Option<Timestamp>,
        until: Timestamp,
    ) -> Result<(Done, Option<BTreeSet<Cause>>), Error> {
        self.system.now = until;
        self.env.now = until;
        let mut done = self.done();
        let due = clock::due(self.conn, &self.system, &self.index, looked.unwrap_or(Timestamp::UNIX_EPOCH), until)?;
        let there = clock::due_there(self.conn, &self.system, &self.index, looked, until)?;
        let is_otherwise = self.fired(&due) != self.fired(&there);
        // What follows is judged on what the server fires.
        let (mut causes, due) = match is_otherwise {
            true => (clock::causes(&self.index), there),
            false => (BTreeSet::new(), due),
        };
        done.fires = self.fired(&due);
        let mut changes = Vec::new();
        for (rule, id) in &due {
            match self.code(rule, *id) {
                Ok(made) => changes.push((made, 1)),
                Err(Stop::Raised(what)) => done.raised = Some(what),
                Err(Stop::Failed(error)) => return Err(error),
                Err(Stop::Unread(what)) => return Err(Error::invalid("unread", what)),
            }
        }
        match self.settle(changes, &mut done, HashSet::new()) {
            Ok(()) => {}
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Raised(what) | Stop::Unread(what)) => return Err(Error::invalid("unread", what)),
        }
        if !is_otherwise {
            return Ok((done, None));
        }
        let judged = done.seen.judge(&Json::Null, expected, &done.fires);
        causes.extend(judged.iter().flatten().copied());
        Ok((done, judged.map(|_| causes)))
    }

    /// Nothing done yet.
    fn done(&self) -> Done {
        let is_busy = |rule: &Rule| self.rules.get(&rule.name).is_some_and(|(_, code)| !code.is_empty());
        let rules = self.index.all().iter().map(|armed| (self.tag(&armed.rule), &armed.rule, is_busy(&armed.rule)));
        Done { seen: Seen::new(rules), ..Done::default() }
    }

    fn fired(&self, due: &[(Rule, Id)]) -> Vec<Fired> {
        let fired = due.iter().map(|(rule, id)| (self.tag(rule), record(rule, *id)));
        fired.collect()
    }

    fn tag(&self, rule: &Rule) -> String {
        self.rules.get(&rule.name).map(|(tag, _)| tag.clone()).unwrap_or_default()
    }

    /// Fires on changes, and on what the code of those rules changes, as the engine does: each run is a transaction of its own,
    /// and in one chain a rule fires once for the same record and the same changed fields.
    fn settle(
        &mut self,
        first: Vec<(Vec<Vec<Change>>, u32)>,
        done: &mut Done,
        mut guarded: HashSet<(String, RecordRef, String)>,
    ) -> Result<(), Stop> {
        let mut waiting: VecDeque<_> = first.into();
        while let Some((steps, depth)) = waiting.pop_front() {
            let changes = merge(steps.iter().flatten().cloned());
            let fires = matcher::fires(self.conn, &self.system, &self.index, &changes, &steps)?;
            for change in &changes {
                done.seen.changes.push(change.clone());
            }
            let mut runs = Vec::new();
            for Fire { rule, record: id, fields, broken, .. } in fires {
                let record = record(&rule.rule, id);
                if broken.is_some()
                    || depth > MAX_DEPTH
                    || !guarded.insert((rule.rule.name.clone(), record.clone(), fields)) && depth > 0
                {
                    continue;
                }
                done.fires.push((self.tag(&rule.rule), record));
                runs.push((rule.rule.clone(), id));
            }
            for (rule, id) in runs {
                match self.code(&rule, id) {
                    Ok(changes) => waiting.push_back((changes, depth + 1)),
                    Err(Stop::Raised(what)) => done.raised = Some(what),
                    Err(stop) => return Err(stop),
                }
            }
        }
        Ok(())
    }

    /// Runs a rule's code on a record.
    fn code(&self, rule: &Rule, id: Id) -> Result<Vec<Vec<Change>>, Stop> {
        let Some((_, code)) = self.rules.get(&rule.name).filter(|(_, code)| !code.is_empty()) else {
            return Ok(Vec::new());
        };
        let (env, mut names, mut changes) = (self.env.clone().sudo(), BTreeMap::new(), Vec::new());
        let nothing = json!({});
        let mut call = |op: &Json| {
            let mut step = Step::new(&env, &nothing, self.conn, &mut names, op);
            let answer = step.run();
            changes.push(std::mem::take(&mut step.changes));
            answer
        };
        let mut place = Place { schema: &self.env.schema, call: &mut call };
        let model = rule.model.clone().unwrap_or_default();
        code::run(code, &mut place, &model, id)?;
        Ok(changes)
    }

    /// Undoes an op as the server does: the ids that it gave out are used up.
    fn undo(&self) -> Result<(), Error> {
        let mut statement = self.conn.prepare("SELECT name, next FROM tb_sequence").map_err(database)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(database)?;
        let used: Vec<(String, i64)> = rows.collect::<Result<_, _>>().map_err(database)?;
        self.execute("ROLLBACK TO op; RELEASE op")?;
        let sql = "UPDATE tb_sequence SET next = max(next, ?2) WHERE name = ?1";
        used.iter().try_for_each(|row| self.conn.execute(sql, (&row.0, row.1)).map(drop)).map_err(database)
    }

    fn execute(&self, sql: &str) -> Result<(), Error> {
        self.conn.execute_batch(sql).map_err(database)
    }
}

fn record(rule: &Rule, id: Id) -> RecordRef {
    RecordRef::new(rule.model.clone().unwrap_or_default(), id)
}

fn fires(step: &Json) -> Vec<Fired> {
    let fires = step.get("fires").and_then(Json::as_array).into_iter().flatten();
    let fire = |fire: &Json| {
        let id = fire.get("id").and_then(Json::as_u64).and_then(|id| Id::try_from(id).ok()).unwrap_or_default();
        (text(fire, "rule"), RecordRef::new(text(fire, "model"), id))
    };
    fires.map(fire).collect()
}

fn list(case: &Json, pointer: &str) -> Vec<Json> {
    case.pointer(pointer).and_then(Json::as_array).cloned().unwrap_or_default()
}

fn text(value: &Json, key: &str) -> String {
    value.get(key).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn database(error: rusqlite::Error) -> Error {
    Error::invalid("database", error.to_string())
}
