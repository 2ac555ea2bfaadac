"""How ``python -m devstack up`` ends: by signals, terminals, pipes and deaths; never leaving anything behind."""

import os
import pty
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.devstack.alive import PATIENCE, eventually
from tests.devstack.stacks import CONTROL, HOST, SERVING, STOPS, VAULT, Up

SIMULATED = ("--engine", "simulated", "--latency-ms", "0")


def test_a_killed_supervisor_leaves_no_part_and_no_worker(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", *SIMULATED, "--workers", "2") as running:
        parts = running.until_serving().processes
        assert len(parts) == 7

        running.signal(signal.SIGKILL)

        eventually(lambda: running.processes == {}, "all parts end")


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "at once"),
        (signal.SIGTERM, "state"),
        *((number, "first part") for number in STOPS),
        (signal.SIGHUP, "host"),
        (signal.SIGINT, "host"),
    ],
)
def test_a_signal_at_any_moment_of_the_start_ends_all(tmp_path: Path, number: signal.Signals, moment: str) -> None:
    with Up(tmp_path / "stack", *SIMULATED) as running:
        reached = {
            "at once": lambda: True,
            "state": lambda: list(tmp_path.glob("stack/state*")),
            "first part": lambda: len(running.processes) > 1,
            "host": lambda: running.pid(HOST),
        }
        running.until_it_listens_for_signals()
        eventually(reached[moment], moment)

        assert running.signal(number).ended() == 0
        assert (running.out, running.err) == ("Stopped.\n", "")


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_during_the_imports_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """One of the packages takes its time to load."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "httpx.py").write_text(
        f"import pathlib, time\npathlib.Path(__file__).with_name('loading').touch()\ntime.sleep({PATIENCE})\n"
    )
    with Up(tmp_path / "stack", environment={"PYTHONPATH": str(slow)}) as running:
        eventually((slow / "loading").exists, "the package is being loaded")

        assert running.signal(number).ended() == 0
        assert (running.out, running.err) == ("Stopped.\n", "")


def test_a_signal_while_the_sample_is_scored_ends_all(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", *SIMULATED) as running:
        eventually(lambda: "score:" in running.err, "the host lists its functions")

        assert running.signal(signal.SIGINT).ended() == 0
        assert running.out.endswith("Stopped.\n")


def test_an_impatient_ctrl_c_spoils_nothing(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", "--services-only", *SIMULATED) as running:
        running.until_serving()
        while running.process.poll() is None:
            running.signal(signal.SIGINT)

        assert running.ended() == 0
        assert running.out.endswith(f"{SERVING}\nStopped.\n")
        assert running.err == ""


def test_a_hung_part_does_not_outlast_a_second_ctrl_c(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", "--services-only", *SIMULATED) as running:
        vault = running.until_serving().pid(VAULT)
        os.kill(vault, signal.SIGSTOP)
        running.signal(signal.SIGINT)
        eventually(lambda: not running.pid(CONTROL), "the other parts end")
        assert running.pid(VAULT)

        assert running.signal(signal.SIGINT).ended() == 0


def test_a_part_that_dies_is_named_and_all_else_ended(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", "--services-only", *SIMULATED) as running:
        os.kill(running.until_serving().pid(VAULT), signal.SIGKILL)

        assert running.ended() == 1
        log = tmp_path / "stack" / "logs" / "vault.log"
        assert running.err == (
            f"The Key Vault ended by itself (killed by SIGKILL), and so the rest was ended too. Its log: {log}\n"
        )
        assert running.out.endswith(f"{SERVING}\n")


def test_a_host_that_dies_takes_its_workers_along(tmp_path: Path) -> None:
    with Up(tmp_path / "stack", *SIMULATED, "--workers", "2") as running:
        running.until_serving()
        parent = next(pid for pid, line in running.processes.items() if HOST in line and "tethered" in line)
        os.kill(parent, signal.SIGKILL)

        assert running.ended() == 1
        last = running.err.splitlines()[-1]
        assert last == "The Functions host ended by itself (killed by SIGKILL), and so the rest was ended too."


# Terminals and pipes.


class Terminal:
    """The side of a terminal at which a person sits."""

    def __init__(self) -> None:
        self._end, self.other = pty.openpty()
        self.shown = ""

    def until(self, text: str) -> None:
        """Read until something is shown."""
        while text not in self.shown:
            ready, _, _ = select.select([self._end], [], [], PATIENCE)
            assert ready, f"{text!r} is never shown: {self.shown}"
            self.shown += os.read(self._end, 4096).decode()

    def type(self, keys: bytes) -> None:
        os.write(self._end, keys)

    def close(self) -> None:
        os.close(self._end)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    os.close(terminal.other)


def on(terminal: Terminal, folder: Path) -> Up:
    """A stack that a terminal controls."""
    end = terminal.other
    running = Up(folder, "--services-only", *SIMULATED, stdin=end, stdout=end, stderr=end)
    control = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    running.command[:0] = [sys.executable, "-c", control]
    return running


def test_ctrl_c_in_a_terminal_ends_all(terminal: Terminal, tmp_path: Path) -> None:
    with on(terminal, tmp_path / "stack") as running:
        terminal.until(SERVING)
        terminal.type(b"\x03")

        assert running.ended() == 0
        terminal.until("Stopped.")
        assert terminal.shown.split(SERVING)[1].split() == ["^C", "Stopped."]
        terminal.close()


def test_a_terminal_that_is_closed_ends_all(terminal: Terminal, tmp_path: Path) -> None:
    with on(terminal, tmp_path / "stack") as running:
        terminal.until(SERVING)
        terminal.close()

        assert running.ended() == 0


def test_nohup_outlives_the_terminal(tmp_path: Path) -> None:
    running = Up(tmp_path / "stack", "--services-only", *SIMULATED)
    running.command[:0] = ["nohup"]
    with running:
        running.until_serving().signal(signal.SIGHUP)
        vault = running.addresses()["Key Vault"]
        assert httpx.get(vault, verify=False).status_code in {400, 401, 404}  # noqa: S501 - only whether it answers
        assert running.process.poll() is None
        assert running.signal(signal.SIGTERM).ended() == 0


def test_a_reader_that_goes_away_ends_all(tmp_path: Path) -> None:
    """As in ``python -m devstack up | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    with Up(tmp_path / "stack", "--services-only", *SIMULATED, stdout=writer) as running:
        os.close(writer)

        assert running.ended() == 1
        assert running.err == ""
