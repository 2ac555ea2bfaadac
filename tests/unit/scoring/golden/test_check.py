"""The check of a service's golden photographs: what it compares, what it waits for, and what it cannot finish."""

import asyncio
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from protos.serving_pb2 import ModelSpec, PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared.errors import DeadlineExceeded, Misconfigured, Overloaded, ServiceUnreachable
from shared.scoring.decoding.decoder import Decoder
from shared.scoring.decoding.memory import Memory
from shared.scoring.golden import check as module
from shared.scoring.golden.causes import ENCODED
from shared.scoring.golden.check import Checker
from shared.scoring.scorer import Scorer
from shared.settings import ChannelOrder, InputForm, Limits, OutputForm, Preprocessing, ServiceSettings
from shared.telemetry import RequestContext
from tests.support.fake_upstream import upstream

COLOURS = {"red.png": (200, 40, 30), "blue.png": (20, 60, 220)}
SIDE = 8


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (16, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def context(seconds: float = 10) -> RequestContext:
    return RequestContext("golden", time.monotonic() + seconds)


class Model:
    """A service whose three classes are the red, green and blue of a tensor; ``versions`` are those of its answers."""

    def __init__(self) -> None:
        self.calls = 0
        self.versions: list[int] = []
        self.error: Exception | None = None
        self.before: Callable[[], object] = lambda: None
        self.largest = np.inf

    async def __call__(self, request: bytes, _: RequestContext) -> bytes:
        self.calls += 1
        self.before()
        if self.error is not None:
            raise self.error
        await asyncio.sleep(0)
        tensor = PredictRequest.FromString(request).inputs["images"]
        values = np.frombuffer(tensor.tensor_content, "<f4").reshape(-1, 3).mean(axis=0) if not tensor.string_val else 0
        values = np.where(np.abs(values) > self.largest, np.nan, values)
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=3)])
        output = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=np.zeros(3) + values)
        spec = ModelSpec()
        spec.version.value = self.versions.pop(0) if self.versions else 1
        return PredictResponse(outputs={"output_alias": output}, model_spec=spec).SerializeToString()


class Test:
    """A service, its folder and the checker of both."""

    __test__ = False

    def __init__(self, folder: Path, executor: ThreadPoolExecutor, **settings: Any) -> None:
        self.folder, self.model = folder, Model()
        how = Preprocessing(size=SIDE, resize=SIDE, mean=(0, 0, 0), scale=(255, 255, 255))
        usual: dict[str, Any] = {"golden": str(folder), "input_form": InputForm.TENSOR, "preprocessing": how}
        service = replace(ServiceSettings("cats", "x"), **usual | settings)
        limits = Limits()
        decoder = Decoder(Memory(1_000_000_000), limits.image_pixels)
        self.upstream = upstream(self.model, service)
        scorer = Scorer(self.upstream, limits, decoder, executor)
        self.checker = Checker(self.upstream, scorer)

    def expect(self, photographs: Mapping[str, Any], **members: Any) -> None:
        (self.folder / "expected.json").write_text(json.dumps({"photographs": photographs, **members}))


type Make = Callable[..., Test]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(module, "CHANGED_SECONDS", 0.0)
    monkeypatch.setattr(module, "ROOM_SECONDS", 0.001)
    for name, colour in COLOURS.items():
        (tmp_path / name).write_bytes(picture(colour))
    with ThreadPoolExecutor(2) as executor:

        def make(**settings: Any) -> Test:
            test = Test(tmp_path, executor, **settings)
            test.expect(
                {
                    "red.png": {"class": 0, "score": 200 / 255},
                    "blue.png": {"outputs": {"output_alias": [[20 / 255, 60 / 255, 220 / 255]]}},
                }
            )
            return test

        yield make


async def test_photographs_that_match(make: Make) -> None:
    report = await make().checker.check(context())

    assert (str(report), report.first_deviation, report.version) == ("2 of 2", "", 1)


async def test_the_first_deviation_is_named_and_explained(make: Make) -> None:
    test = make()
    test.expect({"red.png": {"class": 0, "score": 200 / 255}, "blue.png": {"class": 0, "score": 220 / 255}})

    report = await test.checker.check(context())

    assert str(report) == "1 of 2"
    assert report.first_deviation.startswith("blue.png: 'tench' (class 0) has 0.0784; 0.8627 ± 0.02 is expected")


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"order": ChannelOrder.BGR}, "CHANNEL_ORDER=RGB"),
        ({"mean": (1, 2, 3), "scale": (9, 9, 9)}, "CHANNEL_MEAN=unit and CHANNEL_SCALE=unit"),
        (
            {"order": ChannelOrder.BGR, "mean": (60, 70, 80)},
            "CHANNEL_ORDER=RGB, CHANNEL_MEAN=unit and CHANNEL_SCALE=unit",
        ),
    ],
)
async def test_a_wrong_preparation_is_found(make: Make, wrong: dict[str, Any], cause: str) -> None:
    right = {"size": SIDE, "resize": SIDE, "mean": (0, 0, 0), "scale": (255, 255, 255)}
    test = make(preprocessing=Preprocessing(**{**right, **wrong}))

    report = await test.checker.check(context())
    causes = await test.checker.causes(report, context())

    assert str(report) == "0 of 2"
    assert [", ".join(one) for one in causes.matches_with] == [cause]
    assert causes.tried > 5
    assert causes.not_tried == ""


async def test_a_whole_picture_instead_of_its_centre_is_found(make: Make) -> None:
    test = make()
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, 24:40] = 240
    Image.fromarray(pixels).save(test.folder / "wide.png")
    test.expect({"wide.png": {"class": 0, "score": 240 / 255 / 4}})

    report = await test.checker.check(context())
    causes = await test.checker.causes(report, context())

    assert str(report) == "0 of 1"
    assert causes.matches_with == (("RESIZE=stretch",),)


async def test_an_output_that_is_read_in_the_wrong_way_is_found_without_a_call(make: Make) -> None:
    test = make(input_form=InputForm.ENCODED, output_form=OutputForm.LOGITS)
    test.expect({"red.png": {"class": 0, "score": 0}})

    report = await test.checker.check(context())
    calls = test.model.calls
    causes = await test.checker.causes(report, context())

    assert causes.matches_with == (("ACTIVATION=none",),)
    assert causes.not_tried == ENCODED
    assert test.model.calls == calls


async def test_a_cause_with_which_the_model_fails_explains_nothing(make: Make) -> None:
    """Values of 0 to 255 overflow many a model that expects 0 to 1."""
    test = make(preprocessing=Preprocessing(size=SIDE, resize=SIDE, order=ChannelOrder.BGR, mean=(0, 0, 0)))
    test.model.largest = 2.0

    report = await test.checker.check(context())
    causes = await test.checker.causes(report, context())

    assert causes.matches_with == (("CHANNEL_ORDER=RGB", "CHANNEL_MEAN=unit and CHANNEL_SCALE=unit"),)


async def test_causes_end_with_the_deadline(make: Make) -> None:
    test = make()
    test.expect({"red.png": {"class": 0, "score": 7}})
    report = await test.checker.check(context())

    causes = await test.checker.causes(report, context())
    test.model.error = DeadlineExceeded("no time")
    cut = await test.checker.causes(report, context())

    assert (causes.matches_with, causes.not_tried) == ((), "")
    assert cut.not_tried == "There was no time for all of the causes."
    assert 0 < cut.tried < causes.tried


async def test_a_damaged_or_missing_photograph_deviates_and_the_others_are_checked(make: Make) -> None:
    test = make()
    (test.folder / "broken.png").write_bytes(picture((1, 2, 3))[:60])
    (test.folder / "gone.png").write_bytes(b"x")
    test.model.before = lambda: (test.folder / "gone.png").unlink(missing_ok=True)
    test.expect(
        {
            "red.png": {"class": 0, "score": 200 / 255},
            "broken.png": {"class": 0},
            "gone.png": {"class": 0},
            "blue.png": {"class": 2},
        }
    )

    report = await test.checker.check(context())

    assert str(report) == "2 of 4"
    assert [one.deviation.partition(":")[0] for one in report.outcomes] == [
        "",
        "damaged-image",
        "the file cannot be read",
        "",
    ]
    assert (await test.checker.causes(report, context())).tried == 0


async def test_a_folder_that_cannot_be_used_names_the_setting(make: Make) -> None:
    test = make()
    (test.folder / "expected.json").write_text("{")

    with pytest.raises(Misconfigured, match=r"SERVICE__CATS__GOLDEN is '.*', which has an expected.json that is not"):
        await test.checker.check(context())


async def test_a_service_that_goes_away_in_the_middle_is_an_error(make: Make) -> None:
    test = make()

    def away() -> None:
        if test.model.calls == 2:
            test.model.error = ServiceUnreachable("gone")

    test.model.before = away
    with pytest.raises(ServiceUnreachable):
        await test.checker.check(context())
    test.model.error = None
    assert str(await test.checker.check(context())) == "2 of 2"


async def test_a_version_that_changes_in_the_middle_starts_the_check_over(make: Make) -> None:
    test = make()
    test.model.versions = [1, 2, 2, 2]

    report = await test.checker.check(context())

    assert (str(report), report.version, test.model.calls) == ("2 of 2", 2, 4)


async def test_photographs_wait_for_requests(make: Make) -> None:
    test = make(max_concurrency=4)
    admission = test.upstream.admission
    for _ in range(40):
        admission.permit(1, context()).__enter__()

    with pytest.raises(Overloaded):
        await test.checker.check(context(0.05))
    waiting = asyncio.create_task(test.checker.check(context()))
    await asyncio.sleep(0.02)
    assert test.model.calls == 0
    for _ in range(20):
        admission.permit(1, context()).__exit__()
    assert str(await waiting) == "2 of 2"


async def test_checks_take_turns(make: Make) -> None:
    test = make()
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, test.upstream.admission._images)

    test.model.before = count
    first, second = await asyncio.gather(test.checker.check(context()), test.checker.check(context()))
    assert (str(first), str(second), most) == ("2 of 2", "2 of 2", 1)

    await test.checker._turn.acquire()  # as another check does
    with pytest.raises(DeadlineExceeded, match="another check"):
        await test.checker.check(context(0.01))
