"""A client of one service on the test's own clock: what Key Vault has, its calls, and services that fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from grpc import StatusCode

from shared.credentials.cache import CredentialCache, Credentials
from shared.credentials.pins import Pins
from shared.errors import GatewayError
from shared.settings import ServiceSettings
from shared.telemetry import RequestContext
from shared.upstream import recovery
from shared.upstream.client import ServiceClient
from shared.upstream.retry import PAUSE_FIRST, PAUSE_LAST
from tests.support.clock import Clock
from tests.support.fake_network import FakeNetwork, Seen, failure

OLD, NEW, NEWEST = (Pins(f"{name} ".encode(), (name,)) for name in ("old", "new", "newest"))
BOTH = Pins(b"old new ", ("old", "new"))
ALL = Pins(b"old new newest ", ("old", "new", "newest"))
REFRESH = 1000.0


class Vault:
    """What Key Vault has; each read takes ``seconds``."""

    def __init__(self, clock: Clock) -> None:
        self.keys: tuple[str, ...] = ("one", "two")
        self.pins = OLD
        self.seconds = 0.01
        self.reads = 0
        self.cache = CredentialCache(self._read, refresh_seconds=REFRESH, clock=clock.monotonic)
        self._clock = clock

    async def _read(self) -> Credentials:
        self.reads += 1
        started, keys, pins = self._clock.now, self.keys, self.pins
        await asyncio.sleep(self.seconds)
        return Credentials(keys, pins, started)


@pytest.fixture
def vault(clock: Clock) -> Vault:
    return Vault(clock)


@pytest.fixture
async def client(network: FakeNetwork, vault: Vault) -> AsyncIterator[ServiceClient]:
    """A client that has made its first call."""
    client = ServiceClient(ServiceSettings("cats", "localhost"), vault.cache)
    await call(client, network.clock)
    network.calls.clear()
    yield client
    before = network.clock.now
    await client.close()
    vault.cache.close()
    assert all(channel.closed_at is not None for channel in network.channels)
    assert network.clock.now == before, "the end waits for nobody"


@pytest.fixture
def longest_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are random up to these."""
    monkeypatch.setattr(recovery, "pause", lambda attempt: min(PAUSE_FIRST * 2 ** (attempt - 1), PAUSE_LAST))


async def call(client: ServiceClient, clock: Clock, seconds: float = 10) -> bytes:
    return await client.call("/method", b"request", RequestContext("request", clock.now + seconds))


async def failed(client: ServiceClient, clock: Clock, seconds: float = 10) -> tuple[GatewayError, float]:
    """The error of a call, and how long it took."""
    started = clock.now
    with pytest.raises(GatewayError) as caught:
        await call(client, clock, seconds)
    return caught.value, round(clock.now - started, 3)


def refusing(*accepted: str) -> Callable[[Seen], Awaitable[bytes]]:
    """A service that accepts these keys."""

    async def respond(seen: Seen) -> bytes:
        if seen.key not in accepted:
            raise failure(StatusCode.UNAUTHENTICATED)
        return b"response"

    return respond


def failing(codes: Sequence[StatusCode]) -> Callable[[Seen], Awaitable[bytes]]:
    """A service whose next calls fail like this."""
    left = list(codes)

    async def respond(_: Seen) -> bytes:
        if left:
            raise failure(left.pop(0), "Socket closed")
        return b"response"

    return respond
