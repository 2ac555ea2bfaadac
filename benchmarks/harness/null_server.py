"""A server that answers every request alike: ``python -m benchmarks.harness.null_server --port N``.

It shows how many requests a second the load client itself can make, which has to be several times what a measured
server answers.
"""

import argparse

from benchmarks.harness.epoll_server import serve

_BODY = b'{"predictions":[{"labels":[]}]}' + b" " * 450
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
_HEAD_END, _LENGTH = b"\r\n\r\n", b"Content-Length: "


class _Connection:
    # _head     the request's beginning, while its head is not complete
    # _missing  how many bytes of the request are still to come; None while its head is not complete

    def __init__(self) -> None:
        self._head = b""
        self._missing: int | None = None

    def receive(self, data: memoryview) -> bytes:
        """The answer once a request is complete."""
        if self._missing is None:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return b""
            start = self._head.find(_LENGTH, 0, end)
            length = int(self._head[start + len(_LENGTH) : self._head.index(b"\r", start)]) if start >= 0 else 0
            self._missing = length - (len(self._head) - end - len(_HEAD_END))
        else:
            self._missing -= len(data)
        if self._missing > 0:
            return b""
        self._head, self._missing = b"", None
        return _ANSWER


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness.null_server")
    parser.add_argument("--port", type=int, required=True)
    serve(_Connection, parser.parse_args().port)


if __name__ == "__main__":
    main()
