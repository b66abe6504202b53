"""The other side of the benchmark: CPython that runs the same code, restricted by RestrictedPython.

Each line of standard input is a JSON object: `code`, `runs`, and `compile`: whether the code is compiled in each run. The answer
is the time of one run, in seconds.
"""

import json
import operator
import sys
import time

from RestrictedPython import compile_restricted, safe_builtins
from RestrictedPython.Eval import default_guarded_getitem, default_guarded_getiter
from RestrictedPython.Guards import full_write_guard, guarded_iter_unpack_sequence, guarded_unpack_sequence, safer_getattr

INPLACE = {"+=": operator.iadd, "-=": operator.isub, "*=": operator.imul}
BUILTINS = dict(safe_builtins, sum=sum, max=max, min=min, dict=dict, list=list, any=any, all=all, enumerate=enumerate)
GUARDS = {
    "__builtins__": BUILTINS,
    "_getattr_": safer_getattr,
    "_getitem_": default_guarded_getitem,
    "_getiter_": default_guarded_getiter,
    "_iter_unpack_sequence_": guarded_iter_unpack_sequence,
    "_unpack_sequence_": guarded_unpack_sequence,
    "_write_": full_write_guard,
    "_inplacevar_": lambda symbol, one, other: INPLACE[symbol](one, other),
}


class Record:
    """One order, in memory."""

    id, name, amount_total = 1, "S00001", 12000.0

    def __init__(self):
        self.posted = []

    def message_post(self, body):
        self.posted.append(body)


def run(code):
    record, said = Record(), []
    exec(code, {**GUARDS, "record": record, "records": [record], "log": said.append})
    return said, record.posted


for line in sys.stdin:
    asked = json.loads(line)
    compiled = compile_restricted(asked["code"], "action", "exec")
    run(compiled)
    begin = time.perf_counter()
    for _ in range(asked["runs"]):
        if asked["compile"]:
            compiled = compile_restricted(asked["code"], "action", "exec")
        run(compiled)
    print((time.perf_counter() - begin) / asked["runs"], flush=True)
