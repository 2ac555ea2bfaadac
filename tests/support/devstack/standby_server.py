"""A program in place of a server of the local stack: ``standby_server BEHAVIOUR ...``, one function each."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType


def serve(address: str = "here", end_log: str = "") -> None:
    """Become ready, and end on SIGTERM; the end is noted in the file ``end_log``."""

    def end(_number: int, _frame: FrameType | None) -> None:
        if end_log:
            with Path(end_log).open("a") as file:
                print(address, file=file)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    _ready(address)
    _wait()


def ignore_sigterm(pid_file: str) -> None:
    """Become ready, and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(pid_file).write_text(str(os.getpid()))
    _ready("here")
    _wait()


def fail(code: str, *lines: str) -> None:
    """End at once, after some lines on stderr."""
    for line in lines:
        print(line, file=sys.stderr)
    sys.exit(int(code))


def kill_itself() -> None:
    """End by SIGKILL before becoming ready."""
    os.kill(os.getpid(), signal.SIGKILL)


def serve_until(file: str, code: str) -> None:
    """Become ready, and end once the file exists."""
    _ready("here")
    while not Path(file).exists():
        time.sleep(0.005)
    sys.exit(int(code))


def leave_child(pid_file: str) -> None:
    """Start a process that inherits this one's standard output, and end before it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.support.devstack.standby_server", "ignore_sigterm", pid_file]
    )
    while not Path(pid_file).exists() or not Path(pid_file).read_text():
        assert child.poll() is None
        time.sleep(0.005)
    sys.exit(3)


def _ready(address: str) -> None:
    print(f"ready {address}", flush=True)


def _wait() -> None:
    while True:
        signal.pause()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
