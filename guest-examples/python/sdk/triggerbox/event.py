"""What happened, and what the script answers."""

import json
from dataclasses import dataclass, field
from functools import cached_property

from wit_world.imports import events as host

from . import calendar, records
from .errors import Failed, Invalid
from .values import PENDING, Datetime, Link, fields, read

#: The contract's names of what can have happened.
TRIGGERS = {
    host.Trigger_Created: "created",
    host.Trigger_Updated: "updated",
    host.Trigger_Deleted: "deleted",
    host.Trigger_Time: "time",
    host.Trigger_Scheduled: "scheduled",
    host.Trigger_Manual: "manual",
    host.Trigger_Webhook: "webhook",
    host.Trigger_Message: "message",
    host.Trigger_OnChange: "on-change",
    host.Trigger_BeforeCreate: "before-create",
    host.Trigger_BeforeUpdate: "before-update",
    host.Trigger_BeforeDelete: "before-delete",
    host.Trigger_SelectRecords: "select-records",
    host.Trigger_Other: "other",
}


class Event:
    """One firing of one rule.

    Has what the contract has (`run_id`, `rule`, `attempt`, `depth`, `seed`, `model`, `actor`, `run_as`,
    `superuser`), with Python's values.
    """

    def __init__(self, event):
        self.host = event
        self.run_id, self.rule, self.attempt, self.depth = event.run_id, event.rule, event.attempt, event.depth
        self.seed, self.model, self.superuser = event.seed, event.model, event.superuser
        self.actor, self.run_as, self.previous = event.actor, event.run_as, event.previous
        #: Ids of the triggering records.
        self.ids = list(event.records)
        self.company = Link(event.company.id, event.company.display_name)

    @property
    def trigger(self):
        """`created`, `updated`, `deleted`, `manual`…"""
        return TRIGGERS[type(self.host.trigger)]

    @property
    def details(self):
        """What the trigger carries: the webhook's call, the schedule's slot, the message, the drafts' values."""
        value = getattr(self.host.trigger, "value", None)
        if self.trigger in ("deleted", "before-update"):
            return {snapshot.id: values(snapshot.fields) for snapshot in value}
        if self.trigger == "on-change":
            return values(value.fields)
        if self.trigger == "before-create":
            return values(value)
        return value

    @property
    def records(self):
        """The triggering records; nothing is read."""
        return [records.Record(self.require_model(), id) for id in self.ids]

    def read(self, *names):
        """The triggering records with the named fields. Those that are gone are left out."""
        return records.read(self.require_model(), self.ids, names)

    @cached_property
    def parameters(self):
        """The rule's parameters, by name."""
        return values(self.host.parameters)

    def param(self, name):
        """A parameter that must have a value."""
        value = self.parameters.get(name)
        if value is None:
            raise Invalid("missing-parameter", f'parameter "{name}" has no value', name)
        return value

    @cached_property
    def old_values(self):
        """For updates: by record, the changed fields as they were."""
        return {snapshot.id: values(snapshot.fields) for snapshot in self.host.old_values}

    @cached_property
    def now(self):
        """When the event happened, in UTC. The clock stands still during a run."""
        return Datetime.parse(self.host.now)

    @cached_property
    def today(self):
        """The day of the event where the run-as user is."""
        return calendar.to_local(self.now, self.run_as.tz).date()

    @cached_property
    def extra(self):
        """What a later version of the contract adds."""
        return json.loads(self.host.extra_json or "{}")

    def require_model(self):
        if self.model is None:
            raise Failed("this rule is bound to no model")
        return self.model

    def __repr__(self):
        return f"Event({self.host!r})"


def values(named):
    """Named values by name. What only the commit can know is left out."""
    read_values = {one.name: read(one.value) for one in named}
    return {name: value for name, value in read_values.items() if value is not PENDING}


@dataclass
class Outcome:
    """What a script answers. `run` may as well return a text, which is the message, or nothing."""

    #: One line for the run history.
    message: str | None = None
    #: Before and on-change rules: values to set on the record.
    values: dict = field(default_factory=dict)
    #: On-change rules: shown beside the form.
    warning: str | None = None
    #: For `select-records`: the ids.
    records: list = field(default_factory=list)
    #: What a webhook's or a manual run's caller gets: anything that JSON can say.
    result: object = None


def outcome(answer):
    """What `run` returned, as the contract has it."""
    if answer is None or isinstance(answer, str):
        answer = Outcome(answer)
    if not isinstance(answer, Outcome):
        raise TypeError(f"run(event) returned {answer!r}; it may return nothing, a text, or an Outcome")
    result = None if answer.result is None else json.dumps(answer.result)
    return host.Outcome(answer.message, fields(answer.values), answer.warning, [int(id) for id in answer.records], result)
