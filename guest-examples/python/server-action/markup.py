"""Text that is HTML already: what is put to it is escaped, as in Odoo."""

from triggerbox.chatter import escape


def escaped(value):
    """A value as HTML; what is HTML stays as it is."""
    return str(value) if isinstance(value, Markup) else escape(str(value))


class Argument:
    """An argument of `%`: escaped where it is shown as text, and itself where it is a number."""

    def __init__(self, value):
        self._value = value

    def __str__(self):
        return escaped(self._value)

    def __repr__(self):
        return escape(repr(self._value))

    def __int__(self):
        return int(self._value)

    def __float__(self):
        return float(self._value)

    def __getitem__(self, key):
        return Argument(self._value[key])


class Markup(str):
    """The value of an HTML field."""

    __slots__ = ()

    def __str__(self):
        return str.__str__(self)

    def __repr__(self):
        return f"Markup({str.__repr__(self)})"

    def __add__(self, other):
        return Markup(str.__add__(self, escaped(other)))

    def __radd__(self, other):
        return Markup(str.__add__(escaped(other), str.__str__(self)))

    def __mul__(self, times):
        return Markup(str.__mul__(self, times))

    __rmul__ = __mul__

    def __mod__(self, arguments):
        if isinstance(arguments, tuple):
            return Markup(str.__mod__(self, tuple(Argument(one) for one in arguments)))
        return Markup(str.__mod__(self, Argument(arguments)))

    def format(self, *arguments, **named):
        return Markup(str.format(self, *map(escaped, arguments), **{name: escaped(value) for name, value in named.items()}))

    def join(self, parts):
        return Markup(str.join(self, map(escaped, parts)))
