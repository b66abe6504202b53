//! Does one thing again and again, whatever it is answered: which, the parameter says by the limit that must end it.

use triggerbox::{http::Request, llm, prelude::*, state};

fn run(event: &Event) -> Result<()> {
    let what = event.param::<Option<String>>("what")?.unwrap_or_else(|| "bytes-sent".to_owned());
    let leads = model("crm.lead");
    let ids = leads.search(domain![]).unwrap_or_default();
    let large = "x".repeat(1 << 20);
    let mut talk = llm::Request::new().user("Flood?").tool("wave", "Comes again.", &json!({ "type": "object" }));
    for round in 0_usize.. {
        let id = ids.get(round % ids.len().max(1)).copied().unwrap_or(1);
        // Refused or not: it goes on.
        let _ = match what.as_str() {
            "call-bytes" => state::get::<String>(&large.repeat(5)).map(drop),
            "bytes-sent" => state::get::<String>(&large).map(drop),
            "bytes-logged" => {
                triggerbox::log::write(triggerbox::log::Level::Info, &large);
                Ok(())
            }
            "host-calls" => state::get::<String>("key").map(drop),
            "queries" => leads.count(domain![]).map(drop),
            "records-read" | "bytes-read" => leads.search_read(domain![], &["name", "description"]).map(drop),
            "write-calls" => leads.write(&[id], values! { "name" => format!("Flooded {round}") }),
            "records-written" => {
                let new = (0..100).map(|at| values! { "name" => format!("Flood {round}.{at}") }).collect();
                leads.create_many(new).map(drop)
            }
            "bytes-staged" => leads.create(values! { "name" => "Flood", "description" => large.as_str() }).map(drop),
            "writes-per-record" => leads.write(&ids, values! { "name" => format!("Flooded {round}") }),
            "records-deleted" => leads.unlink(&[id]),
            "posts" => leads.record(id).post_note("Flood"),
            "activities" => leads.record(id).schedule_activity(Activity::new("To-Do", "Flood")),
            "llm-calls" => llm::ask("Flood?").map(drop),
            // A tool loop of its own, which never looks at what the model wants.
            "identical-tool-calls" => match talk.complete() {
                Ok(completion) => {
                    let results = completion.calls.iter().map(|call| call.result("again")).collect();
                    talk = talk
                        .message(llm::Message::AssistantCalls((completion.text, completion.calls)))
                        .message(llm::Message::ToolResults(results));
                    Ok(())
                }
                Err(error) => Err(error),
            },
            "http-calls" => Request::get("https://flood.example/").send().map(drop),
            _ => fail!("no such flood: {what}"),
        };
    }
    Ok(())
}

triggerbox::script!(run);
