"""Unit tests that use sockets, gRPC channels or processes fail."""

import socket
import subprocess
from collections.abc import Iterator
from typing import Any, NoReturn

import grpc
import grpc.aio
import pytest

from tests.support.clock import clock

__all__ = ["clock"]


def _refuse(*_: Any, **__: Any) -> NoReturn:
    pytest.fail("a unit test must use neither sockets nor processes: move it to tests/integration")


@pytest.fixture(scope="module", autouse=True)
def isolated() -> Iterator[None]:
    """Refuse connections, listening sockets, gRPC channels and servers, and processes.

    Socket pairs are allowed: event loops use them.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("bind", "connect", "connect_ex"):
            patch.setattr(socket.socket, name, _refuse)
        patch.setattr(subprocess.Popen, "__init__", _refuse)
        for module in (grpc, grpc.aio):
            for name in ("server", "secure_channel", "insecure_channel"):
                patch.setattr(module, name, _refuse)
        yield
