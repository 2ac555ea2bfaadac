"""The calls in work, and how they and their connections end before their time."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Names every open file of this process, on Linux and macOS.
_DESCRIPTORS = Path("/dev/fd")


class Calls:
    """Calls in work. gRPC could end them too, but it prints a stack trace for each and gives the caller no reason."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False

    @property
    def ending(self) -> bool:
        """Whether a call that is cancelled now is so because the service stops."""
        return self._ending

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Hold the current task to be a call for as long as this lasts."""
        task = asyncio.current_task()
        assert task, "calls run in tasks"  # noqa: S101 - for the type checker: gRPC starts one for each
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def end(self, grace: float) -> None:
        """Give the calls in work ``grace`` seconds, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        self._ending = True
        remaining = set(self._tasks)
        for task in remaining:
            task.cancel()
        if remaining:
            await asyncio.wait(remaining)
        self._ending = False


def drop_connections(port: int) -> int:
    """Close every connection that this process has accepted on ``port``, as a network that fails does.

    Returns how many there were. gRPC has no call for it: this shuts the sockets down behind its back, as if the
    other side had gone.
    """
    return sum(_drop(int(entry.name), port) for entry in _DESCRIPTORS.iterdir())


def _drop(descriptor: int, port: int) -> bool:
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed since it was listed
        return False
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
            return False
        connection.getpeername()  # fails for the socket that listens, which a shutdown would end too
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # no other side, or it has gone already
        return False
    finally:
        connection.detach()  # the descriptor stays gRPC's, who closes it
    return True
