"""TensorFlow Serving's REST API: status, metadata and predictions."""

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
from tests.integration.functions.conftest import MODELS
from tests.support.app import OTHER_PICTURE, serve
from tests.support.protocol_client import CLASSES, PICTURE, TENSOR, ProtocolClient, error_message, scores

PREDICT = "/v1/models/cats:predict"
COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "deflate": zlib.compress,
    "gzip": gzip.compress,
    "identity": bytes,
    "x-gzip": gzip.compress,
}


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


async def test_the_status_has_the_documented_form(endpoints: ProtocolClient) -> None:
    response = await endpoints.get("/v1/models/cats")

    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }
    assert (await endpoints.get("/v1/models/cats/versions/1")).json == response.json
    assert (await endpoints.get("/v1/Models/cats/VERSIONS/1")).json == response.json
    assert (await endpoints.call("HEAD", "/v1/models/cats", b"")).status == 200


async def test_the_status_of_a_service_that_is_not_serving(endpoints: ProtocolClient) -> None:
    endpoints.service.set_serving(serving=False)

    [version] = (await endpoints.get("/v1/models/cats")).json["model_version_status"]

    assert version["state"] == "UNLOADING"


async def test_metadata_are_those_of_the_service(endpoints: ProtocolClient) -> None:
    response = await endpoints.get("/v1/models/cats/metadata")

    assert response.status == 200
    assert response.json["model_spec"] == {"name": "imagenet", "version": "1", "signature_name": "serving_default"}
    definitions = response.json["metadata"]["signature_def"]["signature_def"]
    assert set(definitions) == {"serving_default", "encoded_images"}
    default = definitions["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict"
    assert default["inputs"]["images"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in default["inputs"]["images"]["tensor_shape"]["dim"]] == ["-1", "224", "224", "3"]
    assert default["outputs"]["output_alias"]["tensor_shape"]["unknown_rank"] is False
    assert (await endpoints.get("/v1/models/cats/versions/1/metadata")).json == response.json


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({"instances": [b64(PICTURE), b64(OTHER_PICTURE)]}, "predictions"),
        ({"instances": [{"images": b64(PICTURE)}, {"images": b64(OTHER_PICTURE)}]}, "predictions"),
        ({"inputs": [b64(PICTURE), b64(OTHER_PICTURE)]}, "outputs"),
        ({"inputs": {"images": [b64(PICTURE), b64(OTHER_PICTURE)]}}, "outputs"),
        ({"inputs": {"images": [b64(PICTURE), b64(OTHER_PICTURE)], "unknown": [1]}}, "outputs"),
        ({"signature_name": "encoded_images", "instances": [b64(PICTURE), b64(OTHER_PICTURE)]}, "predictions"),
    ],
)
async def test_images_in_row_and_column_format(endpoints: ProtocolClient, body: dict[str, Any], form: str) -> None:
    response = await endpoints.post(PREDICT, body)

    assert response.status == 200
    assert list(response.json) == [form]
    assert np.array_equal(np.array(response.json[form], np.float32), await scores(PICTURE, OTHER_PICTURE))
    assert response.headers["server-timing"].startswith("decode;dur=")


@pytest.mark.parametrize("model", ["cats", "pixels"])
@pytest.mark.parametrize(
    ("wrap", "form"),
    [
        (lambda rows: {"instances": rows}, "predictions"),
        (lambda rows: {"instances": [{"images": row} for row in rows]}, "predictions"),
        (lambda rows: {"inputs": {"images": rows}}, "outputs"),
    ],
)
async def test_float_tensors_are_accepted(
    endpoints: ProtocolClient, model: str, wrap: Callable[[Any], Any], form: str
) -> None:
    response = await endpoints.post(f"/v1/models/{model}:predict", wrap(TENSOR[:1].tolist()))

    assert np.array_equal(np.array(response.json[form], np.float32), await scores(TENSOR[0]))


async def test_an_image_is_decoded_for_a_service_that_requires_tensors(endpoints: ProtocolClient) -> None:
    response = await endpoints.post("/v1/models/pixels:predict", {"instances": [b64(PICTURE)]})

    assert np.array(response.json["predictions"]).shape == (1, CLASSES)
    assert endpoints.service.recorder.calls[-1].request_bytes > 224 * 224 * 3 * 4


async def test_outputs_of_any_rank_are_returned_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SimulatedEngine(0, classes=CLASSES, output="features")
    service = Service(Model("features", 1, engine.output_shape), engine)
    serve(await service.start(), monkeypatch, **MODELS)
    try:
        response = await ProtocolClient(service).post(PREDICT, {"instances": [b64(PICTURE), b64(OTHER_PICTURE)]})
    finally:
        await gateway.forget()
        await service.stop(0)
        engine.close()

    assert np.array(response.json["predictions"]).shape == (2, 1, 1, CLASSES)


async def test_the_path_selects_a_version_or_label(endpoints: ProtocolClient) -> None:
    body = {"instances": [b64(PICTURE)]}

    assert (await endpoints.post("/v1/models/cats/versions/1:predict", body)).status == 200
    for path in ("/v1/models/cats/versions/2", "/v1/models/cats/labels/stable"):
        assert "has no version" in error_message(await endpoints.post(f"{path}:predict", body), 404)
        assert "has no version" in error_message(await endpoints.get(path), 404)
        assert "has no version" in error_message(await endpoints.get(f"{path}/metadata"), 404)
    assert "not a number of 64 bits" in error_message(await endpoints.get(f"/v1/models/cats/versions/{2**63}"), 400)


async def test_a_model_is_selected_by_its_services_name_or_by_its_own_if_unique(
    endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE__CATS__MODEL", "imagenet")

    assert (await endpoints.get("/v1/models/imagenet")).status == 200
    message = error_message(await endpoints.get("/v1/models/half"), 404)
    assert message == "The gateway has no model 'half'; its services are: cats, pixels."

    await gateway.forget()
    monkeypatch.setenv("SERVICE__PIXELS__MODEL", "imagenet")
    assert "several services with the model 'imagenet'" in error_message(
        await endpoints.get("/v1/models/imagenet"), 404
    )


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(PICTURE).decode(),
        base64.b64encode(PICTURE).decode().rstrip("="),
        base64.b64encode(PICTURE).decode(),
    ],
)
async def test_base64_may_have_line_breaks_and_no_padding(endpoints: ProtocolClient, text: str) -> None:
    assert (await endpoints.post(PREDICT, {"instances": [{"b64": text}]})).status == 200


@pytest.mark.parametrize("encoding", COMPRESS)
async def test_a_body_may_be_compressed(endpoints: ProtocolClient, encoding: str) -> None:
    text = b'{"instances": [{"b64": "' + base64.b64encode(PICTURE) + b'"}]}'
    body = COMPRESS[encoding](text)

    response = await endpoints.post(PREDICT, body, Content_Encoding=encoding)

    assert response.status == 200, response.body


async def test_the_trace_is_propagated(endpoints: ProtocolClient) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    await endpoints.post(PREDICT, {"instances": [b64(PICTURE)]}, traceparent=trace)

    assert endpoints.service.recorder.calls[-1].metadata["traceparent"] == trace


async def test_the_deadline_applies_to_images_and_tensors(endpoints: ProtocolClient) -> None:
    endpoints.service.set_faults(Faults(hang=True))

    images = await endpoints.post(PREDICT, {"instances": [b64(PICTURE)]}, Request_Timeout_Ms="300")
    numbers = await endpoints.post(PREDICT, {"instances": TENSOR[:1].tolist()}, Request_Timeout_Ms="300")

    for response in (images, numbers):
        assert "deadline-exceeded, request 00000000-" in error_message(response, 504)
