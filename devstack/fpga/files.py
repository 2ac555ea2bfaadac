"""Files that a server reads again when they change."""

import logging
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


class Watched[T]:
    """Files and the value that they contain. An invalid change (a half-written file) leaves the old value in use.

    ``poll`` costs one stat a file; there is no thread and no timer. ``missing`` is the value where a file is absent;
    without it, absence is an error.
    """

    def __init__(self, paths: tuple[Path, ...], parse: Callable[..., T], missing: T | None = None) -> None:
        self._paths = paths
        self._parse = parse
        self._missing = missing
        self._stamp: _Stamp = ()

    def read(self) -> T:
        """Read the files now.

        Raises:
            OSError: a file cannot be read.
            ValueError: the content is invalid.
        """
        self._stamp = self._stat()
        if self._missing is not None and None in self._stamp:
            return self._missing
        return self._parse(*(path.read_bytes() for path in self._paths))

    def poll(self) -> T | None:
        """The new value if the files have changed since the last call; otherwise None."""
        if self._stat() == self._stamp:
            return None
        names = " and ".join(path.name for path in self._paths)
        try:
            fresh = self.read()
        except OSError as error:
            logger.warning("%s changed but cannot be read (%s): the old one stays in use", names, error.strerror)
            return None
        except ValueError as error:
            logger.warning("%s changed but is invalid (%s): the old one stays in use", names, error)
            return None
        logger.info("%s changed: the new one is in use", names)
        return fresh

    def _stat(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
