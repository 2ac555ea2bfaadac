"""Threads for work that nobody waits for at the end of the process.

The standard library's executor joins its threads when the interpreter ends: one that waits for a server which never
responds would keep the process alive. These threads end with the process, in the middle of their work.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class DaemonExecutor(Executor):
    """As ``ThreadPoolExecutor``, with daemon threads, each started when it is needed."""

    # _waiting  the work that no thread has taken; None ends the thread that takes it
    # _idle     how many threads have nothing to do, less the work that waits for one

    def __init__(self, threads: int, name: str) -> None:
        self._most = threads
        self._name = name
        self._waiting: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._closed = False

    def submit[T](self, work: Callable[..., T], /, *arguments: Any, **named: Any) -> Future[T]:
        """Run the work in a thread; its future can be cancelled until a thread takes it.

        Raises:
            RuntimeError: the executor was shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the executor was shut down")
            self._waiting.put(_Work(future, lambda: work(*arguments, **named)))
            self._idle -= 1
            if self._idle < 0 and self._threads < self._most:
                self._threads += 1
                self._idle += 1
                threading.Thread(target=self._serve, name=f"{self._name}-{self._threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - as inherited
        """Accept no more work, and end each thread after its own.

        ``wait`` is ignored: nobody waits for these threads. Work that no thread has taken is cancelled with
        ``cancel_futures``, and done otherwise.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            while cancel_futures and not self._waiting.empty():
                if work := self._waiting.get():
                    work.future.cancel()
            for _ in range(self._threads):
                self._waiting.put(None)

    def _serve(self) -> None:
        while work := self._waiting.get():
            work.run()
            del work  # it holds what it was done for
            with self._lock:
                self._idle += 1


class _Work:
    __slots__ = ("_call", "future")

    def __init__(self, future: Future[Any], call: Callable[[], Any]) -> None:
        self.future = future
        self._call = call

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self._call()
        except BaseException as error:  # it is raised where the future is waited for
            self.future.set_exception(error)
            del self  # the error's traceback holds this frame
        else:
            self.future.set_result(result)
