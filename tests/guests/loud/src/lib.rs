//! Says what would do harm to whoever shows it, wherever a script can say something: in its log and on its output, in notes with
//! their subjects and files, in names of records, in what it is refused, and in how it ends.

use triggerbox::{Error, json, prelude::*, serde_json};

fn run(event: &Event) -> Result<Outcome> {
    let texts: Vec<String> = match event.param::<Option<String>>("texts")? {
        Some(list) => serde_json::from_str(&list)?,
        None => vec!["<script>alert(1)</script>".to_owned()],
    };
    let fails = event.param::<Option<bool>>("fails")?.unwrap_or_default();
    for text in &texts {
        info!("{text}");
        println!("{text}");
        for record in event.records()? {
            let note = Message::text(text).subject(text).attach(text, "text/plain", b"x".to_vec());
            tried(record.post_note(note));
        }
        tried(model("crm.lead").create(values! { "name" => text.as_str() }));
        tried(model(text.as_str()).count(Domain::all()));
    }
    let all = texts.join(" ");
    if fails {
        fail!("{all}");
    }
    Ok(Outcome::message(all.as_str()).with_warning(all.as_str()).with_result(json!({ "said": all })))
}

/// What is refused is told as well.
fn tried<T>(done: Result<T, Error>) {
    if let Err(error) = done {
        warn!("{}", error.text());
    }
}

triggerbox::script!(run);
