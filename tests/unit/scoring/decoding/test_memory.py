"""The memory for images: bodies are counted or refused, images wait for their share."""

import asyncio
import time
from pathlib import Path

import pytest

from shared.errors import BodyTooLarge, GatewayBusy, ImageTooLarge
from shared.scoring.decoding.memory import BODY_COPIES, Memory, default_budget, instance_memory
from shared.telemetry import RequestContext

MB = 1_000_000


def within(seconds: float) -> RequestContext:
    return RequestContext("request", time.monotonic() + seconds)


async def waiting(memory: Memory, size: int, *, large: bool = True) -> asyncio.Task[None]:
    task = asyncio.create_task(memory.reserve(size, within(5), large=large))
    await asyncio.sleep(0)
    return task


async def test_images_wait_for_their_share_in_their_order() -> None:
    memory = Memory(100 * MB)
    await memory.reserve(60 * MB, within(5), large=True)
    second, third = await waiting(memory, 60 * MB), await waiting(memory, 10 * MB)
    assert not second.done()
    assert not third.done(), "a smaller one does not pass by"

    memory.release(60 * MB)
    await asyncio.gather(second, third)


async def test_small_images_do_not_wait_behind_large_ones() -> None:
    memory = Memory(100 * MB)
    await memory.reserve(60 * MB, within(5), large=True)
    large = await waiting(memory, 60 * MB)

    await memory.reserve(30 * MB, within(5), large=False)
    assert not large.done()
    large.cancel()


async def test_one_image_is_decoded_even_if_bodies_take_its_share() -> None:
    memory = Memory(100 * MB)
    with memory.body(50 * MB // BODY_COPIES):
        await memory.reserve(100 * MB, within(5), large=True)
        second = await waiting(memory, MB)
    memory.release(100 * MB)
    await second


async def test_an_image_that_waits_beyond_its_deadline_is_refused() -> None:
    memory = Memory(100 * MB)
    await memory.reserve(100 * MB, within(5), large=True)

    with pytest.raises(GatewayBusy) as caught:
        await memory.reserve(MB, within(0.01), large=True)

    assert caught.value.retry_after == 1
    memory.release(100 * MB)
    await memory.reserve(100 * MB, within(5), large=True)


@pytest.mark.parametrize("moment", ["before its turn", "at its turn"])
async def test_an_image_whose_request_ends_takes_no_memory(moment: str) -> None:
    memory = Memory(100 * MB)
    await memory.reserve(60 * MB, within(5), large=True)
    first, second = await waiting(memory, 60 * MB), await waiting(memory, 40 * MB)
    if moment == "at its turn":
        memory.release(60 * MB)
    first.cancel()
    await second
    memory.release(40 * MB if moment == "at its turn" else 100 * MB)

    assert "0 bytes of bodies, 0 of decoding" in repr(memory)


async def test_bodies_take_half_of_the_memory_at_most() -> None:
    memory = Memory(BODY_COPIES * 20 * MB)
    with memory.body(6 * MB):
        with pytest.raises(GatewayBusy), memory.body(6 * MB):
            pass
        with pytest.raises(BodyTooLarge, match="10000000 bytes") as caught, memory.body(10 * MB + 1):
            pass
    assert caught.value.members["limit"] == 10 * MB
    with memory.body(10 * MB):
        pass


async def test_an_image_larger_than_all_memory_is_refused_at_once() -> None:
    with pytest.raises(ImageTooLarge, match="about 101000000 bytes of memory; this gateway has 100000000"):
        Memory(100 * MB).check(101 * MB)


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("memory.max", "536870912\n", 536_870_912),
        ("memory/memory.limit_in_bytes", "1073741824\n", 1_073_741_824),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
        ("other", "1\n", None),
    ],
)
def test_the_instance_s_memory_is_its_control_group_s(
    tmp_path: Path, file: str, content: str, expected: int | None
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)

    machine = instance_memory(tmp_path / "none")
    assert machine > 256 * MB
    assert instance_memory(tmp_path) == min(expected or machine, machine)


@pytest.mark.parametrize(("memory", "budget"), [(512 * MB, 192 * MB), (2048 * MB, 670 * MB), (4096 * MB, 670 * MB)])
def test_the_default_follows_the_instance_s_memory(monkeypatch: pytest.MonkeyPatch, memory: int, budget: int) -> None:
    monkeypatch.setattr("shared.scoring.decoding.memory.instance_memory", lambda: memory)

    assert default_budget() == budget
