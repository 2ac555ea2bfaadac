"""HTTP responses: JSON, problem documents, headers and internal errors."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest
from azure.functions.http import HttpResponseConverter
from azure.functions.meta import Datum

from functions.http.problems import anonymous_problem_response, problem_response, respond
from functions.http.responses import FastResponse, data_response, json_response
from shared.errors import Misconfigured, UnknownService, VaultThrottled


async def responded(work: Callable[[], Awaitable[func.HttpResponse]]) -> func.HttpResponse:
    request = func.HttpRequest("POST", "http://localhost/api/score", headers={"X-Request-Id": "an-id"}, body=b"")
    invocation: Any = SimpleNamespace(invocation_id="the-host-s")
    response = await respond(request, invocation, work, name="score")
    assert response.headers["X-Request-Id"] == "an-id"
    return response


def headers(response: func.HttpResponse) -> dict[str, str]:
    return dict(response.headers)


def test_a_json_response_must_be_neither_cached_nor_sniffed() -> None:
    response = json_response({"label": "été"}, headers={"Server-Timing": "x"})

    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.get_body() == '{"label":"été"}'.encode()
    assert headers(response) == {
        "content-type": "application/json",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Access-Control-Expose-Headers": "Server-Timing, Retry-After, X-Request-Id, Model-Version, Scoring-Service, "
        "Inference-Header-Content-Length",
        "Server-Timing": "x",
    }


def test_a_lone_surrogate_in_a_name_is_replaced() -> None:
    assert json.loads(json_response({"file": "\ud83d.jpg"}).get_body()) == {"file": "\N{REPLACEMENT CHARACTER}.jpg"}


def test_a_problem_document_has_detail_and_remedy() -> None:
    response = problem_response(Misconfigured("SERVICES lists no service.", settings=["SERVICES"]), "an-id")

    assert response.status_code == 500
    assert response.mimetype == "application/problem+json"
    assert json.loads(response.get_body()) == {
        "type": "urn:problem-type:scoring-gateway:misconfigured",
        "title": "The gateway's settings are wrong",
        "status": 500,
        "detail": "SERVICES lists no service.",
        "remedy": "Correct the app settings that are named, and restart the function app.",
        "settings": ["SERVICES"],
        "request_id": "an-id",
    }


def test_retry_after_is_in_whole_seconds() -> None:
    assert headers(problem_response(VaultThrottled("x", retry_after=0.2), "id"))["Retry-After"] == "1"
    assert headers(problem_response(VaultThrottled("x", retry_after=6.5), "id"))["Retry-After"] == "7"
    assert "Retry-After" not in headers(problem_response(UnknownService("x"), "id"))


async def test_a_client_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> func.HttpResponse:
        raise UnknownService("There is no 'x'.")

    assert (await responded(work)).status_code == 404
    assert not caplog.records


async def test_a_server_fault_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> func.HttpResponse:
        raise Misconfigured("SERVICES lists no service.")

    await responded(work)

    [line] = map(json.loads, caplog.messages)
    assert (line["endpoint"], line["request_id"], line["problem"]) == ("score", "an-id", "misconfigured")
    assert line["detail"] == "SERVICES lists no service."


async def test_an_internal_error_is_a_problem_document_without_contents(caplog: pytest.LogCaptureFixture) -> None:
    def inner() -> func.HttpResponse:
        raise KeyError("a secret")

    async def work() -> func.HttpResponse:
        return inner()

    response = await responded(work)

    assert response.status_code == 500
    assert json.loads(response.get_body())["type"].endswith(":internal-error")
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    line = json.loads(record.getMessage())
    path = r"functions/http/problems\.py:\d+ > tests/unit/http/test_responses\.py:\d+ > .*test_responses\.py:\d+"
    assert (line["request_id"], line["problem"]) == ("an-id", "internal-error")
    assert re.fullmatch(rf"KeyError at {path}", line["detail"]), line
    assert b"secret" not in response.get_body()
    assert "secret" not in caplog.text


async def test_a_cancellation_is_passed_on_only_if_the_request_itself_is_cancelled() -> None:
    async def cancelled() -> func.HttpResponse:
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        raise AssertionError

    async def endless() -> func.HttpResponse:
        await asyncio.sleep(60)
        raise AssertionError

    response = await responded(cancelled)
    assert (response.status_code, json.loads(response.get_body())["type"].rpartition(":")[2]) == (500, "internal-error")

    request = asyncio.create_task(responded(endless))
    await asyncio.sleep(0)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


def test_an_anonymous_problem_document_has_the_meaning_of_its_type_as_detail() -> None:
    response = anonymous_problem_response(Misconfigured("PORT is 'x'.", settings=["PORT"]), "an-id")

    assert json.loads(response.get_body()) == {
        "type": "urn:problem-type:scoring-gateway:misconfigured",
        "title": "The gateway's settings are wrong",
        "status": 500,
        "detail": Misconfigured.meaning,
        "remedy": Misconfigured.remedy,
        "request_id": "an-id",
    }


def test_the_fast_response_overrides_every_public_member_of_the_base_class() -> None:
    """The exception is the charset, which only applies to strings. New members in the package fail this test."""
    public = {name for name in vars(func.HttpResponse) if not name.startswith("_")}

    assert {name for name in vars(FastResponse) if not name.startswith("_")} == public - {"charset"}


def test_the_fast_response_is_encoded_like_the_base_class() -> None:
    body, fields = b"{}", {"content-type": "application/json", "Retry-After": "1"}
    responses = (
        func.HttpResponse(body, status_code=503, headers=fields, mimetype="application/json"),
        FastResponse(body, 503, fields),
    )

    expected, actual = (plain(HttpResponseConverter.encode(one, expected_type=None)) for one in responses)

    assert actual == expected


def plain(value: Any) -> Any:
    """A value that the package passes to the worker, as built-in types."""
    if isinstance(value, Datum):
        return value.type, plain(value.value)
    return {name: plain(one) for name, one in value.items()} if isinstance(value, dict) else value


def test_a_body_of_bytes_has_its_media_type() -> None:
    response = data_response(b"x", "application/octet-stream", headers={"A": "b"})

    assert (response.get_body(), response.mimetype, response.headers["A"]) == (b"x", "application/octet-stream", "b")
