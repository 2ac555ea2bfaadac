"""``python -m devstack up`` as a process, and all the processes that belong to it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.devstack.alive import PATIENCE, commands, eventually

ROOT = Path(__file__).parent.parent.parent

# What ends it.
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

# What the stack says last, when everything serves.
SERVING = "Ctrl-C ends it."

# How its processes' command lines are told apart.
VAULT, CONTROL, HOST = "devstack.vault", "devstack.control", "devstack.host"


class Up:
    """A stack on free ports with the state in ``folder``, by whose path its processes are found.

    In a ``with`` it is started, not waited for; afterwards nothing of it lives.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any):
        self.folder = folder
        ports = [] if "--ports-from" in arguments else ["--ports-from", "0"]
        self.command = [sys.executable, "-m", "devstack", "up", *arguments, *ports, "--state", str(folder)]
        self._environment = {**os.environ, **(environment or {})}
        self._out = folder.with_name(folder.name + ".out")
        self._err = folder.with_name(folder.name + ".err")
        self._options = options

    def __enter__(self) -> Self:
        with self._out.open("wb") as out, self._err.open("wb") as err:
            # A session of its own is also a process group of its own, as a terminal gives to what it runs.
            options = {"stdout": out, "stderr": err, "cwd": ROOT, "start_new_session": True, **self._options}
            self.process = subprocess.Popen(self.command, env=self._environment, **options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.processes
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        assert error or not left, f"left behind: {left}"

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def processes(self) -> Mapping[int, str]:
        return commands(self.folder)

    def pid(self, part: str) -> int:
        """The process that plays a part; 0 while there is none."""
        return next((pid for pid, command in self.processes.items() if part in command), 0)

    def until(self, text: str) -> Self:
        """Wait until it has printed something."""
        eventually(lambda: text in self.out or self.process.poll() is not None, f"{text!r} in {self.out}")
        assert text in self.out, self.err
        return self

    def until_serving(self) -> Self:
        return self.until(SERVING)

    def until_it_listens_for_signals(self) -> Self:
        """Wait until the process has left the interpreter's own start behind, and can be told to stop."""

        def catches() -> bool:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
            return all(caught >> (number - 1) & 1 for number in STOPS)

        eventually(catches, "the handlers of signals are in place")
        return self

    def signal(self, number: signal.Signals) -> Self:
        self.process.send_signal(number)
        return self

    def ended(self) -> int:
        """Wait for the end, which leaves nothing; returns the exit code."""
        code = self.process.wait(PATIENCE)
        assert self.processes == {}
        assert "Traceback" not in self.out + self.err
        return code

    def addresses(self) -> dict[str, str]:
        """What it printed: the parts' names and addresses."""
        rows = (line.strip().split("  ", 1) for line in self.out.splitlines() if line.startswith("  "))
        return {row[0]: row[1].strip() for row in rows if len(row) == 2}

    def exports(self) -> dict[str, str]:
        """The variables that it says another terminal must export."""
        lines = (line.strip() for line in self.out.splitlines())
        pairs = (line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
        return {name: value.strip("'") for name, value in pairs}


def refuses_to_start(folder: Path, *arguments: str, **options: Any) -> str:
    """Start a stack that must refuse; returns its one line."""
    with Up(folder, *arguments, **options) as up:
        assert (up.ended(), up.out) == (1, ""), up.err
        assert up.err.count("\n") == 1, up.err
        return up.err.rstrip("\n")
