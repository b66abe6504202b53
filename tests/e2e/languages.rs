//! The same scripts in every language: the whole contract from each, and the example scripts with the assertions that
//! Rust's pass, too. The components are built by the toolchains that `triggerbox build` installs.

use guest_artifacts::{CONTRACT_CHECK, DEMO_WRITE_THEN_TRAP, Guest};
use triggerbox_automation::Verdict;
use triggerbox_model::{
    event::{Trigger, WebhookCall},
    limits::Limit,
    manifest::Manifest,
    value::{FieldValue, Snapshot, Value},
};
use triggerbox_workbench::scenario::{self, Bench, ScenarioFile};

use crate::{
    contract, language,
    support::{Crm, How, examples},
};

/// The contract's matrix: of each language, the script that exercises everything in it.
macro_rules! contract_checks {
    ($($language:ident: $guest:expr,)*) => {
        mod contract_check {
            use super::*;

            $(#[test]
            fn $language() {
                contract::assert_contract(stringify!($language), $guest);
            })*

            #[test]
            fn no_language_is_left_out() {
                assert_eq!(language::with("contract-check"), [$(stringify!($language)),*]);
            }
        }
    };
}

contract_checks! {
    c: language::single("c", "contract-check"),
    cpp: language::single("cpp", "contract-check"),
    go: language::bundled("go", "contract-check"),
    javascript: language::bundled("javascript", "contract-check"),
    python: language::bundled("python", "contract-check"),
    rust: &CONTRACT_CHECK,
    typescript: language::bundled("typescript", "contract-check"),
    zig: language::bundled("zig", "contract-check"),
}

/// The five examples of a language, as tests of their own.
macro_rules! examples {
    ($language:ident) => {
        mod $language {
            use super::*;

            #[test]
            fn high_value_order() {
                examples::high_value_order(language::bundled(stringify!($language), "high-value-order"));
                examples::threshold_is_a_parameter(language::bundled(stringify!($language), "high-value-order"));
            }

            #[test]
            fn lead_scoring() {
                examples::lead_scoring(language::bundled(stringify!($language), "lead-scoring"));
            }

            #[test]
            fn contact_upsert() {
                examples::contact_upsert(language::bundled(stringify!($language), "contact-upsert"));
            }

            #[test]
            fn data_quality() {
                examples::data_quality(language::bundled(stringify!($language), "data-quality"));
            }

            #[test]
            fn order_stock_check() {
                examples::order_stock_check(language::bundled(stringify!($language), "order-stock-check"));
                examples::no_message_without_a_grant(language::bundled(stringify!($language), "order-stock-check"));
            }
        }
    };
}

/// How a script ends that breaks, and its log.
fn broken(guest: &Guest) -> (Verdict, String) {
    let (report, log) = Crm::new().run(guest, "crm.lead", &[], &How::default());
    (report.verdict, log.join("\n"))
}

#[test]
fn a_python_exception_shows_its_traceback() {
    let (verdict, log) = broken(language::bundled_crash("python"));
    let Verdict::Trapped(trap) = verdict else { panic!("{verdict:?}\n{log}") };
    let shown = format!("{} {}", trap.stderr.unwrap_or_default(), log);
    for part in ["KeyError: 'missing'", "crash/script.py", "line 9, in deeper", "line 14, in run"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_typescript_error_shows_its_stack_in_lines_of_the_sources() {
    let (verdict, log) = broken(language::bundled_crash("typescript"));
    let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}\n{log}") };
    for part in ["TypeError: ", "at deeper (crash/script.ts:6)", "(crash/script.ts:10)"] {
        assert!(failure.message().contains(part), "{part}: {}", failure.message());
    }
}

#[test]
fn values_of_commands_fit_the_fields_of_the_related_model() {
    let manifest = "[script]\nname = \"lines\"\nversion = \"1.0.0\"\n\n[[grants]]\nmodel = \"res.partner\"\n\
        operations = [\"read\", \"write\", \"create\"]\nfields = [\"name\", \"child_ids\", \"parent_id\", \"user_id\"]\n";
    for language in ["python", "typescript"] {
        let crm = Crm::new();
        let company = crm.search("res.partner", "[('child_ids', '!=', False)]")[0];
        let how = How { manifest: Some(manifest), ..How::default() };
        let (report, log) = crm.run(language::bundled_crash(language), "res.partner", &[company], &how);
        assert!(matches!(report.verdict, Verdict::Applied(_)), "{language}: {:?}\n{log:?}", report.verdict);
        let related = format!(
            "[('parent_id', '=', {company}), ('name', 'in', ['Ada', 'Grace']), ('user_id.login', '=', 'admin')]"
        );
        assert_eq!(crm.search("res.partner", &related).len(), 2, "{language}");
    }
}

#[test]
fn a_go_panic_shows_its_stack() {
    let (verdict, log) = broken(language::bundled_crash("go"));
    let Verdict::Trapped(trap) = verdict else { panic!("{verdict:?}\n{log}") };
    let shown = format!("{} {}", trap.stderr.unwrap_or_default(), log);
    for part in ["nil pointer dereference", "crash.deeper", "crash/script.go:9"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// What an amount is that nobody knows yet is no number to go by.
#[test]
fn go_and_zig_break_on_what_only_the_commit_can_know() {
    let (report, log) = Crm::new().run(language::bundled_crash("go"), "crm.lead", &[1], &How::default());
    let Verdict::Trapped(trap) = report.verdict else { panic!("{:?}\n{log:?}", report.verdict) };
    let shown = format!("{} {}", trap.stderr.unwrap_or_default(), log.join("\n"));
    assert!(shown.contains("\"amount_total\" of sale.order(3) is known only when the run is applied"), "{shown}");
    let said = last_word(language::bundled_crash("zig"), &[1, 2]);
    assert!(said.starts_with("error panic: a value was read that is known only when the run is applied"), "{said}");
}

#[test]
fn c_go_and_zig_find_the_values_that_a_trigger_carries() {
    let phone = || vec![FieldValue::new("phone", Value::text("+32 9 123"))];
    let records = |ids: &[u32]| ids.iter().map(|id| Snapshot { id: *id, fields: phone() }).collect::<Vec<_>>();
    let guests = [language::crash("c"), language::bundled_crash("go"), language::bundled_crash("zig")];
    for trigger in [Trigger::Deleted(records(&[3, 7])), Trigger::BeforeUpdate(records(&[7]))] {
        for guest in guests {
            let how = How { trigger: Some(trigger.clone()), ..How::default() };
            let (report, log) = Crm::new().run(guest, "crm.lead", &[], &how);
            let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}\n{log:?}", report.verdict) };
            assert_eq!(outcome.message.as_deref(), Some("+32 9 123"));
        }
    }
}

/// The line with which a script broke, the last of its log, where it can only be a trap.
fn last_word(guest: &Guest, ids: &[u32]) -> String {
    let (report, log) = Crm::new().run(guest, "crm.lead", ids, &How::default());
    let Verdict::Trapped(trap) = report.verdict else { panic!("{:?}\n{log:?}", report.verdict) };
    assert!(trap.cause.contains("unreachable"), "{trap:?}");
    log.last().cloned().unwrap_or_default()
}

#[test]
fn c_says_what_it_gave_up_at() {
    let said = last_word(language::crash("c"), &[1]);
    assert_eq!(said, "error assertion failed: event->records.len == 0 (script.c:9, in deeper)");
    let said = last_word(language::crash("c"), &[1, 2]);
    assert_eq!(said, "error a value was read that is known only when the run is applied; decide without it");
    let said = last_word(language::crash("c"), &[1, 2, 3]);
    assert_eq!(said, "error a value was read as a number, which it is not: many");
    // Without a word.
    assert_eq!(last_word(language::crash("c"), &[]), "");
}

#[test]
fn cpp_says_what_it_gave_up_at() {
    let said = last_word(language::crash("cpp"), &[]);
    assert!(said.starts_with("error assertion failed: event->attempt == 0 (script.cpp:10, in "), "{said}");
}

#[test]
fn a_zig_error_is_named_and_a_panic_is_told() {
    let (verdict, log) = broken(language::bundled_crash("zig"));
    let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}\n{log}") };
    assert_eq!(failure.message(), "NothingToDo");
    let said = last_word(language::bundled_crash("zig"), &[1]);
    assert!(said.starts_with("error panic: no record was wanted"), "{said}");
}

#[test]
fn a_javascript_error_shows_its_stack() {
    let (verdict, log) = broken(language::bundled_crash("javascript"));
    let Verdict::Failed(failure) = verdict else { panic!("{verdict:?}\n{log}") };
    for part in ["TypeError: ", "at deeper (crash/script.js:4)", "(crash/script.js:8)"] {
        assert!(failure.message().contains(part), "{part}: {}", failure.message());
    }
}

#[test]
fn a_rust_panic_shows_its_text_and_backtrace() {
    let (report, log) = Crm::new().run(&DEMO_WRITE_THEN_TRAP, "sale.order", &[3], &How::default());
    let Verdict::Trapped(trap) = report.verdict else { panic!("{:?}\n{log:?}", report.verdict) };
    let shown = trap.to_string();
    for part in ["cannot divide the total among 1 orders", "src/lib.rs:", "divide_the_total"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

examples!(python);
examples!(typescript);

/// The first example, in the languages that have no other.
fn high_value_order(guest: &Guest) {
    examples::high_value_order(guest);
    examples::threshold_is_a_parameter(guest);
}

#[test]
fn javascript_high_value_order() {
    high_value_order(language::bundled("javascript", "high-value-order"));
}

#[test]
fn c_high_value_order() {
    high_value_order(language::single("c", "high-value-order"));
}

#[test]
fn zig_high_value_order() {
    high_value_order(language::bundled("zig", "high-value-order"));
}

#[test]
fn go_high_value_order() {
    high_value_order(language::bundled("go", "high-value-order"));
}

/// A server action's code, run on these records.
fn server_action(crm: &Crm, ids: &[u32], code: &str) -> (triggerbox_automation::Report, Vec<String>) {
    action_in(crm, "crm.lead", ids, code, &How { grants: ACTION, ..How::default() })
}

/// The same, on another model and in another way.
fn action_in(
    crm: &Crm,
    model: &str,
    ids: &[u32],
    code: &str,
    how: &How<'_>,
) -> (triggerbox_automation::Report, Vec<String>) {
    let how = How { params: &[("code", code)], ..how.clone() };
    crm.run(language::single("python", "server-action"), model, ids, &how)
}

const ACTION: &[&str] = &[
    "crm.lead:read,write,note:name,expected_revenue,priority,partner_id,type",
    "res.partner:read:name,city",
    "sale.order:read,create:name,partner_id",
];

// Shows: F014
#[test]
fn a_thousand_records_and_three_of_their_fields_are_four_host_calls() {
    let crm = Crm::new();
    let lead = [("name", Value::text("One of many")), ("type", Value::text("lead"))];
    let ids: Vec<u32> = (0..1_000).map(|_| crm.create("crm.lead", &lead)).collect();
    let code = "total = sum([len(r.name) + r.expected_revenue + int(r.priority) for r in records])\nlog(str(total))";
    let (report, log) = server_action(&crm, &ids, code);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    assert!(log.iter().any(|line| line.contains("11000.0")), "{log:?}");
    let calls = report.used.get(Limit::HostCalls);
    // Whether the user may, what the fields are, the values, and the line that is logged.
    assert!(calls <= 4, "{calls} host calls");
}

// Shows: F014
#[test]
fn many_records_are_made_in_one_host_call_and_given_the_same_list_in_one() {
    let crm = Crm::new();
    let grants = ["res.partner:read,write,create:name,category_id", "res.partner.category:read,create:name"];
    let code = "tags = env['res.partner.category'].create([{'name': name} for name in ('Old', 'Both', 'New')])\n\
                old, both, new = tags\n\
                many = model.create([{'name': 'One of many', 'category_id': [(4, old.id), (4, both.id)]}] * 200)\n\
                log(str([len(many), len(model.create([]))]))\n\
                many[100:].write({'category_id': [(5, 0, 0), (4, new.id), (4, both.id), (3, new.id)]})";
    let how = How { grants: &grants, ..How::default() };
    let (report, log) = action_in(&crm, "res.partner", &[], code, &how);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?} {log:?}", report.verdict);
    assert_eq!(log, ["info [200, 0]"]);
    assert_eq!(report.used.get(Limit::WriteCalls), 3, "the tags, the partners, and half of them again");
    let made = crm.search("res.partner", "[('name', '=', 'One of many')]");
    assert_eq!(made.len(), 200);
    let tags = |id: &u32| crm.names("res.partner", *id, "category_id", "res.partner.category");
    let count = |wanted: &[&str]| made.iter().filter(|id| tags(id) == wanted).count();
    assert_eq!((count(&["Both", "Old"]), count(&["Both"])), (100, 100));
}

#[test]
fn a_server_action_is_refused_with_line_and_reason() {
    let crm = Crm::new();
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    for (code, reason) in [
        ("x = 1\nimport os", "line 2: there is no import"),
        ("\n\nx = 1\nimport os", "line 4: there is no import"),
        ("\n  \nlog(record.name)\nenv.cr.commit()\n", "(line 4: env.cr.commit())"),
        ("record.name = 'x'", "line 1: attributes cannot be assigned; write record['name'] = "),
        ("x = 1\nx = record.__class__", "line 2: the name '__class__' is forbidden"),
        // Letters that Python takes for others.
        ("x = 1\nx = record._\u{ff3f}class_\u{ff3f}", "line 2: the name '__class__' is forbidden"),
        ("x = list.\u{ff4d}ro", "line 1: the name 'mro' is forbidden"),
        ("match 1:\n    case a__b:\n        pass", "line 2: the name 'a__b' is forbidden"),
        ("def f(a):\n    return records.filtered(lambda r: r.id > a)", "line 2: 'a' belongs to the function around"),
        ("log(record.name)\nenv.cr.commit()", "env.cr.commit() would apply half of a run"),
        ("record.write({'name': 'x'})\nlog(str(record.nothing_such))", "has no attribute"),
        ("env.cr.rollback()", "env.cr.rollback() is not needed: raise UserError(…)"),
        ("env.cr.execute('select 1')", "there is no SQL here; use search"),
        ("env['res.partner'].sudo()", "sudo() is not granted"),
        ("records.with_user(1).write({'name': 'x'})", "set the rule's run-as user instead"),
        ("env(user=1)['res.partner'].search([])", "set the rule's run-as user instead"),
        ("env['ir.model'].search([])", "of ir.model one thing is known here"),
        ("log(record.copy_data()[0]['email_from'])", "does not grant `read` of"),
        (
            "partner = env['res.partner'].search([], limit=1)\nlog(env['sale.order'].create({'partner_id': partner.id}).name)",
            "is known only when the run is applied; decide before you write",
        ),
        ("record.message_post(body='x', subtype_xmlid='mail.mt_comment')", "`message` on `crm.lead`"),
        ("record.message_post(body='x').id", "the result of message_post is known only when the run is applied"),
    ] {
        let (report, log) = server_action(&crm, &[lead], code);
        let Verdict::Failed(failure) = report.verdict else { panic!("{code}: {:?} {log:?}", report.verdict) };
        assert!(failure.message().contains(reason), "{code}: {}", failure.message());
    }
    assert_eq!(crm.value("crm.lead", lead, "name"), Value::text("A lead"), "nothing was applied");
}

#[test]
fn a_server_action_does_not_run_for_who_may_not_change_its_records_and_says_who() {
    let crm = Crm::new();
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    let rita = crm.search("res.users", "[('login', '=', 'rita')]")[0];
    crm.write("res.users", rita, &[("group_ids", Value::Ids(Vec::new()))]);
    // Nothing of users is granted.
    let how = How { user: Some("rita"), grants: ACTION, ..How::default() };
    let (report, log) = action_in(&crm, "crm.lead", &[lead], "log('it runs')", &how);
    let Verdict::Failed(failure) = report.verdict else { panic!("{:?} {log:?}", report.verdict) };
    let wanted = format!("may not change crm.lead({lead},), and so not run actions on it");
    assert!(failure.message().contains(&wanted) && log.is_empty(), "{} {log:?}", failure.message());
}

#[test]
fn a_server_action_asks_for_groups_and_names_as_odoo_answers() {
    let crm = Crm::new();
    let grants = ["res.users:read:group_ids", "res.groups:read:implied_ids", "crm.lead:read,write:name"];
    let how = How { grants: &grants, ..How::default() };
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    let code = "groups = ['base.group_user', 'base.group_no_one', 'no.such_group']\n\
                log(str([user.has_group(group) for group in groups]))\n\
                log(str(len(env['crm.lead'].name_search(limit=None)) > 1))";
    let (report, log) = action_in(&crm, "crm.lead", &[lead], code, &how);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    assert_eq!(log, ["info [True, False, False]", "info True"]);
}

#[test]
fn a_server_action_of_a_superuser_s_rule_may_say_so_within_its_grants() {
    let crm = Crm::new();
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    let how = How { superuser: true, grants: ACTION, ..How::default() };
    for call in [
        "record.sudo()",
        "record.with_user(1)",
        "record.with_user(user)",
        "env(user=1)['crm.lead'].browse(record.id)",
        "env(user=user, su=True)['crm.lead'].browse(record.id)",
    ] {
        let (report, log) = action_in(&crm, "crm.lead", &[lead], &format!("log({call}.name)"), &how);
        assert!(matches!(report.verdict, Verdict::Applied(_)), "{call}: {:?}", report.verdict);
        assert_eq!(log, ["info A lead"], "{call}");
    }
    // Neither another user's rights, nor what is not granted.
    for (code, reason) in [
        ("log(record.with_user(5).name)", "with_user() is not granted"),
        ("log(env(user=5)['crm.lead'].browse(record.id).name)", "env(user=…, su=…) is not granted"),
        ("log(env['res.users'].sudo().browse(1).login)", "refused-by-rule"),
        ("record.sudo().unlink()", "refused-by-rule"),
    ] {
        let (report, log) = action_in(&crm, "crm.lead", &[lead], code, &how);
        let Verdict::Failed(failure) = report.verdict else { panic!("{code}: {:?} {log:?}", report.verdict) };
        assert!(failure.message().contains(reason), "{code}: {}", failure.message());
    }
}

#[test]
fn a_server_action_finds_a_webhook_s_payload() {
    let crm = Crm::new();
    let run = |body: &str, query: &[(&str, &str)]| {
        let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let call = WebhookCall { method: "POST".to_owned(), headers: Vec::new(), query: pairs, body: body.into() };
        let how = How { trigger: Some(Trigger::Webhook(call)), grants: ACTION, ..How::default() };
        action_in(&crm, "crm.lead", &[], "log(payload['name'])\naction = payload", &how)
    };
    let (report, log) = run(r#"{"name": "Ada", "tags": [1, 2]}"#, &[("name", "of the query")]);
    let Verdict::Applied(outcome) = report.verdict else { panic!("{:?}", report.verdict) };
    assert_eq!(log, ["info Ada"]);
    assert_eq!(outcome.result_json.as_deref(), Some(r#"{"name": "Ada", "tags": [1, 2]}"#));

    let (report, log) = run("", &[("name", "Byron")]);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    assert_eq!(log, ["info Byron"]);

    // What is no JSON counts as nothing, such as a form.
    let (report, log) = run("name=Ada", &[("name", "Clara")]);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    assert_eq!(log, ["info Clara"]);

    // Of any other trigger there is none.
    let (report, _) = server_action(&crm, &[], "log(str(payload))");
    let Verdict::Failed(failure) = report.verdict else { panic!("{:?}", report.verdict) };
    assert!(failure.message().contains("name 'payload' is not defined"), "{}", failure.message());
}

#[test]
fn a_server_action_maps_no_records_as_odoo_does() {
    let crm = Crm::new();
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    let code = "none = model.browse()\n\
                log(str(none.mapped(lambda r: r.partner_id)))\n\
                log(str(none.mapped(lambda r: r.expected_revenue * 2)))\n\
                log(str(none.mapped('partner_id')))\n\
                log(str(none.mapped('name')))\n\
                log(str([records.mapped('') == records, none.mapped('') == none, records.mapped('name')]))";
    let (report, log) = server_action(&crm, &[lead], code);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?}", report.verdict);
    let wanted = ["info res.partner()", "info []", "info res.partner()", "info []", "info [True, True, ['A lead']]"];
    assert_eq!(log, wanted);
}

#[test]
fn a_server_action_logs_as_odoo_does_and_does_not_end_at_it() {
    let crm = Crm::new();
    let code = "_logger.info('%s of %d', 'one', 2)\n\
                _logger.warning('%(name)s', {'name': 'Ada'})\n\
                _logger.info('%s and %s', 'one')\n\
                _logger.info('100%', 7)\n\
                _logger.log(40, 'by %s', 'number')";
    let (report, log) = server_action(&crm, &[], code);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?} {log:?}", report.verdict);
    let wanted = ["info one of 2", "warning Ada", "info %s and %s ('one',)", "info 100% (7,)", "error by number"];
    assert_eq!(log, wanted);
}

#[test]
fn a_server_action_describes_the_fields_that_there_are_of_those_it_names() {
    let crm = Crm::new();
    let code = "log(str(model.fields_get(['name', 'no_such'], ['type'])))";
    let (report, log) = server_action(&crm, &[], code);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?} {log:?}", report.verdict);
    assert_eq!(log, ["info {'name': {'type': 'char'}}"]);
}

#[test]
fn a_server_action_makes_archived_lines_with_lists_of_their_own() {
    let crm = Crm::new();
    let grants = [
        "res.partner:read,write,create:name,active,parent_id,child_ids,category_id",
        "res.partner.category:read,create,write:name",
    ];
    let code = "tag = env['res.partner.category'].create({'name': 'Former'})\n\
                env['res.partner'].create({'name': 'Weavers', 'child_ids': [\n\
                    (0, 0, {'name': 'Gone', 'active': False, 'category_id': [(4, tag.id)]}),\n\
                    (0, 0, {'name': 'There', 'category_id': [(4, tag.id)]}),\n\
                ]})";
    let how = How { grants: &grants, ..How::default() };
    let (report, log) = action_in(&crm, "res.partner", &[], code, &how);
    assert!(matches!(report.verdict, Verdict::Applied(_)), "{:?} {log:?}", report.verdict);
    for (name, active) in [("Gone", false), ("There", true)] {
        let found = crm.search(
            "res.partner",
            &format!("[('name', '=', '{name}'), ('active', '=', {})]", if active { "True" } else { "False" }),
        );
        let [id] = found.as_slice() else { panic!("{name}: {found:?}") };
        assert_eq!(crm.names("res.partner", *id, "category_id", "res.partner.category"), ["Former"], "{name}");
        assert!(matches!(crm.value("res.partner", *id, "parent_id"), Value::Many2one(_)), "{name}");
    }
}

#[test]
fn a_server_action_knows_models_by_their_external_ids_if_there_are_such() {
    let crm = Crm::new();
    let lead = crm.create("crm.lead", &[("name", Value::text("A lead"))]);
    let code = "log(env.ref('crm.model_crm_lead').model)\n\
                log(str(env.ref('crm.model_no_such', raise_if_not_found=False)))\n\
                name = record.name\nenv.invalidate_all()\nlog(record.name)\n\
                env.ref('crm.model_no_such')";
    let (report, log) = server_action(&crm, &[lead], code);
    let Verdict::Failed(failure) = report.verdict else { panic!("{:?} {log:?}", report.verdict) };
    assert_eq!(log, ["info crm.lead", "info None", "info A lead"]);
    let wanted = "ValueError: External ID not found in the system: crm.model_no_such (line 6";
    assert!(failure.message().starts_with(wanted), "{}", failure.message());
}

// Shows: F078, F092
#[tokio::test]
async fn the_scenarios_of_the_python_examples_pass() {
    for name in ["contact-upsert", "data-quality", "high-value-order", "lead-scoring", "order-stock-check"] {
        let guest = language::bundled("python", name);
        let script = crate::support::compiled(guest.component);
        let bench = Bench { script, manifest: Manifest::parse(guest.manifest.unwrap()).unwrap() };
        let files = scenario::files(&language::examples("python").join(name).join("scenarios")).unwrap();
        assert!(!files.is_empty(), "{name}");
        for path in files {
            // The bundle goes by the rule, and a scenario's rule is called as its file is.
            let file = ScenarioFile { name: name.to_owned(), ..ScenarioFile::read(&path).unwrap() };
            let played = bench.play(&file).await.unwrap();
            assert_eq!(played.failures, [], "{}", path.display());
        }
    }
}
