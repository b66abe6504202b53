"""Domains: Odoo's lists of conditions, as the contract has them."""

from wit_world.imports import types

from .errors import Invalid
from .values import to_host

OPERATORS = {
    "=": types.Operator.EQ,
    "!=": types.Operator.NE,
    "<": types.Operator.LT,
    "<=": types.Operator.LE,
    ">": types.Operator.GT,
    ">=": types.Operator.GE,
    "in": types.Operator.IS_IN,
    "not in": types.Operator.NOT_IN,
    "like": types.Operator.LIKE,
    "not like": types.Operator.NOT_LIKE,
    "ilike": types.Operator.ILIKE,
    "not ilike": types.Operator.NOT_ILIKE,
    "=like": types.Operator.LIKE_PATTERN,
    "not =like": types.Operator.NOT_LIKE_PATTERN,
    "=ilike": types.Operator.ILIKE_PATTERN,
    "not =ilike": types.Operator.NOT_ILIKE_PATTERN,
    "child_of": types.Operator.CHILD_OF,
    "parent_of": types.Operator.PARENT_OF,
    "=?": types.Operator.EQ_OR_UNSET,
    "any": types.Operator.ANY,
    "not any": types.Operator.NOT_ANY,
}
CONNECTIVES = {"&": types.Term_And, "|": types.Term_Or, "!": types.Term_Not}


def domain(items):
    """A list of `(field, operator, value)` and `"&"`, `"|"`, `"!"`; or Odoo's notation as text."""
    if isinstance(items, str):
        return types.Domain_Literal(items)
    return types.Domain_Terms([term(item) for item in items])


def term(item):
    if isinstance(item, str):
        connective = CONNECTIVES.get(item)
        if connective is None:
            raise Invalid("bad-domain", f"{item!r} stands where a condition, '&', '|' or '!' belongs")
        return connective()
    if not isinstance(item, (tuple, list)) or len(item) != 3:
        raise Invalid("bad-domain", f"{item!r} is no condition; write (field, operator, value)")
    field, symbol, value = item
    # Odoo's two leaves that name no field.
    if symbol == "=" and field in (0, 1) and value == 1:
        return types.Term_Always() if field else types.Term_Never()
    operator = OPERATORS.get(symbol)
    if operator is None:
        raise Invalid("bad-domain", f"there is no operator {symbol!r}; there are {', '.join(OPERATORS)}")
    return types.Term_Condition(types.Condition(field, operator, operand(symbol, value)))


def operand(symbol, value):
    if symbol in ("any", "not any"):
        return types.Operand_Domain(value if isinstance(value, str) else literal(value))
    if isinstance(value, (list, tuple, set, frozenset)):
        return types.Operand_Many([to_host(item) for item in value])
    return types.Operand_One(to_host(value))


def literal(items):
    """A domain as text, in Odoo's notation."""
    return f"[{', '.join(repr(item) if isinstance(item, str) else leaf(item) for item in items)}]"


def leaf(item):
    field, symbol, value = item
    if symbol in ("any", "not any"):
        text = value if isinstance(value, str) else literal(value)
    elif isinstance(value, (list, tuple, set, frozenset)):
        text = f"[{', '.join(scalar(one) for one in value)}]"
    else:
        text = scalar(value)
    return f"({field!r}, {symbol!r}, {text})"


def scalar(value):
    value = to_host(value)
    if isinstance(value, types.Value_Unset):
        return "False"
    if isinstance(value, types.Value_Many2one):
        return str(value.value.id)
    if isinstance(value, types.Value_Datetime):
        return repr(value.value.rstrip("Z").replace("T", " "))
    return repr(value.value)
