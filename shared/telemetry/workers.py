"""The figures of all worker processes of an instance: a scrape reaches one of them, and returns those of all.

Each worker writes a snapshot to a file of its own, in a folder that the workers of one host share, and holds a lock
while it lives. What ended workers had counted is kept, since counts must not go down: it is added to one file, once
for each.

    <id>.lock     held by the worker of that id; free once it has ended, however it did
    <id>.json     its latest snapshot, replaced as a whole
    ended.json    the counts of ended workers, and their ids for as long as their files remain
    folder.lock   held while files are read together, or added to ended.json
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.telemetry.log import log
from shared.telemetry.snapshot import Snapshot, combined, counts, from_json, to_json

try:
    import fcntl
except ImportError:  # Windows, where each worker reports its own figures
    fcntl = None  # type: ignore[assignment]

_ENDED, _FOLDER_LOCK = "ended.json", "folder.lock"

# Bytes of a snapshot: a hundred services have a tenth.
_LARGEST = 8_000_000


def folder_of_instance() -> Path:
    """Where the workers of this process's host share their figures: they have the same parent."""
    user = os.getuid() if fcntl else 0  # not on Windows
    return Path(tempfile.gettempdir(), f"scoring-gateway-{user}", f"workers-{os.getppid()}")


class Workers:
    """Writes this worker's snapshots, and reads those of all; blocks on files, so it is called in a thread.

    Where the folder cannot be used, the figures are this worker's own.
    """

    # _lock  keeps this worker's lock file open: the lock ends with the process

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._id = f"{os.getpid()}-{time.time_ns()}"
        self._written = ""
        self._lock: int | None = None
        try:
            _make_private(folder)
            with _locked(folder):  # a scrape must not take it for one that ended, before it is held
                self._lock = _held(folder / f"{self._id}.lock")
        except OSError as fault:
            log.warning("the workers' metrics cannot be shared in %s: %s", folder, type(fault).__name__)

    def write(self, snapshot: Snapshot) -> None:
        """Replace this worker's snapshot, unless nothing changed."""
        if self._lock is None:
            return
        text = to_json(snapshot)
        _, _, points = text.partition('"points"')
        if points == self._written:
            return
        try:
            _replace(self._folder / f"{self._id}.json", text)
            self._written = points
        except OSError as fault:
            log.warning("this worker's metrics are not shared: %s", type(fault).__name__)

    def all(self, own: Snapshot) -> Snapshot:
        """The figures of all workers; this one's are given, and not read."""
        if self._lock is None:
            return own
        try:
            with _locked(self._folder):
                return combined([own, *self._others()])
        except OSError as fault:
            log.warning("the other workers' metrics cannot be read: %s", type(fault).__name__)
            return own

    def close(self) -> None:
        """End as a process does: what was counted is kept."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _others(self) -> Iterator[Snapshot]:
        locks = [file for file in sorted(self._folder.glob("*.lock")) if file.name != _FOLDER_LOCK]
        gone = [file.stem for file in locks if file.stem != self._id and _is_free(file)]
        ended = self._add_ended(gone)
        if ended is not None:
            yield ended
        for file in locks:
            if file.stem not in {self._id, *gone} and (found := _read(file.with_suffix(".json"))):
                yield found

    def _add_ended(self, gone: list[str]) -> Snapshot | None:
        """What all ended workers had counted, those that are gone now included; their files are removed."""
        ended, added = self._read_ended()
        if not gone:
            return ended
        fresh = [_read(self._folder / f"{id_}.json") for id_ in gone if id_ not in added]
        found = [counts(one) for one in (ended, *fresh) if one is not None]
        ended = combined(found) if found else None
        # First what they counted, with their ids: if this process ends here, they are not added again.
        _replace(self._folder / _ENDED, _ended_text(ended, gone))
        for id_ in gone:
            for kind in ("json", "lock"):
                (self._folder / f"{id_}.{kind}").unlink(missing_ok=True)
        return ended

    def _read_ended(self) -> tuple[Snapshot | None, set[str]]:
        with suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads((self._folder / _ENDED).read_text(encoding="utf-8"))
            return from_json(document["snapshot"]) if document["snapshot"] else None, set(document["ids"])
        return None, set()


def _ended_text(ended: Snapshot | None, ids: list[str]) -> str:
    return json.dumps({"snapshot": "" if ended is None else to_json(ended), "ids": ids})


def _make_private(folder: Path) -> None:
    """Make the folder, for this user alone.

    Raises:
        OSError: it cannot be made, or somebody else made it.
    """
    if fcntl is None:
        raise OSError("there are no file locks")
    for one in (folder.parent, folder):
        one.mkdir(mode=0o700, exist_ok=True)
        found = one.lstat()
        if one.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise OSError("the folder is not this user's alone")


def _held(file: Path) -> int:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def _is_free(file: Path) -> bool:
    """Whether the process that held a lock has ended."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        return True
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / _FOLDER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read(file: Path) -> Snapshot | None:
    """A worker's snapshot; None where there is none yet, or one of another version."""
    try:
        if file.stat().st_size > _LARGEST:
            return None
        return from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole: a reader sees the old text or the new one."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)
