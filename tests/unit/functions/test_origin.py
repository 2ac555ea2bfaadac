"""``POST /api/rotation`` and web pages: on a developer's machine no key protects it."""

import azure.functions as func
import pytest

from functions import rotation
from functions.http.origin import check_origin
from shared.errors import ForeignOrigin
from tests.support import app
from tests.support.documented_errors import matches_example

LOCAL, AZURE = "localhost:7071", "my-app.azurewebsites.net"
JSON = {"content-type": "application/json"}


def request(body: bytes = b"{}", **headers: str) -> func.HttpRequest:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpRequest("POST", "http://localhost/api/rotation", headers=given, body=body)


@pytest.mark.parametrize(
    ("own", "headers", "body"),
    [
        (LOCAL, {"host": LOCAL, **JSON}, b"{}"),
        (LOCAL, {"host": "127.0.0.1:7071", "content-type": "Application/JSON; charset=utf-8"}, b"{}"),
        (LOCAL, {"host": "[::1]:7071"}, b""),
        (LOCAL, {"host": LOCAL, "origin": "http://localhost:7071", **JSON}, b"{}"),
        (AZURE, {"host": "scores.example"}, b"{}"),
        (AZURE, {"host": "scores.example", "origin": "https://scores.example", "content-type": "text/plain"}, b"{}"),
        ("", {"host": "10.0.0.4:8080"}, b"{}"),
    ],
)
def test_other_programs_and_own_pages_are_served(
    own: str, headers: dict[str, str], body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSITE_HOSTNAME", own)

    check_origin(request(body, **headers))


@pytest.mark.parametrize(
    ("own", "headers"),
    [
        (LOCAL, {"host": LOCAL, "origin": "https://evil.example", **JSON}),
        (LOCAL, {"host": LOCAL, "origin": "null", **JSON}),
        (LOCAL, {"host": LOCAL, "origin": "http://localhost:3000", **JSON}),
        (LOCAL, {"host": LOCAL, "origin": "http://localhost:7071.evil.example", **JSON}),
        (LOCAL, {"host": "evil.example:7071", "origin": "http://evil.example:7071", **JSON}),
        (LOCAL, {"host": "localhost.evil.example", **JSON}),
        (LOCAL, {**JSON}),
        (LOCAL, {"host": LOCAL, "content_type": "text/plain"}),
        (LOCAL, {"host": LOCAL}),
        (AZURE, {"host": "scores.example", "origin": "https://evil.example", **JSON}),
        ("", {"host": "10.0.0.4:8080", "origin": "https://evil.example", **JSON}),
    ],
)
def test_what_a_foreign_page_can_send_is_refused(
    own: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBSITE_HOSTNAME", own)

    with pytest.raises(ForeignOrigin):
        check_origin(request(b"{}", **headers))


async def test_a_rotation_is_not_started_by_a_foreign_page() -> None:
    """Before anything is read: there are no settings here."""
    response = await app.call_function(rotation.rotation_run, request(host=LOCAL, origin="https://evil.example"))

    assert response.status == 403
    assert matches_example("foreign-origin", response.json)
