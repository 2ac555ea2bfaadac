"""A server that reads requests and answers all alike: ``python -m benchmarks.null_server --port N``.

It tells how many requests a second the load client itself can make, which has to be several times what any contestant
answers.
"""

import argparse
import select
import signal
import socket
import sys

_BODY = b'{"predictions":[{"labels":[]}]}' + b" " * 450
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_HEAD_END, _LENGTH = b"\r\n\r\n", b"Content-Length: "
_READ = 1 << 18


class _Client:
    """A connection, and how many bytes of its request are still to come; None while its head is not whole."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._head = b""
        self._missing: int | None = None

    def read(self) -> bool:
        """Read what has come, and answer a whole request; False where the client has gone."""
        data = self.connection.recv(_READ)
        if not data:
            return False
        if self._missing is None:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return True
            start = self._head.find(_LENGTH, 0, end)
            length = int(self._head[start + len(_LENGTH) : self._head.index(b"\r", start)]) if start >= 0 else 0
            self._missing = length - (len(self._head) - end - len(_HEAD_END))
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._head, self._missing = b"", None
            self.connection.send(_ANSWER)
        return True


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.null_server")
    parser.add_argument("--port", type=int, required=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        socket.create_server(("127.0.0.1", parser.parse_args().port), backlog=256) as listener,
        select.epoll() as epoll,
    ):
        epoll.register(listener, select.EPOLLIN)
        _serve(listener, epoll)


def _serve(listener: socket.socket, epoll: select.epoll) -> None:
    clients: dict[int, _Client] = {}
    while True:
        for number, _ in epoll.poll():
            if number == listener.fileno():
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[connection.fileno()] = _Client(connection)
                epoll.register(connection, select.EPOLLIN)
            elif not clients[number].read():
                epoll.unregister(number)
                clients.pop(number).connection.close()


if __name__ == "__main__":
    main()
