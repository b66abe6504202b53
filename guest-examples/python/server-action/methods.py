"""Methods of records beyond reading and writing: the discussion, activities, and whatever else a model offers."""

import json

from errors import NotHere
from triggerbox import ref
from triggerbox.errors import fallible
from wit_world.imports import chatter, records as host, types

host_call = fallible(host.call)
post_note = fallible(chatter.post_note)
post_message = fallible(chatter.post_message)
add_followers = fallible(chatter.add_followers)
remove_followers = fallible(chatter.remove_followers)
schedule_activity = fallible(chatter.schedule_activity)
complete_activities = fallible(chatter.complete_activities)

#: What the positional arguments of common methods are called: the host takes names.
ARGUMENTS = {
    "message_subscribe": ("partner_ids",),
    "message_unsubscribe": ("partner_ids",),
    "action_feedback": ("feedback",),
    "name_search": ("name", "domain", "operator", "limit"),
}


class Later:
    """The result of a method that is called when the run is applied. Asking anything of it says so."""

    __slots__ = ("_method",)

    def __init__(self, method):
        self._method = method

    def _ask(self, *_):
        raise NotHere(
            f"the result of {self._method} is known only when the run is applied; search for what it made in a rule of "
            "its own, or grant the method as read-only if it changes nothing"
        )

    __getattr__ = __getitem__ = __iter__ = __len__ = __bool__ = __eq__ = __contains__ = __call__ = _ask
    __add__ = __or__ = __and__ = __sub__ = _ask
    __hash__ = None

    def __repr__(self):
        return f"<result of {self._method}, known when the run is applied>"


class Methods:
    """The part of a recordset that is about methods."""

    __slots__ = ()

    def _refs(self):
        return [types.RecordRef(self._name, id) for id in self._ids]

    def _method(self, name):
        """Any other method: staged, and run when everything is applied."""

        def call(*arguments, **named):
            known = ARGUMENTS.get(name, ())
            if len(arguments) > len(known):
                raise NotHere(f"call {name} with named arguments: what the others are called is not known here")
            named.update(zip(known, arguments))
            answer = host_call(self._name, list(self._ids), name, json.dumps(named, default=plain))
            self.env._store.forget()
            return Later(f"{self._name}.{name}") if answer is None else json.loads(answer)

        return call

    def message_post(self, *, body="", subject=None, message_type="notification", subtype_xmlid=None, subtype_id=None,
                     partner_ids=(), attachments=(), body_is_html=False, **_):
        self.ensure_one()
        to_followers = subtype_xmlid == "mail.mt_comment"
        if subtype_id:
            to_followers = int(subtype_id) == ref("mail.mt_comment").id
        form = chatter.BodyFormat.HTML if body_is_html else chatter.BodyFormat.TEXT
        files = [chatter.Attachment(name, "application/octet-stream", content if isinstance(content, bytes) else
                                    str(content).encode()) for name, content in attachments]
        message = chatter.Message(str(body or ""), form, subject or None, [int(id) for id in partner_ids], files)
        post = post_message if to_followers else post_note
        post(self._refs()[0], message)
        return Later("message_post")

    def message_subscribe(self, partner_ids=(), subtype_ids=()):
        for target in self._refs():
            add_followers(target, [int(id) for id in partner_ids])
        return True

    def message_unsubscribe(self, partner_ids=()):
        for target in self._refs():
            remove_followers(target, [int(id) for id in partner_ids])
        return True

    def activity_schedule(self, act_type_xmlid="", date_deadline=None, summary="", note="", *, activity_type_id=None,
                          user_id=None, **_):
        kind = act_type_xmlid or "mail.mail_activity_data_todo"
        if activity_type_id:
            kind = self.env["mail.activity.type"].browse(int(activity_type_id)).name
        day = date_deadline.isoformat()[:10] if hasattr(date_deadline, "isoformat") else date_deadline
        user = int(user_id) if user_id else None
        for target in self._refs():
            schedule_activity(target, chatter.Activity(kind, summary or "", note or None, day or None, user))
        self.env._store.changed("mail.activity", ())
        return Later("activity_schedule")

    def activity_feedback(self, act_type_xmlids, user_id=None, feedback=None):
        if user_id:
            raise NotHere("activity_feedback of one user is not known here; leave user_id out")
        kinds = [act_type_xmlids] if isinstance(act_type_xmlids, str) else act_type_xmlids
        for target in self._refs():
            for kind in kinds:
                complete_activities(target, kind, feedback or None)
        self.env._store.changed("mail.activity", ())
        return True

    def has_group(self, xmlid):
        """Whether a user is in a group."""
        user = self.ensure_one()
        field = "all_group_ids" if "all_group_ids" in user.env._store.fields("res.users") else "group_ids"
        return ref(xmlid).id in user[field].ids

    def invalidate_recordset(self, *_):
        self.env._store.forget()

    def flush_recordset(self, *_):
        return None

    invalidate_model = flush_model = flush_recordset


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
