"""A lean gRPC client that keeps a number of calls under way: requests made beforehand, answers not parsed.

It is the floor of every comparison in Python (gRPC's own asynchronous channel), and the load on a proxy for gRPC.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

import grpc

from benchmarks.harness.errors import BadAnswer
from benchmarks.harness.slices import Slice

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_DEADLINE = 60.0


class GrpcLoad:
    """Calls on one channel, in the running event loop, ``calls`` at a time; use it in an ``async with`` block."""

    def __init__(
        self, channel: grpc.aio.Channel, request: bytes, metadata: tuple[tuple[str, str], ...], calls: int
    ) -> None:
        self._channel = channel
        self._request = request
        self._metadata = metadata
        self._calls = calls
        self._predict: Callable[..., Awaitable[bytes]] = channel.unary_unary(PREDICT)

    @classmethod
    def secure(cls, address: str, roots: bytes, key: str, request: bytes, calls: int = 1) -> Self:
        """To the inference service: TLS, and the key."""
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        return cls(grpc.aio.secure_channel(address, credentials), request, (("authorization", key),), calls)

    @classmethod
    def plain(cls, address: str, request: bytes, calls: int = 1) -> Self:
        """To a proxy on this machine, which adds the key."""
        return cls(grpc.aio.insecure_channel(address), request, (), calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._channel.close()

    async def call(self) -> bytes:
        """Call once.

        Raises:
            BadAnswer: the call failed.
        """
        try:
            return await self._predict(self._request, timeout=_DEADLINE, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise BadAnswer(f"a gRPC server answered {error.code().name}: {error.details()}") from None

    async def first(self) -> bytes:
        """All calls at once, one time; returns one of the answers."""
        return (await asyncio.gather(*(self.call() for _ in range(self._calls))))[0]

    async def run(self, seconds: float, least: int = 2) -> Slice:
        """As :meth:`benchmarks.harness.http_load.HttpLoad.run`."""
        return await closed_loop(self.call, self._calls, seconds, least)


async def closed_loop(call: Callable[[], Awaitable[object]], calls: int, seconds: float, least: int = 2) -> Slice:
    """Keep so many calls under way for so long, and for at least ``least`` answers each."""
    made = Slice(time.monotonic())
    end, wanted = made.started + seconds, least * calls

    def more() -> bool:
        return time.monotonic() < end or len(made.took) < wanted

    async def caller() -> None:
        while True:
            started = time.monotonic()
            await call()
            now = time.monotonic()
            if more():
                made.add(started, now)
            if not more():
                return

    cpu = time.thread_time()
    await asyncio.gather(*(caller() for _ in range(calls)))
    made.client_cpu = time.thread_time() - cpu
    return made
