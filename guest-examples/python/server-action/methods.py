"""Methods of records beyond reading and writing: the discussion, activities, and whatever else a model offers."""

import json
from functools import partial

from dates import context_timestamp
from errors import NotHere, refusable
from fields import to_date
from markup import Markup
from rounding import CURRENCY
from triggerbox import Error, ref
from triggerbox.errors import fallible
from triggerbox.values import FIRST_PROVISIONAL
from wit_world.imports import chatter, records as host, types

host_call = refusable(fallible(host.call))
post_note = fallible(chatter.post_note)
post_message = fallible(chatter.post_message)
add_followers = fallible(chatter.add_followers)
remove_followers = fallible(chatter.remove_followers)
complete_activities = fallible(chatter.complete_activities)

#: What the positional arguments of common methods are called: the host takes names.
ARGUMENTS = {
    "message_subscribe": ("partner_ids",),
    "message_unsubscribe": ("partner_ids",),
    "action_feedback": ("feedback",),
    "convert_opportunity": ("partner", "user_ids", "team_id"),
    "name_search": ("name", "domain", "operator", "limit"),
}


#: Who sees a message: the record's followers, or only those who work here.
SUBTYPES = ("mail.mt_comment", "mail.mt_note")


class Later:
    """The result of a method that is called when the run is applied. Asking anything of it asks what the method has made,
    where the backend shows that already; where it does not, it says so."""

    __slots__ = ("_method", "_find")

    def __init__(self, method, find=None):
        self._method, self._find = method, find

    def _made(self):
        try:
            found = self._find() if self._find else None
        except Error:
            # What may not be read is not known either.
            found = None
        if not found:
            raise NotHere(
                f"the result of {self._method} is known only when the run is applied; search for what it made in a rule of "
                "its own, or grant the method as read-only if it changes nothing"
            )
        return found

    def __getattr__(self, name):
        return getattr(self._made(), name)

    def __repr__(self):
        return f"<result of {self._method}, known when the run is applied>"

    __hash__ = None


def asked(name):
    """A method of `Later` that is its result's."""
    return lambda self, *arguments: getattr(self._made(), name)(*arguments)


for _name in "getitem setitem iter len bool eq ne contains add or and sub lt le gt ge int str".split():
    setattr(Later, f"__{_name}__", asked(f"__{_name}__"))


class Method:
    """A name that is no field: to be called, and only that. It is staged, and run when everything is applied."""

    __slots__ = ("_records", "_method")

    def __init__(self, records, method):
        self._records, self._method = records, method

    def __call__(self, *arguments, **named):
        records, name = self._records, self._method
        known = ARGUMENTS.get(name, ())
        if len(arguments) > len(known):
            raise NotHere(f"call {name} with named arguments: what the others are called is not known here")
        named.update(zip(known, arguments))
        answer = records.env.ask(host_call, records._name, list(records._ids), name, json.dumps(named, default=plain))
        records.env._store.forget()
        return Later(f"{records._name}.{name}") if answer is None else json.loads(answer)

    def _ask(self, *_):
        raise AttributeError(f"{self._records._name!r} object has no attribute {self._method!r}")

    __getattr__ = __getitem__ = __iter__ = __len__ = __bool__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _ask
    __contains__ = __add__ = __radd__ = __sub__ = __mul__ = __or__ = __and__ = __str__ = __repr__ = __format__ = _ask
    __hash__ = None


class Methods:
    """The part of a recordset that is about methods."""

    __slots__ = ()

    def _refs(self):
        self.env.enter(self._name)
        return [types.RecordRef(self._name, id) for id in self._ids]

    def _method(self, name):
        if self._name == "res.currency" and name in CURRENCY:
            return partial(CURRENCY[name], self)
        return Method(self, name)

    def message_post(self, *, body="", subject=None, message_type="notification", subtype_xmlid=None, subtype_id=None,
                     partner_ids=(), attachments=(), body_is_html=False, **_):
        self.ensure_one()
        body_is_html = body_is_html or isinstance(body, Markup)
        if subtype_id and not subtype_xmlid:
            subtype_xmlid = next((xmlid for xmlid in SUBTYPES if ref(xmlid).id == int(subtype_id)), None)
        if not attachments:
            # As the method of this name, which keeps the type of the message.
            named = {"body": str(body or ""), "subject": subject, "message_type": message_type, "body_is_html": body_is_html}
            named.update(subtype_xmlid=subtype_xmlid, partner_ids=[int(id) for id in partner_ids])
            if subtype_id and not subtype_xmlid:
                named["subtype_id"] = int(subtype_id)
            given = {name: value for name, value in named.items() if value}
            self.env.ask(host_call, self._name, list(self._ids), "message_post", json.dumps(given))
            self.env._store.forget_lists(self._name, ("message_ids", "message_follower_ids"))
            return Later("message_post", self._posted)
        to_followers = subtype_xmlid == "mail.mt_comment"
        form = chatter.BodyFormat.HTML if body_is_html else chatter.BodyFormat.TEXT
        files = [chatter.Attachment(name, "application/octet-stream", content if isinstance(content, bytes) else
                                    str(content).encode()) for name, content in attachments]
        message = chatter.Message(str(body or ""), form, subject or None, [int(id) for id in partner_ids], files)
        post = post_message if to_followers else post_note
        post(self._refs()[0], message)
        self.env._store.forget_lists(self._name, ("message_ids", "message_follower_ids"))
        return Later("message_post", self._posted)

    def _message_log(self, *, body="", **_):
        self.ensure_one()
        given = {"body": str(body or "")}
        if isinstance(body, Markup):
            given["body_is_html"] = True
        self.env.ask(host_call, self._name, list(self._ids), "_message_log", json.dumps(given))
        return Later("_message_log", self._posted)

    def _posted(self):
        """The newest message on the record, if this run posted it."""
        domain = [("model", "=", self._name), ("res_id", "=", self.id), ("body", "!=", False)]
        newest = self.env["mail.message"].search(domain, order="id desc", limit=1)
        return newest if newest and newest.id >= FIRST_PROVISIONAL else None

    def message_notify(self, *, body="", subject=None, partner_ids=(), **_):
        named = {"body": str(body or ""), "subject": subject, "partner_ids": [int(id) for id in partner_ids]}
        self.env.ask(host_call, self._name, list(self._ids), "message_notify", json.dumps(named))
        return Later("message_notify")

    def message_subscribe(self, partner_ids=(), subtype_ids=()):
        for target in self._refs():
            add_followers(target, [int(id) for id in partner_ids])
        self.env._store.changed("mail.followers", ())
        return True

    def message_unsubscribe(self, partner_ids=()):
        for target in self._refs():
            remove_followers(target, [int(id) for id in partner_ids])
        self.env._store.changed("mail.followers", ())
        return True

    def activity_schedule(self, act_type_xmlid="", date_deadline=None, summary="", note="", *, activity_type_id=None,
                          user_id=None, **_):
        kind = act_type_xmlid
        if activity_type_id:
            kind = self.env["mail.activity.type"].browse(int(activity_type_id)).name
        day = to_date(date_deadline) if date_deadline else context_timestamp(self.env).date()
        named = {"act_type_xmlid": kind, "date_deadline": day.isoformat(), "summary": summary, "note": note}
        named["user_id"] = int(user_id) if user_id else None
        given = {name: value for name, value in named.items() if value}
        if self._ids:
            # As the method of this name: without a user, the activity is nobody's.
            self.env.ask(host_call, self._name, list(self._ids), "activity_schedule", json.dumps(given))
        store = self.env._store
        places = {id: store.made["mail.activity", self._name, id] for id in self._ids}
        store.made.update(("mail.activity", self._name, id) for id in self._ids)
        store.changed("mail.activity", ())
        return Later("activity_schedule", lambda: self._scheduled(places))

    def _scheduled(self, places):
        """The activities that this run scheduled on the records as the ones at these places."""
        found = []
        for id, place in places.items():
            domain = [("res_model", "=", self._name), ("res_id", "=", id), ("id", ">=", FIRST_PROVISIONAL)]
            made = self.env["mail.activity"].with_context(active_test=False).search(domain, order="id")
            found += made._ids[place : place + 1]
        return self.env["mail.activity"].browse(found)

    def activity_feedback(
        self, act_type_xmlids, user_id=None, feedback=None, attachment_ids=None, only_automated=True
    ):
        if not user_id and not (only_automated and self._planned_by_hand(act_type_xmlids)):
            # All of them: the chatter does it, which needs no right to call methods.
            for target in self._refs():
                for kind in kinds(act_type_xmlids):
                    complete_activities(target, kind, feedback or None)
            self.env._store.changed("mail.activity", ())
            return True
        found = self.activity_search(act_type_xmlids, user_id, only_automated=only_automated)
        if found:
            given = json.dumps({"feedback": feedback} if feedback else {})
            self.env.ask(host_call, "mail.activity", found.ids, "action_feedback", given)
            self.env._store.changed("mail.activity", ())
        return True

    def _planned_by_hand(self, act_type_xmlids):
        """Whether there are activities of these types that no code scheduled; also if the backend does not tell."""
        if "automated" not in self.env._store.fields("mail.activity"):
            return True
        every = self.activity_search(act_type_xmlids, only_automated=False)
        return bool(every - self.activity_search(act_type_xmlids))

    def activity_search(self, act_type_xmlids="", user_id=None, additional_domain=(), only_automated=True):
        """Activities of these types; those that people made by hand are nothing to methods."""
        domain = [("res_model", "=", self._name), ("res_id", "in", self.ids)]
        domain.append(("activity_type_id", "in", [ref(kind).id for kind in kinds(act_type_xmlids) if kind]))
        if user_id:
            domain.append(("user_id", "=", int(user_id)))
        if only_automated:
            tells = "automated" in self.env._store.fields("mail.activity")
            domain.append(("automated", "=", True) if tells else ("id", ">=", FIRST_PROVISIONAL))
        return self.env["mail.activity"].search([*domain, *additional_domain])

    def activity_unlink(self, act_type_xmlids, user_id=None, only_automated=True):
        self.activity_search(act_type_xmlids, user_id, only_automated=only_automated).unlink()
        return True

    def activity_reschedule(
        self, act_type_xmlids, user_id=None, date_deadline=None, new_user_id=None, only_automated=True
    ):
        activities = self.activity_search(act_type_xmlids, user_id, only_automated=only_automated)
        values = {"date_deadline": date_deadline, "user_id": new_user_id}
        activities.write({name: value for name, value in values.items() if value})
        return activities

    def has_group(self, xmlid):
        """Whether a user is in a group. In one that there is not, nobody is; `group_no_one` is for those who develop pages."""
        wanted, groups = self.env.ref(xmlid, raise_if_not_found=False), self.ensure_one().group_ids
        if wanted is None or xmlid == "base.group_no_one":
            return False
        wanted, seen = wanted.id, groups
        while groups:
            if wanted in groups._ids:
                return True
            groups = groups.implied_ids - seen
            seen |= groups
        return False

    def invalidate_recordset(self, *_):
        self.env._store.forget()

    def flush_recordset(self, *_):
        return None

    invalidate_model = flush_model = flush_recordset


def kinds(xmlids):
    """One type of activities, or several."""
    return [xmlids] if isinstance(xmlids, str) else xmlids


def plain(value):
    """An argument as JSON says it."""
    if hasattr(value, "_ids"):
        return value.ids
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "isoformat"):
        return value.isoformat(sep=" ") if hasattr(value, "hour") else value.isoformat()
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    return str(value)
