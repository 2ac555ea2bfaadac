"""Decoding in processes: the same results as in a thread, and what happens when one ends, or takes too long."""

import asyncio
import gc
import signal
import sys
import time
import weakref
from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image

from benchmarks.photographs.formats import file
from shared.errors import DamagedImage, GatewayBusy, UnsupportedImage
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.memory import Memory
from shared.scoring.decoding.process import DecoderProcess
from shared.scoring.decoding.work import Content, ToFile, ToTensor, Work
from shared.settings import Preprocessing
from shared.telemetry import RequestContext
from shared.threads import DaemonExecutor
from tests.support.app import until
from tests.support.decoder_work import Allocate, End, Environment, Sleep

PIXELS = 50_000_000
HOW = Preprocessing()
TENSOR = ToTensor(HOW, PIXELS)
MB = 1_000_000


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 50).convert("RGB")


HEIC, LARGE_PNG = file(noise(300, 200), "HEIF"), file(noise(2400, 2400), "PNG")


def context(seconds: float = 20) -> RequestContext:
    return RequestContext("request", time.monotonic() + seconds)


class Tensor(bytearray):
    """A result that can be observed."""


class Runner:
    """Runs work with a decoder."""

    def __init__(self, executor: DaemonExecutor) -> None:
        self.memory = Memory(500 * MB)
        self.decoder = Decoder(self.memory, PIXELS)
        self.executor = executor

    async def __call__(self, work: Work, data: bytes = HEIC, seconds: float = 20) -> bytes:
        def use(content: Content) -> bytes:
            return bytes(content)

        return await self.decoder.run(work, data, use, self.executor, context(seconds))

    async def is_idle(self) -> bool:
        for _ in range(500):
            if "0 bytes of bodies, 0 of decoding" in repr(self.memory):
                return True
            await asyncio.sleep(0.01)
        return False


@pytest.fixture
async def run() -> AsyncIterator[Runner]:
    executor = DaemonExecutor(2, "decode")
    runner = Runner(executor)
    yield runner
    runner.decoder.close()
    executor.shutdown()


@pytest.mark.parametrize("data", [HEIC, LARGE_PNG, file(noise(300, 200), "AVIF")], ids=["HEIC", "large PNG", "AVIF"])
async def test_a_process_returns_the_same_bytes_as_a_thread(run: Runner, data: bytes) -> None:
    tensor, plain = await run(TENSOR, data), await run(ToFile(HOW, PIXELS, MB), data)

    assert np.array_equal(np.frombuffer(tensor, "<f4"), np.frombuffer(TENSOR(data), "<f4"))
    assert plain == ToFile(HOW, PIXELS, MB)(data)
    assert await run.is_idle()


@pytest.mark.parametrize(("data", "error"), [(HEIC[:-200], DamagedImage), (LARGE_PNG[:-9000], DamagedImage)])
async def test_an_error_in_a_process_is_the_caller_s(run: Runner, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        await run(TENSOR, data)
    with pytest.raises(error, match=str(caught.value)):
        TENSOR(data)
    assert len(await run(TENSOR)) == 4 * 3 * HOW.size**2, "the process still decodes"


async def test_work_that_takes_too_long_ends_with_its_request(run: Runner) -> None:
    with pytest.raises(TimeoutError):
        await run(Sleep(60), seconds=1.0)

    assert await run.is_idle(), "the memory is free again, long before the work would have ended"
    assert await run(Sleep(0)) == b"slept"


@pytest.mark.parametrize("data", [HEIC, file(noise(30, 20), "PNG")], ids=["in a process", "in a thread"])
async def test_what_was_decoded_is_free_without_a_garbage_collection(run: Runner, data: bytes) -> None:
    """A cycle of references would keep the tensors of all requests since the last one, and nothing would count them."""
    made = list[weakref.ref[Tensor]]()

    def use(content: Content) -> Tensor:
        tensor = Tensor(content)
        made.append(weakref.ref(tensor))
        return tensor

    async def is_free() -> bool:
        return [one() for one in made] == [None]

    gc.disable()
    try:
        await run.decoder.run(TENSOR, data, use, run.executor, context())
        # The thread may still be leaving the work.
        await until(is_free)
    finally:
        gc.enable()


@pytest.mark.parametrize("end", ["cancelled", "late"])
async def test_work_that_nobody_waits_for_takes_no_thread(run: Runner, end: str) -> None:
    """Small images are decoded in threads, which cannot be ended: but what has not begun never does."""
    small, begun = file(noise(30, 20), "PNG"), list[str]()

    def work(name: str, seconds: float) -> Work:
        def do(_: bytes) -> bytes:
            begun.append(name)
            time.sleep(seconds)
            return b""

        return do

    busy = [asyncio.create_task(run(work("first", 0.5), small)) for _ in range(2)]
    await asyncio.sleep(0.1)
    waiting = [asyncio.create_task(run(work("left", 5.0), small, 0.1 if end == "late" else 20)) for _ in range(4)]
    await asyncio.sleep(0.2)
    for task in waiting:
        task.cancel()
    assert all(isinstance(one, BaseException) for one in await asyncio.gather(*waiting, return_exceptions=True))

    assert await run(work("last", 0.0), small) == b""
    await asyncio.gather(*busy)
    assert begun == ["first", "first", "last"]
    assert await run.is_idle()


async def test_a_request_that_ends_at_once_leaves_no_process_behind(run: Runner) -> None:
    assert await run(Sleep(0)) == b"slept"
    [process] = run.decoder._idle
    ended = process._process
    assert ended is not None

    with pytest.raises(TimeoutError):
        await run(Sleep(60), seconds=0.001)

    for _ in range(500):
        if ended.returncode is not None:
            break
        await asyncio.sleep(0.01)
    assert ended.returncode == -signal.SIGKILL


async def test_images_that_wait_for_a_process_until_their_deadline_are_refused(run: Runner) -> None:
    busy = [asyncio.create_task(run(Sleep(60))) for _ in range(8)]
    await asyncio.sleep(0.1)

    with pytest.raises(GatewayBusy, match="waiting for a decoder process") as caught:
        await run(TENSOR, seconds=0.05)

    assert caught.value.retry_after == 1
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    assert await run.is_idle()


@pytest.mark.parametrize(
    ("by", "error"), [(signal.SIGSEGV, DamagedImage), (signal.SIGABRT, DamagedImage), (signal.SIGKILL, GatewayBusy)]
)
async def test_a_process_that_ends_is_replaced(run: Runner, by: int, error: type[Exception]) -> None:
    with pytest.raises(error):
        await run(End(by))

    assert await run(Sleep(0)) == b"slept"
    assert await run.is_idle()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit needs Linux")
async def test_a_process_gets_little_more_memory_than_estimated(run: Runner) -> None:
    assert await run(Allocate(20 * MB)) == b"20000000"
    with pytest.raises(DamagedImage, match="no memory"):
        await run(Allocate(400 * MB))


async def test_a_process_that_ended_idle_is_started_again() -> None:
    process = DecoderProcess()
    try:
        assert process.run(Sleep(0), b"", 0) == b"slept"
        first = process._process
        assert first is not None
        first.kill()
        first.wait()
        assert process.run(Sleep(0), bytes(10 * MB), 0) == b"slept"
    finally:
        process.close()
    with pytest.raises(GatewayBusy):
        process.run(Sleep(0), b"", 0)


async def test_a_process_gets_none_of_the_app_settings(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__CATS__ADDRESS", "a-secret")

    assert b"a-secret" not in await run(Environment())


async def test_what_has_no_known_format_starts_no_process(run: Runner) -> None:
    with pytest.raises(UnsupportedImage):
        await run(TENSOR, b"text")
