"""A program that plays a part of the local stack: ``understudy ACT ...``, each act one of the functions below."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType


def serve(address: str = "here", diary: str = "") -> None:
    """Be ready, and end in order; both go into the diary, if there is one."""

    def end(_number: int, _frame: FrameType | None) -> None:
        _note(diary, f"{address} ends")
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    _ready(address)
    _rest()


def stubborn(pid_file: str) -> None:
    """Be ready, and never mind SIGTERM; the file gets the process's id."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(pid_file).write_text(str(os.getpid()))
    _ready("here")
    _rest()


def silent(pid_file: str) -> None:
    """Never be ready; the file gets the process's id."""
    Path(pid_file).write_text(str(os.getpid()))
    _rest()


def fail(code: str, *words: str) -> None:
    """End at once, with some last words."""
    for word in words:
        print(word, file=sys.stderr)
    sys.exit(int(code))


def die(signal_name: str) -> None:
    """Be killed before being ready."""
    os.kill(os.getpid(), signal.Signals[signal_name])


def serve_until(file: str, code: str) -> None:
    """Be ready, and end by itself once the file is there."""
    _ready("here")
    while not Path(file).exists():
        time.sleep(0.005)
    sys.exit(int(code))


def leave_behind(pid_file: str) -> None:
    """Start a process that outlives this one, holding its standard output open; be ready, and end by itself."""
    left = subprocess.Popen([sys.executable, "-m", "tests.devstack.understudy", "stubborn", pid_file])
    while not Path(pid_file).exists() or not Path(pid_file).read_text():
        assert left.poll() is None
        time.sleep(0.005)
    sys.exit(3)


def chatter() -> None:
    """Say other things before and after the ready line, among them a line longer than any buffer, and half a line."""
    print("starting", "x" * 200_000, sep="\n", flush=True)
    _ready("there")
    print("ready again", "serving", sep="\n", flush=True)
    print("half a line", end="", flush=True)
    _rest()


def tell(name: str) -> None:
    """Be ready at what an environment variable holds, with the arguments and the folder in the log."""
    print(*sys.argv, sep="\n", file=sys.stderr)
    print(Path.cwd(), file=sys.stderr, flush=True)
    _ready(os.environ[name])
    _rest()


def _ready(address: str) -> None:
    print(f"ready {address}", flush=True)


def _rest() -> None:
    while True:
        signal.pause()


def _note(diary: str, line: str) -> None:
    if diary:
        with Path(diary).open("a") as file:
            print(line, file=file)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
