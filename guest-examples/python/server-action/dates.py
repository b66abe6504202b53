"""Odoo's `datetime`, `time`, `dateutil` and `timezone` for code: wrapped, as there, to what is harmless. Time zones are
pytz's, read when the component is built, since it has no files to read them from."""

import datetime as datetime_module
import io
import time as time_module
from datetime import timezone as fixed
from importlib.resources import files
from types import SimpleNamespace

import _strptime  # noqa: F401  imported at build: there are no files to import from later
import dateutil.easter
import dateutil.parser
import dateutil.relativedelta
import dateutil.rrule
import dateutil.tz
import pytz
from pytz import timezone


def zone_files():
    """The IANA database, as it is when the component is built: name to bytes."""
    root = files("pytz") / "zoneinfo"
    return {name: root.joinpath(*name.split("/")).read_bytes() for name in pytz.all_timezones}


ZONES = zone_files()
# Lists that pytz fills on first use, from files.
len(pytz.all_timezones_set), len(pytz.common_timezones_set)
pytz.open_resource = lambda name: io.BytesIO(ZONES[name])


def context_timestamp(env, timestamp=None):
    """A UTC time as the user's clock shows it."""
    moment = (timestamp or env.cr.now()).replace(tzinfo=fixed.utc)
    return moment.astimezone(timezone(env.context.get("tz") or "UTC"))


def wrapped(module, names):
    """A module with some of its names only."""
    return SimpleNamespace(**{name: getattr(module, name) for name in names.split()})


datetime = wrapped(datetime_module, "date datetime time timedelta timezone tzinfo MAXYEAR MINYEAR")
time = wrapped(time_module, "time strptime strftime sleep")
dateutil = SimpleNamespace(
    tz=SimpleNamespace(UTC=dateutil.tz.UTC, tzutc=dateutil.tz.tzutc, gettz=timezone),
    parser=wrapped(dateutil.parser, "isoparse parse"),
    relativedelta=wrapped(dateutil.relativedelta, "relativedelta MO TU WE TH FR SA SU"),
    rrule=wrapped(
        dateutil.rrule,
        "rrule rruleset rrulestr YEARLY MONTHLY WEEKLY DAILY HOURLY MINUTELY SECONDLY MO TU WE TH FR SA SU",
    ),
    easter=wrapped(dateutil.easter, "easter"),
)

# What these import on first use, they import here and now.
timezone("Europe/Brussels")
datetime_module.datetime.strptime("2026-01-01", "%Y-%m-%d")
dateutil.parser.parse("2026-01-01T00:00:00Z")
