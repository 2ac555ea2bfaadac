"""A web app on another origin calls the gateway from a browser, as far as the host's CORS settings let it."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser

from devstack.photos import photo
from tests.browser.conftest import Guarded
from tests.browser.relay import serving
from tests.conftest import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

# The app: it sends a picture in a form, with a function key, and tells what it could see of the answer.
CALL = """async ([address, key, base64]) => {
    const form = new FormData();
    form.append("photo", new Blob([Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))]), "coffee.png");
    try {
        const answer = await fetch(address, { method: "POST", body: form, headers: { "x-functions-key": key } });
        const timing = answer.headers.get("Server-Timing");
        return { status: answer.status, body: await answer.text(), timing };
    } catch (error) {
        return { refused: error.name };
    }
}"""

type Call = Callable[[str, str, str], Awaitable[dict[str, Any]]]


@pytest_asyncio.fixture(loop_scope="module")
async def call(browser: Browser, friend_port: int) -> AsyncIterator[Call]:
    """Calls a gateway from the web app at a host name; its port is the one that the guarded gateway trusts."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(text="<!DOCTYPE html><title>A web app</title>", content_type="text/html")

    async with serving(show, friend_port):
        context = await browser.new_context()

        async def calling(host: str, gateway: str, key: str) -> dict[str, Any]:
            page = await context.new_page()
            await page.goto(f"http://{host}:{friend_port}/")
            picture = base64.b64encode(photo("coffee").read_bytes()).decode()
            answer: dict[str, Any] = await page.evaluate(CALL, [f"{gateway}/api/score?top=1", key, picture])
            return answer

        yield calling
        await context.close()


async def test_any_origin_may_call_where_the_settings_say_so(call: Call, stack: Stack) -> None:
    answer = await call("localhost", stack.url, "any")
    assert (answer["status"], '"espresso"' in answer["body"]) == (200, True)


async def test_an_origin_that_is_named_may_call_with_its_key(call: Call, guarded: Guarded) -> None:
    answer = await call("127.0.0.1", guarded.url, guarded.key)
    assert (answer["status"], '"espresso"' in answer["body"]) == (200, True)


async def test_a_wrong_key_is_told_to_an_origin_that_is_named(call: Call, guarded: Guarded) -> None:
    # The preflight carries no key, and is answered all the same.
    answer = await call("127.0.0.1", guarded.url, "wrong")
    assert (answer["status"], answer["body"]) == (401, "")


async def test_another_origin_learns_nothing(call: Call, guarded: Guarded) -> None:
    # Another name for the same server is another origin.
    assert await call("localhost", guarded.url, guarded.key) == {"refused": "TypeError"}


async def test_the_times_can_be_read_from_another_origin(call: Call, stack: Stack) -> None:
    # The hosts expose no header by themselves, but let the function's own Access-Control-Expose-Headers pass.
    answer = await call("localhost", stack.url, "any")
    assert "total;dur=" in (answer["timing"] or "")
