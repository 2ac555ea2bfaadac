"""The description of the HTTP API as a page: whole, quiet, strict, light, and there for everyone."""

from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request

from functions import openapi_document
from tests.browser.access import outlined, violations
from tests.browser.conftest import PATIENCE, Visit
from tests.browser.relay import relay_to
from tests.conftest import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = openapi_document.build()
OPERATIONS = {
    found["operationId"]: (method.upper(), path, found)
    for path, item in DOCUMENT["paths"].items()
    for method, found in item.items()
    if method != "head"
}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"

# What a keyboard can reach, of what is shown.
STOPS = """() => [...document.querySelectorAll("a[href], summary, pre, [tabindex='0']")]
    .filter((element) => element.checkVisibility())
    .map((element, index) => { element.dataset.stop = index; return String(index); })"""

# What can only be read by scrolling it sideways, or cannot be read at all.
CUT_OFF = """() => [...document.querySelectorAll("main *")]
    .filter((element) => element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1)
    .map((element) => element.outerHTML.slice(0, 200))"""

type Opening = Callable[..., Any]


@pytest_asyncio.fixture(loop_scope="module")
async def docs(browser: Browser, stack: Stack) -> AsyncIterator[Opening]:
    """Opens the page in a new profile; afterwards nothing may have complained or asked for anything elsewhere."""
    visits: list[Visit] = []
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    async def open_page(fragment: str = "", url: str = "", **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        context.set_default_timeout(PATIENCE)
        made = Visit(await context.new_page(), context)
        visits.append(made)
        made.page.on("console", made.hear)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.on("request", note)
        await made.page.goto(f"{url or stack.url}/api/docs{fragment}")
        return made.page

    yield open_page
    for each in visits:
        await each.context.close()
    assert [complaint for each in visits for complaint in each.complaints] == []
    assert {urlsplit(url).hostname for url in asked} <= {"localhost", "127.0.0.1"}
    assert {urlsplit(url).path for url in asked} == {
        "/api/docs",
        "/web/style.css",
        "/web/docs.css",
        "/web/icon.svg",
    }


async def test_every_operation_is_told_whole(docs: Opening) -> None:
    page = await docs()
    shown = page.locator("details.operation")
    assert await shown.count() == len(OPERATIONS)
    assert await page.locator("details[open]").count() == 0

    await page.evaluate(OPEN_ALL)
    for name, (method, path, found) in OPERATIONS.items():
        one = shown.filter(has=page.locator(f"#{name}"))
        assert await one.get_by_role("heading", level=3).inner_text() == f"{method} {path}"
        assert found["summary"] in await one.locator("summary").first.inner_text()
        assert await one.locator(".status").all_inner_texts() == list(found["responses"])
        assert all([await status.is_visible() for status in await one.locator(".status").all()])


async def test_the_policy_is_as_strict_as_can_be_and_holds(browser: Browser, stack: Stack) -> None:
    page = await browser.new_page()  # not by docs, after whose visits nothing may have been refused
    try:
        answer = await page.goto(f"{stack.url}/api/docs")
        assert answer
        rules = dict(rule.split(" ", 1) for rule in (await answer.all_headers())["content-security-policy"].split("; "))
        assert rules == {
            "default-src": "'none'",
            "style-src": "'self'",
            "img-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert await page.locator("script, style, [style]").count() == 0
        colour = "getComputedStyle(document.body).backgroundColor"
        before = await page.evaluate(colour)
        await page.evaluate("document.body.setAttribute('style', 'background: red')")
        assert await page.evaluate(colour) == before
    finally:
        await page.close()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
async def test_axe_finds_no_barrier(docs: Opening, scheme: str, viewport: dict[str, int]) -> None:
    page = await docs(color_scheme=scheme, viewport=viewport)
    await page.evaluate(OPEN_ALL)
    assert await violations(page) == []


@pytest.mark.parametrize("width", [320, 360, 700, 720, 1280])
async def test_nothing_needs_scrolling_sideways(docs: Opening, width: int) -> None:
    page = await docs(viewport={"width": width, "height": 740})
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.evaluate(OPEN_ALL)
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await page.evaluate(CUT_OFF) == []


async def test_on_a_narrow_screen_a_table_is_read_as_one_still(docs: Opening) -> None:
    page = await docs("#score", viewport=NARROW)
    row = page.locator("#score").get_by_role("row", name="top").first
    cells = await row.get_by_role("cell").all_inner_texts()
    assert [cells[0], cells[1]] == ["top", "query"]
    boxes = [await cell.bounding_box() for cell in await row.get_by_role("cell").all()]
    tops = [box["y"] for box in boxes if box]
    assert len(tops) == 4
    assert tops == sorted(set(tops))  # one below another


async def test_the_keyboard_reaches_everything_and_is_seen_there(docs: Opening) -> None:
    page = await docs()
    await page.locator("details.operation").first.evaluate("(details) => { details.open = true; }")
    stops = await page.evaluate(STOPS)
    assert len(stops) > len(OPERATIONS)

    reached = []
    for _ in stops:
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.dataset.stop"))
        assert await outlined(page), await page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    assert reached == stops


async def test_enter_opens_and_closes(docs: Opening) -> None:
    page = await docs()
    first = page.locator("details.operation").first
    await first.locator("summary").first.focus()
    await page.keyboard.press("Enter")
    assert await first.locator(".inside").first.is_visible()
    await page.keyboard.press("Enter")
    assert not await first.locator(".inside").first.is_visible()


async def test_the_operations_can_be_skipped_to(docs: Opening) -> None:
    page = await docs()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the operations")
    assert await skip.evaluate("(link) => link === document.activeElement")
    assert (await skip.bounding_box() or {"y": -1})["y"] >= 0
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert "POST /api/score" in await page.evaluate("document.activeElement.innerText")


async def test_a_link_opens_what_it_leads_to(docs: Opening) -> None:
    page = await docs("#score")
    await page.locator("#score").get_by_role("link", name="Images", exact=True).click()
    assert await page.locator("#schema-Images").is_visible()
    assert await page.locator("#schema-Images").evaluate(
        "(element) => { const box = element.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight; }"
    )


async def test_dark_and_light_follow_the_system(docs: Opening) -> None:
    page = await docs(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(await page.evaluate(background)) < 60
    await page.emulate_media(color_scheme="light")
    assert min(await page.evaluate(background)) > 230


async def test_what_it_weighs(docs: Opening, stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    async with relay_to(stack.url) as relay:
        page = await docs(url=relay.url)
        total = sum(relay.sent.values())
        with capsys.disabled():
            print(f"\nthe page of the HTTP API: {total} bytes over the wire, {relay.sent['/api/docs']} of them its own")
        assert total < 25_000

        relay.sent.clear()
        await page.reload()
        again = {path: size for path, size in relay.sent.items() if "icon" not in path}  # that one comes when it likes
        assert set(again.values()) == {0}, again  # known already: 304
