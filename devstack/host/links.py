"""The messages between a worker process and its supervisor: lines of JSON over a socket pair.

There is also a lifeline, a pipe that nobody writes to: the supervisor alone has its other end open, so the end of the
file shows a worker that the supervisor has ended, in whatever way.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

# The longest line: a function's input on its way to the leader.
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
    """One end of the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Use one end of a socket pair."""
        return cls(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; it is lost if the other process has ended."""
        self._writer.write(json.dumps(message).encode() + b"\n")

    async def messages(self) -> AsyncIterator[dict[str, Any]]:
        """The messages from the other process, until it ends."""
        try:
            while line := await self._reader.readline():
                yield json.loads(line)
        except (ConnectionError, ValueError):
            # The process ended in the middle of a line.
            return

    def close(self) -> None:
        self._writer.close()


def ready_message(listing: Sequence[str]) -> dict[str, Any]:
    """From a worker that serves; ``listing`` describes its functions."""
    return {"kind": "ready", "listing": list(listing)}


def run_message(function: str, text: str) -> dict[str, Any]:
    """The leader must run a function with some input."""
    return {"kind": "run", "function": function, "input": text}
