//! Groups with aggregates.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::json;
use triggerbox_model::{
    call::{Group, GroupPage},
    domain::Domain,
    error::Error,
    value::Value,
};
use triggerbox_store::{
    env::{Context, Env},
    group,
    load::{DataSet, import},
    query,
};

struct Shop {
    conn: Connection,
    env: Env,
}

fn shop() -> Shop {
    let schema = json!({
        "res.users": {"description": "User", "fields": {"name": {"type": "char"}}},
        "shelf": {"description": "Shelf", "rec_name": "name", "order": "rank, id",
            "fields": {"name": {"type": "char"}, "rank": {"type": "integer"}}},
        "label": {"description": "Label", "rec_name": "name", "fields": {"name": {"type": "char"}}},
        "sale": {"description": "Sale", "fields": {
            "at": {"type": "datetime"}, "on": {"type": "date"}, "amount": {"type": "float"}, "pieces": {"type": "integer"},
            "paid": {"type": "boolean"},
            "shelf_id": {"type": "many2one", "relation": "shelf"},
            "label_ids": {"type": "many2many", "relation": "label",
                "m2m": {"table": "sale_label", "column1": "sale", "column2": "label"}}}}
    });
    let records = json!({
        "langs": [{"code": "en_US", "week_start": 7}, {"code": "fr_FR", "week_start": 1}],
        "records": {
            "res.users": [{"id": 1, "name": "Root"}],
            "shelf": [{"id": 1, "name": "Low", "rank": 2}, {"id": 2, "name": "High", "rank": 1}],
            "label": [{"id": 1, "name": "new"}, {"id": 2, "name": "old"}],
            "sale": [
                {"id": 1, "at": "2026-10-25 00:30:00", "on": "2026-10-25", "amount": 10.5, "pieces": 1, "paid": true,
                    "shelf_id": 1, "label_ids": [1, 2]},
                {"id": 2, "at": "2026-10-24 21:30:00", "on": "2026-10-24", "amount": 4.5, "pieces": 2, "paid": false,
                    "shelf_id": 2, "label_ids": [2]},
                {"id": 3, "at": "2026-10-24 22:30:00", "on": "2026-10-31", "amount": 1.0, "pieces": 2000000000, "paid": true,
                    "shelf_id": 1},
                {"id": 4, "amount": 2.0, "pieces": 2000000000, "paid": false}]}
    });
    let set = DataSet::new(
        serde_json::from_value(schema).unwrap(),
        serde_json::from_value(records).unwrap(),
        serde_json::from_value(json!({})).unwrap(),
    )
    .unwrap();
    let conn = Connection::open_in_memory().unwrap();
    query::functions::register(&conn).unwrap();
    group::functions::register(&conn).unwrap();
    import(&conn, &set).unwrap();
    let now = "2026-06-17T13:05:00Z".parse().unwrap();
    let env = Env::for_user(&conn, Arc::new(set.schema), Arc::new(set.rights), 1, now).unwrap().sudo();
    Shop { conn, env }
}

impl Shop {
    fn ask(&self, group_by: &[&str], aggregates: &[&str], page: &GroupPage) -> Result<Vec<Group>, Error> {
        let owned = |specs: &[&str]| specs.iter().map(|spec| (*spec).to_owned()).collect::<Vec<_>>();
        group::read_group(&self.conn, &self.env, "sale", &Domain::Always, &owned(group_by), &owned(aggregates), page)
    }

    /// Key, aggregate values and count of each group.
    fn table(&self, group_by: &str, aggregates: &[&str], page: &GroupPage) -> Vec<(Value, Vec<Value>, u32)> {
        let groups = self.ask(&[group_by], aggregates, page).unwrap();
        let row = |group: Group| {
            (group.keys[0].value.clone(), group.aggregates.into_iter().map(|field| field.value).collect(), group.count)
        };
        groups.into_iter().map(row).collect()
    }

    /// Every group's domain finds as many records as the group has.
    fn check_domains(&self, group_by: &str) {
        for group in self.ask(&[group_by], &[], &GroupPage::default()).unwrap() {
            let domain = Domain::parse(&group.domain).unwrap();
            assert_eq!(
                query::search_count(&self.conn, &self.env, "sale", &domain).unwrap(),
                group.count,
                "{}",
                group.domain
            );
        }
    }
}

fn page(order: &str, having: &str) -> GroupPage {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    GroupPage { order: some(order), having: some(having), ..GroupPage::default() }
}

fn datetime(text: &str) -> Value {
    Value::Datetime(text.to_owned())
}

#[test]
fn days_and_hours_are_those_of_the_zone_across_the_change_of_clocks() {
    let mut shop = shop();
    let days = |shop: &Shop| shop.table("at:day", &[], &GroupPage::default());
    assert_eq!(
        days(&shop),
        [
            (datetime("2026-10-24T00:00:00Z"), vec![], 2),
            (datetime("2026-10-25T00:00:00Z"), vec![], 1),
            (Value::Unset, vec![], 1)
        ]
    );
    let brussels = Context { tz: Some("Europe/Brussels".to_owned()), ..Context::default() };
    shop.env = shop.env.with_context(brussels);
    assert_eq!(
        days(&shop),
        [
            (datetime("2026-10-23T22:00:00Z"), vec![], 1),
            (datetime("2026-10-24T22:00:00Z"), vec![], 2),
            (Value::Unset, vec![], 1)
        ]
    );
    // Not "hour": as in Odoo, the domain of the hour that comes twice finds the second of both only.
    for granularity in ["day", "week", "month", "quarter", "year", "hour_number", "day_of_week"] {
        shop.check_domains(&format!("at:{granularity}"));
    }
}

#[test]
fn weeks_start_as_the_language_has_it() {
    let mut shop = shop();
    let weeks = |shop: &Shop| -> Vec<Value> {
        shop.table("on:week", &[], &GroupPage::default()).into_iter().map(|(key, _, _)| key).collect()
    };
    let date = |text: &str| Value::Date(text.to_owned());
    assert_eq!(weeks(&shop), [date("2026-10-18"), date("2026-10-25"), Value::Unset]);
    let french = Context { lang: Some("fr_FR".to_owned()), ..Context::default() };
    shop.env = shop.env.with_context(french);
    assert_eq!(weeks(&shop), [date("2026-10-19"), date("2026-10-26"), Value::Unset]);
}

#[test]
fn relations_follow_their_models_order_and_have_names() {
    let shop = shop();
    let names: Vec<Option<String>> = shop
        .table("shelf_id", &[], &GroupPage::default())
        .into_iter()
        .map(|(key, _, _)| match key {
            Value::Many2one(link) => link.name,
            _ => None,
        })
        .collect();
    assert_eq!(names, [Some("High".to_owned()), Some("Low".to_owned()), None]);
    shop.check_domains("shelf_id");
    shop.check_domains("shelf_id.rank");
}

#[test]
fn a_record_is_in_the_group_of_each_of_its_labels() {
    let shop = shop();
    let counts: Vec<u32> = shop.table("label_ids", &[], &GroupPage::default()).iter().map(|row| row.2).collect();
    assert_eq!(counts, [1, 2, 2]);
    shop.check_domains("label_ids");
}

#[test]
fn aggregates_sum_up_what_is_set() {
    let shop = shop();
    let specs = [
        "amount:sum",
        "pieces:sum",
        "paid:bool_or",
        "shelf_id:count_distinct",
        "on:max",
        "id:array_agg",
        "shelf_id:recordset",
    ];
    let groups = shop.ask(&[], &specs, &GroupPage::default()).unwrap();
    let values: Vec<Value> = groups[0].aggregates.iter().map(|field| field.value.clone()).collect();
    assert_eq!(
        values,
        [
            Value::Number(18.0),
            Value::Number(4_000_000_003.0),
            Value::Boolean(true),
            Value::Integer(2),
            Value::Date("2026-10-31".to_owned()),
            Value::Json("[1,2,3,4]".to_owned()),
            Value::Ids(vec![1, 2]),
        ]
    );
}

#[test]
fn groups_are_chosen_and_ordered_by_aggregates() {
    let shop = shop();
    let having = "['|', ('amount:sum', '>', 11), ('__count', '=', 1)]";
    let rows = shop.table("shelf_id", &["amount:sum"], &page("amount:sum desc", having));
    let sums: Vec<&Value> = rows.iter().map(|row| &row.1[0]).collect();
    assert_eq!(sums, [&Value::Number(11.5), &Value::Number(4.5), &Value::Number(2.0)]);
    let second = GroupPage { limit: Some(1), offset: 1, ..page("amount:sum desc", "") };
    assert_eq!(shop.table("shelf_id", &["amount:sum"], &second)[0].1[0], Value::Number(4.5));
}

#[test]
fn wrong_questions_are_told_what_is_wrong() {
    let shop = shop();
    let refused = |group_by: &[&str], aggregates: &[&str], page: &GroupPage| {
        let error = shop.ask(group_by, aggregates, page).unwrap_err();
        (error.code, error.message)
    };
    let plain = GroupPage::default();
    assert_eq!(
        refused(&["on"], &[], &plain).1,
        "group by `on` is a date without a granularity; write `:month` or the like after it"
    );
    assert_eq!(
        refused(&["on:fortnight"], &[], &plain).1,
        "group by `on:fortnight` has the unknown granularity `fortnight`"
    );
    assert_eq!(refused(&["on:hour"], &[], &plain).0, "bad-group");
    assert_eq!(refused(&["label_ids.name"], &[], &plain).0, "bad-group");
    assert_eq!(refused(&["colour"], &[], &plain).0, "unknown-field");
    assert_eq!(refused(&[], &["paid:sum"], &plain).1, "aggregate `paid:sum` does not go with a boolean field");
    assert_eq!(refused(&[], &["amount"], &plain).0, "bad-aggregate");
    assert_eq!(refused(&["paid"], &[], &page("amount", "")).0, "bad-order");
    assert_eq!(refused(&["paid"], &[], &page("", "[('__count', 'like', 1)]")).0, "bad-having");
    assert_eq!(refused(&["paid"], &[], &page("", "['&', ('__count', '=', 1)]")).0, "bad-having");
}
