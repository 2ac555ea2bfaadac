"""GET / and /web/{file}: the page for people, and the few files that it is made of.

The host takes the first function whose route fits, in the order of their names: these sort last, after all others.
"""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import azure.functions as func

from functions.answers import answered

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

_FOLDER = Path(__file__).parent.parent / "web"
_PAGE = "index.html"

# All that is served. An address names one of these, or nothing: it never becomes a path.
_FILES = frozenset(
    (
        _PAGE,
        "app.js",
        "card.js",
        "cards.css",
        "controls.css",
        "docs.css",
        "gateway.js",
        "icon.svg",
        "pictures.js",
        "style.css",
    )
)

_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Everything comes from this gateway; pictures also from the device that shows the page. Nothing is inline, and nobody
# may frame the page: a function key is typed into it. https://www.w3.org/TR/CSP3/
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Mapping[str, str] = {
    # Asked for anew each time, and answered by 304 while it is the same: after a deployment, no old script meets a new
    # page.
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent. ``etag`` is weak: it stands for both forms, plain and compressed."""

    plain: bytes
    compressed: bytes
    etag: str


@blueprint.route(
    # The one template that matches the bare address: an empty one leaves it to the host's own home page.
    "{ignored:maxlength(0)?}",
    methods=["GET", "HEAD"],
    auth_level=func.AuthLevel.ANONYMOUS,
)
async def web_page(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The page."""
    return await _answer(req, context, _PAGE)


@blueprint.route("web/{file}", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
async def web_static(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """A file of the page."""
    return await _answer(req, context, req.route_params["file"])


async def _answer(req: func.HttpRequest, context: func.Context, name: str) -> func.HttpResponse:
    async def work() -> func.HttpResponse:
        return _serve(name, req.headers)

    return await answered(context.invocation_id, work, name="site")


def _serve(name: str, wanted: Mapping[str, str]) -> func.HttpResponse:
    if name not in _FILES:
        # As the host answers for an address that no function has.
        return func.HttpResponse(status_code=404)
    file = load(name)
    headers = {**_HEADERS, "ETag": file.etag}
    if is_known(file.etag, wanted.get("if-none-match", "")):
        return func.HttpResponse(status_code=304, headers=headers)
    headers |= {"Content-Type": _TYPES[Path(name).suffix], "Content-Security-Policy": _POLICY}
    if takes_gzip(wanted.get("accept-encoding", "")):
        return func.HttpResponse(file.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return func.HttpResponse(file.plain, headers=headers)


@functools.cache
def load(name: str) -> StaticFile:
    """Read a file of the page, once; what is deployed does not change while it runs."""
    # A cold start that shows no page does without.
    import gzip  # noqa: PLC0415

    plain = (_FOLDER / name).read_bytes()
    return StaticFile(plain, gzip.compress(plain, mtime=0), f'W/"{hashlib.sha256(plain).hexdigest()[:16]}"')


def is_known(etag: str, if_none_match: str) -> bool:
    """Whether the client has this version already (RFC 9110, section 13.1.2: compared weakly)."""
    tags = [tag.strip() for tag in if_none_match.split(",")]
    return "*" in tags or etag in (f"W/{tag.removeprefix('W/')}" for tag in tags)


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the client takes gzip (RFC 9110, section 12.5.3); a star alone is no wish."""
    for choice in accept_encoding.lower().split(","):
        coding, _, weight = choice.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
