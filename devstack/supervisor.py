"""Runs processes until one ends, and then ends them all."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

# A process has this long to say that it is ready, and this long to end when it is told to, in seconds.
START_SECONDS = 60.0
STOP_SECONDS = 8.0


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
    """Starts processes and waits for each one's line ``ready ADDRESS``; leaving the context ends all of them.

    The processes have a session of their own, so that Ctrl-C reaches this one alone, which then ends them in order.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self._running.values()):
            await _end(process)

    async def start(self, program: Program) -> str:
        """Start a program; returns the address that it is ready at.

        Raises:
            StackFailed: it ended, or said nothing; with its own last words.
        """
        with _log(program) as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "devstack.tethered", program.module, *program.arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**os.environ, **program.environment},
                start_new_session=True,
            )
        self._running[program.name] = process
        try:
            async with asyncio.timeout(START_SECONDS):
                async for line in _lines(process):
                    if line.startswith("ready "):
                        return line.removeprefix("ready ").strip()
                    print(line, flush=True)
        except TimeoutError:
            raise StackFailed(f"The {program.name} did not start within {START_SECONDS:.0f} s.") from None
        await process.wait()
        raise StackFailed(_last_words(program))

    async def pids(self) -> Mapping[str, int]:
        """The process id of each program that was started."""
        return {name: process.pid for name, process in self._running.items()}

    async def wait(self) -> None:
        """Wait until a process ends by itself, which none should.

        Raises:
            StackFailed: names it.
        """
        waiting = {asyncio.create_task(self._drain(process)): name for name, process in self._running.items()}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        name = waiting[done.pop()]
        raise StackFailed(f"The {name} ended by itself, with code {self._running[name].returncode}.")

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        async for line in _lines(process):
            print(line, flush=True)
        await process.wait()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask, then insist."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    # The transport's pipes close with it; without this they would at some later time, with a warning.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio offers no public way


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    if process.stdout is not None:
        async for line in process.stdout:
            yield line.decode(errors="replace").rstrip("\n")


def _log(program: Program) -> contextlib.AbstractContextManager[IO[bytes] | None]:
    if program.log is None:
        return contextlib.nullcontext()
    program.log.parent.mkdir(parents=True, exist_ok=True)
    return program.log.open("wb")


def _last_words(program: Program) -> str:
    if program.log is None:
        return f"The {program.name} did not start; it says why above."
    words = program.log.read_text(errors="replace").strip().splitlines()
    return f"The {program.name} did not start: {words[-1] if words else 'it said nothing.'}"
