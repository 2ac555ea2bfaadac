"""Unary calls of gRPC: bytes in, bytes out, over one channel.

grpc.aio makes a task for each call, and some dozen objects around gRPC's core: of a call one at a time, they are a
twelfth of its time, and more in Azure, where the worker has a slower task factory. :class:`DirectCalls` awaits the core
itself, by the three members that grpc.aio calls it by. They are not public: so only versions of gRPC are used like that
with which this is tested, and :class:`PublicCalls` serves all others.
"""

import asyncio
import time
from typing import Any, Protocol

import grpc
import grpc.aio

type Pairs = tuple[tuple[str, str], ...]

# From the first version to before the last one. The oldest is that of requirements.txt.
TESTED = (1, 70), (1, 86)

_STATUSES = {status.value[0]: status for status in grpc.StatusCode}
_CANCELLED = "Cancelled by the gateway."


class Calls(Protocol):
    """The calls over one channel; it belongs to the event loop that made it."""

    async def call(self, method: str, request: bytes, seconds: float, metadata: Pairs) -> bytes:
        """Call a method, as ``/package.Service/Method``, with a serialized message and ``seconds`` until the deadline.

        Raises:
            grpc.aio.AioRpcError: as gRPC reports it; UNAVAILABLE also where the channel was closed meanwhile.
        """
        ...

    def cancel(self) -> None:
        """End the calls in progress, since the channel is about to be closed."""
        ...


def calls_over(channel: grpc.aio.Channel) -> Calls:
    """The calls over a channel, in the way that the installed version of gRPC allows."""
    core = getattr(channel, "_channel", None)
    return PublicCalls(channel) if core is None or not is_tested(grpc.__version__) else DirectCalls(core)


def is_tested(version: str) -> bool:
    """Whether the core of a version of gRPC may be called directly."""
    major, minor = version.split(".")[:2]
    return TESTED[0] <= (int(major), int(minor)) < TESTED[1]


class DirectCalls:
    """Calls that await gRPC's core."""

    # _methods  the methods' names in bytes
    # _open     the calls in progress

    def __init__(self, core: Any) -> None:
        self._core = core
        self._methods: dict[str, bytes] = {}
        self._open = set[Any]()

    async def call(self, method: str, request: bytes, seconds: float, metadata: Pairs) -> bytes:
        """See :meth:`Calls.call`."""
        name = self._methods.get(method)
        if name is None:
            name = self._methods[method] = method.encode()
        try:
            call = self._core.call(name, time.time() + seconds, None, None)
        except grpc.aio.UsageError:
            raise _closed() from None
        self._open.add(call)
        try:
            response: bytes = await call.unary_unary(request, metadata)
        except asyncio.CancelledError:
            call.cancel(_CANCELLED)
            raise
        finally:
            self._open.discard(call)
        if call.is_ok():
            return response
        raise _closed() if call.is_locally_cancelled() else await _failure(call)

    def cancel(self) -> None:
        """See :meth:`Calls.cancel`."""
        for call in self._open:
            call.cancel(_CANCELLED)


class PublicCalls:
    """Calls by gRPC's public interface."""

    # _methods  gRPC's callables by the methods' full names

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._methods: dict[str, grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = {}

    async def call(self, method: str, request: bytes, seconds: float, metadata: Pairs) -> bytes:
        """See :meth:`Calls.call`."""
        callable_ = self._methods.get(method)
        if callable_ is None:
            # Without serializers: bytes in, bytes out.
            callable_ = self._methods[method] = self._channel.unary_unary(method)
        try:
            return await callable_(request, timeout=seconds, metadata=metadata)
        except grpc.aio.UsageError:
            raise _closed() from None
        except asyncio.CancelledError:
            # gRPC's way to report that the channel was closed; otherwise someone has cancelled this task.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise _closed() from None

    def cancel(self) -> None:
        """See :meth:`Calls.cancel`: the channel itself does it."""


async def _failure(call: Any) -> grpc.aio.AioRpcError:
    status = await call.status()
    return grpc.aio.AioRpcError(
        _STATUSES.get(status.code(), grpc.StatusCode.UNKNOWN),
        grpc.aio.Metadata.from_tuple(await call.initial_metadata() or ()),
        grpc.aio.Metadata.from_tuple(status.trailing_metadata() or ()),
        status.details(),
        status.debug_error_string(),
    )


def _closed() -> grpc.aio.AioRpcError:
    nothing = grpc.aio.Metadata()
    return grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, "the channel was closed")
