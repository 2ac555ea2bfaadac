"""The page of the HTTP API in a browser: its content, policy, accessibility, layout and size."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.conftest import ROOT
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.accessibility import has_visible_focus, violations
from tests.system.browser.conftest import OpenTab
from tests.system.browser.recording_proxy import proxy_to

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENT = json.loads((ROOT / "web" / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {
    found["operationId"]: (method.upper(), path, found)
    for path, item in DOCUMENT["paths"].items()
    for method, found in item.items()
}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
OPEN_ALL = "document.querySelectorAll('details').forEach((details) => { details.open = true; })"

# The visible elements that the Tab key can reach, in their order.
STOPS = """() => [...document.querySelectorAll("a[href], summary, pre, [tabindex='0']")]
    .filter((element) => element.checkVisibility())
    .map((element, index) => { element.dataset.stop = index; return String(index); })"""

# Elements whose content is cut off, or can only be read by scrolling sideways.
CUT_OFF = """() => [...document.querySelectorAll("main *")]
    .filter((element) => element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1)
    .map((element) => element.outerHTML.slice(0, 200))"""


@pytest_asyncio.fixture(loop_scope="module")
async def docs(new_tab: OpenTab, stack: StackProcess) -> AsyncIterator[OpenTab]:
    """Opens the page in a new tab; at the end, there must be no requests to other addresses."""
    requested: list[str] = []

    async def open_page(fragment: str = "", url: str = "", **options: Any) -> Any:
        tab = await new_tab(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
        tab.page.on("request", lambda request: requested.append(request.url))
        await tab.page.goto(f"{url or stack.url}/api/docs{fragment}")
        return tab.page

    yield open_page
    assert {urlsplit(url).hostname for url in requested} <= {"localhost", "127.0.0.1"}
    paths = {"/api/docs", "/web/style.css", "/web/docs.css", "/web/icon.svg"}
    assert {urlsplit(url).path for url in requested} == paths


async def test_every_operation_is_shown_completely(docs: OpenTab) -> None:
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


async def test_the_policy_is_strict_and_enforced(browser: Browser, stack: StackProcess) -> None:
    page = await browser.new_page()  # not docs, which allows no policy violation
    try:
        response = await page.goto(f"{stack.url}/api/docs")
        assert response
        rules = dict(
            rule.split(" ", 1) for rule in (await response.all_headers())["content-security-policy"].split("; ")
        )
        none = dict.fromkeys(("default-src", "base-uri", "form-action", "frame-ancestors"), "'none'")
        assert rules == {**none, "style-src": "'self'", "img-src": "'self'"}
        assert await page.locator("script, style, [style]").count() == 0
        colour = "getComputedStyle(document.body).backgroundColor"
        before = await page.evaluate(colour)
        await page.evaluate("document.body.setAttribute('style', 'background: red')")
        assert await page.evaluate(colour) == before
    finally:
        await page.close()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
async def test_axe_finds_no_violations(docs: OpenTab, scheme: str, viewport: dict[str, int]) -> None:
    page = await docs(color_scheme=scheme, viewport=viewport)
    await page.evaluate(OPEN_ALL)
    assert await violations(page) == []


@pytest.mark.parametrize("width", [320, 360, 700, 720, 1280])
async def test_nothing_needs_scrolling_sideways(docs: OpenTab, width: int) -> None:
    page = await docs(viewport={"width": width, "height": 740})
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    await page.evaluate(OPEN_ALL)
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert await page.evaluate(CUT_OFF) == []


async def test_a_narrow_screen_shows_table_rows_as_blocks(docs: OpenTab) -> None:
    page = await docs("#score", viewport=NARROW)
    row = page.locator("#score").get_by_role("row", name="top").first
    cells = await row.get_by_role("cell").all_inner_texts()
    assert [cells[0], cells[1]] == ["top", "query"]
    boxes = [await cell.bounding_box() for cell in await row.get_by_role("cell").all()]
    tops = [box["y"] for box in boxes if box]
    assert len(tops) == 4
    assert tops == sorted(set(tops))  # one below another


async def test_the_keyboard_reaches_every_control_with_a_visible_focus(docs: OpenTab) -> None:
    page = await docs()
    await page.locator("details.operation").first.evaluate("(details) => { details.open = true; }")
    stops = await page.evaluate(STOPS)
    assert len(stops) > len(OPERATIONS)

    reached = []
    for _ in stops:
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.dataset.stop"))
        assert await has_visible_focus(page), await page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    assert reached == stops


async def test_enter_expands_and_collapses(docs: OpenTab) -> None:
    page = await docs()
    first = page.locator("details.operation").first
    await first.locator("summary").first.focus()
    await page.keyboard.press("Enter")
    assert await first.locator(".inside").first.is_visible()
    await page.keyboard.press("Enter")
    assert not await first.locator(".inside").first.is_visible()


async def test_a_skip_link_leads_to_the_operations(docs: OpenTab) -> None:
    page = await docs()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the operations")
    assert await skip.evaluate("(link) => link === document.activeElement")
    assert (await skip.bounding_box() or {"y": -1})["y"] >= 0
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert "POST /api/score" in await page.evaluate("document.activeElement.innerText")


async def test_a_link_expands_its_target(docs: OpenTab) -> None:
    page = await docs("#score_json")
    await page.locator("#score_json").get_by_role("link", name="ImageList", exact=True).click()
    assert await page.locator("#schema-ImageList").is_visible()
    assert await page.locator("#schema-ImageList").evaluate(
        "(element) => { const box = element.getBoundingClientRect(); return box.top >= 0 && box.top < innerHeight; }"
    )


async def test_the_color_scheme_follows_the_system(docs: OpenTab) -> None:
    page = await docs(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(await page.evaluate(background)) < 60
    await page.emulate_media(color_scheme="light")
    assert min(await page.evaluate(background)) > 230


async def test_the_page_is_small_and_cached(
    docs: OpenTab, stack: StackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    async with proxy_to(stack.url) as proxy:
        page = await docs(url=proxy.url)
        total = sum(proxy.sent.values())
        with capsys.disabled():
            print(f"\nthe page of the HTTP API: {total} bytes transferred, {proxy.sent['/api/docs']} of them its HTML")
        assert total < 25_000

        proxy.sent.clear()
        await page.reload()
        again = {path: size for path, size in proxy.sent.items() if "icon" not in path}  # requested at any time
        assert set(again.values()) == {0}, again  # 304 Not Modified
