"""Files that are read again when they change, while a server uses what they hold."""

import logging
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int] | None, ...]


class Watched[T]:
    """Files and what they mean. A change that means nothing (a file half written) leaves the old meaning in force.

    ``poll`` costs one stat a file; there is no thread and no timer behind it. ``missing`` is what the absence of the
    files means; left out, it is an error like any other.
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
            ValueError: the files hold something else.
        """
        self._stamp = self._look()
        if self._missing is not None and None in self._stamp:
            return self._missing
        return self._parse(*(path.read_bytes() for path in self._paths))

    def poll(self) -> T | None:
        """The new meaning when the files have changed since the last look; else None."""
        if self._look() == self._stamp:
            return None
        names = " and ".join(path.name for path in self._paths)
        try:
            fresh = self.read()
        except OSError as error:
            logger.warning("%s changed but cannot be read (%s): the old one stays", names, error.strerror)
            return None
        except ValueError as error:
            logger.warning("%s changed but is not usable (%s): the old one stays", names, error)
            return None
        logger.info("%s changed: the new one is in force", names)
        return fresh

    def _look(self) -> _Stamp:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
