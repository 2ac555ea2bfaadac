"""A lean HTTP client that keeps a number of requests under way: one thread, epoll, requests made beforehand.

It must not be what is measured. So it knows no more of HTTP/1.1 than an answer's status, and its end by Content-Length
or chunks; each request is written by one system call where the kernel takes it whole. Each connection sends its next
request as soon as it has its answer (a closed loop).
"""

import re
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\nTransfer-Encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nConnection: *close", re.IGNORECASE)
_READ = 1 << 18
_SEND_BUFFER = 1 << 22
_REFUSALS = {b"429", b"503"}
# How often all connections are tried before it is given up that none is refused.
_ROUNDS = 100

# Nothing that is measured here takes as long, in seconds.
SILENCE = 90.0


class BadAnswer(Exception):
    """An answer that is none, or not the expected one; the message is one line."""


class Done(NamedTuple):
    """One answered request: when it ended on the monotonic clock, and how long it took, in seconds."""

    ended: float
    took: float


@dataclass
class Slice:
    """A stretch of load, begun at ``started`` with nothing under way.

    ``worked`` is the processor time of the load client's own thread, in seconds. ``refused`` counts answers that ask to
    try again later (429, 503), which was done at once.
    """

    started: float
    done: list[Done] = field(default_factory=list)
    worked: float = 0.0
    refused: int = 0

    @property
    def rate(self) -> float:
        """Answers a second, from the first request to the last answer that was counted."""
        return len(self.done) / (self.done[-1].ended - self.started)

    def times(self) -> list[float]:
        return [each.took for each in self.done]


def post(path: str, content_type: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", *map(": ".join, headers)]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def form(files: Sequence[bytes]) -> tuple[str, bytes]:
    """A form with files, all named ``photo``: its content type and its body."""
    boundary = "4bf92f3577b34da6"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="photo"; filename="{index}.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n".encode()
        + file
        + b"\r\n"
        for index, file in enumerate(files)
    ]
    return f"multipart/form-data; boundary={boundary}", b"".join(parts) + f"--{boundary}--\r\n".encode()


class HttpLoad:
    """Connections to one server that send the same request again and again; use it in a ``with`` block."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self._request = memoryview(request)
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        for _ in range(connections):
            connection = _Connection(port)
            self._open[connection.number] = connection
            self._epoll.register(connection.number, select.EPOLLIN)

    def __enter__(self) -> "HttpLoad":
        return self

    def __exit__(self, *_error: object) -> None:
        for connection in self._open.values():
            connection.close()
        self._epoll.close()

    def run(self, seconds: float, least: int = 2) -> Slice:
        """Keep all connections busy for so long, and for at least so many answers a connection.

        What is under way then is waited for and not counted: a slice begins and ends with the server idle.

        Raises:
            BadAnswer: an answer other than 200 or a refusal, or none.
        """
        made = Slice(time.monotonic())
        with _timed(made):
            for connection in self._open.values():
                self._send(connection)
            end, wanted = made.started + seconds, least * len(self._open)
            self._collect(made, lambda: time.monotonic() < end or len(made.done) < wanted)
        return made

    def first(self) -> bytes:
        """Send one request on each connection, until none is refused; returns the body of one of the answers.

        Raises:
            BadAnswer: an answer other than 200 or a refusal, or none; or refusals without end.
        """
        for _ in range(_ROUNDS):
            made = Slice(time.monotonic())
            for connection in self._open.values():
                self._send(connection)
            self._collect(made, lambda: False)
            if not made.refused:
                return next(iter(self._open.values())).body()
        raise BadAnswer(f"a server refuses some of {len(self._open)} requests again and again")

    def _collect(self, made: Slice, more: Callable[[], bool]) -> None:
        """Read answers until none is under way, and send on for as long as ``more`` says so."""
        waiting = len(self._open)
        going = True
        while waiting:
            ready = self._epoll.poll(SILENCE)
            if not ready:
                raise BadAnswer(f"a server did not answer within {SILENCE:g} s")
            for number, events in ready:
                connection = self._open[number]
                if events & select.EPOLLOUT and connection.write():
                    self._epoll.modify(number, select.EPOLLIN)
                if not events & ~select.EPOLLOUT or not connection.read():
                    continue
                if connection.refused:
                    made.refused += 1
                elif going:
                    made.done.append(Done(time.monotonic(), connection.took()))
                going = going and more()
                if going:
                    self._send(connection)
                else:
                    waiting -= 1

    def _send(self, connection: "_Connection") -> None:
        if not connection.start(self._request):
            self._epoll.modify(connection.number, select.EPOLLIN | select.EPOLLOUT)


class _Connection:
    """One connection, with at most one request under way.

    Raises:
        BadAnswer: the server takes none.
    """

    # _rest    what of the request is still to be written
    # _answer  what of the answer has come; _whole is its length once that is known
    # refused  whether the latest answer asks to try again later

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=SILENCE)
        except OSError as error:
            raise BadAnswer(f"a server takes no connections: {error.strerror}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket.setblocking(False)
        self.number = self._socket.fileno()
        self._rest = memoryview(b"")
        self._answer = b""
        self._whole = 0
        self._chunked = False
        self._started = 0.0
        self.refused = False

    def start(self, request: memoryview) -> bool:
        """Begin a request; True where it was written whole."""
        self._answer, self._whole, self._chunked, self._rest = b"", 0, False, request
        self._started = time.monotonic()
        return self.write()

    def write(self) -> bool:
        """Write on; True where nothing is left."""
        while self._rest:
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                return False
            except OSError as error:
                raise BadAnswer(f"a server closed the connection: {error.strerror}") from None
        return True

    def read(self) -> bool:
        """Read on; True where the answer is whole.

        Raises:
            BadAnswer: it is neither a 200 nor a refusal, or the connection was closed.
        """
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return False
        except OSError as error:
            raise BadAnswer(f"a server closed the connection: {error.strerror}") from None
        if not data:
            raise BadAnswer(f"a server closed the connection after {self._answer[:300]!r}")
        self._answer = self._answer + data if self._answer else data
        return self._complete()

    def took(self) -> float:
        """How long the latest request has taken so far, in seconds."""
        return time.monotonic() - self._started

    def body(self) -> bytes:
        """The latest answer's body."""
        head, _, body = self._answer.partition(b"\r\n\r\n")
        return b"".join(_chunks(body)) if _CHUNKED.search(head) else body

    def close(self) -> None:
        self._socket.close()

    def _complete(self) -> bool:
        if not self._whole and not self._chunked:
            self._read_head()
        if self._chunked:
            return self._answer.endswith(b"\r\n0\r\n\r\n")
        return 0 < self._whole <= len(self._answer)

    def _read_head(self) -> None:
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        self.refused = self._answer[9:12] in _REFUSALS
        if self._answer[9:12] != b"200" and not self.refused:
            raise BadAnswer(f"a server answered {self._answer[:600]!r}")
        head = self._answer[: end + 2]
        length = _LENGTH.search(head)
        if _CLOSE.search(head):
            raise BadAnswer(f"a server closes its connections: {head!r}")
        if length is not None:
            self._whole = end + 4 + int(length[1])
        else:
            self._chunked = True


def _chunks(data: bytes) -> Iterator[bytes]:
    """The chunks of a body in chunked coding (RFC 9112, section 7.1)."""
    at = 0
    while True:
        line = data.index(b"\r\n", at)
        size = int(data[at:line].split(b";")[0], 16)
        if not size:
            return
        yield data[line + 2 : line + 2 + size]
        at = line + 2 + size + 2


@contextmanager
def _timed(made: Slice) -> Iterator[None]:
    before = time.thread_time()
    yield
    made.worked = time.thread_time() - before
