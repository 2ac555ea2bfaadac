"""Models that are no classifiers behind every endpoint: a detector, a featurizer, a multi-label model."""

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks.photographs.formats import oriented
from devstack.fpga import Model, Service, SimulatedEngine
from shared import gateway
from tests.support.app import PICTURE, Response, score, serve
from tests.support.inference_service import StartService
from tests.support.protocol_client import TENSOR, ProtocolClient, error_message, scores

SIZE = (1500, 1000)
# What is drawn on the photograph, and the detector finds: left, top, right, bottom.
BOXES = {"red": (600, 200, 800, 450), "green": (820, 500, 940, 800), "blue": (660, 600, 760, 700)}


def photograph(orientation: int = 1, kind: str = "JPEG", size: tuple[int, int] = SIZE) -> bytes:
    """Coloured boxes on grey; of another size they are scaled with it."""
    image = Image.new("RGB", size, (127, 127, 127))
    across, down = size[0] / SIZE[0], size[1] / SIZE[1]
    for colour, (left, top, right, bottom) in BOXES.items():
        box = (left * across, top * down, right * across - 1, bottom * down - 1)
        ImageDraw.Draw(image).rectangle(box, {"red": "#f00", "green": "#0f0", "blue": "#00f"}[colour])
    return oriented(image, orientation, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}))


@pytest.fixture
async def client(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProtocolClient]:
    """``detector`` speaks the Open Inference Protocol; ``features`` and ``scores`` TensorFlow Serving's."""
    engine = SimulatedEngine(0, classes=2048, output="features")
    service, featurizer = await start(tls=False), await start(tls=False, engine=engine)
    serve(service.port, monkeypatch, detector="", features="encoded", scores="tensor")
    settings = {
        "DETECTOR__PROTOCOL": "open-inference",
        "DETECTOR__MODEL": "imagenet-detector",
        "DETECTOR__OUTPUT": "raw",
        "DETECTOR__RESIZE": "letterbox",
        "FEATURES__OUTPUT": "raw",
        "FEATURES__PORT": str(featurizer.port),
        "SCORES__OUTPUT": "scores",
        "SCORES__ACTIVATION": "sigmoid",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"SERVICE__{name}", value)
    yield ProtocolClient(service)
    await gateway.forget()
    engine.close()


def prediction(response: Response) -> Any:
    assert response.status == 200, response.body
    [found] = response.json["predictions"]
    return found


def outputs(found: Any) -> dict[str, Any]:
    return {one["name"]: np.reshape(one["data"], one["shape"]) for one in found["outputs"]}


def in_photograph(box: Any, placement: Any) -> Any:
    """A box of the model's input in the pixels of the photograph."""
    pad, scale = (
        np.array([placement[f"{what}_{left}"], placement[f"{what}_{top}"]] * 2)
        for what, left, top in (("pad", "left", "top"), ("scale", "x", "y"))
    )
    return (box - pad) / scale


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("fit", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize(
    ("orientation", "kind", "size"), [(1, "JPEG", SIZE), (6, "JPEG", (4500, 3000)), (7, "PNG", (1000, 1500))]
)
async def test_the_boxes_of_a_detector_are_those_of_the_photograph(
    monkeypatch: pytest.MonkeyPatch, fit: str, orientation: int, kind: str, size: tuple[int, int]
) -> None:
    monkeypatch.setenv("SERVICE__DETECTOR__RESIZE", fit)

    found = prediction(await score(photograph(orientation, kind, size), "image/jpeg", service="detector"))

    placement = found["placement"]
    assert (placement["width"], placement["height"]) == size
    assert (placement["orientation"], placement["input_width"]) == (orientation, 320)
    pixel = 1.5 / min(placement["scale_x"], placement["scale_y"])
    values = outputs(found)
    for box, name, (left, top, right, bottom) in zip(
        values["boxes"][0], values["labels"][0], BOXES.values(), strict=True
    ):
        across, down = size[0] / SIZE[0], size[1] / SIZE[1]
        expected = (left * across, top * down, right * across, bottom * down)
        assert in_photograph(box, placement) == pytest.approx(expected, abs=pixel), name
    assert found["labels"] == []
    assert found["model_version"] == "1"
    assert {one["name"]: (one["datatype"], one["shape"]) for one in found["outputs"]} == {
        "boxes": ("FP32", [1, 3, 4]),
        "scores": ("FP32", [1, 3]),
        "classes": ("INT64", [1, 3]),
        "labels": ("BYTES", [1, 3]),
        "mask": ("UINT8", [1, 320, 320]),
    }


@pytest.mark.usefixtures("client")
async def test_several_photographs_share_a_call_or_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [photograph(size=size) for size in ((1500, 1000), (750, 500), (3000, 2000))]
    form = json.dumps({"images": [base64.b64encode(file).decode() for file in files]}).encode()

    alone = (await score(form, "application/json", service="detector")).json["predictions"]
    await gateway.forget()
    monkeypatch.setenv("SERVICE__DETECTOR__MAX_BATCH", "2")
    shared = (await score(form, "application/json", service="detector", query={"partial": "true", "top": "3"})).json

    assert [one["placement"]["width"] for one in alone] == [1500, 750, 3000]
    assert shared["predictions"] == alone
    response = await score(form, "application/json", service="detector", query={"top": "3"})
    assert response.headers["ignored-parameters"] == "top"
    assert response.json["predictions"] == alone


async def test_all_outputs_are_at_v2_in_both_forms(client: ProtocolClient) -> None:
    file = base64.b64encode(photograph()).decode()
    pixels = np.asarray(Image.open(io.BytesIO(photograph(size=(480, 320)))).crop((80, 0, 400, 320)))[np.newaxis]
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": pixels.ravel().tolist()}
    files = {"name": "images", "datatype": "BYTES", "shape": [2], "parameters": {"content_type": "base64"}}

    both = (await client.post("/v2/models/detector/infer", {"inputs": [{**files, "data": [file, file]}]})).json
    wanted = [{"name": "classes"}, {"name": "boxes", "parameters": {"binary_data": True}}, {"name": "labels"}]
    response = await client.post("/v2/models/detector/infer", {"inputs": [tensor], "outputs": wanted, "id": "7"})

    assert {one["name"]: one["shape"][0] for one in both["outputs"]} == dict.fromkeys(
        ("boxes", "scores", "classes", "labels", "mask"), 2
    )
    length = int(response.headers["inference-header-content-length"])
    head = json.loads(response.body[:length])
    assert (head["id"], head["model_version"]) == ("7", "1")
    assert head["outputs"][0] == {"name": "classes", "datatype": "INT64", "shape": [1, 3], "data": [0, 1, 2]}
    assert head["outputs"][2]["data"] == ["red", "green", "blue"]
    boxes = np.frombuffer(response.body[length:], "<f4").reshape(3, 4)
    assert boxes[0] == pytest.approx((600 * 0.32 - 80, 200 * 0.32, 800 * 0.32 - 80, 450 * 0.32), abs=1.5)


async def test_what_v2_cannot_give_is_named(client: ProtocolClient) -> None:
    file = {"name": "images", "datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
    body = {"inputs": [{**file, "data": [base64.b64encode(PICTURE).decode()]}]}

    async def message(*wanted: object) -> str:
        return error_message(await client.post("/v2/models/detector/infer", {**body, "outputs": list(wanted)}), 400)

    assert "the model's outputs are: 'boxes', 'classes'" in await message({"name": "x"})
    assert "OUTPUT=raw" in await message({"name": "boxes", "parameters": {"classification": 3}})
    assert "more than once" in await message({"name": "boxes"}, {"name": "boxes"})
    assert "list of objects" in await message("boxes")


async def test_all_outputs_are_at_v1_by_row_and_by_column(client: ProtocolClient) -> None:
    file = {"b64": base64.b64encode(photograph()).decode()}

    rows = await client.post("/v1/models/detector:predict", {"instances": [file, file]})
    columns = await client.post("/v1/models/detector:predict", {"inputs": [file, file]})

    assert rows.headers["model-version"] == "1"
    assert [sorted(row) for row in rows.json["predictions"]] == [["boxes", "classes", "labels", "mask", "scores"]] * 2
    assert [row["labels"] for row in rows.json["predictions"]] == columns.json["outputs"]["labels"]
    assert [row["boxes"] for row in rows.json["predictions"]] == columns.json["outputs"]["boxes"]
    assert np.shape(columns.json["outputs"]["mask"]) == (2, 320, 320)


async def test_the_featurizer_of_the_fpga_service(client: ProtocolClient) -> None:
    row = {"b64": base64.b64encode(PICTURE).decode()}

    found = prediction(await score(PICTURE, "image/jpeg", service="features"))
    v1 = await client.post("/v1/models/features:predict", {"instances": [row]})
    metadata = (await client.get("/v2/models/features")).json

    [output] = found["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output_alias", "FP32", [1, 1, 1, 2048])
    assert np.reshape(v1.json["predictions"], -1).tolist() == output["data"]
    assert (found["placement"]["scale_x"], found["placement"]["width"]) == (1, 16)
    assert metadata["outputs"] == [{"name": "output_alias", "datatype": "FP32", "shape": [-1, 1, 1, 2048]}]


async def test_scores_are_those_of_each_class_with_the_activation(client: ProtocolClient) -> None:
    found = prediction(await score(PICTURE, "image/jpeg", service="scores"))
    own = await client.post("/v1/models/scores:predict", {"instances": TENSOR[:1].tolist()})

    assert found["labels"] == []
    assert len(found["scores"]) == 10
    assert min(found["scores"]) >= 0.5  # the sigmoid of what is not negative
    assert own.json["predictions"] == pytest.approx(await scores(TENSOR[0]))
    assert "placement" not in found


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(
    ("settings", "service", "problem", "detail"),
    [
        ({"FEATURES__OUTPUT": "classes"}, "features", "service-answer-invalid", "SERVICE__FEATURES__OUTPUT is classes"),
        ({"DETECTOR__OUTPUT": "classes"}, "detector", "misconfigured", "the model has several: 'boxes', 'scores'"),
        (
            {"DETECTOR__OUTPUT": "classes", "DETECTOR__OUTPUT_NAME": "boxes"},
            "detector",
            "misconfigured",
            "OUTPUT is classes, [N, classes]; the model returns FP32 [-1,3,4] as 'boxes'. Set it to raw",
        ),
        ({"FEATURES__LABELS": "imagenet"}, "features", "misconfigured", "SERVICE__FEATURES__LABELS is set, but OUTPUT"),
        ({"FEATURES__RESIZE": "letterbox"}, "features", "misconfigured", "SERVICE__FEATURES__RESIZE is letterbox, but"),
    ],
)
async def test_a_wrong_pairing_names_the_setting_to_change(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], service: str, problem: str, detail: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"SERVICE__{name}", value)

    response = await score(PICTURE, "image/jpeg", service=service)

    assert response.problem == problem, response.body
    assert detail in response.json["detail"]


@pytest.mark.usefixtures("client")
async def test_a_service_that_names_no_classes_cannot_name_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MODEL": "imagenet", "OUTPUT": "classes", "LABELS": "service", "RESIZE": "crop"}.items():
        monkeypatch.setenv(f"SERVICE__DETECTOR__{name}", value)

    response = await score(PICTURE, "image/jpeg", service="detector")

    assert response.problem == "misconfigured"
    assert "SERVICE__DETECTOR__LABELS is service, but the service does not name its classes" in response.json["detail"]


async def test_more_classes_than_names_are_no_classes(start: StartService, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedding ``[N, 2048]`` looks like a classifier's output."""
    engine = SimulatedEngine(0, classes=2048)
    service: Service = await start(tls=False, engine=engine)
    assert service.model == Model("imagenet", 1, (2048,))
    serve(service.port, monkeypatch, cats="encoded")

    response = await score(PICTURE, "image/jpeg")
    await gateway.forget()
    engine.close()

    assert response.problem == "service-answer-invalid"
    assert "2048 classes, and SERVICE__CATS__LABELS has 1000 names" in response.json["detail"]
