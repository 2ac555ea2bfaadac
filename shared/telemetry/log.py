"""The gateway's logger, and how an unexpected exception is described in it."""

import asyncio
import contextlib
import logging
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from shared.quoting import printable

# Characters of a line; only the list of all faults of the settings comes near.
_LINE = 4000

log = logging.getLogger("scoring_gateway")


def _one_line(record: logging.LogRecord) -> bool:
    """Make a record one printable line, whatever text of foreign origin is in it: nobody forges a line of this log."""
    record.msg, record.args = printable(record.getMessage(), _LINE), None
    return True


log.addFilter(_one_line)

# ``send`` is set in a thread whose records a task logs.
_thread = threading.local()


def _hand_over(record: logging.LogRecord) -> bool:
    """Keep a record from the handlers of a thread whose records a task logs."""
    send: Callable[[logging.LogRecord], None] | None = getattr(_thread, "send", None)
    if send is not None:
        send(record)
    return send is None


log.addFilter(_hand_over)


async def in_thread[T](executor: Executor, work: Callable[..., T], *arguments: object) -> T:
    """Do the work in a thread, and log in this task, at once, what it logs.

    The Functions host drops records that do not belong to an invocation, and its worker knows to which one a task
    belongs, but not a thread (Azure/azure-functions-python-worker#1860).
    """
    loop = asyncio.get_running_loop()
    records: asyncio.Queue[logging.LogRecord | None] = asyncio.Queue()

    def send(record: logging.LogRecord | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: the process ends
            loop.call_soon_threadsafe(records.put_nowait, record)

    def run() -> T:
        _thread.send = send
        try:
            return work(*arguments)
        finally:
            del _thread.send

    future = loop.run_in_executor(executor, run)
    future.add_done_callback(lambda _: records.put_nowait(None))
    try:
        while (record := await records.get()) is not None:
            log.handle(record)
        return await future
    finally:
        future.cancel()


_APP_ROOT = Path(__file__).resolve().parents[2]


def fault_path(fault: BaseException) -> str:
    """An exception's type and its path through the project's files, outermost first.

    Neither its message nor any line of code: both could repeat what was being handled. Where it was raised in a
    library, that file comes last.
    """
    frames = traceback.extract_tb(fault.__traceback__)
    own = [(Path(frame.filename), frame.lineno) for frame in frames]
    steps = [
        f"{path.relative_to(_APP_ROOT)}:{line}"
        for path, line in own
        if path.is_relative_to(_APP_ROOT) and "site-packages" not in path.parts
    ]
    if own and not (steps and steps[-1].endswith(f"{own[-1][0].name}:{own[-1][1]}")):
        steps.append(f"{own[-1][0].name}:{own[-1][1]}")
    return f"{type(fault).__name__} at {' > '.join(steps) or 'an unknown location'}"
