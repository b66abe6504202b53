"""Comparing amounts as Odoo does."""

import math


def float_round(value, precision_digits=None, precision_rounding=None):
    """Half away from zero, after a nudge that makes up for how floats are kept."""
    step = 10.0**-precision_digits if precision_rounding is None else precision_rounding
    if not value or not step:
        return 0.0
    scaled = value / step
    nudged = scaled + math.copysign(2.0 ** (math.log2(abs(scaled)) - 52), scaled)
    return math.copysign(math.floor(abs(nudged) + 0.5), nudged) * step


def float_compare(value1, value2, precision_digits=None, precision_rounding=None):
    """-1, 0 or 1: whether the first is lower than, equal to or greater than the second, at this precision."""
    assert (precision_digits is None) != (precision_rounding is None), (
        "exactly one of precision_digits and precision_rounding must be specified"
    )
    one, two = (float_round(value, precision_digits, precision_rounding) for value in (value1, value2))
    delta = one - two
    if not float_round(delta, precision_digits, precision_rounding):
        return 0
    return -1 if delta < 0.0 else 1


def digits(currency):
    """To what amounts of a currency are rounded."""
    return currency.ensure_one().rounding or 0.01


#: Methods of currencies.
CURRENCY = {
    "round": lambda currency, amount: float_round(amount, precision_rounding=digits(currency)),
    "is_zero": lambda currency, amount: not float_round(amount, precision_rounding=digits(currency)),
    "compare_amounts": lambda currency, one, other: float_compare(one, other, precision_rounding=digits(currency)),
}
