"""The course of an endurance run: what is sent, when it is looked at what is held, and what is told of it."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from benchmarks.machine import Footprint
from benchmarks.refusals import REFUSALS, Refusal
from benchmarks.rig import Invalid
from benchmarks.trouble import Trouble

CLIENTS = 8
LIMIT_MB = 5.0
# A channel that cannot connect holds a socket while it tries, some times a second: where more is held than before,
# the least of several looks is told.
LOOKS, PAUSE = 12, 0.05

# Sends a request, and returns the problem's slug; empty for a score.
type Send = Callable[[Refusal], Awaitable[str]]

SCORED = Refusal("")


@dataclass(frozen=True)
class Row:
    """What was held after ``name``; ``tasks`` is None where they cannot be counted."""

    name: str
    held: Footprint
    tasks: int | None = None

    @property
    def counts(self) -> tuple[int, ...]:
        """What can be counted, from what varies most."""
        return self.held.sockets, self.tasks or 0, self.held.threads, self.held.files

    def __str__(self) -> str:
        held = self.held
        tasks = "" if self.tasks is None else f"{self.tasks:7}"
        return f"{self.name:<44}{held.resident_mb:9.1f}{held.files:7}{held.sockets:9}{held.threads:9}{tasks}"


# Makes a row under the name that it is given.
type Look = Callable[[str], Row]

HEADING = f"{'after':<44}{'RSS, MB':>9}{'files':>7}{'sockets':>9}{'threads':>9}"


class Course:
    """Scores, then refusals of every kind, with a look at what is held after each."""

    def __init__(self, clients: Callable[[], AbstractAsyncContextManager[Send]], look: Look, trouble: Trouble) -> None:
        self._clients = clients
        self._look = look
        self._trouble = trouble

    async def run(self, count: int, warm_up: int) -> list[Row]:
        """Print a row each: the first after the warm-up, the second after some of every refusal, then one a kind.

        Raises:
            Invalid: a request was answered otherwise than it should be.
        """
        await self._repeat(SCORED, warm_up)
        rows = [await self._told(f"the first {warm_up} scores")]
        for refusal in REFUSALS:
            await self._repeat(refusal, min(count, CLIENTS))
        rows.append(await self._told(f"{min(count, CLIENTS)} refusals of every kind"))
        for request in (SCORED, *REFUSALS):
            await self._repeat(request, count)
            rows.append(await self._told(f"{count} times {request.name}", rows[-1]))
        return rows

    async def _told(self, name: str, before: Row | None = None) -> Row:
        row = await steady(self._look, name, before)
        print(row, flush=True)
        return row

    async def _repeat(self, request: Refusal, count: int) -> None:
        self._trouble.cause(request.faults)
        turns, slugs = iter(range(count)), Counter[str]()

        async def client(send: Send) -> None:
            for _ in turns:
                slugs[await send(request)] += 1

        async with self._clients() as send:
            await asyncio.gather(*(client(send) for _ in range(CLIENTS)))
        if slugs.keys() != {request.slug}:
            raise Invalid(f"Answers to {request.name} were: {dict(slugs)}")


async def steady(look: Look, name: str, before: Row | None = None) -> Row:
    """What is held when what is under way has ended."""
    rows = []
    for _ in range(LOOKS):
        await asyncio.sleep(PAUSE)
        rows.append(look(name))
        if before is not None and rows[-1].counts <= before.counts:
            break
    return min(rows, key=lambda row: row.counts)


def verdict(rows: Sequence[Row]) -> None:
    """Print how much more is held at the end than at the beginning."""
    last = rows[-1].held
    for row in rows[:2]:
        held = row.held
        grown = last.resident_mb - held.resident_mb
        print(
            f"since {row.name}: {grown:+.1f} MB ({'within' if grown <= LIMIT_MB else 'OVER'} {LIMIT_MB:g}),"
            f" {last.files - held.files:+d} files, {last.sockets - held.sockets:+d} sockets,"
            f" {last.threads - held.threads:+d} threads"
        )
