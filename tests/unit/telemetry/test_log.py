"""What a thread logs is logged by the task that waits for it, since the Functions host drops a thread's records."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.telemetry import in_thread, log


class Records(logging.Handler):
    """Keeps each message with the task that logged it; None outside of a task."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, asyncio.Task[object] | None]] = []
        self.changed = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            task = asyncio.current_task()
        except RuntimeError:
            task = None
        self.kept.append((record.getMessage(), task))
        self.changed.set()


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    handler = Records()
    monkeypatch.setattr(log, "level", logging.INFO)
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


async def test_records_of_a_thread_are_logged_by_the_task_at_once_and_in_order(records: Records) -> None:
    def work(first: str) -> str:
        log.info("%s", first)
        assert records.changed.wait(10), "it is logged while the work goes on"
        log.warning("second")
        raise LookupError("failed")

    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(LookupError, match="failed"):
            await in_thread(executor, work, "first")
        # The thread is another work's afterwards.
        await asyncio.get_running_loop().run_in_executor(executor, log.info, "third")

    task = asyncio.current_task()
    assert records.kept == [("first", task), ("second", task), ("third", None)]


async def test_work_that_is_cancelled_before_it_starts_ends_the_wait() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def block() -> bool:
        begun.set()
        return may_end.wait(10)

    with ThreadPoolExecutor(1) as executor:
        running = asyncio.create_task(in_thread(executor, block))
        await asyncio.to_thread(begun.wait, 10)
        waiting = asyncio.create_task(in_thread(executor, block))
        await asyncio.sleep(0)
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        may_end.set()
        assert await running
