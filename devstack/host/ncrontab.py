"""NCRONTAB expressions: parsing, and the next time that one names. Pure: no clock, no time zone.

Six fields, or five without the first: second, minute, hour, day of the month, month, day of the week (Sunday is 0;
7 is Sunday too). Each is ``*``, numbers, names (JAN, MON), ranges, lists and steps. Unlike in Unix cron, a day must
fit both day fields. The syntax: https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer.
"""

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")

# The day of the week and of the month repeat together within 28 years, but for the century's missing leap day.
_HORIZON_YEARS = 40


@dataclass(frozen=True)
class _Field:
    """One field's name and range; ``names`` are what its numbers from ``lowest`` on are also called."""

    name: str
    lowest: int
    highest: int
    names: Sequence[str] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Ncrontab:
    """The sorted values that each field allows."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    def next_after(self, moment: dt.datetime) -> dt.datetime | None:
        """The first time strictly after ``moment`` that fits, in the same (or no) time zone; None for never."""
        start = moment.replace(microsecond=0) + dt.timedelta(seconds=1)
        day = start.date()
        time_of_day = self._time_from(start.time())
        if time_of_day is None or not self._fits(day):
            time_of_day = dt.time(self.hours[0], self.minutes[0], self.seconds[0])
            found = self._next_day(day)
            if found is None:
                return None
            day = found
        return dt.datetime.combine(day, time_of_day, moment.tzinfo)

    def _fits(self, day: dt.date) -> bool:
        return day.day in self.days and day.month in self.months and day.isoweekday() % 7 in self.weekdays

    def _next_day(self, day: dt.date) -> dt.date | None:
        """The first day after ``day`` that fits; whole months that do not are skipped."""
        last_year = min(day.year + _HORIZON_YEARS, dt.MAXYEAR)
        day += dt.timedelta(days=1)
        while day.year < last_year:
            if day.month not in self.months:
                day = (day.replace(day=1) + dt.timedelta(days=31)).replace(day=1)
            elif self._fits(day):
                return day
            else:
                day += dt.timedelta(days=1)
        return None

    def _time_from(self, earliest: dt.time) -> dt.time | None:
        """The first time of day that fits and is not before ``earliest``; None where the day has none left."""
        for hour in self.hours:
            if hour < earliest.hour:
                continue
            for minute in self.minutes:
                if (hour, minute) < (earliest.hour, earliest.minute):
                    continue
                for second in self.seconds:
                    candidate = dt.time(hour, minute, second)
                    if candidate >= earliest.replace(tzinfo=None):
                        return candidate
        return None


def parse(expression: str) -> Ncrontab:
    """Parse an expression of six or five fields.

    Raises:
        ValueError: it is none; the message names the field.
    """
    fields = expression.split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise ValueError("a cron expression has six fields: {second} {minute} {hour} {day} {month} {day of the week}")
    return Ncrontab(*(_parse_field(text, field) for text, field in zip(fields, _FIELDS, strict=True)))


def _parse_field(text: str, field: _Field) -> tuple[int, ...]:
    values: set[int] = set()
    for item in text.split(","):
        values.update(_parse_item(item, field))
    return tuple(sorted(values))


def _parse_item(item: str, field: _Field) -> range | list[int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise ValueError(f"'{item}' is no {field.name}")
    first, last, step = match["first"], match["last"], match["step"]
    if step == "0" or (first == "*" and last is not None):
        raise ValueError(f"'{item}' is no {field.name}")
    if first == "*":
        return range(field.lowest, field.highest + 1, int(step or 1))
    low = _number(first, field)
    # A step without a range runs to the field's end: 5/15 is 5, 20, 35, 50.
    high = _number(last, field) if last else field.highest if step else low
    return _span(low, high, int(step or 1), field)


def _span(low: int, high: int, step: int, field: _Field) -> list[int]:
    if field.name == "day of the week":
        high = 7 if high == 0 and low > 0 else high
        return [day % 7 for day in range(min(low, high), max(low, high) + 1, step)]
    # Bounds in the wrong order are exchanged, as the real parser does.
    return list(range(min(low, high), max(low, high) + 1, step))


def _number(text: str, field: _Field) -> int:
    if text.isdecimal():
        number = int(text)
        top = 7 if field.name == "day of the week" else field.highest
        if field.lowest <= number <= top:
            return number
        raise ValueError(f"{number} is no {field.name}: use {field.lowest} to {field.highest}")
    for index, name in enumerate(field.names):
        # A name may be cut short, to three letters at the least.
        if len(text) >= 3 and name.startswith(text.lower()):
            return field.lowest + index
    raise ValueError(f"'{text}' is no {field.name}")
