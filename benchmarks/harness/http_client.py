"""Lean HTTP connections to a server on this machine: epoll, one thread, prepared requests.

Their own cost must not be measured. So of HTTP/1.1 they only handle an answer's status, and its end by
Content-Length or chunks; a request is written by one system call where the kernel takes it whole.
"""

import re
import select
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Self

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)", re.IGNORECASE)
_SERVICE = re.compile(rb"\r\nScoring-Service: *([\w-]+)", re.IGNORECASE)
_RETRY_AFTER = re.compile(rb"\r\nRetry-After:", re.IGNORECASE)
_READ = 1 << 18
_SEND_BUFFER = 1 << 22


def post(path: str, content_type: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", *map(": ".join, headers)]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def form(files: Sequence[bytes]) -> tuple[str, bytes]:
    """A form with files, all named ``photo``: its content type and its body."""
    boundary, body = "4bf92f3577b34da6", b""
    for index, file in enumerate(files):
        name = f'name="photo"; filename="{index}.jpg"'
        head = f"--{boundary}\r\nContent-Disposition: form-data; {name}\r\nContent-Type: image/jpeg\r\n\r\n"
        body += head.encode() + file + b"\r\n"
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


class Connection:
    """One connection, with at most one request under way; ``started`` is that of the latest, in monotonic seconds."""

    # _rest    the part of the request that is still to be written
    # _answer  the part of the answer that was received
    # _size    the whole length of the answer, once it is known; 0 for a body in chunks

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", port))  # completed by the first write
        self.number = self._socket.fileno()
        self.started = 0.0
        self._rest = memoryview(b"")
        self._answer = b""
        self._size: int | None = None

    @property
    def blocked(self) -> bool:
        """Whether a part of the request is still to be written."""
        return bool(self._rest)

    @property
    def status(self) -> int:
        """Of the latest answer; 0 without one."""
        return int(self._answer[9:12] or 0)

    @property
    def retry_after(self) -> bool:
        """Whether the latest answer has that header."""
        return bool(_RETRY_AFTER.search(self._answer.partition(_END)[0]))

    @property
    def service(self) -> str:
        """The member of a split that the latest answer names; empty without one."""
        found = _SERVICE.search(self._answer.partition(_END)[0])
        return found[1].decode() if found else ""

    @property
    def body(self) -> bytes:
        """Of the latest answer."""
        body = self._answer.partition(_END)[2]
        return b"".join(_chunks(body)) if self._size == 0 else body

    def start(self, request: memoryview) -> None:
        """Begin a request.

        Raises:
            OSError: the connection is closed; so do the other methods.
        """
        self._answer, self._size, self._rest = b"", None, request
        self.started = time.monotonic()
        self.write()

    def write(self) -> None:
        """Write as much of the request as the kernel takes."""
        try:
            while self._rest:
                self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            return

    def read(self) -> bool:
        """Read more of the answer; True where it is complete."""
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionResetError(f"the server closed the connection after {self._answer[:300]!r}")
        self._answer = self._answer + data if self._answer else data
        if self._size is None and (end := self._answer.find(_END)) >= 0:
            length = _LENGTH.search(self._answer, 0, end)
            self._size = end + len(_END) + int(length[1]) if length else 0
        if self._size:
            return len(self._answer) >= self._size
        return self._size == 0 and self._answer.endswith(b"\r\n0\r\n\r\n")

    def close(self) -> None:
        self._socket.close()


class Pool:
    """Connections to one server; use it in a ``with`` block."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._epoll = select.epoll()
        self._open: dict[int, Connection] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for connection in list(self._open.values()):
            self.close(connection)
        self._epoll.close()

    def open(self) -> Connection:
        connection = Connection(self._port)
        self._open[connection.number] = connection
        self._epoll.register(connection.number, select.EPOLLIN)
        return connection

    def close(self, connection: Connection) -> None:
        del self._open[connection.number]
        connection.close()  # which also removes it from epoll

    def send(self, connection: Connection, request: memoryview) -> None:
        """Begin a request.

        Raises:
            OSError: the server does not accept it.
        """
        connection.start(request)
        if connection.blocked:
            self._epoll.modify(connection.number, select.EPOLLIN | select.EPOLLOUT)

    def ready(self, seconds: float) -> Iterator[tuple[Connection, OSError | None]]:
        """Wait for events so long; gives the connections whose answer is complete, or whose request has failed."""
        for number, events in self._epoll.poll(seconds):
            connection = self._open[number]
            try:
                if events & select.EPOLLOUT:
                    connection.write()
                    if not connection.blocked:
                        self._epoll.modify(number, select.EPOLLIN)
                if events & ~select.EPOLLOUT and connection.read():
                    yield connection, None
            except OSError as error:
                yield connection, error


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
