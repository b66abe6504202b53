//! Databases brought to newer models.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use triggerbox_model::schema::{FieldKind, Schema};
use triggerbox_store::{
    db::{Database, Mode},
    ddl::{VERSION, describe, fingerprint, meta, set_meta, upgrade},
    load::{DataSet, import},
    models,
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

/// Models, fields, and what is left.
type Done = (Vec<String>, Vec<String>, Vec<String>);

fn to(conn: &Connection, schema: &Schema, version: u32) -> Result<Done, String> {
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
fn what_need_not_be_unique_any_more_is_not_kept_so() {
    let conn = Connection::open_in_memory().unwrap();
    let with = |unique: &[&str]| {
        let mut schema = schema(json!({"name": {"type": "char"}, "code": {"type": "char"}}));
        for field in unique {
            let constraint = json!({"kind": "unique", "fields": [field], "message": "once"});
            schema.models["box"].constraints.push(serde_json::from_value(constraint).unwrap());
        }
        schema
    };
    import(&conn, &DataSet::new(with(&["name", "code"]), Default::default(), Default::default()).unwrap()).unwrap();
    let add = |name: &str, code: &str| conn.execute("INSERT INTO box (name, code) VALUES (?1, ?2)", [name, code]);
    add("a", "1").unwrap();
    assert!(add("a", "2").is_err() && add("b", "1").is_err());
    to(&conn, &with(&["code"]), 1).unwrap();
    add("a", "2").unwrap();
    assert!(add("b", "1").is_err(), "the other one stays");
}

#[test]
fn a_schema_has_a_fingerprint() {
    let one = fingerprint(&schema(before())).unwrap();
    assert_eq!(one, fingerprint(&schema(before())).unwrap());
    assert_ne!(one, fingerprint(&schema(json!({"name": {"type": "char"}}))).unwrap());
    assert_eq!(one.len(), 64);
}

/// A file of the program's own models, with what its description says of them changed by hand.
fn changed_by_hand(path: &Path, change: impl FnOnce(&Connection, &mut Schema)) {
    drop(Database::create(path, &models::base().unwrap()).unwrap());
    let conn = Connection::open(path).unwrap();
    let (mut schema, _) = describe(&conn).unwrap();
    change(&conn, &mut schema);
    set_meta(&conn, "schema", &schema).unwrap();
}

#[test]
fn a_database_with_older_models_gets_the_newest_when_it_is_opened_for_writing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    // As a program would have made it that did not know the field `priority` yet.
    changed_by_hand(&path, |conn, schema| {
        schema.models["crm.lead"].fields.shift_remove("priority").unwrap();
        conn.execute("ALTER TABLE crm_lead DROP COLUMN priority", []).unwrap();
        set_meta(conn, VERSION, &(models::VERSION - 1)).unwrap();
    });
    let fields = |database: &Database| database.schema().models["crm.lead"].fields.contains_key("priority");
    assert!(!fields(&Database::open(&path, Mode::Read).unwrap()), "reading changes nothing");
    let database = Database::open(&path, Mode::Write).unwrap();
    assert!(fields(&database));
    let snapshot = database.snapshot().unwrap();
    assert!(snapshot.prepare("SELECT priority FROM crm_lead").is_ok());
    assert_eq!(meta::<u32>(&snapshot, VERSION).unwrap(), Some(models::VERSION));
}

#[test]
fn newer_models_are_refused_for_writing_and_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    changed_by_hand(&path, |conn, _| set_meta(conn, VERSION, &(models::VERSION + 1)).unwrap());
    let before = std::fs::read(&path).unwrap();
    let error = Database::open(&path, Mode::Write).unwrap_err();
    assert_eq!(error.code(), "newer-schema");
    assert!(error.to_string().contains("use the newer program"), "{error}");
    assert!(Database::open(&path, Mode::Read).is_ok());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn models_that_cannot_be_brought_up_to_date_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    changed_by_hand(&path, |conn, schema| {
        schema.models["crm.lead"].fields.shift_remove("priority").unwrap();
        schema.models["crm.lead"].fields["name"].kind = FieldKind::Integer;
        conn.execute("ALTER TABLE crm_lead DROP COLUMN priority", []).unwrap();
        set_meta(conn, VERSION, &(models::VERSION - 1)).unwrap();
    });
    let error = Database::open(&path, Mode::Write).unwrap_err();
    assert_eq!(error.code(), "incompatible-schema");
    assert!(error.to_string().contains("crm.lead.name (integer before, char now)"), "{error}");
    let conn = Connection::open(&path).unwrap();
    assert!(conn.prepare("SELECT priority FROM crm_lead").is_err(), "nothing of it was done");
    assert_eq!(meta::<u32>(&conn, VERSION).unwrap(), Some(models::VERSION - 1));
}

#[test]
fn imported_models_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let data = DataSet::new(schema(before()), Default::default(), Default::default()).unwrap();
    drop(Database::create(&path, &data).unwrap());
    assert_eq!(*Database::open(&path, Mode::Write).unwrap().schema().as_ref(), data.schema);
}

#[test]
fn the_version_is_raised_whenever_the_models_change() {
    let base = models::base().unwrap();
    assert_eq!(
        (models::VERSION, fingerprint(&base.schema).unwrap().as_str()),
        (4, "57bc094f175a14604d659907d136042fb639afb1ddc3c57b980000dc5a8e6b63"),
        "raise `models::VERSION`, and note here the fingerprint that goes with it"
    );
}

#[test]
fn a_copy_in_an_older_format_can_be_made_and_made_a_database_of() {
    let folder = tempfile::tempdir().unwrap();
    let [old, copy, restored, newer] = ["old", "copy", "restored", "newer"].map(|name| folder.path().join(name));
    drop(Database::create(&old, &models::base().unwrap()).unwrap());
    let set = |path: &Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    set(&old, "DROP INDEX mail_message__model__res_id__date__index; PRAGMA user_version = 1");
    Database::backup_of(&old, &copy).unwrap();
    assert_eq!(Database::open(&copy, Mode::Read).unwrap_err().code(), "older-database", "as it was");
    drop(Database::restore(&copy, &restored).unwrap());
    Database::open(&restored, Mode::Read).unwrap();
    assert_eq!(Database::restore(&copy, &restored).unwrap_err().code(), "file-exists");

    // What cannot be brought up to date is not there at all.
    set(&copy, "UPDATE tb_meta SET value = '99' WHERE key = 'schema_version'");
    let refused = Database::restore(&copy, &newer).unwrap_err();
    assert_eq!((refused.code(), newer.exists()), ("newer-schema", false), "{refused}");
    set(&copy, "PRAGMA user_version = 99");
    assert_eq!(Database::backup_of(&copy, &newer).unwrap_err().code(), "newer-database");
}

#[test]
fn indexes_that_were_thought_of_later_reach_older_files() {
    let folder = tempfile::tempdir().unwrap();
    for own in [true, false] {
        let path = folder.path().join(format!("{own}.db"));
        let mut data = models::base().unwrap();
        data.models_version = data.models_version.filter(|_| own);
        drop(Database::create(&path, &data).unwrap());
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("DROP INDEX mail_message__model__res_id__date__index; PRAGMA user_version = 1").unwrap();
        drop(conn);
        assert_eq!(Database::open(&path, Mode::Read).unwrap_err().code(), "older-database");
        let database = Database::open(&path, Mode::Write).unwrap();
        let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'mail_message__model__res_id__date__index'";
        let found: i64 = database.snapshot().unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, 1, "{own}");
    }
}
