"""The static files: GET /, /operations and /web/{file} are the web pages, /api/openapi.json and /api/docs the API
documentation.

The host uses the first function whose route matches, in the order of the functions' names: those of the web page sort
last, after all others. The documentation is generated during development (``make openapi``).
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import azure.functions as func

from functions.http.problems import respond

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

_FOLDER = Path(__file__).parent.parent / "web"
_PAGE, _OPERATIONS, _DOCUMENT, _DOCUMENT_PAGE = "index.html", "operations.html", "openapi.json", "docs.html"

# The files of the web pages. A requested name is one of these or not found: it never becomes part of a path.
_FILES = frozenset(
    (
        _PAGE,
        _OPERATIONS,
        "app.js",
        "card.js",
        "cards.css",
        "controls.css",
        "docs.css",
        "gateway.js",
        "icon.svg",
        "operations-view.js",
        "operations-words.js",
        "operations.css",
        "operations.js",
        "pictures.js",
        "style.css",
    )
)

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}

# Content-Security-Policy (https://www.w3.org/TR/CSP3/): nothing inline, nothing from elsewhere, and no embedding in
# frames, because users enter a function key on the page. The documentation has no script.
_COMMON_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_DOCUMENT_POLICY = f"{_COMMON_POLICY}; img-src 'self'"
_PAGE_POLICY = f"{_COMMON_POLICY}; img-src 'self' blob: data:; script-src 'self'; connect-src 'self'"

_HEADERS: Mapping[str, str] = {
    # Clients revalidate each time, so that after a deployment no old script is used by a new page.
    "Cache-Control": "no-cache",
    # No page elsewhere gets a handle of this window, or embeds these files.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


class StaticFile(NamedTuple):
    """A file and its response headers. The ETag is weak: it identifies the plain and the compressed form alike."""

    plain: bytes
    compressed: bytes
    headers: Mapping[str, str]


@blueprint.route(
    # The one template that matches the bare address: with an empty one, the host shows its own home page.
    "{ignored:maxlength(0)?}",
    methods=["GET", "HEAD"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def web_page(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The web page."""
    return await _respond(req, context, _PAGE)


@blueprint.route("operations", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def operations_page(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page for whoever operates the gateway; what it shows needs the master key."""
    return await _respond(req, context, _OPERATIONS)


@blueprint.route("web/{file}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def web_static(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """A file of the web pages."""
    name = req.route_params["file"]
    if name not in _FILES:
        # As the host responds where no route matches.
        return func.HttpResponse(status_code=404)
    return await _respond(req, context, name)


@blueprint.route("api/openapi.json", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi_document(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The OpenAPI document."""
    return await _respond(req, context, _DOCUMENT)


@blueprint.route("api/docs", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi_page(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The OpenAPI document as a web page."""
    return await _respond(req, context, _DOCUMENT_PAGE)


async def _respond(req: func.HttpRequest, context: func.Context, name: str) -> func.HttpResponse:
    async def work() -> func.HttpResponse:
        return _serve(_load(name), req.headers)

    return await respond(req, context, work, name="site")


def _serve(file: StaticFile, request_headers: Mapping[str, str]) -> func.HttpResponse:
    if _matches(file.headers["ETag"], request_headers.get("if-none-match", "")):
        return func.HttpResponse(status_code=304, headers=file.headers)
    if _accepts_gzip(request_headers.get("accept-encoding", "")):
        return func.HttpResponse(file.compressed, headers={**file.headers, "Content-Encoding": "gzip"})
    return func.HttpResponse(file.plain, headers=file.headers)


@functools.cache
def _load(name: str) -> StaticFile:
    """Read a file once: deployed files do not change while the app runs."""
    import gzip  # noqa: PLC0415 - a cold start that serves no file does not need it

    plain = (_FOLDER / name).read_bytes()
    headers = {
        **_HEADERS,
        "Content-Type": _TYPES[Path(name).suffix],
        "Content-Security-Policy": _PAGE_POLICY if name in _FILES else _DOCUMENT_POLICY,
        "ETag": f'W/"{hashlib.sha256(plain).hexdigest()[:16]}"',
    }
    return StaticFile(plain, gzip.compress(plain, mtime=0), headers)


def _matches(etag: str, if_none_match: str) -> bool:
    """Whether the client has this version already (RFC 9110, section 13.1.2: weak comparison)."""
    tags = [tag.strip() for tag in if_none_match.split(",")]
    return "*" in tags or etag in (f"W/{tag.removeprefix('W/')}" for tag in tags)


def _accepts_gzip(accept_encoding: str) -> bool:
    """Whether the client accepts gzip (RFC 9110, section 12.5.3) by name; ``*`` does not count."""
    for choice in accept_encoding.lower().split(","):
        coding, _, weight = choice.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
