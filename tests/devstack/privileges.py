"""Being somebody who may not do everything, also where root runs the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def unprivileged(folder: Path | None = None) -> Iterator[None]:
    """Be an ordinary user in this process, who owns ``folder``."""
    if os.geteuid() != 0:
        yield
        return
    if folder:
        os.chown(folder, NOBODY, -1)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
