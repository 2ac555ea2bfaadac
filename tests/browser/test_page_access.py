"""The page for everyone: by keyboard alone, by ear, on a narrow screen, in the dark."""

import pytest
from playwright.async_api import Page

from devstack.photos import photo
from tests.browser.access import outlined, violations
from tests.browser.conftest import Visit, Visiting

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROKEN = {"name": "broken.jpg", "mimeType": "image/jpeg", "buffer": b"\xff\xd8\xff\xe0 and no more"}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 640}


async def show_all_states(tab: Visit) -> None:
    """Have a card of each kind, and nothing in motion."""
    await tab.choose(photo("coffee"))
    await tab.until_scored("coffee.png")
    await tab.choose(BROKEN)
    await tab.until_failed("broken.jpg")


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light-wide", "dark-narrow"])
async def test_axe_finds_no_barrier(visit: Visiting, scheme: str, viewport: dict[str, int]) -> None:
    tab = await visit(color_scheme=scheme, viewport=viewport, reduced_motion="reduce")
    assert await violations(tab.page) == []
    await show_all_states(tab)
    await tab.page.locator("summary").click()
    assert await violations(tab.page) == []


async def test_the_keyboard_alone_is_enough(visit: Visiting) -> None:
    tab = await visit()
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
        assert await outlined(tab.page), order[-1]
    assert order == ["Service", "Function key", "Use", "Clear all", "Remove coffee.png", "Remove rocket.jpg"]

    # What had the focus is gone; the focus stays near.
    await press("Shift+Tab")
    await press("Enter")
    assert await focused(tab.page) == "Remove rocket.jpg"
    await press("Space")
    assert await focused(tab.page) == "Choose pictures"
    assert "coffee.png removed" in await tab.spoken()


async def test_results_can_be_skipped_to(visit: Visiting) -> None:
    tab = await visit()
    await tab.choose(photo("coffee"))
    await tab.until_scored("coffee.png")
    await tab.page.keyboard.press("Shift+Tab")
    assert await focused(tab.page) == "Skip to the results"
    await tab.page.keyboard.press("Enter")
    await tab.page.keyboard.press("Tab")
    assert await focused(tab.page) == "Clear all"


async def test_those_who_listen_are_told_what_happens(visit: Visiting) -> None:
    tab = await visit()
    await show_all_states(tab)
    told = await tab.spoken()

    assert "Scoring coffee.png" in told
    assert "coffee.png: espresso, 9" in told
    assert "broken.jpg: The image is damaged. " in told
    heard = await tab.page.locator("main").aria_snapshot()
    assert 'heading "coffee.png" [level=3]' in heard
    assert "espresso 9" in heard  # a label and its share, in one breath


async def test_a_narrow_screen_needs_no_scrolling_sideways(visit: Visiting) -> None:
    tab = await visit(viewport=NARROW, has_touch=True, is_mobile=True, reduced_motion="reduce")
    await show_all_states(tab)
    assert await tab.page.evaluate("document.querySelector('.card').getBoundingClientRect().top < innerHeight / 2")
    long = {"name": "a-very-long-name-" * 8 + ".png", "mimeType": "image/png", "buffer": photo("coffee").read_bytes()}
    await tab.choose(long)
    await tab.until_scored(long["name"])

    assert await tab.page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    # A finger needs room: 44 CSS pixels.
    for button in await tab.page.locator("button:visible").all():
        box = await button.bounding_box()
        assert box
        assert min(box["width"], box["height"]) >= 44, await button.inner_text()


async def test_dark_and_light_follow_the_system(visit: Visiting) -> None:
    tab = await visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    assert max(await tab.page.evaluate(background)) < 60
    await tab.page.emulate_media(color_scheme="light")
    assert min(await tab.page.evaluate(background)) > 230


async def focused(page: Page) -> str:
    """The name of what has the focus, as it is told to those who listen."""
    name: str = await page.evaluate(
        """() => {
            const element = document.activeElement;
            return element.getAttribute("aria-label") ?? element.labels?.[0]?.textContent ?? element.textContent;
        }"""
    )
    return name
