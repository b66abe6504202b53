//! What a model says of its fields to whoever asks.

use crate::{
    call::{FieldDefault, FieldDetails, FieldInfo},
    error::Error,
};

use super::{DefaultValue, Field, FieldKind, Formula, Model};

impl Model {
    /// What fields are: the named ones, or all.
    ///
    /// # Errors
    /// As [`Model::field`].
    pub fn fields_get(&self, names: &[String]) -> Result<Vec<FieldInfo>, Error> {
        Ok(self.named(names)?.into_iter().map(|(name, field)| info(name, field)).collect())
    }

    /// All that is known of fields: the named ones, or all.
    ///
    /// # Errors
    /// As [`Model::field`].
    pub fn describe_fields(&self, names: &[String]) -> Result<Vec<FieldDetails>, Error> {
        Ok(self.named(names)?.into_iter().map(|(name, field)| self.details(name, field)).collect())
    }

    fn named<'m>(&'m self, names: &'m [String]) -> Result<Vec<(&'m str, &'m Field)>, Error> {
        if names.is_empty() {
            return Ok(self.fields.iter().map(|(name, field)| (name.as_str(), field)).collect());
        }
        names.iter().map(|name| Ok((name.as_str(), self.field(name)?))).collect()
    }

    fn details(&self, name: &str, field: &Field) -> FieldDetails {
        let known = |flag: bool| flag.then_some(true);
        let depends = match (&field.formula, &field.related) {
            (Some(formula), _) => formula.paths().to_vec(),
            (None, related) => related.iter().cloned().collect(),
        };
        FieldDetails {
            info: info(name, field),
            digits: field.digits.map(|(precision, scale)| (precision.into(), scale.into())),
            size: field.size,
            currency_field: self.currency_of(field),
            relation_field: field.relation_field.clone(),
            relation_table: field.m2m.as_ref().map(|pairs| pairs.table.clone()),
            ondelete: field.on_delete(),
            default: self.default_of(name, field),
            related: field.related.clone(),
            computed: field.computed || !field.store || !depends.is_empty(),
            depends,
            formula: field.formula.as_ref().map(Formula::to_string),
            groups: Some(field.groups.clone()),
            aggregator: field.aggregator.clone(),
            copied: Some(field.copy),
            translated: Some(field.translate),
            tracked: Some(self.chatter && field.tracking_sequence().is_some()),
            indexed: Some(field.is_indexed()),
            // Only what says so is known: a schema of one's own need not say it.
            searchable: known(field.searchable),
            sortable: known(field.sortable),
            groupable: known(field.groupable),
        }
    }

    /// A monetary field that names no currency has the one that it would have in Odoo.
    fn currency_of(&self, field: &Field) -> Option<String> {
        let usual = || {
            let name = "currency_id";
            (field.kind == FieldKind::Monetary && self.fields.contains_key(name)).then(|| name.to_owned())
        };
        field.currency_field.clone().or_else(usual)
    }

    fn default_of(&self, name: &str, field: &Field) -> Option<FieldDefault> {
        match field.default.as_ref().map(DefaultValue::value) {
            Some(DefaultValue::Function { function }) => Some(FieldDefault::Function(function.clone())),
            Some(DefaultValue::Literal(value)) => Some(FieldDefault::Literal(value.to_string())),
            // Not what `value` gives.
            Some(DefaultValue::Computed { .. }) => None,
            // A new record is not archived.
            None if name == "active" && self.active_name.as_deref() == Some(name) => {
                Some(FieldDefault::Literal("true".to_owned()))
            }
            None => None,
        }
    }
}

fn info(name: &str, field: &Field) -> FieldInfo {
    FieldInfo {
        name: name.to_owned(),
        label: if field.string.is_empty() { name.to_owned() } else { field.string.clone() },
        kind: field.kind.name().to_owned(),
        relation: field.relation.clone(),
        required: field.required,
        readonly: field.readonly,
        stored: field.store,
        selection: if field.kind == FieldKind::Selection { field.selection.clone() } else { Vec::new() },
        help: field.help.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{OnDelete, Schema};

    fn details(name: &str) -> FieldDetails {
        let schema: Schema = serde_json::from_value(json!({
            "res.currency": { "description": "Currency", "fields": {} },
            "sale.order.line": { "description": "Line", "fields": {
                "order_id": { "type": "many2one", "relation": "sale.order", "required": true, "ondelete": "cascade" },
                "amount": { "type": "float", "digits": [16, 2] } } },
            "sale.order": { "description": "Order", "chatter": true, "active_name": "active", "fields": {
                "name": { "type": "char", "size": 64, "required": true, "default": { "function": "sequence" },
                    "index": true, "copy": false, "translate": true, "tracking": 3 },
                "active": { "type": "boolean" },
                "state": { "type": "selection", "selection": [["draft", "Quotation"]], "default": "draft", "tracking": 0 },
                "owner_id": { "type": "many2one", "relation": "sale.order", "default": { "computed": { "function": "first" } } },
                "partner_id": { "type": "many2one", "relation": "sale.order", "required": true },
                "line_ids": { "type": "one2many", "relation": "sale.order.line", "relation_field": "order_id" },
                "other_ids": { "type": "many2many", "relation": "sale.order", "groups": ["base.group_system"] },
                "currency_id": { "type": "many2one", "relation": "res.currency", "related": "owner_id.currency_id" },
                "total": { "type": "monetary", "aggregator": "sum", "searchable": true,
                    "formula": { "formula": "sum", "path": "line_ids.amount" } },
                "shown": { "type": "char", "related": "owner_id.name", "store": false },
                "label": { "type": "char",
                    "formula": { "formula": "concat", "fields": ["name", "state"], "separator": ", " } } } }
        }))
        .expect("a schema");
        let model = schema.model(if name == "amount" { "sale.order.line" } else { "sale.order" }).expect("it is there");
        model.describe_fields(&[name.to_owned()]).expect("it is there").remove(0)
    }

    // Shows: F124
    #[test]
    fn every_fact_of_a_declaration_is_told() {
        let name = details("name");
        assert_eq!((name.info.kind.as_str(), name.info.required, name.size), ("char", true, Some(64)));
        assert_eq!(name.default, Some(FieldDefault::Function("sequence".to_owned())));
        assert_eq!(
            (name.copied, name.translated, name.tracked, name.indexed),
            (Some(false), Some(true), Some(true), Some(true))
        );
        assert!(!name.computed);
        assert_eq!(details("amount").digits, Some((16, 2)));
        assert_eq!(details("line_ids").relation_field.as_deref(), Some("order_id"));
        let others = details("other_ids");
        assert_eq!(others.relation_table.as_deref(), Some("sale_order_other_ids_rel"));
        assert_eq!(others.groups, Some(vec!["base.group_system".to_owned()]));
        assert_eq!(name.groups, Some(Vec::new()));
    }

    #[test]
    fn what_is_not_declared_is_told_as_it_works() {
        let told = |name| (details(name).ondelete, details(name).indexed);
        assert_eq!(told("owner_id"), (Some(OnDelete::SetNull), Some(true)));
        assert_eq!(told("partner_id"), (Some(OnDelete::Restrict), Some(true)));
        assert_eq!(told("state"), (None, Some(false)));
        // Its value follows from another's: nothing becomes of it on its own.
        assert_eq!(told("currency_id").0, None);
        assert_eq!(details("total").currency_field.as_deref(), Some("currency_id"));
        assert_eq!(details("state").currency_field, None);
        assert_eq!(details("active").default, Some(FieldDefault::Literal("true".to_owned())));
        assert_eq!(details("state").default, Some(FieldDefault::Literal("\"draft\"".to_owned())));
        assert_eq!(details("owner_id").default, Some(FieldDefault::Function("first".to_owned())));
        assert_eq!(details("state").tracked, Some(false));
        assert_eq!((details("total").searchable, details("state").searchable), (Some(true), None));
    }

    #[test]
    fn computed_fields_say_what_they_follow_from() {
        let told = |name| {
            let details = details(name);
            (details.computed, details.depends, details.formula, details.related)
        };
        let paths = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>();
        assert_eq!(told("total"), (true, paths(&["line_ids.amount"]), Some("sum(line_ids.amount)".to_owned()), None));
        assert_eq!(details("total").aggregator.as_deref(), Some("sum"));
        let label = "concat(name, state, separator=\", \")".to_owned();
        assert_eq!(told("label"), (true, paths(&["name", "state"]), Some(label), None));
        let shown = "owner_id.name";
        assert_eq!(told("shown"), (true, paths(&[shown]), None, Some(shown.to_owned())));
        assert_eq!(told("name"), (false, paths(&[]), None, None));
    }
}
