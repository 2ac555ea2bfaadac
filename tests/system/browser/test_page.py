"""The page: choosing, dropping, pasting and photographing pictures, and their results."""

import base64

import pytest

from devstack.photos import photo
from tests.system.browser.conftest import OpenTab

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_chosen_picture_is_shown_with_labels_and_times(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.choose(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"
    card = tab.card("coffee.png")
    assert await card.locator(".labels li").count() == 5
    best = card.locator(".labels li").first
    assert 90 < float((await best.locator(".percent").inner_text()).rstrip("%")) < 99
    # The bar has the width of the percentage.
    share = "element => element.getBoundingClientRect().width / element.parentElement.getBoundingClientRect().width"
    assert 0.9 < await best.locator(".fill").evaluate(share) < 0.99
    assert await card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 600
    terms = await card.locator(".parts dt").all_inner_texts()
    assert terms[:4] == ["Decode", "Keys", "Wait", "Predict"]
    assert "Scored by imagenet: " in await card.locator(".sum").inner_text()
    assert "coffee.png: espresso, 9" in await tab.announcements()


async def test_several_pictures_have_separate_cards(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.choose(photo("coffee"), photo("rocket"), photo("chelsea"), photo("grace_hopper"))

    assert await tab.until_scored("coffee.png") == "espresso"
    assert await tab.until_scored("rocket.jpg") == "missile"
    assert await tab.until_scored("chelsea.png") in {"tiger cat", "tabby", "Egyptian cat"}
    await tab.until_scored("grace_hopper.jpg")
    assert await tab.page.get_by_role("heading", level=3).all_inner_texts() == [
        "coffee.png",
        "rocket.jpg",
        "chelsea.png",
        "grace_hopper.jpg",
    ]


async def test_later_pictures_are_first_and_pictures_can_be_removed(open_tab: OpenTab) -> None:
    tab = await open_tab()
    await tab.choose(photo("rocket"))
    await tab.choose(photo("coffee"))
    await tab.until_scored("coffee.png")
    await tab.until_scored("rocket.jpg")
    names = tab.page.get_by_role("heading", level=3)
    assert await names.all_inner_texts() == ["coffee.png", "rocket.jpg"]

    await tab.page.get_by_role("button", name="Remove coffee.png").click()
    assert await names.all_inner_texts() == ["rocket.jpg"]
    await tab.page.get_by_role("button", name="Clear all").click()
    assert await names.count() == 0
    assert await tab.page.locator("#results").is_hidden()


async def test_files_can_be_dropped_anywhere(open_tab: OpenTab) -> None:
    tab = await open_tab()
    # Drag and drop events with files, as from the operating system.
    session = await tab.context.new_cdp_session(tab.page)
    data = {"items": [], "files": [str(photo("coffee")), str(photo("rocket"))], "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver"):
        await session.send("Input.dispatchDragEvent", {"type": event, "x": 40, "y": 500, "data": data})
    await tab.page.get_by_text("Drop to score").wait_for()
    await session.send("Input.dispatchDragEvent", {"type": "drop", "x": 40, "y": 500, "data": data})

    assert await tab.until_scored("coffee.png") == "espresso"
    assert await tab.until_scored("rocket.jpg") == "missile"
    assert await tab.page.get_by_text("Drop to score").is_hidden()
    assert tab.page.url.endswith("/")


async def test_a_picture_can_be_pasted(open_tab: OpenTab) -> None:
    tab = await open_tab(permissions=["clipboard-read", "clipboard-write"])
    await tab.page.evaluate(
        """async (base64) => {
            const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
            const picture = new Blob([bytes], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        base64.b64encode(photo("coffee").read_bytes()).decode(),
    )
    await tab.page.keyboard.press("Control+V")

    assert await tab.until_scored("image.png") == "espresso"


async def test_a_phone_can_take_a_photograph(open_tab: OpenTab) -> None:
    tab = await open_tab(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    async with tab.page.expect_file_chooser() as chooser:
        await tab.page.get_by_role("button", name="Take a photo").tap()
    opened = await chooser.value
    assert await opened.element.get_attribute("capture") == "environment"
    await opened.set_files(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"
    fit = await tab.card("coffee.png").locator("img").evaluate("image => getComputedStyle(image).objectFit")
    assert fit == "contain", "the whole picture is shown"


async def test_without_a_touch_screen_there_is_no_camera_button(open_tab: OpenTab) -> None:
    tab = await open_tab()
    assert await tab.page.get_by_text("Take a photo").is_hidden()


async def test_the_service_can_be_chosen(open_tab: OpenTab) -> None:
    tab = await open_tab()
    services = tab.page.get_by_label("Service")
    assert (await services.locator("option").all_inner_texts())[:3] == ["Default", "imagenet", "imagenet-tensor"]
    await services.select_option("imagenet-tensor")
    await tab.choose(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"
    assert "Scored by imagenet-tensor: " in await tab.card("coffee.png").locator(".sum").inner_text()
    assert "/api/services/imagenet-tensor/score" in (await tab.page.locator("#command").text_content())


async def test_a_file_name_with_markup_is_shown_as_text(open_tab: OpenTab) -> None:
    tab = await open_tab()
    name = "<img src=x onerror=alert(1)>.png"
    await tab.choose({"name": name, "mimeType": "image/png", "buffer": photo("coffee").read_bytes()})

    assert await tab.until_scored(name) == "espresso"
    assert await tab.page.locator("h3 img").count() == 0
