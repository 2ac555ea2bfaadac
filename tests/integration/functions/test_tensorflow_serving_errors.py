"""TensorFlow Serving's REST API: errors have the protocol's form, and name the expected values."""

import base64
import gzip
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from devstack.fpga.faults import Faults
from functions.protocols.tensorflow_json import parse_predict
from shared.upstream.codecs import FloatTensor
from tests.integration.functions.test_open_inference import binary
from tests.support.documented_errors import protocol_example
from tests.support.protocol_client import PICTURE, TENSOR, ProtocolClient, Response, error_message

PREDICT = "/v1/models/cats:predict"
GOOD = {"b64": base64.b64encode(PICTURE).decode()}
TEXT = {"b64": base64.b64encode(b"hello").decode()}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"[" * 100_000, "more than 50000 values"),
        ([], "not an object"),
        ({}, "either 'instances' (rows) or 'inputs' (columns)"),
        ({"instances": [1], "inputs": [1]}, "either 'instances' (rows) or 'inputs' (columns)"),
        ({"instances": 1}, "'instances' is not a list with at least one row"),
        ({"instances": []}, "'instances' is not a list with at least one row"),
        ({"signature_name": 1, "instances": [GOOD]}, "'signature_name' is not a string"),
        (b'{"signature_name": "\\ud800", "instances": [1]}', "surrogate"),
        ({"signature_name": "cat's", "instances": [GOOD]}, 'signature "cat\'s" is not found'),
        ({"instances": [{"pictures": GOOD}]}, "Row 0 of 'instances' names 'pictures'; only 'images' is expected"),
        ({"instances": [{"images": GOOD, "more": 1}]}, "names 'images', 'more'; only 'images'"),
        ({"instances": [{}]}, "names nothing; only 'images'"),
        ({"instances": [GOOD, {"images": GOOD}]}, "Row 1 of 'instances' is an object, unlike the first one"),
        ({"instances": [{"images": GOOD}, GOOD]}, "Row 1 of 'instances' is an object, unlike the first one"),
        ({"instances": [{"images": GOOD}, [1]]}, "Row 1 of 'instances' is a list, unlike the first one"),
        ({"inputs": {"pictures": [GOOD]}}, "'inputs' names 'pictures'; 'images' is expected"),
        ({"inputs": GOOD}, "has the shape []; [N] is expected"),
        ({"instances": [[GOOD]]}, "has the shape [1,1]; [N] is expected"),
        ({"instances": [{"b64": "not base64!"}]}, "The 'b64' of value 0 is not base64"),
        ({"instances": [GOOD, {"b64": "?"}]}, "The 'b64' of value 1 is not base64"),
        ({"inputs": [GOOD, {"b64": 3}]}, "Value 1 is an object"),
        ({"instances": [GOOD, 3]}, "Value 1 is a number"),
        ({"instances": [{"b64": ""}]}, "The file does not start with the signature"),
        ({"instances": ["a text"]}, "The file does not start with the signature"),
        ({"instances": [TEXT]}, "The file does not start with the signature"),
        ({"instances": [GOOD, TEXT]}, "Image 1: The file does not start with the signature"),
        ({"instances": [1.0, 2.0, 5.0]}, "has shape [3]; [N,224,224,3] is expected"),
        # tests/unit/protocols/test_json_tensors.py has all errors of lists and numbers.
        ({"instances": [[1, 2], [3]]}, "At depth 2 there is a list of 1 values; the first there has 2"),
        ({"instances": [1, "2"]}, "There is a string where a number is expected"),
        ({"instances": [1, 10**400]}, "too large for a 32-bit float"),
        ({"instances": [[]]}, "is empty: its shape is [1,0]"),
        ({"inputs": []}, "is empty"),
        ({"inputs": 1.0}, "has 0 dimensions"),
        ({"inputs": [[[[[[[[[1.0]]]]]]]]]}, "nested more than 8 deep"),
    ],
)
async def test_an_invalid_body_is_rejected(endpoints: ProtocolClient, body: Any, message: str) -> None:
    assert message in error_message(await endpoints.post(PREDICT, body), 400)


@pytest.mark.parametrize(
    ("slug", "path", "body", "headers"),
    [
        ("unsupported-content-encoding", PREDICT, b"{}", {"Content_Encoding": "br"}),
        ("body-too-large", PREDICT, gzip.compress(bytes(2_000_000)), {"Content_Encoding": "gzip"}),
        ("invalid-tensor", PREDICT, {}, {}),
        ("unknown-version", "/v1/models/cats/versions/9:predict", {"instances": [GOOD]}, {}),
    ],
)
async def test_the_error_equals_the_documented_example(
    endpoints: ProtocolClient, slug: str, path: str, body: Any, headers: dict[str, str]
) -> None:
    """Of the types that only occur at the protocol endpoints; test_open_inference.py has ``method-not-offered``."""
    status, message = protocol_example(slug)

    assert error_message(await endpoints.post(path, body, **headers), status) == message


async def test_a_tensor_with_the_wrong_shape_is_not_sent(endpoints: ProtocolClient) -> None:
    response = await endpoints.post("/v1/models/pixels:predict", {"instances": [[1.0]]})

    assert error_message(response, 400) == "Input 'images' has the shape [1,1]; [N,224,224,3] is expected."
    assert not endpoints.service.recorder.calls


@pytest.mark.parametrize("model", ["cats", "pixels"])
async def test_a_damaged_image_is_a_client_error(endpoints: ProtocolClient, model: str) -> None:
    endpoints.service.set_faults(Faults(fail_next=1, fail_with="INVALID_ARGUMENT"))
    out = io.BytesIO()
    Image.effect_noise((200, 200), 90).convert("RGB").save(out, "PNG")
    before, idat, pixels = out.getvalue().partition(b"IDAT")
    broken = before + idat + bytes(20) + pixels[20:]  # what is in front of the pixels is whole
    body = {"instances": [{"b64": base64.b64encode(broken).decode()}]}

    response = await endpoints.post(f"/v1/models/{model}:predict", body)

    assert "could not be decoded" in error_message(response, 400)
    # The file reaches the service, which rejects it; a tensor cannot be made of it.
    assert len(endpoints.service.recorder.calls) == (model == "cats")


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ([GOOD] * 17, "more than 16 images"),
        ([[1.0]] * 17, "more than 16 images"),
        ([GOOD], "bytes; "),
        (TENSOR[:1].tolist(), "larger than the messages"),
    ],
    ids=["images", "tensors", "bytes", "message"],
)
async def test_limits_of_images_bytes_and_messages(
    endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch, instances: list[Any], message: str
) -> None:
    monkeypatch.setenv("MAX_IMAGE_BYTES", str(len(PICTURE) - 1))
    monkeypatch.setenv("SERVICE__CATS__MAX_MESSAGE_BYTES", "65536")

    assert message in error_message(await endpoints.post(PREDICT, {"instances": instances}), 413)


async def test_a_request_without_a_body_is_rejected(endpoints: ProtocolClient) -> None:
    assert "body is empty" in error_message(await endpoints.post(PREDICT, b""), 400)
    assert "chunked" in error_message(await endpoints.post(PREDICT, b"", Transfer_Encoding="chunked"), 411)


async def test_an_invalid_content_encoding_is_rejected(endpoints: ProtocolClient) -> None:
    body = gzip.compress(b"{}")

    assert "not gzip" in error_message(await endpoints.post(PREDICT, b"{}", Content_Encoding="gzip"), 400)
    assert "not complete" in error_message(await endpoints.post(PREDICT, body[:-4], Content_Encoding="gzip"), 400)
    assert "more than one" in error_message(await endpoints.post(PREDICT, body * 2, Content_Encoding="gzip"), 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/cats/versions/one"),
        ("GET", "/v1/models/cats/else"),
        ("POST", "/v1/models/cats:explain"),
        ("POST", "/v1/models/cats:predict/more"),
    ],
)
async def test_unknown_paths_are_rejected(endpoints: ProtocolClient, method: str, path: str) -> None:
    message = error_message(await endpoints.call(method, path, b"{}"), 400)

    malformed, _, hint = message.partition("; ")
    assert malformed.rstrip("/") == f"Malformed request: {method} {path}"
    assert hint == "GET /api/services lists the services."


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/models/cats:predict", "POST"),
        ("HEAD", "/v1/models/cats:predict", "POST"),
        ("PUT", "/v1/models/cats:predict", "POST"),
        ("DELETE", "/v1/models/cats", "GET, HEAD"),
        ("POST", "/v1/models/cats", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_rejected(
    endpoints: ProtocolClient, method: str, path: str, allowed: str
) -> None:
    response = await endpoints.call(method, path, b"{}")

    assert error_message(response, 405) == f"{path} takes {allowed.replace(', ', ' or ')}, not {method}."
    assert response.headers["allow"] == allowed


async def test_the_other_methods_of_the_protocol_are_not_offered(endpoints: ProtocolClient) -> None:
    for method in ("classify", "regress"):
        assert method in error_message(await endpoints.post(f"/v1/models/cats:{method}", {"examples": []}), 501)


async def test_an_invalid_deadline_is_rejected(endpoints: ProtocolClient) -> None:
    response = await endpoints.post(PREDICT, {"instances": [GOOD]}, Request_Timeout_Ms="soon")

    assert "Request-Timeout-Ms" in error_message(response, 400)


@pytest.mark.parametrize(
    ("status", "code"),
    [("RESOURCE_EXHAUSTED", 503), ("INTERNAL", 502), ("NOT_FOUND", 502), ("INVALID_ARGUMENT", 502)],
)
async def test_upstream_errors_have_the_request_id(endpoints: ProtocolClient, status: str, code: int) -> None:
    endpoints.service.set_faults(Faults(fail_next=1, fail_with=status))

    response = await endpoints.post(PREDICT, {"instances": [GOOD]})

    assert "request 00000000-0000-4000-8000-000000000000)" in error_message(response, code)
    assert ("retry-after" in response.headers) == (code == 503)


@pytest.mark.parametrize("fault", ["nan", "missing_output", "wrong_shape"])
async def test_an_invalid_response_of_the_service_is_an_error(endpoints: ProtocolClient, fault: Any) -> None:
    endpoints.service.set_faults(Faults(answer=fault))

    assert "service-answer-invalid" in error_message(await endpoints.post(PREDICT, {"instances": [GOOD]}), 502)


async def test_an_unreachable_service_is_an_error(endpoints: ProtocolClient) -> None:
    await endpoints.service.stop(0)

    for response in (
        await endpoints.post(PREDICT, {"instances": [GOOD]}),
        await endpoints.get("/v1/models/cats"),
        await endpoints.get("/v1/models/cats/metadata"),
    ):
        assert "service-unreachable" in error_message(response, 503)
        assert b"127.0.0.1" not in response.body


async def test_the_error_names_an_invalid_setting(endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE__CATS__PORT", "cat")

    assert "SERVICE__CATS__PORT" in error_message(await endpoints.get("/v1/models/cats"), 500)


@pytest.mark.parametrize(("value", "status"), [(np.nan, 400), (np.inf, 400), (-np.inf, 400), (0.5, 502)])
async def test_values_that_are_not_finite_are_the_clients_error(
    endpoints: ProtocolClient, value: float, status: int
) -> None:
    """Where the output is not finite either: a model may have a use for them."""
    tensor = TENSOR[:1].copy()
    tensor[0, 3, 4, 1] = value
    body, headers = binary(tensor.tobytes(), shape=tensor.shape, datatype="FP32")

    async def answers() -> list[Response]:
        return [
            await endpoints.post("/v1/models/pixels:predict", {"instances": tensor.tolist()}),
            await endpoints.post("/v2/models/pixels/infer", body, **headers),
        ]

    assert [answer.status for answer in await answers()] == [200, 200]
    endpoints.service.set_faults(Faults(answer="nan"))
    for answer in await answers():
        message = error_message(answer, status)
        assert ("Input 'images' contains NaN or infinity" in message) is (status == 400)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_parsed(token: str) -> None:
    tensor = parse_predict(f'{{"instances": [[1, {token}]]}}'.encode(), "images", 16).tensor

    assert isinstance(tensor, FloatTensor)
    values = np.frombuffer(tensor.content, "<f4")
    assert values[0] == 1
    assert not math.isfinite(values[1])
