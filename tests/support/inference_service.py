"""Real FPGA services on loopback with the simulated engine, and their credentials."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from devstack.authority import Authority, Issued
from devstack.fpga import Engine, Identity, KeyPair, KeyRing, Keys, Model, Service, SimulatedEngine

KEYS = Keys("the-primary-key", "the-secondary-key")

StartService = Callable[..., Awaitable[Service]]


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def issued(authority: Authority) -> Issued:
    return authority.issue()


@pytest.fixture
async def start(issued: Issued) -> AsyncIterator[StartService]:
    """Starts services, by default with TLS, ``KEYS`` and the simulated engine with ten classes."""
    async with AsyncExitStack() as stack:

        async def start_service(
            certificate: Issued = issued, *, engine: Engine | None = None, tls: bool = True, **rest: Any
        ) -> Service:
            if engine is None:
                engine = SimulatedEngine(0, classes=10)
                stack.callback(engine.close)
            if tls:
                identity = Identity(KeyPair(certificate.chain, certificate.key))
                rest = {"keys": KeyRing(KEYS), "identity": identity, **rest}
            service = Service(Model("imagenet", 1, engine.output_shape), engine, **rest)
            stack.push_async_callback(service.stop, 0)
            await service.start()
            return service

        yield start_service


@pytest.fixture
async def service(start: StartService) -> Service:
    """A running service."""
    return await start()
