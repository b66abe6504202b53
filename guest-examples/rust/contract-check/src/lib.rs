//! Calls everything in the contract once and logs the answers.
//!
//! To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its
//! name, then `ok` with the answer or `error` with kind, code and message. No answer ends the run, so
//! that a host that lacks something still shows all the rest. The outcome's result is a JSON object
//! of the same names with `ok` or the error's code. Where an answer is put together of parts, another line
//! shows what this language made of them: it is the same one in every language.
//!
//! `x_contract.toml` describes a model with a field of every kind. Where a host has that model, every
//! value goes to a record of it and back.

mod services;
mod values;

use std::fmt::Debug;

use triggerbox::{
    Error, FromValue, Group, budget, calendar, chatter::escape, prelude::*, resolve_xmlid, state, time::Month,
};

/// What each call came to.
#[derive(Default)]
pub struct Report {
    results: triggerbox::serde_json::Map<String, triggerbox::serde_json::Value>,
}

impl Report {
    /// Notes a call's answer, and passes it on if it is a good one.
    pub fn note<T: Debug>(&mut self, name: &str, answer: Result<T, Error>) -> Option<T> {
        let (code, answer) = match answer {
            Ok(answer) => {
                info!("{name}: ok {answer:?}");
                ("ok".to_owned(), Some(answer))
            }
            Err(error) => {
                let field = error.field.map(|field| format!(" (field {field})")).unwrap_or_default();
                info!("{name}: error {:?} {}: {}{field}", error.kind, error.code, error.message);
                (error.code, None)
            }
        };
        self.results.insert(name.to_owned(), code.into());
        answer
    }
}

/// Shows the parts of an answer.
fn show(name: &str, parts: &[String]) {
    info!("answer of {name}: {}", parts.join(" | "));
}

fn run(event: &Event) -> Result<Outcome> {
    let mut report = Report::default();
    event_and_parameters(event, &mut report);
    let lead = match event.records()?.into_iter().next() {
        Some(lead) => lead,
        None => fail!("run this on a lead"),
    };
    reads(&lead, &mut report);
    writes(event, &lead, &mut report);
    chatter(event, &lead, &mut report);
    state_and_runtime(event, &mut report)?;
    services::language_model(&mut report);
    services::other_service(event, &mut report);
    values::details(&mut report);
    values::round_trip(event, &mut report);

    let failed = report.results.values().filter(|code| *code != "ok").count();
    let message = format!("{} calls, {failed} refused", report.results.len());
    let outcome = Outcome::message(message)
        .with_values(values! { "name" => "from the outcome" })
        .with_warning("a warning")
        .with_records(event.records.clone());
    Ok(outcome.with_result(report.results.into()))
}

fn event_and_parameters(event: &Event, report: &mut Report) {
    info!("event: {event:?}");
    report.note("event.time", event.time());
    report.note("event.today", event.today());
    parameter::<String>(event, "service", report);
    parameter::<String>(event, "text", report);
    parameter::<i32>(event, "integer", report);
    parameter::<f64>(event, "float", report);
    parameter::<bool>(event, "boolean", report);
    parameter::<Date>(event, "date", report);
    parameter::<UtcDateTime>(event, "datetime", report);
    parameter::<String>(event, "selection", report);
    parameter::<u32>(event, "many2one", report);
    parameter::<Option<String>>(event, "unset", report);
}

fn parameter<T: FromValue + Debug>(event: &Event, name: &str, report: &mut Report) {
    report.note(&format!("parameter.{name}"), event.param::<T>(name));
}

fn reads(lead: &RecordRef, report: &mut Report) {
    let leads = model(lead.model.as_str());
    let this = || domain![("id", "=", lead.id)];
    report.note("records.search", leads.search(domain![("active", "in", [true, false])].order("id").limit(2)));
    report.note(
        "records.search.literal",
        leads.search("[('type', '=', 'lead'), '|', ('name', 'ilike', 'a'), (1, '=', 1)]"),
    );
    report.note("records.search-read", leads.search_read(this(), &["name", "stage_id"]));
    report.note("records.search-count", leads.count(!this()));
    report.note("records.read", lead.read(&["name", "expected_revenue", "tag_ids", "create_date"]));
    let groups = report.note(
        "records.read-group",
        leads.read_group(Domain::all().order("stage_id").limit(2), &["stage_id"], &["expected_revenue:sum", "__count"]),
    );
    let stages = groups.unwrap_or_default().iter().map(in_words).collect::<Result<Vec<_>, Error>>();
    show("records.read-group", &stages.unwrap_or_else(|error| vec![error.message]));
    report.note("records.name-search", leads.name_search("a", 2));
    report.note("records.fields-get", leads.fields_get(&["type", "stage_id"]));
    report.note("records.has-access", leads.has_access(&[lead.id], Operation::Write));
    report.note("records.resolve-xmlid", resolve_xmlid("base.main_company"));
    report.note("records.unknown-model", model("crm.laed").search(Domain::all()));
    report.note("records.unknown-field", lead.read(&["nmae"]));
    report.note("records.no-fields", lead.read(&[]));
    report.note("records.bad-domain", leads.search("[('name', '=']"));
}

/// A stage, how many leads are in it, and what is expected of them.
fn in_words(group: &Group) -> Result<String, Error> {
    let (stage, expected): (Link, f64) = (group.key("stage_id")?, group.aggregate("expected_revenue:sum")?);
    Ok(format!("{}, {}, {expected:.0}", stage.display_name.unwrap_or_default(), group.count))
}

fn writes(event: &Event, lead: &RecordRef, report: &mut Report) {
    let leads = model(lead.model.as_str());
    let tags = model("crm.tag");
    report.note("records.write", lead.write(values! { "expected_revenue" => 1234.5 }));
    report.note("records.read.staged", lead.read(&["expected_revenue"]));
    let tag = report.note("records.ensure", tags.ensure(&["name"], values! { "name" => "contract check" }));
    report.note("records.ensure.again", tags.ensure(&["name"], values! { "name" => "contract check" }));
    if let Some(tag) = tag {
        for (name, commands) in [
            ("link", vec![Command::Link(tag.id)]),
            ("unlink", vec![Command::Unlink(tag.id)]),
            ("replace", vec![Command::Replace(vec![tag.id])]),
            ("create", vec![Command::Create(values! { "name" => "made by a command" }.into())]),
            ("update", vec![Command::Update((tag.id, values! { "color" => 5 }.into()))]),
            ("delete", vec![Command::Delete(tag.id)]),
            ("clear", vec![Command::Clear]),
        ] {
            report.note(&format!("records.relate.{name}"), lead.relate("tag_ids", &commands));
        }
    }
    let new = report.note("records.create", leads.create(values! { "name" => format!("made by {}", event.rule) }));
    if let Some(new) = new {
        report.note("records.read.created", new.read(&["name", "create_date"]));
        report.note("records.mention", new.mention());
        report.note("records.copy", new.copy(values! { "name" => "a copy" }));
        report.note("records.unlink", new.unlink());
    }
    report.note("records.call", lead.call("action_archive", json!({})));
    report.note("records.call.read-only", leads.call(&[], "name_search", json!({ "name": "a", "limit": 1 })));
    report.note("records.wrong-type", lead.write(values! { "name" => 1 }));
    report.note("records.provisional-id-as-text", lead.write(values! { "description" => "see 2147483648" }));
}

fn chatter(event: &Event, lead: &RecordRef, report: &mut Report) {
    let message = Message::html(format!("<b>{}</b>", escape("1 < 2"))).subject("Contract check").attach(
        "note.txt",
        "text/plain",
        b"attached".to_vec(),
    );
    report.note("chatter.post-message", lead.post_message(message));
    report.note("chatter.post-note", lead.post_note("1 < 2, as text"));
    let mut activity = Activity::new("mail.mail_activity_data_todo", "Check the contract").note("<p>All of it.</p>");
    activity.deadline = event.today().ok().map(|today| today.to_string());
    report.note("chatter.schedule-activity", lead.schedule_activity(activity.assign(event.run_as.id)));
    report
        .note("chatter.complete-activities", lead.complete_activities("mail.mail_activity_data_todo", Some("checked")));
    report.note("chatter.add-followers", lead.add_followers(&[1]));
    report.note("chatter.remove-followers", lead.remove_followers(&[1]));
    report.note("chatter.read-messages", lead.messages(3));
}

fn state_and_runtime(event: &Event, report: &mut Report) -> Result<()> {
    report.note("state.get", state::get::<u32>("count"));
    report.note("state.set", state::set("count", &1));
    report.note("state.get.staged", state::get::<u32>("count"));
    report.note("state.remove", state::remove("count"));
    if let Ok(now) = event.time() {
        report.note("calendar.to-local", calendar::to_local(now, "Europe/Brussels"));
    }
    report.note(
        "calendar.to-utc",
        calendar::to_utc(Date::from_calendar_date(2026, Month::March, 29)?.with_hms(2, 30, 0)?, "Europe/Brussels"),
    );
    report.note(
        "calendar.unknown-zone",
        calendar::to_utc(Date::from_calendar_date(2026, Month::January, 1)?.with_hms(0, 0, 0)?, "Europe/Nowhere"),
    );
    report.note("budget.remaining", Ok(budget::remaining("host-calls").is_some()));
    report.note("budget.unknown", Ok(budget::remaining("patience")));
    debug!("log.debug");
    log!(log::Level::Warning, "log.warning");
    triggerbox::error!("log.error");
    // What language runtimes ask of WASI: the clock of the event, no environment, no files.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map(|since| since.as_secs());
    report.note("wasi.clock", Ok(now.ok()));
    report.note("wasi.environment", Ok(std::env::vars().count()));
    report.note("wasi.files", Ok(std::fs::read("/etc/passwd").is_err()));
    println!("wasi.stdout");
    eprintln!("wasi.stderr");
    Ok(())
}

triggerbox::script!(run);
