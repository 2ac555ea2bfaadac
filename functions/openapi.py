"""GET /api/openapi.json and /api/docs: the HTTP API described, for programs and for people.

Both are made at the first request and kept; a cold start does without them, and without the modules that make them.
"""

import functools
import hashlib
from collections.abc import Mapping

import azure.functions as func

from functions.answers import answered
from functions.site import StaticFile, is_known, takes_gzip

blueprint = func.Blueprint()  # type: ignore[no-untyped-call]  # the package leaves its __init__ untyped

# As strict as the page's, and stricter: there is no script. https://www.w3.org/TR/CSP3/
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS: Mapping[str, str] = {
    # Asked for anew each time, and answered by 304 while it is the same.
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}


@blueprint.route("api/openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi_document(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The OpenAPI document."""

    async def work() -> func.HttpResponse:
        return _send(document(), "application/json", req.headers)

    return await answered(context.invocation_id, work, name="openapi")


@blueprint.route("api/docs", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi_page(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """The same as a page."""

    async def work() -> func.HttpResponse:
        return _send(page(), "text/html; charset=utf-8", req.headers)

    return await answered(context.invocation_id, work, name="openapi")


@functools.cache
def document() -> StaticFile:
    """The OpenAPI document as it is sent."""
    import json  # noqa: PLC0415 - with the others, at the first request

    from functions.openapi_document import build  # noqa: PLC0415 - of no use to a cold start

    return _file(json.dumps(build(), ensure_ascii=False, separators=(",", ":")))


@functools.cache
def page() -> StaticFile:
    """The page as it is sent."""
    from functions.openapi_document import build  # noqa: PLC0415 - as above
    from functions.openapi_page import render  # noqa: PLC0415

    return _file(render(build()))


def _file(text: str) -> StaticFile:
    import gzip  # noqa: PLC0415 - as above

    plain = text.encode()
    return StaticFile(plain, gzip.compress(plain, mtime=0), f'W/"{hashlib.sha256(plain).hexdigest()[:16]}"')


def _send(file: StaticFile, kind: str, wanted: Mapping[str, str]) -> func.HttpResponse:
    headers = {**_HEADERS, "ETag": file.etag}
    if is_known(file.etag, wanted.get("if-none-match", "")):
        return func.HttpResponse(status_code=304, headers=headers)
    headers |= {"Content-Type": kind, "Content-Security-Policy": _POLICY}
    if takes_gzip(wanted.get("accept-encoding", "")):
        return func.HttpResponse(file.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return func.HttpResponse(file.plain, headers=headers)
