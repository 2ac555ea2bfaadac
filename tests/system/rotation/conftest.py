"""One environment for all tests of rotations: each makes services of its own in it."""

from collections.abc import Iterator

import pytest

from tests.support.rotation import RotationEnvironment, running_environment


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RotationEnvironment]:
    with running_environment(tmp_path_factory.mktemp("environment")) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_faults(environment: RotationEnvironment) -> Iterator[None]:
    yield
    environment.vault.fault()
    environment.plane.set_faults()
