"""When a call is tried again: the decisions."""

import pytest

from shared.fpga.retries import BACKOFF_LAST, EARNED, MARGIN, PATIENCE, SAVED, RetryBudget, backoff, patience


def test_retries_are_a_fraction_of_the_calls_however_long_the_trouble_lasts() -> None:
    budget = RetryBudget()
    calls, retries = 10_000, 0
    for _ in range(calls):
        budget.earn()
        while budget.spend():
            retries += 1

    assert retries == pytest.approx(SAVED + EARNED * calls, rel=0.01)


def test_a_quiet_time_saves_up_no_more_than_the_limit() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()

    assert sum(budget.spend() for _ in range(10_000)) == SAVED


@pytest.mark.parametrize(
    ("now", "down_since", "remaining", "expected"),
    [
        (10, 10, 9, PATIENCE),
        (10.5, 10, 9, PATIENCE - 0.5),
        (10, 10, 0.3, 0.3 - MARGIN),
        (10 + PATIENCE, 10, 9, 0),
        (70, 10, 9, PATIENCE - 60),
        (10, 10, -1, -1 - MARGIN),
    ],
    ids=["just now", "a moment ago", "little time left", "too long ago", "an hour ago", "no time left"],
)
def test_patience(now: float, down_since: float, remaining: float, expected: float) -> None:
    assert patience(now=now, down_since=down_since, remaining=remaining) == expected


def test_pauses_grow_and_are_random() -> None:
    assert [backoff(attempt, lambda: 1.0) for attempt in range(1, 8)] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert backoff(3, lambda: 0.25) == 0.02
    assert len({backoff(3) for _ in range(10)}) > 5
    assert backoff(10_000, lambda: 1.0) == BACKOFF_LAST
