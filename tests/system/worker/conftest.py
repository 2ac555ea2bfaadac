"""The local stack with the package in a worker process, started once for this folder."""

import signal
from collections.abc import Iterator

import pytest

from devstack import package
from devstack.host.remote.folder import ensure_folder
from tests.support.devstack.stack_process import StackProcess

# Quick enough for a rotation in seconds.
SETTINGS = {
    "CREDENTIALS_REFRESH_SECONDS": "1",
    "ROTATION_SCHEDULE": "* * * * * *",
    "ROTATION_GRACE_SECONDS": "1",
    # Admission takes a response for slow after a tenth of it; on a busy machine 64 images take the real model a second.
    "SERVICE__IMAGENET__DEADLINE_MS": "60000",
}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackProcess]:
    package.unpack()  # before the time limit of the start: it may take half a minute
    ensure_folder()
    with StackProcess(tmp_path_factory.mktemp("worker") / "stack", "--worker-process", environment=SETTINGS) as running:
        yield running.until_serving()
        assert running.signal(signal.SIGINT).wait_for_end() == 0
