"""The local stack's servers as real processes: start, wait for the ready line, end by Ctrl-C."""

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parent.parent.parent

# A stuck server fails the test in seconds; a slow machine does not.
PATIENCE = 30


class Running:
    """``python -m MODULE ARGUMENTS...``, ready to use inside a ``with``, and ended by SIGINT after it.

    ``address`` is what the ready line says. stderr goes to the file ``log``. A test that ends the server itself, by
    :meth:`stop`, judges its end itself; otherwise the end must be silent and its code 0.
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
        """Send a signal and wait; returns the exit code and what stdout said after the ready line."""
        self._stopped = True
        self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, rest

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def fails_to_start(module: str, *arguments: str | Path) -> str:
    """Run a server that must refuse to start; returns its one line on stderr."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stderr
    line, rest = ended.stderr.split("\n", 1)
    assert rest == "", "more than one line"
    return line
