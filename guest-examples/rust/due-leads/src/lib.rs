//! A record source: the open leads whose expected closing lies at most some days ahead, the most urgent first. A rule
//! without records of its own, such as one on a schedule, asks it: `source = { script = "due-leads" }`.

use triggerbox::{NumericalDuration, prelude::*};

fn run(event: &Event) -> Result {
    let Trigger::SelectRecords = &event.trigger else {
        fail!("this script is a record source; name it in a rule's `source`")
    };
    let days: i32 = event.param("days")?;
    let until = event.today()? + i64::from(days).days();
    let due = event.model()?.search(domain![("date_deadline", "<=", until)].order("date_deadline, id"))?;
    Ok(Outcome::message(format!("{} due", due.len())).with_records(due))
}

triggerbox::script!(run);
