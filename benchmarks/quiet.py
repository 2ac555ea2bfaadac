"""Measuring while nobody disturbs: what was taken while others used the processors is taken again, a few times.

Then the quietest of the tries stays, and is counted as noisy where it is.
"""

import gc
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks.machine import Load

# What others may use of the machine, from 0 to 1, and how often something is tried.
QUIET, TRIES = 0.04, 3


class Taken[T](NamedTuple):
    """What was measured, what others used of the machine meanwhile, and how many tries it took."""

    value: T
    others: float
    tries: int

    @property
    def noisy(self) -> bool:
        return self.others > QUIET


class Noise:
    """Counts how often it was tried again, and what stayed noisy all the same."""

    def __init__(self) -> None:
        self.again = 0
        self.noisy = 0

    def note[T](self, taken: Taken[T]) -> None:
        self.again += taken.tries - 1
        self.noisy += taken.noisy

    def told(self) -> dict[str, int]:
        return {"tried_again": self.again, "noisy": self.noisy}


class Patience:
    """How many tries more there may be in all: where others always compute, there is no use in trying on."""

    def __init__(self, slices: int, share: float = 0.5) -> None:
        self._left = int(slices * share)

    def again(self, tries: int) -> bool:
        """Whether something that was tried so often may be tried again."""
        if tries >= TRIES or self._left <= 0:
            return False
        self._left -= 1
        return True


async def quietly[T](take: Callable[[], Awaitable[T]], load: Load, patience: Patience) -> Taken[T]:
    """Measure; without garbage collections, which would fall to whoever happens to be measured."""
    best = await _once(take, load)
    tries = 1
    while best.noisy and patience.again(tries):
        tries += 1
        best = min(best, await _once(take, load), key=lambda taken: taken.others)
    return best._replace(tries=tries)


async def _once[T](take: Callable[[], Awaitable[T]], load: Load) -> Taken[T]:
    gc.collect()
    load.others()
    gc.disable()
    try:
        value = await take()
    finally:
        gc.enable()
    return Taken(value, load.others(), 1)
