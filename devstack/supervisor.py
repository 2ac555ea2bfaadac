"""Runs processes for as long as there is work for them, and ends them all, whatever happens.

The work starts programs, and uses them. It comes to its end, or is cut short by :meth:`Supervisor.stop` or by a process
that ends by itself. After that every process is ended, those first that were started last.

The processes have sessions of their own, so that a terminal's Ctrl-C reaches the supervisor alone. One that the
supervisor did not get to end, since it was killed itself, ends by :mod:`devstack.tethered`.
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

# A process has this long to say that it is ready, and this long to end when it is told to, in seconds.
START_SECONDS = 60.0
STOP_SECONDS = 8.0

# Where work fails because a process has just died, the death is noticed within this time, in seconds.
_MOMENT = 0.2

# Where `python -m devstack...` finds the package, wherever this process was started.
_ROOT = Path(__file__).resolve().parent.parent

_READY = b"ready "
_LONGEST_LINE = 64 * 1024


class StackFailed(Exception):
    """A process did not start, or ended by itself; the message is what a person should read."""


@dataclass(frozen=True)
class Program:
    """One process of the stack: a Python module with its arguments, and where its log goes (None: the terminal)."""

    name: str
    module: str
    arguments: Sequence[str]
    log: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Starts processes, waits for each one's line ``ready ADDRESS``, and ends them; made inside the event loop."""

    # _waves     what was started, in its order: the programs of one call to start() side by side
    # _stopping  set by the first stop()
    # _failed    why the stack cannot go on: the first process that ended by itself

    def __init__(self) -> None:
        self._waves: list[list[_Process]] = []
        self._stopping = asyncio.Event()
        self._failed: asyncio.Future[StackFailed] = asyncio.get_running_loop().create_future()

    async def run(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do ``work``, then end every process that it started; False where :meth:`stop` cut it short.

        Raises:
            StackFailed: a process ended by itself, or did not start. Whatever else ``work`` raises.
        """
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        first: list[asyncio.Future[Any]] = [working, stopping, self._failed]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and working.exception() and not self._stopping.is_set():
                await asyncio.wait({self._failed}, timeout=_MOMENT)
            # What comes first decides; a process may well fail, and a person interrupt, while all is being ended.
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
        """Cut the work short. The second time, whoever calls is out of patience: what still runs is killed."""
        if self._stopping.is_set():
            for process in self._processes():
                process.kill()
        self._stopping.set()

    async def start(self, *programs: Program) -> Sequence[str]:
        """Start programs side by side, as part of the work; returns the addresses that they are ready at.

        A program that ends instead of becoming ready cuts the work short.

        Raises:
            StackFailed: a program cannot be run, or takes too long.
        """
        wave: list[_Process] = []
        self._waves.append(wave)
        for program in programs:
            process = await _spawn(program)
            wave.append(process)
            process.ended.add_done_callback(functools.partial(self._note_end, process))
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

    def _note_end(self, process: "_Process", _ended: asyncio.Future[int]) -> None:
        if not self._failed.done():
            self._failed.set_result(StackFailed(_why(process)))

    async def _end_all(self) -> None:
        for wave in reversed(self._waves):
            await asyncio.gather(*(process.end() for process in wave))


class _Process(asyncio.SubprocessProtocol):
    """A program that runs. ``ready`` gets the address of its ready line, ``ended`` its exit code."""

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
        """Ask, then insist, also with what the process has started and left behind."""
        if not self.ended.done():
            self._transport.terminate()
        await asyncio.wait({self.ended}, timeout=STOP_SECONDS)
        self.kill()
        await self.ended
        self._transport.close()

    def kill(self) -> None:
        # The number is not taken by others while a process of the group lives; afterwards there is nothing to kill.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def __repr__(self) -> str:
        state = "ended" if self.ended.done() else "ready" if self.ready.done() else "starting"
        return f"<{self.program.name} {self.pid} {state}>"

    def _read(self, line: bytes) -> None:
        if line.startswith(_READY) and not self.ready.done():
            self.ready.set_result(line.removeprefix(_READY).decode(errors="replace").strip())
            return
        # A terminal that is gone is no reason to fail here.
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
        what = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        raise StackFailed(f"The {program.name} cannot be started ({what}).") from None
    return process


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at here, since something else may have come first


def _log(program: Program) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    if program.log is None:
        return contextlib.nullcontext()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    return program.log.open("wb")


def _why(process: _Process) -> str:
    """Why a process ended, as far as can be told."""
    name, log, how = process.program.name, process.program.log, _ending(process.ended.result())
    if process.ready.done():
        return f"The {name} ended by itself ({how}), and so the rest was ended too." + (
            f" Its log: {log}" if log else ""
        )
    if log is None:
        return f"The {name} did not start ({how}); it says why above."
    words = log.read_text(errors="replace").strip().splitlines() or [f"it said nothing ({how})"]
    # More than one line is a log, or a stack trace, of which the last line says least.
    return f"The {name} did not start: {words[-1]}" + (f" (its log: {log})" if len(words) > 1 else "")


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"
