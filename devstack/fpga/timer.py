"""Waiting for a moment, more precisely than the event loop can by itself.

On Linux the loop waits with ``epoll_wait``, whose timeout counts whole milliseconds: ``asyncio.sleep(0.0018)`` was
measured to take 2.16 ms. A timer of the kernel that the loop reads like a socket takes 1.86 ms. A sleep in a thread is
as precise but pays for two changes of thread.
"""

import asyncio
import os
import sys
import time
from typing import Protocol


class Timer(Protocol):
    """A clock that can be waited for; moments are nanoseconds on a monotonic clock."""

    def now(self) -> int: ...

    async def until(self, moment: int) -> None: ...

    def close(self) -> None: ...


def best() -> Timer:
    """The most precise timer of this system."""
    return KernelTimer() if sys.platform == "linux" else LoopTimer()


class LoopTimer:
    """The event loop's own timer. Precise where the loop's selector is: on macOS it is."""

    def now(self) -> int:
        return time.monotonic_ns()

    async def until(self, moment: int) -> None:
        delay = moment - self.now()
        if delay > 0:
            await asyncio.sleep(delay / 1e9)

    def close(self) -> None:
        """Nothing is held."""


if sys.platform == "linux":

    class KernelTimer:
        """A timer of the kernel (timerfd). One task at a time may wait for it."""

        # None until the first wait, which binds the timer to the loop that waits.
        _loop: asyncio.AbstractEventLoop | None = None
        _waiter: asyncio.Future[None] | None = None

        def __init__(self) -> None:
            flags = os.TFD_NONBLOCK | os.TFD_CLOEXEC
            self._descriptor = os.timerfd_create(time.CLOCK_MONOTONIC, flags=flags)

        def now(self) -> int:
            return time.monotonic_ns()

        async def until(self, moment: int) -> None:
            if moment <= self.now():
                return
            self._bind()
            self._waiter = asyncio.get_running_loop().create_future()
            os.timerfd_settime_ns(self._descriptor, flags=os.TFD_TIMER_ABSTIME, initial=moment)
            await self._waiter

        def close(self) -> None:
            if self._descriptor < 0:
                return
            if self._loop and not self._loop.is_closed():
                self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

        def _bind(self) -> None:
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
                self._loop.add_reader(self._descriptor, self._expired)

        def _expired(self) -> None:
            try:
                os.read(self._descriptor, 8)
            except BlockingIOError:  # set anew since the loop looked: the later moment is still to come
                return
            if self._waiter and not self._waiter.done():
                self._waiter.set_result(None)
else:
    KernelTimer = LoopTimer
