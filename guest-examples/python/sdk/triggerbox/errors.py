"""What goes wrong: errors of the host's calls, and how a script ends without success."""

from functools import wraps
from traceback import extract_tb

from componentize_py_types import Err
from wit_world.imports import events, types


class Error(Exception):
    """A host call failed. Decide by the class, or by `code`; people read `message`."""

    def __init__(self, code, message, field=None):
        super().__init__(code, message, field)
        self.code, self.message, self.field = code, message, field

    def __str__(self):
        return f"{self.code}: {self.message}"


class AccessDenied(Error):
    """Script, rule, policy or user may not do this."""


class NotFound(Error):
    """Unknown model, record, method or key."""


class Invalid(Error):
    """The call itself is wrong: a bug in the script."""


class Rejected(Error):
    """The backend refused the data."""


class Conflict(Error):
    """Somebody else changed the record meanwhile."""


class Unavailable(Error):
    """A service that is not configured, not reachable or over its quota."""


class Pending(Error):
    """The answer depends on something that only the commit can know."""


class UserError(Exception):
    """Raise it with a text for the user who caused the event; nothing is applied."""


class Failed(Exception):
    """Raise it with a text for the run history; nothing is applied."""


KINDS = {
    types.ErrorKind.ACCESS_DENIED: AccessDenied,
    types.ErrorKind.NOT_FOUND: NotFound,
    types.ErrorKind.INVALID: Invalid,
    types.ErrorKind.REJECTED: Rejected,
    types.ErrorKind.CONFLICT: Conflict,
    types.ErrorKind.UNAVAILABLE: Unavailable,
    types.ErrorKind.PENDING: Pending,
    types.ErrorKind.OTHER: Error,
}


def fallible(call):
    """A host call whose errors are raised as `Error`."""

    @wraps(call)
    def checked(*arguments):
        try:
            return call(*arguments)
        except Err as err:
            error = err.value
        raise KINDS[error.kind](error.code, error.message, error.field)

    return checked


def failure(error):
    """The contract's word for an exception that ends a script; none for one that is a bug."""
    if isinstance(error, UserError):
        return Err(events.Failure_UserError(str(error)))
    if isinstance(error, Failed):
        return Err(events.Failure_Failed(str(error)))
    if isinstance(error, Error):
        return Err(events.Failure_Failed(f"{error}{place(error)}"))
    return None


def place(error):
    """Where in the script an error was raised: the innermost line that is not this library's."""
    own = [frame for frame in extract_tb(error.__traceback__) if "/triggerbox/" not in frame.filename]
    if not own:
        return ""
    frame = own[-1]
    return f" ({frame.filename.rpartition('/')[2]}, line {frame.lineno}, in {frame.name})"
