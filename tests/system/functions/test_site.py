"""The static files as the Functions host serves them."""

import httpx
import pytest

from tests.conftest import ROOT


def test_the_host_shows_the_page_instead_of_its_own(client: httpx.Client) -> None:
    for path in ("/", "", "/?from=mail"):
        response = client.get(path)
        assert (response.status_code, "<title>Scoring Gateway</title>" in response.text) == (200, True)
    assert client.get("/web/app.js").headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    ("path", "name", "content_type"),
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/operations", "operations.html", "text/html; charset=utf-8"),
        ("/web/style.css", "style.css", "text/css; charset=utf-8"),
        ("/api/openapi.json", "openapi.json", "application/json"),
        ("/api/docs", "docs.html", "text/html; charset=utf-8"),
    ],
)
def test_the_host_serves_files_and_their_versions(
    client: httpx.Client, path: str, name: str, content_type: str
) -> None:
    response = client.get(path)
    assert (response.status_code, response.content) == (200, (ROOT / "web" / name).read_bytes())
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for each in (response, head):
        assert each.headers["Content-Type"] == content_type
        assert each.headers["ETag"] == response.headers["ETag"]
    known = client.get(path, headers={"If-None-Match": head.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/web/..%2ffunction_app.py", "/web/%2e%2e/function_app.py", "/web/", "/web/nothing.js", "/other"),
        "/web/docs.html",
    ],
)
def test_the_host_shows_nothing_else(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.content) == (404, b"")
