//! Which rights a call needs: one [`Need`] for each model and operation that it touches, those that
//! its domains, orders, groupings and x2many commands reach included.

use std::collections::{BTreeMap, BTreeSet};

use triggerbox_model::{
    call::{Call, Command, DomainSource, Operation, WITH_CONTEXT},
    changes::{ChangeSet, Effect},
    domain::{Condition, Domain, Operand, Operator},
    error::Error,
    grants::{GrantOperation, Need},
    schema::{Field, FieldKind, Model, Schema},
    value::FieldValue,
};
use triggerbox_store::write::copied_with;

/// What a call needs, on the records that it names and on those that it reaches ([`Need::reached`]).
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
        Call::NameSearch { model, .. } | Call::FieldsGet { model, .. } | Call::DescribeFields { model, .. } => {
            needs.add(model, GrantOperation::Read)?;
        }
        Call::HasAccess { model, operation, .. } => needs.add(model, granted(*operation))?,
        Call::Mention { target } => needs.add(&target.model, GrantOperation::Read)?,
        Call::ReadMessages { target, .. } => {
            needs.add(&target.model, GrantOperation::Read)?;
            needs.paths(&target.model, &["message_ids".to_owned()])?;
        }
        Call::Create { model, values } => {
            needs.add(model, GrantOperation::Create)?;
            for record in values {
                needs.values(model, GrantOperation::Create, false, record)?;
            }
        }
        Call::Ensure { model, keys, values } => {
            needs.add(model, GrantOperation::Create)?;
            needs.values(model, GrantOperation::Create, false, values)?;
            needs.add(model, GrantOperation::Read)?;
            needs.paths(model, keys)?;
        }
        Call::Copy { target, values } => {
            needs.add(&target.model, GrantOperation::Create)?;
            needs.values(&target.model, GrantOperation::Create, false, values)?;
            needs.copied(&target.model, true)?;
        }
        Call::Write { model, values, .. } => {
            needs.add(model, GrantOperation::Write)?;
            needs.values(model, GrantOperation::Write, false, values)?;
        }
        Call::Relate { target, field, commands } => {
            needs.note(&target.model, GrantOperation::Write, false, [field.as_str()])?;
            needs.commands(&target.model, field, commands)?;
        }
        Call::Unlink { model, .. } => needs.add(model, GrantOperation::Unlink)?,
        // What a context means is said by the calls after it.
        Call::CallMethod { model, method, .. } if method == WITH_CONTEXT => drop(schema.model(model)?),
        Call::CallMethod { model, method, .. } if method == "default_get" => needs.add(model, GrantOperation::Read)?,
        Call::CallMethod { model, method, .. } if method == "copy_data" => {
            needs.copied(model, false)?;
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
    for need in needs.found.iter_mut().filter(|need| need.operation == GrantOperation::Create) {
        need.keys = match call {
            Call::HasAccess { .. } => None,
            Call::Ensure { keys, .. } if !need.reached => Some(keys.iter().cloned().collect()),
            _ => Some(BTreeSet::new()),
        };
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

/// Whether what a run staged may delete records, on a server that tells only at the commit whether it does.
pub(crate) fn may_delete(schema: &Schema, changes: &ChangeSet) -> bool {
    changes.effects.iter().any(|effect| {
        let call = match effect.clone() {
            Effect::Write { model, ids, values } => Call::Write { model, ids, values },
            Effect::Relate { target, field, commands } => Call::Relate { target, field, commands },
            _ => return false,
        };
        needs(schema, &call).map_or(true, |needs| needs.iter().any(|need| need.operation == GrantOperation::Unlink))
    })
}

/// Needs in the order they were found, one for each model and operation; those on reached records apart.
struct Needs<'a> {
    schema: &'a Schema,
    found: Vec<Need>,
    index: BTreeMap<(String, GrantOperation, bool), usize>,
}

impl<'a> Needs<'a> {
    /// A need on the records that the call names.
    fn add(&mut self, model: &str, operation: GrantOperation) -> Result<(), Error> {
        self.note(model, operation, false, [])
    }

    /// A need on records that the call reaches.
    fn reach(&mut self, model: &str, operation: GrantOperation) -> Result<(), Error> {
        self.note(model, operation, true, [])
    }

    fn note<'f>(
        &mut self,
        model: &str,
        operation: GrantOperation,
        reached: bool,
        fields: impl IntoIterator<Item = &'f str>,
    ) -> Result<(), Error> {
        self.schema.model(model)?;
        let next = self.found.len();
        let index = *self.index.entry((model.to_owned(), operation, reached)).or_insert(next);
        if index == next {
            self.found.push(Need { reached, ..Need::new(model, operation) });
        }
        if let Some(need) = self.found.get_mut(index) {
            need.fields.extend(fields.into_iter().map(str::to_owned));
        }
        Ok(())
    }

    /// All that copies of a model's records are made of: its own fields, its lines, and what it shows of the record behind it.
    /// Making them makes lines, too.
    fn copied(&mut self, model: &str, makes: bool) -> Result<(), Error> {
        let (mut known, mut open) = (BTreeSet::new(), self.copied_parts(model, false)?);
        while let Some((part, is_line)) = open.pop() {
            if !known.insert((part, is_line)) {
                continue;
            }
            if makes && is_line {
                self.reach(part, GrantOperation::Create)?;
            }
            open.extend(self.copied_parts(part, true)?);
        }
        Ok(())
    }

    /// Notes the fields of a model that are copied. The models of which records are copied with its own, and whether these are
    /// records of their own: its lines are, and what is behind it is not.
    fn copied_parts(&mut self, model: &str, reached: bool) -> Result<Vec<(&'a str, bool)>, Error> {
        let described = self.schema.model(model)?;
        let copied = described.fields.iter().filter(|(_, field)| field.copy && field.store);
        self.note(model, GrantOperation::Read, reached, copied.clone().map(|(name, _)| name.as_str()))?;
        let lines = copied.filter(|(_, field)| field.kind == FieldKind::One2many);
        let lines = lines.filter_map(|(_, field)| field.relation.as_deref()).chain(copied_with(model));
        let behind = described.inherits.keys().map(|parent| (parent.as_str(), false));
        let parts = lines.map(|line| (line, true)).chain(behind);
        Ok(parts.filter(|(part, _)| self.schema.models.contains_key(*part)).collect())
    }

    fn query(&mut self, model: &str, domain: &DomainSource, fields: &[String]) -> Result<(), Error> {
        self.add(model, GrantOperation::Read)?;
        self.paths(model, fields)?;
        self.domain(self.schema.model(model)?, false, &Domain::from_source(domain)?)
    }

    fn domain(&mut self, model: &'a Model, reached: bool, domain: &Domain) -> Result<(), Error> {
        match domain {
            Domain::Always | Domain::Never => Ok(()),
            Domain::And(parts) | Domain::Or(parts) => {
                parts.iter().try_for_each(|part| self.domain(model, reached, part))
            }
            Domain::Not(part) => self.domain(model, reached, part),
            Domain::Condition(Condition { field, operator, value }) => {
                let last = self.path(model, reached, field)?;
                match (operator, value, last) {
                    (_, Operand::Domain(sub), Some(related)) => self.domain(related, true, sub),
                    // What is above a record is read of those between, too.
                    (Operator::ChildOf | Operator::ParentOf, _, Some(related)) if related.name == model.name => {
                        self.reach(&model.name, GrantOperation::Read)
                    }
                    _ => Ok(()),
                }
            }
        }
    }

    fn paths(&mut self, model: &str, paths: &[String]) -> Result<(), Error> {
        let model = self.schema.model(model)?;
        paths.iter().try_for_each(|path| self.path(model, false, path).map(drop))
    }

    /// Every hop of a path is a read of that hop's model. Returns the model that the path leads to.
    fn path(&mut self, model: &'a Model, reached: bool, path: &str) -> Result<Option<&'a Model>, Error> {
        let (mut model, mut reached) = (model, reached);
        for name in path.split('.') {
            self.note(&model.name, GrantOperation::Read, reached, [name])?;
            reached = true;
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

    fn values(
        &mut self,
        model: &str,
        operation: GrantOperation,
        reached: bool,
        values: &[FieldValue],
    ) -> Result<(), Error> {
        self.note(model, operation, reached, values.iter().map(|field| field.name.as_str()))?;
        let model = self.schema.model(model)?;
        for value in values {
            let field = model.field(&value.name)?;
            // Replacing a one2many writes the other side's many2one.
            self.inverse(field)?;
            // A new record has no list that anything could leave.
            if operation == GrantOperation::Write {
                self.leave(field)?;
            }
        }
        Ok(())
    }

    /// Whatever enters or leaves a one2many, its many2one is written.
    fn inverse(&mut self, field: &Field) -> Result<(), Error> {
        match (field.kind, &field.relation) {
            (FieldKind::One2many, Some(relation)) => {
                self.note(relation, GrantOperation::Write, true, field.relation_field.as_deref())
            }
            _ => Ok(()),
        }
    }

    /// What leaves a one2many that it cannot be without is deleted. An Odoo server does not tell which that is.
    fn leave(&mut self, field: &Field) -> Result<(), Error> {
        let (FieldKind::One2many, Some(relation)) = (field.kind, &field.relation) else { return Ok(()) };
        let inverse = self.schema.model(relation)?.fields.get(field.relation_field.as_deref().unwrap_or_default());
        if self.schema.remote || inverse.is_none_or(Field::belongs) {
            self.reach(relation, GrantOperation::Unlink)?;
        }
        Ok(())
    }

    fn commands(&mut self, model: &str, field: &str, commands: &[Command]) -> Result<(), Error> {
        let field = self.schema.model(model)?.field(field)?;
        let Some(relation) = field.relation.as_deref() else {
            return Ok(());
        };
        for command in commands {
            match command {
                Command::Create(values) => {
                    self.reach(relation, GrantOperation::Create)?;
                    self.values(relation, GrantOperation::Create, true, values)?;
                }
                Command::Update(_, values) => self.values(relation, GrantOperation::Write, true, values)?,
                Command::Delete(_) => self.reach(relation, GrantOperation::Unlink)?,
                Command::Link(_) => self.inverse(field)?,
                Command::Unlink(_) | Command::Clear | Command::Replace(_) => {
                    self.inverse(field)?;
                    self.leave(field)?;
                }
            }
        }
        Ok(())
    }
}
