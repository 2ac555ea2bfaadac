"""Files that are whole or absent, whatever interrupts their writing, and readable by their owner alone."""

import os
from pathlib import Path

TEMPORARY_SUFFIX = ".new"


def write_atomically(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path``: a reader, or a restart after a crash, sees the old file or the new one.

    Not made to outlast a power cut: waiting for a slow disk would hold up the server that writes, and its clients.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
        file.write(content)
    temporary.replace(path)
