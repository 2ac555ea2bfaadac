"""Scoring images with a service: what is sent, how an answer becomes labels, and whose fault a failure is."""

import asyncio
import io
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.admission import Admission
from shared.errors import DamagedImage, ImageTooLarge, ServiceFailed, ServiceRejected, TooManyImages, UnsupportedImage
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, OutputForm, ServiceSettings
from shared.telemetry import Call

Predict = Callable[[bytes, Call], Awaitable[bytes]]
MakeScorer = Callable[..., Scorer]


def picture(colour: tuple[int, int, int] = (10, 20, 30), size: int = 32) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


def answer(*scores: float) -> bytes:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=len(scores))])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=scores)
    return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()


class Service:
    """Answers every request alike, and keeps what it was asked."""

    def __init__(self, *scores: float, error: Exception | None = None) -> None:
        self.requests: list[PredictRequest] = []
        self._answer = answer(*(scores or (0.25, 0.75)))
        self._error = error

    async def __call__(self, request: bytes, call: Call) -> bytes:
        assert call.request_id == "request"
        self.requests.append(PredictRequest.FromString(request))
        if self._error:
            raise self._error
        return self._answer


@pytest.fixture
def scorer() -> Iterator[MakeScorer]:
    with ThreadPoolExecutor(2) as executor:

        def make(predict: Predict, limits: Limits | None = None, **service: object) -> Scorer:
            settings = ServiceSettings("cats", "x", **service)  # type: ignore[arg-type]
            return Scorer(settings, limits or Limits(), predict, executor, Admission(64, 10))

        yield make


def call() -> Call:
    return Call("request", time.monotonic() + 10)


async def test_an_encoded_image_is_forwarded_as_it_came(scorer: MakeScorer) -> None:
    service, data = Service(), picture()

    predictions = await scorer(service).score([Upload("a.png", data)], Ranking(top=1), call())

    assert list(service.requests[0].inputs["images"].string_val) == [data]
    assert predictions[0].file == "a.png"
    assert [(label.id, label.label, label.score) for label in predictions[0].labels] == [(1, "goldfish", 0.75)]
    assert predictions[0].scores is None


async def test_a_tensor_is_prepared_here(scorer: MakeScorer) -> None:
    service = Service()

    await scorer(service, input_form=InputForm.TENSOR).score([Upload("a", picture((127, 255, 0)))], Ranking(), call())

    tensor = service.requests[0].inputs["images"]
    assert [dim.size for dim in tensor.tensor_shape.dim] == [1, 224, 224, 3]
    pixels = np.frombuffer(tensor.tensor_content, "<f4").reshape(224, 224, 3)
    assert pixels[100, 100].tolist() == [0, 1, pytest.approx(-127 / 128)]


async def test_all_scores_stand_beside_the_labels_where_all_are_asked_for(scorer: MakeScorer) -> None:
    [prediction] = await scorer(Service(0.2, 0.5, 0.3)).score([Upload("a", picture())], Ranking(top=0), call())

    assert prediction.scores == [0.2, 0.5, 0.3]
    assert [label.id for label in prediction.labels] == [1, 2, 0]


async def test_logits_become_probabilities(scorer: MakeScorer) -> None:
    [prediction] = await scorer(Service(0.0, 0.0, np.log(2.0)), output_form=OutputForm.LOGITS).score(
        [Upload("a", picture())], Ranking(top=0), call()
    )

    assert prediction.scores == [0.25, 0.25, 0.5]


async def test_several_images_keep_their_order_however_long_each_takes(scorer: MakeScorer) -> None:
    async def first_is_slow(request: bytes, _: Call) -> bytes:
        size = len(PredictRequest.FromString(request).inputs["images"].string_val[0])
        await asyncio.sleep(0.05 if size == len(picture(size=64)) else 0)
        return answer(1, 0) if size == len(picture(size=64)) else answer(0, 1)

    uploads = [Upload("slow", picture(size=64)), Upload("quick", picture())]
    predictions = await scorer(first_is_slow).score(uploads, Ranking(top=1), call())

    assert [(one.file, one.labels[0].id) for one in predictions] == [("slow", 0), ("quick", 1)]


@pytest.mark.parametrize("form", list(InputForm))
async def test_a_bad_image_among_good_ones_is_named(scorer: MakeScorer, form: InputForm) -> None:
    uploads = [Upload("good.png", picture()), Upload("bad.txt", b"hello"), Upload("good.png", picture())]

    with pytest.raises(UnsupportedImage) as caught:
        await scorer(Service(), input_form=form).score(uploads, Ranking(), call())

    assert caught.value.members == {"file": "bad.txt", "index": 1}


async def test_nothing_goes_on_after_a_failure(scorer: MakeScorer) -> None:
    cancelled = []

    async def hang(_: bytes, __: Call) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return b""

    with pytest.raises(UnsupportedImage):
        await scorer(hang).score([Upload("good", picture()), Upload("bad", b"x")], Ranking(), call())

    assert cancelled == [True]


async def test_a_rejected_image_that_is_broken_is_the_senders_fault(scorer: MakeScorer) -> None:
    broken = picture(size=64)[:-30]

    with pytest.raises(DamagedImage):
        await scorer(Service(error=ServiceRejected("bad image"))).score([Upload("a", broken)], Ranking(), call())


async def test_a_rejected_image_that_is_sound_is_the_settings_fault(scorer: MakeScorer) -> None:
    with pytest.raises(ServiceRejected):
        await scorer(Service(error=ServiceRejected("no such input"))).score([Upload("a", picture())], Ranking(), call())


async def test_a_failure_of_the_service_names_no_file(scorer: MakeScorer) -> None:
    uploads = [Upload("a", picture()), Upload("b", picture())]

    with pytest.raises(ServiceFailed) as caught:
        await scorer(Service(error=ServiceFailed("boom"))).score(uploads, Ranking(), call())

    assert caught.value.members == {}


async def test_the_limits_of_a_request(scorer: MakeScorer) -> None:
    limits = Limits(image_bytes=len(picture()), image_pixels=32 * 32, images=2)
    small = scorer(Service(), limits)

    await small.score([Upload("a", picture())] * 2, Ranking(), call())
    with pytest.raises(TooManyImages, match="3 images; 2 are allowed"):
        await small.score([Upload("a", picture())] * 3, Ranking(), call())
    with pytest.raises(ImageTooLarge, match="bytes"):
        await small.score([Upload("a", picture() + b"\0")], Ranking(), call())
    with pytest.raises(ImageTooLarge, match="40 x 40 pixels"):
        await scorer(Service(), Limits(image_pixels=1599)).score([Upload("a", picture(size=40))], Ranking(), call())
