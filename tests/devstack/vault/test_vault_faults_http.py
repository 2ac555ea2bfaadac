"""Faults on demand, as a client of the vault meets them."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

FAULTS = "/_devstack/faults"


@pytest.fixture(autouse=True)
def faulty(http: httpx.Client) -> Iterator[None]:
    http.put("/secrets/faulty", json={"value": "v"}).raise_for_status()
    yield
    http.delete(FAULTS).raise_for_status()


def switch(http: httpx.Client, **fault: Any) -> None:
    http.put(FAULTS, json=fault).raise_for_status()


def test_a_throttled_request_is_told_when_to_come_back(http: httpx.Client) -> None:
    switch(http, mode="throttle", retry_after=7, count=1)

    answer = http.get("/secrets/faulty")

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert answer.json() == {
        "error": {
            "code": "Throttled",
            "message": "Request was not processed because too many requests were received. "
            "Reason: VaultRequestTypeLimitReached",
        }
    }
    assert http.get("/secrets/faulty").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", "/secrets/faulty", "get"),
        ("GET", "/secrets", "list"),
        ("PATCH", "/secrets/faulty", "set"),
        ("DELETE", "/secrets/faulty", "delete"),
    ],
)
def test_a_forbidden_request_is_told_the_permission_it_lacks(
    http: httpx.Client, method: str, path: str, operation: str
) -> None:
    switch(http, mode="forbid")

    answer = http.request(method, path)

    error = answer.json()["error"]
    assert answer.status_code == 403
    assert (error["code"], error["innererror"]) == ("Forbidden", {"code": "ForbiddenByPolicy"})
    assert f"does not have secrets {operation} permission on key vault '127.0.0.1;" in error["message"]
    assert error["message"].startswith("The user, group or application 'appid=")


def test_an_error_is_a_500_for_the_named_secret_alone(http: httpx.Client) -> None:
    switch(http, mode="error", secrets=["faulty"])

    answer = http.get("/secrets/faulty")

    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "InternalServerError")
    assert http.get("/secrets").status_code == 200


def test_a_hanging_request_never_answers_and_blocks_nobody(http: httpx.Client) -> None:
    switch(http, mode="hang", secrets=["faulty"])

    with pytest.raises(httpx.ReadTimeout):
        http.get("/secrets/faulty", timeout=0.3)

    assert http.get("/secrets").status_code == 200


def test_a_slow_request_gets_its_right_answer_body_and_all(http: httpx.Client) -> None:
    switch(http, mode="slow", delay=0.05, count=1)

    answer = http.put("/secrets/faulty", json={"value": "late"})

    assert answer.json()["value"] == http.get("/secrets/faulty").json()["value"] == "late"


def test_the_fault_can_be_read_and_ended(http: httpx.Client) -> None:
    switch(http, mode="throttle", count=3, secrets=["Faulty"])
    http.get("/secrets/faulty")

    assert http.get(FAULTS).json() == {
        "mode": "throttle",
        "retry_after": 1,
        "delay": 1.0,
        "count": 2,
        "secrets": ["faulty"],
    }
    assert http.delete(FAULTS).json() == http.get(FAULTS).json() == {}
    assert http.get("/secrets/faulty").status_code == 200


def test_nobody_switches_faults_without_a_token(http: httpx.Client) -> None:
    answer = http.put(FAULTS, json={"mode": "error"}, headers={"Authorization": ""})

    assert answer.status_code == 401
    assert http.get("/secrets/faulty").status_code == 200


def test_a_request_without_a_token_does_not_use_up_a_fault(http: httpx.Client) -> None:
    switch(http, mode="error", count=1)

    assert http.get("/secrets/faulty", headers={"Authorization": ""}).status_code == 401
    assert http.get("/secrets/faulty").status_code == 500
