"""One world for all tests of rotations: each makes services of its own in it."""

from collections.abc import Iterator

import pytest

from tests.rotation.worlds import World, running_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_faults(world: World) -> Iterator[None]:
    yield
    world.vault.fault()
    world.plane.switch()
