"""The simulated engine: its timing, on which measurements rely, and its scores."""

import asyncio

import numpy as np
import pytest

from devstack.fpga import SimulatedEngine
from devstack.fpga.engines import BatchingDevice, Device
from devstack.fpga.timer import Timer
from tests.support.devstack.fpga import picture

MS = 1_000_000


class SteppedTimer(Timer):
    """A timer whose clock moves only while a task waits; records the moments that were waited for."""

    def __init__(self) -> None:
        self.time = 0
        self.ends: list[int] = []

    def now(self) -> int:
        return self.time

    async def until(self, moment: int) -> None:
        for _ in range(5):  # lets other tasks start
            await asyncio.sleep(0)
        self.time = max(self.time, moment)
        self.ends.append(moment)

    def close(self) -> None:
        pass


@pytest.fixture
def clock() -> SteppedTimer:
    return SteppedTimer()


async def test_the_device_processes_one_image_at_a_time(clock: SteppedTimer) -> None:
    device = Device(2, clock)
    await asyncio.gather(device.work(3), *[device.work(1) for _ in range(3)])
    assert clock.ends == [6 * MS, 8 * MS, 10 * MS, 12 * MS]
    clock.time = 100 * MS
    await device.work(1)
    assert clock.ends[-1] == 102 * MS
    await Device(0, clock).work(5)
    assert len(clock.ends) == 5


async def test_a_late_wake_up_does_not_delay_the_next_call(clock: SteppedTimer) -> None:
    device = Device(2, clock)
    first, second = asyncio.create_task(device.work(1)), asyncio.create_task(device.work(1))
    await asyncio.sleep(0)
    clock.time = 3 * MS  # the loop was busy when the first one ended
    await asyncio.gather(first, second)
    assert clock.ends == [2 * MS, 4 * MS]


async def test_a_batching_device_takes_what_waits_when_it_becomes_free(clock: SteppedTimer) -> None:
    device = BatchingDevice(2, 4, clock)
    ended = dict[str, int]()

    async def work(name: str, images: int) -> None:
        await device.work(images)
        ended[name] = clock.time // MS

    first, *others = [
        asyncio.create_task(work(name, images)) for name, images in (("a", 6), ("b", 3), ("given up", 1), ("c", 1))
    ]
    others += [asyncio.create_task(work("d", 2)), asyncio.create_task(work("e", 3))]
    others.pop(1).cancel()
    await asyncio.gather(first, *others)
    assert ended == {"a": 2, "b": 4, "c": 4, "d": 6, "e": 8}
    clock.time = 100 * MS
    await work("later", 1)
    assert ended["later"] == 102


async def test_simulated_scores_are_a_distribution_that_depends_on_the_image_alone() -> None:
    engine, logits = SimulatedEngine(0), SimulatedEngine(0, output="logits")
    images = [picture(shade) for shade in range(100)]
    scores = await engine.score(images)
    assert (scores.shape, str(scores.dtype), engine.output_shape) == ((100, 1000), "float32", (1000,))
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert scores.min() > 0
    assert 0.5 <= scores.max(axis=1).min() <= scores.max() <= 0.9
    assert np.sort(scores)[:, -2].max() < 0.2
    np.testing.assert_array_equal(await engine.score(images[::-1]), scores[::-1])
    assert len({row.tobytes() for row in scores}) == 100
    raw = await logits.score(images[:1])
    np.testing.assert_allclose(np.exp(raw) / np.exp(raw).sum(), scores[:1], rtol=1e-4)
    pixels = np.zeros((2, 224, 224, 3), np.float32)
    pixels[1, 223, 223, 2] = 1e-6
    first, second = await engine.score(pixels)
    assert first.tolist() != second.tolist()
    for each in (engine, logits):
        each.close()
