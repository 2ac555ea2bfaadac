"""Decisions about retries, with a fake clock."""

import pytest
from grpc import StatusCode
from prediction_client.errors import DeadlinePassed, Unreachable
from prediction_client.retries import EARNED, LAST_BACKOFF, MARGIN, MAX_TOKENS, PATIENCE, Attempts, RetryBudget

UNREACHABLE = Unreachable("The connection was lost.", StatusCode.UNAVAILABLE)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(clock: Clock, *, seconds: float = 30, budget: RetryBudget | None = None, chance: float = 1) -> Attempts:
    return Attempts(clock.now + seconds, budget or RetryBudget(), clock=clock, chance=lambda: chance)


def test_retries_in_a_long_outage_are_a_fraction_of_the_calls() -> None:
    budget = RetryBudget()
    calls, retries = 10_000, 0
    for _ in range(calls):
        budget.earn()
        while budget.spend():
            retries += 1

    assert retries == pytest.approx(MAX_TOKENS + EARNED * calls, rel=0.01)


def test_the_number_of_saved_tokens_is_limited() -> None:
    budget = RetryBudget()
    for _ in range(10_000):
        budget.earn()

    assert sum(budget.spend() for _ in range(10_000)) == MAX_TOKENS


def test_pauses_grow_and_are_random() -> None:
    clock = Clock()
    calls, shorter = attempts(clock), attempts(clock, chance=0.25)

    assert [calls.pause(UNREACHABLE) for _ in range(7)] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]
    assert [shorter.pause(UNREACHABLE) for _ in range(3)] == [0.005, 0.01, 0.02]


# The seconds since the first failure, those from the call to its deadline, and the pause.
PAUSES: dict[str, tuple[float, float, float | None]] = {
    "at once": (0, 9, 0.04),
    "patience ends": (PATIENCE - 0.01, 9, 0.01),
    "patience ended": (PATIENCE, 9, None),
    "much later": (60, 90, None),
    "deadline ends": (0.3, 0.3 + MARGIN + 0.03, 0.03),
    "margin ended": (0.3, 0.3 + MARGIN, None),
    "deadline passed": (0.3, 0.2, None),
}


@pytest.mark.parametrize("case", PAUSES)
def test_retries_end_with_patience_and_before_the_deadline(case: str) -> None:
    elapsed, seconds, expected = PAUSES[case]
    clock = Clock()
    call = attempts(clock, seconds=seconds)
    call.pause(UNREACHABLE)

    clock.now += elapsed

    assert call.pause(UNREACHABLE) == (expected if expected is None else pytest.approx(expected))


def test_a_failure_at_clock_time_zero_is_counted() -> None:
    clock = Clock()
    clock.now = 0.0
    call = attempts(clock)
    call.pause(UNREACHABLE)

    clock.now = PATIENCE

    assert call.pause(UNREACHABLE) is None


def test_a_long_outage_does_not_overflow_the_pause() -> None:
    clock = Clock()
    budget = RetryBudget()
    call = attempts(clock, budget=budget)
    for _ in range(2_000):
        for _ in range(5):
            budget.earn()
        pause = call.pause(UNREACHABLE)

    assert pause == LAST_BACKOFF


def test_other_failures_are_not_retried() -> None:
    assert attempts(Clock()).pause(DeadlinePassed("Late.", StatusCode.DEADLINE_EXCEEDED)) is None


def test_without_budget_nothing_is_retried() -> None:
    clock = Clock()
    empty = RetryBudget()
    while empty.spend():
        pass

    assert attempts(clock, budget=empty).pause(UNREACHABLE) is None
    assert Attempts(clock.now + 30, None, clock=clock).pause(UNREACHABLE) is None


def test_the_remaining_time_is_positive() -> None:
    clock = Clock()
    call = attempts(clock, seconds=2)

    assert call.remaining == 2
    clock.now += 3
    assert call.remaining == 0.001
