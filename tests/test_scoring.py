"""Photographs through the whole gateway: HTTP, the Functions host, Key Vault, TLS gRPC, the real model, and back."""

import base64
import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image

from devstack.photos import photo

# The probabilities of the model on three photographs, prepared by the service (short side to 256, centre of 224).
KNOWN = {
    "coffee": ("image/png", 967, "espresso", 0.951),
    "rocket": ("image/jpeg", 657, "missile", 0.296),
    "chelsea": ("image/png", 282, "tiger cat", 0.386),
}
# The gateway's own preparation differs from the service's by the rounding of a resize.
TOLERANCE = 0.02


def best(answer: httpx.Response, index: int = 0) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    label: dict[str, Any] = answer.json()["predictions"][index]["labels"][0]
    return label


def check(label: dict[str, Any], name: str) -> None:
    _, index, text, score = KNOWN[name]
    assert (label["id"], label["label"]) == (index, text)
    assert label["score"] == pytest.approx(score, abs=TOLERANCE)


@pytest.mark.parametrize("service", ["imagenet", "imagenet-tensor"])
@pytest.mark.parametrize("name", KNOWN)
def test_a_photograph_as_a_raw_body(client: httpx.Client, name: str, service: str) -> None:
    kind = KNOWN[name][0]

    answer = client.post(
        f"/api/services/{service}/score", content=photo(name).read_bytes(), headers={"Content-Type": kind}
    )

    check(best(answer), name)
    body = answer.json()
    assert list(body) == ["service", "model", "request_id", "predictions"]
    assert (body["service"], body["model"]) == (service, "imagenet")
    assert len(body["predictions"][0]["labels"]) == 5


def test_several_photographs_in_a_form(client: httpx.Client) -> None:
    files = [("photos", (photo(name).name, photo(name).read_bytes())) for name in KNOWN]

    answer = client.post("/api/score", files=files, params={"top": 1})

    for index, name in enumerate(KNOWN):
        check(best(answer, index), name)
    assert [one["file"] for one in answer.json()["predictions"]] == ["coffee.png", "rocket.jpg", "chelsea.png"]


def test_photographs_in_json(client: httpx.Client) -> None:
    images = [{"b64": base64.b64encode(photo(name).read_bytes()).decode(), "name": name} for name in KNOWN]

    answer = client.post("/api/score", json={"images": images})

    for index, name in enumerate(KNOWN):
        check(best(answer, index), name)


def test_a_hundred_scores_one_after_another_are_all_right(client: httpx.Client) -> None:
    for number in range(100):
        name = list(KNOWN)[number % len(KNOWN)]
        answer = client.post("/api/score", content=photo(name).read_bytes(), headers={"Content-Type": KNOWN[name][0]})
        check(best(answer), name)


def test_all_scores(client: httpx.Client) -> None:
    content = photo("coffee").read_bytes()

    answer = client.post("/api/score?top=0", content=content, headers={"Content-Type": "image/png"})

    [prediction] = answer.json()["predictions"]
    assert len(prediction["scores"]) == len(prediction["labels"]) == 1000
    assert sum(prediction["scores"]) == pytest.approx(1, abs=1e-3)
    assert prediction["scores"][967] == prediction["labels"][0]["score"]


def test_a_threshold_leaves_only_what_reaches_it(client: httpx.Client) -> None:
    content = photo("rocket").read_bytes()

    answer = client.post("/api/score?top=100&threshold=0.1", content=content, headers={"Content-Type": "image/jpeg"})

    scores = [label["score"] for label in answer.json()["predictions"][0]["labels"]]
    assert scores == sorted(scores, reverse=True)
    assert 1 <= len(scores) < 10
    assert min(scores) >= 0.1


def test_where_the_time_went_is_told(client: httpx.Client) -> None:
    answer = client.post("/api/score", content=photo("coffee").read_bytes(), headers={"Content-Type": "image/png"})

    parts = dict(part.split(";dur=") for part in answer.headers["Server-Timing"].split(", "))
    assert list(parts) == ["decode", "credentials", "wait", "predict", "total"]
    assert 0 < float(parts["predict"]) <= float(parts["total"])
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "content", "kind", "status", "slug"),
    [
        ("/api/score", b"", "image/png", 400, "empty-body"),
        ("/api/score", b"x", "text/plain", 415, "unsupported-content-type"),
        ("/api/score", b"no image", "image/png", 422, "unsupported-image"),
        ("/api/score", b"{", "application/json", 400, "malformed-json"),
        ("/api/score?top=many", b"x", "image/png", 400, "invalid-parameter"),
        ("/api/services/dogs/score", b"x", "image/png", 404, "unknown-service"),
    ],
)
def test_what_cannot_be_scored_is_a_problem_document(
    client: httpx.Client, path: str, content: bytes, kind: str, status: int, slug: str
) -> None:
    answer = client.post(path, content=content, headers={"Content-Type": kind})

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:problem-type:scoring-gateway:{slug}"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"]


@pytest.mark.parametrize("service", ["imagenet", "imagenet-tensor"])
def test_a_photograph_cut_short_is_the_senders_fault_with_either_kind_of_service(
    client: httpx.Client, service: str
) -> None:
    noise = io.BytesIO()
    Image.effect_noise((256, 256), 100).convert("RGB").save(noise, "JPEG")

    answer = client.post(
        f"/api/services/{service}/score",
        content=noise.getvalue()[:5000],
        headers={"Content-Type": "image/jpeg"},
    )

    assert (answer.status_code, answer.json()["type"].split(":")[-1]) == (422, "damaged-image"), answer.text


def test_the_gateway_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/api/health/live").json() == {"status": "live"}

    ready = client.get("/api/health/ready")

    assert ready.status_code == 200
    body = ready.json()
    assert body["status"] == "ready"
    for name in ("imagenet", "imagenet-tensor"):
        service = body["services"][name]
        age = service["credentials"].pop("age_seconds")
        assert 0 <= age < 60
        assert service == {
            "status": "ready",
            "service": "serving",
            "channel": "ready",
            "credentials": {"stale": False},
        }
    assert json.dumps(body).count("127.0.0.1") == 0
