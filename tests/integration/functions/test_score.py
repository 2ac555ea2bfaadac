"""The scoring routes: which service, which options, several images of which some are bad, and the list of services."""

import base64
import json
from typing import Any

import azure.functions as func
import pytest

from functions import score as scoring
from tests.support.app import OTHER_PICTURE, PICTURE, Response, call_function, score
from tests.support.protocol_client import ProtocolClient

pytestmark = pytest.mark.usefixtures("endpoints")

JSON = "application/json"


def images(*files: object, **options: object) -> bytes:
    texts = [base64.b64encode(file).decode() if isinstance(file, bytes) else file for file in files]
    return json.dumps({"images": texts, **options}).encode()


def predictions(response: Response) -> list[Any]:
    assert response.status == 200, response.body
    found: list[Any] = response.json["predictions"]
    return found


@pytest.mark.parametrize(
    ("service", "query", "scored_by"),
    [("", "", "cats"), ("", "pixels", "pixels"), ("pixels", "", "pixels"), ("pixels", "pixels", "pixels")],
)
async def test_the_service_is_chosen_by_the_address_or_the_query(service: str, query: str, scored_by: str) -> None:
    response = await score(PICTURE, "image/jpeg", service=service, query={"service": query} if query else {})

    assert response.json["service"] == scored_by


async def test_two_services_in_one_request_are_an_error() -> None:
    response = await score(PICTURE, "image/jpeg", service="pixels", query={"service": "cats"})

    assert (response.status, response.problem) == (400, "invalid-parameter")
    assert "the service of the address, 'pixels', or none" in response.json["detail"]


async def test_a_misspelled_service_is_answered_by_the_names_there_are() -> None:
    response = await score(PICTURE, "image/jpeg", query={"service": "cat"})

    assert (response.status, response.problem) == (404, "unknown-service")
    assert response.json["detail"].endswith("its services are: cats, pixels. Did you mean 'cats'?")


@pytest.mark.parametrize(
    ("body", "query", "labels"),
    [
        (images(PICTURE), {}, 5),
        (images(PICTURE, top=2), {}, 2),
        (images(PICTURE, top=2), {"top": "3"}, 3),
        (images(PICTURE, threshold="1"), {}, 0),
    ],
)
async def test_options_are_members_of_the_body_or_the_query(body: bytes, query: dict[str, str], labels: int) -> None:
    [prediction] = predictions(await score(body, JSON, query=query))

    assert len(prediction["labels"]) == labels


@pytest.mark.parametrize("service", ["cats", "pixels"])
async def test_with_partial_each_image_has_its_labels_or_its_problem(service: str) -> None:
    body = images(PICTURE, b"no image", "!", OTHER_PICTURE, "", partial=True)

    found = predictions(await score(body, JSON, service=service))

    assert [one["file"] for one in found] == [f"images[{index}]" for index in range(5)]
    slugs = [one.get("problem", {}).get("type", "").rpartition(":")[2] for one in found]
    assert slugs == ["", "unsupported-image", "malformed-base64", "", "empty-body"]
    assert [bool(one["labels"]) for one in found] == [not slug for slug in slugs]
    assert all(one["problem"]["detail"] and one["problem"]["remedy"] for one in found if "problem" in one)


@pytest.mark.parametrize("query", [{}, {"partial": "false"}])
async def test_without_partial_one_bad_image_is_the_problem_of_all(query: dict[str, str]) -> None:
    response = await score(images(PICTURE, b"no image"), JSON, query=query)

    assert (response.status, response.problem) == (422, "unsupported-image")
    assert (response.json["file"], response.json["index"]) == ("images[1]", 1)


async def test_with_partial_a_fault_of_the_service_is_that_of_the_request(endpoints: ProtocolClient) -> None:
    await endpoints.service.stop(0)

    response = await score(images(PICTURE, b"no image", partial=True), JSON, headers={"Request-Timeout-Ms": "300"})

    assert (response.status, response.problem) == (503, "service-unreachable")


async def test_unknown_parameters_are_named_once_and_ignored() -> None:
    response = await score(PICTURE, "image/jpeg", query={"treshold": "0.5", "top": "1", "a\nb": "", "code": "key"})

    assert len(predictions(response)[0]["labels"]) == 1
    assert response.headers["ignored-parameters"] == "treshold"


async def test_the_services_are_listed_with_what_they_accept(endpoints: ProtocolClient) -> None:
    request = func.HttpRequest("GET", "http://localhost/api/services", body=b"")

    async def listed() -> list[Any]:
        services: list[Any] = (await call_function(scoring.services, request)).json["services"]
        return services

    cats = {"name": "cats", "model": "", "default": True, "accepts": "encoded", "returns": "classes", "status": "ready"}
    assert await listed() == [cats, {**cats, "name": "pixels", "default": False, "accepts": "tensor"}]
    await endpoints.service.stop(0)
    assert {service["status"] for service in await listed()} == {"not-ready"}
