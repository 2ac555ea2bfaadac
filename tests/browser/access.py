"""Whether a page is there for everyone, as far as a program can tell."""

from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.setup import AXE, COMMAND, axe_is_there


async def violations(page: Page) -> list[str]:
    """What axe-core finds against the Web Content Accessibility Guidelines, and against good practice."""
    if not axe_is_there():
        pytest.fail(f"axe-core is missing: run {COMMAND}")
    # It speaks of itself where a frame's policy keeps it out; the page has no frame.
    await page.evaluate(AXE.read_text(encoding="utf-8") + "\n;undefined")
    found: dict[str, Any] = await page.evaluate("axe.run()")
    assert len(found["passes"]) > 20  # it did look
    return [f"{each['id']}: {each['help']} {[node['html'] for node in each['nodes']]}" for each in found["violations"]]


async def outlined(page: Page) -> bool:
    """Whether what has the focus shows it."""
    width: str = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    return float(width.removesuffix("px")) >= 2
