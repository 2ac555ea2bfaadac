"""Scoring images with a service: requests, labels and failures."""

import asyncio
import io
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from PIL import Image

from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import (
    DamagedImage,
    DeadlineExceeded,
    ImageTooLarge,
    Misconfigured,
    ServiceFailed,
    ServiceRejected,
    TooManyImages,
    UnsupportedImage,
)
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.memory import Memory
from shared.scoring.scorer import Scorer
from shared.scoring.types import Ranking, Upload
from shared.settings import InputForm, Limits, OutputForm, ServiceSettings
from shared.telemetry import CREDENTIALS, PREDICT, RequestContext
from shared.upstream.codecs import RequestTemplate, Selector
from shared.upstream.codecs.tensorflow import TensorFlowCodec
from shared.upstream.service import Upstream
from tests.support.fake_upstream import Infer, upstream

MakeScorer = Callable[..., Scorer]


def picture(colour: tuple[int, int, int] = (10, 20, 30), size: int = 32) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(out, "PNG")
    return out.getvalue()


def damaged() -> bytes:
    """A picture whose header and length are whole, and whose pixels are not."""
    whole = picture(size=64)
    pixels = whole.index(b"IDAT") + 8
    return whole[:pixels] + b"reject" + whole[pixels + 6 :]


def response(*scores: float, rows: int = 1) -> bytes:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in (rows, len(scores) // rows)])
    tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=scores)
    return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()


class Service:
    """Returns the same response to every request, and records the requests."""

    def __init__(self, *scores: float, error: Exception | None = None, rows: int = 1) -> None:
        self.requests: list[PredictRequest] = []
        self._response = response(*(scores or (0.25, 0.75)), rows=rows)
        self._error = error

    async def __call__(self, request: bytes, context: RequestContext) -> bytes:
        assert context.request_id == "request"
        self.requests.append(PredictRequest.FromString(request))
        if self._error:
            raise self._error
        return self._response


@pytest.fixture
def scorer() -> Iterator[MakeScorer]:
    with ThreadPoolExecutor(2) as executor:

        def make(infer: Infer, limits: Limits | None = None, **service: object) -> Scorer:
            settings = ServiceSettings("cats", "x", **service)  # type: ignore[arg-type]
            limits = limits or Limits()
            decoder = Decoder(Memory(1_000_000_000), limits.image_pixels)
            return Scorer(upstream(infer, settings), limits, decoder, executor)

        yield make


def context() -> RequestContext:
    return RequestContext("request", time.monotonic() + 10)


async def test_an_encoded_image_is_forwarded_unchanged(scorer: MakeScorer) -> None:
    service, data = Service(), picture()

    predictions = await scorer(service).score([Upload("a.png", data)], Ranking(top=1), context())

    assert list(service.requests[0].inputs["images"].string_val) == [data]
    assert predictions[0].file == "a.png"
    assert [(label.id, label.label, label.score) for label in predictions[0].labels] == [(1, "goldfish", 0.75)]
    assert predictions[0].scores is None


@pytest.mark.parametrize(
    ("scores", "doubt"),
    [
        ((0.25, 0.75), "returns 2 classes, and SERVICE__CATS__LABELS has 3 names: set it to the model's own"),
        ((2.5, 0.75, -1), "scores above 1, which are no probabilities: SERVICE__CATS__ACTIVATION=softmax or sigmoid"),
        ((0.25, 0.75, 0), ""),
    ],
)
async def test_the_log_says_once_that_labels_are_doubtful(
    scorer: MakeScorer, tmp_path: Path, caplog: pytest.LogCaptureFixture, scores: tuple[float, ...], doubt: str
) -> None:
    (tmp_path / "cats.txt").write_text("tabby\npersian\nsiamese\n", encoding="utf-8")
    mine = scorer(Service(*scores), labels=str(tmp_path / "cats.txt"))

    for _ in range(2):
        await mine.score([Upload("a.png", picture())], Ranking(), context())

    assert [doubt in record.message for record in caplog.records] == ([True] if doubt else [])


def test_a_list_of_labels_that_is_missing_is_named_with_its_setting(scorer: MakeScorer) -> None:
    with pytest.raises(Misconfigured) as error:
        scorer(Service(), labels="cats.txt")

    assert "SERVICE__CATS__LABELS is 'cats.txt', which is neither imagenet" in error.value.detail
    assert error.value.members["settings"] == ["SERVICE__CATS__LABELS"]


async def test_a_tensor_is_made_where_the_service_accepts_tensors(scorer: MakeScorer) -> None:
    service = Service()

    await scorer(service, input_form=InputForm.TENSOR).score(
        [Upload("a", picture((127, 255, 0)))], Ranking(), context()
    )

    tensor = service.requests[0].inputs["images"]
    assert [dim.size for dim in tensor.tensor_shape.dim] == [1, 224, 224, 3]
    pixels = np.frombuffer(tensor.tensor_content, "<f4").reshape(224, 224, 3)
    assert pixels[100, 100].tolist() == [0, 1, pytest.approx(-127 / 128)]


async def test_all_scores_are_returned_where_all_labels_are_requested(scorer: MakeScorer) -> None:
    [prediction] = await scorer(Service(0.2, 0.5, 0.3)).score([Upload("a", picture())], Ranking(top=0), context())

    assert prediction.scores == [0.2, 0.5, 0.3]
    assert [label.id for label in prediction.labels] == [1, 2, 0]


async def test_logits_become_probabilities(scorer: MakeScorer) -> None:
    [prediction] = await scorer(Service(0.0, 0.0, np.log(2.0)), output_form=OutputForm.LOGITS).score(
        [Upload("a", picture())], Ranking(top=0), context()
    )

    assert prediction.scores == [0.25, 0.25, 0.5]


async def test_predictions_have_the_order_of_the_images(scorer: MakeScorer) -> None:
    async def first_is_slow(request: bytes, _: RequestContext) -> bytes:
        size = len(PredictRequest.FromString(request).inputs["images"].string_val[0])
        await asyncio.sleep(0.05 if size == len(picture(size=64)) else 0)
        return response(1, 0) if size == len(picture(size=64)) else response(0, 1)

    uploads = [Upload("slow", picture(size=64)), Upload("quick", picture())]
    predictions = await scorer(first_is_slow).score(uploads, Ranking(top=1), context())

    assert [(one.file, one.labels[0].id) for one in predictions] == [("slow", 0), ("quick", 1)]


@pytest.mark.parametrize("form", [InputForm.ENCODED, InputForm.TENSOR])
async def test_the_error_names_the_invalid_image(scorer: MakeScorer, form: InputForm) -> None:
    uploads = [Upload("good.png", picture()), Upload("bad.txt", b"hello"), Upload("good.png", picture())]

    with pytest.raises(UnsupportedImage) as caught:
        await scorer(Service(), input_form=form).score(uploads, Ranking(), context())

    assert caught.value.members == {"file": "bad.txt", "index": 1}


async def test_the_other_images_are_cancelled_after_a_failure(scorer: MakeScorer) -> None:
    cancelled = []

    async def hang(_: bytes, __: RequestContext) -> bytes:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise
        return b""

    with pytest.raises(UnsupportedImage):
        await scorer(hang).score([Upload("good", picture()), Upload("bad", b"x")], Ranking(), context())

    assert cancelled == [True]


async def test_a_rejected_image_that_cannot_be_decoded_is_a_damaged_image(scorer: MakeScorer) -> None:
    service, broken = Service(error=ServiceRejected("bad image")), damaged()

    with pytest.raises(DamagedImage) as caught:
        await scorer(service).score([Upload("a", broken)], Ranking(), context())

    assert caught.value.members == {"file": "a", "index": 0}
    assert [list(request.inputs["images"].string_val) for request in service.requests] == [[broken]]


async def test_an_image_that_the_service_accepts_is_not_decoded(scorer: MakeScorer) -> None:
    assert await scorer(Service()).score([Upload("a", damaged())], Ranking(), context())


@pytest.mark.parametrize("form", [InputForm.ENCODED, InputForm.TENSOR])
async def test_a_rejected_image_that_is_valid_is_a_service_rejection(scorer: MakeScorer, form: InputForm) -> None:
    service = Service(error=ServiceRejected("no such input"))

    with pytest.raises(ServiceRejected):
        await scorer(service, input_form=form).score([Upload("a", picture())], Ranking(), context())

    assert len(service.requests) == 1


async def test_in_place_of_an_image_that_cannot_be_scored_there_is_its_fault(scorer: MakeScorer) -> None:
    service = Service()
    uploads = [Upload("good", picture()), Upload("bad", b"hello"), Upload("large", picture() + bytes(5000))]

    results = await scorer(service, Limits(image_bytes=4000)).score_partially(uploads, Ranking(top=1), context())

    kinds = [type(result).__name__ for result in results]
    assert kinds == ["Prediction", "UnsupportedImage", "ImageTooLarge"]
    assert len(service.requests) == 1
    with pytest.raises(TooManyImages):
        await scorer(service, Limits(images=2)).score_partially(uploads, Ranking(), context())


async def test_where_every_image_fails_a_fault_of_the_service_is_raised_and_other_faults_are_listed(
    scorer: MakeScorer,
) -> None:
    uploads = [Upload("bad", b"hello"), Upload("good", picture())]

    with pytest.raises(ServiceFailed, match="boom"):
        await scorer(Service(error=ServiceFailed("boom"))).score_partially(uploads, Ranking(), context())
    found = await scorer(Service()).score_partially(uploads[:1] * 2, Ranking(), context())
    assert [type(one) for one in found] == [UnsupportedImage] * 2
    with pytest.raises(LookupError):
        await scorer(Service(error=LookupError("a fault"))).score_partially(uploads, Ranking(), context())


async def test_the_service_s_own_output_is_neither_ranked_nor_named(scorer: MakeScorer) -> None:
    service = Service(0.2, 0.5, 0.3)
    uploads = [Upload("a", picture()), Upload("b", picture())]

    outputs = await scorer(service).outputs(uploads, Selector(signature="other"), context())

    assert [output.values.tolist() for output in outputs] == [[pytest.approx([0.2, 0.5, 0.3])]] * 2
    assert {request.model_spec.signature_name for request in service.requests} == {"other"}


async def test_scores_have_six_digits(scorer: MakeScorer) -> None:
    [prediction] = await scorer(Service(0.12345678, 0.5)).score([Upload("a", picture())], Ranking(top=0), context())

    assert prediction.scores == [0.123457, 0.5]


async def test_a_service_failure_names_no_file(scorer: MakeScorer) -> None:
    uploads = [Upload("a", picture()), Upload("b", picture())]

    with pytest.raises(ServiceFailed) as caught:
        await scorer(Service(error=ServiceFailed("boom"))).score(uploads, Ranking(), context())

    assert caught.value.members == {}


async def test_the_limits_of_a_request_are_checked(scorer: MakeScorer) -> None:
    limits = Limits(image_bytes=len(picture()), image_pixels=32 * 32, images=2)
    small = scorer(Service(), limits)

    await small.score([Upload("a", picture())] * 2, Ranking(), context())
    with pytest.raises(TooManyImages, match="more than 2 images"):
        await small.score([Upload("a", picture())] * 3, Ranking(), context())
    with pytest.raises(ImageTooLarge, match="bytes"):
        await small.score([Upload("a", picture() + b"\0")], Ranking(), context())
    with pytest.raises(ImageTooLarge, match="40 x 40 pixels"):
        await scorer(Service(), Limits(image_pixels=1599)).score([Upload("a", picture(size=40))], Ranking(), context())


async def test_a_timeout_names_the_late_image_and_its_step(scorer: MakeScorer) -> None:
    scoring_started = asyncio.Event()

    async def infer(request: bytes, context: RequestContext) -> bytes:
        if picture(size=64) in request:
            with context.timings.measure(CREDENTIALS):
                await scoring_started.wait()
                raise TimeoutError
        with context.timings.measure(PREDICT):  # the step that started last
            scoring_started.set()
            await asyncio.sleep(60)
        return b""

    uploads = [Upload("quick", picture()), Upload("late", picture(size=64))]
    with pytest.raises(DeadlineExceeded) as caught:
        await scorer(infer).score(uploads, Ranking(), context())

    assert caught.value.detail == "The deadline passed while Key Vault was being read."
    assert caught.value.members == {"file": "late", "index": 1}


async def test_a_timeout_while_the_model_is_looked_up_is_an_exceeded_deadline(
    scorer: MakeScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(_upstream: Upstream, _context: RequestContext) -> NoReturn:
        raise TimeoutError

    monkeypatch.setattr(Upstream, "known_codec", None)
    monkeypatch.setattr(Upstream, "model_codec", late)

    with pytest.raises(DeadlineExceeded):
        await scorer(Service()).score([Upload("a", picture())], Ranking(), context())


async def test_a_timeout_of_a_batch_is_an_exceeded_deadline(scorer: MakeScorer) -> None:
    uploads = [Upload("a", picture()), Upload("b", picture())]

    with pytest.raises(DeadlineExceeded):
        await scorer(Service(error=TimeoutError()), max_batch=4).score(uploads, Ranking(), context())


async def test_a_batch_of_tensors(scorer: MakeScorer) -> None:
    service = Service(0.2, 0.8, 0.6, 0.4, rows=2)
    uploads = [Upload("a", picture((127, 255, 0))), Upload("b", picture((255, 127, 0)))]

    first, second = await scorer(service, max_batch=4, input_form=InputForm.TENSOR).score(
        uploads, Ranking(top=1), context()
    )

    tensor = service.requests[0].inputs["images"]
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2, 224, 224, 3]
    pixels = np.frombuffer(tensor.tensor_content, "<f4").reshape(2, 224, 224, 3)
    assert pixels[:, 100, 100, 1].tolist() == [1, 0]
    assert [(one.file, one.labels[0].id) for one in (first, second)] == [("a", 1), ("b", 0)]


async def test_requests_are_prepared_once_for_the_default_signature(
    scorer: MakeScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[Selector] = []
    original = TensorFlowCodec.requests

    def requests(codec: TensorFlowCodec, selector: Selector) -> RequestTemplate:
        prepared.append(selector)
        return original(codec, selector)

    monkeypatch.setattr(TensorFlowCodec, "requests", requests)
    one, uploads = scorer(Service()), [Upload("a", picture())]
    for _ in range(2):
        await one.score(uploads, Ranking(), context())
        await one.outputs(uploads, Selector(), context())
        await one.outputs(uploads, Selector(signature="other"), context())

    assert prepared == [Selector(), *[Selector(signature="other")] * 2]


class Batches:
    """A model that takes several files: the score of each is its length; some files are rejected."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, request: bytes, _: RequestContext) -> bytes:
        files = PredictRequest.FromString(request).inputs["images"].string_val
        self.sizes.append(len(files))
        if len(files) > 1 and any(b"reject" in file for file in files):
            raise ServiceRejected("no", "INVALID_ARGUMENT")
        if b"reject" in files[0]:
            raise ServiceRejected("this one", "INVALID_ARGUMENT")
        dims = [TensorShapeProto.Dim(size=size) for size in (len(files), 2)]
        scores = [value for file in files for value in (len(file), 0)]
        tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=TensorShapeProto(dim=dims), float_val=scores)
        return PredictResponse(outputs={"output_alias": tensor}).SerializeToString()


async def test_images_share_calls_where_the_model_takes_several(scorer: MakeScorer) -> None:
    service = Batches()
    files = [picture(size=8 * number) for number in range(1, 7)]

    predictions = await scorer(service, max_batch=4).score(
        [Upload(str(number), file) for number, file in enumerate(files)], Ranking(top=1), context()
    )

    assert sorted(service.sizes) == [2, 4]
    assert [(one.file, one.labels[0].score) for one in predictions] == [
        (str(number), len(file)) for number, file in enumerate(files)
    ]


async def test_a_damaged_image_in_a_batch_is_named(scorer: MakeScorer) -> None:
    service = Batches()
    uploads = [Upload("a", picture()), Upload("b", picture()[:100]), Upload("c", b"hello")]

    with pytest.raises(UnsupportedImage) as caught:
        await scorer(service, max_batch=4).score(uploads, Ranking(), context())

    assert caught.value.members == {"file": "c", "index": 2}


async def test_an_image_for_which_the_service_rejects_a_batch_is_found(scorer: MakeScorer) -> None:
    service = Batches()
    uploads = [Upload("a", picture()), Upload("b", damaged())]

    with pytest.raises(DamagedImage) as caught:
        await scorer(service, max_batch=4).score(uploads, Ranking(), context())

    assert caught.value.members == {"file": "b", "index": 1}
    assert service.sizes[0] == 2
