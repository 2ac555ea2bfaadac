"""A proxy that records requests and responses, because browser tools do not report the content of uploaded files."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

type Handler = Callable[[web.Request], Awaitable[web.Response]]

# Headers that only apply to one connection (RFC 9110, section 7.6.1), or that are set again.
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@dataclass
class RecordingProxy:
    """A proxy at ``url``: ``uploads`` are the bodies of POST requests, ``sent`` the lengths of responses by path."""

    url: str = ""
    uploads: list[bytes] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def proxy_to(gateway: str) -> AsyncIterator[RecordingProxy]:
    """Run a proxy to a gateway on a free port."""
    proxy = RecordingProxy()
    async with aiohttp.ClientSession(gateway, auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            body = await request.read()
            if request.method == "POST":
                proxy.uploads.append(body)
            headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP_BY_HOP}
            async with session.request(request.method, request.path_qs, headers=headers, data=body or None) as received:
                content = await received.read()
                end_to_end = [
                    (name, text) for name, text in received.headers.items() if name.lower() not in _HOP_BY_HOP
                ]
            proxy.sent[request.path] = len(content)
            response = web.Response(status=received.status, body=content)
            response.headers.clear()
            response.headers.extend(end_to_end)
            return response

        async with serving(forward) as proxy.url:
            yield proxy


@contextlib.asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """Run a handler of all paths on loopback; yields its URL."""
    app = web.Application(client_max_size=100_000_000)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_address=True)
        await site.start()
        host, bound = runner.addresses[0][:2]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()
