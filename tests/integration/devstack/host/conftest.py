from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.devstack.functions_host import StartHost, start_host
from tests.support.devstack.processes import ServerProcess

__all__ = ["start_host"]

WAYS: list[list[str]] = [[], ["--worker-process"]]


@pytest.fixture(scope="module")
def yearly_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the basic app's timer writes."""
    return tmp_path_factory.mktemp("yearly") / "yearly"


@pytest.fixture(scope="module", params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> list[str]:
    """The options of either way to run an app: in the host's process, and in one of its own."""
    options: list[str] = request.param
    return options


@pytest.fixture(scope="module")
def basic(start_host: StartHost, yearly_file: Path, way: list[str]) -> Iterator[ServerProcess]:
    """The basic app, running."""
    with start_host("basic", *way, SHAPE="square", YEARLY_FILE=str(yearly_file)) as host:
        yield host


@pytest.fixture
def client(basic: ServerProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=basic.address) as client:
        yield client
