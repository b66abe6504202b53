//! What the example scripts do, whatever language they are written in.

use guest_artifacts::Guest;
use triggerbox_automation::Verdict;
use triggerbox_model::{event::Trigger, value::Value};

use super::{Crm, How, text};

const NOTED: &str = "High-value sale detected, manager notified.";

fn order(crm: &Crm, total: f64) -> u32 {
    let partner = crm.search("res.partner", "[('is_company', '=', True)]")[0];
    let product = crm.search("product.product", "[]")[0];
    let order = crm.create("sale.order", &[("partner_id", Value::link(partner))]);
    crm.create(
        "sale.order.line",
        &[
            ("order_id", Value::link(order)),
            ("product_id", Value::link(product)),
            ("product_uom_qty", Value::Number(1.0)),
            ("price_unit", Value::Number(total)),
        ],
    );
    order
}

pub(crate) fn high_value_order(guest: &Guest) {
    let crm = Crm::new();
    let (large, small) = (order(&crm, 12_000.0), order(&crm, 9_000.0));
    let created = How { trigger: Some(Trigger::Created), ..How::default() };
    crm.succeed(guest, "sale.order", &[large, small], &created);

    let newest = &crm.messages("sale.order", large)[0];
    assert!(newest.body.contains(NOTED), "{newest:?}");
    assert!(newest.is_note, "the customer follows the order too");
    assert!(crm.messages("sale.order", small).iter().all(|message| !message.body.contains(NOTED)));
}

pub(crate) fn threshold_is_a_parameter(guest: &Guest) {
    let crm = Crm::new();
    let order = order(&crm, 9_000.0);
    let lower = How { params: &[("threshold", "8000")], ..How::default() };
    crm.succeed(guest, "sale.order", &[order], &lower);
    assert!(crm.messages("sale.order", order)[0].body.contains(NOTED));
}

pub(crate) fn lead_scoring(guest: &Guest) {
    let crm = Crm::new();
    let lead = crm.create(
        "crm.lead",
        &[
            ("name", Value::text("Software for our manufacturing plants")),
            ("type", Value::text("lead")),
            ("partner_name", Value::text("Cedar Manufacturing")),
            ("function", Value::text("Chief executive officer")),
            ("email_from", Value::text("ada@cedar.example")),
            ("phone", Value::text("+32 2 555 01 02")),
            ("expected_revenue", Value::Number(500_000.0)),
        ],
    );
    crm.succeed(guest, "crm.lead", &[lead], &How::default());
    let tags = crm.names("crm.lead", lead, "tag_ids", "crm.tag");
    let description = text(&crm.value("crm.lead", lead, "description"));
    assert!(description.contains("Lead score: "), "{description}");
    assert_eq!(tags.len(), 1, "one tag for the score: {tags:?}");
    let activities = crm.activities("crm.lead", lead);

    // Again: nothing more.
    crm.succeed(guest, "crm.lead", &[lead], &How::default());
    assert_eq!(crm.names("crm.lead", lead, "tag_ids", "crm.tag"), tags);
    assert_eq!(text(&crm.value("crm.lead", lead, "description")), description);
    assert_eq!(crm.activities("crm.lead", lead).len(), activities.len());

    // A weak one gets a lower score, and no follow-up.
    let weak = crm.create("crm.lead", &[("name", Value::text("hello")), ("type", Value::text("lead"))]);
    crm.succeed(guest, "crm.lead", &[weak], &How::default());
    assert!(crm.names("crm.lead", weak, "tag_ids", "crm.tag").is_empty());
    assert!(crm.activities("crm.lead", weak).is_empty());
}

const INQUIRY: &[(&str, &str)] = &[
    ("email", "Ada.Byron@analytical.example"),
    ("name", "Ada Byron"),
    ("company", "Analytical Engines"),
    ("subject", "Looms for two halls"),
    ("message", "We need <b>twelve</b>.\nSoon."),
    ("expected_revenue", "25000"),
];

pub(crate) fn contact_upsert(guest: &Guest) {
    let crm = Crm::new();
    let count = |model: &str| crm.search(model, "[]").len();
    let (partners, leads) = (count("res.partner"), count("crm.lead"));
    let any_lead = crm.search("crm.lead", "[]")[0];
    let inquiry = How { params: INQUIRY, ..How::default() };
    let message = crm.succeed(guest, "crm.lead", &[any_lead], &inquiry);
    assert!(message.contains("Looms for two halls"), "{message}");
    assert!(!message.contains("2147483"), "no provisional id is shown: {message}");

    assert_eq!((count("res.partner"), count("crm.lead")), (partners + 2, leads + 1));
    let contact = crm.search("res.partner", "[('email', '=ilike', 'ada.byron@analytical.example')]")[0];
    let company = crm.value("res.partner", contact, "parent_id");
    assert_eq!(text(&company), "Analytical Engines");
    let lead = crm.search("crm.lead", "[('name', '=', 'Looms for two halls')]")[0];
    assert_eq!(crm.value("crm.lead", lead, "type"), Value::text("opportunity"));
    assert_eq!(crm.value("crm.lead", lead, "expected_revenue"), Value::Number(25_000.0));
    let first_stage = crm.search("crm.stage", "[]")[0];
    assert!(matches!(crm.value("crm.lead", lead, "stage_id"), Value::Many2one(link) if link.id == first_stage));
    let description = text(&crm.value("crm.lead", lead, "description"));
    assert!(description.contains("&lt;b&gt;twelve&lt;/b&gt;"), "markup stays text: {description}");
    let activities = crm.activities("crm.lead", lead);
    assert_eq!(activities[0].values[1], Value::Date("2026-11-23".into()), "in three days");

    crm.succeed(guest, "crm.lead", &[any_lead], &inquiry);
    assert_eq!((count("res.partner"), count("crm.lead")), (partners + 2, leads + 1), "found, not created again");
    assert_eq!(crm.activities("crm.lead", lead).len(), 1);
}

pub(crate) fn data_quality(guest: &Guest) {
    let crm = Crm::new();
    let country = crm.search("res.country", "[]")[0];
    let partner = crm.create(
        "res.partner",
        &[
            ("name", Value::text("Half a Contact")),
            ("email", Value::text("not an address")),
            ("city", Value::text("Gent")),
        ],
    );
    let tags = || crm.names("res.partner", partner, "category_id", "res.partner.category");
    crm.succeed(guest, "res.partner", &[partner], &How::default());
    assert_eq!(tags(), ["needs-review"]);
    assert_eq!(crm.activities("res.partner", partner).len(), 1);

    crm.write(
        "res.partner",
        partner,
        &[
            ("email", Value::text("half@contact.example")),
            ("phone", Value::text("+32 9 555 01 03")),
            ("street", Value::text("Kouter 1")),
            ("zip", Value::text("9000")),
            ("country_id", Value::link(country)),
        ],
    );
    crm.succeed(guest, "res.partner", &[partner], &How::default());
    assert!(tags().is_empty(), "nothing is wrong any more");
}

const STOCK_GRANTS: &[&str] = &[
    "sale.order:read,write,note,message:name,state,commitment_date",
    "sale.order.line:read:order_id,product_id,product_uom_qty,qty_delivered",
    "product.product:read:type,qty_available",
    "project.task:read,create:name,description,date_deadline,project_id",
];

pub(crate) fn order_stock_check(guest: &Guest) {
    let crm = Crm::new();
    let partner = crm.search("res.partner", "[('is_company', '=', True)]")[0];
    let products =
        crm.rows("product.product", "[('type', '!=', 'service'), ('qty_available', '>', 0)]", &["qty_available"]);
    let Value::Number(in_stock) = products[0].values[0] else { panic!("no stock") };
    let make = |quantity: f64, state: &str| {
        let order = crm.create("sale.order", &[("partner_id", Value::link(partner)), ("state", Value::text(state))]);
        crm.create(
            "sale.order.line",
            &[
                ("order_id", Value::link(order)),
                ("product_id", Value::link(products[0].id)),
                ("product_uom_qty", Value::Number(quantity)),
                ("price_unit", Value::Number(10.0)),
            ],
        );
        order
    };
    let (quotation, available, short) = (make(1.0, "draft"), make(1.0, "sale"), make(in_stock + 5.0, "sale"));
    let tasks = crm.search("project.task", "[]").len();
    let how = How { grants: STOCK_GRANTS, ..How::default() };
    crm.succeed(guest, "sale.order", &[quotation, available, short], &how);

    assert_eq!(crm.value("sale.order", quotation, "commitment_date"), Value::Unset, "not confirmed");
    let date = |order| text(&crm.value("sale.order", order, "commitment_date"));
    assert!(date(available).starts_with("2026-11-22"), "{}", date(available));
    assert!(date(short).starts_with("2026-11-30"), "{}", date(short));
    assert_eq!(crm.search("project.task", "[]").len(), tasks + 1, "one purchase");
    let told = crm.messages("sale.order", available);
    assert!(told.iter().any(|message| !message.is_note && message.body.contains("in stock")), "{told:?}");

    // Again: the orders have their dates, nothing more happens.
    let messages = crm.messages("sale.order", short).len();
    crm.succeed(guest, "sale.order", &[quotation, available, short], &how);
    assert_eq!(crm.messages("sale.order", short).len(), messages);
    assert_eq!(crm.search("project.task", "[]").len(), tasks + 1);
}

pub(crate) fn no_message_without_a_grant(guest: &Guest) {
    let crm = Crm::new();
    let order = crm.search("sale.order", "[('state', '=', 'sale'), ('commitment_date', '=', False)]");
    let (report, _) = crm.run(guest, "sale.order", &order[..1], &How::default());
    let Verdict::Failed(failure) = report.verdict else { panic!("{:?}", report.verdict) };
    assert!(failure.message().contains("policy guards the operation `message`"), "{failure:?}");
    assert_eq!(report.refusals[0].code, "refused-by-policy");
    assert_eq!(crm.value("sale.order", order[0], "commitment_date"), Value::Unset, "nothing was applied");
}
