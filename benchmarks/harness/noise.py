"""Measurements are repeated while other processes keep the machine busy; the least disturbed attempt counts.

One that was disturbed all the same is counted as noisy.
"""

import gc
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from benchmarks.harness.machine import CpuLoad

# The share of the machine that other processes may use, from 0 to 1, and how often a measurement is made at most.
LIMIT, ATTEMPTS = 0.04, 3


class Measured[T](NamedTuple):
    """A measurement, the share of the machine that other processes used meanwhile, and the number of attempts."""

    value: T
    others: float
    attempts: int = 1

    @property
    def noisy(self) -> bool:
        return self.others > LIMIT


def noise_counts(measurements: Sequence[Measured[Any]]) -> dict[str, int]:
    """The numbers of repeated attempts, and of measurements that are noisy all the same."""
    repeated = sum(one.attempts - 1 for one in measurements)
    return {"repeated": repeated, "noisy": sum(one.noisy for one in measurements)}


class RetryBudget:
    """Bounds the repeated attempts of a run: on a machine that is always busy, repetition is of no use."""

    def __init__(self, measurements: int, share: float = 0.5) -> None:
        self.left = int(measurements * share)


async def measured[T](take: Callable[[], Awaitable[T]], load: CpuLoad, budget: RetryBudget) -> Measured[T]:
    """Measure, again where it was noisy and the budget allows it; returns the least disturbed attempt."""

    async def attempt() -> Measured[T]:
        with no_garbage_collection():
            load.others()
            value = await take()
        return Measured(value, load.others())

    best, attempts = await attempt(), 1
    while best.noisy and attempts < ATTEMPTS and budget.left > 0:
        budget.left, attempts = budget.left - 1, attempts + 1
        best = min(best, await attempt(), key=lambda one: one.others)
    return best._replace(attempts=attempts)


def least_disturbed[T](take: Callable[[], Measured[T]], count: int, attempts: int) -> tuple[list[Measured[T]], int]:
    """Measure until ``count`` are not noisy, or ``attempts`` times as often.

    Returns the ``count`` least disturbed, and how many were rejected.
    """
    taken: list[Measured[T]] = []
    while len(taken) < attempts * count and sum(not one.noisy for one in taken) < count:
        taken.append(take())
    kept = sorted(taken, key=lambda one: one.others)[:count]
    return kept, len(taken) - len(kept)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep the collector from running at the expense of what happens to be measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
