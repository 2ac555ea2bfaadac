"""Responses of the running gateway match the OpenAPI document, for requests that schemathesis does not generate."""

import json

import httpx
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # published without types

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


@pytest.mark.parametrize(
    "path", ["/api/health/live", "/api/health/ready", "/api/rotation", "/v2/health/live", "/v2/health/ready"]
)
def test_a_response_is_as_documented(client: httpx.Client, path: str) -> None:
    check(client.get(path), path, "get")


@pytest.mark.parametrize(("path", "method"), MODEL_OPERATIONS)
def test_the_compatibility_apis_have_every_documented_path(client: httpx.Client, path: str, method: str) -> None:
    url = path.format(model="no-such-model", version="1", label="stable")
    response = client.request(method, url, content=b"{}" if method == "post" else None)
    # The path and the method are known; only the model is not.
    assert (response.status_code, response.headers["Content-Type"]) == (404, "application/json")
    if method != "head":
        assert "no model 'no-such-model'" in response.json()["error"]
        check(response, path, method)
