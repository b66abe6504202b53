"""A few values that a rule keeps from run to run. Staged and applied like any change."""

import json

from wit_world.imports import state as host

from .errors import fallible

host_get = fallible(host.get)
host_set = fallible(host.set)


def get(key, default=None):
    """The value kept under a key."""
    text = host_get(key)
    return default if text is None else json.loads(text)


def set(key, value):
    """Stages a value under a key: anything that JSON can say."""
    host_set(key, json.dumps(value))


def remove(key):
    """Stages that the key is gone."""
    host_set(key, None)
