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
        write(str(message) % arguments if arguments else message)

    return log_at


LOGGER = SimpleNamespace(**{name: logger(write) for name, write in LEVELS.items()}, exception=logger(log.error))
LOGGER.log = lambda level, message, *arguments, **_: logger(log.info)(message, *arguments)


def payload(event):
    """The webhook's JSON body; where it is none, what its query says, as in Odoo."""
    call = event.details
    try:
        return json.loads(call.body)
    except ValueError:
        return dict(call.query)
