"""Stands between a browser and a gateway, and keeps what passes: the browser's tools do not tell what a file became."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

type Handler = Callable[[web.Request], Awaitable[web.Response]]

# What concerns one connection only (RFC 9110, section 7.6.1), or is written anew.
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


@dataclass
class Relay:
    """A relay at ``url``: ``uploads`` are the bodies that were posted, ``sent`` each answer's length by its path."""

    url: str = ""
    uploads: list[bytes] = field(default_factory=list)
    sent: dict[str, int] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def relay_to(gateway: str) -> AsyncIterator[Relay]:
    """Run a relay to a gateway, on a free port."""
    relay = Relay()
    async with aiohttp.ClientSession(gateway, auto_decompress=False) as session:

        async def pass_on(request: web.Request) -> web.Response:
            body = await request.read()
            if request.method == "POST":
                relay.uploads.append(body)
            headers = {name: text for name, text in request.headers.items() if name.lower() not in _HOP_BY_HOP}
            async with session.request(request.method, request.path_qs, headers=headers, data=body or None) as answer:
                content = await answer.read()
                kept = [(name, text) for name, text in answer.headers.items() if name.lower() not in _HOP_BY_HOP]
            relay.sent[request.path] = len(content)
            passed = web.Response(status=answer.status, body=content)
            passed.headers.clear()
            passed.headers.extend(kept)
            return passed

        async with serving(pass_on) as relay.url:
            yield relay


@contextlib.asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    """Run a handler for all paths on loopback; yields its address."""
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
