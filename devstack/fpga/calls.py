"""The calls in progress, and how they and their connections are ended early."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Lists the open files of this process, on Linux and macOS.
_DESCRIPTORS = Path("/dev/fd")


class Calls:
    """The calls in progress. gRPC could cancel them too, but prints a stack trace for each and sends no reason."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False

    @property
    def ending(self) -> bool:
        """Whether calls are cancelled because the service stops."""
        return self._ending

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count the current task as a call meanwhile."""
        task = asyncio.current_task()
        assert task, "calls run in tasks"  # noqa: S101 - for the type checker: gRPC starts one for each
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def end(self, grace: float) -> None:
        """Wait ``grace`` seconds for the calls in progress, then cancel them."""
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
    """Close every connection that this process has accepted on ``port``, like a network failure.

    Returns their number. gRPC has no function for it: this shuts the sockets down, as if the clients had.
    """
    return sum(_drop(int(entry.name), port) for entry in _DESCRIPTORS.iterdir())


def _drop(descriptor: int, port: int) -> bool:
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:  # not a socket, or closed since it was listed
        return False
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getsockname()[1] != port:
            return False
        connection.getpeername()  # fails for the listening socket, which must stay open
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # not connected, or not any more
        return False
    finally:
        connection.detach()  # gRPC closes the descriptor
    return True
