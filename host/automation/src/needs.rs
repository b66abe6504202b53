//! Which rights a call needs: one [`Need`] for each model and operation that it touches, those that
//! its domains, orders, groupings and x2many commands reach included.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    call::{Call, Command, DomainSource, Operation, WITH_CONTEXT},
    domain::{Condition, Domain, Operand},
    error::Error,
    grants::{GrantOperation, Need},
    schema::{FieldKind, Model, Schema},
    value::FieldValue,
};

/// What a call needs. The first need, if there is one, is on the records that the call names.
///
/// # Errors
/// `unknown-model`, `unknown-field`, or a domain that does not parse.
pub fn needs(schema: &Schema, call: &Call) -> Result<Vec<Need>, Error> {
    let mut needs = Needs { schema, found: Vec::new(), index: BTreeMap::new() };
    match call {
        Call::Search { model, domain, page } => {
            needs.query(model, domain, &[])?;
            needs.order(model, page.order.as_deref())?;
        }
        Call::SearchRead { model, domain, fields, page } => {
            needs.query(model, domain, fields)?;
            needs.order(model, page.order.as_deref())?;
        }
        Call::SearchCount { model, domain } => needs.query(model, domain, &[])?,
        Call::Read { model, fields, .. } => {
            needs.add(model, GrantOperation::Read)?;
            needs.paths(model, fields)?;
        }
        Call::ReadGroup { model, domain, group_by, aggregates, page } => {
            needs.query(model, domain, &[])?;
            let keys = group_by.iter().chain(aggregates).filter(|key| *key != "__count");
            let fields: Vec<_> = keys.map(|key| key.split(':').next().unwrap_or(key).to_owned()).collect();
            needs.paths(model, &fields)?;
            needs.order(model, page.order.as_deref())?;
        }
        Call::NameSearch { model, .. } | Call::FieldsGet { model, .. } => needs.add(model, GrantOperation::Read)?,
        Call::HasAccess { model, operation, .. } => needs.add(model, granted(*operation))?,
        Call::Mention { target } => needs.add(&target.model, GrantOperation::Read)?,
        Call::ReadMessages { target, .. } => {
            needs.add(&target.model, GrantOperation::Read)?;
            needs.paths(&target.model, &["message_ids".to_owned()])?;
        }
        Call::Create { model, values } => {
            needs.add(model, GrantOperation::Create)?;
            for record in values {
                needs.values(model, GrantOperation::Create, record)?;
            }
        }
        Call::Ensure { model, keys, values } => {
            needs.add(model, GrantOperation::Create)?;
            needs.values(model, GrantOperation::Create, values)?;
            needs.add(model, GrantOperation::Read)?;
            needs.paths(model, keys)?;
        }
        Call::Copy { target, values } => {
            needs.add(&target.model, GrantOperation::Create)?;
            needs.values(&target.model, GrantOperation::Create, values)?;
        }
        Call::Write { model, values, .. } => {
            needs.add(model, GrantOperation::Write)?;
            needs.values(model, GrantOperation::Write, values)?;
        }
        Call::Relate { target, field, commands } => {
            needs.add_fields(&target.model, GrantOperation::Write, [field.as_str()])?;
            needs.commands(&target.model, field, commands)?;
        }
        Call::Unlink { model, .. } => needs.add(model, GrantOperation::Unlink)?,
        // What a context means is said by the calls after it.
        Call::CallMethod { model, method, .. } if method == WITH_CONTEXT => drop(schema.model(model)?),
        Call::CallMethod { model, method, .. } if method == "default_get" => needs.add(model, GrantOperation::Read)?,
        Call::CallMethod { model, method, .. } if method == "copy_data" => {
            needs.copied(model, &mut BTreeSet::new())?;
        }
        Call::CallMethod { model, method, arguments_json, .. } => match of_chatter(method, arguments_json) {
            Some(operation) => needs.add(model, operation)?,
            None => {
                needs.schema.model(model)?;
                let method = Some(method.clone());
                needs.found.push(Need { method, ..Need::new(model, GrantOperation::Call) });
            }
        },
        Call::PostMessage { target, .. } => needs.add(&target.model, GrantOperation::Message)?,
        Call::PostNote { target, .. } => needs.add(&target.model, GrantOperation::Note)?,
        Call::ScheduleActivity { target, .. } | Call::CompleteActivities { target, .. } => {
            needs.add(&target.model, GrantOperation::Activity)?;
        }
        Call::AddFollowers { target, .. } | Call::RemoveFollowers { target, .. } => {
            needs.add(&target.model, GrantOperation::Follow)?;
        }
        Call::ResolveXmlid { .. }
        | Call::StateGet { .. }
        | Call::StateSet { .. }
        | Call::Complete { .. }
        | Call::Send { .. } => {}
    }
    Ok(needs.found)
}

/// What a call of `message_post` or `activity_schedule` amounts to: a note, a message, an activity, as the chatter's own
/// calls. With arguments that those do not have, such as another author, it is a method like any other.
pub(crate) fn of_chatter(method: &str, arguments_json: &str) -> Option<GrantOperation> {
    const POST: &[&str] = &["body", "body_is_html", "subject", "message_type", "subtype_xmlid", "partner_ids"];
    const SCHEDULE: &[&str] = &["act_type_xmlid", "date_deadline", "summary", "note", "user_id"];
    const LOG: &[&str] = &["body", "body_is_html"];
    let known = match method {
        "message_post" => POST,
        "_message_log" => LOG,
        "activity_schedule" => SCHEDULE,
        _ => return None,
    };
    let arguments: serde_json::Map<String, serde_json::Value> = serde_json::from_str(arguments_json).ok()?;
    if !arguments.keys().all(|name| known.contains(&name.as_str())) {
        return None;
    }
    Some(match (method, arguments.get("subtype_xmlid").map(serde_json::Value::as_str)) {
        ("activity_schedule", _) => GrantOperation::Activity,
        (_, None | Some(Some("mail.mt_note"))) => GrantOperation::Note,
        _ => GrantOperation::Message,
    })
}

fn granted(operation: Operation) -> GrantOperation {
    match operation {
        Operation::Read => GrantOperation::Read,
        Operation::Write => GrantOperation::Write,
        Operation::Create => GrantOperation::Create,
        Operation::Unlink => GrantOperation::Unlink,
    }
}

/// Needs in the order they were found, one for each model and operation.
struct Needs<'a> {
    schema: &'a Schema,
    found: Vec<Need>,
    index: BTreeMap<(String, GrantOperation), usize>,
}

impl<'a> Needs<'a> {
    fn add(&mut self, model: &str, operation: GrantOperation) -> Result<(), Error> {
        self.add_fields(model, operation, [])
    }

    fn add_fields<'f>(
        &mut self,
        model: &str,
        operation: GrantOperation,
        fields: impl IntoIterator<Item = &'f str>,
    ) -> Result<(), Error> {
        self.schema.model(model)?;
        let next = self.found.len();
        let index = *self.index.entry((model.to_owned(), operation)).or_insert(next);
        if index == next {
            self.found.push(Need::new(model, operation));
        }
        if let Some(need) = self.found.get_mut(index) {
            need.fields.extend(fields.into_iter().map(str::to_owned));
        }
        Ok(())
    }

    /// All that copies of a model's records are made of: its own fields, its lines, and what it shows of the record behind it.
    fn copied(&mut self, model: &str, done: &mut BTreeSet<String>) -> Result<(), Error> {
        if !done.insert(model.to_owned()) {
            return Ok(());
        }
        let described = self.schema.model(model)?;
        let copied = described.fields.iter().filter(|(_, field)| field.copy && field.store);
        self.add_fields(model, GrantOperation::Read, copied.clone().map(|(name, _)| name.as_str()))?;
        let lines = copied.filter(|(_, field)| field.kind == FieldKind::One2many);
        let lines = lines.filter_map(|(_, field)| field.relation.as_deref());
        let behind = described.inherits.keys().map(String::as_str);
        for other in lines.chain(behind).filter(|other| self.schema.models.contains_key(*other)) {
            self.copied(other, done)?;
        }
        Ok(())
    }

    fn query(&mut self, model: &str, domain: &DomainSource, fields: &[String]) -> Result<(), Error> {
        self.add(model, GrantOperation::Read)?;
        self.paths(model, fields)?;
        self.domain(self.schema.model(model)?, &Domain::from_source(domain)?)
    }

    fn domain(&mut self, model: &'a Model, domain: &Domain) -> Result<(), Error> {
        match domain {
            Domain::Always | Domain::Never => Ok(()),
            Domain::And(parts) | Domain::Or(parts) => parts.iter().try_for_each(|part| self.domain(model, part)),
            Domain::Not(part) => self.domain(model, part),
            Domain::Condition(Condition { field, value, .. }) => {
                let last = self.path(model, field)?;
                match (value, last) {
                    (Operand::Domain(sub), Some(related)) => self.domain(related, sub),
                    _ => Ok(()),
                }
            }
        }
    }

    fn paths(&mut self, model: &str, paths: &[String]) -> Result<(), Error> {
        let model = self.schema.model(model)?;
        paths.iter().try_for_each(|path| self.path(model, path).map(drop))
    }

    /// Every hop of a path is a read of that hop's model. Returns the model that the path leads to.
    fn path(&mut self, model: &'a Model, path: &str) -> Result<Option<&'a Model>, Error> {
        let mut model = model;
        for name in path.split('.') {
            self.add_fields(&model.name, GrantOperation::Read, [name])?;
            if matches!(name, "id" | "display_name") {
                // `id child_of 3` stays on the model; nothing follows a name.
                return Ok(Some(model));
            }
            let field = model.field(name)?;
            match &field.relation {
                Some(relation) => model = self.schema.model(relation)?,
                // What follows is a part of a date, or for the backend to refuse.
                None => return Ok(None),
            }
        }
        Ok(Some(model))
    }

    fn order(&mut self, model: &str, order: Option<&str>) -> Result<(), Error> {
        let fields: Vec<_> = order
            .unwrap_or_default()
            .split(',')
            .filter_map(|item| item.split_whitespace().next())
            .map(|item| item.split(':').next().unwrap_or(item).to_owned())
            .filter(|item| item != "__count")
            .collect();
        self.paths(model, &fields)
    }

    fn values(&mut self, model: &str, operation: GrantOperation, values: &[FieldValue]) -> Result<(), Error> {
        self.add_fields(model, operation, values.iter().map(|field| field.name.as_str()))?;
        let model = self.schema.model(model)?;
        for value in values {
            let field = model.field(&value.name)?;
            // Replacing a one2many writes the other side's many2one.
            if field.kind == FieldKind::One2many {
                self.inverse(field.relation.as_deref(), field.relation_field.as_deref())?;
            }
        }
        Ok(())
    }

    fn inverse(&mut self, relation: Option<&str>, inverse: Option<&str>) -> Result<(), Error> {
        match relation {
            Some(relation) => self.add_fields(relation, GrantOperation::Write, inverse),
            None => Ok(()),
        }
    }

    fn commands(&mut self, model: &str, field: &str, commands: &[Command]) -> Result<(), Error> {
        let field = self.schema.model(model)?.field(field)?;
        let Some(relation) = field.relation.as_deref() else {
            return Ok(());
        };
        for command in commands {
            match command {
                Command::Create(values) => {
                    self.add(relation, GrantOperation::Create)?;
                    self.values(relation, GrantOperation::Create, values)?;
                }
                Command::Update(_, values) => self.values(relation, GrantOperation::Write, values)?,
                Command::Delete(_) => self.add(relation, GrantOperation::Unlink)?,
                Command::Link(_) | Command::Unlink(_) | Command::Clear | Command::Replace(_) => {
                    if field.kind == FieldKind::One2many {
                        self.inverse(Some(relation), field.relation_field.as_deref())?;
                    }
                }
            }
        }
        Ok(())
    }
}
