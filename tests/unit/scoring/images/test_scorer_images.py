"""The requests that the scorer sends for photographs, and which of them are made in a thread."""

import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from benchmarks.photographs.formats import file, oriented, plain
from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import DamagedImage
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.memory import Memory
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, Metadata, ServiceSettings
from shared.telemetry import RequestContext
from tests.support.fake_upstream import upstream

SMALL = plain("coffee").resize((150, 100))


class CountingExecutor(ThreadPoolExecutor):
    """Counts the submitted calls."""

    calls = 0

    def submit[T](self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        self.calls += 1
        return super().submit(fn, *args, **kwargs)


@pytest.fixture
def executor() -> Iterator[CountingExecutor]:
    with CountingExecutor(1) as threads:
        yield threads


async def sent(data: bytes, executor: CountingExecutor, **settings: Any) -> PredictRequest:
    """The request that the service receives for one image."""
    requests: list[bytes] = []

    async def infer(request: bytes, _: RequestContext) -> bytes:
        requests.append(request)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=2)])
        tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=(0.5, 0.5))
        return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()

    decoder = Decoder(Memory(1_000_000_000), Limits().image_pixels)
    scorer = Scorer(upstream(infer, ServiceSettings("cats", "x", **settings)), Limits(), decoder, executor)
    await scorer.score([Upload("photo", data)], Ranking(), RequestContext("request", time.monotonic() + 10))
    [request] = requests
    assert len(request) <= settings.get("max_message_bytes", 4 * 1024 * 1024)
    return PredictRequest.FromString(request)


def encoded_image(request: PredictRequest) -> bytes:
    [data] = request.inputs["images"].string_val
    return bytes(data)


async def test_a_plain_jpeg_is_forwarded_unchanged_without_a_thread(executor: CountingExecutor) -> None:
    data = file(SMALL, "JPEG")

    assert encoded_image(await sent(data, executor)) == data
    assert executor.calls == 0


async def test_metadata_is_forwarded_only_where_the_settings_say_so(executor: CountingExecutor) -> None:
    data = file(SMALL, "JPEG", comment=b"PRIVATE") + b"PRIVATE"

    assert encoded_image(await sent(data, executor)) == file(SMALL, "JPEG")
    assert encoded_image(await sent(data, executor, metadata=Metadata.KEEP)) == data
    assert executor.calls == 0


@pytest.mark.parametrize("data", [file(SMALL, "WEBP"), oriented(SMALL, 8, "JPEG")], ids=["WebP", "rotated"])
async def test_other_images_are_converted_to_png_in_a_thread(data: bytes, executor: CountingExecutor) -> None:
    with Image.open(io.BytesIO(encoded_image(await sent(data, executor)))) as converted:
        assert (converted.format, converted.size) == ("PNG", (150, 100))
    assert executor.calls == 1


async def test_a_tensor_is_made_in_a_thread(executor: CountingExecutor) -> None:
    request = await sent(file(SMALL, "WEBP"), executor, input_form=InputForm.TENSOR)

    assert [dim.size for dim in request.inputs["images"].tensor_shape.dim] == [1, 224, 224, 3]
    assert executor.calls == 1


async def test_a_file_larger_than_a_message_is_resized(executor: CountingExecutor) -> None:
    noise = Image.effect_noise((1400, 1000), 100).convert("RGB")
    data = file(noise, "JPEG", quality=100, subsampling=0)
    assert len(data) > 1_000_000

    assert encoded_image(await sent(data, executor)) == data
    assert len(encoded_image(await sent(data, executor, max_message_bytes=len(data) + 20))) < len(data)
    for limit in range(len(data) + 20, len(data) + 120, 5):  # around the largest size that fits
        await sent(data, executor, max_message_bytes=limit)


async def test_a_truncated_photograph_that_must_be_converted_is_a_damaged_image(executor: CountingExecutor) -> None:
    with pytest.raises(DamagedImage):
        await sent(file(SMALL, "WEBP")[:900], executor)
