import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.devstack.host.helpers import APPS, StartHost
from tests.devstack.processes import Running


@pytest.fixture(scope="module")
def start_host(tmp_path_factory: pytest.TempPathFactory) -> StartHost:
    """Starts ``python -m devstack.host`` for one of the sample apps, on a free port, with a state of its own."""

    def start(app: str, *flags: str | Path, state: Path | None = None, **environment: str) -> Running:
        folder = tmp_path_factory.mktemp("host")
        return Running(
            "devstack.host",
            *("--app", APPS / app, "--port", "0", "--state", state or folder / "state"),
            *flags,
            log=folder / "log",
            environment={**os.environ, **environment},
        )

    return start


@pytest.fixture(scope="module")
def yearly_mark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the basic app's timer leaves its mark."""
    return tmp_path_factory.mktemp("mark") / "yearly"


@pytest.fixture(scope="module")
def basic(start_host: StartHost, yearly_mark: Path) -> Iterator[Running]:
    """The basic app, running."""
    with start_host("basic", SHAPE="square", YEARLY_MARK=str(yearly_mark)) as host:
        yield host


@pytest.fixture
def client(basic: Running) -> Iterator[httpx.Client]:
    """A client of the basic app."""
    with httpx.Client(base_url=basic.address) as client:
        yield client
