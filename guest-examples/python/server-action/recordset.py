"""Recordsets over the contract's records, with the habits of Odoo's ORM."""

import json
from ast import literal_eval

from catalogue import named
from dates import context_timestamp
from domains import joined, literal
from errors import NotHere, refusable
from fields import SEVERAL, as_id, commands, for_host, from_host, id_of, to_date, to_datetime
from methods import Methods, host_call, plain
from store import replacement
from triggerbox import AccessDenied, Error
from triggerbox.errors import fallible
from triggerbox.values import PENDING
from wit_world.imports import records as host
from wit_world.imports import types

host_search = fallible(host.search)
host_count = fallible(host.search_count)
host_create = refusable(fallible(host.create))
host_write = refusable(fallible(host.write))
host_relate = refusable(fallible(host.relate))
host_unlink = refusable(fallible(host.unlink))
host_copy = refusable(fallible(host.copy))
host_group = fallible(host.read_group)
host_names = fallible(host.name_search)
host_access = fallible(host.has_access)


#: What every record has and nobody writes.
MAGIC = ("id", "create_date", "create_uid", "write_date", "write_uid")

#: Fields that archive a record.
ACTIVE = ("active", "x_active")


#: As many as there are.
EVERYTHING = 2**32 - 1


class Recordset(Methods):
    """Records of one model, in order."""

    __slots__ = ("env", "_name", "_ids", "_together")

    def __init__(self, env, model, ids, together=None):
        self.env, self._name, self._ids = env, model, tuple(ids)
        #: Records that fields are read for together with these.
        self._together = together or self._ids

    # What it is.

    @property
    def ids(self):
        return [as_id(id) for id in self._ids]

    @property
    def id(self):
        return as_id(self.ensure_one()._ids[0]) if self._ids else False

    @property
    def _table(self):
        return self._name.replace(".", "_")

    @property
    def _origin(self):
        return self

    @property
    def _context(self):
        return self.env.context

    @property
    def _fields(self):
        return {name: FieldOf(info) for name, info in self.env._store.fields(self._name).items()}

    def ensure_one(self):
        if len(self._ids) != 1:
            raise ValueError(f"Expected singleton: {self}")
        return self

    def __len__(self):
        return len(self._ids)

    def __bool__(self):
        return bool(self._ids)

    def __int__(self):
        return self.id or 0

    def __iter__(self):
        for id in self._ids:
            yield self._of((id,))

    def __getitem__(self, key):
        if isinstance(key, str):
            return self._get(key)
        return self._of(self._ids[key] if isinstance(key, slice) else (self._ids[key],))

    def __setitem__(self, name, value):
        self.write({name: value})

    def __getattr__(self, name):
        store = self.env._store
        known = store.plain.get((self._name, name))
        if known is not None and len(self._ids) == 1:
            value = known.get(self._ids[0], PENDING)
            if value is not PENDING:
                return value
        if name.startswith("__"):
            raise AttributeError(name)
        fields = store.fields(self._name)
        if name in fields or name == "display_name":
            return self._get(name)
        return self._method(name)

    def __repr__(self):
        return f"{self._name}({', '.join(map(str, self._ids))}{',' if len(self._ids) == 1 else ''})"

    __str__ = __repr__

    def _of(self, ids, together=None):
        return Recordset(self.env, self._name, ids, self._together if together is None else together)

    # Fields.

    def _get(self, name):
        if name == "id":
            return self.id
        if name == "message_partner_ids":
            return self.mapped("message_follower_ids.partner_id")
        store = self.env._store
        info = store.fields(self._name).get(name)
        if info is None and name != "display_name":
            raise KeyError(name)
        relation = info.relation if info else None
        if not self._ids:
            return Recordset(self.env, relation, ()) if relation else store.empty(self._name, name)
        if relation and len(self._ids) > 1:
            return self.mapped(name)
        id = self.ensure_one()._ids[0]
        value = store.value(self._name, name, id, self._together)
        if relation:
            ids = value if isinstance(value, tuple) else (value,) if value else ()
            return Recordset(self.env, relation, ids, store.known_ids(self._name, name, self._together) or ids)
        if info and info.kind == "reference":
            return Recordset(self.env, value[0], (value[1],)) if value else None
        return value

    def mapped(self, what):
        if not what:
            return self
        if not isinstance(what, str):
            if not self._ids:
                # Of which model the result is, only the function can tell.
                found = what(self)
                return found if isinstance(found, Recordset) else []
            found = [what(record) for record in self]
            return found[0].union(*found[1:]) if isinstance(found[0], Recordset) else found
        current = self
        for name in what.split("."):
            info = self.env._store.fields(current._name).get(name)
            found = [record[name] for record in current]
            if info is None or not info.relation:
                return found
            current = Recordset(self.env, info.relation, ()).union(*found)
        return current

    def filtered(self, what):
        if not what:
            return self
        if isinstance(what, str):
            path = what
            return self._of([record.id for record in self if any_true(record.mapped(path))])
        return self._of([record.id for record in self if what(record)])

    def filtered_domain(self, domain):
        if not self._ids or not domain:
            return self
        found = set(self.with_context(active_test=False).search(joined([("id", "in", self.ids)], domain))._ids)
        return self._of([id for id in self._ids if id in found])

    def sorted(self, key=None, reverse=False):
        if len(self._ids) < 2:
            return self
        if key is None:
            found = self.with_context(active_test=False).search([("id", "in", self.ids)])._ids
            return self._of(reversed(found) if reverse else found)
        if isinstance(key, str):
            return self._sorted_by(key, reverse)
        return self._of([record.id for record in sorted(self, key=key, reverse=reverse)])

    def _sorted_by(self, order, reverse):
        records = list(self)
        for part in reversed(order.split(",")):
            name, *rest = part.split()
            words = [word.lower() for word in rest]
            down = "desc" in words
            # Empty comes last, and first where the order is turned round, unless it is said otherwise.
            first = words[-1] == "first" if "nulls" in words else down
            value = self._sort_value(name)
            empty = first != down
            records.sort(key=lambda record: sortable(value(record), 0 if empty else 2), reverse=down != reverse)
        return self._of([record.id for record in records])

    def _sort_value(self, name):
        """What records are sorted by: a field's value; the place of a linked record among the others."""
        field, _, inner = name.partition(".")
        if not self._is_link(field):
            return lambda record: record[name]
        if inner:
            return lambda record: record[field].id
        linked = self.mapped(field)
        order = linked.with_context(active_test=False).search([("id", "in", linked.ids)])._ids if len(linked) > 1 else linked._ids
        places = {id: place for place, id in enumerate(order)}
        # False is 0 to Python: places start at 1.
        return lambda record: places.get(record[field].id, len(places)) + 1 if record[field] else False

    def grouped(self, key):
        groups = {}
        for record in self:
            groups.setdefault(record[key] if isinstance(key, str) else key(record), []).append(record.id)
        return {value: self._of(ids) for value, ids in groups.items()}

    # Sets.

    def _same_model(self, other):
        if not isinstance(other, Recordset) or other._name != self._name:
            raise TypeError(f"inconsistent models in: {self} and {other}")
        return other._ids

    def concat(self, *others):
        ids = list(self._ids)
        for other in others:
            ids.extend(self._same_model(other))
        return self._of(ids, tuple(dict.fromkeys(ids)))

    def union(self, *others):
        ids = dict.fromkeys(self.concat(*others)._ids)
        return self._of(ids, tuple(ids))

    def __add__(self, other):
        return self.concat(other)

    def __or__(self, other):
        return self.union(other)

    def __and__(self, other):
        ids = set(self._same_model(other))
        return self._of([id for id in self._ids if id in ids])

    def __sub__(self, other):
        ids = set(self._same_model(other))
        return self._of([id for id in self._ids if id not in ids])

    def __contains__(self, item):
        if isinstance(item, str):
            return item in self.env._store.fields(self._name)
        return len(item) == 1 and self._same_model(item)[0] in self._ids

    def __eq__(self, other):
        return isinstance(other, Recordset) and self._name == other._name and set(self._ids) == set(other._ids)

    def __lt__(self, other):
        return set(self._ids) < set(self._same_model(other))

    def __le__(self, other):
        return set(self._ids) <= set(self._same_model(other))

    def __gt__(self, other):
        return set(self._ids) > set(self._same_model(other))

    def __ge__(self, other):
        return set(self._ids) >= set(self._same_model(other))

    def __hash__(self):
        return hash((self._name, frozenset(self._ids)))

    # Environments.

    def with_env(self, env):
        return Recordset(env, self._name, self._ids, self._together)

    def with_context(self, *given, **more):
        context = dict(given[0] if given else self.env.context, **more)
        return self.with_env(self.env._with(context=context))

    def with_company(self, company):
        id = id_of(company)
        if not id:
            return self
        others = [other for other in self.env.context.get("allowed_company_ids") or () if other != id]
        return self.with_env(self.env._with({**self.env.context, "allowed_company_ids": [id, *others]}, id))

    def with_user(self, user):
        self.env.require_rights("with_user()", user)
        return self

    def sudo(self, flag=True):
        self.env.require_rights("sudo()", su=flag)
        return self

    # Finding.

    def browse(self, ids=()):
        if isinstance(ids, int):
            ids = (ids,) if ids else ()
        return Recordset(self.env, self._name, tuple(ids or ()))

    def search(self, domain, offset=0, limit=None, order=None):
        archived = self.env.context.get("active_test") is False
        page = host.Page(offset or 0, limit or None, order or None, archived)
        return Recordset(self.env, self._name, self.env.ask(host_search, self._name, types.Domain_Literal(literal(domain)), page))

    def search_count(self, domain, limit=None):
        if limit or self.env.context.get("active_test") is False:
            return len(self.search(domain, limit=limit))
        return self.env.ask(host_count, self._name, types.Domain_Literal(literal(domain)))

    def exists(self):
        if not self._ids:
            return self
        page = host.Page(0, None, None, True)
        found = set(self.env.ask(host_search, self._name, types.Domain_Literal(literal([("id", "in", self.ids)])), page))
        return self._of([id for id in self._ids if id in found])

    def search_read(self, domain=(), fields=(), offset=0, limit=None, order=None):
        return self.search(domain, offset, limit, order).read(fields)

    def search_fetch(self, domain, field_names=(), offset=0, limit=None, order=None):
        return self.search(domain, offset, limit, order)

    def fetch(self, field_names=()):
        """Nothing: fields are read when they are asked for, for all records together."""

    def read(self, fields=(), load="_classic_read"):
        if not fields:
            # All fields: those that may be read.
            fields = [name for name in self.env._store.fields(self._name) if name != "id"]
        return [{"id": record.id, **{name: record._rpc(name, load) for name in fields}} for record in self]

    def _rpc(self, name, load="_classic_read"):
        """A value as Odoo's `read` gives it."""
        value = self[name]
        if not isinstance(value, Recordset):
            return False if value is None else value
        kind = self.env._store.fields(self._name)[name].kind
        if kind in SEVERAL:
            return value.ids
        if kind == "reference":
            return f"{value._name},{value.id}"
        if not load:
            return value.id
        return (value.id, value.display_name) if value else False

    def _read_group(self, domain, groupby=(), aggregates=(), having=(), offset=0, limit=None, order=None):
        if not order and any(self._is_link(name) for name in groupby):
            # Odoo takes groups in the order of the ids that they are grouped by; the host in that of the records.
            found = self._read_group(domain, groupby, aggregates, having, order=", ".join(groupby))
            found.sort(key=lambda row: [in_order(value) for value in row[: len(groupby)]])
            return found[offset : offset + limit if limit else None]
        return [row for _, row in self._groups(domain, groupby, aggregates, having, offset, limit, order)]

    def formatted_read_group(self, domain, groupby=(), aggregates=(), having=(), offset=0, limit=None, order=None):
        return [
            {
                **{name: self._formatted(name, value) for name, value in zip(groupby, row)},
                "__extra_domain": [tuple(part) if isinstance(part, list) else part for part in literal_eval(group.domain)],
                **dict(zip(aggregates, row[len(groupby) :])),
            }
            for group, row in self._groups(domain, groupby, aggregates, having, offset, limit, order)
        ]

    def read_group(self, domain, fields=(), groupby=(), offset=0, limit=None, orderby=False, lazy=True):
        """As Odoo had it before: groups by the first field only, unless `lazy` is off."""
        groupby = [groupby] if isinstance(groupby, str) else list(groupby)
        taken = groupby[:1] if lazy else groupby
        infos = self.env._store.fields(self._name)
        summed = {}
        for field in fields:
            # `amount`, `amount:sum`, or `total:sum(amount)`.
            name, _, how = field.partition(":")
            function, _, inner = how.partition("(")
            if (inner.rstrip(")") or name) in infos and name not in [key.partition(":")[0] for key in groupby]:
                if how or infos[name].kind in ("integer", "float", "monetary"):
                    summed[name] = f"{inner.rstrip(')') or name}:{function or 'sum'}"
        counted = f"{taken[0].partition(':')[0]}_count" if lazy and taken else "__count"
        rows = []
        asked = ["__count", *summed.values()]
        for group, row in self._groups(domain, taken, asked, (), offset, limit, orderby or None):
            made = {name: self._formatted(name, value) for name, value in zip(taken, row)}
            made = {name: value[1] if ":" in name and value else value for name, value in made.items()}
            made[counted] = row[len(taken)]
            made.update(zip(summed, row[len(taken) + 1 :]))
            made["__domain"] = joined(literal_eval(group.domain), domain)
            if len(groupby) > len(taken):
                made["__context"] = {"group_by": groupby[len(taken) :]}
            rows.append(made)
        return rows

    def _groups(self, domain, groupby, aggregates, having, offset, limit, order):
        """Groups with their keys and aggregates, in the order of their keys."""
        archived = self.env.context.get("active_test") is False
        page = host.GroupPage(offset or 0, limit or None, order or None, literal(having) if having else None, archived)
        asked = [name.replace(":recordset", ":array_agg") for name in aggregates]
        for group in self.env.ask(host_group, self._name, types.Domain_Literal(literal(domain)), list(groupby), asked, page):
            yield group, self._group_row(group, aggregates)

    def _group_row(self, group, aggregates):
        keys = tuple(self._group_value(field) for field in group.keys)
        values = tuple(self._group_value(types.Field(name, field.value)) for name, field in zip(aggregates, group.aggregates))
        return keys + values

    def _formatted(self, name, value):
        """A group's key as people read it."""
        if isinstance(value, Recordset):
            return (value.id, value.display_name) if value else False
        if ":" in name and value:
            text = value.isoformat(sep=" ") if hasattr(value, "hour") else value.isoformat()
            return (text, label(name.partition(":")[2], value))
        return value

    def _is_link(self, name):
        info = self.env._store.fields(self._name).get(name)
        return info is not None and info.relation is not None

    def _group_value(self, field):
        value = from_host(field.value)
        if field.name.endswith(":recordset"):
            name = field.name.partition(":")[0]
            relation = self._name if name == "id" else self.env._store.fields(self._name)[name].relation
            return Recordset(self.env, relation, value or ())
        info = self.env._store.fields(self._name).get(field.name.partition(":")[0].partition(".")[0])
        if info and info.relation and ":" not in field.name:
            return Recordset(self.env, info.relation, (value,) if value else ())
        return list(value) if isinstance(value, tuple) else value

    def fields_get(self, allfields=(), attributes=()):
        infos = self.env._store.fields(self._name)
        described = {}
        for name, info in infos.items():
            if allfields and name not in allfields:
                continue
            known = {
                "string": info.label, "type": info.kind, "required": info.required, "readonly": info.readonly,
                "store": info.stored, "help": info.help or False, "relation": info.relation,
                "selection": list(info.selection),
            }
            described[name] = {key: value for key, value in known.items() if not attributes or key in attributes}
        return described

    def name_search(self, name="", domain=None, operator="ilike", limit=100):
        if operator != "ilike":
            raise NotHere("name_search with an operator is not known here; use search")
        if not domain:
            most = EVERYTHING if limit is None else limit
            return [(link.id, link.display_name) for link in self.env.ask(host_names, self._name, name or "", most)]
        fields = self.env._store.fields(self._name)
        by = [("name" if "name" in fields else "x_name", "ilike", name)] if name else []
        return [(record.id, record.display_name) for record in self.search(joined(by, domain), limit=limit)]

    def has_access(self, operation):
        return self.env.ask(host_access, self._name, list(self._ids), host.Operation[operation.upper()])

    def check_access(self, operation):
        if not self.has_access(operation):
            raise AccessDenied("no-access", f"you may not {operation} {self}")

    def default_get(self, fields):
        context = self.env.context
        told = json.loads(self.env.ask(host_call, self._name, [], "default_get", json.dumps({"fields": list(fields)})))
        told = self._written(told)
        told.update({name: context["default_" + name] for name in fields if "default_" + name in context})
        return {name: told[name] for name in fields if name in told}

    def copy_data(self, default=None):
        given = dict(default or {})
        arguments = json.dumps({"default": given}, default=plain)
        copies = json.loads(self.env.ask(host_call, self._name, list(self._ids), "copy_data", arguments))
        return [{**self._written(values), **given} for values in copies]

    def _written(self, values):
        """Values of JSON as code writes them: days and times as such, commands as tuples."""
        infos = self.env._store.fields(self._name)
        made = {}
        for name, value in values.items():
            info = infos.get(name)
            kind = info.kind if info else None
            if value and kind in ("date", "datetime"):
                value = to_date(value) if kind == "date" else to_datetime(value)
            elif kind in SEVERAL:
                related = Recordset(self.env, info.relation, ())
                value = [
                    (code, id, related._written(argument) if isinstance(argument, dict) else argument)
                    for code, id, argument in value
                ]
            made[name] = value
        return made

    def get_metadata(self):
        """Who made and changed each record, and when."""
        log = ("create_uid", "create_date", "write_uid", "write_date")
        return [{**row, "xmlid": False, "xmlids": [], "noupdate": False} for row in self.read(log)]

    # Changing.

    def update(self, values):
        for name, value in values.items():
            self[name] = value

    def name_create(self, name):
        fields = self.env._store.fields(self._name)
        record = self.create({"name" if "name" in fields else "x_name": name})
        return (record.id, record.display_name)

    def create(self, values):
        several = isinstance(values, (list, tuple))
        defaults = {key[8:]: value for key, value in self.env.context.items() if key.startswith("default_")}
        infos = self.env._store.fields(self._name)
        defaults = {name: value for name, value in defaults.items() if name in infos}
        split = [self._split(named({**defaults, **one}), ()) for one in (values if several else [values])]
        # However many they are, in one call. What is made or changed in their lists follows.
        made = self.env.ask(host_create, self._name, [given for given, _ in split]) if split else []
        for id, (_, later) in zip(made, split):
            for name, changes in later:
                self._relate(id, name, changes)
        self.env._store.changed(self._name, made)
        return Recordset(self.env, self._name, made)

    def write(self, values):
        if not self._ids or not values:
            return True
        store = self.env._store
        for name in values:
            self._read_list(name)
        kept = store.lists_after(self._name, self._ids, values)
        given, later = self._split(values)
        if given:
            self.env.ask(host_write, self._name, list(self._ids), given)
        for id in self._ids:
            for name, changes in later:
                self._relate(id, name, changes)
        store.changed(self._name, self._ids)
        store.keep(kept)
        return True

    def _read_list(self, name):
        """Reads a list of records that is to be changed, and is asked for elsewhere in the code: what is linked then comes last,
        as in Odoo."""
        store = self.env._store
        info = store.fields(self._name).get(name)
        if info is None or info.kind != "many2many" or name not in store.said:
            return
        try:
            for id in self._ids:
                store.value(self._name, name, id, self._ids)
        except Error:
            # Whoever may write it may not read it; what comes of reading it later is not to be told here.
            return

    def unlink(self):
        if self._ids:
            self.env.ask(host_unlink, self._name, list(self._ids))
            self.env._store.changed(self._name, self._ids)
        return True

    def copy(self, default=None):
        copies = []
        for id in self._ids:
            given, later = self._split(default or {})
            self.env.enter(self._name)
            made = host_copy(types.RecordRef(self._name, id), given)
            for name, changes in later:
                self._relate(made, name, changes)
            copies.append(made)
        self.env._store.changed(self._name, copies)
        return Recordset(self.env, self._name, copies)

    def _split(self, values, before=None):
        """Values as the contract has them, and apart from them the commands for relations. `before`: what their lists of records
        hold; none: nobody knows."""
        infos = self.env._store.fields(self._name)
        given, later = [], []
        for name, value in values.items():
            if name in MAGIC:
                # As Odoo: it keeps these itself, and says nothing.
                continue
            info = infos.get(name)
            if info is None:
                raise ValueError(f"Invalid field {name!r} in {self._name!r}")
            if info.kind in SEVERAL:
                changes = commands(value)
                ids = replacement(info.kind, before, changes)
                if ids is None:
                    later.append((name, changes))
                else:
                    given.append(types.Field(name, types.Value_Ids(list(ids))))
            else:
                given.append(types.Field(name, for_host(info, value)))
        return given, later

    def _relate(self, id, name, changes):
        """Does commands on one list of records."""
        relation = Recordset(self.env, self.env._store.fields(self._name)[name].relation, ())
        plain = []
        for code, other, argument in changes:
            other = id_of(other) or 0
            given, later = relation._split(argument) if code in (0, 1) else (None, None)
            archiving = []
            if code == 0 and later:
                # An archived line would be in no list: it is archived when its own lists are told.
                archiving = [value for value in given if value.name in ACTIVE]
                given = [value for value in given if value.name not in ACTIVE]
            plain.append(relation._command(code, other, given if given is not None else argument))
            if later:
                # What is said of the lists of a line can only be done when the line is there.
                before = self._linked(id, name) if code == 0 else ()
                self._tell(id, name, plain)
                plain = []
                line = max(set(self._linked(id, name)) - set(before)) if code == 0 else other
                for field, nested in later:
                    relation._relate(line, field, nested)
                if archiving:
                    plain.append(relation._command(1, line, archiving))
        self._tell(id, name, plain)
        self.env._store.changed(relation._name, [change[1] for change in changes if change[0] in (1, 2)])

    def _tell(self, id, name, commands):
        if commands:
            self.env.enter(self._name)
            host_relate(types.RecordRef(self._name, id), name, commands)
            self.env._store.changed(self._name, (id,))

    def _linked(self, id, name):
        """The ids in a list of records, archived ones left out."""
        return self.env._store.value(self._name, name, id, (id,))

    def _command(self, code, id, argument):
        """One of Odoo's commands as the contract has it."""
        if code == 0:
            return host.Command_Create(argument)
        if code == 1:
            return host.Command_Update((id, argument))
        if code == 5:
            return host.Command_Clear()
        if code == 6:
            ids = argument._ids if isinstance(argument, Recordset) else argument
            return host.Command_Replace([int(one) for one in ids])
        return {2: host.Command_Delete, 3: host.Command_Unlink, 4: host.Command_Link}[code](id)


class FieldOf:
    """What code may ask of `record._fields['x']`."""

    def __init__(self, info):
        self.name, self.type, self.string = info.name, info.kind, info.label
        self.selection = [tuple(option) for option in info.selection]
        self.comodel_name, self.required, self.readonly, self.store = info.relation, info.required, info.readonly, info.stored

    def context_today(self, record, timestamp=None):
        return context_timestamp(record.env, timestamp).date()

    today = context_today

    def context_timestamp(self, record, timestamp):
        return context_timestamp(record.env, timestamp)


def in_order(value):
    """A group's key as the database orders it: empty last."""
    if isinstance(value, Recordset):
        return (0, value._ids[0]) if value else (1,)
    return (1,) if value is False or value is None else (0, value)


def any_true(value):
    return any(value) if isinstance(value, list) else bool(value)


def sortable(value, empty):
    """Something that sorts; `empty`: where what is empty belongs, 1 being where the others are."""
    if value is None or value is False:
        return (empty,)
    return (1, value)


def label(granularity, day):
    """A group of days as people call it."""
    if granularity == "year":
        return f"{day:%Y}"
    if granularity == "quarter":
        return f"Q{(day.month + 2) // 3} {day:%Y}"
    if granularity == "week":
        return f"W{day.isocalendar()[1]} {day:%Y}"
    if granularity == "day":
        return f"{day:%d %b %Y}"
    return f"{day:%H:%M %d %b}" if granularity == "hour" else f"{day:%B %Y}"
