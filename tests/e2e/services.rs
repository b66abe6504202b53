//! Scripts that ask other services: a Slack channel, a web shop, a rating service. The services are real HTTP servers on
//! loopback that answer as those do; what is checked is what they are sent, and what comes of their answers.

use std::sync::Arc;

use guest_artifacts::{Guest, PARTNER_RATING, SHOP_LOOKUP, SLACK_MESSAGE};
use serde_json::{Value as Json, json};
use triggerbox_automation::{Report, outside::DatabaseLedger};
use triggerbox_llm::{
    Clock, Models, Outside, Services, Spender, SystemClock, config::HeaderSecret, http::Web, secret::Source,
};
use triggerbox_model::value::Value;

use crate::model::{Asked, Service};
use crate::support::{Crm, How, text};

const KEY: &str = "xoxb-canary-3c59dc048e88";

/// Runs a script whose service is on loopback: the grant says so, and the secret is bound to it.
fn run(crm: &Crm, guest: &Guest, ids: &[u32], real: &str, local: &str, how: &How<'_>) -> (Report, Vec<String>) {
    let manifest = guest.manifest.unwrap().replace(real, local);
    let authority = local.split('/').nth(2).unwrap();
    let header = if guest.name == "shop-lookup" { "x-shop-key" } else { "authorization" };
    let secret = |name: &str| HeaderSecret {
        name: name.into(),
        value: Source::Env("KEY".into()),
        host: authority.into(),
        header: header.into(),
    };
    let secrets = ["slack", "shop", "rating"].map(secret);
    let web = Web::new(&secrets, &|_| Some(KEY.to_owned()), None).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let budgets = triggerbox_llm::Config::default().budgets;
    let outside = Outside {
        services: Arc::new(Services { models: Models::off(), web: Some(web), budgets, clock }),
        ledger: Arc::new(DatabaseLedger::new(&crm.database).unwrap()),
        spender: Spender { rule: guest.name.into(), ..Spender::default() },
        only_reads: how.dry_run,
        seat: None,
    };
    let model = match guest.name {
        "slack-message" => "crm.lead",
        "shop-lookup" => "sale.order",
        _ => "res.partner",
    };
    crm.run(
        guest,
        model,
        ids,
        &How { manifest: Some(&manifest), outside: Some(outside), grant_all: true, ..how.clone() },
    )
}

fn slack(crm: &Crm, server: &Service, granted: bool, dry_run: bool) -> (Report, Vec<String>) {
    let local = format!("{}/api/chat.postMessage", server.url);
    let http = format!("POST {local} private");
    let http = if granted { vec![http.as_str()] } else { Vec::new() };
    let params = [("channel", "#sales"), ("url", local.as_str())];
    let how = How { params: &params, http: &http, dry_run, ..How::default() };
    run(crm, &SLACK_MESSAGE, &[1], "https://slack.com/api/chat.postMessage", &local, &how)
}

// Shows: F023
#[test]
fn a_channel_is_told_of_a_lead_and_the_script_never_sees_the_token() {
    let crm = Crm::new();
    crm.write("crm.lead", 1, &[("name", Value::text("Chairs <!channel> <https://evil.example|click>"))]);
    let server = Service::start(|_, _| (200, json!({ "ok": true, "echo": format!("Bearer {KEY}") }).to_string()));
    let (report, log) = slack(&crm, &server, true, false);
    assert_eq!(report.verdict.message().as_deref(), Some("told #sales of 1 records"), "{:?} {log:?}", report.verdict);
    let asked = server.asked();
    assert!(asked[0].head.contains(&format!("authorization: Bearer {KEY}")), "the host filled it in");
    let body: Json = serde_json::from_slice(&asked[0].body).unwrap();
    let said = body["text"].as_str().unwrap();
    assert!(said.starts_with("A new lead: Chairs &lt;!channel&gt;") && !said.contains('<'), "{said}");
    assert!(!format!("{report:?} {log:?}").contains(KEY));

    // Slack refuses with 200; a dry run sends nothing; without a grant nothing leaves.
    let refusing = Service::start(|_, _| (200, json!({ "ok": false, "error": "channel_not_found" }).to_string()));
    let (report, _) = slack(&crm, &refusing, true, false);
    assert!(report.verdict.message().unwrap().contains("channel_not_found"), "{:?}", report.verdict);
    assert!(slack(&crm, &server, true, true).0.verdict.message().unwrap().contains("http-not-sent"));
    let (report, _) = slack(&crm, &server, false, false);
    assert_eq!(report.refusals[0].code, "refused-by-policy", "{:?}", report.refusals);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_order_is_looked_up_in_the_shop_and_noted() {
    let shop = |_: usize, asked: &Asked| match asked.head.lines().next().unwrap() {
        "GET /api/orders/SO%207%3Fx HTTP/1.1" => {
            (200, json!({ "status": "shipped", "paid": true, "tracking": "BE<b>1</b>" }).to_string())
        }
        _ => (404, "{}".to_owned()),
    };
    let server = Service::start(shop);
    let crm = Crm::new();
    let local = format!("{}/api", server.url);
    let http = format!("GET {local}/orders/* private");
    let (http, params) = ([http.as_str()], [("url", local.as_str())]);
    let how = How { params: &params, http: &http, ..How::default() };
    let look = |reference: &str| {
        crm.write("sale.order", 4, &[("client_order_ref", Value::text(reference))]);
        let (report, log) = run(&crm, &SHOP_LOOKUP, &[4], "https://shop.example/api", &local, &how);
        assert!(report.verdict.is_success(), "{:?} {log:?}", report.verdict);
        crm.messages("sale.order", 4)[0].body.clone()
    };
    let note = look("SO 7?x");
    assert!(note.contains("shipped, paid, tracking number BE&lt;b&gt;1&lt;/b&gt;"), "{note}");
    assert!(look("SO8").contains("The shop knows no order SO8."));
    assert!(server.asked()[0].head.contains(&format!("x-shop-key: {KEY}")));
}

#[test]
fn a_risky_company_is_tagged_and_untagged_and_a_service_that_is_down_shows() {
    let server = Service::start(|nth, asked| {
        let body: Json = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(body, json!({ "vat": "BE0477472701" }), "nothing else leaves");
        match nth {
            0 => (200, json!({ "score": 12, "reason": "late accounts" }).to_string()),
            1 => (503, String::new()),
            _ => (200, json!({ "score": 88 }).to_string()),
        }
    });
    let crm = Crm::new();
    crm.write("res.partner", 8, &[("vat", Value::text("BE0477472701"))]);
    let local = format!("{}/v1/companies", server.url);
    let http = format!("POST {local} private");
    let (http, params) = ([http.as_str()], [("url", local.as_str())]);
    let how = How { params: &params, http: &http, ..How::default() };
    let rate = || run(&crm, &PARTNER_RATING, &[8], "https://ratings.example/v1/companies", &local, &how).0;
    let tags = || crm.names("res.partner", 8, "category_id", "res.partner.category");
    let risky = |tags: Vec<String>| tags.iter().any(|tag| tag == "risky");
    assert_eq!(rate().verdict.message().as_deref(), Some("1 of 1 companies are risky"));
    assert!(risky(tags()) && crm.messages("res.partner", 8)[0].body.contains("Rated 12 of 100: late accounts"));
    assert!(rate().verdict.message().unwrap().contains("the service answered 503"));
    assert!(risky(tags()), "a service that is down untags nobody");
    assert!(rate().verdict.is_success() && !risky(tags()));
    let _ = text(&crm.value("res.partner", 8, "vat"));
}
