"""What the page says and does when something is wrong: a file, the key, the service, the connection."""

import pytest

from devstack.photos import photo
from tests.browser.conftest import Guarded, Visiting

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_broken_file_is_told_among_good_ones(visit: Visiting) -> None:
    tab = await visit()
    cut = photo("rocket").read_bytes()[:20_000]
    await tab.choose(
        {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": cut},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"},
        {"name": "nothing.png", "mimeType": "image/png", "buffer": b""},
        {"name": "coffee.png", "mimeType": "image/png", "buffer": photo("coffee").read_bytes()},
    )

    damaged = await tab.until_failed("cut.jpg")
    assert damaged.splitlines()[0] == "The image is damaged"
    assert "cut short on its way" in damaged  # the remedy
    assert "Request " in damaged  # where to look it up
    assert "Send a photograph as JPEG" in await tab.until_failed("notes.txt")
    assert (await tab.until_failed("nothing.png")).startswith("The file is empty")
    assert await tab.until_scored("coffee.png") == "espresso"
    # Another try would not help.
    assert await tab.page.get_by_role("button", name="Try again").count() == 0
    assert "cut.jpg: The image is damaged." in await tab.spoken()


async def test_a_gateway_that_asks_for_a_key_gets_it_from_this_tab_only(visit: Visiting, guarded: Guarded) -> None:
    tab = await visit(guarded.url)
    await tab.choose(photo("coffee"), photo("rocket"))
    assert "asks for a function key" in await tab.until_failed("coffee.png")
    assert "asks for a function key" in await tab.until_failed("rocket.jpg")

    await tab.page.get_by_role("button", name="Enter the key: coffee.png").click()
    key = tab.page.get_by_label("Function key")
    assert await key.evaluate("input => input === document.activeElement")
    await key.fill("wrong")
    await key.press("Enter")
    await tab.card("coffee.png").get_by_text("The function key is wrong").wait_for()
    await tab.card("rocket.jpg").get_by_text("The function key is wrong").wait_for()
    assert await key.get_attribute("aria-invalid") == "true"

    # All that waited for the key are scored with it.
    await key.fill(guarded.key)
    await key.press("Enter")
    assert await tab.until_scored("coffee.png") == "espresso"
    assert await tab.until_scored("rocket.jpg") == "missile"

    # It outlives a reload, and is not in anything that other tabs see.
    await tab.page.reload()
    assert await key.input_value() == guarded.key
    other = await tab.context.new_page()
    await other.goto(guarded.url)
    assert await other.get_by_label("Function key").input_value() == ""
    assert await other.evaluate("localStorage.length + document.cookie.length") == 0
    assert guarded.key not in await tab.page.content()


async def test_a_key_that_cannot_be_one_is_refused_at_once(visit: Visiting) -> None:
    tab = await visit()
    key = tab.page.get_by_label("Function key")
    await key.fill("schlüssel")
    await key.press("Enter")

    await tab.page.get_by_text("this one holds something else").wait_for()
    assert await key.get_attribute("aria-invalid") == "true"
    assert await tab.page.evaluate("sessionStorage.length") == 0


async def test_a_service_that_is_away_is_told_before_and_after(visit: Visiting, guarded: Guarded) -> None:
    tab = await visit(guarded.url)
    assert await tab.page.locator("#state-text").inner_text() == "Partly ready"
    notice = await tab.page.locator("#notice").inner_text()
    assert notice == "The service imagenet-tensor is not ready: the inference service cannot be reached."
    await tab.page.get_by_label("Function key").fill(guarded.key)
    await tab.page.get_by_role("button", name="Use").click()
    services = tab.page.get_by_label("Service")
    await services.select_option("imagenet-tensor")
    await tab.choose(photo("coffee"))
    problem = await tab.until_failed("coffee.png")
    assert problem.startswith("The inference service cannot be reached")
    assert "Try again shortly" in problem

    # A second try goes to the service that is chosen then.
    await services.select_option("imagenet")
    await tab.page.get_by_role("button", name="Try again: coffee.png").click()
    assert await tab.until_scored("coffee.png") == "espresso"


async def test_a_lost_connection_is_told_and_a_second_try_helps(visit: Visiting) -> None:
    tab = await visit()
    await tab.context.set_offline(True)
    await tab.choose(photo("coffee"))
    problem = await tab.until_failed("coffee.png")
    assert problem.startswith("The gateway can\N{RIGHT SINGLE QUOTATION MARK}t be reached")
    assert "connection, then try again" in problem

    await tab.context.set_offline(False)
    await tab.page.get_by_role("button", name="Try again: coffee.png").click()
    assert await tab.until_scored("coffee.png") == "espresso"
