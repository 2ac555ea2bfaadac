"""What the page costs: its own bytes, and those of the pictures that it sends."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import pytest_asyncio
from PIL import Image

from devstack.photos import photo
from tests.browser.conftest import Visiting
from tests.browser.relay import Relay, relay_to
from tests.conftest import Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def relay(stack: Stack) -> AsyncIterator[Relay]:
    """A relay to the gateway, that tells what passed."""
    async with relay_to(stack.url) as made:
        yield made


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """A cup of coffee in twelve megapixels, with the noise of a camera."""
    with Image.open(photo("coffee")) as coffee:
        picture = coffee.convert("RGB").resize((4242, 2828), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 6, (2828, 4242, 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


async def test_the_page_weighs_less_than_a_small_picture(visit: Visiting, relay: Relay) -> None:
    await visit(relay.url)

    page = {path: size for path, size in relay.sent.items() if not path.startswith("/api/")}
    assert {"/", "/web/app.js", "/web/style.css"} <= set(page)
    assert sum(page.values()) < 20_000  # compressed; tests/functions/test_site.py bounds what it is unpacked


async def test_a_second_visit_brings_nothing_again(visit: Visiting, relay: Relay) -> None:
    tab = await visit(relay.url)
    relay.sent.clear()
    await tab.page.reload()
    await tab.page.locator("#state[data-state=ready]").wait_for()

    page = {path: size for path, size in relay.sent.items() if not path.startswith("/api/") and "icon" not in path}
    assert page
    assert set(page.values()) == {0}


async def test_a_large_photograph_is_made_smaller_and_upright(
    visit: Visiting, relay: Relay, scene: Image.Image, tmp_path: Path
) -> None:
    # As a camera that is held upright stores it: lying on its side, with a note to turn it to the right.
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "IMG_0001.jpg", quality=92, exif=exif)
    assert (tmp_path / "IMG_0001.jpg").stat().st_size > 3_000_000
    tab = await visit(relay.url)
    await tab.choose(tmp_path / "IMG_0001.jpg")

    assert await tab.until_scored("IMG_0001.jpg") == "espresso"
    [sent] = relay.uploads
    assert len(sent) <= 300_000
    assert (await tab.card("IMG_0001.jpg").locator(".meta").inner_text()).endswith(f"sent as {len(sent) / 1000:.0f} KB")
    with Image.open(io.BytesIO(sent)) as picture:
        # What is sent carries no note any more: it stands upright by itself.
        assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (960, 640), {})
        difference = np.asarray(picture, float) - np.asarray(scene.resize((960, 640), Image.Resampling.BOX), float)
    assert np.abs(difference).mean() < 4


async def test_noise_that_does_not_compress_is_made_smaller_still(visit: Visiting, relay: Relay) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (500, 900, 4), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise, "RGBA").save(content, "PNG", compress_level=1)
    tab = await visit(relay.url)
    await tab.choose({"name": "noise.png", "mimeType": "image/png", "buffer": content.getvalue()})

    await tab.until_scored("noise.png")
    [sent] = relay.uploads
    assert len(sent) <= 300_000
    with Image.open(io.BytesIO(sent)) as picture:
        assert min(picture.size) >= 256


async def test_a_small_picture_goes_as_it_is(visit: Visiting, relay: Relay) -> None:
    tab = await visit(relay.url)
    await tab.choose(photo("rocket"))

    await tab.until_scored("rocket.jpg")
    assert relay.uploads == [photo("rocket").read_bytes()]


async def test_a_format_that_the_browser_cannot_read_goes_as_it_is(
    visit: Visiting, relay: Relay, scene: Image.Image
) -> None:
    content = io.BytesIO()
    cup = np.asarray(scene.crop((900, 300, 3500, 2700)).resize((520, 480)))
    grainy = (cup + np.random.default_rng(1).normal(0, 40, (480, 520, 1))).clip(0, 255).astype(np.uint8)
    pillow_heif.from_pillow(Image.fromarray(grainy)).save(content, quality=100)
    assert len(content.getvalue()) > 300_000
    tab = await visit(relay.url)
    await tab.choose({"name": "phone.heic", "mimeType": "", "buffer": content.getvalue()})

    assert await tab.until_scored("phone.heic") in {"espresso", "cup"}
    assert relay.uploads == [content.getvalue()]
    # There is nothing to show but what kind of file it is.
    assert await tab.card("phone.heic").locator("img").count() == 0
