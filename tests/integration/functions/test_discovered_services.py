"""A service of the Open Inference Protocol behind every endpoint: discovered, and as with the other protocol."""

import base64
from collections.abc import AsyncIterator

import numpy as np
import pytest

from devstack.fpga import Service
from shared import gateway
from shared.health import ServiceHealth
from tests.support.app import OTHER_PICTURE, Response, score, serve
from tests.support.inference_service import StartService
from tests.support.protocol_client import CLASSES, PICTURE, TENSOR, ProtocolClient, error_message, scores

OPEN = {"open": "imagenet", "pixels": "imagenet-pixels", "wrong": "unknown"}


@pytest.fixture
async def endpoints(start: StartService, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProtocolClient]:
    """``cats`` speaks TensorFlow Serving's protocol, the others the Open Inference Protocol; ``wrong`` has no model."""
    service = await start(tls=False)
    serve(service.port, monkeypatch, cats="encoded", **dict.fromkeys(OPEN, ""))
    for name, model in OPEN.items():
        monkeypatch.setenv(f"SERVICE__{name.upper()}__PROTOCOL", "open-inference")
        monkeypatch.setenv(f"SERVICE__{name.upper()}__MODEL", model)
    yield ProtocolClient(service)
    await gateway.forget()


def labels(response: Response) -> object:
    assert response.status == 200, response.body
    return response.json["predictions"][0]["labels"]


def methods(service: Service) -> list[str]:
    return [call.method.rpartition("/")[2] for call in service.recorder.calls]


@pytest.mark.usefixtures("endpoints")
async def test_both_protocols_give_the_same_labels() -> None:
    by_protocol = [await score(PICTURE, "image/jpeg", service=name) for name in ("cats", "open")]

    assert labels(by_protocol[0]) == labels(by_protocol[1])
    assert by_protocol[1].json["predictions"][0]["model_version"] == "1"


async def test_the_metadata_is_read_once(endpoints: ProtocolClient) -> None:
    for _ in range(3):
        await score(PICTURE, "image/jpeg", service="open")

    found = methods(endpoints.service)
    assert found.count("ModelMetadata") == 1
    assert found.count("ModelInfer") == 3


async def test_pictures_are_made_for_a_model_that_takes_numbers(endpoints: ProtocolClient) -> None:
    labels(await score(PICTURE, "image/jpeg", service="pixels"))

    metadata = (await endpoints.get("/v2/models/pixels")).json
    assert metadata["inputs"] == [{"name": "images", "datatype": "FP32", "shape": [-1, 224, 224, 3]}]
    assert metadata["outputs"] == [{"name": "output_alias", "datatype": "FP32", "shape": [-1, CLASSES]}]
    assert metadata["versions"] == ["1"]


async def test_the_endpoints_of_both_protocols_serve_it(endpoints: ProtocolClient) -> None:
    expected = await scores(PICTURE, OTHER_PICTURE)
    rows = [{"b64": base64.b64encode(one).decode()} for one in (PICTURE, OTHER_PICTURE)]
    tensor = {"name": "images", "shape": list(TENSOR.shape), "datatype": "FP32", "data": TENSOR.ravel().tolist()}

    v1 = await endpoints.post("/v1/models/open:predict", {"instances": rows})
    v2 = await endpoints.post("/v2/models/pixels/infer", {"inputs": [tensor]})

    assert np.allclose(v1.json["predictions"], expected, atol=1e-6)
    assert np.allclose(np.reshape(v2.json["outputs"][0]["data"], (2, CLASSES)), await scores(*TENSOR), atol=1e-6)
    assert v2.json["model_version"] == "1"


async def test_status_and_metadata_have_tensorflow_serving_s_form(endpoints: ProtocolClient) -> None:
    status = (await endpoints.get("/v1/models/open")).json
    metadata = (await endpoints.get("/v1/models/open/metadata")).json

    assert [one["version"] for one in status["model_version_status"]] == ["1"]
    inputs = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
    assert inputs["images"]["dtype"] == "DT_STRING"


async def test_versions_and_labels_of_them_that_do_not_exist_are_not_found(endpoints: ProtocolClient) -> None:
    rows = {"instances": [{"b64": base64.b64encode(PICTURE).decode()}]}

    error_message(await endpoints.post("/v1/models/open/versions/9:predict", rows), 404)
    assert "no labels" in error_message(await endpoints.post("/v1/models/open/labels/stable:predict", rows), 404)


@pytest.mark.usefixtures("endpoints")
async def test_a_model_that_the_service_does_not_have_is_not_ready() -> None:
    response = await score(PICTURE, "image/jpeg", service="wrong")

    assert response.problem == "service-rejected"
    assert "unknown model" in response.json["detail"]
    health = await gateway.gateway().health()
    assert {name: one.ready for name, one in health.items()} == {
        "cats": True,
        "open": True,
        "pixels": True,
        "wrong": False,
    }
    assert health["wrong"].problem is not None
    assert "unknown model" in health["wrong"].problem.detail


@pytest.mark.usefixtures("endpoints")
async def test_a_contradiction_is_an_error_that_names_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__PIXELS__IMAGE_SIZE", "299")

    response = await score(PICTURE, "image/jpeg", service="pixels")

    assert response.problem == "misconfigured"
    assert response.json["detail"] == "SERVICE__PIXELS__IMAGE_SIZE is 299; the model takes FP32 [-1,224,224,3]."
    health = (await gateway.gateway().health())["pixels"]
    assert isinstance(health, ServiceHealth)
    assert (health.reported, health.ready) == ("serving", False), "every request fails"
    assert health.problem is not None
    assert health.problem.detail == response.json["detail"]
