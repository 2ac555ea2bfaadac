"""An inference service that answers with whatever bytes or status a test gives it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import grpc
import grpc.aio

from shared.upstream.codecs.wire import LENGTH, VARINT, tag, varint
from shared.upstream.codecs.wire import field as wire_field


class Refusal(NamedTuple):
    """A gRPC status with its details."""

    code: grpc.StatusCode
    details: str


@dataclass
class HostileService(grpc.GenericRpcHandler):
    """Answers each method with raw bytes or a refusal; ``calls`` are the methods that were called."""

    answers: Mapping[str, bytes | Refusal]
    port: int = 0
    calls: list[str] = field(default_factory=list)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        answer = self.answers.get(handler_call_details.method)
        self.calls.append(handler_call_details.method)
        if answer is None:
            return None

        async def respond(_request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            if isinstance(answer, Refusal):
                await context.abort(*answer)
            return answer

        return grpc.unary_unary_rpc_method_handler(respond)


@asynccontextmanager
async def hostile_service(answers: Mapping[str, bytes | Refusal]) -> AsyncIterator[HostileService]:
    """A running service without TLS on loopback."""
    service = HostileService(answers)
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 20)])
    server.add_generic_rpc_handlers((service,))
    service.port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield service
    finally:
        await server.stop(0)


def many_dimensions(count: int, size: int = 2**62) -> bytes:
    """A PredictResponse whose output has a shape of so many dimensions."""
    dim = wire_field(2, tag(1, VARINT) + varint(size))
    tensor = tag(1, VARINT) + varint(1) + wire_field(2, dim * count) + wire_field(5, bytes(8))
    return _output(b"output_alias", tensor)


def many_outputs(names: list[bytes]) -> bytes:
    """A PredictResponse with empty outputs of these names."""
    return b"".join(_output(name, b"") for name in names)


def empty_entries(size: int) -> bytes:
    """A message of that many bytes: nothing but empty entries of its field 1."""
    return (tag(1, LENGTH) + b"\0") * (size // 2)


def _output(name: bytes, tensor: bytes) -> bytes:
    return wire_field(1, wire_field(1, name) + wire_field(2, tensor))
