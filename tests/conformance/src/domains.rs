//! Which records match a domain: by SQL, and in memory.

use rusqlite::Connection;
use serde_json::Value as Json;
use triggerbox_model::{
    call::Page,
    domain::{Domain, eval},
    error::Error,
    value::Id,
};
use triggerbox_store::{
    env::Env,
    query::{self, records::Stored},
};

use crate::{Data, Verdict};

/// Runs one case: what SQL finds must be what the server found, and the in-memory evaluation must find the same records.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    let expected = case.get("expected").and_then(|expected| expected.get("ids")).map(ids_of);
    let by_sql = data.env(case).and_then(|env| by_sql(&data.conn, &env, case));
    let wanted = match (&expected, by_sql) {
        (None, Err(_)) => return Verdict::Passed,
        (None, Ok(found)) => {
            let error = case.get("expected").and_then(|expected| expected.get("error"));
            return Verdict::failed(
                error.map_or_else(String::new, Json::to_string),
                format!("{} records", found.len()),
            );
        }
        (Some(_), Err(error)) => return Verdict::failed(shown(expected.as_deref()), format!("error: {error}")),
        (Some(wanted), Ok(found)) => {
            // With ties in the order, the server's choice was arbitrary.
            let ties = case.get("ties").and_then(Json::as_bool) == Some(true);
            let untied = case.get("expected").and_then(|expected| expected.get("ids_id_tiebreak")).map(ids_of);
            let wanted = if ties { untied.unwrap_or_else(|| wanted.clone()) } else { wanted.clone() };
            if found != wanted {
                return Verdict::failed(shown(Some(&wanted)), shown(Some(&found)));
            }
            wanted
        }
    };
    if is_part(case) {
        return Verdict::Passed;
    }
    match data.env(case).and_then(|env| in_memory(&data.conn, &env, case)) {
        Err(error) => Verdict::failed(shown(expected.as_deref()), format!("in memory: error: {error}")),
        Ok(found) => {
            let mut wanted = wanted;
            wanted.sort_unstable();
            if found == wanted {
                Verdict::Passed
            } else {
                Verdict::failed(shown(Some(&wanted)), format!("in memory: {}", shown(Some(&found))))
            }
        }
    }
}

/// Whether the case asks for a part of the records only, which says nothing about the others.
fn is_part(case: &Json) -> bool {
    let number = |key| case.get(key).and_then(Json::as_i64).unwrap_or(0);
    number("limit") != 0 || number("offset") != 0
}

fn ids_of(json: &Json) -> Vec<Id> {
    let ids = json.as_array().map_or(&[][..], Vec::as_slice);
    ids.iter().filter_map(Json::as_u64).filter_map(|id| Id::try_from(id).ok()).collect()
}

fn shown(ids: Option<&[Id]>) -> String {
    match ids {
        None => "an error".to_owned(),
        Some(ids) if ids.len() > 40 => {
            let first: Vec<String> = ids.iter().take(40).map(Id::to_string).collect();
            format!("{} records: {}…", ids.len(), first.join(" "))
        }
        Some(ids) => format!("{} records: {}", ids.len(), ids.iter().map(Id::to_string).collect::<Vec<_>>().join(" ")),
    }
}

fn question(case: &Json) -> Result<(&str, Domain, Page), Error> {
    let wrong = |what: &str| Error::invalid("bad-case", format!("the case has a wrong {what}"));
    let model = case.get("model").and_then(Json::as_str).ok_or_else(|| wrong("model"))?;
    let domain = Domain::from_json(case.get("domain").unwrap_or(&Json::Null))?;
    let count = |key: &str| match case.get(key) {
        None | Some(Json::Null | Json::Bool(false)) => Ok(None),
        Some(number) => {
            number.as_u64().and_then(|number| u32::try_from(number).ok()).map(Some).ok_or_else(|| wrong(key))
        }
    };
    let page = Page {
        offset: count("offset")?.unwrap_or(0),
        limit: count("limit")?,
        order: case.get("order").and_then(Json::as_str).map(str::to_owned),
        archived: false,
    };
    Ok((model, domain, page))
}

fn by_sql(conn: &Connection, env: &Env, case: &Json) -> Result<Vec<Id>, Error> {
    let (model, domain, page) = question(case)?;
    query::search(conn, env, model, &domain, &page)
}

fn in_memory(conn: &Connection, env: &Env, case: &Json) -> Result<Vec<Id>, Error> {
    let (model, domain, _) = question(case)?;
    let filter = query::filter(conn, env, model, &domain, false)?;
    eval::filter(&Stored(conn), model, &filter)
}
