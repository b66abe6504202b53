"""One run of the code of a server action."""

from context import names
from environment import Environment
from errors import shown
from safe import compile_action, said
from store import Store
from triggerbox import AccessDenied, Failed, Outcome


def runner(path):
    """The `run` of a script. The code of the file, if there is one, is checked and compiled here and now; else it is the
    parameter `code`, in each run anew."""
    built_in = prepared(path.read_text()) if path.exists() else None

    def run(event):
        text = event.parameters.get("code")
        ready = prepared(text) if text else built_in
        if ready is None:
            raise Failed("there is no code: set the parameter `code`, or build the component with a file action.py")
        return outcome(execute(event, *ready))

    return run


def prepared(text):
    """Code ready to run, the names that it says, and its text."""
    code = compile_action(text)
    return code, sorted(said(code)), text


def execute(event, code, said, text):
    """Runs code; what it left in `action`."""
    env = Environment(event, Store(said))
    space = names(event, env)
    try:
        require_write(space["records"], event.run_as.name)
        exec(code, space)
    except Exception as error:
        raise shown(error, text) from error
    env.flush()
    return space.get("action")


def require_write(records, user):
    """An action runs for those who may change its records, as in Odoo; what it changes is another question."""
    try:
        may = records is None or records.env.su or records.has_access("write")
    except AccessDenied:
        # Not granted, so the code will not write; whether the user might is not to be told.
        return
    if not may:
        raise AccessDenied("no-access", f"{user} may not change {records}, and so not run actions on it")


def outcome(action):
    """What the code left in `action`, as Odoo hands it to the client."""
    if not isinstance(action, dict):
        return Outcome()
    # The answer of an on-change rule.
    if isinstance(action.get("value"), dict):
        warning = action.get("warning") or {}
        text = warning.get("message") if isinstance(warning, dict) else str(warning)
        return Outcome(values=action["value"], warning=text)
    return Outcome(result=action)
