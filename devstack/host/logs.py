"""What the host writes to standard error: the app's own logging, and a line for each invocation."""

import logging
import sys

log = logging.getLogger("host")


class _Form(logging.Formatter):
    """The host's own lines bare, the app's with their level and logger."""

    def __init__(self) -> None:
        super().__init__("[%(asctime)s] %(message)s")
        self._other = logging.Formatter("[%(asctime)s] %(levelname)s %(name)s: %(message)s")
        for form in (self, self._other):
            form.default_time_format, form.default_msec_format = "%Y-%m-%dT%H:%M:%S", "%s.%03d"

    def format(self, record: logging.LogRecord) -> str:
        if record.name == log.name:
            return super().format(record)
        return self._other.format(record)


def _is_wanted(record: logging.LogRecord) -> bool:
    # The library says of every app without an HTTP function that no key can be asked for: there is nothing to do.
    return not record.getMessage().startswith("Auth level is not applied to non http")


def configure(level: str) -> None:
    """Send everything to standard error. ``level`` is that of the app's and the host's own lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Form())
    handler.addFilter(_is_wanted)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The worker library reports failed invocations and imports too, without the function's name.
    logging.getLogger("azure.functions").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
