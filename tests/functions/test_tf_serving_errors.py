"""TensorFlow Serving's REST API: whatever is wrong is said in the protocol's form, with what was expected."""

import base64
import gzip
import io
import math
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devstack.fpga.faults import Faults
from functions.doors import BODY_LIMIT
from functions.tf_bodies import read
from shared.scoring.model_types import Floats
from tests.functions.door_lab import PICTURE, TENSOR, Door, refused

PREDICT = "/v1/models/cats:predict"
GOOD = {"b64": base64.b64encode(PICTURE).decode()}
TEXT = {"b64": base64.b64encode(b"hello").decode()}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        ([], "not an object"),
        ({}, "either 'instances' (rows) or 'inputs' (columns)"),
        ({"instances": [1], "inputs": [1]}, "either 'instances' (rows) or 'inputs' (columns)"),
        ({"instances": 1}, "'instances' is not a list with at least one row"),
        ({"instances": []}, "'instances' is not a list with at least one row"),
        ({"signature_name": 1, "instances": [GOOD]}, "'signature_name' is not a string"),
        (b'{"signature_name": "\\ud800", "instances": [1]}', "surrogate"),
        ({"signature_name": "nobody's", "instances": [GOOD]}, 'signature "nobody\'s" is not found'),
        ({"instances": [{"pictures": GOOD}]}, "Row 0 of 'instances' names 'pictures'; 'images' alone is expected"),
        ({"instances": [{"images": GOOD, "more": 1}]}, "names 'images', 'more'; 'images' alone"),
        ({"instances": [{}]}, "names nothing; 'images' alone"),
        ({"instances": [GOOD, {"images": GOOD}]}, "Row 1 of 'instances' is an object, other than the first one"),
        ({"instances": [{"images": GOOD}, GOOD]}, "Row 1 of 'instances' is an object, other than the first one"),
        ({"instances": [{"images": GOOD}, [1]]}, "Row 1 of 'instances' is a list, other than the first one"),
        ({"inputs": {"pictures": [GOOD]}}, "'inputs' names 'pictures'; 'images' is expected"),
        ({"inputs": GOOD}, "has the shape []; [N] is expected"),
        ({"instances": [[GOOD]]}, "has the shape [1,1]; [N] is expected"),
        ({"instances": [{"b64": "not base64!"}]}, "The 'b64' of value 0 is not base64"),
        ({"instances": [GOOD, {"b64": "?"}]}, "The 'b64' of value 1 is not base64"),
        ({"inputs": [GOOD, {"b64": 3}]}, "Value 1 is an object"),
        ({"instances": [GOOD, 3]}, "Value 1 is a number"),
        ({"instances": [{"b64": ""}]}, "do not begin as an image file"),
        ({"instances": ["a text"]}, "do not begin as an image file"),
        ({"instances": [TEXT]}, "do not begin as an image file"),
        ({"instances": [GOOD, TEXT]}, "Image 1: The bytes do not begin as an image file"),
        ({"instances": [1.0, 2.0, 5.0]}, "has shape [3]; [N,224,224,3] is expected"),
        ({"instances": [[1, 2], [3]]}, "At depth 2 there is a list of 1 values; the first there has 2"),
        ({"instances": [[1, 2], 3]}, "At depth 2 there is a number where other values are lists"),
        ({"instances": [[1, [2]]]}, "At depth 3 there is a list where other values are none"),
        ({"instances": [1, "2"]}, "There is a string where a number is expected"),
        ({"instances": [True]}, "There is a boolean where a number is expected"),
        ({"instances": [None]}, "There is null where a number is expected"),
        ({"instances": [1, 10**400]}, "too large for a 32-bit float"),
        ({"instances": [1e39]}, "too large for a 32-bit float"),
        ({"instances": [[]]}, "is empty: its shape is [1,0]"),
        ({"inputs": []}, "is empty"),
        ({"inputs": 1.0}, "has 0 dimensions"),
        ({"inputs": [[[[[[[[[1.0]]]]]]]]]}, "has 9 dimensions"),
    ],
)
async def test_a_body_that_makes_no_tensor(door: Door, body: Any, words: str) -> None:
    assert words in refused(await door.post(PREDICT, body), 400)


async def test_a_tensor_that_a_service_of_tensors_cannot_take_does_not_get_there(door: Door) -> None:
    answer = await door.post("/v1/models/pixels:predict", {"instances": [[1.0]]})

    assert refused(answer, 400) == "Input 'images' has the shape [1,1]; [N,224,224,3] is expected."
    assert not door.service.recorder.calls


@pytest.mark.parametrize("model", ["cats", "pixels"])
async def test_a_picture_cut_short_is_the_senders_fault(door: Door, model: str) -> None:
    door.service.set_faults(Faults(fail_next=1, fail_with="INVALID_ARGUMENT"))
    out = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(out, "JPEG")
    body = {"instances": [{"b64": base64.b64encode(out.getvalue()[:4000]).decode()}]}

    answer = await door.post(f"/v1/models/{model}:predict", body)

    assert "could not be decoded" in refused(answer, 400)


async def test_more_images_than_a_request_may_hold(door: Door) -> None:
    assert "17 images; 16 are allowed" in refused(await door.post(PREDICT, {"instances": [GOOD] * 17}), 413)
    assert "17 images; 16 are allowed" in refused(await door.post(PREDICT, {"instances": [[1.0]] * 17}), 413)


async def test_an_image_with_more_bytes_than_allowed(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_IMAGE_BYTES", str(len(PICTURE) - 1))

    assert "bytes; " in refused(await door.post(PREDICT, {"instances": [GOOD]}), 413)


async def test_a_picture_of_numbers_that_no_message_holds(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__CATS__MAX_MESSAGE_BYTES", "65536")

    assert "larger than the messages" in refused(await door.post(PREDICT, {"instances": TENSOR[:1].tolist()}), 413)


async def test_no_body_at_all(door: Door) -> None:
    assert "body is empty" in refused(await door.post(PREDICT, b""), 400)
    assert "chunked" in refused(await door.post(PREDICT, b"", Transfer_Encoding="chunked"), 411)


async def test_a_body_that_is_not_what_its_coding_says(door: Door) -> None:
    body = gzip.compress(b"{}")

    assert "gzip, deflate or none is expected" in refused(await door.post(PREDICT, body, Content_Encoding="br"), 415)
    assert "not gzip" in refused(await door.post(PREDICT, b"{}", Content_Encoding="gzip"), 400)
    assert "not whole" in refused(await door.post(PREDICT, body[:-4], Content_Encoding="gzip"), 400)
    assert "more than one" in refused(await door.post(PREDICT, body * 2, Content_Encoding="gzip"), 400)


async def test_a_small_body_does_not_unpack_to_a_large_one(door: Door) -> None:
    bomb = zlib.compress(bytes(BODY_LIMIT + 1), 1)

    assert "when it is unpacked" in refused(await door.post(PREDICT, bomb, Content_Encoding="deflate"), 413)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/cats/versions/one"),
        ("GET", "/v1/models/cats/else"),
        ("GET", "/v1/models/cats:predict"),
        ("HEAD", "/v1/models/cats:predict"),
        ("PUT", "/v1/models/cats:predict"),
        ("DELETE", "/v1/models/cats"),
        ("POST", "/v1/models/cats"),
        ("POST", "/v1/models/cats:explain"),
        ("POST", "/v1/models/cats:predict/more"),
    ],
)
async def test_an_address_or_method_that_means_nothing(door: Door, method: str, path: str) -> None:
    words = refused(await door.call(method, path, b"{}"), 400)

    assert words.rstrip("/") == f"Malformed request: {method} {path}"


async def test_the_other_methods_of_the_protocol_are_not_offered(door: Door) -> None:
    for method in ("classify", "regress"):
        assert method in refused(await door.post(f"/v1/models/cats:{method}", {"examples": []}), 501)


async def test_a_bad_deadline_is_named(door: Door) -> None:
    answer = await door.post(PREDICT, {"instances": [GOOD]}, Request_Timeout_Ms="soon")

    assert "Request-Timeout-Ms" in refused(answer, 400)


@pytest.mark.parametrize(
    ("status", "code"),
    [("RESOURCE_EXHAUSTED", 503), ("INTERNAL", 502), ("NOT_FOUND", 502), ("INVALID_ARGUMENT", 502)],
)
async def test_trouble_behind_the_gateway_is_told_with_what_finds_it_in_the_log(
    door: Door, status: str, code: int
) -> None:
    door.service.set_faults(Faults(fail_next=1, fail_with=status))

    answer = await door.post(PREDICT, {"instances": [GOOD]})

    assert "request 00000000-0000-4000-8000-000000000000)" in refused(answer, code)
    assert ("retry-after" in answer.headers) == (code == 503)


@pytest.mark.parametrize("fault", ["nan", "missing_output", "wrong_shape"])
async def test_an_answer_that_is_none(door: Door, fault: Any) -> None:
    door.service.set_faults(Faults(answer=fault))

    assert "service-answer-invalid" in refused(await door.post(PREDICT, {"instances": [GOOD]}), 502)


async def test_a_service_that_is_away(door: Door) -> None:
    await door.service.stop(0)

    for answer in (
        await door.post(PREDICT, {"instances": [GOOD]}),
        await door.get("/v1/models/cats"),
        await door.get("/v1/models/cats/metadata"),
    ):
        assert "service-unreachable" in refused(answer, 503)
        assert b"127.0.0.1" not in answer.body


async def test_wrong_settings_are_told(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__CATS__PORT", "cat")

    assert "SERVICE__CATS__PORT" in refused(await door.get("/v1/models/cats"), 500)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_know_are_read_as_the_protocol_has_it(token: str) -> None:
    tensor = read(f'{{"instances": [[1, {token}]]}}'.encode(), "images").tensor

    assert isinstance(tensor, Floats)
    values = np.frombuffer(tensor.content, "<f4")
    assert values[0] == 1
    assert not math.isfinite(values[1])
