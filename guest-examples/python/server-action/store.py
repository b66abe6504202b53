"""What was read, kept by model, field and record; and what fields are.

A field is read for all records of the recordset that a record came out of, and with it the other fields of the model that the
code says: a loop costs one host call, not one for each record and field.
"""

from collections import Counter

from fields import EMPTY, SEVERAL, commands, from_host
from markup import Markup
from triggerbox import Error, NotFound, Pending, fields_get
from triggerbox.errors import fallible
from triggerbox.values import PENDING
from wit_world.imports import records as host

host_read = fallible(host.read)


class Store:
    """The cache of one run. `said`: the names that the code says: fields among them are read together."""

    def __init__(self, said=()):
        self.said = said
        self._fields = {}
        self._values = {}
        #: Values that are what they read as, by model and field: the same that `_values` has.
        self.plain = {}
        #: How many records a field is read for together, where a write made it be forgotten.
        self._reach = {}
        #: Models of which the fields that the code says cannot be read together.
        self._alone = set()
        #: How often activities were scheduled and messages were posted, by model and record.
        self.made = Counter()

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

    def forget(self):
        """Forgets all values: a method may have changed anything."""
        for name, columns in self._values.items():
            for field, values in columns.items():
                if values:
                    self._reach[name, field] = 1
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


def linked(kind, ids, changes):
    """A list of ids after commands; none where that is for the host to say."""
    if changes is None:
        return None
    for code, id, argument in changes:
        if code == 6 and kind == "many2many":
            ids = tuple(int(one) for one in argument)
        elif ids is None or code in (0, 2) or kind != "many2many" and code != 1:
            return None
        elif code == 5:
            ids = ()
        elif code == 3:
            ids = tuple(other for other in ids if other != int(id))
        elif code == 4 and int(id) not in ids:
            ids = (*ids, int(id))
    return ids
