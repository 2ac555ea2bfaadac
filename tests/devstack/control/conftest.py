"""One running control plane for all tests that make services of their own."""

from collections.abc import Iterator

import pytest

from devstack.authority import Issued
from tests.devstack.control.plane import FAULTS, Files, Plane


@pytest.fixture(scope="session")
def control_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files.make(tmp_path_factory.mktemp("control-files"))


@pytest.fixture(scope="session")
def certificate(control_files: Files) -> Issued:
    return control_files.authority.issue()


@pytest.fixture(scope="session")
def shared_plane(control_files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("control")
    with control_files.running(folder, "--page-size", "2") as running, control_files.plane(running.address) as plane:
        yield plane


@pytest.fixture
def plane(shared_plane: Plane) -> Iterator[Plane]:
    yield shared_plane
    shared_plane.http.delete(FAULTS).raise_for_status()
