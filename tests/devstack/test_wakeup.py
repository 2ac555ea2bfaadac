"""A signal that comes while the event loop falls asleep."""

import asyncio
import signal
import threading
from collections.abc import Iterator

import pytest

from devstack.wakeup import woken_by_signals

# Far longer than a loop needs to be woken, in seconds.
PATIENCE = 5.0


@pytest.fixture
def heard() -> Iterator[asyncio.Event]:
    """Set by the signal's handler."""
    event = asyncio.Event()
    before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
    yield event
    signal.signal(signal.SIGUSR1, before)


def interrupt_nothing() -> None:
    """Send the signal to a thread of its own: as one that comes too early, it does not interrupt the loop's wait."""
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)


async def test_a_signal_that_interrupts_nothing_wakes_the_loop(heard: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    with woken_by_signals(loop):
        given_up = asyncio.create_task(asyncio.sleep(PATIENCE))
        threading.Timer(0.1, interrupt_nothing).start()

        await asyncio.wait({given_up, asyncio.create_task(heard.wait())}, return_when=asyncio.FIRST_COMPLETED)

        assert not given_up.done()
        given_up.cancel()


async def test_it_leaves_nothing_behind(heard: asyncio.Event) -> None:
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)

    with woken_by_signals(asyncio.get_running_loop()):
        signal.raise_signal(signal.SIGUSR1)

    assert heard.is_set()
    assert signal.set_wakeup_fd(before) == before
