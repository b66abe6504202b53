//! The example scripts on the demo CRM: what people would deploy, doing what its page says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, in its helpers too"
)]

mod support;

use guest_artifacts::{CONTACT_UPSERT, DATA_QUALITY, HIGH_VALUE_ORDER, LEAD_SCORING, ORDER_STOCK_CHECK};
use support::examples;

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
