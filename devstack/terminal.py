"""What commands share that print to a terminal, or a pipe, which may be gone before they are done."""

import contextlib
import errno
import io
import os
import sys

NOBODY_READS = (errno.EPIPE, errno.EIO)
"""What printing raises when the pipe's reader, or the terminal, is gone."""


def spell_out_what_it_cannot_show() -> None:
    """Print signs that the terminal's encoding lacks as escapes, rather than fail over them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(what: object) -> None:
    """Print a line to stderr; where that is gone too, nobody hears it."""
    with contextlib.suppress(OSError):
        print(what, file=sys.stderr, flush=True)


def discard_output() -> None:
    """Let the interpreter's last flush, of what could not be written, succeed."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
