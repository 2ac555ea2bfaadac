"""Waits that are more precise than those of the event loop.

On Linux the loop waits with ``epoll_wait``, whose timeout is in whole milliseconds: ``asyncio.sleep(0.0018)`` takes
2.16 ms. A timer of the kernel, which the loop reads like a socket, takes 1.86 ms. A sleep in a thread is as precise,
but needs two switches between threads.
"""

import asyncio
import os
import sys
import time


def best() -> "Timer":
    """The most precise timer of this system."""
    return KernelTimer() if sys.platform == "linux" else Timer()


class Timer:
    """The event loop's own timer, which is precise on macOS. Times are in nanoseconds of a monotonic clock."""

    def now(self) -> int:
        return time.monotonic_ns()

    async def until(self, moment: int) -> None:
        delay = moment - self.now()
        if delay > 0:
            await asyncio.sleep(delay / 1e9)

    def close(self) -> None:
        """Nothing to close."""


if sys.platform == "linux":

    class KernelTimer(Timer):
        """A timer of the kernel (timerfd). One task at a time may wait for it."""

        # None until the first wait, which binds the timer to the event loop.
        _loop: asyncio.AbstractEventLoop | None = None
        _waiter: asyncio.Future[None] | None = None

        def __init__(self) -> None:
            flags = os.TFD_NONBLOCK | os.TFD_CLOEXEC
            self._descriptor = os.timerfd_create(time.CLOCK_MONOTONIC, flags=flags)

        async def until(self, moment: int) -> None:
            if moment <= self.now():
                return
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                self._loop.add_reader(self._descriptor, self._expired)
            self._waiter = self._loop.create_future()
            os.timerfd_settime_ns(self._descriptor, flags=os.TFD_TIMER_ABSTIME, initial=moment)
            await self._waiter

        def close(self) -> None:
            if self._descriptor < 0:
                return
            if self._loop and not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

        def _expired(self) -> None:
            try:
                os.read(self._descriptor, 8)
            except BlockingIOError:  # it was set again meanwhile, for a later time
                return
            if self._waiter and not self._waiter.done():
                self._waiter.set_result(None)
