//! What a user may do.

use serde_json::{Value as Json, json};
use triggerbox_model::{
    call::{Operation, Page},
    domain::{Domain, Operator},
    error::Error,
    value::Id,
};
use triggerbox_store::{
    env::Env,
    query, rights,
    write::{Place, Values, Writer, json},
};

use crate::{
    Data, Verdict,
    answers::{self, expected_error, same, same_kind},
};

/// Runs one case.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    let expected = case.get("expected").unwrap_or(&Json::Null);
    let got = match data.scratch(|conn| ask(data, conn, case)) {
        Ok(Some(got)) => got,
        Ok(None) => return Verdict::not_run("the operation is not known here"),
        Err(error) => return Verdict::failed(expected.to_string(), error.to_string()),
    };
    match (expected_error(expected), got) {
        (Some(class), Err(error)) if same_kind(class, &error) => Verdict::Passed,
        (None, Ok(got)) if same(expected, &got) => Verdict::Passed,
        (_, Ok(got)) => Verdict::failed(expected.to_string(), got.to_string()),
        (_, Err(error)) => Verdict::failed(expected.to_string(), answers::shown(&error)),
    }
}

/// The answer; none for an operation that there is not.
fn ask(data: &Data, conn: &rusqlite::Connection, case: &Json) -> Option<Result<Json, Error>> {
    let text = |key: &str| case.get(key).and_then(Json::as_str).unwrap_or_default();
    let model = text("model");
    let env = match data.env(case) {
        Ok(env) => env,
        Err(error) => return Some(Err(error)),
    };
    let domain = || Domain::from_json(case.get("domain").unwrap_or(&json!([])));
    let ids: Vec<Id> = case.get("ids").cloned().and_then(|ids| serde_json::from_value(ids).ok()).unwrap_or_default();
    Some(match text("op") {
        "search" => domain().and_then(|domain| {
            // The cases ask which records, not in which order.
            let mut ids = query::search(conn, &env, model, &domain, &Page::default())?;
            ids.sort_unstable();
            Ok(json!({"ids": ids}))
        }),
        "search_count" => domain().and_then(|domain| {
            let count = query::search_count(conn, &env, model, &domain)?;
            Ok(json!({"count": count}))
        }),
        "name_search" => domain().and_then(|domain| {
            let links = query::name_search(conn, &env, model, text("name"), Operator::Ilike, &domain, 100)?;
            Ok(json!({"ids": links.iter().map(|link| link.id).collect::<Vec<_>>()}))
        }),
        "has_access" => {
            let all = [Operation::Read, Operation::Write, Operation::Create, Operation::Unlink];
            let answers = all.into_iter().map(|operation| {
                let may = rights::has_access(conn, &env, model, &ids, operation)?;
                Ok((operation.name().to_owned(), Json::Bool(may)))
            });
            answers.collect::<Result<_, Error>>().map(Json::Object)
        }
        "read" => {
            let fields: Vec<String> =
                case.get("fields").cloned().and_then(|fields| serde_json::from_value(fields).ok()).unwrap_or_default();
            query::read::read(conn, &env, model, &ids, &fields).map(|rows| {
                let rows = rows.iter().map(|row| {
                    let mut record = serde_json::Map::new();
                    record.insert("id".to_owned(), Json::from(row.id));
                    for (field, value) in fields.iter().zip(&row.values) {
                        record.insert(field.clone(), answers::value(value));
                    }
                    Json::Object(record)
                });
                json!({"rows": rows.collect::<Vec<_>>()})
            })
        }
        "create" => writing(conn, &env, |writer| {
            let values = values(&env, model, case)?;
            let ids = writer.create(model, vec![values])?;
            Ok(json!({"id": ids.first()}))
        }),
        "write" => writing(conn, &env, |writer| {
            writer.write(model, &ids, values(&env, model, case)?)?;
            Ok(json!({"ok": true}))
        }),
        "unlink" => writing(conn, &env, |writer| {
            writer.unlink(model, &ids)?;
            Ok(json!({"ok": true}))
        }),
        _ => return None,
    })
}

/// One operation, with what follows from it at the end of a call.
fn writing(
    conn: &rusqlite::Connection,
    env: &Env,
    work: impl FnOnce(&mut Writer<'_>) -> Result<Json, Error>,
) -> Result<Json, Error> {
    let mut place = Place::committed();
    let mut writer = Writer::new(conn, env, &mut place);
    let answer = work(&mut writer)?;
    writer.finish()?;
    Ok(answer)
}

fn values(env: &Env, model: &str, case: &Json) -> Result<Values, Error> {
    let given = case.get("vals").and_then(Json::as_object).cloned().unwrap_or_default();
    json::values(&env.schema, env.schema.model(model)?, &given)
}
