"""gRPC's channels to one service, without a network and on the test's clock; what is called, and when, is recorded.

Replaces ``grpc.aio.secure_channel``: everything above it is the gateway's own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc import ChannelConnectivity as State
from grpc import StatusCode

from tests.support.clock import Clock

NO_METADATA = grpc.aio.Metadata()
REFUSED = "connections to all backends failing; last error: Connection refused"
UNTRUSTED = "Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: unable to get local issuer certificate"


def failure(code: StatusCode, details: str = "") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, NO_METADATA, NO_METADATA, details)


@dataclass(frozen=True)
class Seen:
    """A call that reached the service: when, over which channel (the first is 0), with which key and other metadata.

    ``timeout`` is the time that gRPC was given for it, in seconds.
    """

    at: float
    channel: int
    key: str
    metadata: tuple[tuple[str, str], ...] = ()
    timeout: float = 0.0
    method: str = ""


@dataclass
class FakeNetwork:
    """The service behind the channels, and whether and how fast they connect.

    ``accepts`` says whether the service's certificate is trusted by the roots of a channel, ``hangs`` whether its
    handshake never ends; otherwise it takes ``handshake`` seconds. ``details`` are those of calls over a channel that
    does not connect, where they are not the usual ones. ``respond`` gets each call that reaches the service.
    """

    clock: Clock
    up: bool = True
    accepts: Callable[[bytes], bool] = lambda _roots: True
    hangs: Callable[[bytes], bool] = lambda _roots: False
    handshake: float = 0.01
    details: str = ""
    respond: Callable[[Seen], Awaitable[bytes]] | None = None
    calls: list[Seen] = field(default_factory=list)
    channels: list["FakeChannel"] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [seen.key for seen in self.calls]

    @property
    def times(self) -> list[float]:
        """The seconds between the first call and each of the calls."""
        return [round(seen.at - self.calls[0].at, 3) for seen in self.calls]

    def open(self, target: str, roots: Any, options: list[tuple[str, Any]]) -> "FakeChannel":
        self.channels.append(FakeChannel(self, len(self.channels), roots, target, dict(options)))
        return self.channels[-1]


class FakeChannel:
    """One channel; it connects where it is asked to, and loses its connection by :meth:`drop`.

    ``roots`` are what its credentials were made of; None for one without TLS.
    """

    def __init__(
        self, network: FakeNetwork, number: int, roots: Any, target: str = "", options: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network
        self.number = number
        self.roots = roots
        self.target = target
        self.options = options or {}
        self.state = State.IDLE
        self.closed_at: float | None = None
        self.opened: list[str] = []
        self._changed = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None

    def drop(self, state: State = State.IDLE) -> None:
        self._become(state)

    def get_state(self, try_to_connect: bool = False) -> State:
        if try_to_connect and self.state is State.SHUTDOWN:
            raise grpc.aio.UsageError("Channel is closed.")
        if try_to_connect and self.state in (State.IDLE, State.TRANSIENT_FAILURE) and self._connecting is None:
            pause = 0.1 if self.state is State.TRANSIENT_FAILURE else 0.0
            self._connecting = asyncio.create_task(self._connect(pause))
        return self.state

    async def wait_for_state_change(self, last: State) -> None:
        while self.state is last:
            await self._changed.wait()

    def unary_unary(self, method: str) -> Callable[..., Awaitable[bytes]]:
        self.opened.append(method)
        return partial(self._call, method)

    async def close(self) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        self.closed_at = self.closed_at or self.network.clock.now
        self._become(State.SHUTDOWN)

    async def _call(
        self,
        method: str,
        _request: bytes,
        *,
        timeout: float,  # noqa: ASYNC109 - gRPC's
        metadata: tuple[tuple[str, str], ...],
    ) -> bytes:
        network = self.network
        if self.state is State.SHUTDOWN:
            raise grpc.aio.UsageError("Channel is closed.")
        try:
            async with asyncio.timeout(timeout):
                while self.state is not State.READY:
                    if self.state is State.TRANSIENT_FAILURE:
                        raise failure(StatusCode.UNAVAILABLE, network.details or (UNTRUSTED if network.up else REFUSED))
                    last = self.get_state(try_to_connect=True)
                    await self.wait_for_state_change(last)
                seen = Seen(
                    network.clock.now, self.number, dict(metadata).get("authorization", ""), metadata, timeout, method
                )
                network.calls.append(seen)
                return b"response" if network.respond is None else await network.respond(seen)
        except TimeoutError:
            raise failure(StatusCode.DEADLINE_EXCEEDED) from None

    async def _connect(self, pause: float) -> None:
        await asyncio.sleep(pause)
        self._become(State.CONNECTING)
        await asyncio.sleep(1e6 if self.network.hangs(self.roots) else self.network.handshake)
        self._connecting = None
        good = self.network.up and self.network.accepts(self.roots)
        self._become(State.READY if good else State.TRANSIENT_FAILURE)

    def _become(self, state: State) -> None:
        if self.state is not State.SHUTDOWN:
            self.state = state
        self._changed.set()
        self._changed = asyncio.Event()


@pytest.fixture
def network(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> FakeNetwork:
    """The network that the running test's channels are made in."""
    network = FakeNetwork(clock)

    def credentials(root_certificates: bytes, *presented: bytes) -> Any:
        return (root_certificates, *presented) if presented else root_certificates

    def insecure(target: str, options: list[tuple[str, Any]]) -> FakeChannel:
        return network.open(target, None, options)

    monkeypatch.setattr(grpc, "ssl_channel_credentials", credentials)
    monkeypatch.setattr(grpc.aio, "secure_channel", network.open)
    monkeypatch.setattr(grpc.aio, "insecure_channel", insecure)
    return network
