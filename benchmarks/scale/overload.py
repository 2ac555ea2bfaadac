"""Many workers, each with a limit of its own, in front of one node that takes one image at a time, in order.

The node's queue is first come, first served, so a call's begin and end are known when it arrives. A call that exceeds
its deadline leaves its worker's count; the node either never begins it (where it drops cancelled calls) or scores it in
vain.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.scale.limiters import Maker, own_clock
from benchmarks.scale.queues import SERVICE, Floats, Ints

# Between two hosts of one region, there and back.
ROUND_TRIP = 0.001


class Overload(NamedTuple):
    """A case: ``load`` is the rate of arrivals over the node's capacity; times are in seconds.

    ``joins`` is when each worker starts (at 0 when left out); ``slowness`` is the factor of the service time at a time.
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
    slowness: Callable[[float], float] = lambda _: 1.0
    seed: int = 1


class Call(NamedTuple):
    """An admitted call, which ends at ``at``."""

    at: float
    latency: float
    worker: int
    in_time: bool


class Outcome(NamedTuple):
    """The results after the warm-up; ``latencies`` and ``ended`` (times) are those of the calls in time."""

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
    """Serves one call at a time, in the order of arrival; calls must be given in the order of time."""

    def __init__(self, service: float, slowness: Callable[[float], float], *, drops_expired: bool) -> None:
        self._service, self._slowness, self._drops = service, slowness, drops_expired
        self._free_at = 0.0

    def serve(self, now: float, gone_at: float) -> float:
        """When a call that arrives ``now`` is served; infinity where the node drops it."""
        start = max(now, self._free_at)
        if self._drops and start >= gone_at:
            return float("inf")
        self._free_at = start + self._service * self._slowness(start)
        return self._free_at


@own_clock()
def simulate(case: Overload, maker: Maker) -> Outcome:
    """Simulate; the same seed gives the same calls."""
    random = np.random.default_rng(case.seed)
    # The times of the calls, a Poisson process.
    count = random.poisson(case.load / case.service * case.seconds)
    times = np.sort(random.random(count)) * case.seconds
    joins = np.sort(np.array(case.joins or [0.0] * case.workers))
    present = np.searchsorted(joins, times, side="right")
    chosen = (random.random(len(times)) * present).astype(int)
    limiters, in_flight = [maker(case.deadline) for _ in range(case.workers)], [0] * case.workers
    node = Node(case.service, case.slowness, drops_expired=case.drops_expired)
    under_way: deque[Call] = deque()
    ended: list[Call] = []
    refused = 0
    for now, worker in zip(times.tolist(), chosen.tolist(), strict=True):
        while under_way and under_way[0].at <= now:
            call = under_way.popleft()
            limiters[call.worker].done(call.at, call.latency, in_flight[call.worker], in_time=call.in_time)
            in_flight[call.worker] -= 1
            ended.append(call)
        if not limiters[worker].admits(now, in_flight[worker]):
            refused += now >= case.warm_up
            continue
        in_flight[worker] += 1
        gone = now + case.deadline
        # Sent and answered over half a round trip each.
        served = node.serve(now + case.round_trip / 2, gone) + case.round_trip / 2
        at = min(served, gone)
        under_way.append(Call(at, at - now, worker, served <= gone))
    counted = np.array([call for call in ended if call.at >= case.warm_up]).reshape(-1, 4)
    in_time = counted[counted[:, 3] == 1]
    offered = max(1, len(counted) + refused)
    return Outcome(
        goodput=float(len(in_time) * case.service / (case.seconds - case.warm_up)),
        refused=refused / offered,
        late=(len(counted) - len(in_time)) / offered,
        latencies=in_time[:, 1],
        ended=in_time[:, 0],
        fairness=jain(np.bincount(in_time[:, 2].astype(int), minlength=case.workers)),
        limits=np.array([limiter.limit for limiter in limiters]),
    )


def jain(shares: Ints) -> float:
    """Jain's index of fairness: 1 where all shares are equal, 1/n where one has all."""
    squares = float((shares.astype(float) ** 2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0
