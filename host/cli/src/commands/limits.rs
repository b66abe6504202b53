//! `triggerbox limits`: the table.

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::json;
use triggerbox_model::limits::{Class, TABLE};

use crate::{
    args::LimitsArgs,
    exit::{Exit, Failure},
    output::{self, amount},
};

pub(crate) fn run(args: &LimitsArgs) -> Result<Exit, Failure> {
    if args.format.json {
        let rows: Vec<_> = TABLE
            .iter()
            .map(|spec| {
                let defaults = Class::ALL.iter().zip(spec.defaults).map(|(class, n)| (class.name().to_owned(), n.into()));
                let defaults: serde_json::Map<_, serde_json::Value> = defaults.collect();
                json!({ "limit": spec.name, "unit": format!("{:?}", spec.unit), "help": spec.help, "defaults": defaults })
            })
            .collect();
        output::json(&rows)?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["limit", "sync", "async", "batch", "agent", "what it counts"]);
    for spec in TABLE {
        let mut row = vec![spec.name.to_owned()];
        row.extend(spec.defaults.map(|number| amount(spec.unit, number)));
        row.push(spec.help.to_owned());
        table.add_row(row);
    }
    outln!("{table}");
    Ok(Exit::Ok)
}
