"""A web app on another origin calls the gateway from a browser, subject to the host's CORS settings."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from devstack.photos import photo
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.conftest import KeyedGateway
from tests.system.browser.recording_proxy import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The app: it sends a picture in a form with a function key, and returns the parts of the response that it can read.
CALL = """async ([address, key, base64]) => {
    const form = new FormData();
    form.append("photo", new Blob([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))]), "coffee.png");
    try {
        const response = await fetch(address, { method: "POST", body: form, headers: { "x-functions-key": key } });
        const timing = response.headers.get("Server-Timing");
        return { status: response.status, body: await response.text(), timing };
    } catch (error) {
        return { error: error.name };
    }
}"""

# As a form of that page does it: the browser sends it without asking the server before.
POST = """async ([address, body]) => {
    await fetch(address, { method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body });
}"""

type Call = Callable[[str, str, str], Awaitable[dict[str, Any]]]


@pytest_asyncio.fixture(loop_scope="module")
async def call(browser: Browser, app_port: int) -> AsyncIterator[Call]:
    """Calls a gateway from the web app at a host name, and the port that the gateway with keys allows."""

    async def serve_page(_: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>A web app</title>", content_type="text/html")

    async with serving(serve_page, app_port):
        context = await browser.new_context()

        async def calling(host: str, gateway: str, key: str) -> dict[str, Any]:
            page = await context.new_page()
            await page.goto(f"http://{host}:{app_port}/")
            picture = base64.b64encode(photo("coffee").read_bytes()).decode()
            response: dict[str, Any] = await page.evaluate(CALL, [f"{gateway}/api/score?top=1", key, picture])
            return response

        yield calling
        await context.close()


async def test_another_origin_cannot_read_a_response_of_the_local_stack(call: Call, stack: StackProcess) -> None:
    """Its settings allow only its own page."""
    assert await call("localhost", stack.url, "any") == {"error": "TypeError"}


@pytest.mark.usefixtures("call")  # which serves the app
async def test_another_origin_cannot_start_a_rotation(browser: Browser, app_port: int, stack: StackProcess) -> None:
    """Such a request needs no preflight, and its response need not be read."""
    page = await browser.new_page()
    await page.goto(f"http://localhost:{app_port}/")
    async with page.expect_response("**/api/rotation") as received:
        await page.evaluate(POST, [f"{stack.url}/api/rotation", '{"rotate_keys": true}'])
    assert (await received.value).status == 403
    await page.close()


async def test_an_allowed_origin_can_call_with_a_key(call: Call, keyed_gateway: KeyedGateway) -> None:
    response = await call("127.0.0.1", keyed_gateway.url, keyed_gateway.key)
    assert (response["status"], '"espresso"' in response["body"]) == (200, True)


async def test_an_allowed_origin_can_read_the_status_for_a_wrong_key(call: Call, keyed_gateway: KeyedGateway) -> None:
    # The preflight request has no key, and succeeds.
    response = await call("127.0.0.1", keyed_gateway.url, "wrong")
    assert (response["status"], response["body"]) == (401, "")


async def test_another_origin_cannot_read_the_response(call: Call, keyed_gateway: KeyedGateway) -> None:
    # Another host name of the same server is another origin.
    assert await call("localhost", keyed_gateway.url, keyed_gateway.key) == {"error": "TypeError"}


async def test_an_allowed_origin_can_read_server_timing(call: Call, keyed_gateway: KeyedGateway) -> None:
    # The hosts set no Access-Control-Expose-Headers, but return that of the function.
    response = await call("127.0.0.1", keyed_gateway.url, keyed_gateway.key)
    assert "total;dur=" in (response["timing"] or "")
