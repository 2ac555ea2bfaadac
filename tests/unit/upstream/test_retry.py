"""Decisions about retries."""

import pytest

from shared.upstream.retry import EARNED, MARGIN, PATIENCE, PAUSE_LAST, SAVED, RetryBudget, patience, pause


def test_retries_in_a_long_outage_are_a_fraction_of_the_calls() -> None:
    budget = RetryBudget()
    calls, retries = 10_000, 0
    for _ in range(calls):
        budget.earn()
        while budget.spend():
            retries += 1

    assert retries == pytest.approx(SAVED + EARNED * calls, rel=0.01)


def test_the_number_of_saved_retries_is_limited() -> None:
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
    ids=["just now", "recently", "short deadline", "too long ago", "an hour ago", "deadline passed"],
)
def test_patience_ends_after_the_outage_began_and_before_the_deadline(
    now: float, down_since: float, remaining: float, expected: float
) -> None:
    assert patience(now=now, down_since=down_since, remaining=remaining) == expected


def test_pauses_are_random_up_to_a_doubling_limit() -> None:
    assert max(pause(1) for _ in range(1000)) <= 0.02
    assert 0.02 < max(pause(3) for _ in range(1000)) <= 0.08
    assert len({pause(3) for _ in range(10)}) > 5
    assert max(pause(10_000) for _ in range(100)) <= PAUSE_LAST
