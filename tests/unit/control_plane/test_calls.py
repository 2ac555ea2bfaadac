"""Pauses, Retry-After and deadlines of the control plane's client."""

import datetime as dt

import pytest

from shared.control_plane.calls import Timing, retry_after

NOW = dt.datetime(2026, 1, 1, 12, 0, 0, tzinfo=dt.UTC)


def test_pauses_double_up_to_the_maximum() -> None:
    timing = Timing(chance=lambda: 1.0)

    assert [timing.pause(number, 0.5, 4) for number in (1, 2, 3, 4, 5, 10_000)] == [0.5, 1, 2, 4, 4, 4]


def test_half_of_each_pause_is_random() -> None:
    chances = iter((0.0, 0.5, 1.0))

    timing = Timing(chance=lambda: next(chances))

    assert [timing.pause(1, 1, 4) for _ in range(3)] == [0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 17 ", 17),
        ("Thu, 01 Jan 2026 12:01:30 GMT", 90),
        ("Thu, 01 Jan 2026 13:01:30 +0100", 90),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


def test_a_deadline_uses_the_clock() -> None:
    now = [10.0]
    deadline = Timing(clock=lambda: now[0]).deadline(5)

    assert deadline.remaining == 5
    now[0] = 17
    assert deadline.remaining == -2
