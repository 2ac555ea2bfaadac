"""Timer triggers: each function runs at the times of its schedule, one run after the other.

A run that was missed while the host was down is made up for, once, at the next start. For that the status of each
schedule is kept in a file, where the real host uses storage; schedules of less than a minute have none.
"""

import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from azure_functions_runtime.bindings.datumdef import Datum

from devstack.files import write_atomically
from devstack.host.functions import Function
from devstack.host.logs import log
from devstack.host.schedules import Schedule
from devstack.host.triggers import timer_data

type Clock = Callable[[], dt.datetime]
type Invoke = Callable[[Function, Datum], Awaitable[Any]]

# In seconds: the clock may be set and the machine may sleep meanwhile.
_LONGEST_SLEEP = 60.0
_MONITORED_FROM = dt.timedelta(minutes=1)
# .NET's DateTime of zero, which means "never".
_NEVER = "0001-01-01T00:00:00+00:00"


def utc_now() -> dt.datetime:
    """The time now."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True)
class Status:
    """The status of a schedule: the times of the next run, of the last update, and of the last run (None: not yet)."""

    next: dt.datetime
    updated: dt.datetime
    last: dt.datetime | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, str]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises:
            KeyError, ValueError: it is damaged.
        """
        following, updated, last = (content[name] for name in ("Next", "LastUpdated", "Last"))
        parse = dt.datetime.fromisoformat
        return cls(parse(following), parse(updated), None if last == _NEVER else parse(last))

    def to_json(self) -> dict[str, str]:
        return {
            "Last": self.last.isoformat() if self.last else _NEVER,
            "Next": self.next.isoformat(),
            "LastUpdated": self.updated.isoformat(),
        }


def is_past_due(schedule: Schedule, status: Status | None, now: dt.datetime) -> bool:
    """Whether a run was missed. The schedule may have changed since then, so the noted next time does not count."""
    if status is None:
        return False
    expected = schedule.next_after(status.last or status.updated)
    return expected is not None and expected < now


def is_monitored(function: Function, schedule: Schedule, now: dt.datetime) -> bool:
    """Whether a status is kept: for schedules of a minute or more, unless the app disables it."""
    if str(function.trigger.get("useMonitor", True)).lower() == "false":
        return False
    first = schedule.next_after(now)
    second = schedule.next_after(first) if first else None
    return first is None or second is None or second - first >= _MONITORED_FROM


class StatusFile:
    """The file with the status of one schedule."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> Status | None:
        """The status; None where there is none, or the file is damaged."""
        try:
            return Status.from_json(json.loads(self._file.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("The timer's status in %s cannot be read (%s): it is ignored", self._file, error)
            return None

    def save(self, status: Status) -> None:
        """Write a status. A failure does not stop the timer."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(status.to_json()).encode())
        except OSError as error:
            log.warning("The timer's status cannot be written to %s: %s", self._file, error.strerror)


class Timer:
    """Runs one function by its schedule until it is cancelled."""

    def __init__(
        self, function: Function, schedule: Schedule, invoke: Invoke, file: StatusFile | None, clock: Clock = utc_now
    ) -> None:
        self._function = function
        self._schedule = schedule
        self._invoke = invoke
        self._file = file
        self._clock = clock
        self._status: Status | None = None

    async def run(self) -> None:
        """Make up for a missed run, or run at the start if the app sets ``runOnStartup``, and then by the schedule."""
        self._status = self._file.load() if self._file else None
        if is_past_due(self._schedule, self._status, self._clock()):
            await self._run_once(past_due=True)
        elif str(self._function.trigger.get("runOnStartup", False)).lower() == "true":
            await self._run_once(past_due=False)
        while (following := self._schedule.next_after(self._clock())) is not None:
            if self._status is None or self._status.next != following:
                self._note(following)
            await self._sleep_until(following)
            await self._run_once(past_due=False)

    async def _run_once(self, *, past_due: bool) -> None:
        started = self._clock()
        status = self._status.to_json() if self._file and self._status else None
        await self._invoke(self._function, timer_data(status, past_due=past_due))
        # Runs that were due during this one are not made up for.
        following = self._schedule.next_after(self._clock())
        if following is not None:
            self._note(following, last=started)

    def _note(self, following: dt.datetime, last: dt.datetime | None = None) -> None:
        last = last or (self._status.last if self._status else None)
        self._status = Status(following, self._clock(), last)
        if self._file:
            self._file.save(self._status)

    async def _sleep_until(self, moment: dt.datetime) -> None:
        while (left := (moment - self._clock()).total_seconds()) > 0:  # noqa: ASYNC110 - it waits for a time, not an event
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
