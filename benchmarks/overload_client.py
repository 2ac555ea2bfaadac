"""An open-loop HTTP client: requests leave at their times, whether or not earlier ones were answered.

As people do, who know nothing of each other. A request's time is measured from the moment at which it was to be sent:
one that waited in this client for its turn has waited. So the client has to be lean: requests are bytes made
beforehand, connections are kept and used again, an answer is read no further than needed.
"""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

_LENGTH = b"content-length:"
_END = b"\r\n\r\n"
# Connections for more than this are not made: it stays below what systems let a process hold.
MOST_CONNECTIONS = 15_000
# What a client waits for at most, in seconds: longer than a request's deadline in the gateway.
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: ``at`` and ``took`` are seconds, ``at`` since the load began; status 0 is no answer.

    ``retry_after`` says whether the answer tells when to come again.
    """

    at: float
    took: float
    status: int
    retry_after: bool = False
    name: str = ""


class _Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._waiting: asyncio.Future[bytes] | None = None
        self.open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.open = True

    def connection_lost(self, _error: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(b"")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_END)
        if end < 0 or self._waiting is None or self._waiting.done():
            return
        head = self._buffer[:end].lower()
        if len(self._buffer) >= end + len(_END) + _length(head):
            self._buffer = b""
            self._waiting.set_result(head)

    async def ask(self, request: bytes) -> bytes:
        """Send a request; the answer's head in lower case, empty where there is none."""
        self._waiting = asyncio.get_running_loop().create_future()
        assert isinstance(self._transport, asyncio.WriteTransport)  # noqa: S101 - TCP is one
        self._transport.write(request)
        return await self._waiting

    def abort(self) -> None:
        assert isinstance(self._transport, asyncio.WriteTransport)  # noqa: S101 - TCP is one
        self._transport.abort()


@dataclass(frozen=True)
class Load:
    """Requests of one kind, with random times between them (a Poisson process), for so many seconds.

    ``leave_after``: so many seconds after its request was sent the client goes away, without its answer.
    """

    request: bytes
    rate: float
    seconds: float
    begin: float = 0.0
    name: str = ""
    leave_after: float | None = None

    def times(self, seed: int) -> list[float]:
        """When the requests are to leave, in seconds; the same for the same seed."""
        chance, at, times = random.Random(seed), self.begin, []  # noqa: S311 - no secret
        while (at := at + chance.expovariate(self.rate)) < self.begin + self.seconds:
            times.append(at)
        return times


class Client:
    """Sends loads to one server."""

    # _idle  connections that wait for their next request, the one used last at the end
    # _held  how many there are in all

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._idle: list[_Connection] = []
        self._held = 0
        self._answers: list[Answer] = []

    async def send(self, loads: Sequence[Load], seed: int = 1) -> list[Answer]:
        """Send what the loads say, each at its time; returns when everything was answered or given up."""
        plan = sorted(
            ((at, load) for number, load in enumerate(loads) for at in load.times(seed + number)),
            key=lambda one: one[0],
        )
        self._answers = []
        tasks: set[asyncio.Task[None]] = set()
        began = time.perf_counter()
        with _no_collections():
            for at, load in plan:
                wait = at - (time.perf_counter() - began)
                # Those that are late leave together, but let answers in between.
                await asyncio.sleep(max(0.0, wait))
                task = asyncio.create_task(self._one(load, began, at))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if tasks:
                await asyncio.wait(tasks)
        return self._answers

    async def one(self, request: bytes) -> Answer:
        """Send a single request now."""
        self._answers = []
        await self._one(Load(request, 1, 1), time.perf_counter(), 0.0)
        return self._answers[0]

    def close(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    async def _one(self, load: Load, began: float, at: float) -> None:
        head = b""
        try:
            async with asyncio.timeout(PATIENCE if load.leave_after is None else load.leave_after):
                connection = await self._connection()
                try:
                    head = await connection.ask(load.request)
                finally:
                    self._give_back(connection, whole=bool(head))
        except (OSError, TimeoutError):
            pass
        status = int(head[9:12]) if head else 0
        took = time.perf_counter() - began - at
        self._answers.append(Answer(at, took, status, b"\r\nretry-after:" in head, load.name))

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
            self._held -= 1
        if self._held >= MOST_CONNECTIONS:
            raise OSError("too many connections")
        self._held += 1
        try:
            _, made = await asyncio.get_running_loop().create_connection(_Connection, *self._address)
        except BaseException:
            self._held -= 1
            raise
        return made

    def _give_back(self, connection: _Connection, *, whole: bool) -> None:
        if whole and connection.open:
            self._idle.append(connection)
        else:
            connection.abort()
            self._held -= 1


def post(path: str, image: bytes, **headers: str) -> bytes:
    """A request with an image as its body; the underscores in headers' names become hyphens."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: image/jpeg", f"Content-Length: {len(image)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + _END + image


def _length(head: bytes) -> int:
    at = head.find(_LENGTH)
    return int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from pausing the client while it measures."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
