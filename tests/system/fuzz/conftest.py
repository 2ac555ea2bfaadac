"""The fuzzed gateway: the app's functions with a simulated service without TLS, in one event loop."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from devstack.fpga import Model, Service, SimulatedEngine
from shared import gateway
from tests.support.app import Response, score, serve

# In seconds: much longer than any upload of these tests takes.
DEADLINE = 10.0

Upload = Callable[..., Response]


@pytest.fixture(scope="module")
def upload() -> Iterator[Upload]:
    """Sends a request to ``POST /api/score`` of the gateway, and returns the response."""
    with asyncio.Runner() as runner, pytest.MonkeyPatch.context() as variables:
        engine = SimulatedEngine(0, classes=10)
        service = Service(Model("imagenet", 1, engine.output_shape), engine)
        runner.run(service.start())
        serve(service.port, variables, files="encoded", pixels="tensor")
        for name in ("FILES", "PIXELS"):
            variables.setenv(f"SERVICE__{name}__DEADLINE_MS", str(int(DEADLINE * 1000)))
        yield lambda *arguments, **options: runner.run(score(*arguments, **options))
        runner.run(gateway.forget())
        runner.run(service.stop(0))
        engine.close()
