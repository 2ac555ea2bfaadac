"""The page as people use it: choosing, dropping, pasting and photographing pictures."""

import base64

import pytest

from devstack.photos import photo
from tests.browser.conftest import Visiting

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_chosen_picture_is_shown_with_its_labels_and_its_times(visit: Visiting) -> None:
    tab = await visit()
    await tab.choose(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"
    card = tab.card("coffee.png")
    assert await card.locator(".labels li").count() == 5
    best = card.locator(".labels li").first
    assert 90 < float((await best.locator(".percent").inner_text()).rstrip("%")) < 99
    # The bar says what the number says.
    share = "element => element.getBoundingClientRect().width / element.parentElement.getBoundingClientRect().width"
    assert 0.9 < await best.locator(".fill").evaluate(share) < 0.99
    assert await card.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 600
    terms = await card.locator(".parts dt").all_inner_texts()
    assert terms[:4] == ["Decode", "Keys", "Wait", "Predict"]
    assert "Scored by imagenet: " in await card.locator(".sum").inner_text()
    assert "coffee.png: espresso, 9" in await tab.spoken()


async def test_several_pictures_are_scored_each_by_itself(visit: Visiting) -> None:
    tab = await visit()
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


async def test_what_comes_later_stands_first_and_can_be_removed(visit: Visiting) -> None:
    tab = await visit()
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


async def test_files_can_be_dropped_anywhere(visit: Visiting) -> None:
    tab = await visit()
    # As the system tells the browser of files that are dragged over it, and let go.
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


async def test_a_picture_can_be_pasted(visit: Visiting) -> None:
    tab = await visit(permissions=["clipboard-read", "clipboard-write"])
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


async def test_a_phone_can_take_a_photograph(visit: Visiting) -> None:
    tab = await visit(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800})
    async with tab.page.expect_file_chooser() as chooser:
        await tab.page.get_by_role("button", name="Take a photo").tap()
    opened = await chooser.value
    assert await opened.element.get_attribute("capture") == "environment"
    await opened.set_files(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"


async def test_with_a_mouse_alone_no_camera_is_offered(visit: Visiting) -> None:
    tab = await visit()
    assert await tab.page.get_by_text("Take a photo").is_hidden()


async def test_the_service_can_be_chosen(visit: Visiting) -> None:
    tab = await visit()
    services = tab.page.get_by_label("Service")
    assert (await services.locator("option").all_inner_texts())[:3] == ["Default", "imagenet", "imagenet-tensor"]
    await services.select_option("imagenet-tensor")
    await tab.choose(photo("coffee"))

    assert await tab.until_scored("coffee.png") == "espresso"
    assert "Scored by imagenet-tensor: " in await tab.card("coffee.png").locator(".sum").inner_text()
    assert "/api/services/imagenet-tensor/score" in (await tab.page.locator("#command").text_content())


async def test_a_name_that_looks_like_markup_stays_text(visit: Visiting) -> None:
    tab = await visit()
    name = "<img src=x onerror=alert(1)>.png"
    await tab.choose({"name": name, "mimeType": "image/png", "buffer": photo("coffee").read_bytes()})

    assert await tab.until_scored(name) == "espresso"
    assert await tab.page.locator("h3 img").count() == 0
