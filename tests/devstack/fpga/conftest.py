"""What the tests of the service share: a certificate authority, services that end with their test, and clients."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import (
    Endpoint,
    Engine,
    Identity,
    KeyPair,
    KeyRing,
    Keys,
    Model,
    Service,
    SimulatedEngine,
)
from tests.devstack.fpga.wire import Client

KEYS = Keys("the-first", "the-second")

StartService = Callable[..., Awaitable[Service]]
Connect = Callable[..., Client]


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def issued(authority: Authority) -> Issued:
    return authority.issue()


@pytest.fixture(scope="session")
def pair(issued: Issued) -> KeyPair:
    return KeyPair(issued.chain, issued.key)


@pytest.fixture
async def start(pair: KeyPair) -> AsyncIterator[StartService]:
    """Starts services on free ports: over TLS with the keys above, unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def start_service(
            engine: Engine | None = None, *, tls: bool = True, limit: int | None = None, **rest: Any
        ) -> Service:
            if engine is None:
                engine = SimulatedEngine(0)
                stack.callback(engine.close)
            if tls:
                rest = {"keys": KeyRing(KEYS), "identity": Identity(pair)} | rest
            endpoint = Endpoint(message_limit=limit) if limit else Endpoint()
            service = Service(Model("imagenet", 1, engine.output_shape), engine, endpoint=endpoint, **rest)
            stack.push_async_callback(service.stop, 0)
            await service.start()
            return service

        yield start_service


@pytest.fixture
async def connect(authority: Authority) -> AsyncIterator[Connect]:
    """Makes clients that trust the authority and send the first key, unless told otherwise."""
    async with AsyncExitStack() as stack:

        def client(service: Service, key: str | None = KEYS.primary, *, tls: bool = True, **options: Any) -> Client:
            made = Client(service.address, authority.pem if tls else None, key, **options)
            stack.push_async_callback(made.close)
            return made

        yield client
