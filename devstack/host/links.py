"""What a worker process and its supervisor say to each other: JSON lines over a socket pair, and a lifeline.

The lifeline is a pipe that nobody writes to. The supervisor alone holds its other end, so that the end of the file
tells a worker that the supervisor is gone, however it went.
"""

import asyncio
import json
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from devstack.host.signals import end_hard

# The longest line: a function's input that is passed on to the leader.
_LONGEST_LINE = 128 * 1024 * 1024


@dataclass(frozen=True)
class Inheritance:
    """What a worker process gets from its supervisor: its number and three open files, by their descriptors."""

    index: int
    listener: int
    link: int
    lifeline: int

    @classmethod
    def parse(cls, text: str) -> Self:
        return cls(*map(int, text.split(",")))

    @property
    def descriptors(self) -> tuple[int, ...]:
        return (self.listener, self.link, self.lifeline)

    def __str__(self) -> str:
        return ",".join(map(str, (self.index, *self.descriptors)))


class Link:
    """One end of the conversation."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Talk over one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; one to a process that is gone is lost."""
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """What the other end says, until it is gone."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except (ConnectionError, ValueError):
            # The process died in the middle of a line.
            return

    def close(self) -> None:
        self._writer.close()


def ready_message(listing: Sequence[str]) -> dict[str, Any]:
    """A worker serves; ``listing`` describes its functions."""
    return {"kind": "ready", "listing": list(listing)}


def run_message(function: str, text: str) -> dict[str, Any]:
    """The leader is to run a function with some input."""
    return {"kind": "run", "function": function, "input": text}


def hold_lifeline(pipe: int, patience: float) -> None:
    """End this process when the supervisor is gone: in order if it can, after ``patience`` seconds if it cannot."""

    def wait() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
        end_hard()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
