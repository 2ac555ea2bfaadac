"""The Open Inference Protocol: what it answers, in JSON and as bytes, and that it is the service's own answer."""

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
from tests.functions.conftest import serve
from tests.functions.door_lab import CLASSES, PICTURE, TENSOR, Answer, Door, refused, scores

INFER = "/v2/models/cats/infer"
OTHER = PICTURE + b"\0"  # what follows a JPEG's end changes no picture, but the service's answer


def binary(
    content: bytes, *, shape: Sequence[int] = (1,), datatype: str = "BYTES", **document: Any
) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a request with its tensor as bytes behind the JSON."""
    tensor = {"name": "images", "shape": list(shape), "datatype": datatype}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(content)}}], **document}).encode()
    return head + content, {"Inference_Header_Content_Length": str(len(head))}


def elements(*files: bytes) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


def listed(data: Any, shape: Sequence[object], datatype: str | None = "FP32", **document: Any) -> dict[str, Any]:
    """A request with its tensor in the JSON."""
    return {"inputs": [{"name": "images", "shape": list(shape), "datatype": datatype, "data": data}], **document}


def split(answer: Answer) -> tuple[dict[str, Any], bytes]:
    """The JSON and the bytes of a binary answer."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers["inference-header-content-length"])
    head: dict[str, Any] = json.loads(answer.body[:length])
    [output] = head["outputs"]
    assert output["parameters"] == {"binary_data_size": len(answer.body) - length}
    return head, answer.body[length:]


def output(answer: Answer) -> npt.NDArray[np.float32]:
    """The output of an answer in JSON, in its shape."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json"
    [told] = answer.json["outputs"]
    assert (told["name"], told["datatype"]) == ("output_alias", "FP32")
    return np.array(told["data"], np.float32).reshape(told["shape"])


async def test_health(door: Door) -> None:
    assert (await door.get("/v2/health/live")).json == {"live": True}
    ready = await door.get("/v2/health/ready")
    assert (ready.status, ready.json) == (200, {"ready": True})
    one = await door.get("/v2/models/cats/ready")
    assert (one.status, one.json) == (200, {"name": "cats", "ready": True})
    assert (await door.get("/v2/models/cats/versions/1/ready")).json == {"name": "cats", "ready": True}


async def test_a_service_that_takes_no_calls_is_not_ready(door: Door) -> None:
    door.service.set_serving(serving=False)

    for path in ("/v2/health/ready", "/v2/models/cats/ready", "/v2/models/cats/versions/1/ready"):
        answer = await door.get(path)
        assert (answer.status, answer.json["ready"]) == (503, False)
    assert (await door.get("/v2/health/live")).status == 200


async def test_the_server_tells_its_name_and_extensions(door: Door) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert (await door.get("/v2")).json == {
        "name": project["name"],
        "version": project["version"],
        "extensions": ["binary_tensor_data", "classification"],
    }
    assert project["version"] == open_inference.VERSION


@pytest.mark.parametrize(
    ("model", "datatype", "shape"), [("cats", "BYTES", [-1]), ("pixels", "FP32", [-1, 224, 224, 3])]
)
async def test_metadata_tell_what_a_model_takes_and_gives(
    door: Door, model: str, datatype: str, shape: list[int]
) -> None:
    answer = await door.get(f"/v2/models/{model}")

    assert answer.json == {
        "name": model,
        "versions": ["1"],
        "platform": "tensorflow_serving",
        "inputs": [{"name": "images", "datatype": datatype, "shape": shape}],
        "outputs": [{"name": "output_alias", "datatype": "FP32", "shape": [-1, CLASSES]}],
    }
    assert (await door.get(f"/v2/models/{model}/versions/1")).json == answer.json
    assert (await door.call("HEAD", f"/v2/models/{model}", b"")).status == 200


async def test_images_as_bytes_answered_by_numbers_in_json(door: Door) -> None:
    body, headers = binary(elements(PICTURE, OTHER), shape=(2,))

    answer = await door.post(INFER, body, **headers)

    assert np.array_equal(output(answer), await scores(PICTURE, OTHER))
    assert {name: answer.json[name] for name in answer.json if name != "outputs"} == {
        "model_name": "cats",
        "model_version": "1",
    }
    assert answer.headers["server-timing"].startswith("decode;dur=")


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
async def test_numbers_come_back_as_bytes_where_that_is_asked_for(door: Door, document: dict[str, Any]) -> None:
    body, headers = binary(elements(PICTURE), **document)

    head, content = split(await door.post(INFER, body, **headers))

    assert head["outputs"][0]["shape"] == [1, CLASSES]
    assert np.array_equal(np.frombuffer(content, "<f4").reshape(1, CLASSES), await scores(PICTURE))


async def test_a_request_for_one_output_in_json_wins_over_the_one_for_all_as_bytes(door: Door) -> None:
    body, headers = binary(
        elements(PICTURE),
        outputs=[{"name": "output_alias", "parameters": {"binary_data": False}}],
        parameters={"binary_data_output": True},
    )

    assert np.array_equal(output(await door.post(INFER, body, **headers)), await scores(PICTURE))


@pytest.mark.parametrize("model", ["cats", "pixels"])
async def test_numbers_pass_through_in_every_form(door: Door, model: str) -> None:
    path, expected, one = f"/v2/models/{model}/infer", await scores(*TENSOR), TENSOR[:1]
    body, headers = binary(TENSOR.tobytes(), shape=TENSOR.shape, datatype="FP32")

    assert np.array_equal(output(await door.post(path, body, **headers)), expected)
    for data in (one.tolist(), one.ravel().tolist()):
        assert np.array_equal(output(await door.post(path, listed(data, one.shape))), expected[:1])


async def test_more_pictures_than_a_message_holds_travel_in_several(door: Door) -> None:
    pixels = np.random.default_rng(1).random((9, 224, 224, 3), np.float32)
    body, headers = binary(pixels.tobytes(), shape=pixels.shape, datatype="FP32")

    answer = await door.post(INFER, body, **headers)

    assert np.array_equal(output(answer), await scores(*pixels))
    sizes = [call.request_bytes for call in door.service.recorder.calls]
    assert [size // TENSOR[:1].nbytes for size in sizes] == [6, 3]
    assert max(sizes) <= 4 * 1024 * 1024


async def test_a_column_of_images_is_taken_for_a_row(door: Door) -> None:
    body, headers = binary(elements(PICTURE, OTHER), shape=(2, 1))

    assert np.array_equal(output(await door.post(INFER, body, **headers)), await scores(PICTURE, OTHER))


async def test_an_image_for_a_service_of_tensors_is_prepared_here(door: Door) -> None:
    body, headers = binary(elements(PICTURE))

    assert output(await door.post("/v2/models/pixels/infer", body, **headers)).shape == (1, CLASSES)
    assert door.service.recorder.calls[-1].request_bytes > TENSOR[:1].nbytes


async def test_an_image_in_json_as_base64(door: Door) -> None:
    body = listed([base64.b64encode(PICTURE).decode()], [1], "BYTES")
    body["inputs"][0]["parameters"] = {"content_type": "base64"}

    assert np.array_equal(output(await door.post(INFER, body)), await scores(PICTURE))


async def test_the_best_classes_by_name(door: Door) -> None:
    names = (ROOT / "shared/scoring/label_lists/imagenet.txt").read_text().splitlines()
    rows = await scores(PICTURE, OTHER)
    expected = [
        [f"{row[index]:f}:{index}:{names[index]}" for index in np.argsort(-row, kind="stable")[:3]] for row in rows
    ]
    wanted = {"name": "output_alias", "parameters": {"classification": 3}}
    body, headers = binary(elements(PICTURE, OTHER), shape=(2,), outputs=[wanted])

    [told] = (await door.post(INFER, body, **headers)).json["outputs"]

    assert told == {
        "name": "output_alias",
        "datatype": "BYTES",
        "shape": [2, 3],
        "data": expected[0] + expected[1],
    }


async def test_the_best_classes_as_bytes(door: Door) -> None:
    parameters = {"classification": 2, "binary_data": True}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    head, content = split(await door.post(INFER, body, **headers))

    assert head["outputs"][0]["shape"] == [1, 2]
    first = int.from_bytes(content[:4], "little")
    value, index, _ = content[4 : 4 + first].decode().split(":")
    [row] = await scores(PICTURE)
    assert int(index) == row.argmax()
    assert float(value) == pytest.approx(row.max(), abs=1e-6)


async def test_more_classes_than_there_are(door: Door) -> None:
    parameters = {"classification": 5000}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    [told] = (await door.post(INFER, body, **headers)).json["outputs"]

    assert told["shape"] == [1, CLASSES]


async def test_a_whole_number_may_be_written_with_a_point(door: Door) -> None:
    parameters = {"classification": 3.0}
    body = listed([base64.b64encode(PICTURE).decode()], [1.0], "BYTES")
    body["inputs"][0]["parameters"] = {"content_type": "base64"}

    answer = await door.post(INFER, body | {"outputs": [{"name": "output_alias", "parameters": parameters}]})

    assert answer.json["outputs"][0]["shape"] == [1, 3]


@pytest.mark.parametrize("given", ["42", "été", ""])
async def test_the_id_comes_back(door: Door, given: str) -> None:
    body, headers = binary(elements(PICTURE), id=given)

    assert (await door.post(INFER, body, **headers)).json["id"] == given


async def test_a_compressed_body_with_bytes_behind_its_json(door: Door) -> None:
    body, headers = binary(elements(PICTURE))

    answer = await door.post(INFER, gzip.compress(body), Content_Encoding="gzip", **headers)

    assert np.array_equal(output(answer), await scores(PICTURE))


async def test_a_version_is_asked_for_by_the_address(door: Door) -> None:
    body, headers = binary(elements(PICTURE))

    assert (await door.post("/v2/models/cats/versions/1/infer", body, **headers)).status == 200
    assert "has no version 2" in refused(await door.post("/v2/models/cats/versions/2/infer", body, **headers), 404)
    for path in ("/v2/models/cats/versions/2", "/v2/models/cats/versions/2/ready"):
        assert "has no version 2" in refused(await door.get(path), 404)


async def test_the_deadline_and_the_trace_are_the_gateways(door: Door) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    body, headers = binary(elements(PICTURE))
    await door.post(INFER, body, traceparent=trace, **headers)
    assert door.service.recorder.calls[-1].metadata["traceparent"] == trace

    door.service.set_faults(Faults(hang=True))
    late = await door.post(INFER, body, Request_Timeout_Ms="300", **headers)
    assert "deadline-exceeded" in refused(late, 504)


@pytest.fixture
async def bare(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """The doors in front of a service that offers Predict alone, and tells no version."""

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
    serve(server.add_insecure_port("127.0.0.1:0"), monkeypatch)
    await server.start()
    yield Door(None)  # type: ignore[arg-type]  # no test asks it for its service
    await gateway.forget()
    await server.stop(0)


async def test_a_service_that_tells_nothing_of_itself_can_still_be_used(bare: Door) -> None:
    told = (await bare.get("/v2/models/cats")).json
    assert (told["versions"], told["outputs"][0]["shape"]) == ([], [-1, -1])
    assert (await bare.get("/v2/models/cats/versions/3")).json["versions"] == ["3"]
    assert (await bare.get("/v2/models/cats/ready")).json == {"name": "cats", "ready": True}
    for path, method in (("", "GetModelStatus"), ("/metadata", "GetModelMetadata")):
        assert method in refused(await bare.get(f"/v1/models/cats{path}"), 501)


async def test_a_class_beyond_the_names_has_none_and_negative_values_count_too(bare: Door) -> None:
    parameters = {"classification": 2}
    body, headers = binary(elements(PICTURE), outputs=[{"name": "output_alias", "parameters": parameters}])

    answer = await bare.post(INFER, body, **headers)

    assert "model_version" not in answer.json
    assert answer.json["outputs"][0]["data"] == ["-0.500000:1999", "-1.000000:0:tench"]
