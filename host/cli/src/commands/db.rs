//! `triggerbox db`: a look at the records, and their way in and out.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use comfy_table::{ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use jiff::Timestamp;
use serde_json::{Map, json};
use triggerbox_automation::people;
use triggerbox_model::{
    call::{Answer, Call, DomainSource, FieldDefault, FieldDetails, Page, Posted},
    error::Error,
    schema::{FieldKind, OnDelete, Schema},
    value::{Id, RecordRef, Row, Value},
};
use triggerbox_store::{
    chatter::{self, Tracked},
    db::{Database, Mode},
    load::DataSet,
    session::Session,
};

use crate::{
    args::{DatabaseArgs, DbCommand, FieldsArgs, Format, SearchArgs, ShowArgs},
    commands::database,
    exit::{Exit, Failure, OrExit},
    output::{self, BOLD, DIM, printable, styled},
};

pub(crate) fn run(command: &DbCommand) -> Result<Exit, Failure> {
    match command {
        DbCommand::Demo { file, format } => {
            Database::create_demo(file, Timestamp::now()).or_exit(Exit::Backend)?;
            wrote(*format, "created", file)
        }
        DbCommand::Models { database, format } => models(database, *format),
        DbCommand::Fields(args) => fields(args),
        DbCommand::Search(args) => search(args),
        DbCommand::Show(args) => show(args),
        DbCommand::Backup { to, database, format } => {
            Database::backup_of(file(database)?, to).or_exit(Exit::Backend)?;
            wrote(*format, "wrote", to)
        }
        DbCommand::Restore { from, database, format } => {
            let to = file(database)?;
            absent(to)?;
            Database::restore(from, to).or_exit(Exit::Backend)?;
            wrote(*format, "restored", to)
        }
        DbCommand::Compact { database, format } => compact(file(database)?, *format),
        DbCommand::Import { folder, database, format } => {
            let to = file(database)?;
            absent(to)?;
            let data = DataSet::read(folder).with_context(|| folder.display().to_string())?;
            Database::create(to, &data).or_exit(Exit::Backend)?;
            wrote(*format, "created", to)
        }
        DbCommand::Export { folder, database, format } => {
            let database = database::open(database, Mode::Read)?;
            let data = database.export().or_exit(Exit::Backend)?;
            data.write(folder).with_context(|| folder.display().to_string())?;
            wrote(*format, "wrote", folder)
        }
    }
}

/// Says what was made.
fn wrote(format: Format, verb: &str, path: &Path) -> Result<Exit, Failure> {
    if format.json {
        output::json(&json!({ "path": path }))?;
    } else {
        outln!("{} {}", styled(BOLD, verb), path.display());
    }
    Ok(Exit::Ok)
}

/// Writes a database's file anew.
fn compact(path: &Path, format: Format) -> Result<Exit, Failure> {
    let size = || std::fs::metadata(path).map(|file| file.len()).with_context(|| path.display().to_string());
    let before = size()?;
    Database::open(path, Mode::Write).and_then(|database| database.write_anew()).or_exit(Exit::Backend)?;
    let after = size()?;
    if format.json {
        output::json(&json!({ "path": path, "before": before, "after": after }))?;
    } else {
        outln!("{} {}: {before} bytes before, {after} now", styled(BOLD, "wrote anew"), path.display());
    }
    Ok(Exit::Ok)
}

/// The file that `--db` names; for commands that make no sense on a database in memory.
fn file(args: &DatabaseArgs) -> Result<&PathBuf, Failure> {
    Ok(args.file.as_ref().context("name the database's file with --db FILE or TRIGGERBOX_DB")?)
}

fn absent(path: &Path) -> Result<(), Failure> {
    match path.exists() {
        true => Err(anyhow!("{} exists already; a database is never overwritten", path.display()).into()),
        false => Ok(()),
    }
}

/// A session with a user's own rights.
fn session(database: &Database, user: &str) -> Result<Session, Failure> {
    let now = Timestamp::now();
    let person = people::find(database, user, now)?;
    let env = people::environment(database, person.user.id, false, now)?;
    Session::new(database, env).or_exit(Exit::Backend)
}

fn ask(session: &mut Session, call: Call) -> Result<Answer, Failure> {
    session.call(call).or_exit(Exit::Backend)?.map_err(refused)
}

fn refused(error: Error) -> Failure {
    let exit = match error.kind {
        triggerbox_model::error::ErrorKind::AccessDenied => Exit::Policy,
        _ => Exit::Usage,
    };
    Failure { exit, error: error.into() }
}

fn models(args: &DatabaseArgs, format: Format) -> Result<Exit, Failure> {
    let database = database::open(args, Mode::Read)?;
    let env = people::environment(&database, people::SYSTEM, true, Timestamp::now())?;
    let mut session = Session::new(&database, env).or_exit(Exit::Backend)?;
    let mut rows = Vec::new();
    for (name, model) in &database.schema().models {
        let domain = DomainSource::Literal("[]".to_owned());
        let count = match ask(&mut session, Call::SearchCount { model: name.clone(), domain })? {
            Answer::Count(count) => count,
            _ => 0,
        };
        rows.push((name, &model.description, model.fields.len(), count));
    }
    if format.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(name, description, fields, count)| {
                json!({ "model": name, "description": description, "fields": fields, "records": count })
            })
            .collect();
        output::json(&rows)?;
    } else {
        let mut table = table(["model", "description", "fields", "records"].map(str::to_owned));
        for (name, description, fields, count) in rows {
            table.add_row([name.clone(), printable(description), fields.to_string(), count.to_string()]);
        }
        outln!("{table}");
    }
    Ok(Exit::Ok)
}

fn fields(args: &FieldsArgs) -> Result<Exit, Failure> {
    let database = database::open(&args.common.database, Mode::Read)?;
    let mut session = session(&database, &args.common.user)?;
    let call = Call::DescribeFields { model: args.model.clone(), fields: args.fields.clone() };
    let Answer::Details(fields) = ask(&mut session, call)? else {
        return Err(anyhow!("the backend described fields with something else").into());
    };
    if args.common.format.json {
        output::json(&fields)?;
        return Ok(Exit::Ok);
    }
    let mut table = table(["field", "label", "type", "what else is known"].map(str::to_owned));
    for field in &fields {
        let info = &field.info;
        table.add_row([
            info.name.clone(),
            printable(&info.label),
            info.kind.clone(),
            printable(&facts(field).join(", ")),
        ]);
    }
    outln!("{table}");
    Ok(Exit::Ok)
}

/// What there is to say of a field besides its type, in words.
fn facts(field: &FieldDetails) -> Vec<String> {
    let info = &field.info;
    let mut facts = Vec::new();
    let mut add = |fact: Option<String>| facts.extend(fact);
    let flag = |is: bool, word: &str| is.then(|| word.to_owned());
    add(info.relation.as_ref().map(|model| match &field.relation_field {
        Some(other) => format!("of {model} by {other}"),
        None => format!("to {model}"),
    }));
    add(field.relation_table.as_ref().map(|table| format!("table {table}")));
    let keys: Vec<_> = info.selection.iter().map(|(key, _)| key.as_str()).collect();
    add((!keys.is_empty()).then(|| format!("one of {}", keys.join(" | "))));
    add(field.digits.map(|(precision, scale)| format!("digits {precision}.{scale}")));
    add(field.size.map(|size| format!("at most {size} characters")));
    add(field.currency_field.as_ref().map(|currency| format!("currency {currency}")));
    add(flag(info.required, "required"));
    add(flag(info.readonly, "readonly"));
    add(field.default.as_ref().map(|default| match default {
        FieldDefault::Literal(json) => format!("default {json}"),
        FieldDefault::Function(name) => format!("default {name}()"),
    }));
    add(field.ondelete.map(|rule| {
        let rule = match rule {
            OnDelete::SetNull => "set null",
            OnDelete::Restrict => "restrict",
            OnDelete::Cascade => "cascade",
        };
        format!("on delete {rule}")
    }));
    add(match (&field.related, &field.formula) {
        (Some(path), _) => Some(format!("shows {path}")),
        (None, Some(formula)) => Some(format!("computed as {formula}")),
        (None, None) => flag(field.computed, "computed"),
    });
    add(flag(!info.stored, "not stored"));
    add(field.aggregator.as_ref().map(|aggregator| format!("groups show its {aggregator}")));
    add(flag(field.translated == Some(true), "translated"));
    add(flag(field.tracked == Some(true), "tracked"));
    add(flag(field.indexed == Some(true), "indexed"));
    add(flag(field.copied == Some(false), "not copied"));
    add(field.groups.as_ref().filter(|groups| !groups.is_empty()).map(|groups| format!("for {}", groups.join(" | "))));
    facts
}

fn search(args: &SearchArgs) -> Result<Exit, Failure> {
    let database = database::open(&args.common.database, Mode::Read)?;
    let mut session = session(&database, &args.common.user)?;
    let call = Call::SearchRead {
        model: args.model.clone(),
        domain: DomainSource::Literal(args.domain.clone()),
        fields: args.fields.clone(),
        page: Page { offset: args.offset, limit: Some(args.limit), order: args.order.clone(), archived: args.archived },
    };
    let Answer::Rows(rows) = ask(&mut session, call)? else {
        return Err(anyhow!("the backend answered a search with something else").into());
    };
    if args.common.format.json {
        output::json(&rows.iter().map(|row| as_json(row, &args.fields)).collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let mut headings = vec!["id".to_owned()];
    headings.extend(args.fields.iter().cloned());
    let mut table = table(headings);
    for row in &rows {
        let mut cells = vec![row.id.to_string()];
        cells.extend(row.values.iter().map(|value| one_line(&shown(value))));
        table.add_row(cells);
    }
    outln!("{table}");
    let more = if rows.len() == args.limit as usize { "; there may be more, see --limit and --offset" } else { "" };
    outln!("{}", styled(DIM, format!("{} records{more}", rows.len())));
    Ok(Exit::Ok)
}

fn show(args: &ShowArgs) -> Result<Exit, Failure> {
    let database = database::open(&args.common.database, Mode::Read)?;
    let mut session = session(&database, &args.common.user)?;
    let fields = readable(database.schema(), &args.model)?;
    let call = Call::Read { model: args.model.clone(), ids: vec![args.id], fields: fields.clone() };
    let row = match ask(&mut session, call)? {
        Answer::Rows(rows) => rows.into_iter().next(),
        _ => None,
    };
    let row = row.with_context(|| {
        format!("there is no {}({}), or `{}` may not see it", args.model, args.id, args.common.user)
    })?;
    let chatter = database.schema().model(&args.model).is_ok_and(|model| model.chatter);
    let target = RecordRef::new(&args.model, args.id);
    let messages = match chatter {
        false => Vec::new(),
        true => match ask(&mut session, Call::ReadMessages { target, limit: 100 })? {
            Answer::Messages(messages) => messages,
            _ => Vec::new(),
        },
    };
    let tracked = tracked(&database, &args.common.user, &messages)?;
    let activities = if chatter { activities(&mut session, &args.model, args.id)? } else { Vec::new() };
    if args.common.format.json {
        let told = messages.iter().map(|message| {
            let changes = tracked.iter().filter(|tracked| tracked.message == message.id);
            let changes =
                changes.map(|Tracked { field, old, new, .. }| json!({ "field": field, "old": old, "new": new }));
            let Posted { id, author, date, body, is_note } = message;
            let changes: Vec<_> = changes.collect();
            json!({ "id": id, "author": author, "date": date, "body": body, "is_note": is_note, "changes": changes })
        });
        let messages: Vec<_> = told.collect();
        let activities = activities.iter().map(|activity| as_json(activity, &ACTIVITY.map(str::to_owned)));
        let activities: Vec<_> = activities.collect();
        let values = as_json(&row, &fields);
        output::json(&json!({ "id": row.id, "values": values, "activities": activities, "messages": messages }))?;
        return Ok(Exit::Ok);
    }
    outln!("{}", styled(BOLD, format!("{} {}", args.model, args.id)));
    let width = fields.iter().map(String::len).max().unwrap_or_default();
    let empty = |value: &Value| matches!(value, Value::Unset) || *value == Value::Ids(Vec::new());
    for (name, value) in fields.iter().zip(&row.values).filter(|(_, value)| !empty(value)) {
        outln!("  {name:<width$}  {}", one_line(&shown(value)));
    }
    if chatter {
        if !activities.is_empty() {
            outln!("\n{}", styled(BOLD, "activities"));
        }
        for Row { values, .. } in &activities {
            let [kind, deadline, who, summary] =
                values.iter().map(shown).collect::<Vec<_>>().try_into().unwrap_or_default();
            outln!("  {}  {}", styled(DIM, format!("{deadline} {kind}, {who}")), one_line(&summary));
        }
        outln!("\n{}", styled(BOLD, "chatter, newest first"));
        for message in &messages {
            let changes: Vec<_> = tracked.iter().filter(|tracked| tracked.message == message.id).collect();
            // Odoo posts tracked changes as messages without a text.
            if !changes.is_empty() || !output::without_tags(&message.body).trim().is_empty() {
                print_message(message);
            }
            for Tracked { field, old, new, .. } in changes {
                outln!("    {}: {} → {}", printable(field), one_line(&printable(old)), one_line(&printable(new)));
            }
        }
    }
    Ok(Exit::Ok)
}

/// What messages tell of fields.
fn tracked(database: &Database, login: &str, messages: &[Posted]) -> Result<Vec<Tracked>, Failure> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let now = Timestamp::now();
    let env = people::environment(database, people::find(database, login, now)?.user.id, false, now)?;
    let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
    let conn = database.snapshot().or_exit(Exit::Backend)?;
    chatter::read_tracked(&conn, &env, &ids).map_err(refused)
}

/// What is shown of an activity.
const ACTIVITY: [&str; 4] = ["activity_type_id", "date_deadline", "user_id", "summary"];

/// What is still to be done about a record.
fn activities(session: &mut Session, model: &str, id: Id) -> Result<Vec<Row>, Failure> {
    let call = Call::SearchRead {
        model: "mail.activity".to_owned(),
        domain: DomainSource::Literal(format!("[('res_model', '=', '{model}'), ('res_id', '=', {id})]")),
        fields: ACTIVITY.map(str::to_owned).to_vec(),
        page: Page::default(),
    };
    match ask(session, call)? {
        Answer::Rows(rows) => Ok(rows),
        _ => Ok(Vec::new()),
    }
}

/// All fields that a person would want to see: bytes are left out, and messages and followers, which the chatter shows.
fn readable(schema: &Schema, model: &str) -> Result<Vec<String>, Failure> {
    let model = schema.model(model).map_err(refused)?;
    let fields = model.fields.iter().filter(|(_, field)| field.kind != FieldKind::Binary && field.groups.is_empty());
    let fields = fields.filter(|(name, _)| !name.starts_with("message_"));
    Ok(fields.map(|(name, _)| name.clone()).collect())
}

fn print_message(message: &Posted) {
    let kind = if message.is_note { "note" } else { "message" };
    let head = format!("{} {} ({kind})", message.date, printable(&message.author));
    outln!("  {}  {}", styled(DIM, head), one_line(&printable(&output::without_tags(&message.body))));
}

fn table(headings: impl IntoIterator<Item = String>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings.into_iter().collect::<Vec<_>>());
    table
}

fn as_json(row: &Row, fields: &[String]) -> serde_json::Value {
    let mut object = Map::from_iter([("id".to_owned(), row.id.into())]);
    object.extend(fields.iter().cloned().zip(row.values.iter().map(plain)));
    object.into()
}

/// A value as Odoo's own API would write it.
fn plain(value: &Value) -> serde_json::Value {
    match value {
        Value::Unset => false.into(),
        Value::Pending => json!("pending"),
        Value::Boolean(flag) => (*flag).into(),
        Value::Integer(number) => (*number).into(),
        Value::Number(number) => json!(number),
        Value::Text(text) | Value::Date(text) | Value::Datetime(text) => text.as_str().into(),
        Value::Many2one(link) => json!([link.id, link.name]),
        Value::Ids(ids) => json!(ids),
        Value::Reference(reference) => format!("{},{}", reference.model, reference.id).into(),
        Value::Binary(bytes) => format!("{} bytes", bytes.len()).into(),
        Value::Json(text) => serde_json::from_str(text).unwrap_or_else(|_| text.as_str().into()),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Unset => String::new(),
        Value::Many2one(link) => format!("{} ({})", printable(link.name.as_deref().unwrap_or_default()), link.id),
        Value::Text(text) => printable(text),
        other => match plain(other) {
            serde_json::Value::String(text) => printable(&text),
            json => json.to_string(),
        },
    }
}

/// Longest text of one value in a table, in characters.
const SHOWN: usize = 200;

fn one_line(text: &str) -> String {
    let line = text.replace(['\n', '\t'], " ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}
