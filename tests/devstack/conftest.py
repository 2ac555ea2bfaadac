"""The state folder of a local stack, made once."""

import shutil
from pathlib import Path

import pytest

from devstack.state import State, prepare


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(tmp_path_factory.mktemp("made") / "state").folder


@pytest.fixture
def state(made: Path, tmp_path: Path) -> State:
    """A sound state that a test may spoil."""
    return State(Path(shutil.copytree(made, tmp_path / "state")))
