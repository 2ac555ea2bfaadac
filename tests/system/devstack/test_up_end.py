"""How ``python -m devstack up`` ends: by signals, terminals, pipes and crashes; no process is ever left."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.devstack.processes import wait_until
from tests.support.devstack.stack_process import CONTROL, HOST, SERVING, SIMULATED, STOP_SIGNALS, VAULT, StackProcess

SERVICES = ("--services-only", *SIMULATED)


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", *SIMULATED, "--workers", "2") as running:
        assert len(running.until_serving().processes) == 7

        running.signal(signal.SIGKILL)

        wait_until(lambda: running.processes == {}, "all processes end")


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGINT, "at once"),
        (signal.SIGTERM, "state"),
        *((number, "first part") for number in STOP_SIGNALS),
        (signal.SIGHUP, "host"),
        (signal.SIGINT, "host"),
    ],
)
def test_a_signal_at_any_moment_of_the_start_ends_everything(
    tmp_path: Path, number: signal.Signals, moment: str
) -> None:
    with StackProcess(tmp_path / "stack", *SIMULATED) as running:
        reached = {
            "at once": lambda: True,
            "state": lambda: list(tmp_path.glob("stack/state*")),
            "first part": lambda: len(running.processes) > 1,
            "host": lambda: running.pid(HOST),
        }
        running.until_signals_are_handled()
        wait_until(reached[moment], moment)

        assert running.signal(number).wait_for_end() == 0
        assert (running.out, running.err) == ("Stopped.\n", "")


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_during_the_imports_ends_it(tmp_path: Path, number: signal.Signals) -> None:
    """One of the packages takes its time to load."""
    slow = tmp_path / "slow"
    slow.mkdir()
    # In short sleeps: Python runs a signal's handler between two instructions, or when the signal interrupts a wait.
    # One that comes between the last instruction and the wait interrupts nothing, and its handler runs after the wait.
    source = "import pathlib, time; pathlib.Path(__file__).with_name('loading').touch()"
    (slow / "httpx.py").write_text(f"{source}\nwhile True: time.sleep(0.01)\n")
    with StackProcess(tmp_path / "stack", environment={"PYTHONPATH": str(slow)}) as running:
        wait_until((slow / "loading").exists, "the package is being loaded")

        assert running.signal(number).wait_for_end() == 0
        assert (running.out, running.err) == ("Stopped.\n", "")


def test_many_signals_end_it_like_one(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", *SERVICES) as running:
        running.until_serving()
        while running.process.poll() is None:
            running.signal(signal.SIGINT)

        assert running.wait_for_end() == 0
        assert running.out.endswith(f"{SERVING}\nStopped.\n")
        assert running.err == ""


def test_a_second_ctrl_c_kills_a_part_that_hangs(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", *SERVICES) as running:
        vault = running.until_serving().pid(VAULT)
        os.kill(vault, signal.SIGSTOP)
        running.signal(signal.SIGINT)
        wait_until(lambda: not running.pid(CONTROL), "the other parts end")
        assert running.pid(VAULT)

        assert running.signal(signal.SIGINT).wait_for_end() == 0


def test_a_part_that_crashes_is_named_and_everything_ends(tmp_path: Path) -> None:
    with StackProcess(tmp_path / "stack", *SIMULATED, "--workers", "2") as running:
        host = next(
            pid for pid, line in running.until_serving().processes.items() if HOST in line and "tethered" in line
        )
        os.kill(host, signal.SIGKILL)

        assert running.wait_for_end() == 1
        last = running.err.splitlines()[-1]
        assert last == "The Functions host ended by itself (killed by SIGKILL), and so the rest was ended too."
        assert running.out.endswith(f"{SERVING}\n")


def test_with_nohup_it_outlives_the_terminal(tmp_path: Path) -> None:
    running = StackProcess(tmp_path / "stack", *SERVICES)
    running.command[:0] = ["nohup"]
    with running:
        running.until_serving().signal(signal.SIGHUP)
        vault = running.addresses()["Key Vault"]
        assert httpx.get(vault, verify=False).status_code in {400, 401, 404}  # noqa: S501 - only whether it answers
        assert running.process.poll() is None
        assert running.signal(signal.SIGTERM).wait_for_end() == 0


def test_a_closed_pipe_ends_everything(tmp_path: Path) -> None:
    """As in ``python -m devstack up | head``."""
    reader, writer = os.pipe()
    os.close(reader)
    with StackProcess(tmp_path / "stack", *SERVICES, stdout=writer) as running:
        os.close(writer)

        assert running.wait_for_end() == 1
        assert running.err == ""
