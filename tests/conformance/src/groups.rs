//! Groups with aggregates.
//!
//! The label of a date bucket is presentation, made from the server's locale data: only its start is compared.

use serde_json::{Map, Value as Json, json};
use triggerbox_model::{
    call::{Group, GroupPage},
    domain::{Domain, Literal},
    error::Error,
    value::Value,
};
use triggerbox_store::group::read_group;

use crate::{
    Data, Verdict,
    answers::{self, expected_error, same, same_kind},
};

/// Runs one case.
#[must_use]
pub fn run(data: &Data, case: &Json) -> Verdict {
    let expected = case.get("expected").unwrap_or(&Json::Null);
    let got = ask(data, case);
    match (expected_error(expected), got) {
        (Some(class), Err(error)) if same_kind(class, &error) => Verdict::Passed,
        (None, Ok(got)) => {
            let expected = without_labels(expected.get("groups").unwrap_or(&Json::Null), case);
            let ties = case.get("ties_possible").and_then(Json::as_bool).unwrap_or(false);
            let (expected, got) =
                if ties && !same(&expected, &got) { (sorted(expected), sorted(got)) } else { (expected, got) };
            if same(&expected, &got) { Verdict::Passed } else { Verdict::failed(expected.to_string(), got.to_string()) }
        }
        (_, Ok(got)) => Verdict::failed(expected.to_string(), got.to_string()),
        (_, Err(error)) => Verdict::failed(expected.to_string(), answers::shown(&error)),
    }
}

fn ask(data: &Data, case: &Json) -> Result<Json, Error> {
    let env = data.env(case)?;
    let text = |key: &str| case.get(key).and_then(Json::as_str);
    let texts = |key: &str| -> Vec<String> {
        let items = case.get(key).and_then(Json::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let number = |key: &str| case.get(key).and_then(Json::as_u64).and_then(|number| u32::try_from(number).ok());
    let domain = Domain::from_json(case.get("domain").unwrap_or(&json!([])))?;
    let having = case.get("having").map(Literal::from_json).transpose()?;
    let page = GroupPage {
        offset: number("offset").unwrap_or(0),
        limit: number("limit"),
        order: text("order").map(str::to_owned),
        having: having.map(|having| having.to_string()),
        archived: false,
    };
    // The formatted call gives records as lists of ids.
    let aggregates: Vec<String> =
        texts("aggregates").iter().map(|spec| spec.replace(":recordset", ":array_agg")).collect();
    let model = text("model").unwrap_or_default();
    let groups = read_group(&data.conn, &env, model, &domain, &texts("groupby"), &aggregates, &page)?;
    Ok(Json::Array(groups.iter().map(group).collect::<Result<_, _>>()?))
}

fn group(group: &Group) -> Result<Json, Error> {
    let mut row = Map::new();
    for key in &group.keys {
        let value = match &key.value {
            Value::Many2one(link) => json!([link.id, link.name.clone().map_or(Json::Bool(false), Json::from)]),
            other => answers::value(other),
        };
        row.insert(key.name.clone(), value);
    }
    for aggregate in &group.aggregates {
        row.insert(aggregate.name.clone(), answers::value(&aggregate.value));
    }
    row.insert("__extra_domain".to_owned(), normal(&Domain::parse(&group.domain)?));
    Ok(Json::Object(row))
}

fn normal(domain: &Domain) -> Json {
    domain.to_literal().to_json()
}

/// Buckets by their starts alone, domains in one form.
fn without_labels(groups: &Json, case: &Json) -> Json {
    let Json::Array(groups) = groups else { return groups.clone() };
    let keys = case.get("groupby").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let is_key = |name: &str| keys.iter().any(|key| key.as_str() == Some(name));
    let rows = groups.iter().map(|row| {
        let Json::Object(row) = row else { return row.clone() };
        let cells = row.iter().map(|(name, value)| {
            let value = match value.as_array().map(Vec::as_slice) {
                Some([Json::String(start), Json::String(_)]) if is_key(name) => Json::from(start.as_str()),
                _ if name == "__extra_domain" => Domain::from_json(value).map_or(Json::Null, |domain| normal(&domain)),
                _ => value.clone(),
            };
            (name.clone(), value)
        });
        Json::Object(cells.collect())
    });
    Json::Array(rows.collect())
}

fn sorted(groups: Json) -> Json {
    let Json::Array(mut groups) = groups else { return groups };
    groups.sort_by_key(ToString::to_string);
    Json::Array(groups)
}
