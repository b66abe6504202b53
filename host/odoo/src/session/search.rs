//! Searches, with what is staged judged here where it can be judged.

use std::{cmp::Ordering, collections::BTreeSet};

use serde_json::{Value as Json, json};
use triggerbox_model::{
    call::{Answer, DomainSource, GroupPage, Page},
    domain::{
        Condition, Domain, Literal, Operand, Operator, eval,
        filter::Cell,
        memory::Memory,
        resolve::{self, utc_clock},
    },
    error::Error,
    schema::FieldKind,
    value::{Id, RecordRef, Value, is_provisional},
};

use super::{Fail, Session, odd, pending, require_fields};
use crate::{groups, paths, value};

/// What a search comes to before its page is cut.
enum Found {
    /// Nothing staged has to do with it.
    Untouched,
    /// The staged records that match; all others are asked without these.
    Staged { matching: Vec<Id>, all: BTreeSet<Id> },
}

/// What becomes of a record of which something is pending that the domain asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// The search fails.
    Refuse,
    /// It is left out.
    NoMatch,
}

impl Session {
    pub(super) async fn search(&mut self, model: &str, source: &DomainSource, page: &Page) -> Result<Vec<Id>, Fail> {
        self.search_by(model, Domain::from_source(source)?, page, Unknown::Refuse).await
    }

    async fn search_by(&mut self, model: &str, domain: Domain, page: &Page, unknown: Unknown) -> Result<Vec<Id>, Fail> {
        match self.judge(model, &domain, page.order.as_deref(), page.archived, unknown).await? {
            Found::Untouched => {
                let answer = self.ask(model, "search", self.query(&domain, page, page.offset, page.limit)).await?;
                Ok(ids(&answer)?)
            }
            Found::Staged { matching, all } => {
                let rest = Domain::and([domain, not_among(&all)]);
                if matching.is_empty() {
                    let answer = self.ask(model, "search", self.query(&rest, page, page.offset, page.limit)).await?;
                    return Ok(ids(&answer)?);
                }
                let upto = page.limit.map(|limit| limit.saturating_add(page.offset));
                let others = ids(&self.ask(model, "search", self.query(&rest, page, 0, upto)).await?)?;
                let merged = self.merge(model, others, matching, page.order.as_deref()).await?;
                let limit = page.limit.map_or(usize::MAX, |limit| limit as usize);
                Ok(merged.into_iter().skip(page.offset as usize).take(limit).collect())
            }
        }
    }

    pub(super) async fn search_read(
        &mut self,
        model: &str,
        source: &DomainSource,
        fields: &[String],
        page: &Page,
    ) -> Result<Answer, Fail> {
        require_fields(fields)?;
        for field in fields {
            self.kind(model, field)?;
        }
        // Asked for archived records, Odoo lists them in fields, too: no other read does, nor the commit that compares.
        let apart = page.archived && fields.iter().any(|field| self.kind(model, field).is_ok_and(FieldKind::is_x2many));
        let domain = Domain::from_source(source)?;
        let ids = match self.judge(model, &domain, page.order.as_deref(), page.archived, Unknown::Refuse).await? {
            Found::Untouched if !apart => {
                let mut body = self.query(&domain, page, page.offset, page.limit);
                if let Some(body) = body.as_object_mut() {
                    body.insert("fields".to_owned(), json!(fields));
                }
                let rows = self.ask(model, "search_read", body).await?;
                self.keep(model, fields, &rows)?
            }
            Found::Untouched | Found::Staged { .. } => self.search(model, source, page).await?,
        };
        Ok(Answer::Rows(self.rows(model, &ids, fields).await?))
    }

    pub(super) async fn search_count(&mut self, model: &str, source: &DomainSource) -> Result<Answer, Fail> {
        let domain = Domain::from_source(source)?;
        let (domain, more) = match self.judge(model, &domain, Some("id"), false, Unknown::Refuse).await? {
            Found::Untouched => (domain, 0),
            Found::Staged { matching, all } => (Domain::and([domain, not_among(&all)]), matching.len()),
        };
        let body = json!({ "domain": json_of(&domain), "context": self.context(false) });
        let count = self.ask(model, "search_count", body).await?.as_u64().ok_or_else(|| odd("a count"))?;
        Ok(Answer::Count(u32::try_from(count.saturating_add(more as u64)).unwrap_or(u32::MAX)))
    }

    pub(super) async fn read_group(
        &mut self,
        model: &str,
        source: &DomainSource,
        group_by: &[String],
        aggregates: &[String],
        page: &GroupPage,
    ) -> Result<Answer, Fail> {
        let domain = Domain::from_source(source)?;
        let mut named = Vec::new();
        paths::domain_paths(&domain, "", &mut named);
        named.extend(
            group_by.iter().chain(aggregates).map(|item| item.split(':').next().unwrap_or_default().to_owned()),
        );
        let mut reached = self.overlay.knows(model);
        for path in named.iter().filter(|path| *path != "__count") {
            reached = reached || self.reaches(model, path).await?;
        }
        if reached {
            let message =
                format!("groups of `{model}` records that this run changes are known only when it is applied");
            return Err(pending(message).into());
        }
        let having = page.having.as_deref().map(Literal::parse).transpose()?;
        let mut asked = aggregates.to_vec();
        if !asked.iter().any(|item| item == "__count") {
            asked.push("__count".to_owned());
        }
        let body = json!({
            "domain": json_of(&domain), "groupby": group_by, "aggregates": asked,
            "having": having.map_or_else(|| json!([]), |having| having.to_json()),
            "offset": page.offset, "limit": page.limit, "order": page.order, "context": self.context(page.archived),
        });
        let answer = self.ask(model, "formatted_read_group", body).await?;
        Ok(Answer::Groups(groups::groups(&self.schema, model, group_by, aggregates, &answer)?))
    }

    fn query(&self, domain: &Domain, page: &Page, offset: u32, limit: Option<u32>) -> Json {
        json!({
            "domain": json_of(domain), "offset": offset, "limit": limit, "order": page.order,
            "context": self.context(page.archived),
        })
    }

    /// Judges the staged records of a model by a domain.
    async fn judge(
        &mut self,
        model: &str,
        domain: &Domain,
        order: Option<&str>,
        archived: bool,
        unknown: Unknown,
    ) -> Result<Found, Fail> {
        let mut named = Vec::new();
        paths::domain_paths(domain, "", &mut named);
        let order_fields = order.unwrap_or_default().split(',').filter_map(|term| term.split_whitespace().next());
        named.extend(order_fields.map(str::to_owned));
        let mut reached = self
            .overlay
            .records(model)
            .iter()
            .any(|id| self.overlay.is_created(model, *id) || self.overlay.is_deleted(model, *id));
        let hides = self.schema.model(model)?.active_name.clone().filter(|name| !archived && !domain.mentions(name));
        named.extend(hides.clone());
        for path in &named {
            reached = reached || self.reaches(model, path).await?;
        }
        if !reached {
            return Ok(Found::Untouched);
        }
        self.check_judgeable(model, domain)?;
        let all = self.overlay.records(model);
        let alive: Vec<Id> = all.iter().copied().filter(|id| !self.overlay.is_deleted(model, *id)).collect();
        let mut fields: Vec<String> = Vec::new();
        domain.for_each_condition(&mut |condition| fields.push(condition.field.clone()));
        fields.extend(hides);
        fields.retain(|field| field != "id");
        fields.sort();
        fields.dedup();
        let mut memory = Memory::default();
        let fetched = if fields.is_empty() { vec!["display_name".to_owned()] } else { fields.clone() };
        for row in self.rows(model, &alive, &fetched).await? {
            if unknown == Unknown::NoMatch && row.values.iter().any(super::is_pending) {
                continue;
            }
            let columns = memory.records.entry(model.to_owned()).or_default().entry(row.id).or_default();
            for (field, value) in fetched.iter().zip(&row.values) {
                if fields.is_empty() {
                    continue;
                }
                let value = match value {
                    // A new record is not archived, unless it says so.
                    Value::Pending if field == "active" && is_provisional(row.id) => &Value::Boolean(true),
                    Value::Pending => {
                        let message = format!("`{field}` of {model}({}) is known only when the run is applied", row.id);
                        return Err(pending(message).into());
                    }
                    value => value,
                };
                columns.insert(field.clone(), Cell::of(value)?);
            }
        }
        let clock = utc_clock(self.now);
        let context = resolve::Context {
            schema: &self.schema,
            clock: &clock,
            parts_tz: Some(&self.account.user.tz),
            lang: "en_US",
            lang_known: true,
            active_test: !archived,
            user: self.account.user.id,
            access: None,
        };
        let filter = resolve::search(&context, model, domain)?;
        let mut matching = Vec::new();
        for id in alive {
            if memory.records.get(model).is_some_and(|records| records.contains_key(&id))
                && eval::matches(&memory, model, id, &filter)?
            {
                matching.push(id);
            }
        }
        Ok(Found::Staged { matching, all })
    }

    /// Only plain fields of the record itself can be judged here.
    fn check_judgeable(&self, model: &str, domain: &Domain) -> Result<(), Error> {
        let described = self.schema.model(model)?;
        let mut wrong = None;
        domain.for_each_condition(&mut |Condition { field, operator, value }| {
            let kind = described.fields.get(field.as_str()).map(|field| field.kind);
            let plain = match kind {
                None => field == "id",
                Some(FieldKind::Many2one) => matches!(value, Operand::Literal(value) if is_ids(value)),
                Some(kind) => {
                    !kind.is_x2many() && !matches!(kind, FieldKind::Json | FieldKind::Binary | FieldKind::Reference)
                }
            };
            let hierarchy =
                matches!(operator, Operator::Any | Operator::NotAny | Operator::ChildOf | Operator::ParentOf);
            if !plain || hierarchy {
                wrong.get_or_insert_with(|| field.clone());
            }
        });
        match wrong {
            None => Ok(()),
            Some(field) => Err(pending(format!(
                "whether the `{model}` records that this run changes match a domain with `{field}` is known only when it is \
                 applied; search first, then change"
            ))
            .with_field(field)),
        }
    }

    /// Puts staged records where the order wants them.
    async fn merge(
        &mut self,
        model: &str,
        others: Vec<Id>,
        staged: Vec<Id>,
        order: Option<&str>,
    ) -> Result<Vec<Id>, Fail> {
        if others.is_empty() && staged.len() == 1 {
            return Ok(staged);
        }
        let unknown = || {
            let message = format!(
                "where the `{model}` records that this run changes stand in this order is known only when it is applied; \
                 order by id, a number or a date"
            );
            Fail::Script(pending(message))
        };
        let terms = order.unwrap_or_default().split(',').map(|term| {
            let mut words = term.split_whitespace();
            (
                words.next().unwrap_or_default().to_owned(),
                words.next().is_some_and(|word| word.eq_ignore_ascii_case("desc")),
            )
        });
        let mut terms: Vec<(String, bool)> = terms.collect();
        for (field, _) in &terms {
            let sorted = matches!(
                self.kind(model, field),
                Ok(FieldKind::Integer
                    | FieldKind::Float
                    | FieldKind::Monetary
                    | FieldKind::Boolean
                    | FieldKind::Date
                    | FieldKind::Datetime)
            );
            if !sorted {
                return Err(unknown());
            }
        }
        // Ties would be in an order that nobody asked for.
        if !terms.iter().any(|(field, _)| field == "id") {
            terms.push(("id".to_owned(), false));
        }
        let fields: Vec<String> = terms.iter().map(|(field, _)| field.clone()).collect();
        let mut all = others;
        all.extend(staged);
        let mut rows = self.rows(model, &all, &fields).await?;
        if rows.iter().any(|row| row.values.iter().any(super::is_pending)) {
            return Err(unknown());
        }
        rows.sort_by(|a, b| {
            let pairs = a.values.iter().zip(&b.values).zip(&terms);
            let compared = pairs.map(|((a, b), (_, desc))| {
                let order = compare(a, b);
                if *desc { order.reverse() } else { order }
            });
            compared.fold(Ordering::Equal, Ordering::then)
        });
        Ok(rows.into_iter().map(|row| row.id).collect())
    }

    /// Finds a record by its key fields, archived ones included. Records of the run whose keys nobody knows yet are no match:
    /// the commit looks once more, and takes one of them if it has the keys by then.
    pub(super) async fn find(&mut self, model: &str, keys: Vec<(String, Literal)>) -> Result<Option<Id>, Fail> {
        let domain = Domain::and(keys.into_iter().map(|(key, value)| Domain::condition(key, Operator::Equal, value)));
        let page = Page { archived: true, limit: Some(1), order: Some("id".to_owned()), ..Page::default() };
        let found = self.search_by(model, domain, &page, Unknown::NoMatch).await?;
        Ok(found.first().copied())
    }

    /// Reads names that are not known yet, one request for each model.
    pub(crate) async fn learn_names(&mut self, records: BTreeSet<RecordRef>) -> Result<(), Fail> {
        let known = self.names();
        let mut wanted: std::collections::BTreeMap<String, Vec<Id>> = std::collections::BTreeMap::new();
        for record in records.into_iter().filter(|record| !is_provisional(record.id) && !known.contains_key(record)) {
            wanted.entry(record.model).or_default().push(record.id);
        }
        for (model, ids) in wanted {
            self.fetch(&model, &ids, &["display_name".to_owned()]).await?;
        }
        Ok(())
    }
}

/// Numbers and dates; unset ones last, as PostgreSQL has it.
fn compare(a: &Value, b: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::Integer(number) => Some(f64::from(*number)),
        Value::Number(number) => Some(*number),
        Value::Boolean(flag) => Some(f64::from(u8::from(*flag))),
        _ => None,
    };
    match (a, b) {
        (Value::Date(a), Value::Date(b)) | (Value::Datetime(a), Value::Datetime(b)) => a.cmp(b),
        (Value::Unset, Value::Unset) => Ordering::Equal,
        (Value::Unset, _) => Ordering::Greater,
        (_, Value::Unset) => Ordering::Less,
        (a, b) => number(a).partial_cmp(&number(b)).unwrap_or(Ordering::Equal),
    }
}

/// A domain as JSON-2 takes it: parsed here, written anew, nothing but literals.
pub(crate) fn json_of(domain: &Domain) -> Json {
    match domain {
        Domain::Always => json!([]),
        Domain::Never => json!([[0, "=", 1]]),
        domain => domain.to_literal().to_json(),
    }
}

fn not_among(ids: &BTreeSet<Id>) -> Domain {
    let real = ids.iter().filter(|id| !is_provisional(**id)).map(|id| Literal::Integer(i64::from(*id)));
    Domain::condition("id", Operator::NotIn, Literal::List(real.collect()))
}

fn is_ids(literal: &Literal) -> bool {
    match literal {
        Literal::Integer(_) | Literal::Bool(false) | Literal::None => true,
        Literal::List(items) => items.iter().all(|item| matches!(item, Literal::Integer(_) | Literal::Bool(false))),
        _ => false,
    }
}

fn ids(answer: &Json) -> Result<Vec<Id>, Error> {
    let ids = answer.as_array().ok_or_else(|| odd("a search"))?;
    ids.iter().map(value::id).collect::<Option<_>>().ok_or_else(|| odd("a search"))
}
