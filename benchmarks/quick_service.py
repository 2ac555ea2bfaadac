"""The simulated engine behind a server that costs next to nothing: ``python -m benchmarks.quick_service``.

Where the engine takes no time, the local FPGA service takes as much of a processor for a request as what is measured in
front of it: gRPC's server in Python, not the engine. That would make everybody who is quick look alike. So here the
same engine, with the same checks and answers (:mod:`devstack.fpga`), stands behind as much of HTTP/2 (RFC 9113) and of
gRPC over it as the clients of the benchmark use, over TLS: one thread, epoll, frames by hand. Headers are not read, so
no key is checked, and a call without a message is taken for a question after the service's health.
"""

import argparse
import select
import signal
import socket
import ssl
import struct
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from devstack.fpga import requests, responses
from devstack.fpga.engines import SimulatedEngine
from protos.health_pb2 import HealthCheckResponse
from protos.serving_pb2 import PredictRequest

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4

# What a client may send without being told that there is room again, in bytes: more than any request has.
_STREAM_WINDOW = 1 << 24
_CONNECTION_WINDOW = 1 << 30
_REFILL = 1 << 26
_DEFAULT_WINDOW = 65_535
_READ = 1 << 18

# The length, kind, flags and stream before each frame's payload, in bytes.
_HEAD = 9

# Header blocks that leave the clients' tables alone (RFC 7541): `:status 200`, `content-type: application/grpc`; and
# the trailer `grpc-status: 0`.
_ANSWER = b"\x88\x0f\x10\x10application/grpc"
_TRAILER = b"\x00\x0bgrpc-status\x010"


class _Frame(NamedTuple):
    """The payload is a view of what was received, and only good until the next frame."""

    kind: int
    flags: int
    stream: int
    payload: memoryview


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Scores:
    """Answers messages as the FPGA service does."""

    def __init__(self) -> None:
        self._engine = SimulatedEngine(latency_ms=0)
        self._spec = responses.spec(requests.Model("imagenet", 1, self._engine.output_shape))
        serving = HealthCheckResponse(status=HealthCheckResponse.SERVING)
        self._health = serving.SerializeToString()

    def answer(self, message: bytes) -> bytes:
        """A serialized PredictResponse for a PredictRequest; the health for an empty message.

        Raises:
            Refusal: the request is none that the service takes.
        """
        if not message:
            return self._health
        batch = requests.batch_of(requests.read(PredictRequest, message))
        try:
            # An engine that takes no time never waits.
            self._engine.score(batch).send(None)
        except StopIteration as done:
            return responses.prediction(self._spec, done.value)
        raise RuntimeError("the engine waits")


class Connection:
    """One client's HTTP/2 connection, without its socket: bytes in, bytes out."""

    # _input   what has come and is not a whole frame yet; _greeted whether the preface has been seen
    # _bodies  of each stream that is not at its end, what has come of its message
    # _room    how many bytes of data the client takes now, on all streams together; _waiting what it does not take yet
    # _used    bytes of data received since the client was last told that there is room

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._input = bytearray()
        self._greeted = False
        self._bodies: dict[int, bytearray] = {}
        self._room = _DEFAULT_WINDOW
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._used = 0
        settings = struct.pack(">HI", _INITIAL_WINDOW, _STREAM_WINDOW)
        self._output = [
            _frame(_SETTINGS, 0, 0, settings),
            _frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _CONNECTION_WINDOW)),
        ]

    def receive(self, data: bytes | memoryview) -> None:
        """Take bytes, and answer what they complete."""
        self._input += data
        if not self._greeted:
            if len(self._input) < len(_PREFACE):
                return
            del self._input[: len(_PREFACE)]
            self._greeted = True
        for frame in self._frames():
            self._handle(frame)

    def output(self) -> bytes:
        """What is to be sent now."""
        made, self._output = b"".join(self._output), []
        return made

    def _frames(self) -> Iterator[_Frame]:
        at, length = 0, len(self._input)
        with memoryview(self._input) as have:
            while length - at >= _HEAD:
                end = at + _HEAD + int.from_bytes(have[at : at + 3])
                if end > length:
                    break
                stream = int.from_bytes(have[at + 5 : at + _HEAD]) & 0x7FFFFFFF
                with have[at + _HEAD : end] as payload:
                    yield _Frame(have[at + 3], have[at + 4], stream, payload)
                at = end
        del self._input[:at]

    def _handle(self, frame: _Frame) -> None:
        if frame.kind == _DATA:
            self._data(frame)
        elif frame.kind == _HEADERS:
            self._bodies[frame.stream] = bytearray()
        elif frame.kind == _RST_STREAM:
            self._bodies.pop(frame.stream, None)
        elif frame.kind == _SETTINGS and not frame.flags & _ACK:
            self._output.append(_frame(_SETTINGS, _ACK, 0, b""))
        elif frame.kind == _PING and not frame.flags & _ACK:
            self._output.append(_frame(_PING, _ACK, 0, bytes(frame.payload)))
        elif frame.kind == _WINDOW_UPDATE and frame.stream == 0:
            self._room += int.from_bytes(frame.payload)
            self._send()

    def _data(self, frame: _Frame) -> None:
        self._used += len(frame.payload)
        if self._used > _REFILL:
            self._output.append(_frame(_WINDOW_UPDATE, 0, 0, struct.pack(">I", self._used)))
            self._used = 0
        body = self._bodies.get(frame.stream)
        if body is None:
            return  # it was reset
        body += frame.payload
        if frame.flags & _END_STREAM:
            del self._bodies[frame.stream]
            # gRPC puts five bytes before a message: whether it is compressed, and its length.
            message = self._scores.answer(bytes(memoryview(body)[5:]))
            self._waiting.append((frame.stream, struct.pack(">BI", 0, len(message)) + message))
            self._send()

    def _send(self) -> None:
        """Send the answers that the client has room for: each is smaller than what one stream may hold."""
        while self._waiting and len(self._waiting[0][1]) <= self._room:
            stream, data = self._waiting.popleft()
            self._room -= len(data)
            self._output.append(_frame(_HEADERS, _END_HEADERS, stream, _ANSWER))
            # No frame may be larger than 16,384 bytes where the client has not said so.
            self._output += [_frame(_DATA, 0, stream, data[at : at + 16_384]) for at in range(0, len(data), 16_384)]
            self._output.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _TRAILER))


class _Client:
    """A connection with its socket."""

    # _unsent  what the socket did not take

    def __init__(self, end: ssl.SSLSocket, scores: Scores) -> None:
        self.end = end
        self._connection = Connection(scores)
        self._unsent = memoryview(b"")
        self._shaken = False
        # Not a new one for each read: most of it would not be used.
        self._buffer = memoryview(bytearray(_READ))

    @property
    def blocked(self) -> bool:
        return bool(self._unsent)

    def work(self) -> None:
        """Read what there is, answer it, send what goes.

        Raises:
            OSError: the client is gone.
        """
        try:
            if not self._shaken:
                self.end.do_handshake()
                self._shaken = True
            while not self.blocked:
                self._write()
                count = self.end.recv_into(self._buffer)
                if not count:
                    raise ConnectionResetError
                self._connection.receive(self._buffer[:count])
                # More may have been read from the network than the TLS record that was asked for.
                if not self.end.pending():
                    self._write()
            self._write()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return

    def _write(self) -> None:
        self._unsent = self._unsent or memoryview(self._connection.output())
        while self._unsent:
            self._unsent = self._unsent[self.end.send(self._unsent) :]


class Server:
    """Serves clients, one thread for all."""

    def __init__(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        self._listener = listener
        self._context = context
        self._scores = Scores()
        self._epoll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self._epoll.register(listener, select.EPOLLIN)

    def run(self) -> None:
        """Serve until a signal."""
        while True:
            for number, _ in self._epoll.poll():
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(self._clients[number])

    def _accept(self) -> None:
        end, _ = self._listener.accept()
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
        secure = self._context.wrap_socket(end, server_side=True, do_handshake_on_connect=False)
        self._clients[secure.fileno()] = _Client(secure, self._scores)
        self._epoll.register(secure.fileno(), select.EPOLLIN)

    def _serve(self, client: _Client) -> None:
        number = client.end.fileno()
        try:
            client.work()
        except OSError:
            self._epoll.unregister(number)
            self._clients.pop(number).end.close()
            return
        self._epoll.modify(number, select.EPOLLIN | (select.EPOLLOUT if client.blocked else 0))


def main() -> None:
    """Serve until a signal; prints ``ready <address>``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quick_service")
    parser.add_argument("--certificate", type=Path, required=True, help="certificate chain and key, PEM")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        print(f"ready 127.0.0.1:{listener.getsockname()[1]}", flush=True)
        Server(listener, context).run()


if __name__ == "__main__":
    main()
