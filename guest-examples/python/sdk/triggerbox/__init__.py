"""The library that Triggerbox scripts in Python are written with.

A script is a file `script.py` with a function `run(event)`:

    from triggerbox import search

    def run(event):
        for lead in event.read("name", "expected_revenue"):
            if lead["expected_revenue"] > 10_000:
                lead.post_note("A large one.")

What it changes is staged, and applied as one transaction when `run` returns. Raising `UserError` or
`Failed`, or an error of the host that nothing catches, applies nothing.

Values are Python's own: `None` for an empty field, `datetime.date`, `datetime.datetime` (always UTC), `bytes`,
`Link` (an id with a name) for many2one, a list of ids for one2many and many2many.
"""

from . import budget, calendar, http, llm, log, state
from .chatter import Activity, Message, escape, html
from .errors import (
    AccessDenied,
    Conflict,
    Error,
    Failed,
    Invalid,
    NotFound,
    Pending,
    Rejected,
    Unavailable,
    UserError,
)
from .event import Event, Outcome
from .records import (
    Command,
    Record,
    Reference,
    Row,
    create,
    describe_fields,
    ensure,
    fields_get,
    has_access,
    name_search,
    call,
    read,
    read_group,
    ref,
    search,
    search_count,
    search_ids,
    unlink,
    write,
)
from .values import Datetime, Json, Link

__all__ = [
    "AccessDenied", "Activity", "Command", "Conflict", "Datetime", "Error", "Event", "Failed", "Invalid", "Json",
    "Link", "Message", "NotFound", "Outcome", "Pending", "Record", "Reference", "Rejected", "Row", "Unavailable",
    "UserError", "budget", "calendar", "call", "create", "describe_fields", "ensure", "escape", "fields_get",
    "has_access", "html", "http", "llm", "log", "name_search", "read", "read_group", "ref", "search", "search_count",
    "search_ids", "state", "unlink", "write",
]
