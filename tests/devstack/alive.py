"""Which processes live: to prove that none is left behind."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

PATIENCE = 30.0


def commands(mark: object) -> Mapping[int, str]:
    """The living processes whose command line holds ``mark``, such as a test's own folder; by their ids."""
    return {pid: command for pid, command in _all() if str(mark) in command}


def is_alive(pid: int) -> bool:
    return any(pid == each for each, command in _all() if command)


def eventually(holds: Callable[[], object], what: str) -> None:
    """Wait until it holds.

    Raises:
        AssertionError: it does not.
    """
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.01)


def _all() -> list[tuple[int, str]]:
    if not Path("/proc/self/cmdline").exists():
        return _all_by_ps()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # Empty for one that has ended and was not waited for.
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # it ended while we looked
        found.append((int(folder.name), words.decode(errors="replace").strip()))
    return found


def _all_by_ps() -> list[tuple[int, str]]:
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,stat=,command="], capture_output=True, text=True, check=True)  # noqa: S607
    rows = (line.split(maxsplit=2) for line in listing.stdout.splitlines())
    return [(int(row[0]), "" if "Z" in row[1] else row[-1]) for row in rows]
