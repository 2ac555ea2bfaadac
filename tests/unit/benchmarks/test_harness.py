"""Repetition under noise, and the spans of functions."""

import pytest

from benchmarks.harness import noise
from benchmarks.harness.function_spans import own_seconds
from benchmarks.harness.noise import Measured, RetryBudget, least_disturbed

CALM, BUSY, BUSIER = noise.LIMIT, noise.LIMIT + 0.1, noise.LIMIT + 0.2


class Load:
    """Other processes with given shares of the machine, one for each measurement."""

    def __init__(self, *shares: float) -> None:
        self._shares = shares
        self._measurements = 0

    def others(self) -> float:
        return self._shares[self._measurements - 1]

    async def take(self) -> int:
        self._measurements += 1
        return self._measurements


@pytest.mark.parametrize(
    ("shares", "budget", "expected"),
    [
        ([CALM], 10, Measured(1, CALM, 1)),
        ([BUSY, CALM], 10, Measured(2, CALM, 2)),
        ([BUSIER, BUSY, BUSIER], 10, Measured(2, BUSY, 3)),
        ([BUSY, CALM], 0, Measured(1, BUSY, 1)),
    ],
)
async def test_a_disturbed_measurement_is_repeated(shares: list[float], budget: int, expected: Measured[int]) -> None:
    load = Load(*shares)

    found = await noise.measured(load.take, load, RetryBudget(budget))  # type: ignore[arg-type]  # only others() is used

    assert found == expected
    assert found.noisy is (expected.others > noise.LIMIT)


@pytest.mark.parametrize(
    ("shares", "kept", "rejected"),
    [([CALM, CALM], [1, 2], 0), ([BUSY, CALM, CALM], [2, 3], 1), ([BUSY, BUSIER, BUSIER, CALM], [4, 1], 2)],
)
def test_rounds_are_taken_until_enough_were_calm(shares: list[float], kept: list[int], rejected: int) -> None:
    rounds = iter([Measured(number, share) for number, share in enumerate(shares, 1)])

    found, count = least_disturbed(lambda: next(rounds), 2, attempts=2)

    assert ([one.value for one in found], count) == (kept, rejected)


def test_a_span_s_own_time_is_that_without_the_spans_within_it() -> None:
    second = 1_000_000_000
    spans = [("b", "", 1, 2), ("c", "", 3, 5), ("b", "", 2, 6), ("a", "", 0, 10), ("a", "", 10, 11)]

    found = own_seconds([(name, thread, began * second, ended * second) for name, thread, began, ended in spans])

    assert found == {"a": [5.0, 1.0], "b": [1.0, 2.0], "c": [2.0]}
