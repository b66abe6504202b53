//! Who may do what: Odoo's rules on a small company.
//! Shows: F018
use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;
use triggerbox_model::{
    call::{Operation, Page},
    domain::Domain,
    error::Error,
    value::Id,
};
use triggerbox_store::{
    env::{Context, Env},
    group,
    load::{DataSet, import},
    query, rights,
    write::{Input, Place, Values, Writer},
};

const SELLER: Id = 11;
const MANAGER: Id = 12;
const STRANGER: Id = 13;

/// Two companies; sellers see their own deals and those of nobody, managers, who are sellers too, all of them; both only
/// those of their companies.
fn company() -> (Connection, DataSet) {
    let link = |model: &str| json!({"type": "many2one", "relation": model});
    let pairs = |model: &str, table: &str| json!({"type": "many2many", "relation": model, "m2m": {"table": table, "column1": "a", "column2": "b"}});
    let schema = json!({
        "res.company": {"description": "Company", "rec_name": "name", "fields": {"name": {"type": "char"}}},
        "res.groups": {"description": "Group", "rec_name": "name",
            "fields": {"name": {"type": "char"}, "implied_ids": pairs("res.groups", "implied")}},
        "res.users": {"description": "User", "rec_name": "name", "fields": {
            "name": {"type": "char"}, "tz": {"type": "char"}, "company_id": link("res.company"),
            "company_ids": pairs("res.company", "works_for"), "group_ids": pairs("res.groups", "member")}},
        "deal": {"description": "Deal", "rec_name": "name", "active_name": "active", "fields": {
            "name": {"type": "char"}, "active": {"type": "boolean"}, "user_id": link("res.users"),
            "company_id": link("res.company"),
            "margin": {"type": "float"}}}
    });
    let records = json!({
        "xmlids": {"res.groups": {"sales.seller": 1, "sales.manager": 2}},
        "records": {
            "res.company": [{"id": 1, "name": "One"}, {"id": 2, "name": "Two"}],
            "res.groups": [{"id": 1, "name": "Seller"}, {"id": 2, "name": "Manager", "implied_ids": [1]}],
            "res.users": [
                {"id": SELLER, "name": "Sally", "company_id": 1, "company_ids": [1], "group_ids": [1]},
                {"id": MANAGER, "name": "Mona", "company_id": 2, "company_ids": [1, 2], "group_ids": [2]},
                {"id": STRANGER, "name": "Stan", "company_id": 1, "company_ids": [1]}],
            "deal": [
                {"id": 1, "name": "mine", "active": true, "user_id": SELLER, "company_id": 1},
                {"id": 2, "name": "theirs", "active": true, "user_id": MANAGER, "company_id": 1},
                {"id": 3, "name": "nobody's", "active": true},
                {"id": 4, "name": "far away", "active": true, "user_id": SELLER, "company_id": 2},
                {"id": 5, "name": "archived", "active": false, "user_id": MANAGER}]}
    });
    let rights = json!({
        "access": [
            {"name": "deals of sellers", "model": "deal", "group_id": 1, "perm_read": true, "perm_write": true, "perm_create": true},
            {"name": "deals of managers", "model": "deal", "group_id": 2, "perm_unlink": true}],
        "rules": [
            {"name": "Deals: companies", "model": "deal", "domain_force": "[('company_id', 'in', company_ids + [False])]"},
            {"name": "Deals: own", "model": "deal", "groups": [1],
                "domain_force": "['|', ('user_id', '=', user.id), # or nobody's\n ('user_id', '=', False)]"},
            {"name": "Deals: all", "model": "deal", "groups": [2], "domain_force": "[(1, '=', 1)]"}],
        "field_groups": {"deal": {"margin": "sales.manager"}}
    });
    let set = DataSet::new(
        serde_json::from_value(schema).unwrap(),
        serde_json::from_value(records).unwrap(),
        serde_json::from_value(rights).unwrap(),
    )
    .unwrap();
    let conn = Connection::open_in_memory().unwrap();
    query::functions::register(&conn).unwrap();
    group::functions::register(&conn).unwrap();
    import(&conn, &set).unwrap();
    (conn, set)
}

fn env(conn: &Connection, set: &DataSet, user: Id) -> Env {
    let now = "2026-06-17T13:05:00Z".parse().unwrap();
    Env::for_user(conn, Arc::new(set.schema.clone()), Arc::new(set.rights.clone()), user, now).unwrap()
}

fn deals(conn: &Connection, env: &Env) -> Vec<Id> {
    query::search(conn, env, "deal", &Domain::Always, &Page::default()).unwrap()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code, error.message)
}

#[test]
fn groups_bring_the_groups_that_they_imply() {
    let (conn, set) = company();
    assert_eq!(env(&conn, &set, MANAGER).groups, [1, 2].into());
    assert_eq!(env(&conn, &set, SELLER).groups, [1].into());
}

#[test]
fn global_rules_all_hold_and_of_the_groups_rules_one() {
    let (conn, set) = company();
    assert_eq!(deals(&conn, &env(&conn, &set, SELLER)), [1, 3]);
    assert_eq!(deals(&conn, &env(&conn, &set, MANAGER)), [1, 2, 3, 4]);
    assert_eq!(deals(&conn, &env(&conn, &set, STRANGER).sudo()), [1, 2, 3, 4]);
}

#[test]
fn the_companies_that_one_works_for_now_decide() {
    let (conn, set) = company();
    let two = Context { allowed_company_ids: Some(vec![2]), ..Context::default() };
    let manager = env(&conn, &set, MANAGER).with_context(two.clone());
    assert_eq!((deals(&conn, &manager), manager.company().unwrap()), (vec![3, 4], Some(2)));
    // A company that is none of one's own is refused where companies matter, and only there.
    let seller = env(&conn, &set, SELLER).with_context(two);
    assert!(rights::check_model(&seller, "deal", Operation::Read).is_ok());
    let (code, message) = refusal(query::search(&conn, &seller, "deal", &Domain::Always, &Page::default()));
    assert_eq!((code.as_str(), message.as_str()), ("foreign-company", "user 11 may not work for company 2"));
}

#[test]
fn a_refusal_names_what_refused() {
    let (conn, set) = company();
    let check = |user, ids: &[Id], operation| {
        refusal(rights::check_access(&conn, &env(&conn, &set, user), "deal", ids, operation))
    };
    let (code, message) = check(STRANGER, &[1], Operation::Read);
    assert_eq!(code, "no-access");
    assert_eq!(
        message,
        "user 13 may not read `deal`; it is given by `deals of sellers`, to groups that the user is not in"
    );
    let (code, message) = check(SELLER, &[1, 2, 4, 5], Operation::Write);
    assert_eq!(code, "record-rule");
    assert_eq!(
        message,
        "user 11 may not write `deal` 2, 4, 5; refused by record rule `Deals: companies`, record rule `Deals: own`"
    );
    assert_eq!(check(SELLER, &[1], Operation::Unlink).0, "no-access");
    assert_eq!(check(SELLER, &[99], Operation::Read).0, "missing-record");
}

#[test]
fn a_field_for_a_group_is_neither_read_written_nor_searched_by_others() {
    let (conn, set) = company();
    let (seller, manager) = (env(&conn, &set, SELLER), env(&conn, &set, MANAGER));
    let margin = ["margin".to_owned()];
    assert!(query::read::read(&conn, &manager, "deal", &[1], &margin).is_ok());
    let (code, message) = refusal(query::read::read(&conn, &seller, "deal", &[1], &margin));
    assert_eq!(code, "restricted-field");
    assert_eq!(message, "user 11 may not read field `margin` of `deal`; it is for the groups sales.manager");
    let by_margin = Domain::parse("[('margin', '>', 0)]").unwrap();
    assert_eq!(refusal(query::search(&conn, &seller, "deal", &by_margin, &Page::default())).0, "restricted-field");
    let page = triggerbox_model::call::GroupPage::default();
    let sum = ["margin:sum".to_owned()];
    let grouped = group::read_group(&conn, &seller, "deal", &Domain::Always, &[], &sum, &page);
    assert_eq!(refusal(grouped).0, "restricted-field");
}

#[test]
fn people_change_their_own_preferences_and_nobody_elses() {
    let (conn, set) = company();
    let stranger = env(&conn, &set, STRANGER);
    let write = |user: Id, field: &str, value: &str| {
        let mut place = Place::committed();
        let values = Values::from_iter([(field.to_owned(), Input::Value(triggerbox_model::value::Value::text(value)))]);
        Writer::new(&conn, &stranger, &mut place).write("res.users", &[user], values)
    };
    write(STRANGER, "tz", "Europe/Brussels").unwrap();
    assert_eq!(refusal(write(SELLER, "tz", "Europe/Brussels")).0, "no-access");
    assert_eq!(env(&conn, &set, STRANGER).tz.as_deref(), Some("Europe/Brussels"));
}

#[test]
fn rules_that_make_no_sense_are_named() {
    let (conn, mut set) = company();
    for (domain, why) in [
        ("[('user_id', '=', user.favourite_colour)]", "unknown field `favourite_colour` on `res.users`"),
        (
            "[('user_id', '=', __import__('os'))]",
            "uses `__import__`; there are user, uid, company_id, company_ids and time",
        ),
        ("[('user_id', '=', user)]", "uses records of `res.users` as a value; write `.id` or `.ids` after it"),
    ] {
        set.rights.rules[1].domain = domain.to_owned();
        let seller = env(&conn, &set, SELLER);
        let (code, message) = refusal(query::search(&conn, &seller, "deal", &Domain::Always, &Page::default()));
        assert_eq!(code, "bad-rule");
        assert_eq!(message, format!("record rule `Deals: own` on `deal`: {why}"));
    }
}

#[test]
fn a_rule_whose_hierarchy_is_none_is_told_to_who_makes_a_record_too() {
    let (conn, mut set) = company();
    set.rights.rules[1].domain = "['|', ('name', '=', 'New'), ('company_id', 'child_of', 'One')]".to_owned();
    let seller = env(&conn, &set, SELLER);
    let mut place = Place::committed();
    let values = [("name".to_owned(), Input::Value(triggerbox_model::value::Value::text("New")))];
    let made = Writer::new(&conn, &seller, &mut place).create("deal", vec![Values::from_iter(values)]);
    let (code, message) = refusal(made);
    assert_eq!(code, "bad-domain", "{message}");
    assert_eq!(refusal(query::search(&conn, &seller, "deal", &Domain::Always, &Page::default())).0, "bad-domain");
}

#[test]
fn a_rule_on_a_field_that_is_not_here_gives_nothing() {
    let (conn, mut set) = company();
    set.rights.rules[1].domain = "['|', ('nose', '=', 1), ('user_id', '=', user.id)]".to_owned();
    assert_eq!(deals(&conn, &env(&conn, &set, SELLER)), [1]);
    set.rights.rules[1].domain = "[('nose', '!=', 1)]".to_owned();
    assert!(deals(&conn, &env(&conn, &set, SELLER)).is_empty());
}
