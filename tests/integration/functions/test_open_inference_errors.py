"""The Open Inference Protocol: errors have the protocol's form, and name the expected values."""

import json
from typing import Any

import pytest

from devstack.fpga.faults import Faults
from shared import gateway
from tests.integration.functions.test_open_inference import INFER, binary, elements, listed
from tests.support.protocol_client import PICTURE, TENSOR, ProtocolClient, error_message

ROW = 224 * 224 * 3 * 4
LONE_SURROGATE = b'{"id": "\\ud800", "inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": ["x"]}]}'


def named(name: object) -> dict[str, object]:
    return {"name": name, "shape": [1], "datatype": "BYTES", "data": ["x"]}


def with_output(name: object, **parameters: object) -> dict[str, Any]:
    return {"inputs": [named("images")], "outputs": [{"name": name, "parameters": parameters}]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b'"text"', "not an object"),
        ({}, "'inputs' is not a list with a tensor; 'images' is expected in it"),
        ({"inputs": []}, "'inputs' is not a list with a tensor; 'images' is expected in it"),
        ({"inputs": ["images"]}, "'inputs' contains a string; objects are expected"),
        ({"inputs": [named("pictures")]}, "'inputs' names 'pictures'; 'images' is the only input"),
        ({"inputs": [named(None)]}, "'inputs' names null; 'images' is the only input"),
        ({"inputs": [named("images"), named("more")]}, "'inputs' names 'more'; 'images' is the only input"),
        ({"inputs": [named("images"), named("images")]}, "names 'images' more than once"),
        ({"inputs": [{"name": "images"}]}, "no 'shape', a list of sizes"),
        (listed([], []), "no 'shape', a list of sizes"),
        (listed([1.0], [-1]), "not a list of sizes"),
        (listed([1.0], [True]), "not a list of sizes"),
        (listed([1.0], [1.5]), "not a list of sizes"),
        (listed([1.0], [2**64]), "not a list of sizes"),
        (listed([1.0], [2**62] * 254), "has 254 dimensions; at most 8 are expected"),
        (listed([1.0], [1.0] * 100_000), "no 'shape', a list of sizes"),
        (listed([1], [1], "INT8"), "has the datatype 'INT8'; BYTES (files) or FP32 is expected"),
        (listed([1], [1], None), "has the datatype null; BYTES (files) or FP32"),
        ({"inputs": [{"name": "images", "shape": [1], "datatype": "FP32"}]}, "no list 'data', and no parameter"),
        (listed("text", [1]), "no list 'data', and no parameter"),
        (listed([1.0, 2.0], [3]), "has the shape [3], but 'data' has [2]"),
        # tests/unit/protocols/test_json_tensors.py has all errors of lists and numbers.
        (listed([[1.0, 2.0], [3.0]], [2, 2]), "a list of 1 values; the first there has 2"),
        (listed(["1"], [1]), "There is a string where a number is expected"),
        (listed([], [0]), "is empty"),
        (listed([1.0], [1]), "has shape [1]; [N,224,224,3] is expected"),
        (listed(["x"], [2], "BYTES"), "has the shape [2], but 1 elements"),
        (listed(["x", "y"], [1, 2], "BYTES"), "of BYTES has the shape [1, 2]; [N] is expected"),
        (listed([1], [1], "BYTES"), "Element 0 of BYTES is a number; a string is expected"),
        (listed([], [0], "BYTES"), "is empty; at least one image is expected"),
        (listed(["text"], [1], "BYTES"), "The file does not start with the signature"),
        ({**listed(["x"], [1], "BYTES"), "id": 3}, "'id' is not a string"),
        (LONE_SURROGATE, "'id' contains half of a surrogate pair"),
        ({**listed(["x"], [1], "BYTES"), "parameters": []}, "'parameters' is a list; an object is expected"),
        ({**listed(["x"], [1], "BYTES"), "parameters": {"binary_data_output": 1}}, "'binary_data_output' is a number"),
        ({"inputs": [{**named("images"), "parameters": {"shared_memory_region": "x"}}]}, "Shared memory"),
        (
            {"inputs": [{**named("images"), "parameters": {"content_type": "base64"}}]},
            "Element 0 of BYTES is not base64",
        ),
        (with_output("labels"), "'outputs' names 'labels'; 'output_alias' is the only output"),
        ({"inputs": [named("images")], "outputs": ["x"]}, "'outputs' names 'x'; 'output_alias' is the only output"),
        ({"inputs": [named("images")], "outputs": 3}, "'outputs' is not a list with at most one output"),
        (with_output("output_alias", classification=-1), "'classification' is not a whole number"),
        (with_output("output_alias", classification="3"), "'classification' is not a whole number"),
        (with_output("output_alias", binary_data="yes"), "'binary_data' is a string; true or false is expected"),
        (with_output("output_alias", shared_memory_region="x"), "Shared memory"),
    ],
)
async def test_an_invalid_body_is_rejected(endpoints: ProtocolClient, body: Any, message: str) -> None:
    assert message in error_message(await endpoints.post(INFER, body), 400)


@pytest.mark.parametrize(
    ("content", "shape", "datatype", "message"),
    [
        (bytes(ROW - 1), (1, 224, 224, 3), "FP32", "needs 602112 bytes; there are 602111"),
        (bytes(ROW), (2, 224, 224, 3), "FP32", "needs 1204224 bytes; there are 602112"),
        (bytes(8), (2**62, 2**62), "FP32", "bytes; there are 8"),
        (bytes(8), (2**62,) * 254, "FP32", "has 254 dimensions; at most 8 are expected"),
        (bytes(8), (2**62,) * 8, "FP32", "bytes; there are 8"),
        (b"", (1, 0, 2**62), "FP32", "is empty"),
        (bytes(4), (1,), "FP32", "[N,224,224,3] is expected"),
        (b"\1\0", (1,), "BYTES", "ends within an element"),
        (b"\xff\xff\xff\xff" + PICTURE, (1,), "BYTES", "ends within an element"),
        (elements(PICTURE)[:-1], (1,), "BYTES", "ends within an element"),
        (elements(PICTURE, PICTURE), (1,), "BYTES", "has the shape [1], but more elements"),
        (elements(PICTURE), (2,), "BYTES", "has the shape [2], but 1 elements"),
        (elements(b""), (1,), "BYTES", "The file does not start with the signature"),
        (elements(PICTURE, b"hello"), (2,), "BYTES", "Image 1: The file does not start with the signature"),
    ],
)
async def test_invalid_binary_data_is_rejected(
    endpoints: ProtocolClient, content: bytes, shape: tuple[int, ...], datatype: str, message: str
) -> None:
    body, headers = binary(content, shape=shape, datatype=datatype)

    assert message in error_message(await endpoints.post(INFER, body, **headers), 400)


async def test_a_tensor_with_the_wrong_shape_is_not_sent(endpoints: ProtocolClient) -> None:
    body, headers = binary(TENSOR.tobytes(), shape=(1, 448, 224, 3), datatype="FP32")

    response = await endpoints.post("/v2/models/pixels/infer", body, **headers)

    assert error_message(response, 400) == "Input 'images' has the shape [1,448,224,3]; [N,224,224,3] is expected."
    assert not endpoints.service.recorder.calls


@pytest.mark.parametrize("length", ["0", "-1", "x", "1e3", "9999999", "9" * 30, "²"])
async def test_an_invalid_header_length_is_rejected(endpoints: ProtocolClient, length: str) -> None:
    body, _ = binary(elements(PICTURE))

    response = await endpoints.post(INFER, body, Inference_Header_Content_Length=length)

    assert "the length of the JSON is expected" in error_message(response, 400)


async def test_unexpected_binary_data_is_rejected(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE))
    without_size = json.dumps(listed(["x"], [1], "BYTES")).encode()

    longer = await endpoints.post(INFER, body + b"more", **headers)
    assert f"{len(elements(PICTURE)) + 4} bytes follow the JSON" in error_message(longer, 400)
    unmarked = error_message(await endpoints.post(INFER, body), 400)
    assert unmarked == "Bytes follow the JSON, but the header Inference-Header-Content-Length, its length, is missing."
    unused = await endpoints.post(INFER, without_size + b"more", Inference_Header_Content_Length=str(len(without_size)))
    assert "4 bytes follow the JSON, but no input has a 'binary_data_size'" in error_message(unused, 400)


async def test_an_input_with_json_and_binary_data_is_rejected(endpoints: ProtocolClient) -> None:
    body = listed(["x"], [1], "BYTES")
    body["inputs"][0]["parameters"] = {"binary_data_size": 0}

    assert "has both 'data' and 'binary_data_size'" in error_message(await endpoints.post(INFER, body), 400)


@pytest.mark.parametrize("size", [-1, True, "0", 1.5, 2**70])
async def test_an_invalid_binary_data_size_is_rejected(endpoints: ProtocolClient, size: object) -> None:
    body = {"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}]}

    assert "0 bytes follow the JSON" in error_message(await endpoints.post(INFER, body), 400)


async def test_limits_of_images_bytes_and_messages(endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch) -> None:
    many, headers = binary(elements(*[PICTURE] * 17), shape=(17,))
    assert "more than 16 images" in error_message(await endpoints.post(INFER, many, **headers), 413)
    monkeypatch.setenv("MAX_IMAGE_BYTES", str(len(PICTURE) - 1))
    monkeypatch.setenv("SERVICE__CATS__MAX_MESSAGE_BYTES", "65536")
    await gateway.forget()
    large, headers = binary(elements(PICTURE))
    assert "bytes; " in error_message(await endpoints.post(INFER, large, **headers), 413)
    pixels, headers = binary(TENSOR[:1].tobytes(), shape=(1, 224, 224, 3), datatype="FP32")
    assert "larger than the messages" in error_message(await endpoints.post(INFER, pixels, **headers), 413)


async def test_a_request_without_a_body_is_rejected(endpoints: ProtocolClient) -> None:
    assert "body is empty" in error_message(await endpoints.post(INFER, b""), 400)
    assert "chunked" in error_message(await endpoints.post(INFER, b"", Transfer_Encoding="chunked"), 411)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models", 404),
        ("GET", "/v2/models/cats/config", 404),
        ("POST", "/v2/repository/index", 404),
        ("GET", "/v2/health/else", 404),
        ("GET", "/v2/models/dogs", 404),
        ("GET", "/v2/models/dogs/ready", 404),
        ("POST", "/v2/models/dogs/infer", 404),
        ("GET", "/v2/models/cats/versions/one", 400),
        ("GET", "/v2/models/cats/versions/99999999999999999999", 400),
        ("GET", INFER, 405),
        ("HEAD", INFER, 405),
        ("POST", "/v2", 405),
        ("DELETE", "/v2/models/cats", 405),
        ("PUT", INFER, 405),
    ],
)
async def test_unknown_paths_and_methods_are_rejected(
    endpoints: ProtocolClient, method: str, path: str, status: int
) -> None:
    response = await endpoints.call(method, path, b"{}")

    error_message(response, status)
    assert ("allow" in response.headers) == (status == 405)


async def test_upstream_errors_name_the_type_and_the_request_id(endpoints: ProtocolClient) -> None:
    body, headers = binary(elements(PICTURE))
    endpoints.service.set_faults(Faults(fail_next=1, fail_with="RESOURCE_EXHAUSTED"))
    busy = await endpoints.post(INFER, body, **headers)
    assert "service-busy, request 00000000-0000-4000-8000-000000000000)" in error_message(busy, 503)
    assert busy.headers["retry-after"] == "1"

    await endpoints.service.stop(0)
    for response in (await endpoints.post(INFER, body, **headers), await endpoints.get("/v2/models/cats")):
        assert "service-unreachable" in error_message(response, 503)
        assert b"127.0.0.1" not in response.body
    assert (await endpoints.get("/v2/health/ready")).json == {"ready": False}
