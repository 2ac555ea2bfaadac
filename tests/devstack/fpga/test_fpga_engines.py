import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from devstack import model
from devstack.fpga import ModelEngine, SimulatedEngine
from devstack.fpga.engines import Device, Output
from devstack.fpga.inference import ModelError
from devstack.fpga.requests import Batch, Refusal
from devstack.photos import photo
from tests.devstack.fpga.wire import picture

COFFEE = photo("coffee").read_bytes()
MS = 1_000_000


class SteppedTimer:
    """A timer whose clock moves only when somebody waits; it notes who waits at the same time."""

    def __init__(self) -> None:
        self.time = 0
        self.waiting = 0
        self.most_waiting = 0
        self.ends: list[int] = []

    def now(self) -> int:
        return self.time

    async def until(self, moment: int) -> None:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        for _ in range(5):  # room for others to come in
            await asyncio.sleep(0)
        self.time = max(self.time, moment)
        self.ends.append(moment)
        self.waiting -= 1

    def close(self) -> None:
        pass


@pytest.fixture
def timer() -> SteppedTimer:
    return SteppedTimer()


async def test_the_device_has_one_call_in_work_at_a_time(timer: SteppedTimer) -> None:
    device = Device(1.8, timer)
    await asyncio.gather(*[device.work(1) for _ in range(10)])
    assert timer.most_waiting == 1
    assert timer.ends == [round(1.8 * MS) * n for n in range(1, 11)]


async def test_every_image_of_a_batch_takes_its_time(timer: SteppedTimer) -> None:
    device = Device(2, timer)
    await asyncio.gather(device.work(3), device.work(1))
    assert timer.ends == [6 * MS, 8 * MS]


async def test_an_idle_device_starts_when_the_call_comes(timer: SteppedTimer) -> None:
    device = Device(2, timer)
    await device.work(1)
    timer.time = 100 * MS
    await device.work(1)
    assert timer.ends == [2 * MS, 102 * MS]


async def test_a_late_wake_up_does_not_delay_those_who_wait(timer: SteppedTimer) -> None:
    device = Device(2, timer)
    first, second = asyncio.create_task(device.work(1)), asyncio.create_task(device.work(1))
    await asyncio.sleep(0)
    timer.time = 3 * MS  # the loop was busy when the first was done
    await asyncio.gather(first, second)
    assert timer.ends == [2 * MS, 4 * MS]


async def test_who_gives_up_in_the_queue_costs_the_device_nothing(timer: SteppedTimer) -> None:
    device = Device(2, timer)
    calls = [asyncio.create_task(device.work(1)) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert timer.ends == [2 * MS, 4 * MS]


async def test_who_gives_up_in_work_leaves_the_device_busy_to_the_end(timer: SteppedTimer) -> None:
    device = Device(2, timer)
    calls = [asyncio.create_task(device.work(1)) for _ in range(2)]
    await asyncio.sleep(0)
    calls[0].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert timer.ends == [4 * MS]


async def test_without_latency_nothing_waits(timer: SteppedTimer) -> None:
    await Device(0, timer).work(5)
    assert timer.ends == []


def test_a_negative_latency_is_refused(timer: SteppedTimer) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        Device(-1, timer)


@pytest.fixture
def simulated() -> Iterator[SimulatedEngine]:
    engine = SimulatedEngine(0)
    yield engine
    engine.close()


async def test_simulated_scores_are_a_distribution_with_one_peak(simulated: SimulatedEngine) -> None:
    scores = (await simulated.score([COFFEE]))[0]
    assert (scores.shape, scores.dtype) == ((1000,), np.float32)
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    assert scores.min() > 0
    assert 0.5 <= scores.max() <= 0.9
    assert np.sort(scores)[-2] < 0.2


async def test_simulated_scores_follow_from_the_image_alone(simulated: SimulatedEngine) -> None:
    images = [picture(shade) for shade in range(100)]
    together = await simulated.score(images)
    backwards = await simulated.score(images[::-1])
    np.testing.assert_array_equal(together, backwards[::-1])
    assert len({row.tobytes() for row in together}) == 100


async def test_simulated_scores_of_pixels_tell_a_single_changed_value(simulated: SimulatedEngine) -> None:
    pixels = np.zeros((2, 224, 224, 3), np.float32)
    pixels[1, 223, 223, 2] = 1e-6
    first, second = await simulated.score(pixels)
    assert first.tolist() != second.tolist()


async def test_simulated_scores_of_a_tensor_filled_with_one_value(simulated: SimulatedEngine) -> None:
    filled = np.zeros((1, 224, 224, 3), np.float32)
    spread = np.broadcast_to(np.float32(0), (1, 224, 224, 3))
    np.testing.assert_array_equal(await simulated.score(filled), await simulated.score(spread))


async def test_simulated_logits_become_the_probabilities() -> None:
    engines = [SimulatedEngine(0, output="logits"), SimulatedEngine(0, output="probabilities")]
    logits, probabilities = [(await engine.score([COFFEE]))[0] for engine in engines]
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), probabilities, rtol=1e-4)
    for engine in engines:
        engine.close()


@pytest.mark.parametrize(
    ("output", "classes", "shape"), [("features", 2048, (2, 1, 1, 2048)), ("probabilities", 2, (2, 2))]
)
async def test_simulated_scores_have_the_shape_that_is_wanted(
    output: Output, classes: int, shape: tuple[int, ...]
) -> None:
    engine = SimulatedEngine(0, classes=classes, output=output)
    assert (await engine.score([COFFEE, COFFEE])).shape == shape
    assert engine.output_shape == shape[1:]
    engine.close()


@pytest.fixture(scope="module")
def model_file() -> Path:
    return model.ensure_built()


@pytest.fixture
async def real(model_file: Path) -> AsyncIterator[ModelEngine]:
    engine = ModelEngine(model_file)
    yield engine
    engine.close()


@pytest.mark.parametrize("batch", [[COFFEE], model.decode_all([COFFEE])], ids=["file", "pixels"])
async def test_the_model_knows_a_cup_of_espresso(real: ModelEngine, batch: Batch) -> None:
    scores = await real.score(batch)
    assert (scores.shape, int(scores.argmax())) == ((1, 1000), 967)
    assert scores[0, 967] == pytest.approx(0.951, abs=0.02)


async def test_the_model_scores_a_large_batch_in_parts_and_in_order(real: ModelEngine) -> None:
    shades = [picture(shade) for shade in (0, 90, 180)] * 4
    together = await real.score(shades)
    alone = np.concatenate([await real.score([image]) for image in shades[:3]])
    assert together.shape == (12, 1000)
    np.testing.assert_allclose(together, np.tile(alone, (4, 1)), atol=1e-5)


async def test_the_file_that_cannot_be_decoded_is_counted_in_the_whole_batch(real: ModelEngine) -> None:
    sound = photo("rocket").read_bytes()

    with pytest.raises(Refusal, match=r"images\[9\]"):
        await real.score([*[sound] * 9, b"no picture"])


async def test_the_model_refuses_a_file_that_it_cannot_decode(real: ModelEngine) -> None:
    with pytest.raises(Refusal, match=r"images\[1\] cannot be decoded"):
        await real.score([COFFEE, COFFEE[:1000]])


async def test_the_model_answers_logits_and_features(model_file: Path, real: ModelEngine) -> None:
    logits, features = ModelEngine(model_file, "logits"), ModelEngine(model_file, "features")
    raw = (await logits.score([COFFEE]))[0]
    probabilities = (await real.score([COFFEE]))[0]
    np.testing.assert_allclose(np.exp(raw) / np.exp(raw).sum(), probabilities, atol=1e-5)
    assert (await features.score([COFFEE])).shape == (1, 1, 1, 1280)
    logits.close()
    features.close()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path, model_file: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(model_file.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"broken\.onnx cannot be loaded: ") as caught:
        ModelEngine(broken)
    assert "\n" not in str(caught.value)


def test_an_output_that_the_model_does_not_have_is_refused(model_file: Path) -> None:
    with pytest.raises(ModelError, match="has no output 'boxes'; it has probabilities, logits, features"):
        ModelEngine(model_file, "boxes")  # type: ignore[arg-type] # as a command line could ask for
