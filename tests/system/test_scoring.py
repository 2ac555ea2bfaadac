"""Photographs are scored through the whole stack: HTTP, Functions host, Key Vault, gRPC with TLS, real model."""

import base64
from typing import Any

import httpx
import pytest

from devstack.photos import photo

# The model's probabilities for three photographs that the service preprocesses (short side 256, centre 224).
KNOWN = {
    "coffee": ("image/png", 967, "espresso", 0.951),
    "rocket": ("image/jpeg", 657, "missile", 0.296),
    "chelsea": ("image/png", 282, "tiger cat", 0.386),
}
# The gateway's own preprocessing differs by rounding.
TOLERANCE = 0.02


def best(response: httpx.Response, index: int = 0) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    label: dict[str, Any] = response.json()["predictions"][index]["labels"][0]
    return label


def check(label: dict[str, Any], name: str) -> None:
    _, index, text, score = KNOWN[name]
    assert (label["id"], label["label"]) == (index, text)
    assert label["score"] == pytest.approx(score, abs=TOLERANCE)


@pytest.mark.parametrize("service", ["imagenet", "imagenet-tensor", "imagenet-open"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_photograph_in_a_raw_body(client: httpx.Client, name: str, service: str) -> None:
    kind = KNOWN[name][0]

    response = client.post(
        f"/api/services/{service}/score", content=photo(name).read_bytes(), headers={"Content-Type": kind}
    )

    check(best(response), name)
    body = response.json()
    assert list(body) == ["service", "model", "request_id", "predictions"]
    assert (body["service"], body["model"]) == (service, "imagenet")
    assert len(body["predictions"][0]["labels"]) == 5


def test_several_photographs_in_a_form(client: httpx.Client) -> None:
    files = [("photos", (photo(name).name, photo(name).read_bytes())) for name in KNOWN]

    response = client.post("/api/score", files=files, params={"top": 1})

    for index, name in enumerate(KNOWN):
        check(best(response, index), name)
    assert [one["file"] for one in response.json()["predictions"]] == ["coffee.png", "rocket.jpg", "chelsea.png"]


def test_photographs_in_json(client: httpx.Client) -> None:
    images = [{"b64": base64.b64encode(photo(name).read_bytes()).decode(), "name": name} for name in KNOWN]

    response = client.post("/api/score", json={"images": images})

    for index, name in enumerate(KNOWN):
        check(best(response, index), name)


def test_a_hundred_sequential_scores_are_correct(client: httpx.Client) -> None:
    for number in range(100):
        name = list(KNOWN)[number % len(KNOWN)]
        response = client.post("/api/score", content=photo(name).read_bytes(), headers={"Content-Type": KNOWN[name][0]})
        check(best(response), name)


def test_all_scores_can_be_requested(client: httpx.Client) -> None:
    content = photo("coffee").read_bytes()

    response = client.post("/api/score?top=0", content=content, headers={"Content-Type": "image/png"})

    [prediction] = response.json()["predictions"]
    assert len(prediction["scores"]) == len(prediction["labels"]) == 1000
    assert sum(prediction["scores"]) == pytest.approx(1, abs=1e-3)
    assert prediction["scores"][967] == prediction["labels"][0]["score"]


def test_labels_below_the_threshold_are_omitted(client: httpx.Client) -> None:
    content = photo("rocket").read_bytes()

    response = client.post("/api/score?top=100&threshold=0.1", content=content, headers={"Content-Type": "image/jpeg"})

    scores = [label["score"] for label in response.json()["predictions"][0]["labels"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 <= len(scores) < 10
    assert min(scores) >= 0.1


def test_the_response_has_server_timing_and_security_headers(client: httpx.Client) -> None:
    response = client.post("/api/score", content=photo("coffee").read_bytes(), headers={"Content-Type": "image/png"})

    parts = dict(part.split(";dur=") for part in response.headers["Server-Timing"].split(", "))
    assert list(parts) == ["decode", "credentials", "wait", "predict", "total"]
    assert 0 < float(parts["predict"]) <= float(parts["total"])
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_gateway_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/api/health/live").json() == {"status": "live"}

    ready = client.get("/api/health/ready")

    state = {"status": "ready"}
    services = {"imagenet": {**state, "golden": "4 of 4"}, "imagenet-open": state, "imagenet-tensor": state}
    assert (ready.status_code, ready.json()) == (200, {**state, "services": services})


def test_the_state_of_each_service(client: httpx.Client) -> None:
    response = client.get("/api/health/services")

    assert response.status_code == 200
    services = response.json()["services"]
    assert services["imagenet"].pop("golden") == {"result": "4 of 4", "model_version": "1"}
    for service in services.values():
        assert 0 <= service["credentials"].pop("age_seconds") < 60
        assert service == {
            "status": "ready",
            "service": "serving",
            "channel": "ready",
            "credentials": {"stale": False},
        }
    assert "127.0.0.1" not in response.text
