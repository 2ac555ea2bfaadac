"""Wakes an event loop for a signal that comes right before it waits.

Python runs a signal's handler between two of its instructions, or when the signal interrupts a wait. A signal that
comes after the last instruction and before the wait interrupts nothing: its handler runs when something else ends the
wait, which may be never. A file descriptor that the signal itself makes readable ends it:
https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let every signal that has a handler wake ``loop``, which must be the main thread's."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, reader.recv, 4096)
        # A full buffer wakes the loop too.
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)
