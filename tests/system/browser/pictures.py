"""``python -m tests.system.browser.pictures``: makes docs/page/operations.webp, the README's picture of that page.

It starts a stack, stores a new certificate, and shows the rotation while gateways have time to read the new pin.
"""

import asyncio
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.async_api import Page, async_playwright

from tests.conftest import ROOT
from tests.support.devstack.stack_process import SIMULATED, StackProcess
from tests.system.browser.setup import system_browser

PICTURE = ROOT / "docs" / "page" / "operations.webp"
WIDTH = 960


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, StackProcess(Path(folder) / "stack", *SIMULATED) as stack:
        stack.until_serving()
        asyncio.run(_take(stack))
        stack.process.terminate()
        stack.wait_for_end()


async def _take(stack: StackProcess) -> None:
    async with async_playwright() as playwright:
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        path = system_browser() or Path(playwright.chromium.executable_path)
        browser = await playwright.chromium.launch(executable_path=path, args=flags)
        page = await browser.new_page(viewport={"width": WIDTH, "height": 1600}, reduced_motion="reduce")
        await page.goto(f"{stack.url}/operations")
        await page.get_by_role("button", name="Show").click()
        await _until(page, "steady")
        command = [sys.executable, "-m", "devstack", "certificate", "new", "--state", str(stack.folder)]
        await asyncio.to_thread(subprocess.run, command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        await _until(page, "propagating")
        await page.mouse.move(0, 0)
        await page.evaluate("document.activeElement.blur()")
        box = await page.locator("#services article").first.bounding_box() or {"y": 0, "height": 1600}
        end = box["y"] + box["height"] + 16
        picture = await page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": end})
        await browser.close()
    Image.open(io.BytesIO(picture)).save(PICTURE, quality=80, method=6)


async def _until(page: Page, phase: str) -> None:
    """Refresh until a rotation is in a phase."""
    await page.locator(".badge[data-phase]").first.wait_for()
    while not await page.locator(f".badge[data-phase={phase}]").count():
        async with page.expect_response("**/api/operations"):
            await page.get_by_role("button", name="Refresh").click()


if __name__ == "__main__":
    main()
