//! Sends the triggering records to another service as JSON, one request for each: Odoo's action "Send Webhook
//! Notification", with the same body, and with a key by which the service can tell a repeated delivery.

use triggerbox::{
    http::Request,
    prelude::*,
    serde_json::{Map, Value as Json},
};

fn run(event: &Event) -> Result<Outcome> {
    let url: String = event.param("url")?;
    let list: String = event.param("fields")?;
    let fields: Vec<&str> = list.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    let must_succeed: bool = event.param("must_succeed")?;
    let mut refused = 0;
    for record in event.records()? {
        let request = Request::post(&url)
            .header("idempotency-key", format!("{}-{}", event.run_id, record.id))
            .json(&body(event, &record, &fields)?)?;
        let answer = request.send()?;
        if !(200..300).contains(&answer.status) {
            if must_succeed {
                fail!("{url} answered {} for {record}", answer.status);
            }
            warn!("{url} answered {} for {record}", answer.status);
            refused += 1;
        }
    }
    Ok(Outcome::message(format!("{} sent, {refused} refused", event.records.len())))
}

/// As Odoo sends it: the rule, the record, and its fields; links as ids, empty values as `false`.
fn body(event: &Event, record: &RecordRef, fields: &[&str]) -> Result<Json> {
    let mut body = Map::new();
    body.insert("_action".to_owned(), Json::from(event.rule.as_str()));
    body.insert("_id".to_owned(), Json::from(record.id));
    body.insert("_model".to_owned(), Json::from(record.model.as_str()));
    body.insert("id".to_owned(), Json::from(record.id));
    if !fields.is_empty() {
        let row = record.read(fields)?;
        for field in fields {
            body.insert((*field).to_owned(), plain(row.value(field)?)?);
        }
    }
    Ok(Json::Object(body))
}

fn plain(value: &Value) -> Result<Json> {
    Ok(match value {
        Value::Unset => Json::Bool(false),
        Value::Boolean(flag) => Json::from(*flag),
        Value::Integer(number) => Json::from(*number),
        Value::Number(number) => Json::from(*number),
        Value::Text(text) | Value::Date(text) => Json::from(text.as_str()),
        Value::Datetime(text) => Json::from(text.replace('T', " ").trim_end_matches('Z')),
        Value::Many2one(link) => Json::from(link.id),
        Value::Ids(ids) => Json::from(ids.as_slice()),
        Value::Reference(record) => Json::from(format!("{},{}", record.model, record.id)),
        Value::Json(text) => triggerbox::serde_json::from_str(text)?,
        Value::Pending => fail!("a value that is known only when the run is applied cannot be sent"),
        Value::Binary(_) => fail!("files are not sent"),
    })
}

triggerbox::script!(run);
