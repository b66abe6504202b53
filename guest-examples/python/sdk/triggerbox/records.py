"""Reading and changing records. Names and habits are those of Odoo's ORM."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from wit_world.imports import chatter as chatter_host
from wit_world.imports import records as host
from wit_world.imports import types

from . import chatter
from .domains import domain as to_domain
from .errors import Error, Invalid, NotFound, Pending, fallible
from .fitting import Valued, host_fields_get, sent, sent_commands
from .values import FIRST_PROVISIONAL, PENDING, TO_HOST, Datetime, read as read_value


class Record:
    """One record, by model and id. Nothing is read."""

    __slots__ = ("model", "id")

    def __init__(self, model, id):
        self.model, self.id = model, int(id)

    @property
    def is_provisional(self):
        """Whether the record was created in this run and has no real id yet."""
        return self.id >= FIRST_PROVISIONAL

    def read(self, *names):
        """The record with the named fields. Raises `NotFound` if it is gone."""
        rows = read(self.model, [self.id], names)
        if not rows:
            raise NotFound("no-such-record", f"{self} does not exist, or not any more")
        return rows[0]

    def write(self, values):
        """Stages values."""
        write(self.model, [self.id], values)

    def unlink(self):
        """Stages deletion."""
        unlink(self.model, [self.id])

    def relate(self, field, *commands):
        """Stages changes of one one2many or many2many field: `lead.relate("tag_ids", Command.link(7))`."""
        sent_commands(self.model, field, commands, lambda ready: host_relate(self.to_host(), field, ready))

    def copy(self, values=None):
        """Stages a copy, with these values in place of the original's."""
        made = sent(self.model, [values or {}], lambda ready: host_copy(self.to_host(), ready[0]))
        return Record(self.model, made)

    def call(self, method, **arguments):
        """Calls a business method; see `triggerbox.call`."""
        return call(self.model, [self.id], method, **arguments)

    def mention(self):
        """A text that becomes the record's name and id when the run is applied. The only way to name a record
        created in this run inside a message or a text field."""
        return host_mention(self.to_host())

    def post_note(self, message):
        """Stages an internal note: a text, or a `Message`."""
        host_post_note(self.to_host(), chatter.message(message))

    def post_message(self, message):
        """Stages a message that the followers are notified of: a text, or a `Message`."""
        host_post_message(self.to_host(), chatter.message(message))

    def schedule_activity(self, activity):
        """Stages something to do: an `Activity`."""
        host_schedule_activity(self.to_host(), activity.to_host())

    def complete_activities(self, kind, feedback=None):
        """Stages that all activities of this kind are done; returns how many there are."""
        return host_complete_activities(self.to_host(), kind, feedback)

    def add_followers(self, *partner_ids):
        """Stages followers, by partner."""
        host_add_followers(self.to_host(), [int(id) for id in partner_ids])

    def remove_followers(self, *partner_ids):
        """Stages that these partners no longer follow."""
        host_remove_followers(self.to_host(), [int(id) for id in partner_ids])

    def messages(self, limit):
        """The newest messages and notes first, those staged by this run included."""
        return [Posted(p.id, p.author, Datetime.parse(p.date), p.body, p.is_note)
                for p in host_read_messages(self.to_host(), limit)]

    def to_host(self):
        return types.RecordRef(self.model, self.id)

    def __eq__(self, other):
        return isinstance(other, Record) and (self.model, self.id) == (other.model, other.id)

    def __hash__(self):
        return hash((self.model, self.id))

    def __repr__(self):
        return f"{self.model}({self.id})"


class Reference(Record):
    """The value of a reference field."""

    __slots__ = ()


class Row(Record, Mapping):
    """A record with the values that were asked for: `row["name"]`, and `row.write(…)` like any record."""

    __slots__ = ("values_read",)

    def __init__(self, model, id, values):
        super().__init__(model, id)
        self.values_read = values

    def __getitem__(self, name):
        try:
            value = self.values_read[name]
        except KeyError:
            asked = ", ".join(self.values_read)
            text = f'"{name}" of {self.model} was not asked for, only {asked}; add it to the read'
            raise Invalid("field-not-read", text, name) from None
        if value is PENDING:
            text = f'"{name}" of {self!r} is known only when the run is applied; decide without it'
            raise Pending("pending-value", text, name)
        return value

    def __iter__(self):
        return iter(self.values_read)

    def __len__(self):
        return len(self.values_read)

    def __contains__(self, name):
        return name in self.values_read

    __eq__ = Record.__eq__
    __hash__ = Record.__hash__
    __repr__ = Record.__repr__


@dataclass
class Posted:
    """A message that is already there."""

    id: int
    author: str
    date: object
    body: str
    is_note: bool


@dataclass
class Group:
    """One group of `read_group`: its keys and aggregates by the names they were asked by."""

    keys: dict
    aggregates: dict
    count: int
    #: Selects this group's records, to be joined with the domain that was asked.
    domain: str

    def __getitem__(self, name):
        return self.keys[name] if name in self.keys else self.aggregates[name]


class Command:
    """Changes of a one2many or many2many field."""

    @staticmethod
    def link(id):
        """Adds an existing record."""
        return host.Command_Link(int(id))

    @staticmethod
    def unlink(id):
        """Takes a record out of the relation, and keeps it."""
        return host.Command_Unlink(int(id))

    @staticmethod
    def delete(id):
        """Deletes the related record."""
        return host.Command_Delete(int(id))

    @staticmethod
    def clear():
        """Takes all out."""
        return host.Command_Clear()

    @staticmethod
    def replace(ids):
        """Makes the relation exactly these."""
        return host.Command_Replace([int(id) for id in ids])

    @staticmethod
    def create(values):
        """Creates a related record."""
        return Valued(host.Command_Create, values)

    @staticmethod
    def update(id, values):
        """Writes a related record."""
        return Valued(lambda ready: host.Command_Update((int(id), ready)), values)


def search(model, domain=(), fields=("display_name",), *, order=None, limit=None, offset=0, archived=False):
    """The matching records with the named fields, as rows.

    `search("res.partner", [("email", "=", address)], ["name"], order="name", limit=1)`
    """
    page = host.Page(offset, limit, order, archived)
    names = list(fields)
    return rows(model, names, host_search_read(model, to_domain(domain), names, page))


def search_ids(model, domain=(), *, order=None, limit=None, offset=0, archived=False):
    """Ids of the matching records."""
    return list(host_search(model, to_domain(domain), host.Page(offset, limit, order, archived)))


def search_count(model, domain=()):
    """How many records match."""
    return host_search_count(model, to_domain(domain))


def read(model, ids, names):
    """The named fields of these records, in the order of `ids`. Records that are gone are left out."""
    names = list(names)
    return rows(model, names, host_read(model, [int(id) for id in ids], names))


def read_group(model, domain=(), group_by=(), aggregates=(), *, order=None, limit=None, offset=0, having=None,
               archived=False):
    """Groups with aggregates: `["stage_id", "create_date:month"]`, `["expected_revenue:sum", "__count"]`."""
    page = host.GroupPage(offset, limit, order, having, archived)
    groups = host_read_group(model, to_domain(domain), list(group_by), list(aggregates), page)
    return [Group(named(group.keys), named(group.aggregates), group.count, group.domain) for group in groups]


def name_search(model, text, limit=10):
    """Records whose name matches a text, best first: `(id, name)`."""
    return [(link.id, link.display_name) for link in host_name_search(model, text, limit)]


def fields_get(model, *names):
    """Describes the named fields, or all for none; by name."""
    return {info.name: info for info in host_fields_get(model, list(names))}


def describe_fields(model, *names):
    """All that is known of the named fields, or of all for none, by name: what `fields_get` says as `info`, and digits,
    default, what a computed one follows from and so on."""
    return {details.info.name: details for details in host_describe_fields(model, list(names))}


def has_access(model, ids, operation):
    """Whether the run may `read`, `write`, `create` or `unlink` all of these records; for no ids, the model."""
    return host_has_access(model, [int(id) for id in ids], host.Operation[operation.upper()])


def ref(xmlid):
    """The record behind an external id such as `base.main_company`."""
    found = host_resolve_xmlid(xmlid)
    return Record(found.model, found.id)


def create(model, values):
    """Stages a new record, or several for a list. The id is provisional until the run is applied: use it as a
    value, and `Record.mention` to name it in a text."""
    several = isinstance(values, (list, tuple))
    ids = sent(model, list(values) if several else [values], lambda ready: host_create(model, ready))
    created = [Record(model, id) for id in ids]
    return created if several else created[0]


def ensure(model, keys, values):
    """Finds the one record whose `keys` fields are as in `values`, or stages its creation. Two runs at the same
    time end with one record."""
    return Record(model, sent(model, [values], lambda ready: host_ensure(model, list(keys), ready[0])))


def write(model, ids, values):
    """Stages the same values on all of these records."""
    sent(model, [values], lambda ready: host_write(model, [int(id) for id in ids], ready[0]))


def unlink(model, ids):
    """Stages deletion."""
    host_unlink(model, [int(id) for id in ids])


def call(model, ids, method, **arguments):
    """Calls a business method with named arguments. It is staged, and then there is no answer; a method that the
    grant marks as read-only answers at once."""
    answer = host_call(model, [int(id) for id in ids], method, json.dumps(arguments))
    return None if answer is None else json.loads(answer)


TO_HOST[Reference] = lambda value: types.Value_Reference(value.to_host())
TO_HOST[Record] = lambda value: types.Value_Many2one(types.Link(value.id, None))


def rows(model, names, found):
    return [Row(model, row.id, dict(zip(names, map(read_value, row.values)))) for row in found]


def named(values):
    return {field.name: read_value(field.value) for field in values}


host_search = fallible(host.search)
host_search_read = fallible(host.search_read)
host_search_count = fallible(host.search_count)
host_read = fallible(host.read)
host_read_group = fallible(host.read_group)
host_name_search = fallible(host.name_search)
host_describe_fields = fallible(host.describe_fields)
host_has_access = fallible(host.has_access)
host_resolve_xmlid = fallible(host.resolve_xmlid)
host_create = fallible(host.create)
host_ensure = fallible(host.ensure)
host_write = fallible(host.write)
host_relate = fallible(host.relate)
host_unlink = fallible(host.unlink)
host_copy = fallible(host.copy)
host_call = fallible(host.call)
host_mention = fallible(host.mention)
host_post_message = fallible(chatter_host.post_message)
host_post_note = fallible(chatter_host.post_note)
host_schedule_activity = fallible(chatter_host.schedule_activity)
host_complete_activities = fallible(chatter_host.complete_activities)
host_add_followers = fallible(chatter_host.add_followers)
host_remove_followers = fallible(chatter_host.remove_followers)
host_read_messages = fallible(chatter_host.read_messages)
