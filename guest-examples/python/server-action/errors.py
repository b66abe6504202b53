"""Errors, as the person sees them who wrote the code."""

from traceback import extract_tb

from triggerbox import Error, Failed, Rejected, UserError


class NotHere(Failed):
    """Something that Odoo's own server could do and a staged run cannot; says what to do instead."""


def refusable(function):
    """A function of the host; what the backend refuses is a `UserError`, as in Odoo."""

    def call(*arguments):
        try:
            return function(*arguments)
        except Rejected as error:
            raise UserError(error.message) from error

    return call


def shown(error, text):
    """The failure that a run ends with: the error's own text, and the line of the code that it came from."""
    if isinstance(error, UserError):
        return error
    lines = text.splitlines()
    own = [frame.lineno for frame in extract_tb(error.__traceback__) if frame.filename == "action"]
    if isinstance(error, (Failed, Error)):
        what = str(error)
    else:
        what = f"{type(error).__name__}: {error}"
    if not own:
        return Failed(what)
    number = own[-1]
    line = f": {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""
    return Failed(f"{what} (line {number}{line})")
