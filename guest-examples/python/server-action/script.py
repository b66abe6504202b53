"""Runs the Python code of an Odoo server action.

The code is the parameter `code`. A file `action.py` beside this one takes its place if there is none: it is checked and
compiled when the component is built, not once more in each run.
"""

from pathlib import Path

from context import names
from environment import Environment
from errors import shown
from safe import compile_action, said
from store import Store
from triggerbox import AccessDenied, Failed, Outcome

#: Code that was there at build time, ready to run.
BUILT_IN = None
if (Path(__file__).parent / "action.py").exists():
    BUILT_IN = compile_action((Path(__file__).parent / "action.py").read_text())


def run(event):
    text = event.parameters.get("code")
    code = compile_action(text) if text else BUILT_IN
    if code is None:
        raise Failed("there is no code: set the parameter `code`, or build the component with a file action.py")
    env = Environment(event, Store(sorted(said(code))))
    space = names(event, env)
    try:
        require_write(space["records"])
        exec(code, space)
    except Exception as error:
        raise shown(error, text or "") from error
    env.flush()
    return outcome(space.get("action"))


def require_write(records):
    """An action runs for those who may change its records, as in Odoo; what it changes is another question."""
    try:
        may = records is None or records.env.su or records.has_access("write")
    except AccessDenied:
        # Not granted, so the code will not write; whether the user might is not to be told.
        return
    if not may:
        raise AccessDenied("no-access", f"{records.env.user.name} may not change {records}, and so not run actions on it")


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
