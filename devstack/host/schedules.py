"""When a timer runs: by an NCRONTAB expression, or at a fixed interval. Pure: the time comes in as an argument."""

import datetime as dt
import zoneinfo
from dataclasses import dataclass

from devstack.host import ncrontab
from devstack.host.settings import parse_timespan


@dataclass(frozen=True)
class CronSchedule:
    """The times that an NCRONTAB expression names, on the clock of a time zone."""

    expression: ncrontab.Ncrontab
    zone: dt.tzinfo = dt.UTC

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The next time after an aware ``moment``, in UTC; None for never.

        A time that the change to summer time skips is taken an hour later, one that comes twice is taken once.
        """
        local = moment.astimezone(self.zone).replace(tzinfo=None)
        while (following := self.expression.next_after(local)) is not None:
            found = following.replace(tzinfo=self.zone).astimezone(dt.UTC)
            if found > moment:
                return found
            local = following
        return None


@dataclass(frozen=True)
class ConstantSchedule:
    """A fixed interval, written as a TimeSpan."""

    interval: dt.timedelta

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        return moment.astimezone(dt.UTC) + self.interval


type Schedule = CronSchedule | ConstantSchedule


def parse_schedule(text: str, zone: dt.tzinfo = dt.UTC) -> Schedule:
    """Read a timer's schedule.

    Raises:
        ValueError: it is neither an NCRONTAB expression nor a TimeSpan, or names no time at all.
    """
    if ":" in text:
        seconds = parse_timespan(text)
        if seconds <= 0:
            raise ValueError("an interval must be more than zero")
        return ConstantSchedule(dt.timedelta(seconds=seconds))
    schedule = CronSchedule(ncrontab.parse(text), zone)
    if schedule.next_after(dt.datetime(2000, 1, 1, tzinfo=dt.UTC)) is None:
        raise ValueError("no date fits it")
    return schedule


def time_zone(name: str | None) -> dt.tzinfo:
    """The zone that ``WEBSITE_TIME_ZONE`` names (tz database), UTC where it is not set.

    Raises:
        ValueError: there is no such zone.
    """
    if not name:
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"WEBSITE_TIME_ZONE '{name}' is no time zone: use a name such as Europe/Berlin") from None
