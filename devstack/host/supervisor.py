"""Several worker processes that share one listening socket: started, restarted when they end, and ended."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from devstack.host.errors import HostError
from devstack.host.links import Inheritance, Link
from devstack.host.logs import log
from devstack.supervisor import describe_exit

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0
# After a worker that ran this long, in seconds, the pauses are short again.
_STABLE_AFTER = 30.0


class StartFailed(HostError):
    """A worker ended before it served. The message is empty where the worker has printed its own."""


class Supervisor:
    """Keeps ``count`` workers running. The first is the leader: it alone runs timers, and functions by hand."""

    def __init__(self, command: Sequence[str], listener: socket.socket, count: int, patience: float) -> None:
        """``command`` starts a worker; what it inherits is appended as one more argument.

        Workers that have not ended ``patience`` seconds after SIGTERM are killed.
        """
        self._command = command
        self._listener = listener
        self._count = count
        self._patience = patience
        self._stopping = asyncio.Event()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._links: dict[int, Link] = {}
        self._ready: dict[int, asyncio.Future[list[str]]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def stop(self) -> None:
        """End all workers, and :meth:`run` with them."""
        self._stopping.set()

    async def run(self, on_ready: Callable[[list[str]], None]) -> None:
        """Run the workers until :meth:`stop`. ``on_ready`` gets the list of functions, once all workers serve.

        The first worker starts alone, so that an app that cannot be loaded is reported once.

        Raises:
            StartFailed: a worker ended before it served.
        """
        lifeline, end = os.pipe()
        try:
            listing = await self._until_ready([0], lifeline)
            await self._until_ready(range(1, self._count), lifeline)
            if not self._stopping.is_set():
                on_ready(listing)
            await self._stopping.wait()
        finally:
            self._stopping.set()
            await self._end_all()
            os.close(lifeline)
            os.close(end)

    async def _until_ready(self, indexes: Sequence[int], lifeline: int) -> list[str]:
        loop = asyncio.get_running_loop()
        for index in indexes:
            self._ready[index] = loop.create_future()
            self._tasks.append(asyncio.create_task(self._keep(index, lifeline)))
        all_ready = asyncio.gather(*(self._ready[index] for index in indexes))
        stopping = asyncio.ensure_future(self._stopping.wait())
        waits: set[asyncio.Future[Any]] = {all_ready, stopping}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not all_ready.done():
            all_ready.cancel()
            return []
        listings = all_ready.result()
        return listings[0] if listings else []

    async def _keep(self, index: int, lifeline: int) -> None:
        """Keep one worker running: start it again whenever it ends."""
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            started = time.monotonic()
            process = await self._spawn(index, lifeline)
            code = await process.wait()
            self._links.pop(index).close()
            if self._stopping.is_set():
                return
            if not self._ready[index].done():
                self._ready[index].set_exception(StartFailed(_describe_failure(index, code)))
                return
            if time.monotonic() - started > _STABLE_AFTER:
                pause = _FIRST_PAUSE
            log.warning("Worker %d (pid %d) ended (%s): starting another", index, process.pid, describe_exit(code))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _spawn(self, index: int, lifeline: int) -> asyncio.subprocess.Process:
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = Inheritance(index, self._listener.fileno(), theirs.fileno(), lifeline)
            process = await asyncio.create_subprocess_exec(
                *self._command,
                str(inherited),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=inherited.descriptors,
            )
        self._processes[index] = process
        self._links[index] = await Link.open(ours)
        self._tasks.append(asyncio.create_task(self._listen(index, self._links[index])))
        return process

    async def _listen(self, index: int, link: Link) -> None:
        async for message in link.messages():
            self._handle(index, message)

    def _handle(self, index: int, message: dict[str, Any]) -> None:
        if message["kind"] == "ready" and not self._ready[index].done():
            self._ready[index].set_result(message["listing"])
        elif message["kind"] == "run":
            if 0 in self._links:
                self._links[0].send(message)
            else:
                log.warning("'%s' cannot be run now: worker 0 is being restarted", message["function"])

    async def _end_all(self) -> None:
        """Terminate the workers, and kill those that do not end in time."""
        running = [process for process in self._processes.values() if process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        waits = [asyncio.create_task(process.wait()) for process in running]
        if waits:
            await asyncio.wait(waits, timeout=self._patience)
        for process in running:
            if process.returncode is None:
                log.warning("A worker (pid %d) did not end within %g s: it is killed", process.pid, self._patience)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
        await asyncio.gather(*waits)
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _describe_failure(index: int, code: int) -> str:
    # With code 1 the worker has printed its own line.
    return "" if code == 1 else f"worker {index} ended before it served ({describe_exit(code)})"
