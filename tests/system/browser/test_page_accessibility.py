"""Accessibility of the page: keyboard, screen readers, narrow screens and colour schemes."""

import pytest
from playwright.async_api import Page

from devstack.photos import photo
from tests.system.browser.accessibility import has_visible_focus, violations
from tests.system.browser.conftest import OpenTab, Tab

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROKEN = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0 and no more"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 640}


async def show_all_states(tab: Tab) -> None:
    """Show a scored and a failed card."""
    await tab.choose(photo("coffee"))
    await tab.until_scored("coffee.png")
    await tab.choose(BROKEN)
    await tab.until_failed("broken.jpg")


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
async def test_axe_finds_no_violations(open_tab: OpenTab, scheme: str, viewport: dict[str, int]) -> None:
    tab = await open_tab(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    assert await violations(tab.page) == []
    await show_all_states(tab)
    await tab.page.locator("summary").click()
    assert await violations(tab.page) == []


async def test_the_page_can_be_used_with_the_keyboard(open_tab: OpenTab) -> None:
    tab = await open_tab()
    press = tab.page.keyboard.press
    await press("Tab")
    assert await focused(tab.page) == "Choose pictures"
    async with tab.page.expect_file_chooser() as chooser:
        await press("Enter")
    await (await chooser.value).set_files([photo("coffee"), photo("rocket")])
    await tab.until_scored("coffee.png")
    await tab.until_scored("rocket.jpg")

    order = []
    for _ in range(6):
        await press("Tab")
        order.append(await focused(tab.page))
        assert await has_visible_focus(tab.page), order[-1]
    assert order == ["Service", "Function key", "Use", "Clear all", "Remove coffee.png", "Remove rocket.jpg"]

    # When the focused element is removed, the focus moves to an adjacent one.
    await press("Shift+Tab")
    await press("Enter")
    assert await focused(tab.page) == "Remove rocket.jpg"
    await press("Space")
    assert await focused(tab.page) == "Choose pictures"
    assert "coffee.png removed" in await tab.announcements()


async def test_a_skip_link_leads_to_the_results(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.choose(photo("coffee"))
    await tab.until_scored("coffee.png")
    await tab.page.keyboard.press("Shift+Tab")
    assert await focused(tab.page) == "Skip to the results"
    await tab.page.keyboard.press("Enter")
    await tab.page.keyboard.press("Tab")
    assert await focused(tab.page) == "Clear all"


async def test_screen_readers_announce_progress_and_results(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await show_all_states(tab)
    announced = await tab.announcements()

    assert "Scoring coffee.png" in announced
    assert "coffee.png: espresso, 9" in announced
    assert "broken.jpg: The image is damaged. " in announced
    tree = await tab.page.locator("main").aria_snapshot()
    assert 'heading "coffee.png" [level=3]' in tree
    assert "espresso 9" in tree  # a label and its percentage


async def test_a_narrow_screen_requires_no_horizontal_scrolling(open_tab: OpenTab) -> None:
    tab = await open_tab(viewport=NARROW, has_touch=True, is_mobile=True, reduced_motion="reduce")
    await show_all_states(tab)
    assert await tab.page.evaluate("document.querySelector('.card').getBoundingClientRect().top < innerHeight / 2")
    long = {"name": "a-very-long-name-" * 8 + ".png", "mimeType": "image/png", "buffer": photo("coffee").read_bytes()}
    await tab.choose(long)
    await tab.until_scored(long["name"])

    assert await tab.page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    # Touch targets have at least 44 CSS pixels.
    for button in await tab.page.locator("button:visible").all():
        box = await button.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44, await button.inner_text()


async def test_the_color_scheme_follows_the_system(open_tab: OpenTab) -> None:
    tab = await open_tab(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(await tab.page.evaluate(background)) < 60
    await tab.page.emulate_media(color_scheme="light")
    assert min(await tab.page.evaluate(background)) > 230


async def focused(page: Page) -> str:
    """The accessible name of the focused element."""
    name: str = await page.evaluate(
        """() => {
            const element = document.activeElement;
            return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
        }"""
    )
    return name
