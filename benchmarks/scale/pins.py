"""How long it takes until every cache has read what was stored in Key Vault.

A cache that requests keep busy reads again a random 0.8 to 1.0 of its refresh time after its last read; a read that
fails is tried again after pauses that double. The credentials are as old as the read's beginning.
"""

from dataclasses import dataclass

import numpy as np

from benchmarks.scale.queues import Floats
from benchmarks.scale.vault import SPREAD, backoff

# How long a read takes that fails: 429 comes at once; one that hangs is given up after 3 s without a connection, or 5 s
# without an answer, and the two together at the worst.
QUICK, HANGING = 0.05, 8.0


@dataclass(frozen=True)
class Reading:
    """How caches read: a share ``failing`` of the reads fails, independently, each after ``failing_takes`` seconds."""

    refresh: float = 300.0
    failing: float = 0.0
    failing_takes: float = QUICK


def seen_after(reading: Reading, caches: int, random: np.random.Generator) -> Floats:
    """For each cache, how long after the storing its first read began that succeeded."""
    due = _due(reading.refresh, caches, random)
    failed = random.geometric(1 - reading.failing, caches) - 1
    pauses = np.array([0.0] + [reading.failing_takes + backoff(failures) for failures in range(1, failed.max() + 1)])
    return due + np.cumsum(pauses)[failed]


def _due(refresh: float, caches: int, random: np.random.Generator) -> Floats:
    """The time to the next read at a moment that has nothing to do with it.

    Long intervals are met more often, in proportion to their length; within one the moment is anywhere.
    """
    # The density of lengths grows in proportion, so their squares are even.
    lengths = refresh * np.sqrt(random.uniform(SPREAD**2, 1.0, caches))
    return lengths * random.random(caches)


def late(reading: Reading, propagation: float) -> float:
    """The chance that one cache has not read by ``propagation`` seconds after the storing.

    Summed over the number of failures in a row; each makes the next read later by a known time, so that what is left
    is the chance that the first read was due in the last part of the longest intervals.
    """
    chance, lost = 0.0, 0.0
    for failures in range(64):
        if failures:
            lost += reading.failing_takes + backoff(failures)
        exactly = (1 - reading.failing) * reading.failing**failures
        chance += exactly * due_after(reading.refresh, propagation - lost)
    return chance


def due_after(refresh: float, seconds: float) -> float:
    """The chance that the next read is due later than ``seconds`` from now."""
    share = min(max(seconds / refresh, 0.0), 1.0)
    mean = (1 + SPREAD) / 2
    if share <= SPREAD:
        return 1 - share / mean
    return (1 - share) ** 2 / (2 * (1 - SPREAD) * mean)
