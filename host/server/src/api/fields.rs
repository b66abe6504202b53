//! What a model's fields are: all that is known of each.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use triggerbox_model::{
    call::{Answer, Call, FieldDefault, FieldDetails, FieldInfo},
    schema::OnDelete,
};
use utoipa::{IntoParams, ToSchema};

use super::records::{are_here, names};
use crate::{
    app::{App, failed},
    auth::Caller,
    extract::{Asked, At},
    problem::Problem,
};

/// Which fields.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// Fields to describe, separated by commas; all when absent.
    #[serde(default)]
    #[param(default = "", example = "name,partner_id")]
    fields: String,
}

/// The fields of a model.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FieldList {
    /// In order of declaration, or as they were asked for.
    fields: Vec<FieldView>,
}

/// One field. What it does not have is `null`.
#[derive(Debug, Serialize, ToSchema)]
struct FieldView {
    /// Technical name.
    name: String,
    /// Label.
    label: String,
    /// Odoo's type name.
    #[serde(rename = "type")]
    kind: String,
    /// The related model.
    relation: Option<String>,
    /// Must have a value.
    required: bool,
    /// Forms do not edit it.
    readonly: bool,
    /// Kept in the database.
    stored: bool,
    /// Keys and labels of a selection field.
    selection: Vec<(String, String)>,
    /// Help text.
    help: Option<String>,
    /// Digits of a float field, in all and after the point.
    digits: Option<(u32, u32)>,
    /// Longest text, in characters.
    size: Option<u32>,
    /// The many2one field that holds a monetary field's currency.
    currency_field: Option<String>,
    /// The field of the related model that a one2many field is the other side of.
    relation_field: Option<String>,
    /// The table behind a many2many field.
    relation_table: Option<String>,
    /// What becomes of a many2one field when its record is deleted: `restrict`, `cascade`, `set null`.
    #[schema(value_type = Option<String>)]
    ondelete: Option<OnDelete>,
    /// What a new record has in it, in Odoo's JSON form.
    default: Option<Value>,
    /// The function that makes what a new record has in it: `now`, `today`, `user`, `company`, `currency`, `first`, `sequence`.
    default_function: Option<String>,
    /// The path whose value it shows.
    related: Option<String>,
    /// Its value follows from others.
    computed: bool,
    /// The paths that its value follows from.
    depends: Vec<String>,
    /// How it is computed: `sum(order_line.price_subtotal)`.
    formula: Option<String>,
    /// External ids of the groups that alone see it; none: everybody does.
    groups: Vec<String>,
    /// How groups sum it up by default.
    aggregator: Option<String>,
    /// A copy of a record takes its value.
    copied: Option<bool>,
    /// It has a value for each language.
    translated: Option<bool>,
    /// Its changes are posted to the chatter.
    tracked: Option<bool>,
    /// The database has an index for it.
    indexed: Option<bool>,
}

impl FieldView {
    fn of(details: FieldDetails) -> Result<Self, serde_json::Error> {
        let FieldInfo { name, label, kind, relation, required, readonly, stored, selection, help } = details.info;
        let (default, default_function) = match details.default {
            Some(FieldDefault::Literal(json)) => (Some(serde_json::from_str(&json)?), None),
            Some(FieldDefault::Function(name)) => (None, Some(name)),
            None => (None, None),
        };
        Ok(Self {
            name,
            label,
            kind,
            relation,
            required,
            readonly,
            stored,
            selection,
            help,
            digits: details.digits,
            size: details.size,
            currency_field: details.currency_field,
            relation_field: details.relation_field,
            relation_table: details.relation_table,
            ondelete: details.ondelete,
            default,
            default_function,
            related: details.related,
            computed: details.computed,
            depends: details.depends,
            formula: details.formula,
            groups: details.groups.unwrap_or_default(),
            aggregator: details.aggregator,
            copied: details.copied,
            translated: details.translated,
            tracked: details.tracked,
            indexed: details.indexed,
        })
    }
}

/// Describe the fields of a model: those that the token's user may see.
#[utoipa::path(get, path = "/api/v1/fields/{model}", tag = "records", params(("model" = String, Path), Which),
    responses((status = 200, body = FieldList), Problem))]
pub(super) async fn describe(
    State(app): State<App>,
    caller: Caller,
    At(model): At<String>,
    Asked(which): Asked<Which>,
) -> Result<Json<FieldList>, Problem> {
    are_here(&app, &model)?;
    let call = Call::DescribeFields { model, fields: names(&which.fields) };
    let Answer::Details(fields) = app.ask(caller.user, call).await? else { return Err(failed()) };
    Ok(Json(FieldList { fields: fields.into_iter().map(FieldView::of).collect::<Result<_, _>>()? }))
}
