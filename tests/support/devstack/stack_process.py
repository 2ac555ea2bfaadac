"""``python -m devstack up`` as a process, and all the processes that belong to it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from devstack import announcement, stack
from devstack.state import State
from tests.support.devstack.processes import ROOT, TIMEOUT_SECONDS, running_processes, wait_until

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SIMULATED = ("--engine", "simulated", "--latency-ms", "0")

SERVING = "Ctrl-C ends it."
"""The last line that the stack prints when everything serves."""

# Distinguishes the command lines of the parts.
VAULT, CONTROL, HOST = "devstack.vault", "devstack.control", "devstack.host"


class StackProcess:
    """A stack on free ports with its state in ``folder``, whose path identifies the processes.

    In a ``with`` it is started, not waited for; afterwards none of its processes runs.
    """

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str] | None = None, **options: Any):
        self.folder = folder
        ports = [] if "--ports-from" in arguments else ["--ports-from", "0"]
        self.command = [sys.executable, "-m", "devstack", "up", *arguments, *ports, "--state", str(folder)]
        self._environment = {**os.environ, "PYTHONIOENCODING": "utf-8", **(environment or {})}
        self._out = folder.with_name(folder.name + ".out")
        self._err = folder.with_name(folder.name + ".err")
        self._options = options

    def __enter__(self) -> Self:
        with self._out.open("wb") as out, self._err.open("wb") as err:
            # A session of its own is also a process group of its own, as for a command that a terminal runs.
            options = {"stdout": out, "stderr": err, "cwd": ROOT, "start_new_session": True, **self._options}
            self.process = subprocess.Popen(self.command, env=self._environment, **options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        remaining = self.processes
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(TIMEOUT_SECONDS)
        assert error or not remaining, f"still running: {remaining}"

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def processes(self) -> Mapping[int, str]:
        return running_processes(self.folder)

    def pid(self, part: str) -> int:
        """The process of a part; 0 while there is none."""
        return next((pid for pid, command in self.processes.items() if part in command), 0)

    def until_printed(self, text: str) -> Self:
        """Wait until it has printed a text."""
        wait_until(lambda: text in self.out or self.process.poll() is not None, f"{text!r} in {self.out}")
        assert text in self.out, self.err
        return self

    def until_serving(self) -> Self:
        return self.until_printed(SERVING)

    def until_signals_are_handled(self) -> Self:
        """Wait until the process has installed its signal handlers, early in its start."""

        def catches() -> bool:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
            return all(caught >> (number - 1) & 1 for number in STOP_SIGNALS)

        wait_until(catches, "the signal handlers are installed")
        return self

    def signal(self, number: signal.Signals) -> Self:
        self.process.send_signal(number)
        return self

    def wait_for_end(self) -> int:
        """Wait for the end, after which none of the processes runs; returns the exit code."""
        code = self.process.wait(TIMEOUT_SECONDS)
        assert self.processes == {}
        assert "Traceback" not in self.out + self.err
        return code

    def addresses(self) -> dict[str, str]:
        """The names and addresses that it printed."""
        rows = (line.strip().split("  ", 1) for line in self.out.splitlines() if line.startswith("  "))
        return {row[0]: row[1].strip() for row in rows if len(row) == 2}

    @cached_property
    def url(self) -> str:
        """The URL of the Functions host, once the stack serves."""
        return self.addresses()["Score (POST)"].removesuffix("/api/score")

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """The app settings of a gateway with this stack, once it serves."""
        used = stack.environment(announcement.find(self.folder), State(self.folder / "state"))
        return {**stack.settings(), **used}

    def exports(self) -> dict[str, str]:
        """The environment variables that it printed for another terminal, as a shell in its folder sets them."""
        lines = [line.strip() for line in self.out.splitlines() if line.startswith("  export ")]
        script = "\n".join([*lines, "env -0"])
        shell = subprocess.run(["/bin/sh", "-c", script], env={}, cwd=ROOT, capture_output=True, text=True, check=True)
        pairs = (each.split("=", 1) for each in shell.stdout.split("\0") if each)
        return {name: value for name, value in pairs if f"export {name}=" in script}


def stack_start_error(folder: Path, *arguments: str, **options: Any) -> str:
    """Start a stack that must refuse to; returns its one line on stderr."""
    with StackProcess(folder, *arguments, **options) as refused:
        assert (refused.wait_for_end(), refused.out) == (1, ""), refused.err
        assert refused.err.count("\n") == 1, refused.err
        return refused.err.rstrip("\n")
