"""Which node each request goes to, and how long it waits there.

A client only has information on its own requests, as with gRPC's policies. Policies without information (random, round
robin) are computed at once, the others are simulated request by request.
"""

import heapq
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from benchmarks.scale.queues import SERVICE, Floats, Ints, poisson, waits_by_node


class Policy(StrEnum):
    """How a client chooses among its nodes."""

    RANDOM = "random"
    ROUND_ROBIN = "round robin"
    TWO_CHOICES = "two choices"
    LEAST_REQUEST = "least request"
    CENTRAL = "one queue"


class Fleet(NamedTuple):
    """Nodes with their service times, and equally busy clients, each of which uses all nodes or its subset.

    ``use`` is the rate of arrivals over the capacity of all nodes together.
    """

    use: float
    clients: int
    services: Sequence[float]
    subsets: Ints | None = None
    requests: int = 200_000
    seed: int = 1

    @property
    def rate(self) -> float:
        """Requests a second, of all clients."""
        return self.use * sum(1 / service for service in self.services)


def nodes(count: int, slow: int = 0, factor: float = 1.5) -> list[float]:
    """Service times of ``count`` nodes, the last ``slow`` of them slower by ``factor``."""
    return [SERVICE] * (count - slow) + [SERVICE * factor] * slow


def simulate(fleet: Fleet, policy: Policy) -> Floats:
    """The waits of all requests but the first tenth, during which the queues form."""
    random, arrivals, who = _requests(fleet)
    match policy:
        case Policy.RANDOM | Policy.ROUND_ROBIN:
            waited = waits_by_node(arrivals, _blind(fleet, policy, who, random), fleet.services)
        case Policy.CENTRAL:
            waited = _central(arrivals, fleet.services)
        case Policy.TWO_CHOICES | Policy.LEAST_REQUEST:
            waited = _informed(fleet, arrivals, who, _two_choices if policy is Policy.TWO_CHOICES else _least, random)
    return settled(waited)


def in_turn(fleet: Fleet) -> tuple[Floats, Ints]:
    """With round robin: the times that requests spend at their nodes, waiting and being served, and the nodes."""
    random, arrivals, who = _requests(fleet)
    chosen = _blind(fleet, Policy.ROUND_ROBIN, who, random)
    spent = waits_by_node(arrivals, chosen, fleet.services) + np.array(fleet.services)[chosen]
    return settled(spent), settled(chosen)


def settled[T: (Floats, Ints)](requests: T) -> T:
    """All but the first tenth."""
    return requests[len(requests) // 10 :]


def _requests(fleet: Fleet) -> tuple[np.random.Generator, Floats, Ints]:
    """When requests arrive, and whose they are."""
    random = np.random.default_rng(fleet.seed)
    arrivals = poisson(fleet.rate, fleet.requests, random)
    return random, arrivals, random.integers(fleet.clients, size=fleet.requests)


def _blind(fleet: Fleet, policy: Policy, who: Ints, random: np.random.Generator) -> Ints:
    size = len(fleet.services) if fleet.subsets is None else fleet.subsets.shape[1]
    if policy is Policy.RANDOM:
        place = random.integers(size, size=len(who))
    else:
        # Each client begins at a random node.
        place = (random.integers(size, size=fleet.clients)[who] + _turns(who)) % size
    return place if fleet.subsets is None else fleet.subsets[who, place]


def _turns(who: Ints) -> Ints:
    """For each request, the number of earlier ones of the same client."""
    order = np.argsort(who, kind="stable")
    sorted_ = who[order]
    first = np.searchsorted(sorted_, sorted_)
    turns = np.empty(len(who), dtype=np.int64)
    turns[order] = np.arange(len(who)) - first
    return turns


def _central(arrivals: Floats, services: Sequence[float]) -> Floats:
    """One queue for all nodes: the fastest free node takes the next request, or else the first that becomes free."""
    free = [(0.0, service) for service in services]
    heapq.heapify(free)
    waited = np.empty(len(arrivals))
    idle: list[float] = []
    for turn, now in enumerate(arrivals.tolist()):
        while free and free[0][0] <= now:
            heapq.heappush(idle, heapq.heappop(free)[1])
        if idle:
            start, service = now, heapq.heappop(idle)
        else:
            start, service = heapq.heappop(free)
        waited[turn] = start - now
        heapq.heappush(free, (start + service, service))
    return waited


# Chooses a place in a list of requests under way, with two random numbers from 0 to 1.
type _Choice = Callable[[list[int], float, float], int]


def _two_choices(under_way: list[int], one: float, other: float) -> int:
    size = len(under_way)
    first = int(one * size)
    second = (first + 1 + int(other * (size - 1))) % size
    return first if under_way[first] <= under_way[second] else second


def _least(under_way: list[int], one: float, _other: float) -> int:
    least = min(under_way)
    count = under_way.count(least)
    if count == 1:
        return under_way.index(least)
    # Of several with equally few a random one, or all clients would take the first.
    skip, place = int(one * count), -1
    for _ in range(skip + 1):
        place = under_way.index(least, place + 1)
    return place


def _informed(fleet: Fleet, arrivals: Floats, who: Ints, choose: _Choice, random: np.random.Generator) -> Floats:
    size = len(fleet.services)
    mine = [list(range(size))] * fleet.clients if fleet.subsets is None else fleet.subsets.tolist()
    under_way = [[0] * len(own) for own in mine]
    free_at = [0.0] * size
    ends: list[tuple[float, int, int]] = []
    waited = np.empty(len(arrivals))
    draws = random.random((len(arrivals), 2)).tolist()
    for turn, (now, client) in enumerate(zip(arrivals.tolist(), who.tolist(), strict=True)):
        while ends and ends[0][0] <= now:
            _, ended, place = heapq.heappop(ends)
            under_way[ended][place] -= 1
        place = choose(under_way[client], *draws[turn])
        node = mine[client][place]
        start = max(now, free_at[node])
        free_at[node] = start + fleet.services[node]
        under_way[client][place] += 1
        heapq.heappush(ends, (free_at[node], client, place))
        waited[turn] = start - now
    return waited
