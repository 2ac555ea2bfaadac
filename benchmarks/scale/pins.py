"""How long it takes until every cache has read a new secret of Key Vault.

A cache with constant requests reads again a random 0.8 to 1.0 of its refresh time after its last read; a failed read is
repeated after pauses that double. Credentials are as old as the begin of their read.
"""

from typing import NamedTuple

import numpy as np

from benchmarks.scale.queues import Floats
from benchmarks.scale.vault import SPREAD, backoff
from shared.credentials.cache import READ_SECONDS

# The seconds of a failed read: 429 comes at once; one that hangs is given up.
QUICK, HANGING = 0.05, READ_SECONDS


class Reading(NamedTuple):
    """A share ``failing`` of the reads fails, independently of each other, each after ``failing_takes`` seconds."""

    refresh: float = 300.0
    failing: float = 0.0
    failing_takes: float = QUICK


def seen_after(reading: Reading, caches: int, random: np.random.Generator) -> Floats:
    """For each cache, the seconds from the change to the begin of its first successful read."""
    due = _due(reading.refresh, caches, random)
    failed = random.geometric(1 - reading.failing, caches) - 1
    pauses = np.array([0.0] + [reading.failing_takes + backoff(failures) for failures in range(1, failed.max() + 1)])
    return due + np.cumsum(pauses)[failed]


def _due(refresh: float, caches: int, random: np.random.Generator) -> Floats:
    """The time to the next read, seen at random moments.

    Such a moment falls into an interval with a probability in proportion to its length, and anywhere within it.
    """
    # The density of lengths is in proportion to the length, so their squares are uniform.
    lengths = refresh * np.sqrt(random.uniform(SPREAD**2, 1.0, caches))
    return lengths * random.random(caches)


def late(reading: Reading, propagation: float) -> float:
    """The probability that a cache has not read by ``propagation`` seconds after the change.

    Summed over the number of failures in a row: each delays the next read by a known time, so what remains is the
    probability that the first read was due that late.
    """
    chance, lost = 0.0, 0.0
    for failures in range(64):
        if failures:
            lost += reading.failing_takes + backoff(failures)
        exactly = (1 - reading.failing) * reading.failing**failures
        chance += exactly * due_after(reading.refresh, propagation - lost)
    return chance


def due_after(refresh: float, seconds: float) -> float:
    """The probability that the next read is due later than ``seconds`` from now."""
    share = min(max(seconds / refresh, 0.0), 1.0)
    mean = (1 + SPREAD) / 2
    if share <= SPREAD:
        return 1 - share / mean
    return (1 - share) ** 2 / (2 * (1 - SPREAD) * mean)
