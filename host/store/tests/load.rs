//! Data sets in and out of a database.
use rusqlite::Connection;
use serde_json::json;
use triggerbox_model::error::Error;
use triggerbox_store::load::{DataSet, export, import};

fn set(schema: serde_json::Value, records: serde_json::Value) -> Result<DataSet, Error> {
    DataSet::new(
        serde_json::from_value(schema).unwrap(),
        serde_json::from_value(records).unwrap(),
        serde_json::from_value(json!({"field_groups": {"shelf": {"owner_id": "base.group_user, base.group_system"}}}))
            .unwrap(),
    )
}

fn shelves() -> serde_json::Value {
    json!({
        "shelf": {"description": "Shelf", "parent_store": true, "fields": {
            "name": {"type": "char", "translate": true},
            "parent_id": {"type": "many2one", "relation": "shelf"},
            "owner_id": {"type": "many2one", "relation": "res.partner"},
            "sound": {"type": "boolean"},
            "height": {"type": "float"},
            "since": {"type": "date"},
            "cleaned": {"type": "datetime"},
            "photo": {"type": "binary"},
            "notes": {"type": "json"},
            "about": {"type": "reference"},
            "tag_ids": {"type": "many2many", "relation": "shelf.tag",
                "m2m": {"table": "shelf_tag_rel", "column1": "shelf_id", "column2": "tag_id"}},
            "part_ids": {"type": "one2many", "relation": "shelf", "relation_field": "parent_id"}}},
        "shelf.tag": {"description": "Tag", "fields": {
            "name": {"type": "char"},
            "shelf_ids": {"type": "many2many", "relation": "shelf",
                "m2m": {"table": "shelf_tag_rel", "column1": "tag_id", "column2": "shelf_id"}}}}
    })
}

fn row(field: &str, value: serde_json::Value) -> Result<(), Error> {
    let records = json!({"records": {"shelf": [{"id": 7, field: value}]}});
    import(&Connection::open_in_memory().unwrap(), &set(shelves(), records)?)
}

#[test]
fn what_was_imported_is_exported() {
    let records = json!({
        "now": "2026-06-17 13:05:00",
        "lang_default": "en_US",
        "langs": [{"code": "en_US", "week_start": 7}, {"code": "fr_FR", "week_start": 1}],
        "number_sequences": {"shelf": {"prefix": "S", "padding": 5, "next": 45}},
        "translations": {"shelf": {"1": {"name": "Étagère"}}},
        "xmlids": {"shelf": {"base.shelf": 1}},
        "field_ids": {"1030": ["shelf", "name"]},
        "next_ids": {"shelf": 9},
        "records": {
            "shelf": [
                {"id": 1, "name": "Shelf", "parent_id": false, "owner_id": 3, "sound": true, "height": 1.5,
                    "since": "2026-02-28", "cleaned": "2026-06-17 13:05:00.000001", "photo": "aGk=", "notes": {"a": [1]},
                    "about": "shelf.tag,2", "tag_ids": [1, 2]},
                {"id": 5, "name": "", "parent_id": 1, "owner_id": false, "sound": false, "height": 0.0, "since": false,
                    "cleaned": false, "photo": false, "notes": false, "about": false, "tag_ids": []},
                {"id": 6, "name": false, "parent_id": false, "owner_id": false, "sound": null, "height": null, "since": false,
                    "cleaned": false, "photo": false, "notes": false, "about": false, "tag_ids": []}],
            "shelf.tag": [{"id": 1, "name": false, "shelf_ids": [1]}, {"id": 2, "name": "b", "shelf_ids": [1]}]}
    });
    let set = set(shelves(), records).unwrap();
    let conn = Connection::open_in_memory().unwrap();
    import(&conn, &set).unwrap();
    assert_eq!(export(&conn).unwrap(), set);

    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("SELECT parent_path FROM shelf WHERE id = 5"), "1/5/");
    assert_eq!(one(r#"SELECT "name$i18n" FROM shelf WHERE id = 1"#), r#"{"fr_FR":"Étagère"}"#);
    assert_eq!(one("SELECT CAST(next AS TEXT) FROM tb_sequence WHERE name = 'shelf'").as_str(), "9");
    assert_eq!(one("SELECT CAST(next AS TEXT) FROM tb_sequence WHERE name = 'shelf.tag'").as_str(), "3");
    assert_eq!(one("SELECT typeof(height) FROM shelf WHERE id = 6"), "null");

    let folder = tempfile::tempdir().unwrap();
    set.write(folder.path()).unwrap();
    assert_eq!(DataSet::read(folder.path()).unwrap(), set);
}

#[test]
fn bad_values_are_named_by_file_model_id_and_field() {
    let cases = [
        ("height", json!("high"), "expected a number, found \"high\""),
        ("owner_id", json!("Ann"), "expected a record's id, found \"Ann\""),
        ("since", json!("2026-02-30"), "expected a date such as 2026-06-17, found \"2026-02-30\""),
        (
            "cleaned",
            json!("2026-02-28T10:00:00Z"),
            "expected a time such as 2026-06-17 13:05:00, found \"2026-02-28T10:00:00Z\"",
        ),
        ("sound", json!("yes"), "expected true or false, found \"yes\""),
        ("photo", json!("*"), "expected base64 text, found \"*\""),
        ("about", json!("shelf"), "expected a reference such as res.partner,7, found \"shelf\""),
        ("tag_ids", json!(["x"]), "expected a list of ids, found [\"x\"]"),
        ("parent_id", json!(7), "the record is above itself in the hierarchy"),
    ];
    for (field, value, why) in cases {
        let error = row(field, value).unwrap_err();
        assert_eq!(error.code, "bad-data");
        assert_eq!(error.message, format!("records.json: shelf 7: field `{field}`: {why}"));
        assert_eq!(error.field.as_deref(), Some(field));
    }
    let error = row("colour", json!("red")).unwrap_err();
    assert_eq!(error.message, "records.json: shelf 7: has a value for `colour`, which is not in the schema");
}

#[test]
fn a_failed_import_leaves_nothing_behind() {
    let conn = Connection::open_in_memory().unwrap();
    let records = json!({"records": {"shelf": [{"id": 1}, {"id": 1}]}});
    let error = import(&conn, &set(shelves(), records).unwrap()).unwrap_err();
    assert_eq!(error.message, "records.json: shelf 1: is there twice");
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
    assert_eq!(tables, 0);
}

#[test]
fn a_schema_that_contradicts_itself_is_refused() {
    let schema = json!({"a": {"description": "A", "fields": {"b_ids": {"type": "one2many", "relation": "a"}}}});
    let error = set(schema, json!({})).unwrap_err();
    assert_eq!(error.message, "schema.json: a.b_ids: is a one2many without a relation_field");
}

#[test]
fn files_that_are_no_data_are_named() {
    let folder = tempfile::tempdir().unwrap();
    assert!(DataSet::read(folder.path()).unwrap_err().message.contains("schema.json cannot be read"));
    std::fs::write(
        folder.path().join("schema.json"),
        r#"{"a": {"description": "A", "fields": {"x": {"type": "colour"}}}}"#,
    )
    .unwrap();
    let message = DataSet::read(folder.path()).unwrap_err().message;
    assert!(message.contains("schema.json is not what is expected: unknown variant `colour`"), "{message}");
}
