"""A server that costs as little as possible: one thread, epoll, a protocol without I/O for each connection."""

import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Protocol

_READ = 1 << 18


class Conversation(Protocol):
    """One connection's protocol."""

    def receive(self, data: memoryview) -> bytes:
        """Process received bytes, which are valid only during the call; returns the bytes to send."""


class _Client:
    # _unsent  what the socket did not accept yet

    def __init__(self, connection: socket.socket, conversation: Conversation) -> None:
        self._socket = connection
        self._conversation = conversation
        self._unsent = memoryview(b"")
        # Not a new one for each read: most of it would not be used.
        self._buffer = memoryview(bytearray(_READ))

    @property
    def blocked(self) -> bool:
        return bool(self._unsent)

    def work(self) -> None:
        """Send unsent bytes, then read and answer until there is nothing to read.

        Raises:
            OSError: the client has closed the connection.
        """
        try:
            self._write()
            while True:
                count = self._socket.recv_into(self._buffer)
                if not count:
                    raise ConnectionResetError
                self._unsent = memoryview(self._conversation.receive(self._buffer[:count]))
                self._write()
                # Of TLS, one record at a time is read; of a plain socket, all there is.
                if count < _READ and not isinstance(self._socket, ssl.SSLSocket):
                    return
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def _write(self) -> None:
        while self._unsent:
            self._unsent = self._unsent[self._socket.send(self._unsent) :]

    def close(self) -> None:
        self._socket.close()


def serve(conversation: Callable[[], Conversation], port: int = 0, context: ssl.SSLContext | None = None) -> None:
    """Serve on loopback until SIGTERM, over TLS where there is a context; prints ``ready ADDRESS``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with socket.create_server(("127.0.0.1", port), backlog=256) as listener, select.epoll() as epoll:
        print(f"ready 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        _serve(listener, epoll, conversation, context)


def _serve(
    listener: socket.socket,
    epoll: select.epoll,
    conversation: Callable[[], Conversation],
    context: ssl.SSLContext | None,
) -> None:
    clients: dict[int, _Client] = {}
    epoll.register(listener, select.EPOLLIN)
    while True:
        for number, _ in epoll.poll():
            if number == listener.fileno():
                connection = _accept(listener, context)
                clients[connection.fileno()] = _Client(connection, conversation())
                epoll.register(connection, select.EPOLLIN)
                continue
            client, was_blocked = clients[number], clients[number].blocked
            try:
                client.work()
            except OSError:
                epoll.unregister(number)
                clients.pop(number).close()
                continue
            if client.blocked != was_blocked:
                epoll.modify(number, select.EPOLLIN | (select.EPOLLOUT if client.blocked else 0))


def _accept(listener: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    # The first read does the handshake.
    return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) if context else connection
