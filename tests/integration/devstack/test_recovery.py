"""The state folder after a kill."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.state import prepare
from tests.support.devstack.processes import ROOT
from tests.support.devstack.state_folders import ALL, contents

# Kills itself before it writes the file of the given number.
KILLED_FIRST_START = """
import os, signal, sys
from pathlib import Path
from devstack import state

written = 0

def counted(write):
    def count_and_write(*arguments):
        global written
        if written == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        written += 1
        return write(*arguments)
    return count_and_write

Path.write_bytes, Path.replace = counted(Path.write_bytes), counted(Path.replace)
state.prepare(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("files", [0, 3, 6, 9])
def test_a_killed_first_start_leaves_no_state(tmp_path: Path, files: int) -> None:
    command = [sys.executable, "-c", KILLED_FIRST_START, str(tmp_path / "state"), str(files)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert [path.name for path in tmp_path.iterdir()] == ["state.new"]
    assert len(contents(tmp_path / "state.new")) >= files

    prepare(tmp_path / "state")

    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    assert sorted(contents(tmp_path / "state")) == sorted(ALL)
