"""TensorFlow Serving's REST API against the running gateway, as its documentation's examples call it."""

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


@pytest.mark.parametrize("model", ["imagenet", "imagenet-tensor"])
def test_images_in_rows_and_columns(client: httpx.Client, model: str) -> None:
    path, images = f"/v1/models/{model}:predict", [b64("coffee"), b64("rocket")]

    for body, form in (
        ({"instances": images}, "predictions"),
        ({"instances": [{"images": image} for image in images]}, "predictions"),
        ({"inputs": images}, "outputs"),
        ({"inputs": {"images": images}}, "outputs"),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert best(answer.json()[form]) == [967, 657]


def test_numbers_in_rows(client: httpx.Client) -> None:
    pixels = decode_all([photo("coffee").read_bytes()])

    answer = client.post(PREDICT, json={"signature_name": "serving_default", "instances": pixels.tolist()})

    assert best(answer.json()["predictions"]) == [967]


def test_the_raw_scores_are_those_of_the_gateways_own_route(client: httpx.Client) -> None:
    content = photo("coffee").read_bytes()
    own = client.post("/api/score?top=0", content=content, headers={"Content-Type": "image/png"}).json()

    raw = client.post(PREDICT, json={"instances": [b64("coffee")]}).json()

    assert raw["predictions"][0] == pytest.approx(own["predictions"][0]["scores"], abs=1e-6)


def test_status_and_metadata(client: httpx.Client) -> None:
    for path in ("/v1/models/imagenet", "/v1/models/imagenet/versions/1"):
        [version] = client.get(path).json()["model_version_status"]
        assert (version["version"], version["state"], version["status"]["error_code"]) == ("1", "AVAILABLE", "OK")
    told = client.get("/v1/models/imagenet/metadata").json()
    assert (
        told["metadata"]["signature_def"]["signature_def"]["encoded_images"]["inputs"]["images"]["dtype"] == "DT_STRING"
    )
    assert client.head("/v1/models/imagenet").status_code == 200


def test_the_content_type_does_not_matter(client: httpx.Client) -> None:
    """The documentation's examples call curl with -d, which says that a form is sent."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = client.post(PREDICT, json={"instances": [b64("coffee")]}, headers=form)
    assert best(answer.json()["predictions"]) == [967]

    missing = client.post("/v1/models/half:predict", content='{"instances": [1.0,5.0]}', headers=form)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")
    assert list(missing.json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1", 400),
        ("GET", "/v1/", 400),
        ("GET", "/v1/models/imagenet:predict", 400),
        ("PUT", "/v1/models/imagenet%3Apredict", 400),
        ("GET", "/v1/models/imagenet/versions/2", 404),
        ("GET", "/v1/models/dogs", 404),
        ("GET", "/v2/models/dogs", 404),
        ("GET", "/v2/else", 404),
        ("DELETE", "/v2/models/imagenet", 405),
    ],
)
def test_what_means_nothing_is_said_in_the_protocols_form(
    client: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])


def test_the_doors_hide_no_other_route(client: httpx.Client) -> None:
    assert client.get("/api/health/live").json() == {"status": "live"}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2").json()["name"] == "scoring-gateway"
    assert client.get("/v3").status_code == 404


def test_a_colon_may_be_encoded(client: httpx.Client) -> None:
    answer = client.post("/v1/models/imagenet%3Apredict", json={"instances": [b64("coffee")]})

    assert best(answer.json()["predictions"]) == [967]
