"""Errors on the page: invalid files, function keys, unavailable services and lost connections."""

import pytest

from devstack.photos import photo
from tests.system.browser.conftest import KeyedGateway, OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_invalid_file_does_not_affect_the_others(open_tab: OpenTab) -> None:
    tab = await open_tab()
    truncated = photo("rocket").read_bytes()[:20_000]
    await tab.choose(
        {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": truncated},
        {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"},
        {"name": "empty.png", "mimeType": "image/png", "buffer": b""},
        {"name": "coffee.png", "mimeType": "image/png", "buffer": photo("coffee").read_bytes()},
    )

    damaged = await tab.until_failed("cut.jpg")
    assert damaged.splitlines()[0] == "The image is damaged"
    assert "truncated in transit" in damaged  # the remedy
    assert "Request " in damaged  # the request id
    assert "Send a photograph as JPEG" in await tab.until_failed("notes.txt")
    assert (await tab.until_failed("empty.png")).startswith("The file is empty")
    assert await tab.until_scored("coffee.png") == "espresso"
    # The requests would fail again.
    assert await tab.page.get_by_role("button", name="Try again").count() == 0
    assert "cut.jpg: The image is damaged." in await tab.announcements()


async def test_the_function_key_is_sent_and_stored_in_this_tab_only(
    open_tab: OpenTab, keyed_gateway: KeyedGateway
) -> None:
    tab = await open_tab(keyed_gateway.url)
    await tab.choose(photo("coffee"), photo("rocket"))
    assert "A function key is required" in await tab.until_failed("coffee.png")
    assert "A function key is required" in await tab.until_failed("rocket.jpg")

    await tab.page.get_by_role("button", name="Enter the key: coffee.png").click()
    key = tab.page.get_by_label("Function key")
    assert await key.evaluate("input => input === document.activeElement")
    await key.fill("wrong")
    await key.press("Enter")
    await tab.card("coffee.png").get_by_text("The function key is wrong").wait_for()
    await tab.card("rocket.jpg").get_by_text("The function key is wrong").wait_for()
    assert await key.get_attribute("aria-invalid") == "true"

    # All pictures that require the key are scored.
    await key.fill(keyed_gateway.key)
    await key.press("Enter")
    assert await tab.until_scored("coffee.png") == "espresso"
    assert await tab.until_scored("rocket.jpg") == "missile"

    # The key is retained after a reload, and not available to other tabs.
    await tab.page.reload()
    assert await key.input_value() == keyed_gateway.key
    other = await tab.context.new_page()
    await other.goto(keyed_gateway.url)
    assert await other.get_by_label("Function key").input_value() == ""
    assert await other.evaluate("localStorage.length + document.cookie.length") == 0
    assert keyed_gateway.key not in await tab.page.content()


async def test_an_invalid_key_is_rejected(open_tab: OpenTab) -> None:
    tab = await open_tab()
    key = tab.page.get_by_label("Function key")
    await key.fill("schlüssel")
    await key.press("Enter")

    await tab.page.get_by_text("this one has other characters").wait_for()
    assert await key.get_attribute("aria-invalid") == "true"
    assert await tab.page.evaluate("sessionStorage.length") == 0


async def test_an_unavailable_service_is_reported(open_tab: OpenTab, keyed_gateway: KeyedGateway) -> None:
    tab = await open_tab(keyed_gateway.url)
    assert await tab.page.locator("#state-text").inner_text() == "Partly ready"
    notice = await tab.page.locator("#notice").inner_text()
    assert notice == "The service imagenet-tensor is not ready: the inference service cannot be reached."
    await tab.page.get_by_label("Function key").fill(keyed_gateway.key)
    await tab.page.get_by_role("button", name="Use").click()
    services = tab.page.get_by_label("Service")
    await services.select_option("imagenet-tensor")
    await tab.choose(photo("coffee"))
    problem = await tab.until_failed("coffee.png")
    assert problem.startswith("The inference service cannot be reached")
    assert "Try again shortly" in problem

    # A retry uses the service that is selected then.
    await services.select_option("imagenet")
    await tab.page.get_by_role("button", name="Try again: coffee.png").click()
    assert await tab.until_scored("coffee.png") == "espresso"


async def test_a_lost_connection_is_reported_and_a_retry_succeeds(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.context.set_offline(True)
    await tab.choose(photo("coffee"))
    problem = await tab.until_failed("coffee.png")
    assert problem.startswith("The gateway can\N{RIGHT SINGLE QUOTATION MARK}t be reached")
    assert "connection, then try again" in problem

    await tab.context.set_offline(False)
    await tab.page.get_by_role("button", name="Try again: coffee.png").click()
    assert await tab.until_scored("coffee.png") == "espresso"
