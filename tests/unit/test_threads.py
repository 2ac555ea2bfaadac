"""The executor whose threads are daemons: results, errors, the number of threads, cancellation and shutdown."""

import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest

from shared.threads import DaemonExecutor


@pytest.fixture
def executor() -> Iterator[DaemonExecutor]:
    executor = DaemonExecutor(2, "test")
    yield executor
    executor.shutdown()
    for thread in threads():
        thread.join(10)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("test-")]


def test_results_and_errors_are_those_of_the_work(executor: DaemonExecutor) -> None:
    assert executor.submit(pow, 2, 5, mod=7).result(10) == 4
    with pytest.raises(ZeroDivisionError):
        executor.submit(lambda: 1 // 0).result(10)
    with pytest.raises(SystemExit):
        executor.submit(exit).result(10)
    assert executor.submit(int).result(10) == 0


def test_threads_are_daemons_started_when_they_are_needed(executor: DaemonExecutor) -> None:
    assert threads() == []
    gate = threading.Event()
    waiting = [executor.submit(gate.wait, 10) for _ in range(5)]

    assert [thread.daemon for thread in threads()] == [True, True]
    gate.set()
    assert all(future.result(10) for future in waiting)


def test_an_idle_thread_takes_the_next_work_and_another_is_started_for_more(
    executor: DaemonExecutor,
) -> None:
    for number in range(5):
        assert executor.submit(int, number).result(10) == number
        ends = time.monotonic() + 10
        while executor._idle < 1 and time.monotonic() < ends:
            time.sleep(0.001)

    assert len(threads()) == 1
    both = threading.Barrier(2)
    waiting = [executor.submit(both.wait, 5) for _ in range(2)]
    assert sorted(future.result(10) for future in waiting) == [0, 1]


def test_work_is_cancelled_until_a_thread_takes_it(executor: DaemonExecutor) -> None:
    gate = threading.Event()
    running = [executor.submit(gate.wait, 10) for _ in range(2)]
    waiting, last = executor.submit(pytest.fail), executor.submit(int)

    assert waiting.cancel()
    gate.set()

    assert last.result(10) == 0
    assert all(future.result(10) for future in running)


@pytest.mark.parametrize(("options", "cancel"), [({"cancel_futures": True}, True), ({}, False)])
def test_after_shutdown_work_that_waits_is_cancelled_or_done(options: dict[str, bool], cancel: bool) -> None:
    executor, gate = DaemonExecutor(1, "test"), threading.Event()
    executor.submit(gate.wait, 10)
    waiting = executor.submit(int)
    started = threads()

    executor.shutdown(**options)
    executor.shutdown()
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(int)
    gate.set()

    for thread in started:
        thread.join(10)
    assert waiting.cancelled() is cancel
    assert waiting.done()


def test_work_and_its_error_are_released_at_its_end(executor: DaemonExecutor) -> None:
    class Upload:
        def fail(self) -> None:
            raise ValueError

    upload = Upload()
    seen = weakref.ref(upload)
    gc.disable()
    try:
        future = executor.submit(upload.fail)
        assert future.exception(10) is not None
        executor.submit(int).result(10)
        del future, upload
        assert seen() is None
    finally:
        gc.enable()
