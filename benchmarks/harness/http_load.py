"""HTTP load in a closed loop: each connection sends its next request as soon as it has its answer."""

import asyncio
import time
from collections.abc import Callable
from typing import Self

from benchmarks.harness.errors import BadAnswer
from benchmarks.harness.http_client import Connection, Pool
from benchmarks.harness.slices import Slice

_REFUSALS = frozenset({429, 503})
# How often all connections are tried until none is refused.
_ROUNDS = 100
# Nothing that is measured here takes as long, in seconds.
_TIMEOUT = 90.0


class HttpLoad(Pool):
    """Connections to one server that send the same request again and again; use it in an ``async with`` block.

    They work in a thread, since they block.
    """

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        super().__init__(port)
        self._request = memoryview(request)
        self._connections = [self.open() for _ in range(connections)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    async def run(self, seconds: float, least: int = 2) -> Slice:
        """Keep all connections busy for so long, and for at least so many answers a connection.

        Requests under way at the end are waited for and not counted: a slice begins and ends with the server idle.

        Raises:
            BadAnswer: an answer other than 200 or a refusal, or none.
        """
        made = Slice(time.monotonic())
        end, wanted = made.started + seconds, least * len(self._connections)
        await asyncio.to_thread(self._send_all, made, lambda: time.monotonic() < end or len(made.took) < wanted)
        return made

    async def first(self) -> bytes:
        """Send one request on each connection, until none is refused; returns the body of one of the answers.

        Raises:
            BadAnswer: an answer other than 200 or a refusal, or none; or a refusal in every round.
        """
        for _ in range(_ROUNDS):
            made = Slice(time.monotonic())
            await asyncio.to_thread(self._send_all, made, lambda: False)
            if not made.refused:
                return self._connections[0].body
        raise BadAnswer(f"a server refuses some of {len(self._connections)} requests again and again")

    def _send_all(self, made: Slice, more: Callable[[], bool]) -> None:
        """Send a request on each connection; each answer is followed by another request while ``more`` is true."""
        cpu = time.thread_time()
        for connection in self._connections:
            self._send(connection)
        waiting, going = len(self._connections), True
        while waiting:
            latest = time.monotonic()
            for connection, error in self.ready(_TIMEOUT):
                now = time.monotonic()
                if error or connection.status not in {200, *_REFUSALS}:
                    raise BadAnswer(f"a server failed: {error or connection.status} {connection.body[:600]!r}")
                if connection.status in _REFUSALS:
                    made.refused += 1
                elif going:
                    made.add(connection.started, now)
                going = going and more()
                if going:
                    self._send(connection)
                else:
                    waiting -= 1
            if time.monotonic() - latest >= _TIMEOUT:
                raise BadAnswer(f"a server did not answer within {_TIMEOUT:g} s")
        made.client_cpu = time.thread_time() - cpu

    def _send(self, connection: Connection) -> None:
        try:
            self.send(connection, self._request)
        except OSError as error:
            raise BadAnswer(f"a server failed: {error}") from None
