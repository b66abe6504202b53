//! What a rule does without anybody writing code: the program's own scripts on the demo CRM, with the rights that their
//! parameters name and no others.

use guest_artifacts::{CALL_WEBHOOK, CREATE_RECORD, Guest, NOTIFY, UPDATE_RECORD};
use triggerbox_automation::{Report, Verdict, rule::file, scripts::asks};
use triggerbox_model::{
    event::Trigger,
    grants::Policy,
    manifest::Manifest,
    value::{Id, Value},
};

use crate::support::{Crm, How, text};

/// Runs a ready-made script as a rule with these parameters would.
fn run(crm: &Crm, guest: &Guest, model: &str, ids: &[Id], parameters: &[(&str, &str)], how: &How<'_>) -> Report {
    let mut rule = file::parse(&format!(
        "name = \"r\"\nmodel = \"{model}\"\ntrigger = {{ on = \"manual\" }}\n[[actions]]\nscript = \"{}\"\n",
        guest.name
    ))
    .unwrap();
    rule.actions[0].parameters = parameters.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
    let manifest = Manifest::parse(guest.manifest.unwrap()).unwrap();
    let authority = asks::authority(crm.database.schema(), &rule, &rule.actions[0], &manifest, &Policy::default());
    let (report, _) =
        crm.run(guest, model, ids, &How { params: parameters, authority: Some(authority), ..how.clone() });
    report
}

fn succeed(crm: &Crm, guest: &Guest, model: &str, ids: &[Id], parameters: &[(&str, &str)]) {
    let report = run(crm, guest, model, ids, parameters, &How::default());
    assert!(report.verdict.is_success(), "{:?}", report.verdict);
}

fn failure(report: Report) -> String {
    match report.verdict {
        Verdict::Failed(failure) => failure.message().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn lead(crm: &Crm) -> Id {
    let partner = crm.search("res.partner", "[('is_company', '=', True)]")[0];
    crm.create(
        "crm.lead",
        &[
            ("name", Value::text("Looms {phone} for <b>two</b> halls")),
            ("partner_id", Value::link(partner)),
            ("expected_revenue", Value::Number(1200.5)),
            ("date_deadline", Value::Date("2026-12-24".into())),
            ("phone", Value::text("+32 2 555")),
        ],
    )
}

// Shows: F013, F014
#[test]
fn update_record_sets_fields_of_every_type() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let tags = crm.search("crm.tag", "[]");
    crm.write("crm.lead", lead, &[("tag_ids", Value::Ids(vec![tags[0]]))]);
    let values = format!(
        "# for the sales team\nname = {{partner_id.name}}: {{name}}\npriority = 2\nuser_id = me\nexpected_revenue = 99.5\n\
         date_deadline = today + 1 week\nphone =\ntag_ids = +{} -{}\ndescription = Due {{date_deadline}}, {{expected_revenue}}",
        tags[1], tags[0]
    );
    succeed(&crm, &UPDATE_RECORD, "crm.lead", &[lead], &[("values", &values)]);

    let partner = text(&crm.value("crm.lead", lead, "partner_id"));
    let name = text(&crm.value("crm.lead", lead, "name"));
    assert_eq!(
        name,
        format!("{partner}: Looms {{phone}} for <b>two</b> halls"),
        "what records hold is never looked at again"
    );
    assert_eq!(crm.value("crm.lead", lead, "priority"), Value::text("2"));
    assert_eq!(crm.value("crm.lead", lead, "expected_revenue"), Value::Number(99.5));
    assert_eq!(crm.value("crm.lead", lead, "date_deadline"), Value::Date("2026-11-27".into()));
    assert_eq!(crm.value("crm.lead", lead, "phone"), Value::Unset);
    assert_eq!(crm.value("crm.lead", lead, "tag_ids"), Value::Ids(vec![tags[1]]));
    assert!(text(&crm.value("crm.lead", lead, "description")).contains("Due 2026-12-24, 1200.5"));
}

#[test]
fn update_record_follows_links_and_escapes_markup() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let Value::Many2one(partner) = crm.value("crm.lead", lead, "partner_id") else { panic!() };
    let parameters = [("target", "partner_id"), ("values", "comment = About {name}")];
    succeed(&crm, &UPDATE_RECORD, "crm.lead", &[lead], &parameters);
    let comment = text(&crm.value("res.partner", partner.id, "comment"));
    assert!(comment.contains("&lt;b&gt;two&lt;/b&gt;"), "{comment}");

    crm.write("crm.lead", lead, &[("partner_id", Value::Unset)]);
    succeed(&crm, &UPDATE_RECORD, "crm.lead", &[lead], &parameters);
}

// Shows: F013, F117, F122
#[test]
fn create_record_makes_one_for_each_record_and_only_once() {
    let crm = Crm::new();
    let (one, two) = (lead(&crm), lead(&crm));
    crm.write("crm.lead", two, &[("name", Value::text("Another"))]);
    let before = crm.search("project.task", "[]").len();
    let parameters = [
        ("model", "project.task"),
        ("values", "name = Call about {name}\ndate_deadline = today + 2 days"),
        ("once", "name"),
    ];
    succeed(&crm, &CREATE_RECORD, "crm.lead", &[one, two], &parameters);
    assert_eq!(crm.search("project.task", "[]").len(), before + 2);
    succeed(&crm, &CREATE_RECORD, "crm.lead", &[one, two], &parameters);
    assert_eq!(crm.search("project.task", "[]").len(), before + 2, "found, not created again");
    assert_eq!(crm.search("project.task", "[('name', '=', 'Call about Another')]").len(), 1);
}

#[test]
fn create_record_links_what_it_made() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let parameters = [("model", "crm.tag"), ("values", "name = made for {id}"), ("link", "tag_ids")];
    let report = run(&crm, &CREATE_RECORD, "crm.lead", &[lead], &parameters, &How::default());
    assert!(failure(report).contains("`id`"), "the id is no field to show");
    let parameters = [("model", "crm.tag"), ("values", "name = from {phone}"), ("link", "tag_ids")];
    succeed(&crm, &CREATE_RECORD, "crm.lead", &[lead], &parameters);
    assert_eq!(crm.names("crm.lead", lead, "tag_ids", "crm.tag"), ["from +32 2 555"]);
}

// Shows: F013, F015, F127
#[test]
fn notify_notes_tells_schedules_and_subscribes() {
    let crm = Crm::new();
    let lead = lead(&crm);
    succeed(&crm, &NOTIFY, "crm.lead", &[lead], &[("text", "Worth {expected_revenue}: {name}")]);
    let note = &crm.messages("crm.lead", lead)[0];
    assert!(note.is_note && note.body.contains("Worth 1200.5") && note.body.contains("&lt;b&gt;"), "{note:?}");

    succeed(
        &crm,
        &NOTIFY,
        "crm.lead",
        &[lead],
        &[("how", "message"), ("text", "Thank you"), ("subject", "About {name}")],
    );
    assert!(!crm.messages("crm.lead", lead)[0].is_note, "the parameter is the grant by name");

    succeed(
        &crm,
        &NOTIFY,
        "crm.lead",
        &[lead],
        &[("how", "activity"), ("text", "Call {partner_id.name}"), ("due", "today + 3 days"), ("user", "me")],
    );
    let activity = &crm.activities("crm.lead", lead)[0];
    assert!(text(&activity.values[0]).starts_with("Call "), "{activity:?}");
    assert_eq!(activity.values[1], Value::Date("2026-11-23".into()));

    succeed(&crm, &NOTIFY, "crm.lead", &[lead], &[("how", "follow"), ("partners", "{partner_id}")]);
    let Value::Many2one(partner) = crm.value("crm.lead", lead, "partner_id") else { panic!() };
    let follows = format!("[('id', '=', {lead}), ('message_partner_ids', 'in', [{}])]", partner.id);
    assert_eq!(crm.search("crm.lead", &follows), [lead]);
    succeed(&crm, &NOTIFY, "crm.lead", &[lead], &[("how", "unfollow"), ("partners", "{partner_id}")]);
    assert!(crm.search("crm.lead", &follows).is_empty());
}

// Shows: F018, F108
#[test]
fn guarded_models_stay_closed_to_ready_made_scripts() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let report = run(&crm, &NOTIFY, "crm.lead", &[lead], &[("text", "{user_id.login}")], &How::default());
    assert!(failure(report).contains("res.users"));
    let user = crm.search("res.users", "[]")[0];
    let report = run(&crm, &UPDATE_RECORD, "res.users", &[user], &[("values", "name = x")], &How::default());
    assert!(failure(report).contains("the rule does not grant"));
}

// Shows: F013
#[test]
fn call_webhook_says_that_no_host_is_granted() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let parameters = [("url", "https://erp.example/hook"), ("fields", "name, partner_id")];
    let report = run(&crm, &CALL_WEBHOOK, "crm.lead", &[lead], &parameters, &How::default());
    assert!(failure(report).starts_with("http-not-configured"));
}

// Shows: F005
#[test]
fn update_record_answers_with_values_inside_a_callers_write() {
    let crm = Crm::new();
    let lead = lead(&crm);
    let draft = triggerbox_model::value::Snapshot { id: lead, fields: Vec::new() };
    let how = How { trigger: Some(Trigger::OnChange(draft)), ..How::default() };
    let report = run(&crm, &UPDATE_RECORD, "crm.lead", &[lead], &[("values", "priority = 3")], &how);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(outcome.values.len(), 1);
    assert_eq!(crm.value("crm.lead", lead, "priority"), Value::text("0"), "the caller sets them");
}
