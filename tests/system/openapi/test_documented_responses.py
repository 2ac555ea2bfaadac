"""Responses of the running gateway match the OpenAPI document, for requests that schemathesis does not generate."""

import base64
import json

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # published without types

from devstack.photos import photo
from tests.conftest import ROOT

DOCUMENT = json.loads((ROOT / "web" / "openapi.json").read_text(encoding="utf-8"))
MODEL_OPERATIONS = [
    (path, method)
    for path, item in DOCUMENT["paths"].items()
    for method in item
    if path.startswith(("/v1/models", "/v2/models"))
]


def check(response: httpx.Response, path: str, method: str) -> None:
    """Check that a response is documented and matches its schema."""
    documented = DOCUMENT["paths"][path][method]["responses"][str(response.status_code)]
    content = documented["content"][response.headers["Content-Type"].split(";")[0]]
    schema = {"allOf": [content["schema"]], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(response.json())


def check_headers(response: httpx.Response, path: str, method: str) -> None:
    """Check that the response has the headers of the gateway's own that are documented, and no others."""
    documented = DOCUMENT["paths"][path][method]["responses"][str(response.status_code)]["headers"]
    own = {"X-Request-Id", "Server-Timing", "Ignored-Parameters", "Retry-After"}
    assert {name for name in own if name in response.headers} <= documented.keys()
    assert "X-Request-Id" in response.headers


@pytest.mark.parametrize(
    "path",
    [
        *("/api/health/live", "/api/health/ready", "/api/operations", "/api/rotation", "/api/services"),
        *("/v2/health/live", "/v2/health/ready"),
    ],
)
def test_a_response_is_as_documented(client: httpx.Client, path: str) -> None:
    response = client.get(path)

    check(response, path, "get")
    check_headers(response, path, "get")


def test_a_report_of_golden_photographs_and_the_health_with_it_are_as_documented(client: httpx.Client) -> None:
    report, health = client.post("/api/golden?service=imagenet"), client.get("/api/health/services")

    check(report, "/api/golden", "post")
    check_headers(report, "/api/golden", "post")
    assert (report.status_code, report.json()["golden"]) == (200, "4 of 4")
    check(health, "/api/health/services", "get")
    assert "golden" in health.json()["services"]["imagenet"]
    check(client.post("/api/golden?service=imagenet-tensor"), "/api/golden", "post")  # it has none


@pytest.mark.parametrize("path", ["/api/score", "/api/services/{service}/score"])
def test_the_results_of_a_partial_form_are_as_documented(client: httpx.Client, path: str) -> None:
    files = [("images", ("coffee.png", photo("coffee").read_bytes())), ("images", ("notes.txt", b"hello"))]
    url = path.format(service="imagenet")

    response = client.post(f"{url}?partial=true&top=1&treshold=0.5", files=files)

    check(response, path, "post")
    check_headers(response, path, "post")
    assert response.headers["Ignored-Parameters"] == "treshold"
    good, bad = response.json()["predictions"]
    assert (good["file"], good["labels"][0]["label"], "problem" in good) == ("coffee.png", "espresso", False)
    assert (bad["file"], bad["labels"], bad["problem"]["type"].split(":")[-1]) == ("notes.txt", [], "unsupported-image")
    check(client.post(url, files=files), path, "post")  # a problem


@pytest.mark.parametrize("path", ["/api/score", "/api/score/json", "/api/score/image", "/api/services/{service}/score"])
def test_each_address_accepts_every_form(client: httpx.Client, path: str) -> None:
    image, url = photo("coffee").read_bytes(), path.format(service="imagenet") + "?top=1"
    text = base64.b64encode(image).decode()

    for response in (
        client.post(url, files={"images": image}),
        client.post(url, json={"images": [text]}),
        client.post(url, json={"images": [{"b64": text}]}),
        client.post(url, content=image, headers={"Content-Type": "application/octet-stream"}),
    ):
        check(response, path, "post")
        assert response.json()["predictions"][0]["labels"][0]["label"] == "espresso"


@pytest.mark.parametrize(("path", "method"), MODEL_OPERATIONS)
def test_the_compatibility_apis_have_every_documented_path(client: httpx.Client, path: str, method: str) -> None:
    url = path.format(model="no-such-model", version="1", label="stable")
    response = client.request(method, url, content=b"{}" if method == "post" else None)
    # The path and the method are known; only the model is not.
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/json")
    if method != "head":
        assert "no model 'no-such-model'" in response.json()["error"]
        check(response, path, method)
