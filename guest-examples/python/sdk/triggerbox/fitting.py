"""Values as their fields have them: Python's own values leave open whether a number is an id or an amount, and a text a
day or a text."""

from datetime import date, datetime, timezone

from wit_world.imports import records as host

from .errors import AccessDenied, Invalid, fallible
from .values import Datetime, Link, fields

host_fields_get = fallible(host.fields_get)

#: The types of the fields of models of which a value once did not fit.
KINDS = {}

#: The models that relational fields lead to, of those of which a command's value once did not fit.
RELATIONS = {}


class Valued:
    """A command with values. They are made the host's when it is known of which model they are."""

    def __init__(self, make, values):
        self.make, self.values = make, dict(values)


def sent(model, values, send):
    """Hands values to a host call. Where the host says that one does not fit its field, the fields' types are asked for,
    once for each model, and values of these types are sent."""
    if model not in KINDS:
        try:
            return send([fields(one) for one in values])
        except Invalid as error:
            look_up(model, error)
    return send([fields(fitted(KINDS[model], one)) for one in values])


def sent_commands(model, field, commands, send):
    """Hands commands on a relational field to a host call, as `sent` does values: theirs are of the related model."""
    if (model, field) not in RELATIONS:
        try:
            return send(made(commands, {}))
        except Invalid as error:
            RELATIONS[model, field] = look_up_relation(model, field, error)
    return send(made(commands, KINDS[RELATIONS[model, field]]))


def made(commands, kinds):
    return [one.make(fields(fitted(kinds, one.values))) if isinstance(one, Valued) else one for one in commands]


def look_up(model, error):
    """Asks for the types of a model's fields where a value did not fit. Whoever may not know them is told what did not."""
    if error.code != "wrong-type":
        raise error
    try:
        KINDS[model] = {info.name: info.kind for info in host_fields_get(model, [])}
    except AccessDenied:
        raise error from None


def look_up_relation(model, field, error):
    """The same for the model that a field leads to, which is what it returns."""
    if error.code != "wrong-type":
        raise error
    try:
        relation = host_fields_get(model, [field])[0].relation
    except AccessDenied:
        raise error from None
    if relation is None:
        raise error
    if relation not in KINDS:
        look_up(relation, error)
    return relation


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
