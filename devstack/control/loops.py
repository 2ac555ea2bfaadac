"""An event loop in a thread of its own: the data plane's.

The HTTP edge encrypts, parses and writes files; in one loop, each of these would show in the latency of the scoring
calls. So the two share nothing but the calls that are handed over here.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class LoopThread:
    """A running event loop; use it in a ``with``, whose end stops it."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it, from a thread without a loop.

        A signal that interrupts the wait takes effect after the work: a gRPC server that is cancelled half started ends
        with a stack trace.
        """
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            with contextlib.suppress(Exception):
                future.result()
            raise

    async def call[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it, from another loop. Who is cancelled cancels it too."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
