import pytest

from tests.support.control_planes import FakeTime
from tests.support.devstack.control_plane import certificate, control_files, control_process, plane

__all__ = ["certificate", "control_files", "control_process", "plane"]


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()
