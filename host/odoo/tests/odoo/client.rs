//! One call: what each kind of no comes to, and values of every type.

use serde_json::json;
use triggerbox_model::{error::ErrorKind, schema::FieldKind, value::Value};
use triggerbox_odoo::{
    Config, OdooError,
    client::{Caller, Client},
    config::Key,
    value::from_json,
};

use crate::lab::{self, Lab};

#[tokio::test]
async fn a_user_is_found_by_their_key() {
    let lab = Lab::open("user").await;
    let backend = lab.backend();
    let account = backend.account("admin").await.unwrap();
    assert_eq!((account.user.login.as_str(), account.user.id), ("admin", 2));
    assert!(account.company.name.is_some());
    // Asked once.
    lab.asked();
    backend.account("admin").await.unwrap();
    assert_eq!(lab.asked(), []);
    lab.close();
}

// Shows: F131
#[tokio::test]
async fn a_wrong_key_an_expired_one_one_of_another_scope_and_somebody_elses_say_so() {
    let lab = Lab::open("keys").await;
    let client = Client::new(&lab.config("")).unwrap();
    let ask = async |key: &str, expires: Option<&str>| {
        let expires = expires.map(|day| day.parse().unwrap());
        let caller = Caller::new("ada".to_owned(), Key::new(key.to_owned()), expires);
        client.call(&caller, "res.users", "context_get", &json!({})).await
    };
    let wrong = ask("not-a-key", None).await.unwrap_err().to_string();
    let why = "does not take the key of `ada`: it is wrong, was removed, has expired, or is not of the scope `rpc`";
    assert!(wrong.contains(why), "{wrong}");
    // Odoo does not tell them apart.
    assert_eq!(ask(lab::OTHER_SCOPE.0, None).await.unwrap_err().to_string(), wrong);
    let over = ask("not-a-key", Some("2026-01-31")).await.unwrap_err().to_string();
    assert!(over.contains("it expired on 2026-01-31; make a new one"), "{over}");

    let backend = lab.backend();
    let config = lab.config("");
    let others = triggerbox_odoo::Backend::new(config, &|_| Some("key-of-tb_sales".to_owned())).unwrap();
    let error = others.account("admin").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the key that is configured for `admin` belongs to `tb_sales`; give `admin` a key of their own"
    );
    assert_eq!(error.into_error().code, "wrong-login");
    let nobody = backend.account("nobody").await.unwrap_err().to_string();
    assert!(nobody.contains("no key of `nobody` is configured"), "{nobody}");
    lab.close();
}

// Shows: F131
#[tokio::test]
async fn a_wrong_database_says_so() {
    let lab = Lab::open("database").await;
    let mut config = lab.config("");
    config.database = "no_such_database".to_owned();
    let backend = triggerbox_odoo::Backend::new(config, &|name| Some(format!("key-of-{name}"))).unwrap();
    let error = backend.account("admin").await.unwrap_err();
    assert!(matches!(error, OdooError::UnknownDatabase { .. }), "{error:?}");
    assert!(error.to_string().contains("has no database `no_such_database`"), "{error}");
    lab.close();
}

#[tokio::test]
async fn each_no_of_odoo_has_its_word_in_the_contract_and_no_traceback() {
    let lab = Lab::open("refusals").await;
    let backend = lab.backend();
    let refused = [
        ("crm.lead", "read", json!({"ids": [1], "fields": ["nope"]}), ErrorKind::Invalid, "unknown-field"),
        ("no.model", "read", json!({"ids": [1], "fields": ["name"]}), ErrorKind::NotFound, "unknown-model"),
        ("crm.lead", "no_method", json!({"ids": [1]}), ErrorKind::NotFound, "unknown-method"),
        ("crm.lead", "write", json!({"ids": [999_999], "vals": {"name": "x"}}), ErrorKind::NotFound, "missing-record"),
        ("crm.lead", "create", json!({"vals_list": [{"expected_revenue": 1}]}), ErrorKind::Rejected, "odoo-refused"),
        ("crm.lead", "search", json!({"domain": [["name", "~~", 1]]}), ErrorKind::Invalid, "bad-call"),
        ("crm.lead", "search", json!({"dommain": []}), ErrorKind::Invalid, "bad-call"),
        ("res.partner", "write", json!({"ids": [1], "vals": {"parent_id": 1}}), ErrorKind::Rejected, "odoo-refused"),
    ];
    for (model, method, body, kind, code) in refused {
        let error = lab.admin(&backend, model, method, body).await.unwrap_err();
        let traceback = error.traceback().unwrap_or_default().to_owned();
        let error = error.into_error();
        assert_eq!((error.kind, error.code.as_str()), (kind, code), "{model}.{method}: {error}");
        assert!(!error.message.contains("Traceback") && !error.message.contains("File \""), "{error}");
        assert!(traceback.starts_with("Traceback"), "kept for administrators: {traceback}");
    }
    let sales = backend.caller("tb_sales").unwrap();
    let body = json!({"domain": [], "fields": ["key"]});
    let error =
        backend.client().call(sales, "ir.config_parameter", "search_read", &body).await.unwrap_err().into_error();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::AccessDenied, "no-access"));
    // Names that are none never get into an address.
    let odd = lab.admin(&backend, "crm.lead/../x", "read", json!({})).await.unwrap_err().into_error();
    assert_eq!(odd.kind, ErrorKind::NotFound);
    lab.close();
}

#[tokio::test]
async fn values_of_every_type_go_there_and_come_back() {
    let lab = Lab::open("values").await;
    let backend = lab.prepared().await;
    let lead = lab::lead(&lab, &backend, json!({"name": "Values"})).await;
    let mut session = lab.session(&backend, "admin").await;
    let written = [
        ("name", Value::text("Ünïcode „quotes“ 'and' \"more\" \u{1F600}")),
        ("description", Value::text("<p>bold <b>text</b></p>")),
        ("expected_revenue", Value::Number(1234.5)),
        ("probability", Value::Number(12.25)),
        ("color", Value::Integer(7)),
        ("active", Value::Boolean(true)),
        ("date_deadline", Value::Date("2027-02-28".to_owned())),
        ("date_open", Value::Datetime("2026-11-21T10:15:00Z".to_owned())),
        ("priority", Value::text("2")),
        ("partner_id", Value::Unset),
        ("user_id", Value::Integer(2)),
        ("tag_ids", Value::Ids(vec![1])),
        ("email_from", Value::Unset),
    ];
    lab::write(&mut session, "crm.lead", lead, &written).await;
    let done = session.commit(&lab.unique("run")).await.unwrap();
    assert!(!done.again);
    let mut session = lab.session(&backend, "admin").await;
    let fields: Vec<&str> = written.iter().map(|(name, _)| *name).collect();
    let row = lab::read(&mut session, "crm.lead", &[lead], &fields).await.remove(0);
    for ((name, written), read) in written.iter().zip(&row.values) {
        match (written, read) {
            (Value::Integer(id), Value::Many2one(link)) => {
                assert_eq!(*id, i32::try_from(link.id).unwrap());
                assert!(link.name.is_some());
            }
            (written, read) => assert_eq!(written, read, "{name}"),
        }
    }
    // What no field of a lead is.
    let partner = lab::create(
        &mut session,
        "res.partner",
        &[("name", Value::text("Picture")), ("image_1920", Value::Binary(PIXEL.to_vec()))],
    )
    .await;
    let done = session.commit(&lab.unique("run")).await.unwrap();
    let mut session = lab.session(&backend, "admin").await;
    let row =
        lab::read(&mut session, "res.partner", &[done.ids[&partner]], &["image_1920", "is_company", "child_ids"]).await;
    assert!(matches!(&row[0].values[0], Value::Binary(bytes) if bytes.starts_with(b"\x89PNG")), "{row:?}");
    assert_eq!(row[0].values[1..], [Value::Boolean(false), Value::Ids(vec![])]);
    lab.close();
}

const PIXEL: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0, 1, 0, 0, 0, 1, 8,
    6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, 0x49, 0x44, 0x41, 0x54, 0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0,
    0xf0, 0x1f, 0, 5, 0, 1, 0xff, 0x89, 0x99, 0x3d, 0x1d, 0, 0, 0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

#[test]
fn what_a_field_cannot_be_is_no_value() {
    for (kind, json) in [
        (FieldKind::Char, json!(7)),
        (FieldKind::Integer, json!("7")),
        (FieldKind::Date, json!("2026-13-01")),
        (FieldKind::Datetime, json!("yesterday")),
        (FieldKind::Many2one, json!(["x", "y"])),
        (FieldKind::Many2many, json!([-1])),
        (FieldKind::Binary, json!("not base64!")),
        (FieldKind::Boolean, json!({})),
        (FieldKind::Reference, json!("res.partner")),
    ] {
        assert_eq!(from_json("m", "f", kind, &json).unwrap_err().code, "bad-answer", "{kind:?} {json}");
    }
    assert_eq!(from_json("m", "f", FieldKind::Reference, &json!("res.partner,7")).unwrap().kind_name(), "reference");
    assert_eq!(from_json("m", "f", FieldKind::Integer, &json!(5_000_000_000_u64)).unwrap(), Value::Number(5e9));
}

#[test]
fn a_key_near_its_end_is_announced() {
    let config = Config::parse(
        "url = 'https://erp.example.com'\ndatabase = 'x'\n\
         [[user]]\nlogin = 'ada'\nkey = { env = 'A' }\nexpires = 2026-12-01\n\
         [[user]]\nlogin = 'bob'\nkey = { env = 'B' }\nexpires = 2027-12-01\n",
    );
    let config = config.or_else(|_| {
        Config::parse(
            "url = 'https://erp.example.com'\ndatabase = 'x'\n\
         [[user]]\nlogin = 'ada'\nkey = { env = 'A' }\nexpires = '2026-12-01'\n\
         [[user]]\nlogin = 'bob'\nkey = { env = 'B' }\nexpires = '2027-12-01'\n",
        )
    });
    let backend = triggerbox_odoo::Backend::new(config.unwrap(), &|_| Some("some-long-key".to_owned())).unwrap();
    let ending = backend.ending_keys("2026-11-25T10:00:00Z".parse().unwrap());
    assert_eq!(ending, [("ada".to_owned(), "2026-12-01".parse().unwrap())]);
}
