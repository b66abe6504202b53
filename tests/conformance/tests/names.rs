//! Records are called what the server calls them.

use std::{collections::BTreeMap, path::Path};

use conformance::{Data, data::read_set};
use triggerbox_model::value::Id;
use triggerbox_store::query;

/// Models whose names depend on what the data set lacks: countries of companies, `ir.model.fields`, categories of groups.
const UNTOLD: [&str; 3] = ["account.tax", "mail.tracking.value", "res.groups"];

#[test]
fn display_names_agree() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let data = Data::load(&folder).expect("the data set loads");
    let set = read_set(&folder).expect("the data set reads");
    let env = data.env(&serde_json::json!({"uid": 1, "su": true})).expect("an environment");
    let mut wrong: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut total = 0;
    for (model, records) in &set.records.records {
        if UNTOLD.contains(&model.as_str()) {
            continue;
        }
        let expected: BTreeMap<Id, String> = records
            .iter()
            .filter_map(|record| {
                let id = Id::try_from(record.get("id")?.as_u64()?).ok()?;
                Some((id, record.get("display_name")?.as_str().unwrap_or_default().to_owned()))
            })
            .collect();
        let ids: Vec<Id> = expected.keys().copied().collect();
        let names = query::names::display_names(&data.conn, &env, model, &ids).expect("names");
        for (id, expected) in expected {
            total += 1;
            let got = names.get(&id).cloned().unwrap_or_default();
            if got != expected {
                wrong.entry(model.clone()).or_default().push(format!("{id}: expected {expected:?}, got {got:?}"));
            }
        }
    }
    assert!(total > 1000, "only {total} names");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
