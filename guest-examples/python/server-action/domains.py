"""Odoo's domains as the text that the host reads: literals only."""

from datetime import date, datetime, timezone


def literal(domain):
    """A list of conditions as text. Recordsets become their ids, times UTC."""
    return f"[{', '.join(item(one) for one in domain or ())}]"


def item(one):
    if isinstance(one, str):
        return repr(one)
    field, operator, value = one
    if operator in ("any", "not any") and not hasattr(value, "_ids"):
        text = literal(value)
    else:
        text = scalar(value)
    return f"({field!r}, {operator!r}, {text})"


def scalar(value):
    if hasattr(value, "_ids"):
        return str(value._ids[0]) if len(value._ids) == 1 else scalar(value._ids)
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(timezone.utc)
        return repr(value.strftime("%Y-%m-%d %H:%M:%S"))
    if isinstance(value, date):
        return repr(value.isoformat())
    if isinstance(value, (list, tuple, set, frozenset)):
        return f"[{', '.join(scalar(one) for one in value)}]"
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, bytes):
        return repr(value.decode())
    # Subclasses of str, such as texts marked as HTML.
    return repr(str(value))


def joined(one, other):
    """Both domains, each as one operand."""
    return [*closed(one), *closed(other)]


def closed(domain):
    """With the `&`s that Odoo lets authors leave out in front."""
    domain = list(domain or ())
    leaves = sum(not isinstance(one, str) for one in domain)
    operators = sum(one in ("&", "|") for one in domain if isinstance(one, str))
    return ["&"] * (leaves - operators - 1) + domain
