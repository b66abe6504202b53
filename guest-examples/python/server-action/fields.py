"""What fields are, and their values: Odoo's on one side, the contract's on the other."""

import json
from base64 import b64decode, b64encode
from datetime import date, datetime, timezone

from triggerbox import Json, Link
from triggerbox.values import FIRST_PROVISIONAL, PENDING, to_host
from wit_world.imports import types

RELATIONS = ("many2one", "one2many", "many2many")
SEVERAL = ("one2many", "many2many")
TEXTS = ("char", "text", "html")
DATE_FORMAT, DATETIME_FORMAT = "%Y-%m-%d", "%Y-%m-%d %H:%M:%S"
#: What an empty field reads as; all others as False.
EMPTY = {"integer": 0, "float": 0.0, "monetary": 0.0, "boolean": False}


class NewId(int):
    """The id of a record that this run made: larger than any number that an integer field holds, and no number."""


def as_id(id):
    return NewId(id) if id >= FIRST_PROVISIONAL else id


def from_host(value):
    """A value that was read, as the cache keeps it: plain, relations as ids."""
    if isinstance(value, types.Value_Unset):
        return False
    if isinstance(value, types.Value_Pending):
        return PENDING
    if isinstance(value, types.Value_Many2one):
        return as_id(value.value.id)
    if isinstance(value, types.Value_Date):
        return date.fromisoformat(value.value)
    if isinstance(value, types.Value_Datetime):
        # Odoo's times are UTC and say so nowhere.
        return datetime.fromisoformat(value.value).replace(tzinfo=None)
    if isinstance(value, types.Value_Binary):
        return b64encode(value.value)
    if isinstance(value, types.Value_Reference):
        return (value.value.model, value.value.id)
    if isinstance(value, types.Value_Json):
        return json.loads(value.value)
    if isinstance(value, types.Value_Ids):
        return tuple(value.value)
    return value.value


def for_host(info, value):
    """A value to be written to a field, as the contract has it. `info` says what the field is."""
    kind = info.kind
    if kind == "many2one":
        if isinstance(value, (tuple, list)):
            # As `read` gives it: the id, then the name.
            value = value[0] if value else None
        if hasattr(value, "_ids") and value._name != info.relation:
            raise ValueError(f"Wrong value for {info.name}: {value}")
        ids = id_of(value)
        return to_host(Link(ids) if ids else None)
    if kind == "boolean":
        return to_host(bool(value))
    if value is None or value is False or value == "" and kind not in TEXTS:
        return to_host(EMPTY.get(kind))
    if kind == "integer":
        if isinstance(value, NewId):
            return to_host(value)
        number = int(value)
        if not -(2**31) <= number < 2**31:
            raise ValueError(f"integer out of range for {info.name}: {number}")
        return to_host(number)
    if kind in ("float", "monetary"):
        return to_host(float(value))
    if kind == "date":
        return to_host(to_date(value))
    if kind == "datetime":
        return to_host(to_datetime(value).replace(tzinfo=timezone.utc))
    if kind == "binary":
        return to_host(b64decode(value))
    if kind == "json":
        return to_host(Json(value))
    if kind == "reference":
        model, id = value.split(",") if isinstance(value, str) else (value._name, value.id)
        return types.Value_Reference(types.RecordRef(model, int(id)))
    return to_host(value if isinstance(value, str) else str(value))


def id_of(value):
    """The id behind what stands for one record; none for none."""
    if hasattr(value, "_ids"):
        return value.ensure_one()._ids[0] if value._ids else None
    return int(value) if value else None


def to_date(value):
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else datetime.strptime(str(value)[:10], DATE_FORMAT).date()


def to_datetime(value):
    """A time as Odoo keeps it: UTC, to the second, saying no zone."""
    if isinstance(value, str):
        value = datetime.strptime(value[:19], DATE_FORMAT if len(value) == 10 else DATETIME_FORMAT)
    elif not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        # As Odoo refuses it.
        raise ValueError(f"Datetime field expects a naive datetime: {value}")
    return value.replace(microsecond=0)


class Command:
    """Odoo's commands for one2many and many2many fields."""

    CREATE, UPDATE, DELETE, UNLINK, LINK, CLEAR, SET = range(7)

    @staticmethod
    def create(values):
        return (0, 0, values)

    @staticmethod
    def update(id, values):
        return (1, id, values)

    @staticmethod
    def delete(id):
        return (2, id, 0)

    @staticmethod
    def unlink(id):
        return (3, id, 0)

    @staticmethod
    def link(id):
        return (4, id, 0)

    @staticmethod
    def clear():
        return (5, 0, 0)

    @staticmethod
    def set(ids):
        return (6, 0, ids)


def commands(value):
    """What was given for a one2many or many2many field, as a list of Odoo's commands."""
    if not value:
        return [Command.clear()]
    if hasattr(value, "_ids"):
        return [Command.set(value._ids)]
    if all(isinstance(item, int) for item in value):
        return [Command.set(value)]
    return [(*item, 0, 0)[:3] for item in value]
