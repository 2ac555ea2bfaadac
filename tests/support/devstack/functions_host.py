"""The local Functions host as a process with one of the sample apps in ``host_apps``."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from tests.support.devstack.processes import TIMEOUT_SECONDS, ServerProcess, wait_until

APPS = Path(__file__).parent / "host_apps"

type StartHost = Callable[..., AbstractContextManager[ServerProcess]]


@pytest.fixture(scope="module")
def start_host(tmp_path_factory: pytest.TempPathFactory) -> StartHost:
    """Starts ``python -m devstack.host`` for a sample app, on a free port, with a state folder of its own."""

    def start(app: str, *flags: str | Path, state: Path | None = None, **environment: str) -> ServerProcess:
        folder = tmp_path_factory.mktemp("host")
        return ServerProcess(
            "devstack.host",
            *("--app", APPS / app, "--port", "0", "--state", state or folder / "state"),
            *flags,
            log=folder / "log",
            environment={**os.environ, **environment},
        )

    return start


def answering_pids(host: ServerProcess) -> set[int]:
    """The worker processes that answer ``/pid``: each request has a connection of its own, so that all get some."""
    with httpx.Client(headers={"Connection": "close"}, timeout=TIMEOUT_SECONDS) as client:
        return {int(client.get(f"{host.address}/pid").text) for _ in range(40)}


def worker_pids(host: ServerProcess, count: int) -> set[int]:
    """Wait until ``count`` worker processes answer."""

    def pids() -> set[int] | None:
        found = answering_pids(host)
        return found if len(found) == count else None

    return wait_until(pids, f"{count} workers answer") or set()
