"""Scores many images concurrently, with results in the order of the images and a bounded number in memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice

from scoring_client.files import Source
from scoring_client.results import Result

# How many images, per concurrent one, may be ahead of the first unfinished one.
_AHEAD = 8
# How many names are looked up at a time, in a thread: a folder may be on a slow network.
_BLOCK = 64

Score = Callable[[Source], Awaitable[Result]]
Emit = Callable[[Result], None]


async def stream(found: Iterator[Source]) -> AsyncIterator[Source]:
    """The items of an iterator, without blocking the event loop."""
    while block := await asyncio.to_thread(lambda: list(islice(found, _BLOCK))):
        for source in block:
            yield source


async def run(sources: AsyncIterator[Source], score: Score, emit: Emit, concurrency: int) -> None:
    """Score the sources, ``concurrency`` at a time, and emit each result; if cancelled, those that are finished too.

    Raises:
        Stop: as ``score`` raises it.
    """
    slots = asyncio.Semaphore(concurrency)
    tasks: deque[asyncio.Task[Result]] = deque()

    async def scored(source: Source) -> Result:
        async with slots:
            return await score(source)

    try:
        async for source in sources:
            tasks.append(asyncio.ensure_future(scored(source)))
            while tasks and (len(tasks) >= concurrency * _AHEAD or tasks[0].done()):
                await _emit_first(tasks, emit)
        while tasks:
            await _emit_first(tasks, emit)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(ended, BaseException):
                emit(ended)


async def _emit_first(tasks: deque[asyncio.Task[Result]], emit: Emit) -> None:
    # Not awaited itself: a cancellation would cancel it too, and lose its result.
    await asyncio.wait({tasks[0]})
    result = tasks[0].result()
    tasks.popleft()
    emit(result)
