"""Breaks in line 7."""


def deeper(values):
    # Not there.
    key = "missing"
    return values[key]


def run(event):
    return deeper({})
