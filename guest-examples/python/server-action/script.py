"""Runs the Python code of an Odoo server action.

The code is the parameter `code`. A file `action.py` beside this one takes its place if there is none: it is checked and
compiled when the component is built, not once more in each run.
"""

from pathlib import Path

from server_action import runner

run = runner(Path(__file__).parent / "action.py")
