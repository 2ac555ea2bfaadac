"""Key Vault's limit and the gateway's caches of credentials, one for each service of each worker.

The vault answers a number of requests in ten seconds and refuses the rest with 429; refused ones do not count
(https://learn.microsoft.com/en-us/azure/key-vault/general/overview-throttling). How it counts is not public: here in
consecutive windows of ten seconds. A cache reads three secrets at a time, and has failed where one is refused. The
pauses until it reads again follow the gateway's rules, with the gateway's constants.
"""

import heapq
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from benchmarks.scale.queues import Floats
from shared.credentials.cache import (
    AWAY,
    JITTER,
    MAX_INTERVAL,
    MIN_INTERVAL,
    RETRY_FIRST,
    RETRY_MAX,
    THROTTLED,
    UNCHANGED_READS,
)

# https://learn.microsoft.com/en-us/azure/key-vault/general/service-limits: secrets, per vault and region.
LIMIT, WINDOW = 4_000, 10.0
SECRETS = 3
# A cache is renewed after a random share of its refresh time, from this to all of it.
SPREAD = 0.8

# A pause in seconds, by the number of reads in a row without success.
type Pause = Callable[[int], float]


class Kind(Enum):
    """Why caches read, with constant requests."""

    # They have a snapshot, and renew it in the background.
    RENEWING = auto()
    # They have none yet: requests wait, and force another read as soon as it is allowed.
    COLD = auto()
    # They have none, and the vault was away: they read again by themselves, without requests.
    WAITING = auto()
    # The service presents a certificate that no pin covers, or refuses both keys, and the vault has no others: requests
    # force reads again and again.
    UNCHANGED_READS = auto()


class Group(NamedTuple):
    """Caches of one kind, and when each reads for the first time, in seconds."""

    kind: Kind
    starts: Floats


class Outcome(NamedTuple):
    """When the vault got requests, when it refused them, and after how many seconds each group had its credentials."""

    requests: Floats
    refused: Floats
    ready_after: Sequence[Floats]

    def per_window(self, seconds: float) -> tuple[Floats, Floats]:
        """Requests and refusals in each window of ten seconds."""
        edges = np.arange(0.0, seconds + WINDOW, WINDOW)
        return np.histogram(self.requests, edges)[0].astype(float), np.histogram(self.refused, edges)[0].astype(float)


class Throttle:
    """The vault's count of the current window."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._window, self._count = limit, -1, 0

    def answers(self, now: float) -> bool:
        """Whether a request is answered; False: 429."""
        window = int(now // WINDOW)
        if window != self._window:
            self._window, self._count = window, 0
        if self._count >= self._limit:
            return False
        self._count += 1
        return True


def every_second(_times: int) -> float:
    """The shortest pause between reads that requests force."""
    return MIN_INTERVAL


def less_often(times: int) -> float:
    """The gateway's pause between forced reads without a change."""
    return min(MIN_INTERVAL * 2.0 ** max(0, times - UNCHANGED_READS), MAX_INTERVAL)


def waiting(longest: float, random: np.random.Generator) -> float:
    """The gateway's pause between reads without a snapshot."""
    return longest * (1 - JITTER + JITTER * random.random())


def backoff(times: int) -> float:
    """The gateway's pause after failed background reads: doubled each time."""
    return min(RETRY_FIRST * 2.0 ** (times - 1), RETRY_MAX)


def simulate(
    groups: Sequence[Group],
    seconds: float,
    *,
    refresh: float = 300.0,
    cold: Pause = every_second,
    in_vain: Pause = less_often,
    away: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Simulate so many seconds; ``cold`` and ``in_vain`` are those groups' pauses after reads without success.

    Until ``away`` the vault cannot be reached, and gets no requests.
    """
    random = np.random.default_rng(seed)
    throttle = Throttle()
    starts = np.concatenate([group.starts for group in groups])
    kinds = [group.kind for group in groups for _ in group.starts]
    due = list(zip(starts.tolist(), range(len(kinds)), strict=True))
    heapq.heapify(due)
    times = [0] * len(kinds)
    ready = np.full(len(kinds), np.inf)
    requests: list[float] = []
    refused: list[float] = []
    while due[0][0] < seconds:
        now, cache = due[0]
        if now < away:
            heapq.heapreplace(due, (now + waiting(AWAY, random), cache))
            continue
        missed = sum(not throttle.answers(now) for _ in range(SECRETS))
        requests.append(now)
        refused.extend([now] * missed)
        if not missed:
            ready[cache] = min(ready[cache], now - starts[cache])
        kind = kinds[cache]
        times[cache] += 1
        if kind is Kind.UNCHANGED_READS:
            pause = in_vain(times[cache])
        elif not missed:
            times[cache] = 0
            pause = refresh * random.uniform(SPREAD, 1.0)
        elif kind is Kind.COLD and ready[cache] == np.inf:
            pause = cold(times[cache])
        elif kind is Kind.WAITING and ready[cache] == np.inf:
            pause = waiting(THROTTLED, random)
        else:
            pause = backoff(times[cache])
        heapq.heapreplace(due, (now + pause, cache))
    ends = np.cumsum([len(group.starts) for group in groups])[:-1]
    return Outcome(np.repeat(requests, SECRETS), np.array(refused), np.split(ready, ends))


def most_caches(refresh: float) -> float:
    """How many caches the vault can renew permanently, by the mean of their refresh times."""
    return LIMIT / WINDOW / SECRETS * refresh * (1 + SPREAD) / 2
