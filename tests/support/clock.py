"""A clock that tests own: code that waits takes no time, and the lengths of its waits can be asserted exactly."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable


# Rounds of the loop after which a test is taken for one that never ends: without waits it would not time out soon.
_MOST_STEPS = 300_000


class Clock:
    """The time of ``time.monotonic``, and so of the event loop; it passes only where everything waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._steps = 0

    def monotonic(self) -> float:
        return self.now

    def drive(self, loop: asyncio.AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        """Let the loop's timers run by this clock: where it would wait for one, the clock is advanced to it."""
        patch.setattr(time, "monotonic", self.monotonic)
        selector: selectors.BaseSelector = loop._selector  # type: ignore[attr-defined]
        select: Callable[[float | None], list[Any]] = selector.select

        def advance(timeout: float | None = None) -> list[Any]:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                pytest.fail("the test does not end")
            ready = select(0)
            if ready or timeout == 0:
                return ready
            if timeout is None:  # only a thread can go on
                return select(10) or pytest.fail("the test waits for something that never happens")
            self.now += timeout
            return ready

        patch.setattr(selector, "select", advance)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The running test's clock."""
    clock = Clock()
    clock.drive(asyncio.get_running_loop(), monkeypatch)
    return clock
