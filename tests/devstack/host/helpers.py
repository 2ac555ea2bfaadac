"""What the tests of the local host share."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

from tests.devstack.processes import PATIENCE, Running

APPS = Path(__file__).parent / "apps"

type StartHost = Callable[..., AbstractContextManager[Running]]


def eventually(check: Callable[[], Any]) -> Any:
    """Wait until a check says something true, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := check()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)
    return answer


def answering_pids(host: Running) -> set[int]:
    """The worker processes that answer ``/pid``: a connection each time, so that all get their turn."""
    with httpx.Client(headers={"Connection": "close"}, timeout=PATIENCE) as client:
        return {int(client.get(f"{host.address}/pid").text) for _ in range(40)}


def worker_pids(host: Running, count: int) -> set[int]:
    """Wait until ``count`` worker processes answer."""
    pids: set[int] = eventually(lambda: found if len(found := answering_pids(host)) == count else None)
    return pids
