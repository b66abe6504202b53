"""The record's discussion: what can be posted, and what there is to do."""

from dataclasses import dataclass, field
from datetime import date

from wit_world.imports import chatter as host

#: Text as HTML that shows it as it is.
SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def escape(text):
    """A text as HTML that shows it as it is."""
    return "".join(SPECIAL.get(character, character) for character in text)


@dataclass
class Message:
    """A message or note. `body` is shown as it is; `html=True` makes it HTML, sanitised when it is stored."""

    body: str
    html: bool = False
    subject: str | None = None
    #: Partners to notify besides the followers.
    notify: list = field(default_factory=list)
    #: Files: `(name, mime type, bytes)`.
    attachments: list = field(default_factory=list)

    def to_host(self):
        form = host.BodyFormat.HTML if self.html else host.BodyFormat.TEXT
        files = [host.Attachment(*file) for file in self.attachments]
        return host.Message(self.body, form, self.subject, [int(id) for id in self.notify], files)


def html(body, **options):
    """A message in HTML. What comes from records goes through `escape`."""
    return Message(body, html=True, **options)


def message(value):
    return (value if isinstance(value, Message) else Message(str(value))).to_host()


@dataclass
class Activity:
    """Something to do, for somebody, by a day.

    `kind` is the activity type, by name or external id: `To-Do`, `mail.mail_activity_data_call`.
    """

    kind: str
    summary: str
    #: HTML.
    note: str | None = None
    #: None: today plus the type's own delay.
    deadline: date | None = None
    #: None: the run-as user.
    user_id: int | None = None

    def to_host(self):
        deadline = self.deadline.isoformat() if self.deadline else None
        user = None if self.user_id is None else int(self.user_id)
        return host.Activity(self.kind, self.summary, self.note, deadline, user)
