"""What the scorer sends for a photograph, and where the work is done."""

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from benchmarks.photographs import file, lying, plain
from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.admission import Admission
from shared.errors import DamagedImage
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, ServiceSettings
from shared.telemetry import Call

SMALL = plain("coffee").resize((150, 100))


class Threads(ThreadPoolExecutor):
    """Counts what it was given."""

    works = 0

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.works += 1
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def threads() -> Iterator[Threads]:
    with Threads(1) as executor:
        yield executor


async def sent(data: bytes, threads: Threads, **settings: Any) -> PredictRequest:
    """The request that the service gets for one image."""
    requests: list[bytes] = []

    async def predict(request: bytes, _: Call) -> bytes:
        requests.append(request)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=2)])
        tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=(0.5, 0.5))
        return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()

    scorer = Scorer(ServiceSettings("cats", "x", **settings), Limits(), predict, threads, Admission(64, 10))
    await scorer.score([Upload("photo", data)], Ranking(), Call("request", time.monotonic() + 10))
    [request] = requests
    assert len(request) <= settings.get("max_message_bytes", 4 * 1024 * 1024)
    return PredictRequest.FromString(request)


def picture(request: PredictRequest) -> bytes:
    [data] = request.inputs["images"].string_val
    return bytes(data)


async def test_a_plain_jpeg_goes_as_it_came_without_a_thread(threads: Threads) -> None:
    data = file(SMALL, "JPEG")

    assert picture(await sent(data, threads)) == data
    assert threads.works == 0


@pytest.mark.parametrize(
    "data", [file(SMALL, "HEIF"), file(SMALL, "WEBP"), lying(SMALL, 8, "JPEG")], ids=["HEIC", "WebP", "on its side"]
)
async def test_others_are_made_anew_in_a_thread(data: bytes, threads: Threads) -> None:
    with Image.open(io.BytesIO(picture(await sent(data, threads)))) as made:
        assert (made.format, made.size) == ("PNG", (150, 100))
    assert threads.works == 1


async def test_a_tensor_is_made_in_a_thread(threads: Threads) -> None:
    request = await sent(file(SMALL, "AVIF"), threads, input_form=InputForm.TENSOR)

    assert [dim.size for dim in request.inputs["images"].tensor_shape.dim] == [1, 224, 224, 3]
    assert threads.works == 1


async def test_what_a_message_cannot_hold_is_made_smaller(threads: Threads) -> None:
    noise = Image.effect_noise((1400, 1000), 100).convert("RGB")
    data = file(noise, "JPEG", quality=100, subsampling=0)
    assert len(data) > 1_000_000

    assert picture(await sent(data, threads)) == data
    assert len(picture(await sent(data, threads, max_message_bytes=len(data) + 20))) < len(data)
    for limit in range(len(data) + 20, len(data) + 120, 5):  # around the very size that fits
        await sent(data, threads, max_message_bytes=limit)


async def test_a_broken_photograph_that_needs_making_anew_is_the_senders_fault(threads: Threads) -> None:
    with pytest.raises(DamagedImage):
        await sent(file(SMALL, "WEBP")[:900], threads)
