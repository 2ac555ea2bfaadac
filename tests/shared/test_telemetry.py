"""The times of a request's parts, and its deadline."""

import time
from contextlib import suppress

from shared.telemetry import DECODE, PREDICT, Call, Timings


def test_server_timing_lists_every_part_and_the_whole() -> None:
    timings = Timings()
    with timings.measure(DECODE):
        time.sleep(0.01)

    parts = dict(part.split(";dur=") for part in timings.server_timing().split(", "))

    assert list(parts) == ["decode", "credentials", "wait", "predict", "total"]
    assert float(parts["decode"]) >= 10
    assert float(parts["predict"]) == 0
    assert float(parts["total"]) >= float(parts["decode"])


def test_a_part_is_added_up_and_counts_when_it_fails() -> None:
    timings = Timings()
    for _ in range(2):
        with suppress(ValueError), timings.measure(PREDICT):
            time.sleep(0.01)
            raise ValueError

    assert float(timings.server_timing().split("predict;dur=")[1].split(",")[0]) >= 20


def test_what_remains_until_the_deadline() -> None:
    assert 9 < Call("id", time.monotonic() + 10).remaining <= 10
    assert Call("id", time.monotonic() - 1).remaining < 0
