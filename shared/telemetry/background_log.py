"""What is logged outside of an invocation: by a refresh in the background, a replaced channel, a thread.

The Functions host writes a record only while its invocation is in progress, and drops any other
(``GrpcWorkerChannel.Log`` in Azure/azure-functions-host); a task that an invocation has left behind has its id, and
no invocation any more. So such records are kept here, each text once with its number, until the end of the next
invocation, which writes them. Elsewhere than in the host's worker they are written at once by whatever handles them.

All warnings and errors are counted as well, by the function that logged them.
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime

from shared.telemetry import metrics
from shared.telemetry.log import log

# Texts that are kept; the records with others are only counted.
KEPT = 50

# The packages whose handler sends records to the host: Microsoft's worker, and its stand-in.
_WORKERS = frozenset({"proxy_worker", "functions_worker"})

_AGAIN = "written_again"


class Invocation:
    """An invocation, for the ``with`` block that runs it; at its end it writes what was kept."""

    __slots__ = ("_token", "is_running")

    def __enter__(self) -> None:
        self.is_running = True
        self._token = _current.set(self)

    def __exit__(self, *_error: object) -> None:
        if _kept:
            _write()
        self.is_running = False
        _current.reset(self._token)


_current: ContextVar[Invocation | None] = ContextVar("invocation", default=None)

# How many records there are of each level and text, and when the last one was made.
_kept: dict[tuple[int, str], tuple[int, float]] = {}


def _note(record: logging.LogRecord) -> bool:
    if getattr(record, _AGAIN, False):
        return True
    if record.levelno >= logging.WARNING:
        metrics.LOG_RECORDS.add((record.levelname.lower(), f"{record.module}.{record.funcName}"))
    invocation = _current.get()
    if (invocation is None or not invocation.is_running) and _is_lost():
        _keep(record)
    return True


log.addFilter(_note)


def _is_lost() -> bool:
    """Whether the host gets the log, and nobody else."""
    handlers = logging.getLogger().handlers
    return any(type(one).__module__.partition(".")[0] in _WORKERS for one in handlers)


def _keep(record: logging.LogRecord) -> None:
    kind = record.levelno, record.getMessage()
    count, _ = _kept.get(kind, (0, 0.0))
    if count or len(_kept) < KEPT:
        _kept[kind] = count + 1, record.created


def _write() -> None:
    found = dict(_kept)
    _kept.clear()
    for (level, text), (count, at) in found.items():
        last = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        times = "" if count == 1 else f"{count} times, the last "
        log.log(level, "%s (%soutside of a request at %s)", text, times, last, extra={_AGAIN: True})
