"""The durations of a request's steps, and its deadline."""

import time
from contextlib import suppress

from shared.telemetry import DECODE, PREDICT, RequestContext, Timings


def test_server_timing_lists_every_step_and_the_total() -> None:
    timings = Timings()
    with timings.measure(DECODE):
        time.sleep(0.01)

    parts = dict(part.split(";dur=") for part in timings.server_timing().split(", "))

    assert list(parts) == ["decode", "credentials", "wait", "predict", "total"]
    assert float(parts["decode"]) >= 10
    assert float(parts["predict"]) == 0
    assert float(parts["total"]) >= float(parts["decode"])


def test_repeated_and_failed_steps_are_added_up() -> None:
    timings = Timings()
    for _ in range(2):
        with suppress(ValueError), timings.measure(PREDICT):
            time.sleep(0.01)
            raise ValueError

    assert float(timings.server_timing().split("predict;dur=")[1].split(",")[0]) >= 20


def test_the_remaining_time_until_the_deadline() -> None:
    assert 9 < RequestContext("id", time.monotonic() + 10).remaining <= 10
    assert RequestContext("id", time.monotonic() - 1).remaining < 0
