//! Databases brought to newer models.
#![allow(clippy::unwrap_used, reason = "helpers of tests may be as blunt as tests")]

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_model::schema::Schema;
use triggerbox_store::{
    ddl::{describe, fingerprint, upgrade},
    load::{DataSet, import},
    rights::Rights,
};

fn schema(fields: Json) -> Schema {
    serde_json::from_value(json!({"box": {"description": "Box", "fields": fields}})).unwrap()
}

fn before() -> Json {
    json!({"name": {"type": "char"}, "weight": {"type": "float"}})
}

fn database() -> Connection {
    let records =
        serde_json::from_value(json!({"records": {"box": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}})).unwrap();
    let conn = Connection::open_in_memory().unwrap();
    import(&conn, &DataSet::new(schema(before()), records, Default::default()).unwrap()).unwrap();
    conn
}

fn to(conn: &Connection, schema: &Schema, version: u32) -> Result<(Vec<String>, Vec<String>, Vec<String>), String> {
    let done = upgrade(conn, schema, &Rights::default(), version).map_err(|error| error.code)?;
    Ok((done.models, done.fields, done.left))
}

#[test]
fn what_is_new_is_added_and_what_is_gone_is_kept() {
    let conn = database();
    let mut new = schema(json!({
        "name": {"type": "char", "translate": true, "index": true},
        "colour": {"type": "selection", "selection": [["red", "Red"]], "default": "red"},
        "label_ids": {"type": "many2many", "relation": "label"}}));
    let label: Schema =
        serde_json::from_value(json!({"label": {"description": "Label", "fields": {"name": {"type": "char"}}}}))
            .unwrap();
    new.models.extend(label.models);
    assert_eq!(
        to(&conn, &new, 1).unwrap(),
        (vec!["label".into()], vec!["box.colour".into()], vec!["box.weight".into()])
    );
    let colour: String = conn.query_row("SELECT colour FROM box WHERE id = 2", [], |row| row.get(0)).unwrap();
    assert_eq!(colour, "red");
    conn.execute("INSERT INTO box_label_ids_rel (box_id, label_id) VALUES (1, 1)", []).unwrap();
    assert_eq!(describe(&conn).unwrap().0, new);
    assert_eq!(to(&conn, &new, 1).unwrap(), (vec![], vec![], vec![]));

    // A field that comes back finds its values.
    assert_eq!(to(&conn, &schema(before()), 2).unwrap().1, Vec::<String>::new());
}

#[test]
fn a_downgrade_is_refused_and_so_is_a_change_without_a_new_version() {
    let conn = database();
    let new = schema(json!({"name": {"type": "char"}, "size": {"type": "integer"}}));
    assert_eq!(to(&conn, &new, 0).unwrap_err(), "changed-schema");
    to(&conn, &new, 3).unwrap();
    assert_eq!(to(&conn, &schema(before()), 2).unwrap_err(), "newer-schema");
    assert_eq!(describe(&conn).unwrap().0, new);
}

#[test]
fn a_failed_upgrade_leaves_everything_as_it_was() {
    let conn = database();
    let clash = schema(json!({"name": {"type": "integer"}, "size": {"type": "integer"}}));
    assert_eq!(to(&conn, &clash, 1).unwrap_err(), "incompatible-schema");

    let mut unique = schema(json!({"name": {"type": "char"}, "size": {"type": "integer"}}));
    let constraint = serde_json::from_value(json!({"kind": "unique", "fields": ["name"], "message": "once"})).unwrap();
    unique.models["box"].constraints.push(constraint);
    assert_eq!(to(&conn, &unique, 1).unwrap_err(), "database");
    assert_eq!(describe(&conn).unwrap().0, schema(before()));
    assert!(conn.prepare("SELECT size FROM box").is_err());
}

#[test]
fn a_schema_has_a_fingerprint() {
    let one = fingerprint(&schema(before())).unwrap();
    assert_eq!(one, fingerprint(&schema(before())).unwrap());
    assert_ne!(one, fingerprint(&schema(json!({"name": {"type": "char"}}))).unwrap());
    assert_eq!(one.len(), 64);
}
