"""The host's log on standard error: the app's log records, and a line for each invocation."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar

log = logging.getLogger("host")

# The loggers that the current task has used, where they are collected.
_lines: ContextVar[list[str] | None] = ContextVar("lines", default=None)


class _Formatter(logging.Formatter):
    """Formats the host's own lines without level and logger, the app's with both."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s] %(message)s")
        self._app = logging.Formatter("[%(asctime)s] %(levelname)s %(name)s: %(message)s")
        for formatter in (self, self._app):
            formatter.default_time_format, formatter.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record) if record.name == log.name else self._app.format(record)


def _is_wanted(record: logging.LogRecord) -> bool:
    # The library logs this for every app with a function that is not HTTP; users can do nothing about it.
    return not record.getMessage().startswith("Auth level is not applied to non http")


def _collect(record: logging.LogRecord) -> bool:
    lines = _lines.get()
    if lines is not None:
        lines.append(record.name)
    return True


@contextlib.contextmanager
def collected_lines() -> Iterator[list[str]]:
    """Collects the names of the loggers that the current task uses meanwhile."""
    lines: list[str] = []
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)


def configure(level: str) -> None:
    """Log to standard error, from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    handler.addFilter(_is_wanted)
    handler.addFilter(_collect)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The worker library logs failed invocations and imports too, without the function's name.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    # A worker process reports each of its steps.
    logging.getLogger("functions_worker").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
