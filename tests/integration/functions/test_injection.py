"""Paths, ids, headers and parameters that carry line breaks and escape sequences: no header and no line is forged."""

from typing import Any

import azure.functions as func
import pytest

from functions import rotation
from functions import score as scoring
from tests.support.app import PICTURE, Response, call_function, score
from tests.support.devstack.processes import unused_port
from tests.support.protocol_client import ProtocolClient

FORGED = "x\r\nSet-Cookie: forged=1\r\n\r\n\x1b]0;title\x07\x1b[31mWARNING forged\u2028line\u202e"
LONG = "y" * 100_000


@pytest.fixture(autouse=True)
def unreachable(endpoints: ProtocolClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """The services of ``endpoints``, of which ``cats`` cannot be reached: its errors are logged."""
    assert endpoints
    monkeypatch.setenv("SERVICE__CATS__PORT", str(unused_port()))
    monkeypatch.setenv("SERVICE__CATS__DEADLINE_MS", "50")


def check(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    for name, value in response.headers.items():
        assert (name + value).isprintable()
        assert len(value) < 1000
    assert len(response.body) < 5000
    for line in caplog.messages:
        assert line.isprintable()
        assert len(line) < 1000


@pytest.mark.parametrize("text", [FORGED, LONG], ids=["forged", "long"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/{}",
        "/v1/models/{}",
        "/v1/models/{}:predict",
        "/v1/models/cats/versions/{}",
        "/v1/models/cats/labels/{}",
        "/v2/{}",
        "/v2/models/{}",
        "/v2/models/{}/infer",
        "/v2/models/cats/versions/{}",
        "/v2/models/cats/{}",
    ],
)
async def test_a_path_forges_nothing(
    endpoints: ProtocolClient, caplog: pytest.LogCaptureFixture, path: str, method: str, text: str
) -> None:
    response = await endpoints.call(method, path.format(text), b"{}")

    assert response.status >= 400
    check(response, caplog)


@pytest.mark.parametrize("text", [FORGED, LONG], ids=["forged", "long"])
@pytest.mark.parametrize(
    "name",
    [
        "X-Request-Id",
        "Request-Timeout-Ms",
        "traceparent",
        "tracestate",
        "Content-Type",
        "Content-Encoding",
        "Inference-Header-Content-Length",
        "Transfer-Encoding",
        "If-None-Match",
    ],
)
async def test_a_header_forges_nothing(
    endpoints: ProtocolClient, caplog: pytest.LogCaptureFixture, name: str, text: str
) -> None:
    check(await score(PICTURE, "image/jpeg", headers={name: text}), caplog)
    check(await endpoints.post("/v1/models/cats:predict", b"{}", **{name.replace("-", "_"): text}), caplog)
    check(await endpoints.post("/v2/models/cats/infer", b"{}", **{name.replace("-", "_"): text}), caplog)


@pytest.mark.parametrize("text", [FORGED, LONG], ids=["forged", "long"])
async def test_a_parameter_forges_nothing(caplog: pytest.LogCaptureFixture, text: str) -> None:
    for query in ({"top": text}, {"threshold": text}, {"partial": text}, {"service": text}, {text: "1"}):
        check(await score(PICTURE, "image/jpeg", query=query), caplog)
    check(await score(PICTURE, "image/jpeg", service=text), caplog)
    check(await score(PICTURE, "image/jpeg", service="cats", query={text: text, "a" * 100_000: ""}), caplog)


@pytest.mark.parametrize("text", [FORGED, LONG], ids=["forged", "long"])
async def test_a_member_of_json_forges_nothing(
    endpoints: ProtocolClient, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    tensor: dict[str, Any] = {"name": "images", "shape": [1], "datatype": "BYTES", "data": ["x"]}
    documents: list[tuple[str, dict[str, Any]]] = [
        ("/v1/models/cats:predict", {"instances": [{text: 1}]}),
        ("/v1/models/cats:predict", {"inputs": {text: 1}}),
        ("/v1/models/cats:predict", {"instances": [1], "signature_name": text}),
        ("/v2/models/cats/infer", {"inputs": [{**tensor, "name": text}]}),
        ("/v2/models/cats/infer", {"inputs": [{**tensor, "datatype": text}]}),
        ("/v2/models/cats/infer", {"inputs": [tensor], "outputs": [{"name": text}]}),
        ("/v2/models/cats/infer", {"inputs": [tensor], "id": text}),
        ("/v2/models/cats/infer", {"inputs": [{**tensor, "parameters": {"binary_data_size": text}}]}),
    ]
    for path, document in documents:
        check(await endpoints.post(path, document), caplog)


async def test_the_names_of_ignored_parameters_are_a_safe_header(caplog: pytest.LogCaptureFixture) -> None:
    request = func.HttpRequest(
        "POST",
        "http://localhost/api/score",
        params={"topp": "1", FORGED: "1", **{f"a{index}": "" for index in range(1000)}},
        body=PICTURE,
    )

    check(await call_function(scoring.score, request), caplog)


async def test_a_rotations_body_forges_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for text in (FORGED, LONG):
        body = f'{{"{text.encode("unicode_escape").decode()}": 1}}'.encode()
        request = func.HttpRequest("POST", "http://localhost/api/rotation", body=body)
        check(await call_function(rotation.rotation_run, request), caplog)
