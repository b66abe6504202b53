"""The names that the code of a server action finds, as in Odoo."""

import json
from base64 import b64decode, b64encode
from types import SimpleNamespace

from dates import datetime, dateutil, time, timezone
from fields import Command
from rounding import float_compare
from safe import SAFE_BUILTINS
from triggerbox import UserError, log

LEVELS = {"debug": log.debug, "info": log.info, "warning": log.warning, "error": log.error, "critical": log.error}


def names(event, env):
    """Everything that the code may name."""
    active = env.context.get("active_model") == event.model and env.context.get("active_ids")
    records = env[event.model].browse(active) if event.model and active else None
    space = {
        "__builtins__": SAFE_BUILTINS,
        "uid": env.uid,
        "user": env.user,
        "time": time,
        "datetime": datetime,
        "dateutil": dateutil,
        "timezone": timezone,
        "float_compare": float_compare,
        "b64encode": b64encode,
        "b64decode": b64decode,
        "Command": Command,
        "env": env,
        "model": env[event.model] if event.model else None,
        "UserError": UserError,
        "record": records[0] if records else None,
        "records": records,
        "log": write_log,
        "_logger": LOGGER,
        "json": SimpleNamespace(loads=json.loads, dumps=json.dumps),
    }
    if event.trigger == "webhook":
        space["payload"] = payload(event)
    return space


def write_log(message, level="info"):
    LEVELS.get(level, log.info)(message)


def logger(write):
    """A method of a logger: `%`-arguments go into the text."""

    def log_at(message, *arguments, **_):
        write(filled(message, arguments))

    return log_at


def filled(message, arguments):
    """A message with its arguments; both, where they do not fit: as in Odoo, no code ends at what it logs."""
    if not arguments:
        return message
    # One dict is named from.
    named = len(arguments) == 1 and isinstance(arguments[0], dict) and arguments[0]
    try:
        return str(message) % (named or arguments)
    except (KeyError, TypeError, ValueError):
        return f"{message} {arguments}"


def log_at_level(level, message, *arguments, **_):
    """`level`: 10 for debug to 50 for critical."""
    place = min(max(int(level) // 10, 1), len(LEVELS)) - 1
    list(LEVELS.values())[place](filled(message, arguments))


LOGGER = SimpleNamespace(**{name: logger(write) for name, write in LEVELS.items()}, exception=logger(log.error))
LOGGER.log = log_at_level


def payload(event):
    """The webhook's JSON body; where it is none, what its query says, as in Odoo."""
    call = event.details
    try:
        return json.loads(call.body)
    except ValueError:
        return dict(call.query)
