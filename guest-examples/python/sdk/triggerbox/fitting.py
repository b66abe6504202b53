"""Values as their fields have them: Python's own values leave open whether a number is an id or an amount, and a text a
day or a text."""

from datetime import date, datetime, timezone

from wit_world.imports import records as host

from .errors import Invalid, fallible
from .values import Datetime, Link, fields

host_fields_get = fallible(host.fields_get)

#: The types of the fields of models of which a value once did not fit.
KINDS = {}


def sent(model, values, send):
    """Hands values to a host call. Where the host says that one does not fit its field, the fields' types are asked for,
    once for each model, and values of these types are sent."""
    if model in KINDS:
        return send([fields(fitted(KINDS[model], one)) for one in values])
    try:
        return send([fields(one) for one in values])
    except Invalid as error:
        if error.code != "wrong-type":
            raise
        KINDS[model] = {info.name: info.kind for info in host_fields_get(model, [])}
    return send([fields(fitted(KINDS[model], one)) for one in values])


def fitted(kinds, values):
    return {name: fit(kinds.get(name), value) for name, value in values.items()}


def fit(kind, value):
    """A value for a field of this type. What cannot be meant stays as it is: the host refuses it."""
    if kind == "many2one" and type(value) is int:
        return Link(value) if value else None
    if kind in ("float", "monetary") and type(value) is int:
        return float(value)
    if kind == "date":
        if isinstance(value, datetime):
            return value.date()
        if isinstance(value, str):
            return parsed(date.fromisoformat, value)
    if kind == "datetime":
        if isinstance(value, str):
            value = parsed(Datetime.parse, value)
        if isinstance(value, datetime) and value.tzinfo is None:
            # Odoo's times are UTC and say so nowhere.
            return value.replace(tzinfo=timezone.utc)
    return value


def parsed(parse, text):
    try:
        return parse(text)
    except ValueError:
        return text
