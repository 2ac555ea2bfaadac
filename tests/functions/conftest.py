"""The fixtures of the doors: a service in the clear, with and without tensors made by the gateway, and the app."""

import os
from collections.abc import AsyncIterator

import pytest

from shared import gateway
from tests.functions.door_lab import Door
from tests.shared.fpga.conftest import StartService, authority, issued, start

__all__ = ["authority", "issued", "start"]  # fixtures, shared with the tests of the channels

MODELS = {"CATS": "encoded", "PIXELS": "tensor"}


@pytest.fixture
async def door(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """The doors of a gateway whose service ``cats`` takes files, and ``pixels`` tensors."""
    service = await start(tls=False)
    serve(service.port, monkeypatch)
    yield Door(service)
    await gateway.forget()


def serve(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the settings of both services at a port."""
    for name in list(os.environ):
        if name.startswith(("SERVICE", "KEY_VAULT", "MAX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SERVICES", "cats, pixels")
    for name, form in MODELS.items():
        monkeypatch.setenv(f"SERVICE__{name}__ADDRESS", "127.0.0.1")
        monkeypatch.setenv(f"SERVICE__{name}__PORT", str(port))
        monkeypatch.setenv(f"SERVICE__{name}__TLS", "insecure-no-key-is-sent")
        monkeypatch.setenv(f"SERVICE__{name}__INPUT_FORM", form)
