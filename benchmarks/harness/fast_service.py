"""The simulated engine with a minimal gRPC server: ``python -m benchmarks.harness.fast_service``.

With an engine that takes no time, the local inference service needs as much processor time for a request as the server
that is measured: gRPC's server in Python, not the engine. All fast servers would then have the same figures. So here
the same engine, with the same checks and answers (:mod:`devstack.fpga`), is served by as much of HTTP/2 (RFC 9113) and
of gRPC as the benchmark's clients use, over TLS. Headers are not parsed, so no key is checked, and a call without a
message is answered as a health check.
"""

import argparse
import ssl
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.epoll_server import serve
from devstack.fpga import requests, responses
from devstack.fpga.engines import SimulatedEngine
from protos.health_pb2 import HealthCheckResponse
from protos.serving_pb2 import PredictRequest

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4

# Flow control, in bytes: the clients' windows are larger than any request, and enlarged again after so many bytes.
_STREAM_WINDOW = 1 << 24
_CONNECTION_WINDOW = 1 << 30
_REFILL = 1 << 26
_DEFAULT_WINDOW = 65_535
_LARGEST_FRAME = 16_384

# The length, kind, flags and stream before each frame's payload, in bytes.
_HEAD = 9

# Header blocks that do not use the clients' tables (RFC 7541): `:status 200`, `content-type: application/grpc`; and the
# trailer `grpc-status: 0`.
_ANSWER = b"\x88\x0f\x10\x10application/grpc"
_TRAILER = b"\x00\x0bgrpc-status\x010"


class _Frame(NamedTuple):
    """The payload is a view of the received bytes, valid until the next frame."""

    kind: int
    flags: int
    stream: int
    payload: memoryview


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Scores:
    """Answers messages as the local inference service does."""

    def __init__(self) -> None:
        self._engine = SimulatedEngine(latency_ms=0)
        self._spec = responses.spec(requests.Model("imagenet", 1, self._engine.output_shape))
        serving = HealthCheckResponse(status=HealthCheckResponse.SERVING)
        self._health = serving.SerializeToString()

    def answer(self, message: bytes) -> bytes:
        """A serialized PredictResponse for a PredictRequest; the health for an empty message.

        Raises:
            Refusal: the request is not valid.
        """
        if not message:
            return self._health
        batch = requests.batch_of(requests.read(PredictRequest, message))
        try:
            # An engine that takes no time never waits.
            self._engine.score(batch).send(None)
        except StopIteration as done:
            return responses.prediction(self._spec, done.value)
        raise RuntimeError("the engine waited")


class Connection:
    """One client's HTTP/2 connection, without I/O."""

    # _input    received bytes that are not a whole frame yet; _greeted whether the preface was received
    # _bodies   the message of each stream that has not ended, as far as it was received
    # _room     the client's window for the whole connection, in bytes; _waiting the answers that do not fit into it yet
    # _used     bytes of data received since the client's window was last enlarged
    # _output   frames to be sent

    def __init__(self, scores: Scores) -> None:
        self._scores = scores
        self._input = bytearray()
        self._greeted = False
        self._bodies: dict[int, bytearray] = {}
        self._room = _DEFAULT_WINDOW
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._used = 0
        settings = struct.pack(">HI", _INITIAL_WINDOW, _STREAM_WINDOW)
        window = struct.pack(">I", _CONNECTION_WINDOW)
        self._output = [_frame(_SETTINGS, 0, 0, settings), _frame(_WINDOW_UPDATE, 0, 0, window)]

    def receive(self, data: bytes | memoryview) -> bytes:
        """Process received bytes; returns the bytes to be sent."""
        self._input += data
        if not self._greeted and len(self._input) >= len(_PREFACE):
            del self._input[: len(_PREFACE)]
            self._greeted = True
        if self._greeted:
            for frame in self._frames():
                self._handle(frame)
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
            return  # the stream was reset
        body += frame.payload
        if frame.flags & _END_STREAM:
            del self._bodies[frame.stream]
            # gRPC puts five bytes before a message: whether it is compressed, and its length.
            message = self._scores.answer(bytes(memoryview(body)[5:]))
            self._waiting.append((frame.stream, struct.pack(">BI", 0, len(message)) + message))
            self._send()

    def _send(self) -> None:
        """Send the answers that fit into the connection's window; each is smaller than a stream's window."""
        while self._waiting and len(self._waiting[0][1]) <= self._room:
            stream, data = self._waiting.popleft()
            self._room -= len(data)
            self._output.append(_frame(_HEADERS, _END_HEADERS, stream, _ANSWER))
            for at in range(0, len(data), _LARGEST_FRAME):
                self._output.append(_frame(_DATA, 0, stream, data[at : at + _LARGEST_FRAME]))
            self._output.append(_frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _TRAILER))


def main() -> None:
    """Serve until SIGTERM; prints ``ready ADDRESS``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.harness.fast_service")
    parser.add_argument("--certificate", type=Path, required=True, help="certificate chain and key, PEM")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(parser.parse_args().certificate)
    context.set_alpn_protocols(["h2"])
    scores = Scores()
    serve(lambda: Connection(scores), context=context)


if __name__ == "__main__":
    main()
