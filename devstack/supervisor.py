"""Runs processes as long as there is work for them, and ends all of them in any case.

The work starts programs and uses them. It ends by itself, or is cut short by :meth:`Supervisor.stop` or by a process
that ends by itself. Then every process is ended, in the reverse order of the start.

The processes have sessions of their own, so that a terminal's Ctrl-C reaches the supervisor alone. If the supervisor
is killed, they end by :mod:`devstack.tethered`.
"""

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from devstack.errors import CommandError

# Seconds for a process to become ready, and to end after SIGTERM.
START_SECONDS = 60.0
STOP_SECONDS = 8.0

# Where work fails because a process has just died, its death is reported within this time, in seconds.
_MOMENT = 0.2

# The folder from which `python -m devstack...` finds the package.
_ROOT = Path(__file__).resolve().parent.parent

_READY = b"ready "
_LONGEST_LINE = 64 * 1024


class StackFailed(CommandError):
    """A process did not start, or ended by itself."""


@dataclass(frozen=True)
class Program:
    """One process of the stack: a Python module with its arguments, and the file of its log (None: the terminal)."""

    name: str
    module: str
    arguments: Sequence[str]
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Starts processes, waits for each one's line ``ready ADDRESS``, and ends them; made inside the event loop."""

    # _waves     the processes of each call of start(), in the order of the calls
    # _stopping  set by the first stop()
    # _failed    the error of the first process that ended by itself

    def __init__(self) -> None:
        self._waves: list[list[_Process]] = []
        self._stopping = asyncio.Event()
        self._failed: asyncio.Future[StackFailed] = asyncio.get_running_loop().create_future()

    async def run(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work``, then end every process that it started; False where :meth:`stop` cut it short.

        Raises:
            StackFailed: a process ended by itself, or did not start. All other errors of ``work``.
        """
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        first: list[asyncio.Future[Any]] = [working, stopping, self._failed]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() and not self._stopping.is_set():
                await asyncio.wait({self._failed}, timeout=_MOMENT)
            # The first event decides; while everything is being ended, a process may fail, and a user interrupt.
            stopped, failed = self._stopping.is_set(), self._failed.done()
        finally:
            await _cancel(working, stopping)
            await self._end_all()
        if stopped:
            return False
        if failed:
            raise self._failed.result()
        working.result()
        return True

    def stop(self) -> None:
        """Cut the work short. The second call kills the processes that still run."""
        if self._stopping.is_set():
            for process in self._processes():
                process.kill()
        self._stopping.set()

    async def start(self, *programs: Program) -> Sequence[str]:
        """Start programs side by side, as part of the work; returns the addresses in their ready lines.

        A program that ends instead of becoming ready cuts the work short.

        Raises:
            StackFailed: a program cannot be run, or takes too long.
        """
        wave: list[_Process] = []
        self._waves.append(wave)
        for program in programs:
            process = await _spawn(program)
            wave.append(process)
            process.ended.add_done_callback(functools.partial(self._on_end, process))
        _, waiting = await asyncio.wait([process.ready for process in wave], timeout=START_SECONDS)
        if waiting:
            names = " and the ".join(process.program.name for process in wave if process.ready in waiting)
            raise StackFailed(f"The {names} did not start within {START_SECONDS:g} s.")
        return [process.ready.result() for process in wave]

    def pids(self) -> Mapping[str, int]:
        """The process id of each program that was started."""
        return {process.program.name: process.pid for process in self._processes()}

    def __repr__(self) -> str:
        return f"<Supervisor {', '.join(map(repr, self._processes()))}>"

    def _processes(self) -> Iterator["_Process"]:
        return (process for wave in self._waves for process in wave)

    def _on_end(self, process: "_Process", _ended: asyncio.Future[int]) -> None:
        if not self._failed.done():
            self._failed.set_result(StackFailed(_explain_end(process)))

    async def _end_all(self) -> None:
        for wave in reversed(self._waves):
            await asyncio.gather(*(process.end() for process in wave))


class _Process(asyncio.SubprocessProtocol):
    """A running program. ``ready`` gets the address in its ready line, ``ended`` its exit code."""

    def __init__(self, program: Program) -> None:
        loop = asyncio.get_running_loop()
        self.program = program
        self.ready: asyncio.Future[str] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._line = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:  # noqa: ARG002 - asyncio's name; only stdout is a pipe
        *lines, rest = (self._line + cast("bytes", data)).split(b"\n")
        self._line = rest[-_LONGEST_LINE:]
        for line in lines:
            self._read(line)

    def process_exited(self) -> None:
        code = self._transport.get_returncode()
        self.ended.set_result(-1 if code is None else code)

    async def end(self) -> None:
        """Terminate it, and kill it if that takes too long, also its children."""
        if not self.ended.done():
            self._transport.terminate()
        await asyncio.wait({self.ended}, timeout=STOP_SECONDS)
        self.kill()
        await self.ended
        self._transport.close()

    def kill(self) -> None:
        # The number is not reused while a process of the group runs; afterwards there is nothing to kill.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def __repr__(self) -> str:
        state = "ended" if self.ended.done() else "ready" if self.ready.done() else "starting"
        return f"<{self.program.name} {self.pid} {state}>"

    def _read(self, line: bytes) -> None:
        if line.startswith(_READY) and not self.ready.done():
            self.ready.set_result(line.removeprefix(_READY).decode(errors="replace").strip())
            return
        # A closed terminal is no reason to fail here.
        with contextlib.suppress(OSError):
            print(line.decode(errors="replace"), flush=True)


async def _spawn(program: Program) -> _Process:
    loop = asyncio.get_running_loop()
    try:
        with _log(program) as log:
            _, process = await loop.subprocess_exec(
                lambda: _Process(program),
                sys.executable,
                *("-m", "devstack.tethered", program.module, *program.arguments),
                # Never written to: the tether.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=_ROOT,
                env={**os.environ, **program.environment},
                start_new_session=True,
            )
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        raise StackFailed(f"The {program.name} cannot be started ({cause}).") from None
    return process


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # retrieved here, since another error may have come first


def _log(program: Program) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    if program.log is None:
        return contextlib.nullcontext()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    return program.log.open("wb")


def _explain_end(process: _Process) -> str:
    name, log, how = process.program.name, process.program.log, describe_exit(process.ended.result())
    if process.ready.done():
        return f"The {name} ended by itself ({how}), and so the rest was ended too." + (
            f" Its log: {log}" if log else ""
        )
    if log is None:
        return f"The {name} did not start ({how}); its error is printed above."
    lines = log.read_text(errors="replace").strip().splitlines() or [f"it printed nothing ({how})"]
    # More than one line is a log, or a stack trace, whose last line may not suffice.
    return f"The {name} did not start: {lines[-1]}" + (f" (its log: {log})" if len(lines) > 1 else "")


def describe_exit(code: int) -> str:
    """An exit code, or the signal that killed the process."""
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
