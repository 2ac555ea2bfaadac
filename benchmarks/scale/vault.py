"""Key Vault's limit and the gateway's caches of credentials, one for each service of each worker.

The vault answers a number of requests in ten seconds and refuses the rest with 429; refused ones do not count
(https://learn.microsoft.com/en-us/azure/key-vault/general/overview-throttling). How it counts is not told: here in
windows of ten seconds, one after the other. A cache reads three secrets at a time, and has failed where one is refused.
When it reads again is the gateway's own rule, with the gateway's own constants.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np

from benchmarks.scale.queues import Floats
from shared.trust.credentials import IN_VAIN, MAX_INTERVAL, MIN_INTERVAL, RETRY_FIRST, RETRY_MAX

# https://learn.microsoft.com/en-us/azure/key-vault/general/service-limits: secrets, per vault and region.
LIMIT, WINDOW = 4_000, 10.0
SECRETS = 3
# A cache is renewed at a random share of its refresh time, from this to all of it.
SPREAD = 0.8

# A pause in seconds, by how many reads in a row did not help.
type Pause = Callable[[int], float]


class Kind(Enum):
    """Why caches read. Requests come all the time."""

    # They hold a snapshot, and renew it in the background.
    RENEWING = auto()
    # They hold nothing yet: requests wait, and ask again as soon as they may.
    COLD = auto()
    # The service shows a certificate that no pin covers, or refuses both keys, and the vault has nothing better:
    # requests have it read again and again.
    IN_VAIN = auto()


@dataclass(frozen=True)
class Group:
    """Caches of one kind, and when each of them reads for the first time, in seconds."""

    kind: Kind
    starts: Floats


@dataclass(frozen=True)
class Course:
    """What came of it: when the vault was asked, when it refused, and how long each group's caches were without."""

    asked: Floats
    refused: Floats
    ready_after: Sequence[Floats]

    def per_window(self, seconds: float) -> tuple[Floats, Floats]:
        """Requests and refusals in each window of ten seconds."""
        edges = np.arange(0.0, seconds + WINDOW, WINDOW)
        return np.histogram(self.asked, edges)[0].astype(float), np.histogram(self.refused, edges)[0].astype(float)


class Throttle:
    """The vault's count of the present window."""

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
    """As often as requests may have it read at all."""
    return MIN_INTERVAL


def seldomer(times: int) -> float:
    """The gateway's pause between reads that requests force and that bring nothing new."""
    return min(MIN_INTERVAL * 2.0 ** max(0, times - IN_VAIN), MAX_INTERVAL)


def backoff(times: int) -> float:
    """The gateway's pause after background reads that failed: doubled each time."""
    return min(RETRY_FIRST * 2.0 ** (times - 1), RETRY_MAX)


def simulate(
    groups: Sequence[Group],
    seconds: float,
    *,
    refresh: float = 300.0,
    cold: Pause = every_second,
    in_vain: Pause = seldomer,
    seed: int = 1,
) -> Course:
    """Run it for ``seconds``; ``cold`` and ``in_vain`` are those groups' pauses after reads that did not help."""
    random = np.random.default_rng(seed)
    throttle = Throttle()
    starts = np.concatenate([group.starts for group in groups])
    kinds = [group.kind for group in groups for _ in group.starts]
    due = list(zip(starts.tolist(), range(len(kinds)), strict=True))
    heapq.heapify(due)
    times = [0] * len(kinds)
    ready = np.full(len(kinds), np.inf)
    asked: list[float] = []
    refused: list[float] = []
    while due[0][0] < seconds:
        now, cache = due[0]
        missed = sum(not throttle.answers(now) for _ in range(SECRETS))
        asked.append(now)
        refused.extend([now] * missed)
        if not missed:
            ready[cache] = min(ready[cache], now - starts[cache])
        kind = kinds[cache]
        times[cache] += 1
        if kind is Kind.IN_VAIN:
            pause = in_vain(times[cache])
        elif not missed:
            times[cache] = 0
            pause = refresh * random.uniform(SPREAD, 1.0)
        elif kind is Kind.COLD and ready[cache] == np.inf:
            pause = cold(times[cache])
        else:
            pause = backoff(times[cache])
        heapq.heapreplace(due, (now + pause, cache))
    ends = np.cumsum([len(group.starts) for group in groups])[:-1]
    return Course(np.repeat(asked, SECRETS), np.array(refused), np.split(ready, ends))


def most_caches(refresh: float) -> float:
    """How many caches the vault can renew for ever, by the mean of their refresh times."""
    return LIMIT / WINDOW / SECRETS * refresh * (1 + SPREAD) / 2
