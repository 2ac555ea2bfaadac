import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from azure_functions_runtime.bindings.datumdef import Datum

from devstack.host.functions import Function
from devstack.host.schedules import ConstantSchedule, parse_schedule
from devstack.host.timers import Status, StatusFile, Timer, is_monitored, is_past_due

HOURLY = parse_schedule("0 0 * * * *")
NOON = dt.datetime(2024, 1, 1, 12, tzinfo=dt.UTC)
HOUR, MINUTE = dt.timedelta(hours=1), dt.timedelta(minutes=1)


def _function(**trigger: Any) -> Function:
    binding = {"type": "timerTrigger", "name": "timer", **trigger}
    return Function(name="tick", id="1", trigger=binding, bindings=(binding,))


class Runs:
    """Stands where the worker library is: notes what it is invoked with, and stops the timer after ``limit`` runs."""

    def __init__(self, limit: int = 1, takes: float = 0) -> None:
        self.data: list[dict[str, Any]] = []
        self.under_way = 0
        self.most_under_way = 0
        self.done = asyncio.Event()
        self._limit = limit
        self._takes = takes

    async def __call__(self, _function: Function, data: Datum) -> None:
        self.data.append(json.loads(data.value))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self._takes)
        self.under_way -= 1
        if len(self.data) >= self._limit:
            self.done.set()

    async def collect(self, timer: Timer) -> list[dict[str, Any]]:
        task = asyncio.create_task(timer.run())
        async with asyncio.timeout(10):
            await self.done.wait()
            # The timer notes the status after the run.
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.data


def test_a_run_is_past_due_when_one_was_missed() -> None:
    ran_at_ten = Status(next=NOON - HOUR, updated=NOON - 2 * HOUR, last=NOON - 2 * HOUR)
    ran_at_noon = Status(next=NOON + HOUR, updated=NOON, last=NOON)
    never_ran = Status(next=NOON - HOUR, updated=NOON - HOUR - MINUTE)
    half_past = NOON + 30 * MINUTE
    assert is_past_due(HOURLY, ran_at_ten, half_past)
    assert is_past_due(HOURLY, never_ran, half_past)
    assert not is_past_due(HOURLY, ran_at_noon, half_past)
    assert not is_past_due(HOURLY, None, half_past)


def test_a_schedule_that_was_changed_is_judged_anew() -> None:
    daily = parse_schedule("0 0 0 * * *")
    noted_as_hourly = Status(next=NOON - HOUR, updated=NOON - 2 * HOUR, last=NOON - 2 * HOUR)
    assert not is_past_due(daily, noted_as_hourly, NOON)


@pytest.mark.parametrize(
    ("schedule", "trigger", "monitored"),
    [
        ("0 0 * * * *", {}, True),
        ("0 * * * * *", {}, True),
        ("*/30 * * * * *", {}, False),
        ("00:00:30", {}, False),
        ("0 0 * * * *", {"useMonitor": False}, False),
    ],
)
def test_schedules_of_a_minute_and_more_are_monitored(schedule: str, trigger: dict[str, Any], monitored: bool) -> None:
    assert is_monitored(_function(**trigger), parse_schedule(schedule), NOON) is monitored


def test_a_status_survives_the_file(tmp_path: Path) -> None:
    file = StatusFile(tmp_path / "timers", _function())
    assert file.load() is None
    for status in (Status(NOON + HOUR, NOON), Status(NOON + HOUR, NOON, last=NOON)):
        file.save(status)
        assert file.load() == status


def test_a_damaged_status_starts_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tick.json").write_text('{"Last": 5}')
    assert StatusFile(tmp_path, _function()).load() is None
    assert "starts anew" in caplog.text


async def test_a_missed_run_is_made_up_for_once_and_said_to_be_past_due(tmp_path: Path) -> None:
    file, runs = StatusFile(tmp_path, _function()), Runs()
    file.save(Status(next=NOON - 5 * HOUR, updated=NOON - 6 * HOUR, last=NOON - 6 * HOUR))
    (data,) = await runs.collect(Timer(_function(), HOURLY, runs, file, clock=lambda: NOON))
    assert data["IsPastDue"] is True
    assert data["Schedule"] == {"AdjustForDST": True}
    assert data["ScheduleStatus"]["Last"] == "2024-01-01T06:00:00+00:00"
    noted = file.load()
    assert noted
    assert (noted.last, noted.next) == (NOON, NOON + HOUR)


async def test_run_on_startup_runs_at_once_and_is_not_past_due(tmp_path: Path) -> None:
    runs = Runs()
    timer = Timer(_function(runOnStartup=True), HOURLY, runs, StatusFile(tmp_path, _function()), clock=lambda: NOON)
    (data,) = await runs.collect(timer)
    assert data["IsPastDue"] is False


async def test_a_new_timer_waits_for_its_time_and_notes_it(tmp_path: Path) -> None:
    file, runs = StatusFile(tmp_path, _function()), Runs()
    task = asyncio.create_task(Timer(_function(), HOURLY, runs, file, clock=lambda: NOON + MINUTE).run())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert runs.data == []
    assert file.load() == Status(next=NOON + HOUR, updated=NOON + MINUTE)


async def test_runs_follow_each_other_and_never_overlap() -> None:
    runs = Runs(limit=3, takes=0.03)
    await runs.collect(Timer(_function(), ConstantSchedule(dt.timedelta(milliseconds=10)), runs, None))
    assert runs.most_under_way == 1
    assert len(runs.data) == 3
    assert [data["ScheduleStatus"] for data in runs.data] == [None] * 3


async def test_a_disk_that_cannot_be_written_does_not_stop_a_timer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "occupied").write_text("a file where the folder should be")
    runs = Runs(limit=2)
    file = StatusFile(tmp_path / "occupied", _function())
    await runs.collect(Timer(_function(), ConstantSchedule(dt.timedelta(milliseconds=5)), runs, file))
    assert "cannot be written" in caplog.text
