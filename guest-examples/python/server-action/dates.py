"""Odoo's `datetime`, `time`, `dateutil` and `timezone` for code: wrapped, as there, to what is harmless; and its own
time zones, since a component has no files to read them from."""

import datetime as datetime_module
import io
import time as time_module
from datetime import timezone as fixed
from importlib.resources import files
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import _strptime  # noqa: F401  imported at build: there are no files to import from later
import dateutil.easter
import dateutil.parser
import dateutil.relativedelta
import dateutil.rrule
import dateutil.tz


def zone_files():
    """The IANA database, as it is when the component is built: name to bytes."""
    root = files("tzdata") / "zoneinfo"
    names = (files("tzdata") / "zones").read_text().split()
    return {name: root.joinpath(*name.split("/")).read_bytes() for name in names}


ZONES = zone_files()


class Zone(ZoneInfo):
    """A time zone with pytz's habits besides Python's."""

    @property
    def zone(self):
        return self.key

    def localize(self, value, is_dst=False):
        """A naive time, told its zone. Of a time that a clock change repeats, the later one."""
        if value.tzinfo is not None:
            raise ValueError("Not naive datetime (tzinfo is already set)")
        first, second = value.replace(tzinfo=self, fold=0), value.replace(tzinfo=self, fold=1)
        return second if first.utcoffset() > second.utcoffset() and not is_dst else first

    def normalize(self, value):
        return value.astimezone(fixed.utc).astimezone(self)


KNOWN = {}


def timezone(name):
    """The zone of this name; pytz's `timezone`."""
    if name not in KNOWN:
        data = ZONES.get(name)
        if data is None:
            raise ValueError(f"there is no time zone {name!r}; names are like Europe/Brussels")
        KNOWN[name] = Zone.from_file(io.BytesIO(data), key=name)
    return KNOWN[name]


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
    tz=SimpleNamespace(UTC=dateutil.tz.UTC, tzutc=dateutil.tz.tzutc, gettz=lambda name="UTC": timezone(name)),
    parser=wrapped(dateutil.parser, "isoparse parse"),
    relativedelta=wrapped(dateutil.relativedelta, "relativedelta MO TU WE TH FR SA SU"),
    rrule=wrapped(
        dateutil.rrule,
        "rrule rruleset rrulestr YEARLY MONTHLY WEEKLY DAILY HOURLY MINUTELY SECONDLY MO TU WE TH FR SA SU",
    ),
    easter=wrapped(dateutil.easter, "easter"),
)

# What these import on first use, they import here and now.
timezone("UTC")
datetime_module.datetime.strptime("2026-01-01", "%Y-%m-%d")
dateutil.parser.parse("2026-01-01T00:00:00Z")
