"""Field values: the contract's to Python's, and back."""

import json

# `datetime.strptime` imports it on first use; a running script has no files to import from.
import _strptime  # noqa: F401
from datetime import date, datetime, timezone

from wit_world.imports import types

from .errors import Invalid

#: A value that only the commit can know. Reading it from a row raises `triggerbox.Pending`.
PENDING = object()

#: Ids from here on belong to records that this run created.
FIRST_PROVISIONAL = 1 << 31


class Link(int):
    """The value of a many2one field: the id, with the `name` that Odoo shows for the record."""

    def __new__(cls, id, name=None):
        link = super().__new__(cls, id)
        link.name = name
        return link

    @property
    def id(self):
        return int(self)

    def __repr__(self):
        return f"Link({int(self)}, {self.name!r})"


class Json:
    """A value for a json field. A dict needs no wrapping."""

    def __init__(self, data):
        self.data = data

    def __repr__(self):
        return f"Json({self.data!r})"


class Datetime:
    """The contract's spelling of points in time: `2026-11-21T10:15:00Z`, to the second."""

    @staticmethod
    def parse(text):
        return datetime.fromisoformat(text)

    @staticmethod
    def text(value):
        if value.tzinfo is None:
            raise Invalid("no-zone", f"{value} says no time zone; use one in UTC, or `calendar.to_utc`")
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_host(value):
    """A value as Python has it."""
    convert = FROM_HOST.get(type(value))
    return convert(value.value) if convert else value.value


FROM_HOST = {
    types.Value_Date: date.fromisoformat,
    types.Value_Datetime: Datetime.parse,
    types.Value_Many2one: lambda link: Link(link.id, link.display_name),
    types.Value_Json: json.loads,
}


def read(value):
    """A value that was read. What is empty or pending carries nothing, so it is told apart first."""
    if isinstance(value, types.Value_Unset):
        return None
    if isinstance(value, types.Value_Pending):
        return PENDING
    if isinstance(value, types.Value_Reference):
        from .records import Reference

        return Reference(value.value.model, value.value.id)
    return from_host(value)


def to_host(value):
    """Python's value as the contract has it."""
    if value is None:
        return types.Value_Unset()
    convert = TO_HOST.get(type(value))
    if convert:
        return convert(value)
    for base, convert in TO_HOST.items():
        if isinstance(value, base):
            return convert(value)
    raise Invalid("wrong-type", f"{value!r} is no value of a field")


def integer(value):
    if -FIRST_PROVISIONAL <= value < FIRST_PROVISIONAL:
        return types.Value_Integer(value)
    # No integer field holds a number as large as that: it is the id of a record of this run, or else an amount.
    return link(value) if 0 < value < 1 << 32 else types.Value_Number(float(value))


def link(value):
    return types.Value_Many2one(types.Link(int(value), None))


def several(value):
    if all(isinstance(item, int) for item in value):
        return types.Value_Ids([int(item) for item in value])
    return types.Value_Json(json.dumps(value))


#: In this order, for classes that derive from one of these: a bool is an int, a Link too, a datetime is a date.
TO_HOST = {
    bool: types.Value_Boolean,
    Link: link,
    int: integer,
    float: types.Value_Number,
    str: types.Value_Text,
    datetime: lambda value: types.Value_Datetime(Datetime.text(value)),
    date: lambda value: types.Value_Date(value.isoformat()),
    bytes: types.Value_Binary,
    list: several,
    tuple: several,
    dict: lambda value: types.Value_Json(json.dumps(value)),
    Json: lambda value: types.Value_Json(json.dumps(value.data)),
}


def fields(values):
    """A dict of values as the contract has it."""
    return [types.Field(name, to_host(value)) for name, value in values.items()]
