"""Many workers, each with a limit of its own, in front of one node that takes one image at a time, in order.

The node's queue is first come, first served, so a call's start and end are known when it arrives. A call that passes
its deadline frees its worker's place; the node either never begins it (it noticed that the call was cancelled) or
scores it for nobody.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmarks.scale.limiters import Limiter, Maker, own_clock
from benchmarks.scale.queues import SERVICE, Floats

# Between two hosts of one region, there and back.
ROUND_TRIP = 0.001


@dataclass(frozen=True)
class Overload:
    """What happens: ``load`` is the arrivals' rate over the node's capacity; times are in seconds.

    ``joins`` is when each worker begins, all at 0 when left out; ``slowness`` is what the service time is multiplied
    by at a time.
    """

    load: float
    workers: int
    deadline: float
    seconds: float = 30.0
    warm_up: float = 10.0
    drops_expired: bool = True
    service: float = SERVICE
    round_trip: float = ROUND_TRIP
    joins: Sequence[float] = ()
    slowness: Callable[[float], float] = field(default=lambda _: 1.0)
    seed: int = 1


@dataclass
class Worker:
    """One worker's calls."""

    limiter: Limiter
    in_flight: int = 0
    scored: int = 0
    late: int = 0
    refused: int = 0


class Ended(NamedTuple):
    """A call that will have ended at ``at``."""

    at: float
    sent: float
    worker: Worker
    in_time: bool


@dataclass(frozen=True)
class Outcome:
    """What came of it after the warm-up; ``latencies`` are those of the calls in time, with when they ended."""

    goodput: float
    refused: float
    late: float
    latencies: Floats
    ended: Floats
    fairness: float
    limits: Floats

    def latency(self, percent: float) -> float:
        """A percentile of the latencies in time, in seconds; NaN where there is none."""
        return float(np.percentile(self.latencies, percent)) if len(self.latencies) else float("nan")


class Node:
    """Serves one call at a time, in the order of their coming; calls come in the order of time."""

    def __init__(self, service: float, slowness: Callable[[float], float], *, drops_expired: bool) -> None:
        self._service, self._slowness, self._drops = service, slowness, drops_expired
        self._free_at = 0.0

    def serve(self, now: float, gone_at: float) -> float:
        """When a call that arrives ``now`` has been served; infinity where the node does not begin it any more."""
        start = max(now, self._free_at)
        if self._drops and start >= gone_at:
            return float("inf")
        self._free_at = start + self._service * self._slowness(start)
        return self._free_at


def simulate(case: Overload, maker: Maker) -> Outcome:
    """Run it; the same seed gives the same calls."""
    with own_clock():
        return _run(case, maker)


def _run(case: Overload, maker: Maker) -> Outcome:
    random = np.random.default_rng(case.seed)
    times = arrivals(case, random)
    joins = np.sort(np.array(case.joins or [0.0] * case.workers))
    present = np.searchsorted(joins, times, side="right")
    chosen = (random.random(len(times)) * present).astype(int)
    workers = [Worker(maker(case.deadline)) for _ in range(case.workers)]
    node = Node(case.service, case.slowness, drops_expired=case.drops_expired)
    under_way: deque[Ended] = deque()
    latencies: list[tuple[float, float]] = []
    for now, who in zip(times.tolist(), chosen.tolist(), strict=True):
        while under_way and under_way[0].at <= now:
            _end(under_way.popleft(), case, latencies)
        worker = workers[who]
        counts = now >= case.warm_up
        if not worker.limiter.admits(now, worker.in_flight):
            worker.refused += counts
            continue
        worker.in_flight += 1
        # Sent and answered over half a round trip each.
        served = node.serve(now + case.round_trip / 2, now + case.deadline) + case.round_trip / 2
        gone = now + case.deadline
        under_way.append(Ended(min(served, gone), now, worker, served <= gone))
    return _outcome(case, workers, latencies)


def arrivals(case: Overload, random: np.random.Generator) -> Floats:
    """When calls come, as a Poisson process."""
    expected = case.load / case.service * case.seconds
    count = random.poisson(expected)
    return np.sort(random.random(count)) * case.seconds


def _end(call: Ended, case: Overload, latencies: list[tuple[float, float]]) -> None:
    worker, latency = call.worker, call.at - call.sent
    worker.limiter.done(call.at, latency, worker.in_flight, in_time=call.in_time)
    worker.in_flight -= 1
    if call.at < case.warm_up:
        return
    if call.in_time:
        worker.scored += 1
        latencies.append((call.at, latency))
    else:
        worker.late += 1


def _outcome(case: Overload, workers: Sequence[Worker], latencies: Sequence[tuple[float, float]]) -> Outcome:
    scored = np.array([worker.scored for worker in workers])
    late, refused = sum(worker.late for worker in workers), sum(worker.refused for worker in workers)
    offered = max(1, scored.sum() + late + refused)
    table = np.array(latencies).reshape(-1, 2)
    return Outcome(
        goodput=float(scored.sum() * case.service / (case.seconds - case.warm_up)),
        refused=refused / offered,
        late=late / offered,
        latencies=table[:, 1],
        ended=table[:, 0],
        fairness=jain(scored),
        limits=np.array([worker.limiter.limit for worker in workers]),
    )


def jain(shares: Floats) -> float:
    """Jain's index of fairness: 1 where all shares are equal, 1/n where one has all."""
    squares = float((shares.astype(float) ** 2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0
