"""When a timer runs: by an NCRONTAB expression, or at a fixed interval. No clock: the time is an argument.

NCRONTAB (https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer) has six fields, or five without
the seconds. Unlike in Unix cron, a day must match both day fields.
"""

import datetime as dt
import re
import zoneinfo
from dataclasses import dataclass

from croniter import CroniterBadDateError, croniter

from devstack.host.settings import parse_timespan

_FIELD = re.compile(r"(?:\*|[0-9]+|[A-Za-z]{3,})(?:-(?:[0-9]+|[A-Za-z]{3,}))?(?:/[0-9]+)?(?:,|$)")
# The days of the month and of the week repeat together within 28 years, or 40 with a century without its leap day.
_HORIZON_YEARS = 40


@dataclass(frozen=True)
class CronSchedule:
    """The times of a cron expression of six fields, in a time zone."""

    expression: str
    zone: dt.tzinfo = dt.UTC

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The next time after an aware ``moment``, in UTC; None for never.

        A time that the change to summer time skips is an hour later; one that comes twice counts once.
        """
        local = moment.astimezone(self.zone).replace(tzinfo=None)
        options = {"second_at_beginning": True, "day_or": False, "max_years_between_matches": _HORIZON_YEARS}
        times = croniter(self.expression, local, dt.datetime, **options)
        try:
            while True:
                found: dt.datetime = times.get_next().replace(tzinfo=self.zone).astimezone(dt.UTC)
                if found > moment:
                    return found
        except CroniterBadDateError:
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
        ValueError: it is neither an NCRONTAB expression nor a TimeSpan, or never happens.
    """
    if ":" in text:
        seconds = parse_timespan(text)
        if seconds <= 0:
            raise ValueError("an interval must be more than zero")
        return ConstantSchedule(dt.timedelta(seconds=seconds))
    schedule = CronSchedule(_expression(text), zone)
    if schedule.next_after(dt.datetime(2000, 1, 1, tzinfo=dt.UTC)) is None:
        raise ValueError("no date matches it")
    return schedule


def _expression(text: str) -> str:
    """The expression as croniter reads it, which knows more forms than NCRONTAB, and fewer."""
    fields = text.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError("a cron expression has six fields: {second} {minute} {hour} {day} {month} {day of the week}")
    for field in fields:
        if _FIELD.sub("", field):
            raise ValueError(f"'{field}' is not a field of an NCRONTAB expression")
    # Names may be longer than three letters; bounds in the wrong order are exchanged.
    expression = re.sub("([A-Za-z]{3})[A-Za-z]*", r"\1", " ".join(fields[:5]))
    expression = re.sub("([0-9]+)-([0-9]+)", lambda range_: "-".join(sorted(range_.groups(), key=int)), expression)
    expression = f"{expression} {re.sub('([A-Za-z]{3})[A-Za-z]*', r'\1', fields[5])}"
    if not croniter.is_valid(expression, second_at_beginning=True):
        raise ValueError(f"a field of '{text}' is out of range")
    return expression


def time_zone(name: str | None) -> dt.tzinfo:
    """The zone of ``WEBSITE_TIME_ZONE`` (tz database), UTC where it is not set.

    Raises:
        ValueError: there is no such zone.
    """
    if not name:
        return dt.UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"WEBSITE_TIME_ZONE '{name}' is not a time zone: use a name such as Europe/Berlin") from None
