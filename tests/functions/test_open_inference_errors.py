"""The Open Inference Protocol: whatever is wrong is said in the protocol's form, with what was expected."""

import json
from typing import Any

import pytest

from devstack.fpga.faults import Faults
from shared import gateway
from tests.functions.door_lab import PICTURE, TENSOR, Door, refused
from tests.functions.test_open_inference import INFER, binary, elements, listed

ROW = 224 * 224 * 3 * 4
HALF_A_PAIR = b'{"id": "\\ud800", "inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "data": ["x"]}]}'


def named(name: object) -> dict[str, object]:
    return {"name": name, "shape": [1], "datatype": "BYTES", "data": ["x"]}


def with_output(name: object, **parameters: object) -> dict[str, Any]:
    return {"inputs": [named("images")], "outputs": [{"name": name, "parameters": parameters}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b'"text"', "not an object"),
        ({}, "'inputs' is not a list with a tensor; 'images' is expected in it"),
        ({"inputs": []}, "'inputs' is not a list with a tensor; 'images' is expected in it"),
        ({"inputs": ["images"]}, "'inputs' holds a string; objects are expected"),
        ({"inputs": [named("pictures")]}, "'inputs' names 'pictures'; 'images' is the only input"),
        ({"inputs": [named(None)]}, "'inputs' names null; 'images' is the only input"),
        ({"inputs": [named("images"), named("more")]}, "'inputs' names 'more'; 'images' is the only input"),
        ({"inputs": [named("images"), named("images")]}, "names 'images' more than once"),
        ({"inputs": [{"name": "images"}]}, "no 'shape', a list of sizes"),
        (listed([], []), "no 'shape', a list of sizes"),
        (listed([1.0], [-1]), "something else in it than sizes"),
        (listed([1.0], [True]), "something else in it than sizes"),
        (listed([1.0], [1.5]), "something else in it than sizes"),
        (listed([1.0], [2**64]), "something else in it than sizes"),
        (listed([1], [1], "INT8"), "has the datatype 'INT8'; BYTES (image files) or FP32 is expected"),
        (listed([1], [1], None), "has the datatype null; BYTES (image files) or FP32"),
        ({"inputs": [{"name": "images", "shape": [1], "datatype": "FP32"}]}, "no list 'data', and no parameter"),
        (listed("text", [1]), "no list 'data', and no parameter"),
        (listed([1.0, 2.0], [3]), "has the shape [3], but 'data' has [2]"),
        (listed([[1.0, 2.0], [3.0]], [2, 2]), "a list of 1 values; the first there has 2"),
        (listed([[1.0], 2.0], [2, 1]), "a number where other values are lists"),
        (listed(["1"], [1]), "There is a string where a number is expected"),
        (listed([True], [1]), "There is a boolean where a number is expected"),
        (listed([1e39], [1]), "too large for a 32-bit float"),
        (listed([], [0]), "is empty"),
        (listed([1.0], [1]), "has shape [1]; [N,224,224,3] is expected"),
        (listed(["x"], [2], "BYTES"), "has the shape [2], but 1 elements"),
        (listed(["x", "y"], [1, 2], "BYTES"), "of BYTES has the shape [1, 2]; [N] is expected"),
        (listed([1], [1], "BYTES"), "Element 0 of BYTES is a number; a string is expected"),
        (listed([], [0], "BYTES"), "is empty; at least one image is expected"),
        (listed(["text"], [1], "BYTES"), "do not begin as an image file"),
        ({**listed(["x"], [1], "BYTES"), "id": 3}, "'id' is not a string"),
        (HALF_A_PAIR, "'id' holds half of a surrogate pair"),
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
async def test_a_body_that_makes_no_tensor(door: Door, body: Any, words: str) -> None:
    assert words in refused(await door.post(INFER, body), 400)


@pytest.mark.parametrize(
    ("content", "shape", "datatype", "words"),
    [
        (bytes(ROW - 1), (1, 224, 224, 3), "FP32", "takes 602112 bytes; 602111 are there"),
        (bytes(ROW), (2, 224, 224, 3), "FP32", "takes 1204224 bytes; 602112 are there"),
        (bytes(8), (2**62, 2**62), "FP32", "bytes; 8 are there"),
        (b"", (1, 0, 2**62), "FP32", "is empty"),
        (bytes(4), (1,), "FP32", "[N,224,224,3] is expected"),
        (b"\1\0", (1,), "BYTES", "ends within an element"),
        (b"\xff\xff\xff\xff" + PICTURE, (1,), "BYTES", "ends within an element"),
        (elements(PICTURE)[:-1], (1,), "BYTES", "ends within an element"),
        (elements(PICTURE, PICTURE), (1,), "BYTES", "has the shape [1], but 2 elements"),
        (elements(PICTURE), (2,), "BYTES", "has the shape [2], but 1 elements"),
        (elements(b""), (1,), "BYTES", "do not begin as an image file"),
        (elements(PICTURE, b"hello"), (2,), "BYTES", "Image 1: The bytes do not begin as an image file"),
    ],
)
async def test_bytes_that_make_no_tensor(
    door: Door, content: bytes, shape: tuple[int, ...], datatype: str, words: str
) -> None:
    body, headers = binary(content, shape=shape, datatype=datatype)

    assert words in refused(await door.post(INFER, body, **headers), 400)


async def test_a_tensor_that_a_service_of_tensors_cannot_take_does_not_get_there(door: Door) -> None:
    body, headers = binary(TENSOR.tobytes(), shape=(1, 448, 224, 3), datatype="FP32")

    answer = await door.post("/v2/models/pixels/infer", body, **headers)

    assert refused(answer, 400) == "Input 'images' has the shape [1,448,224,3]; [N,224,224,3] is expected."
    assert not door.service.recorder.calls


@pytest.mark.parametrize("length", ["0", "-1", "x", "1e3", "9999999", "9" * 30, "²"])
async def test_a_header_length_that_is_none(door: Door, length: str) -> None:
    body, _ = binary(elements(PICTURE))

    answer = await door.post(INFER, body, Inference_Header_Content_Length=length)

    assert "the length of the JSON is expected" in refused(answer, 400)


async def test_bytes_of_which_the_json_does_not_speak(door: Door) -> None:
    body, headers = binary(elements(PICTURE))
    bare = json.dumps(listed(["x"], [1], "BYTES")).encode()

    longer = await door.post(INFER, body + b"more", **headers)
    assert f"{len(elements(PICTURE)) + 4} bytes follow the JSON" in refused(longer, 400)
    assert "no JSON" in refused(await door.post(INFER, body), 400)
    unspoken = await door.post(INFER, bare + b"more", Inference_Header_Content_Length=str(len(bare)))
    assert "4 bytes follow the JSON, of which no input speaks" in refused(unspoken, 400)


async def test_values_in_both_places(door: Door) -> None:
    body = listed(["x"], [1], "BYTES")
    body["inputs"][0]["parameters"] = {"binary_data_size": 0}

    assert "has both 'data' and 'binary_data_size'" in refused(await door.post(INFER, body), 400)


@pytest.mark.parametrize("size", [-1, True, "0", 1.5, 2**70])
async def test_a_size_of_bytes_that_is_none(door: Door, size: object) -> None:
    body = {"inputs": [{"name": "images", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}]}

    assert "0 bytes follow the JSON" in refused(await door.post(INFER, body), 400)


async def test_limits(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    many, headers = binary(elements(*[PICTURE] * 17), shape=(17,))
    assert "17 images; 16 are allowed" in refused(await door.post(INFER, many, **headers), 413)
    monkeypatch.setenv("MAX_IMAGE_BYTES", str(len(PICTURE) - 1))
    monkeypatch.setenv("SERVICE__CATS__MAX_MESSAGE_BYTES", "65536")
    await gateway.forget()
    large, headers = binary(elements(PICTURE))
    assert "bytes; " in refused(await door.post(INFER, large, **headers), 413)
    pixels, headers = binary(TENSOR[:1].tobytes(), shape=(1, 224, 224, 3), datatype="FP32")
    assert "larger than the messages" in refused(await door.post(INFER, pixels, **headers), 413)


async def test_no_body_at_all(door: Door) -> None:
    assert "body is empty" in refused(await door.post(INFER, b""), 400)
    assert "chunked" in refused(await door.post(INFER, b"", Transfer_Encoding="chunked"), 411)


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
async def test_an_address_or_method_that_means_nothing(door: Door, method: str, path: str, status: int) -> None:
    answer = await door.call(method, path, b"{}")

    refused(answer, status)
    assert ("allow" in answer.headers) == (status == 405)


async def test_trouble_behind_the_gateway_is_told_with_what_finds_it_in_the_log(door: Door) -> None:
    body, headers = binary(elements(PICTURE))
    door.service.set_faults(Faults(fail_next=1, fail_with="RESOURCE_EXHAUSTED"))
    busy = await door.post(INFER, body, **headers)
    assert "service-busy, request 00000000-0000-4000-8000-000000000000)" in refused(busy, 503)
    assert busy.headers["retry-after"] == "1"

    await door.service.stop(0)
    for answer in (await door.post(INFER, body, **headers), await door.get("/v2/models/cats")):
        assert "service-unreachable" in refused(answer, 503)
        assert b"127.0.0.1" not in answer.body
    assert (await door.get("/v2/health/ready")).json == {"ready": False}
