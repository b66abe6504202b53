//! Which models a call reaches, so that they are known before it is judged.

use triggerbox_model::{
    call::{Call, Command, DomainSource},
    domain::{Condition, Domain, Operand},
    error::Error,
    value::FieldValue,
};

/// The paths that a call names, each from a model on. A path may be empty: then only the model is meant.
///
/// # Errors
/// `bad-domain`
pub(crate) fn paths(call: &Call) -> Result<Vec<(String, String)>, Error> {
    let mut found = Found::default();
    match call {
        Call::Search { model, domain, page } => {
            found.domain(model, domain)?;
            found.order(model, page.order.as_deref());
        }
        Call::SearchRead { model, domain, fields, page } => {
            found.domain(model, domain)?;
            found.order(model, page.order.as_deref());
            found.fields(model, fields);
        }
        Call::SearchCount { model, domain } => found.domain(model, domain)?,
        Call::Read { model, fields, .. }
        | Call::FieldsGet { model, fields }
        | Call::DescribeFields { model, fields } => {
            found.fields(model, fields);
        }
        Call::ReadGroup { model, domain, group_by, aggregates, page } => {
            found.domain(model, domain)?;
            for item in group_by.iter().chain(aggregates) {
                found.path(model, item.split(':').next().unwrap_or_default());
            }
            found.order(model, page.order.as_deref());
        }
        Call::Create { model, values } => {
            values.iter().for_each(|values| found.values(model, values));
            found.path(model, "");
        }
        Call::Ensure { model, values, .. } | Call::Write { model, values, .. } => found.values(model, values),
        Call::Copy { target, values } => found.values(&target.model, values),
        Call::Relate { target, field, commands } => {
            found.path(&target.model, field);
            for command in commands {
                if let Command::Create(values) | Command::Update(_, values) = command {
                    for value in values {
                        found.path(&target.model, &format!("{field}.{}", value.name));
                    }
                }
            }
            // The other side of a one2many is written, too.
            found.path(&target.model, &format!("{field}.id"));
        }
        Call::NameSearch { model, .. }
        | Call::HasAccess { model, .. }
        | Call::Unlink { model, .. }
        | Call::CallMethod { model, .. } => found.path(model, ""),
        Call::Mention { target }
        | Call::PostMessage { target, .. }
        | Call::PostNote { target, .. }
        | Call::ScheduleActivity { target, .. }
        | Call::CompleteActivities { target, .. }
        | Call::AddFollowers { target, .. }
        | Call::RemoveFollowers { target, .. }
        | Call::ReadMessages { target, .. } => found.path(&target.model, ""),
        Call::ResolveXmlid { .. }
        | Call::StateGet { .. }
        | Call::StateSet { .. }
        | Call::Complete { .. }
        | Call::Send { .. } => {}
    }
    Ok(found.0)
}

/// The paths of a domain, those of its sub-domains joined on to the relation that they are about.
pub(crate) fn domain_paths(domain: &Domain, before: &str, found: &mut Vec<String>) {
    domain.for_each_condition(&mut |Condition { field, value, .. }| {
        let path = if before.is_empty() { field.clone() } else { format!("{before}.{field}") };
        if let Operand::Domain(inner) = value {
            domain_paths(inner, &path, found);
        }
        found.push(path);
    });
}

#[derive(Default)]
struct Found(Vec<(String, String)>);

impl Found {
    fn path(&mut self, model: &str, path: &str) {
        self.0.push((model.to_owned(), path.to_owned()));
    }

    fn fields(&mut self, model: &str, fields: &[String]) {
        self.path(model, "");
        fields.iter().for_each(|field| self.path(model, field));
    }

    fn values(&mut self, model: &str, values: &[FieldValue]) {
        self.path(model, "");
        values.iter().for_each(|value| self.path(model, &value.name));
    }

    fn order(&mut self, model: &str, order: Option<&str>) {
        for term in order.unwrap_or_default().split(',') {
            let name = term.split_whitespace().next().unwrap_or_default();
            self.path(model, name.split(':').next().unwrap_or_default());
        }
    }

    fn domain(&mut self, model: &str, source: &DomainSource) -> Result<(), Error> {
        self.path(model, "");
        let mut found = Vec::new();
        domain_paths(&Domain::from_source(source)?, "", &mut found);
        self.0.extend(found.into_iter().map(|path| (model.to_owned(), path)));
        Ok(())
    }
}
