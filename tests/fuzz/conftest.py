"""The fuzzed gateway: the app's own functions, in front of a simulated service in the clear, in one event loop."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping

import pytest

from devstack.fpga import Model, Service, SimulatedEngine
from shared import gateway
from tests.faults.lab import Answer, score

# A deadline that no upload of these tests comes near, in seconds.
DEADLINE = 10.0

Upload = Callable[..., Answer]


@pytest.fixture(scope="module")
def upload() -> Iterator[Upload]:
    """Sends a request to ``POST /api/score`` of the gateway, and returns the answer."""
    before = dict(os.environ)
    with asyncio.Runner() as runner:
        engine = SimulatedEngine(0, classes=10)
        service = Service(Model("imagenet", 1, engine.output_shape), engine)
        runner.run(service.start())
        settings = {
            "SERVICES": "files, pixels",
            "SERVICE__FILES__INPUT_FORM": "encoded",
            "SERVICE__PIXELS__INPUT_FORM": "tensor",
        }
        for name in ("FILES", "PIXELS"):
            settings |= {
                f"SERVICE__{name}__ADDRESS": "127.0.0.1",
                f"SERVICE__{name}__PORT": str(service.port),
                f"SERVICE__{name}__TLS": "insecure-no-key-is-sent",
                f"SERVICE__{name}__DEADLINE_MS": str(int(DEADLINE * 1000)),
            }
        for name in [name for name in os.environ if name.startswith(("SERVICE", "KEY_VAULT"))]:
            del os.environ[name]
        os.environ.update(settings)

        def send(
            body: bytes,
            content_type: str,
            *,
            service: str = "",
            query: Mapping[str, str] | None = None,
            headers: Mapping[str, str] | None = None,
        ) -> Answer:
            return runner.run(score(body, content_type, service=service, query=query, headers=headers))

        yield send
        runner.run(gateway.forget())
        runner.run(service.stop(0))
        engine.close()
    os.environ.clear()
    os.environ.update(before)
