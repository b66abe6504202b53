"""The run's log. `print` goes there too, as `debug`."""

from wit_world.imports import log as host


def debug(text):
    host.write(host.Level.DEBUG, str(text))


def info(text):
    host.write(host.Level.INFO, str(text))


def warning(text):
    host.write(host.Level.WARNING, str(text))


def error(text):
    host.write(host.Level.ERROR, str(text))
