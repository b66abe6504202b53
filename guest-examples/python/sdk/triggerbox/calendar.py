"""Time zones. The host keeps the tables."""

from datetime import datetime

from wit_world.imports import calendar as host

from .errors import fallible
from .values import Datetime

host_to_local = fallible(host.to_local)
host_to_utc = fallible(host.to_utc)


def to_local(time, zone):
    """The local time, without a zone, of a point in time in an IANA zone such as `Europe/Brussels`."""
    return datetime.fromisoformat(host_to_local(Datetime.text(time), zone))


def to_utc(local, zone):
    """The way back. A local time that a clock change skips is moved forward, one that it repeats is the first."""
    return Datetime.parse(host_to_utc(local.strftime("%Y-%m-%dT%H:%M:%S"), zone))
