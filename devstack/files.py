"""Files that are complete or absent, whatever interrupts their writing, and readable by their owner alone."""

import os
import tempfile
from pathlib import Path

_TEMPORARY = ".new"


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: a reader, or a restart after a crash, sees the old file or the new one.

    Several processes may write at once. A power cut may undo the write: waiting for a slow disk would delay the server
    that writes, and its clients.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    descriptor, name = tempfile.mkstemp(_TEMPORARY, f"{path.name}.", path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of interrupted writes, where no other process writes."""
    for leftover in folder.glob(f"*{_TEMPORARY}"):
        leftover.unlink()
