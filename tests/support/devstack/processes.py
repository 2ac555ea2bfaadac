"""The servers of the local stack as real processes, and which processes run."""

import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[3]

TIMEOUT_SECONDS = 30.0
"""A server that hangs fails its test in seconds; a slow machine does not."""


class ServerProcess:
    """``python -m MODULE ARGUMENTS...``: ready inside a ``with``, and ended by SIGINT after it.

    ``address`` is that of the ready line. stderr goes to the file ``log``. Unless the test itself ends the server by
    :meth:`stop`, it must end silently with code 0.
    """

    def __init__(
        self, module: str, *arguments: str | Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = [sys.executable, "-m", module, *map(str, arguments)]
        self._environment = environment
        self._log = log
        self.address = ""
        self._stopped = False

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self._kill()
            raise AssertionError(f"{self._command} did not start: {line}{self.log}")
        self.address = line.removeprefix("ready ").strip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._stopped and error is None:
                assert self.process.poll() is None, f"it ended by itself: {self.log}"
                assert self.stop(signal.SIGINT) == (0, ""), self.log
        finally:
            self._kill()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal and wait; returns the exit code and the standard output after the ready line."""
        self._stopped = True
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=TIMEOUT_SECONDS)
        return self.process.returncode, rest

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def start_error(module: str, *arguments: str | Path) -> str:
    """Run a server that must refuse to start; returns its one line on stderr."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    line, rest = ended.stderr.split("\n", 1)
    assert rest == "", "more than one line"
    return line


def wait_until[T](condition: Callable[[], T], what: str) -> T:
    """Wait until a condition holds, and return its value; ``what`` describes it for the failure."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS:g} s: {what}"
        time.sleep(0.01)
    return found


async def wait_until_async(condition: Callable[[], object], what: str) -> None:
    """:func:`wait_until` for a condition that the running event loop brings about."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {TIMEOUT_SECONDS:g} s: {what}"
        await asyncio.sleep(0.01)


def unused_port() -> int:
    """A port on loopback without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def running_processes(mark: object) -> Mapping[int, str]:
    """The command lines that contain ``mark``, such as the path of a test's own folder, by process id."""
    return {pid: command for pid, command in _command_lines() if str(mark) in command}


def is_running(pid: int) -> bool:
    return any(pid == each for each, command in _command_lines() if command)


def _command_lines() -> list[tuple[int, str]]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            # Empty for a process that has ended and was not waited for.
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # it ended meanwhile
        found.append((int(folder.name), words.decode(errors="replace").strip()))
    return found
