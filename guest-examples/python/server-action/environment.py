"""`env`: models by name, who runs, and the cache that keeps host calls few."""

import json
from types import MappingProxyType

from catalogue import ModelRecord, Models
from errors import NotHere
from fields import id_of
from recordset import Recordset
from store import TOLD, Store
from triggerbox import Error, ref

#: Odoo's own user, who may do everything.
SUPERUSER_ID = 1


class Environment:
    """As Odoo's: `env['crm.lead']`, `env.user`, `env.company`, `env.ref(…)`, `env.context`."""

    __slots__ = ("_event", "_store", "_told", "uid", "su", "context", "cr", "_company")

    def __init__(self, event, store=None, context=None, company=None):
        self._event = event
        self.uid = event.run_as.id
        self.su = event.superuser
        given = {"lang": event.run_as.lang or False, "tz": event.run_as.tz or False, "uid": event.run_as.id}
        if event.model:
            given.update(active_model=event.model, active_ids=list(event.ids))
            given["active_id"] = event.ids[0] if event.ids else False
        given.update(json.loads(event.parameters.get("context") or "{}"))
        self.context = MappingProxyType(given if context is None else context)
        #: What of the context is not the run's own. Without a language, texts are in English.
        self._told = {name: self.context[name] for name in TOLD if self.context.get(name)}
        lang = self.context.get("lang") or "en_US"
        if lang != (event.run_as.lang or "en_US"):
            self._told["lang"] = lang
        else:
            self._told.pop("lang", None)
        self._store = (store or Store()).read_in(self._told)
        self._company = company or event.company.id
        self.cr = Cursor(event)

    def __getitem__(self, model):
        if model == "ir.model":
            return Models(self)
        return Recordset(self, model, ())

    def __contains__(self, model):
        try:
            return bool(self._store.fields(model))
        except Error:
            return False

    def __call__(self, cr=None, user=None, context=None, su=None):
        self.require_rights("env(user=…, su=…)", user, su)
        return self if context is None else self._with(context=dict(context))

    def require_rights(self, call, user=None, su=None):
        """Refuses other rights than the run's. Those of the superuser are a rule's that runs as superuser, and no others."""
        user = id_of(user)
        own = user in (None, self.uid)
        if self.su and (own or user == SUPERUSER_ID):
            return
        if not own or su:
            raise NotHere(f"{call} is not granted; set the rule's run-as user instead, or superuser, within its grants")

    def ask(self, function, model, *arguments):
        """Calls a function of the host that is about a model, in this context."""
        self._store.enter(model, self._told)
        return function(model, *arguments)

    def enter(self, model):
        """Has the host answer in this context from now on."""
        self._store.enter(model, self._told)

    def _with(self, context=None, company=None):
        context = dict(self.context) if context is None else context
        return Environment(self._event, self._store, context, company or self._company)

    @property
    def user(self):
        return Recordset(self, "res.users", (self.uid,))

    @property
    def company(self):
        allowed = self.context.get("allowed_company_ids")
        return Recordset(self, "res.company", (allowed[0] if allowed else self._company,))

    @property
    def companies(self):
        allowed = self.context.get("allowed_company_ids")
        return Recordset(self, "res.company", tuple(allowed)) if allowed else self.user.company_ids

    @property
    def lang(self):
        return self.context.get("lang")

    def ref(self, xmlid, raise_if_not_found=True):
        module, _, name = xmlid.partition(".")
        if name.startswith("model_"):
            # The external ids of models, `crm.model_crm_lead`: which modules have one for a model, nobody knows here.
            plain = name.removeprefix("model_")
            found = next((ModelRecord(self, model) for model in (plain.replace("_", "."), plain) if model in self), None)
        else:
            found = self._record(xmlid)
        if found is None and raise_if_not_found:
            raise ValueError(f"External ID not found in the system: {xmlid}")
        return found

    def _record(self, xmlid):
        try:
            found = ref(xmlid)
        except Error:
            return None
        return Recordset(self, found.model, (found.id,))

    def is_superuser(self):
        return self.su

    def is_system(self):
        return self.su or self.user.has_group("base.group_system")

    def is_admin(self):
        return self.su or self.user.has_group("base.group_erp_manager")

    def flush(self):
        """Nothing waits: every change is staged when it is made."""

    flush_all = flush

    def invalidate_all(self, flush=True):
        """Reads anew what is asked for from now on."""
        self._store.forget()

    def __repr__(self):
        return f"<env of user {self.uid}>"


class Cursor:
    """`env.cr`: there is no database behind it."""

    __slots__ = ("_event",)

    def __init__(self, event):
        self._event = event

    def now(self):
        return self._event.now.replace(tzinfo=None)

    def commit(self):
        raise NotHere("env.cr.commit() would apply half of a run; everything is applied together when the code ends")

    def rollback(self):
        raise NotHere("env.cr.rollback() is not needed: raise UserError(…), and nothing is applied")

    def execute(self, *_):
        raise NotHere("there is no SQL here; use search, search_count and _read_group")

    fetchone = fetchall = dictfetchall = dictfetchone = savepoint = execute
