//! What the standard models do beyond their fields: names of contacts, order lines from products, won leads.
//!
//! Only what scripts and people would miss at once; each model's part works as far as the schema has its fields.

use rusqlite::{OptionalExtension, types::Value as Cell};
use triggerbox_model::{
    error::Error,
    schema::Model,
    value::{Id, Value},
};

use super::{
    Command, Input, Row, Values, Writer, columns,
    compute::{as_number, leads_somewhere},
    update::given_value,
    values,
};

use crate::db::fault;

/// What else is soon asked of a contact or task that a new record takes values over from.
const ASKED_SOON: &str = "company_id";

/// States of tasks that are over.
const CLOSED: [&str; 2] = ["1_done", "1_canceled"];

/// What people call a product by besides its name.
const REFERENCE: &str = "default_code";

impl<'a> Writer<'a> {
    /// Values that follow from the given ones before a record is made.
    pub(super) fn add_known_values(&mut self, model: &Model, given: &mut Values) -> Result<(), Error> {
        match model.name.as_str() {
            "mail.message" => {
                if let Some(author) = self.user_partner()? {
                    preset(model, given, "author_id", || Value::link(author));
                    if let Some(email) = self.formatted_email(Some(author))? {
                        preset(model, given, "email_from", || Value::Text(email));
                    }
                }
            }
            "res.country" => tidy(given, "code", str::to_uppercase),
            "res.partner" => {
                tidy(given, "website", web_address);
                self.take_over(
                    model,
                    given,
                    "parent_id",
                    "res.partner",
                    &[("user_id", "user_id"), ("lang", "lang")],
                    &[],
                )?;
                preset(model, given, "lang", || Value::text(&self.env.lang));
            }
            "crm.lead" => {
                let fields = [
                    ("email_from", "email"),
                    ("phone", "phone"),
                    ("partner_name", "commercial_company_name"),
                    ("street", "street"),
                    ("city", "city"),
                    ("zip", "zip"),
                    ("country_id", "country_id"),
                    ("function", "function"),
                    ("website", "website"),
                ];
                let contact =
                    self.take_over(model, given, "partner_id", "res.partner", &fields, &["is_company", "name"])?;
                if let Ok([is_company, Cell::Text(name)]) = <[Cell; 2]>::try_from(contact)
                    && is_company != Cell::Integer(1)
                {
                    preset(model, given, "contact_name", || Value::Text(name));
                }
                if !given.contains_key("name") {
                    let partner = linked(given, "partner_id");
                    let name = partner.map(|partner| self.text("res.partner", "name", partner)).transpose()?.flatten();
                    let name = name.map_or(Value::Unset, |name| Value::Text(format!("{name}'s opportunity")));
                    given.insert("name".to_owned(), Input::Value(name));
                }
                self.add_lead_company(model, given)?;
                for dated in ["date_last_stage_update", "date_open"] {
                    if dated == "date_last_stage_update"
                        || matches!(given_value(given, "user_id"), Some(Value::Many2one(_)))
                    {
                        preset(model, given, dated, || self.now_value());
                    }
                }
            }
            "sale.order" => {
                if let Some(company) = linked(given, "company_id")
                    && let Some(currency) = self.cell("res.company", "currency_id", company)?
                {
                    let currency = values::as_id(&currency);
                    preset(model, given, "currency_id", || currency.map_or(Value::Unset, Value::link));
                }
                for address in ["partner_invoice_id", "partner_shipping_id"] {
                    if let Some(partner) = given_value(given, "partner_id").cloned() {
                        preset(model, given, address, || partner);
                    }
                }
                // An order that is nobody's stays nobody's.
                if !given.contains_key("user_id") {
                    self.take_over(model, given, "partner_id", "res.partner", &[("user_id", "user_id")], &[])?;
                }
            }
            "project.task" => {
                self.take_over(model, given, "parent_id", "project.task", &[("project_id", "project_id")], &[])?;
                if let (Some(project), false) = (linked(given, "project_id"), given.contains_key("stage_id"))
                    && let Some(stage) = self.first_stage(project)?
                {
                    preset(model, given, "stage_id", || Value::link(stage));
                }
                self.add_author(model, given);
                if given.get("user_ids").is_some_and(names_somebody) {
                    let now = self.now_value();
                    preset(model, given, "date_assign", || now);
                }
                self.add_assignee(model, given)?;
            }
            "sale.order.line" => {
                if let Some(product) = linked(given, "product_id") {
                    self.take_from_product(model, given, product)?;
                }
                preset(model, given, "price_unit", || Value::Number(0.0));
            }
            _ => {}
        }
        Ok(())
    }

    /// A task is for whoever makes it, if nobody is named, and it does not come with its project.
    fn add_assignee(&self, model: &Model, given: &mut Values) -> Result<(), Error> {
        if !model.fields.contains_key("user_ids") || given.contains_key("user_ids") {
            return Ok(());
        }
        let project = match linked(given, "parent_id").filter(|_| model.has_column("project_id")) {
            Some(parent) => self.cell(&model.name, "project_id", parent)?.as_ref().and_then(values::as_id),
            None => linked(&self.options.defaults, "project_id"),
        };
        if project.is_none() {
            let me = Input::Commands(vec![Command::Replace(vec![self.env.user])]);
            given.insert("user_ids".to_owned(), me);
        }
        Ok(())
    }

    /// A task of no project is for whoever makes it too, where it is said who it is for.
    fn add_author(&self, model: &Model, given: &mut Values) {
        const SYSTEM: Id = 1;
        if linked(given, "project_id").is_some() || linked(given, "parent_id").is_some() || self.env.user == SYSTEM {
            return;
        }
        let mut users = match given.get("user_ids") {
            Some(Input::Value(Value::Ids(users))) if !users.is_empty() => users.clone(),
            Some(Input::Commands(commands)) => match commands.as_slice() {
                [Command::Replace(users)] => users.clone(),
                _ => return,
            },
            _ => return,
        };
        if model.fields.contains_key("user_ids") && !users.contains(&self.env.user) {
            users.push(self.env.user);
            given.insert("user_ids".to_owned(), Input::Commands(vec![Command::Replace(users)]));
        }
    }

    /// The company of a lead is its team's. Without a salesperson, it has a team only if it is given one.
    fn add_lead_company(&self, model: &Model, given: &mut Values) -> Result<(), Error> {
        if linked(given, "user_id").is_none() && model.has_column("user_id") {
            preset(model, given, "team_id", || Value::Unset);
        }
        let company = match linked(given, "team_id") {
            Some(team) => self.company_of("crm.team", team)?,
            None => None,
        };
        let company = match (company, linked(given, "user_id"), linked(given, "partner_id")) {
            (Some(company), ..) => Some(company),
            (None, Some(_), _) => return Ok(()),
            (None, None, Some(partner)) => self.company_of("res.partner", partner)?,
            (None, None, None) => None,
        };
        preset(model, given, "company_id", || company.map_or(Value::Unset, Value::link));
        Ok(())
    }

    fn company_of(&self, model: &str, id: Id) -> Result<Option<Id>, Error> {
        if !self.schema().models.get(model).is_some_and(|described| described.has_column("company_id")) {
            return Ok(None);
        }
        Ok(self.cell(model, "company_id", id)?.as_ref().and_then(values::as_id))
    }

    /// The stage that a project's new tasks are in.
    fn first_stage(&self, project: Id) -> Result<Option<Id>, Error> {
        let Some(stages) = self.schema().models.get("project.project").and_then(|model| model.fields.get("type_ids"))
        else {
            return Ok(None);
        };
        let mut open = Vec::new();
        for stage in super::linked_ids(self.conn, stages, project)? {
            if !matches!(self.cell("project.task.type", "fold", stage)?, Some(Cell::Integer(1))) {
                let sequence = as_number(self.cell("project.task.type", "sequence", stage)?.as_ref());
                open.push((sequence, stage));
            }
        }
        Ok(open
            .into_iter()
            .min_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)))
            .map(|(_, stage)| stage))
    }

    /// What an order line has from its product: price, unit, description.
    fn take_from_product(&self, model: &Model, given: &mut Values, product: Id) -> Result<(), Error> {
        let described = self.schema().model("product.product")?;
        for (field, path) in [("price_unit", "list_price"), ("product_uom_id", "product_tmpl_id.uom_id")] {
            if model.has_column(field) && !given.contains_key(field) && leads_somewhere(self.schema(), described, path)
            {
                let cell = self.follow_path(described, path, product)?.unwrap_or(Cell::Null);
                let kind = model.field(field)?.kind;
                given.insert(field.to_owned(), Input::Value(values::from_cell(kind, cell)));
            }
        }
        if !given.contains_key("name") {
            let name = self.product_name(described, product)?;
            given.insert("name".to_owned(), Input::Value(Value::Text(name)));
        }
        Ok(())
    }

    /// Whether something follows from new records of a model as they are.
    pub(super) fn is_finished(model: &Model) -> bool {
        let finished = ["res.partner", "product.category", "product.template", "sale.order.line", "project.task"];
        finished.contains(&model.name.as_str())
    }

    /// Stored values that follow from the record as it now is. `changed`: the fields of it that were; none: it is new.
    pub(super) fn finish_known(
        &mut self,
        model: &Model,
        id: Id,
        given: &Values,
        changed: Option<&[String]>,
    ) -> Result<(), Error> {
        match (model.name.as_str(), changed) {
            ("product.template", Some(_)) if given.contains_key(REFERENCE) => self.refer_to_variant(model, id),
            ("res.partner", changed) => {
                self.finish_partner(model, id, changed.is_none())?;
                self.tell_leads(id, changed.unwrap_or_default())?;
                let names: Vec<&str> = match changed {
                    Some(changed) => changed.iter().map(String::as_str).collect(),
                    None => given.keys().map(String::as_str).collect(),
                };
                self.sync_contact(model, id, &names, changed.is_none())
            }
            ("product.category", _) => self.finish_category(model, id),
            ("crm.lead", Some(changed)) => {
                self.finish_lead(model, id, given, changed)?;
                self.tell_contact(model, id, changed)
            }
            ("sale.order.line", _) => self.finish_line(model, id),
            ("project.task", changed) => {
                let moved = changed.is_some_and(|changed| changed.iter().any(|name| name == "stage_id"));
                self.finish_task(model, id, given, moved)
            }
            _ => Ok(()),
        }
    }

    /// Columns of a row that is about to be made which follow from the others.
    pub(super) fn add_new_columns(&self, model: &Model, row: &mut Row<'_>) -> Result<(), Error> {
        if model.name != "crm.lead" {
            return Ok(());
        }
        check_probability(as_number(row.get("probability")))?;
        let status = self.won_status(row)?;
        let mut cells = vec![
            ("won_status", Cell::Text(status.to_owned())),
            ("email_normalized", normalized(row.get("email_from"))),
        ];
        let closed = matches!(row.get("date_closed"), Some(Cell::Text(_)));
        if !closed && self.is_won(row.get("stage_id"))? {
            cells.push(("date_closed", Cell::Text(self.now())));
        }
        row.extend(cells.into_iter().filter(|(name, _)| model.has_column(name)));
        Ok(())
    }

    /// A lead is won in a won stage at 100 %, and lost when it is archived at 0 %.
    fn won_status(&self, row: &Row<'_>) -> Result<&'static str, Error> {
        let probability = as_number(row.get("probability"));
        let active = !matches!(row.get("active"), Some(Cell::Integer(0)));
        Ok(match active {
            _ if probability >= 100.0 && self.is_won(row.get("stage_id"))? => "won",
            false if probability == 0.0 => "lost",
            _ => "pending",
        })
    }

    /// Records that come with a new one.
    pub(super) fn finish_creation(&mut self, model: &Model, id: Id) -> Result<(), Error> {
        let variants =
            self.schema().models.get("product.product").filter(|variant| variant.has_column("product_tmpl_id"));
        if model.name != "product.template" || variants.is_none() || self.variant_at_hand {
            return Ok(());
        }
        if !self.ids_where("product.product", "product_tmpl_id", id)?.is_empty() {
            return Ok(());
        }
        let variant = Values::from_iter([("product_tmpl_id".to_owned(), Input::Value(Value::link(id)))]);
        self.create_many("product.product", vec![variant])?;
        self.refer_to_variant(model, id)
    }

    /// A template's only variant has its reference.
    fn refer_to_variant(&mut self, model: &Model, id: Id) -> Result<(), Error> {
        let Some(described) = self.schema().models.get("product.product").filter(|variant| {
            model.has_column(REFERENCE) && variant.has_column(REFERENCE) && variant.has_column("product_tmpl_id")
        }) else {
            return Ok(());
        };
        let [variant] = self.ids_where(&described.name, "product_tmpl_id", id)?[..] else {
            return Ok(());
        };
        let reference = self.cell(&model.name, REFERENCE, id)?.unwrap_or(Cell::Null);
        self.set(described, variant, vec![(REFERENCE, reference)])
    }

    /// The contact that an address belongs to.
    pub(crate) fn partner_by_email(&self, email: &str) -> Result<Option<Id>, Error> {
        let partners = self.schema().models.get("res.partner");
        let (Some(_), Some(email)) =
            (partners.filter(|partners| partners.has_column("email_normalized")), normal_email(email))
        else {
            return Ok(None);
        };
        self.searched("res.partner")?;
        let sql = "SELECT id FROM res_partner WHERE email_normalized = ?1 AND active = 1 ORDER BY id LIMIT 1";
        let mut statement = self.conn.prepare_cached(sql).map_err(fault)?;
        statement.query_row([email], |row| row.get(0)).optional().map_err(fault)
    }

    /// Deletions that the standard models refuse.
    pub(super) fn check_known_deletion(&self, model: &Model, ids: &[Id]) -> Result<(), Error> {
        if model.name != "res.partner" {
            return Ok(());
        }
        for id in ids {
            self.check_no_active_user(*id, "deleted")?;
        }
        Ok(())
    }

    /// A contact of someone who signs in can be neither deleted nor archived.
    pub(crate) fn check_no_active_user(&self, partner: Id, what: &str) -> Result<(), Error> {
        let Some(users) = self.schema().models.get("res.users") else { return Ok(()) };
        if !users.has_column("partner_id") {
            return Ok(());
        }
        for user in self.ids_where("res.users", "partner_id", partner)? {
            if matches!(self.cell("res.users", "active", user)?, Some(Cell::Integer(1))) {
                let message = format!(
                    "contact {partner} cannot be {what}: it belongs to the active user {user}; archive the user first"
                );
                return Err(Error::rejected("linked-user", message));
            }
        }
        Ok(())
    }

    /// Sets columns that the schema has, where they differ.
    pub(super) fn set(&mut self, model: &Model, id: Id, cells: Vec<(&str, Cell)>) -> Result<(), Error> {
        let row: Row<'a> = cells
            .into_iter()
            .filter(|(name, _)| model.has_column(name))
            .map(|(name, cell)| (name.to_owned(), cell))
            .collect();
        if row.is_empty() {
            return Ok(());
        }
        self.update_row(model, id, row, &Values::default()).map(drop)
    }

    fn text(&self, model: &str, field: &str, id: Id) -> Result<Option<String>, Error> {
        if !self.schema().models.get(model).is_some_and(|model| model.has_column(field)) {
            return Ok(None);
        }
        Ok(match self.cell(model, field, id)? {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        })
    }

    /// The time as the contract has it.
    pub(super) fn now_value(&self) -> Value {
        let told = || format!("{}Z", self.now_seconds().replacen(' ', "T", 1));
        Value::Datetime(self.now_told.get_or_init(told).clone())
    }

    /// Copies values of the record that a many2one names into fields that are not given. Returns the cells of others that are
    /// asked for, if there is such a record.
    fn take_over(
        &self,
        model: &Model,
        given: &mut Values,
        link: &str,
        from: &str,
        fields: &[(&str, &str)],
        others: &[&str],
    ) -> Result<Vec<Cell>, Error> {
        let (Some(id), Some(source)) = (linked(given, link), self.schema().models.get(from)) else {
            return Ok(Vec::new());
        };
        // An explicit empty value stays empty; only a default gives way.
        let wanted = |(to, from_field): &&(&str, &str)| {
            given_value(given, to).is_none_or(|value| *value == Value::Unset)
                && model.has_column(to)
                && source.has_column(from_field)
        };
        let wanted: Vec<(&str, &str)> = fields.iter().filter(wanted).copied().collect();
        // All of it is read at once.
        let besides = || others.iter().copied().chain([ASKED_SOON]).filter(|name| source.has_column(name));
        let columns: Vec<&str> = wanted.iter().map(|(_, from_field)| *from_field).chain(besides()).collect();
        let Some(cells) = self.columns_of(from, &columns, id)? else { return Ok(Vec::new()) };
        let mut cells = cells.into_iter();
        for ((to, from_field), cell) in wanted.into_iter().zip(cells.by_ref()) {
            if cell != Cell::Null {
                let kind = source.field(from_field)?.kind;
                given.insert(to.to_owned(), Input::Value(values::from_cell(kind, cell)));
            }
        }
        let mut memo = self.memo.borrow_mut();
        memo.keep_cell(from, "id", id, &Some(Cell::Integer(i64::from(id))));
        let mut asked = Vec::with_capacity(others.len());
        for name in others {
            asked.push(if source.has_column(name) { cells.next().unwrap_or(Cell::Null) } else { Cell::Null });
        }
        if let Some(cell) = cells.next() {
            memo.keep_cell(from, ASKED_SOON, id, &Some(cell));
        }
        Ok(asked)
    }

    fn finish_partner(&mut self, model: &Model, id: Id, created: bool) -> Result<(), Error> {
        let row = columns::whole_row(self.conn, model, id)?.unwrap_or_default();
        let text = |name: &str| match row.get(name) {
            Some(Cell::Text(text)) => text.clone(),
            _ => String::new(),
        };
        if row.get("name").is_none_or(|name| *name == Cell::Null) && text("type") == "contact" {
            let message = format!("`name` of `{}` is required and has no value: contacts have a name", model.name);
            return Err(Error::rejected("required", message).with_field("name"));
        }
        let parent = row.get("parent_id").and_then(values::as_id);
        let is_company = matches!(row.get("is_company"), Some(Cell::Integer(1)));
        let commercial = match parent {
            Some(parent) if !is_company && model.has_column("commercial_partner_id") => self
                .cell("res.partner", "commercial_partner_id", parent)?
                .as_ref()
                .and_then(values::as_id)
                .unwrap_or(parent),
            _ => id,
        };
        let commercial_is_company =
            matches!(self.cell("res.partner", "is_company", commercial)?, Some(Cell::Integer(1)));
        let company_name = if commercial_is_company { self.text("res.partner", "name", commercial)? } else { None };

        let mut name = text("name");
        if let Some(parent) = parent {
            if name.is_empty() && matches!(text("type").as_str(), "invoice" | "delivery" | "other") {
                let key = text("type");
                let label = model
                    .fields
                    .get("type")
                    .and_then(|f| f.selection.iter().find(|(k, _)| *k == key))
                    .map(|(_, label)| label.clone());
                name = label.unwrap_or(key);
            }
            if !is_company {
                let above = match &company_name {
                    Some(company) => company.clone(),
                    None => self.text("res.partner", "name", parent)?.unwrap_or_default(),
                };
                name = format!("{above}, {name}");
            }
        }
        let mut cells = vec![
            ("complete_name", Cell::Text(name.trim().to_owned())),
            ("commercial_partner_id", Cell::Integer(i64::from(commercial))),
            ("commercial_company_name", company_name.map_or(Cell::Null, Cell::Text)),
            ("email_normalized", normal_email(&text("email")).map_or(Cell::Null, Cell::Text)),
        ];
        if created {
            cells.push(("partner_share", Cell::Integer(1)));
        }
        let moved = row.get("complete_name") != cells.first().map(|(_, cell)| cell);
        self.set(model, id, cells)?;
        if moved && !created && self.depth < 16 {
            for child in self.ids_where("res.partner", "parent_id", id)? {
                self.depth += 1;
                let done = self.finish_partner(model, child, false);
                self.depth -= 1;
                done?;
            }
        }
        Ok(())
    }

    fn finish_category(&mut self, model: &Model, id: Id) -> Result<(), Error> {
        let name = self.text(&model.name, "name", id)?.unwrap_or_default();
        let parent = self.cell(&model.name, "parent_id", id)?.as_ref().and_then(values::as_id);
        let full = match parent {
            Some(parent) => {
                format!("{} / {name}", self.text(&model.name, "complete_name", parent)?.unwrap_or_default())
            }
            None => name,
        };
        let moved = self.text(&model.name, "complete_name", id)?.as_deref() != Some(&full);
        self.set(model, id, vec![("complete_name", Cell::Text(full))])?;
        if moved && self.depth < 16 {
            for child in self.ids_where(&model.name, "parent_id", id)? {
                self.depth += 1;
                let done = self.finish_category(model, child);
                self.depth -= 1;
                done?;
            }
        }
        Ok(())
    }

    /// What follows from a lead's stage, probability and address when one of them changed.
    fn finish_lead(&mut self, model: &Model, id: Id, given: &Values, changed: &[String]) -> Result<(), Error> {
        const COUNT: [&str; 4] = ["stage_id", "probability", "active", "email_from"];
        let changed = |name: &str| changed.iter().any(|changed| changed == name);
        if !COUNT.into_iter().any(|name| changed(name) || given.contains_key(name)) {
            return Ok(());
        }
        let columns: Vec<&str> = COUNT.into_iter().filter(|name| model.has_column(name)).collect();
        let row = self.row_of(&model.name, &columns, id)?.unwrap_or_default();
        if changed("probability") {
            let probability = as_number(row.get("probability"));
            check_probability(probability)?;
            if probability < 100.0 && self.is_won(row.get("stage_id"))? {
                let message = "a lead in a won stage is won: its probability is 100 %; move it to another stage first";
                return Err(Error::rejected("won", message).with_field("probability"));
            }
        }
        let mut cells = vec![("won_status", Cell::Text(self.won_status(&row)?.to_owned()))];
        if given.contains_key("email_from") || changed("email_from") {
            cells.push(("email_normalized", normalized(row.get("email_from"))));
        }
        self.set(model, id, cells)
    }

    fn is_won(&self, stage: Option<&Cell>) -> Result<bool, Error> {
        let stages = self.schema().models.get("crm.stage").filter(|stages| stages.has_column("is_won"));
        let (Some(_), Some(stage)) = (stages, stage.and_then(values::as_id)) else { return Ok(false) };
        Ok(matches!(self.cell("crm.stage", "is_won", stage)?, Some(Cell::Integer(1))))
    }

    /// Columns that are written along with the given ones.
    pub(super) fn add_known_columns(&mut self, model: &Model, id: Id, row: &mut Row<'_>) -> Result<(), Error> {
        match model.name.as_str() {
            "crm.lead" => {
                self.add_contact_columns(model, row)?;
                self.add_lead_columns(model, id, row)
            }
            "res.country" => {
                if let Some(Cell::Text(code)) = row.get_mut("code") {
                    *code = code.to_uppercase();
                }
                Ok(())
            }
            "res.partner" => {
                if let Some(Cell::Text(website)) = row.get_mut("website") {
                    *website = web_address(website);
                }
                Ok(())
            }
            "sale.order" => {
                if let Some(partner @ Cell::Integer(_)) = row.get("partner_id").cloned() {
                    for address in ["partner_invoice_id", "partner_shipping_id"] {
                        if model.has_column(address) {
                            row.insert_new(address, partner.clone());
                        }
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A lead that reaches a won stage is won; one that is closed or opened again keeps the day.
    fn add_lead_columns(&mut self, model: &Model, id: Id, row: &mut Row<'_>) -> Result<(), Error> {
        const COUNT: [&str; 4] = ["stage_id", "user_id", "probability", "active"];
        if !COUNT.into_iter().any(|name| row.contains_key(name)) {
            return self.follow_company(model, id, row);
        }
        let now = Cell::Text(self.now());
        let columns: Vec<&str> = ["stage_id", "user_id"].into_iter().filter(|name| model.has_column(name)).collect();
        let old = self.row_of(&model.name, &columns, id)?.unwrap_or_default();
        let mut add = Vec::new();
        let (mut moved, mut won) = (false, false);
        if let Some(stage) = row.get("stage_id") {
            moved = old.get("stage_id") != Some(stage);
            if moved {
                add.push(("date_last_stage_update", now.clone()));
                won = self.is_won(Some(stage))?;
            }
        }
        let was_won = self.is_won(old.get("stage_id"))?;
        if won {
            add.push(("active", Cell::Integer(1)));
            add.push(("probability", Cell::Real(100.0)));
            add.push(("automated_probability", Cell::Real(100.0)));
        }
        match row.get("user_id") {
            Some(Cell::Null) => add.push(("date_open", Cell::Null)),
            Some(user) if old.get("user_id") != Some(user) => {
                add.push(("date_open", now.clone()));
                if let Some(user) = values::as_id(user)
                    && let Some(team) = self.team_with(id, user)?
                {
                    add.push(("team_id", Cell::Integer(i64::from(team))));
                }
            }
            _ => {}
        }
        let probability = row.get("probability").map(|cell| as_number(Some(cell)));
        let archived = matches!(row.get("active"), Some(Cell::Integer(0)));
        if (won && !was_won) || probability.is_some_and(|p| p >= 100.0) || archived {
            add.push(("date_closed", now));
        } else if probability.is_some_and(|p| p > 0.0) || (moved && !won && probability.is_none()) {
            add.push(("date_closed", Cell::Null));
        }
        for (name, cell) in add {
            if model.has_column(name) {
                row.insert_new(name, cell);
            }
        }
        self.follow_company(model, id, row)
    }

    /// The company of a lead follows when its salesperson, team or customer is another, and does not belong to it: the team's,
    /// else one that the salesperson works for, else the customer's.
    fn follow_company(&self, model: &Model, id: Id, row: &mut Row<'_>) -> Result<(), Error> {
        const BY: [&str; 3] = ["user_id", "team_id", "partner_id"];
        if !BY.into_iter().any(|name| row.contains_key(name))
            || row.contains_key("company_id")
            || !BY.into_iter().chain(["company_id"]).all(|name| model.has_column(name))
        {
            return Ok(());
        }
        let old =
            self.row_of(&model.name, &["user_id", "team_id", "partner_id", "company_id"], id)?.unwrap_or_default();
        let now = |name: &str| row.get(name).or_else(|| old.get(name)).and_then(values::as_id);
        let (user, team, partner) = (now("user_id"), now("team_id"), now("partner_id"));
        let of_team = team.map(|team| self.company_of("crm.team", team)).transpose()?.flatten();
        let of_partner = partner.map(|partner| self.company_of("res.partner", partner)).transpose()?.flatten();
        let of_user = user.map(|user| self.companies_of(user)).transpose()?;
        let before = old.get("company_id").and_then(values::as_id);
        let fits = |company: &Id| {
            of_user.as_ref().is_none_or(|companies| companies.contains(company))
                && of_team.is_none_or(|of_team| of_team == *company)
                && (user.is_some() || team.is_none() || of_team.is_some())
                && (user.is_some() || team.is_some() || (partner.is_some() && of_partner == Some(*company)))
        };
        let company = match (before.filter(fits), of_team, of_user) {
            (Some(company), ..) | (None, Some(company), _) => Some(company),
            (None, None, Some(companies)) => match self.env.company()?.filter(|company| companies.contains(company)) {
                Some(company) => Some(company),
                // Whoever gives it away does not put it where they may not go themselves.
                None => {
                    let theirs = user.map(|user| self.company_of("res.users", user)).transpose()?.flatten();
                    let allowed = self.env.allowed_companies()?;
                    theirs.filter(|company| allowed.contains(company))
                }
            },
            (None, None, None) => of_partner,
        };
        if company != before {
            row.insert_new("company_id", company.map_or(Cell::Null, |company| Cell::Integer(i64::from(company))));
        }
        Ok(())
    }

    /// The companies that a user works for.
    fn companies_of(&self, user: Id) -> Result<Vec<Id>, Error> {
        let users = self.schema().models.get("res.users");
        match users.and_then(|users| users.fields.get("company_ids")) {
            Some(companies) => super::linked_ids(self.conn, companies, user),
            None => Ok(Vec::new()),
        }
    }

    /// A task that moves to a folded stage ends; one that comes back is open again.
    fn finish_task(&mut self, model: &Model, id: Id, given: &Values, moved: bool) -> Result<(), Error> {
        let Some(stage) = linked(given, "stage_id") else { return Ok(()) };
        let folded = matches!(self.cell("project.task.type", "fold", stage)?, Some(Cell::Integer(1)));
        let end = if folded { Cell::Text(self.now()) } else { Cell::Null };
        let mut cells = vec![("date_end", end)];
        // What was asked or waited for is begun anew in another stage; what is closed stays so.
        if moved
            && !given.contains_key("state")
            && matches!(self.text(&model.name, "state", id)?.as_deref(), Some(state) if !CLOSED.contains(&state))
        {
            cells.push(("state", Cell::Text("01_in_progress".to_owned())));
        }
        self.set(model, id, cells)
    }

    fn product_name(&self, product: &Model, id: Id) -> Result<String, Error> {
        let path = if product.has_column("name") { "name" } else { "product_tmpl_id.name" };
        let name = match self.follow_path(product, path, id)? {
            Some(Cell::Text(name)) => name,
            _ => String::new(),
        };
        Ok(match self.text(&product.name, "default_code", id)? {
            Some(code) if !code.is_empty() => format!("[{code}] {name}"),
            _ => name,
        })
    }
}

/// The chance of a deal is between nothing and everything.
fn check_probability(probability: f64) -> Result<(), Error> {
    if (0.0..=100.0).contains(&probability) {
        return Ok(());
    }
    let message = format!("the probability of a lead is between 0 and 100, not {probability}");
    Err(Error::rejected("check", message).with_field("probability"))
}

/// Whether a list of users, or commands for one, has anybody in it.
fn names_somebody(input: &Input) -> bool {
    match input {
        Input::Value(Value::Ids(ids)) => !ids.is_empty(),
        Input::Commands(commands) => commands.iter().any(|command| match command {
            Command::Link(_) | Command::Create(_) => true,
            Command::Replace(ids) => !ids.is_empty(),
            _ => false,
        }),
        Input::Value(_) => false,
    }
}

/// The record that a given many2one names.
fn linked(given: &Values, name: &str) -> Option<Id> {
    match given_value(given, name) {
        Some(Value::Many2one(link)) => Some(link.id),
        _ => None,
    }
}

/// Gives a value to a field that has none.
fn preset(model: &Model, given: &mut Values, name: &str, value: impl FnOnce() -> Value) {
    if model.has_column(name) && !given.contains_key(name) {
        given.insert(name.to_owned(), Input::Value(value()));
    }
}

fn tidy(given: &mut Values, name: &str, tidy: impl FnOnce(&str) -> String) {
    if let Some(Input::Value(Value::Text(text))) = given.get_mut(name) {
        *text = tidy(text);
    }
}

/// The column beside an e-mail field.
pub(super) fn normalized(email: Option<&Cell>) -> Cell {
    match email {
        Some(Cell::Text(email)) => normal_email(email).map_or(Cell::Null, Cell::Text),
        _ => Cell::Null,
    }
}

/// An address without a scheme gets one.
fn web_address(text: &str) -> String {
    if text.is_empty() || text.contains("://") { text.to_owned() } else { format!("http://{text}") }
}

/// The bare address of an e-mail field, in lower case; none when there is none, or several.
fn normal_email(text: &str) -> Option<String> {
    let bare = match (text.find('<'), text.rfind('>')) {
        (Some(start), Some(end)) if start < end => text.get(start + 1..end)?,
        _ => text,
    };
    let bare = bare.trim();
    let (local, domain) = bare.split_once('@')?;
    let plain = |part: &str| {
        !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || matches!(c, '@' | ',' | ';' | '<' | '>'))
    };
    (plain(local) && plain(domain)).then(|| bare.to_lowercase())
}
