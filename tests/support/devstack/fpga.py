"""Messages and clients of the FPGA service."""

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image

from devstack.authority import Authority
from devstack.fpga import Service
from protos import serving_pb2, tensor_pb2
from tests.support.inference_service import KEYS

PREDICT = "/tensorflow.serving.PredictionService/Predict"
METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"

SHAPE = (1, 224, 224, 3)


def picture(value: int = 127, form: str = "PNG", side: int = 32) -> bytes:
    """An image file of one shade of grey."""
    stream = io.BytesIO()
    Image.new("L", (side, side), value).save(stream, form)
    return stream.getvalue()


def shape(*sizes: int) -> tensor_pb2.TensorShapeProto:
    return tensor_pb2.TensorShapeProto(dim=[tensor_pb2.TensorShapeProto.Dim(size=size) for size in sizes])


def files(*images: bytes) -> tensor_pb2.TensorProto:
    return tensor_pb2.TensorProto(dtype=tensor_pb2.DT_STRING, tensor_shape=shape(len(images)), string_val=list(images))


def pixels(values: Any) -> tensor_pb2.TensorProto:
    array = np.asarray(values, "<f4")
    return tensor_pb2.TensorProto(
        dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape(*array.shape), tensor_content=array.tobytes()
    )


def fill(value: float, sizes: Sequence[int] = SHAPE) -> tensor_pb2.TensorProto:
    """A tensor with one value for all elements."""
    return tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_shape=shape(*sizes), float_val=[value])


def request(tensor: tensor_pb2.TensorProto | None = None, **rest: Any) -> serving_pb2.PredictRequest:
    return serving_pb2.PredictRequest(inputs={"images": tensor or files(picture())}, **rest)


def scores(response: serving_pb2.PredictResponse) -> Any:
    """The output as an array, read as the public clients read it: from ``float_val`` alone."""
    tensor = response.outputs["output_alias"]
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return np.array(tensor.float_val, np.float32).reshape(sizes)


class Client:
    """Calls methods by name over one channel, with a key or without."""

    def __init__(self, address: str, roots: bytes | None = None, key: str | None = None) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.key = key
        self._channel = (
            grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(roots), options)
            if roots
            else grpc.aio.insecure_channel(address, options)
        )

    async def call[M: Message](
        self, method: str, message: Message, answer: type[M], deadline: float = 10, **metadata: str
    ) -> M:
        unary: Any = self._channel.unary_unary(
            method, request_serializer=_serialize, response_deserializer=answer.FromString
        )
        response: M = await unary(message, metadata=self._metadata(metadata), timeout=deadline)
        return response

    async def predict(
        self, message: serving_pb2.PredictRequest | None = None, deadline: float = 10, **metadata: str
    ) -> serving_pb2.PredictResponse:
        return await self.call(PREDICT, message or request(), serving_pb2.PredictResponse, deadline, **metadata)

    def stream[M: Message](self, method: str, message: Message, answer: type[M]) -> Any:
        streaming: Any = self._channel.unary_stream(
            method, request_serializer=_serialize, response_deserializer=answer.FromString
        )
        return streaming(message, metadata=self._metadata({}), timeout=10)

    async def raw(self, method: str, data: bytes, deadline: float | None = 10) -> Any:
        """Send bytes that need not be a message."""
        unary: Any = self._channel.unary_unary(method)
        return await unary(data, metadata=self._metadata({}), timeout=deadline)

    async def close(self) -> None:
        await self._channel.close()

    def _metadata(self, more: dict[str, str]) -> Any:
        key = {"authorization": self.key} if self.key is not None else {}
        return tuple((key | more).items())


def handshake(port: int, context: ssl.SSLContext) -> tuple[bytes, str | None, str | None]:
    """A TLS handshake over HTTP/2: the server's certificate in DER form, the TLS version, the protocol above it."""
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b"", tls.version(), tls.selected_alpn_protocol()


async def predict_after_reconnect(client: Client) -> serving_pb2.PredictResponse:
    """Predict over a channel whose connection was dropped: a call or two may still fail with the old connection."""
    for _ in range(100):
        try:
            return await client.predict()
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            await asyncio.sleep(0.01)
    raise AssertionError("the channel has not reconnected")


async def failure(call: Awaitable[object]) -> grpc.aio.AioRpcError:
    """The error of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


Connect = Callable[..., Client]


@pytest.fixture
async def connect(authority: Authority) -> AsyncIterator[Connect]:
    """Makes clients that trust the authority, and by default send the primary key."""
    async with AsyncExitStack() as stack:

        def client(service: Service, key: str | None = KEYS.primary) -> Client:
            made = Client(service.address, authority.pem, key)
            stack.push_async_callback(made.close)
            return made

        yield client
