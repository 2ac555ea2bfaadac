"""Output to a terminal or a pipe that may be closed before a command ends."""

import contextlib
import errno
import io
import os
import sys

CLOSED = (errno.EPIPE, errno.EIO)
"""The errors of printing to a pipe or a terminal that is closed."""


def escape_unsupported_characters() -> None:
    """Print characters that the terminal's encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_error(message: object) -> None:
    """Print a line to stderr, if it is open."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def discard_output() -> None:
    """Let the interpreter's last flush, of output that could not be written, succeed."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
