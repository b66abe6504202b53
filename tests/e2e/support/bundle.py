"""All example scripts in one component, told apart by the rule's name."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

RUN = {}
for folder in sorted(path.parent for path in Path(__file__).parent.glob("*/script.py")):
    # Their helper modules lie beside them.
    sys.path.insert(0, str(folder))
    spec = spec_from_file_location(folder.name, folder / "script.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.pop(0)
    RUN[folder.name] = module.run


def run(event):
    return RUN[event.rule](event)
