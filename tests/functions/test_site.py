"""The page's files as they are served: types, versions, compression, and the policies around them."""

import gzip
import re
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import httpx
import pytest

import function_app
from functions import site
from tests.conftest import ROOT

WEB = ROOT / "web"


async def get(name: str = "", **headers: str) -> func.HttpResponse:
    """A file of the page, or the page itself, without a host around it."""
    function: Any = site.web_static if name else site.web_page
    given = {header.replace("_", "-"): text for header, text in headers.items()}
    params = {"file": name} if name else {}
    request = func.HttpRequest("GET", "http://localhost/", headers=given, route_params=params, body=b"")
    answer = await function.build().get_user_function()(req=request, context=SimpleNamespace(invocation_id="0"))
    assert isinstance(answer, func.HttpResponse)
    return answer


@pytest.mark.parametrize("file", sorted(WEB.iterdir()), ids=lambda file: file.name)
async def test_every_file_of_the_page_is_served_as_what_it_is(file: Any) -> None:
    answer = await get(file.name)
    assert (answer.status_code, answer.get_body()) == (200, file.read_bytes())
    kind = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}[file.suffix]
    assert answer.headers["Content-Type"].split(";")[0] == kind


async def test_the_bare_address_shows_the_page() -> None:
    assert (await get()).get_body() == (WEB / "index.html").read_bytes()


@pytest.mark.parametrize("name", ["../function_app.py", "..", "app.py", "INDEX.HTML", "/etc/passwd", "a" * 5000, "\0"])
async def test_nothing_else_is_served(name: str) -> None:
    answer = await get(name)
    assert (answer.status_code, answer.get_body()) == (404, b"")


async def test_what_is_known_already_is_not_sent_again() -> None:
    etag = (await get()).headers["ETag"]
    strong = etag.removeprefix("W/")
    for known in (etag, strong, f'"other", {etag}', "*"):
        answer = await get(if_none_match=known)
        assert (answer.status_code, answer.get_body(), answer.headers["ETag"]) == (304, b"", etag)
    for other in ('"other"', "", 'W/"other"', etag.strip('W/"')):
        assert (await get(if_none_match=other)).status_code == 200


async def test_versions_differ_from_file_to_file() -> None:
    etags = {(await get(file.name)).headers["ETag"] for file in WEB.iterdir()}
    assert len(etags) == len(list(WEB.iterdir()))


@pytest.mark.parametrize("wish", ["gzip", "deflate, GZIP;q=0.5, br", "br,gzip ; q=1"])
async def test_who_takes_gzip_gets_it(wish: str) -> None:
    answer = await get(accept_encoding=wish)
    assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert gzip.decompress(answer.get_body()) == (WEB / "index.html").read_bytes()


@pytest.mark.parametrize("wish", ["", "identity", "gzip;q=0", "gzip; q=0.0", "br, *;q=0.1", "x-gzipped"])
async def test_who_does_not_gets_the_file_as_it_is(wish: str) -> None:
    answer = await get(accept_encoding=wish)
    assert "Content-Encoding" not in answer.headers
    assert answer.get_body() == (WEB / "index.html").read_bytes()


async def test_every_file_goes_out_under_the_same_strict_policies() -> None:
    for name in ("", "app.js", "icon.svg"):
        headers = (await get(name)).headers
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' blob: data:",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-cache"


def test_all_of_it_is_smaller_than_a_hundred_kilobytes() -> None:
    assert sum(file.stat().st_size for file in WEB.iterdir()) < 100_000


def test_nothing_is_brought_from_elsewhere() -> None:
    namespace = "http://www.w3.org/2000/svg"
    for file in WEB.iterdir():
        links = {link.rstrip("/.") for link in re.findall(r"https?://[\w./-]+", file.read_text(encoding="utf-8"))}
        documented = {"https://www.w3.org/TR/server-timing"}  # in a comment
        assert links <= {namespace, *documented}, file.name


class Page(HTMLParser):
    """What a policy without 'unsafe-inline' would refuse, and what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.references: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        if tag == "style" or (tag == "script" and "src" not in names):
            self.inline.append(tag)
        self.inline += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        self.references |= {value for name, value in attrs if name in {"src", "href"} and value}


def test_nothing_is_inline_and_every_reference_leads_somewhere() -> None:
    page = Page()
    page.feed((WEB / "index.html").read_text(encoding="utf-8"))
    assert page.inline == []
    served = {f"web/{file.name}" for file in WEB.iterdir()}
    assert {reference for reference in page.references if not reference.startswith("#")} <= served
    for script in WEB.glob("*.js"):
        imported = re.findall(r'from "\./([^"]+)"', script.read_text(encoding="utf-8"))
        assert {f"web/{name}" for name in imported} <= page.references, "each is loaded ahead"


def test_the_pages_functions_are_tried_after_all_others() -> None:
    # The host takes the first whose route fits, in the order of the names.
    names = sorted(str(function.get_function_name()).upper() for function in function_app.app.get_functions())
    assert names[-2:] == ["WEB_PAGE", "WEB_STATIC"]


def test_the_host_shows_the_page_instead_of_its_own(client: httpx.Client) -> None:
    for path in ("/", "", "/?from=mail"):
        answer = client.get(path)
        assert (answer.status_code, "<title>Scoring Gateway</title>" in answer.text) == (200, True)
    assert client.get("/web/app.js").headers["Content-Type"].startswith("text/javascript")
    head = client.head("/")
    assert (head.status_code, head.content) == (200, b"")
    known = client.get("/", headers={"If-None-Match": head.headers["ETag"]})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/web/..%2ffunction_app.py", "/web/%2e%2e/function_app.py", "/web/", "/web/nothing.js", "/other"]
)
def test_the_host_shows_nothing_else(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (404, b"")
