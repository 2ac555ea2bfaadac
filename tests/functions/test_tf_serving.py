"""TensorFlow Serving's REST API: what it answers, and that it is the service's own answer."""

import base64
import gzip
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from devstack.fpga import Model, Service, SimulatedEngine
from devstack.fpga.faults import Faults
from shared import gateway
from tests.functions.conftest import serve
from tests.functions.door_lab import CLASSES, PICTURE, TENSOR, Door, refused, scores

PREDICT = "/v1/models/cats:predict"
OTHER = PICTURE + b"\0"  # what follows a JPEG's end changes no picture, but the service's answer
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "deflate": zlib.compress,
    "gzip": gzip.compress,
    "identity": bytes,
    "x-gzip": gzip.compress,
}


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


async def test_status_has_the_form_of_the_documentation(door: Door) -> None:
    answer = await door.get("/v1/models/cats")

    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert (await door.get("/v1/models/cats/versions/1")).json == answer.json
    assert (await door.get("/v1/Models/cats/VERSIONS/1")).json == answer.json


async def test_head_is_answered_as_get(door: Door) -> None:
    assert (await door.call("HEAD", "/v1/models/cats", b"")).status == 200


async def test_a_version_that_does_not_take_calls_says_so(door: Door) -> None:
    door.service.set_serving(serving=False)

    [version] = (await door.get("/v1/models/cats")).json["model_version_status"]

    assert version["state"] == "UNLOADING"


async def test_metadata_are_the_services_own_in_the_names_of_the_protocol(door: Door) -> None:
    answer = await door.get("/v1/models/cats/metadata")

    assert answer.status == 200
    assert answer.json["model_spec"] == {"name": "imagenet", "version": "1", "signature_name": "serving_default"}
    definitions = answer.json["metadata"]["signature_def"]["signature_def"]
    assert set(definitions) == {"serving_default", "encoded_images"}
    default = definitions["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["images"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in default["inputs"]["images"]["tensor_shape"]["dim"]] == ["-1", "224", "224", "3"]
    assert default["outputs"]["output_alias"]["tensor_shape"]["unknown_rank"] is False
    assert (await door.get("/v1/models/cats/versions/1/metadata")).json == answer.json


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({"instances": [b64(PICTURE), b64(OTHER)]}, "predictions"),
        ({"instances": [{"images": b64(PICTURE)}, {"images": b64(OTHER)}]}, "predictions"),
        ({"inputs": [b64(PICTURE), b64(OTHER)]}, "outputs"),
        ({"inputs": {"images": [b64(PICTURE), b64(OTHER)]}}, "outputs"),
        ({"inputs": {"images": [b64(PICTURE), b64(OTHER)], "unknown": [1]}}, "outputs"),
        ({"signature_name": "encoded_images", "instances": [b64(PICTURE), b64(OTHER)]}, "predictions"),
    ],
)
async def test_images_in_rows_and_columns(door: Door, body: dict[str, Any], form: str) -> None:
    answer = await door.post(PREDICT, body)

    assert answer.status == 200
    assert list(answer.json) == [form]
    assert np.array_equal(np.array(answer.json[form], np.float32), await scores(PICTURE, OTHER))
    assert answer.headers["server-timing"].startswith("decode;dur=")


@pytest.mark.parametrize("model", ["cats", "pixels"])
@pytest.mark.parametrize(
    ("wrap", "form"),
    [
        (lambda rows: {"instances": rows}, "predictions"),
        (lambda rows: {"instances": [{"images": row} for row in rows]}, "predictions"),
        (lambda rows: {"inputs": {"images": rows}}, "outputs"),
    ],
)
async def test_numbers_pass_through(door: Door, model: str, wrap: Callable[[Any], Any], form: str) -> None:
    answer = await door.post(f"/v1/models/{model}:predict", wrap(TENSOR[:1].tolist()))

    assert np.array_equal(np.array(answer.json[form], np.float32), await scores(TENSOR[0]))


async def test_an_image_for_a_service_of_tensors_is_prepared_here(door: Door) -> None:
    answer = await door.post("/v1/models/pixels:predict", {"instances": [b64(PICTURE)]})

    assert np.array(answer.json["predictions"]).shape == (1, CLASSES)
    assert door.service.recorder.calls[-1].request_bytes > 224 * 224 * 3 * 4


async def test_an_output_of_any_rank_is_answered_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimulatedEngine(0, classes=CLASSES, output="features")
    service = Service(Model("features", 1, engine.output_shape), engine)
    serve(await service.start(), monkeypatch)
    try:
        answer = await Door(service).post(PREDICT, {"instances": [b64(PICTURE), b64(OTHER)]})
    finally:
        await gateway.forget()
        await service.stop(0)
        engine.close()

    assert np.array(answer.json["predictions"]).shape == (2, 1, 1, CLASSES)


async def test_a_version_is_asked_for_by_the_address(door: Door) -> None:
    body = {"instances": [b64(PICTURE)]}

    assert (await door.post("/v1/models/cats/versions/1:predict", body)).status == 200
    for path in ("/v1/models/cats/versions/2", "/v1/models/cats/labels/stable"):
        assert "has no version" in refused(await door.post(f"{path}:predict", body), 404)
        assert "has no version" in refused(await door.get(path), 404)
        assert "has no version" in refused(await door.get(f"{path}/metadata"), 404)
    assert "not a number of 64 bits" in refused(await door.get(f"/v1/models/cats/versions/{2**63}"), 400)


async def test_a_model_goes_by_its_service_or_where_that_is_clear_by_its_own_name(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE__CATS__MODEL", "imagenet")

    assert (await door.get("/v1/models/imagenet")).status == 200
    words = refused(await door.get("/v1/models/half"), 404)
    assert words == "The gateway has no model 'half'; its services are: cats, pixels."

    await gateway.forget()
    monkeypatch.setenv("SERVICE__PIXELS__MODEL", "imagenet")
    assert "several services with the model 'imagenet'" in refused(await door.get("/v1/models/imagenet"), 404)


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(PICTURE).decode(),
        base64.b64encode(PICTURE).decode().rstrip("="),
        base64.b64encode(PICTURE).decode(),
    ],
)
async def test_base64_may_have_line_breaks_and_lack_its_padding(door: Door, text: str) -> None:
    assert (await door.post(PREDICT, {"instances": [{"b64": text}]})).status == 200


@pytest.mark.parametrize("coding", COMPRESS)
async def test_a_body_may_be_compressed(door: Door, coding: str) -> None:
    text = b'{"instances": [{"b64": "' + base64.b64encode(PICTURE) + b'"}]}'
    body = COMPRESS[coding](text)

    answer = await door.post(PREDICT, body, Content_Encoding=coding)

    assert answer.status == 200, answer.body


async def test_the_trace_travels_on(door: Door) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    await door.post(PREDICT, {"instances": [b64(PICTURE)]}, traceparent=trace)

    assert door.service.recorder.calls[-1].metadata["traceparent"] == trace


async def test_a_deadline_is_kept(door: Door) -> None:
    door.service.set_faults(Faults(hang=True))

    images = await door.post(PREDICT, {"instances": [b64(PICTURE)]}, Request_Timeout_Ms="300")
    numbers = await door.post(PREDICT, {"instances": TENSOR[:1].tolist()}, Request_Timeout_Ms="300")

    for answer in (images, numbers):
        assert "deadline-exceeded, request 00000000-" in refused(answer, 504)
