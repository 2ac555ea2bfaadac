"""Load on a gRPC server with nothing around it: requests made beforehand, answers not read.

It is the floor that everything in Python stands on (gRPC's own asynchronous channel), and the way to load a proxy for
gRPC.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Self

import grpc

from benchmarks.http_load import BadAnswer, Done, Slice
from shared.fpga.channels import PREDICT

_DEADLINE = 60.0

type Call = Callable[[], Awaitable[bytes]]


class GrpcLoad:
    """Calls on one channel, in the running event loop; use it in an ``async with`` block."""

    def __init__(self, channel: grpc.aio.Channel, request: bytes, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._request = request
        self._metadata = metadata
        self._predict: Callable[..., Awaitable[bytes]] = channel.unary_unary(PREDICT)

    @classmethod
    def secure(cls, address: str, roots: bytes, key: str, request: bytes) -> Self:
        """To the FPGA service: TLS, and the key."""
        credentials = grpc.ssl_channel_credentials(root_certificates=roots)
        return cls(grpc.aio.secure_channel(address, credentials), request, (("authorization", key),))

    @classmethod
    def plain(cls, address: str, request: bytes) -> Self:
        """To a proxy on this machine that has the key itself."""
        return cls(grpc.aio.insecure_channel(address), request, ())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._channel.close()

    async def call(self) -> bytes:
        """Call once.

        Raises:
            BadAnswer: it was not answered.
        """
        try:
            return await self._predict(self._request, timeout=_DEADLINE, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            raise BadAnswer(f"a gRPC server answered {error.code().name}: {error.details()}") from None

    async def run(self, calls: int, seconds: float, least: int = 2) -> Slice:
        """Keep so many calls under way; as :meth:`benchmarks.http_load.HttpLoad.run`."""
        return await closed_loop(self.call, calls, seconds, least)


async def closed_loop(call: Callable[[], Awaitable[object]], calls: int, seconds: float, least: int = 2) -> Slice:
    """Keep so many calls under way for so long, and for at least so many answers each."""
    made = Slice(time.monotonic())
    end, wanted = made.started + seconds, least * calls

    async def caller() -> None:
        while True:
            started = time.monotonic()
            await call()
            now = time.monotonic()
            if going():
                made.done.append(Done(now, now - started))
            if not going():
                return

    def going() -> bool:
        return time.monotonic() < end or len(made.done) < wanted

    worked = time.thread_time()
    await asyncio.gather(*(caller() for _ in range(calls)))
    made.worked = time.thread_time() - worked
    return made
