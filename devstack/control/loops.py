"""An event loop in a thread of its own, for the data plane.

The REST API encrypts, parses and writes files; in the same loop, that would add to the latency of scoring calls.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class LoopThread:
    """An event loop that runs until :meth:`close`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it, from a thread without a loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def call[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` in the loop and wait for it, from another loop. Cancelling the caller cancels the work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.get_loop().run_forever()
