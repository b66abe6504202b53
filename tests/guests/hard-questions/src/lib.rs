//! Asks what takes long or brings much, again and again, whatever it is answered: what makes the question hard, the parameter
//! says.

use triggerbox::{Operator, prelude::*};

fn run(event: &Event) -> Result<()> {
    let what = event.param::<Option<String>>("what")?.unwrap_or_else(|| "pattern".to_owned());
    let leads = model("crm.lead");
    let condition = |field: &str, value: String| Domain::condition(field, Operator::Ilike, value);
    let mut page = 0;
    if what == "full" {
        // Its memory is, but for the next answer, before it asks.
        std::mem::forget(vec![1_u8; 52 << 20]);
    }
    loop {
        // Refused or not: it goes on.
        let _ = match what.as_str() {
            // In a long text of one letter it almost matches everywhere.
            "pattern" => leads.count(condition("description", "a".repeat(300) + "b")).map(drop),
            "long-pattern" => leads.count(condition("description", "a".repeat(1 << 20) + "b")).map(drop),
            "conditions" => {
                // Each record is held against all of them.
                let mut all: Vec<Domain> =
                    (0..1_024).map(|number| condition("name", format!("%a%{number}%b"))).collect();
                while all.len() > 1 {
                    all = all.chunks(2).map(|two| two.iter().cloned().reduce(Domain::or).unwrap_or_default()).collect();
                }
                leads.count(all.remove(0)).map(drop)
            }
            "path" => leads.count(condition(&["partner_id"; 50_000].join("."), "a".to_owned())).map(drop),
            "having" => {
                let having = format!("[{}('__count', '>', 1)]", "'!', ".repeat(100_000));
                leads.read_group(Search::from(Domain::all()).having(having), &["partner_id"], &[]).map(drop)
            }
            // Each would multiply the rows.
            "keys" => leads.read_group(Domain::all(), &["tag_ids"; 20], &["__count"]).map(drop),
            "key-path" => leads.read_group(Domain::all(), &[&["partner_id"; 1_000].join(".")], &["__count"]).map(drop),
            "aggregates" => leads.read_group(Domain::all(), &["name"], &["name:array_agg"; 500]).map(drop),
            "lists" => leads.read_group(Domain::all(), &["active"], &["description:array_agg"; 30]).map(drop),
            "groups" => leads.read_group(Domain::all(), &["name", "description"], &["description:max"]).map(drop),
            "table" => leads.search_read(Domain::all(), &["name", "description"]).map(drop),
            // All that it may read, and of each record what was read is compared at the commit.
            "full" => {
                page += 1;
                let some = Search::from(Domain::all()).order("id").offset((page - 1) * 1_000).limit(1_000);
                leads.search_read(some, &["name", "description"]).map(drop)
            }
            // Many values that weigh next to nothing, and many more.
            "wide" => leads.search_read(Domain::all(), &["active"; 19]).map(drop),
            "very-wide" => leads.search_read(Domain::all(), &["active"; 400]).map(drop),
            "names" => leads.name_search("", 0).map(drop),
            _ => fail!("no such question: {what}"),
        };
    }
}

triggerbox::script!(run);
