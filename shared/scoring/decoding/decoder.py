"""Decodes images for all services: in threads, or, where an image is large, in a process.

Pillow's decoders of WebP, AVIF and HEIC hold the interpreter's lock while they copy a decoded image, 30 ms for twelve
megapixels and 300 ms for fifty: in a thread, that would stop the event loop. A process can also be ended when its
request is, and returns all its memory. Sending it the file costs a millisecond or two, a small part of the time that a
large image takes. JPEGs are always decoded in threads: that takes little memory, and their decoder releases the lock.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future

from shared.scoring.decoding.memory import Memory, busy
from shared.scoring.decoding.process import DecoderProcess
from shared.scoring.decoding.work import Content, Work
from shared.scoring.images import cost
from shared.scoring.images.formats import Format, format_of
from shared.telemetry import RequestContext
from shared.threads import DaemonExecutor

# Bytes that decoding may take in a thread: 5 megapixels of PNG, 2.5 of WebP.
_LARGE = 32_000_000
_MAX_PROCESSES = 4
# Formats whose header bounds neither the memory nor the time that their decoder takes.
_ONLY_IN_PROCESS = frozenset({Format.AVIF, Format.HEIF, Format.TIFF})


class Decoder:
    """Runs the work on images; belongs to one event loop. ``max_pixels`` is the limit of each image."""

    def __init__(self, memory: Memory, max_pixels: int) -> None:
        self._memory = memory
        self._max_pixels = max_pixels
        count = min(os.process_cpu_count() or 1, _MAX_PROCESSES)
        self._slots = asyncio.Semaphore(count)
        self._idle: list[DecoderProcess] = []
        # Each waits for a process.
        self._threads = DaemonExecutor(count, "decoder-process")

    async def run[T](
        self, work: Work, data: bytes, use: Callable[[Content], T], executor: Executor, context: RequestContext
    ) -> T:
        """The value of ``use`` for the result of ``work``, see :mod:`shared.scoring.decoding.work`.

        ``executor`` is for small images; ``use`` is called in a thread too.

        Raises:
            GatewayBusy: memory or a process was not free before the deadline.
            TimeoutError: the deadline passed during the work.
            GatewayError: the image cannot be decoded.
        """
        kind, size = format_of(data), cost.decoding(data, self._max_pixels)
        if kind is Format.JPEG or (0 < size <= _LARGE and kind not in _ONLY_IN_PROCESS):
            await self._memory.reserve(size, context, large=False)
            return await self._in_thread(executor, size, context, lambda: use(work(data)))
        size = (size or _LARGE) + len(data)  # the process has a copy
        before = context.remaining
        async with self._slot(context):
            await self._memory.reserve(size, context, large=True)
            left = context.remaining
            try:
                return await self._in_process(work, data, use, size, context)
            except TimeoutError:
                if before - left > left:  # it waited longer than it was decoded
                    raise busy("a decoder process") from None
                raise

    def close(self) -> None:
        """End the processes."""
        for process in self._idle:
            process.close()
        self._threads.shutdown(cancel_futures=True)

    async def _in_process[T](
        self, work: Work, data: bytes, use: Callable[[Content], T], size: int, context: RequestContext
    ) -> T:
        process = self._idle.pop() if self._idle else DecoderProcess()
        try:
            return await self._in_thread(self._threads, size, context, lambda: use(process.run(work, data, size)))
        except (TimeoutError, asyncio.CancelledError):
            process.kill()  # the thread then ends, too
            with contextlib.suppress(RuntimeError):  # the decoder was closed meanwhile
                self._threads.submit(process.close)  # where the thread had not begun, nothing else waits for its end
            raise
        finally:
            if process.is_usable:
                self._idle.append(process)

    async def _in_thread[T](self, executor: Executor, size: int, context: RequestContext, work: Callable[[], T]) -> T:
        """Run work in a thread; what is reserved for it is released when it ends, even if nobody waits for it."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        future = executor.submit(work)
        # It must not refer to the future, which keeps it: what was decoded would stay until a garbage collection.
        future.add_done_callback(lambda ended: _call_soon(loop, lambda: self._ended(ended, waiter, size)))
        try:
            async with context.timeout():
                return await waiter
        finally:
            future.cancel()  # has an effect where no thread has begun it, and nobody waits for it any longer

    def _ended[T](self, future: Future[T], waiter: asyncio.Future[T], size: int) -> None:
        """Pass on what a thread did; the release is in the same wake-up of the loop: each costs a system call."""
        self._memory.release(size)
        if waiter.done():
            return
        if future.cancelled():
            waiter.cancel()
        elif error := future.exception():
            waiter.set_exception(error)
        else:
            waiter.set_result(future.result())

    @contextlib.asynccontextmanager
    async def _slot(self, context: RequestContext) -> AsyncIterator[None]:
        try:
            async with context.timeout():
                await self._slots.acquire()
        except TimeoutError:
            raise busy("a decoder process") from None
        try:
            yield
        finally:
            self._slots.release()


def _call_soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(callback)
