"""One-at-a-time servers with queues: the inference nodes. Times are in seconds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Bools = NDArray[np.bool_]
type Ints = NDArray[np.int64]

# An FPGA node takes one image at a time, for this long; published figures of ResNet-50 are near it.
SERVICE = 0.0018


def poisson(rate: float, count: int, random: np.random.Generator) -> Floats:
    """When ``count`` independent requests come, ``rate`` a second on average."""
    return np.cumsum(random.exponential(1 / rate, count))


def waits(arrivals: Floats, service: float) -> Floats:
    """How long each request waits at one node that serves in the order of arrival.

    Lindley's recursion, ``wait = max(0, previous wait + service - time between)``, without a loop: the wait is the
    distance of the accumulated work from its lowest point.
    """
    if not len(arrivals):
        return np.zeros(0)
    steps = np.concatenate(([0.0], service - np.diff(arrivals)))
    walk = np.cumsum(steps)
    return walk - np.minimum.accumulate(np.minimum(walk, 0.0))


def waits_by_node(arrivals: Floats, chosen: Ints, services: Sequence[float]) -> Floats:
    """The waits where request ``i`` goes to node ``chosen[i]``, whatever the queues."""
    result = np.empty(len(arrivals))
    order = np.argsort(chosen, kind="stable")
    ends = np.searchsorted(chosen[order], np.arange(len(services) + 1))
    for node, service in enumerate(services):
        mine = order[ends[node] : ends[node + 1]]
        result[mine] = waits(arrivals[mine], service)
    return result


def mean_wait_md1(use: float, service: float = SERVICE) -> float:
    """The mean wait of M/D/1 by Pollaczek and Khinchine: Poisson arrivals, a fixed service time, one server.

    ``use`` is the share of time for which the server is busy, below 1.
    """
    return service * use / (2 * (1 - use))
