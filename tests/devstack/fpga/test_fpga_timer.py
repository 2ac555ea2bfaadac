import asyncio
import sys
import time

import pytest

from devstack.fpga import timer
from devstack.fpga.timer import KernelTimer, LoopTimer, Timer


@pytest.fixture(params=[LoopTimer, KernelTimer])
def clock(request: pytest.FixtureRequest) -> Timer:
    made: Timer = request.param()
    request.addfinalizer(made.close)  # noqa: PT021 - the parameter's type needs no generator around it
    return made


async def test_a_wait_ends_after_the_moment_and_not_before(clock: Timer) -> None:
    for delay in (300_000, 1_800_000, 0, 900_000):
        moment = clock.now() + delay
        await clock.until(moment)
        assert clock.now() >= moment


async def test_a_moment_in_the_past_is_not_waited_for(clock: Timer) -> None:
    waiting = asyncio.ensure_future(clock.until(clock.now() - 1))
    await asyncio.sleep(0)
    assert waiting.done()


async def test_a_wait_given_up_does_not_spoil_the_next(clock: Timer) -> None:
    given_up = asyncio.create_task(clock.until(clock.now() + 1_000_000))
    await asyncio.sleep(0)
    given_up.cancel()
    time.sleep(0.002)  # noqa: ASYNC251 - the timer shall expire while the loop does not look
    moment = clock.now() + 1_000_000
    await clock.until(moment)
    assert clock.now() >= moment


@pytest.mark.skipif(sys.platform != "linux", reason="the timer of the kernel is Linux's")
def test_a_timer_set_anew_after_the_loop_has_seen_it_expire_is_waited_for() -> None:
    clock = KernelTimer()
    clock._expired()  # as the loop calls it then: with nothing to read
    clock.close()


async def test_a_timer_may_be_closed_twice(clock: Timer) -> None:
    await clock.until(clock.now() + 100_000)
    clock.close()
    clock.close()


def test_the_best_timer_is_the_kernels_where_there_is_one() -> None:
    best = timer.best()
    assert type(best) is (KernelTimer if sys.platform == "linux" else LoopTimer)
    best.close()
