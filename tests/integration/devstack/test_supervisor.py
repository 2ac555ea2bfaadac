"""The supervisor and the tether, with processes that stand in for the servers of the stack."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from devstack import supervisor as module
from devstack.supervisor import Program, StackFailed, Supervisor
from devstack.wakeup import woken_by_signals
from tests.support.devstack.processes import ROOT, TIMEOUT_SECONDS, is_running, wait_until

STANDBY = "tests.support.devstack.standby_server"


def program(behaviour: str, *arguments: object, name: str = "standby", log: Path | None = None) -> Program:
    return Program(name, STANDBY, [behaviour, *map(str, arguments)], log)


async def forever() -> None:
    await asyncio.Event().wait()


def starting(supervisor: Supervisor, *programs: Program, then: Coroutine[Any, Any, None] | None = None) -> Any:
    """Work that starts the programs, and then does something else or waits."""

    async def work() -> None:
        await supervisor.start(*programs)
        await (then or forever())

    return work()


async def pid_in(file: Path) -> int:
    """The process id that a program writes into a file."""
    return int(await asyncio.to_thread(wait_until, lambda: file.exists() and file.read_text(), f"{file} is written"))


def assert_all_ended(supervisor: Supervisor) -> None:
    assert not any(map(is_running, supervisor.pids().values()))


async def test_programs_start_side_by_side_and_end_in_reverse_order(tmp_path: Path) -> None:
    supervisor, ends = Supervisor(), tmp_path / "ends"
    addresses: list[str] = []

    async def work() -> None:
        addresses.extend(await supervisor.start(program("serve", "a", ends), program("serve", "b", ends)))
        addresses.extend(await supervisor.start(program("serve", "c", ends)))
        assert repr(supervisor).count(" ready>") == 3
        # In sessions of their own, which a terminal's signals do not reach.
        for pid in supervisor.pids().values():
            assert os.getsid(pid) == os.getpgid(pid) == pid

    assert await supervisor.run(work())

    assert addresses == ["a", "b", "c"]
    assert ends.read_text().split() in (["c", "a", "b"], ["c", "b", "a"])
    assert_all_ended(supervisor)


@pytest.mark.parametrize("turns", range(0, 24, 2))
async def test_stopping_at_any_turn_of_the_start_leaves_no_process(turns: int) -> None:
    def children() -> set[int]:
        tasks = Path("/proc/self/task").glob("*/children")
        return {int(pid) for file in tasks for pid in file.read_text().split()}

    supervisor, before = Supervisor(), children()
    running = asyncio.create_task(supervisor.run(starting(supervisor, program("serve"), program("serve"))))
    for _ in range(turns):
        await asyncio.sleep(0)

    supervisor.stop()

    assert not await running
    assert children() <= before


@pytest.mark.parametrize("stops", [1, 2])
async def test_a_process_that_ignores_sigterm_is_killed_after_a_time_or_a_second_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stops: int
) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1 if stops == 1 else 10 * TIMEOUT_SECONDS)
    supervisor, files = Supervisor(), [tmp_path / "first", tmp_path / "second"]
    programs = [program("ignore_sigterm", file) for file in files]
    running = asyncio.create_task(supervisor.run(starting(supervisor, *programs)))
    pids = [await pid_in(file) for file in files]

    for _ in range(stops):
        assert all(map(is_running, pids))
        supervisor.stop()

    assert not await asyncio.wait_for(running, TIMEOUT_SECONDS)
    assert not any(map(is_running, pids))


# Processes that fail or end by themselves.


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (["fail", 1, "port 7 is in use: stop it"], "The standby did not start: port 7 is in use: stop it"),
        (["fail", 1, "Traceback", "ValueError: x"], "The standby did not start: ValueError: x (its log: LOG)"),
        (["kill_itself"], "The standby did not start: it printed nothing (killed by SIGKILL)"),
    ],
)
async def test_the_error_of_a_program_that_does_not_start_is_quoted(
    tmp_path: Path, behaviour: list[Any], message: str
) -> None:
    supervisor, log = Supervisor(), tmp_path / "log"

    with pytest.raises(StackFailed) as failed:
        await supervisor.run(starting(supervisor, program("serve"), program(*behaviour, log=log)))

    assert str(failed.value) == message.replace("LOG", str(log))
    assert_all_ended(supervisor)


async def test_a_process_that_ends_by_itself_is_named_and_ends_the_others(tmp_path: Path) -> None:
    """Also where the work fails at the same moment, because of it."""
    log, code = tmp_path / "log", 3

    async def end_it() -> None:
        (tmp_path / "go").touch()
        raise ConnectionError

    supervisor = Supervisor()
    ending = program("serve_until", tmp_path / "go", code, name="vault", log=log)
    with pytest.raises(StackFailed) as failed:
        await supervisor.run(starting(supervisor, program("serve"), ending, then=end_it()))

    expected = f"The vault ended by itself (exit code {code}), and so the rest was ended too. Its log: {log}"
    assert str(failed.value) == expected
    assert_all_ended(supervisor)


async def test_a_child_that_a_process_leaves_is_killed(tmp_path: Path) -> None:
    supervisor, file = Supervisor(), tmp_path / "pid"

    with pytest.raises(StackFailed, match="exit code 3"):
        await supervisor.run(starting(supervisor, program("leave_child", file)))

    child = int(file.read_text())
    try:
        wait_until(lambda: not is_running(child), "the child ends")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(("behaviour", "code"), [("serve", 0), ("ignore_sigterm", 1)])
def test_a_tethered_module_ends_when_its_parent_ends(tmp_path: Path, behaviour: str, code: int) -> None:
    program = "from devstack import tethered\ntethered.PATIENCE = 0.5\ntethered.main()"
    command = [sys.executable, "-c", program, STANDBY, behaviour, str(tmp_path / "pid")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        assert process.stdout.readline().startswith(b"ready")
        process.stdin.close()
        assert process.wait(TIMEOUT_SECONDS) == code


async def test_a_signal_that_interrupts_no_wait_wakes_the_loop() -> None:
    received = asyncio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: received.set())
    try:
        with woken_by_signals(asyncio.get_running_loop()):
            # To a thread of its own: like a signal right before the wait, it does not interrupt the loop's wait.
            raising = threading.Timer(0.1, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
            raising.start()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await received.wait()
            raising.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.set_wakeup_fd(-1) == -1
