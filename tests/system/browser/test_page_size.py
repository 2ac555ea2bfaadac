"""The transferred bytes: of the page's files, and of the pictures that it sends."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
import pytest_asyncio
from PIL import Image

from devstack.photos import photo
from tests.support.devstack.stack_process import StackProcess
from tests.system.browser.conftest import OpenTab
from tests.system.browser.recording_proxy import RecordingProxy, proxy_to

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def proxy(stack: StackProcess) -> AsyncIterator[RecordingProxy]:
    """A recording proxy to the gateway."""
    async with proxy_to(stack.url) as running:
        yield running


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """A photograph of twelve megapixels with noise."""
    with Image.open(photo("coffee")) as coffee:
        picture = coffee.convert("RGB").resize((4242, 2828), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(1).normal(0, 6, (2828, 4242, 1))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


async def test_the_page_has_less_than_20_kilobytes(open_tab: OpenTab, proxy: RecordingProxy) -> None:
    await open_tab(proxy.url)

    page = {path: size for path, size in proxy.sent.items() if not path.startswith("/api/")}
    assert {"/", "/web/app.js", "/web/style.css"} <= set(page)
    assert sum(page.values()) < 20_000  # compressed; tests/unit/functions/test_site.py bounds the uncompressed size


async def test_the_files_of_the_page_are_cached(open_tab: OpenTab, proxy: RecordingProxy) -> None:
    tab = await open_tab(proxy.url)
    proxy.sent.clear()
    await tab.page.reload()
    await tab.page.locator("#state[data-state=ready]").wait_for()

    page = {path: size for path, size in proxy.sent.items() if not path.startswith("/api/") and "icon" not in path}
    assert page
    assert set(page.values()) == {0}


async def test_a_large_photograph_is_resized_and_upright(
    open_tab: OpenTab, proxy: RecordingProxy, scene: Image.Image, tmp_path: Path
) -> None:
    # As stored by a camera in portrait orientation: rotated, with an orientation in EXIF.
    exif = Image.Exif()
    exif[0x0112] = 6
    scene.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "IMG_0001.jpg", quality=92, exif=exif)
    assert (tmp_path / "IMG_0001.jpg").stat().st_size > 3_000_000
    tab = await open_tab(proxy.url)
    await tab.choose(tmp_path / "IMG_0001.jpg")

    assert await tab.until_scored("IMG_0001.jpg") == "espresso"
    [sent] = proxy.uploads
    assert len(sent) <= 300_000
    assert (await tab.card("IMG_0001.jpg").locator(".meta").inner_text()).endswith(f"sent as {len(sent) / 1000:.0f} KB")
    with Image.open(io.BytesIO(sent)) as picture:
        # The sent picture is upright and has no EXIF.
        assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (960, 640), {})
        difference = np.asarray(picture, float) - np.asarray(scene.resize((960, 640), Image.Resampling.BOX), float)
    assert np.abs(difference).mean() < 4


async def test_a_picture_that_compresses_badly_is_reduced_further(open_tab: OpenTab, proxy: RecordingProxy) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (500, 900, 4), np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise, "RGBA").save(content, "PNG", compress_level=1)
    tab = await open_tab(proxy.url)
    await tab.choose({"name": "noise.png", "mimeType": "image/png", "buffer": content.getvalue()})

    await tab.until_scored("noise.png")
    [sent] = proxy.uploads
    assert len(sent) <= 300_000
    with Image.open(io.BytesIO(sent)) as picture:
        assert min(picture.size) >= 256


async def test_a_small_picture_is_sent_unchanged(open_tab: OpenTab, proxy: RecordingProxy) -> None:
    tab = await open_tab(proxy.url)
    await tab.choose(photo("rocket"))

    await tab.until_scored("rocket.jpg")
    assert proxy.uploads == [photo("rocket").read_bytes()]


async def test_a_format_that_the_browser_cannot_decode_is_sent_unchanged(
    open_tab: OpenTab, proxy: RecordingProxy, scene: Image.Image
) -> None:
    content = io.BytesIO()
    cup = np.asarray(scene.crop((900, 300, 3500, 2700)).resize((520, 480)))
    grainy = (cup + np.random.default_rng(1).normal(0, 40, (480, 520, 1))).clip(0, 255).astype(np.uint8)
    pillow_heif.from_pillow(Image.fromarray(grainy)).save(content, quality=100)
    assert len(content.getvalue()) > 300_000
    tab = await open_tab(proxy.url)
    await tab.choose({"name": "phone.heic", "mimeType": "", "buffer": content.getvalue()})

    assert await tab.until_scored("phone.heic") in {"espresso", "cup"}
    assert proxy.uploads == [content.getvalue()]
    # There is no preview.
    assert await tab.card("phone.heic").locator("img").count() == 0
