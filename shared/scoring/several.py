"""Several images of one request: which share a call, how their tasks end, and which one an error is about."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from shared.errors import DeadlineExceeded, GatewayError
from shared.scoring.types import Upload

# The encoded length of an image in a request, and more.
_ELEMENT_BYTES = 16


def batches(sizes: Sequence[int], most: int, room: int) -> list[slice]:
    """How images of these sizes share calls: in their order, at most so many and so many bytes in each.

    Each takes some bytes more than its own; one that does not fit beside others has a call of its own.
    """
    found, start, total = list[slice](), 0, 0
    for index, size in enumerate(sizes):
        if index > start and (index - start >= most or total + size + _ELEMENT_BYTES > room):
            found.append(slice(start, index))
            start, total = index, 0
        total += size + _ELEMENT_BYTES
    return [*found, slice(start, len(sizes))]


async def gathered[T](uploads: Sequence[Upload], work: Callable[[Upload], Coroutine[Any, Any, T]]) -> list[T]:
    """What the work gives for each image; a failure names the image that it is about."""
    tasks = [asyncio.ensure_future(work(upload)) for upload in uploads]
    # The others must not go on after one failed, or after the client disconnected.
    async with cancelled_at_end(tasks):
        try:
            return await asyncio.gather(*tasks)
        except GatewayError as error:
            for index, (task, upload) in enumerate(zip(tasks, uploads, strict=True)):
                if task.done() and not task.cancelled() and task.exception() is error:
                    named(error, upload, index)
            raise


@contextlib.asynccontextmanager
async def cancelled_at_end(tasks: Sequence[asyncio.Future[Any]]) -> AsyncIterator[None]:
    """Cancel the tasks that are not done at the end of the block, and wait for them."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def named(error: GatewayError, upload: Upload, index: int) -> GatewayError:
    """The error with the image that it is about; without, if another image might have the same trouble."""
    if not error.is_server_fault or isinstance(error, DeadlineExceeded):
        error.members = {**error.members, "file": upload.name, "index": index}
    return error
