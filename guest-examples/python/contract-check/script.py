"""Calls everything in the contract once and logs the answers.

To be run on a lead that may be changed, with trigger `manual`. Each call is one log line: its name, then `ok` with the
answer or `error` with code and message. No answer ends the run, so that a host that lacks something still shows all the
rest. The outcome's result is a JSON object of the same names with `ok` or the error's code. Where an answer is put together
of parts, another line shows what this language made of them: it is the same one in every language.
"""

import os
import sys
import time
from datetime import date, datetime, timezone

from triggerbox import (
    Activity, Command, Error, Json, Link, Outcome, Record, Reference, budget, calendar, call, create, describe_fields,
    ensure, escape, fields_get, has_access, html, http, llm, log, name_search, read, read_group, ref, search,
    search_count, search_ids, state,
)

results = {}


def note(name, call, *arguments, **named):
    """Notes a call's answer, and passes it on if it is a good one."""
    try:
        answer = call(*arguments, **named)
    except Error as error:
        field = f" (field {error.field})" if error.field else ""
        log.info(f"{name}: error {type(error).__name__} {error.code}: {error.message}{field}")
        results[name] = error.code
        return None
    log.info(f"{name}: ok {answer!r}")
    results[name] = "ok"
    return answer


def show(name, *parts):
    """Shows the parts of an answer."""
    log.info(f"answer of {name}: {' | '.join(map(str, parts))}")


def run(event):
    results.clear()
    event_and_parameters(event)
    lead = event.records[0]
    reads(lead)
    writes(event, lead)
    chatter(event, lead)
    state_and_runtime(event)
    language_model()
    other_service(event)
    details()
    round_trip(event)
    failed = sum(code != "ok" for code in results.values())
    return Outcome(
        f"{len(results)} calls, {failed} refused",
        values={"name": "from the outcome"},
        warning="a warning",
        records=event.ids,
        result=results,
    )


def event_and_parameters(event):
    log.info(f"event: {event!r}")
    note("event.time", lambda: event.now)
    note("event.today", lambda: event.today)
    for name in ("service", "text", "integer", "float", "boolean", "date", "datetime", "selection", "many2one"):
        note(f"parameter.{name}", event.param, name)
    note("parameter.unset", event.parameters.get, "unset")


def reads(lead):
    this = [("id", "=", lead.id)]
    note("records.search", search_ids, lead.model, [("active", "in", [True, False])], order="id", limit=2)
    note("records.search.literal", search_ids, lead.model,
         "[('type', '=', 'lead'), '|', ('name', 'ilike', 'a'), (1, '=', 1)]")
    note("records.search-read", search, lead.model, this, ["name", "stage_id"])
    note("records.search-count", search_count, lead.model, ["!", *this])
    note("records.read", lead.read, "name", "expected_revenue", "tag_ids", "create_date")
    groups = note("records.read-group", read_group, lead.model, [], ["stage_id"], ["expected_revenue:sum", "__count"],
                  order="stage_id", limit=2)
    show("records.read-group",
         *(f"{group['stage_id'].name}, {group.count}, {group['expected_revenue:sum']:.0f}" for group in groups or ()))
    note("records.name-search", name_search, lead.model, "a", 2)
    note("records.fields-get", fields_get, lead.model, "type", "stage_id")
    note("records.has-access", has_access, lead.model, [lead.id], "write")
    note("records.resolve-xmlid", ref, "base.main_company")
    note("records.unknown-model", search_ids, "crm.laed")
    note("records.unknown-field", lead.read, "nmae")
    note("records.no-fields", lead.read)
    note("records.bad-domain", search_ids, lead.model, "[('name', '=']")


def writes(event, lead):
    note("records.write", lead.write, {"expected_revenue": 1234.5})
    note("records.read.staged", lead.read, "expected_revenue")
    tag = note("records.ensure", ensure, "crm.tag", ["name"], {"name": "contract check"})
    note("records.ensure.again", ensure, "crm.tag", ["name"], {"name": "contract check"})
    if tag:
        for name, command in {
            "link": Command.link(tag.id),
            "unlink": Command.unlink(tag.id),
            "replace": Command.replace([tag.id]),
            "create": Command.create({"name": "made by a command"}),
            "update": Command.update(tag.id, {"color": 5}),
            "delete": Command.delete(tag.id),
            "clear": Command.clear(),
        }.items():
            note(f"records.relate.{name}", lead.relate, "tag_ids", command)
    new = note("records.create", create, lead.model, {"name": f"made by {event.rule}"})
    if new:
        note("records.read.created", new.read, "name", "create_date")
        note("records.mention", new.mention)
        note("records.copy", new.copy, {"name": "a copy"})
        note("records.unlink", new.unlink)
    note("records.call", lead.call, "action_archive")
    note("records.call.read-only", lambda: call(lead.model, [], "name_search", name="a", limit=1))
    note("records.wrong-type", lead.write, {"name": 1})
    note("records.provisional-id-as-text", lead.write, {"description": "see 2147483648"})


def chatter(event, lead):
    message = html(f"<b>{escape('1 < 2')}</b>", subject="Contract check",
                   attachments=[("note.txt", "text/plain", b"attached")])
    note("chatter.post-message", lead.post_message, message)
    note("chatter.post-note", lead.post_note, "1 < 2, as text")
    activity = Activity("mail.mail_activity_data_todo", "Check the contract", note="<p>All of it.</p>",
                        deadline=event.today, user_id=event.run_as.id)
    note("chatter.schedule-activity", lead.schedule_activity, activity)
    note("chatter.complete-activities", lead.complete_activities, "mail.mail_activity_data_todo", "checked")
    note("chatter.add-followers", lead.add_followers, 1)
    note("chatter.remove-followers", lead.remove_followers, 1)
    note("chatter.read-messages", lead.messages, 3)


def state_and_runtime(event):
    note("state.get", state.get, "count")
    note("state.set", state.set, "count", 1)
    note("state.get.staged", state.get, "count")
    note("state.remove", state.remove, "count")
    note("calendar.to-local", calendar.to_local, event.now, "Europe/Brussels")
    note("calendar.to-utc", calendar.to_utc, datetime(2026, 3, 29, 2, 30), "Europe/Brussels")
    note("calendar.unknown-zone", calendar.to_utc, datetime(2026, 1, 1), "Europe/Nowhere")
    note("budget.remaining", lambda: budget.remaining("host-calls") is not None)
    note("budget.unknown", budget.remaining, "patience")
    log.debug("log.debug")
    log.warning("log.warning")
    log.error("log.error")
    # What language runtimes ask of WASI: the clock of the event, no environment, no files.
    note("wasi.clock", lambda: int(time.time()))
    note("wasi.environment", lambda: len(os.environ))
    note("wasi.files", lambda: not os.path.exists("/etc/passwd"))
    print("wasi.stdout")
    print("wasi.stderr", file=sys.stderr)


def language_model():
    """Asks for tools, tells what came of them, and asks for answers that end in other ways."""
    schema = {"type": "object", "properties": {}}
    turns = [llm.system("Answer briefly."), llm.user("What is a contract?"), llm.assistant("An agreement.")]
    answer = completion("llm.complete", turns, tools=[llm.tool("look_up", "Looks a word up", schema)], schema=schema,
                        temperature=0.0, max_tokens=10)
    if answer is None:
        return
    results = [
        llm.result(call, "no such word", is_error=True) if nth else llm.result(call, "An agreement.")
        for nth, call in enumerate(answer.calls)
    ]
    told = [llm.user("What is a contract?"), llm.assistant(answer.text, answer.calls), llm.tool_results(results)]
    completion("llm.tool-results", told)
    for end in ("length", "refused", "other"):
        completion(f"llm.{end}", [llm.user(end)], model="test/small")


def completion(name, turns, **options):
    answer = note(name, llm.complete, turns, **options)
    if answer is None:
        return None
    usage = answer.usage
    show(
        name,
        answer.finish.name.lower().replace("_", "-"),
        f"{usage.input_tokens} + {usage.output_tokens} tokens, {usage.cost * 1e6:.0f} millionths of {usage.currency}",
        answer.model,
        answer.text,
        *(f"{call.id} {call.name} {call.arguments_json}" for call in answer.calls),
    )
    return answer


def other_service(event):
    """A request without a body, and one with bytes that are no text."""
    url = event.param("service")
    response("http.send", http.get, url, headers={"accept": "text/plain"})
    headers = {"content-type": "application/octet-stream"}
    response("http.post", http.post, url, headers=headers, body=bytes([0, 255, 10, 0]))
    note("http.json", http.post, url, headers={"Content-Type": "application/vnd.api+json"}, json=[1])


def response(name, *request, **options):
    answer = note(name, *request, **options)
    if answer is not None:
        show(name, answer.status, answer.headers["content-type"], answer.text)


KINDS = {
    "x_boolean": True,
    "x_integer": -(2**31),
    "x_float": 0.1 + 0.2,
    "x_text": "naïve ☃ \U0001f980\n\"'\\<b>",
    "x_date": date(2026, 2, 28),
    "x_datetime": datetime(2026, 2, 28, 23, 59, 59, tzinfo=timezone.utc),
    "x_partner_id": Link(1),
    "x_tag_ids": [1, 2],
    "x_reference": Reference("res.partner", 1),
    "x_binary": bytes([0, 255, 10, 0]),
    "x_json": {"a": [1, 2.5, None, "b"]},
}
EMPTY = {"x_boolean": False, "x_integer": 0, "x_float": 0.0, "x_tag_ids": []}


def details():
    """What there is to say of fields besides their type."""
    told = note("records.describe-fields", describe_fields, "x_contract", "x_amount", "x_owner_id", "x_login")
    show("records.describe-fields", *map(in_words, (told or {}).values()))


def in_words(field):
    words = [field.info.name, field.info.kind]
    if field.digits:
        words.append("/".join(map(str, field.digits)))
    if field.default:
        words += [type(field.default).__name__.removeprefix("FieldDefault_").lower(), field.default.value]
    if field.on_delete is not None:
        words.append(field.on_delete.name.lower())
    if field.copied:
        words.append("copied")
    if field.related:
        words.append(f"shows {field.related}")
    return " ".join([*words, f"{len(field.groups)} groups"])


def round_trip(event):
    """Every kind of value, to a record and back, and as the right-hand side of a condition."""
    full = {"x_name": f"full, by {event.rule}", **KINDS}
    empty = {"x_name": "empty", **{name: None for name in KINDS}}
    created = note("values.create", create, "x_contract", [full, empty])
    for record, kind, expected in zip(created or [], ("full", "empty"), (KINDS, EMPTY)):
        row = note(f"values.read.{kind}", record.read, *KINDS)
        for name in KINDS if row else ():
            same = row[name] == expected.get(name)
            note(f"values.{name}.{kind}", lambda: same)
            if not same:
                results[f"values.{name}.{kind}"] = f"read as {row[name]!r}"
    for name, value in KINDS.items():
        value = Json(value) if isinstance(value, dict) else value
        note(f"values.domain.{name}", search_count, "x_contract", [(name, "=", value)])
    # Larger than an integer field holds, and than an id is.
    for amount in (3_000_000_000, -5_000_000_000):
        large = note("values.create.large", create, "x_contract", {"x_name": "large", "x_float": amount})
        row = large and note("values.read.large", large.read, "x_float")
        if row and row["x_float"] != amount:
            results["values.read.large"] = f"read as {row['x_float']!r}"
