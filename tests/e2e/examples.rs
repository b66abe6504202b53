//! The example scripts on the demo CRM: what people would deploy, doing what its page says.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use guest_artifacts::{CONTACT_UPSERT, DATA_QUALITY, HIGH_VALUE_ORDER, LEAD_SCORING, ORDER_STOCK_CHECK};
use triggerbox_automation::Verdict;
use triggerbox_model::value::Value;

use crate::support::{Crm, How, examples};

// Shows: F014, F015, F016
#[test]
fn an_order_over_the_threshold_is_noted_in_its_chatter() {
    examples::high_value_order(&HIGH_VALUE_ORDER);
}

#[test]
fn the_threshold_is_a_parameter() {
    examples::threshold_is_a_parameter(&HIGH_VALUE_ORDER);
}

// Shows: F071, F127
#[test]
fn a_strong_lead_is_scored_tagged_described_and_followed_up() {
    examples::lead_scoring(&LEAD_SCORING);
}

// Shows: F122, F126, F127
#[test]
fn an_inquiry_becomes_company_contact_opportunity_and_activity_once() {
    examples::contact_upsert(&CONTACT_UPSERT);
}

// Shows: F075
#[test]
fn a_contact_is_tagged_while_its_data_needs_review() {
    examples::data_quality(&DATA_QUALITY);
}

#[test]
fn a_run_that_others_overtake_again_and_again_is_tried_five_times_and_changes_nothing() {
    let crm = Crm::new();
    let contact = crm.create("res.partner", &[("name", Value::text("Anna")), ("email", Value::text("none"))]);
    let overtaken = Arc::new(AtomicU32::new(0));
    let (others, times) = (crm.clone(), Arc::clone(&overtaken));
    // Each try logs what is wrong with the contact, and meanwhile somebody gives it another number.
    let meanwhile = move || {
        let number = times.fetch_add(1, Ordering::Relaxed);
        others.write("res.partner", contact, &[("phone", Value::text(format!("+32 2 555 01 {number:02}")))]);
    };
    let how = How { meanwhile: Some(Arc::new(meanwhile)), ..How::default() };
    let before = crm.names("res.partner", contact, "category_id", "res.partner.category");
    let (report, log) = crm.run(&DATA_QUALITY, "res.partner", &[contact], &how);
    assert!(matches!(report.verdict, Verdict::Conflict(_)), "{:?}\n{log:#?}", report.verdict);
    assert_eq!(report.attempts, 5);
    assert_eq!(crm.names("res.partner", contact, "category_id", "res.partner.category"), before);
    assert!(crm.activities("res.partner", contact).is_empty());
    // Left alone, the same run is applied.
    crm.succeed(&DATA_QUALITY, "res.partner", &[contact], &How::default());
    assert_eq!(crm.activities("res.partner", contact).len(), 1);
}

// Shows: F072, F095
#[test]
fn a_confirmed_order_gets_a_date_and_purchases_for_what_is_short() {
    examples::order_stock_check(&ORDER_STOCK_CHECK);
}

// Shows: F018, F108
#[test]
fn without_a_grant_by_name_no_message_reaches_a_customer() {
    examples::no_message_without_a_grant(&ORDER_STOCK_CHECK);
}
