"""Many workers, each with a limit of its own, in front of one node that takes one image at a time, in order.

Requests have one image, or several: each a call of its own, or all in one message.

The node's queue is first come, first served, so a call's begin and end are known when it arrives. A call that exceeds
its deadline leaves its worker's count; the node either never begins it (where it drops cancelled calls) or scores it in
vain.
"""

import heapq
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.scale.limiters import Maker, own_clock
from benchmarks.scale.queues import SERVICE, Floats, Ints

# Between two hosts of one region, there and back.
ROUND_TRIP = 0.001


class Overload(NamedTuple):
    """A case: ``load`` is the rate of arrivals over the node's capacity; times are in seconds.

    ``joins`` is when each worker starts (at 0 when left out); ``slowness`` is the factor of the service time at a time.
    ``sizes`` are the numbers of images of requests, each as frequent; ``together``: they are in one message. Several
    ``replicas`` have one queue and the same capacity: each takes as many times longer. So has a node that takes the
    images that wait, up to ``batch`` of them, together.
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
    sizes: Sequence[int] = (1,)
    together: bool = False
    replicas: int = 1
    batch: int = 1


class Call(NamedTuple):
    """An admitted call, which ends at ``at``; ``last`` of its request."""

    at: float
    latency: float
    worker: int
    in_time: bool
    images: int
    last: bool


class Outcome(NamedTuple):
    """The results after the warm-up; ``latencies`` and ``ended`` (times) are those of the calls in time.

    ``refused`` is the share of all images, ``refused_of`` that of the requests of each size.
    """

    goodput: float
    refused: float
    late: float
    latencies: Floats
    ended: Floats
    fairness: float
    limits: Floats
    refused_of: Mapping[int, float]

    def latency(self, percent: float) -> float:
        """A percentile of the latencies in time, in seconds; NaN where there is none."""
        return float(np.percentile(self.latencies, percent)) if len(self.latencies) else float("nan")


class Node:
    """Serves calls in the order of arrival, one for each replica; calls must be given in the order of time."""

    def __init__(
        self, service: float, slowness: Callable[[float], float], *, drops_expired: bool, replicas: int = 1
    ) -> None:
        self._service, self._slowness, self._drops = service * replicas, slowness, drops_expired
        self._free_at = [0.0] * replicas

    def serve(self, now: float, gone_at: float, images: int = 1) -> float:
        """When a call that arrives ``now`` is served; infinity where the node drops it."""
        start = max(now, self._free_at[0])
        if self._drops and start >= gone_at:
            return float("inf")
        end = start + images * self._service * self._slowness(start)
        heapq.heapreplace(self._free_at, end)
        return end


class BatchingNode:
    """Takes the calls that wait when it becomes free, up to ``batch`` images, in the time for that many.

    A batch takes as long with fewer, so that a call's end is known when it arrives.
    """

    def __init__(self, service: float, batch: int, *, drops_expired: bool) -> None:
        self._takes, self._batch, self._drops = service * batch, batch, drops_expired
        # The latest batch: when it begins, and how many it has.
        self._begins, self._images = float("-inf"), 0

    def serve(self, now: float, gone_at: float, images: int = 1) -> float:
        """As :meth:`Node.serve`."""
        joins = now <= self._begins and self._images + images <= self._batch
        begins = self._begins if joins else max(now, self._begins + self._takes)
        if self._drops and begins >= gone_at:
            return float("inf")
        self._begins, self._images = begins, images + (self._images if joins else 0)
        return begins + self._takes


def _node(case: Overload) -> Node | BatchingNode:
    if case.batch > 1:
        return BatchingNode(case.service, case.batch, drops_expired=case.drops_expired)
    return Node(case.service, case.slowness, drops_expired=case.drops_expired, replicas=case.replicas)


@own_clock()
def simulate(case: Overload, maker: Maker) -> Outcome:
    """Simulate; the same seed gives the same calls."""
    random = np.random.default_rng(case.seed)
    # The times of the calls, a Poisson process.
    count = random.poisson(case.load / case.service * case.seconds / np.mean(case.sizes))
    times = np.sort(random.random(count)) * case.seconds
    joins = np.sort(np.array(case.joins or [0.0] * case.workers))
    present = np.searchsorted(joins, times, side="right")
    chosen = (random.random(len(times)) * present).astype(int)
    sizes = random.choice(case.sizes, len(times)) if len(case.sizes) > 1 else np.full(len(times), case.sizes[0])
    limiters, in_flight = [maker(case.deadline) for _ in range(case.workers)], [0] * case.workers
    node = _node(case)
    under_way: deque[Call] = deque()
    ended: list[Call] = []
    asked, refused = Counter[int](), Counter[int]()
    for now, worker, size in zip(times.tolist(), chosen.tolist(), sizes.tolist(), strict=True):
        while under_way and under_way[0].at <= now:
            call = under_way.popleft()
            limiters[call.worker].done(call.at, call.latency, in_flight[call.worker], call)
            in_flight[call.worker] -= call.images
            ended.append(call)
        asked[size] += now >= case.warm_up
        images = [size] if case.together else [1] * size
        if not limiters[worker].admits(now, in_flight[worker], images):
            refused[size] += now >= case.warm_up
            continue
        in_flight[worker] += size
        gone = now + case.deadline
        for turn, count in enumerate(images, 1):
            # Sent and answered over half a round trip each.
            served = node.serve(now + case.round_trip / 2, gone, count) + case.round_trip / 2
            at = min(served, gone)
            under_way.append(Call(at, at - now, worker, served <= gone, count, turn == len(images)))
    counted = np.array([call for call in ended if call.at >= case.warm_up]).reshape(-1, 6)
    in_time = counted[counted[:, 3] == 1]
    scored, refused_images = counted[:, 4].sum(), sum(size * count for size, count in refused.items())
    offered = max(1, scored + refused_images)
    return Outcome(
        goodput=float(in_time[:, 4].sum() * case.service / (case.seconds - case.warm_up)),
        refused=refused_images / offered,
        late=(scored - in_time[:, 4].sum()) / offered,
        latencies=in_time[:, 1],
        ended=in_time[:, 0],
        fairness=jain(np.bincount(in_time[:, 2].astype(int), minlength=case.workers)),
        limits=np.array([limiter.limit for limiter in limiters]),
        refused_of={size: refused[size] / max(1, asked[size]) for size in sorted(asked)},
    )


def jain(shares: Ints) -> float:
    """Jain's index of fairness: 1 where all shares are equal, 1/n where one has all."""
    squares = float((shares.astype(float) ** 2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else 1.0
