"""HTTP load in an open loop: requests leave at their times, whether or not earlier ones were answered.

So do independent users. A request's time is measured from the moment at which it was due: time that it waited in this
client counts.
"""

import math
import random
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.harness.http_client import Connection, Pool
from benchmarks.harness.noise import no_garbage_collection

# How long a client waits, in seconds: longer than a request's deadline in the gateway.
TIMEOUT = 15.0


class Answer(NamedTuple):
    """A request's outcome. ``at``, when it was due (since the load's begin), and ``took`` are seconds; status 0: none.

    ``retry_after``: whether the answer has that header; ``service``: the member of a split that it names.
    """

    at: float
    took: float
    status: int
    retry_after: bool = False
    name: str = ""
    service: str = ""


class Load(NamedTuple):
    """Requests of one kind, with random times between them (a Poisson process), for so many seconds."""

    request: bytes
    rate: float
    seconds: float
    begin: float = 0.0
    name: str = ""

    def times(self, seed: int) -> list[float]:
        """When the requests are due, in seconds; the same for the same seed."""
        chance, at, times = random.Random(seed), self.begin, []  # noqa: S311 - no secret
        while (at := at + chance.expovariate(self.rate)) < self.begin + self.seconds:
            times.append(at)
        return times


def send(port: int, *loads: Load, seed: int = 1, leave_after: float = TIMEOUT) -> list[Answer]:
    """Send the loads' requests to a server on this machine, each at its time; returns the answers as they came.

    A client disconnects ``leave_after`` seconds after its request was sent.
    """
    plan = [(at, load) for number, load in enumerate(loads) for at in load.times(seed + number)]
    with no_garbage_collection(), Pool(port) as pool:
        return _Run(pool, sorted(plan, key=lambda one: one[0]), leave_after).answers()


def send_one(port: int, request: bytes) -> Answer:
    """Send a single request now."""
    with Pool(port) as pool:
        return _Run(pool, [(0.0, Load(request, 1, 1))], TIMEOUT).answers()[0]


class _Run:
    # _plan       the requests that are still to be sent: when each is due, and its load
    # _under_way  the requests that were sent, in this order, by connection
    # _idle       connections without a request, the most recently used one at the end

    def __init__(self, pool: Pool, plan: Sequence[tuple[float, Load]], leave_after: float) -> None:
        self._pool = pool
        self._plan = deque(plan)
        self._leave_after = leave_after
        self._under_way: dict[Connection, tuple[float, Load]] = {}
        self._idle: list[Connection] = []
        self._answers: list[Answer] = []
        self._began = time.monotonic()

    def answers(self) -> list[Answer]:
        while self._plan or self._under_way:
            due = self._began + self._plan[0][0] if self._plan else math.inf
            oldest = next(iter(self._under_way), None)
            limit = oldest.started + self._leave_after if oldest else math.inf
            for connection, error in self._pool.ready(max(0.0, min(due, limit) - time.monotonic())):
                self._end(connection, answered=error is None)
            # One of each at a time, so that late ones leave without a pause, but answers are read in between.
            now = time.monotonic()
            if due <= now:
                self._begin(*self._plan.popleft())
            if oldest in self._under_way and oldest.started + self._leave_after <= now:
                self._end(oldest, answered=False)
        return self._answers

    def _begin(self, at: float, load: Load) -> None:
        connection = self._idle.pop() if self._idle else self._pool.open()
        self._under_way[connection] = at, load
        try:
            self._pool.send(connection, memoryview(load.request))
        except OSError:
            self._end(connection, answered=False)

    def _end(self, connection: Connection, *, answered: bool) -> None:
        if connection in self._under_way:
            at, load = self._under_way.pop(connection)
            took = time.monotonic() - self._began - at
            answer = Answer(at, took, 0, name=load.name)
            if answered:
                status, retry_after = connection.status, connection.retry_after
                answer = answer._replace(status=status, retry_after=retry_after, service=connection.service)
            self._answers.append(answer)
        else:  # the server closed it
            self._idle.remove(connection)
        if answered:
            self._idle.append(connection)
        else:
            self._pool.close(connection)
