"""What was read, kept by model, field and record; and what fields are.

There is one cache for each language and choice of companies that the code reads in.

A field is read for all records of the recordset that a record came out of, and with it the other fields of the model that the
code says: a loop costs one host call, not one for each record and field.
"""

import json
from collections import Counter

from errors import NotHere
from fields import EMPTY, SEVERAL, commands, from_host
from markup import Markup
from triggerbox import Error, NotFound, Pending, fields_get
from triggerbox.errors import fallible
from triggerbox.values import PENDING
from wit_world.imports import records as host

#: Fields that a record has in common with others of its model: a write to one may be one to all.
SHARED = {"res.partner": ("street", "street2", "zip", "city", "state_id", "country_id", "vat")}

host_read = fallible(host.read)
host_call = fallible(host.call)

#: What of a context is about what is read.
READING = ("lang", "allowed_company_ids")
#: What of a context the host is told; the rest is for the code alone.
TOLD = (
    *READING, "tracking_disable", "mail_notrack", "mail_create_nolog", "mail_create_nosubscribe", "mail_post_autofollow",
    "mail_auto_subscribe_no_notify",
)


class Store:
    """The cache of one run. `said`: the names that the code says: fields among them are read together."""

    def __init__(self, said=(), like=None):
        self.said = said
        self._fields = like._fields if like else {}
        #: All caches of the run, by what they are read in.
        self._caches = like._caches if like else {"{}": self}
        #: The context that the host answers in by now.
        self._here = like._here if like else [{}]
        #: What this cache is read in.
        self.context = {}
        self._values = {}
        #: Values that are what they read as, by model and field: the same that `_values` has.
        self.plain = {}
        #: How many records a field is read for together, where a write made it be forgotten.
        self._reach = {}
        #: Models of which the fields that the code says cannot be read together.
        self._alone = set()
        #: How often activities were scheduled and messages were posted, by model and record.
        self.made = like.made if like else Counter()

    def read_in(self, context):
        """The cache of what is read in a context."""
        context = reading(context)
        key = json.dumps(context, sort_keys=True)
        if key not in self._caches:
            self._caches[key] = cache = Store(self.said, self)
            cache.context = context
        return self._caches[key]

    def enter(self, model, context):
        """Has the host answer in this context from now on."""
        if self._here[0] == context:
            return
        try:
            host_call(model, [], "with_context", json.dumps({"context": context}))
        except NotFound as error:
            if error.code != "unknown-method":
                raise
            names = ", ".join(f"{name}=…" for name in context)
            raise NotHere(
                f"with_context({names}) means nothing to these records: they are on a server that reads and writes in the "
                "user's own language and companies, and with all messages; run the rule as a user who has these"
            ) from error
        self._here[0] = context

    def fields(self, model):
        """The model's fields by name: one host call for each model."""
        known = self._fields.get(model)
        if known is None:
            known = self._fields[model] = fields_get(model)
        return known

    def value(self, model, name, id, prefetch):
        """A field of one record, read for all of `prefetch` if it is not known."""
        values = self._column(model, name)
        if id not in values:
            wanted = self._together((model, name), values, id, prefetch)
            self._read(model, name, wanted)
            if id not in values:
                raise NotFound("no-such-record", f"{model}({id}) does not exist, or not any more")
        value = values[id]
        if value is PENDING:
            raise Pending(
                "pending-value",
                f"'{name}' of {model}({id}) is known only when the run is applied; decide before you write, or in a "
                "rule of its own that runs on the change",
            )
        return value

    def _column(self, model, name):
        """What is known of a field, by record."""
        columns = self._values.setdefault(model, {})
        values = columns.get(name)
        if values is None:
            values = columns[name] = {}
            info = self.fields(model).get(name)
            if name == "display_name" or info and not info.relation and info.kind != "reference":
                self.plain[model, name] = values
        return values

    def _together(self, key, values, id, prefetch):
        """Records to read a field for: all; but of a field that each write makes be forgotten, each time more than the last
        time."""
        reach = self._reach.get(key)
        if reach == 1 or len(prefetch) < 2:
            wanted = [id]
        else:
            wanted = [other for other in prefetch if other not in values]
            if id not in wanted:
                wanted.insert(0, id)
            if reach:
                start = wanted.index(id)
                wanted = wanted[start : start + reach]
        if reach:
            self._reach[key] = reach * 2
        return wanted

    def _read(self, model, name, ids):
        names = [name]
        if model not in self._alone and len(ids) > 1:
            infos = self.fields(model)
            known = self._values.get(model, {})
            names += [
                other
                for other in self.said
                if other != name and other in infos and not known.get(other) and infos[other].kind != "binary"
            ]
        if reading(self._here[0]) != self.context:
            self.enter(model, self.context)
        try:
            rows = host_read(model, ids, names)
        except Error:
            if len(names) == 1:
                raise
            # One of the others is not granted, or cannot be read: each for itself, then.
            self._alone.add(model)
            names = [name]
            rows = host_read(model, ids, names)
        infos = self.fields(model)
        for place, name in enumerate(names):
            values = self._column(model, name)
            html = name in infos and infos[name].kind == "html"
            for row in rows:
                value = from_host(row.values[place])
                values[row.id] = Markup(value) if html and value else value

    def empty(self, model, name):
        """What a field of no record reads as."""
        info = self.fields(model).get(name)
        return EMPTY.get(info.kind, False) if info else False

    def changed(self, model, ids):
        """Forgets in all caches what a write may have changed."""
        for cache in self._caches.values():
            cache._changed(model, ids)

    def _changed(self, model, ids):
        """Forgets what a write may have changed: all of the written records, and elsewhere what follows from others:
        computed fields, which nobody may write, and the other ends of relations."""
        for name, fields in self._values.items():
            known = self._fields.get(name, {})
            for field, values in fields.items():
                info = known.get(field)
                if info is None or info.readonly or not info.stored or info.kind in SEVERAL or field == "display_name":
                    if values:
                        self._reach[name, field] = 1
                    values.clear()
                elif name == model:
                    if field in SHARED.get(model, ()):
                        values.clear()
                    for id in ids:
                        values.pop(id, None)

    def lists_after(self, model, ids, values):
        """Lists of records as they will be after a write, by model and field, as far as they are known: as they were read,
        in the order in which links are made, as in Odoo, and not read again."""
        fields = self.fields(model)
        relations = [name for name in values if name in fields and fields[name].relation]
        lists = {}
        for name in relations:
            read = self._values.get(model, {}).get(name, {})
            changes = commands(values[name]) if fields[name].kind in SEVERAL else None
            after = {id: linked(fields[name].kind, read.get(id), changes) for id in ids}
            if None in after.values():
                return {}
            lists[model, name] = {**read, **after}
        for of, known in self._values.items():
            kinds = self._fields.get(of, {})
            for name, read in known.items():
                if name in kinds and kinds[name].kind in SEVERAL:
                    lists.setdefault((of, name), dict(read))
        return lists

    def keep(self, lists):
        """Knows again what `lists_after` told."""
        for (model, name), read in lists.items():
            self._column(model, name).update(read)

    def forget_lists(self, model, names):
        """Forgets lists of records that are longer now."""
        for cache in self._caches.values():
            for name in names:
                cache._values.get(model, {}).get(name, {}).clear()

    def forget(self):
        """Forgets all values: a method may have changed anything."""
        for cache in self._caches.values():
            for name, columns in cache._values.items():
                for field, values in columns.items():
                    if values:
                        cache._reach[name, field] = 1
                    values.clear()

    def known_ids(self, model, name, ids):
        """The ids that a many2one field of these records is known to hold, for reading on from there together."""
        values = self._values.get(model, {}).get(name, {})
        found = {}
        for id in ids:
            value = values.get(id)
            if value and value is not PENDING:
                found.update(dict.fromkeys(value) if isinstance(value, tuple) else {value: None})
        return tuple(found)


def reading(context):
    """What of a context changes what is read."""
    return {name: context[name] for name in READING if name in context}


def replacement(kind, ids, changes):
    """All that commands leave in a list that holds `ids`, or nobody knows what; none where that depends on what it holds, or
    they do more than that."""
    if len(changes) == 1 and changes[0][0] == 6:
        return tuple(int(one) for one in changes[0][2])
    return linked(kind, ids, changes) if all(code in (3, 4, 5, 6) for code, _, _ in changes) else None


def linked(kind, ids, changes):
    """A list of ids after commands; none where that is for the host to say."""
    if changes is None:
        return None
    for code, id, argument in changes:
        if code == 5 and kind == "many2many":
            ids = ()
        elif code == 6 and kind == "many2many":
            ids = tuple(int(one) for one in argument)
        elif ids is None or code in (0, 2) or kind != "many2many" and code != 1:
            return None
        elif code == 3:
            ids = tuple(other for other in ids if other != int(id))
        elif code == 4 and int(id) not in ids:
            ids = (*ids, int(id))
    return ids
