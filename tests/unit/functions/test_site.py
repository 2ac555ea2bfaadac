"""The static files: their types, versions, compression and policies."""

import gzip
import re
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import pytest

import function_app
from functions import site
from tests.conftest import ROOT
from tests.support.html_page import Page

WEB = ROOT / "web"
GENERATED = {"openapi.json": site.openapi_document, "docs.html": site.openapi_page}
FILES = sorted(file.name for file in WEB.iterdir())
PAGE_FILES = [name for name in FILES if name not in GENERATED]
PAGES = {"index.html": site.web_page, "operations.html": site.operations_page}
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}


async def get(name: str = "", function: Any = None, **headers: str) -> func.HttpResponse:
    """The function's response to a request for a file, or for the page itself."""
    function = function or GENERATED.get(name, site.web_static if name else site.web_page)
    request = func.HttpRequest(
        "GET",
        "http://localhost/",
        headers={header.replace("_", "-"): text for header, text in headers.items()},
        route_params={"file": name} if name else {},
        body=b"",
    )
    response = await function.build().get_user_function()(req=request, context=SimpleNamespace(invocation_id="0"))
    assert isinstance(response, func.HttpResponse)
    return response


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_with_its_type(name: str) -> None:
    file, response = WEB / name, await get(name)
    assert (response.status_code, response.get_body()) == (200, file.read_bytes())
    assert response.headers["Content-Type"].split(";")[0] == TYPES[file.suffix]


@pytest.mark.parametrize("name", PAGES)
async def test_each_page_has_an_address_of_its_own(name: str) -> None:
    response = await get(function=PAGES[name])
    assert response.get_body() == (WEB / name).read_bytes()
    assert response.headers["Content-Security-Policy"] == (await get(name)).headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["../function_app.py", "..", "app.py", "INDEX.HTML", "/etc/passwd", "a" * 5000, "\0"])
async def test_other_files_are_not_found(name: str) -> None:
    response = await get(name)
    assert (response.status_code, response.get_body()) == (404, b"")


@pytest.mark.parametrize("name", ["", *GENERATED])
async def test_the_current_version_is_not_modified(name: str) -> None:
    etag = (await get(name)).headers["ETag"]
    strong = etag.removeprefix("W/")
    for value in (etag, strong, f'"other", {etag}', "*"):
        response = await get(name, if_none_match=value)
        assert (response.status_code, response.get_body(), response.headers["ETag"]) == (304, b"", etag)
    for other in ('"other"', "", 'W/"other"', etag.strip('W/"')):
        assert (await get(name, if_none_match=other)).status_code == 200


async def test_each_file_has_its_own_etag() -> None:
    assert len({(await get(name)).headers["ETag"] for name in FILES}) == len(FILES)


@pytest.mark.parametrize("name", ["", *GENERATED])
@pytest.mark.parametrize("accepted", ["gzip", "deflate, GZIP;q=0.5, br", "br,gzip ; q=1"])
async def test_clients_that_accept_gzip_receive_it(name: str, accepted: str) -> None:
    response = await get(name, accept_encoding=accepted)
    assert (response.headers["Content-Encoding"], response.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(response.get_body()) == (WEB / (name or "index.html")).read_bytes()


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "gzip; q=0.0", "br, *;q=0.1", "x-gzipped"])
async def test_other_clients_receive_the_file_uncompressed(accepted: str) -> None:
    response = await get(accept_encoding=accepted)
    assert "Content-Encoding" not in response.headers
    assert response.get_body() == (WEB / "index.html").read_bytes()


COMMON_POLICY = {
    "default-src": "'none'",
    "style-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
PAGE_POLICY = {"script-src": "'self'", "img-src": "'self' blob: data:", "connect-src": "'self'"}
DOCUMENT_POLICY = {"img-src": "'self'"}


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        *((name, PAGE_POLICY) for name in ("", "app.js", "icon.svg", "operations.html", "operations.js")),
        *((name, DOCUMENT_POLICY) for name in GENERATED),
    ],
)
async def test_every_file_has_strict_policies(name: str, policy: dict[str, str]) -> None:
    headers = (await get(name)).headers
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules == {**COMMON_POLICY, **policy}
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-cache"


def test_the_page_is_smaller_than_a_hundred_kilobytes() -> None:
    assert sum((WEB / name).stat().st_size for name in PAGE_FILES) < 100_000


def test_the_page_refers_to_no_other_host() -> None:
    for name in PAGE_FILES:
        text = (WEB / name).read_text(encoding="utf-8")
        links = {link.rstrip("/.") for link in re.findall(r"https?://[\w./-]+", text)}
        # An XML namespace, and a specification in a comment.
        assert links <= {"http://www.w3.org/2000/svg", "https://www.w3.org/TR/server-timing"}, name


def scripts(page: Page) -> set[str]:
    """The scripts of a page: those that it links, and what they import."""
    found = [link for link in page.links if link.endswith(".js")]
    for script in found:
        text = (WEB.parent / script).read_text(encoding="utf-8")
        found += [one for name in re.findall(r'from "\./([^"]+)"', text) if (one := f"web/{name}") not in found]
    return set(found)


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_inline_and_every_reference_has_a_target(name: str) -> None:
    page = Page((WEB / name).read_text(encoding="utf-8"))
    assert page.inline == []
    served = {f"web/{name}" for name in PAGE_FILES} | {"./", "api/docs"}
    assert {link for link in page.links if not link.startswith("#")} <= served
    assert scripts(page) <= page.links, "each is preloaded"


def test_the_functions_of_the_page_sort_last() -> None:
    # The host uses the first function, in the order of their names, whose route matches.
    names = sorted(str(function.get_function_name()).upper() for function in function_app.app.get_functions())
    assert names[-2:] == ["WEB_PAGE", "WEB_STATIC"]
