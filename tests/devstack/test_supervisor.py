"""The supervisor and the tether, with real processes that play parts of the stack."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from devstack import supervisor as module
from devstack.supervisor import Program, StackFailed, Supervisor
from tests.devstack.alive import PATIENCE, eventually, is_alive

ROOT = Path(__file__).parent.parent.parent


def program(act: str, *arguments: object, name: str = "understudy", log: Path | None = None) -> Program:
    return Program(name, "tests.devstack.understudy", [act, *map(str, arguments)], log)


async def forever() -> None:
    await asyncio.Event().wait()


def starting(supervisor: Supervisor, *programs: Program, then: Coroutine[Any, Any, None] | None = None) -> Any:
    """Work: start the programs, and then something else, or nothing for ever."""

    async def work() -> None:
        await supervisor.start(*programs)
        await (then or forever())

    return work()


async def once_there(file: Path) -> int:
    """The process id that a program writes into a file."""

    def written() -> str:
        return file.read_text() if file.exists() else ""

    await asyncio.to_thread(eventually, written, f"{file} is written")
    return int(written())


# The work.


async def test_programs_start_side_by_side_and_end_in_the_opposite_order(tmp_path: Path) -> None:
    supervisor, diary = Supervisor(), tmp_path / "diary"
    addresses: list[str] = []

    async def work() -> None:
        addresses.extend(await supervisor.start(program("serve", "a", diary), program("serve", "b", diary)))
        addresses.extend(await supervisor.start(program("serve", "c", diary)))
        assert repr(supervisor).count(" ready>") == 3

    assert await supervisor.run(work())

    assert addresses == ["a", "b", "c"]
    ends = diary.read_text().splitlines()
    assert ends[0] == "c ends"
    assert sorted(ends[1:]) == ["a ends", "b ends"]
    assert not any(map(is_alive, supervisor.pids().values()))


async def test_a_program_gets_its_arguments_its_environment_and_its_log(tmp_path: Path) -> None:
    supervisor, log = Supervisor(), tmp_path / "new" / "log"
    told = Program("teller", "tests.devstack.understudy", ["tell", "WHERE"], log, {"WHERE": "at home"})

    async def work() -> None:
        assert await supervisor.start(told) == ["at home"]

    assert await supervisor.run(work())
    assert log.read_text().splitlines() == [str(ROOT / "tests/devstack/understudy.py"), "tell", "WHERE", str(ROOT)]


async def test_each_program_leads_a_session_which_a_terminals_signals_do_not_reach() -> None:
    supervisor = Supervisor()

    async def work() -> None:
        await supervisor.start(program("serve", name="a"), program("serve", name="b"))
        for pid in supervisor.pids().values():
            assert os.getsid(pid) == os.getpgid(pid) == pid

    assert await supervisor.run(work())


async def test_what_a_program_says_beside_its_ready_line_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor()
    heard: list[str] = []

    async def work() -> None:
        assert await supervisor.start(program("chatter")) == ["there"]
        while not heard or heard[-1] != "serving":
            heard.extend(capfd.readouterr().out.splitlines())
            await asyncio.sleep(0.005)

    assert await supervisor.run(work())
    assert heard[0] == "starting"
    assert set(heard[1]) == {"x"}
    assert heard[2:] == ["ready again", "serving"]


async def test_an_error_of_the_work_comes_out_when_all_has_been_ended() -> None:
    supervisor = Supervisor()

    async def work() -> None:
        await supervisor.start(program("serve"))
        raise LookupError("no photograph")

    with pytest.raises(LookupError, match="no photograph"):
        await supervisor.run(work())
    assert not any(map(is_alive, supervisor.pids().values()))


async def test_whoever_cancels_the_supervisor_leaves_nothing_behind() -> None:
    supervisor = Supervisor()
    running = asyncio.create_task(supervisor.run(starting(supervisor, program("serve"))))
    await asyncio.to_thread(eventually, lambda: " ready>" in repr(supervisor), "the program is ready")

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert not any(map(is_alive, supervisor.pids().values()))


# Stopping.


async def test_stopping_cuts_the_work_short() -> None:
    supervisor = Supervisor()
    asyncio.get_running_loop().call_later(0.2, supervisor.stop)

    assert not await supervisor.run(starting(supervisor, program("serve"), program("serve")))
    assert not any(map(is_alive, supervisor.pids().values()))


async def test_stopping_before_anything_is_ready_ends_what_was_started(tmp_path: Path) -> None:
    supervisor, file = Supervisor(), tmp_path / "pid"

    async def stop() -> None:
        await once_there(file)
        supervisor.stop()

    stopping = asyncio.create_task(stop())

    assert not await supervisor.run(starting(supervisor, program("serve"), program("silent", file)))
    await stopping
    assert not is_alive(int(file.read_text()))


@pytest.mark.parametrize("turns", range(24))
async def test_stopping_at_any_turn_of_the_start_leaves_nothing_behind(turns: int) -> None:
    supervisor, before = Supervisor(), children()
    running = asyncio.create_task(supervisor.run(starting(supervisor, program("serve"), program("serve"))))
    for _ in range(turns):
        await asyncio.sleep(0)

    supervisor.stop()

    assert not await running
    assert children() <= before


def children() -> set[int]:
    """The processes that this one started, and that have not ended."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for file in tasks for pid in file.read_text().split()}


async def test_a_process_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 0.1)
    supervisor, file = Supervisor(), tmp_path / "pid"

    async def work() -> None:
        await supervisor.start(program("stubborn", file))

    assert await supervisor.run(work())
    assert not is_alive(int(file.read_text()))


async def test_stopping_twice_kills_what_has_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_SECONDS", 10 * PATIENCE)
    supervisor, files = Supervisor(), [tmp_path / "first", tmp_path / "second"]
    running = asyncio.create_task(supervisor.run(starting(supervisor, *(program("stubborn", file) for file in files))))
    pids = [await once_there(file) for file in files]

    supervisor.stop()
    await asyncio.sleep(0.1)
    assert all(map(is_alive, pids))
    supervisor.stop()

    assert not await asyncio.wait_for(running, PATIENCE)
    assert not any(map(is_alive, pids))


# Processes that end by themselves.


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (["fail", 1, "port 7 is in use: stop it"], "The understudy did not start: port 7 is in use: stop it"),
        (["fail", 0], "The understudy did not start: it said nothing (exit code 0)"),
        (["fail", 1, "Traceback", "ValueError: x"], "The understudy did not start: ValueError: x (its log: LOG)"),
        (["die", "SIGKILL"], "The understudy did not start: it said nothing (killed by SIGKILL)"),
    ],
)
async def test_a_program_that_does_not_start_is_quoted(tmp_path: Path, act: list[object], message: str) -> None:
    supervisor, log = Supervisor(), tmp_path / "log"
    other = program("serve")

    with pytest.raises(StackFailed) as failed:
        await supervisor.run(starting(supervisor, other, program(*map(str, act), log=log)))

    assert str(failed.value) == message.replace("LOG", str(log))
    assert not any(map(is_alive, supervisor.pids().values()))


async def test_a_program_that_logs_to_the_terminal_has_said_why_itself(capfd: pytest.CaptureFixture[str]) -> None:
    supervisor = Supervisor()

    with pytest.raises(StackFailed, match=r"The understudy did not start \(exit code 1\); it says why above\."):
        await supervisor.run(starting(supervisor, program("fail", 1, "the reason")))

    assert capfd.readouterr().err == "the reason\n"


async def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    supervisor = Supervisor()
    missing = Program("vault", "devstack.nothing", [], tmp_path / "log")

    with pytest.raises(StackFailed, match=r"The vault did not start: .*No module named devstack\.nothing"):
        await supervisor.run(starting(supervisor, missing))


async def test_a_program_that_is_never_ready_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_SECONDS", 0.3)
    supervisor, file = Supervisor(), tmp_path / "pid"
    programs = [program("silent", file, name="vault"), program("silent", tmp_path / "other", name="host")]

    with pytest.raises(StackFailed, match=r"The vault and the host did not start within 0\.3 s\."):
        await supervisor.run(starting(supervisor, *programs))

    assert not any(map(is_alive, supervisor.pids().values()))


@pytest.mark.parametrize("name", ["understudy", "log"])
async def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    supervisor = Supervisor()

    with pytest.raises(StackFailed, match=rf"The understudy cannot be started \(.*: {tmp_path}/file"):
        await supervisor.run(starting(supervisor, program("serve", log=tmp_path / "file" / name)))


@pytest.mark.parametrize("code", [0, 3])
async def test_a_process_that_ends_by_itself_is_named_and_all_else_ended(tmp_path: Path, code: int) -> None:
    supervisor, log = Supervisor(), tmp_path / "log"
    mortal = program("serve_until", tmp_path / "go", code, name="vault", log=log)

    async def let_go() -> None:
        (tmp_path / "go").touch()
        await forever()

    with pytest.raises(StackFailed) as failed:
        await supervisor.run(starting(supervisor, program("serve"), mortal, then=let_go()))

    assert str(failed.value) == (
        f"The vault ended by itself (exit code {code}), and so the rest was ended too. Its log: {log}"
    )
    assert not any(map(is_alive, supervisor.pids().values()))


async def test_a_process_that_is_killed_is_told_from_one_that_ends() -> None:
    supervisor = Supervisor()

    async def kill() -> None:
        os.kill(supervisor.pids()["fpga"], signal.SIGKILL)
        await forever()

    with pytest.raises(StackFailed, match=r"The fpga ended by itself \(killed by SIGKILL\)"):
        await supervisor.run(starting(supervisor, program("serve", name="fpga"), then=kill()))


async def test_work_that_fails_since_a_process_died_is_blamed_on_the_process(tmp_path: Path) -> None:
    supervisor = Supervisor()

    async def use() -> None:
        (tmp_path / "go").touch()
        raise ConnectionError

    with pytest.raises(StackFailed, match="ended by itself"):
        await supervisor.run(starting(supervisor, program("serve_until", tmp_path / "go", 1), then=use()))


async def test_what_a_process_leaves_behind_is_killed(tmp_path: Path) -> None:
    supervisor, file = Supervisor(), tmp_path / "pid"

    with pytest.raises(StackFailed, match="exit code 3"):
        await supervisor.run(starting(supervisor, program("leave_behind", file)))

    left = int(file.read_text())
    try:
        eventually(lambda: not is_alive(left), "the process that was left behind ends")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(left, signal.SIGKILL)


# The tether.


def tethered(*arguments: object, setup: str = "") -> subprocess.Popen[bytes]:
    code = f"from devstack import tethered\n{setup}\ntethered.main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def when_ready(process: subprocess.Popen[bytes], then: Callable[[], object]) -> int:
    with process:
        try:
            assert process.stdout
            assert process.stdout.readline().startswith(b"ready")
            then()
            return process.wait(PATIENCE)
        finally:
            process.kill()


def test_a_tethered_module_ends_in_order_when_its_parent_lets_go(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    process = tethered("tests.devstack.understudy", "serve", "it", diary)
    assert process.stdin

    assert when_ready(process, process.stdin.close) == 0
    assert diary.read_text() == "it ends\n"


def test_a_tethered_module_that_does_not_end_is_ended(tmp_path: Path) -> None:
    process = tethered("tests.devstack.understudy", "stubborn", tmp_path / "pid", setup="tethered.PATIENCE = 0.1")
    assert process.stdin

    assert when_ready(process, process.stdin.close) == 1


def test_a_tethered_module_outlives_what_its_parent_writes(tmp_path: Path) -> None:
    process = tethered("tests.devstack.understudy", "serve", "it", tmp_path / "diary")

    def write() -> None:
        assert process.stdin
        process.stdin.write(b"never mind\n")
        process.stdin.flush()
        time.sleep(0.1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)

    assert when_ready(process, write) == 0


def test_a_tether_without_a_module_says_how_it_is_used() -> None:
    process = tethered()
    _, error = process.communicate(timeout=PATIENCE)

    assert (process.returncode, error) == (1, b"usage: python -m devstack.tethered MODULE [ARGUMENT ...]\n")
