"""Continuing the output of an earlier run."""

import json
import os
from typing import BinaryIO

from scoring_client.results import USAGE, Stop


def resume(file: BinaryIO, service: str) -> set[str]:
    """The files already scored, by the JSON lines of an earlier run; ``file`` is then positioned at its end.

    An incomplete last line is removed. Files that failed are not included; nor, if a service is given, are files that
    another service scored.

    Raises:
        Stop: a line was not written by this program.
    """
    done: set[str] = set()
    end = 0
    file.seek(0)
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        end += len(line)
        done |= _done(line, number, service)
    file.seek(end)
    file.truncate()
    return done


def _done(line: bytes, number: int, service: str) -> set[str]:
    try:
        record = json.loads(line)
        name = record["file"]
        scored = "labels" in record
        by = record.get("service")
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Stop(f"line {number} of the output is not this program's: give another file to --out", USAGE) from None
    return {name} if scored and isinstance(name, str) and (not service or by == service) else set()


def open_output(path: str, *, resuming: bool, overwrite: bool) -> BinaryIO:
    """Open the output, unbuffered, so that nothing written is lost however the program ends.

    Raises:
        Stop: it exists and neither option was given, or it cannot be written.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
    if overwrite:
        flags |= os.O_TRUNC
    elif not resuming:
        flags |= os.O_EXCL
    try:
        return os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    except FileExistsError:
        raise Stop(f"{path} exists already: --resume continues it, --overwrite replaces it", USAGE) from None
    except OSError as error:
        raise Stop(f"cannot write {path}: {error.strerror}", USAGE) from None
