"""The Open Inference Protocol: health, metadata and inference with tensors in JSON and in binary."""

import base64
import gzip
import json
import tomllib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from devstack.fpga.faults import Faults
from functions import open_inference
from protos.serving_pb2 import PredictRequest, PredictResponse
from protos.tensor_pb2 import DT_FLOAT, TensorProto, TensorShapeProto
from shared import gateway
from tests.conftest import ROOT
from tests.integration.functions.conftest import MODELS
from tests.support.app import OTHER_PICTURE, serve
from tests.support.documented_errors import protocol_example
from tests.support.protocol_client import CLASSES, PICTURE, TENSOR, ProtocolClient, Response, error_message, scores

INFER = "/v2/models/cats/infer"


def binary(
    content: bytes, *, shape: Sequence[int] = (1,), datatype: str = "BYTES", **document: Any
) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a request whose tensor is binary data after the JSON."""
    tensor = {"name": "images", "shape": list(shape), "datatype": datatype}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(content)}}], **document}).encode()
    return head + content, {"Inference_Header_Content_Length": str(len(head))}


def elements(*files: bytes) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


def listed(data: Any, shape: Sequence[object], datatype: str | None = "FP32", **document: Any) -> dict[str, Any]:
    """A request whose tensor is in the JSON."""
    return {"inputs": [{"name": "images", "shape": list(shape), "datatype": datatype, "data": data}], **document}


def split(response: Response) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary data of a response."""
    assert response.status == 200, response.body
    assert response.headers["content-type"] == "application/octet-stream"
    length = int(response.headers["inference-header-content-length"])
    head: dict[str, Any] = json.loads(response.body[:length])
    [output] = head["outputs"]
    assert output["parameters"] == {"binary_data_size": len(response.body) - length}
    return head, response.body[length:]


def output(response: Response) -> npt.NDArray[np.float32]:
    """The output of a JSON response, in its shape."""
    assert response.status == 200, response.body
    assert response.headers["content-type"] == "application/json"
    [tensor] = response.json["outputs"]
    assert (tensor["name"], tensor["datatype"]) == ("output_alias", "FP32")
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


async def test_a_serving_service_is_live_and_ready(endpoints: ProtocolClient) -> None:
    assert (await endpoints.get("/v2/health/live")).json == {"live": True}
    ready = await endpoints.get("/v2/health/ready")
    assert (ready.status, ready.json) == (200, {"ready": True})
    one = await endpoints.get("/v2/models/cats/ready")
    assert (one.status, one.json) == (200, {"name": "cats", "ready": True})
    assert (await endpoints.get("/v2/models/cats/versions/1/ready")).json == {"name": "cats", "ready": True}


async def test_a_service_that_is_not_serving_is_not_ready(endpoints: ProtocolClient) -> None:
    endpoints.service.set_serving(serving=False)

    for path in ("/v2/health/ready", "/v2/models/cats/ready", "/v2/models/cats/versions/1/ready"):
        response = await endpoints.get(path)
        assert (response.status, response.json["ready"]) == (503, False)
    assert (await endpoints.get("/v2/health/live")).status == 200


async def test_server_metadata(endpoints: ProtocolClient) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (await endpoints.get("/v2")).json == {
        "name": project["name"],
        "version": project["version"],
        "extensions": ["binary_tensor_data", "classification"],
    }
    assert project["version"] == open_inference.VERSION


@pytest.mark.parametrize(
    ("model", "datatype", "shape"), [("cats", "BYTES", [-1]), ("pixels", "FP32", [-1, 224, 224, 3])]
)
async def test_model_metadata_describe_inputs_and_outputs(
    endpoints: ProtocolClient, model: str, datatype: str, shape: list[int]
) -> None:
    response = await endpoints.get(f"/v2/models/{model}")

    assert response.json == {
        "name": model,
        "versions": ["1"],
        "platform": "tensorflow_serving",
        "inputs": [{"name": "images", "datatype": datatype, "shape": shape}],
        "outputs": [{"name": "output_alias", "datatype": "FP32", "shape": [-1, CLASSES]}],
    }
    assert (await endpoints.get(f"/v2/models/{model}/versions/1")).json == response.json
    assert (await endpoints.call("HEAD", f"/v2/models/{model}", b"")).status == 200


async def test_binary_images_and_json_scores(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE, OTHER_PICTURE), shape=(2,))

    response = await endpoints.post(INFER, body, **headers)

    assert np.array_equal(output(response), await scores(PICTURE, OTHER_PICTURE))
    assert {name: response.json[name] for name in response.json if name != "outputs"} == {
        "model_name": "cats",
        "model_version": "1",
    }
    assert response.headers["server-timing"].startswith("decode;dur=")


@pytest.mark.parametrize(
    "document",
    [
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "output_alias", "parameters": {"binary_data": True}}]},
        {
            "outputs": [{"name": "output_alias", "parameters": {"binary_data": True}}],
            "parameters": {"binary_data_output": False},
        },
        {"outputs": [{"name": "output_alias"}], "parameters": {"binary_data_output": True}},
    ],
)
async def test_scores_are_binary_where_requested(endpoints: ProtocolClient, document: dict[str, Any]) -> None:
    body, headers = binary(elements(PICTURE), **document)

    head, content = split(await endpoints.post(INFER, body, **headers))

    assert head["outputs"][0]["shape"] == [1, CLASSES]
    assert np.array_equal(np.frombuffer(content, "<f4").reshape(1, CLASSES), await scores(PICTURE))


async def test_an_outputs_parameter_overrides_that_of_the_request(endpoints: ProtocolClient) -> None:
    body, headers = binary(
        elements(PICTURE),
        outputs=[{"name": "output_alias", "parameters": {"binary_data": False}}],
        parameters={"binary_data_output": True},
    )

    assert np.array_equal(output(await endpoints.post(INFER, body, **headers)), await scores(PICTURE))


@pytest.mark.parametrize("model", ["cats", "pixels"])
async def test_float_tensors_are_accepted_in_every_form(endpoints: ProtocolClient, model: str) -> None:
    path, expected, one = f"/v2/models/{model}/infer", await scores(*TENSOR), TENSOR[:1]
    body, headers = binary(TENSOR.tobytes(), shape=TENSOR.shape, datatype="FP32")

    assert np.array_equal(output(await endpoints.post(path, body, **headers)), expected)
    for data in (one.tolist(), one.ravel().tolist()):
        assert np.array_equal(output(await endpoints.post(path, listed(data, one.shape))), expected[:1])


async def test_a_batch_larger_than_a_message_is_split(endpoints: ProtocolClient) -> None:
    pixels = np.random.default_rng(1).random((9, 224, 224, 3), np.float32)
    body, headers = binary(pixels.tobytes(), shape=pixels.shape, datatype="FP32")

    response = await endpoints.post(INFER, body, **headers)

    assert np.array_equal(output(response), await scores(*pixels))
    sizes = [call.request_bytes for call in endpoints.service.recorder.calls]
    assert [size // TENSOR[:1].nbytes for size in sizes] == [6, 3]
    assert max(sizes) <= 4 * 1024 * 1024


async def test_images_in_the_shape_n_1_are_accepted(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE, OTHER_PICTURE), shape=(2, 1))

    assert np.array_equal(output(await endpoints.post(INFER, body, **headers)), await scores(PICTURE, OTHER_PICTURE))


async def test_an_image_is_decoded_for_a_service_that_requires_tensors(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE))

    assert output(await endpoints.post("/v2/models/pixels/infer", body, **headers)).shape == (1, CLASSES)
    assert endpoints.service.recorder.calls[-1].request_bytes > TENSOR[:1].nbytes


async def test_an_image_in_base64(endpoints: ProtocolClient) -> None:
    body = listed([base64.b64encode(PICTURE).decode()], [1], "BYTES")
    body["inputs"][0]["parameters"] = {"content_type": "base64"}

    assert np.array_equal(output(await endpoints.post(INFER, body)), await scores(PICTURE))


async def test_classification_returns_the_best_classes_of_each_image(endpoints: ProtocolClient) -> None:
    names = (ROOT / "shared/scoring/label_lists/imagenet.txt").read_text().splitlines()
    rows = await scores(PICTURE, OTHER_PICTURE)
    expected = [
        [f"{row[index]:f}:{index}:{names[index]}" for index in np.argsort(-row, kind="stable")[:3]] for row in rows
    ]
    requested = {"name": "output_alias", "parameters": {"classification": 3}}
    body, headers = binary(elements(PICTURE, OTHER_PICTURE), shape=(2,), outputs=[requested])

    [output] = (await endpoints.post(INFER, body, **headers)).json["outputs"]

    assert output == {
        "name": "output_alias",
        "datatype": "BYTES",
        "shape": [2, 3],
        "data": expected[0] + expected[1],
    }


async def test_classification_can_be_binary(endpoints: ProtocolClient) -> None:
    parameters = {"classification": 2, "binary_data": True}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    head, content = split(await endpoints.post(INFER, body, **headers))

    assert head["outputs"][0]["shape"] == [1, 2]
    first = int.from_bytes(content[:4], "little")
    value, index, _ = content[4 : 4 + first].decode().split(":")
    [row] = await scores(PICTURE)
    assert int(index) == row.argmax()
    assert float(value) == pytest.approx(row.max(), abs=1e-6)


async def test_classification_with_more_than_all_classes_returns_all(endpoints: ProtocolClient) -> None:
    parameters = {"classification": 5000}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    [output] = (await endpoints.post(INFER, body, **headers)).json["outputs"]

    assert output["shape"] == [1, CLASSES]


async def test_integers_may_have_a_decimal_point(endpoints: ProtocolClient) -> None:
    parameters = {"classification": 3.0}
    body = listed([base64.b64encode(PICTURE).decode()], [1.0], "BYTES")
    body["inputs"][0]["parameters"] = {"content_type": "base64"}

    response = await endpoints.post(INFER, body | {"outputs": [{"name": "output_alias", "parameters": parameters}]})

    assert response.json["outputs"][0]["shape"] == [1, 3]


@pytest.mark.parametrize("request_id", ["42", "été", ""])
async def test_the_response_has_the_id_of_the_request(endpoints: ProtocolClient, request_id: str) -> None:
    body, headers = binary(elements(PICTURE), id=request_id)

    assert (await endpoints.post(INFER, body, **headers)).json["id"] == request_id


async def test_a_binary_request_may_be_compressed(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE))

    response = await endpoints.post(INFER, gzip.compress(body), Content_Encoding="gzip", **headers)

    assert np.array_equal(output(response), await scores(PICTURE))


async def test_the_path_selects_a_version(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE))

    assert (await endpoints.post("/v2/models/cats/versions/1/infer", body, **headers)).status == 200
    assert "has no version 2" in error_message(
        await endpoints.post("/v2/models/cats/versions/2/infer", body, **headers), 404
    )
    for path in ("/v2/models/cats/versions/2", "/v2/models/cats/versions/2/ready"):
        assert "has no version 2" in error_message(await endpoints.get(path), 404)


async def test_trace_and_deadline_headers_are_supported(endpoints: ProtocolClient) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body, headers = binary(elements(PICTURE))
    await endpoints.post(INFER, body, traceparent=trace, **headers)
    assert endpoints.service.recorder.calls[-1].metadata["traceparent"] == trace

    endpoints.service.set_faults(Faults(hang=True))
    late = await endpoints.post(INFER, body, Request_Timeout_Ms="300", **headers)
    assert "deadline-exceeded" in error_message(late, 504)


@pytest.fixture
async def predict_only(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ProtocolClient]:
    """The protocol endpoints with a service that only has the method Predict, and reports no version."""

    async def predict(request: PredictRequest, _: Any) -> PredictResponse:
        rows = request.inputs["images"].tensor_shape.dim[0].size
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in (rows, 2000)])
        tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=shape, float_val=[-1.0] * 1999 * rows + [-0.5] * rows)
        return PredictResponse(outputs={"output_alias": tensor})

    handler = grpc.unary_unary_rpc_method_handler(
        predict,
        request_deserializer=PredictRequest.FromString,
        response_serializer=PredictResponse.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service,))
    serve(server.add_insecure_port("127.0.0.1:0"), monkeypatch, **MODELS)
    await server.start()
    yield ProtocolClient(None)  # type: ignore[arg-type]  # no test uses its service
    await gateway.forget()
    await server.stop(0)


async def test_a_service_without_metadata_can_be_used(predict_only: ProtocolClient) -> None:
    metadata = (await predict_only.get("/v2/models/cats")).json
    assert (metadata["versions"], metadata["outputs"][0]["shape"]) == ([], [-1, -1])
    assert (await predict_only.get("/v2/models/cats/versions/3")).json["versions"] == ["3"]
    assert (await predict_only.get("/v2/models/cats/ready")).json == {"name": "cats", "ready": True}
    status, message = protocol_example("method-not-offered")
    assert error_message(await predict_only.get("/v1/models/cats"), status) == message
    assert "the metadata of models" in error_message(await predict_only.get("/v1/models/cats/metadata"), status)


async def test_classification_supports_classes_without_labels_and_negative_values(predict_only: ProtocolClient) -> None:
    parameters = {"classification": 2}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    response = await predict_only.post(INFER, body, **headers)

    assert "model_version" not in response.json
    assert response.json["outputs"][0]["data"] == ["-0.500000:1999", "-1.000000:0:tench"]
