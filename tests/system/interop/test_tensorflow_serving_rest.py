"""TensorFlow Serving's REST API at the running gateway, with requests as in its documentation."""

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from devstack.model.preprocess import decode_all
from devstack.photos import photo

PREDICT = "/v1/models/imagenet:predict"


def b64(name: str) -> dict[str, str]:
    return {"b64": base64.b64encode(photo(name).read_bytes()).decode()}


def best(rows: Any) -> list[int]:
    values = np.array(rows)
    assert values.shape[1:] == (1000,)
    assert values.sum(axis=1) == pytest.approx(1, abs=1e-3)
    return [int(index) for index in values.argmax(axis=1)]


@pytest.mark.parametrize("model", ["imagenet", "imagenet-tensor", "imagenet-open"])
def test_images_in_row_and_column_format(client: httpx.Client, model: str) -> None:
    path, images = f"/v1/models/{model}:predict", [b64("coffee"), b64("rocket")]

    for body, form in (
        ({"instances": images}, "predictions"),
        ({"instances": [{"images": image} for image in images]}, "predictions"),
        ({"inputs": images}, "outputs"),
        ({"inputs": {"images": images}}, "outputs"),
    ):
        response = client.post(path, json=body)
        assert response.status_code == 200, response.text
        assert best(response.json()[form]) == [967, 657]


def test_pixels_in_row_format(client: httpx.Client) -> None:
    pixels = decode_all([photo("coffee").read_bytes()])

    response = client.post(PREDICT, json={"signature_name": "serving_default", "instances": pixels.tolist()})

    assert best(response.json()["predictions"]) == [967]


def test_the_scores_equal_those_of_the_gateways_own_api(client: httpx.Client) -> None:
    content = photo("coffee").read_bytes()
    own = client.post("/api/score?top=0", content=content, headers={"Content-Type": "image/png"}).json()

    raw = client.post(PREDICT, json={"instances": [b64("coffee")]}).json()

    assert raw["predictions"][0] == pytest.approx(own["predictions"][0]["scores"], abs=1e-6)


def test_status_and_metadata(client: httpx.Client) -> None:
    for path in ("/v1/models/imagenet", "/v1/models/imagenet/versions/1"):
        [version] = client.get(path).json()["model_version_status"]
        assert (version["version"], version["state"], version["status"]["error_code"]) == ("1", "AVAILABLE", "OK")
    metadata = client.get("/v1/models/imagenet/metadata").json()["metadata"]
    assert metadata["signature_def"]["signature_def"]["encoded_images"]["inputs"]["images"]["dtype"] == "DT_STRING"
    assert client.head("/v1/models/imagenet").status_code == 200


def test_the_content_type_is_ignored(client: httpx.Client) -> None:
    """The documentation's examples use curl with -d, which sets the content type of a form."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    response = client.post(PREDICT, json={"instances": [b64("coffee")]}, headers=form)
    assert best(response.json()["predictions"]) == [967]

    missing = client.post("/v1/models/half:predict", content='{"instances": [1.0,5.0]}', headers=form)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")
    assert list(missing.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 400),
        ("GET", "/v1/", 400),
        ("GET", "/v1/models/imagenet:predict", 405),
        ("PUT", "/v1/models/imagenet%3Apredict", 405),
        ("GET", "/v1/models/imagenet/versions/2", 404),
        ("GET", "/v1/models/dogs", 404),
        ("GET", "/v2/models/dogs", 404),
        ("GET", "/v2/else", 404),
        ("DELETE", "/v2/models/imagenet", 405),
    ],
)
def test_unknown_paths_and_methods_have_errors_in_the_protocols_form(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)

    assert (response.status_code, list(response.json())) == (status, ["error"])


def test_the_protocol_endpoints_do_not_match_other_paths(client: httpx.Client) -> None:
    assert client.get("/api/health/live").json() == {"status": "live"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2").json()["name"] == "scoring-gateway"
    assert client.get("/v3").status_code == 404


def test_the_colon_of_a_path_may_be_encoded(client: httpx.Client) -> None:
    response = client.post("/v1/models/imagenet%3Apredict", json={"instances": [b64("coffee")]})

    assert best(response.json()["predictions"]) == [967]
