"""Files that are whole or absent, whatever interrupts their writing, and readable by their owner alone."""

import os
from pathlib import Path

TEMPORARY_SUFFIX = ".new"


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: a reader, or a restart after a crash, sees the old file or the new one.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove ``path`` so that it stays removed after a crash."""
    path.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # A rename lives in the folder, and is on disk only when the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
