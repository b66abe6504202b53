"""What code may not say: the refusals of Odoo's `safe_eval`, with the line and the reason.

Nothing here protects the host: that is the sandbox's work, and the grants'. Code that passes here and does harm in Odoo
ends at a limit or at a refused host call.
"""

import ast
import builtins
import sys
from functools import reduce
from opcode import opmap
from types import CodeType

from triggerbox import Failed

#: Odoo's builtins: no others.
BUILTINS = """
    True False None bytes str bool int float enumerate dict list tuple map abs min max sum filter sorted round len repr
    set all any ord chr divmod isinstance range zip Exception
""".split()

#: Attributes that lead from values to the interpreter.
INNER = {
    "f_builtins", "f_code", "f_globals", "f_locals", "func_code", "func_globals", "co_code", "_co_code_adaptive", "mro",
    "tb_frame", "gi_code", "gi_frame", "gi_yieldfrom", "cr_await", "cr_code", "cr_frame", "ag_await", "ag_code", "ag_frame",
}

#: Statements and expressions that Odoo refuses, each with what to do instead.
REFUSED = {
    ast.Import: "there is no import; datetime, dateutil, time, json and timezone are there already",
    ast.ImportFrom: "there is no import; datetime, dateutil, time, json and timezone are there already",
    ast.ClassDef: "classes cannot be defined; use functions and dicts",
    ast.With: "there is no `with`",
    ast.AsyncWith: "there is no `with`",
    ast.Global: "there is no `global`; return the value",
    ast.Nonlocal: "there is no `nonlocal`; return the value",
    ast.YieldFrom: "there is no `yield from`; loop and yield",
    ast.Assert: "there is no `assert`; raise UserError(…)",
    ast.Await: "there is no `await`",
    ast.AnnAssign: "variables cannot be annotated",
    ast.TryStar: "there is no `except*`",
    ast.MatchSequence: "`case` compares with values only",
    ast.MatchMapping: "`case` compares with values only",
    ast.MatchClass: "`case` compares with values only",
}


class Refused(Failed):
    """The code is refused before any of it runs."""


#: Instructions that nothing compiles to which may be said.
FORBIDDEN = frozenset(
    opmap[name]
    for name in (
        "IMPORT_NAME", "IMPORT_FROM", "STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "DELETE_SUBSCR",
        "LOAD_BUILD_CLASS", "WITH_EXCEPT_START", "UNPACK_EX", "GET_YIELD_FROM_ITER", "GET_AWAITABLE", "LOAD_COMMON_CONSTANT",
        "SETUP_ANNOTATIONS", "CHECK_EG_MATCH", "MATCH_SEQUENCE", "MATCH_MAPPING", "MATCH_CLASS", "MAKE_CELL",
        "COPY_FREE_VARS", "LOAD_DEREF", "STORE_DEREF", "LOAD_SPECIAL",
    )
    if name in opmap
)
#: Texts that code has which may say something forbidden.
SUSPICIOUS = ("__", *sorted(INNER))


def compile_action(text):
    """The code, checked and compiled. What is plainly harmless is not looked at piece by piece."""
    text = placed(text)
    try:
        code = compile(text, "action", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise Refused(f"line {error.lineno}: {error.msg}: {line}") from None
    # Python reads the letters of a name in their plain form: `＿` is `_`, which a text does not show.
    if not text.isascii() or any(word in text for word in SUSPICIOUS) or not harmless(code):
        check(ast.parse(text, "action"), text)
        check_functions(code, text)
        check_names(code)
    return code


def placed(text):
    """The code without what is blank around it, as in Odoo; its lines keep their numbers."""
    above = text[: len(text) - len(text.lstrip())].count("\n")
    return "\n" * above + text.strip() + "\n"


def harmless(code):
    """Whether no instruction of the code, or of a function in it, is forbidden."""
    # An instruction is two bytes, what it is and its argument; places that are kept for the interpreter are zero.
    if not FORBIDDEN.isdisjoint(code.co_code[::2]) or "__doc__" in code.co_names:
        return False
    return all(harmless(inner) for inner in code.co_consts if isinstance(inner, CodeType))


def said(code):
    """The names of attributes and functions that the code says."""
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            names |= said(inner)
    return names


def check_names(code):
    """The names that the compiled code has, whichever way they got there."""
    for name in sorted(said(code)):
        if is_forbidden(name):
            raise Refused(f"line {code.co_firstlineno}: the name {name!r} is forbidden")


def is_forbidden(name):
    return "__" in name or name in INNER


def check_functions(code, text):
    """Functions inside functions see only their own names and the action's."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            if inner.co_freevars:
                name, number = inner.co_freevars[0], inner.co_firstlineno
                raise Refused(
                    f"line {number}: {name!r} belongs to the function around this one, which cannot be used here; pass it "
                    f"on, as in `lambda record, {name}={name}: …`: {text.splitlines()[number - 1].strip()}"
                )
            check_functions(inner, text)


def check(tree, text):
    """Raises `Refused` at the first thing that may not be said."""
    lines = text.splitlines()
    if ast.get_docstring(tree, clean=False) is not None:
        number = tree.body[0].lineno
        reason = "a text that stands alone at the start is kept under a forbidden name; write it after #"
        raise Refused(f"line {number}: {reason}: {lines[number - 1]}")
    for node in ast.walk(tree):
        reason = refusal(node)
        if reason:
            number = getattr(node, "lineno", 1)
            raise Refused(f"line {number}: {reason}: {lines[number - 1].strip()}")


def refusal(node):
    """Why a node is refused; none if it is not."""
    reason = REFUSED.get(type(node))
    if reason:
        return reason
    if isinstance(node, ast.Attribute):
        if isinstance(node.ctx, ast.Store):
            return f"attributes cannot be assigned; write record['{node.attr}'] = …, or record.write({{…}})"
        if isinstance(node.ctx, ast.Del):
            return "attributes cannot be deleted"
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Del):
        return "items cannot be deleted; use pop(…)"
    if isinstance(node, ast.Starred) and isinstance(node.ctx, ast.Store):
        return "there is no starred assignment"
    for name in spoken(node):
        if is_forbidden(name):
            return f"the name {name!r} is forbidden"
    return None


def spoken(node):
    """The names that a node says."""
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.arg
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs)) and node.name:
        yield node.name


def known_module(name, *_):
    """What Python's own functions (`strftime`, `today`) import on the quiet; it is there already."""
    if name not in sys.modules:
        raise ImportError(f"there is no import; {name} is not there")
    return sys.modules[name]


def total(values, start=0):
    """`sum` as servers have it that run a Python before 3.12: floats are added one by one, and not made up for."""
    for value in values:
        start = start + value
    return start


#: What code finds without asking.
SAFE_BUILTINS = {name: getattr(builtins, name) for name in BUILTINS}
SAFE_BUILTINS.update(__import__=known_module, sum=total, unicode=str, xrange=range, reduce=reduce)
